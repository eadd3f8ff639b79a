"""The core of a node: events in, effects out; it wires the machines of this room together.

It reads no clock and draws no randomness: both come as arguments. ``now`` is seconds of one
monotonic clock, the same for all calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qpq.crypto.identity import Identity, address_of
from qpq.mesh import counters, events
from qpq.mesh.chance import Chance
from qpq.mesh.clock import Clock
from qpq.mesh.dialling import Dialling
from qpq.mesh.due import Due, Timer
from qpq.mesh.effects import Effects
from qpq.mesh.events import Notice, SendFrame, SendRefused, SetTimer, StateChanged
from qpq.mesh.inbox import Inbox
from qpq.mesh.intake import Intake
from qpq.mesh.limits import KIB, Limits
from qpq.mesh.neighbours import Neighbours
from qpq.mesh.outbox import Outbox
from qpq.mesh.penalties import Penalties
from qpq.mesh.posting import Posting
from qpq.mesh.receiving import Receiving
from qpq.mesh.records import (
    Checkpoint,
    InboxInsert,
    Kept,
    MessageDelete,
    OutboxInsert,
    OutboxState,
    Queued,
    TombstoneInsert,
    UserDelete,
)
from qpq.mesh.sending import Sending
from qpq.mesh.served import Served
from qpq.mesh.timers import Timers
from qpq.mesh.tombstones import Tombstones
from qpq.mesh.users import Users
from qpq.wire.frames import MAX_FRAME, WIRE_VERSION, CloseCode, CustodyCode, Hello, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.mesh.events import Effect, Event
    from qpq.mesh.links import Link
    from qpq.mesh.records import Row
    from qpq.mesh.rows import MessageRow, PeerRow

_FULL_LOAD = 255
_MAX_U32 = 0xFFFF_FFFF
_MAX_U16 = 0xFFFF


class Core:
    """One node's core: ``restore`` once, then ``handle`` for ever.

    ``boot`` grows with every start of the node; ``random(n)`` returns n random bytes. Memory is
    bounded by ``limits``; payloads and texts are not kept.
    """

    def __init__(
        self,
        node: SecretIdentity,
        *,
        boot: int,
        random: Callable[[int], bytes],
        limits: Limits | None = None,
        role: Role = Role.RELAY,
    ) -> None:
        self._node = node
        self._boot = boot
        self._role = role
        self._limits = limits = limits if limits is not None else Limits()
        self._effects = effects = Effects()
        self._timers = timers = Timers[Timer]()
        self._timer_at: float | None = None
        self._stopped = False
        self._clock = clock = Clock(limits)
        chance = Chance(random)
        penalties = Penalties(limits)
        self._users = users = Users(node, boot=boot, cap=limits.max_users)
        self._served = served = Served(limits.max_users)
        self._inbox = inbox = Inbox(limits)
        self._outbox = outbox = Outbox(limits)
        self._tombstones = tombstones = Tombstones(limits.tombstones)
        self._dialling = Dialling(node.identity, limits=limits, chance=chance, effects=effects, waiting=self._waits_for)
        self._neighbours = Neighbours(
            node.identity,
            limits=limits,
            hello=self._hello,
            stretch=chance.stretch,
            dialling=self._dialling,
            penalties=penalties,
            timers=timers,
            effects=effects,
            listener=self,
        )
        self._sending = Sending(
            limits=limits, clock=clock, chance=chance, timers=timers, effects=effects, served=served, outbox=outbox
        )
        self._receiving = Receiving(clock=clock, effects=effects, users=users, inbox=inbox, tombstones=tombstones)
        self._posting = Posting(
            clock=clock,
            chance=chance,
            effects=effects,
            users=users,
            served=served,
            inbox=inbox,
            outbox=outbox,
            sending=self._sending,
        )
        self._intake = Intake(
            effects=effects,
            neighbours=self._neighbours,
            served=served,
            sending=self._sending,
            receiving=self._receiving,
        )
        self._handlers = self._event_table()
        self._due = self._timer_table()

    # --- what the caller does --------------------------------------------------------------------

    def restore(self, rows: Iterable[Row]) -> None:
        """Take what the store kept (``Database.restore``), in any order, before the first event."""
        for row in rows:
            if isinstance(row, Queued):
                self._outbox.add(row)
            elif isinstance(row, Kept):
                self._inbox.add(row)
            elif isinstance(row, Checkpoint):
                self._clock.restore(row)
            else:
                self._tombstones.add(row)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take an event and return what to do, in order (``mesh.events`` tells the rules)."""
        if self._stopped:
            return []
        if self._clock.start(now):
            self._sending.rearm(now)
            self._watch_life(now)
        self._handlers[type(event)](event, now)
        if self._effects.persists and self._clock.worth_saving(now):
            self._effects.persist(self._clock.checkpoint(now))
        self._set_timer()
        return self._effects.take()

    # --- what the caller may ask ---------------------------------------------------------------------

    def peers(self, now: float) -> tuple[PeerRow, ...]:
        """Return links, and known addresses without a link."""
        return self._neighbours.peers(self._served.users, now)

    def addresses_known(self) -> tuple[Address, ...]:
        """Return local users, this node, linked nodes and what these announced."""
        return (*self._users.addresses(), self._node.address, *self._served.known())

    def where(self, address: Address) -> Identity | None:
        """Return the node that serves an address; None: not known."""
        if self._users.reader(address) is not None:
            return self._node.identity
        return self._served.node_of(address)

    def message(self, user: Address, message_id: bytes) -> MessageRow | None:
        """Return a user's message that is on its way; the store knows those that arrived or expired."""
        message = self._outbox.of_user(user, message_id)
        return None if message is None else message.row()

    # --- what the neighbours tell (neighbours.Listener) ------------------------------------------------

    def usable(self, link: Link, now: float) -> None:
        """Tell a new neighbour of the local users and send what waited for it."""
        self._served.open(link.number, link.peer)
        for announce in self._users.announces():
            self._effects.do(SendFrame(link.number, announce))
        self._sending.link_usable(link, now)

    def gone(self, link: Link, now: float) -> None:
        """Take back what a link carried."""
        self._served.close(link.number)
        self._sending.link_gone(link.number, now)

    # --- events ------------------------------------------------------------------------------------------

    def _event_table(self) -> dict[type[Event], Callable[[Any, float], None]]:
        return {
            events.PeerFound: self._peer_found,
            events.LinkUp: self._link_up,
            events.LinkDown: self._link_down,
            events.DialFailed: self._dial_failed,
            events.FrameReceived: self._frame_received,
            events.FramesReceived: self._frames_received,
            events.LinkFault: self._link_fault,
            events.PersistFailed: self._persist_failed,
            events.ClockSet: self._clock_set,
            events.NetworkChanged: self._network_changed,
            events.Tick: self._tick,
            events.Dial: self._dial,
            events.SendText: self._send_text,
            events.DeleteMessage: self._delete_message,
            events.UserAdded: self._user_added,
            events.UserRemoved: self._user_removed,
            events.BlockedSet: self._blocked_set,
            events.Shutdown: self._shutdown,
        }

    def _peer_found(self, event: events.PeerFound, now: float) -> None:
        if self._dialling.found(event, now):
            self._run_dialling(now)

    def _link_up(self, event: events.LinkUp, now: float) -> None:
        self._neighbours.up(event, now)
        self._run_dialling(now)

    def _link_down(self, event: events.LinkDown, now: float) -> None:
        self._neighbours.down(event, now)
        self._run_dialling(now)

    def _dial_failed(self, event: events.DialFailed, now: float) -> None:
        self._dialling.failed(event.address, event.reason, now)
        self._run_dialling(now)

    def _frame_received(self, event: events.FrameReceived, now: float) -> None:
        if self._intake.frames(event.link, (event.frame,), now):
            self._run_dialling(now)

    def _frames_received(self, event: events.FramesReceived, now: float) -> None:
        if self._intake.frames(event.link, event.frames, now):
            self._run_dialling(now)

    def _link_fault(self, event: events.LinkFault, now: float) -> None:
        link = self._neighbours.get(event.link)
        if link is not None:
            self._neighbours.misbehaved(link, CloseCode(event.code), event.reason, now)
            self._run_dialling(now)

    def _clock_set(self, event: events.ClockSet, now: float) -> None:
        if self._clock.set(event.offset, event.trusted, now):
            self._sending.rearm(now)

    def _network_changed(self, _event: events.NetworkChanged, now: float) -> None:
        self._dialling.network_changed()
        self._run_dialling(now)

    def _dial(self, event: events.Dial, now: float) -> None:
        self._dialling.ask(event, now)
        self._run_dialling(now)

    def _send_text(self, event: events.SendText, now: float) -> None:
        self._posting.text(event, now)
        if len(self._outbox) == 1:
            self._watch_life(now)
        if self._served.link_for(event.recipient) is None and self._outbox.destination(event.recipient) is not None:
            self._dialling.nudge(Identity(event.recipient), now)
            self._run_dialling(now)

    def _delete_message(self, event: events.DeleteMessage, now: float) -> None:
        message = self._outbox.of_user(event.user, event.message_id)
        if message is not None:
            self._sending.drop(message, now)
        self._inbox.remove(event.user, event.message_id)
        self._effects.persist(MessageDelete(event.user, event.message_id))

    def _user_added(self, event: events.UserAdded, _now: float) -> None:
        known = self._users.addresses()
        user = self._users.add(event.seed, event.blocked)
        if user is None:
            self._effects.do(Notice("warning", f"more than {self._limits.max_users} users: one more is not served"))
        elif user.secret.address not in known:
            for link in self._neighbours.usable():
                self._effects.do(SendFrame(link.number, user.announce))

    def _user_removed(self, event: events.UserRemoved, now: float) -> None:
        self._users.remove(event.user)
        for message in self._outbox.all_of(event.user):
            self._sending.drop(message, now)
        self._sending.drop_late(event.user)
        self._inbox.remove_user(event.user)
        self._tombstones.remove_user(event.user)
        self._effects.persist(UserDelete(event.user))

    def _blocked_set(self, event: events.BlockedSet, _now: float) -> None:
        user = self._users.get(event.user)
        if user is not None:
            user.blocked = event.blocked

    def _shutdown(self, _event: events.Shutdown, now: float) -> None:
        self._neighbours.close_all(now)
        self._effects.persist(self._clock.checkpoint(now))
        self._stopped = True

    def _persist_failed(self, event: events.PersistFailed, now: float) -> None:
        """Go back: what was to be kept is not, its sender is told; what was to be forgotten stays forgotten.

        A state that could not be written is still true and is told; after a restart the message
        is sent once more and answered by the same receipt.
        """
        self._timer_at = None
        self._effects.count(counters.STORE_FAILED)
        for operation in event.operations:
            if isinstance(operation, OutboxInsert):
                message = self._outbox.get(operation.envelope_id)
                if message is not None:
                    self._sending.drop(message, now)
                self._effects.count(counters.MESSAGE_REFUSED)
                self._effects.do(SendRefused(operation.user, operation.message_id, event.reason))
            elif isinstance(operation, InboxInsert):
                self._receiving.undo(operation)
                link = self._neighbours.link_to(operation.via) if operation.via is not None else None
                if link is not None and operation.envelope_id:
                    self._receiving.refuse(link, operation.envelope_id, CustodyCode.QUOTA)
            elif isinstance(operation, TombstoneInsert):
                self._tombstones.remove(operation.envelope_id)
            elif isinstance(operation, OutboxState):
                self._effects.do(StateChanged(operation.user, operation.message_id, operation.state, operation.copies))

    def _hello(self, others: int, now: float) -> Hello:
        limits = self._limits
        free = max(0, limits.inbox_bytes * max(1, len(self._users.addresses())) - self._inbox.size())
        return Hello(
            version_min=WIRE_VERSION,
            version_max=WIRE_VERSION,
            features=0,
            boot=self._boot,
            time=self._clock.stamp(now),
            time_trusted=self._clock.trusted,
            load=min(_FULL_LOAD, self._neighbours.count * _FULL_LOAD // limits.max_links),
            links=min(others, _MAX_U16),
            role=self._role,
            max_frame=MAX_FRAME,
            store_free=min(free // KIB, _MAX_U32),
        )

    # --- timers ----------------------------------------------------------------------------------------------

    def _timer_table(self) -> dict[Due, Callable[[Any, float], None]]:
        return {
            Due.HELLO: self._neighbours.hello_due,
            Due.SETTLE: self._neighbours.settle_due,
            Due.DIALLING: self._dialling_due,
            Due.EXPIRE: self._sending.expire_due,
            Due.ANSWER: self._sending.answer_due,
            Due.HOLD: self._sending.hold_due,
            Due.RESUME: self._sending.resume_due,
            Due.CHECKPOINT: self._checkpoint_due,
        }

    def _tick(self, _event: events.Tick, now: float) -> None:
        self._timer_at = None
        dial = False
        while True:
            timer = self._timers.pop_due(now)
            if timer is None:
                break
            kind, key = timer
            self._due[kind](key, now)
            dial = dial or kind in (Due.HELLO, Due.SETTLE)
        if dial:
            self._run_dialling(now)

    def _dialling_due(self, _key: int, now: float) -> None:
        self._run_dialling(now)

    def _checkpoint_due(self, _key: int, now: float) -> None:
        if len(self._outbox):
            self._effects.persist(self._clock.checkpoint(now))
            self._watch_life(now)

    def _waits_for(self, peer: Identity) -> bool:
        return self._outbox.destination(address_of(peer)) is not None

    def _watch_life(self, now: float) -> None:
        if len(self._outbox):
            self._timers.set((Due.CHECKPOINT, 0), self._clock.next_save(now))

    def _run_dialling(self, now: float) -> None:
        at = self._dialling.run(now)
        if at is None:
            self._timers.cancel((Due.DIALLING, 0))
        else:
            self._timers.set((Due.DIALLING, 0), at)

    def _set_timer(self) -> None:
        at = self._timers.next_at()
        if at is not None and at != self._timer_at:
            self._timer_at = at
            self._effects.do(SetTimer(at))

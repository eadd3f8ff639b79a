"""The core of a node: events in, effects out; it hands each event to the machine it is for.

It reads no clock and draws no randomness: both come as arguments. ``now`` is seconds of one
monotonic clock, the same for all calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qpq.crypto.identity import Identity, address_of
from qpq.crypto.kem import standard_kem
from qpq.mesh import events
from qpq.mesh.due import Due, due_table
from qpq.mesh.effects import Notice, SendFrame, SetTimer
from qpq.mesh.limits import Limits
from qpq.mesh.machines import Machines
from qpq.mesh.records import MessageDelete, UserDelete
from qpq.mesh.undoing import row_table
from qpq.wire.frames import CloseCode, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.crypto.kem import Kem
    from qpq.mesh.effects import Effect
    from qpq.mesh.events import Event
    from qpq.mesh.links import Link
    from qpq.mesh.records import Row
    from qpq.mesh.rows import MessageRow, PeerRow, RouteRow, StoreRow


class Core:
    """One node's core: ``restore`` once, then ``handle`` for ever.

    ``boot`` grows with every start of the node; ``random(n)`` returns n random bytes; ``kem`` is ML-KEM-768, which
    draws its randomness itself. Memory is bounded by ``limits``; payloads are not kept, and texts for seconds only.
    """

    def __init__(
        self,
        node: SecretIdentity,
        *,
        boot: int,
        random: Callable[[int], bytes],
        limits: Limits | None = None,
        role: Role = Role.RELAY,
        kem: Kem | None = None,
    ) -> None:
        self._node = node
        self._limits = limits = limits if limits is not None else Limits()
        self._timer_at: float | None = None
        self._stopped = False
        machines = Machines(
            node,
            boot=boot,
            random=random,
            limits=limits,
            role=role,
            kem=kem if kem is not None else standard_kem(),
            listener=self,
        )
        self._takers = row_table(machines)
        self._asking = machines.asking
        self._channels = machines.channels
        self._claiming = machines.claiming
        self._clock = machines.clock
        self._controls = machines.controls
        self._crossings = machines.crossings
        self._custody = machines.custody
        self._deposits = machines.deposits
        self._dialling = machines.dialling
        self._effects = machines.effects
        self._flooded = machines.flooded
        self._flooding = machines.flooding
        self._giving = machines.giving
        self._inbox = machines.inbox
        self._intake = machines.intake
        self._keeping = machines.keeping
        self._neighbours = machines.neighbours
        self._outbox = machines.outbox
        self._posting = machines.posting
        self._probing = machines.probing
        self._reconciling = machines.reconciling
        self._relaying = machines.relaying
        self._routing = machines.routing
        self._sending = machines.sending
        self._served = machines.served
        self._sessions = machines.sessions
        self._supplying = machines.supplying
        self._room_set = machines.room_set
        self._timers = machines.timers
        self._tombstones = machines.tombstones
        self._undoing = machines.undoing
        self._users = machines.users
        self._handlers = self._event_table()
        own = {Due.DIALLING: self._dialling_due, Due.CHECKPOINT: self._checkpoint_due}
        self._due: dict[Due, Callable[[Any, float], None]] = {**due_table(machines), **own}

    # --- what the caller does --------------------------------------------------------------------

    def restore(self, rows: Iterable[Row]) -> None:
        """Take what the store kept (``Database.restore``), in any order, before the first event."""
        for row in rows:
            self._takers[type(row)](row)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take an event and return what to do, in order (``mesh.events`` tells the rules)."""
        if self._stopped:
            return []
        if self._clock.start(now):
            self._rearm(now)
            self._watch_life(now)
        self._handlers[type(event)](event, now)
        self._sessions.flush()
        if self._effects.persists and self._clock.worth_saving(now):
            self._effects.persist(self._clock.checkpoint(now))
        self._set_timer()
        return self._effects.take()

    def hasten(self, early: Callable[[SendFrame], bool]) -> None:
        """Have ``early`` called within ``handle`` with frames that hang on nothing; it says whether it took one."""
        self._effects.early = early

    # --- what the caller may ask ---------------------------------------------------------------------

    def peers(self, now: float) -> tuple[PeerRow, ...]:
        """Return links, and known addresses without a link."""
        return self._neighbours.peers(self._served.users, now)

    def routes(self, now: float) -> tuple[RouteRow, ...]:
        """Return the routes to users of other nodes."""
        return self._routing.rows(now)

    def store_rows(self, now: float) -> StoreRow:
        """Return what is kept for others, and broadcasts."""
        return self._keeping.row(self._relaying.row(now), now)

    def addresses_known(self) -> tuple[Address, ...]:
        """Return local users, this node, linked nodes, what these announced, and the users and nodes behind them."""
        known = (*self._users.addresses(), self._node.address, *self._served.known(), *self._routing.known())
        return tuple(dict.fromkeys(known))

    def where(self, address: Address) -> Identity | None:
        """Return the node that serves an address; None: not known."""
        if self._users.reader(address) is not None:
            return self._node.identity
        return self._served.node_of(address) or self._routing.node_of(address)

    def message(self, user: Address, message_id: bytes) -> MessageRow | None:
        """Return a user's message that is on its way; the store knows those that arrived or expired."""
        message = self._outbox.of_user(user, message_id)
        return self._channels.message(user, message_id) if message is None else message.row()

    def life(self, now: float) -> float:
        """Return the seconds that the store has lived through."""
        return self._clock.life(now)

    # --- what the neighbours tell (neighbours.Listener) ------------------------------------------------

    def usable(self, link: Link, now: float) -> None:
        """Tell a new neighbour of the local users and send what waited for it."""
        self._served.open(link.number, link.peer)
        self._lend_clock(now)
        for announce in self._users.announces():
            self._effects.do(SendFrame(link.number, announce))
        self._routing.hearing.link_usable(link, now)
        self._relaying.link_usable(link, now)
        self._sending.link_usable(link, now)
        self._flooding.link_usable(link, now)
        self._giving.route_found(address_of(link.peer), now)

    def gone(self, link: Link, now: float) -> None:
        """Take back what a link carried."""
        self._served.close(link.number)
        self._lend_clock(now)
        self._routing.hearing.link_gone(link.number, now)
        self._probing.link_gone(link.number)
        self._relaying.link_gone(link.number, now)
        self._sending.link_gone(link.number, now)
        self._flooding.link_gone(link.number, now)

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
            events.SendBroadcast: self._send_broadcast,
            events.ChannelJoined: self._channels.joined,
            events.ChannelLeft: self._channels.left,
            events.Recalled: self._recalled,
            events.TextsRecalled: self._asking.recalled,
            events.LinkQuality: self._routing.hearing.quality,
            events.Ping: self._probing.ping,
            events.DeleteMessage: self._delete_message,
            events.MessagesRead: self._messages_read,
            events.Undial: self._undial,
            events.UserAdded: self._user_added,
            events.UserRemoved: self._user_removed,
            events.BlockedSet: self._blocked_set,
            events.RoomSet: self._room_set,
            events.Lookup: self._crossings.lookup,
            events.FromOutside: self._crossings.from_outside,
            events.OutsideProof: self._crossings.proof,
            events.OutsideRefused: self._crossings.refused,
            events.OutsideFound: self._crossings.found,
            events.BundleAsked: self._crossings.bundle,
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
            self._rearm(now)

    def _rearm(self, now: float) -> None:
        """Look at all that ends with life anew."""
        self._sending.rearm(now)
        self._keeping.rearm(now)
        self._crossings.rearm(now)
        self._sessions.prekeys.rearm(now)

    def _network_changed(self, _event: events.NetworkChanged, now: float) -> None:
        self._dialling.network_changed()
        self._run_dialling(now)

    def _dial(self, event: events.Dial, now: float) -> None:
        self._dialling.ask(event, now)
        self._run_dialling(now)

    def _send_text(self, event: events.SendText, now: float) -> None:
        self._routing.acted(event.user)
        idle = not len(self._custody)
        self._posting.text(event, now)
        if idle:
            self._watch_life(now)
        waits = not event.domain and self._served.link_for(event.recipient) is None
        waits = waits and self._custody.destination(event.recipient) is not None
        if waits and self._dialling.nudge(Identity(event.recipient), now):
            self._run_dialling(now)

    def _delete_message(self, event: events.DeleteMessage, now: float) -> None:
        message = self._outbox.of_user(event.user, event.message_id)
        if message is not None:
            self._posting.drop(message, now)
        self._channels.forget(event.user, event.message_id)
        self._inbox.remove(event.user, event.message_id)
        self._effects.persist(MessageDelete(event.user, event.message_id))

    def _send_broadcast(self, event: events.SendBroadcast, now: float) -> None:
        self._routing.acted(event.user)
        self._channels.broadcast(event, now)

    def _messages_read(self, event: events.MessagesRead, _now: float) -> None:
        self._routing.acted(event.user)
        for message_id, sender in event.messages:
            self._inbox.mark_read(event.user, sender, message_id)

    def _undial(self, event: events.Undial, now: float) -> None:
        self._dialling.forget(event.address)
        self._run_dialling(now)

    def _user_added(self, event: events.UserAdded, _now: float) -> None:
        known, read = self._users.addresses(), self._users.reader(self._node.address) is not None
        user = self._users.add(event.seed, event.blocked, event.gateway, event.named)
        if user is None:
            self._effects.do(Notice("warning", f"more than {self._limits.max_users} users: one more is not served"))
        elif user.secret.address not in known:
            self._routing.user_added(user.secret.address)
            for link in self._neighbours.usable():
                self._effects.do(SendFrame(link.number, user.announce))
            self._claiming.user_here(user.secret.address)
            if not read:
                self._claiming.user_here(self._node.address)

    def _recalled(self, event: events.Recalled, now: float) -> None:
        self._claiming.recalled(event, now)
        self._channels.recalled(event, now)
        self._crossings.recalled(event, now)

    def _user_removed(self, event: events.UserRemoved, now: float) -> None:
        if self._users.remove(event.user):
            self._routing.user_removed(event.user)
        self._posting.user_removed(event.user, now)
        self._asking.user_removed(event.user)
        self._giving.user_removed(event.user)
        self._controls.user_removed(event.user, now)
        self._sessions.remove_user(event.user)
        self._channels.user_removed(event.user)
        self._inbox.remove_user(event.user)
        self._tombstones.remove_user(event.user)
        self._effects.persist(UserDelete(event.user))

    def _blocked_set(self, event: events.BlockedSet, _now: float) -> None:
        user = self._users.get(event.user)
        if user is not None:
            user.blocked, user.named = event.blocked, event.named

    def _shutdown(self, _event: events.Shutdown, now: float) -> None:
        self._neighbours.close_all(now)
        self._deposits.settle()
        self._sessions.settle()
        self._effects.persist(self._clock.checkpoint(now))
        self._stopped = True

    def _persist_failed(self, event: events.PersistFailed, now: float) -> None:
        self._timer_at = None
        self._undoing.failed(event, now)

    # --- timers ----------------------------------------------------------------------------------------------

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
        if len(self._custody) or len(self._flooded):
            self._effects.persist(self._clock.checkpoint(now))
            self._watch_life(now)

    def _watch_life(self, now: float) -> None:
        if len(self._custody) or len(self._flooded):
            self._timers.set((Due.CHECKPOINT, 0), self._clock.next_save(now))

    def _lend_clock(self, now: float) -> None:
        self._clock.lend([unix for link in self._neighbours.usable() if (unix := link.peer_unix(now))], now)

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

"""The core's hands: hands it events and carries out its effects, in order, each transaction before what follows it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from qpq.daemon.commands import FailedError
from qpq.mesh import events
from qpq.mesh.effects import (
    BroadcastHeard,
    BundleMade,
    CloseLink,
    Connect,
    Count,
    Deliver,
    InsideProof,
    LookupDone,
    NeighbourChanged,
    Notice,
    OutsideAnswered,
    OutsideLookup,
    Outward,
    Persist,
    ProbeDone,
    Recall,
    RecallTexts,
    SendEnvelope,
    SendFrame,
    SendRefused,
    SetTimer,
    StateChanged,
)
from qpq.mesh.records import OutboxInsert
from qpq.store.faults import StoreError
from qpq.wire.envelope import decode_envelope
from qpq.wire.errors import WireError
from qpq.wire.frames import Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.core import Core
    from qpq.mesh.effects import Effect
    from qpq.mesh.events import Event
    from qpq.mesh.records import Operation, Row
    from qpq.wire.envelope import Envelope
    from qpq.wire.frames import Frame

LATE_S = 0.005
"""Seconds that operations nothing hangs on may wait for others to be written with."""

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


class Store(Protocol):
    """What the core asks of a store; ``store.Database`` is one, the tests have another."""

    def apply(self, operations: Sequence[Operation]) -> None:
        """Carry out all operations or none, durably."""
        ...

    def envelope(self, envelope_id: bytes) -> bytes | None:
        """Return the bytes of an envelope that is queued, in custody or flooded."""
        ...

    def sent(self, user: Address, message_id: bytes) -> tuple[bytes, str] | None:
        """Return envelope and text of a user's own message that is on its way; None: there is none such any more."""
        ...

    def restore(self) -> Iterable[Row]:
        """Return what ``Core.restore`` takes."""
        ...


class Links(Protocol):
    """What the shell needs of ``link.Endpoint``."""

    def connect(self, address: str, identity: Identity | None = None) -> None:
        """Dial."""
        ...

    def queue(self, link: int, frame: Frame) -> bool:
        """Keep a frame for ``transmit``."""
        ...

    def close(self, link: int, code: int, reason: str) -> None:
        """End a link."""
        ...

    def transmit(self) -> None:
        """Put what is queued on the wire now."""
        ...

    def hurry(self) -> None:
        """Do so where one thing alone has come in, and nothing more is known to be on its way out."""
        ...


class Watcher(Protocol):
    """Who is told what people may want to see."""

    def delivered(self, effect: Deliver) -> None:
        """A message for a local user is in the store."""
        ...

    def state_changed(self, effect: StateChanged) -> None:
        """A local user's own message is in another state."""
        ...

    def probed(self, effect: ProbeDone) -> None:
        """A ping has been answered, or given up."""
        ...

    def neighbour_changed(self, effect: NeighbourChanged) -> None:
        """A neighbour came, went, or serves other users."""
        ...

    def outside(self, effect: Effect) -> None:
        """Something concerns other domains."""
        ...


class Shell:
    """Runs one core against a store and links.

    ``group``: transactions of all events of one turn of the loop are committed together, so that a
    disk's fsync is paid once for all of them; without it each event is carried out at once. What need
    not be written at once goes with the next transaction of a group, or with others of its kind.
    """

    def __init__(self, core: Core, store: Store, links: Links, watcher: Watcher, *, group: bool) -> None:
        self.counters: dict[str, int] = {}
        self._core = core
        core.hasten(self._early)
        self._store = store
        self._links = links
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._log = logging.getLogger("qpq.mesh")
        self._lists: list[list[Effect]] = []
        self._flush: asyncio.Handle | None = None
        self._flushing = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._late: list[Operation] = []
        self._late_timer: asyncio.TimerHandle | None = None
        self._fresh: dict[bytes, bytes] = {}
        self._refused: dict[bytes, str] = {}
        self._flushed: list[asyncio.Future[None]] = []
        self._do: dict[type[Effect], Callable[[Any], object]] = {
            SendFrame: lambda effect: self._links.queue(effect.link, effect.frame),
            SendEnvelope: self._send_envelope,
            Recall: self._recall,
            RecallTexts: self._recall_texts,
            CloseLink: lambda effect: self._links.close(effect.link, effect.code, effect.reason),
            Connect: lambda effect: self._links.connect(effect.address, effect.identity),
            SetTimer: self._set_timer,
            Count: self._count,
            Notice: lambda effect: self._log.log(_LEVELS[effect.level], "%s", effect.text),
            Deliver: lambda effect: self._loop.call_soon(watcher.delivered, effect),  # behind its receipt
            SendRefused: self._send_refused,
            StateChanged: watcher.state_changed,
            ProbeDone: watcher.probed,
            NeighbourChanged: watcher.neighbour_changed,
            **dict.fromkeys(
                (Outward, InsideProof, BroadcastHeard, OutsideLookup, OutsideAnswered, BundleMade, LookupDone),
                watcher.outside,
            ),
        }

    def put(self, event: Event) -> None:
        """Hand an event to the core; its effects are carried out soon, in order."""
        self._lists.append(self._core.handle(event, self._loop.time()))
        if self._flushing:
            return
        if not self._group:
            self.flush()
        elif self._flush is None:
            self._flush = self._loop.call_soon(self.flush)

    def flushed(self) -> asyncio.Future[None] | None:
        """Return what is done when all events so far are carried out; None: they are."""
        if not self._lists:
            return None
        flushed = self._loop.create_future()
        self._flushed.append(flushed)
        return flushed

    def check(self, message_id: bytes) -> None:
        """Raise FailedError with the reason if the core, or the store, did not take that message."""
        reason = self._refused.pop(message_id, None)
        if reason is not None:
            raise FailedError(reason)

    def flush(self) -> None:
        """Carry out what has come together."""
        self._cancel_flush()
        self._flushing = True
        try:
            while self._lists:
                lists, self._lists = self._lists, []
                self._carry_out(lists)
            self._links.transmit()
        finally:
            self._flushing = False
        waiting, self._flushed = self._flushed, []
        for flushed in waiting:
            if not flushed.done():
                flushed.set_result(None)

    def settle(self) -> None:
        """Write what may come late; to be called before somebody else reads the store."""
        if self._late_timer is not None:
            self._late_timer.cancel()
            self._late_timer = None
        late, self._late = self._late, []
        if late:
            try:
                self._store.apply(late)
            except StoreError as error:
                self._log.warning("the store did not take a change: %s", error)
                self._count(Count("store.late_failed"))

    def close(self) -> None:
        """Carry out what is left and stop the timers."""
        self.flush()
        self.settle()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _carry_out(self, lists: list[list[Effect]]) -> None:
        """One transaction for all lists; only where that fails, one for each Persist."""
        persists = [effect for effects in lists for effect in effects if type(effect) is Persist and effect.prompt]
        operations = [operation for persist in persists for operation in persist.operations]
        self._fresh = {each.envelope_id: each.envelope for each in operations if type(each) is OutboxInsert}
        late = self._late if self._group and persists else []
        stored = False
        if late or len(persists) > 1:
            try:
                self._store.apply([*late, *operations])
                stored = True
                late.clear()
            except StoreError:
                self._count(Count("store.group_failed"))
        for effects in lists:
            for effect in effects:
                if type(effect) is not Persist:
                    self._do[type(effect)](effect)
                elif not effect.prompt:
                    self._write_late(effect)
                elif not stored and not self._persist(effect):
                    break

    def _early(self, effect: SendFrame) -> bool:
        """Send a frame from within the core's handling of an event."""
        self._links.queue(effect.link, effect.frame)
        self._links.hurry()
        return True

    def _write_late(self, effect: Persist) -> None:
        self._late += effect.operations
        if self._late_timer is None:
            self._late_timer = self._loop.call_later(LATE_S, self.settle)

    def _persist(self, effect: Persist) -> bool:
        try:
            self._store.apply(effect.operations)
        except StoreError as error:
            self._log.warning("the store did not take a change: %s", error)
            failed = events.PersistFailed(effect.operations, str(error))
            self._lists.append(self._core.handle(failed, self._loop.time()))
            return False
        return True

    def _send_envelope(self, effect: SendEnvelope) -> None:
        envelope = self._read(effect.envelope_id)
        if envelope is not None:
            self._links.queue(effect.link, Transfer(effect.hops, effect.copies, effect.age, envelope))

    def _recall(self, effect: Recall) -> None:
        read = (self._read(envelope_id) for envelope_id in effect.envelope_ids)
        recalled = events.Recalled(tuple(envelope for envelope in read if envelope is not None))
        self._loop.call_soon(self.put, recalled)  # what is recalled in lots lets others in between

    def _recall_texts(self, effect: RecallTexts) -> None:
        read = (self._sent(*message) for message in effect.messages)
        recalled = events.TextsRecalled(tuple(sent for sent in read if sent is not None))
        self._loop.call_soon(self.put, recalled)

    def _sent(self, user: Address, message_id: bytes) -> events.SentText | None:
        """Return a user's own message from the store; None: it cannot be read, or is not on its way any more."""
        try:
            found = self._store.sent(user, message_id)
            if found is None:
                return None
            return events.SentText(user, message_id, found[1], decode_envelope(found[0]))
        except (StoreError, WireError) as error:
            self._unreadable(error)
            return None

    def _unreadable(self, error: StoreError | WireError) -> None:
        self._log.warning("a message in the store cannot be read and is left out: %s", error)
        self._count(Count("store.unreadable"))

    def _read(self, envelope_id: bytes) -> Envelope | None:
        """Return an envelope from the store; None: it cannot be read, or has been deleted since."""
        try:
            data = self._fresh.get(envelope_id) or self._store.envelope(envelope_id)
            return decode_envelope(data) if data is not None else None
        except (StoreError, WireError) as error:
            self._unreadable(error)
            return None

    def _set_timer(self, effect: SetTimer) -> None:
        """Have the core woken by ``effect.at``.

        A timer that comes before stays: the core then asks anew, which costs less than a new timer for each message.
        """
        if self._timer is not None:
            if self._timer_at <= effect.at:
                return
            self._timer.cancel()
        self._timer_at = effect.at
        self._timer = self._loop.call_at(effect.at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.put(events.Tick())

    def _count(self, effect: Count) -> None:
        self.counters[effect.name] = self.counters.get(effect.name, 0) + effect.amount

    def _send_refused(self, effect: SendRefused) -> None:
        self._refused[effect.message_id] = effect.reason

    def _cancel_flush(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None

"""Local users' messages on their way: to a link, back from it, confirmed, refused, expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.mesh import counters
from qpq.mesh.due import Due
from qpq.mesh.events import SendEnvelope, SendFrame, State, StateChanged
from qpq.mesh.records import OutboxState
from qpq.wire.frames import Custody, CustodyCode, Receipt, Transfer
from qpq.wire.receipts import receipt_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpq.crypto.identity import Address
    from qpq.mesh.chance import Chance
    from qpq.mesh.clock import Clock
    from qpq.mesh.due import Timer
    from qpq.mesh.effects import Effects
    from qpq.mesh.limits import Limits
    from qpq.mesh.links import Link
    from qpq.mesh.outbox import Destination, Outbox, Outgoing
    from qpq.mesh.served import Served
    from qpq.mesh.timers import Timers
    from qpq.wire.envelope import Envelope

_FRAMING = 32
"""Bytes by which a TRANSFER may exceed the stored form of its envelope."""

_ROUNDING_S = 0.001
"""What sums of times may be off by: a timer that comes by so much early is not set again."""


class _Window:
    """What one usable link carries without an answer."""

    __slots__ = ("flying", "max_frame", "size")

    def __init__(self, max_frame: int) -> None:
        self.max_frame = max_frame
        self.flying: dict[bytes, Outgoing] = {}
        self.size = 0


class Sending:
    """Hands messages to the link that serves their recipient, and takes what comes back.

    A message is in exactly one place: in its recipient's queue, on a link, or held until a
    timer. Whatever ends its stay on a link short of a receipt leads back to the queue.
    """

    __slots__ = (
        "_chance",
        "_clock",
        "_effects",
        "_late",
        "_limits",
        "_outbox",
        "_served",
        "_timers",
        "_windows",
    )

    def __init__(
        self,
        *,
        limits: Limits,
        clock: Clock,
        chance: Chance,
        timers: Timers[Timer],
        effects: Effects,
        served: Served,
        outbox: Outbox,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._chance = chance
        self._timers = timers
        self._effects = effects
        self._served = served
        self._outbox = outbox
        self._windows: dict[int, _Window] = {}
        self._late: dict[bytes, tuple[Address, bytes]] = {}

    # --- links come and go -----------------------------------------------------------------------

    def link_usable(self, link: Link, now: float) -> None:
        """Send what waited for this peer."""
        self._windows[link.number] = _Window(link.hello.max_frame if link.hello is not None else 0)
        self._pump(link.number, now)

    def link_gone(self, number: int, now: float) -> None:
        """Queue again what the link carried; another link to the peer takes it at once."""
        window = self._windows.pop(number, None)
        if window is None:
            return
        others: set[int | None] = set()
        for message in tuple(window.flying.values()):
            self._land(message, window)
            self._outbox.queue(message).push(message)
            others.add(self._served.link_for(message.recipient))
        self._pump_all(others, now)

    def reachable(self, number: int, now: float) -> None:
        """Send what waits for an address that a link has just announced."""
        self._pump(number, now)

    # --- messages come and go ----------------------------------------------------------------------

    def start(self, message: Outgoing, envelope: Envelope, now: float) -> None:
        """Begin with a message that has just been queued; ``envelope`` saves reading the store."""
        self._timers.set((Due.EXPIRE, message.envelope_id), self._expiry(message, now))
        number = self._served.link_for(message.recipient)
        if number is not None:
            self._pump(number, now, (message, envelope))

    def drop(self, message: Outgoing, now: float) -> None:
        """Forget a message wherever it is."""
        number = message.link
        self._remove(message)
        if number:
            self._pump(number, now)

    def drop_late(self, user: Address) -> None:
        """Forget the expired messages of a user who is gone."""
        self._late = {key: message for key, message in self._late.items() if message[0] != user}

    def rearm(self, now: float) -> None:
        """Set every message's expiry anew: the clock of life has jumped, or starts."""
        for message in self._outbox.messages():
            self._timers.set((Due.EXPIRE, message.envelope_id), self._expiry(message, now))

    # --- what comes back -----------------------------------------------------------------------------

    def receipt(self, receipt: Receipt, now: float) -> None:
        """Take proofs of delivery: each either names an envelope of a local user or is counted."""
        freed: set[int | None] = set()
        for secret, envelope_hash in receipt.proofs:
            envelope_id = receipt_id(secret, envelope_hash)
            message = self._outbox.get(envelope_id)
            if message is not None:
                freed.add(message.link)
                self._confirmed(message)
                freed.add(self._resume(message.recipient))
            elif envelope_id in self._late:
                self._delivered(*self._late.pop(envelope_id), copies=0)
            else:
                self._effects.count(counters.RECEIPT_UNKNOWN)
        self._pump_all(freed, now)

    def custody(self, number: int, custody: Custody, now: float) -> None:
        """Take answers that are no receipts; only the link that carries a message may answer for it."""
        for envelope_id, code in custody.answers:
            message = self._outbox.get(envelope_id)
            if message is None or message.link != number:
                self._effects.count(counters.CUSTODY_UNKNOWN)
            elif code in (CustodyCode.ACCEPTED, CustodyCode.DUPLICATE):
                self._relayed(message, code, now)
            elif code == CustodyCode.QUOTA:
                self._no_room(message, now)
            elif code == CustodyCode.NOT_HERE:
                self._not_here(number, message, now)
            else:
                self._hold(message, now)
        self._pump(number, now)

    # --- timers ----------------------------------------------------------------------------------------

    def expire_due(self, envelope_id: bytes, now: float) -> None:
        """Give up a message at the end of its ttl."""
        message = self._outbox.get(envelope_id)
        if message is None:
            return
        if self._clock.life(now) < message.born + message.ttl - _ROUNDING_S:
            self._timers.set((Due.EXPIRE, envelope_id), self._expiry(message, now))
            return
        self.drop(message, now)
        self._late[envelope_id] = (message.user, message.message_id)
        if len(self._late) > self._limits.late_receipts:
            del self._late[next(iter(self._late))]
        self._effects.count(counters.MESSAGE_EXPIRED)
        self._change(message.user, message.message_id, State.EXPIRED, message.copies)

    def answer_due(self, envelope_id: bytes, now: float) -> None:
        """Take a message back from a link that has not answered; its recipient is tried later."""
        message = self._outbox.get(envelope_id)
        if message is not None and message.link:
            self._no_room(message, now)

    def hold_due(self, envelope_id: bytes, now: float) -> None:
        """Let a held message wait for a link again."""
        message = self._outbox.get(envelope_id)
        if message is not None:
            self._outbox.queue(message).push(message)
            self._pump_all({self._served.link_for(message.recipient)}, now)

    def resume_due(self, recipient: Address, now: float) -> None:
        """Try a recipient again that had no room."""
        destination = self._outbox.destination(recipient)
        if destination is not None:
            destination.paused = False
            self._pump_all({self._served.link_for(recipient)}, now)

    # --- inside ----------------------------------------------------------------------------------------

    def _pump_all(self, numbers: Iterable[int | None], now: float) -> None:
        for number in numbers:
            if number:
                self._pump(number, now)

    def _pump(self, number: int, now: float, fresh: tuple[Outgoing, Envelope] | None = None) -> None:
        """Send what a link serves as far as its window goes, the urgent first, then the oldest."""
        window = self._windows.get(number)
        if window is None:
            return
        addresses = self._served.addresses(number)
        while len(window.flying) < self._limits.window_count and window.size < self._limits.window_bytes:
            chosen: tuple[bool, int, Outgoing, Destination] | None = None
            for address in addresses:
                destination = self._outbox.destination(address)
                head = destination.head() if destination is not None else None
                if destination is not None and head is not None:
                    entry = (not head.urgent, head.order, head, destination)
                    chosen = entry if chosen is None or entry[:2] < chosen[:2] else chosen
            if chosen is None:
                return
            chosen[3].pop()
            self._send(number, window, chosen[2], fresh, now)

    def _send(
        self, number: int, window: _Window, message: Outgoing, fresh: tuple[Outgoing, Envelope] | None, now: float
    ) -> None:
        if message.size + _FRAMING > window.max_frame:
            self._effects.count(counters.MESSAGE_TOO_LARGE)
            self._timers.set((Due.HOLD, message.envelope_id), now + self._limits.hold_s)
            return
        message.link = number
        message.attempts += 1
        window.flying[message.envelope_id] = message
        window.size += message.size
        self._outbox.queue(message).flying += 1
        self._timers.set((Due.ANSWER, message.envelope_id), now + self._limits.answer_s)
        self._effects.count(counters.MESSAGE_SENT)
        age = max(0, int(self._clock.life(now)) - message.born)
        if fresh is not None and fresh[0] is message:
            self._effects.after(SendFrame(number, Transfer(0, 1, age, fresh[1])))
        else:
            self._effects.after(SendEnvelope(number, message.envelope_id, 0, 1, age))

    def _land(self, message: Outgoing, window: _Window | None = None) -> None:
        """Take a message off the link that carries it, if one does."""
        if not message.link:
            return
        window = window or self._windows[message.link]
        del window.flying[message.envelope_id]
        window.size -= message.size
        self._outbox.queue(message).flying -= 1
        message.link = 0
        self._timers.cancel((Due.ANSWER, message.envelope_id))

    def _remove(self, message: Outgoing) -> None:
        self._land(message)
        self._timers.cancel((Due.EXPIRE, message.envelope_id))
        self._timers.cancel((Due.HOLD, message.envelope_id))
        self._outbox.remove(message)

    def _confirmed(self, message: Outgoing) -> None:
        self._remove(message)
        self._delivered(message.user, message.message_id, message.copies)

    def _delivered(self, user: Address, message_id: bytes, copies: int) -> None:
        self._effects.count(counters.MESSAGE_CONFIRMED)
        self._change(user, message_id, State.DELIVERED, copies)

    def _change(self, user: Address, message_id: bytes, state: State, copies: int) -> None:
        self._effects.persist(OutboxState(user, message_id, state, copies))
        self._effects.after(StateChanged(user, message_id, state, copies))

    def _resume(self, recipient: Address) -> int | None:
        """Note that a recipient answers again; return the link that may carry more to it."""
        destination = self._outbox.destination(recipient)
        if destination is None or not destination.refusals:
            return None
        destination.refusals = 0
        destination.paused = False
        self._timers.cancel((Due.RESUME, recipient))
        return self._served.link_for(recipient)

    def _relayed(self, message: Outgoing, code: CustodyCode, now: float) -> None:
        if code == CustodyCode.ACCEPTED:
            message.copies += 1
            message.state = State.RELAYED
            self._effects.count(counters.MESSAGE_RELAYED)
            self._change(message.user, message.message_id, State.RELAYED, message.copies)
        self._hold(message, now)

    def _no_room(self, message: Outgoing, now: float) -> None:
        self._land(message)
        self._effects.count(counters.MESSAGE_RETRIED)
        destination = self._outbox.queue(message)
        destination.push(message)
        if not destination.paused:
            destination.paused = True
            destination.refusals += 1
            wait = min(self._limits.retry_max_s, self._limits.retry_min_s * 2.0 ** min(destination.refusals - 1, 32))
            self._timers.set((Due.RESUME, message.recipient), now + self._chance.stretch(wait))

    def _not_here(self, number: int, message: Outgoing, now: float) -> None:
        """Believe the announce no longer; a node that disowns its own address is asked much later."""
        self._served.forget(number, message.recipient)
        if message.recipient in self._served.addresses(number):
            self._hold(message, now)
            return
        self._land(message)
        self._outbox.queue(message).push(message)
        self._pump_all({self._served.link_for(message.recipient)}, now)

    def _hold(self, message: Outgoing, now: float) -> None:
        self._land(message)
        self._effects.count(counters.MESSAGE_RETRIED)
        self._timers.set((Due.HOLD, message.envelope_id), now + self._chance.stretch(self._limits.hold_s))

    def _expiry(self, message: Outgoing, now: float) -> float:
        return now + message.born + message.ttl - self._clock.life(now)

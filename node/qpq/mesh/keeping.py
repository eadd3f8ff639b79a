"""Room for channel envelopes: how fast they may come, what the store keeps, what gives way and what is over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from qpq.crypto.channels import day_of
from qpq.mesh import counters
from qpq.mesh.buckets import Bucket
from qpq.mesh.due import Due
from qpq.mesh.flooded import Held
from qpq.mesh.records import KnownDelete, KnownInsert, RelayDelete, RelayInsert
from qpq.wire.envelope import encode_envelope
from qpq.wire.frames import CustodyCode
from qpq.wire.frames_mesh import SHORT_ID_SIZE

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.due import Timer
    from qpq.mesh.flooded import Flooded
    from qpq.mesh.limits import Limits
    from qpq.mesh.links import Link
    from qpq.mesh.records import Relayed
    from qpq.mesh.rows import StoreRow
    from qpq.mesh.timers import Timers
    from qpq.wire.envelope import Envelope
    from qpq.wire.frames import Transfer

_ENVELOPE = 172
"""Bytes around a payload, at most."""
_EFFORT = 384
"""Bytes that an envelope counts beyond its own against the rates: its signature is to be verified."""
_PERCENT = 100
_BURST_S = 5.0
_SWEEP_S = 1.0
FOREIGN: Final = bytes(8)
"""What ``via`` begins with where another domain brought it (``mesh.topics``); no key does."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A channel envelope that has come, or was made here (``via`` None).

    ``born`` seconds of life, ``hops`` links crossed, this one included; ``news``: not made up for something missed.
    """

    envelope: Envelope
    identifier: bytes
    via: Identity | None
    born: int
    hops: int
    news: bool

    @property
    def is_foreign(self) -> bool:
        """Whether another domain has just brought it."""
        return self.news and self.via is not None and self.via.startswith(FOREIGN)

    @property
    def short(self) -> bytes:
        """The short id."""
        return self.identifier[:SHORT_ID_SIZE]

    @property
    def size(self) -> int:
        """Bytes as stored, at most."""
        return len(self.envelope.payload) + _ENVELOPE


class Listener(Protocol):
    """Who is told of envelopes that were made here."""

    def over(self, held: Held) -> None:
        """One is kept no longer."""
        ...


class Rates:
    """How fast one link may bring channel envelopes, and each of their senders on it.

    Of the senders those heard of last are told apart; one that is new begins with a full bucket.
    """

    __slots__ = ("_limits", "_link", "_senders")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._link = Bucket(limits.flood_rate, limits.flood_rate * _BURST_S, now)
        self._senders: dict[Address, Bucket] = {}

    def take(self, sender: Address, size: int, now: float) -> bool:
        """Count ``size`` bytes; False: they are too many now."""
        bucket = self._senders.pop(sender, None)
        if bucket is None:
            rate = self._limits.flood_rate * self._limits.flood_sender_percent / _PERCENT
            bucket = Bucket(rate, rate * _BURST_S, now)
            if len(self._senders) >= self._limits.flood_senders:
                del self._senders[next(iter(self._senders))]
        self._senders[sender] = bucket
        return bucket.take(size, now) and self._link.take(size, now)


class Keeping:
    """Keeps channel envelopes in the store as ``Flooded`` has room; a ``leaf`` remembers the ids of others' only."""

    __slots__ = ("_at", "_clock", "_effects", "_flooded", "_leaf", "_limits", "_timers", "listener")

    listener: Listener

    def __init__(
        self,
        *,
        leaf: bool,
        limits: Limits,
        clock: Clock,
        timers: Timers[Timer],
        effects: Effects,
        flooded: Flooded,
    ) -> None:
        self._leaf = leaf
        self._limits = limits
        self._clock = clock
        self._timers = timers
        self._effects = effects
        self._flooded = flooded
        self._at: float | None = None

    # --- what comes ------------------------------------------------------------------------------

    def arrival(self, link: Link, transfer: Transfer, identifier: bytes, now: float) -> Arrival:
        """Return what a TRANSFER brings, born when its age says, as far as clocks do not say otherwise."""
        envelope = transfer.envelope
        age = self._clock.believed(transfer.age, envelope.timestamp, envelope.ttl, link.peer_unix(now), now)
        born = int(self._clock.life(now)) - age
        return Arrival(envelope, identifier, link.peer, born, transfer.hops + 1, transfer.copies > 0)

    def refusal(self, arrival: Arrival, rates: Rates, now: float) -> CustodyCode | None:
        """Return what speaks against an envelope before its signature is verified; what costs least is asked first."""
        envelope = arrival.envelope
        if arrival.born + envelope.ttl <= self._clock.life(now):
            return CustodyCode.EXPIRED
        if arrival.hops > envelope.max_hops:
            return CustodyCode.TOO_MANY_HOPS
        if not rates.take(envelope.sender, arrival.size + _EFFORT, now):
            return CustodyCode.QUOTA
        if not self._leaf and not self._flooded.room(arrival.via, envelope.sender, arrival.size, arrival.born)[0]:
            self._remember(arrival.identifier, arrival.born + envelope.ttl, now, arrival.via)
            return CustodyCode.QUOTA
        return None

    def keep(self, arrival: Arrival, now: float) -> bool:
        """Keep an envelope, once others have given way; False: it must not displace them."""
        envelope, identifier, via = arrival.envelope, arrival.identifier, arrival.via
        expires = arrival.born + envelope.ttl
        if self._leaf and via is not None:
            self._remember(identifier, expires, now)
            return True
        data = encode_envelope(envelope)
        while True:
            fits, loser = self._flooded.room(via, envelope.sender, len(data), arrival.born)
            if not fits:
                if via is not None:
                    self._remember(identifier, expires, now, via)
                return False
            if loser is None:
                break
            self._purge(loser, now)
        row = RelayInsert(
            envelope_id=identifier,
            envelope=data,
            sender=envelope.sender,
            recipient=envelope.recipient,
            via=via,
            urgent=envelope.urgent,
            ttl=envelope.ttl,
            born=arrival.born,
            hops=arrival.hops,
            max_hops=envelope.max_hops,
            copies=0,
        )
        self._flooded.add(Held(row, len(data), day_of(envelope.timestamp)))
        self._effects.persist(row)
        self._watch(now)
        if len(self._flooded) == 1:
            self._timers.set((Due.CHECKPOINT, 0), self._clock.next_save(now))
        return True

    # --- a restart, and a store that fails -----------------------------------------------------------

    def restore(self, row: Relayed) -> None:
        """Take back an envelope from before a restart."""
        self._flooded.add(Held(row, row.size, None))

    def restore_known(self, row: KnownInsert) -> None:
        """Take back an id from before a restart."""
        gone = self._flooded.remember(row.envelope_id, row.expires)
        if gone is not None:
            self._effects.persist(KnownDelete(gone))

    def undo(self, operation: RelayInsert, now: float) -> None:
        """Let go of an envelope that could not be stored; it has gone on, and is not taken again for a while."""
        held = self._flooded.get(operation.envelope_id[:SHORT_ID_SIZE])
        if held is not None:
            self._flooded.remove(held)
            self._flooded.remember(held.envelope_id, self._clock.life(now))
            self._watch(now)

    def shrink(self, now: float) -> None:
        """Let go of what there is no room for any more."""
        while (held := self._flooded.surplus()) is not None:
            self._purge(held, now)

    # --- what people ask -----------------------------------------------------------------------------

    def row(self, row: StoreRow, now: float) -> StoreRow:
        """Return what is kept for others with the broadcasts added, those of local users included."""
        flooded = self._flooded
        by_link = {via: (count, size) for via, count, size in row.by_link}
        for via, count, size in flooded.shares():
            before = by_link.get(via, (0, 0))
            by_link[via] = (before[0] + count, before[1] + size)
        life = self._clock.life(now)
        return replace(
            row,
            count=row.count + len(flooded),
            size=row.size + sum(held.size for held in flooded.held()),
            oldest=max([row.oldest, *(held.age(life) for held in flooded.held())]),
            by_link=tuple((via, *what) for via, what in by_link.items()),
            used=row.used + flooded.size,
            cap=row.cap + flooded.cap,
            known=flooded.known,
            known_cap=self._limits.known_ids,
        )

    # --- time ----------------------------------------------------------------------------------------

    def rearm(self, now: float) -> None:
        """Set the timer anew: the clock of life has jumped, or starts."""
        self._at = None
        self._watch(now)

    def due(self, _key: int, now: float) -> None:
        """Let go of what is over; its id stays known a little longer."""
        self._at = None
        over, forgotten = self._flooded.expire(self._clock.life(now))
        for held in over:
            self._flooded.remember(held.envelope_id, held.expires)
            self._let_go(held)
        for identifier in forgotten:
            self._effects.persist(KnownDelete(identifier))
        self._watch(now)

    # --- inside --------------------------------------------------------------------------------------

    def _purge(self, held: Held, now: float) -> None:
        self._effects.count(counters.FLOOD_PURGED)
        self._flooded.remove(held)
        self._remember(held.envelope_id, held.expires, now)
        self._let_go(held)

    def _let_go(self, held: Held) -> None:
        self._effects.persist(RelayDelete(held.envelope_id))
        if held.via is None:
            self.listener.over(held)

    def _remember(self, identifier: bytes, expires: int, now: float, refused: Identity | None = None) -> None:
        gone = self._flooded.remember(identifier, expires, refused)
        self._effects.persist(KnownInsert(identifier, expires))
        if gone is not None:
            self._effects.persist(KnownDelete(gone))
        self._watch(now)

    def _watch(self, now: float) -> None:
        expiry = self._flooded.next_expiry()
        if expiry is None:
            return
        at = now + max(_SWEEP_S, expiry - self._clock.life(now))
        if self._at is None or at < self._at:
            self._at = at
            self._timers.set((Due.FLOODED, 0), at)

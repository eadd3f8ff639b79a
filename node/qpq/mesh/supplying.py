"""What neighbours lack and are sent at a steady pace: channel envelopes and proofs, by short id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qpq.mesh import counters
from qpq.mesh.buckets import Bucket
from qpq.mesh.due import Due
from qpq.mesh.effects import SendEnvelope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.due import Timer
    from qpq.mesh.flooded import Flooded
    from qpq.mesh.limits import Limits
    from qpq.mesh.links import Link
    from qpq.mesh.timers import Timers

FRAMING = 32
"""Bytes by which a TRANSFER may exceed the stored form of its envelope."""

_PROOF = 64
_PAUSE_S = 0.5
_BURST_S = 4.0


class Proofs(Protocol):
    """Receipts that this node knows (mesh.proofs)."""

    def proof(self, short_id: bytes) -> tuple[bytes, bytes] | None:
        """Return secret and hash of an envelope that was delivered."""
        ...

    def share(self, short_id: bytes) -> bool:
        """Let a proof be reconciled, since a neighbour names it; whether it is known."""
        ...


class _Queue:
    """What one link waits for, in order, and the pace."""

    __slots__ = ("bucket", "ids", "max_frame", "paused")

    def __init__(self, max_frame: int, rate: float, now: float) -> None:
        self.max_frame = max_frame
        self.bucket = Bucket(rate, rate * _BURST_S, now)
        self.ids: dict[bytes, None] = {}
        self.paused = 0.0


class Supplying:
    """At most ``supply_ids`` wait for a link; more are dropped, since they are found missing again."""

    __slots__ = ("_clock", "_effects", "_flooded", "_limits", "_proofs", "_queues", "_timers")

    def __init__(
        self,
        *,
        limits: Limits,
        clock: Clock,
        timers: Timers[Timer],
        effects: Effects,
        flooded: Flooded,
        proofs: Proofs,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._timers = timers
        self._effects = effects
        self._flooded = flooded
        self._proofs = proofs
        self._queues: dict[int, _Queue] = {}

    def link_usable(self, link: Link, now: float) -> None:
        """Open a queue."""
        max_frame = link.hello.max_frame if link.hello is not None else 0
        self._queues[link.number] = _Queue(max_frame, self._limits.supply_rate, now)

    def link_gone(self, number: int, _now: float) -> None:
        """Forget what the link waited for."""
        self._queues.pop(number, None)
        self._timers.cancel((Due.SUPPLY, number))

    def can(self, number: int, short_id: bytes) -> bool:
        """Whether there is something to send for an id, and the link takes it."""
        held = self._flooded.get(short_id)
        if held is None:
            return self._proofs.proof(short_id) is not None
        return held.hops < held.max_hops and held.size + FRAMING <= self._queues[number].max_frame

    def send(self, number: int, short_ids: Iterable[bytes], now: float) -> list[bytes]:
        """Send what of these is there, as the pace allows; return those that did not wait already."""
        queue = self._queues[number]
        taken: list[bytes] = []
        if now < queue.paused:
            return taken
        for short_id in short_ids:
            if len(queue.ids) >= self._limits.supply_ids:
                self._effects.count(counters.FLOOD_SUPPLY_FULL)
                break
            if short_id not in queue.ids and self.can(number, short_id):
                queue.ids[short_id] = None
                taken.append(short_id)
        if len(taken) == len(queue.ids):  # else the timer is set
            self.due(number, now)
        return taken

    def proven(self, short_id: bytes) -> bool:
        """Whether an id that a neighbour knows is that of a proof that is known here, and told of from now on."""
        return self._proofs.share(short_id)

    def full(self, number: int) -> bool:
        """Whether no more can wait for a link."""
        return len(self._queues[number].ids) >= self._limits.supply_ids

    def pause(self, number: int, now: float) -> None:
        """Drop what waits and send nothing for a while: the neighbour has no room."""
        queue = self._queues[number]
        queue.ids.clear()
        queue.paused = now + self._limits.supply_pause_s

    def due(self, number: int, now: float) -> None:
        """Send what the pace allows now."""
        queue = self._queues[number]
        while queue.ids:
            short_id = next(iter(queue.ids))
            held = self._flooded.get(short_id)
            if not queue.bucket.take(held.size if held is not None else _PROOF, now):
                self._timers.set((Due.SUPPLY, number), now + _PAUSE_S)
                return
            del queue.ids[short_id]
            proof = self._proofs.proof(short_id)
            if held is not None:
                self._effects.count(counters.FLOOD_SUPPLIED)
                self._effects.after(
                    SendEnvelope(number, held.envelope_id, held.hops, 0, held.age(self._clock.life(now)))
                )
            elif proof is not None:
                self._effects.pass_on(number, *proof)

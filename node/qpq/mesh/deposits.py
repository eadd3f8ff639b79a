"""Others' envelopes that went on at once: they are stored, and their keeping is told, only if no receipt comes soon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.mesh.due import Due
from qpq.mesh.records import RelayInsert

if TYPE_CHECKING:
    from qpq.mesh.collecting import Effects
    from qpq.mesh.due import Timer
    from qpq.mesh.limits import Limits
    from qpq.mesh.records import Relayed
    from qpq.mesh.timers import Timers


def inserted(row: Relayed, envelope: bytes) -> RelayInsert:
    """Return what stores an envelope that is kept as ``row``."""
    return RelayInsert(
        row.envelope_id,
        envelope,
        row.sender,
        row.recipient,
        row.via,
        row.urgent,
        row.ttl,
        row.born,
        row.hops,
        row.max_hops,
        row.copies,
    )


class Deposits:
    """Rows to be stored behind ``deposit_s``, the oldest first, each answered ACCEPTED behind its transaction.

    Until then whoever brought one keeps it, so nothing hangs on it here. They are part of custody and bounded with it;
    who needs one from the store, or tells of it, calls ``store`` before.
    """

    __slots__ = ("_effects", "_limits", "_pending", "_timers")

    def __init__(self, *, limits: Limits, timers: Timers[Timer], effects: Effects) -> None:
        self._limits = limits
        self._timers = timers
        self._effects = effects
        self._pending: dict[bytes, tuple[float, int, Relayed, bytes]] = {}

    def add(self, link: int, row: Relayed, envelope: bytes, now: float) -> None:
        """Put off storing an envelope that came over a link."""
        at = now + self._limits.deposit_s
        if not self._pending:
            self._timers.set((Due.DEPOSIT, 0), at)
        self._pending[row.envelope_id] = (at, link, row, envelope)

    def unanswered(self, envelope_id: bytes) -> int:
        """Return the link that brought an envelope which has had no answer yet; 0: it has, or is not here."""
        pending = self._pending.get(envelope_id)
        return 0 if pending is None else pending[1]

    def drop(self, envelope_id: bytes) -> bool:
        """Forget an envelope; whether it has not been stored."""
        return self._pending.pop(envelope_id, None) is not None

    def store(self, envelope_id: bytes) -> bool:
        """Store an envelope now and answer it; whether it had not been."""
        pending = self._pending.pop(envelope_id, None)
        if pending is None:
            return False
        _, link, row, envelope = pending
        self._effects.persist(inserted(row, envelope))
        self._effects.accept(link, envelope_id)
        return True

    def settle(self) -> None:
        """Store everything now."""
        for envelope_id in tuple(self._pending):
            self.store(envelope_id)

    def due(self, _key: int, now: float) -> None:
        """Store what has waited long enough."""
        for envelope_id, (at, *_) in tuple(self._pending.items()):
            if at > now:
                self._timers.set((Due.DEPOSIT, 0), at)
                break
            self.store(envelope_id)

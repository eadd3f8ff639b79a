"""Envelopes in custody whose recipient has become a user of this node: read from the store and delivered here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.mesh.due import Due
from qpq.mesh.effects import Recall
from qpq.wire.envelope import envelope_hash, id_of

if TYPE_CHECKING:
    from qpq.crypto.identity import Address
    from qpq.mesh.collecting import Effects
    from qpq.mesh.custody import Custody
    from qpq.mesh.deposits import Deposits
    from qpq.mesh.due import Timer
    from qpq.mesh.events import Recalled
    from qpq.mesh.receiving import Receiving
    from qpq.mesh.relaying import Relaying
    from qpq.mesh.timers import Timers
    from qpq.mesh.tombstones import Tombstones

_LOT = 8
"""Envelopes read at once; each has at most 32 KiB."""


class Claiming:
    """Delivers what waits here for a user who has just come; what cannot be delivered stays in custody.

    An envelope is let go only once its message is in the store, which a timer finds out: by then the
    transaction has been carried out, or the tombstone was taken back.
    """

    __slots__ = ("_custody", "_deposits", "_effects", "_receiving", "_relaying", "_timers", "_tombstones", "_wanted")

    def __init__(
        self,
        *,
        timers: Timers[Timer],
        effects: Effects,
        custody: Custody,
        deposits: Deposits,
        tombstones: Tombstones,
        receiving: Receiving,
        relaying: Relaying,
    ) -> None:
        self._timers = timers
        self._effects = effects
        self._custody = custody
        self._deposits = deposits
        self._tombstones = tombstones
        self._receiving = receiving
        self._relaying = relaying
        self._wanted: dict[bytes, None] = {}

    def user_here(self, address: Address) -> None:
        """Ask the store for what is kept for an address that is served here now."""
        destination = self._custody.destination(address)
        if destination is None:
            return
        for item in destination.items:
            self._deposits.store(item.envelope_id)
            self._wanted[item.envelope_id] = None
        self._recall()

    def recalled(self, event: Recalled, now: float) -> None:
        """Deliver what has been read; what was asked for by others is not in custody."""
        for envelope in event.envelopes:
            digest = envelope_hash(envelope)
            identifier = id_of(envelope.commitment, digest)
            item = self._custody.get(identifier)
            if item is not None and self._receiving.claim(envelope, identifier, digest, item, now):
                self.delivered(identifier, now)
        if self._wanted:
            self._recall()

    def delivered(self, identifier: bytes, now: float) -> None:
        """Let an envelope go as soon as its message is in the store."""
        self._timers.set((Due.CLAIM, identifier), now)

    def claim_due(self, identifier: bytes, now: float) -> None:
        """Let an envelope go if its message has been stored, and tell all who have a copy."""
        item = self._custody.get(identifier)
        stone = self._tombstones.get(identifier)
        if item is not None and stone is not None:
            self._relaying.proven(item, stone.secret, stone.envelope_hash, None, now)

    def _recall(self) -> None:
        lot = tuple(self._wanted)[:_LOT]
        for identifier in lot:
            del self._wanted[identifier]
        self._effects.after(Recall(lot))

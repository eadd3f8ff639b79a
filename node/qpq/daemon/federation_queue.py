"""What waits for other domains, as the federation room sees it, over the table in the store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from qpq.crypto.identity import Address
from qpq.crypto.primitives import tagged_hash
from qpq.mesh.parcel import Parcel
from qpq.store.database import OUTSIDE_PART
from qpq.store.federation import Parcels
from qpq.wire.envelope import decode_envelope
from qpq.wire.outside import KINDS, OutsideBroadcast, OutsideEnvelope, OutsideReceipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qpq.store.database import Database
    from qpq.store.federation import Waiting
    from qpq.wire.outside import Outside

AGAIN_S: Final = 1800
"""For so long what comes again is taken for a repetition that needs no work; a sender waits longer to send anew."""
_NOBODY = Address(bytes(32))
_AT = b"qpq/1/broadcast-at"


class FederationQueue:
    """``life`` gives seconds of life; ``wake`` is called with a domain for which something waits.

    ``changed`` is called when a snapshot of the store lacks something.
    """

    def __init__(
        self,
        database: Database,
        life: Callable[[], float],
        wake: Callable[[str], None],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._parcels = Parcels(database, database.max_bytes // OUTSIDE_PART, changed)
        self._life = life
        self._wake = wake

    def hold(self, item: Outside, recipient: Address, *, ttl: int, age: int, hops: int, home: str = "") -> int:
        """Keep something for another domain and return its number; raises StoreFullError."""
        parcel = self._parcel(item, recipient, ttl=ttl, age=age, hops=hops)
        seq = self._parcels.keep(replace(parcel, origin=home) if home else parcel)
        self._wake(item.to)
        return seq

    def note(self, item: Outside, recipient: Address, *, ttl: int, age: int) -> int:
        """Remember that something has arrived here, and return its number."""
        return self._parcels.keep(self._parcel(item, recipient, ttl=ttl, age=age, hops=0), done=int(self._life()))

    def known(self, item: Outside) -> int | None:
        """Return the number of what was taken not long ago."""
        since = -1 if isinstance(item, OutsideBroadcast) else int(self._life()) - AGAIN_S  # nobody sends those anew
        return self._parcels.known(KINDS.index(type(item)), _row_id(item), since)

    def due(self, domain: str, most: int) -> list[Parcel]:
        """Return what is to be sent now, oldest first."""
        return self._parcels.due(domain, int(self._life()), most)

    def next_due(self, domain: str) -> float | None:
        """Return in how many seconds the next is due; None: nothing waits."""
        due = self._parcels.next_due(domain)
        return None if due is None else max(0.0, due - self._life())

    def done(self, numbers: Iterable[int]) -> None:
        """Note that these were handed on."""
        self._parcels.done(numbers, int(self._life()))

    def later(self, when: Iterable[tuple[int, float]]) -> None:
        """Have each tried anew in so many seconds."""
        life = self._life()
        self._parcels.later([(seq, int(life + seconds) + 1) for seq, seconds in when])

    def left(self, parcel: Parcel) -> int:
        """Return how many seconds a parcel has left to live."""
        return parcel.born + parcel.ttl - int(self._life())

    def forget(self) -> int:
        """Let go of what has expired; return how many of that still waited."""
        return self._parcels.forget(int(self._life()))

    def waiting(self) -> list[Waiting]:
        """Return what waits, by domain."""
        return self._parcels.waiting()

    def _parcel(self, item: Outside, recipient: Address, *, ttl: int, age: int, hops: int) -> Parcel:
        sender = _NOBODY
        if isinstance(item, OutsideEnvelope):
            data, sender = item.envelope, decode_envelope(item.envelope).sender
        elif isinstance(item, OutsideBroadcast):
            data = item.envelope
        elif isinstance(item, OutsideReceipt):
            data = item.secret + item.envelope_hash
        else:
            data = item.reason.encode()
        born = int(self._life()) - age
        kind = KINDS.index(type(item))
        return Parcel(0, kind, item.to, item.origin, _row_id(item), sender, recipient, data, ttl, born, hops)


def _row_id(item: Outside) -> bytes:
    """Return what names a row of its kind: the envelope's id, of a broadcast for each domain that has it or is to."""
    if isinstance(item, OutsideBroadcast):
        return tagged_hash(_AT, item.message_id, (item.origin or item.to).encode())
    return item.message_id

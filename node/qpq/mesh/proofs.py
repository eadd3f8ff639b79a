"""Receipts that this node knows: of envelopes it kept or handed on, and of some it never saw."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from qpq.wire.frames_mesh import SHORT_ID_SIZE
from qpq.wire.receipts import receipt_id

if TYPE_CHECKING:
    from collections.abc import Callable

_SWEEP = 4
"""Expired proofs that go for each one that comes: more than one, so they cannot pile up."""
_FOREIGN_PART = 4


class _Proof:
    __slots__ = ("envelope_hash", "expires", "secret", "shared")

    def __init__(self, secret: bytes, envelope_hash: bytes, expires: int, shared: bool) -> None:
        self.secret = secret
        self.envelope_hash = envelope_hash
        self.expires = expires
        self.shared = shared


class Proofs:
    """At most ``cap`` of envelopes this node had: expired ones go when new ones come, then who expires first.

    Proofs of envelopes it never saw cannot be told from made-up ones: a quarter of ``cap``, apart, the oldest goes.
    As many ids of such that went are remembered as ``spent``, for each node would date them anew and hand them round
    for ever.
    ``shared`` proofs are those that must find their way by reconciliation: somebody with a copy cannot be told.
    ``listener(envelope_id, expires)`` is called when one becomes shared, with ``expires`` 0 when it is so no longer;
    ``expires`` is in seconds of life. All lookups are by the short id, the first 16 bytes of an envelope id.
    """

    __slots__ = ("_by_expiry", "_by_id", "_cap", "_foreign", "_spent", "listener")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._by_id: dict[bytes, _Proof] = {}
        self._foreign: dict[bytes, _Proof] = {}
        self._spent: dict[bytes, None] = {}
        self._by_expiry: list[tuple[int, bytes]] = []
        self.listener: Callable[[bytes, int], None] = _nobody

    def resize(self, cap: int) -> None:
        """Hold at most ``cap`` from now on: of envelopes this node had those too many go when a new one comes."""
        self._cap = cap
        while len(self._foreign) > self._foreign_cap:
            self._spend(next(iter(self._foreign)))
        while len(self._spent) > self._foreign_cap:
            del self._spent[next(iter(self._spent))]

    def get(self, envelope_id: bytes) -> tuple[bytes, bytes] | None:
        """Return secret and hash of an envelope that was delivered; None: not known."""
        return self.proof(envelope_id[:SHORT_ID_SIZE])

    def proof(self, short_id: bytes) -> tuple[bytes, bytes] | None:
        """Do the same by the short id."""
        proof = self._find(short_id)
        return None if proof is None else (proof.secret, proof.envelope_hash)

    def known(self) -> tuple[tuple[bytes, int], ...]:
        """Return short id and expiry of every shared proof."""
        return tuple(
            (short_id, proof.expires)
            for proofs in (self._by_id, self._foreign)
            for short_id, proof in proofs.items()
            if proof.shared
        )

    def share(self, short_id: bytes) -> bool:
        """Let a proof be reconciled, since a neighbour names it; whether it is known, or was."""
        proof = self._find(short_id)
        if proof is not None and not proof.shared:
            proof.shared = True
            self.listener(short_id, proof.expires)
        return proof is not None or short_id in self._spent

    def spent(self, envelope_id: bytes) -> bool:
        """Whether the proof of an envelope that was never here has been and gone."""
        return envelope_id[:SHORT_ID_SIZE] in self._spent

    def add(
        self, envelope_id: bytes, secret: bytes, envelope_hash: bytes, expires: int, *, life: float, shared: bool
    ) -> list[bytes]:
        """Note the proof of an envelope that was here; return the envelope ids of those that are gone for it."""
        short_id = envelope_id[:SHORT_ID_SIZE]
        self._drop(self._foreign, short_id)
        if short_id in self._by_id:
            return []
        gone = self._make_room(life)
        self._by_id[short_id] = _Proof(secret, envelope_hash, expires, shared)
        heappush(self._by_expiry, (expires, short_id))
        if shared:
            self.listener(short_id, expires)
        return gone

    def add_foreign(self, envelope_id: bytes, secret: bytes, envelope_hash: bytes, expires: int) -> None:
        """Note the proof of an envelope that was never here; in memory only."""
        short_id = envelope_id[:SHORT_ID_SIZE]
        while len(self._foreign) >= self._foreign_cap:
            self._spend(next(iter(self._foreign)))
        self._foreign[short_id] = _Proof(secret, envelope_hash, expires, True)
        self.listener(short_id, expires)

    def expire_foreign(self, life: float) -> None:
        """Forget proofs of envelopes that were never here whose time is over; they are in the order of it."""
        while self._foreign:
            short_id, proof = next(iter(self._foreign.items()))
            if proof.expires > life:
                break
            self._spend(short_id)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._by_id) + len(self._foreign)

    @property
    def _foreign_cap(self) -> int:
        return max(1, self._cap // _FOREIGN_PART)

    def _spend(self, short_id: bytes) -> None:
        self._drop(self._foreign, short_id)
        if len(self._spent) >= self._foreign_cap:
            del self._spent[next(iter(self._spent))]
        self._spent[short_id] = None

    def _find(self, short_id: bytes) -> _Proof | None:
        return self._by_id.get(short_id) or self._foreign.get(short_id)

    def _make_room(self, life: float) -> list[bytes]:
        gone: list[bytes] = []
        while self._by_expiry:
            expires, short_id = self._by_expiry[0]
            if len(self._by_id) < self._cap and not (expires <= life and len(gone) < _SWEEP):
                break
            heappop(self._by_expiry)
            proof = self._by_id[short_id]
            self._drop(self._by_id, short_id)
            gone.append(receipt_id(proof.secret, proof.envelope_hash))
        return gone

    def _drop(self, proofs: dict[bytes, _Proof], short_id: bytes) -> None:
        proof = proofs.pop(short_id, None)
        if proof is not None and proof.shared:
            self.listener(short_id, 0)


def _nobody(_short_id: bytes, _expires: int) -> None:
    """Do nothing: nobody listens."""

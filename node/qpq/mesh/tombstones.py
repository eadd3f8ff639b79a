"""Envelopes that were delivered here, so that none is delivered twice and each gets its receipt again."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qpq.crypto.identity import Address
    from qpq.mesh.records import TombstoneInsert

_SLACK = 64


class Tombstones:
    """At most ``cap`` of them; expired ones go when new ones come, then the one that expires first."""

    __slots__ = ("_by_expiry", "_by_id", "_cap", "_messages")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._by_id: dict[bytes, TombstoneInsert] = {}
        self._messages: dict[tuple[Address, Address, bytes], int] = {}
        self._by_expiry: list[tuple[int, bytes]] = []

    def get(self, envelope_id: bytes) -> TombstoneInsert | None:
        """Return the tombstone of an envelope."""
        return self._by_id.get(envelope_id)

    def knows(self, user: Address, sender: Address, message_id: bytes) -> bool:
        """Whether a message of this id by this sender was delivered to the user, in whatever envelope."""
        return (user, sender, message_id) in self._messages

    def add(self, tombstone: TombstoneInsert) -> None:
        """Set a tombstone; one for the same envelope is no fault."""
        if tombstone.envelope_id in self._by_id:
            return
        self._by_id[tombstone.envelope_id] = tombstone
        key = (tombstone.user, tombstone.sender, tombstone.message_id)
        self._messages[key] = self._messages.get(key, 0) + 1
        heappush(self._by_expiry, (tombstone.expires, tombstone.envelope_id))
        if len(self._by_expiry) > 2 * len(self._by_id) + _SLACK:
            self._by_expiry = [(stone.expires, stone.envelope_id) for stone in self._by_id.values()]
            heapify(self._by_expiry)

    def remove(self, envelope_id: bytes) -> None:
        """Take a tombstone away; one that is not there is no fault."""
        tombstone = self._by_id.pop(envelope_id, None)
        if tombstone is None:
            return
        key = (tombstone.user, tombstone.sender, tombstone.message_id)
        self._messages[key] -= 1
        if not self._messages[key]:
            del self._messages[key]

    def make_room(self, life: float, most: int) -> list[tuple[TombstoneInsert, bool]]:
        """Take away at most ``most`` that have expired, and those that must give way to one more.

        Returns them, each with whether it had expired.
        """
        gone: list[tuple[TombstoneInsert, bool]] = []
        while self._by_expiry:
            expires, envelope_id = self._by_expiry[0]
            expired = expires <= life
            if len(self._by_id) < self._cap and not (expired and len(gone) < most):
                break
            heappop(self._by_expiry)
            tombstone = self._by_id.get(envelope_id)
            if tombstone is not None and tombstone.expires == expires:
                self.remove(envelope_id)
                gone.append((tombstone, expired))
        return gone

    def remove_user(self, user: Address) -> None:
        """Forget everything about a user who is gone."""
        for tombstone in [stone for stone in self._by_id.values() if stone.user == user]:
            self.remove(tombstone.envelope_id)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._by_id)

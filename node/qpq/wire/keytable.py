"""The table of keys one direction of a link has carried, so that a key goes over it in full only once."""

from __future__ import annotations

from typing import Final

from qpq.wire.cbor import uint
from qpq.wire.errors import EmptySlotError, RedundantLiteralError, ShapeError

KEY_SIZE: Final = 32
TABLE_SIZE: Final = 256

_FIRST_FREE = 2


class KeyTable:
    """256 slots; 0 and 1 are the node ids of this direction's sender and receiver for ever.

    Each key sent in full takes the next of the slots 2..255, round robin: the 255th evicts the
    first. Both ends apply the same rule to the same bytes and so stay in lock step.
    """

    __slots__ = ("_keys", "_next", "_slots")

    def __init__(self, sender: bytes, receiver: bytes) -> None:
        self._keys: list[bytes | None] = [sender, receiver]
        self._keys += [None] * (TABLE_SIZE - _FIRST_FREE)
        self._slots = {receiver: 1, sender: 0}
        self._next = _FIRST_FREE

    def write(self, key: bytes) -> bytes:
        """Return how ``key`` travels next: the number of its slot, or in full, which gives it one."""
        slot = self._slots.get(key)
        if slot is not None:
            return uint(slot)
        self.insert(key)
        return b"\x58\x20" + key

    def read(self, item: object) -> bytes:
        """Return the key that a decoded item is; raises ShapeError, EmptySlotError, RedundantLiteralError."""
        if type(item) is int:
            return self.key(item)
        if type(item) is bytes and len(item) == KEY_SIZE:
            self.insert(item)
            return item
        raise ShapeError("a key is 32 bytes or the number of a slot")

    def slot(self, key: bytes) -> int | None:
        """Return the slot that holds ``key``, None: send it in full and ``insert`` it."""
        return self._slots.get(key)

    def insert(self, key: bytes) -> None:
        """Note a key that went over the link in full; raises RedundantLiteralError when the table holds it."""
        if key in self._slots:
            raise RedundantLiteralError(f"key sent in full although slot {self._slots[key]} holds it")
        slot = self._next
        old = self._keys[slot]
        if old is not None:
            del self._slots[old]
        self._keys[slot] = key
        self._slots[key] = slot
        self._next = slot + 1 if slot + 1 < TABLE_SIZE else _FIRST_FREE

    def key(self, slot: int) -> bytes:
        """Return the key of a slot; raises EmptySlotError."""
        key = self._keys[slot] if slot < TABLE_SIZE else None
        if key is None:
            raise EmptySlotError(f"slot {slot} holds no key")
        return key

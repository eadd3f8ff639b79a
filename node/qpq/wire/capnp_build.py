"""Messages put together and taken apart without a schema: structs appended to a message, a pointer's tree as a message.

All pointers are relative, so a tree stays where it is: ``Builder`` appends to the first segment of the message that is
to be part of the new one, and ``subtree`` gives a message another root. Nothing is copied pointer by pointer.
"""

from __future__ import annotations

from struct import pack_into
from typing import TYPE_CHECKING, Final

from qpq.wire.capnp_segments import WORD, join, split

if TYPE_CHECKING:
    from qpq.wire.capnp_layout import Message

EMPTY: Final = join([bytes(WORD)])
"""A message whose root is a null pointer: all fields have their defaults."""
CAPABILITY_ROOT: Final = join([b"\3" + bytes(WORD - 1)])
"""A message whose root is the first capability of the table that comes with it."""

_FAR, _BYTES = 2, 2


class Builder:
    """A message in the making around another one, whose root is to become a pointer in it.

    ``at`` and what methods return are words of the first segment; fields are written with ``put``.
    """

    __slots__ = ("_first", "_inner", "_rest")

    def __init__(self, inner: bytes = EMPTY) -> None:
        first, *self._rest = split(inner, len(inner))
        self._inner = int.from_bytes(first[:WORD], "little")
        self._first = bytearray(first)

    def _append(self, words: int) -> int:
        start = len(self._first) // WORD
        self._first.extend(bytes(words * WORD))
        return start

    def struct(self, at: int, data: int, pointers: int) -> int:
        """Append a struct, point to it from ``at`` (0: the root), return where it is."""
        start = self._append(data + pointers)
        pack_into("<IHH", self._first, at * WORD, start - at - 1 << 2 & 0xFFFFFFFF, data, pointers)
        return start

    def structs(self, at: int, count: int, data: int, pointers: int) -> int:
        """Append a list of structs, point to it from ``at``, return where the first of them is."""
        words = count * (data + pointers)
        start = self._append(words + 1)
        pack_into("<II", self._first, at * WORD, (start - at - 1 << 2) | 1, words << 3 | 7)
        pack_into("<IHH", self._first, start * WORD, count << 2, data, pointers)
        return start + 1

    def text(self, at: int, text: str) -> None:
        """Append a text and point to it from ``at``."""
        data = text.encode("utf-8", "replace") + b"\0"
        start = self._append(-(-len(data) // WORD))
        pack_into("<II", self._first, at * WORD, (start - at - 1 << 2) | 1, len(data) << 3 | _BYTES)
        self._first[start * WORD : start * WORD + len(data)] = data

    def put(self, form: str, at: int, offset: int, value: int) -> None:
        """Write an integer (``struct``'s form) at a byte of the struct that starts at ``at``."""
        pack_into(f"<{form}", self._first, at * WORD + offset, value)

    def inner(self, at: int) -> None:
        """Point from ``at`` to what the root of the inner message pointed to."""
        pack_into("<Q", self._first, at * WORD, _moved(self._inner, -at))

    def finish(self) -> bytes:
        """Return the message."""
        return join([self._first, *self._rest])


def subtree(message: Message, segment: int, at: int) -> bytes:
    """Return a message whose root is the pointer at this word of ``message``, with all its segments if it needs any."""
    pointer = message.word(segment, at)
    if not pointer or pointer & 3 > _FAR:
        return join([pointer.to_bytes(WORD, "little")])
    if segment and pointer & 3 < _FAR:
        pointer = segment << 32 | at << 3 | _FAR  # the pointer itself is the landing pad
    first, *rest = message.segments
    return join([_moved(pointer, at).to_bytes(WORD, "little") + first[WORD:], *rest])


def _moved(pointer: int, by: int) -> int:
    """Return a pointer for a place ``by`` words before that of ``pointer``."""
    if not pointer or pointer & 3 >= _FAR:
        return pointer
    offset = ((pointer & 0xFFFFFFFF) >> 2) + by & 0x3FFFFFFF
    return pointer >> 32 << 32 | offset << 2 | pointer & 3

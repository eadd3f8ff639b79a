"""Pointers of a Cap'n Proto message: where they lead, and that the whole message is one tree within its bounds.

``check`` walks a message without a schema, since pointers tell the shape of what they lead to. What has passed it can
be read by anybody at a cost in proportion to its bytes. Source: Cap'n Proto's encoding, on pointers.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from qpq.wire.capnp_errors import AmplificationError, NestingError, OverlapError, PointerError
from qpq.wire.capnp_segments import WORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    _Extent: TypeAlias = tuple[int, int, int, Iterable[int], int]

MAX_NESTING: Final = 64
MAX_POINTERS: Final = 1 << 16
"""Pointers of a message, null ones too: each takes time, whatever it leads to."""

NULL, STRUCT, LIST, CAPABILITY = range(4)
"""Kinds of targets."""
POINTERS, COMPOSITE = 6, 7
"""Codes of a list's elements; below them are those of data, with the bits of ``ELEMENT_BITS``."""
ELEMENT_BITS: Final = (0, 1, 8, 16, 32, 64, 64)

_STRUCT, _LIST, _FAR, _OTHER = range(4)  # the two lowest bits of a pointer
_U64 = Struct("<Q")


class Target(NamedTuple):
    """What a pointer leads to: ``start`` is its first word in ``segment``.

    STRUCT: ``data`` and ``pointers`` are words. LIST: ``size`` is the code of the elements and ``length`` their number;
    of structs (COMPOSITE) ``start`` is behind the tag, and ``data`` and ``pointers`` are words of each. CAPABILITY:
    ``length`` is the index in the table of capabilities.
    """

    kind: int
    segment: int
    start: int
    data: int = 0
    pointers: int = 0
    size: int = 0
    length: int = 0


@dataclass(slots=True)
class Message:
    """The segments of a message, each whole words."""

    segments: Sequence[bytes]

    def word(self, segment: int, at: int) -> int:
        """Return a word as an integer; raises PointerError outside of the message."""
        if segment >= len(self.segments) or not 0 <= at < len(self.segments[segment]) // WORD:
            raise PointerError(f"word {at} of segment {segment} is not in the message")
        word: int = _U64.unpack_from(self.segments[segment], at * WORD)[0]
        return word

    def follow(self, segment: int, at: int, pads: list[tuple[int, int, int]] | None = None) -> Target:
        """Return what the pointer at a word leads to, wholly within its segment; raises PointerError.

        ``pads`` gets (segment, word, words) of the landing pads that were passed.
        """
        pointer = self.word(segment, at)
        base = at + 1
        if pointer & 3 == _FAR:
            segment, at, words = pointer >> 32, (pointer & 0xFFFFFFFF) >> 3, 1 + (pointer >> 2 & 1)
            pointer = self.word(segment, at)
            if pads is not None:
                pads.append((segment, at, words))
            base = at + 1
            if words > 1:
                far, pointer = pointer, self.word(segment, at + 1)
                if far & 7 != _FAR or pointer & 0xFFFFFFFC:
                    raise PointerError("a landing pad of two words that is none")
                segment, base = far >> 32, (far & 0xFFFFFFFF) >> 3
            if pointer & 3 == _FAR:
                raise PointerError("a far pointer that leads to another")
        if not pointer:
            return Target(NULL, 0, 0)
        if pointer & 3 == _OTHER:
            if pointer & 0xFFFFFFFC:
                raise PointerError("a pointer of an unknown kind")
            return Target(CAPABILITY, 0, 0, length=pointer >> 32)
        offset = (pointer & 0xFFFFFFFF) >> 2
        start = base + (offset - (1 << 30) if offset >> 29 else offset)
        if pointer & 3 == _STRUCT:
            target = Target(STRUCT, segment, start, pointer >> 32 & 0xFFFF, pointer >> 48)
            self._bound(segment, start, target.data + target.pointers)
            return target
        return self._list(segment, start, pointer >> 32 & 7, pointer >> 35)

    def _list(self, segment: int, start: int, size: int, count: int) -> Target:
        if size != COMPOSITE:
            self._bound(segment, start, -(-count * ELEMENT_BITS[size] // 64))
            return Target(LIST, segment, start, size=size, length=count)
        self._bound(segment, start, count + 1)
        tag = self.word(segment, start)
        data, pointers, number = tag >> 32 & 0xFFFF, tag >> 48, (tag & 0xFFFFFFFF) >> 2
        if tag & 3 != _STRUCT or number * (data + pointers) > count:
            raise PointerError("a list of structs whose tag and size do not fit")
        return Target(LIST, segment, start + 1, data, pointers, size, number)

    def _bound(self, segment: int, start: int, words: int) -> None:
        if segment >= len(self.segments) or start < 0 or start + words > len(self.segments[segment]) // WORD:
            raise PointerError(f"{words} words at {start} of segment {segment} are not in the message")


def check(message: Message, max_nesting: int = MAX_NESTING, max_pointers: int = MAX_POINTERS) -> None:
    """Make sure that a message is a tree whose pointers lead to words of their own, at most ``max_nesting`` deep.

    Raises PointerError, OverlapError, NestingError, AmplificationError. Takes a byte for each word, and microseconds
    for each pointer.
    """
    marks = [bytearray(len(segment) // WORD) for segment in message.segments]
    free = sum(map(len, marks))
    _claim(marks, 0, 0, 1)
    stack: list[tuple[int, Iterator[int]]] = [(0, iter((0,)))]
    while stack:
        segment, pointers = stack[-1]
        at = next(pointers, -1)
        if at < 0:
            stack.pop()
            continue
        max_pointers -= 1
        if max_pointers < 0:
            raise AmplificationError("more pointers than are allowed")
        pointer = _U64.unpack_from(message.segments[segment], at * WORD)[0]
        if not pointer:
            continue
        found = _near(marks, segment, at, pointer) if not pointer & 3 else _extent(message, marks, segment, at)
        if found is None:
            continue
        if len(stack) > max_nesting:
            raise NestingError(f"pointers nested deeper than {max_nesting}")
        segment, first, words, inner, empty = found
        _claim(marks, segment, first, words)
        free -= empty
        if free < 0:
            raise AmplificationError(f"a list of {empty} elements without content")
        if inner:
            stack.append((segment, iter(inner)))


def _near(marks: list[bytearray], segment: int, at: int, pointer: int) -> _Extent:
    """Return what ``_extent`` does for the most common kind, a struct in the same segment, at less cost."""
    offset, size = pointer >> 2 & 0x3FFFFFFF, pointer >> 32
    start = at + 1 + (offset - (1 << 30) if offset >> 29 else offset)
    data = size & 0xFFFF
    words = data + (size >> 16)
    if start < 0 or start + words > len(marks[segment]):
        raise PointerError(f"{words} words at {start} of segment {segment} are not in the message")
    return segment, start, words, range(start + data, start + words), 0


def _extent(message: Message, marks: list[bytearray], segment: int, at: int) -> _Extent | None:
    """Return what a pointer leads to: its segment, first word and words, where its pointers are, elements of no size.

    None: it leads to no words. Claims the landing pads on the way.
    """
    pads: list[tuple[int, int, int]] = []
    kind, segment, start, data, pointers, size, count = message.follow(segment, at, pads)
    for pad in pads:
        _claim(marks, *pad)
    if kind in (NULL, CAPABILITY):
        return None
    if kind == STRUCT:
        words = data + pointers
        return segment, start, words, range(start + data, start + words), 0
    if size == COMPOSITE:
        step = data + pointers
        words = count * step
        heads = range(start + data, start + data + words, step) if pointers else range(0)
        inner = (word for head in heads for word in range(head, head + pointers))
        return segment, start - 1, words + 1, inner, 0 if words else count
    words = -(-count * ELEMENT_BITS[size] // 64)
    return segment, start, words, range(start, start + count) if size == POINTERS else (), 0 if words else count


def _claim(marks: list[bytearray], segment: int, start: int, words: int) -> None:
    """Take note that words are used; raises OverlapError."""
    row = marks[segment]
    if row.find(1, start, start + words) >= 0:
        raise OverlapError(f"words {start} to {start + words} of segment {segment} are used twice")
    row[start : start + words] = b"\1" * words

"""Messages to values: every pointer is checked before it is followed, and what is read is counted.

A list may have been written by another version of the schema: integers and bytes are read from lists of structs that
begin with them, structs from lists of integers or pointers, as the C++ library does.
"""

from __future__ import annotations

from typing import Any

from .errors import KjException

MAX_SEGMENTS = 512
_BITS = (0, 1, 8, 16, 32, 64, 64)  # of a list's elements
_BIT, _BYTE, _POINTER, _COMPOSITE = 1, 2, 6, 7
_STRUCT, _LIST, _FAR, _OTHER = range(4)


class Reader:
    """One message, and how much of it may still be read."""

    def __init__(self, data: bytes, words: int, nesting: int) -> None:
        self.segments = _segments(data)
        self.words = words
        self.nesting = nesting

    def root(self, layout: tuple[Any, ...]) -> dict[str, Any]:
        """Return the values of the root."""
        return self._struct(layout, self._follow(0, 0), self.nesting)

    def _spend(self, words: int) -> None:
        self.words -= words
        if self.words < 0:
            raise KjException("Exceeded message traversal limit.")

    def _word(self, segment: int, at: int) -> int:
        data = self.segments[segment] if segment < len(self.segments) else b""
        if at < 0 or at * 8 + 8 > len(data):
            raise KjException("Message contains out-of-bounds pointer.")
        return int.from_bytes(data[at * 8 : at * 8 + 8], "little")

    def _follow(self, segment: int, at: int) -> tuple[int, int, int] | None:
        """Return pointer, segment and first word of the target; None for null."""
        pointer = self._word(segment, at)
        base = at + 1
        if pointer & 3 == _FAR:
            double = pointer >> 2 & 1
            segment, at = pointer >> 32, (pointer & 0xFFFFFFFF) >> 3
            self._spend(1 + double)
            pointer = self._word(segment, at)
            base = at + 1
            if double:
                far, pointer = pointer, self._word(segment, at + 1)
                if far & 3 != _FAR:
                    raise KjException("Second word of double-far pad must be far pointer.")
                segment, base = far >> 32, (far & 0xFFFFFFFF) >> 3
                pointer &= ~0xFFFFFFFC  # its offset has no meaning
        if not pointer:
            return None
        if pointer & 3 > _LIST:
            raise KjException("Message contains a pointer that is no struct and no list.")
        offset = (pointer & 0xFFFFFFFF) >> 2
        return pointer, segment, base + (offset - (1 << 30) if offset >> 29 else offset)

    def _span(self, segment: int, start: int, words: int) -> None:
        if segment >= len(self.segments) or start < 0 or (start + words) * 8 > len(self.segments[segment]):
            raise KjException("Message contained out-of-bounds pointer.")
        self._spend(words)

    def _struct(self, layout: tuple[Any, ...], found: tuple[int, int, int] | None, nesting: int) -> dict[str, Any]:
        if found is None:
            return self._fields(layout, (0, 0, 0, 0), nesting)
        pointer, segment, start = found
        _nested(nesting)
        if pointer & 3 != _STRUCT:
            raise KjException("Message contains non-struct pointer where struct pointer was expected.")
        data, pointers = pointer >> 32 & 0xFFFF, pointer >> 48
        self._span(segment, start, data + pointers)
        return self._fields(layout, (segment, start * 64, data * 64, pointers), nesting - 1)

    def _fields(self, layout: tuple[Any, ...], place: tuple[int, int, int, int], nesting: int) -> dict[str, Any]:
        """Return the values of a struct: its place is the segment, the first bit, bits of data, pointers."""
        segment, start, bits, pointers = place
        values: dict[str, Any] = {}
        for name, kind, offset, extra in layout[2]:
            width = _WIDTHS.get(kind)
            if width is not None:
                known = offset + width <= bits
                value = self._bits(segment, start + offset, width) if known else 0
                values[name] = bool(value ^ extra) if kind == "bool" else value ^ extra
            elif offset < pointers:
                found = self._follow(segment, (start + bits) // 64 + offset)
                if found is not None:
                    values[name] = self._pointer(kind, extra, found, nesting)
        return values

    def _bits(self, segment: int, start: int, width: int) -> int:
        data = self.segments[segment]
        if width < 8:
            return data[start >> 3] >> (start & 7) & 1
        return int.from_bytes(data[start >> 3 : (start + width) >> 3], "little")

    def _pointer(self, kind: str, extra: Any, found: tuple[int, int, int], nesting: int) -> Any:
        if kind in ("text", "data"):
            return self._blob(kind, found)
        if kind == "struct":
            return self._struct(extra, found, nesting)
        return self._list(extra[0], extra[1], found, nesting)

    def _blob(self, kind: str, found: tuple[int, int, int]) -> bytes | str:
        pointer, segment, start = found
        if pointer & 3 != _LIST or pointer >> 32 & 7 != _BYTE:
            raise KjException("Message contains non-list or non-byte pointer where " + kind + " was expected.")
        size = pointer >> 35
        self._span(segment, start, (size + 7) // 8)
        data = self.segments[segment][start * 8 : start * 8 + size]
        if kind == "data":
            return data
        if data[-1:] != b"\0":
            raise KjException("Message contains text that is not NUL-terminated.")
        return data[:-1].decode()

    def _list(self, kind: str, extra: Any, found: tuple[int, int, int], nesting: int) -> list[Any]:
        pointer, segment, start = found
        _nested(nesting)
        if pointer & 3 != _LIST:
            raise KjException("Message contains non-list pointer where list pointer was expected.")
        size, count = pointer >> 32 & 7, pointer >> 35
        if size == _COMPOSITE:
            self._span(segment, start, count + 1)
            tag = self._word(segment, start)
            bits, pointers = (tag >> 32 & 0xFFFF) * 64, tag >> 48
            step, words, count = bits + pointers * 64, count, (tag & 0xFFFFFFFF) >> 2
            start += 1
            if tag & 3 != _STRUCT or count * step > words * 64:
                raise KjException("INLINE_COMPOSITE list's elements overrun its word count.")
        else:
            step = _BITS[size]
            bits, pointers = (0, 1) if size == _POINTER else (step, 0)
            self._span(segment, start, (count * step + 63) // 64)
        if not step:
            self._spend(count)
        self._fit(kind, size, bits, pointers)
        places = [(segment, start * 64 + at * step, bits, pointers) for at in range(count)]
        return [self._element(kind, extra, place, nesting - 1) for place in places]

    def _fit(self, kind: str, size: int, bits: int, pointers: int) -> None:
        """Make sure that elements as they were written can be read as ``kind``."""
        if kind == "struct":
            fits = size != _BIT
        elif kind in _WIDTHS:
            fits = bits >= _WIDTHS[kind] and (size == _BIT) == (kind == "bool")
        else:
            fits = pointers > 0
        if not fits:
            raise KjException("Message contained list with incompatible element type.")

    def _element(self, kind: str, extra: Any, place: tuple[int, int, int, int], nesting: int) -> Any:
        segment, start, bits, _ = place
        if kind == "struct":
            return self._fields(extra, place, nesting)
        if kind in _WIDTHS:
            value = self._bits(segment, start, _WIDTHS[kind])
            return bool(value) if kind == "bool" else value
        found = self._follow(segment, (start + bits) // 64)
        if found is not None:
            return self._pointer(kind, extra, found, nesting)
        return {"text": "", "data": b"", "list": []}[kind]


_WIDTHS = {"bool": 1, "u8": 8, "u16": 16, "u32": 32, "u64": 64}


def _nested(nesting: int) -> None:
    if nesting <= 0:
        raise KjException("Message is too deeply-nested or contains cycles.")


def _segments(data: bytes) -> list[bytes]:
    count = int.from_bytes(data[:4], "little") + 1
    at = (count // 2 + 1) * 8
    if len(data) < 8 or count > MAX_SEGMENTS or at > len(data):
        raise KjException("Message ends prematurely in segment table.")
    segments = []
    for number in range(1, count + 1):
        size = int.from_bytes(data[4 * number : 4 * number + 4], "little") * 8
        if at + size > len(data):
            raise KjException("Message ends prematurely.")
        segments.append(data[at : at + size])
        at += size
    return segments

"""Values to messages of one segment, in the order in which they are given."""

from __future__ import annotations

from struct import pack
from typing import Any

from .errors import KjException

_WIDTHS = {"bool": 1, "u8": 8, "u16": 16, "u32": 32, "u64": 64}
_SIZES = {"bool": 1, "u8": 2, "u16": 3, "u32": 4, "u64": 5}  # codes of lists of integers
_BYTE, _POINTER, _COMPOSITE = 2, 6, 7
_MAX = 1 << 29


def build(layout: tuple[Any, ...], values: dict[str, Any]) -> bytes:
    """Return the message whose root holds ``values``; raises KjException."""
    builder = _Builder()
    builder.struct(0, layout, values)
    return pack("<II", 0, len(builder.data) // 8) + bytes(builder.data)


class _Builder:
    def __init__(self) -> None:
        self.data = bytearray(8)

    def _append(self, size: int) -> int:
        """Return the first byte of ``size`` new ones, in whole words."""
        start = len(self.data)
        self.data.extend(bytes((size + 7) // 8 * 8))
        return start

    def _point(self, at: int, start: int, kind: int, upper: int) -> None:
        self.data[at : at + 8] = pack("<II", (((start - at) // 8 - 1) << 2 & 0xFFFFFFFF) | kind, upper)

    def struct(self, at: int, layout: tuple[Any, ...], values: dict[str, Any]) -> None:
        words, pointers = layout[0], layout[1]
        start = self._append((words + pointers) * 8) if words + pointers else at
        self._point(at, start, 0, words | pointers << 16)
        self.fields(start, layout, values)

    def fields(self, start: int, layout: tuple[Any, ...], values: dict[str, Any]) -> None:
        known = {field[0]: field for field in layout[2]}
        for name, value in values.items():
            if name not in known:
                raise KjException("struct has no such member; name = " + str(name))
            _, kind, offset, extra = known[name]
            if kind in _WIDTHS:
                self._number(start * 8 + offset, kind, value, extra)
            else:
                self._pointer(start + (layout[0] + offset) * 8, kind, extra, value)

    def _number(self, bit: int, kind: str, value: Any, default: int) -> None:
        if type(value) is not (bool if kind == "bool" else int):
            raise KjException("Value type mismatch: " + repr(type(value)) + " for " + kind)
        width = _WIDTHS[kind]
        if not 0 <= value < 1 << width:
            raise KjException("Value out-of-range for requested type.; value = " + str(value))
        value = int(value) ^ default
        if width < 8:
            mask = 1 << (bit & 7)
            self.data[bit >> 3] = self.data[bit >> 3] & ~mask | value << (bit & 7)
        else:
            self.data[bit >> 3 : (bit + width) >> 3] = value.to_bytes(width // 8, "little")

    def _pointer(self, at: int, kind: str, extra: Any, value: Any) -> None:
        expected = {"struct": dict, "list": list, "data": bytes, "text": str}[kind]
        if type(value) is not expected:
            raise KjException("Value type mismatch: " + repr(type(value)) + " for " + kind)
        if kind == "struct":
            self.struct(at, extra, value)
        elif kind == "list":
            self._list(at, extra[0], extra[1], value)
        else:
            data = value if kind == "data" else value.encode() + b"\0"
            if len(data) >= _MAX:
                raise KjException("text blob too big")
            start = self._append(len(data))
            self.data[start : start + len(data)] = data
            self._point(at, start, 1, _BYTE | len(data) << 3)

    def _list(self, at: int, kind: str, extra: Any, values: list[Any]) -> None:
        count = len(values)
        if kind == "struct":
            step = (extra[0] + extra[1]) * 8
            start = self._append(8 + count * step)
            self._point(at, start, 1, _COMPOSITE | (count * step // 8) << 3)
            self.data[start : start + 8] = pack("<II", count << 2, extra[0] | extra[1] << 16)
            for number, value in enumerate(values):
                if type(value) is not dict:
                    raise KjException("Value type mismatch: " + repr(type(value)) + " for struct")
                self.fields(start + 8 + number * step, extra, value)
        elif kind in _WIDTHS:
            width = _WIDTHS[kind]
            start = self._append((count * width + 7) // 8)
            self._point(at, start, 1, _SIZES[kind] | count << 3)
            for number, value in enumerate(values):
                self._number(start * 8 + number * width, kind, value, 0)
        else:
            start = self._append(count * 8)
            self._point(at, start, 1, _POINTER | count << 3)
            for number, value in enumerate(values):
                self._pointer(start + number * 8, kind, extra, value)

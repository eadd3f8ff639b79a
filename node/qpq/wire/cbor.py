"""Deterministic CBOR (RFC 8949 section 4.2.1), the part of it that wire version 1 uses.

Unsigned integers, byte strings, UTF-8 text, arrays, maps with ascending unsigned keys and
booleans, every head in its shortest form and of definite length. What ``decode`` accepts,
``encode`` gives back byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from qpq.wire.errors import (
    DuplicateKeyError,
    FieldError,
    IndefiniteLengthError,
    InvalidTextError,
    NotShortestError,
    ShapeError,
    TooDeepError,
    TooLongError,
    TooManyItemsError,
    TrailingBytesError,
    TruncatedError,
    UnsortedKeysError,
    UnsupportedItemError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Value: TypeAlias = int | bytes | str | list["Value"] | dict[int, "Value"]
"""What ``decode`` returns; ``bool`` is an ``int`` here as in Python."""

Encodable: TypeAlias = "int | bytes | str | Sequence[Encodable] | Mapping[int, Encodable]"

MAX_UINT: Final = 0xFFFF_FFFF_FFFF_FFFF

_UINT, _NINT, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_INLINE = 24  # arguments below stand in the initial byte
_ONE, _TWO, _FOUR, _EIGHT, _INDEFINITE = 24, 25, 26, 27, 31
_FALSE, _TRUE = 20, 21
_UINT_FOUR = 0x1A  # the initial byte of an integer of four bytes
_BYTES_0, _BYTES_ONE, _BYTES_TWO = 0x40, 0x58, 0x59  # of byte strings: length inline (up to 0x57), in one byte, in two

_HEAD1 = Struct(">BB").pack
_HEAD2 = Struct(">BH").pack
_HEAD4 = Struct(">BI").pack
_HEAD8 = Struct(">BQ").pack
_SMALL: Final = tuple(bytes((n,)) for n in range(_INLINE))


@dataclass(frozen=True, slots=True)
class Limits:
    """What one ``decode`` may cost: nesting of containers, items in all, bytes in all."""

    depth: int = 4
    items: int = 1024
    length: int = 33_024


DEFAULT_LIMITS: Final = Limits()


def encode(value: Encodable) -> bytes:
    """Return the one encoding of ``value``.

    Raises FieldError for integers outside 0..2^64-1, InvalidTextError for lone surrogates,
    UnsupportedItemError for types the wire does not have.
    """
    parts: list[bytes] = []
    _append(parts, value)
    return b"".join(parts)


def decode(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Value:
    """Return the value whose one encoding ``data`` is; raises a WireError that names what is wrong."""
    value, end = decode_prefix(data, limits)
    if end != len(data):
        raise TrailingBytesError(f"{len(data) - end} bytes after the item")
    return value


def decode_prefix(data: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[Value, int]:
    """Return the value that ``data`` begins with and where it ends; raises a WireError that names what is wrong.

    What follows the item counts against ``limits.length`` and is not looked at.
    """
    if len(data) > limits.length:
        raise TooLongError(f"{len(data)} bytes, at most {limits.length} are allowed")
    reader = _Reader(data, limits.items)
    return reader.item(limits.depth), reader.position


def uint(value: int) -> bytes:
    """Return the encoding of an unsigned integer; raises FieldError outside 0..2^64-1."""
    return _SMALL[value] if 0 <= value < _INLINE else _head(_UINT, value)


def byte_string(value: bytes) -> bytes:
    """Return the encoding of a byte string."""
    return _head(_BYTES, len(value)) + value


def array_head(count: int) -> bytes:
    """Return the head of an array of ``count`` items, which the caller puts behind it."""
    return _head(_ARRAY, count)


def expect(name: str, items: list[Any], shape: list[type]) -> None:
    """Raise ShapeError unless the decoded ``items`` have exactly the types of ``shape``."""
    if [type(item) for item in items] != shape:
        raise ShapeError(f"{name} is [{', '.join(kind.__name__ for kind in shape)}]")


def read_head(data: bytes, position: int) -> tuple[int, int, int]:
    """Read the head at ``position``: major type, argument and the position after it.

    For the look at the first items of a frame that is not decoded; raises WireError.
    """
    reader = _Reader(data, 0)
    reader.position = position
    major, argument = reader.head()
    return major, argument, reader.position


def _head(major: int, argument: int) -> bytes:
    first = major << 5
    if argument < 0 or argument > MAX_UINT:
        raise FieldError(f"{argument} is not an unsigned integer of 64 bits")
    if argument < _INLINE:
        return bytes((first | argument,))
    if argument <= 0xFF:  # noqa: PLR2004 (the widths of a head's argument)
        return _HEAD1(first | _ONE, argument)
    if argument <= 0xFFFF:  # noqa: PLR2004
        return _HEAD2(first | _TWO, argument)
    if argument <= 0xFFFF_FFFF:  # noqa: PLR2004
        return _HEAD4(first | _FOUR, argument)
    return _HEAD8(first | _EIGHT, argument)


def _append(parts: list[bytes], value: Encodable) -> None:
    if isinstance(value, bool):
        parts.append(b"\xf5" if value else b"\xf4")
    elif isinstance(value, int):
        parts.append(_head(_UINT, value))
    elif isinstance(value, bytes):
        parts += (_head(_BYTES, len(value)), value)
    elif isinstance(value, str):
        parts.append(_text(value))
    elif isinstance(value, (list, tuple)):
        parts.append(_head(_ARRAY, len(value)))
        for item in value:
            _append(parts, item)
    elif isinstance(value, dict):
        parts.append(_head(_MAP, len(value)))
        if any(type(key) is not int for key in value):
            raise UnsupportedItemError("a map key must be an unsigned integer")
        for key in sorted(value):
            parts.append(_head(_UINT, key))
            _append(parts, value[key])
    else:
        raise UnsupportedItemError(f"the wire has no {type(value).__name__}")


def _text(value: str) -> bytes:
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise InvalidTextError("text with a lone surrogate") from None
    return _head(_TEXT, len(data)) + data


class _Reader:
    """The position in the bytes and what is left of the budget of items."""

    __slots__ = ("data", "items_left", "position")

    def __init__(self, data: bytes, items: int) -> None:
        self.data = data
        self.position = 0
        self.items_left = items

    def head(self) -> tuple[int, int]:
        """Read one head: major type and argument; booleans are (7, 20) and (7, 21)."""
        data, position = self.data, self.position
        if position >= len(data):
            raise TruncatedError(f"an item is missing at byte {position}")
        initial = data[position]
        major, info = initial >> 5, initial & 31
        if info < _INLINE:
            self.position = position + 1
            return major, info
        if info == _INDEFINITE:
            raise IndefiniteLengthError(f"indefinite length at byte {position}")
        if info > _EIGHT or major == _SIMPLE:
            raise UnsupportedItemError(f"byte {position} is {initial:#04x}, which the wire does not use")
        width = 1 << (info - _ONE)
        end = position + 1 + width
        if end > len(data):
            raise TruncatedError(f"the head at byte {position} is cut off")
        argument = int.from_bytes(data[position + 1 : end], "big")
        if argument < _INLINE or (width > 1 and argument >> (width << 2) == 0):
            raise NotShortestError(f"{argument} in {width} bytes at byte {position}")
        self.position = end
        return major, argument

    def item(self, depth: int) -> Value:
        """Read one item that may hold ``depth`` more levels of containers."""
        start = self.position
        major, argument = self.head()
        if major == _UINT:
            return argument
        if major in (_BYTES, _TEXT):
            data = self._string(argument)
            return data if major == _BYTES else _utf8(data, start)
        if major in (_ARRAY, _MAP):
            if depth == 0:
                raise TooDeepError(f"a container too deep at byte {start}")
            self._spend(argument << (major - _ARRAY), start)
            return self._array(argument, depth - 1) if major == _ARRAY else self._map(argument, depth - 1)
        if major == _SIMPLE and argument in (_FALSE, _TRUE):
            return argument == _TRUE
        raise UnsupportedItemError(f"byte {start} is {self.data[start]:#04x}, which the wire does not use")

    def _string(self, length: int) -> bytes:
        start = self.position
        end = start + length
        if end > len(self.data):
            raise TruncatedError(f"{length} bytes should follow byte {start}, {len(self.data) - start} do")
        self.position = end
        return self.data[start:end]

    def _spend(self, items: int, start: int) -> None:
        """Take the items of a container from the budget; each needs a byte, so a short rest is a cut."""
        if items > self.items_left:
            raise TooManyItemsError(f"{items} more items at byte {start}, {self.items_left} are allowed")
        if items > len(self.data) - self.position:
            raise TruncatedError(f"{items} items should follow byte {start}")
        self.items_left -= items

    def _array(self, count: int, depth: int) -> list[Value]:
        # Integers that are small or of four bytes, and strings, nearly all of every frame, are read without a call.
        data, position, end = self.data, self.position, len(self.data)
        items: list[Value] = []
        append = items.append
        for _ in range(count):
            initial = data[position] if position < end else 0xFF
            if initial < _INLINE:
                append(initial)
                position += 1
                continue
            if initial == _BYTES_ONE and position + 1 < end and data[position + 1] >= _INLINE:
                start = position + 2
                position = start + data[position + 1]
            elif _BYTES_0 <= initial < _BYTES_ONE:
                start = position + 1
                position = start + initial - _BYTES_0
            elif initial == _BYTES_TWO and position + 2 < end and data[position + 1]:
                start = position + 3
                position = start + (data[position + 1] << 8 | data[position + 2])
            elif initial == _UINT_FOUR and position + 4 < end and (data[position + 1] or data[position + 2]):
                append(int.from_bytes(data[position + 1 : position + 5], "big"))
                position += 5
                continue
            else:
                self.position = position
                append(self.item(depth))
                position = self.position
                continue
            if position > end:
                raise TruncatedError(f"{position - start} bytes should follow byte {start}, {end - start} do")
            append(data[start:position])
        self.position = position
        return items

    def _map(self, count: int, depth: int) -> dict[int, Value]:
        pairs: dict[int, Value] = {}
        last = -1
        for _ in range(count):
            start = self.position
            major, key = self.head()
            if major != _UINT:
                raise UnsupportedItemError(f"the map key at byte {start} is no unsigned integer")
            if key == last:
                raise DuplicateKeyError(f"the map key {key} comes twice")
            if key < last:
                raise UnsortedKeysError(f"the map key {key} comes after {last}")
            last = key
            pairs[key] = self.item(depth)
        return pairs


def _utf8(data: bytes, start: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidTextError(f"the text at byte {start} is not UTF-8") from None

"""The length in front of each frame: a variable-length integer of QUIC (RFC 9000 section 16), shortest form only."""

from __future__ import annotations

from struct import Struct
from typing import Final

from qpq.wire.errors import FieldError, NotShortestError

MAX_VARINT: Final = (1 << 62) - 1

_ONE = 1 << 6
_TWO = 1 << 14
_FOUR = 1 << 30
_PACK2 = Struct(">H").pack
_PACK4 = Struct(">I").pack
_PACK8 = Struct(">Q").pack


def encode_varint(value: int) -> bytes:
    """Return 1, 2, 4 or 8 bytes; raises FieldError outside 0..2^62-1."""
    if value < 0 or value > MAX_VARINT:
        raise FieldError(f"{value} is no length")
    if value < _ONE:
        return bytes((value,))
    if value < _TWO:
        return _PACK2(value | 0x4000)
    if value < _FOUR:
        return _PACK4(value | 0x8000_0000)
    return _PACK8(value | 0xC000_0000_0000_0000)


def decode_varint(data: bytes | bytearray, position: int) -> tuple[int, int] | None:
    """Return the value at ``position`` and the position after it; None: more bytes are needed.

    Raises NotShortestError.
    """
    if position >= len(data):
        return None
    first = data[position]
    width = 1 << (first >> 6)
    if width == 1:
        return first, position + 1
    end = position + width
    if end > len(data):
        return None
    value = int.from_bytes(data[position:end], "big") & ((1 << (8 * width - 2)) - 1)
    if value < 1 << (4 * width - 2):
        raise NotShortestError(f"the length {value} in {width} bytes")
    return value, end

"""CBOR (RFC 8949) without tags, floats and indefinite lengths; pure Python that MicroPython runs too.

Integers of 64 bits and a sign, byte strings, text, arrays, maps, booleans and None. What of the real package's input
is left out raises CBOREncodeError or CBORDecodeError and says so.
"""

from __future__ import annotations

from struct import pack

MAX_DEPTH = 64
"""Levels of arrays and maps; a router's stack is short."""

_UINT, _NINT, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_CONSTANTS = {20: False, 21: True, 22: None}
_LIMIT = 1 << 64


class CBORError(Exception):
    """The root."""


class CBOREncodeError(CBORError):
    """A value that cannot be encoded."""


class CBORDecodeError(CBORError):
    """Bytes that are no CBOR, or CBOR that is left out here."""


class CBORDecodeEOF(CBORDecodeError):
    """Bytes that end inside of an item."""


def dumps(obj: object, *, canonical: bool = False) -> bytes:
    """Return the encoding of ``obj``; with ``canonical`` the keys of maps are sorted by length, then bytes."""
    parts: list[bytes] = []
    _encode(parts, obj, canonical, MAX_DEPTH)
    return b"".join(parts)


def loads(s: bytes | bytearray | memoryview) -> object:
    """Return the first value in ``s``; what follows it is not looked at."""
    if not isinstance(s, (bytes, bytearray, memoryview)):
        raise TypeError("a bytes-like object is required, not " + repr(type(s).__name__))
    return _decode(bytes(s), 0, MAX_DEPTH)[0]


def _head(major: int, argument: int) -> bytes:
    first = major << 5
    if argument < 24:
        return bytes((first | argument,))
    if argument < 1 << 8:
        return pack(">BB", first | 24, argument)
    if argument < 1 << 16:
        return pack(">BH", first | 25, argument)
    if argument < 1 << 32:
        return pack(">BI", first | 26, argument)
    if argument < _LIMIT:
        return pack(">BQ", first | 27, argument)
    raise CBOREncodeError("integers of more than 64 bits are not built in")


def _encode(parts: list[bytes], value: object, canonical: bool, depth: int) -> None:
    if value is None or value is True or value is False:
        parts.append(b"\xf6" if value is None else b"\xf5" if value else b"\xf4")
    elif isinstance(value, int):
        parts.append(_head(_UINT, value) if value >= 0 else _head(_NINT, -1 - value))
    elif isinstance(value, str):
        data = value.encode()
        parts += (_head(_TEXT, len(data)), data)
    elif isinstance(value, (bytes, bytearray)):
        parts += (_head(_BYTES, len(value)), bytes(value))
    elif not isinstance(value, (list, tuple, dict)):
        raise CBOREncodeError("cannot encode type " + repr(type(value)))
    elif depth == 0:
        raise CBOREncodeError("more than " + str(MAX_DEPTH) + " levels")
    elif isinstance(value, dict):
        parts.append(_head(_MAP, len(value)))
        parts += _pairs(value, canonical, depth - 1)
    else:
        parts.append(_head(_ARRAY, len(value)))
        for item in value:
            _encode(parts, item, canonical, depth - 1)


def _pairs(value: dict[object, object], canonical: bool, depth: int) -> list[bytes]:
    pairs = []
    for key, item in value.items():
        encoded_key: list[bytes] = []
        encoded_item: list[bytes] = []
        _encode(encoded_key, key, canonical, depth)
        _encode(encoded_item, item, canonical, depth)
        pairs.append((b"".join(encoded_key), b"".join(encoded_item)))
    if canonical:
        pairs.sort(key=lambda pair: (len(pair[0]), pair[0]))
    return [part for pair in pairs for part in pair]


def _read(data: bytes, position: int, length: int) -> tuple[bytes, int]:
    end = position + length
    if end > len(data):
        missing = length - (len(data) - position)
        raise CBORDecodeEOF("premature end of stream (short of " + str(missing) + " bytes)")
    return data[position:end], end


def _read_head(data: bytes, position: int) -> tuple[int, int, int]:
    first, position = _read(data, position, 1)
    major, argument = first[0] >> 5, first[0] & 31
    if major in (_TAG, _SIMPLE):
        if major == _SIMPLE and argument in _CONSTANTS:
            return major, argument, position
        raise CBORDecodeError("item " + hex(first[0]) + ": tags, floats and other simple values are not built in")
    if argument >= 28:
        raise CBORDecodeError("item " + hex(first[0]) + ": reserved, or of indefinite length, which is not built in")
    if argument >= 24:
        field, position = _read(data, position, 1 << (argument - 24))
        argument = int.from_bytes(field, "big")
    return major, argument, position


def _decode(data: bytes, position: int, depth: int) -> tuple[object, int]:
    major, argument, position = _read_head(data, position)
    if major == _UINT:
        return argument, position
    if major == _NINT:
        return -1 - argument, position
    if major == _SIMPLE:
        return _CONSTANTS[argument], position
    if major in (_BYTES, _TEXT):
        field, position = _read(data, position, argument)
        return (field if major == _BYTES else _text(field)), position
    if depth == 0:
        raise CBORDecodeError("more than " + str(MAX_DEPTH) + " levels")
    return _array(data, position, argument, depth - 1) if major == _ARRAY else _map(data, position, argument, depth - 1)


def _text(field: bytes) -> str:
    try:
        return field.decode("utf-8")
    except UnicodeError:
        raise CBORDecodeError("error decoding text string") from None


def _array(data: bytes, position: int, count: int, depth: int) -> tuple[object, int]:
    items = []
    for _ in range(count):
        item, position = _decode(data, position, depth)
        items.append(item)
    return items, position


def _map(data: bytes, position: int, count: int, depth: int) -> tuple[object, int]:
    pairs: dict[object, object] = {}
    for _ in range(count):
        key, position = _decode(data, position, depth)
        if isinstance(key, (list, dict)):
            raise CBORDecodeError("arrays and maps as keys of maps are not built in")
        value, position = _decode(data, position, depth)
        pairs[key] = value
    return pairs, position

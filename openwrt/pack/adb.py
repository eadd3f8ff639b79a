"""apk's binary container, version 3: a tree of typed values, then blocks of signatures and of data.

A value is one little-endian word: four bits of type, 28 bits of number or of offset from the payload's start. What
an offset points at is aligned to its own words, and equal things are stored once.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum
from typing import TYPE_CHECKING

from openwrt.errors import PackError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Schema(IntEnum):
    """What the root object is; the four letters on disk."""

    PACKAGE = int.from_bytes(b"pckg", "little")
    INDEX = int.from_bytes(b"indx", "little")


class Kind(IntEnum):
    """The type of a value."""

    INT = 0x1
    INT_32 = 0x2
    BLOB_8 = 0x8
    BLOB_16 = 0x9
    BLOB_32 = 0xA
    ARRAY = 0xD
    OBJECT = 0xE


class Block(IntEnum):
    """The type of a block."""

    ADB = 0
    SIGNATURE = 1
    DATA = 2


NULL = 0
_IMMEDIATE = 1 << 28  # what is below fits into the word itself
_HEAD = struct.Struct("<BBHI")  # compatible version, version, reserved, root
_BLOCK_LIMIT = 1 << 30
_ALIGNMENT = 8


class Payload:
    """The values of one container, written front to back; ``finish`` puts the root in."""

    def __init__(self) -> None:
        self._data = bytearray(_HEAD.size)
        self._seen: dict[tuple[int, bytes], int] = {}

    def integer(self, number: int) -> int:
        """Return the value of a number below 2^32."""
        if number < _IMMEDIATE:
            return _value(Kind.INT, number)
        return _value(Kind.INT_32, self._put(struct.pack("<I", number), 4))

    def blob(self, data: bytes | str, *, shared: bool = True) -> int:
        """Return the value of a string; the one of an empty string is NULL, as apk writes it."""
        data = data.encode() if isinstance(data, str) else data
        if not data:
            return NULL
        for kind, width in ((Kind.BLOB_8, 1), (Kind.BLOB_16, 2), (Kind.BLOB_32, 4)):
            if len(data) < 1 << (8 * width):
                return _value(kind, self._put(len(data).to_bytes(width, "little") + data, width, shared=shared))
        msg = f"a string of {len(data):,} bytes is too long for a package"
        raise PackError(msg)

    def array(self, values: Sequence[int]) -> int:
        """Return the value of an array; NULL when it is empty."""
        return self._slots(Kind.ARRAY, [*values])

    def object(self, fields: Mapping[int, int]) -> int:
        """Return the value of an object from its fields' numbers (from 1) to their values."""
        last = max((number for number, value in fields.items() if value != NULL), default=0)
        return self._slots(Kind.OBJECT, [fields.get(number, NULL) for number in range(1, last + 1)])

    def finish(self, root: int) -> bytes:
        """Return the payload with this root."""
        _HEAD.pack_into(self._data, 0, 0, 0, 0, root)
        return bytes(self._data)

    def _slots(self, kind: Kind, values: list[int]) -> int:
        if not values:
            return NULL
        return _value(kind, self._put(struct.pack(f"<{len(values) + 1}I", len(values) + 1, *values), 4))

    def _put(self, data: bytes, alignment: int, *, shared: bool = True) -> int:
        known = self._seen.get((alignment, data)) if shared else None
        if known is not None:
            return known
        self._data += bytes(-len(self._data) % alignment)
        at = len(self._data)
        self._data += data
        if shared:
            self._seen[alignment, data] = at
        return at


def offset_of(value: int) -> int:
    """Return where in the payload the thing is that a value points at."""
    return value % _IMMEDIATE


def block(kind: Block, *parts: bytes) -> bytes:
    """Return a block: head, content, padding.

    Raises:
        PackError: the content needs the extended head, which no router's package does.
    """
    size = 4 + sum(map(len, parts))
    if size >= _BLOCK_LIMIT:
        msg = f"a block of {size:,} bytes is too long for a package"
        raise PackError(msg)
    return struct.pack("<I", (kind << 30) | size) + b"".join(parts) + bytes(-size % _ALIGNMENT)


def container(schema: Schema, blocks: Sequence[bytes]) -> bytes:
    """Return the file: everything but the first four bytes deflated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    plain = b"ADB." + struct.pack("<I", schema) + b"".join(blocks)
    return b"ADBd" + packer.compress(plain) + packer.flush()


def _value(kind: Kind, number: int) -> int:
    if number >= _IMMEDIATE:
        msg = "the package's list of files is too long"
        raise PackError(msg)
    return (kind << 28) | number

"""The snapshot's bytes: a head, then blocks of operations, each block whole or not there at all.

A block is ``u32be length || u32be CRC-32 || operations``, an operation ``u32be length || CBOR array`` of its
number here and its fields (a missing ``via`` is empty, a state its place in ``schema.STATES``). What one
transaction wrote never stands in two blocks, so a power cut never parts it. A cut leaves at most one block
that is not whole, the last: reading ends there.
"""

from __future__ import annotations

from binascii import crc32
from dataclasses import dataclass
from struct import Struct, error
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from qpq.mesh.records import (
    Checkpoint,
    InboxInsert,
    KnownInsert,
    MessageDelete,
    Operation,
    OutboxInsert,
    OutboxState,
    ProofInsert,
    RelayInsert,
    TombstoneDelete,
    TombstoneInsert,
    UserDelete,
)
from qpq.store.faults import StoreDamagedError, StoreTooNewError
from qpq.store.schema import STATES
from qpq.wire.cbor import Limits, decode, encode
from qpq.wire.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qpq.crypto.identity import Address

HEAD: Final = b"qpqsnap1"
"""What a snapshot begins with; its last byte is the version, to be raised with any change of the records below."""

_BLOCK = Struct(">II")
_ITEM = Struct(">I")
_LIMITS = Limits(depth=2, items=64, length=1 << 18)


@dataclass(frozen=True, slots=True)
class Booted:
    """The node has started; ``boot`` is the number of that start."""

    boot: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A user has read a message of the own inbox."""

    user: Address
    message_id: bytes
    sender: Address


Logged: TypeAlias = "Operation | Booted | Seen"

TYPES: Final[tuple[type[Any], ...]] = (
    Booted,
    Checkpoint,
    OutboxInsert,
    OutboxState,
    InboxInsert,
    Seen,
    MessageDelete,
    UserDelete,
    TombstoneInsert,
    TombstoneDelete,
    RelayInsert,
    ProofInsert,
    KnownInsert,
)
_NUMBERS = {kind: number for number, kind in enumerate(TYPES)}


def item(operation: Logged) -> bytes:
    """Return one operation as bytes for ``block``."""
    kind = type(operation)
    fields = [_plain(name, getattr(operation, name)) for name in kind.__slots__]
    data = encode([_NUMBERS[kind], *fields])
    return _ITEM.pack(len(data)) + data


def block(items: Iterable[bytes]) -> bytes:
    """Return a block of operations."""
    data = b"".join(items)
    return _BLOCK.pack(len(data), crc32(data)) + data


def read(data: bytes) -> tuple[list[Logged], int]:
    """Return the operations of a snapshot, and how many of its bytes are whole.

    Raises StoreTooNewError for one of a later version, StoreDamagedError for what is none.
    """
    if not data.startswith(HEAD):
        if len(data) < len(HEAD) and HEAD.startswith(data):
            return [], 0
        if data.startswith(HEAD[:-1]) and data[len(HEAD) - 1] > HEAD[-1]:
            raise StoreTooNewError("the snapshot was written by a newer version: update the program")
        raise StoreDamagedError("the snapshot is none of this program, or is damaged: move it away to start without it")
    found: list[Logged] = []
    at = len(HEAD)
    while at + _BLOCK.size <= len(data):
        size, check = _BLOCK.unpack_from(data, at)
        body = data[at + _BLOCK.size : at + _BLOCK.size + size]
        if len(body) != size or crc32(body) != check:
            break
        found += _items(body)
        at += _BLOCK.size + size
    return found, at


def _items(body: bytes) -> Iterator[Logged]:
    at = 0
    while at < len(body):
        try:
            (size,) = _ITEM.unpack_from(body, at)
            fields: Any = decode(body[at + _ITEM.size : at + _ITEM.size + size], _LIMITS)
            kind = TYPES[fields[0]]
            yield kind(*[_value(name, value) for name, value in zip(kind.__slots__, fields[1:], strict=True)])
        except (
            WireError,
            error,
            ValueError,
            TypeError,
            LookupError,
        ) as fault:  # whole, so a fault of the writing program
            raise StoreDamagedError(f"the snapshot holds what this program does not write: {fault}") from None
        at += _ITEM.size + size


def _plain(name: str, value: Any) -> Any:
    if name == "state":
        return STATES.index(value)
    return b"" if value is None else value


def _value(name: str, value: Any) -> Any:
    if name == "state":
        return STATES[value]
    return (value or None) if name == "via" else value

"""The snapshot's bytes: a head, then blocks of operations, each block whole or not there at all.

A block is ``u32be length || u32be CRC-32 || operations``, an operation ``u32be length || CBOR array`` of its
number here and its fields (a missing ``via`` or ``sealed`` is empty, a state its place in ``schema.STATES``). What one
transaction wrote never stands in two blocks, so a power cut never parts it. A cut leaves at most one block
that is not whole, the last: reading ends there.

With a vault (``store.vault``) the head is another one, and instead of the operations a block has
``nonce 12 || ciphertext || tag 16``, bound to the head and to where in the file the block stands.
"""

from __future__ import annotations

from binascii import crc32
from dataclasses import dataclass
from struct import Struct, error
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from qpq.mesh.parcel import Parcel
from qpq.mesh.records import (
    BundleDelete,
    BundlePut,
    Checkpoint,
    InboxInsert,
    InboxMark,
    KnownInsert,
    MessageDelete,
    Operation,
    OutboxInsert,
    OutboxReseal,
    OutboxState,
    PrekeyDelete,
    PrekeyPut,
    ProofInsert,
    RelayInsert,
    SessionDelete,
    SessionPut,
    TombstoneDelete,
    TombstoneInsert,
    UserDelete,
)
from qpq.store.codec import LOG, PLAIN
from qpq.store.faults import StoreDamagedError, StoreSealedError, StoreTooNewError
from qpq.store.schema import STATES
from qpq.wire.cbor import Limits, decode, encode
from qpq.wire.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qpq.crypto.identity import Address
    from qpq.store.codec import Codec

HEAD: Final = b"qpqsnap5"
"""What a snapshot begins with; its last byte is the version, to be raised with any change of the records below."""

EARLIER: Final = (b"qpqsnap1", b"qpqsnap2", b"qpqsnap3", b"qpqsnap4")
"""What those of earlier versions begin with: they lack some records, and records what was added at their end since.
They are only read."""

SEALED_HEAD: Final = b"qpqseal" + HEAD[-1:]
"""The same of one that is sealed."""

EARLIER_SEALED: Final = (b"qpqseal2", b"qpqseal3", b"qpqseal4")

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


@dataclass(frozen=True, slots=True)
class Stopped:
    """The node has stopped in order: all that happened stands before this, where it is the last of the file."""


@dataclass(frozen=True, slots=True)
class HomePosted:
    """A message has come into a client's inbox, where it has the number ``seq``; ``ends``: seconds of life."""

    recipient: bytes
    seq: int
    ends: int
    data: bytes


@dataclass(frozen=True, slots=True)
class HomeRead:
    """A client has acknowledged its messages up to a number."""

    recipient: bytes
    up_to: int


@dataclass(frozen=True, slots=True)
class HomeExpired:
    """Clients' messages whose time was over at ``life`` seconds were deleted."""

    life: int


@dataclass(frozen=True, slots=True)
class HomeLast:
    """The newest message that a client's inbox has ever had was number ``last``."""

    recipient: bytes
    last: int


Logged: TypeAlias = "Operation | Booted | Seen | Stopped | Parcel | HomePosted | HomeRead | HomeExpired | HomeLast"

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
    OutboxReseal,
    SessionPut,
    SessionDelete,
    PrekeyPut,
    PrekeyDelete,
    BundlePut,
    BundleDelete,
    Stopped,
    Parcel,
    HomePosted,
    HomeRead,
    HomeExpired,
    HomeLast,
    InboxMark,
)
_OPTIONAL = ("via", "sealed")
_NUMBERS = {kind: number for number, kind in enumerate(TYPES)}


def item(operation: Logged) -> bytes:
    """Return one operation as bytes for ``block``."""
    kind = type(operation)
    fields = [_plain(name, getattr(operation, name)) for name in kind.__slots__]
    data = encode([_NUMBERS[kind], *fields])
    return _ITEM.pack(len(data)) + data


def head(codec: Codec = PLAIN) -> bytes:
    """Return what a snapshot begins with."""
    return SEALED_HEAD if codec.number else HEAD


def block(items: Iterable[bytes], at: int = 0, codec: Codec = PLAIN) -> bytes:
    """Return a block of operations that is to stand at byte ``at`` of the file."""
    data = codec.data(LOG, _place(at), b"".join(items))
    return _BLOCK.pack(len(data), crc32(data)) + data


def read(data: bytes, codec: Codec = PLAIN) -> tuple[list[Logged], int]:
    """Return the operations of a snapshot, and how many of its bytes are whole and as ``codec`` wants them.

    Raises StoreTooNewError for one of a later version, StoreSealedError for one that ``codec`` cannot open,
    StoreDamagedError for what is none.
    """
    sealed = data.startswith((SEALED_HEAD, *EARLIER_SEALED))
    codec, wanted = (codec if sealed else PLAIN), codec
    if not sealed and not data.startswith((HEAD, *EARLIER)):
        if len(data) < len(HEAD) and (HEAD.startswith(data) or SEALED_HEAD.startswith(data)):
            return [], 0
        if data.startswith((HEAD[:-1], SEALED_HEAD[:-1])) and data[len(HEAD) - 1] > HEAD[-1]:
            raise StoreTooNewError("the snapshot was written by a newer version: update the program")
        raise StoreDamagedError("the snapshot is none of this program, or is damaged: move it away to start without it")
    if sealed and not codec.number:
        raise StoreSealedError(
            "the snapshot is sealed and there is no vault.json: put it back, or move the snapshot away to start without"
        )
    found, whole = _blocks(data, codec)
    return found, whole if codec.number == wanted.number and data.startswith((HEAD, SEALED_HEAD)) else 0


def _blocks(data: bytes, codec: Codec) -> tuple[list[Logged], int]:
    found: list[Logged] = []
    at = len(HEAD)
    while at + _BLOCK.size <= len(data):
        size, check = _BLOCK.unpack_from(data, at)
        body = data[at + _BLOCK.size : at + _BLOCK.size + size]
        if len(body) != size or crc32(body) != check:
            break
        found += _items(codec.read_data(LOG, _place(at), body))
        at += _BLOCK.size + size
    return found, at


def _place(at: int) -> tuple[bytes]:
    return (at.to_bytes(8, "big"),)


def _items(body: bytes) -> Iterator[Logged]:
    at = 0
    while at < len(body):
        try:
            (size,) = _ITEM.unpack_from(body, at)
            fields: Any = decode(body[at + _ITEM.size : at + _ITEM.size + size], _LIMITS)
            kind = TYPES[fields[0]]
            names = kind.__slots__[: len(fields) - 1]  # what is missing at the end has a default, or is missed
            yield kind(*[_value(name, value) for name, value in zip(names, fields[1:], strict=True)])
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
    return None if name in _OPTIONAL and value == b"" else value

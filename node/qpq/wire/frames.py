"""The frames of a link, wire version 1, as values (docs/protocol.md, section Frames).

A value that exists fits the wire: making one with a field out of its range raises FieldError.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from qpq.wire.errors import FieldError

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, Identity
    from qpq.wire.envelope import Envelope

WIRE_VERSION: Final = 1
FIRST_NON_CRITICAL: Final = 128

MAX_FRAME: Final = 33_024
"""Bytes of the longest frame without its length prefix: the largest envelope and what TRANSFER adds."""
MIN_MAX_FRAME: Final = 1024
"""The least a node may state as its ``max_frame``; every frame but TRANSFER can be made to fit."""
MAX_EXTENSIONS: Final = 16
MAX_EXTENSION: Final = 32
"""Bytes of one extension's value."""
MAX_PROOFS: Final = 16
MAX_ANSWERS: Final = 16
MAX_RETRACTED: Final = 16
MAX_SHORT_IDS: Final = 32
SHORT_ID_SIZE: Final = 16
"""Bytes of an envelope id that IHAVE, GRAFT and RECONCILE name it by: its first."""
MAX_RANGES: Final = 900
"""Bytes of one RECONCILE's ranges: a packet's worth."""
MAX_PATH: Final = 64
TOKEN_SIZE: Final = 8
MAX_REASON: Final = 128
"""Bytes of a BYE's reason in UTF-8."""
KEM_HASH_SIZE: Final = 12

_U8 = 0xFF
_U16 = 0xFFFF
_U32 = 0xFFFF_FFFF
_U64 = 0xFFFF_FFFF_FFFF_FFFF
_KEY = 32
_SIGNATURE = 64
_RECEIPT_SECRET = 16
_HASH = 32
_MAX_TIME = 253_402_300_799  # the last second of the year 9999


class FrameType(IntEnum):
    """Element 0 of a frame; from 128 on a type that is not known is skipped, below it closes the link."""

    HELLO = 0
    TRANSFER = 1
    RECEIPT = 2
    CUSTODY = 3
    ANNOUNCE = 4
    BYE = 5
    ROUTE = 6
    RETRACT = 7
    QUERY = 8
    IHAVE = 9
    GRAFT = 10
    PRUNE = 11
    RECONCILE = 12
    PROBE = 13


class CloseCode(IntEnum):
    """QUIC application error codes (RFC 9000 section 20.2) and the codes of BYE."""

    NONE = 0
    SHUTDOWN = 1
    DUPLICATE = 2
    VERSION = 3
    MALFORMED = 4
    UNKNOWN_CRITICAL = 5
    NOT_PERMITTED = 6
    FULL = 7
    TURN_OVER = 8
    SELF = 9
    IDENTITY = 10
    TOO_SLOW = 11


class Role(IntEnum):
    """What a node offers its neighbours."""

    LEAF = 0
    RELAY = 1
    HUB = 2


class CustodyCode(IntEnum):
    """The answer to a TRANSFER that is not a receipt."""

    ACCEPTED = 0
    DUPLICATE = 1
    EXPIRED = 2
    TOO_MANY_HOPS = 3
    QUOTA = 4
    BAD_SIGNATURE = 5
    UNREADABLE = 6
    NOT_HERE = 7
    BLOCKED = 8


@dataclass(frozen=True, slots=True)
class Hello:
    """First frame both ways: what this end speaks, offers and knows of time.

    ``time`` is Unix seconds (0: unknown), ``load`` 0 idle to 255 full, ``links`` the number
    of other usable links, ``max_frame`` bytes, ``store_free`` KiB, ``extensions`` uint keys
    to byte strings; unknown keys are ignored.
    """

    version_min: int
    version_max: int
    features: int
    boot: int
    time: int
    time_trusted: bool
    load: int
    links: int
    role: Role
    max_frame: int
    store_free: int
    extensions: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _within("version_min", self.version_min, 1, self.version_max)
        _within("version_max", self.version_max, 1, _U8)
        _within("features", self.features, 0, _U64)
        _within("boot", self.boot, 0, _U32)
        _within("time", self.time, 0, _MAX_TIME)
        _within("load", self.load, 0, _U8)
        _within("links", self.links, 0, _U16)
        _within("max_frame", self.max_frame, MIN_MAX_FRAME, _U32)
        _within("store_free", self.store_free, 0, _U32)
        _within("number of extensions", len(self.extensions), 0, MAX_EXTENSIONS)
        for key, value in self.extensions.items():
            _within("extension key", key, 0, _U16)
            _within("extension length", len(value), 0, MAX_EXTENSION)


@dataclass(frozen=True, slots=True)
class Transfer:
    """An envelope in motion with what each holder changes: hops so far, copies handed over, age (s)."""

    hops: int
    copies: int
    age: int
    envelope: Envelope

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        if not (0 <= self.hops <= _U8 and 0 <= self.copies <= _U8 and 0 <= self.age <= _U32):
            raise FieldError(f"hops {self.hops}, copies {self.copies} or age {self.age} does not fit the wire")


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proofs of delivery, 1 to 16, each ``(s, h)``: 16 and 32 bytes (wire.receipts)."""

    proofs: tuple[tuple[bytes, bytes], ...]

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _within("number of proofs", len(self.proofs), 1, MAX_PROOFS)
        for secret, envelope_hash in self.proofs:
            if len(secret) != _RECEIPT_SECRET or len(envelope_hash) != _HASH:
                raise FieldError("a proof is a secret of 16 bytes and a hash of 32")


@dataclass(frozen=True, slots=True)
class Custody:
    """What became of transferred envelopes, 1 to 16: ``(envelope id, code)`` each."""

    answers: tuple[tuple[bytes, CustodyCode], ...]

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _within("number of answers", len(self.answers), 1, MAX_ANSWERS)
        for envelope_id, _code in self.answers:
            _exactly("envelope id", envelope_id, _HASH)


@dataclass(frozen=True, slots=True)
class Announce:
    """A user says, signed with the address key, which node serves it (wire.announce).

    ``boot`` and ``counter`` order announces; ``kem_hash`` is the first 12 bytes of the hash of
    the KEM key or empty; ``hops`` is outside the signature.
    """

    hops: int
    address: Address
    node: Identity
    boot: int
    counter: int
    capabilities: int
    kem_hash: bytes
    signature: bytes

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _within("hops", self.hops, 0, _U8)
        _exactly("address", self.address, _KEY)
        _exactly("node", self.node, _KEY)
        _within("boot", self.boot, 0, _U32)
        _within("counter", self.counter, 0, _U32)
        _within("capabilities", self.capabilities, 0, _U32)
        if self.kem_hash:
            _exactly("kem_hash", self.kem_hash, KEM_HASH_SIZE)
        _exactly("signature", self.signature, _SIGNATURE)


@dataclass(frozen=True, slots=True)
class Route:
    """A neighbour's route to an announced address.

    ``hops`` links (1 or more) and ``cost`` (sixteenths of a perfect link, 65535: unusable) are the
    neighbour's own word, nobody signs them; ``announce`` is what the owner signed, its ``hops`` 0.
    """

    hops: int
    cost: int
    announce: Announce

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _within("hops", self.hops, 1, _U8)
        _within("cost", self.cost, 0, _U16)
        _within("hops of the announce", self.announce.hops, 0, 0)


@dataclass(frozen=True, slots=True)
class Retract:
    """The sender's routes to 1 to 16 addresses are gone."""

    addresses: tuple[Address, ...]

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _within("number of addresses", len(self.addresses), 1, MAX_RETRACTED)
        for address in self.addresses:
            _exactly("address", address, _KEY)


@dataclass(frozen=True, slots=True)
class Query:
    """A node asks the mesh for a route to ``target``; signed by the asking node (wire.query).

    ``boot`` and ``counter`` order one asker's queries; ``hops`` is outside the signature.
    """

    hops: int
    target: Address
    asker: Identity
    boot: int
    counter: int
    signature: bytes

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _within("hops", self.hops, 0, _U8)
        _exactly("target", self.target, _KEY)
        _exactly("asker", self.asker, _KEY)
        _within("boot", self.boot, 0, _U32)
        _within("counter", self.counter, 0, _U32)
        _exactly("signature", self.signature, _SIGNATURE)


@dataclass(frozen=True, slots=True)
class IHave:
    """Short ids (16 bytes, 1 to 32) of flooded envelopes that the sender holds."""

    short_ids: tuple[bytes, ...]

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _short_ids(self.short_ids)


@dataclass(frozen=True, slots=True)
class Graft:
    """The sender wants these flooded envelopes (1 to 32 short ids); ``eager``: and new ones from now on."""

    eager: bool
    short_ids: tuple[bytes, ...]

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _short_ids(self.short_ids)


@dataclass(frozen=True, slots=True)
class Prune:
    """The sender gets new flooded envelopes elsewhere: only their ids from now on (PlumTree)."""


@dataclass(frozen=True, slots=True)
class Reconcile:
    """One step of range-based set reconciliation; ``ranges`` is read by wire.reconcile (1 to 900 bytes)."""

    ranges: bytes

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _within("length of the ranges", len(self.ranges), 1, MAX_RANGES)


class ProbeKind(IntEnum):
    """Which way a probe goes."""

    REQUEST = 0
    ANSWER = 1
    UNREACHABLE = 2


@dataclass(frozen=True, slots=True)
class Probe:
    """A ping (``trace`` False) or a trace on its way to ``target``, or back.

    ``token`` is 8 random bytes of the asker; ``hops`` links crossed this way; with ``trace`` each
    node a REQUEST crosses adds its id to ``path`` (at most 64), and the answer carries it back.
    """

    kind: ProbeKind
    hops: int
    trace: bool
    token: bytes
    target: Address
    path: tuple[Identity, ...]

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _within("hops", self.hops, 0, _U8)
        _exactly("token", self.token, TOKEN_SIZE)
        _exactly("target", self.target, _KEY)
        _within("length of the path", len(self.path), 0, MAX_PATH)
        for node in self.path:
            _exactly("node", node, _KEY)


@dataclass(frozen=True, slots=True)
class Bye:
    """The link ends on purpose; ``retry_after`` seconds (0: at will), ``reason`` at most 128 bytes."""

    code: int
    retry_after: int
    reason: str

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _within("code", self.code, 0, _U16)
        _within("retry_after", self.retry_after, 0, _U32)
        try:
            size = len(self.reason.encode())
        except UnicodeEncodeError:
            raise FieldError("the reason has a lone surrogate") from None
        _within("length of the reason", size, 0, MAX_REASON)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A non-critical frame of a type this version does not know."""

    type: int


Frame: TypeAlias = (
    Hello
    | Transfer
    | Receipt
    | Custody
    | Announce
    | Bye
    | Route
    | Retract
    | Query
    | IHave
    | Graft
    | Prune
    | Reconcile
    | Probe
    | Skipped
)


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise FieldError(f"{name} is {value}, it must be {least} to {most}")


def _short_ids(short_ids: tuple[bytes, ...]) -> None:
    _within("number of ids", len(short_ids), 1, MAX_SHORT_IDS)
    for short_id in short_ids:
        _exactly("short id", short_id, SHORT_ID_SIZE)


def _exactly(name: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise FieldError(f"{name} has {len(value)} bytes, it must have {size}")

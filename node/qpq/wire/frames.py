"""The frames of a link, wire version 1, as values (docs/protocol.md, section Frames).

A value that exists fits the wire: making one with a field out of its range raises FieldError.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from qpq.wire.errors import FieldError
from qpq.wire.fields import U8, U16, U32, U64, exactly, within
from qpq.wire.frames_mesh import Announce, Graft, IHave, Probe, Prune, Query, Reconcile, Retract, Route

if TYPE_CHECKING:
    from qpq.wire.envelope import Envelope

WIRE_VERSION: Final = 1
FIRST_NON_CRITICAL: Final = 128

SHORT_RECEIPTS: Final = 1
"""Feature bit: takes SHORT_RECEIPT."""
LEANING: Final = 2
"""Feature bit: lets acknowledgements of answers wait, and answers that wait for none (docs/protocol.md, section 3)."""
REFUSES_ONE: Final = 4
"""Feature bit: knows the custody code LATER."""
FEATURES: Final = SHORT_RECEIPTS | LEANING | REFUSES_ONE
"""What this program does, as its HELLO says."""

MAX_FRAME: Final = 33_024
"""Bytes of the longest frame without its length prefix: the largest envelope and what TRANSFER adds."""
MIN_MAX_FRAME: Final = 1024
"""The least a node may state as its ``max_frame``; every frame but TRANSFER can be made to fit."""
MAX_EXTENSIONS: Final = 16
MAX_EXTENSION: Final = 32
"""Bytes of one extension's value."""
MAX_PROOFS: Final = 16
MAX_ANSWERS: Final = 16
MAX_REASON: Final = 128
"""Bytes of a BYE's reason in UTF-8."""

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
    SHORT_RECEIPT = 14


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
    LATER = 9
    """Not this one now, which says nothing of others; for who has stated ``REFUSES_ONE``."""


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
        within("version_min", self.version_min, 1, self.version_max)
        within("version_max", self.version_max, 1, U8)
        within("features", self.features, 0, U64)
        within("boot", self.boot, 0, U32)
        within("time", self.time, 0, _MAX_TIME)
        within("load", self.load, 0, U8)
        within("links", self.links, 0, U16)
        within("max_frame", self.max_frame, MIN_MAX_FRAME, U32)
        within("store_free", self.store_free, 0, U32)
        within("number of extensions", len(self.extensions), 0, MAX_EXTENSIONS)
        for key, value in self.extensions.items():
            within("extension key", key, 0, U16)
            within("extension length", len(value), 0, MAX_EXTENSION)


@dataclass(frozen=True, slots=True)
class Transfer:
    """An envelope in motion with what each holder changes: hops so far, copies handed over, age (s)."""

    hops: int
    copies: int
    age: int
    envelope: Envelope

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        if not (0 <= self.hops <= U8 and 0 <= self.copies <= U8 and 0 <= self.age <= U32):
            raise FieldError(f"hops {self.hops}, copies {self.copies} or age {self.age} does not fit the wire")


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proofs of delivery, 1 to 16, each ``(s, h)``: 16 and 32 bytes (wire.receipts).

    ``answers``: all are of envelopes that came over the link they go back on; so their hashes need not.
    """

    proofs: tuple[tuple[bytes, bytes], ...]
    answers: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        within("number of proofs", len(self.proofs), 1, MAX_PROOFS)
        for secret, envelope_hash in self.proofs:
            if len(secret) != _RECEIPT_SECRET or len(envelope_hash) != _HASH:
                raise FieldError("a proof is a secret of 16 bytes and a hash of 32")


@dataclass(frozen=True, slots=True)
class Custody:
    """What became of transferred envelopes, 1 to 16: ``(envelope id, code)`` each."""

    answers: tuple[tuple[bytes, CustodyCode], ...]

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        within("number of answers", len(self.answers), 1, MAX_ANSWERS)
        for envelope_id, _code in self.answers:
            exactly("envelope id", envelope_id, _HASH)


@dataclass(frozen=True, slots=True)
class Bye:
    """The link ends on purpose; ``retry_after`` seconds (0: at will), ``reason`` at most 128 bytes."""

    code: int
    retry_after: int
    reason: str

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        within("code", self.code, 0, U16)
        within("retry_after", self.retry_after, 0, U32)
        try:
            size = len(self.reason.encode())
        except UnicodeEncodeError:
            raise FieldError("the reason has a lone surrogate") from None
        within("length of the reason", size, 0, MAX_REASON)


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

"""What the relays of two domains hand each other as the payload of ``relayEnqueue``.

The first byte says what it is, a CBOR array follows: 0, an envelope of a user of ``origin`` to one of ``to``; 1, the
receipt (s, h) of an envelope that somebody of ``origin`` has got and somebody of ``to`` had sent; 2, that an envelope
will not be delivered, and why; 3, a broadcast of an open channel that both share. Each names both domains, since relays
between them may carry it on; a broadcast is for the relay itself, which hands it on as its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from qpq.wire.cbor import Limits, decode, encode
from qpq.wire.domain import check_domain
from qpq.wire.envelope import decode_envelope, envelope_id
from qpq.wire.errors import FieldError, ShapeError, UnknownBodyError
from qpq.wire.receipts import HASH_SIZE, SECRET_SIZE, receipt_id

MAX_REASON: Final = 200
"""Bytes of a refusal's reason in UTF-8."""
MAX_PAYLOAD: Final = 36 * 1024

_LIMITS = Limits(depth=1, items=5, length=MAX_PAYLOAD)
_ID_SIZE = 32


@dataclass(frozen=True, slots=True)
class OutsideEnvelope:
    """An envelope from ``origin`` for a user of ``to``."""

    to: str
    origin: str
    envelope: bytes

    @property
    def message_id(self) -> bytes:
        """The envelope's id; raises WireError when it is none."""
        return envelope_id(decode_envelope(self.envelope))


@dataclass(frozen=True, slots=True)
class OutsideReceipt:
    """``secret`` and ``envelope_hash`` prove that an envelope from ``to`` was opened in ``origin``."""

    to: str
    origin: str
    secret: bytes
    envelope_hash: bytes

    @property
    def message_id(self) -> bytes:
        """The id of the envelope that it answers."""
        return receipt_id(self.secret, self.envelope_hash)


@dataclass(frozen=True, slots=True)
class OutsideRefusal:
    """The envelope ``message_id`` from ``to`` will not be delivered in ``origin``."""

    to: str
    origin: str
    message_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class OutsideBroadcast:
    """A channel envelope that is known in ``origin``, whoever made it, for all of ``to``."""

    to: str
    origin: str
    envelope: bytes

    @property
    def message_id(self) -> bytes:
        """The envelope's id; raises WireError when it is none."""
        return envelope_id(decode_envelope(self.envelope))


Outside: TypeAlias = "OutsideEnvelope | OutsideReceipt | OutsideRefusal | OutsideBroadcast"
KINDS: Final[tuple[type[Any], ...]] = (OutsideEnvelope, OutsideReceipt, OutsideRefusal, OutsideBroadcast)
"""By the first byte of a payload, which is also what the store calls ``kind``."""

_SHAPES: Final[tuple[list[type], ...]] = (
    [str, str, bytes],
    [str, str, bytes, bytes],
    [str, str, bytes, str],
    [str, str, bytes],
)


def encode_outside(value: Outside) -> bytes:
    """Return a payload; a reason that is too long is cut."""
    fields: list[Any] = [getattr(value, name) for name in type(value).__slots__]
    if isinstance(value, OutsideRefusal):
        fields[-1] = value.reason.encode()[:MAX_REASON].decode(errors="ignore")
    kind = KINDS.index(type(value))
    return bytes((kind,)) + encode(fields)


def decode_outside(payload: bytes) -> Outside:
    """Read a payload; raises UnknownBodyError for a kind of a later version, else WireError."""
    if not payload or payload[0] >= len(KINDS):
        raise UnknownBodyError("a payload of a kind that is not known here")
    kind = payload[0]
    items = decode(payload[1:], _LIMITS)
    if type(items) is not list or [type(item) for item in items] != _SHAPES[kind]:
        raise ShapeError("a payload that is not as it must be")
    fields = cast("list[Any]", items)
    for domain in fields[:2]:
        check_domain(domain)
    _check_sizes(kind, fields)
    return cast("Outside", KINDS[kind](*fields))


def _check_sizes(kind: int, fields: list[Any]) -> None:
    if kind == 1 and (len(fields[2]), len(fields[3])) != (SECRET_SIZE, HASH_SIZE):
        raise FieldError("a receipt has 16 and 32 bytes")
    if kind == KINDS.index(OutsideRefusal) and (
        len(fields[2]) != _ID_SIZE or len(fields[3].encode()) > MAX_REASON or not fields[3].isprintable()
    ):
        raise FieldError(f"a refusal has an id of {_ID_SIZE} bytes and up to {MAX_REASON} bytes of printable text")

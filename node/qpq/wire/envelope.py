"""The envelope of a message: what relays read, what its sender signs, and the id that follows from it.

The id is never sent. ``h`` is a hash of the signed fields without the receipt commitment ``c``,
the id a hash of ``c`` and ``h``, and the signature covers the id (docs/protocol.md, section Envelope).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, cast

from qpq.crypto.primitives import ed25519_verify, sha256
from qpq.wire.cbor import Limits, byte_string, decode, uint
from qpq.wire.errors import FieldError, ShapeError, UnknownVersionError

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity

ENVELOPE_VERSION: Final = 1
MAX_PAYLOAD: Final = 32_768
MAX_TTL: Final = 30 * 86_400
DEFAULT_TTL: Final = 7 * 86_400
DEFAULT_MAX_HOPS: Final = 5
MAX_TIME: Final = 253_402_300_799  # the last second of the year 9999
MAX_ENVELOPE: Final = MAX_PAYLOAD + 172
MAX_INNER: Final = 30_900
"""Bytes of an envelope that goes to another domain: padded, with the longest name of one (wire.crossing), in the
largest seal, it fits the payload of another."""
ADDRESS_SIZE: Final = 32
CHANNEL_TAG_SIZE: Final = 16
COMMITMENT_SIZE: Final = 16
SIGNATURE_SIZE: Final = 64

_LIMITS = Limits(depth=1, items=9, length=MAX_ENVELOPE)
_HASH_TAG = b"qpq/1/envelope"
_ID_TAG = b"qpq/1/id"
_SIGN_TAG = b"qpq/1/sign"
_MAX_HOPS = 255
_SHAPE = [int, bytes, bytes, int, int, int, bytes, bytes, bytes]

# Fields of known lengths with their length prefixes, what tagged_hash would make of them, in one call: those in front
# of the payload, for 32- and 16-byte recipients, and the two of the id.
_HASH_START = bytes((len(_HASH_TAG),)) + _HASH_TAG
_ID_START = bytes((len(_ID_TAG),)) + _ID_TAG + COMMITMENT_SIZE.to_bytes(4, "big")
_ID_MIDDLE = (32).to_bytes(4, "big")
_SIGNED_LONG = Struct(">I B I 32s I 32s I I I B I Q I".replace(" ", "")).pack
_SIGNED_SHORT = Struct(">I B I 32s I 16s I I I B I Q I".replace(" ", "")).pack


class Mode(IntEnum):
    """Who may read an envelope and what its sender and recipient fields mean."""

    UNICAST = 0
    SEALED_SENDER = 1
    CHANNEL = 2


_MODES = {mode.value: mode for mode in Mode}


@dataclass(frozen=True, slots=True)
class Envelope:
    """One signed message on its way; raises FieldError when made with values the wire cannot carry.

    ``recipient`` is a 32-byte address, for CHANNEL a 16-byte tag; ``ttl`` seconds (1 to 30 days);
    ``max_hops`` 1..255; ``timestamp`` Unix seconds (0: the sender has no trusted clock);
    ``commitment`` 16 bytes (wire.receipts); ``payload`` at most 32,768 sealed bytes.
    """

    mode: Mode
    urgent: bool
    sender: Address
    recipient: bytes
    ttl: int
    max_hops: int
    timestamp: int
    commitment: bytes
    payload: bytes
    signature: bytes

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        if (
            len(self.sender) != ADDRESS_SIZE
            or len(self.recipient) != (CHANNEL_TAG_SIZE if self.mode == Mode.CHANNEL else ADDRESS_SIZE)
            or len(self.commitment) != COMMITMENT_SIZE
            or len(self.signature) != SIGNATURE_SIZE
            or len(self.payload) > MAX_PAYLOAD
            or not 1 <= self.ttl <= MAX_TTL
            or not 1 <= self.max_hops <= _MAX_HOPS
            or not 0 <= self.timestamp <= MAX_TIME
        ):
            raise FieldError(_complaint(self))

    @property
    def element0(self) -> int:
        """Version, urgency and mode as the first element of the array (8..15)."""
        return ENVELOPE_VERSION << 3 | self.urgent << 2 | self.mode


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the CBOR array of nine, as it is stored; a link carries the same fields in TRANSFER."""
    return b"".join(
        (
            b"\x89",
            uint(envelope.element0),
            b"\x58\x20",
            envelope.sender,
            byte_string(envelope.recipient),
            uint(envelope.ttl),
            uint(envelope.max_hops),
            uint(envelope.timestamp),
            b"\x50",
            envelope.commitment,
            byte_string(envelope.payload),
            b"\x58\x40",
            envelope.signature,
        )
    )


def decode_envelope(data: bytes) -> Envelope:
    """Read what ``encode_envelope`` wrote; raises WireError. The signature is not verified here."""
    items = decode(data, _LIMITS)
    if type(items) is not list:
        raise ShapeError("an envelope is an array")
    return envelope_from_items(items)


def envelope_from_items(items: list[Any]) -> Envelope:
    """Make an envelope of the nine decoded elements; raises ShapeError, UnknownVersionError, FieldError."""
    if [type(item) for item in items] != _SHAPE:
        raise ShapeError("an envelope is [version and mode, sender, recipient, ttl, max hops, time, commitment, ...]")
    element0, sender, recipient, ttl, max_hops, timestamp, commitment, payload, signature = items
    if element0 >> 3 != ENVELOPE_VERSION:
        raise UnknownVersionError(f"envelope version {element0 >> 3}, this program speaks {ENVELOPE_VERSION}")
    mode = _MODES.get(element0 & 3)
    if mode is None:
        raise FieldError(f"envelope mode {element0 & 3} does not exist")
    return Envelope(
        mode,
        element0 & 4 != 0,
        cast("Address", sender),
        recipient,
        ttl,
        max_hops,
        timestamp,
        commitment,
        payload,
        signature,
    )


def envelope_hash(envelope: Envelope) -> bytes:
    """Return ``h``: the hash of everything that is signed but the commitment, 32 bytes."""
    recipient, payload = envelope.recipient, envelope.payload
    size = len(recipient)
    pack = _SIGNED_LONG if size == ADDRESS_SIZE else _SIGNED_SHORT
    fields = pack(
        1,
        envelope.element0,
        ADDRESS_SIZE,
        envelope.sender,
        size,
        recipient,
        4,
        envelope.ttl,
        1,
        envelope.max_hops,
        8,
        envelope.timestamp,
        len(payload),
    )
    return sha256(_HASH_START + fields + payload)


def envelope_id(envelope: Envelope) -> bytes:
    """Return the id, 32 bytes."""
    return id_of(envelope.commitment, envelope_hash(envelope))


def id_of(commitment: bytes, envelope_hash: bytes) -> bytes:
    """Return the id that follows from a commitment (16 bytes) and ``h`` (32 bytes)."""
    return sha256(b"".join((_ID_START, commitment, _ID_MIDDLE, envelope_hash)))


def sign_envelope(
    secret: SecretIdentity,
    *,
    recipient: bytes,
    payload: bytes,
    commitment: bytes,
    ttl: int = DEFAULT_TTL,
    max_hops: int = 0,
    timestamp: int = 0,
    mode: Mode = Mode.UNICAST,
    urgent: bool = False,
) -> Envelope:
    """Make the envelope from its sender's fields; ``max_hops`` 0 means 5, as in the reference.

    Raises FieldError for values the wire cannot carry.
    """
    unsigned = Envelope(
        mode,
        urgent,
        secret.address,
        recipient,
        ttl,
        max_hops or DEFAULT_MAX_HOPS,
        timestamp,
        commitment,
        payload,
        bytes(SIGNATURE_SIZE),
    )
    signature = secret.sign(_SIGN_TAG + envelope_id(unsigned))
    return Envelope(
        mode,
        urgent,
        unsigned.sender,
        recipient,
        ttl,
        unsigned.max_hops,
        timestamp,
        commitment,
        payload,
        signature,
    )


def verify_envelope(envelope: Envelope, identifier: bytes | None = None) -> bool:
    """Whether the sender signed this envelope; ``identifier`` saves computing the id once more."""
    if identifier is None:
        identifier = envelope_id(envelope)
    return ed25519_verify(envelope.sender, envelope.signature, _SIGN_TAG + identifier)


def _complaint(envelope: Envelope) -> str:
    return (
        f"an envelope with sender of {len(envelope.sender)}, recipient of {len(envelope.recipient)}, "
        f"commitment of {len(envelope.commitment)}, signature of {len(envelope.signature)} and payload of "
        f"{len(envelope.payload)} bytes, ttl {envelope.ttl}, max hops {envelope.max_hops}, "
        f"time {envelope.timestamp} does not fit the wire"
    )

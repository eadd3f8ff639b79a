"""The faults of bytes from a link: one class each, rooted in WireError."""

from __future__ import annotations

from qpq.errors import QpqError


class WireError(QpqError):
    """Bytes or fields that wire version 1 does not allow; drop them, count them, close the link they came over."""


class TruncatedError(WireError):
    """The bytes end inside an item."""


class TrailingBytesError(WireError):
    """Bytes follow the item that should be the last."""


class NotShortestError(WireError):
    """An integer or a length is not in its shortest form (RFC 8949 section 4.2.1)."""


class IndefiniteLengthError(WireError):
    """An item of indefinite length, which deterministic CBOR does not have."""


class UnsupportedItemError(WireError):
    """An item wire version 1 does not use: negative integer, tag, float, null, other simple value, reserved head."""


class InvalidTextError(WireError):
    """A text string that is not UTF-8."""


class UnsortedKeysError(WireError):
    """The keys of a map do not ascend."""


class DuplicateKeyError(WireError):
    """A map holds one key twice."""


class TooDeepError(WireError):
    """Arrays and maps are nested deeper than the limit."""


class TooManyItemsError(WireError):
    """There are more items than the limit."""


class TooLongError(WireError):
    """There are more bytes than the limit."""


class ShapeError(WireError):
    """Well-formed CBOR of the wrong shape: another number or type of elements than the structure has."""


class FieldError(WireError):
    """A field's value is outside of what the structure allows."""


class UnknownVersionError(WireError):
    """A version of an envelope or beacon that this program does not speak; update it."""


class UnknownBodyError(WireError):
    """A kind of message body that this program does not know; update it."""


class PaddingError(WireError):
    """Bytes after a message body that are not the one padding it may have."""


class FrameTooLongError(WireError):
    """A frame longer than the receiver's max_frame."""


class UnknownCriticalFrameError(WireError):
    """A frame of an unknown type below 128, which must not be skipped; update the older end."""


class EmptySlotError(WireError):
    """A key reference to a slot of the link's table that holds no key."""


class RedundantLiteralError(WireError):
    """A key sent in full although the link's table holds it."""


class DerError(WireError):
    """Bytes that are not the certificate in strict DER that they should be."""

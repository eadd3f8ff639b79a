"""The body of a message: what stands inside the seal, for the recipient alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from qpq.wire.cbor import Limits, decode, encode
from qpq.wire.envelope import MAX_PAYLOAD
from qpq.wire.errors import FieldError, ShapeError, UnknownBodyError

MESSAGE_ID_SIZE: Final = 16
SECRET_SIZE: Final = 16
MAX_TEXT: Final = 32_640
"""Bytes of a message's text in UTF-8: with the body's frame and 49 bytes of seal it fits a payload."""

_LIMITS = Limits(depth=1, items=4, length=MAX_PAYLOAD)
_SHORT = 3
_SHAPE = [int, bytes, str, bytes]


class BodyKind(IntEnum):
    """What a body holds."""

    TEXT = 0


@dataclass(frozen=True, slots=True)
class Body:
    """A text, the receipt secret ``s`` of its envelope (16 bytes) and the message's own id (16 bytes).

    The id stays the same when the message is sealed anew, ``secret`` does not; at first they are
    equal and only one of them travels. Raises FieldError when made with values the wire cannot carry.
    """

    secret: bytes
    text: str
    message_id: bytes

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        if len(self.secret) != SECRET_SIZE or len(self.message_id) != MESSAGE_ID_SIZE:
            raise FieldError("receipt secret and message id have 16 bytes each")
        try:
            size = len(self.text.encode())
        except UnicodeEncodeError:
            raise FieldError("the text has a lone surrogate") from None
        if size > MAX_TEXT:
            raise FieldError(f"the text has {size} bytes, at most {MAX_TEXT} are allowed: send it in parts")


def encode_body(body: Body) -> bytes:
    """Return the plaintext to seal."""
    if body.message_id == body.secret:
        return encode([BodyKind.TEXT, body.secret, body.text])
    return encode([BodyKind.TEXT, body.secret, body.text, body.message_id])


def decode_body(data: bytes) -> Body:
    """Read an opened seal; raises UnknownBodyError for a kind of later versions, else WireError."""
    items = decode(data, _LIMITS)
    if type(items) is not list or not items or type(items[0]) is not int:
        raise ShapeError("a body is an array that starts with its kind")
    if items[0] != BodyKind.TEXT:
        raise UnknownBodyError(f"bodies of kind {items[0]} are not known")
    if [type(item) for item in items] not in (_SHAPE, _SHAPE[:_SHORT]):
        raise ShapeError("a text body is [0, secret, text] or [0, secret, text, message id]")
    _, secret, text = items[:_SHORT]
    message_id = items[_SHORT] if len(items) > _SHORT else secret
    if len(items) > _SHORT and message_id == secret:
        raise ShapeError("a message id equal to the receipt secret is left out")
    return Body(secret, text, message_id)  # type: ignore[arg-type]

"""The body of an envelope: what stands inside the seal, for the recipient alone.

A text for a user, a word between the nodes of two users about the keys of their session, or what goes to and comes
from a gateway to other domains. Behind it there may be padding, so that a relay learns the length in steps only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from qpq.wire.cbor import Limits, decode_prefix, encode
from qpq.wire.envelope import MAX_PAYLOAD
from qpq.wire.errors import FieldError, PaddingError, ShapeError, UnknownBodyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.wire.crossing import Crossing

MESSAGE_ID_SIZE: Final = 16
SECRET_SIZE: Final = 16
ENVELOPE_ID_SIZE: Final = 32
MAX_TEXT: Final = 31_440
"""Bytes of a message's text in UTF-8: padded, and in the largest seal (crypto.sessions), it fits a payload."""
MAX_BUNDLE: Final = 1_536
"""Bytes of a bundle of keys (crypto.prekeys)."""
PADDING_STEP: Final = 256
"""Padded bodies have a multiple of that many bytes."""

_LIMITS = Limits(depth=1, items=6, length=MAX_PAYLOAD)
_SHORT = 3
_MARK = b"\x80"


class BodyKind(IntEnum):
    """What a body holds."""

    TEXT = 0
    KEYS_WANTED = 1
    KEYS = 2
    TURN = 3
    OUTWARD = 4
    INWARD = 5
    PROOF = 6
    LOOKUP = 7
    FOUND = 8
    REFUSAL = 9
    MARK = 10


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


@dataclass(frozen=True, slots=True)
class KeysWanted:
    """The sender has something for the recipient and asks for a bundle of keys. Raises FieldError."""

    secret: bytes

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _check_secret(self.secret)


@dataclass(frozen=True, slots=True)
class Keys:
    """A bundle of keys of the sender's (crypto.prekeys), because of the envelope ``about`` (its id, 32 bytes).

    That one asked for them, or showed that its sender had none, or could not be opened. Raises FieldError.
    """

    secret: bytes
    bundle: bytes
    about: bytes

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _check_secret(self.secret)
        if not 0 < len(self.bundle) <= MAX_BUNDLE or len(self.about) != ENVELOPE_ID_SIZE:
            raise FieldError(f"a bundle has 1 to {MAX_BUNDLE} bytes, an envelope id {ENVELOPE_ID_SIZE}")


@dataclass(frozen=True, slots=True)
class Turn:
    """Nothing but new keys, which its seal brings along. Raises FieldError."""

    secret: bytes

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _check_secret(self.secret)


AnyBody: TypeAlias = "Body | KeysWanted | Keys | Turn | Crossing"
"""Kinds from OUTWARD on are in ``wire.crossing``, which is loaded with the first of them: few meshes have gateways."""


def encode_body(body: AnyBody, step: int = 0) -> bytes:
    """Return the plaintext to seal, padded to the next multiple of ``step`` bytes (PADDING_STEP; 0: not at all)."""
    data = encode(_items(body))
    return pad(data, step) if step else data


def pad(data: bytes, step: int = PADDING_STEP) -> bytes:
    """Return an encoded body with the padding that brings it to the next multiple of ``step``, 1 to ``step`` bytes."""
    return data + _MARK + bytes(-(len(data) + 1) % step)


def decode_body(data: bytes) -> AnyBody:
    """Read an opened seal; raises UnknownBodyError for a kind of later versions, else WireError."""
    items, end = decode_prefix(data, _LIMITS)
    if type(items) is not list or not items or type(items[0]) is not int:
        raise ShapeError("a body is an array that starts with its kind")
    read = _READERS.get(items[0]) or _crossing_reader(items[0])
    if read is None:
        raise UnknownBodyError(f"bodies of kind {items[0]} are not known")
    if end != len(data):
        _check_padding(data, end)
    return read(items)


def _items(body: AnyBody) -> list[int | bytes | str]:
    if isinstance(body, Body):
        message: list[int | bytes | str] = [BodyKind.TEXT, body.secret, body.text]
        return message if body.message_id == body.secret else [*message, body.message_id]
    if isinstance(body, Keys):
        return [BodyKind.KEYS, body.secret, body.bundle, body.about]
    if isinstance(body, KeysWanted | Turn):
        return [BodyKind.KEYS_WANTED if isinstance(body, KeysWanted) else BodyKind.TURN, body.secret]
    return body.items()


def _text(items: list[Any]) -> Body:
    if [type(item) for item in items] not in ([int, bytes, str, bytes], [int, bytes, str]):
        raise ShapeError("a text body is [0, secret, text] or [0, secret, text, message id]")
    _, secret, text = items[:_SHORT]
    message_id = items[_SHORT] if len(items) > _SHORT else secret
    if len(items) > _SHORT and message_id == secret:
        raise ShapeError("a message id equal to the receipt secret is left out")
    return Body(secret, text, message_id)


def _wanted(items: list[Any]) -> KeysWanted:
    return KeysWanted(*_fields("a wish for keys is [1, secret]", items, [int, bytes]))


def _keys(items: list[Any]) -> Keys:
    return Keys(*_fields("a bundle's body is [2, secret, bundle, envelope id]", items, [int, bytes, bytes, bytes]))


def _turn(items: list[Any]) -> Turn:
    return Turn(*_fields("a turn of keys is [3, secret]", items, [int, bytes]))


_READERS: Final[dict[int, Callable[[list[Any]], AnyBody]]] = {
    BodyKind.TEXT: _text,
    BodyKind.KEYS_WANTED: _wanted,
    BodyKind.KEYS: _keys,
    BodyKind.TURN: _turn,
}


def _crossing_reader(kind: int) -> Callable[[list[Any]], AnyBody] | None:
    if not BodyKind.OUTWARD <= kind <= BodyKind.MARK:
        return None
    from qpq.wire.crossing import CROSSING_READERS  # noqa: PLC0415 (few meshes have gateways)

    return CROSSING_READERS[kind]


def _fields(shape: str, items: list[Any], types: list[type]) -> list[Any]:
    if [type(item) for item in items] != types:
        raise ShapeError(shape)
    return items[1:]


def _check_secret(secret: bytes) -> None:
    if len(secret) != SECRET_SIZE:
        raise FieldError("a receipt secret has 16 bytes")


def _check_padding(data: bytes, end: int) -> None:
    """Refuse anything behind a body but the one padding there is: else it could carry what nobody sees."""
    if len(data) % PADDING_STEP or len(data) - end > PADDING_STEP or data[end:].rstrip(b"\0") != _MARK:
        raise PaddingError(f"{len(data) - end} bytes after the body, which are no padding")

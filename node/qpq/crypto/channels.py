"""Channels: one 32-byte key for all who read and write, the tag envelopes show of it, and its text to share.

A sealed broadcast, format 1, is ``u8 1 || salt (16) || ciphertext || tag (16)``: ChaCha20-Poly1305
with nonce 0 under a key of its own, HKDF of channel key and salt, which binds the envelope's tag and
sender. Who holds the channel key can read and write; who wrote is proven by the envelope's signature.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from qpq.crypto import primitives
from qpq.crypto.errors import AuthenticationError, ChannelError, CryptoError, UnknownFormatError
from qpq.crypto.identity import ID_BYTES, Address, base32, parse_base32
from qpq.crypto.primitives import KEY_BYTES, kept, secret_hash, tagged_hash, taken

if TYPE_CHECKING:
    from collections.abc import Iterator

ID_SIZE: Final = 16
TAG_SIZE: Final = 16
ENTROPY_BYTES: Final = 16
FORMAT: Final = 1
OVERHEAD: Final = 1 + ENTROPY_BYTES + primitives.TAG_BYTES
MAX_TOPIC: Final = 64
"""Bytes of a topic in UTF-8."""
MAX_SIGNERS: Final = 8
DAY: Final = 86_400
SHARE_PREFIX: Final = "qpq-channel:"
MAX_SHARE: Final = 1024
"""Characters of a share text that are looked at, white space from mail and terminals included; 587 are the most."""

_OPEN_TAG = b"qpq/1/channel-open"
_ID_TAG = b"qpq/1/channel-id"
_DAY_INFO = b"qpq/1/channel-day"
_SEAL_INFO = b"qpq/1/channel-seal"
_SHARE_TAG = b"qpq/1/channel-share"
_NONCE = bytes(primitives.NONCE_BYTES)
_BODY = 1 + ENTROPY_BYTES
_CHECKSUM = 4
_SHARE_VERSION = 1
_MAX_DAY = 0xFFFF_FFFF


class ChannelKind(IntEnum):
    """Who may read and write a channel."""

    OPEN = 0
    """Whoever knows the topic: the key is made from it."""
    PRIVATE = 1
    """Whoever was given the key."""
    ANNOUNCEMENT = 2
    """Only the signers' messages count; whoever was given the key reads."""


@dataclass(frozen=True, slots=True)
class Channel:
    """What a reader knows of a channel; raises ChannelError when made with values that do not agree.

    ``topic`` is text of 1 to 64 bytes without control characters, for an open channel what its ``key`` is made from;
    ``signers`` are 1 to 8 addresses for an announcement channel, none for another.
    """

    topic: str
    key: bytes = field(repr=False)
    kind: ChannelKind
    signers: tuple[Address, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be shared; keep the key as a secret."""
        derived = open_key(self.topic)
        if len(self.key) != KEY_BYTES or (self.kind is ChannelKind.OPEN and self.key != derived):
            raise ChannelError("this is not the key of the channel")
        if self.kind is not ChannelKind.ANNOUNCEMENT:
            if self.signers:
                raise ChannelError("only an announcement channel has signers")
        elif not 1 <= len(set(self.signers)) == len(self.signers) <= MAX_SIGNERS:
            raise ChannelError(f"an announcement channel has 1 to {MAX_SIGNERS} signers, each once")
        elif any(len(signer) != ID_BYTES for signer in self.signers):
            raise ChannelError(f"a signer is an address of {ID_BYTES} bytes")
        object.__setattr__(self, "key", kept(self.key))

    @property
    def id(self) -> bytes:
        """The 16 bytes by which programs name the channel."""
        return channel_id(self.key)


def open_channel(topic: str) -> Channel:
    """Return the open channel of a topic; raises ChannelError."""
    return Channel(topic, open_key(topic), ChannelKind.OPEN)


def open_key(topic: str) -> bytes:
    """Return the key of a topic's open channel, 32 bytes, which is as public as the topic; raises ChannelError."""
    return tagged_hash(_OPEN_TAG, _topic_bytes(topic))


def channel_id(key: bytes) -> bytes:
    """Return a channel's id, 16 bytes; it tells nothing of the key and never travels."""
    return secret_hash(_ID_TAG, _checked(key))[:ID_SIZE]


def day_of(timestamp: int) -> int:
    """Return the day that an envelope of this timestamp is tagged for (0: no trusted clock)."""
    return timestamp // DAY


def day_tag(key: bytes, day: int) -> bytes:
    """Return the 16 bytes that envelopes of this day (0..2^32-1) show as recipient.

    Only who has the key can tell that two days' tags belong together.
    """
    if not 0 <= day <= _MAX_DAY:
        raise CryptoError(f"{day} is no day a tag can be made for")
    return primitives.hkdf_expand(_checked(key), _DAY_INFO + day.to_bytes(4, "big"), TAG_SIZE)


def seal_broadcast(key: bytes, entropy: bytes, plaintext: bytes, *, tag: bytes, sender: Address) -> bytes:
    """Return ``plaintext`` sealed for the readers of a channel, OVERHEAD (33) bytes longer.

    ``entropy`` is 16 random bytes, never used again; ``tag`` the envelope's recipient. Raises CryptoError
    for a wrong length.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise CryptoError(f"sealing a broadcast takes {ENTROPY_BYTES} random bytes, not {len(entropy)}")
    message_key = _message_key(key, entropy, tag, sender)
    return b"".join((bytes((FORMAT,)), entropy, primitives.aead_seal(message_key, _NONCE, plaintext)))


def open_broadcast(key: bytes, sealed: bytes, *, tag: bytes, sender: Address) -> bytes:
    """Return what ``seal_broadcast`` was given.

    Raises UnknownFormatError for a format this version lacks, AuthenticationError for whatever is cut,
    altered, or was sealed under another key, tag or sender.
    """
    if sealed[:1] != bytes((FORMAT,)):
        raise UnknownFormatError(f"a broadcast of format {sealed[:1].hex() or 'none'}: a newer qpq may open it")
    if len(sealed) < OVERHEAD:
        raise AuthenticationError(f"a broadcast of {len(sealed)} bytes is cut short")
    message_key = _message_key(key, sealed[1:_BODY], tag, sender)
    return primitives.aead_open(message_key, _NONCE, sealed[_BODY:])


def encode_share(channel: Channel) -> str:
    """Return the text that gives a channel to somebody else; of any but an open one it is a secret.

    Lower-case base32 behind ``qpq-channel:``, at most 587 characters; in capitals it means the same,
    and those fit the alphanumeric mode of a QR code.
    """
    topic = channel.topic.encode()
    key = b"" if channel.kind is ChannelKind.OPEN else channel.key
    data = taken(b"".join((bytes((_SHARE_VERSION, channel.kind, len(topic))), topic, key, *channel.signers)))
    return SHARE_PREFIX + base32(taken(data + _checksum(data)))


def decode_share(text: str) -> Channel:
    """Read a share text; white space and capitals do not matter.

    Raises UnknownFormatError for one of a later version, ChannelError for all else that is none.
    """
    if len(text) > MAX_SHARE:
        raise ChannelError(f"{len(text)} characters are too many for a channel's text: copy it again, alone")
    compact = "".join(text.split())
    if compact.isascii():
        compact = compact.lower()
    if not compact.startswith(SHARE_PREFIX):
        raise ChannelError(f"this is no channel's text: it begins with {SHARE_PREFIX}")
    raw = parse_base32(compact[len(SHARE_PREFIX) :])
    if raw is None or len(raw) <= _CHECKSUM or _checksum(raw[:-_CHECKSUM]) != raw[-_CHECKSUM:]:
        raise ChannelError("the channel's text is damaged: copy it again, whole")
    return _read_share(raw[:-_CHECKSUM])


def _read_share(data: bytes) -> Channel:
    if data[0] != _SHARE_VERSION:
        raise UnknownFormatError("this channel was shared by a newer qpq: use it there, or update this node")
    if len(data) < len(("version", "kind", "length")) or data[1] > ChannelKind.ANNOUNCEMENT:
        raise ChannelError("the channel's text names no kind of channel")
    kind = ChannelKind(data[1])
    end = 3 + data[2]
    try:
        topic = data[3:end].decode()
    except UnicodeDecodeError:
        raise ChannelError("the topic in the channel's text is not text") from None
    if kind is ChannelKind.OPEN:
        if len(data) != end:
            raise ChannelError("the channel's text of an open channel ends with its topic")
        return open_channel(topic)
    keys = tuple(_keys(data[end:]))
    if not keys:
        raise ChannelError("the channel's text has no key")
    return Channel(topic, keys[0], kind, tuple(map(Address, keys[1:])))


def _keys(data: bytes) -> Iterator[bytes]:
    if len(data) % KEY_BYTES:
        raise ChannelError("the keys in the channel's text are cut")
    for start in range(0, len(data), KEY_BYTES):
        yield taken(memoryview(data)[start : start + KEY_BYTES].tobytes())


def _checksum(data: bytes) -> bytes:
    return tagged_hash(_SHARE_TAG, data)[:_CHECKSUM]


def _message_key(key: bytes, salt: bytes, tag: bytes, sender: Address) -> bytes:
    if len(tag) != TAG_SIZE or len(sender) != ID_BYTES:
        raise CryptoError(f"a broadcast has a tag of {TAG_SIZE} bytes and a sender of {ID_BYTES}")
    return primitives.hkdf(_checked(key), salt=salt, info=_SEAL_INFO + tag + sender, length=KEY_BYTES)


def _topic_bytes(topic: str) -> bytes:
    if not topic or topic != topic.strip() or any(char < " " or "\x7f" <= char <= "\x9f" for char in topic):
        raise ChannelError("a topic is text without control characters and without white space at its ends")
    try:
        encoded = topic.encode()
    except UnicodeEncodeError:
        raise ChannelError("the topic is no valid text: type it in a UTF-8 terminal") from None
    if len(encoded) > MAX_TOPIC:
        raise ChannelError(f"a topic has at most {MAX_TOPIC} bytes, this one has {len(encoded)}")
    return encoded


def _checked(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise CryptoError(f"a channel's key has {KEY_BYTES} bytes, not {len(key)}")
    return key

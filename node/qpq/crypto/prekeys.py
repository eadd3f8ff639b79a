"""Prekeys: what a user hands out beforehand, so that others can begin a session while that user is away.

A signed prekey serves many sessions and is replaced weekly; a one-time prekey serves one. Both travel in a bundle::

    u8 1 || X25519 key (32) || X-Wing key (1216) || [one-time X25519 key (32)] || signature (64)

The signature is by the owner's identity over a tagged hash of the owner's address and all keys. A key id is the first
8 bytes of a tagged hash of the public key, which each side computes itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from qpq.crypto import primitives, xwing
from qpq.crypto.errors import AuthenticationError, CryptoError, UnknownFormatError
from qpq.crypto.primitives import KEY_BYTES, SIGNATURE_BYTES, kept, tagged_hash, taken

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.crypto.kem import Kem

KEY_ID_BYTES: Final = 8
SIGNED_ENTROPY_BYTES: Final = KEY_BYTES + xwing.ENTROPY_BYTES
ONE_TIME_ENTROPY_BYTES: Final = KEY_BYTES
PUBLIC_BYTES: Final = KEY_BYTES + xwing.PUBLIC_BYTES
BUNDLE_BYTES: Final = 1 + PUBLIC_BYTES + SIGNATURE_BYTES
MAX_BUNDLE_BYTES: Final = BUNDLE_BYTES + KEY_BYTES
"""With a one-time prekey."""

_VERSION: Final = b"\x01"
_SIGNED_TAG: Final = b"qpq/1/prekey"
_ONE_TIME_TAG: Final = b"qpq/1/one-time-prekey"
_BUNDLE_TAG: Final = b"qpq/1/bundle"
_SECRETS: Final = KEY_BYTES + xwing.SECRET_BYTES


@dataclass(frozen=True, slots=True)
class SignedPrekey:
    """The secrets of a signed prekey; ``public`` is ``X25519 key (32) || X-Wing key (1216)``."""

    key_id: bytes
    x25519_secret: bytes = field(repr=False)
    xwing_secret: bytes = field(repr=False)
    public: bytes = field(repr=False)

    @property
    def xwing_public(self) -> bytes:
        """The X-Wing key, 1216 bytes."""
        return self.public[KEY_BYTES:]

    def encode(self) -> bytes:
        """Return what the store keeps, 3713 bytes, all of it secret."""
        return taken(b"".join((_VERSION, self.x25519_secret, self.xwing_secret, self.public)))

    @classmethod
    def decode(cls, data: bytes) -> SignedPrekey:
        """Read what ``encode`` gave; raises UnknownFormatError for a later version, CryptoError for all else."""
        stored = _stored(data, _SECRETS + PUBLIC_BYTES)
        public = stored[_SECRETS:]
        secrets = taken(stored[:KEY_BYTES]), taken(stored[KEY_BYTES:_SECRETS])
        return cls(_key_id(_SIGNED_TAG, public), *secrets, public)


@dataclass(frozen=True, slots=True)
class OneTimePrekey:
    """The secret of a one-time prekey, 32 bytes."""

    key_id: bytes
    secret: bytes = field(repr=False)

    @property
    def public(self) -> bytes:
        """The X25519 key, 32 bytes."""
        return primitives.x25519_public(self.secret)

    def encode(self) -> bytes:
        """Return what the store keeps, 33 bytes, all of it secret."""
        return taken(_VERSION + self.secret)

    @classmethod
    def decode(cls, data: bytes) -> OneTimePrekey:
        """Read what ``encode`` gave; raises UnknownFormatError for a later version, CryptoError for all else."""
        return make_one_time(_stored(data, KEY_BYTES))


@dataclass(frozen=True, slots=True)
class Bundle:
    """A user's public prekeys, read and verified; ``one_time_id`` and ``one_time`` are empty when there is none."""

    owner: Address
    key_id: bytes
    x25519: bytes
    xwing: bytes
    one_time_id: bytes = b""
    one_time: bytes = b""


def make_signed(kem: Kem, entropy: bytes) -> SignedPrekey:
    """Return a new signed prekey; ``entropy`` is SIGNED_ENTROPY_BYTES (64) random bytes. Raises CryptoError."""
    if len(entropy) != SIGNED_ENTROPY_BYTES:
        raise CryptoError(f"a signed prekey takes {SIGNED_ENTROPY_BYTES} random bytes, not {len(entropy)}")
    secret = taken(entropy[:KEY_BYTES])
    xwing_public, xwing_secret = xwing.keygen(kem, taken(entropy[KEY_BYTES:]))
    public = primitives.x25519_public(secret) + xwing_public
    return SignedPrekey(_key_id(_SIGNED_TAG, public), secret, xwing_secret, public)


def make_one_time(entropy: bytes) -> OneTimePrekey:
    """Return a new one-time prekey; ``entropy`` is 32 random bytes. Raises CryptoError for another length."""
    return OneTimePrekey(_key_id(_ONE_TIME_TAG, primitives.x25519_public(entropy)), kept(entropy))


def make_bundle(owner: SecretIdentity, signed: SignedPrekey, one_time: OneTimePrekey | None) -> bytes:
    """Return a bundle to hand out, 1313 bytes or with a one-time prekey 1345; raises CryptoError once wiped."""
    extra = one_time.public if one_time is not None else b""
    signature = owner.sign(_signed_hash(owner.address, signed.public, extra))
    return b"".join((_VERSION, signed.public, extra, signature))


def open_bundle(data: bytes, owner: Address) -> Bundle:
    """Read and verify the bundle of ``owner``.

    Raises UnknownFormatError for a later version, AuthenticationError for whatever is cut, altered or by somebody
    else. Whether the keys can be used shows when a session is begun with them.
    """
    if data[:1] != _VERSION:
        raise UnknownFormatError(f"keys of version {data[:1].hex() or 'none'}: a newer qpq can use them")
    if len(data) not in {BUNDLE_BYTES, MAX_BUNDLE_BYTES}:
        raise AuthenticationError(f"keys of {len(data)} bytes are cut short or too long")
    public, extra, signature = (
        data[1 : 1 + PUBLIC_BYTES],
        data[1 + PUBLIC_BYTES : -SIGNATURE_BYTES],
        data[-SIGNATURE_BYTES:],
    )
    if not primitives.ed25519_verify(owner, signature, _signed_hash(owner, public, extra)):
        raise AuthenticationError("keys that their owner has not signed")
    one_time_id = _key_id(_ONE_TIME_TAG, extra) if extra else b""
    return Bundle(owner, _key_id(_SIGNED_TAG, public), public[:KEY_BYTES], public[KEY_BYTES:], one_time_id, extra)


def _signed_hash(owner: Address, public: bytes, extra: bytes) -> bytes:
    return tagged_hash(_BUNDLE_TAG, owner, public, extra)


def _key_id(tag: bytes, public: bytes) -> bytes:
    return tagged_hash(tag, public)[:KEY_ID_BYTES]


def _stored(data: bytes, size: int) -> bytes:
    if data[:1] != _VERSION:
        raise UnknownFormatError(f"a prekey of version {data[:1].hex() or 'none'}: a newer qpq wrote it")
    if len(data) != 1 + size:
        raise CryptoError(f"a prekey of {len(data)} bytes is damaged")
    return taken(data[1:])

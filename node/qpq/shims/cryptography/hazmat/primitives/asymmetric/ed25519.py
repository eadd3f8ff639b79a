"""Ed25519 (RFC 8032).

Stricter than the real package in one point: public keys of small order verify nothing, as libsodium has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import _qpq_native as native

from ....exceptions import InvalidSignature
from ._raw import RawPrivateKey, RawPublicKey

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class Ed25519PublicKey(RawPublicKey):
    """A public key."""

    __slots__ = ()

    kind = "Ed25519"
    oid = b"\x06\x03\x2b\x65\x70"

    def verify(self, signature: Buffer, data: Buffer) -> None:
        """Return for a good signature, raise InvalidSignature for any other."""
        if not native.ed25519_verify(self._raw, signature, data):
            raise InvalidSignature


class Ed25519PrivateKey(RawPrivateKey):
    """A private key."""

    __slots__ = ("_public",)

    kind = "Ed25519"
    oid = Ed25519PublicKey.oid

    _public: bytes

    @classmethod
    def generate(cls) -> Ed25519PrivateKey:
        """Return a new key."""
        return cls.from_private_bytes(native.random_bytes(32))

    @classmethod
    def from_private_bytes(cls, data: Buffer) -> Ed25519PrivateKey:
        """Take the 32 bytes of the seed; raises ValueError for another number."""
        raw = bytes(memoryview(data))
        if len(raw) != 32:
            raise ValueError("An Ed25519 private key is 32 bytes long")
        key = cls._of(raw)
        key._public = native.ed25519_public(raw)
        return key

    def public_key(self) -> Ed25519PublicKey:
        """Return the public key."""
        return Ed25519PublicKey._of(self._public)

    def sign(self, data: Buffer) -> bytes:
        """Return the 64 bytes of the signature."""
        return native.ed25519_sign(self._raw + self._public, data)

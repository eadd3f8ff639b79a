"""X25519 (RFC 7748)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import _qpq_native as native

from ._raw import RawPrivateKey, RawPublicKey

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class X25519PublicKey(RawPublicKey):
    """A public key."""

    __slots__ = ()

    kind = "X25519"
    oid = b"\x06\x03\x2b\x65\x6e"


class X25519PrivateKey(RawPrivateKey):
    """A private key."""

    __slots__ = ()

    kind = "X25519"
    oid = X25519PublicKey.oid

    @classmethod
    def generate(cls) -> X25519PrivateKey:
        """Return a new key."""
        return cls._of(native.random_bytes(32))

    @classmethod
    def from_private_bytes(cls, data: Buffer) -> X25519PrivateKey:
        """Take 32 bytes; raises ValueError for another number."""
        raw = bytes(memoryview(data))
        if len(raw) != 32:
            raise ValueError("An X25519 private key is 32 bytes long")
        return cls._of(raw)

    def public_key(self) -> X25519PublicKey:
        """Return the public key."""
        return X25519PublicKey._of(native.x25519_public(self._raw))

    def exchange(self, peer_public_key: X25519PublicKey) -> bytes:
        """Return the 32-byte shared secret; raises ValueError where it would be all zero."""
        if not isinstance(peer_public_key, X25519PublicKey):
            raise TypeError(f"{type(peer_public_key).__name__!r} object is not an instance of 'X25519PublicKey'")
        try:
            return native.x25519(self._raw, peer_public_key._raw)
        except ValueError:
            raise ValueError("Error computing shared key.") from None

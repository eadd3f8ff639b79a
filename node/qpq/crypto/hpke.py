"""HPKE (RFC 9180), mode base: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.

Only the suite and mode that sealing uses. Randomness is an argument: the sender's 32 bytes
go through DeriveKeyPair (section 7.1.3), so they need be secret and fresh, not well formed.
"""

from __future__ import annotations

from functools import lru_cache

from qpq.crypto import primitives
from qpq.crypto.errors import CryptoError

ENC_BYTES = 32

_VERSION = b"HPKE-v1"
_KEM_SUITE = b"KEM\x00\x20"
_SUITE = b"HPKE\x00\x20\x00\x01\x00\x03"
_MODE_BASE = b"\x00"
_SCHEDULES = 64
"""Schedule contexts kept (65 bytes each, no secrets: one for each pair of addresses); the least recently used goes."""
_MAX_SEQUENCE = (1 << 8 * primitives.NONCE_BYTES) - 1


class Context:
    """One direction's encryption context (RFC 9180 section 5.2): nonces count up from 0."""

    __slots__ = ("_base_nonce", "_key", "_schedule", "_secret", "_sequence")

    def __init__(self, secret: bytes, schedule: bytes) -> None:
        self._secret = secret
        self._schedule = schedule
        self._key = _expand(secret, _SUITE, b"key", schedule, primitives.KEY_BYTES)
        base_nonce = _expand(secret, _SUITE, b"base_nonce", schedule, primitives.NONCE_BYTES)
        self._base_nonce = int.from_bytes(base_nonce, "big")
        self._sequence = 0

    def seal(self, plaintext: bytes, aad: bytes = b"") -> bytes:
        """Return ciphertext and tag under the next nonce; raises CryptoError after 2^96 - 1 of them."""
        sealed = primitives.aead_seal(self._key, self._nonce(), plaintext, aad)
        self._sequence += 1
        return sealed

    def open(self, ciphertext: bytes, aad: bytes = b"") -> bytes:
        """Return the plaintext; AuthenticationError leaves the nonce where it was."""
        plaintext = primitives.aead_open(self._key, self._nonce(), ciphertext, aad)
        self._sequence += 1
        return plaintext

    def export(self, exporter_context: bytes, length: int) -> bytes:
        """Return ``length`` bytes of a secret both ends share (RFC 9180 section 5.3)."""
        exporter_secret = _expand(self._secret, _SUITE, b"exp", self._schedule, primitives.HASH_BYTES)
        return _expand(exporter_secret, _SUITE, b"sec", exporter_context, length)

    def _nonce(self) -> bytes:
        if self._sequence >= _MAX_SEQUENCE:
            raise CryptoError("this HPKE context has used up its nonces: set up another")
        return (self._base_nonce ^ self._sequence).to_bytes(primitives.NONCE_BYTES, "big")


def derive_secret(entropy: bytes) -> bytes:
    """Return the X25519 secret of DeriveKeyPair (RFC 9180 section 7.1.3) from at least 32 bytes."""
    if len(entropy) < primitives.KEY_BYTES:
        raise CryptoError(f"HPKE needs {primitives.KEY_BYTES} random bytes, not {len(entropy)}")
    return _expand(_extract(b"", _KEM_SUITE, b"dkp_prk", entropy), _KEM_SUITE, b"sk", b"", primitives.KEY_BYTES)


def setup_sender(recipient_public: bytes, info: bytes, entropy: bytes) -> tuple[bytes, Context]:
    """Return ``enc`` (32 bytes, goes to the recipient) and the context that seals (section 5.1.1).

    Raises CryptoError where ``recipient_public`` is of small order or ``entropy`` too short.
    """
    secret = derive_secret(entropy)
    enc = primitives.x25519_public(secret)
    shared = primitives.x25519(secret, recipient_public)
    return enc, _key_schedule(_shared_secret(shared, enc, recipient_public), info)


def setup_recipient(enc: bytes, recipient_secret: bytes, recipient_public: bytes, info: bytes) -> Context:
    """Return the context that opens; ``recipient_public`` must be that of the secret (section 5.1.1).

    Raises CryptoError where ``enc`` is of small order or not 32 bytes.
    """
    shared = primitives.x25519(recipient_secret, enc)
    return _key_schedule(_shared_secret(shared, enc, recipient_public), info)


def _shared_secret(shared: bytes, enc: bytes, recipient_public: bytes) -> bytes:
    prk = _extract(b"", _KEM_SUITE, b"eae_prk", shared)
    return _expand(prk, _KEM_SUITE, b"shared_secret", enc + recipient_public, primitives.KEY_BYTES)


def _extract(salt: bytes, suite: bytes, label: bytes, ikm: bytes) -> bytes:
    return primitives.hkdf_extract(salt, b"".join((_VERSION, suite, label, ikm)))


def _expand(prk: bytes, suite: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = b"".join((length.to_bytes(2, "big"), _VERSION, suite, label, info))
    return primitives.hkdf_expand(prk, labelled, length)


_PSK_ID_HASH = _extract(b"", _SUITE, b"psk_id_hash", b"")


@lru_cache(maxsize=_SCHEDULES)
def _schedule_context(info: bytes) -> bytes:
    return _MODE_BASE + _PSK_ID_HASH + _extract(b"", _SUITE, b"info_hash", info)


def _key_schedule(shared_secret: bytes, info: bytes) -> Context:
    return Context(_extract(shared_secret, _SUITE, b"secret", b""), _schedule_context(info))

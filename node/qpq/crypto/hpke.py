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


def _extract_label(suite: bytes, label: bytes) -> bytes:
    """Return what stands before the input of LabeledExtract (RFC 9180 section 4)."""
    return b"".join((_VERSION, suite, label))


def _expand_label(suite: bytes, label: bytes, length: int) -> bytes:
    """Return what stands before the information of LabeledExpand."""
    return b"".join((length.to_bytes(2, "big"), _VERSION, suite, label))


_DKP_PRK = _extract_label(_KEM_SUITE, b"dkp_prk")
_SK = _expand_label(_KEM_SUITE, b"sk", primitives.KEY_BYTES)
_EAE_PRK = _extract_label(_KEM_SUITE, b"eae_prk")
_SHARED_SECRET = _expand_label(_KEM_SUITE, b"shared_secret", primitives.KEY_BYTES)
_INFO_HASH = _extract_label(_SUITE, b"info_hash")
_SECRET = _extract_label(_SUITE, b"secret")
_KEY = _expand_label(_SUITE, b"key", primitives.KEY_BYTES)
_BASE_NONCE = _expand_label(_SUITE, b"base_nonce", primitives.NONCE_BYTES)
_EXPORTER = _expand_label(_SUITE, b"exp", primitives.HASH_BYTES)
_SCHEDULES = 64
"""Schedule contexts kept (65 bytes each, no secrets: one for each pair of addresses); the least recently used goes."""
_MAX_SEQUENCE = (1 << 8 * primitives.NONCE_BYTES) - 1


class Context:
    """One direction's encryption context (RFC 9180 section 5.2): nonces count up from 0."""

    __slots__ = ("_base_nonce", "_key", "_schedule", "_secret", "_sequence")

    def __init__(self, secret: bytes, schedule: bytes) -> None:
        self._secret = secret
        self._schedule = schedule
        self._key = primitives.hkdf_expand(secret, _KEY + schedule, primitives.KEY_BYTES)
        base_nonce = primitives.hkdf_expand(secret, _BASE_NONCE + schedule, primitives.NONCE_BYTES)
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
        exporter_secret = primitives.hkdf_expand(self._secret, _EXPORTER + self._schedule, primitives.HASH_BYTES)
        return primitives.hkdf_expand(exporter_secret, _expand_label(_SUITE, b"sec", length) + exporter_context, length)

    def _nonce(self) -> bytes:
        if self._sequence >= _MAX_SEQUENCE:
            raise CryptoError("this HPKE context has used up its nonces: set up another")
        return (self._base_nonce ^ self._sequence).to_bytes(primitives.NONCE_BYTES, "big")


def derive_secret(entropy: bytes) -> bytes:
    """Return the X25519 secret of DeriveKeyPair (RFC 9180 section 7.1.3) from at least 32 bytes."""
    if len(entropy) < primitives.KEY_BYTES:
        raise CryptoError(f"HPKE needs {primitives.KEY_BYTES} random bytes, not {len(entropy)}")
    return primitives.hkdf_expand(primitives.hkdf_extract(b"", _DKP_PRK + entropy), _SK, primitives.KEY_BYTES)


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
    prk = primitives.hkdf_extract(b"", _EAE_PRK + shared)
    return primitives.hkdf_expand(prk, _SHARED_SECRET + enc + recipient_public, primitives.KEY_BYTES)


_PSK_ID_HASH = primitives.hkdf_extract(b"", _extract_label(_SUITE, b"psk_id_hash"))


@lru_cache(maxsize=_SCHEDULES)
def _schedule_context(info: bytes) -> bytes:
    return _MODE_BASE + _PSK_ID_HASH + primitives.hkdf_extract(b"", _INFO_HASH + info)


def _key_schedule(shared_secret: bytes, info: bytes) -> Context:
    return Context(primitives.hkdf_extract(shared_secret, _SECRET), _schedule_context(info))

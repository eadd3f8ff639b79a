"""libsodium's functions under PyNaCl's names.

Where PyNaCl passes a length on unchecked and reads past the end, ValueError is raised here.
"""

from __future__ import annotations

from typing import Final

import _qpq_native as native

from . import exceptions as exc

crypto_sign_BYTES: Final = 64
crypto_sign_SEEDBYTES: Final = 32
crypto_sign_PUBLICKEYBYTES: Final = 32
crypto_sign_SECRETKEYBYTES: Final = 64
crypto_scalarmult_BYTES: Final = 32
crypto_scalarmult_SCALARBYTES: Final = 32
crypto_aead_chacha20poly1305_ietf_KEYBYTES: Final = 32
crypto_aead_chacha20poly1305_ietf_NPUBBYTES: Final = 12
crypto_aead_chacha20poly1305_ietf_ABYTES: Final = 16
crypto_pwhash_ALG_ARGON2ID13: Final = 2
crypto_pwhash_SALTBYTES: Final = 16
crypto_pwhash_BYTES_MIN: Final = 16
crypto_pwhash_BYTES_MAX: Final = 0xFFFF_FFFF
_MEMORY_MIN, _PASSES_MIN, _PASSES_MAX = 8192, 1, 0xFFFF_FFFF
_MEMORY_MAX = min(0xFFFF_FFFF * 1024, 4398046510080)


def crypto_sign_seed_keypair(seed: bytes) -> tuple[bytes, bytes]:
    """Return the public key and ``seed + public key``."""
    if len(seed) != crypto_sign_SEEDBYTES:
        raise exc.ValueError("Invalid seed")
    public = native.ed25519_public(seed)
    return public, seed + public


def crypto_sign(message: bytes, sk: bytes) -> bytes:
    """Return signature and message."""
    _length("secret key", sk, crypto_sign_SECRETKEYBYTES)
    return native.ed25519_sign(sk, message) + message


def crypto_sign_open(signed: bytes, pk: bytes) -> bytes:
    """Return the message behind a good signature; raises BadSignatureError."""
    _length("public key", pk, crypto_sign_PUBLICKEYBYTES)
    message = signed[crypto_sign_BYTES:]
    if not native.ed25519_verify(pk, signed[:crypto_sign_BYTES], message):
        raise exc.BadSignatureError("Signature was forged or corrupt")
    return message


def crypto_sign_ed25519_pk_to_curve25519(public_key_bytes: bytes) -> bytes:
    """Return the X25519 form of a public key; raises RuntimeError where it has none."""
    if len(public_key_bytes) != crypto_sign_PUBLICKEYBYTES:
        raise exc.ValueError("Invalid curve public key")
    try:
        return native.ed25519_public_to_x25519(public_key_bytes)
    except ValueError:
        raise exc.RuntimeError("Unexpected library error") from None


def crypto_sign_ed25519_sk_to_curve25519(secret_key_bytes: bytes) -> bytes:
    """Return the X25519 form of a secret key of 64 bytes."""
    if len(secret_key_bytes) != crypto_sign_SECRETKEYBYTES:
        raise exc.ValueError("Invalid curve secret key")
    return native.ed25519_seed_to_x25519(secret_key_bytes[:crypto_sign_SEEDBYTES])


def crypto_scalarmult_base(n: bytes) -> bytes:
    """Return the public key of an X25519 secret."""
    _length("secret", n, crypto_scalarmult_SCALARBYTES)
    return native.x25519_public(n)


def crypto_scalarmult(n: bytes, p: bytes) -> bytes:
    """Return the shared secret; raises RuntimeError where it would be zero."""
    _length("secret", n, crypto_scalarmult_SCALARBYTES)
    _length("public key", p, crypto_scalarmult_BYTES)
    try:
        return native.x25519(n, p)
    except ValueError:
        raise exc.RuntimeError("Unexpected library error") from None


def crypto_aead_chacha20poly1305_ietf_encrypt(message: bytes, aad: bytes | None, nonce: bytes, key: bytes) -> bytes:
    """Return ciphertext and tag (RFC 8439)."""
    _aead_types("message", message, aad, nonce, key)
    return native.ChaCha20Poly1305(key).encrypt(nonce, message, aad)


def crypto_aead_chacha20poly1305_ietf_decrypt(ciphertext: bytes, aad: bytes | None, nonce: bytes, key: bytes) -> bytes:
    """Return the plaintext; raises CryptoError."""
    _aead_types("ciphertext", ciphertext, aad, nonce, key)
    if len(ciphertext) < crypto_aead_chacha20poly1305_ietf_ABYTES:
        raise ValueError("the ciphertext is shorter than its tag")  # not theirs, but Python's, as the real one
    try:
        return native.ChaCha20Poly1305(key).decrypt(nonce, ciphertext, aad)
    except native.InvalidTag:
        raise exc.CryptoError("Decryption failed.") from None


def crypto_pwhash_alg(  # noqa: PLR0917 (theirs)
    outlen: int, passwd: bytes, salt: bytes, opslimit: int, memlimit: int, alg: int
) -> bytes:
    """Return ``outlen`` bytes of Argon2id; raises RuntimeError when the memory is not there."""
    if not all(isinstance(number, int) for number in (outlen, opslimit, memlimit, alg)) or not isinstance(
        passwd, bytes
    ):
        raise exc.TypeError
    if len(salt) != crypto_pwhash_SALTBYTES:
        raise exc.ValueError(f"salt must be exactly {crypto_pwhash_SALTBYTES} bytes long")
    _between("derived key", outlen, crypto_pwhash_BYTES_MIN, crypto_pwhash_BYTES_MAX, " bytes long")
    if alg != crypto_pwhash_ALG_ARGON2ID13:
        raise exc.TypeError("Unsupported algorithm")
    _between("memlimit", memlimit, _MEMORY_MIN, _MEMORY_MAX, " bytes")
    _between("opslimit", opslimit, _PASSES_MIN, _PASSES_MAX, "")
    try:
        return native.argon2id(passwd, salt, opslimit, memlimit, outlen)
    except MemoryError:
        raise exc.RuntimeError("Unexpected failure in key derivation") from None
    except ValueError as fault:
        raise exc.ValueError(str(fault)) from None


def _length(what: str, value: bytes, wanted: int) -> None:
    if len(value) != wanted:
        raise exc.ValueError(f"{what} must be {wanted} bytes long")


def _between(what: str, value: int, least: int, most: int, unit: str) -> None:
    if value < least:
        raise exc.ValueError(f"{what} must be at least {least}{unit}")
    if value > most:
        raise exc.ValueError(f"{what} must be at most {most}{unit}")


def _aead_types(what: str, text: bytes, aad: bytes | None, nonce: bytes, key: bytes) -> None:
    if not isinstance(text, bytes):
        raise exc.TypeError(f"Input {what} type must be bytes")
    if aad is not None and not isinstance(aad, bytes):
        raise exc.TypeError("Additional data must be bytes or None")
    for name, value, wanted in (
        ("Nonce", nonce, crypto_aead_chacha20poly1305_ietf_NPUBBYTES),
        ("Key", key, crypto_aead_chacha20poly1305_ietf_KEYBYTES),
    ):
        if not isinstance(value, bytes) or len(value) != wanted:
            raise exc.TypeError(f"{name} must be a {wanted} bytes long bytes sequence")

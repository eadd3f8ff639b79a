"""Hashes, HMAC, HKDF, Ed25519, X25519, ChaCha20-Poly1305 and Argon2id, with their lengths checked.

Nothing else in this program calls libsodium. The bindings do not check every length
themselves and would read past a short key, so each function here does. All values are
``bytes``; a wrong length is a CryptoError.
"""

from __future__ import annotations

from hashlib import sha3_256 as _sha3_256
from hashlib import sha256 as _sha256
from hashlib import sha512 as _sha512
from hmac import compare_digest as _compare_digest
from hmac import digest as _hmac_digest
from struct import pack as _pack

from nacl import bindings as _sodium
from nacl.exceptions import CryptoError as _SodiumError

from qpq.crypto.errors import AuthenticationError, CryptoError, IdentityError

HASH_BYTES = 32
KEY_BYTES = 32
NONCE_BYTES = 12
SALT_BYTES = 16
SEED_BYTES = 32
SIGNATURE_BYTES = 64
TAG_BYTES = 16

_MAX_EXPAND = 255 * HASH_BYTES
_MAX_TAG = 255


def sha256(data: bytes) -> bytes:
    """Return SHA-256 of ``data`` (FIPS 180-4), 32 bytes."""
    return _sha256(data).digest()


def sha512(data: bytes) -> bytes:
    """Return SHA-512 of ``data`` (FIPS 180-4), 64 bytes."""
    return _sha512(data).digest()


def sha3_256(data: bytes) -> bytes:
    """Return SHA3-256 of ``data`` (FIPS 202), 32 bytes."""
    return _sha3_256(data).digest()


def tagged_hash(tag: bytes, *fields: bytes) -> bytes:
    """Return SHA-256 over ``u8 len(tag) || tag`` and ``u32be len(field) || field`` for each field.

    The lengths make the input of every (tag, fields) different from that of any other.
    A tag has at most 255 bytes.
    """
    if len(tag) > _MAX_TAG:
        raise CryptoError(f"a hash tag of {len(tag)} bytes; at most {_MAX_TAG} fit")
    parts = [bytes((len(tag),)), tag]
    for field in fields:
        parts += (_pack(">I", len(field)), field)
    return _sha256(b"".join(parts)).digest()


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """Return HMAC-SHA-256 (RFC 2104), 32 bytes."""
    return _hmac_digest(key, data, "sha256")


def hkdf_extract(salt: bytes, ikm: bytes) -> bytes:
    """Return the 32-byte pseudorandom key of RFC 5869 section 2.2."""
    return _hmac_digest(salt, ikm, "sha256")


def hkdf_expand(prk: bytes, info: bytes, length: int) -> bytes:
    """Return ``length`` (0..8160) bytes of output keying material, RFC 5869 section 2.3."""
    if not 0 <= length <= _MAX_EXPAND:
        raise CryptoError(f"HKDF cannot give {length} bytes; 0 to {_MAX_EXPAND} is possible")
    block = _hmac_digest(prk, info + b"\x01", "sha256")
    if length <= HASH_BYTES:
        return block[:length]
    output = block
    counter = 2
    while len(output) < length:
        block = _hmac_digest(prk, b"%b%b%c" % (block, info, counter), "sha256")
        output += block
        counter += 1
    return output[:length]


def hkdf(ikm: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """Extract and expand (RFC 5869)."""
    return hkdf_expand(hkdf_extract(salt, ikm), info, length)


def ed25519_public(seed: bytes) -> bytes:
    """Return the 32-byte public key of a 32-byte seed (RFC 8032 section 5.1.5)."""
    _check("an Ed25519 seed", seed, SEED_BYTES)
    return _sodium.crypto_sign_seed_keypair(seed)[0]


def ed25519_sign(seed: bytes, public: bytes, message: bytes) -> bytes:
    """Return the 64-byte signature (RFC 8032 section 5.1.6); ``public`` must be that of ``seed``."""
    _check("an Ed25519 seed", seed, SEED_BYTES)
    _check("an Ed25519 public key", public, KEY_BYTES)
    return _sodium.crypto_sign(message, seed + public)[:SIGNATURE_BYTES]


def ed25519_verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether ``signature`` is by ``public`` over ``message``; any length is answered, none raises.

    Keys of small order or not in canonical form and non-canonical ``S`` are refused, so that
    every implementation gives one answer for one signature.
    """
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        _sodium.crypto_sign_open(signature + message, public)
    except _SodiumError:
        return False
    return True


def ed25519_public_to_x25519(public: bytes) -> bytes:
    """Return the X25519 form of an Ed25519 public key (RFC 7748 section 4.1).

    Raises IdentityError where the bytes are no point of the prime-order group.
    """
    _check("an Ed25519 public key", public, KEY_BYTES)
    try:
        return _sodium.crypto_sign_ed25519_pk_to_curve25519(public)
    except _SodiumError:
        raise IdentityError("this id is no usable key: check that it was copied whole and unchanged") from None


def ed25519_seed_to_x25519(seed: bytes, public: bytes) -> bytes:
    """Return the X25519 secret key that belongs to an Ed25519 seed and its public key."""
    _check("an Ed25519 seed", seed, SEED_BYTES)
    _check("an Ed25519 public key", public, KEY_BYTES)
    return _sodium.crypto_sign_ed25519_sk_to_curve25519(seed + public)


def x25519_public(secret: bytes) -> bytes:
    """Return the X25519 public key of a 32-byte secret (RFC 7748 section 6.1)."""
    _check("an X25519 secret", secret, KEY_BYTES)
    return _sodium.crypto_scalarmult_base(secret)


def x25519(secret: bytes, public: bytes) -> bytes:
    """Return the 32-byte shared secret (RFC 7748 section 6.1).

    Raises CryptoError where it would be all zero: the peer sent a point of small order.
    """
    _check("an X25519 secret", secret, KEY_BYTES)
    _check("an X25519 public key", public, KEY_BYTES)
    try:
        return _sodium.crypto_scalarmult(secret, public)
    except _SodiumError:
        raise CryptoError("an X25519 public key of small order: no secret can be shared with it") from None


def aead_seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
    """Return ChaCha20-Poly1305 ciphertext and 16-byte tag (RFC 8439); key 32 bytes, nonce 12.

    One (key, nonce) pair must never be used for two plaintexts.
    """
    _check("an AEAD key", key, KEY_BYTES)
    _check("an AEAD nonce", nonce, NONCE_BYTES)
    return _sodium.crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, aad, nonce, key)


def aead_open(key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes = b"") -> bytes:
    """Return the plaintext of ``aead_seal``; raises AuthenticationError for anything else."""
    _check("an AEAD key", key, KEY_BYTES)
    _check("an AEAD nonce", nonce, NONCE_BYTES)
    if len(ciphertext) < TAG_BYTES:
        raise AuthenticationError("the ciphertext is shorter than its tag")
    try:
        return _sodium.crypto_aead_chacha20poly1305_ietf_decrypt(ciphertext, aad, nonce, key)
    except _SodiumError:
        raise AuthenticationError("the ciphertext was altered or is under another key") from None


def argon2id(passphrase: bytes, salt: bytes, *, ops: int, memory: int, length: int = KEY_BYTES) -> bytes:
    """Return ``length`` (16 or more) bytes of Argon2id version 1.3, one lane (RFC 9106).

    ``salt`` 16 bytes, ``ops`` passes (1 or more), ``memory`` bytes (8 KiB or more). Raises
    CryptoError for parameters libsodium refuses and where the memory cannot be had.
    """
    _check("an Argon2id salt", salt, SALT_BYTES)
    try:
        return _sodium.crypto_pwhash_alg(length, passphrase, salt, ops, memory, _sodium.crypto_pwhash_ALG_ARGON2ID13)
    except _SodiumError:
        raise CryptoError(f"Argon2id with {ops} passes over {memory >> 10} KiB cannot run on this machine") from None


def equal(left: bytes, right: bytes) -> bool:
    """Compare in time that tells nothing but the lengths."""
    return _compare_digest(left, right)


def wipe(buffer: bytearray) -> None:
    """Overwrite ``buffer`` with zeros in place."""
    buffer[:] = bytes(len(buffer))


def _check(what: str, value: bytes, length: int) -> None:
    if len(value) != length:
        raise CryptoError(f"{what} has {length} bytes, not {len(value)}")

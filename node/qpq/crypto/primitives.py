"""Hashes, HMAC, HKDF, Ed25519, X25519, ChaCha20-Poly1305 and Argon2id, with their lengths checked.

Nothing else in this program calls libsodium. The bindings do not check every length
themselves and would read past a short key, so each function here does. All values are
``bytes``; a wrong length is a CryptoError.

Secrets are overwritten when nobody has them any more. A router's interpreter does that with
every ``bytes`` and ``str`` that it frees (cross/ext/freed.c), and ``kept``, ``taken`` and ``spend``
do nothing there. A PC's does not: there a secret that is kept is of a type of its own, which
overwrites itself as its last reference goes, and what is made on the way to it is overwritten
by hand. That reaches what this program makes itself, and not what libraries copy for
themselves, nor texts (docs/security.md).
"""

from __future__ import annotations

from hashlib import sha3_256 as _sha3_256
from hashlib import sha256 as _sha256
from hashlib import sha512 as _sha512
from hmac import compare_digest as _compare_digest
from hmac import digest as _hmac_digest
from struct import pack as _pack
from typing import TYPE_CHECKING, Any

from nacl import bindings as _sodium
from nacl.exceptions import CryptoError as _SodiumError

from qpq.crypto.errors import AuthenticationError, CryptoError, IdentityError

if TYPE_CHECKING:
    from collections.abc import Callable

_overwrite: Any = None
try:
    import nacl._sodium as _compiled  # type: ignore[import-not-found]  # PyNaCl has no other name for it
except ImportError:  # a router
    _compiled = None
else:
    _overwrite = _compiled.lib.sodium_memzero


class _Secret(bytes):
    __slots__ = ()

    def __del__(self, overwrite: Any = _overwrite) -> None:
        overwrite(self, len(self))


def _spend(made: bytes) -> None:
    if len(made) > 1:  # the interpreter shares the empty one and those of one byte
        _overwrite(made, len(made))


def _taken(made: bytes) -> bytes:
    secret = _Secret(made)
    _spend(made)
    return secret


def _same(made: bytes) -> bytes:
    return made


kept: Callable[[bytes], bytes] = _same if _overwrite is None else _Secret
"""Return a copy to keep, overwritten when nobody has it any more."""
taken: Callable[[bytes], bytes] = _same if _overwrite is None else _taken
"""Do what ``kept`` does, and ``spend`` what it was made from."""
spend: Callable[[bytes], object] = len if _overwrite is None else _spend
"""Overwrite an object now, which nobody needs any more.

It must be one's own: just made by a hash, a join, or a slice that is shorter than what it is of; never a constant nor
what somebody else still reads.
"""

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


def secret_hash(tag: bytes, *fields: bytes) -> bytes:
    """Return what ``tagged_hash`` does, as a secret and of secret fields: of these no copy is made."""
    state = _sha256(b"%c%b" % (len(tag), tag))
    for field in fields:
        state.update(_pack(">I", len(field)))
        state.update(field)
    return taken(state.digest())


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
        fed = b"%b%b%c" % (block, info, counter)
        following = _hmac_digest(prk, fed, "sha256")
        longer = output + following
        spend(fed)
        spend(block)
        spend(output)
        block, output = following, longer
        counter += 1
    spend(block)
    if len(output) == length:
        return output
    cut = output[:length]
    spend(output)
    return cut


def hkdf(ikm: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """Extract and expand (RFC 5869)."""
    prk = hkdf_extract(salt, ikm)
    output = hkdf_expand(prk, info, length)
    spend(prk)
    return output


def ed25519_public(seed: bytes) -> bytes:
    """Return the 32-byte public key of a 32-byte seed (RFC 8032 section 5.1.5)."""
    _check("an Ed25519 seed", seed, SEED_BYTES)
    public, pair = _sodium.crypto_sign_seed_keypair(seed)
    spend(pair)
    return public


def ed25519_sign(seed: bytes, public: bytes, message: bytes) -> bytes:
    """Return the 64-byte signature (RFC 8032 section 5.1.6); ``public`` must be that of ``seed``."""
    _check("an Ed25519 seed", seed, SEED_BYTES)
    _check("an Ed25519 public key", public, KEY_BYTES)
    pair = seed + public
    signed = _sodium.crypto_sign(message, pair)
    spend(pair)
    return signed[:SIGNATURE_BYTES]


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
    pair = seed + public
    secret = taken(_sodium.crypto_sign_ed25519_sk_to_curve25519(pair))
    spend(pair)
    return secret


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
        return taken(_sodium.crypto_scalarmult(secret, public))
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
        key = _sodium.crypto_pwhash_alg(length, passphrase, salt, ops, memory, _sodium.crypto_pwhash_ALG_ARGON2ID13)
    except _SodiumError:
        raise CryptoError(f"Argon2id with {ops} passes over {memory >> 10} KiB cannot run on this machine") from None
    return taken(key)


def equal(left: bytes, right: bytes) -> bool:
    """Compare in time that tells nothing but the lengths."""
    return _compare_digest(left, right)


def wipe(buffer: bytearray) -> None:
    """Overwrite ``buffer`` with zeros in place."""
    buffer[:] = bytes(len(buffer))


def lock(*secrets: bytes | bytearray) -> bool:
    """Keep the memory pages of secrets out of swap until the process ends (mlock(2)); whether all are.

    The kernel refuses more than RLIMIT_MEMLOCK.
    """
    if _compiled is None:
        return False
    done = [_compiled.lib.sodium_mlock(_compiled.ffi.from_buffer(secret), len(secret)) == 0 for secret in secrets]
    return all(done)


def _check(what: str, value: bytes, length: int) -> None:
    if len(value) != length:
        raise CryptoError(f"{what} has {length} bytes, not {len(value)}")

"""Everything the stand-ins do, as functions of plain values: the same call is made on both sides and compared.

Values are bytes, text, numbers, None and lists of these. ``perform`` never raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, aead, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from nacl import bindings

if TYPE_CHECKING:
    from collections.abc import Callable

ALGORITHMS = {"sha256": hashes.SHA256(), "sha512": hashes.SHA512()}


def perform(name: str, arguments: list[Any]) -> list[Any]:
    """Return ["ok", value] or ["error", names of the exception's classes that are not this package's own]."""
    try:
        return ["ok", OPERATIONS[name](*arguments)]
    except Exception as error:  # noqa: BLE001 (which exception it is, is what is compared)
        return ["error", kind(error)]


def kind(error: Exception) -> str:
    """Return the name that callers catch: subclasses of ValueError count as such, UnsupportedAlgorithm comes first."""
    if isinstance(error, UnsupportedAlgorithm):
        return "UnsupportedAlgorithm"
    if isinstance(error, UnicodeError):
        return "ValueError"
    return type(error).__name__


def gcm_encrypt(key: bytes, nonce: bytes, data: bytes, aad: bytes | None) -> bytes:
    return aead.AESGCM(key).encrypt(nonce, data, aad)


def gcm_decrypt(key: bytes, nonce: bytes, data: bytes, aad: bytes | None) -> bytes:
    return aead.AESGCM(key).decrypt(nonce, data, aad)


def chacha_encrypt(key: bytes, nonce: bytes, data: bytes, aad: bytes | None) -> bytes:
    return aead.ChaCha20Poly1305(key).encrypt(nonce, data, aad)


def chacha_decrypt(key: bytes, nonce: bytes, data: bytes, aad: bytes | None) -> bytes:
    return aead.ChaCha20Poly1305(key).decrypt(nonce, data, aad)


def chacha_stream(key: bytes, nonce: bytes, parts: list[bytes], second: bytes, again: bytes) -> list[bytes]:
    context = Cipher(algorithms.ChaCha20(key, nonce), mode=None).encryptor()
    first = [context.update(part) for part in parts]
    context.reset_nonce(second)
    return [*first, context.update(again), context.finalize()]


def aes_blocks(key: bytes, parts: list[bytes]) -> list[bytes]:
    context = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 (QUIC masks headers so)
    return [*[context.update(part) for part in parts], context.finalize()]


def digest(algorithm: str, parts: list[bytes]) -> list[bytes]:
    state = hashes.Hash(ALGORITHMS[algorithm])
    seen = []
    for part in parts:
        state.update(part)
        seen.append(state.copy().finalize())
    return [*seen, state.finalize()]


def mac(key: bytes, parts: list[bytes]) -> list[bytes]:
    state = hmac.HMAC(key, hashes.SHA256())
    seen = []
    for part in parts:
        state.update(part)
        seen.append(state.copy().finalize())
    return [*seen, state.finalize()]


def mac_verify(key: bytes, message: bytes, tag: bytes) -> None:
    state = hmac.HMAC(key, hashes.SHA256())
    state.update(message)
    state.verify(tag)


def hkdf_expand(key: bytes, info: bytes | None, length: int) -> bytes:
    return HKDFExpand(hashes.SHA256(), length, info).derive(key)


def ed25519(seed: bytes, message: bytes) -> list[bytes]:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return [
        private.sign(message),
        private.private_bytes_raw(),
        public.public_bytes(Encoding.Raw, PublicFormat.Raw),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        pem,
        pem_key(pem),
    ]


def ed25519_verify(public: bytes, signature: bytes, message: bytes) -> None:
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


def pem_key(pem: bytes) -> bytes:
    key = load_pem_private_key(pem, password=None)
    assert isinstance(key, (Ed25519PrivateKey, X25519PrivateKey))
    return key.private_bytes_raw()


def x25519(secret: bytes, public: bytes) -> list[bytes]:
    private = X25519PrivateKey.from_private_bytes(secret)
    own = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return [own, der, private.exchange(X25519PublicKey.from_public_bytes(public))]


def certificate(der: bytes) -> list[Any]:
    """Read a certificate; its key raw, or the name of the exception."""
    read = x509.load_der_x509_certificate(der)
    assert read.public_bytes(Encoding.DER) == der
    return [str(read.serial_number), certificate_key(read), read.public_bytes(Encoding.PEM)]


def certificate_dates(der: bytes) -> list[str]:
    read = x509.load_der_x509_certificate(der)
    return [read.not_valid_before_utc.isoformat(), read.not_valid_after_utc.isoformat()]


def certificate_pem(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def certificate_key(read: x509.Certificate) -> Any:
    try:
        key = read.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "no usable key"
    usable = isinstance(key, (Ed25519PublicKey, X25519PublicKey))
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw) if usable else "no usable key"


def sodium_keys(seed: bytes) -> list[bytes]:
    public, secret = bindings.crypto_sign_seed_keypair(seed)
    return [public, secret, bindings.crypto_sign_ed25519_sk_to_curve25519(secret)]


OPERATIONS: dict[str, Callable[..., Any]] = {
    "gcm_encrypt": gcm_encrypt,
    "gcm_decrypt": gcm_decrypt,
    "chacha_encrypt": chacha_encrypt,
    "chacha_decrypt": chacha_decrypt,
    "chacha_stream": chacha_stream,
    "aes_blocks": aes_blocks,
    "digest": digest,
    "mac": mac,
    "mac_verify": mac_verify,
    "hkdf_expand": hkdf_expand,
    "ed25519": ed25519,
    "ed25519_verify": ed25519_verify,
    "pem_key": pem_key,
    "x25519": x25519,
    "certificate": certificate,
    "certificate_dates": certificate_dates,
    "certificate_pem": certificate_pem,
    "sodium_keys": sodium_keys,
    "sodium_sign": bindings.crypto_sign,
    "sodium_open": bindings.crypto_sign_open,
    "sodium_to_x25519": bindings.crypto_sign_ed25519_pk_to_curve25519,
    "sodium_base": bindings.crypto_scalarmult_base,
    "sodium_mult": bindings.crypto_scalarmult,
    "sodium_seal": bindings.crypto_aead_chacha20poly1305_ietf_encrypt,
    "sodium_unseal": bindings.crypto_aead_chacha20poly1305_ietf_decrypt,
    "sodium_password": bindings.crypto_pwhash_alg,
}


def _add_optional() -> None:
    try:
        from pqcrypto.kem import ml_kem_768  # noqa: PLC0415 (the environment may lack it)

        OPERATIONS["kem_decaps"] = ml_kem_768.decaps
        OPERATIONS["kem_encaps"] = lambda public: list(ml_kem_768.encaps(public))
        OPERATIONS["kem_keygen"] = lambda: list(ml_kem_768.keygen())
    except ModuleNotFoundError:
        pass
    try:
        import cbor2  # noqa: PLC0415 (the environment may lack it)

        OPERATIONS["cbor_loads"] = lambda data: ascii(cbor2.loads(data))
        OPERATIONS["cbor_dumps"] = lambda value: cbor2.dumps(eval(value), canonical=False)  # noqa: S307 (our own text)
        OPERATIONS["cbor_canonical"] = lambda value: cbor2.dumps(eval(value), canonical=True)  # noqa: S307 (our own text)
    except ModuleNotFoundError:
        pass
    try:
        import capnp_operations  # noqa: PLC0415 (the environment may lack pycapnp)

        OPERATIONS.update(capnp_operations.OPERATIONS)
    except ModuleNotFoundError:
        pass


_add_optional()

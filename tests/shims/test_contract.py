"""What callers rely on besides the right bytes: which exception, what may follow what, what is never shown."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.exceptions import AlreadyFinalized, InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, padding, rsa, types, x448
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from nacl import bindings, exceptions

from qpq.crypto.identity import SecretIdentity
from qpq.link.certificates import make_certificate

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = bytes(range(32))
DER = make_certificate(SecretIdentity(SEED))


def test_aead_keys_nonces_and_types_are_checked() -> None:
    for size in (0, 15, 17, 31, 33):
        with pytest.raises(ValueError, match="key must be"):
            AESGCM(bytes(size))
        with pytest.raises(ValueError, match="key must be 32 bytes"):
            ChaCha20Poly1305(bytes(size))
    with pytest.raises(ValueError, match="Nonce must be 12 bytes"):
        ChaCha20Poly1305(bytes(32)).encrypt(bytes(11), b"", None)
    with pytest.raises(ValueError, match="Nonce must be between 8 and 128 bytes"):
        AESGCM(bytes(16)).encrypt(bytes(7), b"", None)
    unfit: Any = "text"
    for call in (ChaCha20Poly1305(bytes(32)), AESGCM(bytes(16))):
        for arguments in ((unfit, b"", None), (bytes(12), unfit, None), (bytes(12), b"", unfit)):
            with pytest.raises(TypeError):
                call.encrypt(*arguments)
            with pytest.raises(TypeError):
                call.decrypt(*arguments)
        with pytest.raises(TypeError):
            type(call)(unfit)


@pytest.mark.parametrize("cipher", [AESGCM(bytes(16)), ChaCha20Poly1305(bytes(32))])
def test_tampered_data_is_refused_with_invalid_tag(cipher: AESGCM | ChaCha20Poly1305) -> None:
    sealed = cipher.encrypt(bytes(12), b"hello", b"aad")
    assert cipher.decrypt(nonce=bytes(12), data=sealed, associated_data=b"aad") == b"hello"
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(InvalidTag):
            cipher.decrypt(bytes(12), bytes(changed), b"aad")
    for short in range(17):
        with pytest.raises(InvalidTag):
            cipher.decrypt(bytes(12), sealed[:short], b"aad")
    with pytest.raises(InvalidTag):
        cipher.decrypt(bytes(12), sealed, None)
    assert cipher.encrypt(bytearray(12), memoryview(b"hello"), bytearray(b"aad")) == sealed


def test_new_keys_have_their_length_and_differ() -> None:
    for bits in (128, 192, 256):
        assert len(AESGCM.generate_key(bits)) == bits // 8
    assert len(ChaCha20Poly1305.generate_key()) == 32
    assert AESGCM.generate_key(bit_length=128) != AESGCM.generate_key(bit_length=128)
    with pytest.raises(ValueError, match="bit_length"):
        AESGCM.generate_key(100)


def test_a_stream_cipher_starts_anew_with_a_nonce_and_ends_when_finalized() -> None:
    context = Cipher(algorithms.ChaCha20(bytes(32), bytes(16)), mode=None).encryptor()
    assert isinstance(context, CipherContext)
    first = context.update(bytes(5))
    assert context.update(b"") == b""
    context.reset_nonce(bytes(16))
    assert context.update(bytes(5)) == first
    with pytest.raises(ValueError, match="Nonce must be 16 bytes"):
        context.reset_nonce(bytes(15))
    assert context.finalize() == b""
    for call in (lambda: context.update(b"x"), lambda: context.reset_nonce(bytes(16)), context.finalize):
        with pytest.raises(AlreadyFinalized):
            call()
    back = Cipher(algorithms.ChaCha20(bytes(32), bytes(16)), mode=None).decryptor()
    assert back.update(first) == bytes(5)


def test_a_header_mask_is_given_for_every_counter_a_peer_can_choose() -> None:
    context = Cipher(algorithms.ChaCha20(bytes(32), bytes(16)), mode=None).encryptor()
    for counter in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF):
        context.reset_nonce(counter.to_bytes(4, "little") + bytes(12))
        assert len(context.update(bytes(5))) == 5
    context.reset_nonce(b"\xff" * 16)
    assert len(context.update(bytes(64))) == 64
    with pytest.raises(ValueError, match="32-bit counter"):
        context.update(b"\0")


def test_a_block_cipher_has_no_nonce_and_wants_whole_blocks() -> None:
    context = Cipher(algorithms.AES(bytes(16)), modes.ECB()).encryptor()  # noqa: S305 (QUIC masks headers so)
    with pytest.raises(UnsupportedAlgorithm):
        context.reset_nonce(bytes(16))
    assert context.update(bytes(5)) == b""
    assert len(context.update(bytes(11))) == 16
    context.update(bytes(1))
    with pytest.raises(ValueError, match="multiple of the block length"):
        context.finalize()


def test_cipher_keys_are_checked() -> None:
    unfit: Any = "k" * 32
    for call in (
        lambda: algorithms.AES(bytes(15)),
        lambda: algorithms.ChaCha20(bytes(31), bytes(16)),
        lambda: algorithms.ChaCha20(bytes(32), bytes(12)),
    ):
        with pytest.raises(ValueError, match=r"key size|nonce must be"):
            call()
    for call in (
        lambda: algorithms.AES(unfit),
        lambda: algorithms.ChaCha20(bytes(32), unfit),
        lambda: Cipher(unfit, None),
    ):
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize("make", [lambda: hashes.Hash(hashes.SHA256()), lambda: hmac.HMAC(b"k", hashes.SHA256())])
def test_hashes_are_copied_while_they_grow_and_end_when_finalized(make: Callable[[], Any]) -> None:
    state = make()
    state.update(b"one")
    twin = state.copy()
    state.update(b"two")
    assert twin.finalize() != state.finalize()
    assert isinstance(state, hashes.HashContext)
    for call in (lambda: state.update(b""), state.copy, state.finalize):
        with pytest.raises(AlreadyFinalized):
            call()
    other = make()
    with pytest.raises(TypeError):
        other.update("text")
    with pytest.raises(TypeError):
        hashes.Hash(hashes.SHA256)  # type: ignore[arg-type]  # the class instead of an instance
    assert (other.algorithm.name, other.algorithm.digest_size, other.algorithm.block_size) == ("sha256", 32, 64)


def test_a_mac_is_compared_and_told_apart() -> None:
    tag = hmac.HMAC(b"k", hashes.SHA256())
    tag.update(b"m")
    value = tag.copy().finalize()
    tag.copy().verify(value)
    with pytest.raises(InvalidSignature):
        tag.copy().verify(value[:-1])
    with pytest.raises(TypeError):
        tag.copy().verify("text")  # type: ignore[arg-type]  # what is tested


def test_hkdf_derives_once_and_no_more_than_it_can() -> None:
    derive = HKDFExpand(hashes.SHA256(), 16, None)
    assert len(derive.derive(b"k")) == 16
    with pytest.raises(AlreadyFinalized):
        derive.derive(b"k")
    assert HKDFExpand(hashes.SHA256(), 0, b"").derive(b"k") == b""
    with pytest.raises(ValueError, match="8160"):
        HKDFExpand(hashes.SHA256(), 8161, b"")
    with pytest.raises(OverflowError):
        HKDFExpand(hashes.SHA256(), -1, b"")
    with pytest.raises(TypeError):
        HKDFExpand(hashes.SHA256(), 16, "info")  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize(
    ("private_kind", "public_kind"), [(Ed25519PrivateKey, Ed25519PublicKey), (X25519PrivateKey, X25519PublicKey)]
)
def test_keys_have_32_bytes_and_only_named_encodings(private_kind: Any, public_kind: Any) -> None:
    for size in (0, 31, 33):
        with pytest.raises(ValueError, match="32 bytes"):
            private_kind.from_private_bytes(bytes(size))
        with pytest.raises(ValueError, match="32 bytes"):
            public_kind.from_public_bytes(bytes(size))
    for call in (private_kind, public_kind, lambda: private_kind.from_private_bytes("x" * 32)):
        with pytest.raises(TypeError):
            call()
    private = private_kind.from_private_bytes(SEED)
    public = private.public_key()
    assert isinstance(public, public_kind)
    assert isinstance(private, private_kind)
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert public == public_kind.from_public_bytes(raw)
    assert public != public_kind.from_public_bytes(bytes(32))
    assert copy.deepcopy(public) == public
    for pair in ((Encoding.Raw, PublicFormat.SubjectPublicKeyInfo), (Encoding.DER, PublicFormat.Raw)):
        with pytest.raises(ValueError, match="both encoding and format must be Raw"):
            public.public_bytes(*pair)
    with pytest.raises(ValueError, match="format is invalid"):
        public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    with pytest.raises(TypeError):
        public.public_bytes(None, None)
    with pytest.raises(ValueError, match="Raw"):
        private.private_bytes(Encoding.Raw, PrivateFormat.Raw, BestAvailableEncryption(b"x"))
    with pytest.raises(ValueError, match="format is invalid"):
        private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert private_kind.generate().private_bytes_raw() != private_kind.generate().private_bytes_raw()


def test_no_secret_is_in_a_text_form() -> None:
    shown = [
        Ed25519PrivateKey.from_private_bytes(SEED),
        X25519PrivateKey.from_private_bytes(SEED),
        AESGCM(SEED[:16]),
        ChaCha20Poly1305(SEED),
        algorithms.AES(SEED[:16]),
        algorithms.ChaCha20(SEED, bytes(16)),
        Cipher(algorithms.ChaCha20(SEED, bytes(16)), None).encryptor(),
        hmac.HMAC(SEED, hashes.SHA256()),
    ]
    for thing in shown:
        text = (repr(thing) + str(thing)).lower()
        assert SEED[:8].hex() not in text
        assert repr(SEED[:8])[2:-1] not in text


def test_private_keys_come_back_from_pem_and_damaged_files_are_refused() -> None:
    pem = Ed25519PrivateKey.from_private_bytes(SEED).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    loaded = load_pem_private_key(pem, None)
    assert isinstance(loaded, Ed25519PrivateKey)
    assert loaded.private_bytes_raw() == SEED
    with pytest.raises(TypeError):
        load_pem_private_key(pem, b"password")
    for damaged in (b"", b"hello", pem[:-30], pem.replace(b"MC4C", b"MC5C"), pem.replace(b"PRIVATE", b"PUBLIC")):
        with pytest.raises(ValueError, match=r"."):
            load_pem_private_key(damaged, None)


def test_a_certificate_gives_its_key_and_itself() -> None:
    read = x509.load_der_x509_certificate(DER)
    key = read.public_key()
    assert isinstance(key, Ed25519PublicKey)
    assert key.public_bytes(Encoding.Raw, PublicFormat.Raw) == SecretIdentity(SEED).identity
    assert read.public_bytes(Encoding.DER) == DER
    assert x509.load_pem_x509_certificate(read.public_bytes(Encoding.PEM)) == read
    assert hash(read) == hash(x509.load_der_x509_certificate(DER))
    assert read.not_valid_after_utc.year == 9999
    with pytest.raises(TypeError):
        read.public_bytes(Encoding.Raw)
    with pytest.raises(TypeError):
        x509.load_der_x509_certificate("text")  # type: ignore[arg-type]  # what is tested
    for damaged in (b"", DER[:-1], DER + b"\0", b"\x30\x80" + DER[3:] + b"\0\0"):
        with pytest.raises(ValueError, match="asn1"):
            x509.load_der_x509_certificate(damaged)


def test_what_aioquic_only_names_is_there_by_name() -> None:
    assert default_backend().ed25519_supported()
    assert default_backend().x25519_supported()
    for kind in (
        dsa.DSAPrivateKey, ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey, ec.ECDSA, ec.SECP521R1,
        ed448.Ed448PublicKey, padding.PSS, padding.MGF1, rsa.RSAPublicKey, x448.X448PublicKey,
    ):  # fmt: skip
        assert isinstance(kind, type)
        assert not isinstance(Ed25519PrivateKey.from_private_bytes(SEED), kind)
    assert types.PrivateKeyTypes is not None
    assert types.CertificateIssuerPublicKeyTypes is not None


def test_a_key_share_of_another_kind_is_bad_input() -> None:
    with pytest.raises(ValueError, match=r"."):
        x448.X448PublicKey.from_public_bytes(bytes(55))
    with pytest.raises(ValueError, match=r"."):
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + bytes(64))


def test_sodium_refuses_what_it_must_with_its_own_exceptions() -> None:
    public, secret = bindings.crypto_sign_seed_keypair(SEED)
    signed = bindings.crypto_sign(b"message", secret)
    assert bindings.crypto_sign_open(signed, public) == b"message"
    for damaged in (signed[:-1], signed[:63], b"", bytes([signed[0] ^ 1]) + signed[1:]):
        with pytest.raises(exceptions.BadSignatureError):
            bindings.crypto_sign_open(damaged, public)
    with pytest.raises(exceptions.ValueError):
        bindings.crypto_sign_seed_keypair(bytes(31))
    with pytest.raises(exceptions.CryptoError):
        bindings.crypto_scalarmult(SEED, bytes(32))
    with pytest.raises(exceptions.RuntimeError):
        bindings.crypto_sign_ed25519_pk_to_curve25519(bytes(32))
    with pytest.raises(exceptions.TypeError):
        bindings.crypto_aead_chacha20poly1305_ietf_encrypt(b"", None, bytes(11), bytes(32))
    with pytest.raises(exceptions.CryptoError):
        bindings.crypto_aead_chacha20poly1305_ietf_decrypt(bytes(16), None, bytes(12), bytes(32))
    for passes, memory, salt in ((0, 8192, 16), (1, 8191, 16), (1, 8192, 15), (1 << 33, 8192, 16)):
        with pytest.raises(exceptions.ValueError):
            bindings.crypto_pwhash_alg(16, b"", bytes(salt), passes, memory, bindings.crypto_pwhash_ALG_ARGON2ID13)
    assert issubclass(exceptions.RuntimeError, RuntimeError)
    assert issubclass(exceptions.BadSignatureError, exceptions.CryptoError)

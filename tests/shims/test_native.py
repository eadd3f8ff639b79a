"""The extension itself, where it is the one in use: lengths, wiping, and calls that would harm."""

from __future__ import annotations

import gc
import hashlib
import hmac
import os
from typing import TYPE_CHECKING, Any

import pytest
import shim_paths
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING or shim_paths.ON_SHIMS:
    import _qpq_native as native
else:
    pytest.skip("the extension is tested in the second run", allow_module_level=True)

SEED = bytes(range(32))
WRONG = [
    ("ed25519_public", (bytes(31),)),
    ("ed25519_sign", (bytes(32), b"")),
    ("ed25519_verify", (bytes(31), bytes(64), b"")),
    ("ed25519_public_to_x25519", (bytes(33),)),
    ("ed25519_seed_to_x25519", (b"",)),
    ("x25519_public", (bytes(31),)),
    ("x25519", (bytes(32), bytes(31))),
    ("mlkem768_keypair", (bytes(32),)),
    ("mlkem768_encaps", (bytes(1183), bytes(32))),
    ("mlkem768_encaps", (bytes(1184), bytes(31))),
    ("mlkem768_decaps", (bytes(2399), bytes(1088))),
    ("mlkem768_decaps", (bytes(2400), bytes(1087))),
    ("hkdf_sha256_expand", (b"", b"", 8161)),
    ("hkdf_sha256_expand", (b"", b"", -1)),
    ("blake2b", (b"", 65)),
    ("blake2b", (b"", 0)),
    ("blake2b", (b"", 32, bytes(65))),
    ("argon2id", (b"", bytes(15), 1, 8192, 16)),
    ("argon2id", (b"", bytes(16), 0, 8192, 16)),
    ("argon2id", (b"", bytes(16), 1, 8191, 16)),
    ("argon2id", (b"", bytes(16), 1, 8192, 15)),
    ("Digest", ("md5",)),
    ("Digest", ("sha256", b"key")),
    ("Digest", ("sha3_256", b"key")),
    ("Digest", ("hmac-sha256",)),
    ("CipherContext", (bytes(32),)),
    ("CipherContext", (bytes(16), bytes(16))),
    ("random_bytes", (-1,)),
]


@pytest.mark.parametrize(("name", "arguments"), WRONG)
def test_a_wrong_length_never_reaches_a_primitive(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"."):
        getattr(native, name)(*arguments)


@pytest.mark.parametrize("name", sorted({name for name, _ in WRONG} - {"random_bytes"}))
def test_texts_and_missing_arguments_are_type_errors(name: str) -> None:
    with pytest.raises(TypeError):
        getattr(native, name)()
    with pytest.raises((TypeError, ValueError)):
        getattr(native, name)("text", "text", "text")


def test_wiping_overwrites_in_place_and_refuses_what_cannot_be_written() -> None:
    secret = bytearray(SEED)
    native.wipe(secret)
    assert secret == bytes(32)
    with pytest.raises((BufferError, TypeError)):
        native.wipe(SEED)  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("kind", ["bytes", "text", "byte array"])
@pytest.mark.parametrize("size", [16, 32, 64, 400, 4096])
def test_what_the_interpreter_frees_is_overwritten(kind: str, size: int) -> None:
    ctypes: Any = pytest.importorskip("ctypes", reason="without ctypes a program cannot see what it has freed")
    seen = ctypes.create_string_buffer(size)
    secret: Any = os.urandom(size)
    if kind == "text":
        secret = secret[: size // 2].hex()
        place = id(secret) + "".__sizeof__() - 1
    elif kind == "byte array":
        secret = bytearray(secret)
        place = ctypes.addressof(ctypes.c_char.from_buffer(secret))
        gc.collect()
    else:
        place = id(secret) + bytes.__basicsize__ - 1
    ctypes.memmove(seen, place, size)
    before = seen.raw
    del secret
    ctypes.memmove(seen, place, size)  # of what was freed a part may be somebody else's already
    after = seen.raw
    assert len(set(before)) > 1
    assert not [start for start in range(0, size, 8) if after[start : start + 8] == before[start : start + 8]]


def test_comparing_tells_lengths_and_bytes_apart() -> None:
    assert native.equal(b"", b"")
    assert native.equal(SEED, bytearray(SEED))
    assert not native.equal(SEED, SEED[:-1])
    assert not native.equal(SEED, SEED[:-1] + b"\0")


def test_a_failed_constructor_leaves_nothing_behind() -> None:
    for _ in range(100):
        for kind, key in ((native.AESGCM, bytes(15)), (native.ChaCha20Poly1305, bytes(31))):
            with pytest.raises(ValueError, match="key must be"):
                kind(key)
    gc.collect()


def test_types_can_neither_be_changed_nor_subclassed() -> None:
    for kind in (native.AESGCM, native.ChaCha20Poly1305, native.CipherContext, native.Digest):
        with pytest.raises(TypeError):
            kind.update = None  # type: ignore[assignment,union-attr,attr-defined]  # what is tested
        with pytest.raises(TypeError):
            type("Sub", (kind,), {})


def test_argon2id_that_gets_no_memory_says_so() -> None:
    with pytest.raises((MemoryError, ValueError)):
        native.argon2id(b"", bytes(16), 1, (1 << 42) - 1024, 16)


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_digests_are_those_of_the_standard_library(parts: list[bytes]) -> None:
    for name in ("sha256", "sha512", "sha3_256"):
        state = native.Digest(name)
        for part in parts:
            state.update(part)
        assert state.copy().digest() == state.digest() == hashlib.new(name, b"".join(parts)).digest()


@given(st.binary(max_size=200), st.binary(max_size=300), st.integers(1, 64))
def test_macs_and_blake2b_are_those_of_the_standard_library(key: bytes, data: bytes, size: int) -> None:
    assert native.hmac_sha256(key, data) == hmac.digest(key, data, "sha256")
    keyed = hashlib.blake2b(data, digest_size=size, key=key[:64]).digest()
    assert native.blake2b(data, size, key[:64]) == keyed


def test_random_bytes_are_as_many_as_asked_for_and_differ() -> None:
    assert native.random_bytes(0) == b""
    assert len(native.random_bytes(1000)) == 1000
    assert native.random_bytes(32) != native.random_bytes(32)


@given(st.binary(max_size=300), st.sampled_from(["sha256", "sha512", "sha3_256"]))
def test_the_small_hashlib_is_the_large_one(data: bytes, name: str) -> None:
    small = shim_paths.stand_in("hashlib")
    state, real = getattr(small, name)(data), getattr(hashlib, name)(data)
    assert state.hexdigest() == real.hexdigest() == small.new(name.upper(), data).hexdigest()
    assert (state.name, state.digest_size, state.block_size) == (real.name, real.digest_size, real.block_size)
    state.update(b"more")
    assert state.digest() == getattr(hashlib, name)(data + b"more", usedforsecurity=False).digest()
    assert getattr(small, name)().digest() == getattr(hashlib, name)().digest()


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_the_small_hmac_is_the_large_one(key: bytes, data: bytes) -> None:
    small = shim_paths.stand_in("hmac")
    expected = hmac.digest(key, data, "sha256")
    assert small.digest(key, data, "sha256") == small.digest(key, data, native.sha256) == expected
    state, real = small.new(key, data, "sha256"), hmac.new(key, data, "sha256")
    assert (state.digest(), state.name, state.block_size) == (expected, real.name, real.block_size)
    assert small.new(key, digestmod="sha256").digest() == hmac.digest(key, b"", "sha256")
    assert small.compare_digest(expected, expected)


def test_what_the_small_hashes_lack_they_say() -> None:
    small, macs = shim_paths.stand_in("hashlib"), shim_paths.stand_in("hmac")
    with pytest.raises(AttributeError, match=r"hashlib\.md5 is not built"):
        small.md5()
    with pytest.raises(ValueError, match="unsupported hash type"):
        small.new("md5")
    for call in (
        small.sha256,
        lambda data: small.sha256(b"", data),
        lambda _: small.sha256(string=b""),
        lambda data: macs.digest(b"", data, "sha256"),
    ):
        with pytest.raises(TypeError):
            call("text")
    with pytest.raises(ValueError, match="not built in"):
        macs.digest(b"", b"", "sha512")
    with pytest.raises(TypeError, match="digestmod"):
        macs.new(b"")


def test_packages_that_are_only_names_say_so() -> None:
    import certifi  # noqa: PLC0415 (only there in this run)
    import ifaddr  # noqa: PLC0415 (only there in this run)
    import service_identity  # noqa: PLC0415 (only there in this run)
    from OpenSSL import crypto  # noqa: PLC0415 (only there in this run)

    calls: list[Any] = [
        certifi.where,
        crypto.X509Store,
        lambda: crypto.X509.from_cryptography(None),
        lambda: service_identity.cryptography.verify_certificate_hostname(None, "a"),
        lambda: service_identity.cryptography.verify_certificate_ip_address(None, "a"),
        lambda: service_identity.cryptography.extract_patterns(None),
    ]
    for call in calls:
        with pytest.raises(NotImplementedError):
            call()
    assert issubclass(crypto.X509StoreContextError, Exception)
    assert issubclass(service_identity.VerificationError, Exception)
    assert ifaddr.get_adapters() == []


def test_algorithms_that_are_only_names_say_so() -> None:
    from cryptography.exceptions import InvalidKey, UnsupportedAlgorithm  # noqa: PLC0415 (only there in this run)
    from cryptography.hazmat.backends import default_backend  # noqa: PLC0415 (only there in this run)
    from cryptography.hazmat.primitives import hashes, hmac  # noqa: PLC0415 (only there in this run)
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, x448  # noqa: PLC0415 (only there in this run)
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415 (only there in this run)
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand  # noqa: PLC0415 (only there in this run)

    calls: list[Any] = [
        lambda: hashes.Hash(hashes.SHA384()),
        lambda: hmac.HMAC(b"", hashes.SHA512()),
        lambda: HKDFExpand(hashes.SHA384(), 16, b""),
        lambda: Cipher(algorithms.AES(bytes(32)), modes.ECB()).encryptor(),  # noqa: S305 (QUIC masks headers so)
        Cipher(algorithms.AES(bytes(16)), modes.ECB()).decryptor,  # noqa: S305 (QUIC masks headers so)
        x448.X448PrivateKey.generate,
        lambda: ed448.Ed448PublicKey.from_public_bytes(bytes(57)),
        lambda: ec.generate_private_key(ec.SECP256R1),
    ]
    for call in calls:
        with pytest.raises(UnsupportedAlgorithm):
            call()
    assert not default_backend().x448_supported()
    assert not default_backend().ed448_supported()
    with pytest.raises(InvalidKey):
        HKDFExpand(hashes.SHA256(), 16, b"").verify(b"", bytes(16))


def test_the_bindings_never_pass_on_a_wrong_length() -> None:
    from nacl import bindings, exceptions  # noqa: PLC0415 (only there in this run)

    calls: list[Any] = [
        lambda: bindings.crypto_sign(b"", bytes(63)),
        lambda: bindings.crypto_sign_open(bytes(64), bytes(31)),
        lambda: bindings.crypto_scalarmult_base(bytes(31)),
        lambda: bindings.crypto_scalarmult(bytes(32), bytes(33)),
        lambda: bindings.crypto_sign_ed25519_pk_to_curve25519(bytes(31)),
        lambda: bindings.crypto_sign_ed25519_sk_to_curve25519(bytes(32)),
    ]
    for call in calls:
        with pytest.raises(exceptions.ValueError):
            call()


def test_the_guard_takes_core_dumps_and_looking_in_away() -> None:
    child = os.fork()
    if not child:  # this process stays as it is
        os._exit(native.guard(False))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    with pytest.raises(TypeError):
        native.guard()

"""The same calls in this process, on the real packages, and in another one, on the stand-ins: the same answers."""

from __future__ import annotations

import datetime as dt
import random
from typing import TYPE_CHECKING, Any

import operations
import pytest
import shim_paths
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from side_by_side import stand_ins

from qpq.crypto.identity import SecretIdentity
from qpq.link.certificates import make_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.skipif(shim_paths.ON_SHIMS, reason="this compares the two"),
    pytest.mark.filterwarnings("ignore:Parsed a serial number"),
]
fixture_once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)

Other = "Callable[[list[tuple[str, list[Any]]]], list[list[Any]]]"
SMALL_ORDER = [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f", b"\xed" + b"\xff" * 30 + b"\x7f"]
KEYS = st.binary(min_size=32, max_size=32)
SIZES = st.sampled_from([0, 1, 15, 16, 17, 31, 32, 33, 64, 65])
ANY_KEY = SIZES.flatmap(lambda size: st.binary(min_size=size, max_size=size))
NONCES = st.sampled_from([0, 7, 8, 11, 12, 12, 12, 13, 16]).flatmap(
    lambda size: st.binary(min_size=size, max_size=size)
)
DATA = st.binary(max_size=200)
PARTS = st.lists(st.binary(max_size=150), max_size=5)
NO_AES = {24, 32}  # key lengths that only the real package has


@pytest.fixture(scope="module")
def other() -> Iterator[Callable[[list[tuple[str, list[Any]]]], list[list[Any]]]]:
    """Return a function that performs a batch on the stand-ins, here or on another machine's interpreter."""
    with stand_ins() as ask:
        yield ask


def agree(other: Any, name: str, *arguments: Any) -> list[Any]:
    """Make one call on both sides and return what both answered."""
    real = operations.perform(name, list(arguments))
    assert other([(name, list(arguments))])[0] == real, (name, arguments)
    return real


def has(name: str) -> None:
    if name not in operations.OPERATIONS:
        pytest.skip(f"the real package for {name} is not installed")


@fixture_once
@given(key=ANY_KEY, nonce=NONCES, data=DATA, aad=st.none() | DATA, flip=st.integers(0, 1 << 16))
def test_both_seal_and_open_alike(
    other: Any, key: bytes, nonce: bytes, data: bytes, aad: bytes | None, flip: int
) -> None:
    for name in ("gcm", "chacha"):
        if name == "gcm" and len(key) in NO_AES:
            continue
        sealed = agree(other, f"{name}_encrypt", key, nonce, data, aad)
        if sealed[0] == "ok":
            assert agree(other, f"{name}_decrypt", key, nonce, sealed[1], aad) == ["ok", data]
            damaged = bytearray(sealed[1])
            damaged[flip % len(damaged)] ^= 1 << flip % 8
            assert agree(other, f"{name}_decrypt", key, nonce, bytes(damaged), aad) == ["error", "InvalidTag"]
        agree(other, f"{name}_decrypt", key, nonce, data, aad)


@fixture_once
@given(key=KEYS, nonce=KEYS, parts=PARTS, second=KEYS, again=DATA)
@example(key=bytes(32), nonce=b"\xff" * 32, parts=[bytes(64)], second=b"\xff" * 32, again=bytes(65))
@example(key=bytes(32), nonce=b"\xfe\xff\xff\xff" + bytes(28), parts=[b"x", bytes(127)], second=b"", again=b"")
def test_both_give_one_key_stream(
    other: Any, key: bytes, nonce: bytes, parts: list[bytes], second: bytes, again: bytes
) -> None:
    agree(other, "chacha_stream", key, nonce[:16], parts, second[:16], again)
    agree(other, "aes_blocks", key[:16], parts)


@fixture_once
@given(key=DATA, parts=PARTS, info=st.none() | DATA, length=st.integers(0, 8161), tag=KEYS)
def test_both_hash_authenticate_and_derive_alike(
    other: Any, key: bytes, parts: list[bytes], info: bytes | None, length: int, tag: bytes
) -> None:
    agree(other, "digest", "sha256", parts)
    agree(other, "digest", "sha512", parts)
    made = agree(other, "mac", key, parts)
    agree(other, "hkdf_expand", key, info, length)
    agree(other, "mac_verify", key, b"".join(parts), tag)
    assert agree(other, "mac_verify", key, b"".join(parts), made[1][-1]) == ["ok", None]


@fixture_once
@given(seed=ANY_KEY, message=DATA, signature=st.binary(max_size=70), flip=st.integers(0, 1 << 16))
def test_both_sign_and_verify_alike(other: Any, seed: bytes, message: bytes, signature: bytes, flip: int) -> None:
    made = agree(other, "ed25519", seed, message)
    agree(other, "sodium_keys", seed)
    if made[0] == "ok":
        public, good = made[1][2], made[1][0]
        assert agree(other, "ed25519_verify", public, good, message) == ["ok", None]
        assert agree(other, "sodium_open", good + message, public) == ["ok", message]
        assert agree(other, "sodium_sign", message, seed + public) == ["ok", good + message]
        damaged = bytearray(good)
        damaged[flip % 64] ^= 1 << flip % 8
        assert agree(other, "ed25519_verify", public, bytes(damaged), message)[1] == "InvalidSignature"
        agree(other, "ed25519_verify", public, signature, message)
        agree(other, "sodium_open", signature + message, public)
        agree(other, "sodium_to_x25519", public)


@fixture_once
@given(secret=ANY_KEY, public=ANY_KEY)
def test_both_agree_on_secrets(other: Any, secret: bytes, public: bytes) -> None:
    agree(other, "x25519", secret, public)
    agree(other, "sodium_to_x25519", public)
    if len(secret) == len(public) == 32:  # the real binding reads past a short key
        agree(other, "sodium_base", secret)
        agree(other, "sodium_mult", secret, public)


def test_keys_of_small_order_share_and_verify_nothing_on_the_stand_ins(other: Any) -> None:
    for public in SMALL_ORDER:
        assert other([("ed25519_verify", [public, public + bytes(32), b""])]) == [["error", "InvalidSignature"]]
        agree(other, "sodium_open", public + bytes(32), public)
        agree(other, "sodium_to_x25519", public)
        agree(other, "x25519", bytes(range(32)), public)


@fixture_once
@given(text=DATA, aad=st.none() | DATA, nonce=NONCES, key=ANY_KEY)
def test_both_sodiums_seal_alike(other: Any, text: bytes, aad: bytes | None, nonce: bytes, key: bytes) -> None:
    sealed = agree(other, "sodium_seal", text, aad, nonce, key)
    agree(other, "sodium_unseal", text, aad, nonce, key)
    if sealed[0] == "ok":
        assert agree(other, "sodium_unseal", sealed[1], aad, nonce, key) == ["ok", text]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(
    length=st.sampled_from([0, 15, 16, 32, 64, 129]),
    password=DATA,
    salt=st.sampled_from([bytes(15), bytes(16), bytes(range(16))]),
    passes=st.integers(0, 3),
    memory=st.sampled_from([0, 8191, 8192, 20000, 1 << 20]),
)
def test_both_stretch_passwords_alike(
    other: Any, length: int, password: bytes, salt: bytes, passes: int, memory: int
) -> None:
    agree(other, "sodium_password", length, password, salt, passes, memory, 2)
    agree(other, "sodium_password", length, password, salt, passes, memory, 7)


def test_both_kems_open_each_others_secrets_and_refuse_the_same_keys(other: Any) -> None:
    has("kem_keygen")
    public, secret = operations.perform("kem_keygen", [])[1]
    ciphertext, shared = other([("kem_encaps", [public])])[0][1]
    assert agree(other, "kem_decaps", secret, ciphertext) == ["ok", shared]
    public, secret = other([("kem_keygen", [])])[0][1]
    ciphertext, shared = operations.perform("kem_encaps", [public])[1]
    assert agree(other, "kem_decaps", secret, ciphertext) == ["ok", shared]
    chance = random.Random(5)  # noqa: S311 (the same every time)
    for _ in range(40):
        damaged = bytearray(ciphertext)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        assert agree(other, "kem_decaps", secret, bytes(damaged))[1] != shared
        broken = bytearray(secret)
        broken[chance.randrange(1152, 2368)] ^= 1
        agree(other, "kem_decaps", bytes(broken), ciphertext)
    for wrong in (public[:-1], public + b"\0", b"", b"\xff" * len(public), "text"):
        assert agree(other, "kem_encaps", wrong)[0] == "error"
    agree(other, "kem_decaps", secret[:-1], ciphertext)
    agree(other, "kem_decaps", secret, ciphertext[:-1])


def full_certificate(public: Any, signer: Any, algorithm: Any) -> bytes:
    """Return a certificate with names, extensions and both kinds of date."""
    name = x509.Name(
        [x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE"), x509.NameAttribute(x509.NameOID.COMMON_NAME, "ü")]
    )
    builder = x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=public, serial_number=2**70)
    builder = builder.not_valid_before(dt.datetime(2049, 1, 2, tzinfo=dt.UTC))
    builder = builder.not_valid_after(dt.datetime(2055, 2, 28, tzinfo=dt.UTC))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=2), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("a.b")]), critical=False)
    return builder.sign(signer, algorithm).public_bytes(Encoding.DER)


def certificates() -> list[bytes]:
    """Return certificates to start from: ours, a large one, one with a key of another kind."""
    key, curve = Ed25519PrivateKey.from_private_bytes(bytes(32)), ec.generate_private_key(ec.SECP256R1())
    return [
        make_certificate(SecretIdentity(bytes(range(32)))),
        full_certificate(key.public_key(), key, None),
        full_certificate(curve.public_key(), curve, hashes.SHA256()),
    ]


def test_both_read_and_refuse_the_same_certificates(other: Any) -> None:
    ours, large, foreign = certificates()
    chance = random.Random(9)  # noqa: S311 (the same every time)
    damaged = [ours[:at] + bytes([value]) + ours[at + 1 :] for at in range(len(ours)) for value in range(0, 256, 5)]
    damaged += [base[:at] for base in (ours, large) for at in range(len(base))] + [ours + b"\0", b""]
    for base in (ours, large, large, large):
        for _ in range(1500):
            changed = bytearray(base)
            for _ in range(chance.choice((1, 2, 3))):
                at = chance.randrange(len(changed))
                if chance.random() < 0.5:
                    changed[at] = chance.randrange(256)
                elif chance.random() < 0.5:
                    del changed[at]
                else:
                    changed.insert(at, chance.randrange(256))
            damaged.append(bytes(changed))
    batch = [("certificate", [der]) for der in [ours, large, foreign, *damaged]]
    answers = other(batch)
    accepted = 0
    for (name, arguments), answer in zip(batch, answers, strict=True):
        real = operations.perform(name, arguments)
        assert answer == real, arguments[0].hex()
        accepted += real[0] == "ok"
    assert accepted > 100, "some damage is where nobody looks"
    for der in (ours, large, foreign):
        agree(other, "certificate_dates", der)


@pytest.mark.parametrize("value", [b"", b"A", b"AB", b"a*", b"\0A\0B", b"\xd8\0\0A", b"\0\0\0A", b"\0\x11\0A", b"\xff"])
def test_both_check_the_same_kinds_of_text_in_names(other: Any, value: bytes) -> None:
    ours = certificates()[0]
    for tag in (0x0C, 0x13, 0x14, 0x16, 0x1C, 0x1E, 0x02, 0x30):
        agree(other, "certificate", ours.replace(b"\x0c\x03qpq", bytes([tag, 3]) + (value + b"   ")[:3]))
        if len(value) == 4:
            wide = ours.replace(b"\x30\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x03qpq",
                                b"\x30\x0f\x31\x0d\x30\x0b\x06\x03\x55\x04\x03" + bytes([tag, 4]) + value)  # fmt: skip
            agree(other, "certificate", wide.replace(b"\x30\x81\xd1\x30\x81\x84", b"\x30\x81\xd3\x30\x81\x86", 1))


@pytest.mark.parametrize(
    "date", ["00000101000000", "19000229000000", "20000229000000", "20250431000000", "20251301000000", "20250100000000",
             "20250101240000", "20250101006000", "20250101000060", "2025010100000 "]
)  # fmt: skip
def test_both_accept_the_same_dates(other: Any, date: str) -> None:
    agree(other, "certificate", certificates()[0].replace(b"99991231235959", date.encode()))
    agree(other, "certificate", certificates()[0].replace(b"700101000000Z", date[2:].encode() + b"Z"))


def test_both_read_the_same_pem(other: Any) -> None:
    read = operations.perform("certificate", [certificates()[0]])[1][2]
    key = operations.perform("ed25519", [bytes(32), b""])[1][5]
    for pem in (
        read,
        b"",
        b"x",
        read[1:],
        read[:-20],
        read.replace(b"\n", b"\r\n"),
        b"hello\n" + read,
        read + read,
        key,
    ):
        agree(other, "certificate_pem", pem)
        agree(other, "pem_key", pem)


CBOR_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 64), (1 << 64) - 1) | st.binary(max_size=40) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.integers(0, 300) | st.text(max_size=5) | st.binary(max_size=5), inner, max_size=5)
    ),
    max_leaves=15,
)


@fixture_once
@given(value=CBOR_VALUES)
def test_both_write_and_read_the_same_cbor(other: Any, value: Any) -> None:
    has("cbor_dumps")
    made = agree(other, "cbor_dumps", repr(value))
    agree(other, "cbor_canonical", repr(value))
    if made[0] == "ok":
        agree(other, "cbor_loads", made[1])


@fixture_once
@given(data=st.binary(max_size=30))
@example(data=b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff")
@example(data=b"\x9b\x00\xff\xff\xff\xff\xff\xff\xff")
@example(data=b"\x62\xc3\x28")
@example(data=b"\xa2\x01\x01\x01\x02")
def test_what_the_small_cbor_reads_the_real_one_reads_alike(other: Any, data: bytes) -> None:
    has("cbor_loads")
    small = other([("cbor_loads", [data])])[0]
    real = operations.perform("cbor_loads", [data])
    if small[0] == "ok":
        assert small == real
    else:
        assert small[1] in {"CBORDecodeError", "CBORDecodeEOF"}

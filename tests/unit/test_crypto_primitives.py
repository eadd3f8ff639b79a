"""Primitives: answers printed in their standards, and the refusal of every wrong length."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qpq.crypto import primitives
from qpq.crypto.errors import AuthenticationError, CryptoError, IdentityError

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = bytes(range(32))
PUBLIC = primitives.ed25519_public(SEED)

# RFC 8032 section 7.1, tests 1, 2 and 3: seed, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_ed25519_signs_and_verifies_as_rfc_8032_prints(seed: str, public: str, message: str, signature: str) -> None:
    key, expected, text = bytes.fromhex(public), bytes.fromhex(signature), bytes.fromhex(message)
    assert primitives.ed25519_public(bytes.fromhex(seed)) == key
    assert primitives.ed25519_sign(bytes.fromhex(seed), key, text) == expected
    assert primitives.ed25519_verify(key, expected, text)
    assert not primitives.ed25519_verify(key, expected, text + b"x")


def test_x25519_agrees_as_rfc_7748_section_6_1_prints() -> None:
    alice = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    bob = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    alice_public, bob_public = primitives.x25519_public(alice), primitives.x25519_public(bob)
    assert alice_public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert bob_public.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert primitives.x25519(alice, bob_public).hex() == primitives.x25519(bob, alice_public).hex() == shared


def test_x25519_iterates_as_rfc_7748_section_5_2_prints() -> None:
    scalar = point = b"\x09" + bytes(31)
    expected = {
        1: "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
        1000: "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51",
    }
    for count in range(1, 1001):
        scalar, point = primitives.x25519(scalar, point), scalar
        assert scalar.hex() == expected.get(count, scalar.hex())


def test_chacha20_poly1305_seals_as_rfc_8439_section_2_8_2_prints() -> None:
    key = bytes(range(0x80, 0xA0))
    nonce = bytes.fromhex("070000004041424344454647")
    aad = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    text = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future,"
        b" sunscreen would be it."
    )
    sealed = primitives.aead_seal(key, nonce, text, aad)
    assert sealed.hex() == (
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b"
        "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
        "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691"
    )
    assert primitives.aead_open(key, nonce, sealed, aad) == text


def test_hkdf_gives_what_rfc_5869_appendix_a_1_prints() -> None:
    info, salt = bytes(range(0xF0, 0xFA)), bytes(range(13))
    prk = primitives.hkdf_extract(salt, b"\x0b" * 22)
    assert prk.hex() == "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
    assert primitives.hkdf_expand(prk, info, 42).hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


def test_hkdf_gives_what_rfc_5869_appendix_a_2_and_a_3_print() -> None:
    ikm, salt, info = (bytes(range(start, start + 0x50)) for start in (0, 0x60, 0xB0))
    assert primitives.hkdf(ikm, salt=salt, info=info, length=82).hex() == (
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
    )
    assert primitives.hkdf(b"\x0b" * 22, salt=b"", info=b"", length=42).hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_sha3_256_gives_what_nist_prints() -> None:
    assert primitives.sha3_256(b"").hex() == "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"
    assert primitives.sha3_256(b"abc").hex() == "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"
    whole = primitives.sha3_256(b"\xa3" * 200).hex()
    assert whole == "79f38adec5c20307a98ef76e8324afbfd46cfd81b22e3973c65fa1bd9de31787"


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 64, 65, 8160])
def test_hkdf_gives_as_many_bytes_as_asked(length: int) -> None:
    long = primitives.hkdf(b"ikm", salt=b"", info=b"info", length=8160)
    assert primitives.hkdf(b"ikm", salt=b"", info=b"info", length=length) == long[:length]


@pytest.mark.parametrize("length", [-1, 8161])
def test_hkdf_refuses_a_length_it_cannot_give(length: int) -> None:
    with pytest.raises(CryptoError, match="HKDF cannot give"):
        primitives.hkdf_expand(bytes(32), b"", length)


def test_hmac_gives_what_rfc_4231_case_2_prints() -> None:
    tag = primitives.hmac_sha256(b"Jefe", b"what do ya want for nothing?")
    assert tag.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


def test_sha256_gives_what_fips_180_prints_for_abc() -> None:
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert primitives.sha256(b"abc").hex() == expected


def test_a_tagged_hash_is_sha256_over_length_prefixed_tag_and_fields() -> None:
    expected = hashlib.sha256(b"\x05qpq/1" + b"\0\0\0\x02ab" + b"\0\0\0\0").digest()
    assert primitives.tagged_hash(b"qpq/1", b"ab", b"") == expected


def test_a_tagged_hash_tells_fields_apart_where_their_concatenation_is_the_same() -> None:
    hashes = {
        primitives.tagged_hash(b"t", b"ab", b"c"),
        primitives.tagged_hash(b"t", b"a", b"bc"),
        primitives.tagged_hash(b"t", b"abc"),
        primitives.tagged_hash(b"t", b"abc", b""),
        primitives.tagged_hash(b"ta", b"bc"),
    }
    assert len(hashes) == 5


def test_a_tag_longer_than_its_length_byte_is_refused() -> None:
    assert len(primitives.tagged_hash(bytes(255))) == 32
    with pytest.raises(CryptoError, match="at most 255"):
        primitives.tagged_hash(bytes(256))


def test_argon2id_agrees_with_another_implementation() -> None:
    other = pytest.importorskip("cryptography.hazmat.primitives.kdf.argon2")
    expected = other.Argon2id(salt=bytes(16), length=32, iterations=2, lanes=1, memory_cost=64).derive(b"passphrase")
    assert primitives.argon2id(b"passphrase", bytes(16), ops=2, memory=64 << 10) == expected


@pytest.mark.parametrize(
    ("ops", "memory", "length"),
    [(0, 64 << 10, 32), (1, 1024, 32), (1, 64 << 10, 8), (1, 1 << 45, 32)],
)
def test_argon2id_refuses_parameters_that_cannot_run(ops: int, memory: int, length: int) -> None:
    with pytest.raises(CryptoError, match="cannot run"):
        primitives.argon2id(b"passphrase", bytes(16), ops=ops, memory=memory, length=length)


WRONG_LENGTHS: list[Callable[[bytes], object]] = [
    primitives.ed25519_public,
    lambda key: primitives.ed25519_sign(key, PUBLIC, b""),
    lambda key: primitives.ed25519_sign(SEED, key, b""),
    primitives.ed25519_public_to_x25519,
    lambda key: primitives.ed25519_seed_to_x25519(key, PUBLIC),
    lambda key: primitives.ed25519_seed_to_x25519(SEED, key),
    primitives.x25519_public,
    lambda key: primitives.x25519(key, PUBLIC),
    lambda key: primitives.x25519(SEED, key),
    lambda key: primitives.aead_seal(key, bytes(12), b""),
    lambda key: primitives.aead_seal(SEED, key, b""),
    lambda key: primitives.aead_open(key, bytes(12), bytes(16)),
    lambda key: primitives.aead_open(SEED, key, bytes(16)),
    lambda key: primitives.argon2id(b"passphrase", key, ops=1, memory=8192),
]


@pytest.mark.parametrize("call", WRONG_LENGTHS)
@pytest.mark.parametrize("length", [0, 11, 13, 31, 33, 64])
def test_a_key_of_the_wrong_length_never_reaches_libsodium(call: Callable[[bytes], object], length: int) -> None:
    with pytest.raises(CryptoError, match=r"has \d+ bytes, not"):
        call(bytes(length))


@pytest.mark.parametrize(("key", "signature"), [(31, 64), (33, 64), (32, 0), (32, 63), (32, 65)])
def test_a_signature_or_key_of_the_wrong_length_does_not_verify(key: int, signature: int) -> None:
    assert primitives.ed25519_verify(bytes(key), bytes(signature), b"message") is False


@pytest.mark.parametrize("cut", [0, 1, 32, 63, 65, 71])
def test_a_byte_moved_between_signature_and_message_is_noticed(cut: int) -> None:
    signed = primitives.ed25519_sign(SEED, PUBLIC, b"message") + b"message"
    assert primitives.ed25519_verify(PUBLIC, signed[:cut], signed[cut:]) is False


def test_a_signature_by_a_key_of_small_order_does_not_verify() -> None:
    # With A = R = identity and S = 0 the bare equation holds for any message.
    neutral = b"\x01" + bytes(31)
    assert primitives.ed25519_verify(neutral, neutral + bytes(32), b"anything") is False


def test_a_signature_with_the_group_order_added_to_s_does_not_verify() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    signature = primitives.ed25519_sign(SEED, PUBLIC, b"message")
    s = int.from_bytes(signature[32:], "little") + order
    assert primitives.ed25519_verify(PUBLIC, signature[:32] + s.to_bytes(32, "little"), b"message") is False


@pytest.mark.parametrize("public", [bytes(32), b"\x01" + bytes(31), b"\x02" + bytes(31), b"\xff" * 32])
def test_a_public_key_off_the_group_has_no_x25519_form(public: bytes) -> None:
    with pytest.raises(IdentityError, match="copied whole"):
        primitives.ed25519_public_to_x25519(public)


def test_the_x25519_forms_of_seed_and_public_key_belong_together() -> None:
    secret = primitives.ed25519_seed_to_x25519(SEED, PUBLIC)
    assert primitives.x25519_public(secret) == primitives.ed25519_public_to_x25519(PUBLIC)


@pytest.mark.parametrize("public", [bytes(32), b"\x01" + bytes(31)])
def test_x25519_refuses_points_of_small_order(public: bytes) -> None:
    with pytest.raises(CryptoError, match="small order"):
        primitives.x25519(SEED, public)


@pytest.mark.parametrize("length", range(16))
def test_a_ciphertext_shorter_than_its_tag_is_refused(length: int) -> None:
    with pytest.raises(AuthenticationError, match="shorter"):
        primitives.aead_open(SEED, bytes(12), bytes(length))


def test_equal_compares_content_and_length() -> None:
    assert primitives.equal(b"abc", b"abc")
    assert not primitives.equal(b"abc", b"abd")
    assert not primitives.equal(b"abc", b"ab")


def test_wipe_overwrites_in_place() -> None:
    buffer = bytearray(b"secret")
    view = memoryview(buffer)
    primitives.wipe(buffer)
    assert bytes(view) == bytes(6)


def test_importing_the_room_drags_in_no_heavy_module() -> None:
    heavy = {"ssl", "email", "urllib", "pathlib", "tempfile", "subprocess", "threading", "ctypes", "asyncio"}
    code = (
        "import sys; before = set(sys.modules); import qpq.crypto.sealing, qpq.crypto.export;"
        "print(*sorted(set(sys.modules) - before))"
    )
    node = Path(primitives.__file__).parents[2]
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {[str(node), *sys.path]!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()
    assert "qpq.crypto.sealing" in loaded
    assert heavy.isdisjoint(loaded)

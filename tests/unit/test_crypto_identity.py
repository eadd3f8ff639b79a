"""Identities: their text, and that a secret half stays secret."""

from __future__ import annotations

import base64
import copy
import pickle

import pytest

from qpq.crypto import primitives
from qpq.crypto.errors import CryptoError, IdentityError
from qpq.crypto.identity import (
    ID_CHARACTERS,
    MIN_PREFIX,
    Identity,
    SecretIdentity,
    address_of,
    looks_like_prefix,
    parse_id,
    prefix_range,
    text_id,
)

SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def test_the_text_of_an_id_is_lower_case_base32_without_padding() -> None:
    text = text_id(PUBLIC)
    assert text == base64.b32encode(PUBLIC).decode().rstrip("=").lower()
    assert len(text) == ID_CHARACTERS
    assert parse_id(text) == PUBLIC


@pytest.mark.parametrize("length", range(20))
def test_other_lengths_have_a_text_too(length: int) -> None:
    key = bytes(range(200, 200 + length))
    assert text_id(key) == base64.b32encode(key).decode().rstrip("=").lower()


@pytest.mark.parametrize("text", ["", "a" * 51, "a" * 53, text_id(PUBLIC) + "="])
def test_an_id_of_another_length_is_refused(text: str) -> None:
    with pytest.raises(IdentityError, match="52 characters"):
        parse_id(text)


@pytest.mark.parametrize(
    "character", ["A", "0", "1", "8", "9", "_", "+", "-", " ", "\n", "=", "\u00e4", "\u0663", "\u202e"]
)
@pytest.mark.parametrize("place", [0, 25, 51])
def test_an_id_with_a_character_outside_the_alphabet_is_refused(character: str, place: int) -> None:
    text = text_id(PUBLIC)
    with pytest.raises(IdentityError, match="letters a-z"):
        parse_id(text[:place] + character + text[place + 1 :])


@pytest.mark.parametrize("last", "bcdefghijklmnoprstuvwxyz234567")
def test_a_key_has_one_text_only_bits_beyond_its_end_are_refused(last: str) -> None:
    with pytest.raises(IdentityError, match="last character"):
        parse_id("a" * 51 + last)


def test_the_last_character_carries_one_bit() -> None:
    assert parse_id("a" * 52) == bytes(32)
    assert parse_id("a" * 51 + "q") == bytes(31) + b"\x01"


def test_what_could_be_typed_for_an_id_looks_like_a_prefix() -> None:
    assert MIN_PREFIX == 8
    assert looks_like_prefix(text_id(PUBLIC))
    assert looks_like_prefix("abcdefgh")
    assert not looks_like_prefix("abcdefg")
    assert not looks_like_prefix("Abcdefgh")
    assert not looks_like_prefix("abcdefg1")
    assert not looks_like_prefix("a" * 53)


def test_an_identity_is_made_from_its_seed() -> None:
    secret = SecretIdentity(SEED)
    assert secret.identity == PUBLIC
    assert secret.address == address_of(Identity(PUBLIC)) == PUBLIC
    assert secret.seed == SEED
    assert primitives.x25519_public(secret.x25519_secret) == secret.x25519_public
    assert secret.x25519_public == primitives.ed25519_public_to_x25519(PUBLIC)
    assert primitives.ed25519_verify(secret.identity, secret.sign(b"message"), b"message")


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(CryptoError, match="32 bytes"):
        SecretIdentity(bytes(length))


def test_a_secret_identity_shows_its_public_half_only() -> None:
    secret = SecretIdentity(SEED)
    for shown in (repr(secret), str(secret), f"{secret!r}", repr([secret])):
        assert text_id(PUBLIC) in shown
        for hidden in (SEED.hex(), text_id(SEED), repr(SEED), secret.x25519_secret.hex()):
            assert hidden not in shown


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_identity_is_neither_pickled_nor_copied(leak: object) -> None:
    with pytest.raises(TypeError, match="not pickled"):
        leak(SecretIdentity(SEED))  # type: ignore[operator]


def test_a_wiped_identity_keeps_its_name_and_nothing_else() -> None:
    secret = SecretIdentity(SEED)
    secret.wipe()
    assert secret.identity == PUBLIC
    for use in (lambda: secret.seed, lambda: secret.x25519_secret, lambda: secret.sign(b"")):
        with pytest.raises(CryptoError, match="wiped"):
            use()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_range_of_a_prefix_holds_the_keys_whose_text_begins_so_and_no_others(size: int) -> None:
    last = 256**size - 1
    keys = [number.to_bytes(size, "big") for number in (*range(0, last, max(1, last // 400)), last)]
    for length in range(1, len(text_id(keys[0])) + 1):
        for prefix in {text_id(key)[:length] for key in keys}:
            low, high = prefix_range(prefix, size) or (b"", b"")
            assert [key for key in keys if low <= key <= high] == [
                key for key in keys if text_id(key).startswith(prefix)
            ]


@pytest.mark.parametrize("text", ["", "A", "1", "aaaaa", "ab", "aaab"])
def test_what_begins_no_text_has_no_range(text: str) -> None:
    assert prefix_range(text, 1 if len(text) < 4 else 2) is None

"""Properties of sealing, text ids, hashes and exports over generated input."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpq.crypto import primitives
from qpq.crypto.errors import AuthenticationError, CryptoError, IdentityError, UnknownFormatError
from qpq.crypto.export import Cost, open_export, seal_export
from qpq.crypto.identity import ID_CHARACTERS, SecretIdentity, parse_id, text_id
from qpq.crypto.sealing import OVERHEAD, open_sealed, seal

KEYS = st.binary(min_size=32, max_size=32)
CHEAP = Cost(ops=1, memory_kib=8)
PASSPHRASES = st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=40)


@given(key=KEYS)
def test_every_key_has_a_text_that_reads_back(key: bytes) -> None:
    text = text_id(key)
    assert len(text) == ID_CHARACTERS
    assert parse_id(text) == key


@given(text=st.text(max_size=60) | st.builds("{}{}".format, KEYS.map(text_id).map(lambda t: t[:51]), st.characters()))
def test_a_text_that_parses_is_the_text_of_its_key(text: str) -> None:
    try:
        key = parse_id(text)
    except IdentityError:
        return
    assert text_id(key) == text


@given(plaintext=st.binary(max_size=600), alice=KEYS, bob=KEYS, entropy=KEYS)
def test_what_is_sealed_opens_for_its_recipient(plaintext: bytes, alice: bytes, bob: bytes, entropy: bytes) -> None:
    sender, recipient = SecretIdentity(alice), SecretIdentity(bob)
    sealed = seal(plaintext, sender=sender.address, recipient=recipient.address, entropy=entropy)
    assert len(sealed) == len(plaintext) + OVERHEAD
    assert open_sealed(sealed, sender=sender.address, recipient_secret=recipient) == plaintext


@given(plaintext=st.binary(max_size=100), entropy=KEYS, data=st.data())
def test_what_was_altered_anywhere_does_not_open(plaintext: bytes, entropy: bytes, data: st.DataObject) -> None:
    sender, recipient = SecretIdentity(bytes(32)), SecretIdentity(bytes([1]) * 32)
    sealed = bytearray(seal(plaintext, sender=sender.address, recipient=recipient.address, entropy=entropy))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises((AuthenticationError, UnknownFormatError)):
        open_sealed(bytes(sealed), sender=sender.address, recipient_secret=recipient)


@given(sealed=st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"\x01" + tail))
def test_garbage_never_opens_and_never_raises_anything_else(sealed: bytes) -> None:
    recipient = SecretIdentity(bytes([1]) * 32)
    with pytest.raises((AuthenticationError, UnknownFormatError)):
        open_sealed(sealed, sender=recipient.address, recipient_secret=recipient)


@given(seed=KEYS, message=st.binary(max_size=300), data=st.data())
def test_a_signature_holds_for_its_message_and_key_alone(seed: bytes, message: bytes, data: st.DataObject) -> None:
    secret = SecretIdentity(seed)
    signature = secret.sign(message)
    assert primitives.ed25519_verify(secret.identity, signature, message)
    forged = bytearray(secret.identity + signature + message)
    forged[data.draw(st.integers(0, len(forged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert not primitives.ed25519_verify(bytes(forged[:32]), bytes(forged[32:96]), bytes(forged[96:]))


@given(public=st.binary(max_size=40), signature=st.binary(max_size=80), message=st.binary(max_size=40))
def test_verifying_garbage_answers_false(public: bytes, signature: bytes, message: bytes) -> None:
    assert primitives.ed25519_verify(public, signature, message) is False


@given(
    one=st.tuples(st.binary(max_size=4), st.lists(st.binary(max_size=4), max_size=4)),
    two=st.tuples(st.binary(max_size=4), st.lists(st.binary(max_size=4), max_size=4)),
)
def test_tagged_hashes_are_equal_only_for_equal_input(
    one: tuple[bytes, list[bytes]], two: tuple[bytes, list[bytes]]
) -> None:
    hashes = [primitives.tagged_hash(tag, *fields) for tag, fields in (one, two)]
    assert (hashes[0] == hashes[1]) is (one == two)


@given(data=st.binary(max_size=300), passphrase=PASSPHRASES, salt=st.binary(min_size=16, max_size=16))
@settings(max_examples=50, deadline=None)
def test_an_export_opens_with_its_passphrase_only(data: bytes, passphrase: str, salt: bytes) -> None:
    text = seal_export(data, passphrase, salt=salt, nonce=bytes(12), cost=CHEAP)
    assert open_export(text, passphrase) == data
    with pytest.raises(AuthenticationError):
        open_export(text, passphrase + "x")


@given(text=st.text(max_size=200) | st.text("ABCabc019+/=", max_size=120).map("qpq-identity-1:".__add__))
@settings(deadline=None)
def test_no_text_makes_opening_an_export_raise_anything_unforeseen(text: str) -> None:
    with pytest.raises(CryptoError):
        open_export(text, "passphrase")

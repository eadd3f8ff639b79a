"""Sealing: who can open what, and what becomes of everything else."""

from __future__ import annotations

import pytest

from qpq.crypto import hpke, primitives, sealing
from qpq.crypto.errors import AuthenticationError, CryptoError, IdentityError, UnknownFormatError
from qpq.crypto.identity import Address, SecretIdentity
from qpq.crypto.sealing import OVERHEAD, open_sealed, seal

ALICE, BOB, EVE = (SecretIdentity(bytes([number]) * 32) for number in (1, 2, 3))
ENTROPY = bytes(range(32))
TEXT = b"Is the antenna on the church still up?"
SEALED = seal(TEXT, sender=ALICE.address, recipient=BOB.address, entropy=ENTROPY)


def test_the_recipient_opens_what_the_sender_sealed() -> None:
    assert open_sealed(SEALED, sender=ALICE.address, recipient_secret=BOB) == TEXT
    assert len(SEALED) == len(TEXT) + OVERHEAD
    assert OVERHEAD == 49


def test_an_empty_text_can_be_sealed() -> None:
    sealed = seal(b"", sender=ALICE.address, recipient=BOB.address, entropy=ENTROPY)
    assert open_sealed(sealed, sender=ALICE.address, recipient_secret=BOB) == b""


def test_one_can_seal_for_oneself() -> None:
    sealed = seal(TEXT, sender=ALICE.address, recipient=ALICE.address, entropy=ENTROPY)
    assert open_sealed(sealed, sender=ALICE.address, recipient_secret=ALICE) == TEXT


def test_nobody_but_the_recipient_opens_it() -> None:
    for other in (ALICE, EVE):
        with pytest.raises(AuthenticationError):
            open_sealed(SEALED, sender=ALICE.address, recipient_secret=other)


def test_it_does_not_open_under_another_senders_name() -> None:
    for other in (BOB, EVE):
        with pytest.raises(AuthenticationError):
            open_sealed(SEALED, sender=other.address, recipient_secret=BOB)


@pytest.mark.parametrize("place", range(len(SEALED)))
def test_every_altered_byte_is_noticed(place: int) -> None:
    for flip in (1, 0x80, 0xFF):
        altered = SEALED[:place] + bytes([SEALED[place] ^ flip]) + SEALED[place + 1 :]
        with pytest.raises((AuthenticationError, UnknownFormatError)):
            open_sealed(altered, sender=ALICE.address, recipient_secret=BOB)


@pytest.mark.parametrize("length", range(1, len(SEALED)))
def test_every_cut_is_noticed(length: int) -> None:
    with pytest.raises(AuthenticationError, match="cut short" if length < OVERHEAD else "altered"):
        open_sealed(SEALED[:length], sender=ALICE.address, recipient_secret=BOB)


def test_what_is_appended_is_noticed() -> None:
    with pytest.raises(AuthenticationError):
        open_sealed(SEALED + b"\0", sender=ALICE.address, recipient_secret=BOB)


@pytest.mark.parametrize("sealed", [b"", b"\0" + SEALED[1:], b"\x02" + SEALED[1:], b"\xff"])
def test_an_unknown_format_is_told_apart_from_a_forgery(sealed: bytes) -> None:
    with pytest.raises(UnknownFormatError, match="newer"):
        open_sealed(sealed, sender=ALICE.address, recipient_secret=BOB)


@pytest.mark.parametrize("enc", [bytes(32), b"\x01" + bytes(31)])
def test_an_ephemeral_key_of_small_order_is_a_forgery(enc: bytes) -> None:
    with pytest.raises(AuthenticationError, match="impossible key"):
        open_sealed(SEALED[:1] + enc + SEALED[33:], sender=ALICE.address, recipient_secret=BOB)


def test_the_layout_is_format_enc_and_hpke_ciphertext() -> None:
    info = b"qpq/1/seal\x01" + ALICE.address + BOB.address
    context = hpke.setup_recipient(SEALED[1:33], BOB.x25519_secret, BOB.x25519_public, info)
    assert SEALED[0] == sealing.FORMAT_HPKE == 1
    assert context.open(SEALED[33:]) == TEXT


def test_the_layout_of_version_1_stays_what_it_is() -> None:
    assert primitives.sha256(SEALED).hex() == "2a2762082b193ec3aa7270e23375dd51820e0302020453f4b78690cc8dd2085e"


def test_another_implementation_of_hpke_opens_it_and_is_opened() -> None:
    other = pytest.importorskip("cryptography.hazmat.primitives.hpke")
    x25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.x25519")
    suite = other.Suite(other.KEM.X25519, other.KDF.HKDF_SHA256, other.AEAD.CHACHA20_POLY1305)
    private = x25519.X25519PrivateKey.from_private_bytes(BOB.x25519_secret)
    info = b"qpq/1/seal\x01" + ALICE.address + BOB.address
    assert suite.decrypt(SEALED[1:], private, info) == TEXT
    theirs = b"\x01" + suite.encrypt(TEXT, private.public_key(), info)
    assert open_sealed(theirs, sender=ALICE.address, recipient_secret=BOB) == TEXT


def test_other_entropy_gives_another_ciphertext() -> None:
    other = seal(TEXT, sender=ALICE.address, recipient=BOB.address, entropy=bytes(32))
    assert other[1:33] != SEALED[1:33]
    assert other[33:] != SEALED[33:]


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_entropy_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(CryptoError, match="32 random bytes"):
        seal(TEXT, sender=ALICE.address, recipient=BOB.address, entropy=bytes(length))


@pytest.mark.parametrize("recipient", [bytes(32), b"\xff" * 32, b"\x01" + bytes(31)])
def test_an_address_that_is_no_key_cannot_be_written_to(recipient: bytes) -> None:
    with pytest.raises(IdentityError, match="no usable key"):
        seal(TEXT, sender=ALICE.address, recipient=Address(recipient), entropy=ENTROPY)


def test_the_cache_of_recipients_is_bounded() -> None:
    for number in range(80):
        recipient = SecretIdentity(number.to_bytes(32, "big")).address
        seal(b"", sender=ALICE.address, recipient=recipient, entropy=ENTROPY)
    assert sealing._recipient_key.cache_info().currsize <= 64


def test_hpke_counts_its_nonces_and_keeps_order() -> None:
    enc, sender = hpke.setup_sender(BOB.x25519_public, b"info", ENTROPY)
    recipient = hpke.setup_recipient(enc, BOB.x25519_secret, BOB.x25519_public, b"info")
    first, second = sender.seal(b"one"), sender.seal(b"one")
    assert first != second
    with pytest.raises(AuthenticationError):
        recipient.open(second)
    assert recipient.open(first) == b"one"
    assert recipient.open(second) == b"one"


def test_both_ends_export_the_same_secret_and_another_context_another() -> None:
    enc, sender = hpke.setup_sender(BOB.x25519_public, b"info", ENTROPY)
    recipient = hpke.setup_recipient(enc, BOB.x25519_secret, BOB.x25519_public, b"info")
    secret = sender.export(b"for this", 48)
    assert len(secret) == 48
    assert recipient.export(b"for this", 48) == secret
    assert recipient.export(b"for that", 48) != secret


def test_hpke_stops_before_a_nonce_comes_twice() -> None:
    _, context = hpke.setup_sender(BOB.x25519_public, b"", ENTROPY)
    context._sequence = (1 << 96) - 2
    context.seal(b"")
    with pytest.raises(CryptoError, match="used up"):
        context.seal(b"")


def test_hpke_wants_enough_randomness() -> None:
    with pytest.raises(CryptoError, match="32 random bytes"):
        hpke.derive_secret(bytes(31))


def test_hpke_refuses_an_enc_of_another_length() -> None:
    with pytest.raises(CryptoError, match="32 bytes"):
        hpke.setup_recipient(bytes(31), BOB.x25519_secret, BOB.x25519_public, b"")

"""Prekeys and bundles: who signed them, and what becomes of everything else."""

from __future__ import annotations

import pytest

from qpq.crypto import prekeys
from qpq.crypto.errors import AuthenticationError, CryptoError, UnknownFormatError
from qpq.crypto.prekeys import OneTimePrekey, SignedPrekey, make_bundle, make_one_time, make_signed, open_bundle
from session_kit import ANNA, BERT, KEM, SIGNED, draw

ONE_TIME = make_one_time(b"o" * 32)
PLAIN = make_bundle(BERT, SIGNED, None)
WHOLE = make_bundle(BERT, SIGNED, ONE_TIME)


def test_a_bundle_tells_its_owners_public_keys() -> None:
    found = open_bundle(WHOLE, BERT.address)
    assert (found.owner, found.key_id) == (BERT.address, SIGNED.key_id)
    assert found.x25519 + found.xwing == SIGNED.public
    assert (found.one_time_id, found.one_time) == (ONE_TIME.key_id, ONE_TIME.public)
    plain = open_bundle(PLAIN, BERT.address)
    assert (plain.key_id, plain.one_time_id, plain.one_time) == (SIGNED.key_id, b"", b"")


def test_a_bundle_has_1313_bytes_and_a_one_time_prekey_adds_32() -> None:
    assert len(PLAIN) == prekeys.BUNDLE_BYTES == 1313
    assert len(WHOLE) == prekeys.MAX_BUNDLE_BYTES == 1345


@pytest.mark.parametrize("bundle", [PLAIN, WHOLE], ids=["plain", "with a one-time prekey"])
def test_every_altered_byte_of_a_bundle_is_noticed(bundle: bytes) -> None:
    for place in range(len(bundle)):
        altered = bundle[:place] + bytes([bundle[place] ^ 1]) + bundle[place + 1 :]
        with pytest.raises(UnknownFormatError if place == 0 else AuthenticationError):
            open_bundle(altered, BERT.address)


def test_a_bundle_that_is_cut_lengthened_or_anothers_is_refused() -> None:
    for length in range(len(WHOLE)):
        with pytest.raises(AuthenticationError if length else UnknownFormatError):
            open_bundle(WHOLE[:length], BERT.address)
    with pytest.raises(AuthenticationError, match="cut short or too long"):
        open_bundle(WHOLE + b"x", BERT.address)
    with pytest.raises(AuthenticationError, match="not signed"):
        open_bundle(WHOLE, ANNA.address)
    with pytest.raises(AuthenticationError, match="not signed"):  # one part of another signature
        open_bundle(PLAIN[:-64] + ONE_TIME.public + PLAIN[-64:], BERT.address)


def test_prekeys_come_back_from_the_store() -> None:
    assert SignedPrekey.decode(SIGNED.encode()) == SIGNED
    assert OneTimePrekey.decode(ONE_TIME.encode()) == ONE_TIME
    assert (len(SIGNED.encode()), len(ONE_TIME.encode())) == (3713, 33)


@pytest.mark.parametrize(("kind", "data"), [(SignedPrekey, SIGNED.encode()), (OneTimePrekey, ONE_TIME.encode())])
def test_stored_prekeys_that_are_cut_or_of_a_later_version_are_refused(
    kind: type[SignedPrekey | OneTimePrekey], data: bytes
) -> None:
    for damaged in (data[:1], data[:-1], data + b"x"):
        with pytest.raises(CryptoError, match="damaged"):
            kind.decode(damaged)
    for later in (b"", b"\x02" + data[1:]):
        with pytest.raises(UnknownFormatError, match="newer qpq"):
            kind.decode(later)


def test_key_ids_are_of_8_bytes_and_tell_kinds_apart() -> None:
    assert len(SIGNED.key_id) == len(ONE_TIME.key_id) == prekeys.KEY_ID_BYTES == 8
    assert make_one_time(b"p" * 32).key_id != ONE_TIME.key_id
    assert make_signed(KEM, draw(64)).key_id != SIGNED.key_id


def test_prekeys_take_their_random_bytes_exactly_and_hide_them() -> None:
    for wrong in (0, 63, 65):
        with pytest.raises(CryptoError, match="random bytes"):
            make_signed(KEM, bytes(wrong))
    with pytest.raises(CryptoError, match="X25519 secret"):
        make_one_time(bytes(31))
    assert repr(b"o" * 32)[1:] not in repr(ONE_TIME)
    assert SIGNED.x25519_secret.hex() not in repr(SIGNED)
    assert str(SIGNED.x25519_secret) not in repr(SIGNED)

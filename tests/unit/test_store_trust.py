"""How far a user trusts an id: a petname never moves by itself, and files of older versions are read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qpq.crypto.export import Cost
from qpq.crypto.identity import Address, Identity, SecretIdentity, text_id
from qpq.store import trust
from qpq.store.keyring import Keyring
from qpq.store.keyring_data import (
    MAX_CHANGED,
    MAX_SEEN,
    MAX_VERIFIED,
    User,
    decode_contents,
    decode_user,
    encode_contents,
    encode_user,
)
from qpq.store.keyring_errors import KeyringDamagedError, KeyringError, LimitReachedError, UnknownPeerError
from qpq.store.trust import Trust, trust_of

if TYPE_CHECKING:
    from collections.abc import Callable

CHEAP = Cost(ops=1, memory_kib=8)
PASSPHRASE = "correct horse"  # noqa: S105 (of throw-away keys)
BOB, EVE, ZOE = (SecretIdentity(bytes([200 + number]) * 32).address for number in range(3))
RECORDED = Path(__file__).parent / "data" / "people-0.1.json"
ME = User("me", SecretIdentity(b"m" * 32))


def address(number: int) -> Address:
    return Address(number.to_bytes(32, "big"))


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring.create(str(tmp_path / "identity.json"))


def again(keyring: Keyring) -> User:
    """Return the first user as the file has it."""
    return Keyring.load(keyring.path).users[0]


# --- states -------------------------------------------------------------------------------------


def test_an_id_is_new_then_known_then_verified() -> None:
    assert trust_of(ME, BOB) is Trust.NEW
    named = trust.named(ME, BOB, "Bob", ())
    assert trust_of(named, BOB) is Trust.KNOWN
    verified = trust.verified(named, BOB)
    assert trust_of(verified, BOB) is Trust.VERIFIED
    assert trust_of(verified, EVE) is Trust.NEW
    assert trust_of(trust.undone(verified, BOB), BOB) is Trust.KNOWN
    assert trust_of(trust.verified(ME, EVE), EVE) is Trust.VERIFIED, "without a petname too"


def test_a_petname_given_to_another_id_does_not_move_and_both_ids_are_changed(keyring: Keyring) -> None:
    assert keyring.name_peer("me", BOB, "Bob")
    assert not keyring.name_peer("me", EVE, "bob")
    for user in (keyring.user("me"), again(keyring)):
        assert user.petnames == {BOB: "Bob"}
        assert (trust_of(user, BOB), trust_of(user, EVE), trust_of(user, ZOE)) == (
            Trust.CHANGED, Trust.CHANGED, Trust.NEW,
        )  # fmt: skip
    assert keyring.resolve("me", "Bob") == BOB
    assert keyring.resolve("me", text_id(EVE)[:8]) == EVE, "the id that claims the name can be typed by its beginning"


def test_a_verified_peer_whose_name_is_claimed_is_changed_until_that_is_dismissed() -> None:
    user = trust.verified(trust.named(ME, BOB, "Bob", ()), BOB)
    claimed = trust.named(user, EVE, "Bob", ())
    assert trust_of(claimed, BOB) is Trust.CHANGED
    assert trust.undone(claimed, BOB) == user
    assert trust.undone(user, BOB).verified == frozenset()


def test_an_accepted_key_gets_the_name_and_the_old_one_has_neither_name_nor_mark() -> None:
    user = trust.verified(trust.named(ME, BOB, "Bob", ()), BOB)
    user = trust.named(trust.named(user, EVE, "Eve", ()), EVE, "BOB", ())
    user = trust.accepted(user, BOB)
    assert user.petnames == {EVE: "Bob"}
    assert (user.changed, user.verified) == ({}, frozenset())
    assert (trust_of(user, BOB), trust_of(user, EVE)) == (Trust.NEW, Trust.KNOWN)


def test_the_last_claim_counts_and_what_the_new_key_was_called_is_settled_with_it() -> None:
    user = trust.named(trust.named(ME, BOB, "Bob", ()), EVE, "Eve", ())
    user = trust.named(trust.named(user, ZOE, "Eve", ()), ZOE, "Bob", ())
    user = trust.named(user, EVE, "Bob", ())
    assert user.changed == {EVE: ZOE, BOB: EVE}
    user = trust.accepted(user, BOB)
    assert (user.petnames, user.changed) == ({EVE: "Bob"}, {})


def test_a_name_that_is_taken_away_or_replaced_ends_the_claim_and_one_written_anew_does_not() -> None:
    user = trust.named(trust.named(ME, BOB, "Bob", ()), EVE, "Bob", ())
    assert trust.named(user, BOB, "bob", ()).changed == {BOB: EVE}
    assert trust.named(user, BOB, "Robert", ()).changed == {}
    assert trust.named(user, BOB, "", ()).changed == {}
    assert trust.named(user, ZOE, "Zoe", ()).changed == {BOB: EVE}


def test_there_is_nothing_to_accept_or_undo_where_nothing_happened() -> None:
    user = trust.named(ME, BOB, "Bob", ())
    with pytest.raises(KeyringError, match="nothing else claims to be Bob"):
        trust.accepted(user, BOB)
    with pytest.raises(KeyringError, match="Bob is not verified"):
        trust.undone(user, BOB)
    with pytest.raises(KeyringError, match=text_id(EVE)):
        trust.undone(user, EVE)


def test_marks_and_claims_are_capped() -> None:
    user = ME
    for number in range(MAX_VERIFIED):
        user = trust.verified(user, address(number))
    assert trust.verified(user, address(0)) == user
    with pytest.raises(LimitReachedError, match="--undo"):
        trust.verified(user, address(MAX_VERIFIED))
    user = ME
    for number in range(MAX_CHANGED + 1):
        user = trust.named(user, address(number), f"P{number}", ())
    for number in range(MAX_CHANGED):
        user = trust.named(user, EVE, f"P{number}", ())
    with pytest.raises(LimitReachedError, match="accept or undo one first"):
        trust.named(user, EVE, f"P{MAX_CHANGED}", ())


# --- users who come under a name that is somebody's petname ------------------------------------------


def test_a_user_added_under_anothers_petname_claims_it(keyring: Keyring) -> None:
    keyring.name_peer("me", BOB, "Anna")
    anna = keyring.add_user("anna")
    assert keyring.user("me").changed == again(keyring).changed == {BOB: anna.address}
    assert keyring.user("anna").changed == {}
    assert keyring.resolve("me", "anna") == BOB


def test_a_user_brought_in_claims_names_and_meets_claims(keyring: Keyring, tmp_path: Path) -> None:
    other = Keyring.create(str(tmp_path / "other.json"))
    cleo = other.add_user("cleo")
    dora = keyring.add_user("dora")
    other.name_peer("cleo", EVE, "Dora")  # what she calls somebody else is a user's name here
    other.update_user("cleo", lambda user: trust.verified(user, BOB))
    keyring.name_peer("me", ZOE, "cleo")
    taken = keyring.import_user(other.export_user("cleo", PASSPHRASE, CHEAP), PASSPHRASE)
    assert keyring.user("me").changed == {ZOE: cleo.address}
    assert taken.changed == {EVE: dora.address}
    assert taken.verified == {BOB}


def test_the_same_key_under_the_same_name_claims_nothing(keyring: Keyring, tmp_path: Path) -> None:
    other = Keyring.create(str(tmp_path / "other.json"))
    cleo = other.add_user("cleo")
    other.name_peer("cleo", BOB, "anna")
    keyring.name_peer("me", cleo.address, "cleo")
    text = other.export_user("cleo", PASSPHRASE, CHEAP)
    assert keyring.import_user(text, PASSPHRASE, "anna").changed == {}, "what she calls herself is no other's claim"
    assert keyring.user("me").changed == {}


# --- the file -----------------------------------------------------------------------------------


def test_what_was_marked_is_read_back_and_moves_with_its_user(keyring: Keyring) -> None:
    keyring.name_peer("me", BOB, "Bob")
    keyring.name_peer("me", EVE, "Bob")
    keyring.update_user("me", lambda user: trust.verified(user, ZOE))
    keyring.note_seen("host:7000", Identity(BOB))
    user, loaded = keyring.users[0], Keyring.load(keyring.path)
    assert (loaded.users[0].verified, loaded.users[0].changed) == ({ZOE}, {BOB: EVE})
    assert loaded.users[0].padding
    assert loaded.seen == {"host:7000": BOB}
    moved = decode_user(encode_user(user))
    assert (moved.verified, moved.changed, moved.padding) == ({ZOE}, {BOB: EVE}, True)


def test_who_marked_nothing_leaves_no_trace_of_it(keyring: Keyring) -> None:
    assert not {"verified", "changed", "padding", "seen"} & set(Path(keyring.path).read_text().split('"'))


def test_a_file_of_the_version_before_is_read_and_written_again_as_it_was() -> None:
    content = RECORDED.read_bytes()
    contents = decode_contents(content)
    assert [user.name for user in contents.users] == ["me", "anna"]
    anna = contents.users[1]
    assert (anna.petnames, anna.blocked, anna.muted) == ({BOB: "Bob"}, {EVE}, {ZOE})
    assert [channel.topic for channel in anna.channels] == ["news", "Vorstand"]
    assert (anna.verified, anna.changed, anna.padding, contents.seen) == (frozenset(), {}, True, ())
    assert encode_contents(contents) == content
    assert contents.peers[1].identity == BOB


def test_a_file_of_a_later_version_is_refused(keyring: Keyring) -> None:
    document = json.loads(Path(keyring.path).read_text())
    later: list[Callable[[], object]] = [
        lambda: document["users"][0].update(mood="good"),
        lambda: document.update(format=2),
    ]
    for change in later:
        change()
        Path(keyring.path).write_text(json.dumps(document))
        with pytest.raises(KeyringDamagedError, match=r"mood|newer qpq"):
            Keyring.load(keyring.path)


def test_of_the_nodes_that_were_seen_the_oldest_is_forgotten(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    for number in range(MAX_SEEN + 1):
        keyring.note_seen(f"host:{number}", Identity(BOB))
    assert len(keyring.seen) == MAX_SEEN
    assert "host:0" not in keyring.seen
    keyring.note_seen("host:1", Identity(EVE))
    assert list(keyring.seen)[-1] == "host:1"
    keyring.note_seen("host:1", None)
    assert "host:1" not in Keyring.load(keyring.path).seen


def test_padding_can_be_switched_off_and_on(keyring: Keyring) -> None:
    from dataclasses import replace  # noqa: PLC0415

    for padding in (False, True):
        keyring.update_user("me", lambda user: replace(user, padding=padding))  # noqa: B023
        assert again(keyring).padding is padding


def test_a_stranger_is_still_unknown(keyring: Keyring) -> None:
    with pytest.raises(UnknownPeerError):
        keyring.resolve("me", text_id(EVE)[:8])

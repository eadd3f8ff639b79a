"""The part of the message store that is for others: kept apart from the users' own, and never at their cost."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from qpq.crypto.identity import Address, Identity, prefix_range, text_id
from qpq.mesh.effects import State
from qpq.mesh.records import (
    Checkpoint,
    InboxInsert,
    Kept,
    KnownDelete,
    KnownInsert,
    OutboxInsert,
    OutboxState,
    ProofInsert,
    Queued,
    RelayCopies,
    RelayDelete,
    Relayed,
    RelayInsert,
    TombstoneExpected,
    TombstoneInsert,
)
from qpq.store import schema
from qpq.store.database import Database
from qpq.store.faults import StoreDamagedError, StoreFullError

if TYPE_CHECKING:
    from pathlib import Path

    from qpq.mesh.records import Row

ANNA = Address(b"a" * 32)
BERT = Address(b"b" * 32)
NODE = Identity(b"n" * 32)

# What a store of version 1 was made of, word for word: a program that knows only these files wrote them.
VERSION_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY, user BLOB NOT NULL, message_id BLOB NOT NULL, envelope_id BLOB,
    recipient BLOB NOT NULL, urgent INTEGER NOT NULL, ttl INTEGER NOT NULL, born INTEGER NOT NULL,
    sent INTEGER NOT NULL, state INTEGER NOT NULL, copies INTEGER NOT NULL, text TEXT NOT NULL, envelope BLOB,
    UNIQUE (user, message_id));
CREATE UNIQUE INDEX outbox_envelope ON outbox (envelope_id) WHERE envelope_id IS NOT NULL;
CREATE TABLE inbox (
    number INTEGER PRIMARY KEY, user BLOB NOT NULL, message_id BLOB NOT NULL, sender BLOB NOT NULL,
    envelope_id BLOB, urgent INTEGER NOT NULL, sent INTEGER NOT NULL, received INTEGER NOT NULL,
    size INTEGER NOT NULL, via BLOB, read INTEGER NOT NULL, text TEXT NOT NULL,
    UNIQUE (user, message_id, sender));
CREATE TABLE tombstone (
    envelope_id BLOB PRIMARY KEY NOT NULL, user BLOB NOT NULL, sender BLOB NOT NULL, message_id BLOB NOT NULL,
    secret BLOB NOT NULL, hash BLOB NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA application_id = 1903194417;
PRAGMA user_version = 1;
"""


def relay(number: int, *, size: int = 100, copies: int = 4, via: Identity | None = NODE) -> RelayInsert:
    return RelayInsert(
        envelope_id=sha256(b"%d" % number).digest(),
        envelope=bytes([number % 256]) * size,
        sender=ANNA,
        recipient=BERT,
        via=via,
        urgent=number % 2 == 1,
        ttl=1000,
        born=number,
        hops=2,
        max_hops=32,
        copies=copies,
    )


def row_of(made: RelayInsert) -> Relayed:
    return Relayed(
        made.envelope_id, made.sender, made.recipient, made.via, made.urgent,
        made.ttl, made.born, made.hops, made.max_hops, made.copies, len(made.envelope),
    )  # fmt: skip


def proof(number: int, expires: int = 500) -> ProofInsert:
    return ProofInsert(number.to_bytes(32, "big"), b"s" * 16, b"h" * 32, expires)


def incoming(number: int, size: int = 1000) -> InboxInsert:
    return InboxInsert(
        ANNA, number.to_bytes(16, "big"), BERT, number.to_bytes(32, "big"), "x" * size, False, 0, 7, size + 128, NODE
    )


def outgoing(number: int, *, envelope: bytes = b"sealed", state: State = State.QUEUED) -> OutboxInsert:
    return OutboxInsert(
        ANNA, number.to_bytes(16, "big"), number.to_bytes(32, "big"), BERT, envelope, "hi", False, 9, 1, 2, state
    )


def rows(database: Database) -> list[Row]:
    return [row for row in database.restore() if not isinstance(row, Checkpoint)]


# --- what is kept -----------------------------------------------------------------------------------


def test_an_envelope_for_others_is_there_after_a_restart_with_its_bytes(tmp_path: Path) -> None:
    path = str(tmp_path / "messages.db")
    database = Database(path)
    database.apply((relay(1), relay(2, via=None, copies=1), proof(3), KnownInsert(b"k" * 32, 77)))
    database.close()
    after = Database(path)
    assert rows(after) == [row_of(relay(1)), row_of(relay(2, via=None, copies=1)), proof(3), KnownInsert(b"k" * 32, 77)]
    assert after.envelope(relay(1).envelope_id) == relay(1).envelope


def test_an_envelope_kept_anew_replaces_the_one_before() -> None:
    database = Database(":memory:")
    database.apply((relay(1, copies=8), relay(2)))
    again = replace(relay(1, size=300), copies=2, hops=5)
    database.apply((again,))
    assert rows(database) == [row_of(again), row_of(relay(2))]
    assert database.counts().relayed_bytes == 400


def test_copies_are_counted_down_and_a_delivered_envelope_goes() -> None:
    database = Database(":memory:")
    database.apply((relay(1), relay(2)))
    database.apply((RelayCopies(relay(1).envelope_id, 1),))
    database.apply((RelayDelete(relay(2).envelope_id), proof(2)))
    assert rows(database) == [row_of(relay(1, copies=1)), proof(2)]
    assert database.envelope(relay(2).envelope_id) is None
    database.apply((RelayDelete(relay(2).envelope_id), RelayCopies(b"?" * 32, 1)))


def test_envelopes_whose_ids_begin_alike_are_told_apart() -> None:
    database = Database(":memory:")
    other = replace(relay(1), envelope_id=relay(1).envelope_id[:8] + bytes(24), envelope=b"other")
    database.apply((relay(1),))
    database.apply((RelayCopies(other.envelope_id, 1),))
    assert database.envelope(other.envelope_id) is None
    assert rows(database) == [row_of(relay(1))]
    database.apply((other,))
    assert rows(database) == [row_of(other)]
    assert database.envelope(relay(1).envelope_id) is None
    assert database._writers.relayed == 4096 * 3 // 44


def test_an_id_that_is_known_gets_its_receipt_and_never_loses_it() -> None:
    database = Database(":memory:")
    database.apply((KnownInsert(proof(1).envelope_id, 900),))
    database.apply((proof(1),))
    database.apply((KnownInsert(proof(1).envelope_id, 100),))
    assert rows(database) == [proof(1, expires=900)]
    database.apply((KnownDelete(proof(1).envelope_id), KnownDelete(b"?" * 32)))
    assert rows(database) == []


def test_a_message_through_a_channel_says_so() -> None:
    database = Database(":memory:")
    database.apply((replace(incoming(1), channel=b"c" * 16), incoming(2)))
    assert [entry.channel for entry in database.inbox(ANNA)] == [b"c" * 16, b""]


def test_a_broadcast_of_a_users_own_is_read_from_where_flooded_envelopes_are() -> None:
    database = Database(":memory:")
    database.apply((replace(outgoing(1, envelope=b""), envelope_id=relay(1).envelope_id), relay(1, via=None)))
    assert database.envelope(relay(1).envelope_id) == relay(1).envelope
    assert not [row for row in rows(database) if isinstance(row, Queued)], "it is not in the sender's own custody"
    assert [entry.state for entry in database.outbox(ANNA)] == [State.QUEUED]


def test_broadcasts_are_history_of_bounded_length_whatever_their_state() -> None:
    database = Database(":memory:", history=10)
    for number in range(200):
        database.apply((outgoing(number, envelope=b""),))
        database.apply((OutboxState(ANNA, outgoing(number).message_id, State.RELAYED, 1),))
    assert 10 <= len(database.outbox(ANNA, limit=1000)) <= 10 + 64


def test_counts_say_what_is_kept_for_others() -> None:
    database = Database(":memory:", max_bytes=1 << 20)
    database.apply((relay(1), relay(2, size=50), proof(3), KnownInsert(b"k" * 32, 77), KnownInsert(b"l" * 32, 77)))
    counts = database.counts()
    assert (counts.relayed, counts.relayed_bytes, counts.proofs, counts.known) == (2, 150, 1, 2)
    assert counts.relayed_max_bytes == 1 << 19


def test_a_transaction_with_others_envelopes_is_all_or_nothing() -> None:
    database = Database(":memory:")
    database.apply((relay(1),))
    for _ in range(3):
        with pytest.raises(StoreFullError):
            database.apply((RelayDelete(relay(1).envelope_id), relay(2), TombstoneExpected(ANNA, b"?" * 32)))
    assert rows(database) == [row_of(relay(1))]
    assert database._writers.relayed == 4096 * 3 // 28


# --- room -------------------------------------------------------------------------------------------


def fill(database: Database, size: int, start: int = 0) -> int:
    for number in range(start, start + 100_000):
        try:
            database.apply((relay(number, size=size),))
        except StoreFullError:
            return number - start
    raise AssertionError("the store has no end")


def users_bytes(database: Database) -> int:
    for number in range(100_000):
        try:
            database.apply((incoming(number), TombstoneInsert(ANNA, b"%032d" % number, BERT, b"m", b"s", b"h", 1)))
        except StoreFullError:
            return number * 1000
    raise AssertionError("the store has no end")


@pytest.mark.parametrize("size", [150, 900, 1100, 2100, 4100, 8300, 30_000])
def test_others_envelopes_leave_the_users_half_of_the_store(size: int) -> None:
    whole = users_bytes(Database(":memory:", max_bytes=1 << 20))
    database = Database(":memory:", max_bytes=1 << 20)
    assert fill(database, size) * size > 1 << 17, "others have room all the same"
    with pytest.raises(StoreFullError, match="others"):
        database.apply((relay(200_000, size=size),))
    assert users_bytes(database) >= whole * 0.47


def test_holes_that_others_envelopes_leave_are_not_at_the_users_cost() -> None:
    chance = random.Random(7)  # noqa: S311 (the same holes every time)
    database = Database(":memory:", max_bytes=1 << 20)
    fill(database, 150)
    for round_ in range(1, 6):
        held = [row.envelope_id for row in rows(database) if isinstance(row, Relayed)]
        database.apply([RelayDelete(each) for each in chance.sample(held, len(held) * 2 // 3)])
        fill(database, chance.choice((150, 600, 1100)), 100_000 * round_)
    assert users_bytes(database) >= users_bytes(Database(":memory:", max_bytes=1 << 20)) * 0.47


def test_room_that_was_given_back_can_be_used_again(tmp_path: Path) -> None:
    path = str(tmp_path / "messages.db")
    database = Database(path, max_bytes=1 << 20)
    count = fill(database, 1000)
    database.close()
    database = Database(path, max_bytes=1 << 20)
    with pytest.raises(StoreFullError):
        database.apply((relay(200_000, size=1000),))
    database.apply([RelayDelete(relay(number).envelope_id) for number in range(5)])
    assert fill(database, 1000, 300_000) == 5
    assert database.counts().relayed == count


# --- version 1 ----------------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path) -> str:
    """Make a store as version 1 of the program left it, with a message in each table."""
    path = str(tmp_path / "messages.db")
    store = sqlite3.connect(path)
    store.execute("PRAGMA journal_mode = WAL")
    store.executescript(VERSION_1)
    store.execute("INSERT INTO meta VALUES ('boot', 41), ('life', 77), ('unix', 0)")
    store.execute(
        "INSERT INTO outbox VALUES (1, ?, ?, ?, ?, 0, 9, 1, 2, 0, 0, 'hi', ?)",
        (ANNA, b"m" * 16, b"e" * 32, BERT, b"sealed"),
    )
    store.execute(
        "INSERT INTO inbox VALUES (1, ?, ?, ?, ?, 0, 0, 7, 130, NULL, 1, 'moin')", (ANNA, b"i" * 16, BERT, b"f" * 32)
    )
    store.execute(
        "INSERT INTO tombstone VALUES (?, ?, ?, ?, ?, ?, 99)", (b"f" * 32, ANNA, BERT, b"i" * 16, b"s" * 16, b"h" * 32)
    )
    store.commit()
    store.close()
    return path


def test_a_store_of_version_1_opens_with_all_that_is_in_it(old: str) -> None:
    for _ in range(2):  # brought up to date once, opened as it is ever after
        database = Database(old)
        assert [type(row) for row in rows(database)] == [Queued, Kept, TombstoneInsert]
        assert [(entry.text, entry.channel, entry.read) for entry in database.inbox(ANNA)] == [("moin", b"", True)]
        assert database.envelope(b"e" * 32) == b"sealed"
        assert [entry.post_quantum for entry in database.outbox(ANNA)] == [False]
        database.close()
    database = Database(old)
    assert database.next_boot() == 42
    database.apply((relay(1), proof(2), replace(incoming(3), channel=b"c" * 16)))
    assert database.inbox(ANNA)[-1].channel == b"c" * 16
    assert database._connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)


def test_a_store_brought_up_to_date_has_the_tables_of_a_new_one(old: str) -> None:
    def columns(database: Database, table: str) -> list[tuple[object, ...]]:
        return [row[1:] for row in database._connection.execute(f"PRAGMA table_info({table})")]

    upgraded, new = Database(old), Database(":memory:")
    for table in ("meta", "outbox", "inbox", "tombstone", "relay", "known", "session", "prekey", "bundle"):
        assert columns(upgraded, table) == columns(new, table)


def test_a_store_of_version_2_opens_with_all_that_is_in_it(old: str) -> None:
    store = sqlite3.connect(old)
    for statement in schema._TO_VERSION_2:
        store.execute(statement)
    store.execute("PRAGMA user_version = 2")
    store.execute(
        "INSERT INTO outbox VALUES (2, ?, ?, NULL, ?, 0, 9, 1, 2, 2, 0, 'here', NULL)", (ANNA, b"n" * 16, ANNA)
    )
    store.commit()
    store.close()
    database = Database(old)
    assert [(entry.text, entry.post_quantum) for entry in database.outbox(ANNA)] == [("hi", False), ("here", None)]
    assert [type(row) for row in rows(database)] == [Queued, Kept, TombstoneInsert]


def test_a_store_of_version_3_opens_and_takes_what_goes_to_other_domains(old: str) -> None:
    store = sqlite3.connect(old)
    for statement in (*schema._TO_VERSION_2, *schema._TO_VERSION_3):
        store.execute(statement)
    store.execute("PRAGMA user_version = 3")
    store.commit()
    store.close()
    database = Database(old)
    assert [(entry.domain, entry.reason) for entry in database.outbox(ANNA)] == [("", "")]
    assert [entry.domain for entry in database.inbox(ANNA)] == [""]
    database.apply((replace(incoming(3), domain="berlin.example"),))
    assert database.inbox(ANNA)[-1].domain == "berlin.example"


def test_a_full_store_of_version_1_opens_too(old: str) -> None:
    database = Database(old, max_bytes=8192)
    with pytest.raises(StoreFullError):
        database.apply((incoming(3, size=30_000),))
    assert len(database.inbox(ANNA)) == 1


def test_a_damaged_store_of_version_1_is_left_as_it_is(old: str) -> None:
    with open(old, "r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 64)
    with open(old, "rb") as file:
        before = file.read()
    with pytest.raises(StoreDamagedError):
        Database(old)
    with open(old, "rb") as file:
        assert file.read() == before


# --- prefixes -----------------------------------------------------------------------------------------


def test_a_prefix_finds_the_messages_that_begin_with_it_and_no_others() -> None:
    database = Database(":memory:")
    chance = random.Random(3)  # noqa: S311 (the same ids every time)
    ids = sorted(chance.randbytes(16) for _ in range(200))
    database.apply([replace(incoming(0), message_id=each) for each in ids[:150]])
    database.apply([replace(outgoing(n), message_id=each, envelope_id=b"") for n, each in enumerate(ids[100:])])
    for length in (1, 2, 3, 7, 25, 26):
        for each in ids[::20]:
            prefix = text_id(each)[:length]
            expected = [other for other in ids if text_id(other).startswith(prefix)]
            assert database.message_ids(ANNA, prefix, limit=1000) == expected
    assert len(database.message_ids(ANNA, "a", limit=1)) <= 1
    for nothing in ("", "a" * 27, "A", "1", text_id(ids[0])[:25] + "b"):
        assert database.message_ids(ANNA, nothing) == []


def test_the_range_of_a_prefix_has_exactly_the_keys_that_begin_with_it() -> None:
    for prefix in ("a", "z7", "7", "ab"):
        low, high = prefix_range(prefix, 2) or (b"", b"")
        inside = [key for key in range(1 << 16) if text_id(key.to_bytes(2, "big")).startswith(prefix)]
        assert (int.from_bytes(low, "big"), int.from_bytes(high, "big")) == (inside[0], inside[-1])
        assert len(inside) == inside[-1] - inside[0] + 1
    assert prefix_range("aaab", 2) is None, "the last character of a key of 2 bytes has 4 bits that are not used"

"""The message store: durable at every commit, damaged or newer files left alone, full disks survived."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cores import World
from qpq.crypto.identity import Address, Identity, SecretIdentity
from qpq.mesh import events
from qpq.mesh.effects import State
from qpq.mesh.records import (
    Checkpoint,
    InboxInsert,
    InboxMark,
    Kept,
    MessageDelete,
    OutboxInsert,
    OutboxState,
    Queued,
    TombstoneDelete,
    TombstoneExpected,
    TombstoneInsert,
    UserDelete,
)
from qpq.store import schema
from qpq.store.aside import set_aside
from qpq.store.database import Database
from qpq.store.faults import StoreBusyError, StoreDamagedError, StoreError, StoreFullError, StoreTooNewError

if TYPE_CHECKING:
    from pathlib import Path

    from qpq.mesh.records import Operation, Row

ANNA = Address(b"a" * 32)
BERT = Address(b"b" * 32)
NODE = Identity(b"n" * 32)


def outgoing(number: int, *, user: Address = ANNA, state: State = State.QUEUED, size: int = 100) -> OutboxInsert:
    return OutboxInsert(
        user=user,
        message_id=number.to_bytes(16, "big"),
        envelope_id=number.to_bytes(32, "big") if state is State.QUEUED else b"",
        recipient=BERT,
        envelope=bytes(size) if state is State.QUEUED else b"",
        text=f"text {number}",
        urgent=number % 2 == 1,
        ttl=1000,
        born=number,
        sent=1_800_000_000 + number,
        state=state,
    )


def incoming(number: int, *, user: Address = ANNA, text: str = "hello", sender: Address = BERT) -> InboxInsert:
    return InboxInsert(
        user=user,
        message_id=number.to_bytes(16, "big"),
        sender=sender,
        envelope_id=number.to_bytes(32, "big"),
        text=text,
        urgent=False,
        sent=0,
        received=1_800_000_000 + number,
        size=len(text) + 128,
        via=NODE,
    )


def tombstone(number: int, *, user: Address = ANNA) -> TombstoneInsert:
    return TombstoneInsert(
        user, number.to_bytes(32, "big"), BERT, number.to_bytes(16, "big"), b"s" * 16, b"h" * 32, number
    )


def rows(database: Database) -> list[Row]:
    return list(database.restore())


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "messages.db")


# --- what is kept ---------------------------------------------------------------------------------


def test_everything_that_was_applied_is_there_after_a_restart(path: str) -> None:
    database = Database(path)
    database.apply((outgoing(1), outgoing(2), incoming(3), tombstone(3), Checkpoint(77, 1_800_000_000)))
    database.apply((OutboxState(ANNA, outgoing(2).message_id, State.RELAYED, 3),))
    database.close()
    found = rows(Database(path))
    assert found == [
        Checkpoint(77, 1_800_000_000),
        Queued(ANNA, outgoing(1).message_id, outgoing(1).envelope_id, BERT, 100, True, 1000, 1, State.QUEUED, 0, False),
        Queued(
            ANNA, outgoing(2).message_id, outgoing(2).envelope_id, BERT, 100, False, 1000, 2, State.RELAYED, 3, False
        ),
        Kept(ANNA, incoming(3).message_id, BERT, 133, NODE),
        tombstone(3),
    ]


def test_an_empty_store_restores_a_clock_at_zero() -> None:
    assert rows(Database(":memory:")) == [Checkpoint(0, 0)]


def test_an_envelope_is_read_while_its_message_is_on_its_way_only() -> None:
    database = Database(":memory:")
    database.apply((outgoing(1), outgoing(2)))
    assert database.envelope(outgoing(1).envelope_id) == bytes(100)
    database.apply((OutboxState(ANNA, outgoing(1).message_id, State.DELIVERED, 0),))
    assert database.envelope(outgoing(1).envelope_id) is None
    assert database.envelope(b"?" * 32) is None
    assert [row.message_id for row in rows(database) if isinstance(row, Queued)] == [outgoing(2).message_id]


def test_a_message_delivered_on_this_node_has_no_envelope() -> None:
    database = Database(":memory:")
    database.apply((outgoing(1, state=State.DELIVERED), outgoing(2, state=State.DELIVERED)))
    assert [entry.state for entry in database.outbox(ANNA)] == [State.DELIVERED, State.DELIVERED]
    assert rows(database) == [Checkpoint(0, 0)]


def test_what_is_applied_twice_is_there_once() -> None:
    database = Database(":memory:")
    for _ in range(2):
        database.apply((outgoing(1), incoming(2), tombstone(3)))
    assert len(rows(database)) == 4
    database.apply((replace(incoming(2), sender=ANNA),))
    assert len(database.inbox(ANNA)) == 2, "another sender's message may have the same id"


def test_a_transaction_is_all_or_nothing() -> None:
    database = Database(":memory:")
    with pytest.raises(StoreFullError):
        database.apply((incoming(1), TombstoneExpected(ANNA, b"?" * 32)))
    assert database.inbox(ANNA) == []
    database.apply((tombstone(1), TombstoneExpected(ANNA, tombstone(1).envelope_id)))


def test_a_mark_is_put_on_a_channels_message_that_has_none() -> None:
    database = Database(":memory:")
    channel = replace(incoming(2), channel=b"c" * 16)
    database.apply((incoming(1), channel, replace(channel, sender=ANNA)))
    marks = ((1, b"c", "x.example"), (2, b"d", "x.example"), (2, b"c", "b.example"), (2, b"c", "d.example"))
    for number, name, domain in marks:
        row = InboxMark(ANNA, incoming(number).message_id, BERT, name * 16, domain)
        database.apply((row,))
    assert [entry.domain for entry in database.inbox(ANNA)] == ["", "b.example", ""]


def test_deleting_takes_inbox_and_outbox_and_nobody_elses() -> None:
    database = Database(":memory:")
    database.apply((outgoing(1), incoming(1), incoming(1, user=BERT), tombstone(1)))
    database.delete(ANNA, incoming(1).message_id)
    assert (database.inbox(ANNA), database.outbox(ANNA)) == ([], [])
    assert len(database.inbox(BERT)) == 1
    database.apply((TombstoneDelete(ANNA, tombstone(1).envelope_id),))
    assert len(rows(database)) == 2
    database.apply((MessageDelete(BERT, incoming(1).message_id),))
    assert rows(database) == [Checkpoint(0, 0)]


def test_a_user_is_deleted_with_everything() -> None:
    database = Database(":memory:")
    database.apply((outgoing(1), incoming(2), tombstone(3), incoming(4, user=BERT)))
    database.apply((UserDelete(ANNA),))
    assert [type(row) for row in rows(database)] == [Checkpoint, Kept]


# --- what people see --------------------------------------------------------------------------------


def test_the_inbox_shows_the_last_messages_oldest_first_or_pages_forward() -> None:
    database = Database(":memory:")
    database.apply([incoming(number, text=f"{number}") for number in range(10)])
    assert [entry.text for entry in database.inbox(ANNA, limit=3)] == ["7", "8", "9"]
    first = database.inbox(ANNA, limit=4, after=0)
    assert [entry.text for entry in first] == ["0", "1", "2", "3"]
    assert [entry.text for entry in database.inbox(ANNA, limit=2, after=first[-1].number)] == ["4", "5"]
    assert first[0].received == 1_800_000_000
    assert database.inbox(BERT) == []


def test_messages_are_unread_until_they_are_marked_by_their_own_user() -> None:
    database = Database(":memory:")
    database.apply([incoming(number) for number in range(3)])
    numbers = [entry.number for entry in database.inbox(ANNA)]
    database.mark_read(BERT, numbers)
    assert len(database.inbox(ANNA, unread=True)) == 3
    database.mark_read(ANNA, numbers[:2])
    assert [entry.number for entry in database.inbox(ANNA, unread=True)] == numbers[2:]
    assert [entry.read for entry in database.inbox(ANNA)] == [True, True, False]


def test_the_outbox_shows_texts_and_states() -> None:
    database = Database(":memory:")
    database.apply([outgoing(number) for number in range(3)])
    database.apply((OutboxState(ANNA, outgoing(1).message_id, State.EXPIRED, 2),))
    shown = [(entry.text, entry.state, entry.copies, entry.urgent, entry.ttl) for entry in database.outbox(ANNA)]
    assert shown == [
        ("text 0", State.QUEUED, 0, False, 1000),
        ("", State.EXPIRED, 2, True, 1000),
        ("text 2", State.QUEUED, 0, False, 1000),
    ]
    assert [entry.text for entry in database.outbox(ANNA, limit=1, after=1)] == [""]


def test_any_text_comes_back_as_it_was() -> None:
    database = Database(":memory:")
    texts = ["", "grüße 🐟", "nul \0 inside", "\x1b[31mred", "x" * 32_640]
    database.apply([incoming(number, text=text) for number, text in enumerate(texts)])
    assert [entry.text for entry in database.inbox(ANNA)] == texts


def test_ids_are_listed_for_prefixes() -> None:
    database = Database(":memory:")
    database.apply((outgoing(1), incoming(1), incoming(2), incoming(3, user=BERT)))
    assert database.message_ids(ANNA, "a") == [incoming(1).message_id, incoming(2).message_id]
    assert database.correspondents(ANNA) == [BERT]


def test_counts_say_how_much_there_is() -> None:
    database = Database(":memory:", max_bytes=1 << 20)
    empty = database.counts()
    assert (empty.inbox, empty.unread, empty.waiting, empty.finished, empty.tombstones, empty.oldest) == (0,) * 6
    database.apply((outgoing(1), outgoing(2, state=State.DELIVERED), tombstone(1)))
    database.apply((replace(incoming(7), received=0), incoming(5), incoming(9)))
    database.mark_read(ANNA, [1])
    full = database.counts()
    assert (full.inbox, full.unread, full.waiting, full.finished, full.tombstones) == (3, 2, 1, 1, 1)
    assert full.oldest == 1_800_000_005
    assert 0 < full.used_bytes < full.max_bytes == 1 << 20


def test_finished_messages_are_history_of_bounded_length() -> None:
    database = Database(":memory:", history=10)
    for number in range(200):
        database.apply((outgoing(number),))
        if number:
            database.apply((OutboxState(ANNA, outgoing(number).message_id, State.DELIVERED, 0),))
    entries = database.outbox(ANNA, limit=1000)
    assert len(entries) <= 10 + 64 + 1
    assert entries[0].state is State.QUEUED, "what waits is no history"
    assert entries[-1].text == "text 199"


def test_history_that_its_user_thinned_out_is_not_cut_further() -> None:
    database = Database(":memory:", history=10)

    def finish(numbers: range) -> None:
        for number in numbers:
            database.apply((outgoing(number),))
            database.apply((OutboxState(ANNA, outgoing(number).message_id, State.DELIVERED, 0),))

    finish(range(25))
    database.apply(tuple(MessageDelete(ANNA, outgoing(number).message_id) for number in range(10, 20)))
    finish(range(25, 32))
    assert len(database.outbox(ANNA, limit=1000)) == 22, "15 that stayed and 7 more: fewer than are cut at a time"
    finish(range(32, 36))
    entries = database.outbox(ANNA, limit=1000)
    assert [entry.text for entry in entries] == [f"text {number}" for number in range(26, 36)]


def test_a_message_is_finished_once_however_often_its_state_changes() -> None:
    database = Database(":memory:", history=10)
    for number in range(20):
        database.apply((outgoing(number),))
        for state in (State.RELAYED, State.EXPIRED, State.DELIVERED):
            database.apply((OutboxState(ANNA, outgoing(number).message_id, state, 1),))
    database.apply((OutboxState(ANNA, b"?" * 16, State.DELIVERED, 0), outgoing(0)))
    assert len(database.outbox(ANNA, limit=1000)) == 20
    assert {entry.state for entry in database.outbox(ANNA, limit=1000)} == {State.DELIVERED}


def test_a_write_that_was_undone_counts_for_nothing_in_the_history() -> None:
    database = Database(":memory:", history=0)
    database.apply((outgoing(0),))
    state = OutboxState(ANNA, outgoing(0).message_id, State.EXPIRED, 0)
    for _ in range(100):
        with pytest.raises(StoreFullError):
            database.apply((state, TombstoneExpected(ANNA, bytes(32))))
    database.apply((state,))
    assert [entry.state for entry in database.outbox(ANNA)] == [State.EXPIRED]


def test_one_statement_alone_is_a_transaction(path: str, tmp_path: Path) -> None:
    database = Database(path)
    database.apply((outgoing(1),))
    after = Database(copy_as_a_power_cut_leaves_it(path, tmp_path))
    assert [entry.text for entry in after.outbox(ANNA)] == ["text 1"]
    after.close()
    database.close()
    with pytest.raises(StoreError):
        database.apply((outgoing(2),))


# --- boots -------------------------------------------------------------------------------------------


def test_boots_are_counted_over_restarts(path: str) -> None:
    for boot in (1, 2, 3):
        database = Database(path)
        assert database.next_boot() == boot
        database.close()


def test_a_boot_is_at_least_its_floor() -> None:
    database = Database(":memory:")
    assert [database.next_boot(floor=500), database.next_boot(floor=3), database.next_boot()] == [500, 501, 502]


# --- power cuts --------------------------------------------------------------------------------------


def history() -> list[tuple[Operation, ...]]:
    """Transactions as a node makes them."""
    made: list[tuple[Operation, ...]] = []
    for number in range(12):
        made.append((outgoing(number, size=3000),))
        made.append((incoming(number, text="x" * 1000), tombstone(number)))
        made.append((OutboxState(ANNA, outgoing(number).message_id, State.DELIVERED, 0), Checkpoint(number, 0)))
        if number % 3 == 2:
            made.append((MessageDelete(ANNA, incoming(number - 1).message_id),))
    return made


def copy_as_a_power_cut_leaves_it(path: str, to: Path) -> str:
    target = str(to / "cut.db")
    shutil.copyfile(path, target)
    shutil.copyfile(path + "-wal", target + "-wal")
    return target


def test_a_power_cut_after_any_commit_loses_nothing(path: str, tmp_path: Path) -> None:
    database = Database(path)
    model = Database(":memory:")
    for number, operations in enumerate(history()):
        database.apply(operations)
        model.apply(operations)
        cut = tmp_path / str(number)
        cut.mkdir()
        after = Database(copy_as_a_power_cut_leaves_it(path, cut))
        assert rows(after) == rows(model)
        assert after.inbox(ANNA) == model.inbox(ANNA)
        after.close()


def test_a_power_cut_at_any_byte_of_a_write_leaves_what_some_commit_left(path: str, tmp_path: Path) -> None:
    database = Database(path)
    states = [rows(database)]
    for operations in history()[:8]:
        database.apply(operations)
        states.append(rows(database))
    wal = (tmp_path / "messages.db-wal").read_bytes()
    seen = set()
    for number, size in enumerate(range(0, len(wal), 1031)):
        cut = tmp_path / str(number)
        cut.mkdir()
        copy = copy_as_a_power_cut_leaves_it(path, cut)
        (cut / "cut.db-wal").write_bytes(wal[:size])
        after = Database(copy)
        seen.add(states.index(rows(after)))
        after.apply((incoming(999),))
        after.close()
    assert seen == set(range(max(seen) + 1)), "every commit but the last was cut at some point"


def test_a_transaction_that_was_not_committed_is_not_there(path: str, tmp_path: Path) -> None:
    database = Database(path)
    database.apply((incoming(1),))
    database._connection.execute("BEGIN IMMEDIATE")
    database._writers.write(incoming(2))
    after = Database(copy_as_a_power_cut_leaves_it(path, tmp_path))
    assert len(after.inbox(ANNA)) == 1


@pytest.mark.parametrize("durable", [True, False])
def test_disks_are_synced_at_each_commit_and_memory_is_not(path: str, durable: bool) -> None:
    database = Database(path, durable=durable)
    synchronous = database._connection.execute("PRAGMA synchronous").fetchone()[0]
    assert synchronous == (2 if durable else 0)
    assert database._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_closed_store_leaves_one_file_that_only_its_owner_reads(path: str, tmp_path: Path) -> None:
    database = Database(path)
    database.apply((incoming(1),))
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    database.close()
    assert [file.name for file in tmp_path.iterdir()] == ["messages.db"]
    with pytest.raises(StoreError):
        database.inbox(ANNA)


# --- files that are not what they should be ------------------------------------------------------------


def same(path: str, before: bytes) -> bool:
    with open(path, "rb") as file:
        return file.read() == before


def test_a_file_that_is_no_database_is_left_as_it_is(path: str, tmp_path: Path) -> None:
    (tmp_path / "messages.db").write_bytes(b"my diary\n" * 1000)
    with pytest.raises(StoreDamagedError, match=r"messages\.db is damaged.*move it away"):
        Database(path)
    assert same(path, b"my diary\n" * 1000)


def test_another_programs_database_is_left_as_it_is(path: str, tmp_path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.commit()
    other.close()
    before = (tmp_path / "messages.db").read_bytes()
    with pytest.raises(StoreDamagedError, match="no message store of this program"):
        Database(path)
    assert same(path, before)


def test_a_store_of_a_newer_version_is_refused_with_what_to_do(path: str, tmp_path: Path) -> None:
    Database(path).close()
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    newer.close()
    before = (tmp_path / "messages.db").read_bytes()
    with pytest.raises(StoreTooNewError, match=r"version 5, this program knows 4.*update the program"):
        Database(path)
    assert same(path, before)


def test_where_a_message_goes_or_came_from_is_kept_and_why_it_was_refused(path: str) -> None:
    database = Database(path)
    database.apply((replace(outgoing(1), domain="b.example"), replace(incoming(2), domain="c.example")))
    rows = [row for row in database.restore() if isinstance(row, Queued | Kept)]
    assert [row.domain for row in rows] == ["b.example", "c.example"]
    database.apply((OutboxState(ANNA, outgoing(1).message_id, State.REFUSED, 0, "nobody there"),))
    (entry,) = database.outbox(ANNA)
    assert (entry.state, entry.domain, entry.reason, entry.text) == (State.REFUSED, "b.example", "nobody there", "")
    assert database.inbox(ANNA)[0].domain == "c.example"
    assert database.envelope(outgoing(1).envelope_id) is None


def test_the_domain_of_somebody_is_that_of_the_newest_message(path: str) -> None:
    database = Database(path)
    assert database.domain_of(ANNA, BERT) == ""
    database.apply((replace(outgoing(1), domain="b.example"),))
    assert database.domain_of(ANNA, BERT) == "b.example"
    database.apply((replace(incoming(2), domain="c.example"), replace(incoming(3), channel=b"c" * 16)))
    assert database.domain_of(ANNA, BERT) == "c.example"
    database.apply((incoming(4),))
    assert database.domain_of(ANNA, BERT) == ""


def test_a_damaged_page_is_found_when_the_store_is_opened(path: str, tmp_path: Path) -> None:
    database = Database(path)
    database.apply([incoming(number, text="x" * 1000) for number in range(100)])
    database.close()
    file = tmp_path / "messages.db"
    content = bytearray(file.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    file.write_bytes(content)
    with pytest.raises(StoreDamagedError, match="damaged"):
        Database(path)
    assert same(path, bytes(content))


def test_damage_in_a_large_store_is_found_when_it_is_read(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qpq.store.database._CHECK_BELOW", 0)
    database = Database(path)
    database.apply([incoming(number, text="x" * 1000) for number in range(300)])
    database.close()
    file = tmp_path / "messages.db"
    content = bytearray(file.read_bytes())
    for page in range(8, len(content) // 4096):
        content[page * 4096 : (page + 1) * 4096] = b"\xff" * 4096
    file.write_bytes(content)
    opened = Database(path)
    with pytest.raises(StoreDamagedError):
        opened.inbox(ANNA, limit=1000)
    with pytest.raises(StoreDamagedError):
        list(opened.restore())
    with pytest.raises(StoreDamagedError):
        opened.apply([incoming(number, text="x" * 1000) for number in range(300, 600)])


def test_a_damaged_store_is_set_aside_whole_and_a_new_one_made(path: str, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "messages.db").write_bytes(b"?" * 5000)
        (tmp_path / "messages.db-wal").write_bytes(b"wal")
        assert set_aside(path) == f"{path}.damaged-{number}"
        assert (tmp_path / f"messages.db.damaged-{number}").read_bytes() == b"?" * 5000
        assert (tmp_path / f"messages.db.damaged-{number}-wal").read_bytes() == b"wal"
        assert not (tmp_path / "messages.db-wal").exists()
    assert rows(Database(path)) == [Checkpoint(0, 0)]


def test_setting_aside_ends_when_too_many_lie_there_or_nothing_can_be_renamed(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "messages.db").write_bytes(b"?")

    def refuse(_old: str, _new: str) -> None:
        raise PermissionError(1, "not permitted")

    with monkeypatch.context() as patched:
        patched.setattr("os.rename", refuse)
        with pytest.raises(StoreError, match="cannot be moved away"):
            set_aside(path)
    for number in range(1, 101):
        (tmp_path / f"messages.db.damaged-{number}").touch()
    with pytest.raises(StoreError, match="look at them"):
        set_aside(path)


def test_a_store_that_is_open_elsewhere_is_not_opened_twice(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qpq.store.database._LOCK_WAIT_S", 0.05)
    first = Database(path)
    with pytest.raises(StoreBusyError, match="another process"):
        Database(path)
    first.close()
    Database(path).close()


def test_a_path_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        Database(str(tmp_path / "missing" / "messages.db"))


# --- no room -------------------------------------------------------------------------------------------


def fill(database: Database) -> int:
    for number in range(1000):
        try:
            database.apply((incoming(number, text="x" * 2000), tombstone(number)))
        except StoreFullError:
            return number
    raise AssertionError("the store has no end")


def test_a_full_store_refuses_new_messages_and_keeps_the_old(path: str) -> None:
    database = Database(path, max_bytes=200_000)
    count = fill(database)
    assert count > 20
    assert len(database.inbox(ANNA, limit=1000)) == count
    assert database.counts().used_bytes <= 200_000
    database.close()
    assert len(Database(path).inbox(ANNA, limit=1000)) == count


def test_a_full_store_still_takes_states_receipts_and_deletions() -> None:
    database = Database(":memory:", max_bytes=200_000)
    database.apply([outgoing(number) for number in range(1000, 1020)])
    count = fill(database)
    for number in range(1000, 1020):
        database.apply((OutboxState(ANNA, outgoing(number).message_id, State.DELIVERED, 0), Checkpoint(number, 0)))
        database.apply((tombstone(number),))
    for number in range(0, count, 2):
        database.delete(ANNA, incoming(number).message_id)
    assert database.next_boot() == 1
    database.apply((incoming(5000, text="x" * 2000),))
    assert len(database.inbox(ANNA, limit=1000)) == count // 2 + 1


def test_even_the_reserve_has_an_end() -> None:
    database = Database(":memory:", max_bytes=200_000)
    fill(database)
    with pytest.raises(StoreFullError):
        database.apply([tombstone(10_000 + number) for number in range(10_000)])
    database.delete(ANNA, incoming(0).message_id)


def test_a_store_full_of_one_users_messages_refuses_in_words_at_the_sender() -> None:
    world = World()
    anna = world.add("anna", store=Database(":memory:", max_bytes=100_000))
    for _ in range(100):
        world.send(anna, SecretIdentity(b"s" * 32).address, "x" * 3000)
    assert anna.refused
    assert "delete messages or give it more room" in anna.refused[0].reason
    assert isinstance(anna.store, Database)
    assert len(anna.store.outbox(anna.user.address, limit=1000)) == 100 - len(anna.refused)


# --- with cores ------------------------------------------------------------------------------------------


def test_nodes_with_real_stores_lose_nothing_over_crashes(tmp_path: Path) -> None:
    world = World(2)
    anna, bert = (world.add(name, store=Database(str(tmp_path / f"{name}.db"))) for name in ("anna", "bert"))
    world.meet(anna, bert)
    world.run(1.0)
    messages = []
    for number in range(10):
        messages.append(world.send(anna, bert.user.address, f"{number}"))
        world.run(0.012 if number % 2 else 0.004)
        victim = (anna, bert)[number % 2]
        world.crash(victim)
        assert isinstance(victim.store, Database)
        victim.store.close()
        victim.store = Database(victim.store.path)
        world.start(victim)
        world.meet(anna, bert)
        world.run(30.0)
    world.run(700.0)
    assert isinstance(anna.store, Database)
    assert isinstance(bert.store, Database)
    assert [entry.text for entry in bert.store.inbox(bert.user.address)] == [f"{n}" for n in range(10)]
    assert {entry.state for entry in anna.store.outbox(anna.user.address)} == {State.DELIVERED}
    world.tell(bert, events.UserRemoved(bert.user.address))
    assert bert.store.inbox(bert.user.address) == []


def test_after_a_restart_a_name_is_one_object_in_all_rows_that_have_it(tmp_path: Path) -> None:
    with_proof = [operation for n in (3, 4) for operation in (incoming(n), tombstone(n))]
    first = Database(str(tmp_path / "a.db"))
    first.apply([outgoing(1), outgoing(2), *with_proof])
    first.close()
    database = Database(str(tmp_path / "a.db"))
    rows = [row for row in database.restore() if not isinstance(row, Checkpoint)]
    names = [getattr(row, name, None) for row in rows for name in ("user", "sender", "recipient", "via")]
    assert {ANNA, BERT, NODE} <= set(names)
    assert len({id(name) for name in names if name is not None}) == 3
    ids = [row.message_id for row in rows if isinstance(row, Kept | TombstoneInsert)]
    assert (len(ids), len({id(message_id) for message_id in ids})) == (4, 2)
    database.close()


def test_a_store_in_ram_keeps_its_log_short(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "a.db"), durable=False, max_bytes=2 << 20)
    for n in range(300):
        database.apply([incoming(n), tombstone(n)])
    assert (tmp_path / "a.db-wal").stat().st_size < 160 * 1024
    database.close()

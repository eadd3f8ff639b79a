"""Of what was deleted nothing is left in the store's files: not in the log, not in free pages, not between cells."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from qpq.crypto.identity import Address
from qpq.mesh.effects import State
from qpq.mesh.records import (
    InboxInsert,
    MessageDelete,
    OutboxInsert,
    OutboxState,
    PrekeyDelete,
    PrekeyPut,
    SessionPut,
    UserDelete,
)
from qpq.store import scrubbing
from qpq.store.database import Database
from qpq.store.faults import StoreError
from qpq.store.scrubbing import PAGE, Scrubber, gap

if TYPE_CHECKING:
    from pathlib import Path

ANNA, BERT = Address(b"a" * 32), Address(b"b" * 32)


def mark(number: int) -> str:
    return f"MARK{number:06d}Z"


def incoming(number: int, size: int) -> InboxInsert:
    text = (mark(number) * (size // 10 + 1))[:size]
    return InboxInsert(ANNA, number.to_bytes(16, "big"), BERT, number.to_bytes(32, "big"), text, False, 0, 7, 1, None)


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def churn(database: Database, seed: int, largest: int) -> tuple[list[int], list[int]]:
    """Insert and delete at random; return what is there and what was deleted."""
    chance = random.Random(seed)  # noqa: S311 (the same each time)
    there: list[int] = []
    gone: list[int] = []
    for number in range(1500):
        if not there or chance.random() < 0.55:
            there.append(number)
            database.apply([incoming(number, chance.randint(11, largest))])
        else:
            gone.append(there.pop(chance.randrange(len(there))))
            database.apply([MessageDelete(ANNA, gone[-1].to_bytes(16, "big"))])
        if number % 200 == 199:
            database.scrub()
    return there, gone


@pytest.mark.parametrize("largest", [60, 300, 3000])
@pytest.mark.parametrize("seed", [4, 5, 7, 10])
def test_no_byte_of_a_deleted_text_is_left(tmp_path: Path, seed: int, largest: int) -> None:
    database = Database(str(tmp_path / "s.db"), durable=False)
    there, gone = churn(database, seed, largest)
    database.scrub()
    data = on_disk(tmp_path)
    assert [number for number in gone if mark(number).encode() in data] == []
    assert {entry.text[:11] for entry in database.inbox(ANNA, limit=2000)} == {mark(number)[:11] for number in there}
    database.close()
    data = on_disk(tmp_path)
    assert [number for number in gone if mark(number).encode() in data] == []
    connection = sqlite3.connect(tmp_path / "s.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_what_a_killed_process_left_is_taken_away_by_the_next(tmp_path: Path) -> None:
    path, copy = tmp_path / "s.db", tmp_path / "copy"
    database = Database(str(path))
    database.apply([incoming(1, 50), incoming(2, 50)])
    database.scrub()
    database.apply([MessageDelete(ANNA, incoming(1, 50).message_id)])
    copy.mkdir()
    for file in tmp_path.glob("s.db*"):
        shutil.copy(file, copy / file.name)  # as a kill would leave it
    database.close()
    assert mark(1).encode() in on_disk(copy)
    again = Database(str(copy / "s.db"))
    assert not again.scrubber.is_clean
    again.scrub()
    assert mark(1).encode() not in on_disk(copy)
    assert mark(2).encode() in on_disk(copy)
    again.close()


def test_users_expired_and_forgotten_messages_leave_too(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "s.db"), history=5)
    outbox = [
        OutboxInsert(ANNA, bytes([n]) * 16, bytes([n]) * 32, BERT, b"e", mark(n), False, 9, 1, 2, State.QUEUED)
        for n in range(60)
    ]
    database.apply(outbox)
    database.apply([OutboxState(ANNA, outbox[0].message_id, State.EXPIRED, 0)])
    database.scrub()
    assert mark(0).encode() not in on_disk(tmp_path)
    for row in outbox[1:]:
        database.apply([OutboxState(ANNA, row.message_id, State.DELIVERED, 0)])
    assert not database.scrubber.is_clean
    database.scrub()
    assert mark(20).encode() not in on_disk(tmp_path)
    assert mark(59).encode() in on_disk(tmp_path)
    database.apply([UserDelete(ANNA)])
    database.scrub()
    assert b"MARK" not in on_disk(tmp_path)
    database.close()


def test_of_a_session_only_its_newest_state_is_left_and_of_a_used_prekey_nothing(tmp_path: Path) -> None:
    """The old states hold keys of messages, which are what forward secrecy is about."""
    chance = random.Random(7)  # noqa: S311 (the same each time)
    database = Database(str(tmp_path / "s.db"), durable=False)
    newest: dict[int, int] = {}
    for number in range(1200):
        session = chance.randrange(12)
        newest[session] = number
        data = (mark(number) * 500)[: chance.randint(300, 5000)].encode()
        database.apply([SessionPut(ANNA, BERT, bytes([session]) * 8, number, data)])
        prekey = PrekeyPut(ANNA, number.to_bytes(8, "big"), 1, number, f"PREKEY{number:06d}".encode())
        database.apply([prekey, incoming(10_000 + number, chance.randint(20, 400))])
        database.apply([PrekeyDelete(ANNA, prekey.key_id)])
    database.scrub()
    data = on_disk(tmp_path)
    assert {number for number in range(1200) if mark(number).encode() in data} == set(newest.values())
    assert b"PREKEY" not in data
    database.close()


def test_somebody_is_told_once_that_there_is_something_to_do(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "s.db"))
    told: list[bool] = []
    database.scrub()
    database.scrubber.wake = lambda: told.append(True)
    database.apply([incoming(1, 50), incoming(2, 50)])
    assert told == []
    for number in (1, 2):
        database.apply([MessageDelete(ANNA, incoming(number, 50).message_id)])
    assert told == [True]
    database.scrub()
    database.apply([MessageDelete(ANNA, b"n" * 16)])
    assert told == [True, True]
    database.close()


def test_a_scrub_that_fails_is_still_to_be_done(tmp_path: Path) -> None:
    class Busy:
        def execute(self, _statement: str) -> Busy:
            return self

        def fetchone(self) -> tuple[int, int, int]:
            return 1, 0, 0

    scrubber = Scrubber(str(tmp_path / "s.db"))
    scrubber.soil()
    scrubber.scrub(Busy())  # type: ignore[arg-type]
    assert not scrubber.is_clean


def test_a_large_store_is_swept_in_slices_and_what_comes_meanwhile_has_its_turn(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "s.db"), durable=False)
    there, gone = churn(database, 5, 300)
    database.scrubber.soil()
    calls = 0
    while not database.scrubber.is_clean:
        database.scrubber.scrub(database._connection, 8)
        calls += 1
        if calls == 2:
            assert database.scrubber.is_sweeping
            gone.append(there.pop())
            database.apply([MessageDelete(ANNA, gone[-1].to_bytes(16, "big"))])
        assert calls < 200
    pages = (tmp_path / "s.db").stat().st_size // PAGE
    assert calls >= 2 * (pages // 8)
    data = on_disk(tmp_path)
    assert [number for number in gone if mark(number).encode() in data] == []
    database.close()


def test_a_store_in_memory_has_no_files_to_scrub() -> None:
    database = Database(":memory:")
    database.apply([incoming(1, 50), MessageDelete(ANNA, incoming(1, 50).message_id)])
    database.scrub()
    database.close()


def test_the_file_of_a_store_in_ram_shrinks_with_what_was_deleted(tmp_path: Path) -> None:
    """More than one pointer map's pages, so that pages are moved over it."""
    path = tmp_path / "s.db"
    database = Database(str(path), durable=False)
    database.apply([incoming(number, 3500) for number in range(1000)])
    database.scrub()
    large = path.stat().st_size
    assert large > 900 * PAGE
    gone = [number for number in range(1000) if number % 10]
    database.apply([MessageDelete(ANNA, number.to_bytes(16, "big")) for number in gone])
    assert database.compact() > large * 3 // 4
    assert database.compact() == 0
    assert path.stat().st_size < large // 4
    assert not list(tmp_path.glob("*-wal")) or (tmp_path / "s.db-wal").stat().st_size == 0
    database.scrub()
    data = on_disk(tmp_path)
    assert [number for number in gone if mark(number).encode() in data] == []
    assert len(database.inbox(ANNA, limit=2000)) == 100
    database.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_a_store_on_disk_keeps_its_free_pages(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "s.db"))
    database.apply([incoming(number, 3500) for number in range(100)])
    database.apply([MessageDelete(ANNA, number.to_bytes(16, "big")) for number in range(100)])
    assert database.compact() == 0
    database.close()


def test_a_store_that_is_closed_cannot_be_made_smaller(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "s.db"), durable=False)
    database.close()
    with pytest.raises(StoreError):
        database.compact()


def test_a_file_of_another_layout_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    for change in ("PRAGMA page_size = 8192", "PRAGMA page_size = 1024"):
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(change)
        connection.execute("CREATE TABLE t (a)")
        before = path.read_bytes()
        scrubber = Scrubber(str(path))
        scrubber.soil()
        scrubber.scrub(connection)
        connection.close()
        scrubber.close()
        assert path.read_bytes() == before
        path.unlink()


def test_a_file_so_large_that_pages_could_be_mistaken_is_not_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrubbing, "_MAX_BYTES", PAGE)
    database = Database(str(tmp_path / "s.db"))
    database.apply([incoming(1, 50), MessageDelete(ANNA, incoming(1, 50).message_id)])
    database.scrub()
    database.close()


def page(kind: int, cells: int, content: int, head: int = 0) -> bytes:
    data = bytearray(os.urandom(PAGE))
    data[head : head + 8] = bytes([kind, 0, 0, *cells.to_bytes(2, "big"), *content.to_bytes(2, "big"), 0])
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "head", "wanted"),
    [
        (page(13, 3, 4000), 0, (14, 4000)),
        (page(10, 0, 4096), 0, (8, 4096)),
        (page(5, 3, 4000), 0, (18, 4000)),
        (page(2, 1, 200), 0, (14, 200)),
        (page(13, 3, 4000, 100), 100, (114, 4000)),
        (page(0, 3, 4000), 0, (0, 0)),
        (page(1, 3, 4000), 0, (0, 0)),
        (page(13, 3, 13), 0, (0, 0)),
        (page(13, 3, 5000), 0, (0, 0)),
        (page(13, 3, 0), 0, (0, 0)),
    ],
)
def test_the_gap_of_a_page_is_found_by_its_header(data: bytes, head: int, wanted: tuple[int, int]) -> None:
    assert gap(data, 0, head) == wanted
    assert gap(bytes(PAGE) + data, PAGE, head) == wanted

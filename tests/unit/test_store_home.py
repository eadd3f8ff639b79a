"""Clients' inboxes in the store: numbered without gaps, kept until acknowledged or expired, within their room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpq.store.codec import PLAIN, Sealed
from qpq.store.database import Database
from qpq.store.faults import StoreFullError
from qpq.store.home import MAX_MESSAGES, HomeTables, Posted

if TYPE_CHECKING:
    from pathlib import Path

ANNA, BERT = b"a" * 32, b"b" * 32
ROOM = 1 << 20
EVER = 1 << 40


def posted(recipient: bytes = BERT, data: bytes = b"hello", ends: int = 100) -> Posted:
    return Posted(recipient, data, ends)


def tables(path: Path | None = None, room: int = ROOM) -> HomeTables:
    return HomeTables(Database(":memory:" if path is None else str(path / "db")), room)


def test_a_store_without_clients_has_no_tables() -> None:
    database = Database(":memory:")
    empty = HomeTables(database, ROOM)
    assert empty.waiting(BERT, 0, 10, ROOM) == []
    assert (empty.last(BERT), empty.acknowledge(BERT, 5), empty.forget(50), empty.endpoint(BERT, 0)) == (0, 0, 0, b"")
    assert (empty.counts().messages, empty.counts().size) == (0, 0)
    with database.transaction() as connection:
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name LIKE 'home%'").fetchall()


def test_each_inbox_counts_by_itself_from_one() -> None:
    home = tables()
    assert home.post([posted(), posted(ANNA), posted()], 0) == [1, 1, 2]
    assert home.post([posted()], 0) == [3]
    assert (home.last(BERT), home.last(ANNA)) == (3, 1)


def test_numbers_go_on_after_all_was_acknowledged_and_after_a_restart(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "db"))
    home = HomeTables(database, ROOM)
    home.post([posted(), posted()], 0)
    assert home.acknowledge(BERT, 2) == 2
    database.close()
    again = tables(tmp_path)
    assert again.waiting(BERT, 0, 10, ROOM) == []
    assert again.last(BERT) == 2
    assert again.post([posted()], 0) == [3]
    assert again.waiting(BERT, 0, 10, ROOM) == [(3, b"hello")]


def test_looking_deletes_nothing_and_acknowledging_only_what_it_names() -> None:
    home = tables()
    home.post([posted(data=bytes([number])) for number in range(5)], 0)
    assert home.waiting(BERT, 0, 10, ROOM) == home.waiting(BERT, 0, 10, ROOM)
    assert home.acknowledge(BERT, 3) == 3
    assert home.acknowledge(BERT, 3) == 0
    assert home.waiting(BERT, 0, 10, ROOM) == [(4, b"\x03"), (5, b"\x04")]
    assert home.acknowledge(ANNA, 9) == 0


def test_an_answer_has_at_most_so_many_messages_and_bytes_but_at_least_one() -> None:
    home = tables()
    home.post([posted(data=bytes(100)) for _ in range(5)], 0)
    assert [seq for seq, _ in home.waiting(BERT, 0, 3, ROOM)] == [1, 2, 3]
    assert [seq for seq, _ in home.waiting(BERT, 0, 10, 250)] == [1, 2]
    assert [seq for seq, _ in home.waiting(BERT, 0, 10, 50)] == [1]


def test_what_has_expired_is_not_handed_out_and_goes_with_the_next_look_around() -> None:
    home = tables()
    home.post([posted(ends=10), posted(ends=20)], 0)
    home.publish(ANNA, b"somewhere", 10)
    assert home.waiting(BERT, 10, 10, ROOM) == [(2, b"hello")]
    assert (home.endpoint(ANNA, 9), home.endpoint(ANNA, 10)) == (b"somewhere", b"")
    assert home.forget(10) == 1
    assert home.counts().messages == 1
    assert home.forget(10) == 0


def test_an_inbox_takes_a_thousand_messages_and_room_comes_back() -> None:
    home = tables(room=1 << 24)
    taken = home.post([posted(ends=EVER if number else 10) for number in range(MAX_MESSAGES)], 0)
    assert taken == list(range(1, MAX_MESSAGES + 1))
    (full,) = home.post([posted(ends=EVER)], 9)
    assert isinstance(full, StoreFullError)
    assert "1000 messages wait to be acknowledged" in str(full)
    assert home.post([posted(ends=EVER)], 10) == [MAX_MESSAGES + 1]  # the first has expired
    home.acknowledge(BERT, 2)
    assert home.post([posted(ends=EVER)], 10) == [MAX_MESSAGES + 2]
    assert home.post([posted(ANNA)], 0) == [1]


def test_one_inbox_takes_half_of_the_room_and_all_of_them_the_whole() -> None:
    home = tables(room=4000)
    first, second = home.post([posted(data=bytes(1800)), posted(data=bytes(1800))], 0)
    assert first == 1
    assert isinstance(second, StoreFullError)
    assert "too many bytes" in str(second)
    assert home.post([posted(ANNA, bytes(1800))], 0) == [1]
    (third,) = home.post([posted(b"c" * 32, bytes(1800))], 0)
    assert isinstance(third, StoreFullError)
    assert "for clients is full" in str(third)
    home.acknowledge(ANNA, 1)
    assert home.post([posted(b"c" * 32, bytes(1800))], 0) == [1]  # what was refused has left no gap


def test_a_file_that_is_full_takes_none_of_them(tmp_path: Path) -> None:
    home = HomeTables(Database(str(tmp_path / "db"), max_bytes=400_000), 1 << 30)
    with pytest.raises(StoreFullError):
        home.post([posted(data=bytes(50_000)) for _ in range(20)], 0)
    assert home.waiting(BERT, 0, 99, ROOM) == []
    assert home.post([posted()], 0) == [1]


def test_payloads_are_sealed_with_the_rest_of_the_store(tmp_path: Path) -> None:
    path, plain = tmp_path / "db", b"what nobody else is to read"
    database = Database(str(path), codec=Sealed(bytes(32)))
    home = HomeTables(database, ROOM)
    home.post([posted(data=plain), posted(data=b"more")], 0)
    assert home.waiting(BERT, 0, 9, ROOM) == [(1, plain), (2, b"more")]
    database.close()
    assert plain not in path.read_bytes()
    database = Database(str(path), codec=Sealed(bytes(32)))
    database.reseal(PLAIN)
    assert HomeTables(database, ROOM).waiting(BERT, 0, 9, ROOM) == [(1, plain), (2, b"more")]
    database.reseal(Sealed(b"k" * 32))
    home = HomeTables(database, ROOM)
    assert home.waiting(BERT, 0, 1, ROOM) == [(1, plain)]
    assert home.acknowledge(BERT, (1 << 70)) == 2
    database.close()
    assert plain not in path.read_bytes()


def test_what_was_acknowledged_leaves_the_file(tmp_path: Path) -> None:
    path, plain = tmp_path / "db", b"what was read and is to be gone"
    database = Database(str(path))
    home = HomeTables(database, ROOM)
    home.post([posted(data=plain)], 0)
    woken: list[int] = []
    database.scrubber.wake = lambda: woken.append(1)
    database.scrub()
    home.acknowledge(BERT, 1)
    assert woken == [1]
    database.scrub()
    assert all(plain not in file.read_bytes() for file in tmp_path.iterdir())
    database.close()


def test_an_endpoint_is_replaced_and_taken_back() -> None:
    home = tables()
    home.publish(ANNA, b"one", 10)
    home.publish(ANNA, b"two", 20)
    assert home.endpoint(ANNA, 15) == b"two"
    home.publish(ANNA, b"", 20)
    assert home.endpoint(ANNA, 15) == b""


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("post"), st.integers(1, 30), st.integers(0, 1)),
            st.tuples(st.just("ack"), st.integers(0, 12), st.integers(0, 1)),
            st.tuples(st.just("wait"), st.integers(1, 9), st.just(0)),
        ),
        max_size=40,
    )
)
def test_it_does_what_a_list_for_each_inbox_would_do(steps: list[tuple[str, int, int]]) -> None:
    home, life = tables(), 0
    model: list[list[tuple[int, int]]] = [[], []]
    last = [0, 0]
    for what, number, which in steps:
        who = (ANNA, BERT)[which]
        if what == "post":
            last[which] += 1
            assert home.post([posted(who, b"x", life + number)], life) == [last[which]]
            model[which].append((last[which], life + number))
        elif what == "ack":
            home.acknowledge(who, number)
            model[which] = [row for row in model[which] if row[0] > number]
        else:
            life += number
            home.forget(life)
            model = [[row for row in rows if row[1] > life] for rows in model]
        for index, each in enumerate((ANNA, BERT)):
            assert [seq for seq, _ in home.waiting(each, life, 99, ROOM)] == [seq for seq, _ in model[index]]
            assert home.last(each) == last[index]
    assert home.counts().messages == sum(map(len, model))

"""What waits for other domains: numbered without gaps, kept once, within its room, and remembered when it is gone."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from qpq.crypto.identity import Address
from qpq.mesh.parcel import Parcel
from qpq.mesh.records import FederationInsert, KnownInsert
from qpq.store.database import Database
from qpq.store.faults import StoreFullError
from qpq.store.federation import Parcels, Waiting

if TYPE_CHECKING:
    from pathlib import Path

ANNA, BERT = Address(b"a" * 32), Address(b"b" * 32)
ROOM = 1 << 20


def parcel(number: int, domain: str = "berlin.example", **changes: object) -> Parcel:
    name = number.to_bytes(32, "big")
    made = Parcel(0, 0, domain, "", name, ANNA, BERT, b"e" * 100, 3600, 1000, 0)
    return replace(made, **changes)  # type: ignore[arg-type]


def of_the_mesh(number: int, domain: str = "berlin.example") -> FederationInsert:
    return FederationInsert(0, domain, number.to_bytes(32, "big"), ANNA, BERT, b"e" * 100, 3600, 1000)


def test_numbers_have_no_gaps_whatever_fails_or_comes_twice(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "db"))
    parcels = Parcels(database, 2000)
    assert parcels.keep(parcel(1)) == 1
    assert parcels.keep(parcel(1)) == 1
    with pytest.raises(StoreFullError):
        parcels.keep(parcel(2, data=bytes(3000)))
    database.apply((of_the_mesh(2),))
    database.apply((of_the_mesh(2),))
    parcels.done([1, 2], 1500)
    assert parcels.forget(10_000) == 0
    assert parcels.keep(parcel(3)) == 3
    assert parcels.keep(parcel(4), done=1600) == 4
    database.close()


def test_what_came_from_the_mesh_waits_like_all_else_and_is_there_after_a_restart(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "db"))
    database.apply((of_the_mesh(1), KnownInsert(b"k" * 32, 5)))
    database.close()
    database = Database(str(tmp_path / "db"))
    assert Parcels(database, ROOM).due("berlin.example", 0, 10) == [parcel(1, seq=1)]
    database.close()


def test_a_transaction_that_fails_keeps_nothing_of_it(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "db"), max_bytes=1 << 20)
    big = replace(of_the_mesh(1), data=bytes(1 << 20))
    with pytest.raises(StoreFullError, match=r"too much waits for berlin\.example"):
        database.apply((of_the_mesh(2), big))
    assert Parcels(database, ROOM).due("berlin.example", 0, 10) == []
    database.apply((of_the_mesh(3),))
    assert Parcels(database, ROOM).known(0, of_the_mesh(3).envelope_id, 0) == 1
    database.close()


def test_messages_of_the_own_mesh_have_no_more_room_than_those_of_others() -> None:
    database = Database(":memory:", max_bytes=1 << 20)
    rows = [replace(of_the_mesh(number), data=bytes(32_000)) for number in range(20)]
    for row in rows[:4]:
        database.apply((row,))
    with pytest.raises(StoreFullError, match="too much waits for"):
        database.apply((rows[4],))
    (waiting,) = Parcels(database, ROOM).waiting()
    assert (1 << 17) - 33_000 < waiting.size <= 1 << 17  # half of a quarter
    database.close()


def test_rows_are_handed_out_by_domain_oldest_first_and_again_when_they_are_due() -> None:
    parcels = Parcels(Database(":memory:"), ROOM)
    for number in range(1, 6):
        parcels.keep(parcel(number, "berlin.example" if number % 2 else "munich.example"))
    assert [row.seq for row in parcels.due("berlin.example", 0, 2)] == [1, 3]
    parcels.later([(1, 50), (3, 20)])
    assert [row.seq for row in parcels.due("berlin.example", 0, 9)] == [5]
    assert [(row.seq, row.tries) for row in parcels.due("berlin.example", 50, 9)] == [(5, 0), (3, 1), (1, 1)]
    parcels.done([5], 60)
    assert parcels.next_due("berlin.example") == 20
    parcels.done([1, 3], 60)
    assert parcels.next_due("berlin.example") is None
    assert parcels.due("berlin.example", 99, 9) == []


def test_what_was_handed_on_is_known_until_it_would_have_expired() -> None:
    parcels = Parcels(Database(":memory:"), ROOM)
    parcels.keep(parcel(1))
    parcels.done([1], 1100)
    parcels.keep(parcel(2))
    assert parcels.known(0, parcel(1).envelope_id, 1099) == 1
    assert parcels.known(0, parcel(1).envelope_id, 1100) is None
    assert parcels.known(0, parcel(2).envelope_id, 9999) == 2
    assert parcels.known(1, parcel(1).envelope_id, 0) is None
    assert parcels.forget(4599) == 0
    assert parcels.forget(4600) == 1
    assert parcels.known(0, parcel(1).envelope_id, 0) is None
    assert parcels.keep(parcel(1)) == 3


def test_what_was_handed_on_and_comes_again_goes_its_way_again_under_its_number() -> None:
    parcels = Parcels(Database(":memory:"), ROOM)
    assert parcels.keep(parcel(1)) == 1
    parcels.later([(1, 5000)])
    parcels.done([1], 1100)
    assert parcels.keep(parcel(1, born=2000)) == 1
    assert parcels.due("berlin.example", 0, 9) == [parcel(1, seq=1, born=2000)]
    parcels.done([1], 2100)
    assert parcels.keep(parcel(1), done=2200) == 1
    assert parcels.due("berlin.example", 9999, 9) == []
    assert parcels.known(0, parcel(1).envelope_id, 2150) == 1


def test_a_domain_that_is_cut_off_leaves_room_for_others() -> None:
    parcels = Parcels(Database(":memory:"), 6000)
    for number in range(1, 11):
        parcels.keep(parcel(number))
    with pytest.raises(StoreFullError, match=r"too much waits for berlin\.example already"):
        parcels.keep(parcel(11))
    assert parcels.waiting() == [Waiting("berlin.example", 10, 0, 3000)]
    for number in range(100, 110):
        parcels.keep(parcel(number, f"d{number}.example", origin="munich.example"))
    with pytest.raises(StoreFullError, match="for other domains is full"):
        parcels.keep(parcel(110, "d110.example"))
    assert sum(row.size for row in parcels.waiting()) == 6000
    assert sum(row.foreign for row in parcels.waiting()) == 10
    parcels.done([1], 1500)
    assert parcels.keep(parcel(500)) == 21


def test_a_store_without_domains_has_no_tables_for_them(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "db"))
    names = database._read("SELECT name FROM sqlite_master WHERE name LIKE 'federation%'", ())
    assert names == []
    database.close()


def test_ten_thousand_wait_and_go_in_order() -> None:
    parcels = Parcels(Database(":memory:", max_bytes=1 << 28), 1 << 26)
    order = list(range(1, 10_001))
    random.Random(5).shuffle(order)  # noqa: S311 (a seed)
    for number in order:
        parcels.keep(parcel(number))
    seen: list[int] = []
    while batch := parcels.due("berlin.example", 0, 512):
        seen += [int.from_bytes(row.envelope_id, "big") for row in batch]
        parcels.done([row.seq for row in batch], 1)
    assert seen == order


def test_what_was_handed_on_is_forgotten_when_much_has_come_since_and_what_waits_never_is() -> None:
    database = Database(":memory:")
    parcels = Parcels(database, ROOM)
    cap = ROOM // 8 // 200
    waits = parcels.keep(parcel(0, "far.example"))
    for number in range(1, 3 * cap):
        parcels.keep(parcel(number), done=1500)
    with database.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM federation").fetchone()[0] <= cap + 64 + 1
    assert [row.seq for row in parcels.due("far.example", 9999, 9)] == [waits]
    assert parcels.known(0, parcel(3 * cap - 1).envelope_id, 0) == 3 * cap
    assert parcels.known(0, parcel(1).envelope_id, 0) is None
    assert parcels.keep(parcel(1), done=1600) == 3 * cap + 1

"""Clients' inboxes and what waits for other domains, after a power cut where the store is in RAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from flash_kit import COMMIT, Flash

from qpq.crypto.identity import Address
from qpq.mesh.parcel import Parcel
from qpq.mesh.records import FederationInsert, InboxInsert
from qpq.store import reloading
from qpq.store.codec import Sealed
from qpq.store.database import Database
from qpq.store.dump import Dump
from qpq.store.federation import Parcels
from qpq.store.home import HomeTables, Posted
from qpq.store.oplog import HEAD, HomeExpired, HomePosted, HomeRead, Stopped, block, read
from qpq.store.snapshot import CLIENT_BURST, CLIENT_RATE, MAX_BYTES, PURGE_RATE, PURGE_S, RATE

if TYPE_CHECKING:
    from pathlib import Path

ANNA, BERT = Address(b"a" * 32), Address(b"b" * 32)
ROOM = 1 << 20
LIFE = 10
HOUR = 3600.0


@pytest.fixture
def flash(tmp_path: Path) -> Flash:
    return Flash(tmp_path).boot()


def clients(flash: Flash) -> HomeTables:
    return HomeTables(flash.keeper.database, ROOM, flash.keeper.note)


def post(tables: HomeTables, *payloads: bytes, recipient: bytes = ANNA, ends: int = 1000) -> list[int]:
    numbers = tables.post([Posted(recipient, payload, ends) for payload in payloads], LIFE)
    assert all(isinstance(number, int) for number in numbers)
    return numbers  # type: ignore[return-value]


def waiting(tables: HomeTables, recipient: bytes = ANNA) -> list[tuple[int, bytes]]:
    return tables.waiting(recipient, LIFE, 10_000, ROOM)


def domains(flash: Flash) -> Parcels:
    return Parcels(flash.keeper.database, ROOM, flash.keeper.snapshot.custody_changed)


def parcel(number: int, *, domain: str = "berlin.example", origin: str = "", kind: int = 0) -> Parcel:
    return Parcel(0, kind, domain, origin, number.to_bytes(32, "big"), ANNA, BERT, b"envelope %d" % number, 600, 1, 2)


def of_the_mesh(number: int) -> FederationInsert:
    return FederationInsert(0, "berlin.example", number.to_bytes(32, "big"), ANNA, BERT, b"inside %d" % number, 600, 1)


def incoming(number: int) -> InboxInsert:
    identifier = number.to_bytes(16, "big")
    return InboxInsert(ANNA, identifier, BERT, identifier * 2, f"text {number}", False, 0, 7, 200, None)


def kept(flash: Flash) -> list[tuple[int, int, str, bytes]]:
    return [(row.seq, row.kind, row.origin, row.data) for row in domains(flash).due("berlin.example", 99, 100)]


# --- clients --------------------------------------------------------------------------------------------


def test_what_a_client_was_promised_is_there_after_a_power_cut_five_seconds_later(flash: Flash) -> None:
    tables = clients(flash)
    assert post(tables, b"one", b"two") == [1, 2]
    assert post(tables, b"for bert", recipient=BERT) == [1]
    flash.run(5.0)
    tables = clients(flash.power_cut())
    assert waiting(tables) == [(1, b"one"), (2, b"two")]
    assert waiting(tables, BERT) == [(1, b"for bert")]
    assert tables.counts().messages == 3
    assert tables.last(ANNA) == 2


def test_what_a_client_has_acknowledged_does_not_come_back_and_leaves_the_flash(flash: Flash) -> None:
    tables = clients(flash)
    post(tables, b"secret one", b"two")
    flash.run(5.0)
    tables.acknowledge(ANNA, 1)
    flash.run(5.0)
    flash = flash.power_cut()
    assert waiting(clients(flash)) == [(2, b"two")]
    post(clients(flash), b"secret three")
    flash.run(5.0)
    clients(flash).acknowledge(ANNA, 1 << 40)
    flash.run(PURGE_S + MAX_BYTES / PURGE_RATE)
    with open(flash.path, "rb") as file:
        assert b"secret" not in file.read()


def test_what_has_expired_does_not_come_back_and_leaves_the_flash(flash: Flash) -> None:
    tables = clients(flash)
    post(tables, b"secret one", ends=20)
    post(tables, b"two", ends=900)
    flash.run(5.0)
    assert tables.forget(20) == 1
    flash.run(PURGE_S + MAX_BYTES / PURGE_RATE)
    with open(flash.path, "rb") as file:
        assert b"secret one" not in file.read()
    assert waiting(clients(flash.power_cut())) == [(2, b"two")]


def test_no_number_is_given_out_twice_when_the_last_seconds_are_lost(flash: Flash) -> None:
    given = post(clients(flash), b"one", b"two")
    flash.run(5.0)
    for _ in range(3):
        given += post(clients(flash), b"lost", b"lost too")
        flash = flash.power_cut().boot()
        tables = clients(flash)
        assert tables.last(ANNA) in given
        given += post(tables, b"kept")
        flash.run(5.0)
    assert len(set(given)) == len(given)
    assert given == sorted(given)
    assert [data for _, data in waiting(clients(flash))] == [b"one", b"two", b"kept", b"kept", b"kept"]


def test_after_a_stop_in_order_numbers_go_on_without_a_gap(flash: Flash) -> None:
    post(clients(flash), b"one", b"two")
    clients(flash).acknowledge(ANNA, 2)
    for number in (3, 4):
        flash.keeper.close()
        flash = flash.power_cut().boot()
        assert post(clients(flash), b"more") == [number]


def test_an_empty_inbox_keeps_its_number_when_the_file_is_written_anew(flash: Flash) -> None:
    tables = clients(flash)
    post(tables, b"one", b"two")
    tables.acknowledge(ANNA, 2)
    flash.run(HOUR)
    tables = clients(flash.power_cut())
    assert (waiting(tables), tables.last(ANNA)) == ([], 2)


def test_a_busy_client_wears_out_no_flash_and_keeps_no_user_waiting(flash: Flash) -> None:
    tables = clients(flash)
    flash.run(60.0)
    written, late = 0, 0
    for minute in range(120):
        for _ in range(100):
            post(tables, bytes(400))
        tables.acknowledge(ANNA, tables.last(ANNA))
        flash.keeper.apply((incoming(minute),))
        written += flash.run(5.0)
        with open(flash.path, "rb") as file:
            late += f"text {minute}".encode() not in file.read()
        written += flash.run(55.0)
    assert written < 2 * HOUR * RATE + 3 * MAX_BYTES
    assert late == 0
    assert written > HOUR * CLIENT_RATE
    after = flash.power_cut()
    assert len(after.keeper.database.inbox(ANNA, limit=1000)) == 120
    assert CLIENT_BURST < MAX_BYTES


def test_clients_have_their_part_of_a_snapshot_behind_what_users_have() -> None:
    database = Database(":memory:")
    tables = HomeTables(database, ROOM)
    database.apply([incoming(number) for number in range(60)])
    post(tables, *[bytes(900) for _ in range(400)])
    dump = Dump(database, 64 * 1024)
    assert sum(map(len, dump.items)) <= 64 * 1024
    again = Database(":memory:")
    reloading._apply_all(again, read(HEAD + block(dump.items))[0])
    assert len(again.inbox(ANNA, limit=100)) == 60
    found = waiting(HomeTables(again, ROOM))
    assert 5 < len(found) < 20
    assert found[-1][0] == 400
    assert dump.left_out == 400 - len(found)


def test_doing_it_again_changes_nothing_and_a_sealed_store_stays_sealed() -> None:
    database = Database(":memory:", codec=Sealed(b"k" * 32))
    operations = [
        HomePosted(ANNA, 1, 99, b"secret"),
        HomePosted(ANNA, 2, 99, b"two"),
        HomeRead(ANNA, 1),
        HomeExpired(5),
        Parcel(7, 0, "b.example", "", b"i" * 32, ANNA, BERT, b"envelope", 600, 1, 2),
        Stopped(),
    ]
    for _ in range(2):
        reloading._apply(database, operations)
    tables = HomeTables(database, ROOM)
    assert waiting(tables) == [(2, b"two")]
    assert tables.counts().messages == 1
    assert [row.rows for row in Parcels(database, ROOM).waiting()] == [1]
    with database.transaction() as connection:
        stored = connection.execute("SELECT data FROM home_message").fetchone()[0]
    assert b"two" not in stored


# --- other domains --------------------------------------------------------------------------------------


def test_what_waits_for_other_domains_is_as_safe_as_what_is_kept_for_others(flash: Flash) -> None:
    flash.run(5.0)
    parcels = domains(flash)
    flash.keeper.apply((of_the_mesh(1),))
    parcels.keep(parcel(2, origin="aachen.example"))
    parcels.keep(parcel(3, kind=1))
    gone = parcels.keep(parcel(4))
    parcels.done([gone], 50)
    assert flash.run(HOUR) == 0, "nothing is written before its time"
    assert flash.run(COMMIT) > 0
    flash = flash.power_cut()
    assert kept(flash) == [
        (1, 0, "", b"inside 1"),
        (2, 0, "aachen.example", b"envelope 2"),
        (3, 1, "", b"envelope 3"),
    ]
    row = next(row for row in domains(flash).waiting() if row.domain == "berlin.example")
    assert (row.rows, row.foreign) == (3, 1)


def test_a_stop_in_order_saves_all_that_waits(flash: Flash) -> None:
    flash.keeper.apply((of_the_mesh(1),))
    domains(flash).keep(parcel(2))
    flash.keeper.close()
    flash = flash.power_cut().boot()
    assert [row[0] for row in kept(flash)] == [1, 2]
    assert domains(flash).keep(parcel(3)) == 3


def test_what_was_taken_after_the_last_writing_is_lost_and_its_numbers_are_not_given_again(flash: Flash) -> None:
    domains(flash).keep(parcel(1))
    flash.run(COMMIT + 5)
    assert domains(flash).keep(parcel(2)) == 2
    flash = flash.power_cut().boot()
    assert [row[0] for row in kept(flash)] == [1]
    first = domains(flash).keep(parcel(3))
    assert first > 1 << 20
    flash.run(COMMIT + 5)
    assert domains(flash).keep(parcel(4)) == first + 1
    flash = flash.power_cut().boot()
    assert domains(flash).keep(parcel(5)) > first + 1


def test_nothing_is_written_while_nothing_waits_and_nothing_changes(flash: Flash) -> None:
    parcels = domains(flash)
    seq = parcels.keep(parcel(1))
    flash.run(COMMIT + 5)
    parcels.later([(seq, 70)])
    assert parcels.forget(5) == 0
    assert flash.run(3 * COMMIT) == 0
    assert parcels.forget(700) == 1
    assert flash.run(COMMIT) > 0
    assert kept(flash.power_cut()) == []


def test_other_domains_and_others_share_what_users_leave_free() -> None:
    database = Database(":memory:")
    parcels = Parcels(database, ROOM)
    database.apply([incoming(number) for number in range(60)])
    for number in range(2000):
        parcels.keep(parcel(number))
    dump = Dump(database, 64 * 1024)
    assert sum(map(len, dump.items)) <= 64 * 1024
    again = Database(":memory:")
    reloading._apply_all(again, read(HEAD + block(dump.items))[0])
    assert len(again.inbox(ANNA, limit=100)) == 60
    assert 50 < Parcels(again, ROOM).waiting()[0].rows < 400

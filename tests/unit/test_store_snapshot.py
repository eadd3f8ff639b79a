"""A store in RAM with its snapshot on flash: nothing of a user's is lost to a power cut, and flash is spared."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from flash_kit import COMMIT, Flash

from cores import World
from qpq.crypto.identity import Address, Identity
from qpq.mesh.effects import State
from qpq.mesh.parcel import Parcel
from qpq.mesh.records import (
    BundleDelete,
    BundlePut,
    Checkpoint,
    InboxInsert,
    InboxMark,
    KnownDelete,
    KnownInsert,
    MessageDelete,
    OutboxInsert,
    OutboxReseal,
    OutboxState,
    PrekeyDelete,
    PrekeyPut,
    ProofInsert,
    RelayCopies,
    RelayDelete,
    Relayed,
    RelayInsert,
    SessionDelete,
    SessionPut,
    TombstoneDelete,
    TombstoneInsert,
    UserDelete,
)
from qpq.store import keyring_file, oplog, reloading
from qpq.store.database import Database
from qpq.store.dump import Dump
from qpq.store.faults import StoreDamagedError, StoreError, StoreTooNewError
from qpq.store.oplog import (
    HEAD,
    Booted,
    HomeExpired,
    HomeLast,
    HomePosted,
    HomeRead,
    Seen,
    Stopped,
    block,
    item,
    read,
)
from qpq.store.reloading import load
from qpq.store.snapshot import BURST, MAX_BYTES, PURGE_RATE, PURGE_S, RATE, RETRY_S, SOON_S, Job, Snapshot, write

if TYPE_CHECKING:
    from pathlib import Path

    from qpq.store.oplog import Logged

ANNA = Address(b"a" * 32)
BERT = Address(b"b" * 32)
NODE = Identity(b"n" * 32)
PLENTY = 4 << 20


def outgoing(number: int, *, state: State = State.QUEUED, size: int = 300) -> OutboxInsert:
    message, envelope = number.to_bytes(16, "big"), bytes(size) if state is State.QUEUED else b""
    identifier = number.to_bytes(32, "big") if envelope else b""
    sealed = number % 2 == 1 if envelope else None
    return OutboxInsert(ANNA, message, identifier, BERT, envelope, f"to {number}", True, 9, 1, 2, state, sealed)


def incoming(number: int, *, size: int = 100, via: Identity | None = NODE, channel: bytes = b"") -> InboxInsert:
    text = f"{number} ".ljust(size, "x")
    return InboxInsert(
        ANNA, number.to_bytes(16, "big"), BERT, number.to_bytes(32, "big"), text, False, 0, 7, size + 128, via, channel
    )


def tombstone(number: int, expires: int = 99) -> TombstoneInsert:
    return TombstoneInsert(ANNA, number.to_bytes(32, "big"), BERT, b"m" * 16, b"s" * 16, b"h" * 32, expires)


def relay(number: int, *, via: Identity | None = NODE, size: int = 300, to: bytes = BERT) -> RelayInsert:
    identifier = sha256(b"%d" % number).digest()
    return RelayInsert(identifier, bytes(size), ANNA, to, via, False, 9, number, 2, 32, 4)


def session(number: int, *, size: int = 400, user: Address = ANNA) -> SessionPut:
    return SessionPut(user, BERT, number.to_bytes(8, "big"), number, bytes([number % 256]) * size)


def prekey(number: int, *, size: int = 33) -> PrekeyPut:
    return PrekeyPut(ANNA, number.to_bytes(8, "big"), number % 2, number, bytes([number % 256]) * size)


def bundle(number: int) -> BundlePut:
    return BundlePut(ANNA, Address(number.to_bytes(32, "big")), number, b"bundle")


def everything() -> list[Logged]:
    """One of each, as a store would be told."""
    return [
        Booted(7),
        Checkpoint(77, 1_800_000_000),
        outgoing(1),
        outgoing(2, state=State.DELIVERED),
        OutboxState(ANNA, outgoing(1).message_id, State.RELAYED, 3),
        incoming(1),
        incoming(2, via=None, channel=b"c" * 16),
        Seen(ANNA, incoming(1).message_id, BERT),
        tombstone(3),
        relay(1),
        relay(2, via=None, to=b"c" * 16),
        ProofInsert(b"p" * 32, b"s" * 16, b"h" * 32, 9),
        KnownInsert(b"k" * 32, 8),
        session(1),
        prekey(1),
        bundle(1),
    ]


def contents(database: Database) -> tuple[Any, ...]:
    """Return all that a store holds, as people and the core see it, but for row numbers."""
    inbox = [replace(entry, number=0) for entry in database.inbox(ANNA, limit=10_000)]
    outbox = [replace(entry, number=0) for entry in database.outbox(ANNA, limit=10_000)]
    rows = list(database.restore())
    envelopes = [database.envelope(row.envelope_id) for row in rows if hasattr(row, "envelope_id")]
    return inbox, outbox, sorted(rows, key=repr), envelopes.sort(key=repr), database.numbers()


def fresh(*operations: Logged) -> Database:
    database = Database(":memory:")
    reloading._apply(database, operations)
    return database


@pytest.fixture
def flash(tmp_path: Path) -> Flash:
    return Flash(tmp_path).boot()


# --- bytes --------------------------------------------------------------------------------------


def test_every_operation_comes_back_as_it_was() -> None:
    more: list[Logged] = [
        MessageDelete(ANNA, b"m" * 16),
        UserDelete(BERT),
        TombstoneDelete(ANNA, b"t" * 32),
        OutboxReseal(ANNA, b"m" * 16, b"e" * 32, b"sealed", sealed=True),
        SessionDelete(ANNA, BERT, b"s" * 8),
        PrekeyDelete(ANNA, b"p" * 8),
        BundleDelete(ANNA, BERT),
        Stopped(),
        Parcel(7, 0, "b.example", "c.example", b"i" * 32, ANNA, BERT, b"envelope", 60, 3, 1, 2),
        HomePosted(ANNA, 1 << 40, 99, b"payload"),
        HomeRead(ANNA, 5),
        HomeExpired(77),
        HomeLast(ANNA, 9),
        InboxMark(ANNA, b"m" * 16, BERT, b"c" * 16, "b.example"),
    ]
    operations = everything() + more
    assert {type(operation) for operation in operations} == set(oplog.TYPES)
    data = HEAD + block(map(item, operations[:5])) + block(map(item, operations[5:]))
    assert read(data) == (operations, len(data))


def test_the_fields_of_the_operations_are_those_that_version_5_of_the_snapshot_has() -> None:
    """Whoever changes a record that is kept has to raise the version in ``oplog.HEAD``."""
    fields = [(kind.__name__, list(kind.__slots__)) for kind in oplog.TYPES]
    digest = sha256(repr(fields).encode()).hexdigest()[:16]
    assert (HEAD, digest) == (b"qpqsnap5", VERSION_5), fields


VERSION_5 = "41498eead098e8df"

# Written by the program that knew only version 1: outgoing(1, size=10), outgoing(2, state=State.DELIVERED),
# relay(2, via=None, size=10) and incoming(1, size=10).
VERSION_1 = bytes.fromhex(
    "717071736e617031000002285549e6060000008e8c02582061616161616161616161616161616161616161616161616161616161"
    "61616161500000000000000000000000000000000158200000000000000000000000000000000000000000000000000000000000"
    "000001582062626262626262626262626262626262626262626262626262626262626262624a0000000000000000000064746f20"
    "31f509010200000000638c0258206161616161616161616161616161616161616161616161616161616161616161500000000000"
    "000000000000000000000240582062626262626262626262626262626262626262626262626262626262626262624064746f2032"
    "f5090102020000007b8c0a5820d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab354a000000000000"
    "00000000582061616161616161616161616161616161616161616161616161616161616161615820626262626262626262626262"
    "626262626262626262626262626262626262626240f4090202182004000000ac8c04582061616161616161616161616161616161"
    "61616161616161616161616161616161500000000000000000000000000000000158206262626262626262626262626262626262"
    "626262626262626262626262626262582000000000000000000000000000000000000000000000000000000000000000016a3120"
    "7878787878787878f40007188a58206e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e40"
)


def test_a_snapshot_of_version_1_is_read_and_written_anew(tmp_path: Path) -> None:
    operations, whole = read(VERSION_1)
    sent, delivered = outgoing(1, size=10), outgoing(2, state=State.DELIVERED)
    assert operations == [
        replace(sent, sealed=None),
        delivered,
        relay(2, via=None, size=10),
        incoming(1, size=10),
    ]
    assert whole == 0
    flash = Flash.__new__(Flash)
    (tmp_path / "flash").mkdir()
    (tmp_path / "flash" / "qpq.snap").write_bytes(VERSION_1)
    flash.__init__(tmp_path)  # type: ignore[misc]
    assert [entry.post_quantum for entry in flash.keeper.database.outbox(ANNA)] == [False, None]
    flash.keeper.apply((session(1),))
    flash.run(5.0)
    data = (tmp_path / "flash" / "qpq.snap").read_bytes()
    assert data.startswith(HEAD)
    assert session(1) in list(flash.power_cut().keeper.restore())


def test_a_snapshot_of_version_2_is_read_and_to_be_written_anew() -> None:
    """Its records lack the domains, and why a message was refused."""
    new = [outgoing(1, size=10), OutboxState(ANNA, b"m" * 16, State.RELAYED, 2), incoming(1, size=10)]
    items = []
    for operation in new:
        fields = oplog.decode(item(operation)[4:])
        assert isinstance(fields, list)
        data = oplog.encode(fields[:-1])
        items.append(len(data).to_bytes(4, "big") + data)
    assert read(b"qpqsnap2" + block(items)) == (new, 0)


def test_a_snapshot_of_version_3_is_read_and_to_be_written_anew() -> None:
    """It knows nothing of clients and other domains."""
    blocks = block([item(operation) for operation in everything()])
    assert read(b"qpqsnap3" + blocks) == (everything(), 0)


def test_a_snapshot_of_version_4_is_read_and_to_be_written_anew() -> None:
    """It knows nothing of marks."""
    blocks = block([item(operation) for operation in everything()])
    assert read(b"qpqsnap4" + blocks) == (everything(), 0)


def test_a_mark_that_came_behind_its_message_outlives_a_power_cut(flash: Flash) -> None:
    message = incoming(1, channel=b"c" * 16)
    flash.keeper.apply((message,))
    flash.run(5.0)
    flash.keeper.apply((InboxMark(ANNA, message.message_id, BERT, b"c" * 16, "b.example"),))
    flash.run(5.0)
    assert [entry.domain for entry in flash.power_cut().keeper.database.inbox(ANNA)] == ["b.example"]


def test_what_a_session_was_in_between_is_not_written(flash: Flash) -> None:
    flash.keeper.apply((outgoing(1), session(1, size=100)))
    flash.run(5.0)
    before = flash.keeper.snapshot.size
    for number in range(50):
        flash.keeper.apply((session(1, size=900 - number), session(2)))
    flash.keeper.apply((SessionDelete(ANNA, BERT, session(2).session_id),))
    flash.run(5.0)
    assert 900 < flash.keeper.snapshot.size - before < 1300
    kept = [row for row in flash.power_cut().keeper.restore() if isinstance(row, SessionPut)]
    assert kept == [session(1, size=851)]


def test_sessions_of_a_user_who_is_gone_do_not_come_back(flash: Flash) -> None:
    flash.keeper.apply((session(1, user=BERT), session(1)))
    flash.run(5.0)
    flash.keeper.apply((session(2, user=BERT), session(2)))
    flash.keeper.apply((UserDelete(BERT),))
    flash.run(5.0)
    kept = [row for row in flash.power_cut().keeper.restore() if isinstance(row, SessionPut)]
    assert kept == [session(1), session(2)]


def test_many_sessions_that_change_have_the_file_written_anew(flash: Flash) -> None:
    flash.run(5.0)
    flash.keeper.apply([session(number, size=2000) for number in range(40)])
    flash.run(10.0)
    assert len([row for row in flash.power_cut().keeper.restore() if isinstance(row, SessionPut)]) > 15


def test_keys_have_their_part_of_a_snapshot_behind_what_users_wrote() -> None:
    database = fresh()
    database.apply([incoming(number, size=900) for number in range(200)])
    database.apply([session(number) for number in range(200)])
    database.apply([prekey(number) for number in range(100)])
    database.apply([bundle(number) for number in range(100)])
    again = list(fresh(*read(HEAD + block(Dump(database, 160 * 1024).items))[0]).restore())
    sessions = [row for row in again if isinstance(row, SessionPut)]
    assert 50 < len(sessions) < 100
    assert sessions[-1] == session(199), "those used last go in first"
    assert 10 < len([row for row in again if isinstance(row, PrekeyPut)]) <= 100
    assert 10 < len([row for row in again if isinstance(row, BundlePut)]) <= 100


def test_a_snapshot_cut_at_any_byte_is_read_up_to_its_last_whole_block() -> None:
    blocks = [block([item(operation)]) for operation in everything()]
    data = HEAD + b"".join(blocks)
    for size in range(len(data)):
        operations, whole = read(data[:size])
        assert whole <= size
        assert operations == everything()[: len(operations)]
        if size >= len(HEAD):
            assert whole == len(HEAD) + sum(map(len, blocks[: len(operations)]))


def test_a_bit_that_fell_over_ends_the_reading_there() -> None:
    blocks = [block([item(operation)]) for operation in everything()]
    data = bytearray(HEAD + b"".join(blocks))
    data[len(HEAD) + len(blocks[0]) + 9] ^= 1
    assert read(bytes(data)) == (everything()[:1], len(HEAD) + len(blocks[0]))


def test_a_newer_snapshot_and_what_is_none_are_told_apart() -> None:
    with pytest.raises(StoreTooNewError, match="update the program"):
        read(b"qpqsnap6" + bytes(10))
    for other in (b"my diary", b"qpqsnap0" + bytes(10), HEAD + block([b"\0\0\0\1\xff"]), HEAD + block([b"\0\0"])):
        with pytest.raises(StoreDamagedError):
            read(other)
    for wrong in ([99, 1], [0], [3, ANNA, b"m", 9, 0], [0, b"x" * 200_000, 1]):
        data = oplog.encode(wrong)
        with pytest.raises(StoreDamagedError):
            read(HEAD + block([len(data).to_bytes(4, "big") + data]))


# --- what goes in -------------------------------------------------------------------------------


def test_a_dump_makes_the_same_store_anew() -> None:
    database = fresh(*everything(), *[incoming(number) for number in range(10, 20)])
    again = fresh(*read(HEAD + block(Dump(database, 1 << 20).items))[0])
    assert contents(again) == contents(database)


def test_what_waits_and_what_is_unread_goes_in_first_and_the_newest_of_it() -> None:
    database = fresh(*everything())
    database.apply([outgoing(number) for number in range(100, 200)])
    database.apply([incoming(number) for number in range(100, 400)])
    database.apply([tombstone(number, number) for number in range(100, 500)])
    database.apply([outgoing(number, state=State.DELIVERED) for number in range(500, 900)])
    database.apply([relay(number) for number in range(100, 500)])
    database.apply([KnownInsert(b"%032d" % number, number) for number in range(500)])
    room = 64 * 1024 - 200  # so that no read message fits behind the unread ones
    dump = Dump(database, room)
    assert sum(map(len, dump.items)) <= room
    again = fresh(*read(HEAD + block(dump.items))[0])
    texts = [entry.text for entry in again.inbox(ANNA, limit=1000)]
    assert texts == [entry.text for entry in database.inbox(ANNA, limit=1000)][-len(texts) :]
    assert len(texts) > 70
    waiting = [entry.text for entry in again.outbox(ANNA, limit=1000) if entry.state is State.QUEUED]
    assert waiting == [f"to {number}" for number in range(200 - len(waiting), 200)]
    assert dump.left_out == (302 - len(texts)) + (101 - len(waiting))
    counts = again.counts()
    assert min(counts.tombstones, counts.finished, counts.relayed) > 5


def test_others_messages_have_no_room_that_users_need() -> None:
    database = fresh()
    database.apply([relay(number, size=900) for number in range(500)])
    database.apply([outgoing(number) for number in range(30)])
    database.apply([incoming(number) for number in range(60)])
    again = fresh(*read(HEAD + block(Dump(database, 64 * 1024).items))[0])
    assert (again.counts().waiting, again.counts().inbox) == (30, 60)
    assert again.counts().relayed > 10


# --- power cuts ---------------------------------------------------------------------------------


def test_all_of_a_user_is_there_after_a_power_cut_five_seconds_later(flash: Flash) -> None:
    flash.keeper.apply([operation for operation in everything() if type(operation) not in (Booted, Seen)])  # type: ignore[misc]
    flash.keeper.mark_read(ANNA, flash.keeper.database.inbox(ANNA)[:1])
    flash.run(5.0)
    before = flash.keeper.database.inbox(ANNA), flash.keeper.database.outbox(ANNA)
    after = flash.power_cut()
    assert (after.keeper.database.inbox(ANNA), after.keeper.database.outbox(ANNA)) == before
    rows = list(after.keeper.restore())
    assert tombstone(3) in rows
    assert [row.via for row in rows if isinstance(row, Relayed)] == [None], "the own broadcast, nothing of others yet"
    assert after.keeper.envelope(outgoing(1).envelope_id) == bytes(300)
    assert after.keeper.next_boot() == 2


def test_what_was_deleted_stays_deleted(flash: Flash) -> None:
    flash.keeper.apply((incoming(1), incoming(2), outgoing(5), tombstone(1), tombstone(2)))
    flash.run(5.0)
    flash.keeper.apply((MessageDelete(ANNA, incoming(1).message_id), TombstoneDelete(ANNA, tombstone(1).envelope_id)))
    flash.keeper.apply((OutboxState(ANNA, outgoing(5).message_id, State.DELIVERED, 0),))
    flash.run(5.0)
    flash = flash.power_cut()
    assert [entry.text[:2] for entry in flash.keeper.database.inbox(ANNA)] == ["2 "]
    assert [entry.state for entry in flash.keeper.database.outbox(ANNA)] == [State.DELIVERED]
    assert flash.keeper.database.counts().tombstones == 1
    flash.keeper.apply((UserDelete(ANNA),))
    flash.run(5.0)
    assert flash.power_cut().keeper.database.counts().inbox == 0


def test_a_power_cut_at_any_byte_of_any_write_leaves_a_store_that_opens(flash: Flash, tmp_path: Path) -> None:
    """Cut each write short at every 83rd byte, and at each step of a replacement; then start from what lies there."""
    stages: list[bytes] = []
    for number in range(6):
        flash.keeper.apply((tombstone(number), incoming(number)))
        flash.keeper.apply((relay(number),))
        if number == 3:
            flash.now += COMMIT
        flash.run(5.0)
        with open(flash.path, "rb") as file:
            stages.append(file.read())
    for before, after in pairwise(stages):
        cuts = range(len(before), len(after), 83) if after.startswith(before) else (0,)
        for size in cuts:
            (tmp_path / "cut").mkdir()
            (tmp_path / "cut/flash").mkdir()
            (tmp_path / "cut/flash/qpq.snap").write_bytes(after[:size] if after.startswith(before) else before)
            (tmp_path / "cut/flash/qpq.snap.new").write_bytes(after[: size + 77])
            again = Flash(tmp_path / "cut")
            texts = [entry.text for entry in again.keeper.database.inbox(ANNA)]
            assert len(texts) >= len(fresh(*read(before)[0]).inbox(ANNA))
            assert again.keeper.database.counts().tombstones == len(texts), "a message and its tombstone are not parted"
            again.keeper.next_boot()
            again.keeper.apply((incoming(99),))
            again.run(5.0)
            again = again.power_cut()
            assert [entry.text for entry in again.keeper.database.inbox(ANNA)] == [*texts, incoming(99).text]
            again.keeper.database.close()
            shutil.rmtree(tmp_path / "cut")


@pytest.mark.parametrize("step", ["open", "write", "fsync", "rename", "directory"])
@pytest.mark.parametrize("append", [True, False])
def test_a_power_cut_at_any_step_leaves_the_file_before_or_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, append: bool
) -> None:
    class Cut(BaseException):
        """The power is gone."""

    path = str(tmp_path / "qpq.snap")
    first, second = HEAD + block([item(Booted(1))]), block([item(Booted(2))])
    assert write(path, Job(first, False)) == ""
    new = second if append else HEAD + second

    def cut(*_: object) -> None:
        raise Cut

    with monkeypatch.context() as patched:
        if step == "directory":
            patched.setattr(keyring_file, "_flush_directory", cut)
        else:
            patched.setattr(os, step, cut)
        with suppress(Cut):
            write(path, Job(new, append))
    with open(path, "rb") as file:
        assert file.read() in (first, first + second if append else new)
    assert write(path, Job(HEAD, False)) == "", "what lies beside it is no hindrance"


def test_a_start_that_was_cut_while_the_store_was_made_anew_begins_anew(flash: Flash) -> None:
    flash.keeper.apply((incoming(1), incoming(2)))
    flash.run(5.0)
    flash.keeper.database.set_number("live", 0)
    flash.keeper.database.apply((MessageDelete(ANNA, incoming(1).message_id),))
    flash.keeper.database.close()
    assert len(Flash(flash.folder).keeper.database.inbox(ANNA)) == 2


def test_a_crash_loses_nothing_since_ram_outlives_it_and_flash_is_written_anew(flash: Flash) -> None:
    flash.keeper.apply((incoming(1),))
    flash.keeper.database.close()
    flash = Flash(flash.folder)
    assert len(flash.keeper.database.inbox(ANNA)) == 1
    assert flash.keeper.next_boot() == 2
    assert len(flash.power_cut().keeper.database.inbox(ANNA)) == 1


def test_a_clean_stop_saves_all_and_the_next_start_takes_it_up_without_writing_it_again(flash: Flash) -> None:
    flash.keeper.apply((incoming(1), relay(1), ProofInsert(b"p" * 32, b"s" * 16, b"h" * 32, 9)))
    flash.keeper.close()
    size = os.stat(flash.path).st_size
    again = Flash(flash.folder)
    again.keeper.next_boot()
    assert os.stat(flash.path).st_size - size < 50, "only the number of the start was appended"
    again.keeper.close()
    shutil.rmtree(flash.folder / "ram")
    after = Flash(flash.folder).keeper.database.counts()
    assert (after.inbox, after.relayed, after.proofs) == (1, 1, 1)


def test_a_live_store_that_is_damaged_is_made_anew_from_flash(flash: Flash) -> None:
    flash.keeper.apply((incoming(1),))
    flash.keeper.close()
    with open(flash.live, "wb") as file:
        file.write(b"?" * 5000)
    assert len(Flash(flash.folder).keeper.database.inbox(ANNA)) == 1


def test_a_snapshot_that_is_taken_away_while_the_node_is_off_is_made_anew(flash: Flash) -> None:
    flash.keeper.apply((incoming(1),))
    flash.keeper.close()
    os.unlink(flash.path)
    again = Flash(flash.folder).boot()
    assert len(again.power_cut().keeper.database.inbox(ANNA)) == 1


@pytest.mark.parametrize("content", [b"my diary of this year", b"qpqsnap9" + bytes(20)])
def test_a_snapshot_that_is_damaged_or_newer_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "flash").mkdir()
    (tmp_path / "flash/qpq.snap").write_bytes(content)
    for _ in range(2):
        with pytest.raises((StoreDamagedError, StoreTooNewError)):
            Flash(tmp_path)
    assert (tmp_path / "flash/qpq.snap").read_bytes() == content


def test_a_snapshot_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "flash/qpq.snap").mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be read"):
        Flash(tmp_path)


def test_a_smaller_store_takes_of_a_snapshot_what_has_room(tmp_path: Path) -> None:
    path = str(tmp_path / "qpq.snap")
    operations = [incoming(number, size=3000) for number in range(60)]
    assert write(path, Job(HEAD + block(map(item, operations)), False)) == ""
    database = Database(":memory:", max_bytes=120_000)
    assert load(path, database) == (os.stat(path).st_size,) * 2
    assert 10 < len(database.inbox(ANNA)) < 60


# --- flash is spared ----------------------------------------------------------------------------


def test_nothing_is_written_while_nothing_changes(flash: Flash) -> None:
    flash.run(10.0)
    assert flash.run(48 * 3600.0) == 0
    flash.keeper.apply((Checkpoint(5, 0),))
    assert flash.run(48 * 3600.0) == 0, "the clock of life alone is worth no write"
    flash.keeper.apply((incoming(1),))
    assert 0 < flash.run(10.0) < 600
    assert flash.run(48 * 3600.0) == 0
    assert flash.power_cut().keeper.database.numbers()["life"] == 5, "it rides along"


def test_what_is_kept_for_others_is_written_every_commit_interval_if_it_changed(flash: Flash) -> None:
    flash.run(10.0)
    flash.keeper.apply((relay(1), relay(2), KnownInsert(b"k" * 32, 9)))
    assert flash.run(COMMIT - 100.0) == 0
    assert flash.run(100.0) > 600
    for operation in (RelayCopies(relay(1).envelope_id, 1), RelayDelete(relay(2).envelope_id), KnownDelete(b"k" * 32)):
        flash.keeper.apply((operation,))
        assert flash.run(COMMIT) > 300
    assert flash.run(10 * COMMIT) == 0
    after = flash.power_cut().keeper
    assert [row.copies for row in after.restore() if isinstance(row, Relayed)] == [1]


def test_changes_that_come_together_are_written_together(flash: Flash) -> None:
    flash.run(10.0)
    woken = flash.woken
    for number in range(10):
        flash.keeper.apply((incoming(number),))
        flash.now += 0.125
    assert flash.woken == woken + 1
    assert flash.keeper.snapshot.due(flash.now) == flash.now - 1.25 + SOON_S
    assert flash.keeper.take() is None, "not yet"
    assert flash.run(5.0) < 10 * 600


def test_the_file_never_has_more_than_its_bytes_and_is_written_anew_rarely(flash: Flash) -> None:
    largest, anew, appended = 0, 0, 0
    for number in range(900):
        flash.keeper.apply((incoming(number, size=400), tombstone(number, number)))
        if number >= 80:
            flash.keeper.apply((MessageDelete(ANNA, incoming(number - 80).message_id),))
        before = flash.keeper.snapshot.size
        written = flash.run(60.0)
        largest = max(largest, flash.keeper.snapshot.size, os.stat(flash.path).st_size)
        assert flash.keeper.snapshot.size == os.stat(flash.path).st_size
        anew += flash.keeper.snapshot.size < before
        appended += written
    assert largest <= MAX_BYTES
    assert 1 <= anew <= 120, "for what was deleted, and at half of the rate for that"
    assert appended < 5 * 900 * 800 + 900 * 60 * PURGE_RATE
    after = flash.power_cut().keeper.database
    assert [entry.text for entry in after.inbox(ANNA)] == [
        incoming(number, size=400).text for number in range(820, 900)
    ]


def on_flash(flash: Flash) -> bytes:
    with open(flash.path, "rb") as file:
        return file.read()


@pytest.mark.parametrize("how", ["deleted", "expired", "removed"])
def test_what_was_deleted_leaves_flash_within_a_minute_and_nothing_more_is_written(flash: Flash, how: str) -> None:
    flash.keeper.apply((incoming(1), outgoing(2)))
    flash.run(10.0)
    text = b"to 2" if how == "expired" else b"1 xxx"
    assert text in on_flash(flash)
    operation = {
        "deleted": MessageDelete(ANNA, incoming(1).message_id),
        "expired": OutboxState(ANNA, outgoing(2).message_id, State.EXPIRED, 0),
        "removed": UserDelete(ANNA),
    }[how]
    flash.keeper.apply((operation,))
    flash.run(PURGE_S + 1)
    assert text not in on_flash(flash)
    assert flash.run(86_400.0) == 0
    flash.power_cut()


def test_deletions_without_end_cost_flash_half_of_its_rate(flash: Flash) -> None:
    flash.keeper.apply([incoming(number, size=1500) for number in range(100)])
    flash.run(10.0)
    written = 0
    for number in range(100, 600):
        gone = MessageDelete(ANNA, incoming(number - 100).message_id)
        flash.keeper.apply((incoming(number, size=20), gone))
        written += flash.run(60.0)
    assert written <= 500 * 60 * PURGE_RATE + 500 * 600 + 2 * MAX_BYTES


def test_a_clean_stop_leaves_nothing_of_what_was_deleted(flash: Flash) -> None:
    flash.keeper.apply((incoming(1),))
    flash.run(10.0)
    flash.keeper.apply((MessageDelete(ANNA, incoming(1).message_id),))
    flash.keeper.close()
    assert b"1 xxx" not in on_flash(flash)


def test_no_more_than_its_rate_is_written_for_long_and_later_all_is_there(flash: Flash) -> None:
    written = 0
    for number in range(600):
        flash.keeper.apply(
            (incoming(number, size=3000), MessageDelete(ANNA, incoming(number - 1).message_id if number else b"-"))
        )
        written += flash.run(5.0)
    assert written <= BURST + 3000 * RATE + MAX_BYTES
    flash.run(3600.0)
    assert [entry.text[:4] for entry in flash.power_cut().keeper.database.inbox(ANNA)] == ["599 "]


def test_a_burst_of_changes_is_not_held_in_memory(flash: Flash) -> None:
    flash.run(10.0)
    for number in range(100):
        flash.keeper.apply((incoming(number, size=3000),))
        assert flash.keeper.snapshot._pending_bytes <= 64 * 1024
    flash.run(1000.0)
    assert len(saved(flash)) == 100 - left_out(flash)


def left_out(flash: Flash) -> int:
    problem = flash.keeper.snapshot.problem
    assert problem.endswith("delete some") or not problem
    return int(problem.split()[0]) if problem else 0


# --- no room, no flash --------------------------------------------------------------------------


class Books:
    """A snapshot without a file, for what it decides."""

    def __init__(self) -> None:
        self.database = fresh()
        self.snapshot = Snapshot(self.database, commit_s=COMMIT, now=0.0, wake=lambda: None)

    def put(self, *operations: Any) -> None:
        self.database.apply(operations)
        self.snapshot.note(operations, 0.0)


def test_never_more_than_half_of_what_is_free_is_taken() -> None:
    books = Books()
    books.put(*[incoming(number, size=1000) for number in range(200)])
    for free in (400_000, 100_000, 40_000):
        job = books.snapshot.take(SOON_S, free, stop=True)
        assert job is not None
        assert len(job.data) <= free // 2
        books.snapshot.done(job, "the medium is gone", SOON_S)
    assert books.snapshot.take(SOON_S, 30_000, stop=True) is None
    assert "half of what is free" in books.snapshot.problem
    assert books.snapshot.due(SOON_S) == SOON_S + RETRY_S
    assert books.snapshot.take(SOON_S, PLENTY) is None, "not before its time"
    assert books.snapshot.take(SOON_S, PLENTY, stop=True) is not None


def test_an_append_that_has_no_room_waits() -> None:
    books = Books()
    books.snapshot.found(100, 100)
    books.put(incoming(1, size=3000))
    assert books.snapshot.take(SOON_S, 5000) is None
    assert books.snapshot.problem


def test_a_write_that_failed_is_made_good_by_writing_all_anew(flash: Flash, monkeypatch: pytest.MonkeyPatch) -> None:
    flash.run(10.0)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    flash.keeper.apply((incoming(1), relay(1)))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        flash.run(5.0)
    assert flash.keeper.snapshot.problem == "No space left on device"
    assert flash.run(RETRY_S - 10.0) == 0
    assert flash.run(20.0) > 0
    assert flash.keeper.snapshot.problem == ""
    assert len(flash.power_cut().keeper.database.inbox(ANNA)) == 1


def test_a_write_of_a_part_is_a_failure(flash: Flash, monkeypatch: pytest.MonkeyPatch) -> None:
    flash.run(10.0)
    flash.keeper.apply((incoming(1),))
    with monkeypatch.context() as patched:
        real = os.write
        patched.setattr(os, "write", lambda handle, data: real(handle, data[: len(data) // 2]))
        flash.run(5.0)
    assert "in part" in flash.keeper.snapshot.problem
    assert saved(flash) == []
    flash.run(RETRY_S)
    assert len(saved(flash)) == 1


def saved(flash: Flash) -> list[str]:
    with open(flash.path, "rb") as file:
        return [entry.text for entry in fresh(*read(file.read())[0]).inbox(ANNA)]


def test_what_changes_while_a_write_is_under_way_goes_into_the_next(flash: Flash) -> None:
    flash.run(10.0)
    flash.keeper.apply((incoming(1),))
    flash.now += SOON_S
    job = flash.keeper.take()
    assert job is not None
    flash.keeper.apply((incoming(2),))
    assert flash.keeper.snapshot.due(flash.now) is None
    assert flash.keeper.take() is None
    flash.keeper.done(job, write(flash.path, job))
    assert flash.keeper.snapshot.due(flash.now) == flash.now + SOON_S
    flash.run(5.0)
    assert len(flash.power_cut().keeper.database.inbox(ANNA)) == 2


def test_a_node_whose_flash_cannot_be_written_runs_all_the_same(tmp_path: Path) -> None:
    flash = Flash(tmp_path)
    shutil.rmtree(tmp_path / "flash")
    assert flash.keeper.next_boot() == 1
    flash.keeper.apply((incoming(1),))
    flash.run(10.0)
    assert flash.keeper.snapshot.problem
    flash.keeper.close()
    assert len(Database(flash.live).inbox(ANNA)) == 1


def test_a_store_that_fails_while_it_is_read_is_a_problem_that_is_told(flash: Flash) -> None:
    flash.keeper.apply((incoming(1), relay(1)))
    flash.keeper.snapshot._anew = True
    flash.keeper.database.close()
    flash.now += SOON_S
    assert flash.keeper.take() is None
    assert "failed" in flash.keeper.snapshot.problem or "cannot" in flash.keeper.snapshot.problem


# --- with cores ---------------------------------------------------------------------------------


def test_nodes_with_two_places_lose_nothing_over_power_cuts_after_five_seconds(tmp_path: Path) -> None:
    world = World(5)
    places = {}
    for name in ("anna", "bert"):
        (tmp_path / name).mkdir()
        places[name] = Flash(tmp_path / name)
    anna, bert = (world.add(name, store=places[name].keeper) for name in places)
    world.meet(anna, bert)
    world.run(1.0)
    sent = []
    for number in range(6):
        sent.append(world.send(anna, bert.user.address, f"{number}"))
        world.run(0.5)
        for place in places.values():
            place.run(5.0)
        victim = (anna, bert)[number % 2]
        world.crash(victim)
        places[victim.name] = places[victim.name].power_cut()
        victim.store = places[victim.name].keeper
        world.start(victim)
        world.meet(anna, bert)
        world.run(30.0)
    world.run(700.0)
    store = places["bert"].keeper.database
    assert [entry.text for entry in store.inbox(bert.user.address)] == [f"{number}" for number in range(6)]
    assert {entry.state for entry in places["anna"].keeper.database.outbox(anna.user.address)} == {State.DELIVERED}

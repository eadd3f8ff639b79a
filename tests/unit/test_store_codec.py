"""Secret columns, the log and identity.json under a key: sealed, bound to their place, changed whole or not at all."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from qpq.crypto.identity import Address
from qpq.mesh.effects import State
from qpq.mesh.records import InboxInsert, MessageDelete, OutboxInsert, OutboxState
from qpq.store import keyring as keyring_module
from qpq.store import sealing
from qpq.store.codec import BUNDLE_DATA, INBOX_TEXT, OUTBOX_TEXT, OVERHEAD, PLAIN, SESSION_DATA, Sealed
from qpq.store.codec import SEALED_HEAD as SEALED_FORM
from qpq.store.database import Database
from qpq.store.faults import StoreDamagedError, StoreError, StoreFullError, StoreSealedError, StoreTooNewError
from qpq.store.keeper import Keeper
from qpq.store.keyring import Keyring, KeyringDamagedError, KeyringWriteError
from qpq.store.oplog import HEAD, SEALED_HEAD, block, head, item, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ANNA, BERT = Address(b"a" * 32), Address(b"b" * 32)
KEY, OTHER = Sealed(b"k" * 32), Sealed(b"o" * 32)
ROW = (b"user", b"message")
TEXT = "RECOGNISABLE-"


def outgoing(number: int, text: str = TEXT) -> OutboxInsert:
    identifier = number.to_bytes(32, "big")
    text = f"{text}{number}"
    return OutboxInsert(
        ANNA, number.to_bytes(16, "big"), identifier, BERT, b"e" * 300, text, False, 9, 1, 2, State.QUEUED
    )


def incoming(number: int, text: str = TEXT) -> InboxInsert:
    text = f"{text}{number}"
    return InboxInsert(ANNA, number.to_bytes(16, "big"), BERT, number.to_bytes(32, "big"), text, False, 0, 7, 200, None)


def on_disk(folder: Path) -> bytes:
    """Return every byte of every file below."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def texts(database: Database) -> list[str]:
    return [entry.text for entry in (*database.inbox(ANNA), *database.outbox(ANNA))]


# --- values ----------------------------------------------------------------------------------


def test_without_a_key_everything_stands_as_it_is() -> None:
    assert PLAIN.text(OUTBOX_TEXT, ROW, "hi") == PLAIN.read_text(OUTBOX_TEXT, ROW, "hi") == "hi"
    assert PLAIN.data(SESSION_DATA, ROW, b"x") == PLAIN.read_data(SESSION_DATA, ROW, b"x") == b"x"
    with pytest.raises(StoreDamagedError):
        PLAIN.read_text(OUTBOX_TEXT, ROW, b"sealed")


def test_a_sealed_value_is_never_the_same_twice_and_opens_in_its_place_only() -> None:
    one, two = KEY.text(INBOX_TEXT, ROW, "grüße"), KEY.text(INBOX_TEXT, ROW, "grüße")
    assert one != two
    assert len(one) == len("grüße".encode()) + OVERHEAD
    assert KEY.read_text(INBOX_TEXT, ROW, one) == "grüße"
    for place, row in ((OUTBOX_TEXT, ROW), (INBOX_TEXT, (b"user", b"other")), (INBOX_TEXT, (b"userm", b"essage"))):
        with pytest.raises(StoreDamagedError, match="cannot be opened"):
            KEY.read_text(place, row, one)
    with pytest.raises(StoreDamagedError):
        OTHER.read_text(INBOX_TEXT, ROW, one)


def test_what_is_no_sealed_text_is_damage() -> None:
    for stored in (b"", b"short", KEY.data(INBOX_TEXT, ROW, b"\xff\xfe"), "not sealed"):
        with pytest.raises(StoreDamagedError):
            KEY.read_text(INBOX_TEXT, ROW, stored)


def test_every_altered_byte_of_a_sealed_value_is_noticed() -> None:
    sealed = KEY.data(BUNDLE_DATA, ROW, b"secret")
    for at in range(len(sealed)):
        with pytest.raises(StoreDamagedError):
            KEY.read_data(BUNDLE_DATA, ROW, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])


def test_keys_have_numbers_of_their_own() -> None:
    assert KEY.number == Sealed(b"k" * 32).number
    assert len({PLAIN.number, KEY.number, OTHER.number}) == 3
    assert 0 < KEY.number < 1 << 63


# --- the store -------------------------------------------------------------------------------


def filled(path: str, **how: object) -> Database:
    database = Database(path, **how)  # type: ignore[arg-type]
    database.apply([incoming(1), outgoing(2)])
    return database


def test_a_sealed_store_shows_its_texts_and_has_none_on_disk(tmp_path: Path) -> None:
    path = str(tmp_path / "s.db")
    database = filled(path, codec=KEY)
    assert texts(database) == [TEXT + "1", TEXT + "2"]
    assert TEXT.encode() not in on_disk(tmp_path)
    database.close()
    assert TEXT.encode() not in on_disk(tmp_path)
    database = Database(path, codec=KEY)
    assert texts(database) == [TEXT + "1", TEXT + "2"]
    database.close()


def test_a_store_that_was_not_sealed_is_sealed_as_it_is_opened(tmp_path: Path) -> None:
    path = str(tmp_path / "s.db")
    filled(path).close()
    assert TEXT.encode() in on_disk(tmp_path)
    database = Database(path, codec=KEY)
    assert texts(database) == [TEXT + "1", TEXT + "2"]
    assert TEXT.encode() not in on_disk(tmp_path)
    database.close()


def test_a_store_under_another_key_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "s.db")
    filled(path, codec=KEY).close()
    before = on_disk(tmp_path)
    for codec in (PLAIN, OTHER):
        with pytest.raises(StoreSealedError, match=r"vault\.json"):
            Database(path, codec=codec)
    assert on_disk(tmp_path) == before


def test_a_store_can_be_sealed_put_under_another_key_and_unsealed(tmp_path: Path) -> None:
    path = str(tmp_path / "s.db")
    database = filled(path)
    for codec, readable in ((KEY, False), (OTHER, False), (PLAIN, True)):
        database.reseal(codec)
        assert (TEXT.encode() in on_disk(tmp_path)) is readable
        assert texts(database) == [TEXT + "1", TEXT + "2"]
        database.apply([incoming(9)])
        database.apply([MessageDelete(ANNA, incoming(9).message_id)])
    database.close()
    assert texts(Database(path)) == [TEXT + "1", TEXT + "2"]


def test_sessions_prekeys_and_bundles_are_sealed_with_the_rest(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "s.db")
    names = {"session": ("user", "peer", "session_id"), "prekey": ("user", "key_id"), "bundle": ("user", "peer")}
    for table, row in names.items():
        connection.execute(f"CREATE TABLE {table} ({', '.join(row)}, data)")
        values = [*(name.encode() for name in row), b"SECRET"]
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608
    for codec, before in ((KEY, PLAIN), (OTHER, KEY), (PLAIN, OTHER)):
        sealing.reseal(connection, before, codec)
        for table, row in names.items():
            (stored,) = connection.execute(f"SELECT data FROM {table}").fetchone()  # noqa: S608
            assert (b"SECRET" in stored) is (codec is PLAIN)
            assert codec.read_data(f"{table}.data", tuple(name.encode() for name in row), stored) == b"SECRET"
    sealing.drop_keys(connection)
    assert [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in names] == [0, 0, 0]  # noqa: S608
    connection.close()


def test_a_store_that_cannot_be_resealed_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "s.db")
    database = filled(path)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(sealing, "_rewrite", fail)
        with pytest.raises(StoreError):
            database.reseal(KEY)
    assert database.codec is PLAIN
    assert texts(database) == [TEXT + "1", TEXT + "2"]
    database.close()
    assert texts(Database(path)) == [TEXT + "1", TEXT + "2"]


def test_resealing_has_room_in_a_store_that_is_full(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "s.db"), max_bytes=400_000)
    number = 0
    with suppress(StoreFullError):
        while number < 1000:
            database.apply([incoming(number, "x" * 900)])
            number += 1
    assert 100 < number < 1000
    count = len(database.inbox(ANNA, limit=1000))
    database.reseal(KEY)
    assert len(database.inbox(ANNA, limit=1000)) == count
    database.close()


def test_the_keys_of_a_store_can_be_dropped_at_once(tmp_path: Path) -> None:
    database = filled(str(tmp_path / "s.db"))
    database.forget_keys()
    assert texts(database) == [TEXT + "1", TEXT + "2"]
    database.close()


def test_a_message_whose_time_is_over_is_not_kept_in_words() -> None:
    for codec in (PLAIN, KEY):
        database = filled(":memory:", codec=codec)
        database.apply([OutboxState(ANNA, outgoing(2).message_id, State.EXPIRED, 0)])
        (entry,) = database.outbox(ANNA)
        assert (entry.text, entry.state) == ("", State.EXPIRED)


# --- the log on flash ------------------------------------------------------------------------


def log(codec: Sealed | None) -> bytes:
    use = codec or PLAIN
    data = head(use)
    for number in range(3):
        data += block([item(incoming(number))], len(data), use)
    return data


def test_a_sealed_log_is_read_with_its_key_only() -> None:
    data = log(KEY)
    assert data.startswith(SEALED_HEAD)
    assert TEXT.encode() not in data
    assert read(data, KEY) == (read(log(None))[0], len(data))
    with pytest.raises(StoreSealedError, match=r"vault\.json"):
        read(data)
    with pytest.raises(StoreDamagedError):
        read(data, OTHER)


def test_a_log_that_is_not_sealed_is_read_and_is_to_be_written_anew() -> None:
    found, whole = read(log(None), KEY)
    assert (len(found), whole) == (3, 0)


def test_a_sealed_log_cut_at_any_byte_is_read_up_to_its_last_whole_block() -> None:
    data, ends = log(KEY), [len(HEAD)]
    found = 0
    for cut in range(len(data) + 1):
        operations, whole = read(data[:cut], KEY)
        found = max(found, len(operations))
        assert whole in {0, *ends} or whole == cut
        if whole == cut and cut not in ends:
            ends.append(cut)
    assert found == 3


def test_blocks_of_a_sealed_log_stay_where_they_were_written() -> None:
    data = log(KEY)
    blocks = [block([item(incoming(number))], at, KEY) for number, at in ((0, len(HEAD)), (1, 4000))]
    with pytest.raises(StoreDamagedError):
        read(head(KEY) + blocks[1] + blocks[0], KEY)
    with pytest.raises(StoreTooNewError):
        read(SEALED_HEAD[:-1] + bytes([SEALED_HEAD[-1] + 1]) + data[8:], KEY)


def test_a_sealed_log_of_version_2_is_read_with_its_key_and_is_to_be_written_anew() -> None:
    data = b"qpqseal2" + log(KEY)[len(HEAD) :]
    assert read(data, KEY) == (read(log(None))[0], 0)
    with pytest.raises(StoreSealedError, match=r"vault\.json"):
        read(data)


def keeper(folder: Path, codec: Sealed | None = None) -> Keeper:
    ticks = itertools.count()
    return Keeper(
        str(folder / "live.db"),
        str(folder / "flash" / "qpq.snap"),
        max_bytes=1 << 20,
        commit_s=3600,
        codec=codec or PLAIN,
        clock=lambda: float(next(ticks)),
        wake=lambda: None,
    )


def test_the_snapshot_is_sealed_resealed_and_taken_up_after_a_power_cut(tmp_path: Path) -> None:
    flash = tmp_path / "flash"
    flash.mkdir()
    one = keeper(tmp_path)
    one.apply([incoming(1)])
    one.save()
    assert TEXT.encode() in on_disk(flash)
    one.reseal(KEY)
    assert TEXT.encode() not in on_disk(tmp_path)
    one.apply([incoming(2)])
    one.save()
    one.close()
    for gone in (False, True):
        if gone:
            for path in tmp_path.glob("live.db*"):
                path.unlink()
        again = keeper(tmp_path, KEY)
        assert texts(again.database) == [TEXT + "1", TEXT + "2"]
        again.apply([incoming(3), MessageDelete(ANNA, incoming(3).message_id)])
        again.close()
        assert TEXT.encode() not in on_disk(tmp_path)
    last = keeper(tmp_path, KEY)
    last.reseal(PLAIN)
    last.close()
    assert TEXT.encode() in on_disk(flash)
    assert texts(keeper(tmp_path).database) == [TEXT + "1", TEXT + "2"]


def test_a_live_store_under_another_key_is_made_anew_from_the_snapshot(tmp_path: Path) -> None:
    (tmp_path / "flash").mkdir()
    one = keeper(tmp_path, KEY)
    one.apply([incoming(1)])
    one.close()
    database = Database(str(tmp_path / "live.db"), durable=False, codec=KEY)
    database.reseal(OTHER)
    database.close()
    again = keeper(tmp_path, KEY)
    assert texts(again.database) == [TEXT + "1"]
    again.close()


def test_a_snapshot_without_room_keeps_the_old_protection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flash").mkdir()
    one = keeper(tmp_path)
    one.apply([incoming(1)])
    one.save()
    monkeypatch.setattr(one, "_free", lambda: 0)
    with pytest.raises(StoreError, match="cannot be written"):
        one.reseal(KEY)
    one.database.close()


# --- identity.json ---------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "identity.json")


def content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def test_a_sealed_keyring_is_json_that_tells_of_a_newer_format(path: str) -> None:
    keyring = Keyring.open(path, codec=KEY)
    document = json.loads(content(path))
    assert document["format"] == 100
    assert keyring.node.seed.hex().encode() not in content(path)
    keyring.add_user("anna")
    again = Keyring.load(path, codec=KEY)
    assert [user.name for user in again.users] == ["me", "anna"]
    assert again.node.seed == keyring.node.seed


def test_a_plain_keyring_is_sealed_as_it_is_read(path: str) -> None:
    seed = Keyring.open(path).node.seed
    assert Keyring.load(path, codec=KEY).node.seed == seed
    assert content(path).startswith(SEALED_FORM)
    assert seed.hex().encode() not in content(path)


def altered() -> list[Callable[[bytes], bytes]]:
    return [
        lambda data: data[:-1],
        lambda data: data[:40] + b"!" + data[41:],
        lambda data: data[:40] + (b"A" if data[40:41] != b"A" else b"B") + data[41:],
    ]


@pytest.mark.parametrize("change", altered())
def test_a_damaged_sealed_keyring_is_reported_and_left_alone(path: str, change: Callable[[bytes], bytes]) -> None:
    Keyring.open(path, codec=KEY)
    damaged = change(content(path))
    with open(path, "wb") as file:
        file.write(damaged)
    with pytest.raises(KeyringDamagedError, match="sealed"):
        Keyring.open(path, codec=KEY)
    assert content(path) == damaged


@pytest.mark.parametrize("codec", [PLAIN, OTHER])
def test_a_sealed_keyring_without_its_key_is_left_alone(path: str, codec: Sealed) -> None:
    Keyring.open(path, codec=KEY)
    before = content(path)
    with pytest.raises(KeyringDamagedError, match=r"vault\.json"):
        Keyring.open(path, codec=codec)
    assert content(path) == before


def test_resealing_overwrites_what_was_there(path: str) -> None:
    keyring = Keyring.open(path)
    old = os.open(path, os.O_RDONLY)
    before = os.pread(old, 4096, 0)
    keyring.reseal(KEY)
    assert os.pread(old, 4096, 0) == bytes(len(before))
    os.close(old)
    keyring.reseal(PLAIN)
    assert content(path) == before


def test_a_file_with_a_second_name_is_a_backup_and_stays(path: str) -> None:
    keyring = Keyring.open(path)
    os.link(path, path + ".backup")
    before = content(path)
    keyring.reseal(KEY)
    assert content(path + ".backup") == before


def test_a_keyring_that_cannot_be_resealed_stays_as_it_was(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = Keyring.open(path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(keyring_module, "replace_private", full)
        with pytest.raises(KeyringWriteError):
            keyring.reseal(KEY)
    keyring.add_user("anna")
    assert [user.name for user in Keyring.load(path).users] == ["me", "anna"]


def test_the_key_of_a_removed_user_is_overwritten(path: str) -> None:
    keyring = Keyring.open(path)
    seed = keyring.add_user("anna").secret.seed
    old = os.open(path, os.O_RDONLY)
    assert seed.hex().encode() in os.pread(old, 4096, 0)
    keyring.remove_user("anna")
    assert seed.hex().encode() not in os.pread(old, 4096, 0)
    os.close(old)


def test_a_destroyed_keyring_never_comes_back(path: str) -> None:
    keyring = Keyring.open(path)
    keyring.destroy()
    with pytest.raises(KeyringWriteError, match="wiped"):
        keyring.add_user("anna")
    assert not os.path.exists(path)

"""A wipe destroys the keys first, then everything; one that was killed is finished by the next."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from qpq.daemon import places
from qpq.daemon.data_dir import DataDirError, Lock
from qpq.daemon.options import Config
from qpq.daemon.wiping import live_stores, wipe_all
from qpq.store import keyring_file, wiping
from qpq.store.codec import Sealed
from qpq.store.keyring import Keyring
from qpq.store.keyring_file import destroy
from qpq.store.wiping import WipeError, begin, finish, is_begun

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = b"SECRET-BYTES"
KEYS = ("identity.json", "vault.json", "vault.json.new", "identity.json.new")
DATA = ("qpq.db", "qpq.db-wal", "qpq.snap", "qpq.snap.new", "qpq.db.damaged-1", "qpq.log", "qpq.log.1")
OTHERS = ("notes.txt", "qpq.lock", "qpq.conf")


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """Give a data directory with all a node writes, and some files of others."""
    folder = tmp_path / "node"
    folder.mkdir(0o700)
    for name in (*KEYS, *DATA):
        (folder / name).write_bytes(SECRET * 100)
    for name in OTHERS:
        (folder / name).write_bytes(b"mine")
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_keys_go_first_then_all_that_a_node_writes(node: Path) -> None:
    begin(str(node))
    assert is_begun(str(node))
    assert names(node) == {*DATA, *OTHERS, wiping.MARK}
    assert finish(str(node)) == len(DATA)
    assert names(node) == set(OTHERS)
    assert not is_begun(str(node))
    assert SECRET not in bytes_of(node)


def test_a_live_store_elsewhere_goes_too_also_after_a_kill(node: Path, tmp_path: Path) -> None:
    live = tmp_path / "live.db"
    for ending in ("", "-wal", "-shm"):
        (tmp_path / f"live.db{ending}").write_bytes(SECRET)
    begin(str(node), [str(live)])
    begin(str(node))  # a second run knows of the first
    finish(str(node))
    assert names(tmp_path) == {"node"}


@pytest.mark.parametrize("mark", [b"", b"{}", b"[1]", b'["relative.db"]', b'["/etc/passwd"]', b"\xff"])
def test_a_strange_mark_makes_nothing_else_go(node: Path, mark: bytes) -> None:
    (node / wiping.MARK).write_bytes(mark)
    finish(str(node))
    assert names(node) == set(OTHERS)


def test_what_is_destroyed_is_overwritten_before_it_is_removed(node: Path) -> None:
    file = node / "identity.json"
    descriptor = os.open(file, os.O_RDONLY)
    assert destroy(str(file))
    assert os.pread(descriptor, 4096, 0) == bytes(len(SECRET) * 100)
    os.close(descriptor)
    assert not destroy(str(file))


def test_a_link_is_removed_and_what_it_names_stays(node: Path) -> None:
    (node / "qpq.log").unlink()
    (node / "qpq.log").symlink_to("notes.txt")
    destroy(str(node / "qpq.log"))
    assert (node / "notes.txt").read_bytes() == b"mine"


def test_identities_behind_a_link_are_destroyed(node: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.json").write_bytes(SECRET)
    (node / "identity.json").unlink()
    (node / "identity.json").symlink_to(tmp_path / "elsewhere.json")
    begin(str(node))
    assert not (tmp_path / "elsewhere.json").exists()


def test_what_cannot_be_destroyed_is_told_and_tried_again(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = wiping.destroy

    def stubborn(path: str) -> bool:
        if path.endswith("qpq.snap"):
            raise PermissionError(1, "Operation not permitted")
        return real(path)

    begin(str(node))
    with monkeypatch.context() as patch:
        patch.setattr(wiping, "destroy", stubborn)
        with pytest.raises(WipeError, match=r"qpq\.snap: Operation not permitted"):
            finish(str(node))
    assert names(node) == {"qpq.snap", *OTHERS, wiping.MARK}
    finish(str(node))
    assert names(node) == set(OTHERS)


def test_without_room_for_the_mark_nothing_is_wiped(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wiping, "replace_private", full)
    with pytest.raises(WipeError, match="nothing was wiped"):
        begin(str(node))
    assert set(KEYS) <= names(node)


def test_a_kill_at_any_moment_leaves_a_wipe_that_the_next_finishes(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(BaseException):
        pass

    begun = False
    for step in range(400):
        left = [step]

        def until(real: Callable[..., object], left: list[int] = left) -> Callable[..., object]:
            def call(*args: object, **more: object) -> object:
                if not left[0]:
                    raise KilledError
                left[0] -= 1
                return real(*args, **more)

            return call

        with monkeypatch.context() as patch:
            for name in ("open", "fsync", "rename", "unlink", "write"):
                patch.setattr(keyring_file.os, name, until(getattr(os, name)))
            try:
                begin(str(node))
                finish(str(node))
                ended = True
            except KilledError:
                ended = False
        begun = begun or is_begun(str(node))
        there = names(node)
        gone = not there & set(KEYS) or SECRET not in b"".join((node / name).read_bytes() for name in there & set(KEYS))
        assert gone or set(DATA) <= there, "the keys go first"
        if ended:
            break
        for name in DATA:  # as if nothing had been done but to the keys: the most that can be left
            (node / name).write_bytes(SECRET)
    assert begun
    assert names(node) == set(OTHERS)


# --- without a daemon ------------------------------------------------------------------------


def test_a_node_that_does_not_run_is_wiped(node: Path) -> None:
    (line,) = wipe_all(Config(data_dir=str(node)))
    assert line == f"{node}: keys destroyed, then everything else ({len(KEYS) + len(DATA)} files)"
    assert names(node) == set(OTHERS)


def test_a_running_daemon_is_not_wiped_behind_its_back(node: Path) -> None:
    lock = Lock(str(node))
    with pytest.raises(DataDirError, match="uses"):
        wipe_all(Config(data_dir=str(node)))
    lock.release()
    assert set(KEYS) <= names(node)


def test_a_directory_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(DataDirError, match="nothing to wipe"):
        wipe_all(Config(data_dir=str(tmp_path / "no")))


def test_the_live_store_is_found_by_the_nodes_id_and_without_it_by_its_kind(node: Path, tmp_path: Path) -> None:
    for name in KEYS:
        (node / name).unlink()
    ram = tmp_path / places.IN_RAM.lstrip("/")
    ram.mkdir(parents=True)
    keyring = Keyring.open(str(node / "identity.json"))
    from qpq.crypto.identity import text_id  # noqa: PLC0415 (only here)

    own, other = f"{text_id(keyring.node.identity)[:16]}.db", "a" * 16 + ".db"
    for name in (own, other, "something.else"):
        (ram / name).write_bytes(SECRET)
    config = Config(data_dir=str(node))
    assert list(live_stores(config, str(tmp_path))) == [], "this is no router"
    openwrt = tmp_path / places.OPENWRT.lstrip("/")
    openwrt.parent.mkdir()
    openwrt.touch()
    assert list(live_stores(config, str(tmp_path))) == [str(ram / own)]
    keyring.reseal(Sealed(b"k" * 32))
    assert sorted(live_stores(config, str(tmp_path))) == sorted([str(ram / own), str(ram / other)])


def test_a_store_in_a_directory_of_its_own_is_found(node: Path, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "qpq.db").write_bytes(SECRET)
    wipe_all(Config(data_dir=str(node), store_dir=str(stick)))
    assert names(stick) == set()
    assert list(live_stores(Config(data_dir=str(node), store_dir=str(tmp_path / "no")))) == []

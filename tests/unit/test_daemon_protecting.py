"""Changing what protects a node's keys: a kill at any write leaves the old or the new; and what a change refuses."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from qpq.crypto.identity import Address
from qpq.daemon import guard, locked, memory, protecting
from qpq.daemon.commands import (
    COMMANDS,
    BusyError,
    Caller,
    DeniedError,
    FailedError,
    Role,
    check_args,
    check_role,
    find,
)
from qpq.daemon.locked import Locked, LockedError
from qpq.daemon.options import Config
from qpq.daemon.protecting import Protection
from qpq.daemon.saving import Saver
from qpq.mesh.records import InboxInsert, MessageDelete
from qpq.store import keyring_file, vault
from qpq.store.database import Database
from qpq.store.faults import StoreError
from qpq.store.keyring import Keyring, KeyringWriteError
from qpq.store.vault import Cost, Vault, VaultError, load, make_key_file, open_bare, open_key_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ANNA, BERT = Address(b"a" * 32), Address(b"b" * 32)
ADMIN = Caller(Role.ADMIN, 0, 0, 1)
TEXT = "RECOGNISABLE"
MESSAGE = InboxInsert(ANNA, b"m" * 16, BERT, b"e" * 32, TEXT, False, 0, 7, 200, None)
LOG = logging.getLogger("qpq.test")
CHEAP = Cost(1, 8)
WORDS, OTHER_WORDS = "correct horse", "battery staple"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2id costs nothing here, and this process stays as it is."""
    monkeypatch.setattr(vault, "sized", lambda _available: CHEAP)
    monkeypatch.setattr(guard, "raise_guard", lambda **_: guard.Guard(True, False, False, False))


class Node:
    """As much of a node as its protection asks for, in ``folder``; ``flash``: the store is in RAM."""

    def __init__(self, folder: Path, opened: Vault | None = None, *, flash: bool = False) -> None:
        self.config = Config(data_dir=str(folder))
        self.log = LOG
        self.protection = Protection(self, opened)  # type: ignore[arg-type]
        self.keyring = Keyring.open(str(folder / "identity.json"), codec=self.protection.identities)
        self.saver: Saver | None = None
        codec = self.protection.store
        if flash:
            live, path = str(folder.parent / f"{folder.name}.live.db"), str(folder / "qpq.snap")
            self.saver = Saver(live, path, max_bytes=1 << 20, commit_s=3600, log=LOG, codec=codec)
            self.store = self.saver.keeper.database
            self.saver.keeper.next_boot()  # as a node does before anything else
        else:
            self.store = Database(str(folder / "qpq.db"), codec=codec)

    def settled(self) -> Database:
        return self.store

    def apply(self, *operations: Any) -> None:
        (self.saver.keeper if self.saver is not None else self.store).apply(operations)

    async def do(self, name: str, **args: object) -> Any:
        result = self.protection.table()[name](ADMIN, check_args(name, find(name), args))
        return await result if asyncio.iscoroutine(result) else result

    async def close(self) -> None:
        if self.saver is not None:
            await self.saver.stop()
        else:
            self.store.close()


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


async def recovered(folder: Path, keys: list[str], *, flash: bool) -> tuple[bytes, list[str], str]:
    """Start a node from what lies there; return its seed, its texts, and its protection."""
    path = str(folder / "vault.json")
    found = load(path)
    opened = None
    if found is not None and found.protection == vault.NONE:
        opened = open_bare(path, found)
    elif found is not None:
        opened = open_key_file(path, found, found.key_file)
        assert found.key_file in keys
    node = Node(folder, opened, flash=flash)
    await node.protection.begin()
    texts = [entry.text for entry in node.store.inbox(ANNA)]
    result = node.keyring.node.seed, texts, str(node.protection.document().get("key_file", ""))
    node.protection.end()
    await node.close()
    return result


async def changed(
    folder: Path, keys: list[str], change: str, watch: Callable[[], Any], *, flash: bool
) -> tuple[bytes, str, str]:
    """Protect a node otherwise, with ``watch`` around it; return its seed, and its key file before and after."""
    node = Node(folder, flash=flash)
    await node.protection.begin()
    node.apply(MESSAGE)
    if node.saver is not None:
        node.saver.keeper.save()
    if change != "set":
        await node.do("lock.key_file", path=keys[0])
    before = str(node.protection.document().get("key_file", ""))
    with watch():
        if change == "off":
            await node.do("lock.off")
        else:
            await node.do("lock.key_file", path=keys[change == "other"])
    after = str(node.protection.document().get("key_file", ""))
    assert (TEXT.encode() in on_disk(folder)) is (change == "off")
    seed = node.keyring.node.seed
    await node.close()
    return seed, before, after


@pytest.mark.parametrize("flash", [False, True])
@pytest.mark.parametrize("change", ["set", "other", "off"])
def test_a_kill_at_any_write_leaves_the_old_or_the_new_protection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, *, flash: bool
) -> None:
    keys = [str(tmp_path / "key1"), str(tmp_path / "key2")]
    for key in keys:
        make_key_file(key)
    folder = tmp_path / "node"
    folder.mkdir()
    copies: list[Path] = []

    def copied(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            with monkeypatch.context() as plain:
                for name, function in REAL.items():
                    plain.setattr(keyring_file.os, name, function)
                copies.append(shutil.copytree(folder, tmp_path / f"copy{len(copies)}"))
            return real(*args, **more)

        return call

    @contextmanager
    def watch() -> Iterator[None]:
        with monkeypatch.context() as patch:
            for name, function in REAL.items():
                patch.setattr(keyring_file.os, name, copied(function))
            yield

    seed, before, after = asyncio.run(changed(folder, keys, change, watch, flash=flash))
    assert len(copies) > 5
    seen = set()
    for copy in copies:
        found = asyncio.run(recovered(copy, keys, flash=flash))
        assert found[:2] == (seed, [TEXT])
        seen.add(found[2])
        assert (TEXT.encode() in on_disk(copy)) is (not found[2]), "whatever it is, it is that wholly after a start"
    assert seen <= {before, after}
    assert before in seen


REAL = {name: getattr(os, name) for name in ("rename", "unlink", "fsync", "write")}


# --- what a change refuses -------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "node"
    folder.mkdir()
    return folder


def test_a_change_that_fails_leaves_everything_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        node = Node(folder)
        node.apply(MESSAGE)
        for owner, name, error in (
            (node.store, "reseal", StoreError("the disk is full")),
            (node.keyring, "reseal", KeyringWriteError("the disk is full")),
        ):
            real = getattr(type(owner), name)
            calls: list[object] = []

            def fail(*args: object, given: Any = (real, owner, error, calls)) -> None:
                real, owner, error, calls = given
                calls.append(args)
                if len(calls) == 1:
                    raise error
                real(owner, *args)

            with monkeypatch.context() as patch:
                patch.setattr(type(owner), name, lambda _self, *args, fail=fail: fail(*args))
                with pytest.raises(type(error), match="full"):
                    await node.do("lock.set", passphrase=WORDS)
            assert not (folder / "vault.json").exists()
            assert node.protection.document()["protection"] == "none"
        await node.close()
        assert (await recovered(folder, [], flash=False))[1] == [TEXT]

    asyncio.run(run())


def test_one_change_at_a_time(folder: Path) -> None:
    async def run() -> None:
        node = Node(folder)
        first = asyncio.ensure_future(node.do("lock.set", passphrase=WORDS))
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="changed already"):
            await node.do("lock.set", passphrase=OTHER_WORDS)
        await first
        assert node.protection.document()["protection"] == "passphrase"
        await node.do("lock.set", passphrase=OTHER_WORDS)
        with pytest.raises(FailedError, match="not locked"):
            await node.do("unlock", passphrase=OTHER_WORDS)
        node.protection.end()
        await node.close()

    asyncio.run(run())


def test_a_vault_that_cannot_be_written_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    async def run() -> None:
        node = Node(folder)
        monkeypatch.setattr(vault, "replace_private", full)
        with pytest.raises(VaultError):
            await node.do("lock.set", passphrase=WORDS)
        assert node.protection.vault is None
        await node.close()

    asyncio.run(run())


def test_these_commands_are_for_the_admin_alone() -> None:
    user = Caller(Role.USER, 1000, 1000, 1)
    bound = Caller(Role.ADMIN, 0, 0, 1, "anna", restricted=True)
    for name in ("lock.set", "lock.key_file", "lock.off", "unlock", "wipe"):
        for caller in (user, bound):
            with pytest.raises(DeniedError):
                check_role(name, find(name), caller)


# --- scrubbing -------------------------------------------------------------------------------


def test_what_was_deleted_is_scrubbed_soon_and_rarer_where_that_takes_long(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protecting, "SOON_S", 0.01)

    async def run() -> None:
        node = Node(folder)
        await node.protection.begin()
        node.apply(MESSAGE)
        node.apply(MessageDelete(ANNA, MESSAGE.message_id))
        assert node.protection._timer is not None
        for _ in range(200):
            await asyncio.sleep(0.01)
            if node.store.scrubber.is_clean:
                break
        assert TEXT.encode() not in on_disk(folder)
        node.protection._took = 100.0
        node.apply(MESSAGE, MessageDelete(ANNA, MESSAGE.message_id))
        timer = node.protection._timer
        assert timer is not None
        assert timer.when() - asyncio.get_running_loop().time() > 1000
        timer.cancel()
        node.protection._timer = None
        node.store.scrubber._at = 4096
        monkeypatch.setattr(node.store, "scrub", lambda **_: None)
        node.protection._scrub()
        assert node.protection._timer is not None, "a sweep goes on soon"
        node.store.scrubber._at = 0
        node.protection._scrub()
        assert node.protection._timer is not None, "not done, so it is tried again"
        node.protection.end()
        await node.close()

    asyncio.run(run())


# --- a locked node ---------------------------------------------------------------------------


def test_a_locked_node_has_an_answer_to_every_command_and_pauses_between_guesses(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(locked, "time", SimpleNamespace(monotonic=lambda: now[0], time=lambda: 0.0))

    async def run() -> None:
        path = str(folder / "vault.json")
        Vault.make(path, vault.passphrase_lock("correct horse", CHEAP))
        waiting = Locked(Config(data_dir=str(folder)), LOG)
        table = waiting._table()
        assert set(COMMANDS) <= set(table)
        with pytest.raises(LockedError, match="qpq unlock"):
            table["mesh.send"](ADMIN, check_args("version", find("version"), {}))
        doctor: Any = table["doctor"](ADMIN, check_args("doctor", find("doctor"), {}))
        assert doctor["lock"]["state"] == "locked"

        def attempt(words: str) -> Any:
            return table["unlock"](ADMIN, check_args("unlock", find("unlock"), {"passphrase": words}))

        for pause in (1, 2, 4, 8, 16, 32, 60, 60):
            with pytest.raises(vault.WrongKeyError):
                await attempt("wrong horse")
            with pytest.raises(BusyError, match=f"wait {pause} s"):
                await attempt("correct horse")
            now[0] += pause
        with monkeypatch.context() as patch:
            patch.setattr(memory, "read", lambda: memory.Memory(1 << 20, 4096))
            with pytest.raises(FailedError, match="stop other programs"):
                await attempt("correct horse")
        first = asyncio.ensure_future(attempt("correct horse"))
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="is being tried"):
            await attempt("correct horse")
        assert await first == {"state": "open"}
        assert waiting._look()

    asyncio.run(run())

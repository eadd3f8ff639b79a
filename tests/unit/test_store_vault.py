"""vault.json: one data key under a passphrase or a key file, strict, capped, changed whole or not at all."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from qpq.crypto.errors import PassphraseError
from qpq.crypto.export import MAX_MEMORY_KIB, MAX_WORK_KIB, Cost, check_cost
from qpq.store import keyring_file, vault
from qpq.store.vault import (
    KeyFileError,
    KeyFileMissingError,
    Lock,
    Vault,
    VaultDamagedError,
    VaultError,
    WrongKeyError,
    key_file_lock,
    load,
    make_key_file,
    open_bare,
    open_key_file,
    open_passphrase,
    passphrase_lock,
    read_key_file,
    sized,
)

if TYPE_CHECKING:
    from pathlib import Path

CHEAP = Cost(1, 8)
WORDS = "correct horse"
MIB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "vault.json")


def made(path: str) -> Vault:
    return Vault.make(path, passphrase_lock(WORDS, CHEAP))


def lock_at(path: str) -> Lock:
    found = load(path)
    assert found is not None
    return found


def same(one: Vault, two: Vault) -> bool:
    return (one.identities.number, one.store.number) == (two.identities.number, two.store.number)


# --- passphrases -----------------------------------------------------------------------------


def test_a_vault_opens_with_its_passphrase_only(path: str) -> None:
    vault_made = made(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert same(open_passphrase(path, lock_at(path), WORDS), vault_made)
    for wrong in ("correct horsf", "short", "correct horse "):
        with pytest.raises(WrongKeyError, match="wrong passphrase"):
            open_passphrase(path, lock_at(path), wrong)


def test_each_use_has_a_key_of_its_own(path: str) -> None:
    vault_made = made(path)
    assert vault_made.identities.number != vault_made.store.number


def test_a_short_passphrase_is_refused_before_anything_is_written(path: str) -> None:
    with pytest.raises(PassphraseError):
        Vault.make(path, passphrase_lock("short", CHEAP))
    assert load(path) is None


def test_another_passphrase_leaves_the_data_key_as_it_is(path: str) -> None:
    vault_made = made(path)
    old = os.open(path, os.O_RDONLY)
    vault_made.change(passphrase_lock("battery staple", CHEAP))
    assert not any(os.pread(old, 4096, 0)), "what was under the old passphrase is overwritten"
    os.close(old)
    with pytest.raises(WrongKeyError):
        open_passphrase(path, lock_at(path), WORDS)
    assert same(open_passphrase(path, lock_at(path), "battery staple"), vault_made)


def test_a_change_that_cannot_be_written_changes_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vault_made = made(path)
    before = lock_at(path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(vault, "replace_private", full)
        with pytest.raises(VaultError, match="nothing was changed"):
            vault_made.change(passphrase_lock("battery staple", CHEAP))
    assert vault_made.lock == before == lock_at(path)


def test_forgetting_overwrites_the_data_key(path: str) -> None:
    vault_made = made(path)
    assert any(vault_made._key)
    vault_made.forget()
    assert vault_made._key == bytearray(32)


@pytest.mark.parametrize(
    ("available", "memory", "passes"),
    [(0, 8, 5), (20 * MIB, 8, 5), (40 * MIB, 10, 4), (256 * MIB, 64, 4), (900 * MIB, 225, 4), (64 << 30, 256, 4)],
)
def test_the_cost_follows_the_memory_and_never_leaves_the_caps(available: int, memory: int, passes: int) -> None:
    cost = sized(available)
    assert cost == Cost(passes, memory * 1024)
    check_cost(cost)
    assert cost.memory_kib <= MAX_MEMORY_KIB
    assert cost.ops * cost.memory_kib <= MAX_WORK_KIB


# --- key files -------------------------------------------------------------------------------


def test_a_vault_opens_with_its_key_file_only(tmp_path: Path, path: str) -> None:
    key, other = str(tmp_path / "key"), str(tmp_path / "other")
    assert make_key_file(key)
    assert make_key_file(other)
    assert not make_key_file(key), "what is there stays"
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    vault_made = Vault.make(path, key_file_lock(key))
    assert lock_at(path).key_file == key
    assert same(open_key_file(path, lock_at(path), key), vault_made)
    os.rename(key, key + ".moved")
    assert same(open_key_file(path, lock_at(path), key + ".moved"), vault_made)
    with pytest.raises(WrongKeyError, match="is not the key file"):
        open_key_file(path, lock_at(path), other)
    with pytest.raises(KeyFileMissingError):
        open_key_file(path, lock_at(path), key)
    with pytest.raises(KeyFileMissingError):
        open_key_file(path, lock_at(path), path + "/in/a/file")


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o640, 0o620, 0o755])
def test_a_key_file_that_others_can_read_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    key = str(tmp_path / "key")
    make_key_file(key)
    os.chmod(key, mode)
    with pytest.raises(KeyFileError, match="chmod 600 it, or mount a stick that knows no modes with umask=077"):
        read_key_file(key)


@pytest.mark.parametrize("content", [b"", b"qpq-key-1:", b"qpq-key-1:" + b"0" * 63, b"qpq-key-2:" + b"0" * 64, b"\xff"])
def test_another_file_is_no_key_file(tmp_path: Path, content: bytes) -> None:
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_bytes(content)
    with pytest.raises(KeyFileError, match="is no key file"):
        read_key_file(str(key))


def test_what_cannot_be_read_or_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyFileError, match="no regular file"):
        read_key_file(str(tmp_path))
    with pytest.raises(KeyFileError, match="cannot be made"):
        make_key_file(str(tmp_path / "not" / "there"))
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(KeyFileError, match="cannot be read"):
        read_key_file(str(tmp_path / "loop"))
    key = str(tmp_path / "key")
    make_key_file(key)

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", broken)
        with pytest.raises(KeyFileError, match="cannot be read: Input"):
            read_key_file(key)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(KeyFileError, match="cannot be written"):
            make_key_file(key + "2")
    assert not os.path.exists(key + "2")


# --- the end of it ---------------------------------------------------------------------------


def test_what_is_being_taken_away_opens_by_itself(path: str) -> None:
    vault_made = made(path)
    vault_made.give_up()
    assert vault_made.protection == lock_at(path).protection == vault.NONE
    assert same(open_bare(path, lock_at(path)), vault_made)
    vault_made.remove()
    vault_made.remove()
    assert load(path) is None


def test_a_vault_that_cannot_be_removed_is_told_of(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vault_made = made(path)

    def refused(_path: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "unlink", refused)
    with pytest.raises(VaultError, match="cannot be removed"):
        vault_made.remove()


# --- the file --------------------------------------------------------------------------------


def documents() -> dict[str, dict[str, object]]:
    sealed = {"salt": "0" * 32, "nonce": "0" * 24, "key": "0" * 96}
    return {
        "passphrase": {"format": 1, "protection": "passphrase", "passes": 1, "memory_kib": 8, **sealed},
        "key-file": {"format": 1, "protection": "key-file", "key_file": "/mnt/key", **sealed},
        "none": {"format": 1, "protection": "none", "key": "0" * 64},
    }


@pytest.mark.parametrize("which", documents())
def test_what_is_read_is_written_the_same(which: str) -> None:
    content = json.dumps(documents()[which], indent=1).encode() + b"\n"
    assert vault.encode(vault.decode(content)) == content


BAD: list[tuple[str, dict[str, object]]] = [
    ("passphrase", {"format": 2}),
    ("passphrase", {"format": True}),
    ("passphrase", {"protection": "other"}),
    ("passphrase", {"protection": 1}),
    ("passphrase", {"more": 1}),
    ("passphrase", {"passes": 0}),
    ("passphrase", {"passes": 17}),
    ("passphrase", {"passes": True}),
    ("passphrase", {"memory_kib": 7}),
    ("passphrase", {"memory_kib": 256 * 1024 + 1}),
    ("passphrase", {"memory_kib": 256 * 1024, "passes": 5}),
    ("passphrase", {"memory_kib": "8"}),
    ("passphrase", {"salt": "0" * 30}),
    ("passphrase", {"nonce": "0" * 23 + "G"}),
    ("passphrase", {"key": None}),
    ("key-file", {"key_file": "relative"}),
    ("key-file", {"key_file": 1}),
    ("key-file", {"key_file": "/" + "x" * 1024}),
    ("none", {"key": "0" * 96}),
]


@pytest.mark.parametrize(("which", "change"), BAD)
def test_a_strange_vault_is_reported_and_left_alone(path: str, which: str, change: dict[str, object]) -> None:
    content = json.dumps({**documents()[which], **change}).encode()
    with open(path, "wb") as file:
        file.write(content)
    with pytest.raises(VaultDamagedError, match="left as it is"):
        load(path)
    with open(path, "rb") as file:
        assert file.read() == content


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"format": 1, "format": 1}', b"\xff", b" " * 20_000])
def test_what_is_no_vault_is_reported(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
    with pytest.raises(VaultDamagedError):
        load(path)


def test_every_altered_field_is_noticed(path: str) -> None:
    made(path)
    with open(path, "rb") as file:
        document = json.load(file)
    for name, value in (("passes", 2), ("memory_kib", 16), ("salt", "1" * 32), ("nonce", "1" * 24), ("key", "1" * 96)):
        changed = vault.decode(json.dumps({**document, name: value}).encode())
        with pytest.raises(WrongKeyError):
            open_passphrase(path, changed, WORDS)


# --- killed anywhere -------------------------------------------------------------------------


def test_a_kill_at_any_write_leaves_the_old_vault_or_the_new_one(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call by which the file is changed is the last one once."""

    class KilledError(BaseException):
        pass

    vault_made = made(path)
    for step in range(20):
        left = [step]

        def until(real: object, left: list[int] = left) -> object:
            def call(*args: object, **more: object) -> object:
                if not left[0]:
                    raise KilledError
                left[0] -= 1
                return real(*args, **more)  # type: ignore[operator]

            return call

        with monkeypatch.context() as patch:
            for name in ("open", "fsync", "rename", "unlink", "write", "lseek"):
                patch.setattr(keyring_file.os, name, until(getattr(os, name)))
            try:
                vault_made.change(passphrase_lock(f"passphrase {step}", CHEAP))
                ended = True
            except KilledError:
                ended = False
        words = [WORDS, *(f"passphrase {number}" for number in range(step + 1))]
        opened = [word for word in words if _opens(path, word)]
        assert len(opened) == 1
        if ended:
            return
    raise AssertionError("more than 20 writes")


def _opens(path: str, words: str) -> bool:
    try:
        open_passphrase(path, lock_at(path), words)
    except WrongKeyError:
        return False
    return True

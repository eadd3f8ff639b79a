"""lock, unlock and wipe from the console: what is asked, what is sent, what is said."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pexpect
import pytest
from console_fake import FakeServer, refusing
from console_run import Command

from qpq.console import locking
from qpq.console.doctor import Level, examine

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE = str(Path(__file__).resolve().parents[2] / "node")
WORDS = "correct horse"
LOCKED = {"lock": {"state": "locked", "protection": "passphrase", "waits_for": "the passphrase: qpq unlock"}}
OPEN = {"lock": {"state": "open", "protection": "passphrase"}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    made = FakeServer(tmp_path / "s")
    yield made
    made.close()


@pytest.fixture
def command(tmp_path: Path, server: FakeServer) -> Command:
    return Command(tmp_path, server.path)


class Console:
    """A one-shot command on a terminal."""

    def __init__(self, server: FakeServer, *argv: str) -> None:
        environment = {**os.environ, "PYTHONPATH": NODE, "QPQ_SOCKET": server.path, "TERM": "vt100"}
        command = ["-m", "qpq", *argv]
        self.child: Any = pexpect.spawn(sys.executable, command, env=environment, timeout=20, encoding="utf-8")
        self.seen = ""

    def answer(self, prompt: str, *typed: str) -> Console:
        self.child.expect_exact(prompt)
        self.seen += self.child.before
        self.child.send("".join(typed))
        return self

    def end(self) -> int:
        self.child.expect(pexpect.EOF)
        self.seen += self.child.before
        self.child.close()
        return int(self.child.exitstatus)


def test_a_passphrase_is_read_from_a_pipe(command: Command, server: FakeServer) -> None:
    ran = command("lock", "set", stdin=f"{WORDS}\r\nmore".encode())
    assert (ran.status, ran.err) == (0, "")
    assert "the next start waits for: qpq unlock" in ran.out
    assert server.args_of("lock.set") == {"passphrase": WORDS}
    assert json.loads(command("--json", "lock", "set", stdin=b"battery staple\n").out) == {}
    for stdin in (b"", b"\n", b"\xff\xfe\n"):
        assert command("lock", "set", stdin=stdin).status == 2


def test_a_passphrase_is_asked_for_twice_without_echo(server: FakeServer) -> None:
    console = Console(server, "lock", "set")
    console.answer("passphrase: ", WORDS, "\r").answer("once more: ", WORDS, "\r")
    assert console.end() == 0
    assert server.args_of("lock.set") == {"passphrase": WORDS}
    assert WORDS not in console.seen
    console = Console(server, "lock", "set")
    console.answer("passphrase: ", WORDS, "\r").answer("once more: ", "another\r")
    assert console.end() == 1
    assert "nothing was changed" in console.seen
    console = Console(server, "lock", "set")
    console.answer("passphrase: ", "\r").answer("once more: ", "\r")
    assert console.end() == 2


def test_a_key_file_is_named_by_its_whole_path_and_the_warning_is_shown(command: Command, server: FakeServer) -> None:
    server.table["lock.key_file"] = {"note": "on the same \x1b[2Jdisk"}
    ran = command("lock", "key-file", "some.key")
    assert server.args_of("lock.key_file") == {"path": os.path.abspath("some.key")}
    assert ran.status == 0
    assert "keep a copy of it" in ran.out
    assert "note: on the same \\x1b[2Jdisk" in ran.out
    server.table["lock.key_file"] = {}
    assert "note" not in command("lock", "key-file", "/k").out


def test_taking_the_protection_away_and_wiping_want_a_yes(command: Command, server: FakeServer) -> None:
    for words in (("lock", "off"), ("wipe",)):
        ran = command(*words)
        assert (ran.status, "--yes" in ran.err) == (2, True)
        console = Console(server, *words)
        console.answer("type yes to go on: ", "no\r")
        assert console.end() == 1
        assert "nothing was done" in console.seen
    assert not {"lock.off", "wipe"} & set(server.commands())
    assert command("lock", "off", "--yes").status == 0
    console = Console(server, "lock", "off")
    console.answer("type yes to go on: ", "yes\r")
    assert console.end() == 0
    assert server.commands().count("lock.off") == 2


def test_unlocking_waits_until_the_node_is_up(
    command: Command, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [LOCKED, LOCKED, OPEN]
    server.table["status"] = lambda _args: states.pop(0)
    ran = command("unlock", stdin=WORDS.encode())
    assert (ran.status, ran.out) == (0, "unlocked\n")
    assert server.args_of("unlock") == {"passphrase": WORDS}
    monkeypatch.setattr(locking, "UP_SECONDS", 0.3)
    server.table["status"] = LOCKED
    ran = command("unlock", stdin=WORDS.encode())
    assert (ran.status, "see its log" in ran.err) == (1, True)


def test_unlocking_what_is_not_locked_or_wants_a_key_file_asks_for_nothing(
    command: Command, server: FakeServer
) -> None:
    server.table["status"] = OPEN
    assert "not locked" in command("unlock").err
    server.table["status"] = {"lock": {"state": "locked", "protection": "key-file", "waits_for": "the key file /k"}}
    ran = command("unlock")
    assert (ran.status, "waits for the key file /k" in ran.err) == (1, True)
    assert "unlock" not in server.commands()


def test_a_wrong_passphrase_is_told(command: Command, server: FakeServer) -> None:
    server.table["status"] = LOCKED
    server.table["unlock"] = refusing("failed", "wrong passphrase: nothing was opened")
    ran = command("unlock", stdin=b"wrong horse\n")
    assert (ran.status, "wrong passphrase" in ran.err) == (1, True)


def test_a_wipe_says_what_it_cannot_promise(
    command: Command, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "GONE_SECONDS", 0.3)
    server.table["status"] = OPEN
    ran = command("wipe", "--yes")
    assert ran.status == 0
    assert "still stopping" in ran.out
    assert "on flash" in ran.out

    server.table["status"] = {}
    assert "everything else is gone too" in command("wipe", "--yes").out


def test_a_wipe_goes_on_waiting_while_the_node_is_stopping(command: Command, server: FakeServer) -> None:
    asked = 0

    def status(args: dict[str, Any]) -> Any:
        nonlocal asked
        asked += 1
        return refusing("busy", "this node is stopping")(args) if asked == 1 else {}

    server.table["status"] = status
    ran = command("wipe", "--yes")
    assert (ran.status, "everything else is gone too" in ran.out, asked) == (0, True, 2)


def test_a_wipe_without_a_daemon_is_done_here(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir(0o700)
    (folder / "identity.json").write_text("secret")
    command = Command(tmp_path, str(tmp_path / "nobody"))
    (tmp_path / "none").write_text("")
    command.environ["QPQ_DATA_DIR"] = str(folder)
    assert command("wipe", "--yes").status == 0
    assert {path.name for path in folder.iterdir()} == {"qpq.lock"}
    command.environ["QPQ_DATA_DIR"] = str(tmp_path / "nowhere")
    ran = command("wipe", "--yes", "--config", str(tmp_path / "none"))
    assert ran.status == 1


def test_in_a_pipe_of_commands_no_passphrase_is_taken_from_it(command: Command, server: FakeServer) -> None:
    ran = command(stdin=b"/lock set\n/status\n")
    assert "no terminal to ask" in ran.out
    assert "lock.set" not in server.commands()


def test_the_restricted_console_knows_none_of_it(command: Command, server: FakeServer) -> None:
    for words in (["lock", "set"], ["lock", "off"], ["lock", "key-file", "/k"], ["unlock"], ["wipe"]):
        ran = command("--restricted", "--as", "anna", *words, stdin=b"x\n")
        assert (ran.status, "restricted" in ran.err) == (1, True)
    assert not {"lock.set", "lock.off", "lock.key_file", "unlock", "wipe"} & set(server.commands())


def test_the_doctor_tells_what_protects_the_disk() -> None:
    found = {
        name: examine({"lock": lock})[0]
        for name, lock in {
            "locked": {"state": "locked", "waits_for": "the key file /k", "problem": "others can read it"},
            "none": {"state": "open", "protection": "none"},
            "sealed": {"state": "open", "protection": "key-file"},
        }.items()
    }
    assert (found["locked"].level, found["none"].level, found["sealed"].level) == (Level.WRONG, Level.OK, Level.OK)
    assert "the key file /k (others can read it)" in found["locked"].text
    assert "lock set" in found["none"].text
    assert "under a key file" in found["sealed"].text

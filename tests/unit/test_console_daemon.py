"""The console with a real daemon on the loopback interface: ``qpq run``, one-shot commands, two nodes on terminals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pexpect
import pytest
from node import free_port

from qpq.console import child
from qpq.console.child import daemon_command
from qpq.console.client import Client
from qpq.console.errors import ConsoleError, NoDaemonError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NODE = str(Path(__file__).resolve().parents[2] / "node")
SECONDS = 40
QUIET = ("--no-mdns", "--no-beacon", "--no-group")


def wait_until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def flags() -> list[str]:
    """Return the switches that keep a daemon to itself, as far as this version has them."""
    shown = subprocess.run(
        [sys.executable, "-m", "qpq", "daemon", "--help"], env=environment(), capture_output=True, text=True, check=True
    ).stdout
    return [flag for flag in QUIET if flag in shown]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QPQ_")}
    return {**kept, "PYTHONPATH": NODE, "TERM": "vt100", "QPQ_CONFIG": "", **more}


class Box:
    """A home with a data directory and a port of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.daemon: subprocess.Popen[bytes] | None = None

    @property
    def node_flags(self) -> list[str]:
        return ["--listen", f"127.0.0.1:{self.port}", *flags()]

    def start(self) -> None:
        argv = [sys.executable, "-m", "qpq", "daemon", "--data-dir", str(self.directory), *self.node_flags]
        with (self.directory.parent / f"{self.directory.name}.log").open("wb") as log:
            self.daemon = subprocess.Popen(argv, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: self("version", "--json").returncode == 0 and (self.directory / "qpq.sock").exists())

    def stop(self) -> None:
        if self.daemon is not None:
            self.daemon.terminate()
            self.daemon.wait(SECONDS)

    def __call__(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "qpq", "--data-dir", str(self.directory), *argv],
            env=environment(), input=stdin, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip

    def json(self, *argv: str) -> Any:
        ran = self(*argv, "--json")
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    def terminal(self, *argv: str) -> Any:
        argv = ("-m", "qpq", *argv, "--data-dir", str(self.directory))
        return pexpect.spawn(
            sys.executable, list(argv), env=environment(), timeout=SECONDS, encoding="utf-8", dimensions=(24, 120)
        )


@pytest.fixture
def boxes(tmp_path: Path) -> Iterator[list[Box]]:
    made = [Box(tmp_path / name) for name in ("a", "b")]
    yield made
    for box in made:
        box.stop()


def test_run_starts_a_node_with_a_console_and_stops_it_afterwards(boxes: list[Box]) -> None:
    box = boxes[0]
    console = box.terminal("run", *box.node_flags)
    console.expect_exact("it stops with this console")
    console.expect_exact("qpq> ")
    console.send("/mesh identity --no-qr\r")
    console.expect_exact("node ")
    console.send("/mesh send me a note to myself --wait 10\r")
    console.expect_exact("delivered")
    console.send("/mesh inbox\r")
    console.expect_exact("a note to myself")
    console.send("/mesh user add anna\r")
    console.expect_exact("anna")
    console.send("/doctor\r")
    console.expect_exact("nothing is wrong")
    second = box.terminal("run")
    second.expect_exact("a daemon runs already")
    second.expect_exact("qpq> ")
    second.send("\x04")
    second.expect(pexpect.EOF)
    console.send("/version\r")
    console.expect_exact("qpq 0")
    console.send("\x04")
    console.expect(pexpect.EOF)
    console.close()
    assert console.exitstatus == 0
    assert not (box.directory / "qpq.sock").exists()
    assert "ready" in (box.directory / "qpq.log").read_text()
    assert (box.directory / "qpq.log").stat().st_mode & 0o077 == 0


def test_a_console_that_is_ended_by_a_signal_takes_its_daemon_with_it(boxes: list[Box]) -> None:
    box = boxes[0]
    console = box.terminal("run", *box.node_flags)
    console.expect_exact("qpq> ")
    console.kill(signal.SIGTERM)
    console.expect(pexpect.EOF)
    console.close()
    assert console.exitstatus == 128 + signal.SIGTERM
    with pytest.raises(NoDaemonError):
        Client.connect(str(box.directory / "qpq.sock"))


def test_a_daemon_that_cannot_start_is_told_with_its_last_words(boxes: list[Box]) -> None:
    box = boxes[0]
    ran = box("run", "--listen", "nonsense")
    assert ran.returncode == 1
    assert "listen" in ran.stderr


def test_a_data_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = Box(tmp_path / "file" / "d")("run")
    assert ran.returncode == 1
    assert "cannot be started" in ran.stderr


def test_two_people_write_to_each_other_on_their_terminals(boxes: list[Box]) -> None:
    anna, bert = boxes
    for box in boxes:
        box.start()
    address = bert.json("mesh", "identity")["users"][0]["id"]
    assert anna("mesh", "server", f"127.0.0.1:{bert.port}").returncode == 0
    wait_until(lambda: any(user["id"] == address for row in anna.json("mesh", "peers") for user in row["users"]))
    anna.json("mesh", "name", address, "bert")
    reader, writer = bert.terminal(), anna.terminal()
    reader.expect_exact("qpq> ")
    writer.expect_exact("qpq> ")
    reader.send("I am just typ")
    reader.expect_exact("I am just typ")
    writer.send("/mesh send be\t--wait 20 are you there?\r")
    writer.expect_exact("delivered")
    reader.expect_exact("are you there?\r\n")
    reader.expect_exact("qpq> I am just typ")
    for console in (reader, writer):
        console.send("\x15\x04")
        console.expect(pexpect.EOF)
    assert bert.json("mesh", "inbox")[0]["text"] == "are you there?"
    assert anna.json("mesh", "outbox")[0]["state"] == "delivered"
    message = bert.json("mesh", "inbox")[0]["id"]
    assert bert("mesh", "delete", message[:6]).returncode == 0
    assert bert("mesh", "send", "bert", "x").returncode == 1
    assert bert("mesh", "inbox", "--user", "nobody").returncode == 1
    assert bert("metrics").stdout.startswith("#")
    assert bert("status").returncode == 0


def test_two_people_verify_each_other_and_a_changed_key_holds_messages_back(boxes: list[Box]) -> None:
    anna, bert = boxes
    for box in boxes:
        box.start()
    ids = [box.json("mesh", "identity")["users"][0]["id"] for box in boxes]
    assert anna("mesh", "name", ids[1], "bert").returncode == 0
    shown = anna("/verify", "bert")
    number = bert.json("verify", ids[0])["number"]
    assert " ".join(" ".join(line.split()) for line in shown.stdout.splitlines() if line[:5].isdigit()) == number
    assert anna("verify", "bert", *number.split()).stdout.endswith("the numbers match; verified\n")
    assert anna("verify", "bert", bert.json("verify", ids[0])["scan"]).returncode == 0
    assert bert("verify", ids[0], "1" * 60).returncode == 1

    other = anna.json("mesh", "user", "add", "cleo")["id"]
    claimed = anna("mesh", "name", other, "bert")
    assert claimed.returncode == 1
    assert "THE KEY OF bert HAS CHANGED" in claimed.stderr
    held = anna("mesh", "send", "bert", "for bert only")
    assert (held.returncode, held.stdout) == (1, "")
    assert ids[1] in held.stderr
    assert other in held.stderr
    assert anna.json("mesh", "outbox") == []
    assert anna("verify", "bert", "--accept").returncode == 0
    assert anna.json("mesh", "send", "bert", "for cleo, then")["to"] == other
    assert anna.json("privacy", "padding", "off")["padding"] is False
    kept = json.loads((anna.directory / "identity.json").read_text())["users"][0]
    assert (kept["petnames"], kept["padding"]) == ({other: "bert"}, False)


def test_an_exported_user_is_the_same_on_the_other_node(boxes: list[Box], tmp_path: Path) -> None:
    for box in boxes:
        box.start()
    anna, bert = boxes
    added = anna.json("mesh", "user", "add", "anna")
    path = tmp_path / "anna.qpq"
    ran = anna("mesh", "user", "export", "anna", "--file", str(path), "--passphrase-stdin", stdin="correct horse\n")
    assert ran.returncode == 0, ran.stderr
    wrong = bert("mesh", "user", "import", "--file", str(path), "--passphrase-stdin", stdin="wrong\n")
    assert wrong.returncode == 1
    taken = bert(
        "mesh", "user", "import", "ann2", "--file", str(path), "--passphrase-stdin", "--json", stdin="correct horse\n"
    )
    assert json.loads(taken.stdout)["id"] == added["id"]


def test_a_restricted_console_is_bound_by_the_real_daemon(boxes: list[Box]) -> None:
    box = boxes[0]
    box.directory = box.directory.parent / ".local/share/qpq"
    box.directory.parent.mkdir(parents=True)
    box.start()
    box.json("mesh", "user", "add", "anna")
    home = environment(
        HOME=str(box.directory.parents[2]), XDG_DATA_HOME="", SSH_ORIGINAL_COMMAND="mesh identity --json"
    )
    argv = [sys.executable, "-m", "qpq", "--restricted", "--as"]
    seen = subprocess.run([*argv, "anna"], env=home, capture_output=True, text=True, timeout=SECONDS, check=True)
    assert [user["name"] for user in json.loads(seen.stdout)["users"]] == ["anna"]
    nobody = subprocess.run([*argv, "nobody"], env=home, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert nobody.returncode == 1


# --- the child, without a daemon -----------------------------------------------------------


def test_this_program_is_started_again_the_way_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    assert daemon_command() == [sys.executable, "-m", "qpq"]
    monkeypatch.setitem(vars(child), "__compiled__", True)  # as Nuitka does
    assert daemon_command() == ["/proc/self/exe"]


def test_a_child_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(child, "STOP_SECONDS", 0.2)
    log = str(tmp_path / "log")
    script = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    made = child._Child(child._spawn(["/bin/sh", "-c", script], log, {}))
    wait_until(lambda: Path(log).read_text() == "up\n")
    made.stop()
    assert made.has_ended()
    made.stop()


def test_a_daemon_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(child, "START_SECONDS", 0.1)
    made = child._Child(child._spawn(["/bin/sleep", "60"], str(tmp_path / "log"), {}))
    try:
        with pytest.raises(ConsoleError, match="does not answer"):
            child._wait_until_ready(made, str(tmp_path / "none"), "log")
    finally:
        made.stop()


def test_a_long_log_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "MAX_LOG", 10)
    log = tmp_path / "qpq.log"
    child._set_aside(str(log))
    log.write_text("short")
    child._set_aside(str(log))
    assert log.exists()
    log.write_text("longer than that")
    child._set_aside(str(log))
    assert [path.name for path in tmp_path.iterdir()] == ["qpq.log.1"]

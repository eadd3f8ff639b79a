"""The interactive console on a real pseudo-terminal, driven key by key."""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pexpect
import pytest
from console_fake import ANNA, MESSAGE, FakeServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NODE = str(Path(__file__).resolve().parents[2] / "node")
SECONDS = 20
PROMPT = "qpq> "
UP, LEFT = "\x1b[A", "\x1b[D"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    made = FakeServer(tmp_path / "s")
    yield made
    made.close()


class Console:
    """A qpq on a terminal of 24 lines; ``argv`` are its arguments."""

    def __init__(self, server: FakeServer, *argv: str, term: str = "vt100", columns: int = 80, **environ: str) -> None:
        environment = {**os.environ, "PYTHONPATH": NODE, "QPQ_SOCKET": server.path, "TERM": term, **environ}
        command = ["-m", "qpq", *argv]
        self.child: Any = pexpect.spawn(
            sys.executable, command, env=environment, dimensions=(24, columns), timeout=SECONDS, encoding="utf-8"
        )
        self.seen = ""

    def expect(self, text: str) -> str:
        """Wait for ``text``; returns what came before it."""
        self.child.expect_exact(text)
        self.seen += self.child.before + self.child.after
        return str(self.child.before)

    def send(self, text: str) -> None:
        self.child.send(text)

    def end(self) -> int:
        """Wait for its end; returns the exit status (negative: a signal)."""
        self.child.expect(pexpect.EOF)
        self.seen += self.child.before
        self.child.close()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def begun(server: FakeServer, *argv: str, **settings: Any) -> Console:
    console = Console(server, *argv, **settings)
    console.expect(PROMPT)
    return console


def test_a_command_is_typed_with_corrections_and_answered(server: FakeServer) -> None:
    console = begun(server)
    console.send("/mesh pers" + LEFT * 2 + "e" + "\x05\r")
    console.expect("anna (")
    console.expect(PROMPT)
    console.send("\x04")
    assert console.end() == 0
    assert server.commands() == ["watch", "mesh.peers"]


def test_utf8_and_pasted_lines_are_sent_as_one_message(server: FakeServer) -> None:
    console = begun(server)
    console.send("/mesh send anna \x1b[200~Grüße\nan 世界 🙂\x1b[201~\r")
    console.expect("queued")
    assert server.args_of("mesh.send") == {"peer": "anna", "text": "Grüße\nan 世界 🙂"}
    console.send("/quit\r")
    assert console.end() == 0
    assert "\x1b[?2004h" in console.seen
    assert "\x1b[?2004l" in console.seen


def test_tab_completes_commands_peers_and_options(server: FakeServer) -> None:
    console = begun(server)
    console.send("/mes\tsen\tann\t")
    console.expect("\x07")
    console.send("\t")
    console.expect("anna   annie")
    console.send("i\t--ur\thello\r")
    console.expect("queued")
    assert server.args_of("mesh.send") == {"peer": "annie", "text": "hello", "urgent": True}
    console.send("\x04")
    assert console.end() == 0


def test_history_brings_back_what_was_typed_and_is_kept_privately(server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "history"
    console = begun(server, "--history", str(path))
    console.send("/version\r")
    console.expect(PROMPT)
    console.send("/status\r")
    console.expect(PROMPT)
    console.send(UP + UP + "\r")
    wait_until(lambda: server.commands() == ["watch", "version", "status", "version"])
    console.send("\x04")
    assert console.end() == 0
    assert path.read_text() == "/version\n/status\n/version\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = begun(server, "--history", str(path))
    again.send(UP + UP + "\r")
    wait_until(lambda: server.commands()[-1] == "status")
    again.send("\x04")
    assert again.end() == 0


def test_what_arrives_is_shown_above_and_the_typed_text_stays(server: FakeServer) -> None:
    console = begun(server)
    console.send("/mesh send anna half a sen")
    console.expect("half a sen")
    server.push({"event": "message", "id": MESSAGE, "from": ANNA, "from_name": "anna", "text": "are you there?"})
    console.expect("are you there?\r\n")
    console.expect("qpq> /mesh send anna half a sen")
    console.send("tence\r")
    console.expect("queued")
    assert server.args_of("mesh.send")["text"] == "half a sentence"
    server.push({"event": "state", "id": MESSAGE, "state": "delivered"})
    console.expect("delivered")
    console.send("\x04")
    assert console.end() == 0


def test_what_is_for_other_users_of_the_node_is_not_shown(server: FakeServer) -> None:
    server.table["mesh.identity"] = {"id": ANNA, "user": "me", "users": []}
    console = begun(server)
    for user, text in (("bert", "not for you"), ("me", "for you"), ("bert", "nor this"), ("me", "last")):
        server.push({"event": "message", "id": MESSAGE, "from": ANNA, "text": text, "user": user})
    console.expect("last")
    console.send("\x04")
    assert console.end() == 0
    assert "for you" in console.seen
    assert "not for you" not in console.seen
    assert "nor this" not in console.seen
    assert server.commands() == ["watch", "mesh.identity"]
    named = begun(server, "--user", "bert")
    server.push({"event": "message", "id": MESSAGE, "from": ANNA, "text": "hello bert", "user": "bert"})
    named.expect("hello bert")
    named.send("\x04")
    assert named.end() == 0


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[6n\x9b31m\u202e\r/mesh block anna\r\n\x00\x1bP+q\x1b\\\x7f"


def test_nothing_a_peer_sent_steers_the_terminal(server: FakeServer) -> None:
    server.table["mesh.peers"] = [{"id": HOSTILE, "name": HOSTILE, "users": [{"name": HOSTILE, "id": HOSTILE}]}]
    console = begun(server)
    server.push({"event": "message", "id": HOSTILE, "from": HOSTILE, "from_name": HOSTILE, "text": HOSTILE})
    server.push({"event": "peer", "id": HOSTILE, "up": True, "address": HOSTILE})
    console.expect("is linked")
    console.send("/mesh peers\r")
    console.expect("PEER")
    console.send("/mesh send \t\t\t\x15")
    console.send("/quit\r")
    assert console.end() == 0
    for sequence in ("\x1b[K", "\x1b[?2004h", "\x1b[?2004l", "\r\n", "\r", "\x07"):
        console.seen = console.seen.replace(sequence, "\n" if "\n" in sequence else "")
    left = console.seen.replace("\n", "")
    while (at := left.find("\x1b[")) >= 0:
        end = left.index("C", at)
        assert left[at + 2 : end].isdigit()
        left = left[:at] + left[end + 1 :]
    assert left.isprintable(), ascii(left)
    assert "mesh.block" not in server.commands()


def test_ctrl_c_gives_up_the_line_but_not_the_console(server: FakeServer) -> None:
    console = begun(server)
    console.send("/mesh server somewh\x03")
    console.expect("^C")
    console.expect("^D leaves")
    console.expect(PROMPT)
    console.send("/version\r")
    console.expect("qpq 0")
    console.send("\x04")
    assert console.end() == 0
    assert server.commands() == ["watch", "version"]


def test_ctrl_c_interrupts_a_command_that_waits(server: FakeServer) -> None:
    server.table["status"] = "never"
    console = begun(server)
    console.send("/status\r")
    wait_until(lambda: "status" in server.commands())
    console.send("\x03")
    console.expect("interrupted")
    console.expect(PROMPT)
    console.send("/version\r")
    console.expect("qpq 0")
    console.send("\x04")
    assert console.end() == 0
    assert server.commands() == ["watch", "status", "watch", "version"]


def test_a_narrower_window_redraws_the_line_to_fit(server: FakeServer) -> None:
    console = begun(server)
    console.send("0123456789" * 5)
    console.expect("0123456789" * 5)
    console.child.setwinsize(24, 30)
    console.expect("qpq> 4567890123456789\x1b[K\r\x1b[21C")
    console.send("x\r")
    console.expect("went nowhere")
    console.send("\x04")
    assert console.end() == 0


def test_a_dumb_terminal_gets_no_escape_sequence(server: FakeServer) -> None:
    console = begun(server, term="dumb")
    console.send("/mesh pers" + "\x08\x08" + "ers" + "\x0c")
    server.push({"event": "state", "id": MESSAGE, "state": "delivered"})
    console.expect("delivered")
    console.send("\r")
    console.expect("PEER")
    console.send("/mesh identity\r")
    console.expect("node")
    console.send("\x04")
    assert console.end() == 0
    assert "\x1b" not in console.seen


def test_a_terminal_without_utf8_gets_ascii_only(server: FakeServer) -> None:
    console = begun(server, LC_ALL="C")
    server.push({"event": "message", "id": MESSAGE, "from": ANNA, "text": "grüße"})
    console.expect("gr\\xfc\\xdfe")
    console.send("\x04")
    assert console.end() == 0
    assert console.seen.isascii()


def test_plain_text_goes_to_the_chosen_partner_only(server: FakeServer) -> None:
    console = begun(server)
    console.send("hello\r")
    console.expect("went nowhere")
    console.expect(PROMPT)
    console.send("/to anna\r")
    console.expect("anna> ")
    console.send("it's me\r")
    console.expect("queued")
    console.send("/to\r")
    console.expect(PROMPT)
    assert server.args_of("mesh.send") == {"peer": "anna", "text": "it's me"}
    console.send("\x04")
    assert console.end() == 0


def test_a_passphrase_is_asked_for_without_echo(server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "me.qpq"
    console = begun(server)
    console.send(f"/mesh user export me --file {path}\r")
    console.expect("passphrase: ")
    console.send("se cret\r")
    console.expect("once more: ")
    console.send("se cret\r")
    console.expect("whoever has the file")
    assert server.args_of("mesh.user.export") == {"name": "me", "passphrase": "se cret"}
    console.expect(PROMPT)
    console.send(f"/mesh user import bob --file {path}\r")
    console.expect("passphrase: ")
    console.send("other\r")
    console.expect("name: anna")
    assert "other" in server.args_of("mesh.user.import").values()
    for first, second, words in (("a", "b", "differ"), ("", "", "is empty")):
        console.send("/mesh user export me\r")
        console.expect("passphrase: ")
        console.send(first + "\r")
        console.expect("once more: ")
        console.send(second + "\r")
        console.expect(words)
    console.send("\x04")
    assert console.end() == 0
    assert "se cret" not in console.seen


def test_a_daemon_that_goes_and_comes_back_is_told(server: FakeServer) -> None:
    console = begun(server)
    console.send("typed")
    console.expect("typed")
    server.drop_all()
    console.expect("waiting for it to come back")
    console.expect("the daemon is back")
    console.send("\x15/version\r")
    console.expect("qpq 0")
    console.send("\x04")
    assert console.end() == 0
    assert server.commands() == ["watch", "watch", "version"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_the_terminal_put_back(server: FakeServer, number: int) -> None:
    console = begun(server)
    console.send("typed")
    console.expect("typed")
    console.child.kill(number)
    assert console.end() == 128 + number
    assert number == signal.SIGHUP or console.seen.endswith("\x1b[?2004l")


def test_the_terminal_is_as_it_was_afterwards(server: FakeServer) -> None:
    script = f"stty -a >before; {sys.executable} -m qpq; stty -a >after; cmp before after && echo the same"
    environment = {**os.environ, "PYTHONPATH": NODE, "QPQ_SOCKET": server.path, "TERM": "vt100"}
    folder = str(Path(server.path).parent)
    child = pexpect.spawn("/bin/sh", ["-c", script], env=environment, cwd=folder, timeout=SECONDS, encoding="utf-8")
    child.expect_exact(PROMPT)
    child.send("/version\r/quit\r")
    child.expect_exact("the same")
    child.expect(pexpect.EOF)


def test_lines_typed_ahead_are_answered_in_their_order(server: FakeServer) -> None:
    console = begun(server)
    console.send("/version\r/status\r/mesh outbox\r\x04")
    assert console.end() == 0
    assert server.commands() == ["watch", "version", "status", "mesh.outbox"]
    assert console.seen.index("qpq 0") < console.seen.index("node: ") < console.seen.index("MESSAGE")


def test_the_restricted_console_on_a_terminal_has_no_way_out(server: FakeServer, tmp_path: Path) -> None:
    data = tmp_path / ".local/share/qpq"
    data.mkdir(parents=True)
    (data / "qpq.sock").symlink_to(server.path)
    console = begun(server, "--restricted", "--as", "anna", HOME=str(tmp_path), XDG_DATA_HOME="", QPQ_SOCKET="/none")
    for line, words in (
        ("!sh", "went nowhere"),
        ("/mesh server x:1", "not in the restricted console"),
        ("/mesh send bob --file /etc/shadow", "not in the restricted console"),
        ("/mesh user export anna", "not in the restricted console"),
        ("/daemon", "no command"),
    ):
        console.send(line + "\r")
        console.expect(words)
        console.expect(PROMPT)
    console.send("\x1a\x1c\x1d\x04")
    assert console.end() == 0
    assert server.commands() == ["become", "watch"]

"""The thin shell around a terminal, and completion: modes, size, secrets, what Tab may offer."""

from __future__ import annotations

import os
import pty
import select
import termios
import threading
from typing import TYPE_CHECKING, Any

import pytest
from console_fake import ANNA, MESSAGE, FakeServer, refusing
from console_run import Command

from qpq.console import terminal as terminal_module
from qpq.console.complete import Completer, Directory
from qpq.console.context import Context
from qpq.console.errors import ConsoleError, RefusedError, UsageError
from qpq.console.files import read_tail
from qpq.console.interactive import Interactive
from qpq.console.terminal import Terminal, TerminalGoneError, charset, is_dumb
from qpq.console.values import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    made = FakeServer(tmp_path / "s")
    yield made
    made.close()


@pytest.fixture
def line() -> Iterator[tuple[int, int]]:
    """A pseudo-terminal: (the person's side, the program's side)."""
    person, program = pty.openpty()
    yield person, program
    for descriptor in (person, program):
        try:
            os.close(descriptor)
        except OSError:
            continue


def context(server: FakeServer, source: int, sink: int, **settings: Any) -> Context:
    made = Terminal(source, sink, {"TERM": "vt100"})
    return Context(made, made, {}, "/d", server.path, **settings)


def said(person: int) -> str:
    found = b""
    while select.select([person], [], [], 0.2)[0]:
        found += os.read(person, 65536)
    return found.decode()


# --- the terminal --------------------------------------------------------------------------


def test_the_charset_follows_the_locale_and_is_utf8_where_there_is_none() -> None:
    assert charset({}) == "utf-8"
    assert charset({"LANG": "de_DE.UTF-8"}) == "utf-8"
    assert charset({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}) == "ascii"
    assert charset({"LC_CTYPE": "C.utf8", "LC_ALL": ""}) == "utf-8"
    assert [is_dumb({}), is_dumb({"TERM": "dumb"}), is_dumb({"TERM": "vt100"})] == [True, True, False]


def test_a_terminal_without_a_size_has_80_columns(line: tuple[int, int]) -> None:
    made = Terminal(line[1], line[1], {})
    assert made.columns == 80
    termios.tcsetwinsize(line[1], (24, 132))
    assert made.columns == 132
    read, write = os.pipe()
    assert Terminal(read, write, {}).columns == 80
    os.close(read)
    os.close(write)


def test_modes_are_put_back_even_after_an_error(line: tuple[int, int]) -> None:
    made = Terminal(line[1], line[1], {})
    before = termios.tcgetattr(line[1])

    def fail() -> None:
        with made.raw():
            flags = termios.tcgetattr(line[1])[3]
            assert not flags & (termios.ECHO | termios.ICANON | termios.ISIG)
            with made.breakable():
                assert termios.tcgetattr(line[1])[3] & termios.ISIG
            assert termios.tcgetattr(line[1])[3] == flags
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert termios.tcgetattr(line[1]) == before


def test_a_secret_is_read_without_echo(line: tuple[int, int]) -> None:
    made = Terminal(line[1], line[1], {})
    os.write(line[0], "geheim ü\n".encode())
    assert made.ask_secret("passphrase: ") == "geheim ü"
    for typed in (b"\xff\n", b"\x04", b"x" * 1000 + b"\n" + b"y" * 1000):
        os.write(line[0], typed)
    with pytest.raises(ConsoleError, match="UTF-8"):
        made.ask_secret("")
    with pytest.raises(ConsoleError, match="no passphrase"):
        made.ask_secret("")


def test_a_terminal_that_hung_up_is_told(line: tuple[int, int]) -> None:
    made = Terminal(line[1], line[1], {})
    with made.raw():
        os.close(line[0])
        assert made.read() == b""
        with pytest.raises(TerminalGoneError):
            made.write("x")


def test_a_descriptor_that_does_not_block_is_waited_for(line: tuple[int, int]) -> None:
    made = Terminal(line[1], line[1], {"TERM": "vt100"})
    os.set_blocking(line[1], False)
    threading.Timer(0.05, os.write, (line[0], b"late\n")).start()
    assert made.read() == b"late\n"
    assert not made.dumb


def test_output_that_is_no_terminal_gets_no_sequences(line: tuple[int, int]) -> None:
    read, write = os.pipe()
    assert Terminal(line[1], write, {"TERM": "vt100"}).dumb
    os.close(read)
    os.close(write)


def test_a_terminal_that_takes_nothing_is_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_module, "WRITE_SECONDS", 0.01)
    read, write = os.pipe()
    os.set_blocking(write, False)
    with pytest.raises(TerminalGoneError, match="takes no output"):
        Terminal(read, write, {}).write("x" * 1_000_000)
    os.close(read)
    os.close(write)


def test_a_mode_that_cannot_be_put_back_is_left(monkeypatch: pytest.MonkeyPatch, line: tuple[int, int]) -> None:
    made = Terminal(line[1], line[1], {})
    with made.raw():

        def fail(*_: object) -> None:
            raise termios.error(5, "Input/output error")

        monkeypatch.setattr(termios, "tcsetattr", fail)


# --- the console without a loop ------------------------------------------------------------


def test_an_escape_alone_is_forgotten_after_a_moment(server: FakeServer, line: tuple[int, int]) -> None:
    console = Interactive(context(server, line[1], line[1]))
    console._watch()
    console._greet()
    with console._context.terminal.raw():
        os.write(line[0], b"\x1b")
        console.step(5)
        console.step(5)
        os.write(line[0], b"[A/to x\r")
        console.step(5)
    assert console._partner == ""
    assert "went nowhere" in said(line[0])


def test_json_events_are_documents(server: FakeServer, line: tuple[int, int]) -> None:
    console = Interactive(context(server, line[1], line[1], json=True))
    console._watch()
    server.push({"event": "peer", "id": "\x1b"})
    console.step(5)
    assert '{"event":"peer","id":"\\u001b"}' in said(line[0])


def test_a_lost_connection_is_noticed_after_a_command_too(server: FakeServer, line: tuple[int, int]) -> None:
    console = Interactive(context(server, line[1], line[1]))
    console._watch()
    console._context.interactive = True
    server.drop_all()
    console._line("/status")
    assert "closed the connection" in said(line[0])
    console.step(0.01)
    assert console._watching
    assert "the daemon is back" in said(line[0])
    console._context.close()
    console._show_events()


def test_a_history_that_cannot_be_used_is_told(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    command = Command(tmp_path, server.path)
    ran = command("--history", str(tmp_path / "folder"), stdin=b"/version\n")
    assert ran.status == 1
    assert "folder" in ran.err
    ran = command("--history", str(tmp_path / "none" / "h"), stdin=b"/version\n")
    assert "none/h" in ran.err
    assert read_tail(str(tmp_path / "none"), 5) == []


def test_a_restricted_connection_that_is_refused_is_closed(server: FakeServer, line: tuple[int, int]) -> None:
    server.table["become"] = refusing("failed", "no such user")
    made = context(server, line[1], line[1], user="anna", restricted=True)
    with pytest.raises(RefusedError):
        made.request("status")
    assert made.connected is None


def test_endless_standard_input_is_refused(server: FakeServer) -> None:
    zero = os.open("/dev/zero", os.O_RDONLY)
    try:
        with pytest.raises(UsageError):
            context(server, zero, zero).read_input()
    finally:
        os.close(zero)


def test_an_event_whose_owner_cannot_be_found_out_is_shown(server: FakeServer, line: tuple[int, int]) -> None:
    server.table["mesh.identity"] = refusing("failed", "no")
    console = Interactive(context(server, line[1], line[1]))
    console._watch()
    server.push({"event": "state", "id": MESSAGE, "state": "delivered", "user": "me"})
    console.step(5)
    console._context.close()
    console.step(0.01)
    assert "delivered" in said(line[0])


# --- completion ----------------------------------------------------------------------------

NAMES = {Kind.PEER: ["anna", "annie", "Bert B"], Kind.USER: ["me"], Kind.MESSAGE: ["k5v3wq7a"]}


def offered(text: str, *, restricted: bool = False) -> list[str]:
    found = Completer(lambda kind: NAMES.get(kind, []), restricted=restricted)(text, len(text))
    assert all(text[found.start :] == candidate[: len(text) - found.start] for candidate in found.candidates)
    return list(found.candidates)


def test_tab_offers_what_may_stand_there() -> None:
    assert offered("/mes") == ["/mesh "]
    assert "/quit " in offered("/")
    assert offered("hello") == []
    assert offered("") == []
    assert offered("/mesh u") == ["unblock ", "unmute ", "unsubscribe ", "user "]
    assert offered("/mesh user ") == ["add ", "export ", "import ", "list ", "remove "]
    assert offered("/mesh send an") == ["anna ", "annie "]
    assert offered('/mesh send "Be') == ['"Bert B" ']
    assert offered("/mesh send anna ") == []
    assert offered("/mesh send anna --u") == ["--urgent ", "--user "]
    assert offered("/mesh delete k") == ["k5v3wq7a "]
    assert offered("/mesh user remove m") == ["me "]
    assert offered("/mesh peers x") == []
    assert offered("/help me") == ["mesh ", "metrics "]
    assert offered("/to an") == ["anna ", "annie "]
    assert offered("/nonsense x") == []


def test_tab_offers_nothing_that_the_restricted_console_refuses() -> None:
    assert offered("/mesh u", restricted=True) == ["unblock ", "unmute ", "unsubscribe "]
    assert offered("/mesh send anna --", restricted=True) == ["--json ", "--ttl ", "--urgent ", "--wait "]
    assert "/doctor " not in offered("/", restricted=True)


def test_names_are_asked_for_seldom_and_hostile_ones_left_out(server: FakeServer, line: tuple[int, int]) -> None:
    server.table["mesh.peers"] = [{"id": ANNA, "name": "\x1b[2J"}, {"id": "\x1b", "name": ""}]
    seconds = [0.0]
    directory = Directory(context(server, line[1], line[1]), lambda: seconds[0])
    assert directory.names(Kind.PEER) == [ANNA[:12], "me"]
    assert directory.names(Kind.PEER) == [ANNA[:12], "me"]
    assert server.commands() == ["mesh.peers", "mesh.identity"]
    seconds[0] = 6.0
    directory.names(Kind.PEER)
    assert len(server.commands()) == 4
    assert directory.names(Kind.MESSAGE) == [MESSAGE[:8]]
    assert directory.names(Kind.TEXT) == []


def test_a_restricted_console_does_not_ask_for_users_and_errors_offer_nothing(
    server: FakeServer, line: tuple[int, int], tmp_path: Path
) -> None:
    assert Directory(context(server, line[1], line[1], restricted=True)).names(Kind.USER) == []
    gone = context(server, line[1], line[1])
    gone.socket = str(tmp_path / "none")
    assert Directory(gone).names(Kind.PEER) == []

"""The qpq command from its arguments to its exit status, against a control server that is not real."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from console_fake import ANNA, MESSAGE, NODE, FakeServer, refusing
from console_run import Command

import qpq
from qpq.console import about, handlers, program, send
from qpq.console.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    made = FakeServer(tmp_path / "s")
    yield made
    made.close()


@pytest.fixture
def command(tmp_path: Path, server: FakeServer) -> Command:
    return Command(tmp_path, server.path)


# --- what scripts rely on ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "control"),
    [
        (["mesh", "peers"], "mesh.peers"),
        (["mesh", "inbox"], "mesh.inbox"),
        (["mesh", "outbox"], "mesh.outbox"),
        (["mesh", "identity"], "mesh.identity"),
        (["mesh", "user", "list"], "mesh.user.list"),
        (["mesh", "route"], "mesh.route"),
        (["mesh", "ping", "anna"], "mesh.ping"),
        (["mesh", "trace", "anna"], "mesh.trace"),
        (["mesh", "store"], "mesh.store"),
        (["mesh", "channels"], "mesh.channels"),
        (["mesh", "subscribe", "news"], "mesh.subscribe"),
        (["mesh", "broadcast", "news", "hi"], "mesh.broadcast"),
        (["status"], "status"),
        (["metrics"], "metrics"),
    ],
)
def test_json_prints_the_control_document(command: Command, server: FakeServer, words: list[str], control: str) -> None:
    for argv in (["--json", *words], [*words, "--json"], ["/" + words[0], *words[1:], "--json"]):
        ran = command(*argv)
        assert (ran.status, ran.err) == (0, "")
        assert json.loads(ran.out) == server.table[control]


@pytest.mark.parametrize(
    ("words", "control", "args"),
    [
        (["mesh", "server", "host:7001"], "mesh.server", {"address": "host:7001"}),
        (["mesh", "send", "anna", "hi", "you"], "mesh.send", {"peer": "anna", "text": "hi you"}),
        (
            ["mesh", "send", "anna", "hi", "--ttl", "2h", "--urgent"],
            "mesh.send",
            {"peer": "anna", "text": "hi", "ttl": 7200, "urgent": True},
        ),
        (["mesh", "inbox"], "mesh.inbox", {"all": False, "limit": 40}),
        (["mesh", "inbox", "--all"], "mesh.inbox", {"all": True, "limit": None}),
        (["mesh", "inbox", "--limit", "5"], "mesh.inbox", {"all": False, "limit": 5}),
        (["mesh", "delete", "abcd"], "mesh.delete", {"message": "abcd"}),
        (["mesh", "block", "anna"], "mesh.block", {"peer": "anna"}),
        (["mesh", "unblock", "anna"], "mesh.unblock", {"peer": "anna"}),
        (["mesh", "mute", "anna"], "mesh.mute", {"peer": "anna"}),
        (["mesh", "unmute", "anna"], "mesh.unmute", {"peer": "anna"}),
        (["mesh", "name", "abcdefgh", "Anna B"], "mesh.name", {"peer": "abcdefgh", "petname": "Anna B"}),
        (["mesh", "name", "abcdefgh"], "mesh.name", {"peer": "abcdefgh"}),
        (["mesh", "ping", "anna"], "mesh.ping", {"peer": "anna"}),
        (["mesh", "trace", "anna"], "mesh.trace", {"peer": "anna"}),
        (["mesh", "forget", "host:7001"], "mesh.forget", {"address": "host:7001"}),
        (["mesh", "store"], "mesh.store", {}),
        (["mesh", "route"], "mesh.route", {}),
        (["mesh", "subscribe", "news"], "mesh.subscribe", {"topic": "news"}),
        (
            ["mesh", "subscribe", "news", "--key", "K", "--private"],
            "mesh.subscribe",
            {"topic": "news", "key": "K", "private": True},
        ),
        (["mesh", "subscribe", "news", "--announce"], "mesh.subscribe", {"topic": "news", "announce": True}),
        (["mesh", "unsubscribe", "news"], "mesh.unsubscribe", {"topic": "news"}),
        (["mesh", "channels", "--share", "news"], "mesh.channels", {"share": "news"}),
        (
            ["mesh", "broadcast", "news", "hi", "all", "--ttl", "2h"],
            "mesh.broadcast",
            {"topic": "news", "text": "hi all", "ttl": 7200},
        ),
        (["mesh", "user", "add", "bob"], "mesh.user.add", {"name": "bob"}),
        (["mesh", "user", "remove", "bob"], "mesh.user.remove", {"name": "bob"}),
    ],
)
def test_each_command_asks_the_daemon_for_what_it_means(
    command: Command, server: FakeServer, words: list[str], control: str, args: dict[str, Any]
) -> None:
    ran = command(*words)
    assert (ran.status, ran.err) == (0, "")
    assert server.args_of(control) == args


def test_a_user_is_named_by_flag_or_environment(command: Command, server: FakeServer) -> None:
    command("mesh", "inbox", "--user", "bob")
    assert server.requests[-1]["user"] == "bob"
    command("mesh", "inbox", environ={**command.environ, "QPQ_USER": "carl"})
    assert server.requests[-1]["user"] == "carl"
    command("mesh", "inbox")
    assert "user" not in server.requests[-1]
    assert command("mesh", "inbox", environ={**command.environ, "QPQ_USER": "../x"}).status == 2


def test_without_a_daemon_the_exit_status_is_3(tmp_path: Path) -> None:
    ran = Command(tmp_path, str(tmp_path / "none"))("mesh", "peers")
    assert ran.status == 3
    assert ran.out == ""
    assert "no daemon answers" in ran.err
    assert Command(tmp_path, str(tmp_path / "none"))().status == 3


def test_wrong_usage_is_2_and_says_how_it_is_written(command: Command, server: FakeServer) -> None:
    for argv in (
        ["nonsense"],
        ["mesh"],
        ["mesh", "server"],
        ["--nonsense"],
        ["mesh", "send", "anna", "x", "--ttl", "99d"],
    ):
        ran = command(*argv)
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.startswith("qpq: ")
    assert server.requests == []


def test_a_refusal_is_1_or_2_with_the_daemons_words_made_harmless(command: Command, server: FakeServer) -> None:
    server.table["status"] = refusing("failed", "bad \x1b[2J\nnews")
    ran = command("status")
    assert (ran.status, ran.err) == (1, "qpq: bad \\x1b[2J\nqpq: news\n")
    server.table["status"] = refusing("usage", "no")
    assert command("status").status == 2


def test_help_and_version_need_no_daemon(tmp_path: Path) -> None:
    command = Command(tmp_path, str(tmp_path / "none"))
    for argv in (["help"], ["--help"], ["-h"], ["run", "--help"]):
        ran = command(*argv)
        assert ran.status == 0
        assert "mesh send" in ran.out
        assert "exit status" in ran.out
    assert "--ttl" in command("help", "mesh", "send").out
    assert "--ttl" in command("mesh", "send", "--help").out
    assert command("help", "nonsense").status == 2
    assert command("version").out == f"qpq {qpq.__version__}\n"
    assert command("--version").out == f"qpq {qpq.__version__}\n"
    assert json.loads(command("version", "--json").out) == {"version": qpq.__version__, "daemon": None}


def test_version_tells_of_an_older_daemon(command: Command, server: FakeServer) -> None:
    assert command("version").out == f"qpq {qpq.__version__}\n"
    server.table["version"] = {"version": "0.0.9"}
    assert "daemon 0.0.9" in command("version").out


def test_quit_does_nothing_outside_the_console(command: Command) -> None:
    assert command("quit").status == 0


def test_metrics_are_printed_as_they_are(command: Command, server: FakeServer) -> None:
    assert command("metrics").out == "# HELP x y\nqpq_links 1\n"
    server.table["metrics"] = "a 1\n"
    assert command("metrics").out == "a 1\n"


# --- what people see -----------------------------------------------------------------------


def test_peers_are_a_table(command: Command, server: FakeServer) -> None:
    head, row = command("mesh", "peers").out.splitlines()
    assert head.split() == ["PEER", "TRUST", "STATE", "RTT", "VIA", "AGE", "ADDRESS", "USERS"]
    assert row.split() == [
        "anna",
        f"({ANNA[:12]})",
        "known",
        "up",
        "1.2",
        "ms",
        "beacon",
        "1",
        "min",
        "[fe80::1%eth0]:7000",
        "annie",
    ]
    server.table["mesh.peers"] = []
    assert "no peers yet" in command("mesh", "peers").out


def test_the_identity_comes_with_a_code(command: Command, server: FakeServer) -> None:
    out = command("mesh", "identity").out
    assert "\u2580" in out
    assert f"node {NODE}" in out
    assert "me" in out
    assert "\u2580" not in command("mesh", "identity", "--no-qr").out
    ascii_only = command("mesh", "identity", environ={**command.environ, "LC_ALL": "C"}).out
    assert ascii_only.isascii()
    assert "##" in ascii_only
    server.table["mesh.identity"] = {"id": "\x1b[2J"}
    assert "\x1b" not in command("mesh", "identity").out


HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\r\n\x00fake prompt> "
HOSTILE_ROW = {
    "id": HOSTILE, "from": HOSTILE, "from_name": HOSTILE, "to": HOSTILE, "name": HOSTILE, "state": HOSTILE,
    "via": HOSTILE, "address": HOSTILE, "text": HOSTILE, "reason": HOSTILE, "version": HOSTILE,
    "users": [{"id": HOSTILE, "name": HOSTILE}], HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]},
    "received": 1e308, "rtt_ms": -1, "age_s": 1e400, "event": "message", "armour": HOSTILE,
}  # fmt: skip
ALLOWED_CONTROLS = {"\n"}


@pytest.mark.parametrize(
    ("words", "control"),
    [
        (["mesh", "peers"], "mesh.peers"),
        (["mesh", "inbox"], "mesh.inbox"),
        (["mesh", "outbox"], "mesh.outbox"),
        (["mesh", "identity"], "mesh.identity"),
        (["mesh", "user", "list"], "mesh.user.list"),
        (["mesh", "block", "anna"], "mesh.block"),
        (["mesh", "send", "anna", "x"], "mesh.send"),
        (["mesh", "user", "export", "me", "--passphrase-stdin"], "mesh.user.export"),
        (["status"], "status"),
        (["version"], "version"),
        (["metrics"], "metrics"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_nothing_in_an_answer_steers_the_terminal(
    command: Command, server: FakeServer, words: list[str], control: str, *, as_json: bool
) -> None:
    one_row = control in {
        "mesh.identity",
        "mesh.block",
        "mesh.send",
        "mesh.user.export",
        "status",
        "version",
        "metrics",
    }
    server.table[control] = HOSTILE_ROW if one_row else [HOSTILE_ROW]
    ran = command(*words, *(["--json"] if as_json else []), stdin=b"secret\n")
    assert ran.status == 0
    text = (command.directory / "stdout").read_bytes().decode()
    bad = {char for char in text if ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u202e\u2028"}
    assert bad <= ALLOWED_CONTROLS
    if as_json:
        assert text.isascii()


# --- sending -------------------------------------------------------------------------------


def test_the_text_comes_from_a_file_or_from_standard_input(
    command: Command, server: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / "letter").write_text("dear\nanna\n")
    assert command("mesh", "send", "anna", "--file", str(tmp_path / "letter")).status == 0
    assert server.args_of("mesh.send")["text"] == "dear\nanna"
    command("mesh", "send", "anna", "-", stdin="grüße\r\n".encode())
    assert server.args_of("mesh.send")["text"] == "grüße"
    command("mesh", "send", "anna", stdin=b"from a pipe")
    assert server.args_of("mesh.send")["text"] == "from a pipe"


def test_what_cannot_be_sent_is_refused_before_the_daemon_hears_of_it(
    command: Command, server: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(b"x" * 32769)
    for argv, stdin, status in (
        (["--file", str(tmp_path / "large")], b"", 2),
        (["--file", str(tmp_path / "none")], b"", 1),
        (["--file", "a\0b"], b"", 1),
        (["--file", str(tmp_path / "large"), "text"], b"", 2),
        (["-"], b"\xff", 2),
        (["-"], b"x" * 40000, 2),
        ([], b"", 2),
    ):
        assert command("mesh", "send", "anna", *argv, stdin=stdin).status == status
    assert server.requests == []


def test_waiting_ends_with_the_receipt(command: Command, server: FakeServer) -> None:
    def answer(_args: dict[str, Any]) -> Any:
        server.push({"event": "state", "id": "other", "state": "delivered"})
        server.push({"event": "state", "id": MESSAGE, "state": "relayed", "copies": 2})
        server.push({"event": "state", "id": MESSAGE, "state": "delivered", "copies": 0})
        return {"id": MESSAGE, "state": "queued"}

    server.table["mesh.send"] = answer
    ran = command("mesh", "send", "anna", "hi", "--wait", "10", "--json")
    assert ran.status == 0
    assert json.loads(ran.out) == {"id": MESSAGE, "state": "delivered", "copies": 0}
    assert server.commands() == ["watch", "mesh.send"]


def test_waiting_in_vain_is_a_failure(command: Command, server: FakeServer) -> None:
    ran = command("mesh", "send", "anna", "hi", "--wait", "0")
    assert (ran.status, ran.out) == (1, f"{MESSAGE[:8]}  queued\n")
    server.table["mesh.send"] = {"id": MESSAGE, "state": "expired"}
    assert command("mesh", "send", "anna", "hi", "--wait", "9").status == 1
    server.table["mesh.send"] = {"id": MESSAGE, "state": "delivered"}
    assert command("mesh", "send", "anna", "hi", "--wait", "9").status == 0
    assert send.DELIVERED == "delivered"


def test_without_waiting_queued_is_success(command: Command) -> None:
    assert command("mesh", "send", "anna", "hi").status == 0


# --- watching ------------------------------------------------------------------------------


class Enough(KeyboardInterrupt):
    """Ends a watch as ^C does."""


def test_watching_prints_what_comes_until_interrupted(
    command: Command, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [
        None,
        {"event": "message", "id": MESSAGE, "from": ANNA, "text": "hi", "received": 0},
        {"event": "message", "id": MESSAGE, "from": ANNA, "text": "psst", "muted": True},
        {"event": "state", "id": MESSAGE, "state": "delivered"},
        {"event": "peer", "id": ANNA, "up": True, "address": "a:1"},
        {"event": "nonsense"},
    ]
    queue = list(events)

    def next_event(_self: Client, _deadline: float) -> Any:
        if not queue:
            raise Enough
        return queue.pop(0)

    monkeypatch.setattr(Client, "wait_event", next_event)
    ran = command("watch")
    assert ran.status == program.INTERRUPTED
    assert ran.out == (
        f"{MESSAGE[:8]}  -  {ANNA[:12]}: hi\n{MESSAGE[:8]}  delivered\npeer {ANNA[:12]} is linked  a:1\n"
    )
    queue[:] = [events[3]]
    ran = command("mesh", "inbox", "--watch", "--json")
    assert [json.loads(line) for line in ran.out.splitlines()] == [server.table["mesh.inbox"], events[3]]


# --- export and import ---------------------------------------------------------------------


def test_an_export_goes_to_a_new_private_file(command: Command, server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "anna.qpq"
    ran = command("mesh", "user", "export", "me", "--file", str(path), "--passphrase-stdin", stdin=b"pass word\r\nx")
    assert ran.status == 0
    assert server.args_of("mesh.user.export") == {"name": "me", "passphrase": "pass word"}
    assert path.read_text() == "qpq-identity-1:AAAA\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = command("mesh", "user", "export", "me", "--file", str(path), "--passphrase-stdin", stdin=b"x\n")
    assert again.status == 1
    assert "exists" in again.err


def test_an_export_goes_to_standard_output(command: Command, server: FakeServer) -> None:
    argv = ["mesh", "user", "export", "me", "--passphrase-stdin"]
    assert command(*argv, stdin=b"x\n").out == "qpq-identity-1:AAAA\n"
    assert json.loads(command(*argv, "--json", stdin=b"x\n").out) == {"armour": "qpq-identity-1:AAAA"}
    server.table["mesh.user.export"] = {}
    assert command(*argv, stdin=b"x\n").status == 1


def test_an_import_takes_file_or_standard_input(command: Command, server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "anna.qpq"
    path.write_text("qpq-identity-1:AAAA\n")
    assert command("mesh", "user", "import", "--file", str(path), "--passphrase-stdin", stdin=b"x\n").status == 0
    assert server.args_of("mesh.user.import") == {"armour": "qpq-identity-1:AAAA", "passphrase": "x"}
    both = b"x\nqpq-identity-1:BBBB\n"
    ran = command("mesh", "user", "import", "bob", "--passphrase-stdin", "--json", stdin=both)
    assert json.loads(ran.out) == {"name": "anna", "id": ANNA}
    assert server.args_of("mesh.user.import") == {"armour": "qpq-identity-1:BBBB", "passphrase": "x", "name": "bob"}


def test_a_passphrase_is_never_taken_from_where_it_could_not_be_typed(command: Command, server: FakeServer) -> None:
    for argv, stdin in (
        (["mesh", "user", "export", "me"], b"x\n"),
        (["mesh", "user", "import"], b"x\n"),
        (["mesh", "user", "export", "me", "--passphrase-stdin"], b"\n"),
        (["mesh", "user", "export", "me", "--passphrase-stdin"], b"\xff\n"),
        (["mesh", "user", "import", "--passphrase-stdin"], b"x\n\xff\n"),
    ):
        assert command(*argv, stdin=stdin).status == 2
    assert server.requests == []


# --- the restricted console ----------------------------------------------------------------


def restricted(command: Command, line: str | None, *, stdin: bytes = b"", argv: tuple[str, ...] = ()) -> Any:
    """Run ``qpq --restricted --as anna`` with the daemon where HOME says, since QPQ_* must not matter."""
    home = command.directory / "home"
    data = home / ".local/share/qpq"
    data.mkdir(parents=True, exist_ok=True)
    if not (data / "qpq.sock").exists():
        (data / "qpq.sock").symlink_to(command.environ["QPQ_SOCKET"])
    environ = {"HOME": str(home), "QPQ_SOCKET": "/nonexistent", "QPQ_USER": "root", "QPQ_DATA_DIR": "/nonexistent"}
    if line is not None:
        environ["SSH_ORIGINAL_COMMAND"] = line
    return command("--restricted", "--as", "anna", *argv, stdin=stdin, environ=environ)


def test_a_restricted_console_binds_itself_first(command: Command, server: FakeServer) -> None:
    ran = restricted(command, "qpq mesh inbox --json")
    assert ran.status == 0
    assert [(r["command"], r["args"]) for r in server.requests] == [
        ("become", {"user": "anna"}),
        ("mesh.inbox", {"all": False, "limit": 40}),
    ]
    assert all("user" not in request for request in server.requests)


@pytest.mark.parametrize(
    "line",
    [
        "sh", "/bin/sh -c id", "qpq daemon", "qpq run", "daemon", "doctor", "metrics", "mesh server evil:1",
        "mesh user list", "mesh user export anna", "mesh user import", "mesh user add x", "mesh user remove anna",
        "mesh send bob --file /etc/shadow", "mesh send bob --file=/etc/shadow", "--socket /x status",
        "status --socket /x", "qpq --socket=/x status", "--data-dir /x status", "status --config /x",
        "mesh inbox --user bob", "--restricted --as bob status", "--as bob mesh inbox", "--history /x",
        "/mesh server x", "become bob", "$(id)", "`id`", "mesh wipe", "x" * 70000,
    ],
)  # fmt: skip
def test_a_restricted_console_lets_nothing_else_through(command: Command, server: FakeServer, line: str) -> None:
    ran = restricted(command, line)
    assert ran.status in {1, 2}
    assert server.requests == []


def test_shell_characters_in_a_restricted_text_are_only_text(command: Command, server: FakeServer) -> None:
    restricted(command, "mesh send bob '$(id)' `id` ; reboot && x > /tmp/y | z ~ $HOME")
    assert server.args_of("mesh.send")["text"] == "'$(id)' `id` ; reboot && x > /tmp/y | z ~ $HOME"
    restricted(command, "mesh send bob -", stdin=b"from ssh's input")
    assert server.args_of("mesh.send")["text"] == "from ssh's input"


def test_a_restricted_console_whose_user_is_refused_does_nothing(command: Command, server: FakeServer) -> None:
    server.table["become"] = refusing("failed", "this node has no user anna")
    ran = restricted(command, "mesh inbox")
    assert (ran.status, server.commands()) == (1, ["become"])


def test_the_administrator_may_fix_the_command(command: Command, server: FakeServer) -> None:
    ran = restricted(command, "mesh user export anna", argv=("mesh", "peers"))
    assert (ran.status, server.commands()) == (0, ["become", "mesh.peers"])


def test_the_restricted_help_tells_only_what_is_allowed(command: Command) -> None:
    out = restricted(command, "help").out
    assert "mesh send" in out
    for hidden in ("user add", "export", "--socket", "daemon", "mesh server"):
        assert hidden not in out
    assert restricted(command, "help mesh user").status == 2


def test_a_restricted_console_on_a_pipe_takes_commands_line_by_line(command: Command, server: FakeServer) -> None:
    ran = restricted(command, None, stdin=b"/mesh peers\n/mesh server x:1\n/quit\n")
    assert ran.status == 1
    assert "PEER" in ran.out
    assert "not in the restricted console" in ran.out
    assert server.commands() == ["become", "watch", "mesh.peers"]


# --- a pipe instead of a terminal ----------------------------------------------------------


def test_commands_from_a_pipe_are_carried_out_and_plain_text_is_not_sent(command: Command, server: FakeServer) -> None:
    ran = command(
        stdin=b"/mesh send anna hi\nhello there\nmesh peers\n\n/to anna\nhello anna\n/to\n/version --user bob\n/status"
    )
    assert server.commands() == ["watch", "mesh.send", "mesh.send", "version", "status"]
    assert server.args_of("mesh.send") == {"peer": "anna", "text": "hello anna"}
    assert "went nowhere" in ran.out
    assert "/mesh peers" in ran.out
    assert ran.status == 2


def test_in_the_console_standard_input_is_no_text(command: Command, server: FakeServer) -> None:
    ran = command(stdin=b"/mesh send anna -\n/mesh user import\n/watch\n/help\n/help mesh send\n")
    assert server.commands() == ["watch", "watch"]
    assert "the text is missing" in ran.out
    assert "--file is missing" in ran.out
    assert "/mesh send" in ran.out


def test_output_that_nobody_reads_ends_the_command(command: Command, server: FakeServer) -> None:
    read, write = os.pipe()
    os.close(read)
    null = os.open(os.devnull, os.O_RDWR)
    try:
        assert program.run(["status"], command.environ, (null, write, write)) == 1
        assert program.run(["nonsense"], command.environ, (null, write, write)) == 2
    finally:
        os.close(write)
        os.close(null)
    assert server.commands() == ["status"]


def test_an_interrupt_is_told_by_the_exit_status(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "execute", interrupted)
    assert command("status").status == 130


def test_the_default_limit_of_the_longest_messages_fits_into_one_answer() -> None:
    from qpq.console.client import MAX_LINE  # noqa: PLC0415

    assert handlers.DEFAULT_LIMIT * (32768 * 6 + 1024) <= MAX_LINE


def test_a_built_binary_names_its_commit_and_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(about, "COMMIT", "0123456789ab")
    monkeypatch.setattr(about, "TARGET", "mips_24kc")
    assert about.version_line() == f"qpq {qpq.__version__} (commit 0123456789ab, mips_24kc)"
    assert about.version_document() == {"version": qpq.__version__, "commit": "0123456789ab", "target": "mips_24kc"}

"""What people see of store, routes, probes and channels; and how they come into a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from console_fake import ANNA, MESSAGE, NODE, FakeServer, refusing
from console_run import Command

from qpq.console import channels, render, render_mesh
from qpq.console.complete import Completer, Directory
from qpq.console.errors import ConsoleError
from qpq.console.values import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_800_000_000.0
EVIL = "\x1b]0;owned\x07\u202e"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    made = FakeServer(tmp_path / "s")
    yield made
    made.close()


@pytest.fixture
def command(tmp_path: Path, server: FakeServer) -> Command:
    return Command(tmp_path, server.path)


# --- what is shown ------------------------------------------------------------------------------


def test_routes_are_a_table(command: Command) -> None:
    lines = command("mesh", "route").out.splitlines()
    assert lines[0].split() == ["DESTINATION", "NEXT", "HOP", "HOPS", "COST", "AGE", "SCORE", "NODE"]
    assert lines[1].split() == ["anna", f"({ANNA[:12]})", NODE[:12], "3", "3.50", "1", "min", "1.00", NODE[:12]]
    assert "no routes" in render_mesh.routes([], NOW)[0]


def test_a_ping_says_how_far_and_a_trace_who_stands_between(command: Command) -> None:
    assert command("mesh", "ping", "anna").out == f"anna ({ANNA[:12]}): 12 ms, 1 hop\n"
    lines = command("mesh", "trace", "anna").out.splitlines()
    assert lines == [f"anna ({ANNA[:12]}): 12 ms, 2 hops", f"  1  {NODE[:12]}", f"  2  {ANNA[:12]}"]


def test_a_ping_that_comes_to_nothing_is_a_failure(command: Command, server: FakeServer) -> None:
    server.table["mesh.ping"] = refusing("failed", "no answer from anna: no route")
    ran = command("mesh", "ping", "anna")
    assert (ran.status, ran.out, ran.err) == (1, "", "qpq: no answer from anna: no route\n")


def test_the_store_is_told_in_lines() -> None:
    row: dict[str, Any] = {
        "inbox": 3, "unread": 1, "oldest": int(NOW) - 7200, "waiting": 2, "finished": 9, "relayed": 5,
        "relayed_bytes": 2048, "relayed_oldest_s": 120, "quota_used_bytes": 4096, "quota_max_bytes": 1 << 20,
        "tombstones": 4, "proofs": 6, "seen": 7, "used_bytes": 65536, "max_bytes": 2 << 20, "durable": True,
    }  # fmt: skip
    assert render_mesh.store(row, NOW) == [
        "inbox: 3 messages, 1 unread, the oldest 2 h ago",
        "outbox: 2 on their way, 9 done",
        "for others: 5 messages, 2.0 KiB, the oldest 2 min",
        "known: 4 delivered here, 6 receipts of others, 7 seen of channels",
        "room: 64 KiB of 2.0 MiB used; for others 4.0 KiB of 1.0 MiB",
        "place: every message is on disk",
    ]
    assert render_mesh.store({**row, "durable": False}, NOW)[-1] == "place: in RAM only"


def test_a_store_in_ram_says_what_lies_on_flash() -> None:
    snapshot: dict[str, Any] = {"bytes": 3000, "max_bytes": 262_144, "written": int(NOW) - 60, "problem": ""}
    lines = render_mesh.store({"snapshot": snapshot}, NOW)
    assert lines[-1] == "place: in RAM, with a snapshot of 2.9 KiB (at most 256 KiB) on flash, written 1 min ago"
    lines = render_mesh.store({"snapshot": {**snapshot, "problem": EVIL}}, NOW)
    assert lines[-1] == "problem: \\x1b]0;owned\\x07\\u202e"


def test_the_store_tells_whom_it_keeps_for_and_from_whom() -> None:
    shares: dict[str, Any] = {
        "by_recipient": [{"id": ANNA, "name": "anna", "count": 4, "bytes": 4096}],
        "by_link": [{"id": None, "count": 1, "bytes": 500}],
    }
    lines = [line.split() for line in render_mesh.store(shares, NOW)[-5:]]
    assert lines[:2] == [["FOR", "MESSAGES", "BYTES"], ["anna", f"({ANNA[:12]})", "4", "4.0", "KiB"]]
    assert lines[3:] == [["FROM", "NEIGHBOUR", "MESSAGES", "BYTES"], ["this", "node", "1", "500", "B"]]


def test_channels_are_a_table_that_says_which_are_public(command: Command) -> None:
    lines = [line.split("  ") for line in command("mesh", "channels").out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[1] == ["#news", "open, public", "everybody in it"]
    assert cells[2] == ["#board", "announcement", f"anna ({ANNA[:12]})"]
    assert "mesh subscribe" in render_mesh.channels([], NOW)[0]


def test_an_open_channel_says_plainly_that_it_is_public(command: Command) -> None:
    for words in (("subscribe", "news"), ("broadcast", "news", "hi")):
        assert "it is public" in command("mesh", *words).out


def test_the_text_of_a_channel_that_is_not_open_is_shown_with_what_it_means(
    command: Command, server: FakeServer
) -> None:
    server.table["mesh.subscribe"] = {"topic": "board", "kind": "private", "public": False, "share": "qpq-channel:abc"}
    lines = command("mesh", "subscribe", "board", "--private").out.splitlines()
    assert lines[0] == "#board: who has the key reads and writes"
    assert "cannot be put out" in lines[1]
    assert lines[2] == "qpq-channel:abc"
    server.table["mesh.broadcast"] = {"id": MESSAGE, "public": False, "state": "queued"}
    assert command("mesh", "broadcast", "board", "hi").out == f"{MESSAGE[:8]}  queued\n"


def test_a_shared_channel_comes_as_qr_code_and_text(command: Command, server: FakeServer) -> None:
    server.table["mesh.channels"] = {
        "topic": "news",
        "kind": "open",
        "public": True,
        "share": "qpq-channel:aeaaabdomv3xg",
    }
    lines = command("mesh", "channels", "--share", "news").out.splitlines()
    assert len(lines) == 20, "a QR code of 25 modules and its quiet zone, two rows in a line"
    assert lines[-1] == "qpq-channel:aeaaabdomv3xg"
    assert lines[-3] == ""


@pytest.mark.parametrize(("share", "instead"), [("qpq-channel:" + "a" * 575, channels.TOO_LONG), (EVIL, "")])
def test_a_text_that_makes_no_qr_code_is_shown_as_text(
    command: Command, server: FakeServer, share: str, instead: str
) -> None:
    server.table["mesh.channels"] = {"topic": "news", "kind": "announcement", "share": share}
    lines = command("mesh", "channels", "--share", "news").out.splitlines()
    assert lines[: lines.index("")] == ([instead] if instead else [])


def test_a_message_of_a_channel_shows_its_topic_as_it_comes_in_the_inbox_and_in_the_outbox() -> None:
    row: dict[str, Any] = {
        "event": "message",
        "id": MESSAGE,
        "from": ANNA,
        "text": "hi",
        "received": 0,
        "channel": "news",
    }
    shown = f"{MESSAGE[:8]}  -  #news {ANNA[:12]}: hi"
    assert render.event(row, NOW) == [shown]
    assert render.inbox([row], NOW) == [shown]
    assert "#news" in render.outbox([{"id": MESSAGE, "to": "", "channel": "news", "text": "hi"}], NOW)[1]
    assert "#" not in render.inbox([{**row, "channel": ""}], NOW)[0]


def test_nothing_of_a_peer_or_a_channel_reaches_the_terminal_as_it_is() -> None:
    evil: Any = {
        "id": EVIL, "name": EVIL, "node": EVIL, "next_hop": EVIL, "topic": EVIL, "kind": EVIL, "share": EVIL,
        "signers": [{"id": EVIL, "name": EVIL}], "path": [{"id": EVIL}], "hops": EVIL, "event": "message",
        "channel": EVIL, "state": EVIL, "public": False, "from": EVIL, "text": EVIL,
        "by_recipient": [{"id": EVIL, "name": EVIL}], "by_link": [{"id": EVIL}],
    }  # fmt: skip
    shown = [
        *render_mesh.routes([evil], NOW),
        *render_mesh.trace(evil, NOW),
        *render_mesh.channels([evil], NOW),
        *render_mesh.channel(evil),
        *render_mesh.broadcast(evil, NOW),
        *render_mesh.store(evil, NOW),
        *render.event(evil, NOW),
        *render.outbox([evil], NOW),
    ]
    assert all(line.isprintable() for line in shown)


# --- what is given ------------------------------------------------------------------------------


def test_a_broadcast_comes_from_standard_input_or_a_file_too(
    command: Command, server: FakeServer, tmp_path: Path
) -> None:
    assert command("mesh", "broadcast", "news", stdin=b"from a pipe\n").status == 0
    assert server.args_of("mesh.broadcast") == {"topic": "news", "text": "from a pipe"}
    (tmp_path / "text").write_text("from a file\n")
    assert command("mesh", "broadcast", "news", "--file", str(tmp_path / "text")).status == 0
    assert server.args_of("mesh.broadcast") == {"topic": "news", "text": "from a file"}
    assert command("mesh", "broadcast", "news", "x" * 40_000).status == 2


@pytest.mark.parametrize("words", [["subscribe", "x" * 1100], ["unsubscribe", "x" * 65], ["broadcast", "", "hi"]])
def test_topics_that_cannot_be_are_wrong_usage(command: Command, server: FakeServer, words: list[str]) -> None:
    ran = command("mesh", *words)
    assert ran.status == 2
    assert server.requests == []


def test_the_restricted_console_reads_and_writes_channels_but_neither_files_nor_forgets(
    command: Command, server: FakeServer, tmp_path: Path
) -> None:
    there = tmp_path / ".local/share/qpq/qpq.sock"
    there.parent.mkdir(parents=True)
    there.symlink_to(server.path)

    def restricted(line: str) -> Any:
        environ = {"HOME": str(tmp_path), "SSH_ORIGINAL_COMMAND": line}
        return command("--restricted", "--as", "anna", environ=environ)

    for line in ("mesh subscribe news", "mesh broadcast news hi", "mesh channels", "mesh ping anna", "mesh store"):
        assert restricted(line).status == 0, line
    assert restricted("mesh broadcast news --file /etc/passwd").status == 1
    assert restricted("mesh forget host:7000").status == 1
    assert "mesh.forget" not in server.commands()


# --- completion ---------------------------------------------------------------------------------


def test_topics_are_completed_from_the_channels_that_are_read() -> None:
    class Context:
        restricted = False

        def request(self, command: str, timeout: float) -> Any:
            assert (command, timeout) == ("mesh.channels", 1.0)
            return [{"topic": "news", "id": "x"}, {"topic": "new bikes"}, {"topic": EVIL}, {}]

    directory = Directory(Context())  # type: ignore[arg-type]
    assert directory.names(Kind.TOPIC) == ["news", "new bikes"]
    complete = Completer(directory.names)
    assert complete("/mesh broadcast ne", 18).candidates == ("news ",)
    assert set(complete("/mesh unsubscribe ", 18).candidates) == {"news ", '"new bikes" '}
    assert complete("/mesh subscribe ", 16).candidates == ()


def test_a_daemon_that_does_not_answer_offers_no_topics() -> None:
    class Context:
        restricted = False

        def request(self, _command: str, timeout: float) -> Any:
            raise ConsoleError(f"no answer within {timeout}")

    assert Directory(Context()).names(Kind.TOPIC) == []  # type: ignore[arg-type]

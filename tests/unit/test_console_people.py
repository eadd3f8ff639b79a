"""What people see of safety numbers, changed keys and privacy, and that nobody can miss a changed key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from console_fake import ANNA, MESSAGE, NODE, FakeServer, refusing
from console_run import Command

from qpq.console import render
from qpq.console.complete import Completer, Directory
from qpq.console.context import Context
from qpq.console.handlers import execute, help_lines
from qpq.console.parser import parse
from qpq.console.words import split

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_800_000_000.0
EVIL = "\x1b]0;owned\x07\u202e"
NUMBER = " ".join(f"{n:05}" for n in range(12))
CLAIM = {"user": "me", "name": "anna", "old": ANNA, "new": NODE}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    made = FakeServer(tmp_path / "s")
    yield made
    made.close()


@pytest.fixture
def command(tmp_path: Path, server: FakeServer) -> Command:
    return Command(tmp_path, server.path)


# --- verify -------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("verify", "anna"), ("/verify", "anna")])
def test_a_safety_number_comes_as_code_and_in_12_groups(command: Command, server: FakeServer, words: Any) -> None:
    ran = command(*words)
    assert ran.status == 0
    lines = ran.out.splitlines()
    assert lines[-7:-4] == [" ".join(f"{n:05}" for n in range(at, at + 4)) for at in (0, 4, 8)]
    assert lines[-8] == lines[-4] == ""
    assert len(lines[:-8]) > 20, "the QR code"
    assert lines[-3:] == [
        f"anna ({ANNA[:12]}): known",
        "The other side must see the same number for you. Compare face to face, or where you know the voice, or scan.",
        "the same: verify anna <number or scanned text>",
    ]
    assert server.args_of("verify") == {"peer": "anna"}


def test_the_document_of_a_safety_number_is_the_daemons(command: Command, server: FakeServer) -> None:
    assert json.loads(command("verify", "anna", "--json").out) == server.table["verify"]


def test_what_the_other_side_shows_is_handed_over_as_it_was_typed(command: Command, server: FakeServer) -> None:
    server.table["verify"] = {"id": ANNA, "name": "anna", "trust": "verified", "matches": True}
    ran = command("verify", "anna", *NUMBER.split())
    assert (ran.status, ran.out) == (0, f"anna ({ANNA[:12]}): the numbers match; verified\n")
    assert server.args_of("verify") == {"peer": "anna", "number": NUMBER}
    command("verify", "anna", f"QPQ-VERIFY:1:{ANNA}:{NODE}")
    assert server.args_of("verify")["number"] == f"QPQ-VERIFY:1:{ANNA}:{NODE}"


def test_numbers_that_differ_are_a_failure(command: Command, server: FakeServer) -> None:
    server.table["verify"] = refusing("failed", "THE NUMBERS DIFFER: send nothing")
    ran = command("verify", "anna", NUMBER)
    assert (ran.status, ran.out, ran.err) == (1, "", "qpq: THE NUMBERS DIFFER: send nothing\n")


@pytest.mark.parametrize("name", ["accept", "undo"])
def test_a_changed_key_is_accepted_and_a_mark_taken_back(command: Command, server: FakeServer, name: str) -> None:
    server.table["verify"] = {"id": ANNA, "name": "anna", "trust": "known"}
    assert command("verify", "anna", f"--{name}").out == f"anna ({ANNA[:12]}): known\n"
    assert server.args_of("verify") == {"peer": "anna", name: True}


def test_the_number_of_a_changed_key_says_what_was_and_what_can_be_done(command: Command, server: FakeServer) -> None:
    server.table["verify"] = {**server.table["verify"], "trust": "changed", "id": NODE, "old": ANNA}
    lines = command("verify", "anna").out.splitlines()[-4:]
    assert lines[0] == f"THE KEY OF anna ({NODE[:12]}) HAS CHANGED: it was {ANNA},"
    assert NODE in lines[1]
    assert lines[2] == "the same number on the other side: verify anna <number>"
    assert lines[3].endswith("believe it: verify anna --accept; you do not: verify anna --undo")


def test_in_the_console_commands_are_told_with_their_slash(tmp_path: Path, server: FakeServer) -> None:
    shown: list[str] = []
    context = Context(None, None, {}, str(tmp_path), server.path, interactive=True)  # type: ignore[arg-type]
    context.terminal = type("T", (), {"is_utf8": False, "is_output_tty": False, "dumb": True, "write": shown.append})  # type: ignore[assignment]
    line = "/verify anna"
    assert execute(context, parse(line, split(line), interactive=True)) == 0
    context.close()
    assert shown[0].splitlines()[-1] == "the same: /verify anna <number or scanned text>"


# --- a changed key ------------------------------------------------------------------------------


def test_a_petname_that_is_anothers_fails_loudly_with_both_ids(command: Command, server: FakeServer) -> None:
    server.table["mesh.name"] = {"id": NODE, "name": "", "trust": "changed", "changed": [CLAIM]}
    ran = command("mesh", "name", NODE, "anna")
    assert ran.status == 1
    assert ran.err.splitlines() == [
        "qpq: THE KEY OF anna HAS CHANGED (for user me)",
        f"qpq:   it was {ANNA}",
        f"qpq:   and {NODE} claims the name now",
        "qpq:   nothing is sent to anna until that is settled: compare numbers with: verify anna",
        "qpq:   accept the new key: verify anna --accept; keep the old one: verify anna --undo",
    ]
    ran = command("mesh", "name", NODE, "anna", "--json")
    assert (ran.status, json.loads(ran.out)["changed"]) == (1, [CLAIM])


def test_a_petname_that_is_free_is_given_quietly(command: Command, server: FakeServer) -> None:
    server.table["mesh.name"] = {"id": NODE, "name": "bert"}
    ran = command("mesh", "name", NODE, "bert")
    assert (ran.status, ran.err) == (0, "")
    assert "bert" in ran.out
    assert server.args_of("mesh.name") == {"peer": NODE, "petname": "bert"}


def test_a_new_user_under_anothers_petname_is_made_and_told_of_loudly(
    command: Command, server: FakeServer, tmp_path: Path
) -> None:
    made = {"name": "anna", "id": NODE, "changed": [CLAIM]}
    server.table |= {"mesh.user.add": made, "mesh.user.import": made}
    (tmp_path / "export").write_text("qpq-identity-1:AAAA\n")
    for words, stdin in (
        (("add", "anna"), b""),
        (("import", "--file", str(tmp_path / "export"), "--passphrase-stdin"), b"correct horse\n"),
    ):
        ran = command("mesh", "user", *words, stdin=stdin)
        assert ran.status == 0
        assert "THE KEY OF anna HAS CHANGED" in ran.err
        assert "changed" not in ran.out


def test_a_message_to_a_changed_key_is_a_failure(command: Command, server: FakeServer) -> None:
    server.table["mesh.send"] = refusing("failed", "THE KEY OF anna HAS CHANGED: nothing was sent")
    ran = command("mesh", "send", "anna", "hi")
    assert (ran.status, ran.out) == (1, "")
    assert "HAS CHANGED" in ran.err


def test_what_changes_is_shown_as_it_happens() -> None:
    lines = render.event({"event": "changed", **CLAIM}, NOW)
    assert lines[0] == "THE KEY OF anna HAS CHANGED (for user me)"
    row: dict[str, Any] = {"event": "peer", "id": NODE, "up": True, "address": "host:7000", "known_id": ANNA}
    assert render.event(row, NOW) == [
        f"peer {NODE[:12]} is linked  host:7000 [THE KEY AT THIS ADDRESS HAS CHANGED: it was {ANNA[:12]}]"
    ]


# --- marks --------------------------------------------------------------------------------------


def test_peers_and_their_users_show_trust() -> None:
    users = [
        {"id": ANNA, "name": "anna", "trust": "verified"},
        {"id": NODE, "name": "", "trust": "changed"},
        {"id": NODE, "name": "zoe", "trust": "known"},
    ]
    row: dict[str, Any] = {"id": NODE, "trust": "changed", "state": "linked", "users": users, "known_id": ANNA}
    head, line = render.peers([row], NOW)
    assert head.split()[:3] == ["PEER", "TRUST", "STATE"]
    assert line.split()[:3] == [NODE[:12], "changed", "linked"]
    assert f"anna (verified), {NODE[:12]} (KEY CHANGED), zoe [THE KEY AT THIS ADDRESS" in line


def test_who_is_verified_or_changed_is_marked_on_messages() -> None:
    row: dict[str, Any] = {"id": MESSAGE, "from": ANNA, "from_name": "anna", "text": "hi", "received": 0}
    heads = [
        render.message({**row, "from_trust": trust}, NOW)[0].partition("  -  ")[2]
        for trust in ("new", "known", "verified", "changed", None)
    ]
    short = ANNA[:12]
    assert heads == [
        f"anna ({short}): hi", f"anna ({short}): hi", f"anna ({short}, verified): hi",
        f"anna ({short}, KEY CHANGED): hi", f"anna ({short}): hi",
    ]  # fmt: skip
    nameless = {**row, "from_name": "", "from_trust": "verified"}
    assert render.message(nameless, NOW)[0].endswith(f"{short} (verified): hi")
    sent: dict[str, Any] = {"id": MESSAGE, "to": ANNA, "to_name": "anna", "to_trust": "verified", "text": "ho"}
    assert "verified" in render.outbox([sent], NOW)[1]


def test_whether_a_message_went_post_quantum_is_shown_where_its_state_is(command: Command, server: FakeServer) -> None:
    server.table["mesh.send"] = {"id": MESSAGE, "state": "queued", "post_quantum": False}
    assert command("mesh", "send", "anna", "hi").out == f"{MESSAGE[:8]}  queued, not post-quantum\n"
    for value, shown in ((True, "delivered, post-quantum"), (None, "delivered")):
        row: dict[str, Any] = {"event": "state", "id": MESSAGE, "state": "delivered", "post_quantum": value}
        assert render.event(row, NOW) == [f"{MESSAGE[:8]}  {shown}"]
        assert shown in render.outbox([row], NOW)[1]


def test_nothing_of_a_peer_reaches_the_terminal_as_it_is(command: Command, server: FakeServer) -> None:
    evil: Any = {
        "id": EVIL, "name": EVIL, "trust": EVIL, "number": f"{EVIL} {EVIL}", "scan": "X", "old": EVIL, "user": EVIL,
        "new": EVIL, "known_id": EVIL, "event": "changed", "users": [{"id": EVIL, "name": EVIL, "trust": EVIL}],
    }  # fmt: skip
    server.table["verify"] = evil
    shown = [*render.changed(evil), *render.event(evil, NOW), *render.peers([evil], NOW)]
    shown += command("verify", "anna").out.splitlines()
    assert all(line.isprintable() for line in shown)


# --- privacy ------------------------------------------------------------------------------------


def test_privacy_shows_the_setting_and_what_it_costs(command: Command, server: FakeServer) -> None:
    assert command("privacy").out.splitlines() == [
        "padding: on: the length of your messages is told in steps of 256 bytes only",
        "cost since the node started: 402 bytes in 4 messages of all users, 100 each",
    ]
    assert json.loads(command("/privacy", "--json").out) == server.table["privacy"]
    server.table["privacy"] = {"padding": False, "step_bytes": 256, "padded_messages": 0}
    lines = command("privacy", "padding", "off").out.splitlines()
    assert lines[0].startswith("padding: off: whoever carries a message sees its length")
    assert "no padded message" in lines[1]
    assert server.args_of("privacy") == {"setting": "padding", "value": "off"}


@pytest.mark.parametrize("words", [("padding", "maybe"), ("on",), ("padding", "on", "x"), ("padding", "\x07")])
def test_what_cannot_be_switched_is_wrong_usage(command: Command, server: FakeServer, words: Any) -> None:
    assert command("privacy", *words).status == 2
    assert server.requests == []


# --- help, completion, the restricted console -------------------------------------------------------


def test_both_are_in_the_help_and_complete() -> None:
    shown = "\n".join(help_lines("", restricted=True, interactive=True))
    assert "/verify <peer> [number...]" in shown.replace("[<number...>]", "[number...]")
    assert "/privacy" in shown
    assert "--accept" in "\n".join(help_lines("verify", restricted=False, interactive=False))
    directory = Directory(type("C", (), {"restricted": False, "request": lambda *_, **__: [{"name": "anna"}]})())
    complete = Completer(directory.names)
    assert complete("/verify an", 10).candidates == ("anna ",)
    assert complete("/verify anna --", 15).candidates[0] == "--accept "
    assert complete("/priv", 5).candidates == ("/privacy ",)
    assert complete("/privacy ", 9).candidates == ("padding ",)
    assert set(complete("/privacy padding ", 17).candidates) == {"on ", "off "}


def test_a_restricted_user_verifies_and_chooses_for_herself(
    command: Command, server: FakeServer, tmp_path: Path
) -> None:
    there = tmp_path / ".local/share/qpq/qpq.sock"
    there.parent.mkdir(parents=True)
    there.symlink_to(server.path)
    for line in ("verify anna", f"/verify anna {NUMBER}", "verify anna --accept", "privacy padding off"):
        environ = {"HOME": str(tmp_path), "SSH_ORIGINAL_COMMAND": line}
        assert command("--restricted", "--as", "anna", environ=environ).status == 0, line
    assert [request["command"] for request in server.requests].count("become") == 4

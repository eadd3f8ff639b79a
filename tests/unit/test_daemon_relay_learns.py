"""What a relay learns: real daemons A - R - B, and everything of R searched for what is none of its business.

Searched are all bytes of all its files (store, WAL, snapshot, log at debug level, metrics file, what respondd is given
for the network map), every answer of its control socket that reads, and the memory of the process. Sought are texts,
petnames, user names, topics and keys of private channels, as bytes and in the usual encodings. The same search must
find them at A, or it proves nothing.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from node import Node, wait_for

from qpq.daemon.commands import COMMANDS, Role
from qpq.daemon.published import MAP_NAME
from qpq.errors import QpqError

if TYPE_CHECKING:
    from collections.abc import Iterator

ANNA_NAME, BERT_NAME = "annabel-geheim", "bertram-geheim"
ANNAS_PETNAME, RELAYS_PETNAME, BERTS_PETNAME = "Schatzkiste", "Funkturmwart", "Rosenkavalier"
TOPIC = "Vorstand-vertraulich"
TEXTS = {
    "there": "Treffpunkt unter der alten Eiche",
    "back": "Abgemacht, ich bringe die Leiter mit",
    "kept": "Der Ersatzschluessel liegt im Blumentopf",
    "all": "Die Kasse ist seit gestern leer",
}
SECRETS = (ANNA_NAME, BERT_NAME, ANNAS_PETNAME, RELAYS_PETNAME, BERTS_PETNAME, TOPIC, *TEXTS.values())
READING = {"mesh.inbox", "mesh.outbox", "mesh.channels", "privacy"}
NOT_ANSWERED = {"become", "watch"}


MAP = """
import runpy
import sys
from qpq.daemon import places, published
folder = sys.argv.pop(1)
places.runtime = lambda root="": folder
published.MAP_FIRST_SECONDS = published.MAP_SECONDS = 0.5
runpy.run_module("qpq", run_name="__main__", alter_sys=True)
"""
"""A daemon that gives respondd its file in the directory which its first argument names, as on OpenWrt."""


def encodings(secret: str) -> set[bytes]:
    """Return a text as it stands in files, and as encodings would hide it."""
    raw = secret.encode()
    shown = {raw, secret.upper().encode(), secret.encode("utf-16-le"), raw.hex().encode(), raw.hex().upper().encode()}
    for lead in range(3):  # what stands before it shifts the groups
        encoded = base64.b64encode(b"\0" * lead + raw)
        shown.add(encoded[4 if lead else 0 : len(encoded) // 4 * 4 - 4])
    for lead in range(5):
        encoded = base64.b32encode(b"\0" * lead + raw).rstrip(b"=")
        shown |= {part for part in (encoded[8:-8], encoded[8:-8].lower()) if len(part) >= 8}
    return shown


def found_in(data: bytes, secrets: tuple[str, ...] = SECRETS) -> set[str]:
    return {secret for secret in secrets if any(shown in data for shown in encodings(secret))}


def memory_of(node: Node) -> bytes:
    """Return what the process may write to; nothing where the kernel does not let us look."""
    parts = []
    try:
        with open(f"/proc/{node.pid}/mem", "rb", buffering=0) as memory:
            for line in Path(f"/proc/{node.pid}/maps").read_text().splitlines():
                area = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
                if area:
                    first, last = (int(text, 16) for text in area.groups())
                    memory.seek(first)
                    parts.append(memory.read(last - first) or b"")
    except OSError:
        return b""
    return b"\n".join(parts)


def files_of(node: Node) -> dict[str, bytes]:
    return {
        str(path.relative_to(node.folder)): path.read_bytes()
        for path in sorted(node.folder.rglob("*"))
        if path.is_file()
    }


def answers_of(node: Node) -> dict[str, bytes]:
    """Return the answers to every command that reads and needs no argument, as the admin gets them."""
    answers = {}
    for name, command in COMMANDS.items():
        reads = command.role is Role.READ_ONLY or name in READING
        if reads and name not in NOT_ANSWERED and all(arg.optional for arg in command.args.values()):
            answers[name] = json.dumps(node.ask(name), ensure_ascii=False).encode()
    return answers


def everything_of(node: Node) -> dict[str, bytes]:
    return {**files_of(node), **answers_of(node), "memory": memory_of(node)}


def ports(count: int) -> list[int]:
    from test_daemon_mesh import free_ports  # noqa: PLC0415 (pytest shall not collect it here)

    return free_ports(count)


@pytest.fixture
def line() -> Iterator[list[Node]]:
    """Make A, R and B of which only R knows both others."""
    anna, relay, bert = ports(3)
    quiet = ["--no-mdns", "--no-beacon", "--no-group"]
    dialled = ["--peer", f"127.0.0.1:{anna}", "--peer", f"127.0.0.1:{bert}"]
    nodes = [
        Node("anna", arguments=["--listen", f"127.0.0.1:{anna}", *quiet]),
        Node("relay", arguments=["--listen", f"127.0.0.1:{relay}", *quiet, *dialled, "--log-level", "debug"]),
        Node("bert", arguments=["--listen", f"127.0.0.1:{bert}", *quiet]),
    ]
    nodes[1].arguments += ["--metrics-file", str(nodes[1].folder / "metrics.prom")]
    nodes[1].program = [sys.executable, "-c", MAP, str(nodes[1].folder)]
    for node in nodes:
        node.start(wait=False)
    for node in nodes:
        node.wait_ready()
    wait_for("R is linked with both", lambda: len(nodes[1].linked()) == 2)
    yield nodes
    for node in nodes:
        node.close()


def reached(node: Node, user: str, target: str) -> Any:
    try:
        return node.ask("mesh.ping", user, peer=target)
    except QpqError:
        return None


def introduce(anna: Node, relay: Node, bert: Node) -> None:
    """Make users and petnames, and a private channel between A and B."""
    added: Any = anna.ask("mesh.user.add", name=ANNA_NAME)
    other: Any = bert.ask("mesh.user.add", name=BERT_NAME)
    anna.ask("mesh.name", ANNA_NAME, peer=other["id"], petname=ANNAS_PETNAME)
    bert.ask("mesh.name", BERT_NAME, peer=added["id"], petname=BERTS_PETNAME)
    anna.ask("mesh.name", ANNA_NAME, peer=relay.identity(), petname=RELAYS_PETNAME)
    channel: Any = anna.ask("mesh.subscribe", ANNA_NAME, topic=TOPIC, private=True)
    bert.ask("mesh.subscribe", BERT_NAME, topic=channel["share"])
    wait_for("A reaches B", lambda: reached(anna, ANNA_NAME, ANNAS_PETNAME), within=40)


def test_a_relay_learns_nothing_more_than_the_header(line: list[Node]) -> None:
    anna, relay, bert = line
    introduce(anna, relay, bert)
    seen: dict[str, bytes] = {}

    first = anna.send(ANNAS_PETNAME, TEXTS["there"], ANNA_NAME)
    second = bert.send(BERTS_PETNAME, TEXTS["back"], BERT_NAME)
    anna.ask("mesh.broadcast", ANNA_NAME, topic=TOPIC, text=TEXTS["all"])
    wait_for("A's has arrived", lambda: anna.state(first, ANNA_NAME) == "delivered", within=40)
    wait_for("B's has arrived", lambda: bert.state(second, BERT_NAME) == "delivered", within=40)
    wait_for("the broadcast has", lambda: TEXTS["all"] in bert.texts(BERT_NAME), within=40)

    bert.stop()
    wait_for("B is gone", lambda: len(relay.linked()) == 1, within=40)
    kept = anna.send(ANNAS_PETNAME, TEXTS["kept"], ANNA_NAME)
    wait_for("R keeps it", lambda: anna.state(kept, ANNA_NAME) == "relayed", within=40)
    store: Any = relay.ask("mesh.store")
    assert store["relayed"] >= 1, "there is something at R that could be read"
    wait_for("the map has it", lambda: json.loads((relay.folder / MAP_NAME).read_text())["relayed"] >= 1)
    seen |= {f"while it is kept: {place}": data for place, data in everything_of(relay).items()}
    bert.start()
    wait_for("it has arrived", lambda: anna.state(kept, ANNA_NAME) == "delivered", within=60)
    seen |= {f"at the end: {place}": data for place, data in everything_of(relay).items()}
    relay.stop()
    seen |= {f"when it is off: {place}": data for place, data in files_of(relay).items()}

    places = {place.partition(": ")[2] for place in seen}
    assert {"log", "identity.json", "metrics.prom", MAP_NAME, "mesh.store", "mesh.peers", "metrics", "status"} <= places
    assert any(place.startswith("qpq.") for place in places), "the store"
    assert {place: found_in(data) for place, data in seen.items() if found_in(data)} == {}

    own = {place: found_in(data) for place, data in everything_of(anna).items()}
    hers = {ANNA_NAME, ANNAS_PETNAME, RELAYS_PETNAME, TOPIC}
    assert hers <= own["identity.json"], "the same search finds what is there"
    if memory_of(anna):
        assert hers | {TEXTS["kept"]} <= own["memory"]
        assert seen["at the end: memory"]


def test_the_search_finds_a_text_in_every_encoding_it_speaks_of() -> None:
    text = TEXTS["kept"]
    for hidden in (
        text.encode(),
        text.encode("utf-16-le"),
        text.encode().hex().encode(),
        base64.b64encode(b"x" + text.encode() + b"yy"),
        base64.b64encode(b"xx" + text.encode()),
        base64.b64encode(text.encode()),
        base64.b32encode(b"abc" + text.encode() + b"d"),
        base64.b32encode(text.encode()).lower(),
    ):
        assert found_in(b"before" + hidden + b"behind") == {text}
    assert found_in(os.urandom(1 << 16)) == set()

"""The static binary as a relay: its domain and that of a node with the real packages write to each other."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import binaries
import pytest
from domains import delivered
from node import Node, free_ports, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS, THEIRS = "packages.example", "binary.example"
TOPIC = "rheinland"
SLOW = 60.0  # seconds: handshakes under emulation


def configure(node: Node, domain: str, other: str, more: str, section: str) -> None:
    """Write a relay's configuration: of all nodes' options ``more``, of the other relay's ``section``."""
    main = f"config qpq 'main'\noption domain '{domain}'\noption clock_trusted 'yes'\n{more}"
    relay = f"config relay\noption domain '{other}'\nlist topic '{TOPIC}'\n{section}"
    (node.folder / "conf").write_text(main + relay)


@pytest.fixture(params=binaries.TOLD)
def relays(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Give a relay of this tree, which pins a key, and one of a binary, which believes a certificate it has issued."""
    program = binaries.command(request.param)
    places = [f"127.0.0.1:{port}" for port in free_ports(2)]
    with ExitStack() as stack:
        ours, theirs = (
            Node(name, arguments=("--no-mdns", "--no-beacon", "--no-group", "--listen", place))
            for name, place in zip(("packages", "binary"), places, strict=True)
        )
        theirs.program = program
        for node in (ours, theirs):
            stack.callback(node.close)
            node.start(wait=False)
        for node in (ours, theirs):
            wait_for(f"{node.name} answers", node._answers, SLOW)
        ids = {node.name: node.identity() for node in (ours, theirs)}
        authority = tmp_path / "authority"
        for words in (("init", authority, "communities"), ("issue", authority, OURS, ids["packages"])):
            subprocess.run([*program, "federation", "ca", *map(str, words)], check=True, timeout=SLOW)
        pinned = f"list key '{ids['binary']}'\nlist address '{places[1]}'\n"
        configure(ours, OURS, THEIRS, f"option federation_certificate '{authority}/{OURS}.pem'\n", pinned)
        configure(theirs, THEIRS, OURS, f"option federation_ca '{authority}/ca.pem'\n", "")
        for node in (ours, theirs):
            node.stop()
            node.arguments += ["--config", str(node.folder / "conf")]
            node.start(wait=False)
        for node in (ours, theirs):
            wait_for(f"{node.name} answers", node._answers, SLOW)
        yield ours, theirs
        assert [node.log() for node in (ours, theirs) if "Traceback" in node.log()] == []


def reached(node: Node) -> bool:
    found: Any = node.ask("federation.status")
    return all(row["reached"] for row in found["relays"])


def test_users_write_to_each_other_and_all_read_the_shared_topic(relays: tuple[Node, Node]) -> None:
    ours, theirs = relays
    wait_for("the relays are connected", lambda: reached(ours) and reached(theirs), SLOW)
    for node in relays:
        node.ask("mesh.user.add", name="anna")
        node.ask("mesh.subscribe", topic=TOPIC)
    for here, there, domain in ((ours, theirs, THEIRS), (theirs, ours, OURS)):
        text = f"from {here.name}"
        delivered(here, [here.send(f"anna@{domain}", text, "anna")], SLOW, "anna")
        assert there.texts("anna") == [text]
        rows: Any = here.ask("mesh.outbox", "anna")
        assert [row["post_quantum"] for row in rows] == [True]
        here.ask("mesh.broadcast", topic=TOPIC, text=text)
        wait_for("the topic has crossed", lambda there=there, text=text: text in there.texts(), SLOW)
        marked = [row["domain"] for row in there.inbox() if row["text"] == text]
        assert marked == [OURS if here is ours else THEIRS]
    # A name that the relay's directory has, of a person who keeps none there.
    carla: Any = theirs.ask("mesh.user.add", name="carla")
    theirs.ask("federation.name.add", name="meyer", key=carla["id"])
    delivered(ours, [ours.send(f"meyer@{THEIRS}", "by the directory's name", "anna")], SLOW, "anna")
    assert theirs.texts("carla") == ["by the directory's name"]

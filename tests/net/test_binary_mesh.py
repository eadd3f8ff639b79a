"""Binaries and nodes with the real packages in one mesh of several hops: everything it does, in both directions.

The nodes stand in a row, in turns: a node of this tree, a binary, a node of this tree, a binary. So each kind is an
end and each a relay.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import binaries
import pytest
from netns import Lab
from node import Node, wait_for

from qpq.errors import QpqError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.net

QUIET = ("--no-mdns", "--no-beacon", "--no-group")
SLOW = 90.0  # seconds: handshakes of two emulated nodes on a loaded machine
WORDS = "over the mountains"
WAYS = ((0, 3), (3, 0))
"""From a node of this tree over a binary and the tree to a binary, and back."""


@pytest.fixture(params=binaries.TOLD)
def program(request: pytest.FixtureRequest) -> list[str]:
    """Give the command that runs a built binary."""
    return binaries.command(request.param)


class Row:
    """Nodes in a row, each told the addresses of those beside it; their ids."""

    def __init__(self, lab: Lab, stack: ExitStack, programs: Sequence[list[str]]) -> None:
        machines = [lab.namespace() for _ in programs]
        self.nodes: list[Node] = []
        for n, (machine, program) in enumerate(zip(machines, programs, strict=True)):
            before = ("--peer", f"10.72.{n - 1}.1:7000") if n else ()
            after = ("--peer", f"10.72.{n}.2:7000") if n + 1 < len(machines) else ()
            node = Node(f"node{n}", prefix=machine.command(), arguments=(*QUIET, *before, *after))
            node.program = program
            stack.callback(node.close)
            self.nodes.append(node)
        for n, (one, other) in enumerate(pairwise(machines)):
            cable = lab.segment()
            cable.attach(one, "right", ipv4=f"10.72.{n}.1/24")
            cable.attach(other, "left", ipv4=f"10.72.{n}.2/24")
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            wait_for(f"{node.name} answers", node._answers, SLOW)
        self.ids = [node.identity() for node in self.nodes]
        self.settle()

    def settle(self) -> None:
        """Wait until all neighbours are linked."""
        for n, (one, other) in enumerate(pairwise(self.nodes)):
            wait_for("a link", lambda a=one, i=n + 1: self.ids[i] in a.linked(), SLOW)  # type: ignore[misc]
            wait_for("a link", lambda b=other, i=n: self.ids[i] in b.linked(), SLOW)  # type: ignore[misc]

    def expect(self, sender: int, message: str, state: str) -> None:
        """Wait until a sender shows this state of a message."""
        wait_for(f"the message is {state}", lambda: self.nodes[sender].state(message) == state, SLOW)

    def restart(self, index: int) -> None:
        """Start a node that was killed."""
        self.nodes[index].start(wait=False)
        wait_for("it answers", self.nodes[index]._answers, SLOW)


@pytest.fixture
def row(program: list[str]) -> Iterator[Row]:
    """Give the row of nodes, all linked."""
    with Lab() as lab, ExitStack() as stack:
        yield Row(lab, stack, ([], program, [], program))


def answered(node: Node, command: str, peer: str) -> Any:
    """Return the answer to a probe; None while there is no way to the peer."""
    try:
        return node.ask(command, peer=peer)
    except QpqError:
        return None


def test_messages_receipts_routes_and_probes_go_over_binaries_and_packages_alike(row: Row, program: list[str]) -> None:
    for sender, recipient in WAYS:
        message = row.nodes[sender].send(row.ids[recipient], f"from {sender}")
        row.expect(sender, message, "delivered")
        assert row.nodes[recipient].texts() == [f"from {sender}"]
    for sender, recipient in WAYS:
        node, target = row.nodes[sender], row.ids[recipient]
        between = row.ids[1:recipient] if recipient else row.ids[sender - 1 : 0 : -1]
        answer = wait_for("the far end answers", lambda n=node, t=target: answered(n, "mesh.ping", t), SLOW)  # type: ignore[misc]
        assert answer["hops"] == 3
        path: Any = wait_for("the way is told", lambda n=node, t=target: answered(n, "mesh.trace", t), SLOW)  # type: ignore[misc]
        assert [hop["id"] for hop in path["path"]] == [*between, target]
        routes: Any = node.ask("mesh.route")
        rows = {each["node"]: (each["next_hop"], each["hops"]) for each in routes}
        assert rows[target] == (between[0], 3)
    # The binary's console asks a daemon of this tree; the other way round is what all of this file does.
    words = [*program, "--socket", str(row.nodes[2].socket), "mesh", "identity", "--json"]
    assert json.loads(subprocess.run(words, check=True, capture_output=True).stdout)["id"] == row.ids[2]


def test_a_recipient_that_is_off_gets_its_mail_from_the_last_relay_though_the_sender_is_gone(row: Row) -> None:
    for sender, recipient in WAYS:
        relay = row.nodes[recipient - 1 if recipient else 1]
        row.nodes[recipient].kill()
        message = row.nodes[sender].send(row.ids[recipient], f"{sender} was here")
        row.expect(sender, message, "relayed")
        wait_for("the last relay holds it", lambda r=relay, i=recipient: holds(r, row.ids[i]), SLOW)  # type: ignore[misc]
        row.nodes[sender].kill()
        row.restart(recipient)
        wait_for("its mail is there", lambda i=recipient, s=sender: f"{s} was here" in row.nodes[i].texts(), SLOW)  # type: ignore[misc]
        row.restart(sender)
        row.expect(sender, message, "delivered")
        row.settle()


def test_channels_of_every_kind_and_a_person_who_moves(row: Row) -> None:
    ours, theirs = row.nodes[0], row.nodes[3]
    for node in row.nodes:
        node.ask("mesh.subscribe", topic="news")
    for owner, other, topic in ((ours, theirs, "board"), (theirs, ours, "tafel")):
        private: Any = owner.ask("mesh.subscribe", topic=topic, private=True)
        other.ask("mesh.subscribe", topic=private["share"])
        told: Any = owner.ask("mesh.subscribe", topic=f"{topic}-told", announce=True)
        other.ask("mesh.subscribe", topic=told["share"])
        with pytest.raises(QpqError, match="announcement"):
            other.ask("mesh.broadcast", topic=f"{topic}-told", text="not mine to say")
        for channel in ("news", topic, f"{topic}-told"):
            owner.ask("mesh.broadcast", topic=channel, text=f"{channel} of {owner.name}")
            wait_for(f"{channel} is heard", lambda o=other, w=owner, c=channel: f"{c} of {w.name}" in o.texts(), SLOW)  # type: ignore[misc]
    expected = ["news of node0", "news of node3"]
    for relay in row.nodes[1:3]:
        wait_for("relays hear what is open", lambda r=relay: r.texts() == expected, SLOW)  # type: ignore[misc]
    for name, old, new in (("anna", ours, theirs), ("bert", theirs, ours)):
        person: Any = old.ask("mesh.user.add", name=name)
        moved: Any = old.ask("mesh.user.export", name=name, passphrase=WORDS)
        old.ask("mesh.user.remove", name=name)
        arrived: Any = new.ask("mesh.user.import", armour=moved["armour"], passphrase=WORDS)
        assert arrived["id"] == person["id"]
        message = old.send(person["id"], f"to {name}, who moved")
        wait_for("the receipt is back", lambda o=old, m=message: o.state(m) == "delivered", SLOW)  # type: ignore[misc]
        assert new.texts(name) == [f"to {name}, who moved"]


def holds(node: Node, recipient: str) -> bool:
    """Return whether a node keeps something for a recipient."""
    store: Any = node.ask("mesh.store")
    return any(each["id"] == recipient for each in store["by_recipient"])

"""The static binary and a node with the real packages form one network: both directions, restarts, users."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from netns import Lab
from node import Node, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.net

DIST = Path(__file__).resolve().parents[2] / "dist"
RUNNERS = {
    "x86_64": [],
    "mips_24kc": ["qemu-mips", "-cpu", "24Kc"],
    "arm_cortex-a7_neon-vfpv4": ["qemu-arm"],
}
QUIET = ("--no-mdns", "--no-beacon", "--no-group")
SLOW = 60.0  # seconds: a handshake under emulation


@pytest.fixture(params=RUNNERS)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Node, Node]]:
    """Give a node of this tree and one of a built binary, linked over a cable."""
    runner = RUNNERS[request.param]
    binary = DIST / request.param / "qpq"
    if not binary.exists():
        pytest.skip(f"{request.param} is not built: make cross TARGET={request.param}")
    if runner and not shutil.which(runner[0]):
        pytest.skip(f"{runner[0]} is not installed")
    with Lab() as lab, ExitStack() as stack:
        cable = lab.segment()
        machines = [lab.namespace(), lab.namespace()]
        for n, machine in enumerate(machines):
            cable.attach(machine, ipv4=f"10.72.0.{n + 1}/24")
        ours = Node("ours", prefix=machines[0].command(), arguments=QUIET)
        theirs = Node("binary", prefix=machines[1].command(), arguments=(*QUIET, "--peer", "10.72.0.1:7000"))
        theirs.program = [*runner, str(binary)]
        for node in (ours, theirs):
            stack.callback(node.close)
            node.start()
        linked(ours, theirs)
        yield ours, theirs


def linked(one: Node, other: Node) -> None:
    wait_for("the link is up", lambda: other.identity() in one.linked() and one.identity() in other.linked(), SLOW)


def delivered(sender: Node, recipient: Node, text: str, **options: object) -> None:
    """Send, and wait until the text is there and the receipt is back."""
    message = sender.send(recipient.identity(), text, **options)
    wait_for("the message is there", lambda: text in recipient.texts(), SLOW)
    wait_for("the receipt is back", lambda: sender.state(message) == "delivered", SLOW)


def test_the_binary_and_the_real_packages_form_one_network(pair: tuple[Node, Node]) -> None:
    ours, theirs = pair
    delivered(ours, theirs, "Grüße an den Router")
    delivered(theirs, ours, "Grüße vom Router", urgent=True)
    assert [row["urgent"] for row in ours.inbox()] == [True]
    delivered(ours, theirs, "x" * 30_000)
    anna = theirs.ask("mesh.user.add", name="anna")
    assert isinstance(anna, dict)
    wait_for("anna is announced", lambda: anna["id"] in users(ours), SLOW)
    message = ours.send(str(anna["id"]), "for anna alone")
    wait_for("the receipt is back", lambda: ours.state(message) == "delivered", SLOW)
    assert theirs.texts("anna") == ["for anna alone"]
    assert "for anna alone" not in theirs.texts()


def test_the_binary_keeps_identity_and_messages_over_a_restart(pair: tuple[Node, Node]) -> None:
    ours, theirs = pair
    before = theirs.identity()
    delivered(ours, theirs, "before")
    theirs.kill()
    waiting = ours.send(before, "while it was away")
    theirs.start()
    assert theirs.identity() == before
    wait_for("both messages are there", lambda: theirs.texts() == ["before", "while it was away"], SLOW)
    wait_for("the receipt is back", lambda: ours.state(waiting) == "delivered", SLOW)


def users(node: Node) -> set[str]:
    """Return the ids of the users that linked peers have announced."""
    return {str(user["id"]) for row in node.peers() for user in row["users"]}  # type: ignore[attr-defined]

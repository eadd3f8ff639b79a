"""The static binary and a node with the real packages form one network: both directions, restarts, users."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import avahi
import binaries
import pytest
from netns import Lab
from node import Node, wait_for

from qpq.errors import QpqError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from netns import Namespace

pytestmark = pytest.mark.net

# What qemu-user lacks: it hands part of rtnetlink's attributes to big-endian programs in this machine's byte order, and
# refuses IP_MULTICAST_IF, without which nothing is published by mDNS.
FINDING = (
    ("x86_64", "--no-beacon"),
    ("x86_64", "--no-mdns"),
    ("mipsel_24kc", "--no-mdns"),
    ("arm_cortex-a7_neon-vfpv4", "--no-mdns"),
)
QUIET = ("--no-mdns", "--no-beacon", "--no-group")
SLOW = 60.0  # seconds: a handshake under emulation


@pytest.fixture(params=binaries.TOLD)
def program(request: pytest.FixtureRequest) -> list[str]:
    """Give the command that runs a built binary."""
    return binaries.command(request.param)


@pytest.fixture
def machines() -> Iterator[list[Namespace]]:
    """Give three machines on one cable, 10.72.0.1 to .3."""
    with Lab() as lab:
        cable = lab.segment()
        made = [lab.namespace() for _ in range(3)]
        for n, machine in enumerate(made):
            cable.attach(machine, ipv4=f"10.72.0.{n + 1}/24")
        yield made


@pytest.fixture
def pair(program: list[str], machines: list[Namespace]) -> Iterator[tuple[Node, Node]]:
    """Give a node of this tree and one of a built binary, linked over a cable."""
    with ExitStack() as stack:
        ours, theirs = both(stack, program, machines, QUIET, (*QUIET, "--peer", "10.72.0.1:7000"))
        linked(ours, theirs)
        yield ours, theirs


def both(
    stack: ExitStack, program: list[str], machines: list[Namespace], here: tuple[str, ...], there: tuple[str, ...]
) -> tuple[Node, Node]:
    """Start a node of this tree and one of the binary."""
    ours = Node("ours", prefix=machines[0].command(), arguments=here)
    theirs = Node("binary", prefix=machines[1].command(), arguments=there)
    theirs.program = program
    for node in (ours, theirs):
        stack.callback(node.close)
        node.start(wait=False)
    for node in (ours, theirs):
        wait_for(f"{node.name} answers", node._answers, SLOW)
    return ours, theirs


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


def test_sessions_padding_safety_numbers_and_blocking_go_over_binary_and_packages_alike(
    pair: tuple[Node, Node],
) -> None:
    people = [field(node.ask("mesh.identity"), "user_id") for node in pair]
    shown = [field(node.ask("verify", peer=other), "number") for node, other in zip(pair, people[::-1], strict=True)]
    assert shown[0] == shown[1]
    for node, other in zip(pair, people[::-1], strict=True):
        assert field(node.ask("verify", peer=other, number=shown[0]), "trust") == "verified"
        with pytest.raises(QpqError, match="THE NUMBERS DIFFER"):
            node.ask("verify", peer=other, number="12345" * 12)
        node.ask("privacy", setting="padding", value="on")
    for sender, recipient, person in ((*pair, people[1]), (*pair[::-1], people[0])):
        for number in range(3):
            message = sender.send(person, f"{number} from {sender.name}, padded")
            wait_for("the receipt is back", lambda s=sender, m=message: s.state(m) == "delivered", SLOW)  # type: ignore[misc]
        rows = sender.ask("mesh.outbox")
        assert isinstance(rows, list)
        assert {row["post_quantum"] for row in rows} == {True}  # type: ignore[index,call-overload]
        assert recipient.texts() == [f"{number} from {sender.name}, padded" for number in range(3)]
        assert int(field(sender.ask("privacy"), "padded_messages")) >= 3
    for sender, recipient in (pair, pair[::-1]):
        recipient.ask("mesh.block", peer=people[pair.index(sender)])
        sender.send(people[pair.index(recipient)], "not wanted")
        wait_for("it is refused", lambda r=recipient: refused(r), SLOW)  # type: ignore[misc]
        assert "not wanted" not in recipient.texts()


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


@pytest.mark.parametrize("seconds", [0.0, 0.3, 1.0])
def test_the_binary_ends_well_also_when_it_is_stopped_as_it_starts(
    program: list[str], machines: list[Namespace], seconds: float
) -> None:
    """Discovery comes up after "ready": a MIPS under qemu-user waits 5 s for netlink's answer, and loads zeroconf."""
    with ExitStack() as stack:
        ours, theirs = both(stack, program, machines, QUIET, ("--peer", "10.72.0.1:7000"))
        begin = time.monotonic()
        wait_for("the moment", lambda: time.monotonic() - begin >= seconds, SLOW)
        assert theirs.stop() == 0, theirs.log()
        assert "stopped" in theirs.log().splitlines()[-1]
        assert ours.stop() == 0


@pytest.mark.parametrize(("program", "way"), FINDING, indirect=["program"])
def test_the_binary_and_a_node_find_each_other_without_being_told(
    program: list[str], machines: list[Namespace], way: str
) -> None:
    with ExitStack() as stack:
        ours, theirs = both(stack, program, machines, (way, "--no-group"), (way, "--no-group"))
        linked(ours, theirs)
        delivered(ours, theirs, "found")
        delivered(theirs, ours, "found too")
        assert (ours.stop(), theirs.stop()) == (0, 0)


@pytest.mark.parametrize("program", ["x86_64"], indirect=True)
@pytest.mark.skipif(not avahi.AVAILABLE, reason="avahi-daemon, avahi-utils or dbus-daemon is not installed")
def test_avahi_browse_on_another_machine_sees_the_binary_until_it_ends(
    program: list[str], machines: list[Namespace], tmp_path: Path
) -> None:
    there = avahi.Avahi(machines[2], tmp_path / "avahi")
    with ExitStack() as stack:
        _, binary = both(stack, program, machines, QUIET, ("--no-beacon", "--no-group"))
        name = binary.identity()[:16]
        (seen, *_) = wait_for("avahi sees it", lambda: [row for row in there.browse() if row.name == name], SLOW)
        assert (seen.port, '"server=10.72.0.2:7000"' in seen.text) == (7000, True)
        assert f'"id={binary.identity()}"' in seen.text
        assert binary.stop() == 0
        wait_for("the goodbye", lambda: not there.browse(), SLOW)


def field(answer: object, name: str) -> str:
    """Return one field of an answer, as text."""
    assert isinstance(answer, dict), answer
    return str(answer[name])


def refused(node: Node) -> bool:
    """Return whether the node has refused a message of somebody who is blocked."""
    return bool(node.counter("transfer.refused_blocked"))


def users(node: Node) -> set[str]:
    """Return the ids of the users that linked peers have announced."""
    return {str(user["id"]) for row in node.peers() for user in row["users"]}  # type: ignore[attr-defined]

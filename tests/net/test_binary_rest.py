"""The design's budgets (section 2) of this machine's own static binary, at rest: memory, packets, bytes, start.

On routers `make boot-check` measures, with emulated machines; here the processor is the real one.
"""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import binaries
import pytest
from netns import Lab
from node import Node, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netns import Namespace

pytestmark = pytest.mark.net

NEIGHBOURS = 3
LINKED = 40.0  # seconds in which all must have found each other
SETTLED = 15.0  # seconds from the start until what a start leaves in memory is freed (pressure.IMPORTS_SECONDS)
REST = 15.0  # seconds in which packets are counted; the memory is what it is after 60 as well
MAX_RESIDENT = 24_000_000  # bytes
MAX_READY = 0.5  # seconds
MAX_SENT = 150.0  # bytes a second
MAX_PACKETS = 60.0  # a minute


@pytest.fixture
def nodes() -> Iterator[tuple[list[Node], list[Namespace]]]:
    """Give nodes on one cable, each with the others as neighbours; they found each other as routers do."""
    program = binaries.command("x86_64")
    with Lab() as lab, ExitStack() as stack:
        cable = lab.segment()
        machines = [lab.namespace() for _ in range(NEIGHBOURS + 1)]
        made = []
        for n, machine in enumerate(machines):
            cable.attach(machine, "lan", ipv4=f"10.72.0.{n + 1}/24")
            node = Node(f"node{n}", prefix=machine.command())
            node.program = program
            stack.callback(node.close)
            made.append(node.start())
        for node in made:
            wait_for("all neighbours", lambda node=node: len(node.linked()) == NEIGHBOURS, LINKED)  # type: ignore[misc]
        yield made, machines


def test_at_rest_the_binary_keeps_its_budgets(
    nodes: tuple[list[Node], list[Namespace]], capsys: pytest.CaptureFixture[str]
) -> None:
    made, machines = nodes
    passed(SETTLED)
    before = [sent(machine) for machine in machines]
    passed(REST)
    after = [sent(machine) for machine in machines]
    spent = [(new[0] - old[0], new[1] - old[1]) for old, new in zip(before, after, strict=True)]
    packets, octets = max(row[0] for row in spent) * 60.0 / REST, max(row[1] for row in spent) / REST
    memory = max(resident(node) for node in made)
    # Of four that start one after the other on a machine with other work, the one that was disturbed least.
    ready = min(float(found) for node in made for found in re.findall(r"ready: qpq \S+ after ([0-9.]+) s", node.log()))
    assert all(len(node.linked()) == NEIGHBOURS for node in made)
    with capsys.disabled():
        print(
            f"\nx86_64 binary with {NEIGHBOURS} neighbours: {memory:,} bytes resident, ready in {ready:.2f} s, "
            f"{packets:.0f} packets a minute, {octets:.0f} bytes a second"
        )
    assert memory < MAX_RESIDENT
    assert ready < MAX_READY
    assert octets < MAX_SENT
    assert packets < MAX_PACKETS
    message = made[0].send(made[1].identity(), "what was freed is read again")
    wait_for("the receipt", lambda: made[0].state(message) == "delivered", LINKED)


def passed(seconds: float) -> None:
    begin = time.monotonic()
    wait_for("a time of rest", lambda: time.monotonic() - begin >= seconds, seconds + 10.0)


def sent(machine: Namespace) -> list[int]:
    """Return packets and bytes, Ethernet included, that a machine has sent."""
    folder = "/sys/class/net/lan/statistics"
    return [int(word) for word in machine.run("cat", f"{folder}/tx_packets", f"{folder}/tx_bytes").split()]


def resident(node: Node) -> int:
    """Return the bytes of RAM that a node's process has."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{node.pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024

"""Real daemons in network namespaces: what people see of several nodes on one cable.

The clock of a node is set wrong with libfaketime (a namespace of its own does not cover
the wall clock); only the wall clock is turned, as on a router without a battery.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import sysconfig
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from netns import Lab
from node import NODE_SOURCE, Node, wait_for

from qpq.console.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netns import Namespace, Segment

NOBODY = 65534
FOUND = 20.0  # seconds until discovery, dial and HELLO are through, on a loaded machine
BACK = 30.0  # seconds until a lost link is back: silence is noticed first, then back-off
PORT = 7000
SILENT = """
import socket
with socket.socket(type=socket.SOCK_DGRAM) as server:
    server.bind(("", 53))
    print("bound")
    server.recv(512)
    print("asked")
    while server.recv(512):
        pass
"""
RELAY = Path(__file__).resolve().parents[1] / "rigs" / "lossy_relay.py"


class Stage:
    """Machines on one cable and the nodes on them; everything ends with the test."""

    def __init__(self, lab: Lab, stack: ExitStack) -> None:
        self.cable: Segment = lab.segment()
        self.machines: list[Namespace] = [lab.namespace() for _ in range(3)]
        for n, machine in enumerate(self.machines):
            self.cable.attach(machine, ipv4=f"{address(n)}/24")
        self._stack = stack

    def node(self, n: int, *arguments: str, environment: dict[str, str] | None = None) -> Node:
        """Make the node of machine ``n`` (not started)."""
        prefix = self.machines[n].command()
        node = Node(f"node{n}", prefix=prefix, arguments=arguments, environment=environment)
        self._stack.callback(node.close)
        return node

    def static(self, n: int, *peers: int) -> Node:
        """Make a node that finds nobody by itself and dials ``peers``."""
        dial = [word for peer in peers for word in ("--peer", f"{address(peer)}:{PORT}")]
        return self.node(n, "--no-mdns", "--no-beacon", *dial)

    def renumber(self, n: int, ipv4: str, mac: str) -> None:
        """Give the machine another IPv4 address and, with another MAC, another link-local one."""
        ip = self.machines[n].ip
        ip("link", "set", "eth0", "down")
        ip("address", "flush", "dev", "eth0")
        ip("link", "set", "eth0", "address", mac)
        ip("link", "set", "eth0", "up")
        ip("address", "add", f"{ipv4}/24", "dev", "eth0")


def address(n: int) -> str:
    return f"10.71.0.{n + 1}"


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Lab() as lab, ExitStack() as stack:
        yield Stage(lab, stack)


def start(*nodes: Node) -> list[str]:
    """Start the nodes at once and return their ids."""
    for node in nodes:
        node.start(wait=False)
    for node in nodes:
        node.wait_ready()
    return [node.identity() for node in nodes]


def expect_link(one: Node, two: Node, within: float = FOUND) -> None:
    ids = one.identity(), two.identity()
    wait_for(f"{one.name} has a link to {two.name}", lambda: ids[1] in one.linked(), within)
    wait_for(f"{two.name} has a link to {one.name}", lambda: ids[0] in two.linked(), within)


def expect_delivery(sender: Node, recipient: Node, text: str, within: float = FOUND) -> None:
    message = sender.send(recipient.identity(), text)
    expect_state(sender, message, "delivered", within)
    assert recipient.texts().count(text) == 1


def expect_state(node: Node, message: str, state: str, within: float = FOUND) -> None:
    wait_for(f"{node.name}'s message is {state}", lambda: node.state(message) == state, within)


def refusal(sender: Node, peer: str, text: str) -> str:
    """Send a message; return why it was refused, or nothing."""
    try:
        sender.send(peer, text)
    except RefusedError as error:
        return str(error)
    return ""


def test_three_nodes_on_a_segment_find_each_other_and_exchange_messages(stage: Stage) -> None:
    nodes = [stage.node(n) for n in range(3)]
    start(*nodes)
    for one in nodes:
        for two in nodes:
            if one is not two:
                expect_link(one, two)
    for one in nodes:
        for two in nodes:
            expect_delivery(one, two, f"from {one.name} to {two.name}")


@pytest.mark.parametrize("only", ["mdns", "beacon"])
def test_each_way_of_discovery_is_enough_alone(stage: Stage, only: str) -> None:
    off = [f"--no-{way}" for way in ("mdns", "beacon") if way != only]
    one, two = stage.node(0, *off), stage.node(1, *off)
    start(one, two)
    expect_link(one, two)
    assert {str(row["via"]) for row in (*one.peers(), *two.peers())} <= {only, "inbound", "group"}


def test_nodes_without_discovery_and_peers_stay_alone(stage: Stage) -> None:
    one, two = stage.static(0), stage.static(1)
    start(one, two)
    assert one.peers() == []
    assert two.peers() == []


def test_a_node_that_leaves_and_returns_gets_what_waited_for_it(stage: Stage) -> None:
    one, two = stage.static(0, 1), stage.static(1)
    ids = start(one, two)
    expect_link(one, two)
    assert two.stop() == 0
    wait_for("the link is seen as gone", lambda: ids[1] not in one.linked())
    message = one.send(ids[1], "while you were away")
    assert one.state(message) == "queued"
    two.start()
    expect_state(one, message, "delivered", BACK)
    assert two.texts() == ["while you were away"]
    assert two.identity() == ids[1]


def test_a_node_stops_in_time_while_a_name_server_says_nothing(stage: Stage, tmp_path: Path) -> None:
    silent = stage.machines[1].start(sys.executable, "-uc", SILENT, stdout=subprocess.PIPE)
    assert silent.stdout is not None
    assert silent.stdout.readline()
    resolver = tmp_path / "resolv.conf"
    resolver.write_text(f"nameserver {address(1)}\noptions timeout:20\n")
    node = stage.node(0, "--no-mdns", "--peer", f"somebody.example:{PORT}")
    node.prefix += ["unshare", "-m", "sh", "-ec", f'mount --bind {resolver} /etc/resolv.conf; exec "$@"', "sh"]
    node.start()
    assert silent.stdout.readline() == b"asked\n"
    assert node.stop() == 0


def test_a_sender_that_restarts_still_sends_what_was_queued(stage: Stage) -> None:
    one, two = stage.static(0, 1), stage.static(1)
    ids = start(one, two)
    expect_link(one, two)
    two.stop()
    message = one.send(ids[1], "from before")
    assert one.stop() == 0
    start(one, two)
    expect_state(one, message, "delivered", BACK)
    assert two.texts() == ["from before"]


def test_a_node_whose_addresses_change_is_found_again(stage: Stage) -> None:
    one, two = stage.node(0), stage.node(1)
    start(one, two)
    expect_link(one, two)
    stage.renumber(1, "10.71.0.77", "02:00:00:00:00:77")
    message = one.send(two.identity(), "to the new address")
    expect_state(one, message, "delivered", BACK)
    expect_delivery(two, one, "from the new address", BACK)


def test_a_pulled_cable_delays_messages_and_loses_none(stage: Stage) -> None:
    one, two = stage.static(0, 1), stage.static(1)
    ids = start(one, two)
    expect_link(one, two)
    stage.cable.unplug(stage.machines[1])
    messages = [one.send(ids[1], f"number {n}") for n in range(5)]
    assert all(one.state(message) != "delivered" for message in messages)
    stage.cable.plug(stage.machines[1])
    for message in messages:
        expect_state(one, message, "delivered", 2 * BACK)
    assert two.texts() == [f"number {n}" for n in range(5)]


def test_two_nodes_that_dial_each_other_at_once_end_with_one_link(stage: Stage) -> None:
    one, two = stage.static(0, 1), stage.static(1, 0)
    ids = start(one, two)
    expect_link(one, two)
    for node, other in ((one, ids[1]), (two, ids[0])):
        up = [row for row in node.peers() if row["id"] == other]
        assert len(up) == 1, up
    expect_delivery(one, two, "over the one link")
    expect_delivery(two, one, "and back")


@pytest.mark.parametrize("offset", ["+365d", "-365d"])
def test_a_clock_that_is_a_year_off_stops_no_message(stage: Stage, offset: str) -> None:
    libraries = list(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not libraries:
        pytest.skip("libfaketime is not installed (Debian: faketime)")
    wrong = {"LD_PRELOAD": str(libraries[0]), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    one, two = stage.static(0, 1), stage.node(1, "--no-mdns", "--no-beacon", environment=wrong)
    start(one, two)
    expect_link(one, two)
    expect_delivery(one, two, "what year is it?")
    expect_delivery(two, one, "guess")


def test_kill_9_of_the_recipient_loses_nothing_and_shows_nothing_twice(stage: Stage) -> None:
    one, two = stage.static(0, 1), stage.static(1)
    ids = start(one, two)
    expect_link(one, two)
    sent = {}
    for n in range(60):
        sent[one.send(ids[1], f"number {n:02}")] = n
        if n == 30:
            two.kill()
    assert any(one.state(message) != "delivered" for message in sent)
    two.start()
    for message in sent:
        expect_state(one, message, "delivered", BACK)
    assert two.texts() == [f"number {n:02}" for n in range(60)]


def test_kill_9_of_the_sender_loses_nothing_that_was_accepted(stage: Stage) -> None:
    one, two = stage.static(0, 1), stage.static(1)
    ids = start(one, two)
    expect_link(one, two)
    two.stop()
    sent = [one.send(ids[1], f"number {n:02}") for n in range(20)]
    one.kill()
    start(one, two)
    for message in sent:
        expect_state(one, message, "delivered", BACK)
    assert two.texts() == [f"number {n:02}" for n in range(20)]


def test_a_message_whose_time_is_over_expires_and_is_not_delivered_late(stage: Stage) -> None:
    one, two = stage.static(0, 1), stage.static(1)
    ids = start(one, two)
    expect_link(one, two)
    two.stop()
    message = one.send(ids[1], "too late", ttl=1)
    expect_state(one, message, "expired")
    two.start()
    expect_link(one, two, BACK)
    expect_delivery(one, two, "in time")
    assert two.texts() == ["in time"]


def test_a_full_disk_refuses_what_cannot_be_kept_and_recovers(stage: Stage, tmp_path: Path) -> None:
    small = tmp_path / "d"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(small)], check=True, timeout=10)
    try:
        one, two = stage.static(0, 1), stage.static(1)
        two.folder = small
        ids = start(one, two)
        expect_link(one, two)
        expect_delivery(one, two, "while there is room")
        filler = small / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        refused = wait_for("a message is refused", lambda: refusal(two, ids[0], "x" * 30_000))
        assert "store" in refused or "space" in refused or "full" in refused
        assert two.running
        filler.unlink()
        expect_delivery(one, two, "there is room again", BACK)
        expect_delivery(two, one, "in both directions", BACK)
        assert two.stop() == 0
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False, timeout=10)


def test_messages_pass_a_link_that_loses_every_fifth_packet(stage: Stage) -> None:
    one, two = stage.static(0, 2), stage.static(1)
    relay = [sys.executable, str(RELAY), str(PORT), address(1), str(PORT), "20", "5", "7"]
    with subprocess.Popen(stage.machines[2].command(*relay), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            ids = start(one, two)
            expect_link(one, two, BACK)
            messages = [one.send(ids[1], f"number {n:02}") for n in range(20)]
            for message in messages:
                expect_state(one, message, "delivered", BACK)
            assert two.texts() == [f"number {n:02}" for n in range(20)]
        finally:
            process.kill()


def test_a_node_runs_as_an_ordinary_user(stage: Stage) -> None:
    """The interpreter of the environment may lie where only root reads: then the system's own serves."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed (Debian: util-linux)")
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    version = f"python3.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}"):
        argv = [*as_nobody, python, "-c", "import sys; sys.path.insert(0, sys.argv[1]); import qpq, aioquic"]
        environment = {"PYTHONPATH": sysconfig.get_path("purelib")}
        if not subprocess.run([*argv, str(NODE_SOURCE)], capture_output=True, check=False, env=environment).returncode:
            break
    else:
        pytest.skip("no Python of this version that an ordinary user could run")
    one, two = stage.static(0, 1), stage.static(1)
    two.prefix = [*stage.machines[1].command(), *as_nobody]
    two.python = python
    two.environment = {"PYTHONPATH": f"{NODE_SOURCE}:{sysconfig.get_path('purelib')}", "HOME": "/nonexistent"}
    two.measured = False
    shutil.chown(two.folder, NOBODY, NOBODY)
    start(one, two)
    expect_link(one, two)
    expect_delivery(one, two, "to nobody")
    expect_delivery(two, one, "from nobody")
    assert {path.stat().st_uid for path in two.folder.iterdir() if path.name != "log"} == {NOBODY}
    assert two.stop() == 0

"""Nodes find each other on Gluon routers as they are: behind the stock multicast filter, through the mesh firewall."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import gluon
import pytest
from agent import Agent
from netns import Lab, wait_until
from node import Node, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netns import Segment

pytestmark = [
    pytest.mark.net,
    pytest.mark.skipif(bool(gluon.why_not()), reason=gluon.why_not() or "none"),
]
OPENWRT = Path(__file__).resolve().parents[1] / "openwrt"
sys.path.append(str(OPENWRT))

GROUP, EVERY_NODE = "ff12::8000:7171", "ff02::1"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture
def city(lab: Lab) -> Segment:
    return lab.segment()


def send(router: gluon.Router, group: str, port: int) -> None:
    """Multicast a datagram on the client bridge."""
    family = "AF_INET6" if ":" in group else "AF_INET"
    to = f"({group!r}, {port}, 0, socket.if_nametoindex('br-client'))" if ":" in group else f"({group!r}, {port})"
    script = f"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM).sendto(b'x', {to})"
    router.machine.run(sys.executable, "-c", script)


def test_the_filter_is_gluons(lab: Lab, city: Segment) -> None:
    router = gluon.Router(lab, city, 1)
    router.machine.ip("address", "add", "10.71.0.1/16", "dev", "br-client")
    router.machine.ip("route", "add", "224.0.0.0/4", "dev", "br-client")
    router.link_local()
    for group, port, rule in (
        ("224.0.0.251", 5353, "-j DROP"),
        (EVERY_NODE, 7171, "--ip6-dst ff02::1 -j DROP"),
        ("239.192.152.143", 6771, "--ip-dport 6771 -j RETURN"),
        ("224.0.0.69", 4403, "--ip-dport 4403 -j RETURN"),
        (GROUP, 7171, "--mark-set 0x4"),
        ("ff02::fb", 5353, "--mark-set 0x4"),
    ):
        before = router.counted(rule)
        send(router, group, port)
        wait_until(lambda rule=rule, before=before: router.counted(rule) > before, what=f"{group}: {rule}")


def test_neighbours_find_each_other_by_beacon_and_the_far_ones_by_the_group(lab: Lab, city: Segment) -> None:
    near, other, far = (gluon.Router(lab, city, number) for number in (1, 2, 3))
    radio = lab.segment()
    for router in (near, other):
        radio.attach(router.machine, "mesh0")
    interfaces = {"interfaces": ["mesh0", "mesh1", "vx_mesh_other"], "beacon": True, "group": True}
    first, second, third = (
        Agent(router.machine, number, **interfaces) for number, router in ((1, near), (2, other), (3, far))
    )
    assert first.found(second, via="beacon")["address"] == f"[{other.link_local('mesh0')}%mesh0]:7000"
    assert first.found(third, via="group")["address"] == f"[{far.link_local()}%br-client]:7000"
    assert third.found(first)["via"] == "group"
    assert third.found(second)["via"] == "group"
    assert first.ask("status")["status"]["beacon"] == "on mesh0: 1 node heard"
    assert near.counted("--mark-set 0x4") > 0


def test_what_a_mesh_with_many_phones_does_not_carry_is_not_needed(lab: Lab, city: Segment) -> None:
    routers = [gluon.Router(lab, city, number) for number in (1, 2)]
    for router in routers:
        router.machine.ip("address", "add", f"10.71.0.{routers.index(router) + 1}/16", "dev", "br-client")
    first, second = (Agent(router.machine, number, mdns="auto") for number, router in enumerate(routers, 1))
    first.never_found(4.0, id=second.id)
    dropped = routers[0].counted("-j DROP")
    assert dropped > 0
    third = Agent(routers[0].machine, 3, 7003, mdns="auto", group=True)
    fourth = Agent(routers[1].machine, 4, 7004, mdns="auto", group=True)
    assert third.found(fourth)["via"] == "group"
    assert fourth.found(third)["via"] == "group"


def test_without_the_packages_rules_the_firewall_lets_nobody_be_found(lab: Lab, city: Segment) -> None:
    routers = [gluon.Router(lab, city, number) for number in (1, 2)]
    for router in routers:
        router.firewall([])
    first, second = (Agent(router.machine, number, group=True) for number, router in enumerate(routers, 1))
    first.never_found(3.0, id=second.id)
    assert routers[1].counted("--mark-set 0x4") > 0


@pytest.mark.skipif(not shutil.which("lua5.1"), reason="lua5.1 is not installed (Debian: lua5.1)")
def test_daemons_link_through_the_firewall_that_the_package_sets_up(lab: Lab, city: Segment, tmp_path: Path) -> None:
    from test_gluon import Router as Files  # noqa: PLC0415 (the Gluon package's own tests)

    files = Files(tmp_path)
    files.upgrade(prefix6=f"{gluon.PREFIX}/64", extra_prefixes6=[])
    rules = [files.options("firewall", name) for name in sorted(files.rules())]
    routers = [gluon.Router(lab, city, number) for number in (1, 2, 3)]
    radio = lab.segment()
    for router in routers[:2]:
        radio.attach(router.machine, "mesh0")
    with ExitStack() as stack:
        nodes = []
        for number, router in enumerate(routers):
            router.firewall(rules)
            uci = ["--config", str(files.uci / "qpq")]
            nodes.append(Node(f"gluon{number}", prefix=router.machine.command(), arguments=uci))
            stack.callback(nodes[-1].close)
            nodes[-1].start()
        ids = [node.identity() for node in nodes]
        for one, node in enumerate(nodes):
            for other, wanted in enumerate(ids):
                if one != other:
                    wait_for(f"{one} linked with {other}", lambda n=node, w=wanted: w in n.linked(), 40)  # type: ignore[misc]
        message = nodes[0].send(ids[2], "Moin")
        wait_for("the message is delivered", lambda: nodes[0].state(message) == "delivered")
        assert nodes[2].texts() == ["Moin"]

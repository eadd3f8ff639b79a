"""Discovery in real network namespaces, beside a real avahi; needs root."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import avahi
import pytest
from agent import Agent
from netns import Lab, Namespace, Segment, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.net
PACKAGE = str(Path(__file__).parents[2] / "node")
needs_avahi = pytest.mark.skipif(
    not avahi.AVAILABLE, reason="avahi-daemon, avahi-utils or dbus-daemon is not installed"
)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture
def pair(lab: Lab) -> tuple[Namespace, Namespace, Segment]:
    segment = lab.segment()
    a, b = lab.namespace("a"), lab.namespace("b")
    segment.attach(a, ipv4="10.9.0.1/24")
    segment.attach(b, ipv4="10.9.0.2/24")
    return a, b, segment


# --- beacon ---------------------------------------------------------------------------------


def test_beacons_cross_a_segment_and_give_scoped_link_local_addresses(
    pair: tuple[Namespace, Namespace, Segment],
) -> None:
    a, b, _segment = pair
    first, second = Agent(a, 1, 7001, beacon=True), Agent(b, 2, 7002, beacon=True)
    assert first.found(second)["address"] == f"[{b.link_local()}%eth0]:7002"
    assert second.found(first) == {
        "event": "found",
        "via": "beacon",
        "address": f"[{a.link_local()}%eth0]:7001",
        "id": first.id,
    }
    assert first.ask("status")["status"]["beacon"] == "on lo, eth0: 1 node heard"


def test_the_scope_is_that_of_the_interface_a_beacon_came_in_by(lab: Lab) -> None:
    left, right = lab.segment(), lab.segment()
    middle, west, east = lab.namespace("m"), lab.namespace("w"), lab.namespace("e")
    left.attach(middle, "left0")
    right.attach(middle, "right0")
    left.attach(west)
    right.attach(east)
    seer = Agent(middle, 1, beacon=True)
    other, another = Agent(west, 2, beacon=True), Agent(east, 3, beacon=True)
    assert seer.found(other)["address"] == f"[{west.link_local()}%left0]:7000"
    assert seer.found(another)["address"] == f"[{east.link_local()}%right0]:7000"
    other.never_found(0.5, id=another.id)


def test_nodes_on_one_machine_without_any_network_hear_each_other(lab: Lab) -> None:
    alone = lab.namespace()
    first, second = Agent(alone, 1, 7001, beacon=True), Agent(alone, 2, 7002, beacon=True)
    third = Agent(alone, 3, 7003, beacon=True)
    assert first.found(second)["address"] == "127.0.0.1:7002"
    assert second.found(third)["address"] == "127.0.0.1:7003"
    assert third.found(first)["address"] == "127.0.0.1:7001"
    assert first.ask("status")["status"]["beacon"] == "on lo: 2 nodes heard"


def test_the_client_bridge_uses_a_group_of_its_own(lab: Lab) -> None:
    segment = lab.segment()
    a, b, c = lab.namespace("a"), lab.namespace("b"), lab.namespace("c")
    segment.attach(a, "br-client")
    segment.attach(b, "br-client")
    segment.attach(c, "mesh0")
    first, second = Agent(a, 1, beacon=True, group=True), Agent(b, 2, beacon=True, group=True)
    stranger = Agent(c, 3, beacon=True, group=True)
    assert first.found(second)["via"] == "group"
    assert "ff12::8000:7171" in a.ip("maddress", "show", "dev", "br-client")
    assert "ff12::8000:7170" not in a.ip("maddress", "show", "dev", "br-client")
    assert "ff12::8000:7170" in c.ip("maddress", "show", "dev", "mesh0")
    stranger.never_found(1.5)
    assert first.ask("status")["status"]["group"] == "on br-client: 1 node heard"


def test_a_port_of_a_bridge_is_left_to_the_bridge(lab: Lab) -> None:
    segment = lab.segment()
    a = lab.namespace("a")
    segment.attach(a, "lan1")
    a.ip("link", "add", "br-lan", "type", "bridge")
    a.ip("link", "set", "lan1", "master", "br-lan")
    a.ip("link", "set", "br-lan", "up")
    a.link_local("br-lan")
    agent = Agent(a, 1, beacon=True)
    assert agent.ask("status")["status"]["beacon"] == "on lo, br-lan: 0 nodes heard"


def test_an_interface_that_comes_later_is_used_and_one_that_goes_is_left(
    pair: tuple[Namespace, Namespace, Segment], lab: Lab
) -> None:
    a, b, segment = pair
    second_segment = lab.segment()
    first, second = Agent(a, 1, beacon=True), Agent(b, 2, beacon=True)
    first.found(second)
    second_segment.attach(a, "eth1")
    second_segment.attach(b, "eth1")
    first.found(second, address=f"[{b.link_local('eth1')}%eth1]:7000")
    segment.detach(a)
    mark = len(first.events)
    first.wait(lambda event: event["event"] == "changed", after=mark)
    assert first.ask("status")["status"]["beacon"] == "on lo, eth1: 1 node heard"


def test_a_lost_carrier_ends_the_beacon_and_its_return_begins_it_quickly(
    pair: tuple[Namespace, Namespace, Segment],
) -> None:
    a, b, segment = pair
    first, second = Agent(a, 1, beacon=True), Agent(b, 2, beacon=True)
    first.found(second)
    segment.unplug(a)
    wait_until(lambda: first.ask("status")["status"]["beacon"] == "on lo: 0 nodes heard", 10, "the end on eth0")
    segment.plug(a)
    mark = len(first.events)
    first.found(second, 10, after=mark)


def test_a_flood_of_false_beacons_is_counted_and_the_node_still_hears_a_true_one(
    pair: tuple[Namespace, Namespace, Segment],
) -> None:
    a, b, _segment = pair
    first = Agent(a, 1, beacon=True)
    flood = """
import os, socket
from qpq.wire.beacon import Beacon, encode_beacon
to = ("ff12::8000:7170", 7171, 0, socket.if_nametoindex("eth0"))
sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for n in range(2000): sender.sendto(encode_beacon(Beacon(os.urandom(32), 7000, 0)), to)
for n in range(200): sender.sendto(os.urandom(80), to)
"""
    b.run(sys.executable, "-c", flood, env={"PYTHONPATH": PACKAGE})
    time.sleep(1)
    counters = first.ask("status")["counters"]
    assert counters["beacon_limited"] + counters["beacon_invalid"] > 100
    assert counters["beacon_peers_found"] <= 8
    b.ip("address", "add", "fe80::77/64", "dev", "eth0", "nodad")
    Agent(b, 2, 7002, beacon=True)
    first.found(timeout=15, address=f"[{b.link_local()}%eth0]:7002")


def test_unicast_and_routed_datagrams_are_no_beacons(pair: tuple[Namespace, Namespace, Segment]) -> None:
    a, b, _segment = pair
    a.ip("address", "add", "fd00:9::1/64", "dev", "eth0", "nodad")
    b.ip("address", "add", "fd00:9::2/64", "dev", "eth0", "nodad")
    first = Agent(a, 1, beacon=True)
    send = f"""
import socket
from qpq.wire.beacon import Beacon, encode_beacon
index, beacon = socket.if_nametoindex("eth0"), encode_beacon(Beacon(b"x" * 32, 7000, 0))
socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(beacon, ("{a.link_local()}", 7171, 0, index))
routed = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
routed.bind(("fd00:9::2", 0))
routed.sendto(beacon, ("ff12::8000:7170", 7171, 0, index))
"""
    b.run(sys.executable, "-c", send, env={"PYTHONPATH": PACKAGE})
    first.never_found(1.0)
    assert first.ask("status")["counters"]["beacon_heard"] == 0


# --- netlink --------------------------------------------------------------------------------


def test_addresses_are_followed_without_polling(pair: tuple[Namespace, Namespace, Segment]) -> None:
    a, _b, _segment = pair
    agent = Agent(a, 1)
    assert ["eth0", ["10.9.0.1", a.link_local()]] in agent.ask("interfaces")["interfaces"]
    assert agent.ask("status")["counters"]["netlink_dumps"] == 1
    mark = len(agent.events)
    a.ip("address", "add", "fd00:9::1/64", "dev", "eth0", "nodad")
    agent.wait(lambda event: event["event"] == "changed", after=mark)
    assert ["eth0", ["10.9.0.1", "fd00:9::1", a.link_local()]] in agent.ask("interfaces")["interfaces"]
    mark = len(agent.events)
    a.ip("address", "del", "10.9.0.1/24", "dev", "eth0")
    agent.wait(lambda event: event["event"] == "changed", after=mark)
    assert ["eth0", ["fd00:9::1", a.link_local()]] in agent.ask("interfaces")["interfaces"]
    assert agent.ask("status")["counters"]["netlink_dumps"] == 1


def test_many_changes_at_once_are_told_once_and_end_in_the_right_table(lab: Lab) -> None:
    namespace = lab.namespace()
    agent = Agent(namespace, 1)
    namespace.run("ip", "-batch", "-", input=many_links(60))
    agent.wait(lambda event: event["event"] == "changed")
    wait_until(lambda: links_of(agent) == [["d59", ["10.59.0.1"]]], what="the table")
    assert sum(event["event"] == "changed" for event in agent.events) <= 4


def test_changes_that_overflow_the_socket_are_read_anew(lab: Lab) -> None:
    namespace = lab.namespace()
    agent = Agent(namespace, 1)
    agent.process.send_signal(signal.SIGSTOP)
    namespace.run("ip", "-batch", "-", input=many_links(250))
    agent.process.send_signal(signal.SIGCONT)
    wait_until(lambda: links_of(agent) == [["d249", ["10.249.0.1"]]], what="the table")
    counters = agent.ask("status")["counters"]
    assert counters["netlink_lost"] >= 1
    assert counters["netlink_dumps"] >= 2
    assert counters["netlink_damaged"] == 0


def many_links(count: int) -> str:
    """Commands of ip(8) that make ``count`` links with an address and remove all but the last."""
    made = "".join(f"link add d{n} type bridge\naddress add 10.{n}.0.1/24 dev d{n}\n" for n in range(count))
    return made + "".join(f"link delete d{n}\n" for n in range(count - 1))


def links_of(agent: Agent) -> list[object]:
    return [entry for entry in agent.ask("interfaces")["interfaces"] if entry[0] != "lo"]


# --- mDNS -----------------------------------------------------------------------------------


def test_two_nodes_find_each_other_by_zeroconf_with_scoped_addresses(
    pair: tuple[Namespace, Namespace, Segment],
) -> None:
    a, b, _segment = pair
    first, second = Agent(a, 1, 7001, mdns="auto"), Agent(b, 2, 7002, mdns="auto")
    for address in (f"[{b.link_local()}%eth0]:7002", "10.9.0.2:7002"):
        assert first.found(second, address=address)["via"] == "mdns"
    assert second.found(first)["address"] == f"[{a.link_local()}%eth0]:7001"
    assert first.ask("status")["status"]["mdns"] == "zeroconf on 5353"


@needs_avahi
def test_avahi_browse_sees_the_node_and_its_text_beside_avahi(
    pair: tuple[Namespace, Namespace, Segment], tmp_path: Path
) -> None:
    a, b, _segment = pair
    here, there = avahi.Avahi(a, tmp_path / "a"), avahi.Avahi(b, tmp_path / "b")
    node = Agent(a, 1, 7001, mdns="auto", domain="ffxx.example")
    for browser in (there, here):  # from the next machine, and from the same one
        found = wait_until(browser.browse, 15, "avahi-browse")
        assert {f.address for f in found} >= {"10.9.0.1"}
        assert {(f.name, f.port) for f in found} == {(node.id[:16], 7001)}
        for entry in ("ver=1", "server=10.9.0.1:7001", "domain=ffxx.example", f"id={node.id}"):
            assert f'"{entry}"' in found[0].text
    node.stop()
    wait_until(lambda: not there.browse(), 10, "the goodbye")


@needs_avahi
def test_the_node_sees_what_avahi_publishes(pair: tuple[Namespace, Namespace, Segment], tmp_path: Path) -> None:
    a, b, _segment = pair
    there = avahi.Avahi(b, tmp_path / "b")
    there.publish("Some router", "_quicproquo._udp", 7007, "ver=1", "server=10.9.0.2:7007", "domain=local")
    node = Agent(a, 1, mdns="auto")
    assert node.found(address="10.9.0.2:7007") | {"via": "mdns", "id": None} == node.found(address="10.9.0.2:7007")
    node.found(address=f"[{b.link_local()}%eth0]:7007")


@needs_avahi
def test_an_address_that_is_added_is_published_and_one_removed_is_withdrawn(
    pair: tuple[Namespace, Namespace, Segment], tmp_path: Path
) -> None:
    a, b, _segment = pair
    there = avahi.Avahi(b, tmp_path / "b")
    node = Agent(a, 1, 7001, mdns="auto")
    wait_until(there.browse, 15, "avahi-browse")
    b.ip("address", "add", "10.8.0.2/24", "dev", "eth0")
    a.ip("address", "add", "10.8.0.1/24", "dev", "eth0")
    a.ip("address", "del", "10.9.0.1/24", "dev", "eth0")
    found = wait_until(
        lambda: [f for f in there.browse() if '"server=10.8.0.1:7001"' in f.text and "10.8.0.1" in f.address], 20, "it"
    )
    assert "10.9.0.1" not in {f.address for f in found}
    assert node.ask("status")["status"]["mdns"] == "zeroconf on 5353"


def hold_port(namespace: Namespace) -> None:
    """Take port 5353 for oneself, as a program without SO_REUSEADDR does."""
    hold = (
        "import socket, time; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('::', 5353)); "
        "print('held', flush=True); time.sleep(120)"
    )
    process = namespace.start(sys.executable, "-c", hold, stdout=-1, text=True)
    assert process.stdout.readline() == "held\n"


@needs_avahi
@pytest.mark.parametrize("responder", ["avahi", "zeroconf"])
def test_with_the_port_taken_one_shot_queries_find_what_other_responders_publish(
    pair: tuple[Namespace, Namespace, Segment], tmp_path: Path, responder: str
) -> None:
    a, b, _segment = pair
    hold_port(a)
    if responder == "avahi":
        avahi.Avahi(b, tmp_path / "b").publish("there", "_quicproquo._udp", 7002, "ver=1")
        identity = None
    else:
        identity = Agent(b, 2, 7002, mdns="auto").id
    node = Agent(a, 1, mdns="auto", avahi_dir=str(tmp_path / "no"))
    assert node.ask("status")["status"]["mdns"] == (
        "one-shot queries only, not published: port 5353 is taken and avahi is not here"
    )
    for address in (f"[{b.link_local()}%eth0]:7002", "10.9.0.2:7002"):
        assert node.found(address=address, timeout=20)["id"] == identity


@needs_avahi
def test_with_avahi_alone_on_the_port_its_service_file_publishes_the_node(
    pair: tuple[Namespace, Namespace, Segment], tmp_path: Path
) -> None:
    a, b, _segment = pair
    here, there = avahi.Avahi(a, tmp_path / "a", alone=True), avahi.Avahi(b, tmp_path / "b")
    other = Agent(b, 2, 7002, mdns="auto")
    node = Agent(a, 1, 7001, mdns="auto", avahi_dir=str(here.services))
    assert node.ask("status")["status"]["mdns"] == "avahi service file + one-shot queries"
    assert [path.name for path in here.services.iterdir()] == ["qpq.service"]
    found = wait_until(lambda: [f for f in there.browse() if f.port == 7001], 15, "avahi-browse")
    assert found[0].name == node.id[:16]
    for entry in ("ver=1", "server=10.9.0.1:7001", "domain=local", f"id={node.id}"):
        assert f'"{entry}"' in found[0].text
    node.found(other)
    other.found(node, 15, address="10.9.0.1:7001")
    node.stop()
    assert list(here.services.iterdir()) == []
    wait_until(lambda: not [f for f in there.browse() if f.port == 7001], 10, "the withdrawal")


@needs_avahi
def test_a_node_that_umdns_publishes_is_one_entry_and_is_found_by_it(
    pair: tuple[Namespace, Namespace, Segment], tmp_path: Path
) -> None:
    """What umdns tells of a router: the host's name as instance, and what the init script said, which has no id."""
    a, b, _segment = pair
    avahi.Avahi(a, tmp_path / "a").publish("router", "_quicproquo._udp", 7001, "ver=1", "domain=local")
    there = avahi.Avahi(b, tmp_path / "b")
    node = Agent(a, 1, 7001, mdns="ask")
    other = Agent(b, 2, 7002, mdns="auto")
    assert node.ask("status")["status"]["mdns"] == "one-shot queries, published by umdns"
    assert other.found(address="10.9.0.1:7001", timeout=20)["id"] is None
    node.found(other, 20)
    assert {row.name for row in there.browse() if row.port == 7001} == {"router"}


def test_a_thousand_false_services_stay_inside_the_caps(pair: tuple[Namespace, Namespace, Segment]) -> None:
    a, b, _segment = pair
    node = Agent(a, 1, mdns="auto")
    node.ask("modules")
    flood = """
import os, socket, struct, time
def name(text): return b"".join(bytes([len(p)]) + p.encode() for p in text.rstrip(".").split(".")) + b"\\0"
def record(owner, kind, data, ttl=4500): return name(owner) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data
service = "_quicproquo._udp.local."
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(("10.9.0.2", 5353))
for n in range(3000):
    own, host = f"fake{n}.{service}", f"h{n}.local."
    records = [record(service, 12, name(own)), record(own, 33, struct.pack(">HHH", 0, 0, 1 + n) + name(host)),
               record(own, 16, b"\\5ver=1"), record(host, 1, bytes([10, 9, 0, 3 + n % 250]))]
    s.sendto(struct.pack(">HHHHHH", 0, 0x8400, 0, 4, 0, 0) + b"".join(records), ("224.0.0.251", 5353))
    if n % 20 == 0: time.sleep(0.005)
"""
    before = node.ask("modules")["rss_kib"]
    b.run(sys.executable, "-c", flood, timeout=60)
    after = node.ask("modules", 20)["rss_kib"]
    counters = node.ask("status", 20)["counters"]
    assert counters["mdns_flooded"] > 1500, "the rest of 3000 may not have come to a machine that had no time"
    assert counters["mdns_peers_found"] <= 128
    assert after - before < 4096
    time.sleep(3)
    friend = Agent(b, 2, 7002, mdns="auto")
    node.found(friend, 20)


def test_a_node_without_mdns_never_imports_zeroconf(lab: Lab) -> None:
    for mode in ("off", "ask"):
        modules = Agent(lab.namespace(), 1, mdns=mode).ask("modules")["modules"]
        assert not [name for name in modules if name.startswith(("zeroconf", "ifaddr"))]
    modules = Agent(lab.namespace(), 1, mdns="auto").ask("modules")["modules"]
    assert "zeroconf" in modules
    assert not [name for name in modules if name in {"ctypes", "tempfile", "shutil", "ifaddr._posix"}]

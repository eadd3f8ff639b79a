"""What beacons are believed, when they are sent, and the sockets that carry them."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from discovery_kit import LINK_LOCAL, interface, loopback, run, seeded

from qpq.crypto.identity import Identity
from qpq.discovery import beacon_sockets
from qpq.discovery.beacon import (
    FORGET_AFTER,
    MAX_CHANNELS,
    MAX_NEIGHBOURS,
    RESET_BURST,
    SOURCE_BURST,
    STRANGER_BURST,
    TELL_AGAIN,
    BeaconMachine,
    Channel,
)
from qpq.discovery.beacon_service import BeaconService, channels
from qpq.discovery.beacon_sockets import BeaconSockets
from qpq.discovery.interfaces import IFA_F_TENTATIVE, IFF_UP, Interface, InterfaceAddress
from qpq.mesh.events import PeerFound, Via
from qpq.netaddress import NetAddress
from qpq.wire.beacon import Beacon, encode_beacon

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN, OTHER = Identity(b"o" * 32), Identity(b"p" * 32)
MESH = Channel(2, "mesh0", Via.BEACON)
BRIDGE = Channel(3, "br-client", Via.GROUP)
LOCAL = Channel(1, "lo", Via.BEACON, loopback=True)
SOURCE = NetAddress("fe80::2", 7171, 2)


def machine(*used: Channel) -> BeaconMachine:
    made = BeaconMachine(OWN, 7000, 5, seeded(3).random)
    made.set_channels(used or (MESH,), 0.0)
    return made


def beacon(node: bytes = OTHER, port: int = 7002, boot: int = 1) -> bytes:
    return encode_beacon(Beacon(Identity(node), port, boot))


def number(n: int) -> Identity:
    return Identity(n.to_bytes(32, "big"))


# --- what is believed -----------------------------------------------------------------------


def test_a_beacon_gives_the_address_it_came_from_with_the_port_it_names() -> None:
    for channel, via in ((MESH, Via.BEACON), (BRIDGE, Via.GROUP)):
        found = machine(MESH, BRIDGE).heard(channel, beacon(), SOURCE, 1.0)
        assert found is not None
        assert (found.via, found.identity) == (via, OTHER)
        assert NetAddress.parse(found.address) == NetAddress("fe80::2", 7002, 2)


def test_the_own_beacon_heard_back_is_ignored() -> None:
    heard = machine()
    assert heard.heard(MESH, heard.datagram, SOURCE, 1.0) is None
    assert heard.heard(MESH, beacon(OWN, 9999, 77), SOURCE, 1.0) is None
    assert heard.counters["beacon_own"] == 2
    assert heard.neighbours(Via.BEACON) == 0


@pytest.mark.parametrize("datagram", [b"", b"\xff" * 60, beacon()[:-1], beacon() + b"\0", beacon()[:5] + b"\2"])
def test_what_is_no_beacon_is_counted_and_ignored(datagram: bytes) -> None:
    heard = machine()
    assert heard.heard(MESH, datagram, SOURCE, 1.0) is None
    assert heard.counters["beacon_invalid"] == 1


def test_nothing_is_believed_on_a_channel_that_is_not_used() -> None:
    assert machine(MESH).heard(BRIDGE, beacon(), SOURCE, 1.0) is None


def test_an_unchanged_node_is_told_again_only_after_a_while_a_changed_one_at_once() -> None:
    heard = machine()
    assert heard.heard(MESH, beacon(), SOURCE, 1.0)
    assert heard.heard(MESH, beacon(), SOURCE, 20.0) is None
    assert heard.heard(MESH, beacon(), SOURCE, 1.0 + TELL_AGAIN)
    assert heard.heard(MESH, beacon(boot=2), SOURCE, 65.0)
    assert heard.heard(MESH, beacon(boot=2, port=9), SOURCE, 70.0)
    assert heard.heard(MESH, beacon(boot=2, port=9), NetAddress("fe80::3", 7171, 2), 75.0)
    assert heard.counters["beacon_peers_found"] == 5
    assert heard.neighbours(Via.BEACON) == 1


def test_one_source_cannot_say_more_than_its_share() -> None:
    heard = machine()
    found = [heard.heard(MESH, beacon(number(n)), SOURCE, 1.0) for n in range(100)]
    assert sum(f is not None for f in found) == SOURCE_BURST
    assert heard.counters["beacon_limited"] == 100 - SOURCE_BURST
    assert heard.heard(MESH, beacon(), NetAddress("fe80::9", 7171, 2), 1.0)


def test_invalid_datagrams_count_against_their_source_too() -> None:
    heard = machine()
    for _ in range(20):
        heard.heard(MESH, b"junk", SOURCE, 1.0)
    assert heard.heard(MESH, beacon(), SOURCE, 1.0) is None


def test_a_thousand_sources_cannot_report_more_than_strangers_may() -> None:
    heard = machine()
    found = [
        heard.heard(MESH, beacon(number(n)), NetAddress(f"fe80::{n:x}", 7171, 2), 1.0 + n / 100) for n in range(1000)
    ]
    assert sum(f is not None for f in found) <= STRANGER_BURST + 4.0 * 10 + 1
    assert heard.neighbours(Via.BEACON) <= MAX_NEIGHBOURS


def test_the_table_of_neighbours_is_capped_and_forgets_whom_it_heard_longest_ago() -> None:
    heard = machine(LOCAL)
    for n in range(MAX_NEIGHBOURS + 10):
        assert heard.heard(LOCAL, beacon(number(n)), NetAddress("127.0.0.1", 7171), 1.0 + n)
    assert heard.neighbours(Via.BEACON) == MAX_NEIGHBOURS
    assert heard.heard(LOCAL, beacon(number(0)), NetAddress("127.0.0.1", 7171), 300.0)
    assert heard.heard(LOCAL, beacon(number(MAX_NEIGHBOURS)), NetAddress("127.0.0.1", 7171), 300.0) is None


def test_a_node_silent_for_long_is_new_again() -> None:
    heard = machine()
    heard.heard(MESH, beacon(), SOURCE, 1.0)
    heard.due(2.0)
    assert heard.neighbours(Via.BEACON) == 1
    heard.due(2.0 + FORGET_AFTER)
    assert heard.neighbours(Via.BEACON) == 0


# --- when they are sent ---------------------------------------------------------------------


def times(sender: BeaconMachine, start: float, end: float) -> list[float]:
    sent, now = [], start
    while sender.at is not None and (now := max(now, sender.at)) < end:
        sent += [now] * len(sender.due(now))
    return sent


def test_beacons_come_quickly_at_first_and_less_than_one_a_minute_later() -> None:
    sender = machine()
    first = times(sender, 0.0, 256.0)
    later = times(sender, 256.0, 7200.0)
    assert first[0] < 0.5
    assert len(first) >= 8
    assert all(b - a > 60 for a, b in pairwise(later))
    assert sender.counters["beacon_sent"] == len(first) + len(later)


def test_a_stranger_makes_the_node_speak_again_so_that_it_is_heard() -> None:
    sender = machine()
    times(sender, 0.0, 3000.0)
    sender.heard(MESH, beacon(), SOURCE, 3000.0)
    assert sender.at is not None
    assert sender.at < 3000.5


def test_a_known_node_does_not() -> None:
    sender = machine()
    sender.heard(MESH, beacon(), SOURCE, 0.1)
    times(sender, 0.0, 3000.0)
    before = sender.at
    sender.heard(MESH, beacon(), SOURCE, 3000.0)
    assert sender.at == before


def test_strangers_can_reset_the_timer_only_so_often() -> None:
    sender = machine(LOCAL)
    times(sender, 0.0, 3000.0)
    count, now = 0, 3000.0
    for n in range(1200):  # twenty minutes, a stranger a second
        now += 1.0
        sender.heard(LOCAL, beacon(number(n)), NetAddress("127.0.0.1", 7171), now)
        count += len(sender.due(now))
    assert count < (20 + RESET_BURST) * 9


def test_a_lost_link_makes_the_node_look_around_on_all_channels() -> None:
    sender = machine(MESH, BRIDGE)
    times(sender, 0.0, 3000.0)
    sender.link_lost(3000.0)
    assert sorted(sender.due(3000.5), key=lambda c: c.index) == [MESH, BRIDGE]


def test_crowded_segments_are_not_flooded() -> None:
    sender = machine(LOCAL)
    for n in range(20):
        sender.heard(LOCAL, beacon(number(n)), NetAddress("127.0.0.1", 7171), 0.01)
    times(sender, 0.0, 600.0)
    sender.due(601.0)
    silent = sender.counters["beacon_sent"]
    for now in range(602, 1500):
        sender.heard(LOCAL, beacon(number(now % 20)), NetAddress("127.0.0.1", 7171), float(now))
        sender.due(float(now))
    assert sender.counters["beacon_sent"] == silent


# --- channels -------------------------------------------------------------------------------


def test_channels_come_and_go_with_their_neighbours_and_timers() -> None:
    sender = machine(MESH)
    sender.heard(MESH, beacon(), SOURCE, 1.0)
    assert sender.set_channels([BRIDGE], 2.0) == ([BRIDGE], [MESH])
    assert (sender.channels, sender.neighbours(Via.BEACON)) == ((BRIDGE,), 0)
    assert sender.set_channels([BRIDGE], 3.0) == ([], [])
    assert sender.set_channels([], 4.0) == ([], [BRIDGE])
    assert sender.at is None
    assert sender.due(5.0) == []


def test_channels_are_capped() -> None:
    sender = machine()
    sender.set_channels([Channel(n, f"i{n}", Via.BEACON) for n in range(200)], 0.0)
    assert [c.index for c in sender.channels] == list(range(MAX_CHANNELS))


def chosen(*interfaces: Interface, **options: Any) -> list[tuple[str, Via]]:
    options = {"only": (), "group": ("br-client",), "mesh": True, "client": True} | options
    return [(c.name, c.via) for c in channels(interfaces, **options)]


def test_every_interface_that_can_carries_beacons_and_the_client_bridge_its_group() -> None:
    links = (loopback(), interface(2, "mesh0"), interface(3, "br-client"), interface(4, "bat0", kind="batadv"))
    assert chosen(*links) == [
        ("lo", Via.BEACON),
        ("mesh0", Via.BEACON),
        ("br-client", Via.GROUP),
        ("bat0", Via.GROUP),
    ]
    assert chosen(*links, mesh=False) == [("br-client", Via.GROUP), ("bat0", Via.GROUP)]
    assert chosen(*links, client=False) == [("lo", Via.BEACON), ("mesh0", Via.BEACON)]
    assert chosen(*links, only=("mesh0",)) == [("mesh0", Via.BEACON), ("br-client", Via.GROUP)]
    assert chosen(*links, only=("bat0",), group=()) == [("bat0", Via.BEACON)]


@pytest.mark.parametrize(
    "unfit",
    [
        interface(flags=IFF_UP),
        interface(flags=IFF_UP | 0x40),
        interface(addresses=()),
        interface(addresses=(InterfaceAddress("fe80::1", 64, 253, IFA_F_TENTATIVE),)),
        interface(slave_kind="bridge", master=3),
        interface(3, "br-client", slave_kind="bridge", master=9),
    ],
)
def test_interfaces_that_cannot_carry_beacons_are_left_out(unfit: Interface) -> None:
    assert chosen(unfit) == []


def test_a_bridge_port_is_used_when_it_is_named() -> None:
    assert chosen(interface(2, "lan1", slave_kind="bridge"), only=("lan1",)) == [("lan1", Via.BEACON)]


# --- sockets --------------------------------------------------------------------------------


@pytest.fixture
def port() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def sockets(port: int) -> Iterator[BeaconSockets]:
    made = BeaconSockets(port)
    yield made
    made.close()


def collect(receiver: BeaconSockets, sock: socket.socket, count: int) -> list[tuple[Channel, bytes, NetAddress]]:
    got: list[tuple[Channel, bytes, NetAddress]] = []
    deadline = time.monotonic() + 2
    while len(got) < count and time.monotonic() < deadline:
        got += receiver.receive(sock)
    return got


def test_several_nodes_on_one_machine_share_the_port_and_hear_each_other(sockets: BeaconSockets, port: int) -> None:
    other = BeaconSockets(port)
    try:
        sockets.join(LOCAL)
        other.join(LOCAL)
        other.send(LOCAL, b"hello")
        for receiver in (sockets, other):
            ((channel, data, source),) = collect(receiver, receiver.sockets[-1], 1)
            assert (channel, data, source.host) == (LOCAL, b"hello", "127.0.0.1")
        sockets.leave(LOCAL)
        other.send(LOCAL, b"again")
        assert list(sockets.receive(sockets.sockets[-1])) == []
        sockets.leave(LOCAL)
    finally:
        other.close()


class Recorder:
    """An IPv6 socket that notes what it is told and gives what the test puts in."""

    def __init__(self, *, refuse: bool = False) -> None:
        self.options: list[tuple[int, bytes]] = []
        self.sent: list[tuple[bytes, tuple[Any, ...]]] = []
        self.incoming: list[tuple[bytes, list[tuple[int, int, bytes]], int, tuple[Any, ...]]] = []
        self.refuse = refuse

    def setsockopt(self, _level: int, option: int, value: bytes) -> None:
        if self.refuse:
            raise OSError(errno.ENOBUFS, "no more groups")
        self.options.append((option, value))

    def sendto(self, data: bytes, to: tuple[Any, ...]) -> None:
        self.sent.append((data, to))

    def recvmsg(self, _size: int, _ancillary: int) -> Any:
        if not self.incoming:
            raise BlockingIOError
        return self.incoming.pop(0)

    def close(self) -> None:
        pass


def group(text: str, index: int) -> tuple[int, int, bytes]:
    return (
        socket.IPPROTO_IPV6,
        socket.IPV6_PKTINFO,
        socket.inet_pton(socket.AF_INET6, text) + struct.pack("=I", index),
    )


def recorded(sockets: BeaconSockets, **options: bool) -> Recorder:
    recorder = Recorder(**options)
    if sockets._socket6 is not None:
        sockets._socket6.close()
    sockets._socket6 = recorder  # type: ignore[assignment]
    sockets.ipv6_error = None
    return recorder


def test_groups_are_joined_and_left_by_interface_and_sent_to_with_its_scope(sockets: BeaconSockets) -> None:
    recorder = recorded(sockets)
    for channel in (MESH, BRIDGE):
        sockets.join(channel)
        sockets.send(channel, b"x")
        sockets.leave(channel)
        sockets.leave(channel)
    mesh = socket.inet_pton(socket.AF_INET6, "ff12::8000:7170") + struct.pack("=I", 2)
    client = socket.inet_pton(socket.AF_INET6, "ff12::8000:7171") + struct.pack("=I", 3)
    join, leave = socket.IPV6_JOIN_GROUP, socket.IPV6_LEAVE_GROUP
    assert recorder.options == [(join, mesh), (leave, mesh), (join, client), (leave, client)]
    assert [to[::3] for _data, to in recorder.sent] == [("ff12::8000:7170", 2), ("ff12::8000:7171", 3)]


def test_only_multicast_to_our_groups_from_the_link_itself_is_heard(sockets: BeaconSockets) -> None:
    recorder = recorded(sockets)
    sockets.join(MESH)
    near, far = ("fe80::2%mesh0", 7171, 0, 2), ("fd00::2", 7171, 0, 0)
    recorder.incoming = [
        (b"good", [group("ff12::8000:7170", 2)], 0, near),
        (b"other group", [group("ff12::8000:7171", 2)], 0, near),
        (b"other interface", [group("ff12::8000:7170", 3)], 0, ("fe80::2", 7171, 0, 3)),
        (b"unicast", [group("fe80::1", 2)], 0, near),
        (b"routed", [group("ff12::8000:7170", 2)], 0, far),
        (b"routed, scoped", [group("ff12::8000:7170", 2)], 0, ("fd00::2", 7171, 0, 2)),
        (b"unknown", [], 0, near),
        (b"odd", [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, b"short"), (0, 0, b"")], 0, near),
    ]
    heard = list(sockets.receive(recorder))  # type: ignore[arg-type]
    assert heard == [(MESH, b"good", NetAddress("fe80::2", 7171, 2))]


def test_on_loopback_only_loopback_addresses_are_heard(sockets: BeaconSockets) -> None:
    recorder = Recorder()
    if sockets._socket4 is not None:
        sockets._socket4.close()
    sockets._socket4 = recorder  # type: ignore[assignment]
    sockets.join(LOCAL)
    recorder.incoming = [(b"x", [], 0, ("192.0.2.1", 7171)), (b"y", [], 0, ("127.0.0.9", 7171))]
    assert [data for _channel, data, _source in sockets.receive(recorder)] == [b"y"]  # type: ignore[arg-type]


def test_a_batch_is_bounded(sockets: BeaconSockets) -> None:
    recorder = recorded(sockets)
    sockets.join(MESH)
    recorder.incoming = [(b"x", [group("ff12::8000:7170", 2)], 0, ("fe80::2", 7171, 0, 2))] * 100
    assert len(list(sockets.receive(recorder))) == 16  # type: ignore[arg-type]


def refusing(*families: int) -> Any:
    real = socket.socket

    def make(family: int, *arguments: int) -> socket.socket:
        if family in families:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *arguments)

    return make


def test_without_ipv6_the_loopback_still_works_and_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    monkeypatch.setattr(beacon_sockets.socket, "socket", refusing(socket.AF_INET6))
    made = BeaconSockets(port)
    assert made.ipv6_error is not None
    with pytest.raises(OSError, match="not supported"):
        made.join(MESH)
    made.send(MESH, b"nowhere")
    made.close()


def test_without_ipv4_the_links_still_work(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(beacon_sockets.socket, "socket", refusing(socket.AF_INET))
    made = BeaconSockets(port)
    assert made.ipv6_error is None
    with pytest.raises(OSError, match="no IPv4"):
        made.join(LOCAL)
    made.leave(LOCAL)
    made.close()


def test_without_both_there_is_an_error(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(beacon_sockets.socket, "socket", refusing(socket.AF_INET, socket.AF_INET6))
    with pytest.raises(OSError, match="not supported"):
        BeaconSockets(port)


def test_a_port_held_by_a_program_that_shares_nothing_is_an_error(port: int) -> None:
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four,
    ):
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        six.bind(("::", port))
        four.bind(("", port))
        with pytest.raises(OSError, match="in use"):
            BeaconSockets(port)


def test_multicast_all_is_not_needed(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(beacon_sockets, "_IPV6_MULTICAST_ALL", 0xFFFF)
    BeaconSockets(port).close()


# --- the service ----------------------------------------------------------------------------


class FakeSockets:
    """Stands for BeaconSockets: what one service sends, the others hear."""

    everybody: list[FakeSockets]

    def __init__(self, _port: int) -> None:
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sockets = (self._near,)
        self.ipv6_error: OSError | None = None
        self.joined: list[Channel] = []
        self.refuse: set[str] = set()
        self.broken = False
        self.everybody.append(self)

    def join(self, channel: Channel) -> None:
        if channel.name in self.refuse:
            raise OSError(errno.ENOBUFS, "no more groups")
        self.joined.append(channel)

    def leave(self, channel: Channel) -> None:
        if channel in self.joined:
            self.joined.remove(channel)

    def send(self, channel: Channel, datagram: bytes) -> None:
        if self.broken:
            raise OSError(errno.ENETDOWN, "Network is down")
        for other in self.everybody:
            if channel in other.joined:
                other._far.send(datagram)

    def receive(self, sock: socket.socket) -> Iterator[tuple[Channel, bytes, NetAddress]]:
        yield self.joined[0], sock.recv(512), SOURCE

    def close(self) -> None:
        self._near.close()
        self._far.close()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeSockets]]:
    FakeSockets.everybody = []
    monkeypatch.setattr("qpq.discovery.beacon_service.BeaconSockets", FakeSockets)
    yield FakeSockets.everybody
    for made in FakeSockets.everybody:
        made.close()


def service(node: Identity, found: list[PeerFound]) -> BeaconService:
    return BeaconService(node, 7002, 1, random=seeded(4).random, on_found=found.append)


def test_two_services_find_each_other_and_grow_quiet(network: list[FakeSockets]) -> None:
    async def main() -> None:
        here: list[PeerFound] = []
        there: list[PeerFound] = []
        first, second = service(OWN, here), service(OTHER, there)
        for one in (first, second):
            assert one.status(Via.BEACON) == "off"
            one.follow([MESH])
            one.start()
            assert one.status(Via.BEACON).startswith("waiting for an interface")
            one.follow([MESH])
        await asyncio.sleep(2)
        assert [f.identity for f in here] == [OTHER]
        assert [f.identity for f in there] == [OWN]
        assert first.status(Via.BEACON) == "on mesh0: 1 node heard"
        await asyncio.sleep(3000)
        quiet = first.counters["beacon_sent"]
        first.link_lost()
        await asyncio.sleep(3)
        assert first.counters["beacon_sent"] >= quiet + 2
        for one in (first, second, first):
            one.close()
        assert network[0].joined == [MESH]

    run(main())


def test_channels_that_cannot_be_joined_or_sent_to_are_told(network: list[FakeSockets]) -> None:
    async def main() -> None:
        one = service(OWN, [])
        one.start()
        network[0].refuse.add("br-client")
        one.follow([MESH, BRIDGE])
        assert one.status(Via.GROUP) == "on br-client: 0 nodes heard; failed: br-client: no more groups"
        assert one.status(Via.BEACON) == "on mesh0: 0 nodes heard"
        network[0].broken = True
        await asyncio.sleep(3)
        assert one.counters["beacon_send_errors"] >= 2
        one.follow([])
        assert network[0].joined == []
        network[0].ipv6_error = OSError(errno.EAFNOSUPPORT, "no such family")
        assert one.status(Via.BEACON).startswith("failed: no IPv6 (no such family)")
        one.close()
        one._readable(network[0].sockets[0])
        one._send()

    run(main())


def test_the_addresses_told_are_text_that_can_be_dialled() -> None:
    assert LINK_LOCAL.usable
    found = machine(LOCAL).heard(LOCAL, beacon(port=7009), NetAddress("127.0.0.1", 7171), 1.0)
    assert found == PeerFound("127.0.0.1:7009", Via.BEACON, OTHER)

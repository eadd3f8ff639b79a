"""Links over real UDP on this machine's loopback."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from link_world import first_packet, secret

from qpq.link import endpoint as endpoint_module
from qpq.link import sockets
from qpq.link.connection import Link
from qpq.link.endpoint import Endpoint
from qpq.link.errors import AddressError, ListenError
from qpq.link.limits import LinkLimits
from qpq.link.sockets import UdpSocket
from qpq.mesh.events import DialFailed, FrameReceived, LinkDown, LinkUp
from qpq.netaddress import NetAddress, NetAddressError
from qpq.wire.frames import CloseCode, Receipt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from qpq.crypto.identity import Identity
    from qpq.mesh.events import Event

ROOT = Path(__file__).resolve().parents[2]
PING = Receipt(((b"s" * 16, b"h" * 32),))
BATCH = Receipt(tuple((bytes((number,)) * 16, b"h" * 32) for number in range(8)))  # some 400 bytes
FEW = 5  # of them may be on their way; the next waits
WAIT_S = 10.0


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


class Station:
    """An endpoint, its events, and a way to wait for them."""

    def __init__(self, name: str, limits: LinkLimits | None = None, listen: str = "[::]:0") -> None:
        self.identity = secret(name).identity
        self.events: list[Event] = []
        self.answer: Callable[[Event], object] = lambda _: None
        self._changed = asyncio.Event()
        self.endpoint = Endpoint(secret(name), self._on_event, limits)
        self.endpoint.listen(listen)

    def _on_event(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()
        self.answer(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    async def some(self, kind: type, count: int = 1) -> Any:
        """Return the ``count``-th event of a kind."""
        async with asyncio.timeout(WAIT_S):
            while len(self.of(kind)) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.of(kind)[count - 1]


@contextlib.asynccontextmanager
async def stations(*names: str, **settings_: Any) -> AsyncIterator[list[Station]]:
    made = [Station(name, **settings_) for name in names]
    try:
        yield made
    finally:
        for station in made:
            await station.endpoint.close_all(0.1)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells of."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 (nothing but the clock says when)
            await asyncio.sleep(0.005)


def test_a_node_answers_from_the_address_it_was_called_at() -> None:
    async def scenario() -> None:
        async with stations("anna", "ben") as (anna, ben):
            up, _ = await link(anna, ben, "127.0.0.9")
            anna.endpoint.send(up.link, PING)
            await ben.some(FrameReceived)
            assert anna.endpoint.links()[0].address == f"127.0.0.9:{ben.endpoint.port}"
        async with stations("anna", listen="0.0.0.0:0") as (anna,), stations("ben", listen="0.0.0.0:0") as (ben,):
            assert anna.endpoint._socket is not None
            await link(anna, ben, "127.0.0.9")

    run(scenario)


async def link(
    one: Station, other: Station, host: str = "127.0.0.1", identity: Identity | None = None
) -> tuple[LinkUp, LinkUp]:
    seen = len(one.of(LinkUp)), len(other.of(LinkUp))
    one.endpoint.connect(f"{host}:{other.endpoint.port}", identity)
    return await one.some(LinkUp, seen[0] + 1), await other.some(LinkUp, seen[1] + 1)


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("[::1]", marks=needs_ipv6)])
def test_two_endpoints_link_over_either_family(host: str) -> None:
    async def scenario() -> None:
        async with stations("anna", "ben") as (anna, ben):
            up, there = await link(anna, ben, host, ben.identity)
            assert (up.peer, there.peer) == (ben.identity, anna.identity)
            assert up.address == f"{host}:{ben.endpoint.port}"
            assert there.address == f"{host}:{anna.endpoint.port}"
            anna.endpoint.send_many(up.link, [PING, PING])
            await ben.some(FrameReceived, 2)
            ben.endpoint.send(there.link, PING)
            await anna.some(FrameReceived)
            row = anna.endpoint.links()[0]
            assert row.rtt is not None
            assert row.peer == ben.identity

    run(scenario)


def test_a_name_is_looked_up() -> None:
    async def scenario() -> None:
        async with stations("anna", "ben") as (anna, ben):
            up, _ = await link(anna, ben, "localhost")
            assert up.address == f"localhost:{ben.endpoint.port}"

    run(scenario)


def test_events_never_come_from_inside_a_command() -> None:
    async def scenario() -> None:
        async with stations("anna", "ben") as (anna, ben):
            anna.endpoint.connect("not an address at all:x")
            assert not anna.events
            await anna.some(DialFailed)
            up, _ = await link(anna, ben)
            count = len(anna.events)
            anna.endpoint.close(up.link, CloseCode.NONE, "bye")
            anna.endpoint.kick()
            assert len(anna.events) == count
            assert (await anna.some(LinkDown)).reason == "bye"
            assert (await ben.some(LinkDown)).reason == "closed by the peer: none (bye)"

    run(scenario)


def test_answers_given_inside_an_event_leave_at_once() -> None:
    async def scenario() -> None:
        async with stations("anna", "ben") as (anna, ben):
            anna.answer = lambda event: isinstance(event, LinkUp) and anna.endpoint.send(event.link, PING)
            ben.answer = lambda event: isinstance(event, FrameReceived) and ben.endpoint.send(event.link, PING)
            await link(anna, ben)
            await anna.some(FrameReceived)

    run(scenario)


def test_a_second_link_is_resumed_at_both_ends() -> None:
    async def scenario() -> None:
        async with stations("anna", "ben") as (anna, ben):
            first, _ = await link(anna, ben, identity=ben.identity)
            anna.endpoint.send(first.link, PING)
            await ben.some(FrameReceived)
            await until(lambda: len(anna.endpoint._hub.tickets) > 0)
            up, there = await link(anna, ben, identity=ben.identity)
            assert up.resumed
            assert there.resumed
            ben.endpoint.forget(anna.identity)
            up, there = await link(anna, ben, identity=ben.identity)
            assert not up.resumed

    run(scenario)


def test_two_hundred_connects_in_a_row_leave_nothing_behind() -> None:
    async def scenario() -> None:
        async with stations("anna", "ben") as (anna, ben):
            ghosts: list[weakref.ref[Any]] = []
            for number in range(200):
                up, _ = await link(anna, ben, identity=ben.identity)
                ghosts.append(weakref.ref(anna.endpoint._hub._links[up.link].quic))
                anna.endpoint.close(up.link, CloseCode.NONE, "next")
                await anna.some(LinkDown, number + 1)
                await ben.some(LinkDown, number + 1)
            for station in (anna, ben):
                hub = station.endpoint._hub
                assert not hub._links
                assert not hub._by_id
                assert len(hub.tickets) <= 1
                counters = station.endpoint.counters
                assert counters.pop("dropped_unknown", 0) < 10  # sent again just before the end was heard
                assert counters == {"datagrams_lost": 0, "half_open": 0}
            gc.collect()
            assert sum(1 for ghost in ghosts if ghost() is not None) <= 1

    run(scenario)


@pytest.mark.parametrize("family", ["ipv4", pytest.param("ipv6", marks=needs_ipv6)])
def test_a_link_goes_on_when_the_source_address_changes(family: str) -> None:
    async def scenario() -> None:
        async with stations("anna", "ben") as (anna, ben):
            host = "127.0.0.1" if family == "ipv4" else "[::1]"
            up, there = await link(anna, ben, host)
            anna.endpoint.send(up.link, PING)
            await ben.some(FrameReceived)
            before = ben.endpoint.links()[0].address
            move(anna.endpoint, "::ffff:127.0.0.7" if family == "ipv4" else "::1")
            anna.endpoint.kick()
            anna.endpoint.send(up.link, PING)
            await ben.some(FrameReceived, 2)
            ben.endpoint.send(there.link, PING)
            await anna.some(FrameReceived)
            after = ben.endpoint.links()[0].address
            assert after != before
            assert after.startswith("127.0.0.7:" if family == "ipv4" else "[::1]:")
            assert not anna.of(LinkDown)

    run(scenario)


def move(endpoint: Endpoint, host: str) -> None:
    """Give the endpoint a socket at another address, as the kernel does when an interface changes."""
    assert endpoint._socket is not None
    endpoint._loop.remove_reader(endpoint._socket.fileno())
    endpoint._socket.close()
    moved = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    moved.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    moved.setblocking(False)
    moved.bind((host, 0))
    endpoint._socket._socket = moved
    endpoint._loop.add_reader(moved.fileno(), endpoint._readable)


def test_close_all_delivers_what_is_queued_and_tells_every_peer() -> None:
    async def scenario() -> None:
        async with stations("anna", "ben", "carla") as (anna, ben, carla):
            up, _ = await link(anna, ben)
            await link(carla, anna)
            for _ in range(300):
                anna.endpoint.send(up.link, PING)
            await anna.endpoint.close_all(5.0)
            assert (await ben.some(LinkDown)).reason == "closed by the peer: shutdown (the node stops)"
            assert (await carla.some(LinkDown)).reason == "closed by the peer: shutdown (the node stops)"
            assert len(ben.of(FrameReceived)) == 300
            assert anna.endpoint.port == 0
            assert not anna.endpoint.send(up.link, PING)
            anna.endpoint.connect("127.0.0.1:7000")
            await anna.some(DialFailed)
            await anna.endpoint.close_all(0.1)

    run(scenario)


def test_close_all_does_not_wait_for_a_dead_peer() -> None:
    async def scenario() -> None:
        async with stations("anna", "ben") as (anna, ben):
            up, _ = await link(anna, ben)
            ben.endpoint._stop()
            anna.endpoint.send(up.link, PING)
            before = anna.endpoint._loop.time()
            await anna.endpoint.close_all(0.2)
            assert anna.endpoint._loop.time() - before < 1

    run(scenario)


def test_a_busy_socket_lets_the_rest_of_the_program_have_its_turn() -> None:
    async def scenario() -> None:
        async with stations("anna", limits=LinkLimits(datagrams_a_wake=4)) as (anna,):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
                for _ in range(20):
                    noise.sendto(b"\x40garbage", ("127.0.0.1", anna.endpoint.port))
            anna.endpoint._readable()
            assert anna.endpoint.counters["dropped_unknown"] == 4
            await until(lambda: anna.endpoint.counters["dropped_unknown"] == 20)

    run(scenario)


def test_a_queued_frame_leaves_when_its_caller_says_so() -> None:
    async def scenario() -> None:
        async with stations("anna", "ben") as (anna, ben):
            up, _there = await link(anna, ben)
            assert anna.endpoint.queue(up.link, PING)
            assert anna.endpoint._wake is None, "the loop is not asked for a turn"
            anna.endpoint.transmit()
            assert await ben.some(FrameReceived)
            assert not anna.endpoint.queue(up.link + 1000, PING), "there is no such link"

    run(scenario)


def test_what_answers_the_last_of_the_events_leaves_from_within_it() -> None:
    async def scenario() -> None:
        async with stations("anna", "ben") as (anna, ben):
            up, there = await link(anna, ben)
            sent: list[int] = []

            def answer(event: Event) -> None:
                if isinstance(event, FrameReceived):
                    assert ben.endpoint.queue(there.link, PING)
                    ben.endpoint.hurry()
                    sent.append(ben.endpoint.links()[0].sent_bytes)

            ben.answer = answer
            anna.endpoint.send_many(up.link, (PING, PING))
            await anna.some(FrameReceived, 2)
            assert sent[0] < sent[1], "the first waits for the second, whose frame leaves at once with it"
            ben.endpoint.queue(there.link, PING)
            ben.endpoint.hurry()
            assert ben.endpoint.links()[0].sent_bytes == sent[1], "nothing has come in: it waits for transmit"

    run(scenario)


def test_a_link_that_ends_by_what_was_queued_is_told_of() -> None:
    async def scenario() -> None:
        async with stations("anna", "ben", limits=LinkLimits(send_buffer=1)) as (anna, ben):
            up, _there = await link(anna, ben)
            anna.endpoint.queue(up.link, PING)
            anna.endpoint.transmit()
            assert not anna.of(LinkDown), "not from inside the command"
            await anna.some(LinkDown)

    run(scenario)


def test_a_fault_in_what_listens_to_events_loses_no_event_and_no_datagram() -> None:
    async def scenario() -> None:
        async with stations("anna", "ben") as (anna, ben):
            faults: list[Any] = []
            anna.endpoint._loop.set_exception_handler(lambda _, context: faults.append(context["exception"]))

            def stumble(event: Event) -> None:
                anna.answer = lambda _: None
                raise LookupError(event)

            anna.answer = stumble
            up, there = await link(anna, ben)
            anna.endpoint.send(up.link, PING)
            await ben.some(FrameReceived)
            ben.endpoint.send(there.link, PING)
            await anna.some(FrameReceived)
            assert [type(fault) for fault in faults] == [LookupError]

    run(scenario)


# --- dials that fail --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "not an address"),
        ("host:port:7000", "not an address"),
        ("127.0.0.1:0", "port"),
        ("224.0.0.251:7000", "not the address of one machine"),
        ("0.0.0.0:7000", "not the address of one machine"),
        ("255.255.255.255:7000", "not the address of one machine"),
        ("[::]:7000", "not the address of one machine"),
        ("[ff02::1%1]:7000", "not the address of one machine"),
        ("[fe80::1]:7000", "needs its interface"),
        ("nobody.invalid:7000", "was not found"),
    ],
)
def test_an_address_that_cannot_be_dialled_fails_with_the_reason(address: str, words: str) -> None:
    async def scenario() -> None:
        async with stations("anna") as (anna,):
            anna.endpoint.connect(address)
            failed = await anna.some(DialFailed)
            assert failed.address == address
            assert words in failed.reason

    run(scenario)


def test_a_port_where_nobody_answers_fails_after_the_deadline() -> None:
    async def scenario() -> None:
        async with stations("anna", limits=LinkLimits(handshake_s=0.3)) as (anna,):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
                silent.bind(("127.0.0.1", 0))
                anna.endpoint.connect(f"127.0.0.1:{silent.getsockname()[1]}")
                assert (await anna.some(DialFailed)).reason == "no answer"

    run(scenario)


def test_frames_for_a_link_with_much_under_way_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with stations("anna", "ben") as (anna, ben):
            up, _ = await link(anna, ben)
            await until(lambda: not anna.endpoint._hub.backlog())
            sent: list[int] = []
            real = UdpSocket.send
            monkeypatch.setattr(
                UdpSocket, "send", lambda self, data, to, local: sent.append(len(data)) or real(self, data, to, local)
            )
            seen = len(ben.of(FrameReceived))
            for _ in range(2 * FEW):
                anna.endpoint.queue(up.link, BATCH)
                anna.endpoint.transmit()
            at_once = len(sent)
            assert at_once == FEW, "the first ones have a packet each, the others wait for the turn's end"
            await ben.some(FrameReceived, seen + 2 * FEW)
            assert max(sent[at_once:]) > 2 * max(sent[:at_once])

    run(scenario)


def test_links_are_loaded_when_the_first_one_is_wanted_or_on_demand() -> None:
    async def scenario() -> None:
        events: list[Any] = []
        idle, told = (Endpoint(secret(name), events.append) for name in ("idle", "told"))
        for endpoint in (idle, told):
            endpoint.listen("127.0.0.1:0")
            endpoint.transmit()
            assert endpoint.port
            assert not endpoint._is_loaded
        told.load()
        assert (told._is_loaded, told.links(), idle._is_loaded) == (True, (), False)
        idle.connect(f"127.0.0.1:{told.port}")
        assert idle._is_loaded
        async with asyncio.timeout(WAIT_S):
            while len(events) < 2:  # noqa: ASYNC110 (nothing but the clock says when)
                await asyncio.sleep(0.005)
        assert {type(event) for event in events} == {LinkUp}
        for endpoint in (idle, told):
            await endpoint.close_all(1.0)
        unused = Endpoint(secret("unused"), events.append)
        unused.listen("127.0.0.1:0")
        await unused.close_all(1.0)
        assert (unused.port, unused._is_loaded) == (0, False)

    run(scenario)


def test_only_so_many_names_are_looked_up_at_once_and_each_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with stations("anna", limits=LinkLimits(lookup_s=0.1)) as (anna,):
            never = threading.Event()
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: never.wait(60))
            for number in range(endpoint_module.MAX_LOOKUPS + 1):
                anna.endpoint.connect(f"host{number}:7000")
            await anna.some(DialFailed, endpoint_module.MAX_LOOKUPS + 1)
            reasons = [event.reason for event in anna.of(DialFailed)]
            assert reasons[0] == "too many names are being looked up"
            assert reasons[1:] == [f"the name host{number} was not found in time" for number in range(4)]

    run(scenario)


def test_the_usable_addresses_of_a_name_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with stations("anna", "ben", limits=LinkLimits(handshake_s=0.6)) as (anna, ben):
            port = ben.endpoint.port

            def several(*_: object, **__: object) -> list[Any]:
                hosts = ["224.0.0.1", "127.0.0.99", "127.0.0.99", "127.0.0.1"]
                return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (host, port)) for host in hosts]

            monkeypatch.setattr(socket, "getaddrinfo", several)
            ben_socket = ben.endpoint._socket
            assert ben_socket is not None
            real = ben_socket.send
            monkeypatch.setattr(
                UdpSocket,
                "send",
                lambda self, data, to, local: "" if "99" in to[0] else real_send(self, data, to, local),
            )
            assert real is not None
            anna.endpoint.connect("several:7000")
            assert (await anna.some(LinkUp)).address == "several:7000"

    real_send = UdpSocket.send
    run(scenario)


def test_a_name_without_a_usable_address_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with stations("anna") as (anna,):

            def useless(*_: object, **__: object) -> list[Any]:
                return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("224.0.0.1", 7000))]

            monkeypatch.setattr(socket, "getaddrinfo", useless)
            anna.endpoint.connect("useless:7000")
            assert "224.0.0.1 is not the address of one machine" in (await anna.some(DialFailed)).reason

    run(scenario)


def test_a_lookup_under_way_does_not_outlive_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with stations("anna") as (anna,):
            never = threading.Event()
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: never.wait(60))
            anna.endpoint.connect("host:7000")
            await asyncio.sleep(0)
            await anna.endpoint.close_all(0.1)
            await asyncio.sleep(0)
            assert not anna.endpoint._lookups

    run(scenario)


# --- floods over real UDP ---------------------------------------------------------------------


@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(st.lists(st.binary(min_size=1, max_size=1300), min_size=50, max_size=100))
def test_garbage_from_the_wire_does_no_harm(garbage: list[bytes]) -> None:
    async def scenario() -> None:
        async with stations("anna", "ben") as (anna, ben):
            up, _ = await link(anna, ben)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
                for data in garbage:
                    noise.sendto(data, ("127.0.0.1", ben.endpoint.port))
                    noise.sendto(b"\xc0\0\0\0\1\x08" + data.ljust(1250, b"\0"), ("127.0.0.1", ben.endpoint.port))
            anna.endpoint.send(up.link, PING)
            await ben.some(FrameReceived)
            assert len(ben.endpoint._hub._links) == 1

    run(scenario)


def test_a_slowloris_of_half_open_handshakes_is_bounded_and_ends() -> None:
    async def scenario() -> None:
        limits = LinkLimits(half_open=8, retry_from=4, half_open_a_source=100, handshake_s=0.5)
        async with stations("anna", "ben", limits=limits) as (anna, ben):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as slow:
                slow.bind(("127.0.0.3", 0))
                for _ in range(40):
                    slow.sendto(first_packet(("127.0.0.1", ben.endpoint.port), 1.0), ("127.0.0.1", ben.endpoint.port))
                await asyncio.sleep(0.1)
                assert 1 <= ben.endpoint.counters["half_open"] <= 8
                await link(anna, ben)  # an honest peer gets in, by way of Retry
                assert ben.endpoint.counters["answered_retry"] >= 1
                await until(lambda: not ben.endpoint.counters["half_open"])

    run(scenario)


# --- the socket -------------------------------------------------------------------------------


def test_a_port_in_use_is_told_with_its_number() -> None:
    async def scenario() -> None:
        async with stations("anna") as (anna,):
            with pytest.raises(ListenError, match=rf"\[::\]:{anna.endpoint.port}: Address already in use"):
                Endpoint(secret("ben"), print).listen(f"[::]:{anna.endpoint.port}")
            with pytest.raises(NetAddressError):
                Endpoint(secret("ben"), print).listen("nonsense::")

    run(scenario)


def test_an_endpoint_can_listen_on_one_address() -> None:
    async def scenario() -> None:
        async with stations("anna", listen="127.0.0.1:0") as (anna,), stations("ben") as (ben,):
            up, there = await link(ben, anna)
            assert there.peer == ben.identity
            anna.endpoint.connect(f"[::1]:{ben.endpoint.port}")
            assert (await anna.some(DialFailed)).reason == "this machine has no IPv6"
            anna.endpoint.connect(f"127.0.0.1:{ben.endpoint.port}")
            await anna.some(LinkUp, 2)
            assert up.peer == anna.identity

    run(scenario)


def test_without_ipv6_the_socket_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def no_ipv6(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, kind)

    monkeypatch.setattr(sockets.socket, "socket", no_ipv6)
    opened = UdpSocket(NetAddress("::", 0))
    assert opened.family == socket.AF_INET
    assert opened.sockaddr(NetAddress("10.0.0.1", 7)) == ("10.0.0.1", 7)
    assert opened.sockaddr(NetAddress("::ffff:10.0.0.1", 7)) == ("10.0.0.1", 7)
    opened.close()


@needs_ipv6
def test_a_socket_that_cannot_do_both_families_does_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_join_families", lambda _: False)
    opened = UdpSocket(NetAddress("::", 0))
    with pytest.raises(AddressError, match="IPv6 only"):
        opened.sockaddr(NetAddress("10.0.0.1", 7))
    opened.close()
    opened = UdpSocket(NetAddress("::1", 0))
    assert opened.sockaddr(NetAddress("2001:DB8:0:0::1", 7, 3)) == ("2001:db8::1", 7, 0, 0)
    assert opened.sockaddr(NetAddress("fe80::1", 7, 3)) == ("fe80::1", 7, 0, 3)
    opened.close()


def test_a_burst_of_datagrams_has_room_in_the_kernel() -> None:
    most = Path("/proc/sys/net/core/rmem_max")
    granted = int(most.read_text()) if most.exists() else 0  # a container may not show it
    opened = UdpSocket(NetAddress("127.0.0.1", 0))
    assert opened._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 2 * min(granted, sockets._WAITING)
    opened.close()
    assert f"net.core.rmem_max={sockets._WAITING}\n" in (ROOT / "openwrt" / "files" / "qpq.sysctl").read_text()


def test_a_system_that_refuses_to_join_families_is_believed() -> None:
    class Stubborn:
        def setsockopt(self, *_: object) -> None:
            raise OSError

    assert not sockets._join_families(Stubborn())  # type: ignore[arg-type]


def test_what_the_kernel_does_not_take_is_counted_and_what_cannot_be_reached_is_said() -> None:
    opened = UdpSocket(NetAddress("127.0.0.1", 0))
    assert opened.send(bytes(65_530), ("127.0.0.1", 9)) == ""  # too long: QUIC finds out by itself
    assert opened.send(b"x", ("8.8.8.8", 9)) in {"", *map(os.strerror, range(1, 134))}
    assert opened.lost >= 1
    assert opened.receive() is None
    opened.close()
    assert opened.receive() is None
    assert opened.send(b"x", ("127.0.0.1", 9)) == "Bad file descriptor"


def test_a_link_is_never_mistaken_for_another() -> None:
    assert Link.__hash__ is object.__hash__

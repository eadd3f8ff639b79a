"""mDNS by zeroconf: what is published and asked when, with a responder that is none, and with the real one."""

from __future__ import annotations

import asyncio
import builtins
import socket
import struct
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from discovery_kit import dns_name, dns_record, dns_response, interface, run, seeded

from qpq.crypto.identity import Identity, text_id
from qpq.discovery import mdns as module
from qpq.discovery.dns import PTR, HostAddress, Pointer, Question, Service, Text
from qpq.discovery.dnssd import SERVICE_TYPE, ServiceTable
from qpq.discovery.errors import DnsError, MdnsUnavailableError, NameTakenError
from qpq.discovery.gate import MESSAGE_BURST, SOURCE_BURST, MdnsGate
from qpq.discovery.interfaces import InterfaceAddress
from qpq.discovery.mdns import NAMES, PUBLISH_DEADLINE, RETRY, Mdns, Publication

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from qpq.mesh.events import PeerFound

OWN, OTHER = Identity(b"o" * 32), Identity(b"p" * 32)
NAME = text_id(OWN)[:16]
FOUR = InterfaceAddress("10.0.0.1", 24)
ETH0 = interface(2, "eth0", addresses=(FOUR, InterfaceAddress("fe80::1", 64, 253)))


def of_other(ttl: int = 4500) -> list[Any]:
    instance = "node." + SERVICE_TYPE
    return [
        Pointer(SERVICE_TYPE, ttl, instance),
        Service(instance, 120, 7002, "h.local."),
        Text(instance, 4500, (b"ver=1", b"id=" + text_id(OTHER).encode())),
        HostAddress("h.local.", 120, "10.0.0.2"),
    ]


@dataclass
class Asked:
    at: float
    questions: list[Question]
    known: list[tuple[str, str, int]]
    unicast: bool


@dataclass
class FakeResponder:
    take: Callable[[Any], None]
    ipv6: bool = True
    used: list[list[str | int]] = field(default_factory=list)
    published: list[Publication] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    unavailable: bool = False
    slow: bool = False
    closed: int = 0
    refused: int = 9
    overgrown: bool = False

    async def start(self, interfaces: list[str | int]) -> None:
        if self.unavailable:
            raise MdnsUnavailableError("UDP port 5353: in use")
        self.used.append(interfaces)

    async def close(self) -> None:
        self.closed += 1

    async def use(self, interfaces: list[str | int]) -> None:
        self.used.append(interfaces)

    async def publish(self, publication: Publication) -> None:
        if self.slow:
            await asyncio.sleep(PUBLISH_DEADLINE * 2)
        if self.faults:
            raise self.faults.pop(0)
        self.published.append(publication)

    def ask(self, questions: Any, known: Any, *, unicast: bool) -> None:
        self.asked.append(Asked(asyncio.get_running_loop().time(), list(questions), list(known), unicast))

    def convert(self, update: Any) -> Any:
        if isinstance(update, Exception):
            raise update
        return update

    def trim(self) -> bool:
        return self.overgrown


class Rig:
    def __init__(self, **options: Any) -> None:
        self.found: list[PeerFound] = []
        self.responder = FakeResponder(lambda _updates: None, **options)
        self.services = ServiceTable(OWN, lambda _host, scope: scope)
        self.mdns = Mdns(
            OWN,
            7000,
            "ffxx",
            self.services,
            random=seeded(5).random,
            on_found=self.found.append,
            make=self._make,
        )

    def _make(self, take: Callable[[Any], None]) -> FakeResponder:
        self.responder.take = take
        return self.responder


def started(test: Callable[[Rig], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def main() -> None:
        rig = Rig(**options)
        await rig.mdns.start([ETH0])
        await asyncio.sleep(0.01)
        await test(rig)
        await rig.mdns.close()
        await rig.mdns.close()
        assert rig.responder.closed == 1

    run(main())


def test_the_node_is_published_with_its_addresses_and_text() -> None:
    async def test(rig: Rig) -> None:
        assert rig.responder.used == [["10.0.0.1", 2]]
        assert rig.responder.published == [
            Publication(
                SERVICE_TYPE,
                f"{NAME}.{SERVICE_TYPE}",
                7000,
                f"qpq-{NAME}.local.",
                ("fe80::1", "10.0.0.1"),
                (("ver", "1"), ("server", "10.0.0.1:7000"), ("domain", "ffxx"), ("id", text_id(OWN))),
            )
        ]
        assert rig.mdns.status() == "zeroconf on 5353"
        assert rig.mdns.counters["mdns_flooded"] == 9

    started(test)


def test_without_ipv6_only_ipv4_is_used() -> None:
    async def test(rig: Rig) -> None:
        assert rig.responder.used == [["10.0.0.1"]]

    started(test, ipv6=False)


def test_changed_addresses_are_used_and_published_unchanged_ones_are_not_announced_again() -> None:
    async def test(rig: Rig) -> None:
        rig.mdns.follow([ETH0])
        await asyncio.sleep(1)
        assert len(rig.responder.published) == len(rig.responder.used) == 1
        rig.mdns.follow([interface(3, "wlan0", addresses=(InterfaceAddress("10.1.0.1", 24),))])
        await asyncio.sleep(1)
        assert rig.responder.used[1:] == [["10.1.0.1"]]
        assert rig.responder.published[1].addresses == ("10.1.0.1",)
        assert rig.responder.published[1].name == rig.responder.published[0].name
        rig.mdns.follow([])
        await asyncio.sleep(1)
        assert rig.mdns.status() == "zeroconf on 5353, waiting for an interface with a carrier"

    started(test)


def test_a_name_claimed_by_others_is_replaced_by_another_one() -> None:
    async def main() -> None:
        rig = Rig(faults=[NameTakenError("x"), NameTakenError("x")])
        await rig.mdns.start([ETH0])
        await asyncio.sleep(0.01)
        (publication,) = rig.responder.published
        assert publication.name.startswith(NAME + "-")
        assert publication.name.endswith("." + SERVICE_TYPE)
        await rig.mdns.close()

    run(main())


def test_a_liar_who_claims_every_name_is_told_in_the_status_and_tried_again_later() -> None:
    async def main() -> None:
        rig = Rig(faults=[NameTakenError("the name")] * NAMES)
        await rig.mdns.start([ETH0])
        await asyncio.sleep(0.01)
        assert rig.mdns.status() == "zeroconf on 5353, not published: the name"
        await asyncio.sleep(RETRY + 1)
        assert rig.mdns.status() == "zeroconf on 5353"
        assert len(rig.responder.published) == 1
        await rig.mdns.close()

    run(main())


def test_a_publication_without_end_is_given_up_and_tried_again() -> None:
    async def main() -> None:
        rig = Rig(slow=True)
        await rig.mdns.start([ETH0])
        await asyncio.sleep(PUBLISH_DEADLINE + 1)
        assert rig.mdns.status().endswith("no end after 20 s")
        rig.responder.slow = False
        await asyncio.sleep(RETRY)
        assert rig.mdns.status() == "zeroconf on 5353"
        await rig.mdns.close()

    run(main())


def test_a_taken_port_is_told_to_the_caller() -> None:
    async def main() -> None:
        rig = Rig(unavailable=True)
        with pytest.raises(MdnsUnavailableError, match="in use"):
            await rig.mdns.start([ETH0])
        rig.mdns.look_around()
        rig.responder.take([])
        rig.mdns._trim()
        rig.mdns._send([], [], unicast=True)
        await rig.mdns.close()
        assert rig.responder.closed == 0

    run(main())


def test_questions_come_quickly_at_first_and_every_seventeen_minutes_later() -> None:
    async def test(rig: Rig) -> None:
        await asyncio.sleep(20_000)
        asked = rig.responder.asked
        assert asked[0].questions == [Question(SERVICE_TYPE, PTR)]
        assert [a.unicast for a in asked[:3]] == [True, False, False]
        gaps = [later.at - earlier.at for earlier, later in pairwise(asked)]
        assert gaps[0] >= 1.0
        assert all(gap > 60 for gap in gaps[8:])
        assert rig.mdns.counters["mdns_queries"] == len(asked) < 35
        rig.mdns.look_around()
        await asyncio.sleep(1)
        assert len(rig.responder.asked) == len(asked) + 0

    started(test)


def test_peers_are_told_and_named_as_known_in_the_next_question() -> None:
    async def test(rig: Rig) -> None:
        rig.responder.take(of_other())
        assert [(f.address, f.identity) for f in rig.found] == [("10.0.0.2:7002", OTHER)]
        await asyncio.sleep(2)
        (known,) = rig.responder.asked[-1].known
        assert known[:2] == (SERVICE_TYPE, "node." + SERVICE_TYPE)
        rig.mdns.follow([ETH0])
        rig.responder.take(of_other())
        assert len(rig.found) == 2

    started(test)


def test_what_is_missing_is_asked_for_a_moment_later_and_not_without_bound() -> None:
    async def test(rig: Rig) -> None:
        name = "node." + SERVICE_TYPE
        rig.responder.take([Pointer(SERVICE_TYPE, 4500, name)])
        await asyncio.sleep(0.15)
        assert [q.name for q in rig.responder.asked[-1].questions] == [name, name]
        assert rig.responder.asked[-1].unicast
        for n in range(300):
            rig.responder.take([Pointer(SERVICE_TYPE, 4500, f"n{n}.{SERVICE_TYPE}")])
            await asyncio.sleep(0.2)
        follow_ups = [a for a in rig.responder.asked if a.questions[0].kind != PTR]
        assert len(follow_ups) <= 10 + 60 * 0.2 + 1

    started(test)


def test_records_beyond_the_rate_are_ignored_and_damaged_ones_counted() -> None:
    async def test(rig: Rig) -> None:
        rig.responder.take([None] * 5000)
        assert 3900 < rig.mdns.counters["mdns_limited"] <= 4000
        await asyncio.sleep(10)
        rig.responder.take([DnsError("damaged"), *of_other()])
        assert rig.mdns.counters["mdns_damaged"] == 1
        assert len(rig.found) == 1
        assert rig.mdns.counters["mdns_cache_emptied"] == 0
        rig.responder.overgrown = True
        rig.responder.take([None] * 600)
        await asyncio.sleep(0.1)
        assert rig.mdns.counters["mdns_cache_emptied"] == 1

    started(test)


def test_a_missing_package_is_told_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "qpq.discovery.zeroconf_bridge":
            raise ImportError("No module named 'zeroconf'")
        return real(name, *arguments, **options)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.delitem(sys.modules, "qpq.discovery.zeroconf_bridge", raising=False)
    with pytest.raises(MdnsUnavailableError, match="package zeroconf is not here"):
        module._zeroconf(lambda _updates: None)


# --- the real zeroconf, on loopback ---------------------------------------------------------


def publication(identity: Identity, address: str, port: int = 7001) -> Publication:
    name = text_id(identity)[:16]
    text = (("ver", "1"), ("id", text_id(identity)))
    return Publication(SERVICE_TYPE, f"{name}.{SERVICE_TYPE}", port, f"qpq-{name}.local.", (address,), text)


def make_bridge(heard: list[Any]) -> Any:
    """Make the real Bridge, which keeps what it heard and could be read."""
    bridge: Any = None

    def take(updates: Any) -> None:
        heard.extend(record for update in updates if (record := bridge.convert(update)) is not None)

    bridge = module._zeroconf(take)
    return bridge


async def until(condition: Callable[[], object], seconds: float = 8.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (zeroconf has no event for it)
            await asyncio.sleep(0.02)


def test_two_real_responders_hear_each_other_and_take_turns() -> None:
    async def main() -> None:
        heard: list[Any] = []
        ours, theirs = make_bridge([]), make_bridge(heard)
        with pytest.raises(MdnsUnavailableError, match="closed"):
            await ours.publish(publication(OWN, "127.0.0.1"))
        with pytest.raises(MdnsUnavailableError, match="closed"):
            await ours.use([])
        ours.ask([], [], unicast=True)
        assert not ours.trim()
        await ours.start(["127.0.0.1"])
        await theirs.start(["127.0.0.1"])
        await ours.publish(publication(OWN, "192.0.2.1"))
        name = f"{NAME}.{SERVICE_TYPE}"
        await until(lambda: HostAddress(f"qpq-{NAME}.local.", 120, "192.0.2.1") in heard)
        assert Pointer(SERVICE_TYPE, 4500, name) in heard
        assert Service(name, 120, 7001, f"qpq-{NAME}.local.") in heard
        assert next(r.entries for r in heard if isinstance(r, Text)) == (b"ver=1", b"id=" + text_id(OWN).encode())
        await ours.publish(publication(OWN, "fd00::9"))
        await until(lambda: HostAddress(f"qpq-{NAME}.local.", 120, "fd00::9") in heard)
        with pytest.raises(NameTakenError, match=NAME):
            await theirs.publish(publication(OWN, "192.0.2.9"))
        heard.clear()
        theirs.ask([Question(SERVICE_TYPE, PTR)], [], unicast=True)
        await until(lambda: Pointer(SERVICE_TYPE, 4500, name) in heard)
        theirs.ask([Question(SERVICE_TYPE, PTR)], [(SERVICE_TYPE, name, 4000)], unicast=False)
        await ours.use(["127.0.0.1"])
        heard.clear()
        await ours.close()
        await ours.close()
        await until(lambda: Pointer(SERVICE_TYPE, 0, name) in heard)
        await theirs.close()

    asyncio.run(main())


def test_a_flood_never_reaches_the_real_responder() -> None:
    async def main() -> None:
        heard: list[Any] = []
        bridge = make_bridge(heard)
        await bridge.start(["127.0.0.1"])
        await bridge.use(["127.0.0.1"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            for n in range(500):
                answer = dns_response(dns_record(SERVICE_TYPE, PTR, dns_name(f"n{n}.{SERVICE_TYPE}")))
                sender.sendto(answer, ("224.0.0.251", 5353))
                if n % 50 == 0:
                    await asyncio.sleep(0.02)
        await until(lambda: bridge.refused > 300)
        assert SOURCE_BURST <= len(heard) < 120
        for reader in bridge._zeroconf.zeroconf.engine.readers:
            guard = reader.transport.get_protocol()
            guard.error_received(OSError("down"))
        await bridge.close()

    asyncio.run(main())


def test_messages_of_insane_size_never_reach_the_real_responder() -> None:
    gate = MdnsGate()
    header = struct.Struct(">HHHHHH").pack
    assert gate.admit(header(0, 0, 32, 64, 32, 32), "a", 1.0)
    for message in (b"", bytes(11), header(0, 0, 33, 0, 0, 0), header(0, 0, 0, 129, 0, 0), header(0, 0, 0, 64, 64, 1)):
        assert not gate.admit(message, "a", 1.0)
    assert gate.refused == 5


def test_one_source_cannot_use_up_the_share_of_the_others() -> None:
    gate = MdnsGate()
    assert sum(gate.admit(bytes(12), "a", 1.0) for _ in range(1000)) == SOURCE_BURST
    assert gate.admit(bytes(12), "b", 1.0)
    assert sum(gate.admit(bytes(12), f"c{n}", 1.0) for n in range(1000)) == MESSAGE_BURST - SOURCE_BURST - 1


def test_a_start_that_is_broken_off_leaves_nothing_open() -> None:
    async def main() -> None:
        rig = Rig()

        async def never(_: object) -> None:
            await asyncio.Event().wait()

        rig.responder.start = never  # type: ignore[method-assign]
        starting = asyncio.create_task(rig.mdns.start([interface()]))
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert rig.responder.closed == 1

    run(main())


def test_the_cache_of_the_real_responder_is_emptied_when_it_has_grown() -> None:
    async def main() -> None:
        from zeroconf import DNSPointer  # noqa: PLC0415 (as lazily as the program)

        bridge = make_bridge([])
        await bridge.start(["127.0.0.1"])
        cache = bridge._zeroconf.zeroconf.cache
        cache.async_add_records([DNSPointer(SERVICE_TYPE, PTR, 1, 4500, f"n{n}.{SERVICE_TYPE}") for n in range(1000)])
        assert not bridge.trim()
        cache.async_add_records([DNSPointer(f"t{n}.local.", PTR, 1, 4500, "x.local.") for n in range(1000)])
        assert bridge.trim()
        assert cache.names() == []
        await bridge.close()

    asyncio.run(main())


def test_a_port_held_by_a_program_that_shares_nothing_is_unavailable() -> None:
    async def main() -> None:
        bridge = make_bridge([])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
            holder.bind(("", 5353))
            with pytest.raises(MdnsUnavailableError, match="UDP port 5353"):
                await bridge.start(["127.0.0.1"])

    asyncio.run(main())


def test_without_ipv6_the_real_responder_speaks_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def make(family: int = -1, *arguments: Any, **options: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError("no IPv6 here")
        return real(family, *arguments, **options)

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", make)
            bridge = make_bridge([])
        assert not bridge.ipv6
        await bridge.start(["127.0.0.1"])
        await bridge.close()

    asyncio.run(main())


def test_a_failure_inside_zeroconf_is_told_as_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_arguments: Any, **_options: Any) -> None:
        raise RuntimeError("no adapter")

    async def main() -> None:
        bridge = make_bridge([])
        await bridge.start(["127.0.0.1"])
        monkeypatch.setattr(type(bridge._zeroconf), "async_update_interfaces", fail)
        monkeypatch.setattr(type(bridge._zeroconf), "async_register_service", fail)
        with pytest.raises(MdnsUnavailableError, match="RuntimeError no adapter"):
            await bridge.use(["127.0.0.1"])
        with pytest.raises(MdnsUnavailableError, match="RuntimeError no adapter"):
            await bridge.publish(publication(OWN, "127.0.0.1"))
        await bridge.close()

    asyncio.run(main())


def test_records_of_no_interest_are_not_converted() -> None:
    from zeroconf import DNSHinfo, DNSPointer, DNSText, RecordUpdate  # noqa: PLC0415

    bridge = make_bridge([])
    for record in (DNSHinfo("x.local.", 13, 1, 1, "cpu", "os"), DNSPointer("x.local.", 5, 1, 1, "alias.local.")):
        assert bridge.convert(RecordUpdate(record, None)) is None
    with pytest.raises(DnsError):
        bridge.convert(RecordUpdate(DNSText("x.local.", 16, 1, 1, b"\5abc"), None))

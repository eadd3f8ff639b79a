"""What records from anybody make the node believe, and what they cannot make it do."""

from __future__ import annotations

from typing import Any

import pytest
from discovery_kit import LINK_LOCAL, interface, loopback, seeded

from qpq.crypto.identity import Identity, text_id
from qpq.discovery import adapters
from qpq.discovery.dns import AAAA, SRV, TXT, A, HostAddress, Pointer, Question, Record, Service, Text
from qpq.discovery.dnssd import (
    ASK_AGAIN,
    MAX_ASKED,
    MAX_HOST_ADDRESSES,
    MAX_INSTANCES,
    MAX_LIFE,
    MAX_REPORTED,
    NEWCOMER_BURST,
    REPORT_BURST,
    SERVICE_TYPE,
    TELL_AGAIN,
    ServiceTable,
    instance_name,
    text_entries,
)
from qpq.discovery.interfaces import Interface, InterfaceAddress, InterfaceTable
from qpq.discovery.netlink import AddressMessage, LinkMessage
from qpq.discovery.placing import MAX_MDNS_INTERFACES, MAX_PUBLISHED, mdns_interfaces, placer, published, server_host
from qpq.mesh.events import PeerFound, Via

OWN, OTHER = Identity(b"o" * 32), Identity(b"p" * 32)


def place(host: str, scope: int) -> int | None:
    if host.startswith("fe80"):
        return scope or None
    return 0 if host.startswith(("10.", "fd")) else None


def table() -> ServiceTable:
    return ServiceTable(OWN, place)


def records(
    name: str = "node",
    addresses: tuple[HostAddress, ...] | None = None,
    *,
    port: int = 7000,
    text: tuple[bytes, ...] = (b"ver=1", b"id=" + text_id(OTHER).encode()),
    ttl: int = 4500,
) -> list[Record]:
    instance, host = f"{name}.{SERVICE_TYPE}", f"{name}-host.local."
    hosts = (HostAddress(host, 120, "10.0.0.9"),) if addresses is None else addresses
    return [*hosts, Text(instance, ttl, text), Service(instance, 120, port, host), Pointer(SERVICE_TYPE, ttl, instance)]


def addresses_of(found: list[PeerFound]) -> list[str]:
    return [f.address for f in found]


def at(*hosts: str, name: str = "node", scope: int = 7) -> tuple[HostAddress, ...]:
    return tuple(HostAddress(f"{name}-host.local.", 120, host, scope) for host in hosts)


# --- what is believed -----------------------------------------------------------------------


def test_an_instance_is_told_with_its_addresses_link_local_first() -> None:
    found = table().feed(records(addresses=at("10.0.0.9", "fd00::9", "fe80::9")), 1.0)
    assert addresses_of(found) == ["[fe80::9%7]:7000", "[fd00::9]:7000", "10.0.0.9:7000"]
    assert {(f.via, f.identity) for f in found} == {(Via.MDNS, OTHER)}


def test_the_order_of_records_does_not_matter() -> None:
    for seed in range(10):
        shuffled = records()
        seeded(seed).shuffle(shuffled)
        assert addresses_of(table().feed(shuffled, 1.0)) == ["10.0.0.9:7000"]


def test_records_may_come_in_separate_messages() -> None:
    heard = table()
    for record in sorted(records(), key=lambda r: (Pointer, Service, Text, HostAddress).index(type(r)))[:-1]:
        assert heard.feed([record], 1.0) == []
    assert addresses_of(heard.feed([HostAddress("node-host.local.", 120, "10.0.0.9")], 1.0)) == ["10.0.0.9:7000"]


def test_an_instance_without_an_id_is_told_without_one() -> None:
    (found,) = table().feed(records(text=(b"server=x:1",)), 1.0)
    assert found == PeerFound("10.0.0.9:7000", Via.MDNS, None)


def test_the_own_instance_heard_back_is_ignored() -> None:
    heard = table()
    assert heard.feed(records(text=(b"ver=1", b"id=" + text_id(OWN).encode())), 1.0) == []
    assert heard.counters["mdns_own"] == 1
    assert heard.questions(1.0) == []


@pytest.mark.parametrize(
    "text",
    [(b"ver=2",), (b"ver=",), (b"ver",), (b"id=short",), (b"id=" + b"\xff" * 52,), (b"id=" + b"b" * 52, b"ver=1")],
)
def test_other_versions_and_damaged_ids_are_refused(text: tuple[bytes, ...]) -> None:
    heard = table()
    assert heard.feed(records(text=text), 1.0) == []
    assert heard.counters["mdns_refused"] == 1


def test_of_a_key_that_comes_twice_the_first_counts() -> None:
    (found,) = table().feed(records(text=(b"ver=1", b"ver=2", b"id=" + text_id(OTHER).encode(), b"id=x")), 1.0)
    assert found.identity == OTHER


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "0.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1", "::ffff:10.0.0.1", "192.0.2.1"],
)
def test_a_record_cannot_make_the_node_dial_itself_many_or_strangers_far_away(host: str) -> None:
    heard = ServiceTable(OWN, lambda host, _scope: None if host == "192.0.2.1" else 0)
    assert heard.feed(records(addresses=at(host)), 1.0) == []
    assert heard.counters["mdns_off_link"] == 1


def test_link_local_addresses_without_a_known_interface_are_not_told() -> None:
    assert table().feed(records(addresses=at("fe80::9", scope=0)), 1.0) == []


def test_port_zero_is_no_port() -> None:
    assert table().feed(records(port=0), 1.0) == []


@pytest.mark.parametrize(
    "record",
    [
        Pointer("_other._udp.local.", 10, "x._other._udp.local."),
        Pointer(SERVICE_TYPE, 10, "x._other._udp.local."),
        Pointer(SERVICE_TYPE, 10, SERVICE_TYPE),
        Service("unknown." + SERVICE_TYPE, 10, 7000, "h.local."),
        Text("unknown." + SERVICE_TYPE, 10, ()),
        HostAddress("printer.local.", 10, "10.0.0.7"),
    ],
)
def test_records_about_other_things_leave_no_trace(record: Record) -> None:
    heard = table()
    assert heard.feed([record], 1.0) == []
    assert len(heard) == len(heard._hosts) == 0


def test_goodbyes_are_believed() -> None:
    heard = table()
    heard.feed(records(), 1.0)
    heard.feed([Service("node." + SERVICE_TYPE, 0, 1, "x.local.")], 1.0)
    heard.feed([Pointer(SERVICE_TYPE, 0, "node." + SERVICE_TYPE)], 2.0)
    assert len(heard) == 0
    assert addresses_of(heard.feed(records(), 3.0)) == ["10.0.0.9:7000"]


# --- when it is told again ------------------------------------------------------------------


def test_unchanged_instances_are_told_again_only_after_a_while() -> None:
    heard = table()
    assert heard.feed(records(), 1.0)
    assert heard.feed(records(), 100.0) == []
    assert heard.feed(records(), 1.0 + TELL_AGAIN)


def test_a_new_address_or_port_is_told_at_once_and_a_withdrawn_address_no_more() -> None:
    heard = table()
    heard.feed(records(), 1.0)
    assert addresses_of(heard.feed(records(addresses=at("fd00::9")), 2.0)) == ["[fd00::9]:7000", "10.0.0.9:7000"]
    assert addresses_of(heard.feed(records(port=7001), 3.0)) == ["[fd00::9]:7001", "10.0.0.9:7001"]
    gone = HostAddress("node-host.local.", 0, "10.0.0.9")
    assert addresses_of(heard.feed([gone], 4.0)) == ["[fd00::9]:7001"]


def test_after_the_interfaces_changed_everything_is_new() -> None:
    heard = table()
    heard.feed(records(), 1.0)
    heard.forget()
    assert heard.feed(records(), 2.0)


def test_addresses_are_believed_no_longer_than_their_ttl() -> None:
    heard = table()
    heard.feed(records(addresses=at("fd00::9")), 1.0)
    assert addresses_of(heard.feed(records(), 200.0)) == ["10.0.0.9:7000"]


# --- questions ------------------------------------------------------------------------------


def test_what_is_missing_is_asked_for_a_few_times() -> None:
    heard, name = table(), "node." + SERVICE_TYPE
    heard.feed([Pointer(SERVICE_TYPE, 4500, name)], 1.0)
    assert heard.questions(1.0) == [Question(name, SRV, 4), Question(name, TXT, 4)]
    assert heard.questions(1.5) == []
    heard.feed([Service(name, 120, 7000, "h.local."), Text(name, 120, (b"ver=1",))], 2.0)
    assert heard.questions(1.0 + ASK_AGAIN) == [Question("h.local.", AAAA), Question("h.local.", A)]
    assert [len(heard.questions(10.0 * n)) for n in range(1, 6)] == [2, *[0] * 4]
    assert MAX_ASKED == 3
    heard.feed([Pointer(SERVICE_TYPE, 4500, name)], 1.0 + 2 * TELL_AGAIN)
    assert len(heard.questions(1.0 + 2 * TELL_AGAIN)) == 2


def test_nothing_is_asked_about_what_is_known_or_dead() -> None:
    heard = table()
    heard.feed(records(), 1.0)
    heard.feed([Pointer(SERVICE_TYPE, 10, "dead." + SERVICE_TYPE)], 1.0)
    assert heard.questions(20.0) == []


def test_one_round_of_questions_is_small() -> None:
    heard = table()
    heard.feed([Pointer(SERVICE_TYPE, 4500, f"n{n}.{SERVICE_TYPE}") for n in range(40)], 1.0)
    assert len(heard.questions(1.0)) == 12
    assert len(heard.questions(1.0)) == 12


def test_known_instances_need_not_answer_while_more_than_half_of_their_ttl_is_left() -> None:
    heard = table()
    heard.feed(records(), 0.0)
    heard.feed([Pointer(SERVICE_TYPE, 4500, "half." + SERVICE_TYPE)], 0.0)
    assert heard.known(1000.0) == [("node." + SERVICE_TYPE, 3500)]
    assert heard.known(2251.0) == []


# --- bounds ---------------------------------------------------------------------------------


def test_a_thousand_false_instances_are_refused_and_counted() -> None:
    heard = table()
    for n in range(1000):
        heard.feed(records(f"fake{n}"), 1.0 + n / 1000)
    assert len(heard) <= NEWCOMER_BURST + 5
    assert heard.counters["mdns_ignored"] >= 900
    assert heard.feed(records("true"), 60.0)


def test_the_table_is_capped_and_useless_instances_make_room_for_newcomers() -> None:
    heard = table()
    for n in range(MAX_INSTANCES):
        heard.feed([Pointer(SERVICE_TYPE, 4500, f"half{n}.{SERVICE_TYPE}")], float(n))
    assert heard.feed(records("true"), 200.0)
    assert len(heard) == MAX_INSTANCES
    assert heard.questions(300.0)[0].name.startswith("half1.")


def test_a_table_full_of_complete_instances_refuses_newcomers_until_some_expire() -> None:
    heard = table()
    for n in range(MAX_INSTANCES):
        assert heard.feed(records(f"n{n}", at("10.0.0.9", name=f"n{n}")), float(n))
    assert heard.feed(records("late"), 200.0) == []
    assert heard.counters["mdns_ignored"] == 1
    assert heard.feed(records("late"), MAX_LIFE + 1.0)
    assert len(heard) == MAX_INSTANCES - 1
    assert len(heard._hosts) <= MAX_INSTANCES


def test_the_addresses_of_a_host_are_capped_and_so_are_those_told() -> None:
    heard = table()
    found = heard.feed(records(addresses=at(*(f"10.0.0.{n}" for n in range(1, 100)))), 1.0)
    assert len(found) == MAX_REPORTED
    (addresses,) = heard._hosts.values()
    assert len(addresses) == MAX_HOST_ADDRESSES


def test_an_instance_that_keeps_changing_its_host_leaves_none_behind() -> None:
    heard = table()
    name = "node." + SERVICE_TYPE
    heard.feed(records(), 1.0)
    for n in range(50):
        heard.feed([Service(name, 120, 7000, f"h{n}.local."), HostAddress(f"h{n}.local.", 120, "10.0.0.1")], 2.0)
    assert len(heard._hosts) == 1


def test_an_instance_that_keeps_changing_cannot_flood_the_core() -> None:
    heard = table()
    reports = sum(bool(heard.feed(records(port=1 + n), 1.0 + n / 1000)) for n in range(1000))
    assert reports <= REPORT_BURST + 5
    assert heard.counters["mdns_ignored"] >= 900


# --- own records and interfaces -------------------------------------------------------------


def test_the_own_text_record_has_the_reference_keys_and_the_id() -> None:
    assert text_entries(OTHER, "10.0.0.1:7000", "ffxx") == {
        "ver": "1",
        "server": "10.0.0.1:7000",
        "domain": "ffxx",
        "id": text_id(OTHER),
    }
    assert text_id(OTHER).startswith(instance_name(OTHER))


def test_mdns_runs_on_links_with_an_address_only() -> None:
    fit = interface(2, "eth0")
    port = interface(4, "lan1", slave_kind="bridge")
    others = [loopback(), interface(3, "down0", flags=0), port, interface(5, "bare0", addresses=())]
    assert mdns_interfaces([fit, *others], ()) == [fit]
    assert mdns_interfaces([fit, *others], ("lan1",)) == [port]
    four = interface(6, "ppp0", addresses=(InterfaceAddress("10.0.0.1", 24),))
    assert mdns_interfaces([four], ()) == [four]
    assert len(mdns_interfaces([fit] * 99, ())) == MAX_MDNS_INTERFACES


def test_published_addresses_are_few_and_of_all_kinds() -> None:
    wide = tuple(InterfaceAddress(f"fd00::{n}", 64) for n in range(20))
    link = interface(
        addresses=(*wide, LINK_LOCAL, InterfaceAddress("10.0.0.1", 24), InterfaceAddress("fd00::d", 64, 0, 0x20))
    )
    hosts = published([link])
    assert hosts[:4] == ["fe80::1", "fd00::0", "10.0.0.1", "fd00::1"]
    assert len(hosts) == MAX_PUBLISHED
    assert published([link, link]).count("fe80::1") == 1


def test_the_server_is_an_ipv4_address_or_a_wide_ipv6_one_or_a_name() -> None:
    assert server_host(["fe80::1", "fd00::1", "10.0.0.1"], "x.local") == "10.0.0.1"
    assert server_host(["fe80::1", "fd00::1"], "x.local") == "[fd00::1]"
    assert server_host(["fe80::1", "169.254.0.1"], "x.local") == "x.local"


def interface_table(*interfaces: Interface) -> InterfaceTable:
    made = InterfaceTable()
    for i in interfaces:
        made.apply(LinkMessage(0, False, i.index, i.name, i.flags))
        for a in i.addresses:
            made.apply(AddressMessage(0, False, i.index, a.host, a.prefix, a.scope, a.flags))
    return made


def test_peers_are_placed_on_the_interface_they_can_be_reached_by() -> None:
    four = InterfaceAddress("10.0.0.1", 24)
    one = placer(lambda: interface_table(interface(2, "eth0", addresses=(LINK_LOCAL, four)), loopback()), ())
    assert (one("10.0.0.77", 0), one("10.0.1.77", 0), one("fe80::2", 2), one("fe80::2", 3)) == (0, None, 2, None)
    assert one("fe80::2", 0) == 2
    assert one("169.254.1.1", 2) is None
    both = placer(lambda: interface_table(interface(2, "eth0"), interface(3, "eth1")), ())
    assert both("fe80::2", 0) is None


def test_zeroconf_sees_our_interfaces_through_the_stand_in() -> None:
    four = InterfaceAddress("10.0.0.1", 24)
    adapters.update([interface(2, "eth0", addresses=(four, LINK_LOCAL)), interface(3, "bare0", addresses=())])
    (adapter,) = adapters.get_adapters()
    assert (adapter.name, adapter.index) == ("eth0", 2)
    assert [(ip.ip, ip.is_IPv4, ip.is_IPv6) for ip in adapter.ips] == [
        (("fe80::1", 0, 2), False, True),
        ("10.0.0.1", True, False),
    ]
    assert len(adapters.get_adapters(include_unconfigured=True)) == 2
    adapters.update([])
    assert adapters.get_adapters() == []


def test_the_stand_in_never_replaces_the_real_package(monkeypatch: pytest.MonkeyPatch) -> None:
    modules: dict[str, Any] = {}
    monkeypatch.setattr("sys.modules", modules)
    adapters.install()
    assert modules["ifaddr"].get_adapters is adapters.get_adapters
    modules["ifaddr"] = "the real one"
    adapters.install()
    assert modules["ifaddr"] == "the real one"

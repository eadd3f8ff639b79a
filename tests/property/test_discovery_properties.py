"""Every decoder and machine of discovery against whatever anybody sends."""

from __future__ import annotations

import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from discovery_kit import address, dns_name, dns_record, dns_response, done, link, netlink

from qpq.crypto.identity import Identity
from qpq.discovery.beacon import MAX_NEIGHBOURS, BeaconMachine, Channel
from qpq.discovery.dns import (
    AAAA,
    MAX_QUERY,
    MAX_RECORDS,
    PTR,
    SRV,
    TXT,
    A,
    HostAddress,
    Pointer,
    Question,
    Service,
    Text,
    can_be_asked,
    decode,
    encode_query,
    split_text,
)
from qpq.discovery.dnssd import MAX_INSTANCES, MAX_REPORTED, SERVICE_TYPE, ServiceTable
from qpq.discovery.errors import DnsError, NetlinkError
from qpq.discovery.follower import Follower, Phase
from qpq.discovery.interfaces import MAX_ADDRESSES, MAX_INTERFACES
from qpq.discovery.netlink import AddressMessage, LinkMessage, parse
from qpq.discovery.trickle import DOUBLINGS, SHORTEST, Trickle
from qpq.mesh.events import Via
from qpq.netaddress import NetAddress
from qpq.wire.beacon import Beacon, encode_beacon

orders = st.sampled_from("<>")
indexes = st.integers(1, 0x7FFF_FFFF)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=15)
words = st.integers(0, 0xFFFF_FFFF)
hosts = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)


# --- rtnetlink ------------------------------------------------------------------------------


@given(st.binary(max_size=300), orders)
def test_netlink_refuses_or_reads_any_bytes(data: bytes, order: str) -> None:
    with suppress(NetlinkError):
        parse(data, order)


@given(st.integers(0, 30), st.binary(max_size=120), words, st.integers(0, 0xFFFF), orders)
def test_netlink_refuses_or_reads_any_body_of_a_message(
    kind: int, body: bytes, sequence: int, flags: int, order: str
) -> None:
    with suppress(NetlinkError):
        parse(netlink(kind, body, sequence=sequence, header=flags, order=order), order)


@given(indexes, names, words, words, orders)
def test_netlink_links_come_out_as_they_went_in(index: int, name: str, flags: int, sequence: int, order: str) -> None:
    message = link(index, name, flags, sequence=sequence, order=order)
    assert parse(message, order) == [LinkMessage(sequence, False, index, name, flags)]


@given(indexes, hosts, words, words, orders)
def test_netlink_addresses_come_out_as_they_went_in(
    index: int, host: str, flags: int, sequence: int, order: str
) -> None:
    (message,) = parse(address(index, host, 24, flags, sequence=sequence, order=order), order)
    assert isinstance(message, AddressMessage)
    assert (message.index, message.flags, message.prefix) == (index, flags, 24)


@given(st.data(), orders)
def test_netlink_cut_anywhere_is_refused_or_gives_fewer_messages(data: st.DataObject, order: str) -> None:
    whole = link(2, "eth0", order=order) + address(2, "fe80::1", order=order) + done(1, order=order)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        messages = parse(cut, order)
    except NetlinkError:
        return
    assert messages == parse(whole, order)[: len(messages)]
    assert len(messages) < 3


datagrams = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda i, n, s, d: link(i, n, sequence=s, kind=17 if d else 16), indexes, names, words, st.booleans()),
    st.builds(lambda i, h, d: address(i, h, 24, kind=21 if d else 20), st.integers(1, 3), hosts, st.booleans()),
    st.builds(done, st.integers(0, 8), st.sampled_from([0, 0, 0, -16])),
)


@given(st.lists(datagrams, max_size=40))
def test_the_follower_is_always_in_a_phase_it_can_leave(received: list[bytes]) -> None:
    follower = Follower("=")
    follower.dump()
    for datagram in received:
        follower.feed(datagram)
        if follower.phase is Phase.AGAIN:
            follower.dump()
    request = follower.dump()
    sequence = struct.unpack_from("=IHHI", request)[3]
    follower.feed(link(7, "eth7", sequence=sequence) + done(sequence))
    follower.feed(done(sequence + 1))
    assert follower.phase is Phase.IDLE
    assert [i.name for i in follower.table] == ["eth7"]
    assert MAX_INTERFACES * MAX_ADDRESSES < 1 << 16


# --- DNS ------------------------------------------------------------------------------------

labels = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=20)
dns_names = st.lists(labels, min_size=1, max_size=4).map(lambda parts: ".".join(parts) + ".")
ttls = words


@given(st.binary(max_size=400))
def test_dns_refuses_or_reads_any_bytes(data: bytes) -> None:
    with suppress(DnsError):
        assert len(decode(data).records) <= MAX_RECORDS


@given(st.binary(max_size=200), st.integers(0, 4), st.integers(0, 4))
def test_dns_refuses_or_reads_any_bytes_behind_a_good_header(data: bytes, questions: int, count: int) -> None:
    with suppress(DnsError):
        decode(struct.pack(">HHHHHH", 0, 0x8400, questions, count, 0, 0) + data)


@given(dns_names, dns_names, ttls, st.integers(0, 0xFFFF), st.lists(st.binary(min_size=1, max_size=60), max_size=5))
def test_dns_records_come_out_as_they_went_in(
    owner: str, target: str, ttl: int, port: int, entries: list[bytes]
) -> None:
    text = b"".join(bytes([len(entry)]) + entry for entry in entries)
    service = struct.pack(">HHH", 1, 2, port)
    message = dns_response(
        dns_record(owner, PTR, dns_name(target), ttl),
        dns_record(owner, SRV, service + dns_name(target), ttl),
        dns_record(owner, TXT, text, ttl),
        dns_record(owner, A, bytes([10, 0, 0, 1]), ttl),
        dns_record(owner, AAAA, bytes([0xFD, *[0] * 15]), ttl),
    )
    assert decode(message).records == (
        Pointer(owner, ttl, target),
        Service(owner, ttl, port, target),
        Text(owner, ttl, tuple(entries)),
        HostAddress(owner, ttl, "10.0.0.1"),
        HostAddress(owner, ttl, "fd00::"),
    )
    assert split_text(text) == tuple(entries)


@given(st.data())
def test_dns_with_any_byte_changed_is_refused_or_read(data: st.DataObject) -> None:
    message = bytearray(
        dns_response(dns_record(SERVICE_TYPE, PTR, b"\4node\xc0\x0c"), dns_record(b"\xc0\x0c", A, b"abcd"))
    )
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with suppress(DnsError):
        decode(bytes(message))


@given(
    st.lists(st.builds(Question, dns_names, st.integers(1, 255), st.just(0)), max_size=40),
    st.integers(0, 0xFFFF),
)
def test_dns_queries_are_whole_and_small(questions: list[Question], identifier: int) -> None:
    query = encode_query(questions, identifier=identifier)
    assert len(query) <= MAX_QUERY
    count = struct.unpack_from(">H", query, 4)[0]
    response = struct.pack(">HHHHHH", identifier, 0x8400, count, 0, 0, 0) + query[12:]
    assert decode(response).records == ()


@given(st.text(max_size=300))
def test_dns_names_can_be_asked_or_not_without_surprise(name: str) -> None:
    question = Question(name, A)
    if can_be_asked(question):
        encode_query([question])


# --- machines -------------------------------------------------------------------------------

instance_names = st.sampled_from([f"n{n}.{SERVICE_TYPE}" for n in range(6)] + ["x.local.", SERVICE_TYPE])
host_names = st.sampled_from(["a.local.", "b.local.", "c..local."])
short = st.sampled_from([0, 1, 120, 0xFFFF_FFFF])
records = st.one_of(
    st.builds(Pointer, st.just(SERVICE_TYPE) | instance_names, short, instance_names),
    st.builds(Service, instance_names, short, st.integers(0, 0xFFFF), host_names),
    st.builds(Text, instance_names, short, st.lists(st.binary(max_size=60), max_size=3).map(tuple)),
    st.builds(HostAddress, host_names, short, hosts, st.integers(0, 3)),
)


@given(st.lists(st.tuples(st.lists(records, max_size=8), st.floats(0, 400)), max_size=30))
def test_no_records_make_the_service_table_grow_or_dial_off_link(batches: list[tuple[list[Any], float]]) -> None:
    table = ServiceTable(Identity(bytes(32)), lambda host, _scope: 0 if host.startswith("10.") else None)
    now = 0.0
    for batch, pause in batches:
        now += pause
        found = table.feed(batch, now)
        assert len(found) <= MAX_REPORTED * (len(batch) + 1) * 6
        assert all(f.address.startswith("10.") and f.via is Via.MDNS for f in found)
        for question in table.questions(now):
            assert can_be_asked(question)
        table.known(now)
        assert len(table) <= MAX_INSTANCES
        assert len(table._hosts) <= len(table)


@given(st.lists(st.tuples(st.sampled_from("pchr"), st.floats(0, 3000)), max_size=80), st.randoms(use_true_random=False))
def test_trickle_never_stalls_and_never_hurries(steps: list[tuple[str, float]], source: Any) -> None:
    timer = Trickle(0.0, source.random)
    now = 0.0
    for action, pause in steps:
        now += pause
        if action == "p":
            timer.poll(now)
        elif action == "c":
            timer.consistent()
        elif action == "r":
            timer.reset(now)
        else:
            while timer.at <= now:
                timer.poll(now)
            assert now < timer.at <= now + 2 * SHORTEST * 2**DOUBLINGS
        assert SHORTEST <= timer.interval <= SHORTEST * 2**DOUBLINGS


beacons = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda n, p, b: encode_beacon(Beacon(Identity(n.to_bytes(32, "big")), p, b)),
        st.integers(0, 400),
        st.integers(1, 3),
        st.integers(0, 2),
    ),
)


@given(st.lists(st.tuples(beacons, st.integers(1, 400), st.floats(0, 100)), max_size=60))
def test_no_beacons_make_the_tables_grow_or_the_node_shout(heard: list[tuple[bytes, int, float]]) -> None:
    channel = Channel(2, "eth0", Via.BEACON)
    machine = BeaconMachine(Identity(bytes(32)), 7000, 0, lambda: 0.5)
    machine.set_channels([channel], 0.0)
    now, sent = 0.0, 0
    for datagram, source, pause in heard:
        now += pause
        found = machine.heard(channel, datagram, NetAddress(f"fe80::{source:x}", 7171, 2), now)
        assert found is None or found.identity != bytes(32)
        sent += len(machine.due(now))
        assert machine.neighbours(Via.BEACON) <= MAX_NEIGHBOURS
    assert sent <= len(heard)

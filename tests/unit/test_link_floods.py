"""Floods: half-open handshakes, forged addresses, garbage. Memory, answers and log lines stay inside their caps."""

from __future__ import annotations

import os
from typing import Any

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode
from hypothesis import given, settings
from hypothesis import strategies as st
from link_world import Node, Plain, Shown, World, first_packet, host, linked, plain_configuration, secret

from qpq.link.hub import CONNECTION_ID_BYTES
from qpq.link.limits import LinkLimits
from qpq.mesh.events import LinkUp
from qpq.wire.frames import Receipt

MALLORY = secret("mallory")
PING = Receipt(((b"s" * 16, b"h" * 32),))


def flood(count: int, ben: Node, source: Any = host) -> None:
    for number in range(count):
        ben.world.inject(first_packet(ben.address, ben.world.now), source(number), ben.address)


def answers(world: World, ben: Node, since: int = 0) -> list[bytes]:
    return [sent.data for sent in world.sent[since:] if sent.source == ben.address]


def has_token(data: bytes) -> bool:
    """Whether an Initial packet of a plain client (ids of 8 bytes) carries a token."""
    return data[0] & 0xF0 == 0xC0 and data[23] != 0


def is_retry(data: bytes) -> bool:
    return data[0] & 0xF0 == 0xF0 and data[1:5] == b"\0\0\0\1"


# --- half-open handshakes ---------------------------------------------------------------------


def test_a_handshake_that_stops_half_way_is_dropped_after_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    ben = Node(world, "ben", host(2))
    flood(1, ben, lambda _: host(6))
    world.run(9)
    assert ben.hub.sources.half_open == 1
    world.run(2)
    assert ben.hub.sources.half_open == 0
    assert not ben.hub._links
    assert not ben.hub._by_id
    assert not ben.events
    assert [record.message for record in caplog.records] == ["refused 10.0.0.6:7000: no handshake in time"]


def test_one_silent_client_gets_no_more_than_three_times_its_bytes() -> None:
    world = World()
    ben = Node(world, "ben", host(2))
    flood(1, ben, lambda _: host(6))
    world.run(20)
    assert sum(map(len, answers(world, ben))) <= 3 * 1200


def test_with_many_half_open_handshakes_newcomers_must_prove_their_address_and_honest_ones_get_in() -> None:
    world = World()
    ben = Node(world, "ben", host(2), retry_from=5)
    flood(50, ben, lambda number: host(100 + number))
    world.run(0.1)
    assert ben.hub.sources.half_open == 5
    assert ben.hub.refusals.counters["answered_retry"] == 45
    retries = [data for data in answers(world, ben) if is_retry(data)]
    assert len(retries) == 45
    assert max(map(len, retries)) < 200
    anna = Node(world, "anna", host(1))
    anna.dial(ben, ben.hub.own)
    client = Plain.client(world, 6, Shown.of(MALLORY))
    client.connect(ben)
    world.run(2)
    assert anna.up.peer == ben.hub.own
    assert client.completed
    assert ben.hub.refusals.counters["answered_retry"] == 47


def test_a_token_is_worth_nothing_from_another_address_or_later() -> None:
    for source, wait in ((host(7), 0.0), (host(6), 31.0)):
        world = World()
        ben = Node(world, "ben", host(2), retry_from=0)
        client = Plain.client(world, 6, Shown.of(MALLORY))
        world.lose = lambda sent: sent.source == host(6) and has_token(sent.data)
        client.connect(ben)
        world.run(0.1)
        token = client.quic._peer_token
        assert token
        world.lose = lambda _: False
        world.parties.remove(client)
        world.run(wait)
        second = Plain.client(world, 7 if source == host(7) else 6, Shown.of(MALLORY), token=token)
        second.quic._peer_cid.cid = client.quic._peer_cid.cid
        second.quic._original_destination_connection_id = client.quic._peer_cid.cid
        second.connect(ben)
        world.run(2)
        assert not second.completed
        assert second.ended is not None
        assert second.ended.error_code == QuicErrorCode.INVALID_TOKEN
        assert ben.refused == {"refused_token": 1}


def test_an_unknown_token_is_no_harm_while_nobody_must_prove_anything() -> None:
    world = World()
    ben = Node(world, "ben", host(2))
    client = Plain.client(world, 6, Shown.of(MALLORY), token=b"from another life")
    client.connect(ben)
    world.run(1)
    assert client.completed


def test_a_client_that_was_sent_to_prove_its_address_is_let_in_when_the_flood_is_over() -> None:
    world = World()
    ben = Node(world, "ben", host(2), retry_from=1, handshake_s=0.0135)
    flood(1, ben, lambda _: host(100))
    client = Plain.client(world, 6, Shown.of(MALLORY))
    client.connect(ben)
    world.run(1)
    assert ben.hub.refusals.counters == {"answered_retry": 1, "refused_timeout": 1}
    assert client.completed
    assert ben.up.peer == MALLORY.identity


def test_the_number_of_half_open_handshakes_has_a_cap() -> None:
    world = World()
    ben = Node(world, "ben", host(2), retry_from=1000, half_open=10, half_open_a_source=1000)
    flood(40, ben, lambda number: host(100 + number))
    world.run(0.1)
    assert ben.hub.sources.half_open == len(ben.hub._links) == 10
    assert ben.refused == {"refused_full": 30}


def test_one_address_has_few_half_open_handshakes_and_others_are_not_hurt(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    ben = Node(world, "ben", host(2), half_open_a_source=4)
    flood(30, ben, lambda number: host(6, 1000 + number))
    world.run(0.1)
    assert ben.hub.sources.half_open == 2  # from the third on the address must be proven
    assert ben.hub.refusals.counters["answered_retry"] == 28
    anna = Node(world, "anna", host(1))
    anna.dial(ben, ben.hub.own)
    world.run(1)
    assert anna.up.peer == ben.hub.own
    assert not caplog.records


def test_one_address_that_proves_itself_has_few_half_open_handshakes_all_the_same() -> None:
    world = World()
    ben = Node(world, "ben", host(2), half_open_a_source=4)
    clients = [Plain(world, host(6, 1000 + number), _plain()) for number in range(12)]
    world.lose = lambda sent: sent.source == ben.address and not is_retry(sent.data)
    for client in clients:
        client.connect(ben)
    world.run(0.5)
    assert ben.hub.sources.half_open == 4
    assert ben.hub.refusals.counters["refused_crowded"] >= 8


def _plain() -> QuicConnection:
    return QuicConnection(configuration=plain_configuration(Shown.of(MALLORY)))


# --- links ------------------------------------------------------------------------------------


def test_too_many_links_from_one_address_are_refused_with_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    ben = Node(world, "ben", host(2), links_a_host=3)
    clients = [Plain(world, host(6, 1000 + number), _plain()) for number in range(5)]
    for client in clients:
        client.connect(ben)
        world.run(0.2)
    world.run(2)
    assert [client.completed for client in clients] == [True, True, True, False, False]
    assert clients[3].ended is not None
    assert clients[3].ended.error_code == QuicErrorCode.CONNECTION_REFUSED
    assert clients[3].ended.reason_phrase == "too many links from this address"
    assert caplog.records[0].message == "refused 10.0.0.6:1003: too many links from this address"
    clients[0].quic.close()
    world.run(1)
    last = Plain(world, host(6, 1099), _plain())
    last.connect(ben)
    world.run(1)
    assert last.completed


def test_a_dial_that_is_turned_away_says_why() -> None:
    world = World()
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2), links=0)
    anna.dial(ben)
    world.run(1)
    assert anna.failed == ["refused by the peer: this node has no room for more links"]


def test_an_ipv6_prefix_counts_as_one_source_and_has_more_room() -> None:
    world = World()
    ben = Node(world, "ben", host(2), links_a_host=2, links_a_prefix=4)
    clients = [Plain(world, (f"2001:db8::{number:x}", 7000, 0, 0), _plain()) for number in range(1, 7)]
    clients += [Plain(world, ("fe80::1", 7000, 0, number), _plain()) for number in range(1, 4)]
    for client in clients:
        client.connect(ben)
        world.run(0.2)
    assert [client.completed for client in clients] == [True] * 4 + [False] * 2 + [True] * 3


def test_links_from_one_address_come_at_a_bounded_rate() -> None:
    world = World()
    ben = Node(world, "ben", host(2), handshakes_a_second=2.0, handshake_burst=5)
    done = []
    for number in range(20):
        client = Plain(world, host(6, 1000 + number), _plain())
        client.connect(ben)
        world.run(0.1)
        client.quic.close()
        world.run(0.1)
        done.append(client.completed)
    assert done[:5] == [True] * 5
    assert 10 <= sum(done) <= 13
    assert ben.refused["refused_rate"] == 20 - sum(done)


# --- answers and lines ------------------------------------------------------------------------


def test_answers_without_state_come_at_a_bounded_rate() -> None:
    world = World()
    ben = Node(world, "ben", host(2), retry_from=0, stateless_burst=10, stateless_a_second=5.0)
    flood(100, ben, lambda number: host(100 + number % 100))
    world.run(0.001)
    assert len(answers(world, ben)) == 10
    assert ben.hub.refusals.counters["dropped_flood"] == 90
    world.run(10)
    flood(100, ben, lambda number: host(100 + number % 100))
    world.run(0.001)
    assert len(answers(world, ben)) == 20


def test_a_flood_of_refusals_writes_few_lines_and_counts_all(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    ben = Node(world, "ben", host(2), links=0)
    for _ in range(10):
        flood(20, ben, lambda number: host(100 + number))
        world.run(3)
    assert ben.refused == {"refused_full": 200}
    assert 5 <= len(caplog.records) <= 9
    assert "(and " in caplog.records[-1].message


def test_no_answer_is_longer_than_the_question() -> None:
    world = World()
    ben = Node(world, "ben", host(2), retry_from=0)
    for size in (1, 20, 50, 600, 1199, 1200):
        for first in (0xC0, 0xD0, 0xE0, 0xF0, 0x80, 0x40, 0x00):
            for version in (0, 1, 2, 0x6B3343CF, 0xFFFFFFFF):
                head = bytes([first]) + version.to_bytes(4, "big") + b"\x08" + b"d" * 8 + b"\x04ssss\0\x44\x00"
                before = len(world.sent)
                world.inject((head + bytes(1200))[:size], host(6), ben.address)
                world.run(0.1)
                sent = sum(len(data) for data in answers(world, ben, before))
                assert sent <= (0 if size < 1200 else 1200)


# --- garbage ----------------------------------------------------------------------------------


def test_first_packets_that_decrypt_to_nothing_leave_no_state() -> None:
    world = World()
    ben = Node(world, "ben", host(2))
    for _ in range(20):
        packet = bytearray(first_packet(ben.address, world.now))
        packet[100] ^= 1
        world.inject(bytes(packet), host(6), ben.address)
    world.run(1)
    assert not ben.hub._links
    assert not ben.hub._by_id
    assert ben.hub.sources.links == 0
    assert ben.hub.refusals.counters == {"dropped_garbage": 20}


def test_garbage_that_looks_like_first_packets_soon_costs_no_more_than_a_retry() -> None:
    world = World()
    ben = Node(world, "ben", host(2), unproven_burst=10, unproven_a_second=1.0)
    packet = bytearray(first_packet(ben.address, world.now))
    packet[100] ^= 1
    for number in range(60):
        world.inject(bytes(packet), host(100 + number % 50), ben.address)
    world.run(0.1)
    assert ben.hub.refusals.counters == {"dropped_garbage": 10, "answered_retry": 50}
    anna = Node(world, "anna", host(1))
    anna.dial(ben)
    world.run(1)
    assert anna.up.peer == ben.hub.own


def test_a_first_destination_that_is_too_short_is_dropped() -> None:
    world = World()
    ben = Node(world, "ben", host(2))
    client = Plain.client(world, 6, Shown.of(MALLORY), connection_id_length=7)
    client.quic._peer_cid.cid = client.quic._original_destination_connection_id = b"1234567"
    client.connect(ben)
    world.run(1)
    assert not answers(world, ben)
    assert ben.hub.refusals.counters["dropped_unknown"] >= 1


WORLD, ANNA, BEN = linked()
heads = st.sampled_from(
    [b"", b"\xc0\0\0\0\1\x08dddddddd\x08ssssssss", b"\xe0\0\0\0\1\x04", b"\xf0\0\0\0\1\x04", b"\x80\0\0\0\0\x04"]
)


@settings(max_examples=300)
@given(heads, st.binary(max_size=1300), st.booleans(), st.booleans())
def test_garbage_neither_ends_a_link_nor_leaves_anything(head: bytes, tail: bytes, known: bool, padded: bool) -> None:
    name = next(iter(BEN.hub._links[BEN.up.link].ids)) if known else os.urandom(CONNECTION_ID_BYTES)
    data = head + tail
    if not head:
        data = b"\x40" + name + tail
    elif head[-1] == CONNECTION_ID_BYTES:
        data = head + name + tail
    WORLD.inject(data.ljust(1200, b"\0") if padded else data, ANNA.address if known else host(99), BEN.address)
    WORLD.run(0.01)
    assert not BEN.down
    assert len(BEN.hub._links) == 1


def test_the_link_still_works_after_all_that_garbage() -> None:
    before = len(BEN.frames)
    ANNA.hub.write(ANNA.up.link, [PING])
    WORLD.run(1)
    assert len(BEN.frames) == before + 1


def test_an_empty_datagram_is_nothing() -> None:
    world = World()
    ben = Node(world, "ben", host(2))
    world.inject(b"", host(6), ben.address)
    world.inject(b"\xc0\0\0", host(6), ben.address)
    world.run(1)
    assert not world.sent


# --- sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_links", [24, 64, 1000])
def test_limits_fit_together_for_every_size_of_node(max_links: int) -> None:
    limits = LinkLimits.sized(max_links=max_links)
    assert limits.links > max_links
    assert limits.retry_from < limits.half_open
    assert limits.half_open_a_source <= limits.half_open
    assert limits.links_a_host <= limits.links_a_prefix < limits.links
    assert limits.receive_window > 33_024
    assert limits.send_buffer > 256 * 1024
    assert limits.acknowledge_s < 0.025
    assert limits.patience_s > limits.kicked_patience_s
    assert 2 * limits.keepalive_s < limits.idle_s


def test_a_node_full_of_links_takes_no_more() -> None:
    world = World()
    ben = Node(world, "ben", host(2), links=3)
    others = [Node(world, f"peer {number}", host(10 + number)) for number in range(5)]
    for other in others:
        other.dial(ben)
        world.run(0.2)
    assert [len(other.of(LinkUp)) for other in others] == [1, 1, 1, 0, 0]

"""A settled link's packets, read and written by this program, against the library's own way, state by state."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from link_world import Node, World, host

# isort: split
from aioquic.quic.connection import QuicConnection

from qpq.link import connection
from qpq.link.aioquic_private import LinkConnection
from qpq.link.ports import Phase
from qpq.wire.frames import Receipt

PROOFS = Receipt(tuple((number.to_bytes(16, "big"), b"h" * 32) for number in range(16)))

FIRST = 0x41  # of a short header with a packet number of two bytes
RESERVED, FIXED = 0x18, 0x40
ACK_ALL = bytes((2, 0, 0, 0, 0))
# Packets that a peer with the right keys may send, and none that a node of ours would.
PAYLOADS = {
    "nothing": b"",
    "padding": bytes(8),
    "a ping": b"\x01",
    "an acknowledgement alone": ACK_ALL,
    "two acknowledgements": ACK_ALL * 2,
    "an acknowledgement of what was never sent": bytes((2, 0x40, 200, 0, 0, 0)),
    "an acknowledgement of negative numbers": bytes((2, 1, 0, 0, 5)),
    "an acknowledgement with ranges": bytes((2, 8, 0, 1, 1, 1, 1)),
    "an acknowledgement cut short": bytes((2, 0, 0)),
    "an acknowledgement and a type cut short": ACK_ALL + b"\x40",
    "an acknowledgement and a ping": ACK_ALL + b"\x01",
    "an unknown type": b"\x3f",
    "a type in two bytes": b"\x40\x01",
    "data of another stream": b"\x08\x04abc",
    "data of a stream this end opens": b"\x08\x01abc",
    "data without a stream": b"\x08",
    "no data": b"\x0c\x00\x00",
    "data from the start": b"\x08\x00abc",
    "data behind a gap": b"\x0c\x00\x50\x00abc",
    "data far beyond the window": b"\x0c\x00\xc0\x00\x00\xff\x00\x00\x00\x00abc",
    "data with a length": b"\x0e\x00\x00\x03abc",
    "the end of the stream": b"\x0d\x00\x00",
    "the stream broken off": b"\x04\x00\x00\x00",
    "a handshake message": b"\x06\x00\x01\x00",
    "that the handshake is done": b"\x1e",
    "the end of the connection": b"\x1c\x00\x00\x00",
    "a challenge": b"\x1a" + b"c" * 8,
    "a connection id retired": b"\x19\x00",
    "a new connection id": b"\x18\x05\x00\x08" + b"i" * 8 + b"t" * 16,
}


class Library(LinkConnection):
    """A link that leaves every packet to the library."""

    receive_datagram = QuicConnection.receive_datagram
    get_timer = QuicConnection.get_timer

    def write_packets(self, now: float) -> list[tuple[bytes, Any]]:
        space, stream = self._space, self._streams.get(0)
        due = space.ack_at is not None and space.ack_at <= now
        datagrams: list[tuple[bytes, Any]] = []
        if due or (stream is not None and len(stream.sender._pending)):
            datagrams = self.datagrams_to_send(now)
        if stream is None or not len(stream.sender._pending):  # else the library asks for its timer for ever
            self._pacing_at = None
            if stream is not None:
                stream.sender.buffer_is_empty = True
        return datagrams


def quic_of(node: Node) -> LinkConnection:
    return node.hub._links[node.up.link].quic


def state_of(node: Node) -> dict[str, Any]:
    """Return what the two ways must agree on."""
    if node.up.link not in node.hub._links:
        return {"ended": (node.down, node.refused)}
    quic = quic_of(node)
    loss, space, stream = quic._loss, quic._space, quic._streams[0]
    return {
        "close at": quic._close_at,
        "packet": quic._packet_number,
        "received": (space.largest_received_packet, list(space.ack_queue), space.ack_at, space.largest_received_time),
        "expected": space.expected_packet_number,
        "sent": [(number, packet.sent_bytes, packet.in_flight) for number, packet in space.sent_packets.items()],
        "in flight": (loss.bytes_in_flight, space.ack_eliciting_in_flight),
        "window": (loss.congestion_window, loss._rtt_smoothed, loss._rtt_variance, loss._pto_count),
        "pacer": (loss._pacer.bucket_time, loss._pacer.packet_time),
        "stream in": (stream.receiver._buffer_start, stream.receiver.highest_offset, stream.max_stream_data_local),
        "stream out": (stream.sender._buffer_start, stream.sender.highest_offset, stream.sender.buffer_is_empty),
        "used": (quic._local_max_data.used, quic._remote_max_data_used, quic._network_paths[0].bytes_sent),
        "spin": (quic._spin_bit, quic._spin_highest_pn),
        "key": quic._one_rtt.key_phase,
    }


def pair(kind: type[LinkConnection], seed: int, patch: pytest.MonkeyPatch) -> tuple[World, Node, Node]:
    """Return two linked nodes whose chance follows from ``seed``."""
    patch.setattr(os, "urandom", random.Random(seed).randbytes)  # noqa: S311 (repeatable)
    patch.setattr(connection, "LinkConnection", kind)
    world = World()
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2))
    anna.dial(ben, ben.hub.own)
    world.run(1)
    anna.hub.write(anna.up.link, [PROOFS])
    world.run(1)
    return world, anna, ben


def talk(seed: int, loss: float, kind: type[LinkConnection], patch: pytest.MonkeyPatch) -> list[object]:
    """Let two nodes talk for a while and return all that was seen."""
    world, anna, ben = pair(kind, seed, patch)
    chance = random.Random(seed)  # noqa: S311 (repeatable)
    world.lose = lambda _: chance.random() < loss
    seen: list[object] = []
    for _ in range(40):
        for node in (anna, ben):
            for _ in range(chance.choice((0, 0, 1, 1, 3))):
                node.hub.write(node.up.link, [PROOFS] * chance.choice((1, 1, 1, 40)))
        world.run(chance.choice((0.001, 0.004, 0.02, 0.3)))
        seen += [state_of(anna), state_of(ben)]
    seen += [(sent.at, sent.source, len(sent.data)) for sent in world.sent]
    return [*seen, len(anna.frames), len(ben.frames)]


@pytest.mark.parametrize("loss", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_both_ways_give_the_same_packets_at_the_same_times(
    seed: int, loss: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = (talk(seed, loss, kind, monkeypatch) for kind in (LinkConnection, Library))
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == other


def forge(sender: Node, payload: bytes, *, first: int = FIRST, ahead: int = 0) -> bytes:
    """Return a packet of ``payload`` as ``sender`` would seal it, ``ahead`` of the number that comes next."""
    quic = quic_of(sender)
    number = quic._packet_number + ahead
    quic._packet_number = max(quic._packet_number, number + 1)
    header = bytes((first,)) + quic._peer_cid.cid + (number & 0xFFFF).to_bytes(2, "big")
    return quic._one_rtt.encrypt_packet(header, payload + bytes(max(0, 2 - len(payload))), number)


def hear(kind: type[LinkConnection], patch: pytest.MonkeyPatch, *packets: tuple[bytes, int, int]) -> list[object]:
    """Let ben hear forged packets and return what became of him."""
    world, anna, ben = pair(kind, 1, patch)
    seen: list[object] = []
    for payload, first, ahead in packets:
        world.inject(forge(anna, payload, first=first, ahead=ahead), anna.address, ben.address)
        world.run(0)
        seen.append(state_of(ben))
    world.run(1)
    return [*seen, state_of(ben), ben.down, [event for event in ben.events if "Frame" in type(event).__name__]]


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize("before", [b"", ACK_ALL], ids=["alone", "behind an acknowledgement"])
def test_both_ways_take_what_a_peer_may_send(before: bytes, payload: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    packets = [(before + payload, FIRST, 0), (b"\x01", FIRST, 0)]
    ours, theirs = (hear(kind, monkeypatch, *packets) for kind in (LinkConnection, Library))
    assert ours == theirs


@pytest.mark.parametrize(
    "packets",
    [
        [(b"\x01", FIRST | RESERVED, 0)],
        [(b"\x01", FIRST, 5), (b"\x01", FIRST, -3), (b"\x01", FIRST, -3)],
        [(b"\x01", FIRST, 2 * number) for number in range(70)],
        [(b"\x01", FIRST, -2)],
    ],
    ids=["reserved bits", "late and twice", "more gaps than are told", "a number again"],
)
def test_both_ways_read_numbers_and_bits_alike(
    packets: list[tuple[bytes, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = (hear(kind, monkeypatch, *packets) for kind in (LinkConnection, Library))
    assert ours == theirs


@pytest.mark.parametrize("kind", [LinkConnection, Library])
def test_a_packet_that_was_altered_is_dropped(kind: type[LinkConnection], monkeypatch: pytest.MonkeyPatch) -> None:
    world, anna, ben = pair(kind, 1, monkeypatch)
    before = state_of(ben)
    packet = forge(anna, b"\x01")
    world.inject(packet[:-1] + bytes((packet[-1] ^ 1,)), anna.address, ben.address)
    world.inject(packet[:9], anna.address, ben.address)
    world.inject(bytes((packet[0] ^ FIXED,)) + packet[1:], anna.address, ben.address)
    world.run(0)
    assert state_of(ben) == before


@pytest.mark.parametrize("kind", [LinkConnection, Library])
def test_keys_can_be_changed(kind: type[LinkConnection], monkeypatch: pytest.MonkeyPatch) -> None:
    world, anna, ben = pair(kind, 1, monkeypatch)
    quic_of(anna).request_key_update()
    anna.hub.write(anna.up.link, [PROOFS])
    world.run(1)
    ben.hub.write(ben.up.link, [PROOFS])
    world.run(1)
    assert [quic_of(node)._one_rtt.key_phase for node in (anna, ben)] == [1, 1]
    assert len(ben.frames) == 2
    assert len(anna.frames) == 1


def test_a_link_that_is_full_waits_for_acknowledgements(monkeypatch: pytest.MonkeyPatch) -> None:
    world, anna, ben = pair(LinkConnection, 1, monkeypatch)
    world.lose = lambda sent: sent.source == ben.address
    sent = len(world.sent)
    anna.hub.write(anna.up.link, [PROOFS] * 80)
    world.run(0.02)
    assert quic_of(anna)._loss.bytes_in_flight <= quic_of(anna)._loss.congestion_window
    assert all(len(each.data) <= 1200 for each in world.sent[sent:])
    world.lose = lambda _: False
    world.run(5)
    assert len(ben.frames) == 81
    assert anna.hub._links[anna.up.link].phase is Phase.UP

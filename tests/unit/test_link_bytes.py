"""What a message costs on its first link, in Ethernet bytes both ways, against DESIGN's budgets (section 2); a link.

Real sealing, frames and packets on a wire in memory; padding is off, the session runs or is begun, as the rows say.
"""

from __future__ import annotations

import pytest
from link_world import Node, World, host, linked

from qpq.crypto.prekeys import make_one_time
from qpq.mesh.events import FrameReceived
from qpq.wire.body import Body, encode_body
from qpq.wire.envelope import envelope_hash, sign_envelope
from qpq.wire.frames import FEATURES, Hello, Receipt, Role, Transfer
from qpq.wire.receipts import commitment
from session_kit import ANNA, BERT, begin, draw, seal, settled

ETHERNET, IPV4, UDP = 14, 20, 8
TEXT = "x" * 200
NOW = 1_767_225_600
SETTLE = 5.0  # seconds


class Neighbours:
    """Two nodes that have greeted; the second opens what comes and answers as the core does."""

    def __init__(self, answered: int = 1) -> None:
        """``answered``: after so many envelopes a receipt for all of them."""
        self.world, self.near, self.far = linked()
        for node in (self.near, self.far):
            node.hub.write(node.up.link, [Hello(1, 1, FEATURES, 1, NOW, True, 0, 0, Role.RELAY, 33_024, 0)])
        self.secrets: dict[bytes, bytes] = {}
        self._answered = answered
        self._came: list[tuple[bytes, bytes]] = []
        self.far.on_event = self._confirm
        self.world.run(SETTLE)
        # As keys do before a first message, this one puts both addresses into the table of the link.
        self.send(*running(self, answered))

    def _confirm(self, event: object) -> None:
        if isinstance(event, FrameReceived) and isinstance(event.frame, Transfer):
            envelope = event.frame.envelope
            self._came.append((self.secrets[envelope.commitment], envelope_hash(envelope)))
            if len(self._came) == self._answered:
                self.far.hub.write(event.link, [Receipt(tuple(self._came), answers=True)])
                self._came = []

    def body(self) -> bytes:
        secret = draw(16)
        self.secrets[commitment(secret)] = secret
        return encode_body(Body(secret, TEXT, secret))

    def transfer(self, payload: bytes, body: bytes) -> Transfer:
        secret = body[3:19]
        envelope = sign_envelope(
            ANNA, recipient=BERT.address, payload=payload, commitment=commitment(secret), max_hops=6, timestamp=NOW
        )
        return Transfer(0, 1, 0, envelope)

    def send(self, *transfers: Transfer) -> list[int]:
        """Return the Ethernet frames, IPv4, until nothing is said any more."""
        before = len(self.world.sent)
        self.near.hub.write(self.near.up.link, transfers)
        self.world.run(SETTLE)
        proofs = sum(len(frame.proofs) for frame in self.near.frames if isinstance(frame, Receipt))
        assert proofs == len(self.secrets), "each has its receipt"
        return [ETHERNET + IPV4 + UDP + len(sent.data) for sent in self.world.sent[before:]]


@pytest.fixture
def neighbours() -> Neighbours:
    return Neighbours()


def running(neighbours: Neighbours, count: int = 1) -> list[Transfer]:
    session, _ = settled()
    bodies = [neighbours.body() for _ in range(count)]
    return [neighbours.transfer(seal(session, body), body) for body in bodies]


def test_a_message_that_stands_alone_is_two_packets_of_less_than_600_bytes(neighbours: Neighbours) -> None:
    for _ in range(40):
        frames = neighbours.send(*running(neighbours))
        assert len(frames) == 2
        assert sum(frames) <= 570, "the budget is 640, the aim 600"


def test_a_message_with_another_behind_it_costs_no_more(neighbours: Neighbours) -> None:
    neighbours.send(*running(neighbours))
    before = len(neighbours.world.sent)
    for _ in range(20):
        neighbours.near.hub.write(neighbours.near.up.link, running(neighbours))
        neighbours.world.run(0.011)  # a round trip
    frames = [ETHERNET + IPV4 + UDP + len(sent.data) for sent in neighbours.world.sent[before:]]
    assert sum(frames) / 20 <= 570


@pytest.mark.parametrize("one_time", [None, make_one_time(draw(32))], ids=["no one-time key", "a one-time key"])
def test_a_first_message_that_stands_alone_is_three_packets_of_less_than_1850_bytes(
    neighbours: Neighbours, one_time: object
) -> None:
    body = neighbours.body()
    session = begin(one_time=one_time)  # type: ignore[arg-type]  # None or one
    frames = neighbours.send(neighbours.transfer(seal(session, body), body))
    assert len(frames) == 3
    assert sum(frames) < 1850, "the budget is 1,900"


def test_of_32_messages_together_each_takes_less_than_460_bytes() -> None:
    neighbours = Neighbours(answered=16)
    count, frames = 320, 0
    for _ in range(count // 32):
        frames += sum(neighbours.send(*running(neighbours, 32)))
    assert frames / count < 460, "the budget is 520, the aim 460"


def test_a_link_comes_up_with_two_datagrams_of_1200_bytes_and_three_short_ones() -> None:
    """The two that QUIC asks for (RFC 9000 section 14.1); the certificate of who dials is in the third."""
    world, near, far = linked()
    assert [sent.source for sent in world.sent] == [near.address, far.address, near.address, far.address, near.address]
    assert [len(sent.data) for sent in world.sent[:2]] == [1200, 1200]
    assert sum(len(sent.data) for sent in world.sent[2:]) < 620


@pytest.mark.parametrize("lost", range(5))
def test_a_link_comes_up_whichever_of_its_datagrams_is_lost(lost: int) -> None:
    world = World()
    near, far = Node(world, "near", host(1)), Node(world, "far", host(2))
    world.lose = lambda sent: world.sent.index(sent) == lost
    near.dial(far, far.hub.own)
    world.run(3)
    assert near.up.peer == far.hub.own
    assert far.up.peer == near.hub.own
    near.hub.write(near.up.link, [Receipt(((bytes(16), bytes(32)),))])
    world.run(3)
    assert len(far.frames) == 1

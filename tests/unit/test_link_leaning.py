"""Answers that lean on the timer of what they answer: fewer packets, and what is lost is repaired as soon as ever."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from link_world import Node, Sent, World, linked

from qpq.mesh.events import FrameReceived
from qpq.wire.frames import FEATURES, SHORT_RECEIPTS, Hello, IHave, Receipt, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.link.aioquic_private import LinkConnection
    from qpq.mesh.events import Event
    from qpq.wire.frames import Frame

ANSWER = Receipt(((b"s" * 16, b"h" * 32),))
REST = 10.0  # seconds


def question(number: int) -> IHave:
    return IHave((number.to_bytes(16, "big"),))


def hello(features: int) -> Hello:
    return Hello(1, 1, features, 1, 0, False, 0, 0, Role.RELAY, 33_024, 0)


def pair(near: int = FEATURES, far: int = FEATURES, delay: float = 0.005) -> tuple[World, Node, Node]:
    """Return two nodes that have greeted; ben answers each question at once."""
    world, anna, ben = linked(delay)
    for node, features in ((anna, near), (ben, far)):
        node.hub.write(node.up.link, [hello(features)])
    world.run(REST)
    answer(ben)
    return world, anna, ben


def answer(node: Node) -> None:
    def on_event(event: Event) -> None:
        if isinstance(event, FrameReceived) and isinstance(event.frame, IHave):
            node.hub.write(event.link, [ANSWER])

    node.on_event = on_event


def ask(node: Node, number: int = 0) -> None:
    node.hub.write(node.up.link, [question(number)])


def quic(node: Node) -> LinkConnection:
    return node.hub._links[node.up.link].quic


def answers(node: Node) -> int:
    return node.frames.count(ANSWER)


def asked_once(world: World, anna: Node) -> list[Sent]:
    """Return the datagrams of one question and what follows it."""
    before = len(world.sent)
    ask(anna)
    world.run(REST)
    return world.sent[before:]


@pytest.mark.parametrize(("near", "far"), [(0, 0), (FEATURES, 0), (SHORT_RECEIPTS, SHORT_RECEIPTS)])
def test_where_not_both_ends_do_so_the_last_packet_is_acknowledged_as_ever(near: int, far: int) -> None:
    world, anna, ben = pair(near, far)
    assert [sent.source for sent in asked_once(world, anna)] == [anna.address, ben.address, anna.address]


def test_a_question_and_its_answer_are_two_packets() -> None:
    world, anna, ben = pair()
    for number in range(1, 20):
        assert [sent.source for sent in asked_once(world, anna)] == [anna.address, ben.address]
        assert answers(anna) == number
    assert len(ben.hub._links[ben.up.link].quic._space.sent_packets) < 4


def test_both_may_ask_at_once() -> None:
    """Their answers cross, so that neither end knows whether the other's leans on it."""
    world, anna, ben = pair()
    answer(anna)
    for number in range(1, 6):
        before = len(world.sent)
        ask(anna)
        ask(ben)
        world.run(REST)
        assert len(world.sent) - before == 6
        assert answers(anna) == answers(ben) == number


def test_a_burst_ends_with_the_last_answers() -> None:
    world, anna, ben = pair()
    for number in range(50):
        ask(anna, number)
        world.run(0.001)
    world.run(REST)
    assert answers(anna) == 50
    before = len(world.sent)
    world.run(REST)
    assert len(world.sent) == before
    assert quic(ben).is_resting


@pytest.mark.parametrize("delay", [0.001, 0.005, 0.05, 0.3])
@pytest.mark.parametrize("lost", range(6))
def test_what_is_lost_of_an_exchange_is_repaired_as_soon_as_ever(lost: int, delay: float) -> None:
    times = {}
    for features in (0, FEATURES):
        world, anna, _ = pair(features, features, delay)
        for _ in range(8):  # both ends know the way
            asked_once(world, anna)
        start, before, count = world.now, len(world.sent), answers(anna)
        world.lose = lambda sent, world=world, before=before: world.sent.index(sent, before) == before + lost  # type: ignore[misc]
        for number in range(3):
            ask(anna, number)
            world.run(3 * REST, until=lambda anna=anna, count=count, number=number: answers(anna) > count + number)  # type: ignore[misc]
            assert answers(anna) == count + number + 1
        times[features] = world.now - start
    assert times[FEATURES] <= times[0] + 0.003


def test_a_lost_answer_costs_one_question_and_one_answer_more_and_says_what_was_lost() -> None:
    world, anna, ben = pair()
    asked_once(world, anna)
    lost: list[Sent] = []
    world.lose = lambda sent: sent.source == ben.address and not lost and not lost.append(sent)  # type: ignore[func-returns-value]
    sources = [sent.source for sent in asked_once(world, anna)]
    assert sources == [anna.address, ben.address, anna.address, ben.address, anna.address]
    assert answers(anna) == 2


@pytest.mark.parametrize("loss", [0.1, 0.4, 0.7])
@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_forgotten_whatever_is_lost(seed: int, loss: float) -> None:
    world, anna, ben = pair()
    answer(anna)
    chance = random.Random(seed)  # noqa: S311 (repeatable)
    world.lose = lambda _: chance.random() < loss
    for number in range(30):
        for node in chance.choice(((anna,), (ben,), (anna, ben))):
            ask(node, number)
        world.run(chance.choice((0.001, 0.02, 0.5)))
    world.run(60)
    world.lose = lambda _: False
    world.run(100)
    for node, other in ((anna, ben), (ben, anna)):
        assert answers(node) == sum(isinstance(frame, IHave) for frame in other.frames)
    assert anna.down == ben.down == []
    assert quic(anna).is_resting
    assert quic(ben).is_resting


@given(
    st.lists(st.sampled_from((0.0, 0.0, 0.0, 0.001, 0.03, None)), min_size=4, max_size=40),
    st.lists(st.integers(0, 3), min_size=1, max_size=8),
)
@settings(max_examples=40, deadline=None)
def test_loss_and_disorder_leave_no_answer_behind(fates: list[float | None], pauses: list[int]) -> None:
    """``fates``: seconds by which each datagram comes late; None: never."""
    world, anna, ben = pair()
    answer(anna)
    deliver, before = world.inject, len(world.sent)

    def lose(sent: Sent) -> bool:
        position = len(world.sent) - 1 - before
        fate = fates[position] if position < len(fates) else 0.0
        if fate:
            now, world.now = world.now, world.now + world.delay + fate
            deliver(sent.data, sent.source, sent.destination)
            world.now = now
        return fate != 0.0

    world.lose = lose
    for number, pause in enumerate(pauses):
        ask((anna, ben)[number % 2], number)
        world.run(pause / 100)
    world.run(30)
    assert answers(anna) + answers(ben) == len(pauses)
    assert anna.down == ben.down == []


def stays_up(asks: Callable[[Node, Node], Node]) -> None:
    world, anna, ben = pair()
    answer(anna)
    ask(asks(anna, ben))
    world.run(1)
    before = len(world.sent)
    world.run(30)
    assert len(world.sent) == before, "nothing is said before the keep-alive"
    assert [quic(node).backlog > 0 for node in (anna, ben)].count(True) == 1
    world.run(60)
    assert len(world.sent) == before + 2, "a keep-alive and its answer"
    assert quic(anna).backlog == quic(ben).backlog == 0
    world.run(600)
    assert anna.down == ben.down == []


def test_what_leans_is_acknowledged_with_the_keepalive_of_who_answered() -> None:
    stays_up(lambda anna, _: anna)


def test_what_leans_is_acknowledged_with_the_keepalive_of_who_asked() -> None:
    stays_up(lambda _, ben: ben)


def test_a_round_trip_is_not_measured_by_what_leans() -> None:
    world, anna, ben = pair()
    for _ in range(20):
        asked_once(world, anna)
    assert quic(ben).rtt is not None
    assert quic(ben).rtt < 0.1  # type: ignore[operator]  # not None


def test_what_of_it_is_lost_counts_for_the_quality_of_the_link() -> None:
    world, anna, ben = pair()
    chance = random.Random(1)  # noqa: S311 (repeatable)
    world.lose = lambda sent: sent.source == ben.address and chance.random() < 0.5
    for _ in range(100):
        asked_once(world, anna)
    assert 0.3 < quic(ben).loss < 0.7


def test_a_peer_that_goes_on_without_acknowledging_gets_the_answer_again() -> None:
    """So does one that has lost its memory of it: what leans is watched once something else has come."""
    world, anna, ben = pair()
    asked_once(world, anna)
    leaning = quic(anna).leaning
    assert leaning is not None
    assert leaning.owes
    leaning.owes = False
    sent = sum(len(each.data) for each in asked_once(world, anna) if each.source == ben.address)
    assert sent > 120, "two answers"
    assert quic(ben).is_resting
    assert not quic(ben).backlog


def test_a_kick_asks_for_what_leans() -> None:
    world, anna, ben = pair()
    asked_once(world, anna)
    assert quic(ben).backlog
    ben.hub.kick()
    world.run(1)
    assert not quic(ben).backlog


def frames(count: int) -> list[Frame]:
    return [question(number) for number in range(count)]


def test_what_does_not_fit_one_packet_leans_with_its_first_only() -> None:
    world, anna, ben = pair()
    ben.on_event = lambda event: (
        ben.hub.write(event.link, [ANSWER] * 100) and None
        if isinstance(event, FrameReceived) and isinstance(event.frame, IHave)
        else None
    )
    chance = random.Random(5)  # noqa: S311 (repeatable)
    for number in range(1, 11):
        world.lose = lambda _: chance.random() < 0.2
        ask(anna)
        world.run(REST)
        assert answers(anna) == 100 * number

"""Links where most packets are lost: probes keep coming, patience follows what the link has shown."""

from __future__ import annotations

import itertools
import random

import pytest
from link_world import Node, World, host, linked

from qpq.link.aioquic_private_recovery import PROBE_S
from qpq.link.limits import LinkLimits
from qpq.link.liveness import Liveness
from qpq.mesh.events import LinkUp
from qpq.wire.frames import Receipt

PING = Receipt(((b"s" * 16, b"h" * 32),))


def radio(seed: int, loss: float) -> tuple[World, Node, Node]:
    chance = random.Random(seed)  # noqa: S311 (repeatable)
    world = World()
    world.lose = lambda _: chance.random() < loss
    return world, Node(world, "anna", host(1)), Node(world, "ben", host(2))


def comes_up(seed: int, loss: float) -> bool:
    world, anna, ben = radio(seed, loss)
    anna.dial(ben, ben.hub.own)
    world.run(60, until=lambda: bool(anna.of(LinkUp) and ben.of(LinkUp)))
    return bool(anna.of(LinkUp) and ben.of(LinkUp))


@pytest.mark.parametrize(("loss", "least"), [(0.3, 20), (0.5, 20), (0.8, 9)])
def test_of_20_first_dials_most_become_links_within_a_minute_whatever_is_lost(loss: float, least: int) -> None:
    assert sum(comes_up(seed, loss) for seed in range(20)) >= least


def test_a_frame_crosses_a_link_that_loses_four_packets_of_five() -> None:
    arrived = 0
    for seed in range(20):
        world, anna, ben = linked()
        chance = random.Random(seed)  # noqa: S311 (repeatable)
        world.lose = lambda _, chance=chance: chance.random() < 0.8  # type: ignore[misc]
        anna.hub.write(anna.up.link, [PING])
        world.run(60, until=lambda: bool(ben.frames))  # noqa: B023 (used at once)
        arrived += bool(ben.frames)
    assert arrived >= 17


def test_probes_into_silence_come_at_most_a_second_and_a_half_apart() -> None:
    world, anna, _ = linked()
    world.run(5)
    world.lose = lambda _: True
    sent = len(world.sent)
    anna.hub.write(anna.up.link, [PING])
    world.run(12)
    times = [each.at for each in world.sent[sent:] if each.source == anna.address]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(times) >= 10
    assert max(gaps) <= PROBE_S + 0.01
    assert gaps[0] < gaps[3] < gaps[5]  # they do back off at first


@pytest.mark.parametrize("seed", range(16, 32))
def test_time_goes_on_whatever_is_lost(seed: int) -> None:
    """The library foretells the time at which a packet is lost, and by rounding may not find it so by then."""
    chance = random.Random(seed)  # noqa: S311 (repeatable)
    world = World(0.01)
    world.lose = lambda _: chance.random() < 0.5
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2))
    anna.dial(ben, ben.hub.own)
    world.run(60, until=lambda: bool(anna.of(LinkUp) and ben.of(LinkUp)))
    world.run(2)


def test_what_a_link_loses_is_seen_and_forgotten_again() -> None:
    world, anna, ben = linked()
    chance = random.Random(3)  # noqa: S311 (repeatable)
    world.lose = lambda _: chance.random() < 0.5
    link = anna.hub._links[anna.up.link].quic
    for _ in range(60):
        anna.hub.write(anna.up.link, [PING])
        world.run(2)
    assert 0.55 < link.loss < 0.85, "of four packets three: that packet, its acknowledgement, or both"
    world.lose = lambda _: False
    for _ in range(300):
        anna.hub.write(anna.up.link, [PING])
        world.run(0.2)
    assert link.loss < 0.1
    assert len(ben.frames) == 360


def patience(loss: float, *, hurried: bool = False) -> float:
    """Return how long a link that has lost so much is waited for."""
    liveness = Liveness(LinkLimits())
    liveness.watch(0.0, awaiting=False, signs=1, delivered=0, backlog=0, loss=loss)
    if hurried:
        liveness.hurry()
    liveness.watch(0.0, awaiting=True, signs=1, delivered=0, backlog=0, loss=loss)
    return liveness.deadline()


def test_patience_grows_with_the_loss_a_link_lived_with_and_has_an_end() -> None:
    limits = LinkLimits()
    assert patience(0.0) == patience(0.1) == limits.patience_s
    assert limits.patience_s < patience(0.5) < patience(0.7) <= limits.patience_max_s
    assert patience(1.0) == limits.patience_max_s
    assert patience(0.0, hurried=True) == limits.kicked_patience_s
    assert patience(0.5, hurried=True) < patience(0.5)


def keepalive(loss: float, *, initiator: bool = True, idle_s: float = 600.0, jitter: float = 0.0) -> float:
    """Return after how much silence a link that loses so much is asked whether it lives."""
    liveness = Liveness(LinkLimits())
    liveness.watch(0.0, awaiting=False, signs=1, delivered=0, backlog=0, loss=loss)
    return liveness.keepalive(idle_s, initiator=initiator, jitter=jitter)


def test_keepalives_are_rarer_where_an_answer_costs_many_packets() -> None:
    assert keepalive(0.0) == keepalive(0.5) == 60.0
    assert 60.0 < keepalive(0.8) < keepalive(0.9) == keepalive(1.0) == 200.0, "never more than a third of the idle time"
    assert keepalive(0.0, jitter=1.0) == 45.0
    assert keepalive(0.0, idle_s=6.0) == 5.0


def test_the_end_that_did_not_begin_a_link_asks_later() -> None:
    assert keepalive(0.0, initiator=False) == keepalive(0.0, initiator=False, jitter=1.0) == 90.0


def test_losses_after_the_last_sign_of_life_give_a_dead_peer_no_more_time() -> None:
    world, anna, _ = linked()
    for _ in range(20):
        anna.hub.write(anna.up.link, [PING])
        world.run(0.1)
    world.lose = lambda _: True
    anna.hub.write(anna.up.link, [PING])
    world.run(16)
    assert anna.down == ["no answer for 15 s"]


def test_a_link_that_hears_the_peer_but_is_never_heard_ends_too() -> None:
    world, anna, ben = linked()
    world.run(1)
    world.lose = lambda sent: sent.source == anna.address
    for _ in range(30):
        anna.hub.write(anna.up.link, [PING])
        ben.hub.write(ben.up.link, [PING])
        world.run(10)
    assert anna.down
    assert ben.down

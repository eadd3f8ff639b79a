"""What a link tells of itself, so that routes go where packets arrive: seldom, and nothing while it rests."""

from __future__ import annotations

import random

import pytest
from link_world import linked

from qpq.mesh.events import LinkQuality
from qpq.wire.frames import Receipt

PING = Receipt(((b"s" * 16, b"h" * 32),))


def talk(seconds: int, loss: float = 0.0, delay: float = 0.005) -> list[LinkQuality]:
    """Send a frame each way once a second and return what one end tells of the link."""
    world, anna, ben = linked(delay)
    chance = random.Random(5)  # noqa: S311 (repeatable)
    world.lose = lambda _: chance.random() < loss
    for _ in range(seconds):
        anna.hub.write(anna.up.link, [PING])
        ben.hub.write(ben.up.link, [PING])
        world.run(1)
    return [event for event in anna.events if isinstance(event, LinkQuality)]


def test_a_link_in_use_tells_of_itself_every_20_seconds_and_no_more_often() -> None:
    told = talk(130)
    assert 5 <= len(told) <= 6
    assert all(event.rtt == pytest.approx(0.01, abs=0.03) and event.loss == 0.0 for event in told)


@pytest.mark.parametrize("loss", [0.1, 0.3, 0.6])
def test_what_is_lost_is_told_as_it_is(loss: float) -> None:
    assert talk(300, loss)[-1].loss == pytest.approx(1 - (1 - loss) ** 2, abs=0.25), "packets and acknowledgements"


def test_a_long_way_is_told() -> None:
    assert talk(60, delay=0.2)[-1].rtt == pytest.approx(0.4, abs=0.1)


def test_a_link_that_has_sent_little_tells_nothing_yet() -> None:
    world, anna, _ = linked()
    world.run(50)
    assert not [event for event in anna.events if isinstance(event, LinkQuality)]


def test_a_link_at_rest_is_woken_by_nothing_but_its_keepalive() -> None:
    world, anna, _ = linked()
    for _ in range(20):
        anna.hub.write(anna.up.link, [PING])
        world.run(1)
    sent = len(world.sent)
    told = len([event for event in anna.events if isinstance(event, LinkQuality)])
    world.run(600)
    assert len(world.sent) - sent <= 4 * 12
    assert len([event for event in anna.events if isinstance(event, LinkQuality)]) - told <= 14, "one a keepalive"

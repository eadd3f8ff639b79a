"""A mesh with two relays, real daemons: what becomes of messages when one of them goes."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from domains import Federation, delivered, section
from netns import Lab
from node import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from domains import Community

SOON = 55.0  # seconds; who waited for the one that has gone would wait an hour
A, B = "aachen.example", "berlin.example"
TOPIC = "rheinland"


class Sharing(Federation):
    """Domains that all share a topic."""

    def sections(self, member: Community) -> str:
        return "".join(section(other, f"list topic '{TOPIC}'\n") for other in self.others(member))


@pytest.fixture(scope="module")
def two() -> Iterator[Federation]:
    with Lab() as lab, ExitStack() as stack:
        federation = Sharing(lab, stack, {A: (0, 2), B: (0,)})
        federation.start()
        yield federation


def test_a_broadcast_that_two_relays_bring_is_read_once_and_says_from_where_it_is(two: Federation) -> None:
    aachen, berlin = two.members
    for node in (*aachen.nodes, *berlin.nodes):
        node.ask("mesh.subscribe", topic=TOPIC)
    texts = [f"news {number}" for number in range(10)]
    for text in texts:
        berlin.nodes[2].ask("mesh.broadcast", topic=TOPIC, text=text)
    for node in aachen.nodes:
        wait_for("all is read", lambda node=node: set(node.texts()) >= set(texts), SOON)
        assert sorted((row["text"], row["domain"]) for row in node.inbox()) == [(text, B) for text in texts]
    for node in berlin.nodes[:2]:
        wait_for("all is read", lambda node=node: set(node.texts()) >= set(texts), SOON)
        assert {row["domain"] for row in node.inbox()} == {""}


def test_of_two_relays_the_one_that_lives_is_used_soon_after_the_other_has_gone(two: Federation) -> None:
    aachen, berlin = two.members
    delivered(aachen.nodes[1], [aachen.nodes[1].send(berlin.name(2), "over either")])
    late = {}
    for number, end in ((0, "stop"), (2, "kill"), (0, "power")):
        relay = aachen.nodes[number]
        if end == "power":
            aachen.mesh.cut((0, 1))
            two.uplink(aachen, up=False)
        else:
            getattr(relay, end)()
        out = aachen.nodes[1].send(berlin.name(2), f"without {number}")
        into = berlin.nodes[2].send(aachen.name(1), f"without {number}")
        took = delivered(aachen.nodes[1], [out], SOON)
        late[end] = took, took + delivered(berlin.nodes[2], [into], SOON)
        if end == "power":
            aachen.mesh.heal((0, 1))
            two.uplink(aachen, up=True)
            aachen.mesh.settle(30.0)
        else:
            relay.start()
        two.expect_connected()
    print("late by (out, in):", {end: [round(took, 1) for took in both] for end, both in late.items()})

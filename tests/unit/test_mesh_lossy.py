"""Links over which little comes: neither queries nor messages go over them where there is a better way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from test_mesh_relaying import core, envelope, give, graph, held, link
from test_mesh_routing import net

from qpq.crypto.identity import SecretIdentity
from qpq.mesh import events
from qpq.mesh.askers import Lingering
from qpq.mesh.custody import Place, Way
from qpq.mesh.due import Due
from qpq.mesh.limits import Limits
from qpq.mesh.timers import Timers
from qpq.wire.frames_mesh import Query, Route
from qpq.wire.query import sign_query

if TYPE_CHECKING:
    from cores import Node, World
    from routing_net import Router, RoutingNet

ASKER, TARGET = SecretIdentity(b"a" * 32), SecretIdentity(b"t" * 32).address
QUERY = sign_query(ASKER, TARGET, 1, 1)
ONE, TWO = b"1" * 16, b"2" * 16


def worsen(world: World, node: Node, other: Node, loss: float = 0.9) -> None:
    """Let the transport of a node say, until it is believed, what a link loses."""
    for _ in range(40):
        world.tell(node, events.LinkQuality(link(node, other), 0.0, loss))


# --- queries ---------------------------------------------------------------------------------------------


def ring(good: str = "a") -> tuple[RoutingNet, dict[str, Router]]:
    """Join a to d over b in two links, the second bad as ``good`` knows not, and over four good ones."""
    made, routers = net("ab", "bd", "ac", "ce", "ef", "fd", "dg", "gh", "hi", "ij")
    for one, other in (("b", "d"), ("d", "b")):
        if one != good:
            routers[one].quality(routers[other], 0.0, 0.85)
    made.run(30.0)
    return made, routers


@pytest.mark.parametrize("ignorant", ["b", "d"])
def test_a_query_over_a_good_way_overtakes_the_same_over_a_bad_link(ignorant: str) -> None:
    made, routers = ring(ignorant)
    far = routers["j"].user
    routers["a"].want(far)
    made.run(1.0)
    assert made.follow(routers["a"], far) == list("acefdghij")
    assert routers["d"].counts["query.duplicate"] + routers["b"].counts["query.duplicate"] > 0


def test_a_query_crosses_a_bad_link_where_there_is_no_other_way() -> None:
    made, routers = net("ab", "bc", "cd", "de", "ef")
    for one, other in (("b", "c"), ("c", "b")):
        routers[one].quality(routers[other], 0.0, 0.85)
    far = routers["f"].user
    made.run(30.0)
    routers["a"].want(far)
    made.run(1.0)
    assert routers["a"].row(far) is None
    made.run(2.5)
    assert made.follow(routers["a"], far) == list("abcdef")
    assert len(made.sent(Query)) == 2, "who is near the target answered"


def test_a_query_goes_round_a_bad_link_to_who_serves_the_target() -> None:
    made, routers = net("ab", "bd", "ac", "ce", "ed", "xy", "yz", "za")
    routers["b"].quality(routers["d"], 0.0, 0.9)
    made.run(30.0)
    since = len(made.frames)
    made.inject(routers["a"], routers["b"], sign_query(ASKER, routers["d"].user, 1, 1))
    made.run(5.0)
    assert ("b", "d") in [(one, other) for one, other, _ in made.sent(Query, since=since)]


def lingering(count: int = 4) -> tuple[Lingering, Timers[tuple[Due, int | bytes]]]:
    timers: Timers[tuple[Due, int | bytes]] = Timers()
    return Lingering(Limits(late_queries=count), timers), timers


def test_only_queries_over_bad_links_wait_the_longer_the_worse_they_are() -> None:
    late, timers = lingering()
    assert not late.came(ONE, QUERY, 1, 64, 0.0)
    assert not late.goes(ONE, QUERY, 1, 64, 0.0)
    assert late.goes(ONE, QUERY, 1, 264, 0.0)
    assert timers.next_at() == 0.5
    assert late.came(TWO, QUERY, 1, 4096, 0.0)
    assert timers.pop_due(0.5) is not None
    assert timers.next_at() == 1.5
    assert late.over(TWO) == (QUERY, 1, True)
    assert late.over(ONE + (1).to_bytes(8, "big")) == (QUERY, 1, False)


def test_the_same_query_over_a_better_link_counts_and_no_other() -> None:
    late, timers = lingering()
    assert late.came(ONE, QUERY, 1, 500, 0.0)
    assert not late.again(ONE, QUERY, 2, 500)
    assert not late.again(TWO, QUERY, 2, 16)
    assert not late.again(ONE, replace(QUERY, target=ASKER.address), 2, 16), "made up of the one that waits"
    assert late.again(ONE, replace(QUERY, hops=9), 2, 16) == 1
    assert not len(timers)


def test_a_query_need_not_go_where_it_comes_from() -> None:
    late, timers = lingering()
    assert late.goes(ONE, QUERY, 1, 500, 0.0)
    assert not late.again(ONE, QUERY, 1, 500)
    assert not len(timers)


def test_what_a_link_that_ends_brought_or_was_to_carry_is_forgotten() -> None:
    late, timers = lingering()
    assert late.came(ONE, QUERY, 1, 500, 0.0)
    assert late.came(TWO, QUERY, 2, 500, 0.0)
    assert late.goes(ONE, QUERY, 1, 500, 0.0)
    late.forget(1)
    assert timers.pop_due(9.0) == (Due.LATE_QUERY, TWO)
    assert not len(timers)


def test_more_queries_than_there_is_room_for_do_not_wait() -> None:
    late, _ = lingering(1)
    assert late.came(ONE, QUERY, 1, 500, 0.0)
    assert not late.came(TWO, QUERY, 1, 500, 0.0)
    assert late.goes(ONE, QUERY, 1, 500, 0.0)
    assert not late.goes(TWO, QUERY, 1, 500, 0.0)


# --- routes ----------------------------------------------------------------------------------------------


def test_one_link_that_loses_much_is_worth_a_detour_of_many() -> None:
    made, routers = net("ab", "bc", "ax", "xy", "yc")
    routers["b"].quality(routers["c"], 0.0, 0.6)
    made.run(30.0)
    assert made.follow(routers["a"], routers["c"].user) == list("axyc")


def test_a_link_that_comes_back_costs_what_it_cost_before() -> None:
    made, routers = net("ab", scores=1)
    one, other = routers["a"], routers["b"]
    one.quality(other, 0.0, 0.75)
    made.unlink(one, other)
    made.link(one, other)
    made.run(1.0)
    assert one.routing.link_cost(one.number(other)) == 256
    one.quality(other, 0.0, 0.0)
    assert one.routing.link_cost(one.number(other)) == 16, "and then what it does"
    one.quality(other, 0.0, 0.75)
    third = made.add("c")
    made.link(one, third)
    made.unlink(one, other)
    made.unlink(one, third)
    made.link(one, other)
    made.run(1.0)
    assert one.routing.link_cost(one.number(other)) == 16, "of few it is remembered"


# --- messages --------------------------------------------------------------------------------------------


def test_a_neighbour_over_a_bad_link_is_gone_around_where_that_is_better() -> None:
    world, nodes = graph("ab bc ca")
    first, last = nodes["a"], nodes["c"]
    worsen(world, first, last, 0.4)
    world.send(first, last.user.address)
    (message,) = core(first)._custody.items()
    assert message.way is Way.DIRECT, "not so bad that two links are better"
    world.run(5.0)
    worsen(world, first, last)
    world.run(5.0)
    world.send(first, last.user.address)
    (message,) = core(first)._custody.items()
    assert (message.way, message.peer) == (Way.ROUTE, nodes["b"].identity)
    world.run(5.0)
    assert len(last.delivered) == 2


def test_a_neighbour_over_a_bad_link_gets_its_messages_over_that_where_the_way_around_fails() -> None:
    world, nodes = graph("ab bc ca")
    first, last = nodes["a"], nodes["c"]
    worsen(world, first, last)
    made = envelope(last.user.address, max_hops=2)
    give(world, first, nodes["b"], made)
    assert held(first, made).way is Way.DIRECT, "who brought it is no way around"
    world.run(5.0)
    assert len(last.delivered) == 1


def test_a_route_that_is_found_takes_back_a_copy_that_waits_for_a_neighbour_to_take_it() -> None:
    world, nodes = graph("ax bd")
    first, last, mute = nodes["a"], nodes["d"], nodes["x"]
    world.deafen(mute)
    world.send(first, last.user.address)
    world.run(5.0)
    (message,) = core(first)._custody.items()
    assert (message.way, message.place, message.peer) == (Way.SPRAY, Place.FLYING, mute.identity)
    world.find(first, nodes["b"])
    world.run(5.0)
    assert len(last.delivered) == 1
    assert message.copies == Limits().spray_copies // 2, "half of all: what nobody had taken is not spent"


def test_a_copy_on_its_way_to_who_is_on_the_route_stays_there() -> None:
    world, nodes = graph("ax")
    first, mute, last = nodes["a"], nodes["x"], world.add("d")
    world.deafen(mute)
    world.send(first, last.user.address)
    world.run(5.0)
    (message,) = core(first)._custody.items()
    attempts = message.attempts
    user = core(last)._users.get(last.user.address)
    assert user is not None
    world.tell(first, events.FrameReceived(link(first, mute), Route(1, 16, user.announce)))
    assert (message.place, message.attempts) == (Place.FLYING, attempts)
    assert message.peer == mute.identity


def test_another_route_is_tried_soon_where_a_neighbour_does_not_even_answer() -> None:
    world, nodes = graph("ab ac bd cd", receipt_s=60.0)
    first, last = nodes["a"], nodes["d"]
    hop = core(first)._routing.next_hops(last.user.address, world.now)[0]
    world.deafen(next(node for node in nodes.values() if node.identity == hop.peer))
    world.send(first, last.user.address)
    world.run(1.0)
    assert not last.delivered
    world.run(2.0)
    assert len(last.delivered) == 1

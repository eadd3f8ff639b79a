"""Routes between nodes: told three links far, repaired from what is at hand, never in a circle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cores import World
from qpq.crypto.identity import SecretIdentity, address_of
from qpq.daemon.memory import core_limits
from qpq.mesh import events
from qpq.mesh.limits import MIB, Limits
from qpq.mesh.routing import Hop
from qpq.mesh.scores import Scores
from qpq.mesh.served import Heard
from qpq.wire.announce import sign_announce
from qpq.wire.frames import Role
from qpq.wire.frames_mesh import Announce, Query, Retract, Route
from routing_net import Router, RoutingNet

STRANGER = SecretIdentity(b"s" * 32)


def net(*edges: str, seed: int = 0, settle: float = 30.0, **limits: Any) -> tuple[RoutingNet, dict[str, Router]]:
    """Return a net with links as in "ab", and its routers by name."""
    made = RoutingNet(seed)
    for name in dict.fromkeys("".join(edges)):
        made.add(name, limits=Limits(**limits))
    for one, other in edges:
        made.link(made.routers[one], made.routers[other])
    made.run(settle)
    return made, made.routers


def stranger(node: Router, counter: int = 1, boot: int = 1) -> Announce:
    """Return the announce of a user who is said to be at ``node``."""
    return sign_announce(STRANGER, node=node.identity, boot=boot, counter=counter)


# --- what is told ------------------------------------------------------------------------------------------


def test_a_user_is_known_three_links_far_and_no_farther() -> None:
    made = RoutingNet()
    line = made.line(6)
    made.settled()
    assert [len(router.routing.rows(made.now)) for router in line] == [3, 4, 5, 5, 4, 3]
    row = line[0].row(line[3].user)
    assert row is not None
    assert (row.hops, row.cost, row.score, row.capabilities) == (3, 48, 1.0, 0)
    assert (row.node, row.next_hop) == (line[3].identity, line[1].identity)
    assert 1000 < row.since < made.now


def test_what_is_told_is_never_repeated() -> None:
    made = RoutingNet()
    made.line(6)
    before = len(made.frames)
    made.run(100_000.0)
    assert len(made.frames) == before


def test_a_route_is_not_told_to_whom_it_leads_through_nor_to_its_end() -> None:
    made, _ = net("ab", "bc")
    assert {(one, other) for one, other, _ in made.sent(Route)} == {("b", "a"), ("b", "c")}
    assert len(made.sent(Route)) == 2


def test_a_neighbours_user_is_told_on_within_two_seconds_and_several_go_together() -> None:
    made, routers = net("ab", "bc")
    before = len(made.frames)
    users = [routers["a"].add_user(bytes([n]) * 32) for n in range(3)]
    made.run(0.5)
    assert made.sent(Route, since=before) == []
    assert all(routers["b"].row(user) is not None for user in users)
    made.run(1.6)
    assert all(routers["c"].row(user) is not None for user in users)
    assert len(made.sent(Route, since=before)) == 3


def test_a_change_that_is_undone_in_time_is_not_told() -> None:
    made, routers = net("ab", "bc")
    before = len(made.frames)
    routers["b"].quality(routers["a"], 1.0, 0.0)
    made.run(0.1)
    routers["b"].quality(routers["a"], 0.0, 0.0)
    made.run(10.0)
    assert made.sent(Route, since=before) == []


def test_a_crowd_is_told_at_a_steady_pace_the_nearest_first() -> None:
    made, routers = net("bc", "cd", settle=10.0, route_rate=2.0, route_burst=4, max_users=64)
    for n in range(20):
        routers["b"].add_user(bytes([n + 1]) * 32)
        routers["c"].add_user(bytes([n + 101]) * 32)
    made.run(10.0)
    late = made.add("e", limits=routers["d"].limits)
    made.link(routers["d"], late)
    before = len(made.frames)
    made.run(2.0)
    first = [frame.hops for _, to, frame in made.sent(Route, since=before) if isinstance(frame, Route) and to == "e"]
    assert 4 <= len(first) <= 8
    assert set(first) == {1}
    made.run(60.0)
    assert len(late.routing.rows(made.now)) == 1 + 21 + 21


def test_a_neighbour_is_told_so_many_and_the_nearer_displace_the_farther() -> None:
    made, routers = net("ab", "bc", "cd", routes_told=2, max_users=8)
    assert routers["c"].told(routers["a"].user) == {"d"}
    near = [routers["c"].add_user(bytes([n]) * 32) for n in (1, 2)]
    direct = [routers["b"].add_user(bytes([n]) * 32) for n in (3, 4)]
    made.run(10.0)
    assert routers["d"].row(routers["a"].user) is None
    assert len(routers["d"].routing.rows(made.now)) == 3 + 2
    assert all(routers["d"].row(user) is not None for user in near)
    assert sum(routers["d"].row(user) is not None for user in direct) == 1


def test_a_leaf_tells_of_its_own_users_only_and_is_told_all() -> None:
    made = RoutingNet()
    one, leaf, other = made.add("a"), made.add("l", role=Role.LEAF), made.add("b")
    made.link(one, leaf)
    made.link(leaf, other)
    made.run(30.0)
    assert one.row(leaf.user) is not None
    assert one.row(other.user) is None
    assert leaf.row(one.user) is not None
    made.inject(leaf, one, Route(1, 16, other.users.announces()[0]))
    assert one.row(other.user) is None, "a way through a leaf is none"


def test_users_of_the_same_node_all_travel() -> None:
    made, routers = net("ab", "bc")
    users = [routers["a"].add_user(bytes([n]) * 32) for n in range(15)]
    made.run(10.0)
    assert all(routers["c"].row(user) is not None for user in users)
    assert routers["c"].hops(address_of(routers["a"].identity)) == ("b",)


# --- losses and repairs --------------------------------------------------------------------------------------


def test_a_lost_link_is_repaired_from_what_is_at_hand_and_nobody_is_asked() -> None:
    made, routers = net("ab", "ac", "bd", "cd")
    user = routers["d"].user
    row = routers["a"].row(user)
    assert row is not None
    first = "b" if row.next_hop == routers["b"].identity else "c"
    other = "c" if first == "b" else "b"
    assert routers["a"].hops(user) == (first, other)
    before = len(made.frames)
    made.unlink(routers["a"], routers[first])
    assert routers["a"].hops(user) == (other,)
    row = routers["a"].row(user)
    assert row is not None
    assert (row.hops, row.next_hop) == (2, routers[other].identity)
    told = [frame for one, _, frame in made.sent(Route, since=before) if one == "a"]
    assert user not in {frame.announce.address for frame in told if isinstance(frame, Route)}, "it costs as much"
    assert made.sent(Query) == []
    assert user not in routers["a"].lost
    made.run(30.0)
    made.settled()


def test_a_loss_is_told_at_once_all_the_way() -> None:
    made = RoutingNet()
    line = made.line(5)
    before = len(made.frames)
    made.unlink(line[0], line[1])
    made.run(0.1)
    assert all(router.row(line[0].user) is None for router in line[1:])
    assert len(made.sent(Retract, since=before)) == 2
    assert line[3].lost == [line[0].user, address_of(line[0].identity)]
    made.run(30.0)
    made.settled()


def test_many_losses_go_in_few_frames() -> None:
    made, routers = net("ab", "bc", max_users=40)
    for n in range(39):
        routers["a"].add_user(bytes([n]) * 32)
    made.run(30.0)
    made.unlink(routers["a"], routers["b"])
    assert [len(frame.addresses) for _, _, frame in made.sent(Retract) if isinstance(frame, Retract)] == [16, 16, 8]


def test_a_ring_that_breaks_goes_the_other_way_round() -> None:
    made, routers = net("ab", "bc", "cd", "de", "ea")
    made.watch = made.no_loops
    made.unlink(routers["a"], routers["b"])
    assert routers["b"].row(routers["a"].user) is None
    made.run(30.0)
    assert made.follow(routers["c"], routers["a"].user) == ["c", "d", "e", "a"]
    made.settled()


def test_what_is_gone_is_not_counted_to_infinity() -> None:
    made, routers = net("ab", "bc", "ca", "cd")
    made.watch = made.no_loops
    before = len(made.frames)
    made.stop(routers["d"])
    made.run(60.0)
    assert all(router.row(routers["d"].user) is None for name, router in routers.items() if name != "d")
    assert len(made.frames) - before <= 8
    assert all(len(router.routing.known()) == 4 for name, router in routers.items() if name != "d")


def test_a_better_way_is_taken_once_it_cannot_be_a_circle_any_more() -> None:
    made, routers = net("ab", "bc", "ac", "cd")
    made.watch = made.no_loops
    user = routers["b"].user
    routers["a"].quality(routers["b"], 0.0, 0.9, times=40)
    row = routers["a"].row(user)
    assert row is not None
    assert row.next_hop == routers["b"].identity, "c has the address no cheaper than a once told"
    made.run(60.0)
    row = routers["a"].row(user)
    assert row is not None
    assert (row.next_hop, row.hops, row.cost) == (routers["c"].identity, 2, 32)
    made.settled(exact=False)


def test_a_route_that_comes_back_in_time_is_taken_back() -> None:
    made, routers = net("ab", "bc")
    made.unlink(routers["a"], routers["b"])
    made.run(1.0)
    made.link(routers["a"], routers["b"])
    made.run(30.0)
    made.settled()
    assert routers["c"].found.count(routers["a"].user) == 2
    assert routers["c"].lost.count(routers["a"].user) == 1


def test_a_user_who_is_removed_is_gone_everywhere() -> None:
    made = RoutingNet()
    line = made.line(4)
    user = line[0].add_user(b"9" * 32)
    made.run(10.0)
    assert line[3].row(user) is not None
    line[0].remove_user(user)
    made.run(0.2)
    assert all(router.row(user) is None for router in line)
    assert line[1].served.link_for(user) is None
    made.run(10.0)
    made.settled()


def test_a_retraction_of_what_was_never_told_changes_nothing() -> None:
    made, routers = net("ab", "bc")
    made.inject(routers["a"], routers["b"], Retract((STRANGER.address, routers["c"].user)))
    made.settled()


def flap(made: RoutingNet, one: Router, other: Router, times: int) -> None:
    """Let a link fail so many times, each time after it has lasted a while, and come up again."""
    for _ in range(times):
        made.unlink(one, other)
        made.run(5.0)
        made.link(one, other)
        made.run(20.0)


def test_a_link_that_keeps_failing_is_waited_for_before_news_of_it_go_round() -> None:
    made, routers = net("ab", "bc")
    flap(made, routers["a"], routers["b"], 1)
    made.settled()
    flap(made, routers["a"], routers["b"], 1)
    assert routers["b"].row(routers["a"].user) is not None, "what is next door needs no news"
    assert routers["c"].row(routers["a"].user) is None
    assert routers["a"].row(routers["c"].user) is None
    made.run(60.0)
    made.settled()
    flap(made, routers["a"], routers["b"], 1)
    made.run(90.0)
    assert routers["c"].row(routers["a"].user) is None, "it is waited for longer each time"
    made.run(60.0)
    made.settled()


def test_a_link_that_keeps_failing_costs_no_retractions() -> None:
    made, routers = net("ab", "bc")
    flap(made, routers["a"], routers["b"], 2)
    before = len(made.frames)
    flap(made, routers["a"], routers["b"], 5)
    assert not made.sent(Route, since=before)
    assert not made.sent(Retract, since=before)
    made.run(700.0)
    made.settled()


def test_a_link_that_keeps_failing_beside_a_sound_way_is_no_news() -> None:
    made, routers = net("xb", "be", "ea", "ab")
    flap(made, routers["a"], routers["b"], 2)
    made.run(100.0)
    flap(made, routers["a"], routers["b"], 1)
    before = len(made.frames)
    flap(made, routers["a"], routers["b"], 4)
    assert routers["b"].hops(routers["a"].user) == ("a", "e")
    assert routers["x"].hops(routers["a"].user) == ("b",)
    assert not [frame for near, far, frame in made.frames[before:] if {near, far} == {"x", "b"}]
    made.run(800.0)
    made.settled()


def test_who_asks_for_more_than_is_told_is_answered_however_near_that_is() -> None:
    made, routers = net("ha", "hb", "hc", "hd", "he", routes_told=2)
    for name in "bcde":
        routers["a"].want(routers[name].user)
        made.run(1.0)
        assert routers["a"].hops(routers[name].user) == ("h",)
    assert all(len(one.told) <= 2 for one in routers["h"].routing.telling.neighbours.values())


def test_who_asks_is_answered_over_a_link_that_keeps_failing() -> None:
    made, routers = net("ab", "bc")
    flap(made, routers["a"], routers["b"], 2)
    routers["a"].want(routers["c"].user)
    routers["c"].want(routers["a"].user)
    made.run(1.0)
    assert routers["a"].hops(routers["c"].user) == ("b",)
    assert routers["c"].hops(routers["a"].user) == ("b",)
    made.run(100.0)
    made.settled()


def test_a_cost_that_changes_by_less_than_half_or_double_is_not_told() -> None:
    made, routers = net("ab", "bc", "cd")
    before = len(made.frames)
    routers["b"].quality(routers["a"], 0.0, 0.4)
    made.run(30.0)
    assert len(made.frames) == before
    routers["b"].quality(routers["a"], 0.0, 0.9, times=40)
    made.run(30.0)
    assert made.sent(Route, since=before)
    made.settled(exact=False)


def test_neighbours_whose_links_fail_are_remembered_by_number() -> None:
    made, routers = net("ab", "ac", scores=1)
    for name in "bc":
        made.unlink(routers["a"], routers[name])
    made.link(routers["a"], routers["b"])
    made.run(700.0)
    made.unlink(routers["a"], routers["b"])
    assert list(routers["a"].routing.telling._flaps) == [routers["c"].identity]


# --- where users are ---------------------------------------------------------------------------------------


def test_a_user_who_moves_is_found_at_the_new_node() -> None:
    made = RoutingNet()
    line = made.line(5)
    user = line[0].user
    line[0].remove_user(user)
    line[4].add_user(made.random.randbytes(32))
    seed = b"m" * 32
    moved = line[0].add_user(seed)
    made.run(10.0)
    line[0].remove_user(moved)
    line[4].add_user(seed)
    made.run(30.0)
    assert made.follow(line[2], moved) == ["c", "d", "e"]
    made.settled()


def test_a_user_at_two_nodes_is_where_the_newest_announce_says() -> None:
    made, routers = net("ab", "bc", "cd", "de")
    seed = b"m" * 32
    routers["a"].add_user(b"x" * 32)
    user = routers["a"].add_user(seed)
    made.run(10.0)
    routers["e"].add_user(seed)
    made.run(10.0)
    assert made.follow(routers["c"], user) == ["c", "b", "a"], "who only exists here has not moved here"
    routers["e"].do(lambda: routers["e"].routing.acted(user))
    made.run(10.0)
    assert made.follow(routers["c"], user) == ["c", "d", "e"]
    assert made.follow(routers["b"], user) == ["b", "c", "d", "e"], "though the neighbour announces it too"
    assert routers["b"].served.link_for(user) is None
    routers["a"].do(lambda: routers["a"].routing.acted(user))
    made.run(10.0)
    assert made.follow(routers["d"], user) == ["d", "c", "b", "a"]
    before = len(made.frames)
    routers["a"].do(lambda: routers["a"].routing.acted(user))
    assert len(made.frames) == before, "it is here already"


def test_an_older_node_of_a_user_serves_again_when_the_newer_is_gone() -> None:
    made, routers = net("ab", "bc")
    seed = b"m" * 32
    user = routers["a"].add_user(seed)
    made.run(10.0)
    routers["c"].add_user(b"y" * 32)
    routers["c"].add_user(seed)
    made.run(10.0)
    assert routers["b"].hops(user) == ("c",)
    made.unlink(routers["b"], routers["c"])
    assert routers["b"].hops(user) == ("a",)
    assert routers["b"].served.node_of(user) == routers["a"].identity


def test_a_user_who_comes_to_a_node_that_had_a_route_to_it_replaces_that() -> None:
    made, routers = net("ab", "bc")
    seed = b"m" * 32
    user = routers["a"].add_user(seed)
    made.run(10.0)
    routers["b"].add_user(seed)
    made.run(10.0)
    assert routers["b"].row(user) is None
    row = routers["c"].row(user)
    assert row is not None
    assert row.node == routers["b"].identity
    routers["b"].remove_user(user)
    made.run(1.0)
    assert routers["c"].row(user) is None
    routers["b"].do(lambda: routers["b"].routing.acted(user))


def test_an_announce_of_a_local_user_from_elsewhere_is_no_route() -> None:
    made, routers = net("ab", "bc")
    user = routers["a"].user
    seed = routers["a"].seeds[0]
    older = sign_announce(SecretIdentity(seed), node=routers["c"].identity, boot=0, counter=9)
    for _ in range(2):
        made.inject(routers["b"], routers["a"], Route(1, 16, older))
        assert routers["a"].row(user) is None
        routers["a"].do(lambda: routers["a"].routing.acted(user))
        assert routers["a"].users.announces()[0].counter == 1
        older = replace(older, node=routers["a"].identity)


def test_a_node_that_lost_count_of_its_restarts_announces_on_from_what_others_know() -> None:
    made, routers = net("ab", "bc")
    seed = routers["a"].seeds[0]
    user = routers["a"].user
    before = sign_announce(SecretIdentity(seed), node=routers["a"].identity, boot=50, counter=3)
    made.inject(routers["b"], routers["a"], Route(1, 16, before))
    assert routers["a"].row(user) is None
    routers["a"].do(lambda: routers["a"].routing.acted(user))
    made.run(5.0)
    announce = routers["c"].routing._routes.get(user).announce  # type: ignore[union-attr]
    assert (announce.boot, announce.counter) == (50, 4)


# --- what links cost --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rtt", "loss", "cost"), [(0.0, 0.0, 16), (0.005, 0.01, 16), (0.2, 0.0, 48), (0.0, 0.5, 64), (99.0, 1.0, 4096)]
)
def test_loss_and_round_trip_make_a_link_cost_more(rtt: float, loss: float, cost: int) -> None:
    _, routers = net("ab")
    routers["a"].quality(routers["b"], rtt, loss, times=40)
    assert routers["a"].routing.link_cost(routers["a"].number(routers["b"])) == pytest.approx(cost, rel=0.34), (
        "within the hysteresis"
    )


def test_nonsense_about_a_link_is_bounded_and_about_an_unknown_link_ignored() -> None:
    made, routers = net("ab")
    routers["a"].quality(routers["b"], -5.0, -1.0)
    assert routers["a"].routing.link_cost(routers["a"].number(routers["b"])) == 16
    routers["a"].routing.hearing.quality(events.LinkQuality(999, 0.1, 0.1), made.now)


def test_traffic_keeps_to_the_better_of_two_ways() -> None:
    made, routers = net("ab", "ac", "bd", "cd")
    user = routers["d"].user
    (first, other) = routers["a"].hops(user)
    routers["a"].quality(routers[first], 0.3, 0.3, times=40)
    made.run(30.0)
    assert routers["a"].hops(user) == (other, first)
    made.settled(exact=False)


# --- what is believed ----------------------------------------------------------------------------------------


def test_a_forged_route_costs_the_neighbour_its_link() -> None:
    made, routers = net("ab")
    forged = replace(stranger(routers["b"]), counter=2)
    made.inject(routers["b"], routers["a"], Route(1, 16, forged))
    assert routers["a"].complaints == ["a route with a false signature"]
    assert routers["a"].row(STRANGER.address) is None


def test_a_forged_announce_of_a_known_user_costs_the_link_too() -> None:
    made, routers = net("ab", "bc")
    forged = replace(routers["c"].users.announces()[0], capabilities=1)
    made.inject(routers["b"], routers["a"], Route(1, 16, forged))
    assert routers["a"].complaints == ["a route with a false signature"]


def test_a_nodes_announce_of_itself_is_taken_if_it_is_signed() -> None:
    made, routers = net("ab", "bc")
    own = sign_announce(routers["b"].secret, node=routers["b"].identity, boot=1, counter=1)
    made.inject(routers["b"], routers["a"], replace(own, hops=7))
    assert routers["a"].row(address_of(routers["b"].identity)) is not None
    link = routers["a"].links[routers["a"].number(routers["b"])]
    over_rate = routers["a"].routing.hearing.announced(link, replace(own, counter=2), Heard.OVER_CAP, made.now)
    assert over_rate == "", "what comes too fast is not verified"
    made.inject(routers["b"], routers["a"], replace(own, counter=2))
    assert routers["a"].complaints == ["an announce with a false signature"]
    made.inject(routers["b"], routers["a"], replace(own, node=routers["c"].identity))
    assert len(routers["a"].complaints) == 1, "of another node it is not even looked at"


def test_a_replayed_announce_of_a_user_who_moved_is_not_followed() -> None:
    made, routers = net("ab", "bc")
    made.inject(routers["b"], routers["a"], Route(2, 32, stranger(routers["c"], counter=2)))
    made.inject(routers["b"], routers["a"], Route(1, 16, stranger(routers["b"], counter=1)))
    row = routers["a"].row(STRANGER.address)
    assert row is not None
    assert row.node == routers["b"].identity, "nobody says any more that the user has moved"
    made.link(routers["a"], routers["c"])
    made.inject(routers["c"], routers["a"], Route(1, 16, stranger(routers["c"], counter=2)))
    assert routers["a"].hops(STRANGER.address) == ("c",)
    made.inject(routers["b"], routers["a"], Route(1, 16, stranger(routers["b"], counter=1)))
    assert routers["a"].hops(STRANGER.address) == ("c",)
    assert routers["a"].counts["route.stale"] == 1


def test_a_route_cannot_claim_links_better_than_perfect() -> None:
    made, routers = net("ab")
    made.inject(routers["b"], routers["a"], Route(2, 0, stranger(routers["b"])))
    row = routers["a"].row(STRANGER.address)
    assert row is not None
    assert (row.hops, row.cost) == (3, 48)


def test_an_unusable_route_and_one_of_too_many_hops_take_back_what_was_offered() -> None:
    made, routers = net("ab")
    for worse in (Route(1, 0xFFFF, stranger(routers["b"])), Route(64, 1024, stranger(routers["b"]))):
        made.inject(routers["b"], routers["a"], Route(1, 16, stranger(routers["b"])))
        assert routers["a"].hops(STRANGER.address) == ("b",)
        made.inject(routers["b"], routers["a"], worse)
        assert routers["a"].hops(STRANGER.address) == ()
        made.run(10.0)


def test_a_far_route_that_nobody_asked_for_is_ignored() -> None:
    made, routers = net("ab")
    made.inject(routers["b"], routers["a"], Route(3, 48, stranger(routers["b"])))
    assert routers["a"].row(STRANGER.address) is None
    assert routers["a"].counts["route.unasked"] == 1
    made.inject(routers["b"], routers["a"], Route(2, 48, stranger(routers["b"])))
    made.inject(routers["b"], routers["a"], Route(3, 48, stranger(routers["b"], counter=2)))
    assert routers["a"].row(STRANGER.address) is not None, "it is known: this is news of it"


def test_a_route_to_this_very_node_is_ignored() -> None:
    made, routers = net("ab")
    made.inject(routers["b"], routers["a"], Route(1, 16, stranger(routers["a"])))
    assert routers["a"].row(STRANGER.address) is None


def test_signatures_are_verified_at_a_bounded_rate() -> None:
    made, routers = net("ab", route_checks=4, route_rate=1.0)
    forged = [replace(stranger(routers["b"], counter=n + 1), capabilities=9) for n in range(9)]
    good = [stranger(routers["b"], counter=n + 1) for n in range(9)]
    for announce in good:
        made.inject(routers["b"], routers["a"], Route(1, 16, announce))
    assert routers["a"].counts["route.over_rate"] == 5
    assert routers["a"].row(STRANGER.address) is None, "what replaced the offer is not known"
    made.inject(routers["b"], routers["a"], Route(1, 16, forged[0]))
    assert routers["a"].complaints == []
    made.run(3.0)
    for _ in range(20):
        made.inject(routers["b"], routers["a"], Route(1, 16, good[3]))
    assert routers["a"].row(STRANGER.address) is not None, "what is known costs no check"


def test_sybil_users_of_one_neighbour_cannot_push_out_what_others_brought() -> None:
    made, routers = net("ab", "ac", "cd", routes=8, max_users=2, route_checks=1000)
    for n in range(40):
        fake = sign_announce(SecretIdentity(bytes([n]) * 32), node=routers["b"].identity, boot=1, counter=1)
        made.inject(routers["b"], routers["a"], Route(1, 16, fake))
    made.run(10.0)
    assert routers["a"].row(routers["c"].user) is not None
    assert routers["a"].row(routers["d"].user) is not None
    assert len(routers["a"].routing.rows(made.now)) == 8
    assert routers["a"].counts["route.over_cap"] == 35
    late = made.add("e", users=2)
    made.link(routers["c"], late)
    made.run(10.0)
    assert all(routers["a"].row(user) is not None for user in late.users.addresses())
    assert routers["a"].counts["route.evicted"] == 2


def test_what_gives_way_is_taken_back_from_those_who_were_told() -> None:
    made, routers = net("ab", "bc", "bd", routes=4)
    assert len(routers["b"].told(routers["a"].user)) == 2
    for n in range(4):
        fake = sign_announce(SecretIdentity(bytes([n]) * 32), node=routers["a"].identity, boot=1, counter=1)
        made.inject(routers["a"], routers["b"], Route(1, 16, fake))
    made.run(20.0)
    kept = {row.address for row in routers["b"].routing.rows(made.now)}
    assert len(kept) == 4
    assert {row.address for row in routers["c"].routing.rows(made.now)} <= kept | {routers["b"].user}
    evicted = [address for address in (routers["a"].user, routers["c"].user) if address not in kept]
    assert all(address not in routers["d"].routing.known() for address in evicted)


def test_what_has_lost_its_route_gives_way_without_a_word() -> None:
    made, routers = net("ab", "bc", routes=2)
    made.unlink(routers["a"], routers["b"])
    before = len(made.frames)
    fake = sign_announce(STRANGER, node=routers["c"].identity, boot=1, counter=1)
    made.inject(routers["c"], routers["b"], Route(1, 16, fake))
    assert routers["b"].row(STRANGER.address) is not None
    assert routers["a"].user not in routers["b"].routing.known()
    assert made.sent(Retract, since=before) == []
    routers["b"].routing.hearing.hold_due(routers["a"].user, made.now)


# --- what other machines are told ------------------------------------------------------------------------


def test_next_hops_are_ordered_by_safety_and_cost() -> None:
    made, routers = net("ab", "ac", "bd", "cd", "ae", "eb")
    user = routers["d"].user
    hops = routers["a"].routing.next_hops(user, made.now)
    assert [hop.hops for hop in hops] == [2, 2, 3]
    assert [hop.cost for hop in hops] == [32, 32, 48]
    assert hops[2] == Hop(routers["a"].number(routers["e"]), routers["e"].identity, 3, 48)
    assert routers["a"].routing.distance(user) == 2
    assert routers["a"].routing.distance(routers["b"].user) == 1
    assert routers["a"].routing.distance(STRANGER.address) == 0
    assert routers["a"].routing.next_hops(STRANGER.address, made.now) == ()


def test_who_serves_an_address_comes_first_whatever_the_link_costs() -> None:
    _, routers = net("ab", "ac", "bc")
    routers["a"].quality(routers["b"], 0.0, 0.9, times=40)
    assert routers["a"].hops(routers["b"].user) == ("b", "c")


def test_a_node_without_users_is_reached_next_door() -> None:
    made = RoutingNet()
    one, bare = made.add("a"), made.add("b", users=0)
    made.link(one, bare)
    made.run(10.0)
    assert one.hops(bare.identity) == ("b",)
    assert one.routing.distance(address_of(bare.identity)) == 1
    assert one.routing.node_of(address_of(bare.identity)) is None


def test_receipts_that_do_not_come_push_a_neighbour_back() -> None:
    made, routers = net("ab", "ac", "bd", "cd", "ae", "eb")
    user = routers["d"].user
    first, second, _ = routers["a"].hops(user)
    routing = routers["a"].routing
    peer = routers[first].identity
    routing.score(peer, False, made.now)
    assert routers["a"].hops(user)[0] == second
    row = routers["a"].row(user)
    assert row is not None
    assert row.score == pytest.approx(0.7)
    made.run(1800.0)
    row = routers["a"].row(user)
    assert row is not None
    assert row.score == pytest.approx(0.85), "half of it is forgiven in half an hour"
    for _ in range(12):
        routing.score(peer, True, made.now)
    row = routers["a"].row(user)
    assert row is not None
    assert row.score > 0.99


def test_scores_are_few() -> None:
    scores = Scores(Limits(scores=2))
    peers = [SecretIdentity(bytes([n]) * 32).identity for n in range(3)]
    for peer in peers:
        scores.note(peer, good=False)
    assert [scores.of(peer, 0.0) for peer in peers] == [1.0, 0.7, 0.7]
    scores.note(peers[1], good=False)
    assert scores.of(peers[1], 0.0) == pytest.approx(0.49)
    assert scores.weighed(16, peers[0], 0.0) == 16


def test_a_route_that_is_proven_wrong_is_dropped() -> None:
    made, routers = net("ab", "ac", "bd", "cd")
    user = routers["d"].user
    first, other = routers["a"].hops(user)
    number = routers["a"].number(routers[first])
    for _ in range(2):
        routers["a"].do(lambda: routers["a"].routing.disprove(user, number, made.now))
        assert routers["a"].hops(user) == (other,)
    routers["a"].do(lambda: routers["a"].routing.disprove(STRANGER.address, number, made.now))


def test_found_and_lost_tell_of_the_user_and_of_the_node() -> None:
    made, routers = net("ab", settle=0.0)
    assert routers["a"].found == []
    made.run(1.0)
    both = [routers["b"].user, address_of(routers["b"].identity)]
    assert routers["a"].found == both
    second = routers["b"].add_user(b"2" * 32)
    made.run(1.0)
    routers["b"].remove_user(second)
    made.run(1.0)
    assert routers["a"].lost == [second], "the node is still there"
    made.unlink(routers["a"], routers["b"])
    assert routers["a"].lost == [second, *both]


# --- whole cores -----------------------------------------------------------------------------------------


def test_cores_in_a_line_resolve_and_show_who_is_far() -> None:
    world = World()
    line = world.line(5)
    world.run(30.0)
    near, far = line[0].core, line[3]
    assert near is not None
    assert far.user.address in near.addresses_known()
    assert far.secret.address in near.addresses_known()
    assert near.where(far.user.address) == near.where(far.secret.address) == far.identity
    assert line[4].user.address not in near.addresses_known()
    assert near.where(line[4].user.address) is None
    assert {row.address: row.hops for row in near.routes(world.now)} == {
        node.user.address: distance for distance, node in enumerate(line[1:4], 1)
    }


def test_a_core_whose_neighbour_forges_a_route_ends_the_link() -> None:
    world = World()
    anna, bert = world.line(2)
    world.run(5.0)
    forged = replace(sign_announce(STRANGER, node=bert.identity, boot=1, counter=1), boot=2)
    wire = next(iter(bert.wires.values()))
    world.inject(wire, wire.encoder.encode(Route(1, 16, forged)))
    own = next(iter(anna.wires.values()))
    world.inject(
        own, own.encoder.encode(replace(sign_announce(anna.secret, node=anna.identity, boot=1, counter=1), boot=2))
    )
    world.run(1.0)
    assert "a route with a false signature" in {closed.reason for closed in anna.closed}
    assert "an announce with a false signature" in {closed.reason for closed in bert.closed}


def test_a_user_who_writes_elsewhere_has_moved_there() -> None:
    world = World()
    anna, bert, carl = world.line(3)
    user = SecretIdentity(b"m" * 32)
    world.tell(anna, events.UserAdded(b"x" * 32))
    for node in (anna, anna, carl):
        world.tell(node, events.UserAdded(user.seed))
        node.users.append(user)
        world.run(10.0)
    assert bert.core is not None
    world.tell(anna, events.SendText(user.address, bert.user.address, bytes(16), "hello", 60))
    world.run(5.0)
    assert bert.core.where(user.address) == anna.identity
    world.tell(carl, events.SendText(user.address, bert.user.address, bytes(16), "hello", 60))
    world.run(5.0)
    assert bert.core.where(user.address) == carl.identity
    world.tell(carl, events.UserRemoved(user.address))
    world.tell(carl, events.UserRemoved(user.address))
    world.run(5.0)
    assert bert.core.where(user.address) == anna.identity


def test_the_caps_of_routes_follow_the_machine() -> None:
    small, large = core_limits(max_links=24, store_bytes=2 * MIB), core_limits(max_links=64, store_bytes=64 * MIB)
    assert (small.routes, small.routes_told) == (384, 128)
    assert (large.routes, large.routes_told) == (2048, 128)

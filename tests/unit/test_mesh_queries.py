"""Queries: far addresses are asked for, the answer comes back as routes, and nobody can make much of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from qpq.crypto.identity import Address, SecretIdentity, address_of
from qpq.mesh.limits import Limits
from qpq.wire.announce import sign_announce
from qpq.wire.frames import Role
from qpq.wire.frames_mesh import Announce, Query, Retract, Route
from qpq.wire.query import sign_query
from routing_net import Router, RoutingNet

if TYPE_CHECKING:
    from qpq.wire.frames import Frame

STRANGER = SecretIdentity(b"s" * 32)
NOBODY = SecretIdentity(b"0" * 32).address


def line(length: int = 9, **limits: float) -> tuple[RoutingNet, list[Router]]:
    made = RoutingNet()
    return made, made.line(length, **limits)


def queries(made: RoutingNet, since: int = 0) -> list[tuple[str, str]]:
    return [(one, other) for one, other, _ in made.sent(Query, since=since)]


def ask(target: bytes, counter: int, boot: int = 1, hops: int = 0, asker: SecretIdentity = STRANGER) -> Query:
    return replace(sign_query(asker, Address(target), boot, counter), hops=hops)


def test_a_far_user_is_found_and_the_way_is_known_along_the_way() -> None:
    made, far = line()
    user = far[8].user
    far[0].want(user)
    made.run(1.0)
    assert made.follow(far[0], user) == list("abcdefghi")
    assert queries(made) == [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "f")]
    assert far[0].found[-2:] == [user, address_of(far[8].identity)]
    assert far[0].row(far[7].user) is None, "only what was asked for has come"
    made.run(3600.0 * 0.4)
    assert len(made.sent(Query)) == 5, "what is found is asked for no more"


def test_the_answer_takes_no_longer_than_the_way_there_and_back() -> None:
    made, far = line()
    far[0].want(far[8].user)
    made.run(2 * 5 * made.latency + 0.001)
    assert far[0].row(far[8].user) is not None


def test_a_node_id_can_be_asked_for_whether_it_has_users_or_not() -> None:
    made, far = line(6)
    bare = made.add("z", users=0)
    made.link(far[5], bare)
    made.run(10.0)
    far[0].want(address_of(far[5].identity))
    far[0].want(address_of(bare.identity))
    for counter in (1, 2):
        made.inject(far[5], bare, ask(bare.identity, counter))
    made.run(1.0)
    assert far[0].hops(far[5].identity) == ("b",)
    assert far[0].hops(bare.identity) == ("b",)
    assert far[0].routing.node_of(address_of(bare.identity)) == bare.identity


def test_what_is_not_found_is_asked_for_ever_more_rarely() -> None:
    made, far = line(4)
    far[0].want(NOBODY)
    times = []
    for _ in range(3000):
        before = len(made.frames)
        made.run(1.0)
        times += [made.now for one, _ in queries(made, since=before) if one == "a"]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert [round(wait / (8 * 2**n), 1) for n, wait in enumerate(waits)] == pytest.approx([1.1] * len(waits), abs=0.25)
    assert 8 <= len(times) <= 11


def test_a_search_ends_when_nobody_wants_it_any_more() -> None:
    made, far = line(2, search_max_s=100.0)
    far[0].want(NOBODY)
    made.run(90.0)
    far[0].want(NOBODY)
    made.run(2000.0)
    before = len(made.frames)
    made.run(10_000.0)
    assert queries(made, since=before) == []
    far[0].want(NOBODY)
    assert len(queries(made, since=before)) == 1


def test_a_node_that_has_just_begun_does_not_ask_at_once_for_what_it_relays() -> None:
    made, far = line(2)
    far[0].want(NOBODY, own=False)
    made.run(59.0)
    assert queries(made) == []
    made.run(20.0)
    before = len(queries(made))
    assert before, "nobody else has asked meanwhile"
    far[0].want(SecretIdentity(b"9" * 32).address, own=False)
    assert len(queries(made)) == before + 1, "later on it asks at once: a path may have to be mended"


def test_what_is_relayed_is_asked_for_at_once_when_a_user_wants_it_too() -> None:
    made, far = line(2)
    far[0].want(NOBODY, own=False)
    far[0].want(NOBODY, own=False)
    assert queries(made) == []
    far[0].want(NOBODY)
    assert queries(made) == [("a", "b")]
    far[0].want(NOBODY, own=False)
    made.run(20.0)
    assert len(queries(made)) == 3, "a user's search stays one: it goes on after 4 and 12 seconds"


def test_of_many_that_relay_for_the_same_user_only_some_ask() -> None:
    made, far = line(6)
    far[5].want(SecretIdentity(b"9" * 32).address)  # the first minute is over for all
    for router in far:
        router.want(SecretIdentity(b"8" * 32).address, own=False)
    made.run(100.0)
    for router in far:
        router.routing.queries._stop(SecretIdentity(b"8" * 32).address)
    before = len(made.frames)
    far[0].want(NOBODY)
    for router in far[1:]:
        router.want(NOBODY, own=False)
    made.run(1000.0)
    sent = [frame for _, _, frame in made.sent(Query, since=before) if isinstance(frame, Query)]
    asked = [frame for frame in sent if frame.target == NOBODY]
    own = {(frame.asker, frame.counter) for frame in asked if frame.asker == far[0].identity}
    others = {(frame.asker, frame.counter) for frame in asked} - own
    assert 7 <= len(own) <= 9
    assert 5 <= len(others) <= 20, "half of five times eight at most, but one turn of four whoever else asks"


def test_what_is_known_already_is_asked_for_once_more_only() -> None:
    made, far = line(4)
    far[0].want(far[3].user)
    made.run(1000.0)
    assert queries(made) == [("a", "b")]
    far[0].want(far[3].user)
    made.run(1000.0)
    assert queries(made)[1:] == [("a", "b"), ("b", "c")], "again, so the neighbour's word was no help"


def test_a_search_ends_when_the_address_turns_up_next_door() -> None:
    made, far = line(2)
    bare = made.add("z", users=0)
    far[0].want(address_of(bare.identity))
    made.link(far[0], bare)
    before = len(made.frames)
    made.run(10_000.0)
    assert queries(made, since=before) == []


def test_searches_are_few_and_the_one_wanted_longest_ago_gives_way() -> None:
    made, far = line(2, searches=2)
    targets = [SecretIdentity(bytes([n]) * 32).address for n in range(3)]
    for target in (*targets[:2], targets[0], targets[2]):
        far[0].want(target)
    before = len(made.frames)
    made.run(30.0)
    asked = {frame.target for _, _, frame in made.sent(Query, since=before) if isinstance(frame, Query)}
    assert asked == {targets[0], targets[2]}


def test_a_node_asks_no_faster_than_its_rate() -> None:
    made, far = line(2, search_rate=0.5, search_burst=3)
    for n in range(9):
        far[0].want(SecretIdentity(bytes([n]) * 32).address)
    assert len(queries(made)) == 3
    made.run(20.0)
    assert 3 + 9 <= len(queries(made)) <= 3 + 10 + 1


def test_envelopes_for_nobody_keep_no_user_from_asking() -> None:
    made, far = line(2, search_rate=0.5, search_burst=8, searches=16)
    made.run(60.0)
    far[0].want(NOBODY, own=False)
    made.run(61.0)  # the first minute is over
    before = len(queries(made))
    own = [SecretIdentity(bytes([n]) * 32).address for n in range(6)]
    far[0].want(own[0])
    for n in range(100, 200):
        far[0].want(SecretIdentity(bytes([n]) * 32).address, own=False)
    for target in own[1:]:
        far[0].want(target)
    assert len(queries(made)) - before <= len(own) + 2, "a quarter of the burst is for what is relayed"
    made.run(600.0)
    asked = {frame.target for _, _, frame in made.sent(Query, since=before) if isinstance(frame, Query)}
    assert asked >= set(own), "what is relayed gives way first"
    assert set(own) <= set(far[0].routing.queries._searches)
    relayed = [frame for _, _, frame in made.sent(Query) if isinstance(frame, Query) and frame.target not in own]
    assert len(relayed) <= 2 + 2 + 0.5 / 4 * 721


def test_each_node_passes_a_query_on_once() -> None:
    made = RoutingNet()
    routers = [made.add(str(n)) for n in range(6)]
    for one in range(6):
        for other in range(one):
            made.link(routers[one], routers[other])
    made.run(30.0)
    routers[0].want(NOBODY)
    made.run(1.0)
    assert len(queries(made)) == 5 + 5 * 4
    assert sum(router.counts["query.passed_on"] for router in routers) == 5 * 4


def test_a_node_asks_first_over_the_tree_and_then_over_all_links_which_the_counter_says() -> None:
    made = RoutingNet()
    asker, far, near = (made.add(name) for name in "abc")
    for other in (far, near):
        made.link(asker, other)
    made.run(10.0)
    asker.tree.only = (asker.number(near),)
    asker.want(NOBODY)
    made.run(40.0)
    sent = [(other, frame.counter) for one, other, frame in made.sent(Query) if one == "a" and isinstance(frame, Query)]
    assert sent[0] == ("c", 1)
    assert sorted(sent[1:3]) == [("b", 2), ("c", 2)]
    assert sorted(sent[3:5]) == [("b", 4), ("c", 4)]


def test_queries_over_all_links_have_a_rate_of_their_own() -> None:
    made = RoutingNet()
    asker, middle, aside, onward = (made.add(name, limits=Limits(wide_burst=2)) for name in "abcd")
    for other in (asker, aside, onward):
        made.link(middle, other)
    made.run(10.0)
    middle.tree.only = (middle.number(asker), middle.number(onward))
    before = len(made.frames)
    for n in range(5):
        made.inject(asker, middle, ask(NOBODY, 2, asker=SecretIdentity(bytes([n]) * 32)))
    made.run(1.0)
    asked = queries(made, since=before)
    assert asked.count(("b", "c")) == 2
    assert asked.count(("b", "d")) == 5


def test_a_link_that_floods_with_ever_new_askers_leaves_room_for_the_others() -> None:
    made = RoutingNet()
    liar, honest, middle, onward = (made.add(name) for name in "lhmo")
    for other in (liar, honest, onward):
        made.link(middle, other)
    made.run(10.0)
    before = len(made.frames)
    for second in range(120):
        for n in range(10):
            made.inject(liar, middle, ask(NOBODY, 1, asker=SecretIdentity(bytes([second, n]) * 16)))
        if second % 4 == 0:
            made.inject(honest, middle, ask(NOBODY, second + 1))
        made.run(1.0)
    passed = [frame for one, other, frame in made.sent(Query, since=before) if (one, other) == ("m", "o")]
    assert sum(isinstance(frame, Query) and frame.asker == STRANGER.identity for frame in passed) == 30
    assert len(passed) <= 30 + 32 + 2 * 120 + 1


def test_many_links_that_flood_get_a_share_each_and_no_more() -> None:
    made = RoutingNet()
    middle, onward = made.add("m"), made.add("o")
    made.link(middle, onward)
    liars = [made.add(str(n)) for n in range(6)]
    for liar in liars:
        made.link(liar, middle)
    made.run(10.0)
    before = len(made.frames)
    for second in range(60):
        for number, liar in enumerate(liars):
            for n in range(3):
                made.inject(liar, middle, ask(NOBODY, 1, asker=SecretIdentity(bytes([second, n, number, 1]) * 8)))
        made.run(1.0)
    passed = [pair for pair in queries(made, since=before) if pair == ("m", "o")]
    assert len(passed) <= 64 + 4 * 60
    assert middle.counts["query.over_share"] > 0
    made.unlink(middle, liars[0])
    assert middle.complaints == []


def test_a_query_shows_the_tree_only_where_it_goes_round_alone_and_over_the_tree() -> None:
    made = RoutingNet()
    one, other, third = (made.add(name) for name in "abc")
    for near, far in ((one, third), (other, third)):
        made.link(near, far)
    made.run(20.0)
    first, again = third.number(one), third.number(other)

    def heard(counter: int, pause: float) -> list[tuple[int, ...]]:
        third.tree.heard.clear()
        made.run(pause)
        for near in (one, other):
            made.inject(near, third, ask(NOBODY, counter))
        return third.tree.heard

    assert heard(1, 20.0) == [(first,), (again, first)]
    assert heard(3, 1.0) == [(first,), (again, again)], "another came a moment before"
    assert heard(5, 20.0) == [(first,), (again, first)]
    assert heard(6, 20.0) == [(first,), (again, again)], "it goes over all links"
    made.run(20.0)
    third.tree.heard.clear()
    made.inject(one, third, ask(NOBODY, 7))
    made.inject(one, third, ask(NOBODY, 1, asker=SecretIdentity(b"2" * 32)))
    made.inject(other, third, ask(NOBODY, 7))
    assert third.tree.heard[-1] == (again, again), "another came since"


def test_the_tree_is_told_which_link_brought_a_query_first_and_which_again() -> None:
    made = RoutingNet()
    one, other, third = (made.add(name) for name in "abc")
    for near, far in ((one, other), (other, third), (one, third)):
        made.link(near, far)
    made.run(10.0)
    made.inject(one, third, ask(NOBODY, 1))
    made.inject(other, third, ask(NOBODY, 1))
    made.inject(other, third, ask(NOBODY, 2))
    made.inject(one, third, ask(NOBODY, 1))
    made.run(1.0)
    first, again = third.number(one), third.number(other)
    assert third.tree.heard[:2] == [(first,), (again, first)]
    assert (again,) in third.tree.heard[2:]
    assert (first, first) not in third.tree.heard, "only what the newest shows is still of use"


def test_queries_go_over_the_links_of_the_broadcast_tree() -> None:
    made = RoutingNet()
    routers = [made.add(str(n)) for n in range(4)]
    for one in range(4):
        for other in range(one):
            made.link(routers[one], routers[other])
    for router in routers[1:]:
        router.tree.only = (router.number(routers[0]),)
    routers[1].want(NOBODY)
    made.run(1.0)
    assert sorted(queries(made)) == [("0", "2"), ("0", "3"), ("1", "0")]


def test_a_neighbours_address_is_asked_of_that_neighbour_only() -> None:
    made, far = line(3)
    bare = made.add("z", users=0)
    made.link(far[2], bare)
    made.run(10.0)
    before = len(made.frames)
    far[1].want(address_of(bare.identity))
    made.run(1.0)
    assert queries(made, since=before) == [("b", "a"), ("b", "c"), ("c", "z")]
    assert far[1].hops(bare.identity) == ("c",)


def test_a_leaf_passes_nothing_on_but_answers_for_itself() -> None:
    made = RoutingNet()
    one, leaf, other = made.add("a"), made.add("l", role=Role.LEAF), made.add("b")
    made.link(one, leaf)
    made.link(leaf, other)
    made.run(10.0)
    one.want(other.user)
    made.inject(one, leaf, ask(leaf.user, 1))
    made.run(1.0)
    assert queries(made) == [("a", "l")]
    assert leaf.counts["query.answered"] == 1


@pytest.mark.parametrize(("loss", "goes_on"), [(0.0, False), (0.6, False), (0.9, True)])
def test_a_route_over_a_link_that_loses_much_is_told_and_a_better_one_looked_for(loss: float, goes_on: bool) -> None:
    made, far = line(4)
    made.run(10.0)
    far[2].quality(far[3], 0.0, loss)
    made.run(10.0)
    before = len(made.frames)
    made.inject(far[0], far[1], ask(far[3].user, 1))
    made.run(1.0)
    assert far[1].counts["query.answered"] == 1
    assert (("b", "c") in queries(made, since=before)) is goes_on


def test_queries_end_after_so_many_hops() -> None:
    made, far = line(3)
    made.inject(far[0], far[1], ask(NOBODY, 1, hops=63))
    made.run(1.0)
    assert queries(made) == [("b", "c")]
    made.inject(far[0], far[1], ask(NOBODY, 2, hops=64))
    made.inject(far[0], far[1], ask(NOBODY, 3, hops=65))
    made.run(1.0)
    assert len(queries(made)) == 1


# --- the answer --------------------------------------------------------------------------------------------


def test_a_cached_route_answers_without_going_on() -> None:
    made, far = line()
    user = far[8].user
    far[0].want(user)
    made.run(5.0)
    late = made.add("z")
    made.link(far[1], late)
    made.run(10.0)
    before = len(made.frames)
    late.want(user)
    made.run(1.0)
    assert queries(made, since=before) == [("z", "b")]
    assert late.hops(user) == ("b",)


def test_cached_routes_are_kept_up_to_date_and_taken_back() -> None:
    made, far = line()
    user = far[8].user
    far[0].want(user)
    made.run(5.0)
    far[4].quality(far[5], 1.0, 0.0, times=9)
    made.run(30.0)
    row = far[0].row(user)
    assert row is not None
    assert row.cost == 8 * 16 + 160
    made.unlink(far[7], far[8])
    made.run(1.0)
    assert all(router.row(user) is None for router in far)
    assert far[0].lost[-2:] == [user, address_of(far[8].identity)]


def test_a_cached_route_is_kept_up_to_date_long_after_it_was_asked_for() -> None:
    made, far = line()
    user = far[8].user
    far[4].quality(far[5], 1.0, 0.0)
    made.run(30.0)
    far[0].want(user)
    made.run(600.0)
    far[4].quality(far[5], 0.0, 0.0)
    made.run(30.0)
    row = far[0].row(user)
    assert row is not None
    assert row.cost == 8 * 16


def test_a_cached_route_that_nobody_uses_is_forgotten_and_one_in_use_is_not() -> None:
    made, far = line()
    for router in (far[8], far[7]):
        far[0].want(router.user)
    made.run(5.0)
    for _ in range(10):
        for router in far:
            router.routing.next_hops(far[7].user, made.now)
        made.run(600.0)
    assert far[0].row(far[8].user) is None
    assert far[4].row(far[8].user) is None
    assert far[6].row(far[8].user) is not None, "it is near"
    assert made.follow(far[0], far[7].user) == list("abcdefgh")
    made.settled()


def test_a_link_that_stopped_waiting_is_told_nothing() -> None:
    made, far = line(3, asked_s=5.0)
    made.inject(far[0], far[1], ask(STRANGER.address, 1))
    made.run(6.0)
    found = sign_announce(STRANGER, node=SecretIdentity(b"f" * 32).identity, boot=1, counter=1)
    made.inject(far[2], far[1], Route(5, 80, found))
    assert far[1].row(STRANGER.address) is not None, "the memory is swept by the queries that come"
    assert far[1].told(STRANGER.address) == set()
    made.inject(far[0], far[1], ask(NOBODY, 2))
    made.inject(far[0], far[1], ask(far[2].user, 3))
    assert list(far[1].routing.queries._asked) == [NOBODY, far[2].user]


def test_the_answer_goes_to_all_who_wait_and_are_still_there() -> None:
    made = RoutingNet()
    middle = made.add("m")
    others = [made.add(name) for name in "abc"]
    for other in others:
        made.link(middle, other)
    made.run(10.0)
    for n, other in enumerate(others[:2]):
        made.inject(other, middle, ask(STRANGER.address, n + 1))
    made.unlink(middle, others[1])
    made.inject(others[2], middle, ask(STRANGER.address, 3))
    found = sign_announce(STRANGER, node=SecretIdentity(b"f" * 32).identity, boot=1, counter=1)
    made.inject(others[2], middle, Route(5, 80, found))
    assert middle.told(STRANGER.address) == {"a"}
    made.stop(others[0])
    made.stop(others[2])
    assert [set(links) for links in middle.routing.queries._asked.values()] == [{0}], "it waits for it itself"


def test_whoever_asks_again_was_not_helped_so_the_query_goes_on_to_the_owner_who_announces_anew() -> None:
    made, far = line()
    user = far[8].user
    number = far[0].number(far[1])
    counters = []
    for _ in range(6):
        far[0].do(lambda: far[0].routing.disprove(user, number, made.now))
        assert far[0].hops(user) == ()
        far[0].want(user)
        made.run(5.0)
        assert made.follow(far[0], user) == list("abcdefghi")
        counters.append(far[8].users.announces()[0].counter)
    assert counters == [1, 1, 1, 1, 2, 2], "a link nearer each time, and anew once a minute"
    made.run(60.0)
    far[0].do(lambda: far[0].routing.disprove(user, number, made.now))
    far[0].want(user)
    made.run(30.0)
    assert far[8].users.announces()[0].counter == 3
    row = far[6].row(user)
    assert row is not None
    made.settled()


def test_a_neighbour_answers_what_it_has_told_before() -> None:
    made, far = line(3)
    user = far[2].user
    number = far[0].number(far[1])
    far[0].do(lambda: far[0].routing.disprove(user, number, made.now))
    far[0].want(user)
    made.run(1.0)
    assert far[0].hops(user) == ("b",)


def test_a_way_that_leads_back_is_no_answer() -> None:
    made, far = line(4)
    number = far[1].number(far[0])
    user = far[0].user
    far[1].do(lambda: far[1].routing.disprove(user, number, made.now))
    before = len(made.frames)
    made.inject(far[1], far[2], Query(0, user, STRANGER.identity, 1, 1, ask(user, 1).signature))
    made.run(1.0)
    assert not [entry for entry in made.sent(Route, since=before) if entry[:2] == ("c", "b")]
    assert ("c", "d") in queries(made, since=before)


def test_an_answer_over_the_neighbours_pace_waits_its_turn() -> None:
    made, far = line(6, route_rate=1.0, route_burst=2, max_users=40)
    users = [far[5].add_user(bytes([n]) * 32) for n in range(6)]
    made.run(100.0)
    for user in users:
        far[0].want(user)
    made.run(1.0)
    assert 0 < sum(far[0].row(user) is not None for user in users) < 6
    made.run(20.0)
    assert all(far[0].row(user) is not None for user in users)


# --- hostile ---------------------------------------------------------------------------------------------


def test_a_forged_query_costs_the_neighbour_its_link_and_goes_no_farther() -> None:
    made, far = line(3)
    made.inject(far[0], far[1], replace(ask(NOBODY, 1), target=far[2].user))
    assert far[1].complaints == ["a query with a false signature"]
    assert queries(made) == []
    made.inject(far[0], far[1], ask(NOBODY, 1))
    assert len(queries(made)) == 1, "the asker it names has lost nothing by it"


def test_a_replayed_query_is_dropped_however_late() -> None:
    made, far = line(3, query_rate=1000.0, asker_rate=1000.0)
    heard = [ask(NOBODY, counter) for counter in (1, 2, 40, 8, 30, 1 << 31, (1 << 31) - 1)]
    for query in heard:
        made.inject(far[0], far[1], query)
    passed = len(queries(made))
    assert passed == 6, "8 is too old beside 40"
    made.run(3600.0)
    for query in heard:
        made.inject(far[0], far[1], query)
        made.inject(far[2], far[1], query)
    assert len(queries(made)) == passed
    made.inject(far[0], far[1], ask(NOBODY, 0, boot=2))
    assert len(queries(made)) == passed + 1
    made.inject(far[0], far[1], ask(NOBODY, 77, boot=1))
    assert len(queries(made)) == passed + 1


def test_ones_own_query_that_comes_back_is_dropped() -> None:
    made, far = line(3)
    far[1].want(NOBODY)
    (frame,) = {frame for _, _, frame in made.sent(Query)}
    made.inject(far[0], far[1], frame)
    assert far[1].counts["query.duplicate"] == 1


def test_a_flood_of_queries_is_cut_to_the_links_and_the_askers_rate() -> None:
    made, far = line(3, query_rate=1.0, query_burst=10, asker_burst=4, asker_rate=0.5)
    for counter in range(1, 9):
        made.inject(far[0], far[1], ask(NOBODY, counter))
    assert len(queries(made)) == 4
    for n in range(1, 40):
        made.inject(far[0], far[1], ask(NOBODY, 1, asker=SecretIdentity(bytes([n]) * 32)))
    assert len(queries(made)) == 4 + 2
    assert far[1].counts["query.over_rate"] == 4 + 37
    assert far[1].complaints == []


def test_what_is_remembered_of_queries_is_bounded() -> None:
    made, far = line(3, query_rate=1e6, query_burst=10**6, askers=8, asked=8)
    for n in range(50):
        asker = SecretIdentity(bytes([n]) * 32)
        made.inject(far[0], far[1], ask(asker.address, 1, asker=asker))
    inside = far[1].routing.queries
    assert len(inside._askers) == len(inside._answered) == len(inside._asked) == 8


def test_false_far_routes_answer_no_question_but_are_dropped_when_proven_wrong() -> None:
    made, far = line(4)
    user = STRANGER.address
    far[1].want(user)
    made.run(0.1)
    lie = sign_announce(STRANGER, node=SecretIdentity(b"f" * 32).identity, boot=1, counter=1)
    made.inject(far[0], far[1], Route(1, 16, lie))
    assert far[1].hops(user) == ("a",)
    number = far[1].number(far[0])
    far[1].do(lambda: far[1].routing.disprove(user, number, made.now))
    assert far[1].hops(user) == ()


def test_frames_of_queries_and_routes_are_all_there_is() -> None:
    made, far = line(5)
    far[0].want(far[4].user)
    made.run(100.0)
    kinds: set[type[Frame]] = {type(frame) for _, _, frame in made.frames}
    assert kinds <= {Announce, Route, Retract, Query}
    assert Limits().search_min_s < Limits().search_max_s

"""The table of routes: which offers can close no loop, which is taken, and who gives way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qpq.crypto.identity import Identity, SecretIdentity
from qpq.mesh.limits import Limits
from qpq.mesh.routes import UNUSABLE, Destination, Offer, Routes, alike
from qpq.wire.frames_mesh import Announce

if TYPE_CHECKING:
    from qpq.crypto.identity import Address

USER = SecretIdentity(b"u" * 32).address
NODE, OTHER = Identity(b"n" * 32), Identity(b"o" * 32)


def announce(counter: int = 1, node: Identity = NODE, address: Address = USER, boot: int = 1) -> Announce:
    return Announce(0, address, node, boot, counter, 0, b"", bytes(64))


def offer(hops: int, cost: int, counter: int = 1, node: Identity = NODE) -> Offer:
    return Offer(hops, cost, announce(counter, node))


def table(links: int = 3, **limits: float) -> Routes:
    routes = Routes(Limits(**limits))  # type: ignore[arg-type]
    routes.costs.update(dict.fromkeys(range(1, links + 1), 16))
    return routes


def destination(routes: Routes, **offers: Offer) -> Destination:
    """Add a destination with an offer for each link that is named as l1, l2, ..."""
    new, gone = routes.add(next(iter(offers.values())).announce, 1, 1, 5.0)
    assert new is not None
    assert gone is None
    for link, one in offers.items():
        new.offers[int(link[1:])] = one
    routes.renew(new)
    routes.choose(new)
    return new


def fill(routes: Routes, number: int, link: int, hops: int) -> tuple[Destination | None, Destination | None]:
    """Offer the ``number``-th address over a link."""
    address = SecretIdentity(number.to_bytes(32, "big")).address
    one = Offer(hops, 16 * hops, announce(address=address))
    new, gone = routes.add(one.announce, link, hops + 1, 5.0)
    if new is not None:
        new.offers[link] = one
        routes.choose(new)
    return new, gone


def test_the_cheapest_offer_is_taken_with_the_links_own_cost() -> None:
    routes = table()
    routes.costs[1] = 64
    new = destination(routes, l1=offer(1, 16), l2=offer(2, 32))
    assert new.chosen == 2
    assert new.route == offer(3, 48)


def test_nothing_changes_for_an_offer_that_is_only_as_cheap() -> None:
    routes = table()
    new = destination(routes, l2=offer(1, 16))
    new.offers[1] = offer(1, 16)
    assert not routes.choose(new)
    assert new.chosen == 2
    new.offers[3] = offer(0, 0)
    assert routes.choose(new)
    assert new.chosen == 3


def test_a_route_is_left_for_one_that_is_a_quarter_cheaper() -> None:
    routes = table()
    new = destination(routes, l2=offer(1, 84))
    new.offers[1] = offer(1, 64)
    assert not routes.choose(new)
    new.offers[1] = offer(1, 63)
    assert routes.choose(new)
    assert new.chosen == 1


def test_routes_are_alike_whose_cost_is_less_than_twice_the_others() -> None:
    assert alike(None, None)
    assert not alike(None, offer(1, 16))
    assert not alike(offer(1, 16), None)
    assert alike(offer(1, 16), offer(1, 31))
    assert alike(offer(1, 31), offer(1, 16))
    assert not alike(offer(1, 16), offer(1, 32))
    assert not alike(offer(1, 16), offer(2, 16))
    assert not alike(offer(1, 16), offer(1, 16, counter=2))


def test_of_routes_as_cheap_the_one_with_fewer_links_is_taken_first() -> None:
    assert destination(table(), l1=offer(2, 48), l2=offer(1, 48)).chosen == 2


def test_only_what_is_better_than_what_was_told_is_feasible() -> None:
    new = destination(table(), l1=offer(1, 16))
    assert new.feasible(offer(9, 5000))
    new.told(offer(2, 32))
    assert new.feasible(offer(1, 31))
    assert not new.feasible(offer(1, 32))
    assert new.feasible(offer(9, 5000, counter=2))
    assert not new.feasible(offer(1, 16, counter=0))
    new.told(offer(2, 64))
    assert not new.feasible(offer(1, 32)), "the best that was ever told counts"
    new.told(offer(2, 64, counter=2))
    assert new.feasible(offer(1, 63, counter=2)), "a newer announce begins anew"
    assert new.feasible(offer(0, 0, counter=0)), "who serves the address cannot send in a circle"


def test_an_announce_after_a_restart_is_newer_whatever_its_counter() -> None:
    new = destination(table(), l1=offer(1, 16, counter=9))
    new.told(offer(2, 32, counter=9))
    assert new.feasible(Offer(1, 500, announce(1, boot=2)))


def test_a_cheaper_offer_that_is_not_feasible_is_noted() -> None:
    routes = table()
    new = destination(routes, l1=offer(1, 16))
    assert not new.starved
    new.told(offer(2, 32))
    new.offers = {1: offer(1, 100, counter=2), 2: offer(1, 40)}
    routes.choose(new)
    assert (new.chosen, new.starved) == (1, True)
    del new.offers[1]
    assert routes.choose(new)
    assert (new.chosen, new.route, new.starved) == (None, None, True)


def test_a_cost_stays_one_that_can_be_told() -> None:
    routes = table()
    new = destination(routes, l1=offer(9, UNUSABLE - 2))
    assert new.route is not None
    assert new.route.cost == UNUSABLE - 1


def test_an_announce_of_a_new_node_makes_the_old_nodes_offers_void() -> None:
    routes = table()
    new = destination(routes, l1=offer(0, 0), l2=offer(3, 48, counter=2, node=OTHER))
    assert new.announce.node == OTHER
    assert new.chosen == 2
    assert routes.find(NODE) is None  # type: ignore[arg-type]
    assert routes.find(OTHER) is new  # type: ignore[arg-type]
    del new.offers[2]
    assert routes.renew(new), "what is left counts again"
    assert routes.find(NODE) is new  # type: ignore[arg-type]
    new.offers[1] = offer(0, 0, counter=7)
    assert not routes.renew(new), "a newer announce of the same node moves nobody"
    assert new.announce == announce(7)
    new.offers.clear()
    assert not routes.renew(new)


def test_a_verified_announce_is_known_again() -> None:
    new = destination(table(), l1=offer(1, 16), l2=offer(1, 16, counter=2))
    assert new.known(announce(2)) is new.announce
    assert new.known(announce(1)) is new.offers[1].announce
    assert new.known(announce(3)) is None


def test_a_node_is_reached_by_the_nearest_of_its_users() -> None:
    routes = table()
    far, _ = fill(routes, 1, 1, 3)
    near, _ = fill(routes, 2, 2, 1)
    lost, _ = fill(routes, 3, 3, 0)
    assert far is not None
    assert lost is not None
    lost.offers.clear()
    assert routes.find(NODE) is near  # type: ignore[arg-type]
    assert routes.find(far.address) is far
    assert routes.find(lost.address) is None
    assert routes.nodes() == (NODE,)
    for one in tuple(routes):
        routes.remove(one)
    assert routes.nodes() == ()
    assert len(routes) == 0


def test_a_held_destination_is_no_nearer_than_one_with_a_route() -> None:
    routes = table()
    held, _ = fill(routes, 1, 1, 1)
    near, _ = fill(routes, 2, 2, 3)
    assert held is not None
    held.route = held.chosen = None
    assert routes.find(NODE) is near  # type: ignore[arg-type]


def test_a_full_table_lets_the_farthest_of_the_busiest_link_give_way() -> None:
    routes = table(2, routes=4)
    for number, hops in enumerate((1, 3, 2, 1)):
        fill(routes, number, 1, hops)
    new, gone = fill(routes, 9, 2, 3)
    assert new is not None
    assert gone is not None
    assert gone.route is not None
    assert gone.route.hops == 4
    assert len(routes) == 4


def test_a_link_that_has_its_share_can_only_displace_what_it_brought_farther() -> None:
    routes = table(2, routes=4)
    for number, (link, hops) in enumerate(((1, 1), (1, 2), (2, 3), (2, 3))):
        fill(routes, number, link, hops)
    assert fill(routes, 8, 1, 3) == (None, None)
    new, gone = fill(routes, 9, 1, 0)
    assert new is not None
    assert gone is not None
    assert gone.chosen == 1
    assert gone.route is not None
    assert gone.route.hops == 3


def test_what_has_no_route_gives_way_first_and_what_was_used_last_stays_longest() -> None:
    routes = table(2, routes=4, route_idle_s=100.0)
    earlier, _ = fill(routes, 1, 1, 3)
    later, _ = fill(routes, 2, 1, 3)
    idle, _ = fill(routes, 3, 1, 1)
    lost, _ = fill(routes, 4, 1, 1)
    assert earlier is not None
    assert later is not None
    assert lost is not None
    earlier.used, later.used = 3.0, 4.0
    lost.offers.clear()
    routes.choose(lost)
    assert fill(routes, 5, 2, 3)[1] is lost
    assert fill(routes, 6, 2, 3)[1] is idle
    assert fill(routes, 7, 1, 0) == (None, None), "the link's share is in use"
    new, gone = routes.add(announce(address=SecretIdentity(b"7" * 32).address), 1, 0, 5.0)
    assert new is not None, "what was asked for gets a place even so"
    assert gone is earlier


def test_a_held_destination_counts_for_the_link_that_offers_it() -> None:
    routes = table(2, routes=2)
    held, _ = fill(routes, 1, 1, 1)
    fill(routes, 2, 1, 1)
    assert held is not None
    held.told(Offer(1, 1, held.announce))
    routes.choose(held)
    assert held.chosen is None
    assert fill(routes, 3, 2, 1)[1] is held


@pytest.mark.parametrize("links", [0, 9])
def test_a_table_smaller_than_the_number_of_links_still_has_a_share_for_each(links: int) -> None:
    routes = table(links, routes=2)
    routes.costs.setdefault(1, 16)
    fill(routes, 1, 1, 1)
    fill(routes, 2, 1, 1)
    assert fill(routes, 3, 1, 1) == (None, None)
    routes.costs[2] = 16
    assert fill(routes, 4, 2, 2)[0] is not None

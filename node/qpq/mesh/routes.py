"""The table of routes: what neighbours offer for each address, which offer is taken, and who gives way.

The rule against loops is Babel's feasibility (RFC 8966 section 3.5.1): an offer is taken only if
its announce is newer, or as new and its cost smaller, than the best this node has ever told
(``Destination.limit``). A node that has lost its route, or whose route has become worse than one
the limit forbids, tells so and waits until that has gone round before it lifts the limit; so
nobody need be asked for a newer announce.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from qpq.wire.announce import GATEWAY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.limits import Limits
    from qpq.wire.frames_mesh import Announce

PERFECT = 16
"""The cost of a link that loses nothing and answers at once."""
UNUSABLE = 0xFFFF
MAX_HOPS = 64
MUCH = 1.25
"""By so much another route must be cheaper before it is taken in place of the present one."""

Rank: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Offer:
    """A neighbour's route, as it says: ``hops`` links of ``cost`` from it to the user's node; 0: it is that node."""

    hops: int
    cost: int
    announce: Announce


def newness(announce: Announce) -> tuple[int, int, Identity]:
    """Return by what the newer of two announces of one address is told; of two as new the node decides."""
    return announce.boot, announce.counter, announce.node


def alike(one: Offer | None, other: Offer | None) -> bool:
    """Whether two routes are so much alike that who was told one need not be told the other."""
    if one is None or other is None:
        return one is other
    least, most = sorted((one.cost, other.cost))
    return (one.hops, one.announce) == (other.hops, other.announce) and most < 2 * max(1, least)


def rank(announce: Announce, cost: int) -> Rank:
    """Return what orders routes for feasibility: newer announces first, then smaller costs."""
    return -announce.boot, -announce.counter, cost


class Destination:
    """One address: its newest announce, the offers by link, and the route that is taken (``chosen``, ``route``).

    ``route`` is an Offer as this node would tell it; ``since`` and ``used`` are seconds, ``used`` 0: never.
    ``starved``: an offer would be cheaper, but is not feasible; ``held``: the limit is lifted in a while.
    """

    __slots__ = ("address", "announce", "chosen", "held", "limit", "offers", "route", "since", "starved", "used")

    def __init__(self, announce: Announce, now: float) -> None:
        self.address = announce.address
        self.announce = announce
        self.offers: dict[int, Offer] = {}
        self.chosen: int | None = None
        self.route: Offer | None = None
        self.limit: Rank | None = None
        self.held = self.starved = False
        self.since = now
        self.used = 0.0

    def known(self, announce: Announce) -> Announce | None:
        """Return the verified announce that equals ``announce``; None: it has not been seen."""
        if announce == self.announce:
            return self.announce
        for offer in self.offers.values():
            if offer.announce == announce:
                return offer.announce
        return None

    def feasible(self, offer: Offer) -> bool:
        """Whether taking ``offer`` can close no loop."""
        return not offer.hops or self.limit is None or rank(offer.announce, offer.cost) < self.limit

    def valid(self, offer: Offer) -> bool:
        """Whether ``offer`` leads to the node that the newest announce names."""
        return offer.announce.node == self.announce.node

    def told(self, route: Offer) -> None:
        """Note that ``route`` has been told to a neighbour: from now on only better ones are feasible."""
        told = rank(route.announce, route.cost)
        self.limit = told if self.limit is None else min(self.limit, told)


class Routes:
    """At most ``limits.routes`` destinations.

    When it is full, something must give way to a newcomer: of what came over the newcomer's own
    link if that has its share of the table, else of what came over the link that brought most.
    There goes first what has no route, then the farthest of what nobody has used for
    ``route_idle_s``, then what was used longest ago. Within its own share a newcomer that is no
    nearer is refused, unless it was asked for.
    """

    __slots__ = ("_by_address", "_by_node", "_gateways", "_limits", "costs", "doubts")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_address: dict[Address, Destination] = {}
        self._by_node: dict[Identity, list[Address]] = {}
        self._gateways: dict[Address, Destination] = {}
        self.costs: dict[int, int] = {}
        """Of each usable link, in sixteenths of a perfect one."""
        self.doubts: dict[int, int] = {}
        """By what the routes of a usable link cost more than its neighbour says, who may be doubted (mesh.scores)."""

    def __len__(self) -> int:
        """Return how many destinations are in the table, those without a route too."""
        return len(self._by_address)

    def __iter__(self) -> Iterator[Destination]:
        """Go through the destinations; the table may change meanwhile."""
        return iter(tuple(self._by_address.values()))

    def get(self, address: Address) -> Destination | None:
        """Return the destination with this very address."""
        return self._by_address.get(address)

    def find(self, address: Address) -> Destination | None:
        """Return the destination of an address, or the nearest that is attached to the node of that id."""
        found = self._by_address.get(address)
        if found is not None and found.offers:
            return found
        users = [self._by_address[user] for user in self._by_node.get(address, ())]  # type: ignore[call-overload]
        return min((user for user in users if user.offers), key=_distance, default=None)

    def nodes(self) -> tuple[Identity, ...]:
        """Return the nodes to which destinations are attached."""
        return tuple(self._by_node)

    def gateways(self) -> tuple[Destination, ...]:
        """Return the gateways to which there is a route, the nearest first."""
        return tuple(sorted((one for one in self._gateways.values() if one.route is not None), key=_distance))

    def add(
        self, announce: Announce, link: int, distance: int, now: float
    ) -> tuple[Destination | None, Destination | None]:
        """Make a place for a verified announce that came over ``link``.

        ``distance`` is in links from here, 0 where the address was asked for. Returns the new
        destination (None: there is no place for it) and the one that gave way.
        """
        gone = None
        if len(self._by_address) >= self._cap:
            gone = self._gives_way(link, distance, now)
            if gone is None:
                return None, None
            self.remove(gone)
        new = self._by_address[announce.address] = Destination(announce, now)
        self._list(new)
        return new, gone

    def surplus(self) -> list[Destination]:
        """Return what there is too much of: without a route, then not used for longest, then far."""
        over = max(0, len(self._by_address) - self._cap)
        return sorted(self._by_address.values(), key=lambda each: (each.chosen is not None, each.used, -_hops(each)))[
            :over
        ]

    @property
    def _cap(self) -> int:
        return self._limits.room.of(self._limits.routes)

    def remove(self, gone: Destination) -> None:
        """Forget a destination."""
        del self._by_address[gone.address]
        self._unlist(gone)

    def renew(self, destination: Destination) -> bool:
        """Believe the newest announce that is offered; whether the user thereby moves to another node.

        What neighbours offer of an older node stays, void, until nobody offers the newer one any more.
        """
        newest = max((offer.announce for offer in destination.offers.values()), key=newness, default=None)
        if newest is None or newest == destination.announce:
            return False
        moved = newest.node != destination.announce.node
        self._unlist(destination)
        destination.announce = newest
        self._list(destination)
        return moved

    def choose(self, destination: Destination) -> bool:
        """Take the cheapest feasible offer, the present one where none is much cheaper; whether the route changed."""
        costs, doubts = self.costs, self.doubts
        best: tuple[float, bool, int, int, int] | None = None
        least = UNUSABLE
        for link, offer in destination.offers.items():
            if destination.valid(offer):
                cost = min((offer.cost + costs[link]) * doubts.get(link, 1), UNUSABLE - 1)
                least = min(least, cost)
                if destination.feasible(offer):
                    present = link == destination.chosen
                    key = (cost if present else cost * MUCH, not present, offer.hops, cost, link)
                    best = key if best is None or key < best else best
        destination.starved = least * MUCH < (UNUSABLE if best is None else best[3])
        before = destination.route
        if best is None:
            destination.chosen = destination.route = None
        else:
            destination.chosen = best[4]
            announce = destination.offers[best[4]].announce
            destination.route = Offer(best[2] + 1, best[3], announce)
        return destination.route != before

    def _gives_way(self, link: int, distance: int, now: float) -> Destination | None:
        brought: dict[int | None, int] = {}
        for other in self._by_address.values():
            source = _source(other)
            brought[source] = brought.get(source, 0) + 1
        busiest: int | None = link
        if brought.get(None):
            busiest = None
        elif brought.get(link, 0) < max(1, self._cap // max(1, len(self.costs))):
            busiest = max(brought, key=brought.__getitem__)
        idle = max(0.0, now - self._limits.route_idle_s)

        def dispensable(other: Destination) -> tuple[bool, float]:
            return (True, _hops(other)) if other.used <= idle else (False, -other.used)

        victim = max((other for other in self._by_address.values() if _source(other) == busiest), key=dispensable)
        if busiest == link and distance and (victim.used > idle or _hops(victim) <= distance):
            return None
        return victim

    def _list(self, destination: Destination) -> None:
        announce = destination.announce
        self._by_node.setdefault(announce.node, []).append(announce.address)
        if announce.capabilities & GATEWAY:
            self._gateways[announce.address] = destination

    def _unlist(self, destination: Destination) -> None:
        node = destination.announce.node
        self._gateways.pop(destination.address, None)
        self._by_node[node].remove(destination.address)
        if not self._by_node[node]:
            del self._by_node[node]


def _source(destination: Destination) -> int | None:
    """Return the link that a destination is charged to; None: it has no route."""
    if destination.chosen is not None:
        return destination.chosen
    return next(iter(destination.offers), None)


def _hops(destination: Destination) -> int:
    return MAX_HOPS if destination.route is None else destination.route.hops


def _distance(destination: Destination) -> tuple[int, bytes]:
    return UNUSABLE if destination.route is None else destination.route.cost, destination.address

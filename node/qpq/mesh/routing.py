"""Routes to users and their nodes: what neighbours announce and offer, and where a message goes next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpq.crypto.identity import Identity, address_of
from qpq.mesh.effects import SendFrame
from qpq.mesh.hearing import Hearing
from qpq.mesh.queries import Queries
from qpq.mesh.routes import Routes, newness
from qpq.mesh.rows import RouteRow
from qpq.mesh.scores import Scores
from qpq.mesh.telling import Telling
from qpq.wire.frames_mesh import Retract

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.mesh.chance import Chance
    from qpq.mesh.collecting import Effects
    from qpq.mesh.due import Timer
    from qpq.mesh.hearing import RouteListener
    from qpq.mesh.limits import Limits
    from qpq.mesh.served import Served
    from qpq.mesh.timers import Timers
    from qpq.mesh.users import Users

_LOOP = 16
"""What a way costs more that could close a loop: it is tried after all others but those of which much is known that
speaks against them, as it would be where these say that they are next to everybody."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A neighbour that leads to an address in ``hops`` links (1: it serves it) of ``cost`` in all."""

    link: int
    peer: Identity
    hops: int
    cost: int


class Routing:
    """The machines for routes behind one face: ``hearing``, ``telling`` and ``queries`` share the table.

    The table is hard state: links are reliable and ordered, so what a neighbour said holds until it
    says otherwise or the link ends, and at rest nothing is sent.
    """

    __slots__ = ("_effects", "_routes", "_scores", "_served", "_users", "hearing", "queries", "telling")

    def __init__(
        self,
        node: SecretIdentity,
        *,
        boot: int,
        limits: Limits,
        chance: Chance,
        timers: Timers[Timer],
        effects: Effects,
        users: Users,
        served: Served,
        leaf: bool,
    ) -> None:
        self._effects = effects
        self._users = users
        self._served = served
        self._routes = routes = Routes(limits)
        self._scores = Scores(limits)
        self.queries = queries = Queries(
            node,
            boot=boot,
            limits=limits,
            chance=chance,
            timers=timers,
            effects=effects,
            users=users,
            served=served,
            routes=routes,
            leaf=leaf,
        )
        self.telling = queries.telling = Telling(
            limits=limits,
            chance=chance,
            timers=timers,
            effects=effects,
            routes=routes,
            leaf=leaf,
            asked=queries.asked,
        )
        self.hearing = Hearing(
            node.identity,
            limits=limits,
            timers=timers,
            effects=effects,
            users=users,
            served=served,
            routes=routes,
            telling=self.telling,
            queries=queries,
            scores=self._scores,
        )

    # --- what other machines use -------------------------------------------------------------------------

    @property
    def listeners(self) -> list[RouteListener]:
        """Who is told that addresses can be reached or not any more; add to it."""
        return self.hearing.listeners

    def next_hops(self, address: Address, now: float) -> tuple[Hop, ...]:
        """Return the neighbours that lead to an address or a node's id, the best first.

        In front are those that serve it, then the others; each by cost, in which the neighbour's score is, and
        whether it could close a loop.
        """
        ways: dict[int, tuple[bool, float, bool, Hop]] = {}
        destination = self._routes.find(address)
        if destination is not None:
            destination.used = now
            for link, offer in destination.offers.items():
                if destination.valid(offer):
                    hop = self._hop(link, offer.hops + 1, offer.cost)
                    weighed = self._scores.weighed(hop.cost, hop.peer, now)
                    loop = 1 if destination.feasible(offer) else _LOOP
                    ways[link] = (offer.hops > 0, weighed * loop, link != destination.chosen, hop)
        served = self._served.link_for(address)
        if served is not None and served not in ways and served in self._routes.costs:
            hop = self._hop(served, 1, 0)
            ways[served] = (False, self._scores.weighed(hop.cost, hop.peer, now), True, hop)
        return tuple(way[3] for way in sorted(ways.values(), key=_preference))

    def distance(self, address: Address) -> int:
        """Return how many links the route to an address has; 0: there is none."""
        if self._served.link_for(address) is not None:
            return 1
        destination = self._routes.find(address)
        return 0 if destination is None or destination.route is None else destination.route.hops

    def gateways(self) -> tuple[Address, ...]:
        """Return the addresses of other nodes' gateways to which there is a route, the nearest first."""
        return tuple(destination.address for destination in self._routes.gateways())

    def boot(self, address: Address) -> int | None:
        """Return how often the node of an address had started when it announced that; None: there is no route."""
        destination = self._routes.get(address)
        return None if destination is None or destination.route is None else destination.announce.boot

    def link_cost(self, number: int) -> int:
        """Return what a usable link costs, in sixteenths of a perfect one."""
        return self._routes.costs[number]

    def wanted(self, address: Address, now: float, *, own: bool = True) -> None:
        """Ask the mesh for an address to which there is no route; call it again to keep the search going.

        ``own``: a user here wants it; else it is for what is only relayed, and others may ask for that too.
        """
        self.queries.wanted(address, now, own=own)

    def disprove(self, address: Address, link: int, now: float) -> None:
        """Believe a neighbour's route no longer, since what was sent along it came back or was never confirmed."""
        self.hearing.withdraw(address, link, now)

    def score(self, peer: Identity, good: bool, now: float) -> None:
        """Count a receipt that came back through a neighbour, or one that did not come in time."""
        self._scores.note(peer, good=good)
        self.hearing.doubt(peer, now)

    def acted(self, user: Address) -> None:
        """Claim a local user who does something here, if another node was the last to announce it."""
        heard, local = self.hearing.outbid.pop(user, None), self._users.get(user)
        if heard is not None and local is not None and heard > newness(local.announce):
            self._users.renew(user, heard[:2])
            for number in self.telling.neighbours:
                self._effects.do(SendFrame(number, local.announce))

    def user_added(self, user: Address) -> None:
        """Forget routes to a user who is here now; call it before neighbours are told so."""
        self.hearing.take_over(user)

    def user_removed(self, user: Address) -> None:
        """Take back the announce of a user who is no longer here."""
        self.hearing.outbid.pop(user, None)
        for number in self.telling.neighbours:
            self._effects.do(SendFrame(number, Retract((user,))))

    # --- what people ask -----------------------------------------------------------------------------------

    def rows(self, now: float) -> tuple[RouteRow, ...]:
        """Return a row for each destination that has a route."""
        rows = []
        for destination in self._routes:
            if destination.route is not None and destination.chosen is not None:
                peer = self.telling.neighbours[destination.chosen].peer
                route = destination.route
                rows.append(
                    RouteRow(
                        address=destination.address,
                        node=route.announce.node,
                        next_hop=peer,
                        hops=route.hops,
                        cost=route.cost,
                        since=destination.since,
                        capabilities=route.announce.capabilities,
                        score=self._scores.of(peer, now),
                    )
                )
        return tuple(rows)

    def known(self) -> tuple[Address, ...]:
        """Return every address, and every node's id, that is in the table."""
        users = tuple(destination.address for destination in self._routes)
        return (*users, *(address_of(node) for node in self._routes.nodes()))

    def node_of(self, address: Address) -> Identity | None:
        """Return the node that serves an address."""
        destination = self._routes.find(address)
        return None if destination is None else destination.announce.node

    def _hop(self, link: int, hops: int, cost: int) -> Hop:
        return Hop(link, self.telling.neighbours[link].peer, hops, cost + self._routes.costs[link])


def _preference(way: tuple[bool, float, bool, Hop]) -> tuple[bool, float, bool, int]:
    return *way[:3], way[3].link

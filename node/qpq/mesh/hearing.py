"""What neighbours say of routes: announces and offers taken, the best of them chosen, losses repaired."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from qpq.crypto.identity import address_of
from qpq.mesh import counters
from qpq.mesh.askers import trim
from qpq.mesh.due import Due
from qpq.mesh.routes import MAX_HOPS, PERFECT, UNUSABLE, Offer, newness
from qpq.mesh.served import Heard
from qpq.wire.announce import verify_announce

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.collecting import Effects
    from qpq.mesh.due import Timer
    from qpq.mesh.events import LinkQuality
    from qpq.mesh.limits import Limits
    from qpq.mesh.links import Link
    from qpq.mesh.queries import Queries
    from qpq.mesh.routes import Destination, Routes
    from qpq.mesh.scores import Scores
    from qpq.mesh.served import Served
    from qpq.mesh.telling import Telling
    from qpq.mesh.timers import Timers
    from qpq.mesh.users import Users
    from qpq.wire.frames_mesh import Announce, Retract, Route

_SMOOTHING = 0.125
_HYSTERESIS = 2
"""A link's cost is told anew when the transmissions that it takes are so many times what they were, or were that."""
_RTT_COST = 160
"""What a second of round trip adds to the cost of a link: a perfect link for every 0.1 s."""
_LEAST_DELIVERED = 1 / 64
_MAX_LINK_COST = 4_096


class RouteListener(Protocol):
    """Who is told that an address, or a node's id, can be reached or not any more."""

    def route_found(self, address: Address, now: float) -> None:
        """``next_hops`` has something to say about an address."""
        ...

    def route_lost(self, address: Address, now: float) -> None:
        """``next_hops`` has nothing to say any more."""
        ...


class Hearing:
    """Takes what neighbours announce, offer and take back; all of it holds until they say otherwise.

    Announces of neighbours' own users are offers of 0 hops. A signature is verified once an announce, whoever brings
    it; who brings a false one misbehaves, for each node verifies before it tells. ``outbid`` are local users of whom
    another node has a newer announce. Of at most ``scores`` peers it is remembered what their last link cost.
    """

    __slots__ = (
        "_before",
        "_effects",
        "_limits",
        "_own",
        "_queries",
        "_routes",
        "_scores",
        "_served",
        "_sweeping",
        "_telling",
        "_timers",
        "_users",
        "listeners",
        "outbid",
    )

    def __init__(
        self,
        own: Identity,
        *,
        limits: Limits,
        timers: Timers[Timer],
        effects: Effects,
        users: Users,
        served: Served,
        routes: Routes,
        telling: Telling,
        queries: Queries,
        scores: Scores,
    ) -> None:
        self._own = own
        self._scores = scores
        self._limits = limits
        self._timers = timers
        self._effects = effects
        self._users = users
        self._served = served
        self._routes = routes
        self._telling = telling
        self._queries = queries
        self._sweeping = False
        self._before: dict[Identity, tuple[int, int]] = {}
        self.listeners: list[RouteListener] = []
        self.outbid: dict[Address, tuple[int, int, Identity]] = {}

    # --- links come and go -------------------------------------------------------------------------------

    def link_usable(self, link: Link, now: float) -> None:
        """Begin to tell a new neighbour what it should know; the link to one that was here costs what the last did."""
        etx, self._routes.costs[link.number] = self._before.pop(link.peer, (PERFECT, PERFECT))
        self._routes.doubts[link.number] = self._scores.doubt(link.peer, now)
        self._telling.open(link, now).etx = etx

    def link_gone(self, number: int, now: float) -> None:
        """Take other routes in place of those that a link carried; where there is none, tell so."""
        gone = self._telling.close(number, now)
        self._queries.link_gone(number)
        self._before[gone.peer] = gone.etx, self._routes.costs.pop(number)
        trim(self._before, self._limits.scores)
        del self._routes.doubts[number]
        for destination in [one for one in self._routes if one.offers.pop(number, None) is not None]:
            self._withdrawn(destination, now)
        self._telling.drain()

    def quality(self, event: LinkQuality, now: float) -> None:
        """Take how good a link is: what it costs follows the mean, and is told only where it differs much.

        A packet is lost where it or its acknowledgement is: that gives the expected transmissions (ETX: De Couto et al.
        2003). The cost goes with their square, since QUIC waits longer before each; and a long way adds to it.
        """
        neighbour = self._telling.neighbours.get(event.link)
        if neighbour is None:
            return
        neighbour.judged += 1
        weight = max(1 / neighbour.judged, _SMOOTHING)
        link = neighbour.link
        link.loss += weight * (min(max(event.loss, 0.0), 1.0) - link.loss)
        delivered, far = max(1 - link.loss, _LEAST_DELIVERED), max(event.rtt, 0.0) * _RTT_COST
        self._doubt(event.link, neighbour.peer, now)
        etx = int(PERFECT / delivered + far)
        if neighbour.etx < _HYSTERESIS * etx and etx < _HYSTERESIS * neighbour.etx:
            return
        neighbour.etx = etx
        self._routes.costs[event.link] = min(int(PERFECT / delivered**2 + far), _MAX_LINK_COST)
        self._weigh(event.link, now)

    def doubt(self, peer: Identity, now: float) -> None:
        """Choose anew where a neighbour's routes are believed no longer, or are so again."""
        for number, neighbour in self._telling.neighbours.items():
            if neighbour.peer == peer:
                self._doubt(number, peer, now)

    def withdraw(self, address: Address, link: int, now: float) -> None:
        """Forget what a link offers for an address, or for the node of that id."""
        destination = self._routes.find(address)
        if destination is not None and destination.offers.pop(link, None) is not None:
            self._withdrawn(destination, now)
            self._telling.drain()

    def take_over(self, user: Address) -> None:
        """Take a user's address out of the table: it is served here from now on."""
        destination = self._routes.get(user)
        if destination is not None:
            self.outbid[user] = newness(destination.announce)
            self._routes.remove(destination)
            self._timers.cancel((Due.ROUTE_HOLD, user))
            self._telling.taken_over(user)

    # --- what neighbours say -----------------------------------------------------------------------------------

    def announced(self, link: Link, announce: Announce, heard: Heard, now: float) -> str:
        """Take a neighbour's announce of an own user, which ``Served`` has judged, or of itself."""
        if heard not in (Heard.NEW, Heard.RENEWED):
            if heard is not Heard.STALE or announce.node != link.peer or announce.address != address_of(link.peer):
                return ""
            if not verify_announce(announce):
                self._effects.count(counters.ROUTE_FORGED)
                return "an announce with a false signature"
        return self._hear(link, replace(announce, hops=0), 0, 0, now)

    def route(self, link: Link, route: Route, now: float) -> str:
        """Take a neighbour's route."""
        if self._telling.neighbours[link.number].leaf:
            return ""
        announce = route.announce
        cost = max(route.cost, route.hops * PERFECT)
        if route.cost == UNUSABLE or route.hops >= MAX_HOPS:
            self._lost(link.number, announce.address, now)
            self._telling.drain()
            return ""
        self._effects.count(counters.ROUTE_HEARD)
        return self._hear(link, announce, route.hops, cost, now)

    def retract(self, link: Link, retract: Retract, now: float) -> str:
        """Take back a neighbour's routes."""
        for address in retract.addresses:
            self._served.forget(link.number, address)
            self._lost(link.number, address, now)
        self._telling.drain()
        return ""

    # --- timers --------------------------------------------------------------------------------------------

    def hold_due(self, address: Address, now: float) -> None:
        """Let a route that was lost, or became worse, be replaced by any: by now all who took it have heard of it."""
        destination = self._routes.get(address)
        if destination is None:
            return
        destination.held = False
        destination.limit = self._telling.limit(destination)
        if destination.offers:
            self._decide(destination, now)
            self._telling.drain()
        else:
            self._routes.remove(destination)

    def sweep_due(self, _key: int, now: float) -> None:
        """Forget far destinations that nobody uses."""
        self._sweeping = False
        for destination in self._routes:
            if not self._is_far(destination):
                continue
            if now - max(destination.used, destination.since) > self._limits.route_idle_s:
                self._forget(destination, now)
            else:
                self._sweep(now)
        self._telling.drain()

    def shrink(self, now: float) -> None:
        """Forget what there is no room for any more."""
        for destination in self._routes.surplus():
            self._effects.count(counters.ROUTE_EVICTED)
            self._forget(destination, now)
        self._telling.drain()

    # --- inside ----------------------------------------------------------------------------------------------

    def _hear(self, link: Link, announce: Announce, hops: int, cost: int, now: float) -> str:
        """Take an offer; what is returned, if anything, is why the link must end."""
        user = self._users.get(announce.address)
        if announce.node == self._own and user is None:
            return ""
        destination = self._routes.get(announce.address)
        known = None if destination is None else destination.known(announce)
        if known is None:
            complaint = self._check(link, announce, hops, now)
            if complaint is not None:
                return complaint
            known = announce
        if user is not None:
            if newness(announce) > newness(user.announce):
                before = self.outbid.get(announce.address, newness(user.announce))
                self.outbid[announce.address] = max(before, newness(announce))
            return ""
        if destination is None:
            destination = self._add(link.number, known, hops, now)
            if destination is None:
                return ""
        self._take(link.number, destination, Offer(hops, cost, known), now)
        self._telling.drain()
        return ""

    def _check(self, link: Link, announce: Announce, hops: int, now: float) -> str | None:
        """Look at an announce that is not known; None: it is right, else the complaint, or nothing."""
        if not hops:
            return None
        address = announce.address
        known = self._routes.get(address) is not None or self._users.get(address) is not None
        if hops >= self._limits.route_radius and not known and not self._queries.seeks(announce):
            self._effects.count(counters.ROUTE_UNASKED)
            return ""
        if not self._telling.neighbours[link.number].checks.take(1, now):
            self._effects.count(counters.ROUTE_OVER_RATE)
            self._lost(link.number, address, now)
            self._telling.drain()
            return ""
        if not verify_announce(announce):
            self._effects.count(counters.ROUTE_FORGED)
            return "a route with a false signature"
        return None

    def _add(self, link: int, announce: Announce, hops: int, now: float) -> Destination | None:
        sought = self._queries.seeks(announce)
        destination, gone = self._routes.add(announce, link, 0 if sought else hops + 1, now)
        if gone is not None:
            self._effects.count(counters.ROUTE_EVICTED)
            self._gone(gone, now)
        if destination is None:
            self._effects.count(counters.ROUTE_OVER_CAP)
        return destination

    def _take(self, link: int, destination: Destination, offer: Offer, now: float) -> None:
        destination.offers[link] = offer
        self._decide(destination, now)
        if not destination.valid(offer):
            self._effects.count(counters.ROUTE_STALE)
            self._outbids(destination, link, offer)

    def _doubt(self, link: int, peer: Identity, now: float) -> None:
        doubt = self._scores.doubt(peer, now)
        if self._routes.doubts[link] != doubt:
            self._routes.doubts[link] = doubt
            self._weigh(link, now)

    def _weigh(self, link: int, now: float) -> None:
        """Choose anew among all that a link offers."""
        for destination in self._routes:
            if link in destination.offers:
                self._decide(destination, now)
        self._telling.drain()

    def _lost(self, link: int, address: Address, now: float) -> None:
        destination = self._routes.get(address)
        if destination is not None and destination.offers.pop(link, None) is not None:
            self._withdrawn(destination, now)

    def _withdrawn(self, destination: Destination, now: float) -> None:
        self._decide(destination, now)
        if not destination.offers:
            self._tell_lost(destination, now)

    def _decide(self, destination: Destination, now: float) -> None:
        """Take the best offer, and tell whom it concerns if that changes anything."""
        before, far = destination.chosen, self._is_far(destination)
        moved = self._routes.renew(destination)
        changed = self._routes.choose(destination) or before != destination.chosen
        if moved:
            self._moved(destination)
        if destination.chosen is None:
            if changed:
                self._effects.count(counters.ROUTE_LOST)
                if far:
                    self._queries.expect(destination.address, now)
                self._telling.changed(destination, now)
                self._hold(destination, now + self._limits.route_hold_s)
            return
        if destination.starved and not destination.held:
            self._hold(destination, now + self._limits.route_hold_s * self._limits.route_radius)
            self._telling.changed(destination, now)
        if not changed:
            return
        self._telling.changed(destination, now)
        self._queries.found(destination, now)
        if far or self._is_far(destination):
            self._sweep(now)
        if before is None:
            destination.since = now
            for listener in self.listeners:
                listener.route_found(destination.address, now)
                listener.route_found(address_of(destination.announce.node), now)

    def _hold(self, destination: Destination, until: float) -> None:
        destination.held = True
        self._timers.set((Due.ROUTE_HOLD, destination.address), until)

    def _moved(self, destination: Destination) -> None:
        """Let the table of what neighbours serve agree with the newest announce."""
        for link, offer in destination.offers.items():
            if not destination.valid(offer):
                self._outbids(destination, link, offer)
            elif not offer.hops:
                self._served.adopt(link, offer.announce)

    def _outbids(self, destination: Destination, link: int, offer: Offer) -> None:
        """Let a neighbour that serves a user know that the user was announced elsewhere since, however far that is."""
        if not offer.hops and destination.route is not None:
            self._served.forget(link, destination.address)
            self._telling.correct(link, destination, destination.route)

    def _forget(self, destination: Destination, now: float) -> None:
        self._routes.remove(destination)
        self._gone(destination, now)

    def _gone(self, destination: Destination, now: float) -> None:
        """Tell of a destination that has left the table."""
        self._timers.cancel((Due.ROUTE_HOLD, destination.address))
        self._telling.forget(destination)
        if destination.offers:
            self._tell_lost(destination, now)

    def _tell_lost(self, destination: Destination, now: float) -> None:
        for address in (destination.address, address_of(destination.announce.node)):
            if self._routes.find(address) is None and self._served.link_for(address) is None:
                for listener in self.listeners:
                    listener.route_lost(address, now)

    def _is_far(self, destination: Destination) -> bool:
        return destination.route is not None and destination.route.hops > self._limits.route_radius

    def _sweep(self, now: float) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._timers.set((Due.ROUTE_SWEEP, 0), now + self._limits.route_sweep_s)

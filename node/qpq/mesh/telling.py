"""What each neighbour has been told of routes, and the pace at which it is told of changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.mesh import counters
from qpq.mesh.buckets import Bucket
from qpq.mesh.due import Due
from qpq.mesh.effects import SendFrame
from qpq.mesh.routes import MAX_HOPS, PERFECT, alike, rank
from qpq.wire.frames import Role
from qpq.wire.frames_mesh import MAX_RETRACTED, Retract, Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.chance import Chance
    from qpq.mesh.collecting import Effects
    from qpq.mesh.due import Timer
    from qpq.mesh.limits import Limits
    from qpq.mesh.links import Link
    from qpq.mesh.routes import Destination, Offer, Rank, Routes
    from qpq.mesh.timers import Timers

_MAX_FLAPS = 16


class Neighbour:
    """One usable link: what it was told, what is to be told, and the rates of what it may bring.

    ``held``: the link came and went lately, so nothing is told over it, nor of routes through it, for a while. ``etx``:
    transmissions that it took when its cost was told last, in sixteenths.
    """

    __slots__ = (
        "armed",
        "checks",
        "etx",
        "held",
        "judged",
        "leaf",
        "link",
        "number",
        "peer",
        "pending",
        "queries",
        "since",
        "tokens",
        "told",
    )

    def __init__(self, link: Link, limits: Limits, now: float) -> None:
        self.link = link
        self.number = link.number
        self.peer: Identity = link.peer
        self.leaf = link.hello is not None and link.hello.role is Role.LEAF
        self.judged = 0
        self.etx = PERFECT
        self.since = now
        self.held = False
        self.told: dict[Address, Offer] = {}
        self.pending: dict[Address, None] = {}
        self.armed = False
        self.tokens = Bucket(limits.route_rate, limits.route_burst, now)
        self.queries = Bucket(limits.query_rate, limits.query_burst, now)
        self.checks = Bucket(2 * limits.route_rate, limits.route_checks, now)


class Telling:
    """Tells each neighbour the routes it should know, each change once; nothing is ever repeated.

    Should know: every destination nearer than ``route_radius``, and those it asked for, except what
    it brought itself or serves (split horizon), ``routes_told`` of them: what it asked for and the
    nearest. A change waits a little, so that several become one; a loss and the answer to a query
    go at once; a cost is told anew when it has doubled or halved, or when the difference keeps this
    node from a better route (``Destination.starved``). A leaf, which carries nothing for others, tells nothing.

    A link that has come and gone more than once without lasting ``flap_s`` is waited for (as in the damping of
    RFC 2439), each time longer, before it counts: else each time would cost two tables, and news of it all around.
    Until then who was told of another route to where it leads goes on believing that: it still leads there.
    Of at most ``scores`` such peers the one that failed longest ago is forgotten.
    """

    __slots__ = (
        "_asked",
        "_chance",
        "_effects",
        "_flaps",
        "_leaf",
        "_limits",
        "_lost",
        "_routes",
        "_timers",
        "neighbours",
    )

    def __init__(
        self,
        *,
        limits: Limits,
        chance: Chance,
        timers: Timers[Timer],
        effects: Effects,
        routes: Routes,
        leaf: bool,
        asked: Callable[[Destination, int, float], bool],
    ) -> None:
        """``asked`` says whether a link (number) waits for the route to a destination, however far that is."""
        self._limits = limits
        self._chance = chance
        self._timers = timers
        self._effects = effects
        self._routes = routes
        self._leaf = leaf
        self._asked = asked
        self._lost: dict[int, dict[Address, None]] = {}
        self._flaps: dict[Identity, int] = {}
        self.neighbours: dict[int, Neighbour] = {}

    def open(self, link: Link, now: float) -> Neighbour:
        """Begin with a usable link: it is told everything in a while."""
        limits = self._limits
        neighbour = self.neighbours[link.number] = Neighbour(link, limits, now)
        flaps = self._flaps.get(link.peer, 0)
        if flaps > 1:
            neighbour.held = neighbour.armed = True
            wait = min(limits.flap_s, limits.flap_min_s * 2.0 ** (flaps - 2))
            self._timers.set((Due.ROUTES, link.number), now + self._chance.stretch(wait))
            return neighbour
        for destination in self._routes:
            self._settle(neighbour, destination, now)
        return neighbour

    def close(self, number: int, now: float) -> Neighbour:
        """Forget a link; return what was known of it."""
        neighbour = self.neighbours.pop(number)
        flaps = self._flaps.pop(neighbour.peer, 0)
        if now - neighbour.since < self._limits.flap_s:
            self._flaps[neighbour.peer] = min(flaps + 1, _MAX_FLAPS)
            if len(self._flaps) > self._limits.scores:
                del self._flaps[next(iter(self._flaps))]
        self._lost.pop(number, None)
        self._timers.cancel((Due.ROUTES, number))
        return neighbour

    def changed(self, destination: Destination, now: float) -> None:
        """Note that the route to a destination is another, or is lost."""
        for neighbour in self.neighbours.values():
            self._settle(neighbour, destination, now)

    def limit(self, destination: Destination) -> Rank | None:
        """Return the best that neighbours now believe of the route to a destination; None: nobody believes any."""
        told = [neighbour.told.get(destination.address) for neighbour in self.neighbours.values()]
        return min((rank(offer.announce, offer.cost) for offer in told if offer is not None), default=None)

    def forget(self, destination: Destination) -> None:
        """Take back what was told of a destination that leaves the table."""
        for neighbour in self.neighbours.values():
            neighbour.pending.pop(destination.address, None)
            self._take_back(neighbour, destination.address)

    def taken_over(self, address: Address) -> None:
        """Forget what was told of an address that this node serves from now on: its announce says more."""
        for neighbour in self.neighbours.values():
            neighbour.pending.pop(address, None)
            neighbour.told.pop(address, None)

    def answer(self, number: int, destination: Destination, now: float) -> bool:
        """Tell a link at once of a destination that it asked for; whether there is something to tell."""
        neighbour = self.neighbours[number]
        if self._wanted(neighbour, destination, now) is None:
            return False
        neighbour.told.pop(destination.address, None)
        self._settle(neighbour, destination, now)
        if self._tell(neighbour, destination, now):
            del neighbour.pending[destination.address]
            self.drain()
        return True

    def correct(self, number: int, destination: Destination, route: Offer) -> None:
        """Tell a link at once of the route to a destination, however far, which it believes to be another."""
        neighbour = self.neighbours[number]
        self._lost.get(number, {}).pop(destination.address, None)
        neighbour.told[destination.address] = route
        destination.told(route)
        self._effects.do(SendFrame(number, Route(route.hops, route.cost, route.announce)))

    def due(self, number: int, now: float) -> None:
        """Tell a link what has gathered for it, the nearest first, as much as may go at once."""
        neighbour = self.neighbours[number]
        neighbour.armed = False
        if neighbour.held:
            self._release(neighbour, now)
        waiting = [self._routes.get(address) for address in neighbour.pending]
        for destination in sorted((one for one in waiting if one is not None), key=_hops):
            if not self._tell(neighbour, destination, now):
                self._arm(neighbour, now)
                break
            del neighbour.pending[destination.address]
        self.drain()

    def drain(self) -> None:
        """Send what was taken back during an event, many in a frame."""
        for number, addresses in self._lost.items():
            lost = tuple(addresses)
            for start in range(0, len(lost), MAX_RETRACTED):
                self._effects.count(counters.ROUTE_RETRACTED)
                self._effects.do(SendFrame(number, Retract(lost[start : start + MAX_RETRACTED])))
        self._lost.clear()

    # --- inside ----------------------------------------------------------------------------------------

    def _wanted(self, neighbour: Neighbour, destination: Destination, now: float) -> Offer | None:
        """Return what a neighbour should know of a destination; None: nothing."""
        route, chosen = destination.route, destination.chosen
        if route is None or chosen is None or self._leaf or route.hops >= MAX_HOPS:
            return None
        if neighbour.peer in (route.announce.node, self.neighbours[chosen].peer):
            return None
        unheard = neighbour.held or self.neighbours[chosen].held
        far = route.hops >= self._limits.route_radius
        if (far or unheard) and not self._asked(destination, neighbour.number, now):
            told = neighbour.told.get(destination.address)
            if unheard:
                return told
            if told is None or told.hops < self._limits.route_radius:
                return None
        return route

    def _release(self, neighbour: Neighbour, now: float) -> None:
        """Let a link count that has lasted."""
        neighbour.held = False
        for destination in self._routes:
            if destination.chosen == neighbour.number:
                self.changed(destination, now)
            else:
                self._settle(neighbour, destination, now)

    def _settle(self, neighbour: Neighbour, destination: Destination, now: float) -> None:
        address = destination.address
        wanted, told = self._wanted(neighbour, destination, now), neighbour.told.get(address)
        if wanted == told or (alike(wanted, told) and not destination.starved):
            neighbour.pending.pop(address, None)
        elif wanted is None:
            neighbour.pending.pop(address, None)
            self._take_back(neighbour, address)
        else:
            neighbour.pending[address] = None
            self._arm(neighbour, now)

    def _arm(self, neighbour: Neighbour, now: float) -> None:
        if not neighbour.armed:
            neighbour.armed = True
            wait = self._limits.route_delay_s + self._limits.route_spread_s * self._chance.fraction()
            self._timers.set((Due.ROUTES, neighbour.number), now + wait)

    def _tell(self, neighbour: Neighbour, destination: Destination, now: float) -> bool:
        """Tell a neighbour of a route; False: not now."""
        address, route = destination.address, destination.route
        if route is None or not self._has_place(neighbour, destination, route, now):
            return True
        if not neighbour.tokens.take(1, now):
            return False
        self._lost.get(neighbour.number, {}).pop(address, None)
        neighbour.told[address] = route
        destination.told(route)
        self._effects.count(counters.ROUTE_TOLD)
        self._effects.do(SendFrame(neighbour.number, Route(route.hops, route.cost, route.announce)))
        return True

    def _has_place(self, neighbour: Neighbour, destination: Destination, route: Offer, now: float) -> bool:
        told = neighbour.told
        if destination.address in told or len(told) < self._limits.routes_told:
            return True
        farthest = max(told, key=lambda other: self._distance(told[other]))
        asked = self._asked(destination, neighbour.number, now)
        if not asked and self._distance(told[farthest]) <= self._distance(route):
            return False
        self._take_back(neighbour, farthest)
        return True

    def _distance(self, route: Offer) -> int:
        return route.hops if route.hops < self._limits.route_radius else 0

    def _take_back(self, neighbour: Neighbour, address: Address) -> None:
        if neighbour.told.pop(address, None) is not None:
            self._lost.setdefault(neighbour.number, {})[address] = None


def _hops(destination: Destination) -> int:
    return MAX_HOPS if destination.route is None else destination.route.hops

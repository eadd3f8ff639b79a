"""Routing machines joined in memory: frames pass as values, in order on each link, in virtual time.

What ``cores.World`` does for whole cores with real bytes, this does for routes alone, some ten
times faster; a frame that would not fit the wire cannot be made, so nothing is lost by it.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from heapq import heappop, heappush
from itertools import pairwise
from typing import TYPE_CHECKING

from qpq.crypto.identity import Address, Identity, SecretIdentity, address_of
from qpq.mesh import events
from qpq.mesh.chance import Chance
from qpq.mesh.collecting import Effects
from qpq.mesh.due import Due
from qpq.mesh.effects import Count, ProbeDone, SendFrame
from qpq.mesh.events import LinkUp
from qpq.mesh.limits import Limits
from qpq.mesh.links import Link
from qpq.mesh.probing import Probing
from qpq.mesh.routes import MUCH
from qpq.mesh.routing import Routing
from qpq.mesh.served import Served
from qpq.mesh.timers import Timers
from qpq.mesh.users import Users
from qpq.wire.frames import Hello, Role
from qpq.wire.frames_mesh import SHORT_ID_SIZE, Announce, Probe, Query, Retract, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qpq.mesh.rows import RouteRow
    from qpq.wire.frames import Frame

HELLO = Hello(1, 1, 0, 1, 0, time_trusted=False, load=0, links=0, role=Role.RELAY, max_frame=33_024, store_free=0)


class EveryLink:
    """Stands in for the broadcast tree: all links of a node, ``only`` these, and what queries told of them."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self.only: tuple[int, ...] | None = None
        self.heard: list[tuple[int, ...]] = []

    def eager_links(self) -> tuple[int, ...]:
        """Return the links that queries go over."""
        return tuple(self._router.links) if self.only is None else self.only

    def query_new(self, number: int, token: bytes, now: float) -> None:
        """Note the link that brought a query."""
        assert len(token) == SHORT_ID_SIZE
        assert now >= 0
        self.heard.append((number,))

    def query_again(self, number: int, first: int, token: bytes, now: float) -> None:
        """Note the link that brought one again."""
        assert len(token) == SHORT_ID_SIZE
        assert now >= 0
        self.heard.append((number, first))


class Router:
    """One node's machines for routes; what they tell a listener is in ``found`` and ``lost``."""

    def __init__(self, net: RoutingNet, name: str, secret: SecretIdentity, limits: Limits, role: Role) -> None:
        self.net = net
        self.name = name
        self.secret = secret
        self.limits = limits
        self.role = role
        self.boot = 0
        self.seeds: list[bytes] = []
        self.ends: dict[int, tuple[Router, int]] = {}
        self.links: dict[int, Link] = {}
        self.start()

    def start(self) -> None:
        """Begin anew, as after a restart."""
        self.boot += 1
        self.due_at: float | None = None
        self.effects = Effects()
        self.timers: Timers[tuple[Due, int | bytes]] = Timers()
        self.users = Users(self.secret, boot=self.boot, cap=self.limits.max_users)
        self.served = Served(self.limits.max_users)
        self.counts: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.found: list[Address] = []
        self.lost: list[Address] = []
        self.probed: list[ProbeDone] = []
        self.routing = Routing(
            self.secret,
            boot=self.boot,
            limits=self.limits,
            chance=Chance(self.net.random.randbytes),
            timers=self.timers,
            effects=self.effects,
            users=self.users,
            served=self.served,
            leaf=self.role is Role.LEAF,
        )
        self.tree = self.routing.queries.tree = EveryLink(self)
        self.probing = Probing(
            self.secret,
            limits=self.limits,
            timers=self.timers,
            effects=self.effects,
            users=self.users,
            routing=self.routing,
        )
        self.routing.listeners.extend((self, self.probing))
        for seed in self.seeds:
            self.users.add(seed, frozenset())

    @property
    def identity(self) -> Identity:
        return self.secret.identity

    @property
    def user(self) -> Address:
        return self.users.addresses()[0]

    def route_found(self, address: Address, _now: float) -> None:
        self.found.append(address)

    def route_lost(self, address: Address, _now: float) -> None:
        self.lost.append(address)

    def add_user(self, seed: bytes) -> Address:
        """Add a user and announce it."""
        self.seeds.append(seed)
        user = self.users.add(seed, frozenset())
        assert user is not None
        self.routing.user_added(user.secret.address)
        for number in self.links:
            self.effects.do(SendFrame(number, user.announce))
        self.net.carry_out(self)
        return user.secret.address

    def remove_user(self, address: Address) -> None:
        self.seeds = [seed for seed in self.seeds if SecretIdentity(seed).address != address]
        self.users.remove(address)
        self.do(lambda: self.routing.user_removed(address))

    def do(self, action: Callable[[], object]) -> None:
        """Let a machine do something, and carry out what follows."""
        action()
        self.net.carry_out(self)

    def want(self, address: bytes, *, own: bool = True) -> None:
        self.do(lambda: self.routing.wanted(Address(address), self.net.now, own=own))

    def ping(self, target: bytes, token: bytes = b"12345678", *, trace: bool = True) -> None:
        self.do(lambda: self.probing.ping(events.Ping(Address(target), token, trace), self.net.now))

    def quality(self, other: Router, rtt: float, loss: float, times: int = 1) -> None:
        """Let the transport say ``times`` how good the link to ``other`` is."""
        event = events.LinkQuality(self.number(other), rtt, loss)
        for _ in range(times):
            self.do(lambda: self.routing.hearing.quality(event, self.net.now))

    def row(self, address: bytes) -> RouteRow | None:
        """Return the route to an address, as people are shown it."""
        return next((row for row in self.routing.rows(self.net.now) if row.address == address), None)

    def hops(self, address: bytes) -> tuple[str, ...]:
        """Return the names of the next hops to an address, the best first."""
        hops = self.routing.next_hops(Address(address), self.net.now)
        return tuple(self.ends[hop.link][0].name for hop in hops)

    def number(self, other: Router) -> int:
        """Return the number of the link to ``other``."""
        return next(number for number, (far, _) in self.ends.items() if far is other)

    def takes(self, number: int, frame: Frame) -> None:
        """Take a frame from a link, as the intake would."""
        link, now = self.links[number], self.net.now
        complaint = ""
        if isinstance(frame, Announce):
            complaint = self.routing.hearing.announced(link, frame, self.served.heard(number, frame), now)
        elif isinstance(frame, Route):
            complaint = self.routing.hearing.route(link, frame, now)
        elif isinstance(frame, Retract):
            complaint = self.routing.hearing.retract(link, frame, now)
        elif isinstance(frame, Query):
            complaint = self.routing.queries.query(link, frame, now)
        elif isinstance(frame, Probe):
            complaint = self.probing.probe(link, frame, now)
        if complaint:
            self.complaints.append(complaint)
        self.net.carry_out(self)

    def ticks(self, at: float) -> None:
        """Let everything that is due happen, unless it was put off."""
        if self.due_at != at:
            return
        self.due_at = None
        routing = self.routing
        table: dict[Due, Callable[..., None]] = {
            Due.ROUTES: routing.telling.due,
            Due.ROUTE_HOLD: routing.hearing.hold_due,
            Due.ROUTE_SWEEP: routing.hearing.sweep_due,
            Due.SEARCH: routing.queries.search_due,
            Due.LATE_QUERY: routing.queries.late_due,
            Due.PROBE: self.probing.due,
        }
        while (timer := self.timers.pop_due(self.net.now)) is not None:
            table[timer[0]](timer[1], self.net.now)
        self.net.carry_out(self)

    def told(self, address: bytes) -> set[str]:
        """Return the names of the neighbours that have been told of an address."""
        neighbours = self.routing.telling.neighbours
        return {self.ends[number][0].name for number, one in neighbours.items() if address in one.told}


class RoutingNet:
    """Routers, links between them, and virtual time; ``latency`` seconds one way, ``jitter`` on top at most."""

    def __init__(self, seed: int = 0, *, latency: float = 0.02, jitter: float = 0.0) -> None:
        self.random = random.Random(seed)  # noqa: S311 (a seeded run)
        self.now = 1000.0
        self.latency = latency
        self.jitter = jitter
        self.routers: dict[str, Router] = {}
        self.frames: list[tuple[str, str, Frame]] = []
        self.watch: Callable[[], None] | None = None
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._last: dict[tuple[str, int], float] = {}
        self._order = 0
        self._links = 0

    def add(self, name: str, *, users: int = 1, limits: Limits | None = None, role: Role = Role.RELAY) -> Router:
        """Add a router with so many users."""
        secret = SecretIdentity(self.random.randbytes(32))
        router = self.routers[name] = Router(self, name, secret, limits or Limits(), role)
        for _ in range(users):
            router.add_user(self.random.randbytes(32))
        return router

    def line(self, length: int, **limits: float) -> list[Router]:
        """Add routers a, b, c, ... in a line, and let them tell each other everything."""
        chosen = Limits(**limits)  # type: ignore[arg-type]
        routers = [self.add(chr(ord("a") + i), limits=chosen) for i in range(length)]
        for one, other in pairwise(routers):
            self.link(one, other)
        self.run(30.0)
        return routers

    def link(self, one: Router, other: Router) -> None:
        """Open a usable link."""
        self._links += 2
        numbers = (self._links - 1, self._links)
        for near, far, number, far_number in ((one, other, *numbers), (other, one, *reversed(numbers))):
            near.ends[number] = (far, far_number)
        for near, number in ((one, numbers[0]), (other, numbers[1])):
            far = near.ends[number][0]
            up = LinkUp(number, far.identity, far.name, initiator=near is one)
            link = near.links[number] = Link(up, near.limits, self.now)
            link.greeted(replace(HELLO, role=far.role), self.now)
            near.served.open(number, far.identity)
            for announce in near.users.announces():
                near.effects.do(SendFrame(number, announce))
            near.do(lambda near=near, link=link: near.routing.hearing.link_usable(link, self.now))  # type: ignore[misc]

    def unlink(self, one: Router, other: Router) -> None:
        """End a link; what is under way on it is lost."""
        number = one.number(other)
        for near, gone in ((one, number), (other, one.ends[number][1])):
            del near.ends[gone], near.links[gone]
            near.served.close(gone)
            near.probing.link_gone(gone)
            near.do(lambda near=near, gone=gone: near.routing.hearing.link_gone(gone, self.now))  # type: ignore[misc]

    def stop(self, router: Router) -> None:
        """End a router with its links; ``Router.start`` and new links bring it back."""
        for other, _ in list(router.ends.values()):
            self.unlink(router, other)

    def inject(self, near: Router, far: Router, frame: Frame) -> None:
        """Let ``far`` get a frame from its link to ``near``, whoever made it."""
        far.takes(far.number(near), frame)

    def carry_out(self, router: Router) -> None:
        """Send what a router's machines want sent, and call it back at its next deadline."""
        for effect in router.effects.take():
            if isinstance(effect, SendFrame):
                self._send(router, effect)
            elif isinstance(effect, Count):
                router.counts[effect.name] += effect.amount
            elif isinstance(effect, ProbeDone):
                router.probed.append(effect)
        at = router.timers.next_at()
        if at is not None and at != router.due_at:
            router.due_at = at
            routing = router.routing
            self._after(max(at, self.now), lambda: router.ticks(at) if router.routing is routing else None)

    def _send(self, router: Router, effect: SendFrame) -> None:
        end = router.ends.get(effect.link)
        if end is None:
            return
        far, number = end
        self.frames.append((router.name, far.name, effect.frame))
        at = self.now + self.latency + self.random.random() * self.jitter
        at = self._last[router.name, effect.link] = max(at, self._last.get((router.name, effect.link), 0.0))
        self._after(at, lambda: far.takes(number, effect.frame) if number in far.links else None)

    def _after(self, at: float, action: Callable[[], None]) -> None:
        self._order += 1
        heappush(self._agenda, (at, self._order, action))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while self._agenda and self._agenda[0][0] <= end:
            self.now, _, action = heappop(self._agenda)
            action()
            if self.watch is not None:
                self.watch()
        self.now = end

    def sent(self, kind: type[Frame], *, since: int = 0) -> list[tuple[str, str, Frame]]:
        """Return the frames of a kind, from the ``since``-th frame on."""
        return [entry for entry in self.frames[since:] if isinstance(entry[2], kind)]

    # --- what must hold ------------------------------------------------------------------------------------

    def distances(self, origin: Router) -> dict[str, int]:
        """Return the number of links from ``origin`` to each router that can be reached."""
        distance = {origin.name: 0}
        queue = [origin]
        for router in queue:
            for far, _ in router.ends.values():
                if far.name not in distance:
                    distance[far.name] = distance[router.name] + 1
                    queue.append(far)
        return distance

    def follow(self, router: Router, address: Address) -> list[str]:
        """Go along the routes to an address and return the names on the way; an endless way is an error."""
        way = [router.name]
        while router.users.get(address) is None:
            row = router.row(address)
            assert row is not None, f"{router.name} does not know the way, from {way}"
            router = next(far for far, _ in router.ends.values() if far.identity == row.next_hop)
            assert router.name not in way, f"a loop: {way} {router.name}"
            way.append(router.name)
        return way

    def no_loops(self) -> None:
        """Check that nobody's chosen next hops lead in a circle (they may lead nowhere while news travel)."""
        for address in {address for router in self.routers.values() for address in router.users.addresses()}:
            for start in self.routers.values():
                router, way, row = start, [start.name], start.row(address)
                while row is not None:
                    following = next((far for far, _ in router.ends.values() if far.identity == row.next_hop), None)
                    if following is None or following.users.get(address) is not None:
                        break
                    router = following
                    assert router.name not in way, f"a loop: {way} {router.name}"
                    way.append(router.name)
                    row = router.row(address)

    def settled(self, *, exact: bool = True) -> None:
        """Check all routes of a net at rest, whose users are each at one node; ``exact``: all links are perfect."""
        homes = {address: router for router in self.routers.values() for address in router.users.addresses()}
        reached = {router.name: self.distances(router) for router in self.routers.values()}
        for router in self.routers.values():
            assert not router.complaints
            rows = {row.address: row for row in router.routing.rows(self.now)}
            for address, row in rows.items():
                assert router.name in reached[homes[address].name], "a route to what is gone"
                way = self.follow(router, address)
                assert row.hops == len(way) - 1
                assert row.node == homes[address].identity
            for address, home in homes.items():
                distance = reached[home.name].get(router.name, 0)
                if not 0 < distance <= router.limits.route_radius or home.role is Role.LEAF:
                    continue
                if exact:
                    assert rows[address].hops == distance, f"{router.name} to {home.name}"
                    assert rows[address].cost == 16 * distance
            self._least_cost(router, rows, 1.0 if exact else MUCH)

    def _least_cost(self, router: Router, rows: dict[Address, RouteRow], much: float) -> None:
        """Check that no neighbour offers ``much`` less than what is taken."""
        costs = router.routing._routes.costs
        for number, (far, far_number) in router.ends.items():
            for address, told in far.routing.telling.neighbours[far_number].told.items():
                if router.users.get(address) is None and told.hops < router.limits.route_radius:
                    assert rows[address].cost <= (told.cost + costs[number]) * much
            for address in far.users.addresses():
                assert rows[address].cost <= costs[number] * much


def addresses(routers: Iterable[Router]) -> list[Address]:
    """Return the node addresses of routers."""
    return [address_of(router.identity) for router in routers]

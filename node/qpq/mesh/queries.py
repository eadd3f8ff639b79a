"""Questions to the mesh for routes that are farther than announces go: asked, passed on, answered."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from qpq.mesh import counters
from qpq.mesh.askers import HERE, Asker, Lingering, Repeats, Search, Tree, is_wide, targets_of, token_of, trim
from qpq.mesh.buckets import Bucket
from qpq.mesh.due import Due
from qpq.mesh.effects import SendFrame
from qpq.mesh.routes import MAX_HOPS, PERFECT
from qpq.mesh.shares import Shares
from qpq.wire.announce import sign_announce
from qpq.wire.query import ANY_GATEWAY, sign_query, verify_query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpq.crypto.identity import Address, Identity, SecretIdentity
    from qpq.mesh.chance import Chance
    from qpq.mesh.collecting import Effects
    from qpq.mesh.due import Timer
    from qpq.mesh.limits import Limits
    from qpq.mesh.links import Link
    from qpq.mesh.routes import Destination, Routes
    from qpq.mesh.served import Served
    from qpq.mesh.telling import Telling
    from qpq.mesh.timers import Timers
    from qpq.mesh.users import Users
    from qpq.wire.frames_mesh import Announce, Query

_SWEEP = 2
"""Addresses asked for, the oldest, that are looked at for each one that comes."""
_TURNS = 4
"""Of so many turns to ask for what is relayed one is taken, whoever else asks: who does may lie."""
_OTHERS_PART = 4
"""The part of the rate of questions, one in so many, that there is beside it for what is relayed: each goes round the
whole mesh, and envelopes for nobody cost who sends them nothing."""
_LOSSY = 8 * PERFECT
"""A route that costs so much more than its hops crosses a link over which little comes: there may be a better one."""
_ALONE_S = 10.0
"""A query shows the tree where none has come for so long before it, and none after it: of two that go round at once
each could be the reason to cut another link, and the tree would fall apart."""
_GATEWAYS = 2
"""Gateways that the answer to a question for any tells of: the nearest, and one more should that fail."""
_TREE_TRIES = 1
"""Times that something is asked for over the broadcast tree alone: then over all links, for who is in the tree may lie.
"""


class Queries:
    """Asks for addresses, passes on what others ask, and answers for this node and from its routes.

    The answer is the route itself, told at once to whoever asked, and by those in turn. What is passed on is shared
    out among the links that it comes from (mesh.shares), since askers cost nothing but links do. Of the
    askers the one heard of longest ago gives way, of addresses that others ask for the oldest, of
    what this node asks for the one wanted longest ago, what is only relayed first.
    """

    __slots__ = (
        "_alone",
        "_answered",
        "_asked",
        "_askers",
        "_boot",
        "_chance",
        "_counter",
        "_effects",
        "_late",
        "_leaf",
        "_limits",
        "_newest",
        "_newest_at",
        "_node",
        "_own_announce",
        "_quiet_until",
        "_renewed",
        "_routes",
        "_searches",
        "_served",
        "_shares",
        "_timers",
        "_tokens",
        "_users",
        "_wide",
        "telling",
        "tree",
    )

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
        routes: Routes,
        leaf: bool,
    ) -> None:
        self._node = node
        self._boot = boot
        self._limits = limits
        self._chance = chance
        self._timers = timers
        self._effects = effects
        self._users = users
        self._served = served
        self._routes = routes
        self._leaf = leaf
        self._shares = Shares(2 * limits.query_rate, 2 * limits.query_burst)
        self._late = Lingering(limits, timers)
        self._counter = 0
        self._tokens: dict[bool, Bucket] = {}
        self._wide = Bucket(limits.wide_rate, limits.wide_burst, 0.0)
        self._own_announce: Announce | None = None
        self._newest, self._newest_at, self._alone = b"", -_ALONE_S, False
        self._quiet_until: float | None = None
        self._askers: dict[Identity, Asker] = {}
        self._asked: dict[Address, dict[int, float]] = {}
        self._answered = Repeats(limits)
        self._renewed: dict[Address, float] = {}
        self._searches: dict[Address, Search] = {}
        self.telling: Telling
        self.tree: Tree

    # --- what this node wants ----------------------------------------------------------------------------

    def wanted(self, target: Address, now: float, *, own: bool = True) -> None:
        """Ask for an address, now and ever more rarely, until it is found or wanted no more.

        Not ``own``: what waits for it here is others', and they may ask as well. Such a search leaves turns to
        them, and waits a while when the node has just begun, which many do with the same messages. It gives way
        before any of the users here does.
        """
        search = self._searches.pop(target, None)
        fresh = search is None or (own and not search.own)
        if search is None or fresh:
            asked = self._asked.get(target)
            heard = max(asked.values()) - self._limits.asked_s if asked else -self._limits.search_max_s
            search = Search(now, heard, own)
        self._searches[target] = search
        search.wanted = now
        if not fresh:
            return
        if len(self._searches) > self._limits.searches:
            others = (target for target, search in self._searches.items() if not search.own)
            self._stop(next(others, next(iter(self._searches))))
        if self._quiet_until is None:
            self._quiet_until = now + self._limits.asked_s
        if own or now >= self._quiet_until:
            self.search_due(target, now)
        else:
            self._timers.set((Due.SEARCH, target), now + self._chance.stretch(self._limits.asked_s))

    def shrink(self) -> None:
        """Forget what there is no room for any more: what was asked, and by whom, the oldest first."""
        room = self._limits.room
        trim(self._askers, room.of(self._limits.askers))
        trim(self._asked, room.of(self._limits.asked))
        self._answered.shrink()

    def search_due(self, target: Address, now: float) -> None:
        """Ask for an address once more, if somebody still wants it."""
        search, limits = self._searches[target], self._limits
        wait = min(limits.search_max_s, limits.search_min_s * 2.0 ** min(search.attempts, 32))
        known = search.attempts and self._knows(target)
        unwanted = now - search.wanted > limits.search_max_s
        if known or unwanted or self._served.link_for(target) is not None:
            del self._searches[target]
            return
        if self._left_to_others(search, wait, now):
            search.attempts += 1
        elif self._may_ask(search, now):
            search.attempts += 1
            self._counter += 1 + (self._counter % 2 == (search.attempts <= _TREE_TRIES))
            query = sign_query(self._node, target, self._boot, self._counter)
            self._seen(token_of(query), now)
            self._effects.count(counters.QUERY_MADE)
            self._send(query, self._onward(query, now), now)
        self._timers.set((Due.SEARCH, target), now + self._chance.stretch(wait))

    def found(self, destination: Destination, now: float) -> None:
        """End the search for what has been found, and tell who else asked."""
        for target in targets_of(destination.announce):
            if target in self._searches:
                self._stop(target)
            for number in self._asked.get(target, {}):
                if number in self.telling.neighbours and self.asked(destination, number, now):
                    self.telling.answer(number, destination, now)

    def expect(self, address: Address, now: float) -> None:
        """Take a far route that is lost for a while as asked for, by this node and by those who were told it."""
        self._remember(HERE, address, now)
        for number, neighbour in self.telling.neighbours.items():
            if address in neighbour.told:
                self._remember(number, address, now)

    def seeks(self, announce: Announce) -> bool:
        """Whether this node, or another through it, asks for an address, its node, or gateways, of which it is one."""
        return any(target in self._searches or target in self._asked for target in targets_of(announce))

    def asked(self, destination: Destination, number: int, now: float) -> bool:
        """Whether a link has lately asked for a destination, for its node, or for gateways, of which it is one."""
        targets = targets_of(destination.announce)
        return any(self._asked.get(target, {}).get(number, now) > now for target in targets)

    # --- what others want ----------------------------------------------------------------------------------

    def query(self, link: Link, query: Query, now: float) -> str:
        """Take a query: answer it or pass it on; what is returned, if anything, is why the link must end."""
        asker = self._askers.get(query.asker)
        if query.asker == self._node.identity:
            self._effects.count(counters.QUERY_DUPLICATE)
            return ""
        if asker is not None and not asker.is_new(query):
            self._again(link.number, asker, query, now)
            return ""
        if query.hops > MAX_HOPS or not self.telling.neighbours[link.number].queries.take(1, now):
            self._effects.count(counters.QUERY_OVER_RATE)
            return ""
        if not verify_query(query):
            self._effects.count(counters.QUERY_FORGED)
            return "a query with a false signature"
        if not self._allowed(link, query, now):
            self._effects.count(counters.QUERY_OVER_RATE)
            return ""
        self._heard(link.number, query, now)
        return ""

    def late_due(self, key: bytes, now: float) -> None:
        """Take, or send, a query that nothing better than a lossy link has brought."""
        query, number, came = self._late.over(key)
        if came:
            self._take(number, query, now)
        else:
            self._effects.do(SendFrame(number, query))

    def link_gone(self, number: int) -> None:
        """Forget what a link asked."""
        self._late.forget(number)
        self._shares.forget(number)
        for target in [target for target, links in self._asked.items() if number in links]:
            del self._asked[target][number]
            if not self._asked[target]:
                del self._asked[target]

    # --- inside ----------------------------------------------------------------------------------------------

    def _again(self, number: int, asker: Asker, query: Query, now: float) -> None:
        """Take a query that has come before; where a worse link has brought it, and it waits, this one counts."""
        self._effects.count(counters.QUERY_DUPLICATE)
        token = token_of(query)
        worse = self._late.again(token, query, number, self._routes.costs[number])
        if token == asker.newest:
            shows = self._alone and token == self._newest and not is_wide(query)
            later, asker.first = (worse, number) if worse else (number, asker.first)
            self.tree.query_again(later, asker.first if shows else later, token, now)
        if worse:
            self._heard(number, query, now)

    def _heard(self, number: int, query: Query, now: float) -> None:
        if not self._late.came(token_of(query), query, number, self._routes.costs[number], now):
            self._take(number, query, now)

    def _send(self, query: Query, links: Iterable[int], now: float) -> None:
        for number in links:
            cost = self._routes.costs.get(number)  # None: it is ending
            if cost is not None and not self._late.goes(token_of(query), query, number, cost, now):
                self._effects.do(SendFrame(number, query))

    def _take(self, number: int, query: Query, now: float) -> None:
        """Answer a query that came over a link, or pass it on."""
        self._remember(number, query.target, now)
        if query.target in self._searches:
            self._searches[query.target].heard = now
        times = self._answered.times(query, now)
        if not self._answer(number, query, times > 1, now):
            self._pass_on(number, query, now)

    def _onward(self, query: Query, now: float) -> Iterable[int]:
        """Return the links that a query goes over: those of the tree, or all where it was in vain over that."""
        return self.telling.neighbours if is_wide(query) and self._wide.take(1, now) else self.tree.eager_links()

    def _stop(self, target: Address) -> None:
        del self._searches[target]
        self._timers.cancel((Due.SEARCH, target))

    def _left_to_others(self, search: Search, wait: float, now: float) -> bool:
        """Whether somebody else has asked lately, so this turn may pass (Trickle, RFC 6206); three of four at most."""
        lately = now - search.heard < max(wait, self._limits.asked_s)
        return lately and not search.own and search.attempts % _TURNS != _TURNS - 1

    def _seen(self, token: bytes, now: float) -> None:
        self._alone = now - self._newest_at > _ALONE_S
        self._newest, self._newest_at = token, now

    def _may_ask(self, search: Search, now: float) -> bool:
        """Count a question against the node's rate, or against the smaller one of what is asked for others."""
        tokens = self._tokens.get(search.own)
        if tokens is None:
            part = 1 if search.own else _OTHERS_PART
            tokens = Bucket(self._limits.search_rate / part, self._limits.search_burst / part, now)
            self._tokens[search.own] = tokens
        return tokens.take(1, now)

    def _allowed(self, link: Link, query: Query, now: float) -> bool:
        """Note a query whose signature is right; False: its asker makes too many."""
        asker = self._askers.pop(query.asker, None) or Asker(self._limits, now)
        self._askers[query.asker] = asker
        trim(self._askers, self._limits.room.of(self._limits.askers))
        asker.note(query)
        asker.newest, asker.first = token_of(query), link.number
        self._seen(asker.newest, now)
        self.tree.query_new(link.number, asker.newest, now)
        return asker.tokens.take(1, now)

    def _remember(self, number: int, target: Address, now: float) -> None:
        links = self._asked.pop(target, {})
        links[number] = now + self._limits.asked_s
        self._asked[target] = links
        for oldest, waiting in tuple(islice(self._asked.items(), _SWEEP)):
            if max(waiting.values()) <= now or len(self._asked) > self._limits.room.of(self._limits.asked):
                del self._asked[oldest]

    def _answer(self, link: int, query: Query, again: bool, now: float) -> bool:
        """Answer for this node, or from a route; False: others are to be asked, be it because the route was no help."""
        target = query.target
        if target == ANY_GATEWAY:
            return self._answer_gateways(link, again, now)
        user = self._users.get(target)
        if user is not None or target == self._node.address:
            self._effects.count(counters.QUERY_ANSWERED)
            if user is not None and again and self._renews(target, now):
                self._users.renew(target)
                for number in self.telling.neighbours:
                    self._effects.do(SendFrame(number, user.announce))
            else:
                announce = user.announce if user is not None else self._own()
                self._effects.do(SendFrame(link, announce))
            return True
        destination = self._routes.find(target)
        if destination is None or not self.telling.answer(link, destination, now):
            return False
        self._effects.count(counters.QUERY_ANSWERED)
        route = destination.route
        return not again and route is not None and route.cost - route.hops * PERFECT < _LOSSY

    def _answer_gateways(self, link: int, again: bool, now: float) -> bool:
        """Tell of gateways: this node if it is one, and the nearest; False: others are to be asked too.

        So who asks again hears of all: one that is known here need not be alive.
        """
        own = self._users.gateway
        if own is not None:
            self._effects.do(SendFrame(link, own.announce))
        told = [one for one in self._routes.gateways()[:_GATEWAYS] if self.telling.answer(link, one, now)]
        if own is None and not told:
            return False
        self._effects.count(counters.QUERY_ANSWERED)
        return not again

    def _knows(self, target: Address) -> bool:
        found = self._routes.gateways() if target == ANY_GATEWAY else self._routes.find(target)
        return bool(found)

    def _pass_on(self, link: int, query: Query, now: float) -> None:
        if self._leaf or query.hops >= MAX_HOPS:
            return
        near = self._served.link_for(query.target)
        if near is not None and self._routes.costs[near] > _LOSSY:
            near = None
        if near is None and not self._shares.take(link, now):
            self._effects.count(counters.QUERY_OVER_SHARE)
            return
        onward = self._onward(query, now) if near is None else (near,)
        others = [number for number in onward if number != link]
        self._effects.count(counters.QUERY_PASSED, len(others))
        self._send(replace(query, hops=query.hops + 1), others, now)

    def _renews(self, user: Address, now: float) -> bool:
        if now - self._renewed.get(user, -self._limits.renew_s) < self._limits.renew_s:
            return False
        self._renewed[user] = now
        return True

    def _own(self) -> Announce:
        """Return the announce of a node for its own address, which only a query brings forth."""
        if self._own_announce is None:
            self._own_announce = sign_announce(self._node, node=self._node.identity, boot=self._boot, counter=1)
        return self._own_announce

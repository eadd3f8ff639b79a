"""What is remembered of those who ask for routes, of what is asked for here, and queries that wait (mesh.queries)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from qpq.crypto.identity import address_of
from qpq.mesh.buckets import Bucket
from qpq.mesh.due import Due
from qpq.mesh.routes import PERFECT
from qpq.wire.announce import GATEWAY
from qpq.wire.query import ANY_GATEWAY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.due import Timer
    from qpq.mesh.limits import Limits
    from qpq.mesh.timers import Timers
    from qpq.wire.frames_mesh import Announce, Query

HERE = 0
"""The number that no link has, for what this node itself has asked."""
_WINDOW = 32
"""Queries of one asker that may overtake each other; older ones are replays."""
_GOOD = 4 * PERFECT
"""A link that costs no more makes nothing wait: half of what is sent over it arrives at first, or it is a long one."""
_PER_S = 25 * PERFECT
"""What a link costs more than that for each second of the wait: about a quarter of what it takes to carry something."""
_NUMBER = 8


class Tree(Protocol):
    """The broadcast tree (mesh.flooding), over which queries go."""

    def eager_links(self) -> Iterable[int]:
        """Return the links of the tree."""
        ...

    def query_new(self, number: int, token: bytes, now: float) -> None:
        """Take note of the link over which a query came first."""
        ...

    def query_again(self, number: int, first: int, token: bytes, now: float) -> None:
        """Take note of a link over which a query came that had come over ``first``."""
        ...


class Asker:
    """An asking node: which of its queries have been seen (as in RFC 4303 section 3.4.3), and its allowance.

    ``newest`` names the last of them that was new, ``first`` the link that brought it.
    """

    __slots__ = ("boot", "counter", "first", "mask", "newest", "tokens")

    def __init__(self, limits: Limits, now: float) -> None:
        self.boot = self.counter = self.mask = 0
        self.newest, self.first = b"", HERE
        self.tokens = Bucket(limits.asker_rate, limits.asker_burst, now)

    def is_new(self, query: Query) -> bool:
        """Whether a query has not been seen."""
        if query.boot != self.boot:
            return query.boot > self.boot
        behind = self.counter - query.counter
        return behind < 0 or (behind < _WINDOW and not self.mask >> behind & 1)

    def note(self, query: Query) -> None:
        """Remember a new query."""
        ahead = query.counter - self.counter
        if query.boot != self.boot or ahead >= _WINDOW:
            self.boot, self.counter, self.mask = query.boot, query.counter, 1
        elif ahead > 0:
            self.counter, self.mask = query.counter, (self.mask << ahead | 1) & (1 << _WINDOW) - 1
        else:
            self.mask |= 1 << -ahead


class Repeats:
    """How often who asked for what within ``route_idle_s``; of at most ``limits.askers`` the one longest ago goes."""

    __slots__ = ("_limits", "_times")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._times: dict[tuple[Identity, Address], tuple[float, int]] = {}

    def __len__(self) -> int:
        """Return how much is remembered."""
        return len(self._times)

    def times(self, query: Query, now: float) -> int:
        """Count a query; return how many with this asker and target have come, 1: it is the first."""
        key = query.asker, query.target
        at, times = self._times.pop(key, (now, 0))
        times = times + 1 if now - at < self._limits.route_idle_s else 1
        self._times[key] = now, times
        self.shrink()
        return times

    def shrink(self) -> None:
        """Forget what there is no room for any more."""
        trim(self._times, self._limits.room.of(self._limits.askers))


class Search:
    """An address that this node asks for: ``own`` for its users, else for what it relays; ``heard``: others asked."""

    __slots__ = ("attempts", "heard", "own", "wanted")

    def __init__(self, now: float, heard: float, own: bool) -> None:
        self.attempts = 0
        self.wanted = now
        self.heard = heard
        self.own = own


class Lingering:
    """Queries that a bad link has brought, or is to carry: they wait, so that better ways come first.

    Each node hears a query once, and the way that this took is the one on which the answer goes back and then the
    message. A link that carries it at once may lose nine of ten packets all the same, in one direction or in both. So
    whoever has a bad link at either end waits, and the query over a better one overtakes it.

    At most ``limits.late_queries`` that links brought, and as many that links are to carry; more do not wait.
    """

    __slots__ = ("_came", "_goes", "_limits", "_timers")

    def __init__(self, limits: Limits, timers: Timers[Timer]) -> None:
        self._limits = limits
        self._timers = timers
        self._came: dict[bytes, tuple[Query, int, int]] = {}
        self._goes: dict[bytes, tuple[Query, int]] = {}

    def came(self, token: bytes, query: Query, number: int, cost: int, now: float) -> bool:
        """Let a query wait that came over a link of this cost; False: it need not."""
        if len(self._came) >= self._limits.late_queries or not self._watch(token, cost, now):
            return False
        self._came[token] = query, number, cost
        return True

    def goes(self, token: bytes, query: Query, number: int, cost: int, now: float) -> bool:
        """Let a query wait that is to go over a link of this cost; False: it need not."""
        key = token + number.to_bytes(_NUMBER, "big")
        if len(self._goes) >= self._limits.late_queries or not self._watch(key, cost, now):
            return False
        self._goes[key] = query, number
        return True

    def again(self, token: bytes, query: Query, number: int, cost: int) -> int:
        """Take note that a query came once more; return which link brought it before, if that waits and costs more.

        Then this one is to be taken in its place. The other way it need not go over the link any more.
        """
        self._stop(token + number.to_bytes(_NUMBER, "big"))
        waiting, first, before = self._came.get(token, (query, 0, 0))
        if cost >= before or replace(query, hops=waiting.hops) != waiting:
            return 0
        self._stop(token)
        return first

    def over(self, key: bytes) -> tuple[Query, int, bool]:
        """Return a query that has waited long enough, its link, and whether that brought it."""
        if key in self._came:
            query, number, _ = self._came.pop(key)
            return query, number, True
        query, number = self._goes.pop(key)
        return query, number, False

    def forget(self, number: int) -> None:
        """Forget what a link has brought or is to carry."""
        came = [key for key, came in self._came.items() if came[1] == number]
        goes = [key for key, goes in self._goes.items() if goes[1] == number]
        for key in came + goes:
            self._stop(key)

    def _watch(self, key: bytes, cost: int, now: float) -> bool:
        wait = min((cost - _GOOD) / _PER_S, self._limits.late_query_s)
        if wait > 0:
            self._timers.set((Due.LATE_QUERY, key), now + wait)
        return wait > 0

    def _stop(self, key: bytes) -> None:
        self._timers.cancel((Due.LATE_QUERY, key))
        self._came.pop(key, None)
        self._goes.pop(key, None)


def is_wide(query: Query) -> bool:
    """Whether a query is to go over all links: its asker says so by an even counter."""
    return not query.counter % 2


def token_of(query: Query) -> bytes:
    """Return what stands for a query as a short id does for a broadcast."""
    return query.asker[:8] + query.boot.to_bytes(4, "big") + query.counter.to_bytes(4, "big")


def targets_of(announce: Announce) -> tuple[Address, ...]:
    """Return what may be asked for to get a route to an announced address."""
    targets = (announce.address, address_of(announce.node))
    return (*targets, ANY_GATEWAY) if announce.capabilities & GATEWAY else targets


def trim(remembered: dict[Any, Any], cap: int) -> None:
    """Let the oldest go of what there is no room for."""
    while len(remembered) > cap:
        del remembered[next(iter(remembered))]

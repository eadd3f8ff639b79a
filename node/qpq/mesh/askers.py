"""What is remembered of those who ask for routes, and of what is asked for here (mesh.queries)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qpq.mesh.buckets import Bucket

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpq.mesh.limits import Limits
    from qpq.wire.frames_mesh import Query

HERE = 0
"""The number that no link has, for what this node itself has asked."""
_WINDOW = 32
"""Queries of one asker that may overtake each other; older ones are replays."""


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


class Search:
    """An address that this node asks for: ``own`` for its users, else for what it relays; ``heard``: others asked."""

    __slots__ = ("attempts", "heard", "own", "wanted")

    def __init__(self, now: float, heard: float, own: bool) -> None:
        self.attempts = 0
        self.wanted = now
        self.heard = heard
        self.own = own


def is_wide(query: Query) -> bool:
    """Whether a query is to go over all links: its asker says so by an even counter."""
    return not query.counter % 2


def token_of(query: Query) -> bytes:
    """Return what stands for a query as a short id does for a broadcast."""
    return query.asker[:8] + query.boot.to_bytes(4, "big") + query.counter.to_bytes(4, "big")

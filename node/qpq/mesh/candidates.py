"""The addresses a node may dial, and which of them gives way when there are too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.mesh.events import Via

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpq.crypto.identity import Identity
    from qpq.mesh.limits import Limits

_MAX_OWN = 32


class Candidate:
    """One address; ``identity`` is a hint until ``proven`` by a link, ``pinned`` when the user named it.

    ``known`` is who first answered at an address that is kept, ``stranger`` another one who did so since.
    Times are seconds; ``rank`` is a secret random number that orders candidates otherwise alike.
    """

    __slots__ = (
        "address",
        "dialled_at",
        "failures",
        "heard_at",
        "held_until",
        "identity",
        "keep",
        "known",
        "links",
        "pinned",
        "proven",
        "rank",
        "reason",
        "retry_at",
        "since",
        "stranger",
        "via",
    )

    def __init__(self, address: str, via: Via, identity: Identity | None, rank: float, now: float) -> None:
        self.address = address
        self.via = via
        self.identity = identity
        self.rank = rank
        self.pinned: Identity | None = None
        self.known: Identity | None = None
        self.stranger: Identity | None = None
        self.proven = False
        self.keep = False
        self.links = 0
        self.failures = 0
        self.retry_at = 0.0
        self.held_until = 0.0
        self.reason = ""
        self.heard_at = now
        self.since = now
        self.dialled_at: float | None = None

    @property
    def expected(self) -> Identity | None:
        """The identity a dial insists on: what the user named, or what discovery claims."""
        return self.pinned if self.keep else self.identity

    @property
    def next_at(self) -> float:
        """When it may be dialled again: after its own back-off and what the peer or its misdeeds demand."""
        return max(self.retry_at, self.held_until)

    @property
    def settled(self) -> bool:
        """Whether this entry is none that a stranger's claims may push out."""
        return self.keep or self.proven or self.dialled_at is not None


class Candidates:
    """At most ``max_static`` kept addresses and ``max_candidates`` others.

    When there are too many others, the source (mDNS, beacon, ...) with the most unproven ones
    loses its oldest, so one source of false records pushes out its own only. Where all are
    proven, the one goes that was silent longest among those without a link that came in by
    themselves or are stale (``stale_s``); else the newcomer is not taken. Of unproven addresses
    that claim one identity ``addresses_a_peer`` are kept, the oldest goes.
    """

    __slots__ = ("_by_address", "_limits", "_own", "evicted", "refused")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_address: dict[str, Candidate] = {}
        self._own: dict[str, None] = {}
        self.evicted = 0
        self.refused = 0

    def get(self, address: str) -> Candidate | None:
        """Return the entry of an address."""
        return self._by_address.get(address)

    def __iter__(self) -> Iterator[Candidate]:
        """Go through all entries."""
        return iter(self._by_address.values())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._by_address)

    def heard(self, address: str, via: Via, identity: Identity | None, rank: float, now: float) -> Candidate | None:
        """Note that an address was heard of; None: there is no room for it, or it is one's own.

        A claimed identity replaces another claim at once, a proven one only when dialling has failed.
        """
        if address in self._own:
            return None
        known = self._by_address.get(address)
        if known is None:
            return self._insert(Candidate(address, via, identity, rank, now))
        known.heard_at = now
        if identity is not None and identity != known.identity and (not known.proven or known.failures):
            known.identity, known.proven = identity, False
        return known

    def keep(self, address: str, identity: Identity | None, rank: float, now: float) -> Candidate | None:
        """Note an address that is to be dialled for ever; None: there are too many."""
        known = self._by_address.get(address)
        if known is None or not known.keep:
            if sum(entry.keep for entry in self) >= self._limits.max_static:
                return None
            if known is None:
                known = self._by_address[address] = Candidate(address, Via.STATIC, identity, rank, now)
        known.via, known.keep, known.pinned = Via.STATIC, True, identity
        known.identity = identity or known.identity
        self._own.pop(address, None)
        return known

    def own(self, address: str) -> None:
        """Note that an address leads to this very node: it is not dialled until ``forget_own``.

        The last ``_MAX_OWN`` are remembered.
        """
        self._by_address.pop(address, None)
        self._own[address] = None
        if len(self._own) > _MAX_OWN:
            del self._own[next(iter(self._own))]

    def forget_own(self) -> None:
        """Forget which addresses led to this node: the network is another."""
        self._own.clear()

    def drop(self, candidate: Candidate) -> None:
        """Forget an address."""
        self._by_address.pop(candidate.address, None)

    def _insert(self, candidate: Candidate) -> Candidate | None:
        if candidate.identity is not None:
            self._thin_out(candidate.identity)
        others = [entry for entry in self if not entry.keep]
        if len(others) >= self._limits.max_candidates:
            loser = _unproven(others, candidate.via) or self._silent(others, candidate.heard_at)
            if loser is None:
                self.refused += 1
                return None
            self._evict(loser)
        self._by_address[candidate.address] = candidate
        return candidate

    def _silent(self, entries: list[Candidate], now: float) -> Candidate | None:
        stale = now - self._limits.stale_s
        losers = [
            entry
            for entry in entries
            if not entry.links and entry.dialled_at is None and (entry.via is Via.INBOUND or entry.heard_at <= stale)
        ]
        return min(losers, key=_heard_at, default=None)

    def _thin_out(self, identity: Identity) -> None:
        claims = [entry for entry in self if entry.identity == identity and not entry.settled]
        if len(claims) >= self._limits.addresses_a_peer:
            self._evict(min(claims, key=_heard_at))

    def _evict(self, candidate: Candidate) -> None:
        self.evicted += 1
        self.drop(candidate)


def _unproven(entries: list[Candidate], newcomer: Via) -> Candidate | None:
    by_source: dict[Via, list[Candidate]] = {newcomer: []}
    for entry in entries:
        if not entry.settled:
            by_source.setdefault(entry.via, []).append(entry)
    busiest = max(by_source.values(), key=len)
    return min(busiest, key=_heard_at) if busiest else None


def _heard_at(candidate: Candidate) -> float:
    return candidate.heard_at

"""Whom to dial and when: kept addresses always, discovered ones up to a few links, each with its back-off.

A peer for whom messages wait is dialled however many links there are.

Of the links on discovered peers one is *long*: drawn from all candidates with even chance, so
that whatever else the choice prefers (peers proven before, that failed least, sources dialled less often) the
network does not fall into cliques. A secret random rank decides between candidates alike:
nobody can mine an identity that is chosen first. A new address is dialled after a short random
wait: so the choice is among all that were heard of together, not their first, and of two nodes
that find each other at once mostly only one dials.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from qpq.crypto.identity import text_id
from qpq.mesh import counters
from qpq.mesh.candidates import Candidate, Candidates
from qpq.mesh.effects import Connect, Notice
from qpq.mesh.events import Dial, PeerFound, Via

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qpq.crypto.identity import Identity
    from qpq.mesh.chance import Chance
    from qpq.mesh.collecting import Effects
    from qpq.mesh.limits import Limits


_SPARE = 8
"""After so many failures waits for a peer that can be done without grow sixteenfold."""


class End(Enum):
    """How a link ended, as far as dialling cares."""

    LOST = "lost"
    DUPLICATE = "duplicate"


class Dialling:
    """The candidate table and the dials in flight; the core calls ``run`` after every change."""

    __slots__ = (
        "_by_source",
        "_candidates",
        "_chance",
        "_dials",
        "_effects",
        "_limits",
        "_linked",
        "_long",
        "_own",
        "_waiting",
    )

    def __init__(
        self,
        own: Identity,
        *,
        limits: Limits,
        chance: Chance,
        effects: Effects,
        waiting: Callable[[Identity], bool],
    ) -> None:
        self._waiting = waiting
        self._own = own
        self._limits = limits
        self._chance = chance
        self._effects = effects
        self._candidates = Candidates(limits)
        self._dials: dict[str, Candidate] = {}
        self._linked: dict[Identity, int] = {}
        self._long: Candidate | None = None
        self._by_source: dict[Via, int] = {}

    # --- what is heard and asked -------------------------------------------------------------

    def found(self, event: PeerFound, now: float) -> bool:
        """Take what discovery heard; whether it was news."""
        if event.identity == self._own:
            self._effects.count(counters.PEER_SELF)
            return False
        before = self._candidates.get(event.address)
        claimed = before.identity if before is not None else None
        back = before is not None and before.proven and now - before.heard_at >= self._limits.away_s
        after = self._heard(event.address, event.via, event.identity, now)
        if after is not None and (before is None or back):
            soon = now + self._limits.gather_s * (1 + self._chance.fraction()) / 2
            after.retry_at = soon if before is None else min(after.retry_at, soon)
        return after is not None and (before is None or back or after.identity != claimed)

    def ask(self, event: Dial, now: float) -> None:
        """Take the user's or the configuration's wish; what is not kept is dialled once, at once."""
        if event.identity == self._own:
            self._effects.do(Notice("warning", f"{event.address} is this node itself: not dialled"))
            return
        if event.keep:
            candidate = self._candidates.keep(event.address, event.identity, self._chance.fraction(), now)
        else:
            candidate = self._heard(event.address, Via.STATIC, event.identity, now)
        if candidate is None:
            self._effects.do(
                Notice("warning", f"{event.address} is this node, or there is no room for it: not dialled")
            )
            return
        candidate.retry_at = 0.0
        if event.keep:
            proven = candidate.identity if candidate.proven else None
            candidate.known, candidate.stranger = event.known or proven, None
            if proven is not None:
                self._recognise(candidate, proven)
        elif self._free(candidate) and len(self._dials) < self._limits.max_dials:
            self._start(candidate, now)

    def forget(self, address: str) -> None:
        """Take back a wish to keep ``address``; discovery may hear of it anew, a link that is there stays."""
        candidate = self._candidates.get(address)
        if candidate is not None and candidate.keep:
            self._dials.pop(address, None)
            self._candidates.drop(candidate)

    def network_changed(self) -> None:
        """Let every address be tried anew."""
        self._candidates.forget_own()
        for candidate in self._candidates:
            candidate.failures = 0
            candidate.retry_at = 0.0

    # --- what became of dials and links --------------------------------------------------------

    def failed(self, address: str, reason: str, now: float) -> None:
        """Note that a dial failed; one nobody asked for is no fault."""
        candidate = self._dials.pop(address, None)
        if candidate is None:
            return
        self._effects.count(counters.DIAL_FAILED)
        self._back_off(candidate, reason, now, vain=now - candidate.since >= self._limits.cheap_dial_s)

    def linked(self, address: str, peer: Identity, initiator: bool, now: float) -> None:
        """Note a new link: it proves who is at ``address``."""
        if initiator:
            self._dials.pop(address, None)
        candidate = self._heard(address, Via.INBOUND, peer, now)
        if candidate is not None:
            candidate.identity = peer
            candidate.proven = True
            self._recognise(candidate, peer)
            candidate.dialled_at = None
            candidate.since = now
            candidate.links += 1
        self._linked[peer] = self._linked.get(peer, 0) + 1

    def itself(self, address: str, now: float) -> None:
        """Note that ``address`` leads to this very node: not dialled again, a kept one ever more rarely."""
        self._dials.pop(address, None)
        candidate = self._candidates.get(address)
        if candidate is not None and candidate.keep:
            self._back_off(candidate, "this is the node itself", now)
        else:
            self._candidates.own(address)

    def ended(
        self, address: str, peer: Identity, now: float, *, lasted: float, loss: float, end: End, reason: str
    ) -> None:
        """Note the end of a link that was of use for ``lasted`` seconds and lost the part ``loss`` of its packets."""
        if self._linked[peer] == 1:
            del self._linked[peer]
        else:
            self._linked[peer] -= 1
        candidate = self._candidates.get(address)
        if candidate is None:
            return
        candidate.links = max(0, candidate.links - 1)
        if end is End.DUPLICATE and peer in self._linked:
            return
        candidate.heard_at = now
        limits = self._limits
        candidate.failures = max(0, candidate.failures - int(lasted // limits.good_link_s))
        bad = lasted < (limits.good_link_s if loss > limits.lossy_link else limits.brief_link_s)
        self._back_off(candidate, reason, now, vain=not lasted or (bad and bool(self._linked)))

    def nudge(self, peer: Identity, now: float) -> bool:
        """Try ``peer`` soon, since a user writes to it: a back-off counts ``nudge_s`` at most. Whether it is known."""
        known = False
        for candidate in self._candidates:
            if candidate.identity == peer:
                known = True
                candidate.retry_at = min(candidate.retry_at, max(now, candidate.since + self._limits.nudge_s))
        return known

    def hold(self, peer: Identity, until: float) -> None:
        """Do not dial ``peer`` before ``until``: it said so, or it misbehaved."""
        for candidate in self._candidates:
            if candidate.identity == peer:
                candidate.held_until = max(candidate.held_until, until)

    # --- the choice ------------------------------------------------------------------------------

    def run(self, now: float) -> float | None:
        """Dial what should be dialled now and return when to look again (None: on the next change)."""
        self._give_up(now)
        for candidate in [entry for entry in self._candidates if self._must(entry) and self._ready(entry, now)]:
            if len(self._dials) < self._limits.max_dials and self._free(candidate):
                self._start(candidate, now)
        while self._wanted() > 0 and len(self._dials) < self._limits.max_dials:
            candidate_or_none = self._choose(now)
            if candidate_or_none is None:
                break
            self._start(candidate_or_none, now)
        return self._next(now)

    def kept_peers(self) -> set[Identity]:
        """Return who is at kept addresses, as far as known."""
        return {entry.identity for entry in self._candidates if entry.keep and entry.identity is not None}

    def via(self, address: str) -> Via:
        """Return how an address became known."""
        candidate = self._candidates.get(address)
        return Via.INBOUND if candidate is None else candidate.via

    def known(self, address: str) -> Identity | None:
        """Return who was known to answer at an address that another key answers at now; None: nothing has changed."""
        candidate = self._candidates.get(address)
        return candidate.known if candidate is not None and candidate.stranger is not None else None

    def unlinked(self) -> Iterator[Candidate]:
        """Go through the addresses whose peer has no link."""
        return (entry for entry in self._candidates if entry.identity is None or entry.identity not in self._linked)

    def _heard(self, address: str, via: Via, identity: Identity | None, now: float) -> Candidate | None:
        table = self._candidates
        evicted, refused = table.evicted, table.refused
        candidate = table.heard(address, via, identity, self._chance.fraction(), now)
        if table.evicted > evicted:
            self._effects.count(counters.PEER_EVICTED, table.evicted - evicted)
        if table.refused > refused:
            self._effects.count(counters.PEER_REFUSED)
        return candidate

    def _recognise(self, candidate: Candidate, peer: Identity) -> None:
        """Compare who answers at a kept address with who answered before; a stranger is told of loudly, once."""
        if not candidate.keep or peer == candidate.known:
            candidate.stranger = None
        elif candidate.known is None:
            candidate.known = peer
        elif peer != candidate.stranger:
            candidate.stranger = peer
            self._effects.count(counters.PEER_CHANGED)
            was, now_is = text_id(candidate.known), text_id(peer)
            self._effects.do(
                Notice("warning", f"THE KEY AT {candidate.address} HAS CHANGED: it was {was} and is {now_is} now")
            )

    def _start(self, candidate: Candidate, now: float) -> None:
        candidate.dialled_at = candidate.since = now
        self._dials[candidate.address] = candidate
        self._by_source[candidate.via] = self._by_source.get(candidate.via, 0) + 1
        self._effects.count(counters.DIAL_STARTED)
        self._effects.do(Connect(candidate.address, candidate.expected))

    def _give_up(self, now: float) -> None:
        for candidate in tuple(self._dials.values()):
            if candidate.dialled_at is not None and candidate.dialled_at + self._limits.dial_s <= now:
                self.failed(candidate.address, "no answer", now)

    def _back_off(self, candidate: Candidate, reason: str, now: float, *, vain: bool = False) -> None:
        """Wait before the next dial; ``vain``: many packets were sent and nothing came of it."""
        candidate.dialled_at = None
        candidate.since = now
        candidate.reason = reason
        limits = self._limits
        steps, most, floor = 1, limits.backoff_max_s, 0.0
        if vain and self._linked and candidate.failures >= _SPARE:
            steps, most, floor = 4, limits.backoff_spare_s, 0.5
        elif vain:
            steps, most = 2, limits.backoff_vain_s
        candidate.failures += steps
        wait = self._chance.backoff(candidate.failures, limits.backoff_min_s, most, floor=floor)
        candidate.retry_at = now + wait
        if not candidate.keep and now - candidate.heard_at >= self._limits.stale_s:
            self._candidates.drop(candidate)

    def _must(self, candidate: Candidate) -> bool:
        """Whether it is dialled however many links there are."""
        return candidate.keep or (candidate.identity is not None and self._waiting(candidate.identity))

    def _ready(self, candidate: Candidate, now: float) -> bool:
        return candidate.next_at <= now and self._free(candidate)

    def _free(self, candidate: Candidate) -> bool:
        """Whether nothing speaks against dialling but the time: no dial and no link to this peer yet."""
        identity = candidate.identity
        if candidate.dialled_at is not None:
            return False
        if identity is None:
            return True
        return identity not in self._linked and all(dial.identity != identity for dial in self._dials.values())

    def _wanted(self) -> int:
        """Return how many more links on discovered peers there should be."""
        kept = self.kept_peers()
        links = sum(peer not in kept for peer in self._linked)
        return self._limits.target_links - links - sum(not dial.keep for dial in self._dials.values())

    def _choose(self, now: float) -> Candidate | None:
        ready = [entry for entry in self._candidates if not entry.keep and self._ready(entry, now)]
        if not ready:
            return None
        if self._wanted() == 1 and not self._has_long():
            self._long = self._chance.pick(ready)
            return self._long
        return min(ready, key=self._preference)

    def _preference(self, candidate: Candidate) -> tuple[bool, int, int, float]:
        source = self._by_source.get(candidate.via, 0)
        return (not candidate.proven, candidate.failures, source, candidate.rank)

    def _has_long(self) -> bool:
        long = self._long
        return long is not None and (long.dialled_at is not None or long.identity in self._linked)

    def _next(self, now: float) -> float | None:
        times = [dial.dialled_at + self._limits.dial_s for dial in self._dials.values() if dial.dialled_at is not None]
        if len(self._dials) < self._limits.max_dials:
            wanted = self._wanted() > 0
            times += [
                entry.next_at
                for entry in self._candidates
                if (wanted or self._must(entry)) and entry.next_at > now and self._free(entry)
            ]
        return min(times, default=None)

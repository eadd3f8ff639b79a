"""Where an envelope goes next: to whom serves its recipient, along a route, or with any neighbour as a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qpq.mesh.custody import MAX_TRIED, Way
from qpq.mesh.due import Due

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.chance import Chance
    from qpq.mesh.custody import Custody, Destination, Held
    from qpq.mesh.due import Timer
    from qpq.mesh.limits import Limits
    from qpq.mesh.served import Served
    from qpq.mesh.timers import Timers
    from qpq.mesh.windows import Window, Windows

_MAX_DOUBLINGS = 32
_FOR_NEWCOMERS = 2
"""Copies kept for neighbours that come later: who is always here meets the same nodes, who moves meets others."""
_PATIENT, _HASTE = 2, 2
"""So many neighbours have their whole time for a receipt, the next ones half of it, a quarter: after that many in vain
the rest may lie too, and there may be dozens of those. At most so many halvings."""
_LOSSY, _MUCH = 256, 2
"""A link of at least this cost to whom a message is for is gone around where a route costs so many times less."""
_MAX_WANTS = 9
"""Doublings of the wait before a route is asked for again; the search ends where nobody does for an hour."""


class Hop(Protocol):
    """A neighbour on the way to an address, ``hops`` links from it."""

    @property
    def link(self) -> int: ...  # noqa: D102 (a field)
    @property
    def peer(self) -> Identity: ...  # noqa: D102 (a field)
    @property
    def hops(self) -> int: ...  # noqa: D102 (a field)
    @property
    def cost(self) -> int: ...  # noqa: D102 (a field)


class Routing(Protocol):
    """What is asked of the routes (mesh.routing)."""

    def next_hops(self, address: Address, now: float) -> tuple[Hop, ...]:
        """Return the neighbours that lead to an address, best first; none: no route."""
        ...

    def distance(self, address: Address) -> int:
        """Return the length of the route to an address; 0: there is none."""
        ...

    def wanted(self, address: Address, now: float, *, own: bool = True) -> None:
        """Look for a route, for a user here or (not ``own``) for what is only relayed."""
        ...

    def link_cost(self, number: int) -> int:
        """Return what a usable link costs, in sixteenths of a perfect one."""
        ...

    def disprove(self, address: Address, link: int, now: float) -> None:
        """Believe a neighbour's route no longer."""
        ...

    def score(self, peer: Identity, good: bool, now: float) -> None:
        """Learn that a receipt came back through a neighbour, or did not in time."""
        ...


class Ways:
    """Chooses links; where there is no route it asks for one, and after a while does without."""

    __slots__ = ("_chance", "_custody", "_limits", "_routing", "_served", "_spray_at", "_timers", "_windows")

    def __init__(
        self,
        *,
        limits: Limits,
        chance: Chance,
        timers: Timers[Timer],
        served: Served,
        custody: Custody,
        routing: Routing,
        windows: Windows,
    ) -> None:
        self._limits = limits
        self._chance = chance
        self._timers = timers
        self._served = served
        self._custody = custody
        self._routing = routing
        self._windows = windows
        self._spray_at: float | None = None

    def hops(self, recipient: Address, destination: Destination, now: float) -> tuple[Hop, ...]:
        """Return the route to a recipient that no neighbour serves; where there is none, one is looked for.

        Where little comes over the link to a neighbour that does, return those around it that cost less, if any.
        """
        number = self._served.link_for(recipient)
        if number is not None:
            return self._around(number, recipient, now)
        hops = self._routing.next_hops(recipient, now)
        if hops:
            destination.spraying = False
        else:
            self._routing.wanted(recipient, now, own=any(item.own for item in destination.items))
        return hops

    def choose(self, item: Held, destination: Destination, hops: tuple[Hop, ...]) -> tuple[Window, Way] | None:
        """Return the link for an envelope, and why; None: there is none now."""
        may_pass = item.hops + 1 < item.max_hops
        for hop in hops if may_pass else ():
            found = self._windows.get(hop.link)
            if found is not None and self._may_carry(found, item, destination):
                return found, Way.ROUTE
        number = self._served.link_for(item.recipient)
        if number is not None:
            window = self._windows[number]
            blocked = destination.lanes and destination.blocked(window.peer)
            return None if blocked else (window, Way.DIRECT)
        if not may_pass:
            return None
        astray = item.astray and bool(hops)
        if astray or (not hops and destination.spraying and item.copies > 1):
            for window in reversed(self._windows.all()):
                if not astray and item.copies <= _FOR_NEWCOMERS and item.order > window.since:
                    continue
                if window.met and window.peer not in item.given and self._may_carry(window, item, destination):
                    return window, Way.DETOUR if astray else Way.SPRAY
        return None

    def stray(self, item: Held, destination: Destination, hops: tuple[Hop, ...], now: float) -> None:
        """Look farther once all routes have been tried and no receipt came: who offers them may lie.

        The mesh is asked anew, and neighbours that offer none may know better; then all begins again, more slowly.
        """
        if not hops or not item.failures:
            return
        if len(item.tried) < MAX_TRIED and any(hop.peer not in item.tried for hop in hops):
            return
        if not item.astray:
            item.astray = True
            item.rounds += 1
            self._routing.wanted(item.recipient, now)
        if self.choose(item, destination, hops) is None:
            item.astray = False
            item.tried = ()

    def patience(self, item: Held, now: float, *, flying: bool = False) -> float:
        """Return the wait for a receipt: so much a hop, doubling whenever all routes have been tried in vain.

        It is shorter where several in a row have been; a receipt that comes late counts all the same. While the
        neighbour has not even said that it has the envelope (``flying``) another is tried soon, if there is one.
        """
        limits = self._limits
        routes = self._routing.next_hops(item.recipient, now)
        hops = next((hop.hops for hop in routes if hop.peer == item.peer), routes[0].hops + 2 if routes else 1)
        wait = (limits.receipt_s + limits.receipt_hop_s * hops) * 2.0 ** min(item.rounds, _MAX_DOUBLINGS)
        haste = min(max(len(item.tried) + 1 - _PATIENT, 0), _HASTE)
        wait = min(wait, limits.receipt_max_s) * 0.5**haste
        if flying and any(hop.peer not in item.tried and hop.peer not in {item.peer, item.via} for hop in routes):
            wait = min(wait, limits.silent_s)
        return self._chance.stretch(wait)

    def wait(self, destination: Destination, now: float) -> None:
        """Note that something for a recipient cannot go anywhere now."""
        if destination.patience < 0:
            self._wait(destination, 0, now)

    def over(self, now: float) -> list[tuple[Address, Destination]]:
        """Return the recipients for whom was waited long enough: every neighbour may be tried, ever more rarely."""
        self._spray_at = None
        found: list[tuple[Address, Destination]] = []
        for recipient, destination in self._custody.destinations():
            if destination.patience < 0:
                continue
            if destination.due > now:
                self._watch(destination.due)
                continue
            waiting = destination.waiting()
            if not waiting:
                destination.patience = -1
                continue
            for item in waiting:
                item.tried = ()
            destination.spraying = True
            self._wait(destination, destination.patience + 1, now)
            found.append((recipient, destination))
        return found

    def rest(self) -> None:
        """Wait for nothing any more: there is nothing in custody."""
        self._spray_at = None
        self._timers.cancel((Due.SPRAY, 0))

    def _around(self, number: int, recipient: Address, now: float) -> tuple[Hop, ...]:
        direct = self._routing.link_cost(number)
        if direct < _LOSSY:
            return ()
        hops = self._routing.next_hops(recipient, now)
        return tuple(hop for hop in hops if hop.link != number and hop.cost * _MUCH < direct)

    def _may_carry(self, window: Window, item: Held, destination: Destination) -> bool:
        return (
            window.relays
            and window.peer != item.via
            and window.peer not in item.tried
            and window.fits(item)
            and not destination.blocked(window.peer)
        )

    def _wait(self, destination: Destination, patience: int, now: float) -> None:
        destination.patience = patience
        destination.due = now + self._limits.spray_s * 2.0 ** min(patience, _MAX_WANTS)
        self._watch(destination.due)

    def _watch(self, at: float) -> None:
        if self._spray_at is None or at < self._spray_at:
            self._spray_at = at
            self._timers.set((Due.SPRAY, 0), at)

"""How well messages came through a neighbour: what its receipts, and their absence, say about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qpq.crypto.identity import Identity
    from qpq.mesh.limits import Limits

_BLAME = 0.3
_PRAISE = 0.5
_WEIGHT = 16
_DOUBT, _TRUST = 0.4, 0.6
_FORGIVEN = 0.05
"""A neighbour against whom no more speaks, and for whom nothing does, is one of whom nothing is known."""


class Scores:
    """At most ``limits.scores`` neighbours; the one heard of longest ago gives way and counts as good again.

    Names are free, so where more neighbours have failed than proved themselves those of whom nothing is known are
    believed less than these (``weighed``): else one that lies under many names would have to be found out under each.
    ``_proven``: through whom a receipt came, and few did not since.
    """

    __slots__ = ("_deficits", "_doubted", "_limits", "_proven")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._deficits: dict[Identity, tuple[float, float | None]] = {}
        self._doubted: set[Identity] = set()
        self._proven: set[Identity] = set()

    def note(self, peer: Identity, *, good: bool) -> None:
        """Count a receipt that came through ``peer`` (``good``), or one that did not come in time."""
        deficit = self._deficits.pop(peer, (0.0, None))[0]
        deficit = deficit * _PRAISE if good else deficit + (1 - deficit) * _BLAME
        self._deficits[peer] = (deficit, None)
        if good:
            self._proven.add(peer)
        elif 1 - deficit < _TRUST:
            self._proven.discard(peer)
        if len(self._deficits) > self._limits.scores:
            oldest = next(iter(self._deficits))
            del self._deficits[oldest]
            self._doubted.discard(oldest)
            self._proven.discard(oldest)

    def doubt(self, peer: Identity, now: float) -> int:
        """Return by what the routes that a neighbour offers cost more than it says: 1 while it can be believed.

        Three receipts in a row that did not come raise doubts; one that comes settles them, or time does.
        """
        score = self.of(peer, now)
        if score < _DOUBT:
            self._doubted.add(peer)
        elif score > _TRUST:
            self._doubted.discard(peer)
        return _WEIGHT if peer in self._doubted else 1

    def of(self, peer: Identity, now: float) -> float:
        """Return 1 for a neighbour nothing speaks against, down to 0; half of what does is forgiven in ``score_s``."""
        known = self._deficits.get(peer)
        if known is None:
            return 1.0
        deficit, at = known
        left: float = 1.0 if at is None else 0.5 ** ((now - at) / self._limits.score_s)
        deficit *= left
        if deficit < _FORGIVEN and peer not in self._proven:
            del self._deficits[peer]
            return 1.0
        self._deficits[peer] = (deficit, now)
        return 1 - deficit

    def weighed(self, cost: int, peer: Identity, now: float) -> float:
        """Return a route's cost with its next hop's score in it: up to 17 times as much.

        Of a neighbour that has proved nothing it is up to 17 times that, by how many more fail than prove themselves.
        """
        weighed = cost * (1 + _WEIGHT * (1 - self.of(peer, now)))
        if not self._proven or peer in self._proven:
            return weighed
        known = len(self._deficits)
        return weighed * (1 + _WEIGHT * max(0, known - 2 * len(self._proven)) / known)

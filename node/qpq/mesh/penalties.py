"""Peers that misbehaved are kept away, each time for twice as long."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qpq.crypto.identity import Identity
    from qpq.mesh.limits import Limits


class Penalties:
    """At most ``max_penalties`` identities; the one whose penalty ends first gives way.

    An offence after more than ``penalty_max_s`` without another counts as the first.
    """

    __slots__ = ("_limits", "_until")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._until: dict[Identity, tuple[float, int]] = {}

    def punish(self, peer: Identity, now: float) -> float:
        """Note an offence and return until when (seconds) the peer is kept away."""
        limits = self._limits
        until, offences = self._until.pop(peer, (now, 0))
        if now > until + limits.penalty_max_s:
            offences = 0
        if len(self._until) >= limits.max_penalties:
            del self._until[min(self._until, key=self._ends)]
        wait = min(limits.penalty_max_s, limits.penalty_min_s * 2.0 ** min(offences, 32))
        self._until[peer] = (now + wait, offences + 1)
        return now + wait

    def until(self, peer: Identity) -> float:
        """Return until when (seconds) the peer is kept away; 0: it never misbehaved."""
        return self._until.get(peer, (0.0, 0))[0]

    def _ends(self, peer: Identity) -> float:
        return self._until[peer][0]

    def __len__(self) -> int:
        """Return how many peers are remembered."""
        return len(self._until)

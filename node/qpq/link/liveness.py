"""Whether the peer is still there and still takes what it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.link.aioquic_private_recovery import PROBE_S
from qpq.link.refusals import Refusal
from qpq.wire.frames import CloseCode

if TYPE_CHECKING:
    from qpq.link.limits import LinkLimits

NEVER: Final = float("inf")
_PROBES = 5.3  # ln 200: after so many fair chances all but one living peer in two hundred have answered
_MOST_LOSS = 0.9


class Liveness:
    """Watches for signs of life (without any the peer is gone) and what the stream delivers (else it is too slow).

    A probe is answered with the chance that it and its answer both arrive; so the more a link has been
    losing while it did answer, the longer it is given.
    """

    __slots__ = ("_delivered", "_hurried", "_limits", "_signs", "_stalled", "_stretch", "_stuck")

    def __init__(self, limits: LinkLimits) -> None:
        self._limits = limits
        self._hurried = False
        self._stretch = 1.0
        self._signs = -1
        self._stalled = NEVER
        self._delivered = 0
        self._stuck = NEVER

    def hurry(self) -> None:
        """Wait less for the next acknowledgement: something about the network has changed."""
        self._hurried = True

    def watch(self, now: float, *, awaiting: bool, signs: int, delivered: int, backlog: int, loss: float) -> None:
        """Take note of the state after sending.

        ``awaiting``: packets are unacknowledged; ``signs`` grows with every sign of life; ``delivered``
        and ``backlog``: bytes of the stream that the peer has, and that it has not; ``loss`` 0 to 1 of the packets.
        """
        if signs != self._signs or not awaiting:
            self._signs = signs
            self._stalled = now if awaiting else NEVER
            self._stretch = max(1.0, _PROBES * PROBE_S / (1.0 - min(loss, _MOST_LOSS)) ** 2 / self._limits.patience_s)
        elif self._stalled == NEVER:
            self._stalled = now
        if not awaiting:
            self._hurried = False
        if delivered != self._delivered or not backlog:
            self._delivered = delivered
            self._stuck = now if backlog else NEVER
        elif self._stuck == NEVER:
            self._stuck = now

    def deadline(self) -> float:
        """Return when ``verdict`` will have something to say."""
        return min(self._stalled + self._patience, self._stuck + max(self._limits.slow_s, self._patience))

    def verdict(self, now: float) -> tuple[CloseCode, str, Refusal | None] | None:
        """Return what to close the link with, if it is time for that."""
        if now >= self._stalled + self._patience:
            return CloseCode.NONE, f"no answer for {self._patience:.0f} s", None
        slow = max(self._limits.slow_s, self._patience)
        if now >= self._stuck + slow:
            return CloseCode.TOO_SLOW, f"nothing was taken for {slow:.0f} s", Refusal.SLOW
        return None

    @property
    def _patience(self) -> float:
        limits = self._limits
        return min((limits.kicked_patience_s if self._hurried else limits.patience_s) * self._stretch, limits.idle_s)

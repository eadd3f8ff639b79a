"""Whether the peer is still there and still takes what it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.link.aioquic_private_recovery import PROBE_S
from qpq.link.ports import NEVER
from qpq.link.refusals import Refusal
from qpq.wire.frames import CloseCode

if TYPE_CHECKING:
    from qpq.link.limits import LinkLimits

_PROBES = 5.3  # ln 200: after so many fair chances all but one living peer in two hundred have answered
_MOST_LOSS = 0.9
_DEAR = 0.4  # a keep-alive of a link that delivers less is answered only after so many probes that it comes more rarely
_RAREST = 4.0
_LEAST_KEEPALIVE_S = 5.0  # whatever idle time a peer wishes for
_PATIENT = 1.5  # times as long waits the end that did not begin the link: mostly it is asked before


class Liveness:
    """Watches for signs of life (without any the peer is gone) and what the stream delivers (else it is too slow).

    A probe is answered with the chance that it and its answer both arrive; so the more a link has been
    losing while it did answer, the longer it is given.
    """

    __slots__ = ("_delivered", "_hurried", "_limits", "_rarely", "_signs", "_stalled", "_stretch", "_stuck")

    def __init__(self, limits: LinkLimits) -> None:
        self._limits = limits
        self._hurried = False
        self._stretch = self._rarely = 1.0
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
            delivered_part = 1.0 - min(loss, _MOST_LOSS)
            self._stretch = max(1.0, _PROBES * PROBE_S / delivered_part**2 / self._limits.patience_s)
            self._rarely = min(max(1.0, _DEAR / delivered_part), _RAREST)
        elif self._stalled == NEVER:
            self._stalled = now
        if not awaiting:
            self._hurried = False
        if delivered != self._delivered or not backlog:
            self._delivered = delivered
            self._stuck = now if backlog else NEVER
        elif self._stuck == NEVER:
            self._stuck = now

    def keepalive(self, idle_s: float, *, initiator: bool, jitter: float) -> float:
        """Return the seconds of silence after which to ask whether the peer is there; ``idle_s``: both ends' most."""
        wait = max(_LEAST_KEEPALIVE_S, min(self._limits.keepalive_s * self._rarely, idle_s / 3))
        return wait * (1 - jitter / 4) if initiator else wait * _PATIENT

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
        patience = limits.kicked_patience_s if self._hurried else limits.patience_s
        return min(patience * self._stretch, limits.patience_max_s)

"""Whether the peer is still there and still takes what it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.link.refusals import Refusal
from qpq.wire.frames import CloseCode

if TYPE_CHECKING:
    from qpq.link.limits import LinkLimits

NEVER: Final = float("inf")


class Liveness:
    """Watches acknowledgements: of packets (else the peer is gone) and of the stream (else it is too slow)."""

    __slots__ = ("_acknowledged", "_delivered", "_limits", "_patience", "_stalled", "_stuck")

    def __init__(self, limits: LinkLimits) -> None:
        self._limits = limits
        self._patience = limits.patience_s
        self._acknowledged = -1
        self._stalled = NEVER
        self._delivered = 0
        self._stuck = NEVER

    def hurry(self) -> None:
        """Wait less for the next acknowledgement: something about the network has changed."""
        self._patience = self._limits.kicked_patience_s

    def watch(self, now: float, *, awaiting: bool, acknowledged: int, delivered: int, backlog: int) -> None:
        """Take note of the state after sending.

        ``awaiting``: packets are unacknowledged; ``acknowledged``: the newest packet that is not; ``delivered``
        and ``backlog``: bytes of the stream that the peer has, and that it has not.
        """
        if acknowledged != self._acknowledged or not awaiting:
            self._acknowledged = acknowledged
            self._stalled = now if awaiting else NEVER
        elif self._stalled == NEVER:
            self._stalled = now
        if not awaiting:
            self._patience = self._limits.patience_s
        if delivered != self._delivered or not backlog:
            self._delivered = delivered
            self._stuck = now if backlog else NEVER
        elif self._stuck == NEVER:
            self._stuck = now

    def deadline(self) -> float:
        """Return when ``verdict`` will have something to say."""
        return min(self._stalled + self._patience, self._stuck + self._limits.slow_s)

    def verdict(self, now: float) -> tuple[CloseCode, str, Refusal | None] | None:
        """Return what to close the link with, if it is time for that."""
        if now >= self._stalled + self._patience:
            return CloseCode.NONE, f"no answer for {self._patience:.0f} s", None
        if now >= self._stuck + self._limits.slow_s:
            return CloseCode.TOO_SLOW, f"nothing was taken for {self._limits.slow_s:.0f} s", Refusal.SLOW
        return None

"""A token bucket: how much of something may come at once, and how much for long; and those of one link."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qpq.mesh.limits import Limits

_PASSED = 64
PASSED_S: Final = 120.0
"""Receipts remembered as passed on over a link, and for how long it may not have arrived; the oldest is forgotten."""


class Bucket:
    """Holds at most ``depth`` tokens and gains ``rate`` of them a second; it starts full."""

    __slots__ = ("_at", "_depth", "_rate", "_tokens")

    def __init__(self, rate: float, depth: float, now: float) -> None:
        self._rate = rate
        self._depth = depth
        self._tokens = depth
        self._at = now

    def take(self, amount: float, now: float) -> bool:
        """Take ``amount`` tokens; False, and none taken, when there are fewer."""
        self._tokens = min(self._depth, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if amount > self._tokens:
            return False
        self._tokens -= amount
        return True

    def charge(self, amount: float) -> None:
        """Take what has been used already: down to nothing, at most."""
        self._tokens = max(0.0, self._tokens - amount)


class Ingress:
    """What one link may bring: bytes to keep, proofs nobody here can check, sessions and words about keys for users.

    ``passed``: when which receipts (short ids) were passed on over it.
    """

    __slots__ = ("controls", "passed", "proofs", "sessions", "size")

    def __init__(self, limits: Limits, now: float) -> None:
        self.size = Bucket(limits.relay_rate, limits.relay_burst, now)
        self.proofs = Bucket(limits.proof_rate, limits.proof_burst, now)
        self.controls = Bucket(limits.control_rate, limits.control_burst, now)
        self.sessions = Bucket(limits.agreement_rate, limits.agreement_burst, now)
        self.passed = deque[tuple[float, bytes]](maxlen=_PASSED)

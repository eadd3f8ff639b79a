"""A token bucket: how much of something may come at once, and how much for long."""

from __future__ import annotations


class Bucket:
    """Holds at most ``depth`` tokens and gains ``rate`` of them a second; it starts full."""

    __slots__ = ("_at", "_depth", "_rate", "_tokens")

    def __init__(self, rate: float, depth: float, now: float) -> None:
        self._rate = rate
        self._depth = depth
        self._tokens = depth
        self._at = now

    def has(self, amount: float, now: float) -> bool:
        """Whether there are ``amount`` tokens."""
        self._tokens = min(self._depth, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return amount <= self._tokens

    def take(self, amount: float, now: float) -> bool:
        """Take ``amount`` tokens; False, and none taken, when there are fewer."""
        if not self.has(amount, now):
            return False
        self._tokens -= amount
        return True

    def owe(self, amount: float, now: float) -> None:
        """Take what has been used already, where there is less to be paid back before more is had."""
        self.has(0, now)
        self._tokens -= amount

    def charge(self, amount: float) -> None:
        """Take what has been used already: down to nothing, at most."""
        self._tokens = max(0.0, self._tokens - amount)

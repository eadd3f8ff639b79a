"""Rates and tables that strangers can drive, kept inside named bounds (time is an argument, in seconds)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

MAX_SOURCES: Final = 256


class TokenBucket:
    """Allows ``burst`` events at once and ``rate`` a second on average."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Count one event at ``now``; False when it is one too many. Time that runs backwards adds nothing."""
        self._level = min(self._burst, self._level + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True


class SourceLimiter:
    """One TokenBucket for each source, at most MAX_SOURCES of them: the source idle for longest is forgotten."""

    __slots__ = ("_buckets", "_burst", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: dict[Hashable, TokenBucket] = {}

    def __len__(self) -> int:
        """How many sources are remembered."""
        return len(self._buckets)

    def take(self, source: Hashable, now: float) -> bool:
        """Count one event of ``source`` at ``now``; False when it is one too many."""
        bucket = self._buckets.pop(source, None) or TokenBucket(self._rate, self._burst)
        while len(self._buckets) >= MAX_SOURCES:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[source] = bucket
        return bucket.take(now)

"""How much of something each of many sources may use, so that the greedy leave room for the modest."""

from __future__ import annotations

from math import exp


class Shares:
    """A level of about ``depth`` at most that drains; a source may add while its own part is less than what is free.

    (Dynamic thresholds: A. Choudhury, E. Hahne, "Dynamic queue length thresholds for shared-memory packet switches",
    1998.) One that takes all it can gets half, two get a third each; who has added next to nothing lately always may.
    ``rate`` a second drain from a full level. At most one entry a source that is not forgotten.
    """

    __slots__ = ("_all", "_depth", "_drain_s", "_parts")

    def __init__(self, rate: float, depth: float) -> None:
        self._depth = depth
        self._drain_s = depth / rate
        self._all = (0.0, 0.0)
        self._parts: dict[int, tuple[float, float]] = {}

    def take(self, source: int, now: float) -> bool:
        """Add one for a source; False: others are to find room too."""
        everything = self._left(self._all, now)
        part = self._left(self._parts.get(source, (0.0, now)), now)
        if part > _MODEST and part + 1 > self._depth - everything:
            return False
        self._all = (everything + 1, now)
        self._parts[source] = (part + 1, now)
        return True

    def forget(self, source: int) -> None:
        """Forget a source; what it has added drains all the same."""
        self._parts.pop(source, None)

    def _left(self, level: tuple[float, float], now: float) -> float:
        amount, at = level
        return amount * exp((at - now) / self._drain_s)


_MODEST = 0.5
"""A part so small never has to wait."""

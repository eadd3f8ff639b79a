"""How often something may happen: at most so many times in any minute."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 60.0


class Windows:
    """Counts by key (tokens, of which there are few): ``most`` in any 60 s."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._times: dict[str, deque[float]] = {}

    def take(self, key: str, now: float) -> float:
        """Count one more and return 0, or return the seconds after which there is room again."""
        times = self._times.setdefault(key, deque(maxlen=self.most))
        if len(times) == self.most and now - times[0] < WINDOW_S:
            return WINDOW_S - (now - times[0])
        times.append(now)
        return 0.0

    def forget(self, key: str) -> None:
        """Drop what was counted for a key that will not come back."""
        self._times.pop(key, None)

"""Virtual time: what is to happen when, in one heap, in an order that a seed repeats."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from qpq.errors import QpqError

if TYPE_CHECKING:
    from collections.abc import Callable


STANDING = 100_000
"""Actions at one instant after which a run gives up."""


class StandstillError(QpqError):
    """Something asks for its turn again and again at one instant: time stands still."""


class Agenda:
    """Calls ``action(argument)`` at its time; of those at one time the first that was asked for comes first."""

    __slots__ = ("_heap", "_order", "done", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.done = 0
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._order = 0

    def at(self, when: float, action: Callable[[Any], None], argument: Any = None) -> None:
        """Have something done at ``when`` seconds; a time that is over means at once."""
        self._order += 1
        heappush(self._heap, (when, self._order, action, argument))

    def after(self, wait: float, action: Callable[[Any], None], argument: Any = None) -> None:
        """Have something done in ``wait`` seconds."""
        self.at(self.now + wait, action, argument)

    def run(self, until: float) -> None:
        """Let time pass until ``until``, which is included."""
        heap = self._heap
        done = moved = 0
        while heap and heap[0][0] <= until:
            when, _, action, argument = heappop(heap)
            if when > self.now:
                self.now = when
                moved = done
            action(argument)
            done += 1
            if done - moved > STANDING:
                raise StandstillError(f"time stands still at {self.now} s in {action}")
        self.done += done
        self.now = max(self.now, until)

    def __len__(self) -> int:
        return len(self._heap)

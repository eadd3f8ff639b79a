"""Many deadlines behind the one timer that the core's caller keeps."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

_SLACK = 64

KeyT = TypeVar("KeyT")


class Timers(Generic[KeyT]):
    """Deadlines by key on a heap; a replaced or cancelled one stays on it until it surfaces.

    Such leftovers are swept once they outnumber the live ones by ``_SLACK``, so the heap is
    bounded by the number of keys, which the machines that own them bound.
    """

    __slots__ = ("_at", "_heap", "_order")

    def __init__(self) -> None:
        self._at: dict[KeyT, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, KeyT]] = []
        self._order = 0

    def set(self, key: KeyT, at: float) -> None:
        """Let ``key`` be due at ``at`` seconds, in place of when it was due before."""
        self._order += 1
        self._at[key] = (at, self._order)
        heappush(self._heap, (at, self._order, key))
        if len(self._heap) > 2 * len(self._at) + _SLACK:
            self._heap = [(at, order, key) for key, (at, order) in self._at.items()]
            heapify(self._heap)

    def cancel(self, key: KeyT) -> None:
        """Forget ``key``; one that is not set is no fault."""
        self._at.pop(key, None)

    def next_at(self) -> float | None:
        """Return when the next key is due, None: nothing waits."""
        heap = self._heap
        while heap:
            at, order, key = heap[0]
            if self._at.get(key) == (at, order):
                return at
            heappop(heap)
        return None

    def pop_due(self, now: float) -> KeyT | None:
        """Return one key that is due and forget it, the earliest first; None: no more."""
        at = self.next_at()
        if at is None or at > now:
            return None
        key = heappop(self._heap)[2]
        del self._at[key]
        return key

    def __len__(self) -> int:
        """Return how many keys wait."""
        return len(self._at)

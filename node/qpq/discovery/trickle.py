"""When to multicast again: the Trickle timer (RFC 6206 section 4.2), without a clock or randomness of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SHORTEST: Final = 0.5
"""Imin in seconds: a newcomer is heard within half a second."""

DOUBLINGS: Final = 11
"""Imax as doublings of Imin: 1024 s, 17 minutes."""

REDUNDANCY: Final = 8
"""k: who heard as many beacons that told nothing new in an interval keeps silent in it."""


class Trickle:
    """One timer: ``poll`` at ``at`` and send when it says so; ``consistent`` and ``reset`` tell what was heard.

    ``random`` returns a float in [0, 1); times are seconds on the caller's monotonic clock.
    """

    __slots__ = ("_end", "_heard", "_interval", "_longest", "_random", "_redundancy", "_send_at", "_shortest")

    def __init__(
        self,
        now: float,
        random: Callable[[], float],
        *,
        shortest: float = SHORTEST,
        doublings: int = DOUBLINGS,
        redundancy: int = REDUNDANCY,
    ) -> None:
        self._random = random
        self._shortest = shortest
        self._longest = shortest * 2**doublings
        self._redundancy = redundancy
        self._send_at: float | None = None
        self._begin(now, shortest)

    @property
    def interval(self) -> float:
        """The length of the interval now running (I of the RFC), in seconds."""
        return self._interval

    @property
    def at(self) -> float:
        """When ``poll`` has something to do."""
        return self._end if self._send_at is None else self._send_at

    def consistent(self) -> None:
        """Something was heard that tells nothing new (rule 3)."""
        self._heard += 1

    def reset(self, now: float) -> None:
        """Something changed: start again with the shortest interval, unless it is running (rule 6)."""
        if self._interval > self._shortest:
            self._begin(now, self._shortest)

    def poll(self, now: float) -> bool:
        """Do what is due at ``now``; True when it is time to send (rules 4 and 5).

        After a pause (suspended machine) missed intervals are skipped, not made up for.
        """
        send = False
        if self._send_at is not None and now >= self._send_at:
            self._send_at = None
            send = self._heard < self._redundancy
        if now >= self._end:
            begin = self._end if now - self._end < self._interval else now
            self._begin(begin, min(self._interval * 2, self._longest))
        return send

    def _begin(self, now: float, interval: float) -> None:
        self._interval = interval
        self._end = now + interval
        self._heard = 0
        self._send_at = now + interval * (1 + self._random()) / 2

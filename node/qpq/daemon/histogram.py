"""Latencies as Prometheus histograms: how many were no longer than each of a row of bounds."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds."""


class Histogram:
    """One series; ``name`` without the prefix ``qpq_``."""

    __slots__ = ("_counts", "_help", "_name", "_sum")

    def __init__(self, name: str, words: str) -> None:
        self._name = name
        self._help = words
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Note one."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._sum += seconds

    def render(self) -> str:
        """Return the exposition text."""
        name = f"qpq_{self._name}"
        lines = [f"# HELP {name} {self._help}", f"# TYPE {name} histogram"]
        total = 0
        for bound, count in zip((*BOUNDS, "+Inf"), self._counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return "\n".join([*lines, f"{name}_sum {self._sum:.6f}", f"{name}_count {total}"]) + "\n"


class Histograms:
    """Those of one part of the program, each made with its first value; ``words`` for those not in ``helps``."""

    def __init__(self, words: str, helps: Mapping[str, str] | None = None) -> None:
        self._words = words
        self._helps = helps or {}
        self._all: dict[str, Histogram] = {}

    def observe(self, name: str, seconds: float) -> None:
        """Note how long something took."""
        if name not in self._all:
            self._all[name] = Histogram(name, self._helps.get(name, self._words))
        self._all[name].observe(seconds)

    def render(self) -> str:
        """Return the exposition text of all."""
        return "".join(histogram.render() for _, histogram in sorted(self._all.items()))

"""Back-off, jitter and choice out of the randomness that the core was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BYTES = 8
_MAX_DOUBLINGS = 32

ItemT = TypeVar("ItemT")


class Chance:
    """Fractions, waits and choices; ``random(n)`` returns n random bytes."""

    __slots__ = ("random",)

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self.random = random

    def fraction(self) -> float:
        """Return an even draw from 0 (included) to 1 (not included)."""
        return (int.from_bytes(self.random(_BYTES), "big") >> 11) / (1 << 53)

    def backoff(self, failures: int, least: float, most: float, *, floor: float = 0.0) -> float:
        """Return the wait in seconds after so many failures (1 or more), with full jitter above ``floor`` of it.

        The ceiling is ``least`` after the first, doubles with each and ends at ``most``.
        """
        ceiling = min(most, least * (1 << min(failures - 1, _MAX_DOUBLINGS)))
        return (floor + (1 - floor) * self.fraction()) * ceiling

    def stretch(self, wait: float) -> float:
        """Return ``wait`` lengthened by up to a quarter, so that many told the same do not come at once."""
        return wait * (1 + self.fraction() / 4)

    def pick(self, items: Sequence[ItemT]) -> ItemT:
        """Return one of ``items``, each as likely as any other."""
        return items[int(self.fraction() * len(items))]

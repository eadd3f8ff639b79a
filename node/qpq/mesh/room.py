"""How much of what a machine's memory bounds may be used at present."""

from __future__ import annotations

_WHOLE = 100


class Room:
    """``percent`` of the caps, less while memory is short; ``takes``: others' messages are taken into custody."""

    __slots__ = ("percent", "takes")

    def __init__(self) -> None:
        self.percent = _WHOLE
        self.takes = True

    def of(self, cap: int) -> int:
        """Return what there is of a cap, at least 1."""
        return max(1, cap * self.percent // _WHOLE)

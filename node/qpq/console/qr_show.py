"""A QR code on a terminal: half blocks, coloured blanks or plain characters, by what it can show."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qpq.console.qr import Matrix

QUIET = 4
_RESET = "\x1b[0m"
_HALF_COLOURS = "\x1b[97;40m"
_LIGHT = "\x1b[47m"
_DARK = "\x1b[40m"
# By (upper is light, lower is light): light modules are drawn, as most terminals are dark.
_HALVES = {(0, 0): " ", (1, 0): "\u2580", (0, 1): "\u2584", (1, 1): "\u2588"}


class Look(Enum):
    """How modules are drawn."""

    HALF_BLOCKS = "half blocks"
    COLOURED_HALF_BLOCKS = "coloured half blocks"
    COLOURED_BLANKS = "coloured blanks"
    ASCII = "ascii"


def best_look(*, utf8: bool, colours: bool) -> Look:
    """Return the look that scans best on such a terminal."""
    if utf8:
        return Look.COLOURED_HALF_BLOCKS if colours else Look.HALF_BLOCKS
    return Look.COLOURED_BLANKS if colours else Look.ASCII


def show(matrix: Matrix, look: Look) -> list[str]:
    """Return the lines to print, the quiet zone of 4 modules included."""
    framed = _framed(matrix)
    if look is Look.ASCII:
        return ["".join("##" if module else "  " for module in row) for row in framed]
    if look is Look.COLOURED_BLANKS:
        return [_blanks(row) for row in framed]
    lines = [
        "".join(_HALVES[1 - upper, 1 - lower] for upper, lower in zip(row, framed[at + 1], strict=True))
        for at, row in enumerate(framed[:-1])
        if at % 2 == 0
    ]
    if look is Look.COLOURED_HALF_BLOCKS:
        return [_HALF_COLOURS + line + _RESET for line in lines]
    return lines


def _framed(matrix: Matrix) -> list[bytes]:
    """Return the matrix in its quiet zone, an even number of rows."""
    wide = len(matrix) + 2 * QUIET
    rows = [bytes(QUIET) + row + bytes(QUIET) for row in matrix]
    below = QUIET + wide % 2
    return [bytes(wide)] * QUIET + rows + [bytes(wide)] * below


def _blanks(row: bytes) -> str:
    parts = []
    before = None
    for module in row:
        if module != before:
            parts.append(_DARK if module else _LIGHT)
            before = module
        parts.append("  ")
    return "".join(parts) + _RESET

"""The numbers of ISO/IEC 18004 that a QR code encoder needs, versions 1 to 10, levels L and M."""

from __future__ import annotations

MAX_VERSION = 10
ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"

# Table 9: per version (error correction codewords a block, blocks of the first kind, data codewords of
# each, blocks of the second kind, which have one data codeword more).
BLOCKS: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "L": (
        (7, 1, 19, 0), (10, 1, 34, 0), (15, 1, 55, 0), (20, 1, 80, 0), (26, 1, 108, 0),
        (18, 2, 68, 0), (20, 2, 78, 0), (24, 2, 97, 0), (30, 2, 116, 0), (18, 2, 68, 2),
    ),
    "M": (
        (10, 1, 16, 0), (16, 1, 28, 0), (26, 1, 44, 0), (18, 2, 32, 0), (24, 2, 43, 0),
        (16, 4, 27, 0), (18, 4, 31, 0), (22, 2, 38, 2), (22, 3, 36, 2), (26, 4, 43, 1),
    ),
}  # fmt: skip
# Table E.1: the coordinates of the alignment patterns' centres.
ALIGNMENT: tuple[tuple[int, ...], ...] = (
    (), (6, 18), (6, 22), (6, 26), (6, 30), (6, 34), (6, 22, 38), (6, 24, 42), (6, 26, 46), (6, 28, 50),
)  # fmt: skip
# Table 12: the two bits of the error correction level in the format information.
LEVEL_BITS = {"L": 0b01, "M": 0b00}


def data_codewords(version: int, level: str) -> int:
    """Return how many data codewords (bytes) a symbol holds."""
    _, first, size, second = BLOCKS[level][version - 1]
    return first * size + second * (size + 1)


def side(version: int) -> int:
    """Return the symbol's side in modules, without the quiet zone."""
    return 17 + 4 * version

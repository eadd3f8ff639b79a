"""QR codes (ISO/IEC 18004): text to a matrix of modules.

One segment in alphanumeric or byte mode, versions 1 to 10, error correction L or M, the mask with the
least penalty. ``qr_show`` puts the matrix on a terminal.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

from qpq.console.errors import ConsoleError
from qpq.console.qr_tables import ALIGNMENT, ALPHANUMERIC, BLOCKS, LEVEL_BITS, MAX_VERSION, data_codewords, side

Matrix: TypeAlias = tuple[bytes, ...]

MASKS = 8
_DARK = 1
_LIGHT = 0
_FREE = 2
_ALPHANUMERIC_MODE = 0b0010
_BYTE_MODE = 0b0100
_LONG_COUNT_FROM = 10
_FORMAT_BITS = 15
_FORMAT_MASK = 0b101010000010010
_FORMAT_POLYNOMIAL = 0b10100110111
_VERSION_POLYNOMIAL = 0b1111100100101
_VERSION_FROM = 7
_FIELD_POLYNOMIAL = 0x11D
_TIMING = 6
_FINDER_REACH = 4
_ALIGNMENT_REACH = 2
_LONG_RUN = 5


class TooLongError(ConsoleError):
    """The text does not fit into a QR code of version 10."""


def encode(text: str, *, level: str = "M", mask: int | None = None) -> Matrix:
    """Return the smallest symbol for ``text``: rows of bytes, 1 is dark; raises TooLongError.

    ``level`` is ``L`` or ``M``; ``mask`` (0 to 7) is chosen by penalty when None.
    """
    version, bits = _segment(text, level)
    stream = _interleave(_codewords(bits, data_codewords(version, level)), version, level)
    frame = _function_patterns(version)
    modules = [bytearray(row) for row in frame]
    _place(modules, stream)
    if mask is not None:
        return _finished(modules, frame, level, mask)
    return min((_finished(modules, frame, level, number) for number in range(MASKS)), key=penalty)


def penalty(matrix: Matrix) -> int:
    """Return the penalty of a symbol (ISO/IEC 18004, 7.8.3): runs, blocks, finder look-alikes, balance."""
    size = len(matrix)
    lines = [*matrix, *(bytes(row[x] for row in matrix) for x in range(size))]
    points = sum(_run_points(line) + _finder_points(line) for line in lines)
    for above, below in pairwise(matrix):
        for x in range(size - 1):
            if above[x] == above[x + 1] == below[x] == below[x + 1]:
                points += 3
    dark = sum(map(sum, matrix))
    return points + 10 * (abs(20 * dark - 10 * size * size) // (size * size))


# --- data ----------------------------------------------------------------------------------


def _segment(text: str, level: str) -> tuple[int, list[int]]:
    """Return the version and the bits of the one segment: mode, count, data."""
    alphanumeric = bool(text) and all(char in ALPHANUMERIC for char in text)
    data = text.encode("utf-8")
    payload = _alphanumeric_bits(text) if alphanumeric else _bits(int.from_bytes(data, "big"), 8 * len(data))
    for version in range(1, MAX_VERSION + 1):
        long = version >= _LONG_COUNT_FROM
        count_bits = (11 if long else 9) if alphanumeric else (16 if long else 8)
        room = 8 * data_codewords(version, level) - 4 - count_bits
        if len(payload) <= room and len(data) < 1 << count_bits:
            mode = _ALPHANUMERIC_MODE if alphanumeric else _BYTE_MODE
            return version, _bits(mode, 4) + _bits(len(data), count_bits) + payload
    raise TooLongError(f"{len(data)} bytes are too many for a QR code; show the text instead")


def _alphanumeric_bits(text: str) -> list[int]:
    bits = []
    for at in range(0, len(text) - 1, 2):
        bits += _bits(45 * ALPHANUMERIC.index(text[at]) + ALPHANUMERIC.index(text[at + 1]), 11)
    if len(text) % 2:
        bits += _bits(ALPHANUMERIC.index(text[-1]), 6)
    return bits


def _bits(value: int, count: int) -> list[int]:
    return [value >> shift & 1 for shift in range(count - 1, -1, -1)]


def _codewords(bits: list[int], capacity: int) -> bytes:
    """Close the stream: terminator, fill to a byte, pad codewords."""
    bits = bits + [0] * min(4, 8 * capacity - len(bits))
    bits += [0] * (-len(bits) % 8)
    words = bytearray(int("".join(map(str, bits[at : at + 8])), 2) for at in range(0, len(bits), 8))
    pads = (0xEC, 0x11)
    words += bytes(pads[at % 2] for at in range(capacity - len(words)))
    return bytes(words)


# --- error correction (Reed-Solomon over GF(256), 7.5) --------------------------------------


def _interleave(data: bytes, version: int, level: str) -> bytes:
    correction, first, size, second = BLOCKS[level][version - 1]
    generator = _generator(correction)
    blocks = []
    at = 0
    for index in range(first + second):
        length = size + (index >= first)
        blocks.append(data[at : at + length])
        at += length
    checks = [_remainder(block, generator) for block in blocks]
    woven = bytearray(block[at] for at in range(size + 1) for block in blocks if at < len(block))
    woven += bytes(check[at] for at in range(correction) for check in checks)
    return bytes(woven)


def _multiply(one: int, other: int) -> int:
    product = 0
    while other:
        if other & 1:
            product ^= one
        one <<= 1
        if one & 0x100:
            one ^= _FIELD_POLYNOMIAL
        other >>= 1
    return product


def _generator(degree: int) -> list[int]:
    """Return the coefficients, highest first without the leading 1, of the product of (x - 2^i), i < degree."""
    coefficients = [0] * (degree - 1) + [1]
    root = 1
    for _ in range(degree):
        for at in range(degree):
            coefficients[at] = _multiply(coefficients[at], root)
            if at + 1 < degree:
                coefficients[at] ^= coefficients[at + 1]
        root = _multiply(root, 2)
    return coefficients


def _remainder(data: bytes, generator: list[int]) -> bytes:
    rest = [0] * len(generator)
    for byte in data:
        factor = byte ^ rest[0]
        rest = [*rest[1:], 0]
        rest = [old ^ _multiply(coefficient, factor) for old, coefficient in zip(rest, generator, strict=True)]
    return bytes(rest)


# --- the matrix ----------------------------------------------------------------------------


def _function_patterns(version: int) -> list[bytearray]:
    """Return the matrix with finders, timing, alignment, version; format areas reserved, data free."""
    size = side(version)
    matrix = [bytearray([_FREE]) * size for _ in range(size)]
    for at in range(size):
        matrix[_TIMING][at] = matrix[at][_TIMING] = _DARK if at % 2 == 0 else _LIGHT
    for row, column in ((3, 3), (3, size - 4), (size - 4, 3)):
        _rings(matrix, row, column, _FINDER_REACH)
    centres = ALIGNMENT[version - 1]
    for row in centres:
        for column in centres:
            in_finder = _TIMING in {row, column} and {row, column} <= {_TIMING, centres[-1]}
            if not in_finder:
                _rings(matrix, row, column, _ALIGNMENT_REACH)
    for row, column in _format_places(size):
        matrix[row][column] = _LIGHT
    matrix[size - 8][8] = _DARK
    if version >= _VERSION_FROM:
        _draw_version(matrix, version)
    return matrix


def _rings(matrix: list[bytearray], row: int, column: int, reach: int) -> None:
    """Draw a finder (reach 4, light separator included) or an alignment pattern (reach 2)."""
    light = (2, 4) if reach == _FINDER_REACH else (1,)
    size = len(matrix)
    for y in range(max(row - reach, 0), min(row + reach + 1, size)):
        for x in range(max(column - reach, 0), min(column + reach + 1, size)):
            ring = max(abs(y - row), abs(x - column))
            matrix[y][x] = _LIGHT if ring in light else _DARK


def _draw_version(matrix: list[bytearray], version: int) -> None:
    bits = version << 12 | _check_bits(version, 12, _VERSION_POLYNOMIAL)
    size = len(matrix)
    for at in range(18):
        module = bits >> at & 1
        along, across = at // 3, size - 11 + at % 3
        matrix[across][along] = matrix[along][across] = module


def _check_bits(value: int, degree: int, polynomial: int) -> int:
    """Return the remainder of the BCH code (Annexes C and D)."""
    rest = value << degree
    while rest.bit_length() > degree:
        rest ^= polynomial << (rest.bit_length() - degree - 1)
    return rest


def _place(matrix: list[bytearray], stream: bytes) -> None:
    """Fill the free modules in the zigzag of 7.7.3; remainder bits are light."""
    size = len(matrix)
    bits = iter(_bits(int.from_bytes(stream, "big"), 8 * len(stream)))
    columns = [*range(size - 1, _TIMING, -2), *range(_TIMING - 1, 0, -2)]
    for number, right in enumerate(columns):
        for step in range(size):
            row = size - 1 - step if number % 2 == 0 else step
            for column in (right, right - 1):
                if matrix[row][column] == _FREE:
                    matrix[row][column] = next(bits, 0)


def _finished(modules: list[bytearray], frame: list[bytearray], level: str, mask: int) -> Matrix:
    """Return the symbol: data masked, format information drawn."""
    size = len(modules)
    matrix = [bytearray(row) for row in modules]
    for row in range(size):
        for column in range(size):
            if frame[row][column] == _FREE and _masked(mask, row, column):
                matrix[row][column] ^= 1
    _draw_format(matrix, level, mask)
    return tuple(bytes(row) for row in matrix)


def _masked(mask: int, row: int, column: int) -> bool:
    """Whether the mask pattern (table 10) inverts a module."""
    product = row * column
    return (
        (row + column) % 2,
        row % 2,
        column % 3,
        (row + column) % 3,
        (row // 2 + column // 3) % 2,
        product % 2 + product % 3,
        (product % 2 + product % 3) % 2,
        ((row + column) % 2 + product % 3) % 2,
    )[mask] == 0


def _format_places(size: int) -> list[tuple[int, int]]:
    """Return (row, column) of the format bits, least significant first, both copies one after the other."""
    rows = [0, 1, 2, 3, 4, 5, 7, 8, *range(size - 7, size)]
    columns = [*range(size - 1, size - 9, -1), 7, 5, 4, 3, 2, 1, 0]
    return [(row, 8) for row in rows] + [(8, column) for column in columns]


def _draw_format(matrix: list[bytearray], level: str, mask: int) -> None:
    value = LEVEL_BITS[level] << 3 | mask
    bits = (value << 10 | _check_bits(value, 10, _FORMAT_POLYNOMIAL)) ^ _FORMAT_MASK
    for at, (row, column) in enumerate(_format_places(len(matrix))):
        matrix[row][column] = bits >> at % _FORMAT_BITS & 1


# --- penalty -------------------------------------------------------------------------------


def _run_points(line: bytes) -> int:
    points = 0
    run = 1
    for at in range(1, len(line) + 1):
        if at < len(line) and line[at] == line[at - 1]:
            run += 1
            continue
        if run >= _LONG_RUN:
            points += run - 2
        run = 1
    return points


_FINDER = bytes((1, 0, 1, 1, 1, 0, 1))
_QUIET = bytes(4)


def _finder_points(line: bytes) -> int:
    """Count 1:1:3:1:1 with four light modules on either side; beyond the edge everything is light."""
    padded = _QUIET + line + _QUIET
    points = 0
    at = padded.find(_FINDER)
    while at >= 0:
        if padded[at - 4 : at] == _QUIET or padded[at + 7 : at + 11] == _QUIET:
            points += 40
        at = padded.find(_FINDER, at + 1)
    return points

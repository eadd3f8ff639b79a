"""QR codes: module for module what segno makes, and what zbarimg reads."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import segno
import segno.encoder

from qpq.console import qr_show
from qpq.console.qr import MASKS, Matrix, TooLongError, _finder_points, _run_points, encode, penalty
from qpq.console.qr_show import Look, best_look
from qpq.console.qr_tables import ALPHANUMERIC, MAX_VERSION, data_codewords, side

if TYPE_CHECKING:
    from pathlib import Path


def _padding(buffer: segno.encoder.Buffer, _version: int, length: int) -> None:
    buffer.extend([0] * (-length % 8))


@pytest.fixture(autouse=True)
def _segno_pads_by_the_standard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segno 1.6.6 adds eight bits of padding where ISO/IEC 18004, 7.4.10 wants none (readers ignore them)."""
    monkeypatch.setattr(segno.encoder, "write_padding_bits", _padding)


def segnos(text: str, level: str, mask: int) -> Matrix:
    mode = "alphanumeric" if set(text) <= set(ALPHANUMERIC) else "byte"
    code = segno.make(
        text, error=level, mask=mask, micro=False, boost_error=False, mode=mode, encoding="utf-8", eci=False
    )
    return tuple(bytes(row) for row in code.matrix)


@pytest.mark.parametrize("level", ["L", "M"])
@pytest.mark.parametrize("version", range(1, MAX_VERSION + 1))
def test_every_version_and_mask_is_what_segno_makes(version: int, level: str) -> None:
    # bytes mode: 4 bits of mode, 8 or 16 of length
    length = data_codewords(version, level) - (2 if version < 10 else 3)
    text = ("quicproquo! " * 40)[:length]
    for mask in range(MASKS):
        matrix = encode(text, level=level, mask=mask)
        assert len(matrix) == side(version)
        assert matrix == segnos(text, level, mask)


@pytest.mark.parametrize("length", [1, 2, 25, 26, 52, 56, 100, 395])
def test_capitals_and_digits_take_the_alphanumeric_mode(length: int) -> None:
    text = ("QPQ:ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" * 12)[:length]
    assert encode(text, level="L", mask=3) == segnos(text, "L", 3)


def test_the_chosen_mask_has_the_least_penalty() -> None:
    for text in ("QPQ:" + "A" * 52, "hello", "x" * 100):
        assert penalty(encode(text)) == min(penalty(encode(text, mask=mask)) for mask in range(MASKS))


def test_the_penalty_counts_runs_blocks_finders_and_balance() -> None:
    white = tuple(bytes(21) for _ in range(21))
    # 42 lines of one run of 21 (19 points each), 400 blocks of 3, nothing dark: 10 steps of 5 % off balance
    assert penalty(white) == 42 * 19 + 400 * 3 + 100
    finder = bytes((1, 0, 1, 1, 1, 0, 1))
    assert _finder_points(finder + bytes(14)) == 40
    assert _finder_points(bytes(14) + finder) == 40
    assert _finder_points(b"\1\1" + finder + b"\1\1") == 0
    assert _finder_points(finder + bytes(4) + finder + b"\1" * 3) == 80
    assert _run_points(bytes(5) + b"\1" * 7 + bytes(4)) == 3 + 5


def test_a_text_without_characters_is_the_smallest_code() -> None:
    assert len(encode("")) == side(1)


def test_what_does_not_fit_is_refused() -> None:
    assert len(encode("x" * 271, level="L")) == side(10)
    with pytest.raises(TooLongError):
        encode("x" * 272, level="L")
    with pytest.raises(TooLongError):
        encode("A" * 312, level="M")


# --- showing -------------------------------------------------------------------------------

HALVES = {" ": (1, 1), "\u2580": (0, 1), "\u2584": (1, 0), "\u2588": (0, 0)}


def modules_of(lines: list[str], look: Look) -> list[list[int]]:
    """Read the drawn modules back: 1 is dark."""
    if look is Look.ASCII:
        return [[int(line[at] == "#") for at in range(0, len(line), 2)] for line in lines]
    if look is Look.COLOURED_BLANKS:
        rows = []
        for line in lines:
            parts = line.removesuffix("\x1b[0m").split("\x1b[4")[1:]
            rows.append([int(part[0] == "0") for part in parts for _ in range(len(part[2:]) // 2)])
        return rows
    bare = [line.removeprefix("\x1b[97;40m").removesuffix("\x1b[0m") for line in lines]
    return [[HALVES[char][half] for char in line] for line in bare for half in (0, 1)]


@pytest.mark.parametrize("look", list(Look))
def test_each_look_shows_every_module_in_its_quiet_zone(look: Look) -> None:
    matrix = encode("QPQ:" + "A" * 52)
    wide = len(matrix) + 8
    rows = modules_of(qr_show.show(matrix, look), look)
    framed = [[0] * wide] * 4 + [[0] * 4 + list(row) + [0] * 4 for row in matrix] + [[0] * wide] * 4
    assert rows[: len(framed)] == framed
    assert all(not any(row) for row in rows[len(framed) :])


def test_the_look_follows_the_terminal() -> None:
    assert best_look(utf8=True, colours=True) is Look.COLOURED_HALF_BLOCKS
    assert best_look(utf8=True, colours=False) is Look.HALF_BLOCKS
    assert best_look(utf8=False, colours=True) is Look.COLOURED_BLANKS
    assert best_look(utf8=False, colours=False) is Look.ASCII


def test_only_ascii_leaves_for_a_terminal_without_utf8() -> None:
    matrix = encode("hello")
    for look in (Look.ASCII, Look.COLOURED_BLANKS):
        assert all(line.isascii() for line in qr_show.show(matrix, look))


@pytest.mark.skipif(shutil.which("zbarimg") is None, reason="zbarimg (Debian: zbar-tools) is not installed")
@pytest.mark.parametrize("text", ["QPQ:" + "ABCDEFGHIJKLM" * 4, "hello, world", "x" * 200])
def test_a_scanner_reads_what_was_encoded(text: str, tmp_path: Path) -> None:
    matrix = encode(text)
    wide = (len(matrix) + 8) * 4
    quiet = [bytes([255] * wide)] * 16
    rows = [
        bytes([255] * 16) + bytes(0 if m else 255 for m in row for _ in range(4)) + bytes([255] * 16) for row in matrix
    ]
    pixels = quiet + [row for row in rows for _ in range(4)] + quiet
    image = tmp_path / "code.pgm"
    image.write_bytes(f"P5 {wide} {wide} 255\n".encode() + b"".join(pixels))
    done = subprocess.run(["zbarimg", "-q", "--raw", str(image)], capture_output=True, timeout=30, check=True)
    assert done.stdout.decode().rstrip("\n") == text

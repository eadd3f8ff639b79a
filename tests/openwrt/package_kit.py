"""What the package tests share: a small tree, and one that has every file with a program of any bytes."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from openwrt import stage  # noqa: E402 (the path above comes first)

TIME = 1_790_000_000
ARCH = "mips_24kc"
PROGRAM = b"\x7fELF" + bytes(range(256)) * 40


def content() -> stage.Tree:
    """Return the whole package around a small program."""
    files = [stage.File(path, mode, (ROOT / source).read_bytes()) for path, mode, source in stage.FILES]
    return stage.tree((stage.File(*stage.PROGRAM, PROGRAM), *files))


def from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()

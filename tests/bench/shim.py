"""What Cap'n Proto adds to the binaries: bytes of its modules as the binary packs them, by part and by target.

``python tests/bench/shim.py`` prints this alone. A part's bytes are what a group of the binary's compressed bytecode
grows by when the part is in it, and the rows of the table that names its modules; marshalled by this Python, not by
that of the binary, so good for a few per cent. The bytecode is the same on all targets, the rows are not.
"""

from __future__ import annotations

import lzma
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cross.program.bytecode import build
from cross.program.pack import FILTERS, GROUP_BYTES
from cross.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterable

SOURCE = Path(__file__).resolve().parents[2] / "node" / "qpq"
TITLE = "what Cap'n Proto RPC adds to the binary, bytes"
PARTS = {
    "stand-in for pycapnp, with the schemas' tables": ("shims/capnp/*.py",),
    "messages and protocol": ("wire/capnp_*.py", "wire/rpc*.py"),
    "sessions": ("rpc/*.py",),
}
ROW = {32: 16, 64: 24}
"""Bytes of a ``struct cold_module`` by the bits of a pointer (cross/runtime/store.h)."""

Figures = dict[str, dict[str, int]]


def measure() -> Figures:
    """Return bytes by target and part."""
    found: Figures = {target: {} for target in TARGETS}
    for part, patterns in PARTS.items():
        files = sorted(path for pattern in patterns for path in SOURCE.glob(pattern))
        grown = _grown(files)
        for name, target in TARGETS.items():
            found[name][part] = grown + sum(ROW[target.bits] + len(_module(path)) + 1 for path in files)
    return found


def table(found: Figures) -> str:
    """Return the figures as text, one line each."""
    lines = [f"{TITLE:60}" + "".join(f"{name:>26}" for name in found)]
    for part in (*PARTS, "together"):
        row = [sum(parts.values()) if part == "together" else parts[part] for parts in found.values()]
        lines.append(f"{part:60}" + "".join(f"{count:>26,}" for count in row))
    return "\n".join(lines)


def _grown(files: list[Path]) -> int:
    """Return by how much a full group of other modules grows, compressed, when it takes these in place of others."""
    own = b"".join(_code(path) for path in files)
    others = b""
    for path in sorted(SOURCE.rglob("*.py")):
        if path not in files and len(others) + len(own) < GROUP_BYTES:
            others += _code(path)
    return _packed([others, own]) - _packed([others])


def _packed(raw: Iterable[bytes]) -> int:
    return len(lzma.compress(b"".join(raw), format=lzma.FORMAT_RAW, filters=FILTERS))


def _code(path: Path) -> bytes:
    return build(_module(path), str(path), None)


def _module(path: Path) -> str:
    """Return the name that the binary gives a module; the stand-ins have those of what they stand for."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    name = ".".join(parts[1:] if parts[0] == "shims" else ("qpq", *parts))
    return name.removesuffix(".__init__")


if __name__ == "__main__":
    print(table(measure()))

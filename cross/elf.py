"""What must hold of every ELF that is shipped, read from the file itself."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from cross.cache import ROOT, cache_dir
from cross.errors import CrossError

LOAD, DYNAMIC, INTERPRETER, STACK, RELRO = 1, 2, 3, 0x6474E551, 0x6474E552
EXECUTABLE, WRITABLE = 1, 2
NEEDED = 1
WIDE = 2  # 64-bit, in the byte of the ELF class
SHARED_OBJECT = 3
SYMBOLS = 2  # kind of the section that strip(1) takes away
PAGE = 4095


@dataclass(frozen=True, slots=True)
class Segment:
    """One program header."""

    kind: int
    flags: int
    at: int
    size: int


def check(elf: Path, *, movable: bool = False) -> list[str]:
    """Return what is true of the file, one phrase each.

    ``movable`` says that it must be position-independent, and read-only after relocation where it can be.

    Raises:
        CrossError: it is not that, is not static, is not stripped, has an executable stack or writable code, or names a
            build path.
    """
    data = elf.read_bytes()
    position_independent, segments = _parse(data)
    kinds = {segment.kind: segment for segment in segments}
    faults = []
    if INTERPRETER in kinds or _needed(data, kinds.get(DYNAMIC)):
        faults.append("is not static")
    if SYMBOLS in _sections(data):
        faults.append("is not stripped")
    if STACK not in kinds or kinds[STACK].flags & EXECUTABLE:
        faults.append("has an executable stack")
    if any(part.kind == LOAD and part.flags & EXECUTABLE and part.flags & WRITABLE for part in segments):
        faults.append("has writable code")
    if movable and not position_independent:
        faults.append("is not position-independent")
    if movable and RELRO not in kinds:
        faults.append("has no RELRO")
    paths = {str(ROOT), str(cache_dir()), str(Path.home())}
    faults += [
        f"names the build path {path}" for path in sorted(paths) if len(path) > 1 and path.encode() + b"/" in data
    ]
    if faults:
        msg = f"{elf} {', '.join(faults)}"
        raise CrossError(msg)
    told = ["static", "stack not executable"]
    told += ["position-independent"] if position_independent else ["at a fixed address"]
    return [*told, "RELRO" if RELRO in kinds else "no RELRO"]


def protected(elf: Path, maps: str) -> bool:
    """Return whether a process's ``/proc/<pid>/maps`` shows the pages of the file's RELRO, if it has any, read-only."""
    _, segments = _parse(elf.read_bytes())
    starts = {segment.at & ~PAGE for segment in segments if segment.kind == RELRO}
    rows = [line.split() for line in maps.splitlines() if line.endswith(f" {elf.resolve()}")]
    return starts <= {int(offset, 16) for _, allowed, offset, *_ in rows if "w" not in allowed}


def _parse(data: bytes) -> tuple[bool, list[Segment]]:
    if data[:4] != b"\x7fELF":
        msg = "not an ELF file"
        raise CrossError(msg)
    order = "<" if data[5] == 1 else ">"
    wide = data[4] == WIDE
    (kind,) = struct.unpack_from(f"{order}H", data, 16)
    if wide:
        (at,) = struct.unpack_from(f"{order}Q", data, 32)
        size, count = struct.unpack_from(f"{order}HH", data, 54)
    else:
        (at,) = struct.unpack_from(f"{order}I", data, 28)
        size, count = struct.unpack_from(f"{order}HH", data, 42)
    segments = []
    for index in range(count):
        here = at + index * size
        if wide:
            type_, flags, offset, _, _, length = struct.unpack_from(f"{order}IIQQQQ", data, here)
        else:
            type_, offset, _, _, length, _, flags = struct.unpack_from(f"{order}IIIIIII", data, here)
        segments.append(Segment(type_, flags, offset, length))
    return kind == SHARED_OBJECT, segments


def _sections(data: bytes) -> set[int]:
    """Return the kinds of sections that the file has."""
    order, wide = ("<" if data[5] == 1 else ">"), data[4] == WIDE
    (at,) = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", data, 40 if wide else 32)
    size, count = struct.unpack_from(f"{order}HH", data, 58 if wide else 46)
    return {struct.unpack_from(f"{order}I", data, at + index * size + 4)[0] for index in range(count)}


def _needed(data: bytes, dynamic: Segment | None) -> bool:
    if dynamic is None:
        return False
    order, wide = ("<" if data[5] == 1 else ">"), data[4] == WIDE
    form = f"{order}{'QQ' if wide else 'II'}"
    tags = struct.iter_unpack(form, data[dynamic.at : dynamic.at + dynamic.size])
    return any(tag == NEEDED for tag, _ in tags)

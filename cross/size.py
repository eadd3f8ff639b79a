"""What the program weighs and which part takes how much, from the linker's map; the gate over the budgets.

``dist/size.json`` is ``{target: {"elf": bytes, "ipk": bytes or null, "apk": bytes or null, "parts": {part: bytes}}}``;
null until there is a package of this very ELF. The committed ``cross/size-baseline.json`` has the figures of the ELF as
of the last commit that changed them.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import re
import sys
import tarfile
import zlib
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cross.cache import CROSS, ROOT
from cross.targets import TARGETS, target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cross.link import Program

BASELINE = CROSS / "size-baseline.json"
REPORT = ROOT / "dist" / "size.json"
PACKED_LIMIT = 3_200_000  # bytes of a package file
REST = "headers, relocations, padding"  # whatever no input file accounts for
# The first that fits an input file's path names its part.
PARTS = (
    (r"libpython3|libHacl|/core-", "CPython core"),
    (r"libsqlite3", "SQLite"),
    (r"libz\.a", "zlib"),
    (r"liblibsodium", "libsodium"),
    (r"libmbedtls", "mbedTLS (AES)"),
    (r"libmlkem", "ML-KEM"),
    (r"libown|libaioquic", "C extensions"),
    (r"libcompiled", "compiled Python"),
    (r"cold/s/", "bytecode"),
    (r"cold/", "tables"),
    (r"/lib/|libc\.a|crt1\.o|libzigc|compiler_rt|sync\.o|zigc_zcu", "C library"),
    (r"/program-", "start"),
    (r"<internal>", "strings"),
)
LLD_ROW = re.compile(r"^\s*[0-9a-f]+\s+[0-9a-f]+\s+([0-9a-f]+)\s+\d+\s+(\S.*):\((\.[^)]*)\)\s*$")
GNU_ROW = re.compile(r"^ (\.\S+)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+) (\S.*)$")
NOT_IN_FILE = re.compile(r"^\.(s?bss|tbss|pdr|comment|debug|gnu\.attributes|mdebug)")


def parts(program: Program) -> dict[str, int]:
    """Return bytes of the ELF by part, largest first."""
    counted: Counter[str] = Counter()
    for path, size in _rows(program.map.read_text(errors="replace")):
        counted[_part(path)] += size
    counted[REST] += max(program.elf.stat().st_size - counted.total(), 0)
    return dict(counted.most_common())


def report(programs: dict[str, Program], *, accept: bool) -> list[str]:
    """Print the figures of all targets, write dist/size.json, and return the complaints of the gate."""
    before = _read(BASELINE)
    written = _read(REPORT)
    complaints = []
    for name, program in programs.items():
        size = program.elf.stat().st_size
        packed = {kind: _packed(program.elf, kind) for kind in UNPACK}
        row = {"elf": size, **packed, "parts": parts(program)}
        written[name] = row
        limit = target(name).limit
        _print(name, row, before.get(name, {}), limit, program.elf.read_bytes())
        if size >= limit:
            complaints.append(f"{name} has {size:,} bytes, {size - limit + 1:,} too many")
        for kind, weight in packed.items():
            if weight is not None and weight >= PACKED_LIMIT:
                complaints.append(f"the .{kind} of {name} has {weight:,} bytes, {weight - PACKED_LIMIT + 1:,} too many")
    _write(REPORT, written)
    if accept:
        kept = {name: {"elf": row["elf"], "parts": row["parts"]} for name, row in written.items() if name in TARGETS}
        _write(BASELINE, {**before, **kept})
    return complaints


def _packed(elf: Path, kind: str) -> int | None:
    """Return the bytes of the package beside the ELF; None where there is none with this very ELF in it."""
    program = elf.read_bytes()
    found = (path for path in elf.parent.glob(f"*.{kind}") if program in UNPACK[kind](path.read_bytes()))
    return next((path.stat().st_size for path in found), None)


def _unpack_ipk(package: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(package)) as outer:
        data = outer.extractfile("./data.tar.gz")
        return gzip.decompress(data.read()) if data else b""


def _unpack_apk(package: bytes) -> bytes:
    return zlib.decompress(package[4:], -zlib.MAX_WBITS)


UNPACK = {"ipk": _unpack_ipk, "apk": _unpack_apk}


def _print(name: str, row: dict[str, Any], before: dict[str, Any], limit: int, data: bytes) -> None:
    size = len(data)
    packed = f"xz {len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)):,}, gzip {len(gzip.compress(data, 9)):,}"
    print(f"{name}: {size:,} of {limit:,} bytes, {limit - size:,} left ({packed})")
    for kind in UNPACK:
        if row[kind] is not None:
            print(f"  .{kind:31}{row[kind]:12,} of {PACKED_LIMIT:,}")
    old_parts = before.get("parts", {})
    rows = [
        ("whole", size, before.get("elf")),
        *((part, count, old_parts.get(part)) for part, count in row["parts"].items()),
    ]
    for part, count, old in rows:
        change = "" if old is None else f"{count - old:+12,}"
        print(f"  {part:32}{count:12,}{change}")


def _part(path: str) -> str:
    return next((name for pattern, name in PARTS if re.search(pattern, path)), REST)


def _rows(text: str) -> Iterator[tuple[str, int]]:
    """Yield (input file, bytes in the ELF) for each input section of a map of LLD or of GNU ld."""
    if "Linker script and memory map" in text:
        text = text.partition("Linker script and memory map")[2]
        yield from _gnu_rows(re.sub(r"^( \.\S+)\n +", r"\1 ", text, flags=re.MULTILINE))
        return
    for line in text.splitlines():
        found = LLD_ROW.match(line)
        if found and not NOT_IN_FILE.match(found[3]):
            yield found[2], int(found[1], 16)


def _gnu_rows(text: str) -> Iterator[tuple[str, int]]:
    """Yield the same of GNU ld's map.

    A string that is the end of another one is stored once, but counted in both files: what lies beyond the next
    file's first byte is not this one's.
    """
    found = [row for line in text.splitlines() if (row := GNU_ROW.match(line)) and not NOT_IN_FILE.match(row[1])]
    rows = sorted((int(row[2], 16), int(row[3], 16), row[4]) for row in found if int(row[2], 16))
    for (at, size, path), (following, _, _) in pairwise([*rows, (sys.maxsize, 0, "")]):
        yield path, min(size, following - at)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    figures: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return figures


def _write(path: Path, figures: dict[str, dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")

"""The modules' bytecode in compressed groups, and the C tables that name them (see runtime/store.h)."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Larger groups compress better; each costs its size in memory while a module of it is being imported.
GROUP_BYTES = 384 * 1024
# The interpreter reads these before it can import: group 0.
BOOT = (
    "_frozen_importlib",
    "_frozen_importlib_external",
    "abc",
    "codecs",
    "encodings",
    "encodings.aliases",
    "encodings.utf_8",
    "io",
    "qpq_finder",
)
# The parameters are those of runtime/lzma.h.
FILTERS = [
    {
        "id": lzma.FILTER_LZMA1,
        "preset": 9 | lzma.PRESET_EXTREME,
        "lc": 3,
        "lp": 0,
        "pb": 0,
        "dict_size": 1 << 20,
        "nice_len": 273,
    }
]


@dataclass(frozen=True, slots=True)
class Code:
    """One module's marshalled code."""

    name: str
    data: bytes
    is_package: bool


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written: sizes in bytes."""

    modules: int
    raw: int
    compressed: int


def pack(modules: list[Code], folder: Path) -> Packed:
    """Write ``cold.bin``, ``cold.S`` and ``cold.c`` for modules in their order of import."""
    groups = _groups(modules)
    blob, group_rows, module_rows = b"", [], []
    for index, group in enumerate(groups):
        raw = b"".join(module.data for module in group)
        packed = lzma.compress(raw, format=lzma.FORMAT_RAW, filters=FILTERS)
        group_rows.append(f"    {{{len(blob)}, {len(packed)}, {len(raw)}}},")
        blob += packed
        at = 0
        for module in group:
            row = f'    {{"{module.name}", {at}, {len(module.data)}, {index}, {int(module.is_package)}}},'
            module_rows.append((module.name.encode(), row))
            at += len(module.data)
    (folder / "cold.bin").write_bytes(blob)
    (folder / "cold.S").write_text(_ASSEMBLY)
    rows = "\n".join(row for _, row in sorted(module_rows))
    (folder / "cold.c").write_text(_TABLES.format(groups="\n".join(group_rows), modules=rows))
    return Packed(len(modules), sum(len(module.data) for module in modules), len(blob))


def _groups(modules: list[Code]) -> list[list[Code]]:
    boot = [module for module in modules if module.name in BOOT]
    groups: list[list[Code]] = [boot, []]
    size = 0
    for module in modules:
        if module.name in BOOT:
            continue
        if groups[-1] and size + len(module.data) > GROUP_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(module)
        size += len(module.data)
    return groups


_ASSEMBLY = """\
    .section .rodata.cold_data, "a"
    .balign 4
    .globl cold_data
cold_data:
    .incbin "cold.bin"
    .section .note.GNU-stack, "", %progbits
"""

_TABLES = """\
#include "store.h"

const struct cold_group cold_groups[] = {{
{groups}
}};
const unsigned cold_group_count = sizeof cold_groups / sizeof *cold_groups;

const struct cold_module cold_modules[] = {{
{modules}
}};
const unsigned cold_module_count = sizeof cold_modules / sizeof *cold_modules;
"""

"""The C extension ``_qpq_native``: its own files, libsodium's, mbedTLS's and mlkem-native's, and aioquic's buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cross import cache, fetch
from cross.ext import plan
from cross.recipe import cpython

if TYPE_CHECKING:
    from pathlib import Path

    from cross.toolchain import Toolchain

BUFFER = "src/aioquic/_buffer.c"


def build(tools: Toolchain, python: Path) -> Path:
    """Return a directory with one static library a part: own, libsodium, mbedtls, mlkem, aioquic."""
    named = {name: fetch.pins()[name].sha256 for name in (*plan.pins(), "aioquic")}
    inputs: list[str | bytes] = [
        *named.values(),
        tools.key,
        *tools.fast,
        python.name,
        cache.code_of("recipe/native.py"),
        *(path.read_bytes() for path in plan.own_files()),
    ]

    def make(folder: Path) -> None:
        parts: dict[str, list[Path]] = {}
        for index, unit in enumerate(plan.units(fetch.unpacked)):
            # The host build is where warnings are errors; types of other widths give others.
            flags = [*unit.flags, "-Wno-error", *(cpython.flags(python) if unit.is_own else ())]
            objects = tools.compile([unit.source], flags, folder / "o" / f"{index:03d}", plain=unit.hot)
            parts.setdefault(unit.package, []).extend(objects)
        buffer = fetch.unpacked("aioquic") / BUFFER
        parts["aioquic"] = tools.compile([buffer], cpython.flags(python), folder / "o" / "aioquic")
        for name, objects in parts.items():
            tools.archive(objects, folder / f"lib{name}.a")

    return cache.step(f"native-{tools.target.name}", inputs, make)


def used_pins() -> tuple[str, ...]:
    """Return the names of the sources that the extension is made of."""
    return plan.pins()

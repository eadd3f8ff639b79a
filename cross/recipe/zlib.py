"""zlib, as a static library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cross import cache, fetch

if TYPE_CHECKING:
    from pathlib import Path

    from cross.toolchain import Toolchain

SOURCES = (
    "adler32",
    "crc32",
    "deflate",
    "inffast",
    "inflate",
    "inftrees",
    "trees",
    "zutil",
    "compress",
    "uncompr",
    "infback",
)


def build(tools: Toolchain) -> Path:
    """Return the directory of libz.a; its headers lie in the pinned source."""
    inputs = [fetch.pins()["zlib"].sha256, tools.key, cache.code_of("recipe/zlib.py")]

    def make(folder: Path) -> None:
        source = fetch.unpacked("zlib")
        objects = tools.compile([source / f"{name}.c" for name in SOURCES], ["-DHAVE_UNISTD_H"], folder / "o")
        tools.archive(objects, folder / "libz.a")

    return cache.step(f"zlib-{tools.target.name}", inputs, make)

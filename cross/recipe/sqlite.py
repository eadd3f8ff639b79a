"""SQLite from its amalgamation, without what the store does not use."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from cross import cache, fetch
from cross.process import NATIVE, run

if TYPE_CHECKING:
    from pathlib import Path

    from cross.toolchain import Toolchain

# _sqlite3 of CPython refers to the progress, authorizer, trace, complete and decltype calls: those stay.
OPTIONS = (
    "DQS=0",
    "THREADSAFE=1",
    "DEFAULT_MEMSTATUS=0",
    "LIKE_DOESNT_MATCH_BLOBS",
    "MAX_EXPR_DEPTH=0",
    "UNTESTABLE",
    "USE_ALLOCA",
    "OMIT_DEPRECATED",
    "OMIT_SHARED_CACHE",
    "OMIT_LOAD_EXTENSION",
    "OMIT_JSON",
    "OMIT_UTF16",
    "OMIT_DESERIALIZE",
)


def amalgamation() -> Path:
    """Return the directory of sqlite3.c and sqlite3.h, made from the pinned source on this machine."""

    def make(folder: Path) -> None:
        shutil.copytree(fetch.unpacked("sqlite"), folder / "source")
        run(["./configure", "--disable-tcl", "--disable-readline"], cwd=folder / "source", env=NATIVE)
        run(["make", "sqlite3.c"], cwd=folder / "source", env=NATIVE)
        for name in ("sqlite3.c", "sqlite3.h"):
            shutil.copy(folder / "source" / name, folder)
        shutil.rmtree(folder / "source")

    return cache.step("sqlite-amalgamation", [fetch.pins()["sqlite"].sha256, cache.code_of("recipe/sqlite.py")], make)


def build(tools: Toolchain) -> Path:
    """Return the directory of libsqlite3.a."""
    source = amalgamation()
    inputs = [source.name, tools.key, cache.code_of("recipe/sqlite.py")]

    def make(folder: Path) -> None:
        flags = [f"-DSQLITE_{option}" for option in OPTIONS]
        tools.archive(tools.compile([source / "sqlite3.c"], flags, folder / "o"), folder / "libsqlite3.a")

    return cache.step(f"sqlite-{tools.target.name}", inputs, make)

"""Reads packages and indexes with libsolv, somebody else's reader of apk's and opkg's formats.

Debian has neither package manager. libsolv, which SUSE's zypper solves dependencies with, reads what both read; Debian
builds it without apk's part, so its pinned source is built here: seven seconds of one processor, kept in the cache.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import package_kit  # noqa: F401 (puts the project's directory into the path)
from cross import cache, fetch
from cross.process import jobs, run

SECONDS = 20
TOOLS = {"apk": "apk2solv", "opkg": "deb2solv"}
OPTIONS = ("ENABLE_APK=1", "ENABLE_DEBIAN=1", "ENABLE_STATIC=1", "DISABLE_SHARED=1")
NEEDED = {"cmake": "cmake", "cc": "gcc", "make": "make"}
HEADERS = {"zlib.h": "zlib1g-dev", "zstd.h": "libzstd-dev"}


class ReaderError(Exception):
    """The file is not what it should be."""


def why_not() -> str:
    """Say what is missing to build it; nothing: it can be built."""
    missing = [package for program, package in NEEDED.items() if not shutil.which(program)]
    missing += [package for header, package in HEADERS.items() if not Path("/usr/include", header).exists()]
    return f"needs to build libsolv (Debian: {' '.join(missing)})" if missing else ""


def tools() -> Path:
    """Return the directory of its programs, built if need be. Raises CrossError."""

    def make(folder: Path) -> None:
        source = fetch.unpacked("libsolv")
        run(["cmake", "-S", source, "-B", folder, *(f"-D{option}" for option in OPTIONS)], log=folder / "log")
        run(["make", "-C", folder, f"-j{jobs()}", *TOOLS.values(), "dumpsolv"], log=folder / "log")

    pin = fetch.pins()["libsolv"]
    return cache.step("libsolv", [pin.sha256, *OPTIONS, *TOOLS.values()], make) / "tools"


def read(manager: Literal["apk", "opkg"], file: Path, *, index: bool) -> dict[str, list[str]]:
    """Return the fields of the one package that a file of this package manager holds or lists. Raises ReaderError."""
    solv = file.with_name(f"{file.name}.solv")
    command = [tools() / TOOLS[manager], *(["-r"] if index else []), file]
    with solv.open("wb") as made:
        done = subprocess.run(command, stdout=made, stderr=subprocess.PIPE, check=False, timeout=SECONDS)
    if done.returncode:
        raise ReaderError(done.stderr.decode())
    text = run([tools() / "dumpsolv", solv])
    assert "repo 1 contains 1 solvables" in text, text
    fields: dict[str, list[str]] = {}
    name = ""
    for line in text[text.index("solvable 1 ") :].splitlines()[1:]:
        if found := re.fullmatch(r"solvable:(\w+):(?: (.*))?", line):
            name = found[1]
            fields[name] = [found[2]] if found[2] is not None else []
        else:
            fields[name].append(line.strip())
    return fields

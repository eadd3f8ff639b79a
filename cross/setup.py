"""What the build needs of the machine, installed where that can be done: Debian packages, as root."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from cross.errors import CrossError
from cross.process import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cross.targets import Target

# A program, or a file of the C library's headers, and the Debian package that brings it.
NEEDED = {
    "gcc": "gcc",
    "/usr/include/stdio.h": "libc6-dev",
    "/usr/include/sqlite3.h": "libsqlite3-dev",  # this machine's Python imports what the program imports
    "make": "make",
    "tclsh": "tcl",  # SQLite's build
    "readelf": "binutils",
}


def install(targets: Sequence[Target], more: Mapping[str, str] | None = None) -> None:
    """Install what is missing for these targets; ``more`` is like NEEDED.

    Raises:
        CrossError: something is missing and this is not root on a machine with apt; the message names it.
    """
    lacking = missing(targets, more)
    if not lacking:
        return
    if os.geteuid() or not shutil.which("apt-get"):
        msg = f"the build needs {' '.join(lacking)} (Debian's names): install them, or run this as root on Debian"
        raise CrossError(msg)
    print(f"cross: installing {' '.join(lacking)}", flush=True)
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], env=env)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *lacking], env=env)
    lacking = missing(targets, more)
    if lacking:
        msg = f"apt-get installed {' '.join(lacking)}, and the build still does not find what it needs of it"
        raise CrossError(msg)


def missing(targets: Sequence[Target], more: Mapping[str, str] | None = None) -> list[str]:
    """Return the packages that are missing for these targets."""
    needed = {**NEEDED, **(more or {})}
    for target in targets:
        if target.gcc and not os.environ.get("CC"):
            needed[f"{target.gcc}gcc"] = f"gcc-{target.gcc.removesuffix('-')}"
        if target.qemu:
            needed[target.qemu[0]] = "qemu-user"
    return sorted({package for name, package in needed.items() if not _there(name)})


def _there(name: str) -> bool:
    return Path(name).exists() if name.startswith("/") else shutil.which(name) is not None

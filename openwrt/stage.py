"""The staged tree: every file that the package installs, with its mode, the same for both package formats."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openwrt import meta
from openwrt.errors import PackError

if TYPE_CHECKING:
    from openwrt.meta import Meta

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
BINARY = "qpq"  # beside the packages, in dist/<target>/
# (installed as, mode, file of this repository); openwrt/Makefile installs the same, a test compares.
FILES = (
    ("etc/capabilities/qpq.json", 0o644, "openwrt/files/qpq.capabilities.json"),
    ("etc/config/qpq", 0o600, "uci/qpq.config"),
    ("etc/hotplug.d/ntp/50-qpq", 0o755, "procd/qpq.ntp"),
    ("etc/init.d/qpq", 0o755, "procd/qpq.init"),
    ("etc/sysctl.d/50-qpq.conf", 0o644, "openwrt/files/qpq.sysctl"),
    ("etc/uci-defaults/50-qpq", 0o755, "uci/50-qpq"),
    ("lib/upgrade/keep.d/qpq", 0o644, "openwrt/files/qpq.keep"),
)
PROGRAM = ("usr/bin/qpq", 0o755)
_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class File:
    """A regular file, owned by root. ``path`` is relative to the root directory."""

    path: str
    mode: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Tree:
    """The files of a package, sorted by path, and all directories above them, the root (an empty path) first."""

    files: tuple[File, ...]

    @property
    def folders(self) -> tuple[str, ...]:
        """Every directory that a file lies in, sorted by path."""
        found = {""}
        for file in self.files:
            parts = file.path.split("/")[:-1]
            found |= {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}
        return tuple(sorted(found))

    def with_files(self, *more: File) -> Tree:
        """Return the tree with more files in it."""
        return tree((*self.files, *more))


def tree(files: tuple[File, ...]) -> Tree:
    """Return a tree of files in whatever order."""
    return Tree(tuple(sorted(files, key=lambda file: file.path)))


def metadata() -> Meta:
    """Return what openwrt/Makefile says of the package.

    Raises:
        PackError: its version is not the program's.
    """
    told = meta.read(meta.MAKEFILE.read_text())
    found = _VERSION.search((ROOT / "node" / "qpq" / "__init__.py").read_text())
    if found is None or not told.version.startswith(f"{found[1]}-r"):
        msg = f"openwrt/Makefile says {told.version}, node/qpq/__init__.py {found and found[1]}: make them the same"
        raise PackError(msg)
    return told


def stage(target: str) -> Tree:
    """Return the tree of a target whose program has been built.

    Raises:
        PackError: the program or a file of this repository is missing.
    """
    program = DIST / target / BINARY
    if not program.exists():
        msg = f"dist/{target}/{BINARY} is missing; run: make cross TARGET={target}"
        raise PackError(msg)
    files = [File(*PROGRAM, program.read_bytes())]
    for path, mode, source in FILES:
        if not (ROOT / source).is_file():
            msg = f"{source} is missing, which the package installs as /{path}"
            raise PackError(msg)
        files.append(File(path, mode, (ROOT / source).read_bytes()))
    return tree(tuple(files))

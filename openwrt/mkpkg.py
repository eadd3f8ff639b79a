"""``python -m openwrt.mkpkg COMMAND``: packages of the programs in dist/; what the Makefile's package targets call."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from cross.errors import CrossError
from cross.targets import TARGETS, Target, target

from openwrt import clock, stage
from openwrt.errors import PackError
from openwrt.pack import ipk

if TYPE_CHECKING:
    from pathlib import Path

PACKED_LIMIT = 3_200_000  # bytes of a package file
INSTALLED_LIMIT = 4_700 * 1024  # bytes; a router with 16 MB flash has room for no more
SMALL = 32  # bits of the machines that have such flash: MIPS, ARM


def _package(names: list[str]) -> None:
    for name in names:
        _remove_old(stage.DIST / name)
        for path, told in _packages(target(name)):
            print(f"package: {path.relative_to(stage.ROOT)}: {path.stat().st_size:,} bytes{told}", flush=True)


def _packages(machine: Target) -> list[tuple[Path, str]]:
    """Write the packages of a target; return each with what is to be said of it."""
    meta, content, time = stage.metadata(), stage.stage(machine.name), clock.epoch()
    installed = ipk.installed_size(content, time)
    path = stage.DIST / machine.name / ipk.file_name(meta, machine.name)
    path.write_bytes(ipk.build(content, meta, machine.name, time))
    _check(machine, path, installed)
    return [(path, f", {installed:,} installed")]


def _check(machine: Target, path: Path, installed: int) -> None:
    if path.stat().st_size >= PACKED_LIMIT:
        msg = f"{path.name} has {path.stat().st_size:,} bytes, over the budget of {PACKED_LIMIT:,}"
        raise PackError(msg)
    if machine.bits == SMALL and installed > INSTALLED_LIMIT:
        msg = f"{machine.name}: {installed:,} bytes installed, over the budget of {INSTALLED_LIMIT:,}"
        raise PackError(msg)


def _remove_old(folder: Path) -> None:
    for pattern in ("*.ipk", "*.apk"):
        for path in folder.glob(pattern):
            path.unlink()


def main() -> int:
    """Carry out one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m openwrt.mkpkg", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    package = commands.add_parser("package", help="write the packages of targets into dist/<target>/")
    package.add_argument("targets", nargs="*", help="all by default")
    given = parser.parse_args()
    try:
        _package(given.targets or list(TARGETS))
    except (PackError, CrossError) as error:
        print(f"package: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m cross COMMAND``: what the Makefile's cross targets call."""

from __future__ import annotations

import argparse
import shlex
import sys
import time

from cross import again, bom, cache, elf, link, newest, selftest, setup, size, target_tests
from cross.errors import CrossError
from cross.targets import TARGETS, target


def _build(names: list[str]) -> None:
    setup.install([target(name) for name in names])
    for name in names:
        begin = time.monotonic()
        made = link.build(target(name))
        told = ", ".join(elf.check(made.elf, movable=target(name).pie))
        bom.write(made, name)
        path, weight = made.elf.relative_to(link.DIST.parent), made.elf.stat().st_size
        print(f"cross: {path}: {weight:,} bytes, {told} ({time.monotonic() - begin:.0f} s)", flush=True)
    gone = cache.prune(time.time())
    if gone:
        print(f"cross: removed {len(gone)} old results from {cache.cache_dir()}", flush=True)


def _size(names: list[str], *, accept: bool) -> None:
    programs = {name: link.build(target(name)) for name in names}
    complaints = size.report(programs, accept=accept)
    if complaints:
        raise CrossError("over budget: " + "; ".join(complaints))


def _selftest(names: list[str]) -> None:
    for name in names:
        for line in selftest.run_all(target(name)):
            print(f"selftest {name}: {line}", flush=True)


def _again(names: list[str]) -> None:
    for line in again.check(names):
        print(f"cross: {line}", flush=True)


def _pins() -> None:
    for line in newest.proposals():
        print(line, flush=True)


def main() -> int:
    """Carry out one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m cross", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, told in (
        ("build", "build the binaries"),
        ("size", "what they weigh"),
        ("selftest", "run them"),
        ("again", "build them in another directory and compare"),
    ):
        command = commands.add_parser(name, help=told)
        command.add_argument("targets", nargs="*", help="all by default")
        if name == "size":
            command.add_argument("--accept", action="store_true", help="make these the figures to compare with")
    tests = commands.add_parser("tests", help="run the project's tests on a target's interpreter")
    tests.add_argument("targets", nargs="*", help="all by default")
    tests.add_argument("--words", default="", help="files and options for pytest, in one word")
    commands.add_parser("pins", help="propose the newest pins")
    commands.add_parser("setup", help="install what the build needs (as root)")
    given = parser.parse_args()
    names = getattr(given, "targets", None) or list(TARGETS)
    try:
        if given.command == "build":
            _build(names)
        elif given.command == "size":
            _size(names, accept=given.accept)
        elif given.command == "selftest":
            _selftest(names)
        elif given.command == "again":
            _again(names)
        elif given.command == "tests":
            target_tests.run([target(name) for name in names], shlex.split(given.words))
        elif given.command == "pins":
            _pins()
        else:
            setup.install([target(name) for name in names])
    except CrossError as error:
        print(f"cross: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""CPython for the machine that builds: it compiles the bytecode and runs Nuitka, in the target's own version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cross import cache, fetch
from cross.process import NATIVE, jobs, run

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = ("--disable-test-modules", "--with-ensurepip=no", "--without-doc-strings", "--with-pkg-config=no")


def python() -> Path:
    """Return the host's Python of the target's version (run from its build directory; nothing is installed)."""
    pin = fetch.pins()["cpython"]
    return cache.step("host-python", [pin.sha256, cache.code_of("recipe/host.py")], _make) / "python"


def _make(folder: Path) -> None:
    source = fetch.unpacked("cpython")
    env = {**NATIVE, "CFLAGS": "-O1 -g0", "LC_ALL": "C"}
    run([source / "configure", *OPTIONS], cwd=folder, env=env, log=folder / "configure.txt")
    run(["make", f"-j{jobs()}"], cwd=folder, env=env, log=folder / "make.txt")

"""The project's own tests, run by the target's interpreter (qemu-user) with the stand-ins in place of real packages."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

from cross import fetch
from cross.cache import ROOT
from cross.errors import CrossError
from cross.program.reach import NODE, SHIMS
from cross.recipe import interpreter
from cross.toolchain import toolchain

if TYPE_CHECKING:
    from pathlib import Path

    from cross.targets import Target

TESTS = ROOT / "tests"
# Rooms that must be right on 32 bits and on big-endian machines: all unit and property tests of these names.
ROOMS = ("crypto", "mesh", "wire")
# These look at this machine's files or tools rather than at the code.
LEFT_OUT = ("test_wire_protocol_doc.py",)
# Starts its own interpreter, which the kernel cannot run without qemu in front.
NOT_EMULATED = "test_importing_the_room_drags_in_no_heavy_module"


def run(target: Target, words: list[str]) -> None:
    """Run tests on the target's interpreter; ``words`` go to pytest (files or options; all rooms' tests by default).

    Raises:
        CrossError: a test failed.
    """
    python = interpreter.build(toolchain(target))
    environment = {
        **os.environ,
        "PYTHONHOME": "/nonexistent",
        "PYTHONPATH": os.pathsep.join(str(path) for path in _path(python)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "_PYTHON_SYSCONFIGDATA_NAME": "no_sysconfigdata",
        "QPQ_TARGET": target.name,
    }
    files = [word for word in words if not word.startswith("-")] or [str(path) for path in default_tests()]
    options = [word for word in words if word.startswith("-")]
    pytest = ["-S", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    if target.qemu:
        pytest += ["-k", f"not {NOT_EMULATED}"]
    command = [*target.qemu, str(python), *pytest, *options, *files]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode:
        msg = f"tests failed on {target.name} (status {done.returncode})"
        raise CrossError(msg)


def default_tests() -> list[Path]:
    """Return the test files of the rooms that are tested on every target."""
    found = [
        path for room in ROOMS for kind in ("unit", "property") for path in (TESTS / kind).glob(f"test_{room}_*.py")
    ]
    return sorted(path for path in found if path.name not in LEFT_OUT)


def _path(python: Path) -> tuple[Path | str, ...]:
    packages = (fetch.unpacked("aioquic") / "src", fetch.unpacked("zeroconf"))
    tools = sysconfig.get_path("purelib", vars={"base": sys.prefix})
    # The release before it got a C module: this machine's would not go there.
    pure = [fetch.unpacked(name) for name in ("hypothesis", "sortedcontainers")]
    return (SHIMS, NODE, *packages, *pure, fetch.unpacked("cpython") / "Lib", python.parent, tools)

"""The project's own tests on the target's interpreter (under qemu-user where it is another machine's).

Three runs a target: the rooms that must be right on 32 bits and on big-endian machines; the stand-ins' suite over the
target's C extension; and here, on the real packages, their comparison with the stand-ins of the target. Two targets at
a time. What a run printed is in ``build/target-tests/<target>-<run>.log``.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cross import fetch
from cross.cache import ROOT
from cross.errors import CrossError
from cross.process import SHOWN, jobs
from cross.program.reach import NODE, SHIMS, packages
from cross.recipe import interpreter
from cross.toolchain import toolchain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cross.targets import Target

TESTS = ROOT / "tests"
OUTPUT = ROOT / "build" / "target-tests"
ROOMS = ("crypto", "mesh", "wire")
# These look at this machine's files or tools rather than at the code, or at what only a PC's interpreter needs.
LEFT_OUT = ("test_wire_protocol_doc.py", "test_crypto_secrets.py")
# Whole networks of the rooms' machines. Under emulation they take most of the time, so where fewer examples are asked
# for than usual (QPQ_EXAMPLES, as CI does) only the target that runs natively has them.
WORLDS = (
    "test_mesh_crashes.py",
    "test_mesh_flood_world.py",
    "test_mesh_hostile.py",
    "test_mesh_outside_crashes.py",
    "test_mesh_relays.py",
    "test_mesh_routes_properties.py",
)
USUAL_EXAMPLES = 20
STAND_INS = ("test_vectors.py", "test_contract.py", "test_native.py", "test_capnp.py")
ALONE = ("test_stdlib.py",)  # stand-ins for the standard library, beside the real modules
COMPARED = ("test_side_by_side.py", "test_capnp_side_by_side.py")
DEADLINE = 1800.0  # seconds for one run of pytest
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "-p", "target_plugin", "--durations=5")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of pytest: what it is called, what is started, in which environment."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]


def run(targets: Sequence[Target], words: list[str]) -> None:
    """Run tests on the targets' interpreters.

    ``words`` (files or options of pytest) are for one target: then its output is shown as it comes.

    Raises:
        CrossError: a test failed, or a target's tests cannot run here; the message says why.
    """
    for target in targets:
        if target.qemu and not shutil.which(target.qemu[0]):
            msg = f"the tests of {target.name} cannot run here, {target.qemu[0]} is missing: `make cross-setup` as root"
            raise CrossError(msg)
    python = {target.name: command_of(target) for target in targets}
    if words:
        for target in targets:
            _chosen(target, python[target.name], words)
        return
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs()) as pool:
        failed = [line for lines in pool.map(lambda one: _all_of(one, python[one.name]), targets) for line in lines]
    if failed:
        raise CrossError("\n".join(failed))


def command_of(target: Target) -> Path:
    """Return a program that starts the target's interpreter with all that tests need on its path.

    It is a script, so that tests can start ``sys.executable`` even where the kernel cannot run the target's programs.
    """
    python = interpreter.build(toolchain(target))
    script = OUTPUT / f"{target.name}-python"
    path = os.pathsep.join(str(folder) for folder in _path(python))
    start = f'{shlex.join(target.qemu)} -0 "$0" {python}' if target.qemu else f'-a "$0" {python}'
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(
        "#!/usr/bin/env bash\n"
        f'PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{path}"\n'
        "PYTHONHOME=/nonexistent PYTHONDONTWRITEBYTECODE=1 _PYTHON_SYSCONFIGDATA_NAME=no_sysconfigdata\n"
        "export PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE _PYTHON_SYSCONFIGDATA_NAME\n"
        f'exec {start} -S "$@"\n'
    )
    script.chmod(0o755)
    return script


def runs(target: Target, python: Path) -> Iterator[Run]:
    """Yield the three runs of a target."""
    here = {**os.environ, "QPQ_TARGET": target.name, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    shims = TESTS / "shims"
    quick = bool(target.qemu) and int(os.environ.get("QPQ_EXAMPLES") or USUAL_EXAMPLES) < USUAL_EXAMPLES
    own = [*default_tests(LEFT_OUT + WORLDS if quick else LEFT_OUT), *(shims / name for name in ALONE)]
    yield Run("rooms", _pytest(python, own), here)
    yield Run("stand-ins", _pytest(python, [shims / name for name in STAND_INS]), {**here, "QPQ_SHIMS": "1"})
    rigs = {"PYTHONPATH": str(TESTS / "rigs"), "QPQ_OTHER_PYTHON": str(python)}
    compared = _pytest(sys.executable, [shims / name for name in COMPARED])
    yield Run("compared", compared, {**here, **rigs})


def default_tests(left_out: Sequence[str] = LEFT_OUT) -> list[Path]:
    """Return the test files of the rooms that are tested on every target."""
    found = [
        path for room in ROOMS for kind in ("unit", "property") for path in (TESTS / kind).glob(f"test_{room}_*.py")
    ]
    return sorted(path for path in found if path.name not in left_out)


def _all_of(target: Target, python: Path) -> list[str]:
    """Carry out a target's runs and return what failed, with the end of its output."""
    failed = []
    for each in runs(target, python):
        begin = time.monotonic()
        log = OUTPUT / f"{target.name}-{each.name}.log"
        status = _start(each, log)
        lines = log.read_text(errors="replace").splitlines()
        told = [line for line in lines if re.search(r"\b(passed|failed|errors?)\b.* in [\d.]+s", line)]
        summary = re.sub(r"=+ | =+", "", told[-1] if told else f"ended with {status}")
        print(f"tests {target.name}: {each.name}: {summary} ({time.monotonic() - begin:.0f} s)", flush=True)
        if status:
            shown = "\n".join(lines[-SHOWN:])
            failed.append(f"tests failed on {target.name} ({each.name}, status {status}); {log}:\n{shown}")
    return failed


def _start(each: Run, log: Path) -> int:
    with log.open("wb") as output:
        process = subprocess.Popen(
            each.command, cwd=ROOT, env=each.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            return process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            output.write(f"not done after {DEADLINE:.0f} s\n".encode())
            return 1


def _chosen(target: Target, python: Path, words: list[str]) -> None:
    files = [ROOT / word for word in words if not word.startswith("-")] or default_tests()
    options = [word for word in words if word.startswith("-")]
    (first, *_) = runs(target, python)
    command = [*_pytest(python, files), *options]
    status = subprocess.run(command, cwd=ROOT, env=first.environment, check=False).returncode
    if status:
        msg = f"tests failed on {target.name} (status {status})"
        raise CrossError(msg)


def _pytest(python: Path | str, files: Sequence[Path]) -> tuple[str, ...]:
    return (str(python), *PYTEST, *(str(path) for path in files))


def _path(python: Path) -> tuple[Path | str, ...]:
    tools = sysconfig.get_path("purelib", vars={"base": sys.prefix})
    # The release before it got a C module: this machine's would not go there.
    pure = [fetch.unpacked(name) for name in ("hypothesis", "sortedcontainers")]
    return (TESTS / "rigs", SHIMS, NODE, *packages(), *pure, fetch.unpacked("cpython") / "Lib", python.parent, tools)

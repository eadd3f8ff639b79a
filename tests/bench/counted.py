"""Instructions that a program executes, counted by QEMU's user emulation: the same to some ten-thousandths every time.

Works for this machine's programs too (qemu-x86_64). ``loop.c`` is the fixed piece of work that says how fast an
emulated machine goes beside a real one.
"""

from __future__ import annotations

import platform
import shutil
import struct
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
VERSIONS = range(1, 8)  # of the plugin interface; a QEMU takes one to three of them
ROUNDS = 10_000_000  # of the loop: some seconds under emulation


class NoCounterError(Exception):
    """Instructions cannot be counted here; the message says why."""


class Counter:
    """Counts in a file of its own what is started by ``command``."""

    def __init__(self, plugin: Path, file: Path) -> None:
        self._plugin, self._file = plugin, file

    def command(self, qemu: tuple[str, ...]) -> list[str]:
        """Return what goes before a program, counted from 0."""
        self._file.unlink(missing_ok=True)
        return [*qemu, "-plugin", f"{self._plugin},out={self._file}"]

    def read(self) -> int:
        """Return how many instructions it has executed by now."""
        data = self._file.read_bytes()
        return int(struct.unpack("=Q", data)[0])


def native_qemu() -> tuple[str, ...]:
    """Return the emulator of this machine's own programs."""
    return (f"qemu-{platform.machine()}",)


def build_plugin(folder: Path, qemu: str) -> Path:
    """Compile the plugin in the form that this QEMU takes; NoCounterError when there is none."""
    if not shutil.which(qemu):
        raise NoCounterError(f"{qemu} is not installed (Debian: qemu-user)")
    if not shutil.which("cc"):
        raise NoCounterError("no C compiler")
    folder.mkdir(parents=True, exist_ok=True)
    for version in VERSIONS:
        library = folder / f"libcount-{version}.so"
        flags = ["-O2", "-shared", "-fPIC", f"-DAPI_VERSION={version}"]
        subprocess.run(["cc", *flags, str(HERE / "count.c"), "-o", str(library)], check=True)
        tried = [qemu, "-plugin", f"{library},out={folder / 'tried'}", "/nonexistent"]
        said = subprocess.run(tried, capture_output=True, text=True, check=False, timeout=30).stderr
        if "plugin" not in said:
            return library
    raise NoCounterError(f"{qemu} takes no plugins: {said.strip()}")


def compile_loop(compiler: list[str], program: Path) -> Path:
    """Compile the loop with a compiler and its flags."""
    subprocess.run([*compiler, str(HERE / "loop.c"), "-o", str(program)], check=True)
    return program


def time_loop(command: list[str]) -> float:
    """Return the seconds of the loop."""
    begin = time.perf_counter()
    subprocess.run([*command, str(ROUNDS)], check=True, capture_output=True, timeout=600)
    return time.perf_counter() - begin

"""The built binary run as its users run it: natively where that goes, else under qemu-user.

Two nodes on the loopback device exchange a message both ways, exit statuses are right, `qpq selftest` passes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cross import elf
from cross.cache import ROOT
from cross.errors import CrossError
from cross.process import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cross.targets import Target

DEADLINE = 120.0  # seconds for anything that a node does under emulation
PAUSE = 0.5
USAGE, NO_DAEMON = 2, 3
QUIET = ("--mesh-interface", "lo", "--no-mdns", "--no-beacon", "--no-group")
TEXT = "Grüße über das Netz"


@dataclass(frozen=True, slots=True)
class Node:
    """One running daemon."""

    command: tuple[str, ...]
    process: subprocess.Popen[bytes]
    socket: str

    def ask(self, *words: str) -> Any:
        """Return the JSON that a console command prints."""
        return json.loads(run([*self.command, "--socket", self.socket, *words, "--json"]))


def run_all(target: Target) -> Iterator[str]:
    """Yield one line for each thing that was found right.

    Raises:
        CrossError: something was not.
    """
    command = _command(target)
    yield run([*command, "--version"]).strip()
    _statuses(command)
    yield "exit statuses"
    if target.gcc:
        yield _soft_float(ROOT / "dist" / target.name / "qpq")
    with tempfile.TemporaryDirectory(prefix="qpq-selftest") as folder:
        yield _exchange(command, Path(folder))
    begin = time.monotonic()
    yield run([*command, "selftest"]).strip().splitlines()[-1]
    yield f"qpq selftest took {time.monotonic() - begin:.1f} s"


def _command(target: Target) -> tuple[str, ...]:
    elf = ROOT / "dist" / target.name / "qpq"
    if not elf.exists():
        msg = f"{elf} is not there: `make cross TARGET={target.name}` builds it"
        raise CrossError(msg)
    if target.qemu and not shutil.which(target.qemu[0]):
        msg = f"{target.qemu[0]} is missing: `make cross-setup` as root installs it"
        raise CrossError(msg)
    return (*target.qemu, str(elf))


def _statuses(command: tuple[str, ...]) -> None:
    for words, wanted in ((("nonsense",), USAGE), (("--socket", "/nowhere/qpq.sock", "mesh", "peers"), NO_DAEMON)):
        status = subprocess.run([*command, *words], capture_output=True, check=False, timeout=DEADLINE).returncode
        if status != wanted:
            msg = f"qpq {' '.join(words)} ended with {status} and not {wanted}"
            raise CrossError(msg)


def _soft_float(elf: Path) -> str:
    if "Soft float" not in run(["readelf", "-A", elf]):
        msg = f"{elf} is not soft-float"
        raise CrossError(msg)
    return "soft float"


def _exchange(command: tuple[str, ...], folder: Path) -> str:
    with contextlib.ExitStack() as stack:
        ports = (_free_port(), _free_port())
        first = stack.enter_context(_node(command, folder / "a", ports[0]))
        second = stack.enter_context(_node(command, folder / "b", ports[1], "--peer", f"localhost:{ports[0]}"))
        begin = time.monotonic()
        for one, other in ((first, second), (second, first)):
            _until(partial(_linked, one), "a link")
            one.ask("mesh", "send", str(other.ask("mesh", "identity")["id"]), TEXT)
            _until(partial(_received, other), "a message")
        maps = Path(f"/proc/{first.process.pid}/maps").read_text()
        if not elf.protected(Path(command[-1]), maps):
            msg = f"RELRO of {command[-1]} is not in force while it runs:\n{maps}"
            raise CrossError(msg)
        return f"messages both ways between two nodes in {time.monotonic() - begin:.1f} s"


def _linked(node: Node) -> bool:
    return any(row["state"] == "linked" for row in node.ask("mesh", "peers"))


def _received(node: Node) -> bool:
    return any(row["text"] == TEXT for row in node.ask("mesh", "inbox"))


@contextlib.contextmanager
def _node(command: tuple[str, ...], folder: Path, port: int, *more: str) -> Iterator[Node]:
    folder.mkdir()
    path = str(folder / "sock")
    words = ["daemon", "--data-dir", str(folder), "--socket", path, "--listen", f"127.0.0.1:{port}", *QUIET, *more]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen([*command, *words], stdout=output, stderr=output)
        try:
            _until(lambda: os.path.exists(path) or process.poll() is not None, "a daemon's socket")
            yield Node(command, process, path)
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(DEADLINE)
    if status:
        msg = f"a daemon ended with {status}: {(folder / 'output').read_text(errors='replace')[-2000:]}"
        raise CrossError(msg)


def _until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        with contextlib.suppress(CrossError):
            if condition():
                return
        time.sleep(PAUSE)
    msg = f"waited {DEADLINE:.0f} s in vain for {what}"
    raise CrossError(msg)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])

"""The programs that `make bench-binary` compares, each started and asked whether it is ready in its own way."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rigs"))

from node import Node
from rig import start, stop

from qpq.errors import QpqError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

ADDRESS = "127.0.0.1"
PORT = 17_190
QUIET = ("--no-mdns", "--no-beacon", "--no-group", "--mesh-interface", "lo")
DEADLINE = 120.0  # seconds until ready, under emulation
POLL = 0.002
RNS_CONFIG = """[reticulum]
  enable_transport = no
  share_instance = yes
  shared_instance_type = tcp
  shared_instance_port = {port}
  instance_control_port = {control}
[logging]
  loglevel = 1
[interfaces]
  [[wire]]
    type = TCPServerInterface
    enabled = yes
    listen_ip = 127.0.0.1
    listen_port = {wire}
"""


class Running(Protocol):
    """A program that is ready."""

    @property
    def pid(self) -> int:
        """Its process."""


@dataclass(frozen=True)
class Qpq:
    """The node: ``program`` is a built binary, or Python with this tree."""

    name: str
    program: tuple[str, ...]

    @contextmanager
    def ready(
        self,
        folder: Path,
        prefix: tuple[str, ...] = (),
        *,
        port: int = PORT,
        more: tuple[str, ...] = (),
        answering: bool = True,
    ) -> Iterator[Node]:
        """Start it, with ``prefix`` before the program, and give it once it answers on its socket, or says it is ready.

        What a node loads behind "ready" an emulated one loads before anybody's question has come.
        """
        with tempfile.TemporaryDirectory(prefix="b", dir=folder) as place:
            node = Node(self.name, arguments=(*QUIET, "--listen", f"{ADDRESS}:{port}", *more), folder=Path(place, "n"))
            node.program = [*prefix, *self.program]
            try:
                node.start(wait=False)
                until(lambda: node.socket.exists() and _answers(node) if answering else _is_ready(node), node.log)
                yield node
            finally:
                node.close()


@dataclass(frozen=True)
class Rnsd:
    """Reticulum's daemon, ready when it takes programs on its shared instance."""

    python: Path
    name: str = "rnsd"

    @contextmanager
    def ready(self, folder: Path, prefix: tuple[str, ...] = ()) -> Iterator[Running]:
        """Start it and give its process once the shared instance takes a connection."""
        with tempfile.TemporaryDirectory(prefix="r", dir=folder) as place:
            text = RNS_CONFIG.format(port=PORT + 1, control=PORT + 2, wire=PORT + 3)
            Path(place, "config").write_text(text)
            argv = [*prefix, str(self.python), str(self.python.with_name("rnsd")), "--config", place]
            process: subprocess.Popen[str] = start(argv, log=Path(place, "log"))
            try:
                until(_listens, Path(place, "log").read_text)
                yield process
            finally:
                stop(process)


def until(condition: Callable[[], bool], log: Callable[[], str]) -> None:
    """Return when ``condition()`` holds; TimeoutError with ``log()`` when it does not."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not ready after {DEADLINE:.0f} s:\n{log()}")
        time.sleep(POLL)


def _is_ready(node: Node) -> bool:
    return "ready: qpq" in node.log()


def _answers(node: Node) -> bool:
    try:
        node.ask("version")
    except QpqError:
        return False
    return True


def _listens() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex((ADDRESS, PORT + 1)) == 0


def tree() -> Qpq:
    """Return the node of this tree on this Python with the real packages."""
    return Qpq("PC node", (sys.executable, "-m", "qpq"))


def binary(path: Path, runner: tuple[str, ...] = ()) -> Qpq:
    """Return a built binary, with what runs it where that is another machine's."""
    if runner and not shutil.which(runner[0]):
        raise FileNotFoundError(f"{runner[0]} is not installed (Debian: qemu-user)")
    return Qpq("binary", (*runner, str(path)))

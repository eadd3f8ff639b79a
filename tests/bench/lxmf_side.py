"""LXMF under the bench: two driver processes over one TCP interface, or with a transport node between them.

It is installed from the package index into an environment of its own; nothing of it is
part of this project.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
import venv
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from driven import READY, Driven, DrivenPair, until_true
from rig import Host, Line, start, stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    from figures import Burst

    Running: TypeAlias = AbstractContextManager[Driven]

PACKAGES = ("lxmf==1.2.1", "rns==1.5.7")
PORT = 4242
DRIVER = Path(__file__).with_name("lxmf_driver.py")


class MissingError(Exception):
    """LXMF cannot be had; its column stays empty and the message says why."""


def install(folder: Path) -> Path:
    """Make the environment once and return its Python; raises MissingError."""
    python = folder / "bin" / "python"
    done = folder / "-".join(PACKAGES)
    if done.exists():
        return python
    venv.create(folder, with_pip=True, symlinks=True)
    try:
        run_long(str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"pip could not install {', '.join(PACKAGES)}: {error}") from error
    done.touch()
    return python


def run_long(*argv: str) -> None:
    """Run a command that may take two minutes."""
    subprocess.run(argv, check=True, capture_output=True, timeout=120)


class Pair(DrivenPair):
    """A node that sends and a node that receives, known to each other, perhaps over ``relay``."""

    def __init__(self, sender: Driven, receiver: Driven, wire: Host, relay: Driven | None = None) -> None:
        super().__init__(sender, receiver, wire, relay)
        introduce(receiver, sender)
        introduce(sender, receiver)

    def links(self, seconds: float) -> Burst:
        """Set up links one after another for ``seconds``."""
        return self.measure("links", seconds + 2 * READY, seconds=seconds)


def introduce(node: Driven, other: Driven) -> None:
    """Make a node known to another, which takes it as its target."""
    known = node.ask("info")

    def hears() -> object:
        if other.ask("knows", delivery=known["delivery"], links=known["links"])["known"]:
            return True
        node.ask("announce")
        return False

    until_true(hears, "the LXMF nodes did not hear each other's announce", step=0.3)


@contextmanager
def node(python: Path, host: Host, role: str, address: str, folder: Path) -> Iterator[Driven]:
    """Give a node with its files in ``folder``; ``role`` is the driver's."""
    driven = _start(python, host, role, address, folder)
    try:
        yield driven
    finally:
        stop(driven.process)


def _start(python: Path, host: Host, role: str, address: str, folder: Path) -> Driven:
    return Driven(host.command(str(python), str(DRIVER), str(folder), role, address, str(PORT)), folder / "log")


@contextmanager
def pair(python: Path, ends: tuple[Host, Host], folder: Path, *, ipv6: bool) -> Iterator[Pair]:
    """Give two linked LXMF nodes with their files under ``folder``."""
    address = ends[1].ipv6 if ipv6 else ends[1].ipv4
    with (
        node(python, ends[1], "listen", address, folder / "receiver") as receiver,
        node(python, ends[0], "dial", address, folder / "sender") as sender,
    ):
        yield Pair(sender, receiver, ends[0])


@contextmanager
def three(python: Path, line: Line, folder: Path) -> Iterator[Pair]:
    """Give two LXMF nodes that reach each other over a transport node, over IPv4."""
    with (
        relay(python, line, "transport", folder / "relay") as middle,
        node(python, line.receiver, "dial", line.far.ipv4, folder / "receiver") as receiver,
        node(python, line.sender, "dial", line.near.ipv4, folder / "sender") as sender,
    ):
        yield Pair(sender, receiver, line.sender, middle)


def relay(python: Path, line: Line, role: str, folder: Path) -> Running:
    """Give the node in the middle."""
    return node(python, line.near, role, "0.0.0.0", folder)  # noqa: S104 (of both its links)


def start_to_ready(python: Path, host: Host, folder: Path) -> float:
    """Return seconds from starting a node until its router takes messages."""
    begin = time.perf_counter()
    node = _start(python, host, "listen", host.ipv4, folder)
    elapsed = time.perf_counter() - begin
    stop(node.process)
    return elapsed


def modules(python: Path, folder: Path) -> int:
    """Count the modules a node imports until it is ready."""
    argv = [str(python), "-X", "importtime", str(DRIVER), str(folder), "listen", "127.0.0.1", str(PORT)]
    log = folder / "imports"
    process = start(argv, log=log, pipes=True)
    try:
        assert process.stdout is not None
        select.select([process.stdout], [], [], READY)
    finally:
        stop(process)
    return sum(line.startswith("import time:") for line in log.read_text().splitlines()) - 1


if __name__ == "__main__":  # a look at LXMF alone
    from rig import hosts

    root = Path("build/bench-lxmf")
    interpreter = install(Path("build/bench-venv"))
    with hosts() as both, pair(interpreter, both, root / str(os.getpid()), ipv6="6" in sys.argv) as nodes:
        nodes.burst(20, 1, 5, 200)
        print(f"RSS {nodes.idle_rss():.1f} MiB")
        for flight in (1, 32):
            print(flight, nodes.burst(1000, flight, 6, 200).summary())
        print(nodes.links(3).summary())
    with hosts() as both:
        print(start_to_ready(interpreter, both[0], root / f"s{os.getpid()}"))
    print(modules(interpreter, root / f"m{os.getpid()}"))

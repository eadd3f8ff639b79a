"""LXMF under the bench: two driver processes over one TCP interface.

It is installed from the package index into an environment of its own; nothing of it is
part of this project.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
import venv
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Burst
from rig import Host, cpu_ms, rss_mib, start, stop

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("lxmf==1.2.1", "rns==1.5.7")
PORT = 4242
READY = 20.0  # seconds
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


class Node:
    """One driver process."""

    def __init__(self, python: Path, host: Host, role: str, address: str, folder: Path) -> None:
        argv = host.command(str(python), str(DRIVER), str(folder), role, address, str(PORT))
        self.process = start(argv, log=folder / "log", pipes=True)
        self.pid = self.process.pid
        self._answer(READY)

    def ask(self, op: str, *, within: float = READY, **arguments: object) -> dict[str, object]:
        """Send one command and return its answer; TimeoutError after ``within`` seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
        self.process.stdin.flush()
        return self._answer(within)

    def _answer(self, within: float) -> dict[str, object]:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], within)[0]:
            raise TimeoutError(f"the LXMF driver gave no answer in {within} s")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the LXMF driver ended; see its log")
        answer: dict[str, object] = json.loads(line)
        return answer


class Pair:
    """A node that sends and a node that receives, known to each other."""

    def __init__(self, sender: Node, receiver: Node, wire: Host) -> None:
        self.sender, self.receiver, self.wire = sender, receiver, wire
        known = receiver.ask("info")
        deadline = time.monotonic() + READY
        while not sender.ask("knows", delivery=known["delivery"], links=known["links"])["known"]:
            if time.monotonic() > deadline:
                raise TimeoutError("the LXMF nodes did not hear each other's announce")
            receiver.ask("announce")
            time.sleep(0.3)
        sender.ask("announce")
        time.sleep(0.5)

    def burst(self, count: int, window: int, seconds: float, size: int) -> Burst:
        """Send messages of ``size`` bytes with ``window`` in flight and wait for their delivery proofs."""
        cpu, octets = self._cpu(), self.wire.link_bytes()
        result = self.sender.ask(
            "burst", within=seconds + READY, count=count, window=window, seconds=seconds, size=size
        )
        after = self.wire.link_bytes()
        return Burst(
            latencies=result["latencies"],  # type: ignore[arg-type]
            elapsed=float(result["elapsed"]),  # type: ignore[arg-type]
            cpu_ms=self._cpu() - cpu,
            link_bytes=None if octets is None or after is None else after - octets,
            unfinished=int(result["failed"]) + int(result["open"]),  # type: ignore[call-overload]
        )

    def links(self, seconds: float) -> Burst:
        """Set up links one after another for ``seconds``."""
        cpu, octets = self._cpu(), self.wire.link_bytes()
        result = self.sender.ask("links", within=seconds + 2 * READY, seconds=seconds)
        after = self.wire.link_bytes()
        return Burst(
            latencies=result["latencies"],  # type: ignore[arg-type]
            elapsed=float(result["elapsed"]),  # type: ignore[arg-type]
            cpu_ms=self._cpu() - cpu,
            link_bytes=None if octets is None or after is None else after - octets,
            unfinished=0,
        )

    def idle_rss(self) -> float:
        """Return the receiver's resident memory in MiB."""
        return rss_mib(self.receiver.pid)

    def _cpu(self) -> float:
        return cpu_ms(self.sender.pid) + cpu_ms(self.receiver.pid)


@contextmanager
def pair(python: Path, ends: tuple[Host, Host], folder: Path, *, ipv6: bool) -> Iterator[Pair]:
    """Give two linked LXMF nodes with their files under ``folder``."""
    address = ends[1].ipv6 if ipv6 else ends[1].ipv4
    receiver = Node(python, ends[1], "listen", address, folder / "receiver")
    try:
        sender = Node(python, ends[0], "dial", address, folder / "sender")
        try:
            yield Pair(sender, receiver, ends[0])
        finally:
            stop(sender.process)
    finally:
        stop(receiver.process)


def start_to_ready(python: Path, host: Host, folder: Path) -> float:
    """Return seconds from starting a node until its router takes messages."""
    begin = time.perf_counter()
    node = Node(python, host, "listen", host.ipv4, folder)
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

"""Where the bench runs: hosts with Ethernet links between them, and what the kernel counts there.

As root the hosts are network namespaces joined by veth pairs; otherwise all are this
machine's loopback, where the bytes on a link cannot be told apart and are left out.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DEVICE = "eth0"
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
STOP_DEADLINE = 5.0  # seconds from SIGTERM to SIGKILL


@dataclass(frozen=True, slots=True)
class Host:
    """One end of a link, which is the interface ``device``; ``namespace`` is empty on loopback."""

    namespace: str
    ipv4: str
    ipv6: str
    device: str = DEVICE

    def command(self, *argv: str) -> list[str]:
        """Return ``argv`` as it must be started to run on this host (the process id stays the program's)."""
        return ["ip", "netns", "exec", self.namespace, *argv] if self.namespace else list(argv)

    def link_bytes(self) -> int | None:
        """Return Ethernet bytes sent and received on the link so far, checksums of the frames not included."""
        if not self.namespace:
            return None
        folder = f"/sys/class/net/{self.device}/statistics"
        text = run(*self.command("cat", f"{folder}/tx_bytes", f"{folder}/rx_bytes"))
        return sum(int(line) for line in text.split())

    def link_frames(self) -> int | None:
        """Return Ethernet frames sent and received on the link so far."""
        if not self.namespace:
            return None
        folder = f"/sys/class/net/{self.device}/statistics"
        text = run(*self.command("cat", f"{folder}/tx_packets", f"{folder}/rx_packets"))
        return sum(int(line) for line in text.split())


def run(*argv: str) -> str:
    """Run a command to its end and return what it printed; CalledProcessError when it fails."""
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30).stdout


LOOPBACK = Host("", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Line:
    """Three hosts in a line; the one in the middle has an end of both links."""

    sender: Host
    near: Host
    far: Host
    receiver: Host


@contextmanager
def hosts() -> Iterator[tuple[Host, Host]]:
    """Give two hosts on one link; namespaces are removed at the end."""
    if os.geteuid() != 0:
        yield LOOPBACK, LOOPBACK
        return
    with _namespaces("ab") as (a, b):
        ends = Host(a, "10.77.0.1", "fd77::1"), Host(b, "10.77.0.2", "fd77::2")
        _join(*ends)
        yield ends


@contextmanager
def line() -> Iterator[Line]:
    """Give three hosts, of which the outer two reach the one in the middle only; it forwards nothing."""
    if os.geteuid() != 0:
        yield Line(LOOPBACK, LOOPBACK, LOOPBACK, LOOPBACK)
        return
    with _namespaces("srd") as (a, r, b):
        first = Host(a, "10.77.1.1", "fd77:1::1"), Host(r, "10.77.1.2", "fd77:1::2")
        second = Host(r, "10.77.2.2", "fd77:2::2", "eth1"), Host(b, "10.77.2.1", "fd77:2::1")
        _join(*first)
        _join(*second)
        yield Line(*first, *second)


@contextmanager
def _namespaces(letters: str) -> Iterator[list[str]]:
    """Make a namespace for each letter."""
    made: list[str] = []
    try:
        for letter in letters:
            run("ip", "netns", "add", f"qpqb{os.getpid()}{letter}")
            made.append(f"qpqb{os.getpid()}{letter}")
        yield made
    finally:
        for namespace in made:
            run("ip", "netns", "delete", namespace)


def _join(one: Host, two: Host) -> None:
    first = ["ip", "-n", one.namespace]
    run(*first, "link", "add", one.device, "type", "veth", "peer", "name", two.device, "netns", two.namespace)
    for end in (one, two):
        base = ["ip", "-n", end.namespace]
        # Without this TCP is counted in 64 KB pieces that no real link carries.
        run(*base, "link", "set", end.device, "gso_max_segs", "1")
        run(*base, "link", "set", "lo", "up")
        run(*base, "link", "set", end.device, "up")
        run(*base, "address", "add", f"{end.ipv4}/24", "dev", end.device)
        run(*base, "address", "add", f"{end.ipv6}/64", "dev", end.device, "nodad")
    deadline = time.monotonic() + 10
    while "tentative" in run("ip", "-n", one.namespace, "-6", "address") and time.monotonic() < deadline:
        time.sleep(0.1)


def cpu_ms(pid: int) -> float:
    """Return milliseconds of processor time (user and system, all threads) the process has used (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_MS


def rss_mib(pid: int) -> float:
    """Return the resident memory of the process in MiB."""
    return _status_kib(pid, "VmRSS:") / 1024


def _status_kib(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise LookupError(f"no {key} in the status of process {pid}")


def stop(process: subprocess.Popen[str]) -> None:
    """End a process that the bench started: SIGTERM, then SIGKILL after the deadline."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def start(
    argv: Sequence[str], *, log: Path, pipes: bool = False, env: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a program whose stderr goes to ``log``; with ``pipes`` its stdin and stdout are text pipes."""
    pipe = subprocess.PIPE if pipes else subprocess.DEVNULL
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as errors:
        return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=errors, text=True, env=env)

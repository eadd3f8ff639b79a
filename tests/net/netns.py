"""Network namespaces for tests: machines (Namespace) on Ethernet segments (Segment), all gone when Lab ends.

    with Lab() as lab:
        segment = lab.segment()
        a, b = lab.namespace(), lab.namespace()
        segment.attach(a)
        segment.attach(b, ipv4="10.0.0.2/24")
        a.run("ping", "-c1", "10.0.0.2")

Needs root. Names are unique to the process; whatever a namespace started is killed with it.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

TIMEOUT = 20.0
_ETHER = Path(__file__).resolve().parents[1] / "rigs" / "ether.py"
_numbers = itertools.count(1)


def usable() -> bool:
    """Whether this process may build namespaces (root, and the kernel lets it)."""
    if os.geteuid() != 0:
        return False
    name = f"qpq-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False, timeout=TIMEOUT)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False, timeout=TIMEOUT)
    return made.returncode == 0


def wait_until(condition: Callable[[], Any], timeout: float = 10.0, what: str = "") -> Any:
    """Return the first true value of ``condition``; fails after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or condition}")
        time.sleep(0.05)


class Namespace:
    """One machine: a network namespace with loopback up and duplicate address detection off."""

    def __init__(self, label: str = "") -> None:
        self.name = f"qpq{os.getpid():x}-{next(_numbers)}{label and '-' + label}"
        self.processes: list[subprocess.Popen[Any]] = []
        self._alive = False

    def create(self) -> None:
        _ip("netns", "add", self.name)
        self._alive = True
        self.ip("link", "set", "lo", "up")
        for scope in ("all", "default"):
            self.sysctl(f"net/ipv6/conf/{scope}/accept_dad", 0)
            self.sysctl(f"net/ipv6/conf/{scope}/router_solicitations", 0)

    def delete(self) -> None:
        """Kill what was started here and remove the namespace; may be called twice."""
        for process in self.processes:
            stop(process)
        self.processes.clear()
        if self._alive:
            self._alive = False
            subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False, timeout=TIMEOUT)

    def command(self, *argv: str) -> list[str]:
        """The command line that runs ``argv`` in this namespace."""
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, *argv: str, check: bool = True, timeout: float = TIMEOUT, **options: Any) -> str:
        """Run a command to its end; return its output."""
        done = subprocess.run(
            self.command(*argv), check=False, text=True, capture_output=True, timeout=timeout, **options
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self, *argv: str, **options: Any) -> subprocess.Popen[Any]:
        """Start a command that runs until the namespace is deleted."""
        process = subprocess.Popen(self.command(*argv), start_new_session=True, **options)
        self.processes.append(process)
        return process

    def ip(self, *arguments: str) -> str:
        """Run ip(8) on this namespace."""
        return _ip("-n", self.name, *arguments)

    def sysctl(self, path: str, value: object) -> None:
        """Set net/... in this namespace."""
        self.run("sh", "-c", f"echo {value} > /proc/sys/{path}")

    def link_local(self, interface: str = "eth0") -> str:
        """Wait for and return the IPv6 link-local address of ``interface``."""

        def look() -> str:
            words = self.ip("-6", "-o", "address", "show", "dev", interface, "scope", "link", "-tentative").split()
            return words[words.index("inet6") + 1].partition("/")[0] if "inet6" in words else ""

        return str(wait_until(look, what=f"a link-local address on {interface}"))


class Segment:
    """One Ethernet: a bridge in a namespace of its own, so that nothing of it is seen by the machines."""

    def __init__(self) -> None:
        self.switch = Namespace("switch")
        self._ports: dict[tuple[str, str], str] = {}

    def create(self) -> None:
        self.switch.create()
        self.switch.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        self.switch.ip("link", "set", "br0", "up")

    def delete(self) -> None:
        self.switch.delete()

    def attach(
        self, namespace: Namespace, interface: str = "eth0", ipv4: str = "", ipv6: str = "", *, up: bool = True
    ) -> None:
        """Plug ``interface`` of ``namespace`` in; it is up with its link-local address when this returns."""
        port = f"p{len(self._ports)}"
        _ip(
            *("link", "add", interface, "netns", namespace.name, "type", "veth"),
            *("peer", "name", port, "netns", self.switch.name),
        )
        self._ports[namespace.name, interface] = port
        self.switch.ip("link", "set", port, "master", "br0", "up")
        for address in filter(None, (ipv4, ipv6)):
            namespace.ip("address", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))
        if up:
            namespace.ip("link", "set", interface, "up")
            namespace.link_local(interface)

    def detach(self, namespace: Namespace, interface: str = "eth0") -> None:
        """Pull the plug: the interface is gone."""
        namespace.ip("link", "delete", interface)
        del self._ports[namespace.name, interface]

    def unplug(self, namespace: Namespace, interface: str = "eth0") -> None:
        """Take the carrier away; ``plug`` brings it back."""
        self.switch.ip("link", "set", self._ports[namespace.name, interface], "down")

    def plug(self, namespace: Namespace, interface: str = "eth0") -> None:
        """Give the carrier back."""
        self.switch.ip("link", "set", self._ports[namespace.name, interface], "up")

    def impair(self, namespace: Namespace, *netem: str, interface: str = "eth0") -> None:
        """Disturb what goes towards ``namespace``, as tc-netem(8) says it: ``"loss", "10%"``."""
        port = self._ports[namespace.name, interface]
        self.switch.run("tc", "qdisc", "replace", "dev", port, "root", "netem", *netem)


class Cables:
    """Cables between pairs of machines that lose and delay frames (rigs/ether.py); ``mesh0``, ``mesh1`` … in each.

    ``name`` is what interfaces are called in the place of ``mesh``.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Namespace, Namespace]],
        *,
        loss: float | Sequence[object],
        delay_ms: float,
        seed: int,
        name: str = "mesh",
    ) -> None:
        used: dict[str, int] = {}
        self.ends: list[list[tuple[Namespace, str]]] = []
        for pair in pairs:
            self.ends.append([])
            for namespace in pair:
                self.ends[-1].append((namespace, f"{name}{used.setdefault(namespace.name, 0)}"))
                used[namespace.name] += 1
        self._specifications = [
            {
                "ends": [[namespace.name, interface] for namespace, interface in ends],
                "loss": loss if isinstance(loss, float) else loss[number],
                "delay_ms": delay_ms,
                "seed": f"{seed}/{number}",
            }
            for number, ends in enumerate(self.ends)
        ]
        self._process: subprocess.Popen[str] | None = None

    def create(self) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(self._specifications, file)
            file.flush()
            self._process = subprocess.Popen(
                [sys.executable, str(_ETHER), file.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            assert self._process.stdout is not None
            if self._process.stdout.readline() != "ready\n":
                raise AssertionError("the cables could not be made; see above")
        for ends in self.ends:
            for namespace, interface in ends:
                namespace.ip("link", "set", interface, "up")

    def delete(self) -> None:
        if self._process is not None:
            stop(self._process)
            self._process = None

    def change(self, number: int, **values: object) -> None:
        """Give a cable another ``loss`` (0 to 1, or a pair), ``delay_ms``, or take it ``up`` or down."""
        self._ask({"cable": number, **values})

    def counts(self) -> list[dict[str, list[int]]]:
        """Return for each cable frames and bytes each end has sent, and how many frames of them were lost."""
        return self._ask({"count": True})

    def _ask(self, command: dict[str, object]) -> list[dict[str, list[int]]]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()
        answer: list[dict[str, list[int]]] = json.loads(process.stdout.readline())
        return answer


class Lab:
    """Makes namespaces, segments and cables and removes them all at its end, also after a failure."""

    def __init__(self) -> None:
        self._made: list[Namespace | Segment | Cables] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for made in reversed(self._made):
            made.delete()

    def namespace(self, label: str = "") -> Namespace:
        namespace = Namespace(label)
        self._made.append(namespace)
        namespace.create()
        return namespace

    def segment(self) -> Segment:
        segment = Segment()
        self._made.append(segment)
        segment.create()
        return segment

    def cables(
        self,
        pairs: Sequence[tuple[Namespace, Namespace]],
        *,
        loss: float | Sequence[object] = 0.0,
        delay_ms: float = 0.0,
        seed: int = 1,
        name: str = "mesh",
    ) -> Cables:
        """Join pairs of machines; ``loss`` for all alike, or one for each (a number, or a pair for both directions)."""
        cables = Cables(pairs, loss=loss, delay_ms=delay_ms, seed=seed, name=name)
        self._made.append(cables)
        cables.create()
        return cables


def stop(process: subprocess.Popen[Any], patience: float = 3.0) -> None:
    """End a process started by ``Namespace.start`` and its children: asked first, then killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        break
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _ip(*arguments: str) -> str:
    argv: Sequence[str] = ["ip", *arguments]
    done = subprocess.run(argv, check=False, text=True, capture_output=True, timeout=TIMEOUT)
    if done.returncode:
        raise AssertionError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout

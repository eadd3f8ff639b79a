"""qpq under the bench: two daemons over one QUIC link, driven through their control sockets."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rigs"))

from control import Control
from figures import Burst
from node import NODE_SOURCE, Node, wait_for
from rig import LOOPBACK, Host, cpu_ms, rss_mib

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = 17_170
INBOX_PAGE = 500
QUIET = ("--no-mdns", "--no-beacon")
MEMORY = Path("/dev/shm")  # noqa: S108 (tmpfs is what is measured)


def _listen(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Pair:
    """A node that sends and a node that receives, with a link between them."""

    def __init__(self, sender: Node, receiver: Node, wire: Host) -> None:
        self.sender, self.receiver, self.wire = sender, receiver, wire
        self.peer = receiver.identity()
        wait_for("the link is up", lambda: self.peer in sender.linked())
        self.out, self.into = Control(sender.socket), Control(receiver.socket)

    def burst(self, count: int, window: int, seconds: float, size: int) -> Burst:
        """Send messages of ``size`` bytes with ``window`` in flight and wait for their receipts."""
        cpu, octets = self._cpu(), self.wire.link_bytes()
        latencies, elapsed, unfinished = self.out.burst(self.peer, count, window, seconds, size)
        after = self.wire.link_bytes()
        used = self._cpu() - cpu
        self._empty_inbox()
        return Burst(latencies, elapsed, used, None if octets is None or after is None else after - octets, unfinished)

    def _empty_inbox(self) -> None:
        """Make room: an inbox takes a bounded number of messages, and a full one answers no more."""
        self.into.drain()
        while rows := self.into.ask("mesh.inbox", all=True, limit=INBOX_PAGE):
            assert isinstance(rows, list), rows
            for row in rows:
                self.into.ask("mesh.delete", message=row["id"])

    def idle_rss(self) -> float:
        """Return the receiver's resident memory in MiB."""
        return rss_mib(self.receiver.pid)

    def close(self) -> None:
        """Close the control connections."""
        self.out.close()
        self.into.close()

    def _cpu(self) -> float:
        return cpu_ms(self.sender.pid) + cpu_ms(self.receiver.pid)


@contextmanager
def pair(ends: tuple[Host, Host], folder: Path, *, ipv6: bool) -> Iterator[Pair]:
    """Give two linked daemons with their stores under ``folder``."""
    addresses = [end.ipv6 if ipv6 else end.ipv4 for end in ends]
    ports = (PORT, PORT) if ends[0].namespace else (PORT, PORT + 1)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="b", dir=folder) as place:
        receiver = _node("receiver", ends[1], _listen(addresses[1], ports[1]), place)
        dial = ("--peer", _listen(addresses[1], ports[1]))
        sender = _node("sender", ends[0], _listen(addresses[0], ports[0]), place, *dial)
        try:
            receiver.start()
            sender.start()
            both = Pair(sender, receiver, ends[0])
            yield both
            both.close()
        except Exception:
            for node in (sender, receiver):
                print(f"--- {node.name}\n{node.log()[-2000:]}", file=sys.stderr)
            raise
        finally:
            sender.close()
            receiver.close()


def rss_with_discovery(host: Host, folder: Path, rest: float) -> float:
    """Return MiB of a node alone as it runs without any option, after ``rest`` seconds."""
    with tempfile.TemporaryDirectory(prefix="b", dir=folder) as place:
        listen = ("--listen", _listen(host.ipv4, PORT))
        node = Node("alone", prefix=host.command(), arguments=listen, folder=Path(place, "alone"))
        try:
            node.start()
            time.sleep(rest)
            return rss_mib(node.pid)
        finally:
            node.close()


def _node(name: str, host: Host, listen: str, place: str, *more: str) -> Node:
    arguments = (*QUIET, "--listen", listen, *more)
    return Node(name, prefix=host.command(), arguments=arguments, folder=Path(place, name))


def installed() -> list[str]:
    """Return the command people start: the script that pip makes, or what it does (``-m`` imports more)."""
    script = Path(sys.executable).with_name("qpq")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "import sys; from qpq.__main__ import main; sys.exit(main())"]


def start_to_ready(host: Host, folder: Path) -> float:
    """Return seconds from starting a node until its control socket answers."""
    with tempfile.TemporaryDirectory(prefix="b", dir=folder) as place:
        node = _node("start", host, _listen(host.ipv4, PORT), place)
        node.program = installed()
        try:
            begin = time.perf_counter()
            node.start(wait=False)
            while not _answers(node):
                if time.perf_counter() - begin > 20:
                    raise TimeoutError(f"the node did not answer:\n{node.log()}")
                time.sleep(0.002)
            return time.perf_counter() - begin
        finally:
            node.close()


def _answers(node: Node) -> bool:
    if not node.socket.exists():
        return False
    try:
        node.ask("version")
    except Exception:  # noqa: BLE001 (whatever it is, the caller's deadline judges it)
        return False
    return True


def modules(folder: Path) -> int:
    """Count the modules a node imports until it is ready."""
    with tempfile.TemporaryDirectory(prefix="b", dir=folder) as place:
        node = _node("imports", LOOPBACK, f"127.0.0.1:{PORT + 2}", place)
        node.program = installed()
        node.environment["PYTHONPROFILEIMPORTTIME"] = "1"
        try:
            node.start()
            node.stop()
            until_ready = node.log().partition("ready: qpq")[0]
            return sum(line.startswith("import time:") for line in until_ready.splitlines()) - 1
        finally:
            node.close()


def version() -> str:
    """Return the version of the node under test."""
    code = "import qpq; print(qpq.__version__)"
    environment = {**os.environ, "PYTHONPATH": str(NODE_SOURCE)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()

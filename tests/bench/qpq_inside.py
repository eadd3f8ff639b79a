"""qpq under the bench, driven inside its own process as LXMF is: two driver processes, or three in a line."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from driven import Driven, DrivenPair, until_true
from rig import Host, Line, stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    from figures import Burst

    Running: TypeAlias = AbstractContextManager[Driven]

PORT = 17_180
RELAY = 2  # added to PORT: where the node in the middle listens
DRIVER = Path(__file__).with_name("qpq_driver.py")
QUIET = ("--no-mdns", "--no-beacon", "--no-group", "--mesh-interface", "lo")


class Pair(DrivenPair):
    """Two nodes with a link between them, or with links to ``relay``."""

    def __init__(self, sender: Driven, receiver: Driven, wire: Host, relay: Driven | None = None) -> None:
        super().__init__(sender, receiver, wire, relay)
        target = receiver.ask("info")["delivery"]
        until_true(lambda: sender.ask("knows", delivery=target)["known"], "the link, or the route, did not come up")

    def burst(self, count: int, window: int, seconds: float, size: int) -> Burst:
        """Send and wait for receipts; then make room in the inbox."""
        burst = super().burst(count, window, seconds, size)
        self.receiver.ask("empty")
        return burst


@contextmanager
def pair(ends: tuple[Host, Host], folder: Path, *, ipv6: bool) -> Iterator[Pair]:
    """Give two linked nodes with their stores under ``folder``."""
    listens = [listen(end.ipv6 if ipv6 else end.ipv4, n) for n, end in enumerate(ends)]
    with (
        tempfile.TemporaryDirectory(prefix="b", dir=folder) as place,
        node(ends[1], Path(place, "receiver"), "--listen", listens[1]) as receiver,
        node(ends[0], Path(place, "sender"), "--listen", listens[0], "--peer", listens[1]) as sender,
    ):
        yield Pair(sender, receiver, ends[0])


@contextmanager
def three(line: Line, folder: Path) -> Iterator[Pair]:
    """Give two nodes that reach each other over a third, over IPv4."""
    with (
        tempfile.TemporaryDirectory(prefix="b", dir=folder) as place,
        relay(line, Path(place, "relay")) as middle,
        outer(line, Path(place, "receiver"), 1) as receiver,
        outer(line, Path(place, "sender"), 0) as sender,
    ):
        yield Pair(sender, receiver, line.sender, middle)


def relay(line: Line, folder: Path) -> Running:
    """Give the node in the middle."""
    where = "0.0.0.0" if line.near.namespace else line.near.ipv4  # noqa: S104 (of both its links)
    return node(line.near, folder, "--listen", listen(where, RELAY))


def outer(line: Line, folder: Path, number: int) -> Running:
    """Give the sender (0) or the receiver (1), which dials the node in the middle."""
    host, other = ((line.sender, line.near), (line.receiver, line.far))[number]
    return node(host, folder, "--listen", listen(host.ipv4, number), "--peer", listen(other.ipv4, RELAY))


def listen(address: str, number: int) -> str:
    """Return where a node listens; on loopback all have one address, so each has a port of its own."""
    return f"[{address}]:{PORT + number}" if ":" in address else f"{address}:{PORT + number}"


@contextmanager
def node(host: Host, folder: Path, *flags: str) -> Iterator[Driven]:
    """Give a node with its files in ``folder``."""
    folder.mkdir(mode=0o700, exist_ok=True)
    driven = Driven(host.command(sys.executable, str(DRIVER), str(folder), *QUIET, *flags), folder / "log")
    try:
        yield driven
    finally:
        stop(driven.process)


if __name__ == "__main__":  # a look at these rows alone
    from rig import hosts

    with hosts() as both, pair(both, Path(os.environ.get("TMPDIR", "/dev/shm")), ipv6="6" in sys.argv) as nodes:  # noqa: S108
        nodes.burst(50, 1, 5, 200)
        for flight in (1, 32):
            for _ in range(3):
                print(flight, nodes.burst(400, flight, 5, 200).summary())

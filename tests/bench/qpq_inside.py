"""qpq under the bench, driven inside its own process as LXMF is: two driver processes over one QUIC link."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from driven import READY, Driven, DrivenPair
from rig import Host, stop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from figures import Burst

PORT = 17_180
DRIVER = Path(__file__).with_name("qpq_driver.py")
QUIET = ("--no-mdns", "--no-beacon", "--no-group", "--mesh-interface", "lo")


class Pair(DrivenPair):
    """Two nodes with a link between them."""

    def __init__(self, sender: Driven, receiver: Driven, wire: Host) -> None:
        super().__init__(sender, receiver, wire)
        target = receiver.ask("info")["delivery"]
        deadline = time.monotonic() + READY
        while not sender.ask("knows", delivery=target)["known"]:
            if time.monotonic() > deadline:
                raise TimeoutError("the link did not come up")
            time.sleep(0.1)

    def burst(self, count: int, window: int, seconds: float, size: int) -> Burst:
        """Send and wait for receipts; then make room in the inbox."""
        burst = super().burst(count, window, seconds, size)
        self.receiver.ask("empty")
        return burst


@contextmanager
def pair(ends: tuple[Host, Host], folder: Path, *, ipv6: bool) -> Iterator[Pair]:
    """Give two linked nodes with their stores under ``folder``."""
    addresses = [end.ipv6 if ipv6 else end.ipv4 for end in ends]
    ports = (PORT, PORT) if ends[0].namespace else (PORT, PORT + 1)
    listens = [f"[{a}]:{p}" if ":" in a else f"{a}:{p}" for a, p in zip(addresses, ports, strict=True)]
    with tempfile.TemporaryDirectory(prefix="b", dir=folder) as place:
        receiver = _node(ends[1], Path(place, "receiver"), "--listen", listens[1])
        try:
            sender = _node(ends[0], Path(place, "sender"), "--listen", listens[0], "--peer", listens[1])
            try:
                yield Pair(sender, receiver, ends[0])
            finally:
                stop(sender.process)
        finally:
            stop(receiver.process)


def _node(host: Host, folder: Path, *flags: str) -> Driven:
    folder.mkdir(mode=0o700)
    return Driven(host.command(sys.executable, str(DRIVER), str(folder), *QUIET, *flags), folder / "log")


if __name__ == "__main__":  # a look at these rows alone
    from rig import hosts

    with hosts() as both, pair(both, Path(os.environ.get("TMPDIR", "/dev/shm")), ipv6="6" in sys.argv) as nodes:  # noqa: S108
        nodes.burst(50, 1, 5, 200)
        for flight in (1, 32):
            for _ in range(3):
                print(flight, nodes.burst(400, flight, 5, 200).summary())

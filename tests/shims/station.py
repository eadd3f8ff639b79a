"""One end of a link in a process of its own: ``station.py serve`` or ``station.py call PORT COUNT``.

The server prints its port and echoes frames until stdin ends, then the links it saw. The caller makes two links, the
second with the ticket of the first, sends COUNT frames over each, and prints what it saw. Both print one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import sys

import cryptography

from qpq.crypto.identity import SecretIdentity
from qpq.link.endpoint import Endpoint
from qpq.mesh.events import Event, FrameReceived, LinkDown, LinkUp
from qpq.wire.frames import Receipt

DEADLINE = 20.0


class Station:
    """An endpoint and what it was told."""

    def __init__(self, seed: bytes, *, echo: bool) -> None:
        self.links: list[LinkUp] = []
        self.frames: list[Receipt] = []
        self.downs = 0
        self.changed = asyncio.Event()
        self.echo = echo
        self.endpoint = Endpoint(SecretIdentity(seed), self.hear)
        self.endpoint.listen("127.0.0.1:0")

    def hear(self, event: Event) -> None:
        """Keep an event, answer a frame."""
        if isinstance(event, LinkUp):
            self.links.append(event)
        elif isinstance(event, LinkDown):
            self.downs += 1
        elif isinstance(event, FrameReceived):
            assert isinstance(event.frame, Receipt)
            self.frames.append(event.frame)
            if self.echo:
                self.endpoint.send(event.link, event.frame)
        self.changed.set()

    async def wait(self, count: int, kind: str) -> None:
        """Return when there are ``count`` links, frames or downs."""
        async with asyncio.timeout(DEADLINE):
            while (self.downs if kind == "downs" else len(getattr(self, kind))) < count:
                self.changed.clear()
                await self.changed.wait()

    def told(self) -> dict[str, object]:
        """Return what was seen, for the test."""
        return {
            "package": cryptography.__file__,
            "links": [[link.peer.hex(), link.resumed] for link in self.links],
            "frames": len(self.frames),
        }


def frame(number: int) -> Receipt:
    """Return one of frames that all differ, up to 770 bytes."""
    rows = 1 + number % 16
    return Receipt(tuple((bytes([number % 256]) * 16, bytes([row]) * 32) for row in range(rows)))


async def serve() -> None:
    """Echo until stdin ends."""
    station = Station(b"s" * 32, echo=True)
    print(station.endpoint.port, flush=True)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    async with asyncio.timeout(3 * DEADLINE):
        await ended.wait()
    loop.remove_reader(sys.stdin.fileno())
    await station.endpoint.close_all(1.0)
    print(json.dumps(station.told()), flush=True)


async def call(port: int, count: int) -> None:
    """Make two links and send over each."""
    station = Station(b"c" * 32, echo=False)
    for turn in (1, 2):
        station.endpoint.connect(f"127.0.0.1:{port}", SecretIdentity(b"s" * 32).identity)
        await station.wait(turn, "links")
        sent = [frame(number) for number in range(count)]
        station.endpoint.send_many(station.links[-1].link, sent)
        await station.wait(turn * count, "frames")
        assert station.frames[-count:] == sent
        station.endpoint.close(station.links[-1].link, 0, "done")
        await station.wait(turn, "downs")
    await station.endpoint.close_all(1.0)
    print(json.dumps(station.told()), flush=True)


if __name__ == "__main__":
    asyncio.run(serve() if sys.argv[1] == "serve" else call(int(sys.argv[2]), int(sys.argv[3])))

"""One end of the bench of links: the shipped endpoint, without the daemon round it.

Prints a JSON line when it listens; ``dial`` then sets up links one after another for the
given time, each closed before the next, prints what it measured and ends.

usage: links_driver.py listen ADDRESS | dial ADDRESS TARGET SECONDS fresh|resumed
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "node"))

from qpq.crypto.identity import SecretIdentity
from qpq.link.endpoint import Endpoint
from qpq.link.limits import LinkLimits
from qpq.mesh.events import DialFailed, Event, LinkDown, LinkUp

DEADLINE = 10.0  # seconds for one link
TICKET = 0.005  # seconds until the ticket for the next link is here
# One neighbour in a bench dials more often than a node lets a neighbour.
OPEN = replace(LinkLimits(), handshakes_a_second=1e6, handshake_burst=1_000_000)
WITHOUT_TICKETS = replace(OPEN, tickets=0)


class Events:
    """What the endpoint tells, as things to wait for."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event] = asyncio.Queue()

    async def next(self, *kinds: type[Event]) -> Event:
        """Return the next event of one of the kinds; TimeoutError when none comes."""
        async with asyncio.timeout(DEADLINE):
            while True:
                event = await self.queue.get()
                if isinstance(event, kinds):
                    return event


async def dial(endpoint: Endpoint, events: Events, target: str, seconds: float, rest: float) -> dict[str, object]:
    """Set up links until the time is over; each stays for ``rest`` seconds, which do not count."""
    latencies: list[float] = []
    failed = resumed = 0
    begin = time.perf_counter()
    while (started := time.perf_counter()) < begin + seconds:
        endpoint.connect(target)
        event = await events.next(LinkUp, DialFailed)
        if not isinstance(event, LinkUp):
            failed += 1
            continue
        latencies.append(time.perf_counter() - started)
        resumed += event.resumed
        await asyncio.sleep(rest)
        endpoint.close(event.link, 0, "")
        await events.next(LinkDown)
    return {
        "latencies": latencies,
        "elapsed": time.perf_counter() - begin - rest * len(latencies),
        "failed": failed,
        "resumed": resumed,
    }


async def main() -> None:
    """Listen, and dial when asked to."""
    role, address = sys.argv[1:3]
    limits = WITHOUT_TICKETS if role == "dial" and sys.argv[5] == "fresh" else OPEN
    events = Events()
    endpoint = Endpoint(SecretIdentity(os.urandom(32)), events.queue.put_nowait, limits)
    endpoint.listen(address)
    print(json.dumps({"ready": True}), flush=True)
    if role == "listen":
        while True:
            await events.queue.get()
    rest = 0.0 if sys.argv[5] == "fresh" else TICKET
    print(json.dumps(await dial(endpoint, events, sys.argv[3], float(sys.argv[4]), rest)), flush=True)
    await endpoint.close_all(0.5)


if __name__ == "__main__":
    asyncio.run(main())

"""One qpq node under measurement, driven inside its own process: commands as JSON lines on stdin, answers on stdout.

The node is the shipped one (``qpq.daemon.node.Node``: its store, its links, its UDP socket, its control
socket, which nobody uses here). What it measures is what ``lxmf_driver.py`` measures of LXMF: from handing
the message to the node (``shell.put``) to the node's own call that tells it is delivered.

usage: qpq_driver.py FOLDER [a flag of ``qpq daemon``]...
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "node"))

from qpq.daemon import config as configuration
from qpq.daemon import logs
from qpq.daemon.data_dir import prepare
from qpq.daemon.node import Node
from qpq.mesh.effects import State
from qpq.mesh.events import DeleteMessage, SendText
from qpq.wire.envelope import DEFAULT_TTL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qpq.crypto.identity import Address
    from qpq.mesh.effects import Deliver, StateChanged

PAGE = 500  # rows of the inbox deleted at a time
MESSAGE_ID_BYTES = 16

Answer = dict[str, object]


class Measured(Node):
    """The node, when which message was delivered, and how many have come and when the last."""

    arrived: asyncio.Queue[tuple[bytes, float]]
    received = 0
    latest = 0.0

    def delivered(self, effect: Deliver) -> None:
        """Count a message that has come."""
        super().delivered(effect)
        self.received += 1
        self.latest = time.perf_counter()

    def state_changed(self, effect: StateChanged) -> None:
        """Take the time of a delivery, behind what the node does anyway."""
        super().state_changed(effect)
        if effect.state is State.DELIVERED:
            self.arrived.put_nowait((effect.message_id, time.perf_counter()))


class Driver:
    """What can be asked of the node."""

    def __init__(self, node: Measured) -> None:
        self.node = node
        self.ready = time.perf_counter()
        self.target: Address | None = None

    async def info(self) -> Answer:
        """Return the address of the node's user, since when it is ready, what has come and what it carries."""
        node = self.node
        return {
            "delivery": node.keyring.users[0].address.hex(),
            "ready": self.ready,
            "received": node.received,
            "latest": node.latest,
            "held": node.core.store_rows(node.now()).count,
        }

    async def knows(self, delivery: str) -> Answer:
        """Take another node's user as the target once a link to it is up."""
        self.target = bytes.fromhex(delivery)  # type: ignore[assignment]
        return {"known": self.target in self.node.core.addresses_known()}

    async def post(self, count: int, size: int) -> Answer:
        """Queue messages for the target, from as many users as may have so many for one recipient."""
        node = self.node
        most = node.limits.recipient_count
        while len(node.keyring.users) * most < count:
            node.add_user(node.keyring.add_user(f"user{len(node.keyring.users)}"))
        users = [user.address for user in node.keyring.users]
        for number in range(count):
            self._send(size, {}, users[number // most])
        node.shell.flush()
        return {}

    async def empty(self) -> Answer:
        """Delete what the inbox holds: it takes a bounded number of messages."""
        user = self.node.keyring.users[0].address
        while rows := self.node.store.inbox(user, limit=PAGE):
            for row in rows:
                self.node.shell.put(DeleteMessage(user, row.message_id))
            self.node.shell.flush()
        return {}

    async def burst(self, count: int, window: int, seconds: float, size: int) -> Answer:
        """Send up to ``count`` messages of ``size`` bytes, ``window`` at a time, for at most ``seconds``."""
        arrived = self.node.arrived = asyncio.Queue()
        started: dict[bytes, float] = {}
        latencies: list[float] = []
        begin = time.perf_counter()
        try:
            async with asyncio.timeout(seconds):
                while len(latencies) < count:
                    while len(started) < window and len(started) + len(latencies) < count:
                        self._send(size, started, self.node.keyring.users[0].address)
                    message, ended = await arrived.get()
                    latencies.append(ended - started.pop(message))
        except TimeoutError:
            pass
        elapsed = time.perf_counter() - begin
        return {"latencies": latencies, "elapsed": elapsed, "failed": 0, "open": len(started)}

    def _send(self, size: int, started: dict[bytes, float], user: Address) -> None:
        assert self.target is not None
        text, message = os.urandom(size // 2).hex(), os.urandom(MESSAGE_ID_BYTES)
        started[message] = time.perf_counter()
        self.node.shell.put(SendText(user, self.target, message, text, DEFAULT_TTL, padding=False))
        self.node.shell.check(message)


async def main() -> None:
    """Run the node and answer commands until stdin ends."""
    folder = sys.argv[1]
    flags = ["--data-dir", folder, "--socket", f"{folder}/qpq.sock", *sys.argv[2:]]
    config = configuration.load(flags, {}).config
    prepare(config.data_dir, None)
    node = Measured(config, logs.setup(config.log_level, environ={}))
    node.arrived = asyncio.Queue()
    await node.start()
    gc.freeze()  # as qpq.daemon.main does
    driver = Driver(node)
    commands: dict[str, Callable[..., Awaitable[Answer]]] = {
        "info": driver.info,
        "knows": driver.knows,
        "post": driver.post,
        "empty": driver.empty,
        "burst": driver.burst,
    }
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    loop.add_signal_handler(signal.SIGTERM, lines.feed_eof)
    print(json.dumps({"ready": True}), flush=True)
    while line := await lines.readline():
        request = json.loads(line)
        print(json.dumps(await commands[request.pop("op")](**request)), flush=True)
    await node.stop()


if __name__ == "__main__":
    asyncio.run(main())

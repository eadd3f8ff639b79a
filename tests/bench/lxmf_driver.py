"""One LXMF node under measurement: commands as JSON lines on stdin, answers on stdout.

Runs in the bench's own environment (``build/bench-venv``), one process per node. What it
measures is LXMF's method ``DIRECT`` with delivery proofs over one TCP interface: from
``handle_outbound`` to the delivery callback.

usage: lxmf_driver.py DIRECTORY listen|dial HOST PORT
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from pathlib import Path

import LXMF
import RNS

APP = "qpqbench"
WAIT = 30.0  # seconds for anything that should take milliseconds

SERVER = """    type = TCPServerInterface
    enabled = yes
    listen_ip = {host}
    listen_port = {port}
"""
CLIENT = """    type = TCPClientInterface
    enabled = yes
    target_host = {host}
    target_port = {port}
"""
CONFIG = """[reticulum]
  enable_transport = no
  share_instance = no
  panic_on_interface_error = yes
[logging]
  loglevel = 1
[interfaces]
  [[wire]]
"""


class Node:
    """A Reticulum instance, its LXMF router and an identity that receives."""

    def __init__(self, directory: str, role: str, host: str, port: str) -> None:
        config = Path(directory, "config")
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(CONFIG + (SERVER if role == "listen" else CLIENT).format(host=host, port=port))
        RNS.Reticulum(configdir=directory, loglevel=1)
        self.identity = RNS.Identity()
        self.router = LXMF.LXMRouter(identity=self.identity, storagepath=f"{directory}/lxmf")
        self.delivery = self.router.register_delivery_identity(self.identity, display_name="bench")
        self.received = 0
        self.router.register_delivery_callback(self._on_message)
        self.links = RNS.Destination(self.identity, RNS.Destination.IN, RNS.Destination.SINGLE, APP, "links")
        self.links.accepts_links(True)
        self.target: RNS.Destination | None = None
        self.link_target: RNS.Destination | None = None

    def _on_message(self, _message: LXMF.LXMessage) -> None:
        self.received += 1

    def info(self) -> dict[str, object]:
        """Return the addresses the other node needs."""
        return {"delivery": self.delivery.hash.hex(), "links": self.links.hash.hex(), "received": self.received}

    def announce(self) -> dict[str, object]:
        """Make both destinations known over the wire."""
        self.router.announce(self.delivery.hash)
        self.links.announce()
        return {}

    def knows(self, delivery: str, links: str) -> dict[str, object]:
        """Take the other node as target once its announces are here."""
        found = [RNS.Identity.recall(bytes.fromhex(text)) for text in (delivery, links)]
        if None in found:
            return {"known": False}
        out, single = RNS.Destination.OUT, RNS.Destination.SINGLE
        self.target = RNS.Destination(found[0], out, single, "lxmf", "delivery")
        self.link_target = RNS.Destination(found[1], out, single, APP, "links")
        return {"known": True}

    def burst(self, count: int, window: int, seconds: float, size: int) -> dict[str, object]:
        """Send up to ``count`` messages of ``size`` bytes, ``window`` at a time, for at most ``seconds``."""
        done: queue.SimpleQueue[tuple[float, float, bool]] = queue.SimpleQueue()
        latencies: list[float] = []
        failed = sent = 0
        begin = time.perf_counter()
        while len(latencies) + failed < count:
            while sent < count and sent - len(latencies) - failed < window:
                self._send(size, done)
                sent += 1
            left = begin + seconds - time.perf_counter()
            if left <= 0:
                break
            try:
                started, ended, delivered = done.get(timeout=left)
            except queue.Empty:
                break
            if delivered:
                latencies.append(ended - started)
            else:
                failed += 1
        elapsed = time.perf_counter() - begin
        return {"latencies": latencies, "elapsed": elapsed, "failed": failed, "open": sent - len(latencies) - failed}

    def _send(self, size: int, done: queue.SimpleQueue[tuple[float, float, bool]]) -> None:
        text = os.urandom(size // 2).hex()
        message = LXMF.LXMessage(self.target, self.delivery, text, desired_method=LXMF.LXMessage.DIRECT)
        started = time.perf_counter()
        message.register_delivery_callback(lambda _: done.put((started, time.perf_counter(), True)))
        message.register_failed_callback(lambda _: done.put((started, time.perf_counter(), False)))
        self.router.handle_outbound(message)

    def open_links(self, seconds: float) -> dict[str, object]:
        """Set up links one after another for ``seconds``; each is torn down before the next."""
        latencies: list[float] = []
        begin = time.perf_counter()
        while (started := time.perf_counter()) < begin + seconds:
            up = threading.Event()
            link = RNS.Link(self.link_target, established_callback=lambda _, up=up: up.set())
            if up.wait(WAIT):
                latencies.append(time.perf_counter() - started)
            link.teardown()
        return {"latencies": latencies, "elapsed": time.perf_counter() - begin}


def main() -> None:
    """Answer commands until stdin ends."""
    node = Node(*sys.argv[1:5])
    commands = {
        "info": node.info,
        "announce": node.announce,
        "knows": node.knows,
        "burst": node.burst,
        "links": node.open_links,
    }
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        result = commands[request.pop("op")](**request)
        print(json.dumps(result), flush=True)
    os._exit(0)  # LXMF's threads and exit handlers would hold the bench up


if __name__ == "__main__":
    main()

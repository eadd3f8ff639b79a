"""One LXMF node under measurement: commands as JSON lines on stdin, answers on stdout.

Runs in the bench's own environment (``build/bench-venv``), one process per node. What it
measures is LXMF's method ``DIRECT`` with delivery proofs over one TCP interface: from
``handle_outbound`` to the delivery callback.

A transport node passes on what others send; a propagation node keeps messages too, which a recipient fetches.
What another put there cost a stamp of some seconds of processor time each, so ``stock`` writes messages
straight into the node's store.

usage: lxmf_driver.py DIRECTORY listen|dial|transport|propagation HOST PORT
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
from LXMF import LXStamper

APP = "qpqbench"
WAIT = 30.0  # seconds for anything that should take milliseconds
STAMP = 16  # the value a propagation node asks for by itself

# Without control of ingress announces that come in quick succession, as the bench's do, are heard at once.
SERVER = """    type = TCPServerInterface
    enabled = yes
    listen_ip = {host}
    listen_port = {port}
    ingress_control = no
"""
CLIENT = """    type = TCPClientInterface
    enabled = yes
    target_host = {host}
    target_port = {port}
    ingress_control = no
"""
CONFIG = """[reticulum]
  enable_transport = {transport}
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
        transport = "yes" if role in {"transport", "propagation"} else "no"
        interface = CLIENT if role == "dial" else SERVER
        config.write_text((CONFIG + interface).format(host=host, port=port, transport=transport))
        RNS.Reticulum(configdir=directory, loglevel=1)
        self.identity = identity(Path(directory, "identity"))
        self.router = LXMF.LXMRouter(identity=self.identity, storagepath=f"{directory}/lxmf")
        self.delivery = self.router.register_delivery_identity(self.identity, display_name="bench")
        self.received = 0
        self.latest = 0.0
        self.router.register_delivery_callback(self._on_message)
        self.links = RNS.Destination(self.identity, RNS.Destination.IN, RNS.Destination.SINGLE, APP, "links")
        self.links.accepts_links(True)
        self.target: RNS.Destination | None = None
        self.link_target: RNS.Destination | None = None
        self.failed = 0
        if role == "propagation":
            self.router.enable_propagation()

    def _on_message(self, _message: LXMF.LXMessage) -> None:
        self.received += 1
        self.latest = time.perf_counter()

    def info(self) -> dict[str, object]:
        """Return the addresses the other node needs."""
        return {
            "delivery": self.delivery.hash.hex(),
            "links": self.links.hash.hex(),
            "store": self.router.propagation_destination.hash.hex(),
            "received": self.received,
            "failed": self.failed,
            "latest": self.latest,
        }

    def announce(self) -> dict[str, object]:
        """Make both destinations known over the wire."""
        self.router.announce(self.delivery.hash)
        self.links.announce()
        if self.router.propagation_node:
            self.router.propagation_destination.announce(app_data=self.router.get_propagation_node_app_data())
        return {"now": time.perf_counter()}

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
        message = self._message(size, LXMF.LXMessage.DIRECT)
        started = time.perf_counter()
        message.register_delivery_callback(lambda _: done.put((started, time.perf_counter(), True)))
        message.register_failed_callback(lambda _: done.put((started, time.perf_counter(), False)))
        self.router.handle_outbound(message)

    def _message(self, size: int, method: int) -> LXMF.LXMessage:
        return LXMF.LXMessage(self.target, self.delivery, os.urandom(size // 2).hex(), desired_method=method)

    def post(self, count: int, size: int) -> dict[str, object]:
        """Hand messages to the router, which keeps them until the target is there, or gives them up."""
        for _ in range(count):
            message = self._message(size, LXMF.LXMessage.DIRECT)
            message.register_failed_callback(self._on_failure)
            self.router.handle_outbound(message)
        return {}

    def _on_failure(self, _message: LXMF.LXMessage) -> None:
        self.failed += 1

    def stock(self, count: int, size: int) -> dict[str, object]:
        """Put messages for the target into the store of this propagation node."""
        for _ in range(count):
            message = self._message(size, LXMF.LXMessage.PROPAGATED)
            message.pack()
            data = RNS.vendor.umsgpack.unpackb(message.propagation_packed)[1][0]
            self.router.lxmf_propagation(data, stamp_value=STAMP, stamp_data=os.urandom(LXStamper.STAMP_SIZE))
        return {"held": len(self.router.propagation_entries)}

    def fetch(self, store: str) -> dict[str, object]:
        """Ask a propagation node for what it has for this node, once there is a path to it."""
        node = bytes.fromhex(store)
        if not RNS.Transport.has_path(node):
            return {"known": False}
        self.router.set_outbound_propagation_node(node)
        now = time.perf_counter()
        self.router.request_messages_from_propagation_node(self.identity)
        return {"known": True, "now": now}

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


def identity(path: Path) -> RNS.Identity:
    """Return the identity kept in a file, which is made the first time."""
    if path.exists():
        return RNS.Identity.from_file(str(path))
    made = RNS.Identity()
    made.to_file(str(path))
    return made


def main() -> None:
    """Answer commands until stdin ends."""
    node = Node(*sys.argv[1:5])
    commands = {
        "info": node.info,
        "announce": node.announce,
        "knows": node.knows,
        "burst": node.burst,
        "post": node.post,
        "stock": node.stock,
        "fetch": node.fetch,
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

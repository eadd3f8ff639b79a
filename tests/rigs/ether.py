"""Cables that lose, delay and limit: a user-space Ethernet between network namespaces, over TAP devices.

    python ether.py CABLES.json        (as root; ends with its standard input)

``CABLES.json`` is a list of ``{"ends": [[namespace, interface], [namespace, interface]], "loss": 0.0,
"delay_ms": 0.0, "seed": 0}``. Each line on standard input is a JSON object: ``{"cable": n, ...}`` with new
values of ``loss`` (one number, or one for each direction), ``delay_ms`` or ``up``; ``{"count": true}`` is
answered by ``[{"frames": [a, b], "bytes": [a, b], "lost": [a, b], "quic": [a, b]}, ...]``, where ``quic`` is the
bytes of UDP datagrams from or to port 7000. Works where the kernel has no netem.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import random
import selectors
import socket
import struct
import sys
import time
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

_CLONE_NEWNET = 0x4000_0000
_TUNSETIFF = 0x4004_54CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_PORT = 7000
_FRAME = 2048
_BATCH = 64
_IPV6_UDP = 54  # bytes of the Ethernet and IPv6 headers in front of a UDP header
_QUEUE = 1000  # frames under way in one direction; more are dropped, as a full queue does


class Direction:
    """What one end of a cable sends to the other."""

    def __init__(self, target: int, seed: str) -> None:
        self.target = target
        self.chance = random.Random(seed)  # noqa: S311 (repeatable losses, no secret)
        self.loss = 0.0
        self.frames = self.size = self.lost = self.queued = self.quic = 0

    def count(self, frame: bytes) -> None:
        self.frames += 1
        self.size += len(frame)
        if frame[12:14] == b"\x86\xdd" and frame[20] == socket.IPPROTO_UDP:
            ports = struct.unpack_from(">HH", frame, _IPV6_UDP)
            self.quic += len(frame) if _PORT in ports else 0


class Cable:
    """Two TAP devices and what happens between them."""

    def __init__(self, number: int, specification: dict[str, object]) -> None:
        ends = specification["ends"]
        assert isinstance(ends, list)
        self.fds = [_tap(namespace, interface) for namespace, interface in ends]
        seed = specification.get("seed", number)
        self.ways = [Direction(self.fds[1 - end], f"{seed}/{end}") for end in (0, 1)]
        self.delay = 0.0
        self.up = True
        self.change(specification)

    def change(self, values: dict[str, object]) -> None:
        loss = values.get("loss")
        if loss is not None:
            both = loss if isinstance(loss, list) else [loss, loss]
            for way, value in zip(self.ways, both, strict=True):
                way.loss = float(value)
        if "delay_ms" in values:
            self.delay = float(str(values["delay_ms"])) / 1000
        self.up = bool(values.get("up", self.up))


class Ether:
    """All cables, one loop."""

    def __init__(self, cables: list[Cable]) -> None:
        self._cables = cables
        self._flying: list[tuple[float, int, Direction, bytes]] = []
        self._order = count()
        self._selector = selectors.DefaultSelector()
        self._input = b""
        for cable in cables:
            for fd, way in zip(cable.fds, cable.ways, strict=True):
                self._selector.register(fd, selectors.EVENT_READ, (cable, way))
        os.set_blocking(0, False)
        self._selector.register(0, selectors.EVENT_READ, None)

    def run(self) -> None:
        """Carry frames until the standard input ends."""
        while True:
            wait = max(0.0, self._flying[0][0] - time.monotonic()) if self._flying else None
            for key, _ in self._selector.select(wait):
                if key.data is None:
                    if not self._commands():
                        return
                else:
                    self._take(key.fd, *key.data)
            self._land()

    def _take(self, fd: int, cable: Cable, way: Direction) -> None:
        for _ in range(_BATCH):
            try:
                frame = os.read(fd, _FRAME)
            except BlockingIOError:
                return
            way.count(frame)
            if not cable.up or way.queued >= _QUEUE or (way.loss and way.chance.random() < way.loss):
                way.lost += 1
            elif cable.delay:
                way.queued += 1
                heappush(self._flying, (time.monotonic() + cable.delay, next(self._order), way, frame))
            else:
                _put(way, frame)

    def _land(self) -> None:
        now = time.monotonic()
        while self._flying and self._flying[0][0] <= now:
            _, _, way, frame = heappop(self._flying)
            way.queued -= 1
            _put(way, frame)

    def _commands(self) -> bool:
        data = os.read(0, 65_536)
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if "cable" in command:
                self._cables[command["cable"]].change(command)
            counted = [
                {name: [getattr(way, field) for way in cable.ways] for name, field in _COUNTS} for cable in self._cables
            ]
            print(json.dumps(counted if command.get("count") else []), flush=True)
        return bool(data)


_COUNTS = (("frames", "frames"), ("bytes", "size"), ("lost", "lost"), ("quic", "quic"))


def _put(way: Direction, frame: bytes) -> None:
    try:
        os.write(way.target, frame)
    except OSError:  # the far interface is down, or its queue is full
        way.lost += 1


def _tap(namespace: str, interface: str) -> int:
    """Make a TAP device in a namespace; the descriptor stays bound to it wherever this process goes."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(there, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace {namespace}")
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", interface.encode(), _IFF_TAP | _IFF_NO_PI))
        return fd
    finally:
        libc.setns(home, _CLONE_NEWNET)
        os.close(home)
        os.close(there)


def main() -> None:
    """Make the cables, say so with one line, and carry."""
    specifications = json.loads(Path(sys.argv[1]).read_text())
    ether = Ether([Cable(number, specification) for number, specification in enumerate(specifications)])
    print("ready", flush=True)
    ether.run()


if __name__ == "__main__":
    main()

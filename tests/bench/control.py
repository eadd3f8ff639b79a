"""A client of the control socket that keeps many messages in flight on one connection."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DONE = {"delivered"}
DEADLINE = 15.0  # seconds for one answer


class RefusedError(Exception):
    """The daemon's answer was an error."""


@dataclass
class Flight:
    """A message on its way: when its request was written, and what is known of it since."""

    started: float
    message: str = ""


@dataclass
class Burst:
    """Bookkeeping of one burst: by request, by message, and receipts that overtook the answer."""

    requests: dict[int, Flight] = field(default_factory=dict)
    messages: dict[str, Flight] = field(default_factory=dict)
    early: dict[str, float] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)


class Control:
    """One connection that also watches events."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._rest = b""
        self._number = 0
        self.arrived = 0
        self.ask("watch")

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def ask(self, command: str, **arguments: object) -> object:
        """Send one command and return its result; events that come in between are counted only."""
        number = self._write(command, arguments)
        deadline = time.monotonic() + DEADLINE
        while True:
            for document in self._read(deadline):
                if document.get("id") == number:
                    return _result(document)
                self._count(document)

    def drain(self) -> None:
        """Read the events that are there."""
        while select.select([self._socket], [], [], 0)[0]:
            for document in self._read(time.monotonic() + DEADLINE):
                self._count(document)

    def burst(self, peer: str, count: int, window: int, seconds: float, size: int) -> tuple[list[float], float, int]:
        """Send up to ``count`` messages of ``size`` bytes, ``window`` at a time, for at most ``seconds``.

        Returns seconds from request to receipt of each, the time it took, how many had none.
        """
        burst = Burst()
        sent = 0
        begin = time.perf_counter()
        deadline = time.monotonic() + seconds
        while len(burst.latencies) < count:
            lines = []
            while sent < count and sent - len(burst.latencies) < window:
                text = os.urandom(size // 2).hex()
                number, line = self._line("mesh.send", {"peer": peer, "text": text})
                burst.requests[number] = Flight(time.perf_counter())
                lines.append(line)
                sent += 1
            if lines:
                self._socket.sendall(b"".join(lines))
            try:
                documents = self._read(deadline)
            except TimeoutError:
                break
            now = time.perf_counter()
            for document in documents:
                self._settle(burst, document, now)
        return burst.latencies, time.perf_counter() - begin, sent - len(burst.latencies)

    def _settle(self, burst: Burst, document: dict[str, object], now: float) -> None:
        flight = burst.requests.pop(document.get("id"), None) if "event" not in document else None  # type: ignore[arg-type]
        if flight is not None:
            result = _result(document)
            assert isinstance(result, dict), result
            flight.message = str(result["id"])
            if result.get("state") in DONE or flight.message in burst.early:
                burst.latencies.append(burst.early.pop(flight.message, now) - flight.started)
            else:
                burst.messages[flight.message] = flight
        elif document.get("event") == "state" and document.get("state") in DONE:
            message = str(document.get("id"))
            known = burst.messages.pop(message, None)
            if known is None:
                burst.early[message] = now
            else:
                burst.latencies.append(now - known.started)
        else:
            self._count(document)

    def _count(self, document: dict[str, object]) -> None:
        self.arrived += document.get("event") == "message"

    def _line(self, command: str, arguments: dict[str, object]) -> tuple[int, bytes]:
        self._number += 1
        request = {"id": self._number, "command": command, "args": arguments}
        return self._number, json.dumps(request, separators=(",", ":")).encode() + b"\n"

    def _write(self, command: str, arguments: dict[str, object]) -> int:
        number, line = self._line(command, arguments)
        self._socket.sendall(line)
        return number

    def _read(self, deadline: float) -> list[dict[str, object]]:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._socket], [], [], left)[0]:
            raise TimeoutError("the daemon gave no answer")
        data = self._socket.recv(262_144)
        if not data:
            raise ConnectionError("the daemon closed the connection")
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]


def _result(document: dict[str, object]) -> object:
    if not document.get("ok"):
        raise RefusedError(str(document.get("error")))
    return document.get("result")

"""A control server for the console's tests: a thread that answers from a table and can push events."""

from __future__ import annotations

import json
import os
import select
import socket
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NODE = "nodeid2a" + "b" * 44
ANNA = "annaid2a" + "c" * 44
MESSAGE = "k5v3wq7a" + "d" * 18


class Refuse(Exception):  # noqa: N818 (it is an answer)
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def usual() -> dict[str, Any]:
    return {
        "watch": {"watching": True},
        "become": {"user": "anna"},
        "status": {"version": "0.1.0", "id": NODE, "uptime_s": 70, "peers": 1, "counters": {"link.up": 2}},
        "version": {"version": "0.1.0"},
        "metrics": {"text": "# HELP x y\nqpq_links 1\n"},
        "doctor": {},
        "mesh.peers": [
            {
                "id": ANNA,
                "name": "anna",
                "trust": "known",
                "state": "up",
                "rtt_ms": 1.25,
                "via": "beacon",
                "address": "[fe80::1%eth0]:7000",
                "age_s": 61,
                "users": [{"id": ANNA, "name": "annie"}],
            }
        ],
        "mesh.send": {"id": MESSAGE, "state": "queued"},
        "mesh.inbox": [
            {"id": MESSAGE, "from": ANNA, "from_name": "anna", "text": "hi", "received": 0, "urgent": False}
        ],
        "mesh.outbox": [{"id": MESSAGE, "to": ANNA, "text": "ho", "created": 0, "state": "delivered"}],
        "mesh.route": [
            {
                "id": ANNA,
                "name": "anna",
                "node": NODE,
                "next_hop": NODE,
                "hops": 3,
                "cost": 3.5,
                "age_s": 61,
                "score": 1.0,
            }
        ],
        "mesh.ping": {"id": ANNA, "name": "anna", "rtt_ms": 12.5, "hops": 1},
        "mesh.trace": {"id": ANNA, "name": "anna", "rtt_ms": 12.5, "hops": 2, "path": [{"id": NODE}, {"id": ANNA}]},
        "mesh.store": {"inbox": 3, "unread": 1, "relayed": 5, "relayed_bytes": 2048, "durable": True},
        "mesh.channels": [
            {"topic": "news", "kind": "open", "public": True, "signers": []},
            {"topic": "board", "kind": "announcement", "public": False, "signers": [{"id": ANNA, "name": "anna"}]},
        ],
        "mesh.subscribe": {"topic": "news", "kind": "open", "public": True, "share": "qpq-channel:aeaaabdomv3xg"},
        "mesh.broadcast": {"id": MESSAGE, "channel": "news", "public": True, "state": "queued"},
        "verify": {
            "id": ANNA,
            "name": "anna",
            "trust": "known",
            "number": " ".join(f"{n:05}" for n in range(12)),
            "scan": f"QPQ-VERIFY:1:{NODE.upper()}:{ANNA.upper()}",
            "old": None,
        },
        "privacy": {
            "user": "me",
            "padding": True,
            "step_bytes": 256,
            "padded_messages": 4,
            "padding_bytes": 402,
            "bytes_a_message": 100.5,
        },
        "mesh.identity": {"id": NODE, "users": [{"name": "me", "id": ANNA}]},
        "mesh.user.list": [{"name": "me", "id": ANNA}],
        "mesh.user.export": {"armour": "qpq-identity-1:AAAA"},
        "mesh.user.import": {"name": "anna", "id": ANNA},
    }


class FakeServer:
    """Answers ``{}`` to what the table does not have; a callable in it is given (args) and may raise Refuse."""

    def __init__(self, path: Path, table: dict[str, Any] | None = None) -> None:
        self.path = str(path)
        self.table = usual() | (table or {})
        self.requests: list[dict[str, Any]] = []
        self.connections: list[socket.socket] = []
        self._buffers: dict[int, bytes] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen()
        self._wake = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def commands(self) -> list[str]:
        return [request["command"] for request in self.requests]

    def args_of(self, command: str) -> dict[str, Any]:
        found: dict[str, Any] = next(r["args"] for r in reversed(self.requests) if r["command"] == command)
        return found

    def push(self, event: dict[str, Any]) -> None:
        self.push_bytes(json.dumps(event, ensure_ascii=True).encode() + b"\n")

    def push_bytes(self, data: bytes) -> None:
        for connection in list(self.connections):
            connection.sendall(data)

    def drop_all(self) -> None:
        for connection in self.connections:
            connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        os.write(self._wake[1], b"x")
        self._thread.join(5)
        for connection in [*self.connections, self._listener]:
            connection.close()
        if os.path.exists(self.path):
            os.unlink(self.path)
        for descriptor in self._wake:
            os.close(descriptor)

    def _serve(self) -> None:
        while True:
            waited: list[Any] = [self._listener, self._wake[0], *self.connections]
            ready = select.select(waited, [], [])[0]
            if self._wake[0] in ready:
                return
            if self._listener in ready:
                self.connections.append(self._listener.accept()[0])
            for connection in [one for one in self.connections if one in ready]:
                self._read(connection)

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.connections.remove(connection)
            connection.close()
            return
        number = connection.fileno()
        *lines, self._buffers[number] = (self._buffers.get(number, b"") + data).split(b"\n")
        for line in lines:
            self._answer(connection, json.loads(line))

    def _answer(self, connection: socket.socket, request: dict[str, Any]) -> None:
        self.requests.append(request)
        answer: dict[str, Any] = {"id": request["id"], "ok": True}
        found = self.table.get(request["command"], {})
        try:
            answer["result"] = found(request["args"]) if callable(found) else found
        except Refuse as refusal:
            answer = {"id": request["id"], "ok": False, "error": {"code": refusal.code, "message": str(refusal)}}
        if answer.get("result") == "never":
            return
        connection.sendall(json.dumps(answer).encode() + b"\n")


def refusing(code: str, message: str) -> Callable[[dict[str, Any]], Any]:
    def answer(_args: dict[str, Any]) -> Any:
        raise Refuse(code, message)

    return answer

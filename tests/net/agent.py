"""Drives discovery_agent.py in a namespace: waits for its events, sends it commands."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from netns import Namespace

_SCRIPT = Path(__file__).with_name("discovery_agent.py")
_PACKAGE = Path(__file__).parents[2] / "node"


class Agent:
    """One Discovery in ``namespace``; ``prefix`` is put before the command (a shell that mounts things)."""

    def __init__(
        self, namespace: Namespace, seed: int, port: int = 7000, *, prefix: tuple[str, ...] = (), **options: Any
    ) -> None:
        arguments = json.dumps({"seed": seed, "port": port, "beacon": False, "group": False} | options)
        self.process = namespace.start(
            *prefix,
            *(sys.executable, str(_SCRIPT), arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=os.environ | {"PYTHONPATH": str(_PACKAGE)},
        )
        self.events: list[dict[str, Any]] = []
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.id = self.wait(lambda event: event["event"] == "ready")["id"]

    def wait(
        self, wanted: Callable[[dict[str, Any]], bool], timeout: float = 10.0, *, after: int = 0
    ) -> dict[str, Any]:
        """Return the first event (from the ``after``-th on) that is ``wanted``."""
        deadline = time.monotonic() + timeout
        seen = after
        while True:
            for event in self.events[seen:]:
                seen += 1
                if wanted(event):
                    return event
            try:
                self.events.append(json.loads(self._lines.get(timeout=max(0.0, deadline - time.monotonic()))))
            except queue.Empty:
                raise AssertionError(f"not within {timeout} s; events: {self.events[-20:]}") from None

    def found(
        self, other: Agent | None = None, timeout: float = 10.0, *, after: int = 0, **fields: Any
    ) -> dict[str, Any]:
        """Wait for a PeerFound, of ``other`` if given, with these fields."""
        if other is not None:
            fields["id"] = other.id
        return self.wait(lambda e: e["event"] == "found" and fields.items() <= e.items(), timeout, after=after)

    def never_found(self, seconds: float, **fields: Any) -> None:
        """Fail if such a PeerFound comes (or came) within ``seconds``."""
        try:
            event = self.found(timeout=seconds, **fields)
        except AssertionError:
            return
        raise AssertionError(f"should not have been found: {event}")

    def ask(self, command: str, timeout: float = 5.0) -> dict[str, Any]:
        """Send a command; return the event that answers it."""
        mark = len(self.events)
        self.send(command)
        return self.wait(lambda event: event["event"] == command, timeout, after=mark)

    def send(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def stop(self) -> None:
        """End it cleanly and wait for that."""
        self.send("stop")
        self.wait(lambda event: event["event"] == "stopped")
        self.process.wait(5)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

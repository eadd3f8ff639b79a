"""A node under the bench that is driven inside its own process: commands and answers as JSON lines over pipes."""

from __future__ import annotations

import json
import select
import time
from typing import TYPE_CHECKING

from figures import Burst
from rig import Host, cpu_ms, rss_mib, start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

READY = 20.0  # seconds for an answer, beyond what was asked for
STEP = 0.1  # seconds between two questions


def until_true(condition: Callable[[], object], complaint: str, within: float = READY, step: float = STEP) -> None:
    """Return when ``condition()`` holds; TimeoutError with the complaint after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(complaint)
        time.sleep(step)


class Driven:
    """One driver process, started by ``argv``; its stderr goes to ``log``."""

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        self.process = start(argv, log=log, pipes=True)
        self.pid = self.process.pid
        self._answer(READY)

    def ask(self, op: str, *, within: float = READY, **arguments: object) -> dict[str, object]:
        """Send one command and return its answer; TimeoutError after ``within`` seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
        self.process.stdin.flush()
        return self._answer(within)

    def _answer(self, within: float) -> dict[str, object]:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], within)[0]:
            raise TimeoutError(f"the driver gave no answer in {within} s")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the driver ended; see its log")
        answer: dict[str, object] = json.loads(line)
        return answer


class DrivenPair:
    """A node that sends and a node that receives; ``wire`` is the sender's host, ``relay`` a node between the two."""

    def __init__(self, sender: Driven, receiver: Driven, wire: Host, relay: Driven | None = None) -> None:
        self.sender, self.receiver, self.wire, self.relay = sender, receiver, wire, relay

    def burst(self, count: int, window: int, seconds: float, size: int) -> Burst:
        """Send messages of ``size`` bytes with ``window`` in flight and wait for what proves their delivery."""
        return self.measure("burst", seconds + READY, count=count, window=window, seconds=seconds, size=size)

    def measure(self, op: str, within: float, **arguments: object) -> Burst:
        """Let the sender do something and count what that costs both ends and the link."""
        cpu, relayed, octets = self._cpu(), self._relay_cpu(), self.wire.link_bytes()
        result = self.sender.ask(op, within=within, **arguments)
        after, relayed_after = self.wire.link_bytes(), self._relay_cpu()
        return Burst(
            latencies=result["latencies"],  # type: ignore[arg-type]
            elapsed=float(result["elapsed"]),  # type: ignore[arg-type]
            cpu_ms=self._cpu() - cpu,
            link_bytes=None if octets is None or after is None else after - octets,
            unfinished=int(result.get("failed", 0)) + int(result.get("open", 0)),  # type: ignore[call-overload]
            relay_cpu_ms=None if relayed is None or relayed_after is None else relayed_after - relayed,
        )

    def idle_rss(self) -> float:
        """Return the receiver's resident memory in MiB."""
        return rss_mib(self.receiver.pid)

    def _cpu(self) -> float:
        return cpu_ms(self.sender.pid) + cpu_ms(self.receiver.pid)

    def _relay_cpu(self) -> float | None:
        return None if self.relay is None else cpu_ms(self.relay.pid)

"""A node under the bench that is driven inside its own process: commands and answers as JSON lines over pipes."""

from __future__ import annotations

import json
import select
from typing import TYPE_CHECKING

from figures import Burst
from rig import Host, cpu_ms, rss_mib, start

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

READY = 20.0  # seconds for an answer, beyond what was asked for


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
    """A node that sends and a node that receives; ``wire`` is the sender's host."""

    def __init__(self, sender: Driven, receiver: Driven, wire: Host) -> None:
        self.sender, self.receiver, self.wire = sender, receiver, wire

    def burst(self, count: int, window: int, seconds: float, size: int) -> Burst:
        """Send messages of ``size`` bytes with ``window`` in flight and wait for what proves their delivery."""
        return self.measure("burst", seconds + READY, count=count, window=window, seconds=seconds, size=size)

    def measure(self, op: str, within: float, **arguments: object) -> Burst:
        """Let the sender do something and count what that costs both ends and the link."""
        cpu, octets = self._cpu(), self.wire.link_bytes()
        result = self.sender.ask(op, within=within, **arguments)
        after = self.wire.link_bytes()
        return Burst(
            latencies=result["latencies"],  # type: ignore[arg-type]
            elapsed=float(result["elapsed"]),  # type: ignore[arg-type]
            cpu_ms=self._cpu() - cpu,
            link_bytes=None if octets is None or after is None else after - octets,
            unfinished=int(result.get("failed", 0)) + int(result.get("open", 0)),  # type: ignore[call-overload]
        )

    def idle_rss(self) -> float:
        """Return the receiver's resident memory in MiB."""
        return rss_mib(self.receiver.pid)

    def _cpu(self) -> float:
        return cpu_ms(self.sender.pid) + cpu_ms(self.receiver.pid)

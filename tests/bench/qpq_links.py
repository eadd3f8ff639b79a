"""Links set up per second between two endpoints of the node, for the first time and resumed."""

from __future__ import annotations

import json
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Burst
from rig import cpu_ms, start, stop

if TYPE_CHECKING:
    import subprocess

    from rig import Host

DRIVER = Path(__file__).with_name("links_driver.py")
PORT = 17_180
SLACK = 15.0  # seconds beyond what was asked for


def measure(ends: tuple[Host, Host], folder: Path, seconds: float, kind: str) -> dict[str, object]:
    """Set up links for ``seconds``; ``kind``: ``fresh`` (full handshake, both keys proven) or ``resumed``."""
    ports = (PORT, PORT) if ends[0].namespace else (PORT, PORT + 1)
    near, target = f"{ends[0].ipv4}:{ports[0]}", f"{ends[1].ipv4}:{ports[1]}"
    listener = _driver(ends[1], folder, "listen", target)
    dialler = None
    try:
        _line(listener, SLACK)
        cpu, octets = cpu_ms(listener.pid), ends[0].link_bytes()
        dialler = _driver(ends[0], folder, "dial", near, target, str(seconds), kind)
        _line(dialler, SLACK)
        before = cpu_ms(dialler.pid)
        result = _line(dialler, seconds + SLACK)
        after = ends[0].link_bytes()
        used = cpu_ms(listener.pid) - cpu + cpu_ms(dialler.pid) - before
    finally:
        for process in (listener, dialler):
            if process is not None:
                stop(process)
    latencies = [float(value) for value in result["latencies"]]  # type: ignore[attr-defined]
    spent = None if octets is None or after is None else after - octets
    burst = Burst(latencies, float(result["elapsed"]), used, spent, int(result["failed"]))  # type: ignore[arg-type,call-overload]
    return {**burst.summary(), "resumed": result["resumed"]}


def _driver(host: Host, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    argv = host.command(sys.executable, str(DRIVER), *arguments)
    return start(argv, log=folder / f"links-{arguments[0]}.log", pipes=True)


def _line(process: subprocess.Popen[str], within: float) -> dict[str, object]:
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], within)[0]:
        raise TimeoutError(f"the driver of links gave no answer in {within} s")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the driver of links ended; see its log")
    answer: dict[str, object] = json.loads(line)
    return answer

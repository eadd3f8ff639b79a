"""Calls a second of the smallest method over one connection and over fifty, beside pycapnp and a plain aioquic echo.

``python tests/bench/rpc.py [SECONDS]`` measures this alone and prints it.
"""

from __future__ import annotations

import json
import select
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))

from figures import Burst
from rig import cpu_ms, rss_mib, start, stop

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

DRIVER = Path(__file__).with_name("rpc_driver.py")
KINDS = {"qpq": "qpq, QUIC", "pycapnp": "pycapnp, Unix socket", "echo": "aioquic echo"}
CASES = ((1, 1), (1, 32), (50, 1))
"""Connections, and calls in flight on each."""
PORT = 17_300
SLACK = 30.0  # seconds beyond what was asked for
ROUNDS = 3
ROWS = (
    ("messages_per_s", "calls", "1/s"),
    ("p50_ms", "answer after, p50", "ms"),
    ("p99_ms", "answer after, p99", "ms"),
    ("cpu_ms_per_message", "processor time of both ends, a call", "ms"),
)
MEMORY = (("server_kib_a_connection", "memory of the server, a connection", "KiB"),)
WIDTH = 80

Figures = dict[str, dict[str, object]]


def measure(folder: Path, seconds: float) -> Figures:
    """Measure each case in turns on loopback; the best of the rounds by calls a second."""
    found: Figures = {}
    for number, (connections, flight) in enumerate(CASES):
        for kind in KINDS:
            rounds = []
            for turn in range(ROUNDS):
                port = f"127.0.0.1:{PORT + number * 10 + turn}"
                place = str(folder / f"s{number}{turn}") if kind == "pycapnp" else port
                rounds.append(_round(kind, folder, place, connections, flight, seconds / ROUNDS))
            key = f"{connections}x{flight}"
            best = max(rounds, key=lambda one: len(one[0].latencies) / one[0].elapsed)
            memory = min(one[1] for one in rounds)
            found.setdefault(key, {})[kind] = {**best[0].summary(), "server_kib_a_connection": memory}
    return found


def table(found: Figures) -> str:
    """Return the figures as text, one line each."""
    lines = [f"{'':{WIDTH}}{'unit':6}" + "".join(f"{label:>22}" for label in KINDS.values())]
    for connections, flight in CASES:
        case = f"{connections} connection{'s' * (connections > 1)}, {flight} in flight on each"
        for key, text, unit in (*ROWS, *(MEMORY if connections > 1 else ())):
            figures = [found[f"{connections}x{flight}"][kind][key] for kind in KINDS]  # type: ignore[index]
            lines.append(f"{f'{text}; {case}':{WIDTH}}{unit:6}" + "".join(f"{one:>22,.2f}" for one in figures))
    return "\n".join(lines)


def _round(kind: str, folder: Path, place: str, connections: int, flight: int, seconds: float) -> tuple[Burst, float]:
    """Return a burst of calls, and the KiB that each of the connections took at the server."""
    with _driver(folder, kind, "serve", place) as server:
        before = rss_mib(server.pid)
        arguments = (str(connections), str(flight), str(seconds))
        with _driver(folder, kind, "call", place, *arguments) as caller:
            memory = (rss_mib(server.pid) - before) / connections * 1024
            cpu = cpu_ms(server.pid) + cpu_ms(caller.pid)
            assert caller.stdin is not None
            caller.stdin.write("\n")
            caller.stdin.flush()
            told = _line(caller, seconds + SLACK)
            used = cpu_ms(server.pid) + cpu_ms(caller.pid) - cpu
    latencies = [float(one) for one in told["latencies"]]  # type: ignore[attr-defined]
    return Burst(latencies, float(told["elapsed"]), used, None, 0), memory  # type: ignore[arg-type]


@contextmanager
def _driver(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    log = folder / f"rpc-{arguments[0]}-{arguments[1]}.log"
    process = start([sys.executable, str(DRIVER), *arguments], log=log, pipes=True)
    try:
        _line(process, SLACK)
        yield process
    finally:
        stop(process)


def _line(process: subprocess.Popen[str], within: float) -> dict[str, object]:
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], within)[0]:
        raise TimeoutError(f"the driver of calls gave no answer in {within} s")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the driver of calls ended; see its log")
    answer: dict[str, object] = json.loads(line)
    return answer


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(table(measure(Path(name), float(sys.argv[1]) if len(sys.argv) > 1 else 6.0)))

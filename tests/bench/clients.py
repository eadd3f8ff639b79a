"""The client port of a real node under clients of the SDK: calls a second, wake-ups, memory of an idle client.

``python tests/bench/clients.py [SECONDS]`` measures this alone and prints it. All on loopback; the node's store is on
tmpfs, and for ``enqueue`` on a disk with fsync too. The clients are in one process of their own.
"""

from __future__ import annotations

import json
import os
import select
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rigs"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from figures import Burst
from node import Node
from rig import cpu_ms, rss_mib, start, stop

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

DRIVER = Path(__file__).with_name("clients_driver.py")
ADDRESS = "127.0.0.1:17390"
CLIENTS = 50
TOKENS = 5
"""Tokens of one client: each sends 100 messages a minute."""
SLACK = 60.0  # seconds beyond what was asked for
CASES = (
    # kind, connections, calls in flight on each
    ("health", 1, 1),
    ("health", 1, 32),
    ("health", CLIENTS, 1),
    ("enqueue", 1, 1),
    ("enqueue", 1, 32),
    ("enqueue", CLIENTS, 1),
    ("wake", 1, 1),
    ("wake", CLIENTS, 1),
)
NAMES = {
    "health": "health",
    "enqueue": "enqueue of 200 bytes, proof checked",
    "wake": "fetchWait: enqueue to the message (CPU: and ack)",
}
COLUMNS = (
    ("messages_per_s", "1/s"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
    ("cpu_ms_per_message", "CPU ms"),
)

Figures = dict[str, object]


def measure(folder: Path, seconds: float, disk: Path | None = None) -> Figures:
    """Measure all cases, ``seconds`` each, with the store in ``folder``; ``enqueue`` with that on ``disk`` too."""
    found: Figures = {"clients": CLIENTS}
    places = {"tmpfs": folder} if disk is None else {"tmpfs": folder, "fsync": disk}
    idle: list[float] = []
    for place, where in places.items():
        for kind, connections, flight in CASES:
            if place == "tmpfs" or kind == "enqueue":
                key = f"{kind} {connections}x{flight} {place}"
                burst, memory = _round(where, kind, connections, flight, seconds)
                found[key] = burst.summary()
                if kind == "wake":
                    idle.append(memory)
    found["idle_kib"] = (idle[1] - idle[0]) / (CLIENTS - 1)
    return found


def table(found: Figures) -> str:
    """Return the figures as text, one line each."""
    lines = [f"{'client port':88}" + "".join(f"{unit:>10}" for _, unit in COLUMNS)]
    for key, figures in found.items():
        if not isinstance(figures, dict):
            continue
        kind, shape, place = key.split()
        connections, _, flight = shape.partition("x")
        name = f"{NAMES[kind]}; {connections} connection{'s' * (connections != '1')}, {flight} in flight, {place}"
        shown = [
            "-" if kind == "wake" and column == "messages_per_s" else f"{figures[column]:,.2f}" for column, _ in COLUMNS
        ]
        lines.append(f"{name:88}" + "".join(f"{one:>10}" for one in shown))
    lines.append(f"{'memory of the node for one more client that waits, KiB':88}{found['idle_kib']:>10,.1f}")
    return "\n".join(lines)


def _round(where: Path, kind: str, connections: int, flight: int, seconds: float) -> tuple[Burst, float]:
    """Return a burst, and how many KiB the node had taken when the connections were open."""
    with tempfile.TemporaryDirectory(prefix="c", dir=where) as place:
        arguments = ("--no-mdns", "--no-beacon", "--listen", ADDRESS, "--client-port")
        node = Node("home", arguments=arguments, folder=Path(place, "n"))
        try:
            node.start()
            Path(place, "clients.json").write_text(json.dumps(_accounts(node)))
            before = rss_mib(node.pid)
            with _driver(Path(place), kind, str(connections), str(flight), str(seconds)) as driver:
                memory = (rss_mib(node.pid) - before) * 1024
                cpu = cpu_ms(node.pid) + cpu_ms(driver.pid)
                assert driver.stdin is not None
                driver.stdin.write("\n")
                driver.stdin.flush()
                told = _line(driver, seconds + SLACK)
                used = cpu_ms(node.pid) + cpu_ms(driver.pid) - cpu
        finally:
            node.close()
    latencies = [float(one) for one in told["latencies"]]  # type: ignore[attr-defined]
    return Burst(latencies, float(told["elapsed"]), used, None, 0), memory  # type: ignore[arg-type]


def _accounts(node: Node) -> dict[str, object]:
    """Make a sender and the clients; return what the driver needs to be all of them."""
    made: list[dict[str, object]] = []
    for number in range(CLIENTS):
        key = bytes([number]) * 32
        texts = []
        for _ in range(TOKENS):
            answer = node.ask("client.token.add", name=f"client{number}", key=_text_id(key))
            assert isinstance(answer, dict)
            texts.append(answer["token"])
        made.append({"key": key.hex(), "tokens": texts})
    return {"address": ADDRESS, "node": node.identity(), "clients": made}


def _text_id(key: bytes) -> str:
    from qpq.crypto.identity import text_id  # noqa: PLC0415 (the rig has put the node's source into the path)

    return text_id(key)


@contextmanager
def _driver(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, str(DRIVER), str(folder / "clients.json"), *arguments]
    process = start(argv, log=folder / "driver.log", pipes=True)
    try:
        _line(process, SLACK)
        yield process
    except RuntimeError:
        print((folder / "driver.log").read_text()[-2000:], file=sys.stderr)
        raise
    finally:
        stop(process)


def _line(process: subprocess.Popen[str], within: float) -> dict[str, object]:
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], within)[0]:
        raise TimeoutError(f"the driver of clients gave no answer in {within:.0f} s")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the driver of clients ended; see its log")
    answer: dict[str, object] = json.loads(line)
    return answer


if __name__ == "__main__":
    memory = "/dev/shm"  # noqa: S108 (tmpfs is what is measured)
    with (
        tempfile.TemporaryDirectory(prefix="b", dir=memory if os.path.isdir(memory) else None) as first,
        tempfile.TemporaryDirectory(prefix="b") as second,
    ):
        print(table(measure(Path(first), float(sys.argv[1]) if len(sys.argv) > 1 else 3.0, Path(second))))

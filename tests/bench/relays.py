"""Relays of two domains: messages from end to end with receipts, calls a second, memory of an idle connection.

``python tests/bench/relays.py [SECONDS]`` measures this alone and prints it. All on loopback, stores on tmpfs. Each
domain is one real node, which is its user's, its gateway and its relay; the calls come from a process of their own.
"""

from __future__ import annotations

import json
import os
import select
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rigs"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from control import Control
from figures import Burst
from node import Node, wait_for
from relays_driver import DOMAIN, domain, key
from rig import cpu_ms, rss_mib, start, stop

from qpq.crypto.identity import text_id

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

DRIVER = Path(__file__).with_name("relays_driver.py")
PORT = 17_400
FLIGHTS = (1, 32)
SIZE = 200
COUNT = 400
"""Messages of a burst: a gateway carries 500 of one user at once."""
WARM = 10
CALLS = ("relayEnqueue", "relayBatchEnqueue")
IDLE = 48
SLACK = 60.0  # seconds beyond what was asked for
REACHED = 20.0
NAMES = {
    "message": "message of 200 bytes to another domain, to its receipt",
    "relayEnqueue": "relayEnqueue of a message of 200 bytes, delivered",
    "relayBatchEnqueue": "relayBatchEnqueue of the same, one recipient",
}
COLUMNS = (
    ("messages_per_s", "1/s"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
    ("cpu_ms_per_message", "CPU ms"),
)

Figures = dict[str, object]


def measure(folder: Path, seconds: float) -> Figures:
    """Measure all cases, ``seconds`` each at most, with the stores in ``folder``."""
    found: Figures = {"idle_connections": IDLE}
    for flight in FLIGHTS:
        found[f"message {flight}"] = _messages(folder, flight, seconds).summary()
    for name in CALLS:
        for flight in FLIGHTS:
            found[f"{name} {flight}"] = _calls(folder, name, flight, seconds).summary()
    found["idle_kib"] = _idle(folder)
    return found


def table(found: Figures) -> str:
    """Return the figures as text, one line each."""
    lines = [f"{'relays of two domains (CPU: of both processes)':88}" + "".join(f"{unit:>10}" for _, unit in COLUMNS)]
    for name, figures in found.items():
        if isinstance(figures, dict):
            kind, flight = name.split()
            shown = [f"{figures[column]:,.2f}" for column, _ in COLUMNS]
            lines.append(f"{f'{NAMES[kind]}; {flight} in flight':88}" + "".join(f"{one:>10}" for one in shown))
    lines.append(
        f"{'memory of the node for one more relay that is connected and idle, KiB':88}{found['idle_kib']:>10,.1f}"
    )
    return "\n".join(lines)


def _messages(folder: Path, flight: int, seconds: float) -> Burst:
    """Return a burst of messages between users of two domains."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="r", dir=folder)))
        first, second = (_node(stack, place, name, number) for number, name in enumerate(("a", "b")))
        _configure(first, "a.example", {"b.example": (_id(second), f"127.0.0.1:{PORT + 1}")})
        _configure(second, "b.example", {"a.example": (_id(first), "")})
        wait_for("the relays are connected", lambda: _reached(first) and _reached(second), REACHED)
        out = Control(first.socket)
        peer = f"{_id(second)}@b.example"
        out.burst(peer, WARM, 1, seconds + SLACK, SIZE)  # keys cross with the first
        cpu = cpu_ms(first.pid) + cpu_ms(second.pid)
        latencies, elapsed, unfinished = out.burst(peer, COUNT, flight, seconds, SIZE)
        used = cpu_ms(first.pid) + cpu_ms(second.pid) - cpu
        out.close()
        return Burst(latencies, elapsed, used, None, unfinished)


def _calls(folder: Path, name: str, flight: int, seconds: float) -> Burst:
    """Return a burst of calls."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="r", dir=folder)))
        node = _callee(stack, place)
        driver = stack.enter_context(_driver(place, _id(node), name, str(flight), str(seconds)))
        cpu = cpu_ms(node.pid) + cpu_ms(driver.pid)
        told = _go(driver, seconds + SLACK)
        used = cpu_ms(node.pid) + cpu_ms(driver.pid) - cpu
        return Burst([float(one) for one in told["latencies"]], float(told["elapsed"]), used, None, 0)


def _idle(folder: Path) -> float:
    """Return the KiB that a connection of another domain's relay takes which does nothing."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="r", dir=folder)))
        node = _callee(stack, place)
        with _driver(place, _id(node), "idle", "1"):  # what the first loads is not one more's
            before = rss_mib(node.pid)
        with _driver(place, _id(node), "idle", str(IDLE)) as driver:
            taken = rss_mib(node.pid) - before
            told = _go(driver, SLACK)
    if told["open"] != IDLE:
        raise RuntimeError(f"only {told['open']} of {IDLE} connections stayed open")
    return taken * 1024 / IDLE


def _node(stack: ExitStack, place: Path, name: str, number: int) -> Node:
    arguments = ("--no-mdns", "--no-beacon", "--listen", f"127.0.0.1:{PORT + number}")
    node = Node(name, arguments=arguments, folder=place / name)
    stack.callback(node.close)
    return node.start()


def _callee(stack: ExitStack, place: Path) -> Node:
    node = _node(stack, place, "n", 0)
    _configure(node, DOMAIN, {domain(number): (text_id(key(number).identity), "") for number in range(IDLE)})
    return node


def _configure(node: Node, own: str, others: dict[str, tuple[str, str]]) -> None:
    """Start a node anew as the relay of a domain that knows others by key and, where it calls them, by address."""
    path = node.folder / "conf"
    lines = [f"config qpq 'main'\noption domain '{own}'"]
    for name, (pinned, address) in others.items():
        lines.append(f"config relay\noption domain '{name}'\nlist key '{pinned}'")
        lines += [f"list address '{address}'"] if address else []
    path.write_text("\n".join(lines) + "\n")
    node.arguments += ["--config", str(path)]
    node.stop()
    node.start()


def _id(node: Node) -> str:
    return node.identity()


def _reached(node: Node) -> bool:
    status: Any = node.ask("federation.status")
    return all(row["reached"] for row in status["relays"])


@contextmanager
def _driver(place: Path, user: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, str(DRIVER), f"127.0.0.1:{PORT}", user, *arguments]
    process = start(argv, log=place / "driver.log", pipes=True)
    try:
        _line(process, SLACK)
        yield process
    except RuntimeError:
        print((place / "driver.log").read_text()[-2000:], file=sys.stderr)
        raise
    finally:
        stop(process)


def _go(driver: subprocess.Popen[str], within: float) -> dict[str, Any]:
    assert driver.stdin is not None
    driver.stdin.write("\n")
    driver.stdin.flush()
    return _line(driver, within)


def _line(process: subprocess.Popen[str], within: float) -> dict[str, Any]:
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], within)[0]:
        raise TimeoutError(f"the driver of relays gave no answer in {within:.0f} s")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the driver of relays ended; see its log")
    answer: dict[str, Any] = json.loads(line)
    return answer


if __name__ == "__main__":
    memory = "/dev/shm"  # noqa: S108 (tmpfs is what is measured)
    with tempfile.TemporaryDirectory(prefix="b", dir=memory if os.path.isdir(memory) else None) as first_folder:
        print(table(measure(Path(first_folder), float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)))

"""`make bench-binary`: the static binary beside the node on a PC's Python and beside Reticulum, in turns.

On this machine: start to ready, resident memory at rest, links and messages per second and what they cost, and the
instructions from start to ready (qemu-user counts them). For a router: instructions and time of one handshake and of
one message under qemu-user, and the time of a fixed loop here and there, by which the emulated time is judged.

Prints tables and writes them as ``binary`` into dist/bench.json. Everything stays on the loopback device.

usage: binary.py [--quick] [--no-rns] [--router TARGET]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import counted
import lxmf_side
import qpq_links
import qpq_side
import sides
from cross.targets import target as target_of
from cross.toolchain import PLAIN, toolchain
from rig import LOOPBACK, cpu_ms, rss_mib, stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cross.targets import Target
    from node import Node

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
RESULT = ROOT / "dist" / "bench.json"
HERE_TARGET, ROUTER = "x86_64", "mips_24kc"
CLOCK = 580e6  # hertz of a common router with a 24Kc core
SIZE = 200  # bytes of a message's text
WARM = 30  # messages before the first that count
REST = 2.0  # seconds before memory is read

Figures = dict[str, dict[str, list[float]]]
"""Values of the rounds, by row and side."""


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="measure the static binary")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that the bench works, no more")
    parser.add_argument("--no-rns", action="store_true", help="leave Reticulum out")
    parser.add_argument("--router", default=ROUTER, help=f"the target that is emulated (default {ROUTER})")
    given = parser.parse_args()
    rounds, seconds = (1, 1.0) if given.quick else (5, 3.0)
    load = os.getloadavg()[0]
    python = None if given.no_rns else rns_python()
    figures: Figures = {}
    with scratch() as folder:
        for number in range(rounds):
            say(f"this machine, round {number + 1} of {rounds}")
            native_round(figures, folder, python, seconds)
        say("instructions from start to ready")
        instructions(figures, folder, python, 1 if given.quick else 3)
        router = router_rounds(folder, given.router, rounds if given.quick else 3, seconds)
    print(native_table(figures))
    print(router_table(router, given.router))
    document = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    document["binary"] = {
        "native": figures,
        "router": router,
        "router_target": given.router,
        "python": platform.python_version(),
        "load_before": load,
        "load_after": os.getloadavg()[0],
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(document, indent=1) + "\n")
    print(f"written: {RESULT.relative_to(ROOT)}; load {load:.1f} before, {os.getloadavg()[0]:.1f} after")
    return 0


def built(name: str) -> Path:
    """Return a target's binary; SystemExit when it is not built."""
    path = ROOT / "dist" / name / "qpq"
    if not path.exists():
        sys.exit(f"{path} is not there: `make cross TARGET={name}` builds it")
    return path


def rns_python() -> Path | None:
    """Return the Python of an environment with Reticulum; None where it cannot be had."""
    try:
        return lxmf_side.install(BUILD / "bench-venv")
    except lxmf_side.MissingError as error:
        say(f"{error}; its column stays empty")
        return None


def programs(python: Path | None) -> list[sides.Qpq | sides.Rnsd]:
    """Return what is compared here."""
    compared: list[sides.Qpq | sides.Rnsd] = [sides.binary(built(HERE_TARGET)), sides.tree()]
    return compared if python is None else [*compared, sides.Rnsd(python)]


def note(figures: Figures, row: str, side: str, value: float) -> None:
    """Keep one value of one round."""
    figures.setdefault(row, {}).setdefault(side, []).append(value)


def native_round(figures: Figures, folder: Path, python: Path | None, seconds: float) -> None:
    """Take one turn of each program in everything."""
    for program in programs(python):
        begin = time.perf_counter()
        with program.ready(folder) as running:
            note(figures, "start to ready, s", program.name, time.perf_counter() - begin)
            time.sleep(REST)
            note(figures, "resident memory at rest, MiB", program.name, rss_mib(running.pid))
    for program in programs(None):
        assert isinstance(program, sides.Qpq)
        with program.ready(folder) as node:
            rate, cpu = handshakes(node, folder, seconds)
            note(figures, "links a second, dialled by a PC node", program.name, rate)
            note(figures, "processor time of the listener, a handshake, ms", program.name, cpu)
        with linked(program, program, folder) as pair:
            _messages(figures, program.name, pair, seconds)
    if python is not None:
        with lxmf_side.pair(python, (LOOPBACK, LOOPBACK), folder / "lxmf", ipv6=False) as other:
            before = cpu_ms(other.receiver.pid)
            links = other.links(seconds)
            note(figures, "links a second, dialled by a PC node", "rnsd", len(links.latencies) / links.elapsed)
            used = (cpu_ms(other.receiver.pid) - before) / max(len(links.latencies), 1)
            note(figures, "processor time of the listener, a handshake, ms", "rnsd", used)
            _messages(figures, "rnsd", other, seconds)


def _messages(figures: Figures, side: str, pair: qpq_side.Pair | lxmf_side.Pair, seconds: float) -> None:
    pair.burst(WARM, 1, seconds, SIZE)
    for flight in (1, 32):
        burst = pair.burst(2_000, flight, seconds, SIZE) if side == "rnsd" else pair.burst(400, flight, seconds, SIZE)
        note(figures, f"messages a second, {flight} in flight", side, len(burst.latencies) / burst.elapsed)
        each = burst.cpu_ms / max(len(burst.latencies), 1)
        note(figures, f"processor time of both ends, a message, ms; {flight} in flight", side, each)


def handshakes(node: Node, folder: Path, seconds: float) -> tuple[float, float]:
    """Return links a second that a PC node dials, and milliseconds of ``node``'s processor time for each."""
    count, elapsed, used = dialled(node, folder, seconds, lambda: cpu_ms(node.pid))
    return count / elapsed, used / count


def dialled(node: Node, folder: Path, seconds: float, gauge: Callable[[], float]) -> tuple[int, float, float]:
    """Dial for some seconds; return links, seconds, and by how much ``gauge()`` grew."""
    target = f"{sides.ADDRESS}:{sides.PORT}"
    words = ("dial", f"{sides.ADDRESS}:{sides.PORT + 9}", target)
    for duration in (min(seconds, 1.0), seconds):  # the first is for warming up
        dialler = qpq_links._driver(LOOPBACK, folder, *words, str(duration), "fresh")
        try:
            qpq_links._line(dialler, qpq_links.SLACK)
            before = gauge()
            told = qpq_links._line(dialler, duration + 2 * qpq_links.SLACK)
            grown = gauge() - before
        finally:
            stop(dialler)
    latencies: list[float] = told["latencies"]  # type: ignore[assignment]
    if not latencies:
        raise RuntimeError(f"no link came up: {told}; {node.log()[-2000:]}")
    return len(latencies), float(told["elapsed"]), grown  # type: ignore[arg-type]


@contextmanager
def linked(
    listener: sides.Qpq, dialler: sides.Qpq, folder: Path, prefix: tuple[str, ...] = ()
) -> Iterator[qpq_side.Pair]:
    """Give a link: the dialler sends, the listener (with ``prefix`` before it) receives; close it at the end."""
    with ExitStack() as stack:
        receiver = stack.enter_context(listener.ready(folder, prefix))
        more = ("--peer", f"{sides.ADDRESS}:{sides.PORT}")
        sender = stack.enter_context(dialler.ready(folder, port=sides.PORT + 8, more=more))
        pair = qpq_side.Pair(sender, receiver, LOOPBACK)
        stack.callback(pair.close)
        yield pair


def instructions(figures: Figures, folder: Path, python: Path | None, rounds: int) -> None:
    """Count the instructions from start to ready; says so and goes on where they cannot be counted."""
    qemu = counted.native_qemu()
    try:
        counter = counted.Counter(counted.build_plugin(BUILD / "bench", qemu[0]), folder / "count")
    except counted.NoCounterError as error:
        say(f"instructions are not counted: {error}")
        return
    for _ in range(rounds):
        for program in programs(python):
            prefix = tuple(counter.command(qemu))
            started = program.ready(folder, prefix, answering=False) if isinstance(program, sides.Qpq) else None
            with started or program.ready(folder, prefix):
                note(figures, "instructions from start to ready, millions", program.name, counter.read() / 1e6)


def loops(folder: Path, target: Target) -> dict[str, list[str]]:
    """Return what runs the fixed loop ``here``, and ``there`` as the target's program under emulation."""
    tools = toolchain(target)
    compiler = [tools.cc, *tools.flags, "-O1", PLAIN, "-static"]
    return {
        "here": [str(counted.compile_loop(["cc", "-O1"], folder / "loop-here"))],
        "there": [*target.qemu, str(counted.compile_loop(compiler, folder / "loop-there"))],
    }


def router_rounds(folder: Path, name: str, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return values of the rounds for a router's binary under emulation."""
    target = target_of(name)
    emulated = sides.binary(built(name), target.qemu)
    compared = loops(folder, target)
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        say(f"{name}, round {number + 1} of {rounds}")
        for side, command in compared.items():
            found.setdefault(f"loop_{side}_s", []).append(counted.time_loop(command))
        for key, value in _router_costs(emulated, folder, seconds, None).items():
            found.setdefault(f"{key}_cpu_ms", []).append(value)
    try:
        counter = counted.Counter(counted.build_plugin(BUILD / "bench", target.qemu[0]), folder / "count")
    except counted.NoCounterError as error:
        say(f"instructions are not counted: {error}")
        return found
    say(f"{name}, instructions")
    counted.time_loop([*counter.command(target.qemu), compared["there"][-1]])
    found["loop_instructions"] = [float(counter.read())]
    bare = sides.binary(built(name))
    with bare.ready(folder, tuple(counter.command(target.qemu)), answering=False):
        found["start_instructions"] = [float(counter.read())]
    for key, value in _router_costs(bare, folder, seconds, (counter, target.qemu)).items():
        found[f"{key}_instructions"] = [value]
    return found


def _router_costs(
    router: sides.Qpq, folder: Path, seconds: float, counter: tuple[counted.Counter, tuple[str, ...]] | None
) -> dict[str, float]:
    """Return what a handshake and a message cost the router, in milliseconds or in instructions."""
    prefix = () if counter is None else tuple(counter[0].command(counter[1]))
    costs = {}
    with router.ready(folder, prefix) as node:
        gauge = (lambda: cpu_ms(node.pid)) if counter is None else counter[0].read
        count, _, grown = dialled(node, folder, 2 * seconds, gauge)
        costs["handshake"] = grown / count
    prefix = () if counter is None else tuple(counter[0].command(counter[1]))
    with linked(router, sides.tree(), folder, prefix) as pair:
        gauge = (lambda: cpu_ms(pair.receiver.pid)) if counter is None else counter[0].read
        back = qpq_side.Pair(pair.receiver, pair.sender, LOOPBACK)
        for key, way in (("receive", pair), ("send", back)):
            way.burst(WARM, 1, 10 * seconds, SIZE)
            before = gauge()
            burst = way.burst(100, 1, 10 * seconds, SIZE)
            costs[key] = (gauge() - before) / len(burst.latencies)
        back.close()
    return costs


def native_table(figures: Figures) -> str:
    """Return medians, and the binary's ratio to the others as the median of the rounds' ratios."""
    names = ("binary", "PC node", "rnsd")
    head = f"{HERE_TARGET + ', natively':<62}" + "".join(f"{name:>12}" for name in names)
    lines = [f"{head}{'by PC node':>14}{'by rnsd':>12}"]
    for row, values in figures.items():
        cells = "".join(_cell(values.get(name)) for name in names)
        ratios = "".join(
            _ratio(values.get("binary"), values.get(name), width) for name, width in (("PC node", 14), ("rnsd", 12))
        )
        lines.append(f"{row:<62}{cells}{ratios}")
    lines.append("rnsd: its links and messages are those of two LXMF nodes, driven in their own processes.")
    return "\n".join(lines)


def _cell(values: list[float] | None) -> str:
    if not values:
        return f"{'-':>12}"
    value = statistics.median(values)
    return f"{value:>12,.{3 if value < 1 else 2 if value < 100 else 0}f}"


def _ratio(ours: list[float] | None, theirs: list[float] | None, width: int) -> str:
    if not ours or not theirs:
        return f"{'-':>{width}}"
    ratios = [a / b for a, b in zip(ours, theirs, strict=False) if b]
    ratio = statistics.median(ratios) if ratios else math.nan
    return f"{f'x{ratio:.2f}':>{width}}"


def router_table(found: dict[str, list[float]], name: str) -> str:
    """Return what one handshake and one message cost a router, and estimates for its own processor."""
    middle = {key: statistics.median(values) for key, values in found.items()}
    lines = [
        f"{name} under qemu-user: the loop takes {middle['loop_there_s'] / middle['loop_here_s']:.1f} times as long"
    ]
    speed = None
    if "loop_instructions" in middle:
        speed = middle["loop_instructions"] / middle["loop_there_s"]
        lines[0] += f"; {speed / 1e6:,.0f} million instructions a second of the loop"
    clock = f"{CLOCK / 1e6:.0f} MHz"
    lines.append(f"{'':32}{'emulated, ms':>14}{'instructions':>16}{f'at {clock}, ms':>18}{'by the loop, ms':>18}")
    for key, text in (
        ("handshake", "a handshake, as listener"),
        ("receive", "a message taken"),
        ("send", "a message sent"),
    ):
        spent, count = middle.get(f"{key}_cpu_ms"), middle.get(f"{key}_instructions")
        own = "-" if count is None else f"{count / CLOCK * 1e3:,.1f}"
        scaled = "-" if spent is None or speed is None else f"{spent * speed / CLOCK:,.1f}"
        emulated = "-" if spent is None else f"{spent:,.2f}"
        number = "-" if count is None else f"{count:,.0f}"
        lines.append(f"{text:32}{emulated:>14}{number:>16}{own:>18}{scaled:>18}")
    if "start_instructions" in middle:
        count = middle["start_instructions"]
        lines.append(f"{'start to ready':32}{'-':>14}{count:>16,.0f}{count / CLOCK * 1e3:>18,.0f}{'-':>18}")
    lines.append(f"at {clock}: with one instruction a cycle, the best a 24Kc does; misses of its caches come on top.")
    lines.append("by the loop: as much longer or shorter than emulated as the loop would be there.")
    return "\n".join(lines)


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder in memory, removed at the end."""
    place = qpq_side.MEMORY if qpq_side.MEMORY.is_dir() else BUILD
    with tempfile.TemporaryDirectory(prefix="bench", dir=place) as name:
        yield Path(name)


def say(text: str) -> None:
    """Tell what is being measured."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

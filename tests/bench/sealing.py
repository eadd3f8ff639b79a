"""`make bench-sealing`: agreement, ratchet and passphrase on this machine and on an emulated router.

The router's interpreter is the one of `make target-tests`, under qemu-user: CPython, stand-ins and C extension as
in the binary. Instructions are counted; times are judged by a fixed loop here and there, as in ``binary.py``.

usage: sealing.py [--router TARGET]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import counted
from binary import BUILD, CLOCK, RESULT, ROUTER, loops, say, scratch
from cross import target_tests
from cross.targets import target as target_of

if TYPE_CHECKING:
    from collections.abc import Iterator

DRIVER = Path(__file__).with_name("sealing_driver.py")
OPERATIONS = {
    "begin": ("a session begun, and its first message sealed", 10),
    "respond": ("that message opened, the session taken up", 10),
    "message": ("a message sealed and opened, same direction", 100),
    "turn": ("an answer and its answer, both sealed and opened", 50),
    "prekeys": ("prekeys of a week and their bundle", 10),
    "argon2id": ("a passphrase tried, 40 MB of memory available", 1),
}
ROUNDS = 3


class Driver:
    """One driver, started by ``command``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.sizes: dict[str, int] = self._line()

    def ms(self, operation: str, count: int) -> float:
        """Return milliseconds of processor time for one."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([operation, count]) + "\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def driver(command: list[str], **environment: str) -> Iterator[Driver]:
    """Give a running driver."""
    with subprocess.Popen(
        [*command, str(DRIVER)],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Driver(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def costs(command: list[str], **environment: str) -> dict[str, float]:
    """Return milliseconds of each operation, the median of some rounds."""
    with driver(command, **environment) as running:
        rounds = [{name: running.ms(name, count) for name, (_, count) in OPERATIONS.items()} for _ in range(ROUNDS)]
    return {name: statistics.median(one[name] for one in rounds) for name in OPERATIONS}


def instructions(command: list[str], counter: counted.Counter, qemu: tuple[str, ...]) -> dict[str, float]:
    """Return instructions of each operation; the emulator takes its plugin from the environment."""
    plugin = counter.command(qemu)[-1]
    found = {}
    with driver(command, QEMU_PLUGIN=f"file={plugin}") as running:
        for name, (_, count) in OPERATIONS.items():
            running.ms(name, 1)
            before = counter.read()
            running.ms(name, count)
            found[name] = (counter.read() - before) / count
    return found


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Return the figures of this machine and of the router ``name``."""
    target = target_of(name)
    there = [str(target_tests.command_of(target))]
    here = [sys.executable]
    say("this machine")
    with driver(here) as running:
        sizes = running.sizes
    found: dict[str, Any] = {"sizes": sizes, "here_ms": costs(here)}
    say(f"{name} under emulation")
    compared = loops(folder, target)
    found["loop_s"] = {side: min(counted.time_loop(command) for _ in range(3)) for side, command in compared.items()}
    found["emulated_ms"] = costs(there)
    try:
        counter = counted.Counter(counted.build_plugin(BUILD / "bench", target.qemu[0]), folder / "count")
    except counted.NoCounterError as error:
        say(f"instructions are not counted: {error}")
        return found
    counted.time_loop([*counter.command(target.qemu), compared["there"][-1]])
    found["loop_instructions"] = counter.read()
    found["instructions"] = instructions(there, counter, target.qemu)
    return found


def table(found: dict[str, Any], name: str) -> str:
    """Return the figures, and estimates for the router's own processor."""
    sizes, counts = found["sizes"], found.get("instructions", {})
    slower = found["loop_s"]["there"] / found["loop_s"]["here"]
    speed = found["loop_instructions"] / found["loop_s"]["there"] if counts else 0.0
    clock = f"{CLOCK / 1e6:.0f} MHz"
    heads = ("here, ms", "emulated, ms", "instructions", f"at {clock}, ms", "by the loop, ms")
    kept = sizes["state_running"]
    lines = [
        f"bytes: a bundle {sizes['bundle']:,}; of a session {sizes['state_begun']:,} when begun, {kept} later",
        f"more than its text: a first message {sizes['first_overhead']:,}, a later one {sizes['overhead']}",
        f"{(1 << 20) // kept:,} sessions a MiB",
        f"{name} under qemu-user: the loop takes {slower:.1f} times as long"
        + (f"; {speed / 1e6:,.0f} million instructions a second of the loop" if counts else ""),
        f"{'':52}" + "".join(f"{head:>{width}}" for head, width in zip(heads, (10, 14, 16, 18, 18), strict=True)),
    ]
    for key, (text, _) in OPERATIONS.items():
        spent, count = found["emulated_ms"][key], counts.get(key)
        cells = (
            [f"{count:,.0f}", f"{count / CLOCK * 1e3:,.1f}", f"{spent * speed / CLOCK:,.1f}"] if count else ["-"] * 3
        )
        lines.append(f"{text:52}{found['here_ms'][key]:>10.3f}{spent:>14.2f}{cells[0]:>16}{cells[1]:>18}{cells[2]:>18}")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="measure what sealing costs")
    parser.add_argument("--router", default=ROUTER, help=f"the target that is emulated (default {ROUTER})")
    given = parser.parse_args()
    with scratch() as folder:
        found = measure(given.router, folder)
    print(table(found, given.router))
    document = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    document["sealing"] = {**found, "router_target": given.router, "load": os.getloadavg()[0]}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make test`: every test this machine can run, and then the coverage gates.

As root the tests in network namespaces run too; otherwise they are skipped and the
summary says so. Arguments go to pytest; with arguments the gates are left out, since
part of the tests cannot cover everything.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
CORE_ROOMS = ("crypto", "mesh", "wire")
CORE_PERCENT = 100.0
OTHER_PERCENT = 90.0
TEST_DEADLINE = "180"  # seconds for one test; none should come near it


@dataclass
class Room:
    """Counts of one package directory: lines and branches together."""

    covered: int = 0
    total: int = 0

    @property
    def percent(self) -> float:
        """Return covered lines and branches in percent; 100 for an empty room."""
        return 100.0 * self.covered / self.total if self.total else 100.0


def main(arguments: list[str]) -> int:
    """Run pytest under coverage; return its exit status, or 1 when a gate is missed."""
    # Started in the background, a process ignores Ctrl-C and so would the consoles that the tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    BUILD.mkdir(exist_ok=True)
    python = [sys.executable, "-m"]
    with tempfile.TemporaryDirectory(prefix="coverage", dir=BUILD) as folder:
        data = f"--data-file={folder}/data"
        options = [f"--junitxml={BUILD}/tests.xml", f"--timeout={TEST_DEADLINE}", "--durations=10"]
        pytest = [*python, "coverage", "run", data, "-m", "pytest", *options, *arguments]
        status = subprocess.run(pytest, cwd=ROOT, check=False).returncode
        if arguments:
            return status
        report = f"{folder}/report.json"
        subprocess.run([*python, "coverage", "combine", "-q", data], cwd=ROOT, check=True)
        subprocess.run([*python, "coverage", "json", "-q", data, "-o", report], cwd=ROOT, check=True)
        document = json.loads(Path(report).read_text())
    missed = judge(document, all_ran=os.geteuid() == 0)
    return status or missed


def judge(document: dict[str, dict[str, dict[str, dict[str, int]]]], *, all_ran: bool) -> int:
    """Print each room's coverage; return 1 when a room misses its gate.

    Without the network tests only the core's gate holds: daemons and links are driven by those.
    """
    rooms: defaultdict[str, Room] = defaultdict(Room)
    worst: defaultdict[str, list[str]] = defaultdict(list)
    for name, entry in sorted(document["files"].items()):
        parts = Path(name).parts
        room = parts[parts.index("qpq") + 1]
        room = "(top)" if room.endswith(".py") else room
        summary = entry["summary"]
        missing = summary["missing_lines"] + summary.get("missing_branches", 0)
        rooms[room].covered += summary["covered_lines"] + summary.get("covered_branches", 0)
        rooms[room].total += summary["num_statements"] + summary.get("num_branches", 0)
        if missing:
            lines = [*map(str, entry["missing_lines"]), *(f"{a}->{b}" for a, b in entry.get("missing_branches", []))]
            worst[room].append(f"    {name}: {', '.join(lines[:12])}{' ...' if len(lines) > 12 else ''}")
    failed = False
    print("\ncoverage, lines and branches together:")
    for room, counts in sorted(rooms.items()):
        gate = CORE_PERCENT if room in CORE_ROOMS else OTHER_PERCENT
        judged = all_ran or room in CORE_ROOMS
        short = counts.percent < gate
        verdict = "" if not short else "  TOO LOW" if judged else "  (not judged: the network tests did not run)"
        print(f"  {room:<10} {counts.percent:6.2f} %  (at least {gate:.0f} %){verdict}")
        if short:
            print("\n".join(worst[room]))
        failed = failed or (short and judged)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

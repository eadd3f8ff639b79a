"""``make sim-scale``: what one node costs as the network grows, how it grows, and what goes when caps bind.

Each size is a run in a process of its own, for its memory's sake: nodes at random places, seven neighbours each.
First single messages, then broadcasts on both sides of a cut through the middle, which then heals.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [path for path in (str(TESTS), str(TESTS.parent / "node")) if path not in sys.path]

from sim.figures import figures  # noqa: E402 (found by the path above)
from sim.plot import plot  # noqa: E402
from sim.report import DIST  # noqa: E402
from sim.run import run  # noqa: E402
from sim.scenario import Scenario, parse  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.figures import Figures
    from sim.run import Run

SIZES = (10, 30, 100, 300, 1000)
UNICASTS, BROADCASTS = 100, 20
SEED = 1
PAGE = os.sysconf("SC_PAGE_SIZE")

COLUMNS = {
    "cpu_us_per_unicast": "core CPU of all nodes for one message delivered, with its route and receipt, us",
    "cpu_us_per_broadcast_delivery": "core CPU for one delivery of a broadcast, us",
    "bytes_per_unicast": "Ethernet bytes of all nodes for one message delivered",
    "bytes_per_broadcast_delivery": "Ethernet bytes for one delivery of a broadcast",
    "rest_bytes_per_second": "Ethernet bytes a second and node at rest",
    "memory_bytes": "memory a node, its links' model included, bytes",
    "reconcile_bytes_per_difference": "bytes of RECONCILE for each broadcast that each node lacked after a partition",
    "transfers_per_unicast": "transmissions of one message",
}
CAPS: dict[str, dict[str, int]] = {
    "none of them small": {},
    "12 routes, 4 told": {"routes": 12, "routes_told": 4},
    "2 searches": {"searches": 2},
    "4 askers, 4 asked for": {"askers": 4, "asked": 4},
    "8 KiB for others": {"relay_bytes": 8192},
    "4 KiB of broadcasts": {"flood_bytes": 4096},
    "4 known ids, 4 receipts": {"known_ids": 4, "proofs": 4},
    "1 message on a link": {"window_count": 1},
    "all of these": {
        "routes": 12, "routes_told": 4, "searches": 2, "askers": 4, "asked": 4, "relay_bytes": 8192,
        "flood_bytes": 4096, "known_ids": 4, "proofs": 4, "window_count": 1,
    },
}  # fmt: skip
CAPPED_NODES = 100


def main(arguments: list[str]) -> int:
    """Run the sizes asked for, or with ``--caps`` one size with each cap small; return 1 if a run broke."""
    parser = argparse.ArgumentParser(prog="make sim-scale", description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="numbers of nodes")
    parser.add_argument("--caps", action="store_true", help="only show what goes when caps bind")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measure(options.one)))
        return 0
    DIST.mkdir(parents=True, exist_ok=True)
    if not options.caps:
        grow(options.sizes)
    print(capped())
    return 0


# --- growth ---------------------------------------------------------------------------------------------------


def grow(sizes: Sequence[int]) -> None:
    """Measure each size, print the table with the exponents, and write it and the plots to dist/sim/scaling/."""
    found: dict[int, Figures] = {}
    for size in sizes:
        command = [sys.executable, "-m", "sim.scaling", "--one", str(size)]
        paths = {"PYTHONHASHSEED": "0", "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'node'}"}
        done = subprocess.run(command, env={**os.environ, **paths}, check=True, capture_output=True, text=True)
        found[size] = json.loads(done.stdout)
        print(f"{size} nodes: {found[size]['seconds']:.0f} s", file=sys.stderr)
    folder = DIST / "scaling"
    folder.mkdir(exist_ok=True)
    text = table(found)
    print(text)
    (folder / "scaling.txt").write_text(text + "\n")
    (folder / "scaling.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    for name, about in COLUMNS.items():
        points = [(float(size), entry[name]) for size, entry in found.items()]
        title = f"{name}: about nodes^{exponent(points):.2f}"
        (folder / f"{name}.svg").write_text(plot(title, "nodes", about, [(name, points)], logarithmic=True))


def table(found: dict[int, Figures]) -> str:
    """Return the figures of each size as text, each with the exponent fitted to them."""
    rows = [f"{'nodes':<32}" + "".join(f"{size:>10}" for size in found) + "   exponent"]
    for name in COLUMNS:
        points = [(float(size), entry[name]) for size, entry in found.items()]
        rows.append(f"{name:<32}" + "".join(f"{value:>10.4g}" for _, value in points) + f"{exponent(points):>11.2f}")
    rows += [
        f"{name:<32}" + "".join(f"{entry[name]:>10.4g}" for entry in found.values())
        for name in ("unicast_ratio", "broadcast_ratio", "seconds")
    ]
    return "\n".join(rows)


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the straight line through the logarithms that is best by least squares."""
    logs = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    if len(logs) < 2:
        return 0.0
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def measure(nodes: int) -> Figures:
    """Return the figures of one size."""
    before = _resident()
    result = run(_scenario(nodes, [_single()]), SEED)
    memory = _resident() - before
    single = figures(result)
    heard = run(_scenario(nodes, [_broadcast()]), SEED)
    flooded = figures(heard)
    parted = run(_scenario(nodes, [_broadcast()], partition=True), SEED)
    # Of the broadcasts each side made about half, so every node lacked half of them.
    healed, end = parted.marks["healed"], parted.marks["end"]
    apart = end.frame_bytes["Reconcile"] - healed.frame_bytes["Reconcile"]
    return {
        "cpu_us_per_unicast": _cpu(result) / max(1, single["unicast"]["delivered"]),
        "bytes_per_unicast": _bytes(result, single) / max(1, single["unicast"]["delivered"]),
        "transfers_per_unicast": single["unicast"]["transfers_per_delivery"],
        "unicast_ratio": single["unicast"]["ratio"],
        "cpu_us_per_broadcast_delivery": _cpu(heard) / max(1, flooded["broadcast"]["delivered"]),
        "bytes_per_broadcast_delivery": _bytes(heard, flooded) / max(1, flooded["broadcast"]["delivered"]),
        "broadcast_ratio": figures(parted)["broadcast"]["ratio"],
        "rest_bytes_per_second": single["traffic"]["rest_bytes_per_second_per_node"]["mean"],
        "memory_bytes": memory / nodes,
        "reconcile_bytes_per_difference": apart / (nodes * BROADCASTS / 2),
        "seconds": result.seconds + heard.seconds + parted.seconds,
    }


def _scenario(size: int, traffic: list[dict[str, Any]], *, partition: bool = False, **more: Any) -> Scenario:
    return parse(
        {
            "name": f"scaling-{size}",
            "links": "given",
            "start_spread": 10,
            "settle": 120,
            "rest": 120,
            "duration": 600 if partition else 120,
            "topology": {"kind": "geometric", "nodes": size, "degree": 7},
            "link": {"loss": 0.02, "delay": 0.004},
            "partition": [{"start": 0, "stop": 240, "part": 0.5}] if partition else [],
            "traffic": [{**entry, "start": 60.0 if partition else 0.0} for entry in traffic],
            **more,
        }
    )


def _single() -> dict[str, Any]:
    return {"kind": "unicast", "count": UNICASTS, "over": 60}


def _broadcast() -> dict[str, Any]:
    return {"kind": "broadcast", "count": BROADCASTS, "over": 60}


def _cpu(result: Run) -> float:
    """Return the microseconds that the cores took for the traffic; what they would at rest is taken off."""
    settled, rested, end = (sum(result.marks[name].cpu_ns) for name in ("settled", "rested", "end"))
    return max(0.0, end - rested - (rested - settled)) / 1e3


def _bytes(result: Run, found: Figures) -> float:
    """Return the bytes that the traffic took; what nodes would send at rest is taken off."""
    rested, end = result.marks["rested"], result.marks["end"]
    rest = found["traffic"]["rest_bytes_per_second_per_node"]["mean"] * len(rested.tx_bytes)
    return max(0.0, sum(end.tx_bytes) - sum(rested.tx_bytes) - rest * (end.at - rested.at))


def _resident() -> int:
    """Return this process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


# --- caps -----------------------------------------------------------------------------------------------------


def capped() -> str:
    """Return a table of the same run with one cap after the other small: what is lost, and what says so."""
    rows = [f"{'cap':<26} unicasts  broadcasts  delay s p50/p90/max   MB sent   caps hit"]
    for name, caps in CAPS.items():
        scenario = _scenario(CAPPED_NODES, [_single(), _broadcast()], nodes={"caps": caps}, duration=600)
        found = figures(run(scenario, SEED))
        delay = found["unicast"]["delay_s"]
        sent = found["traffic"]["bytes"] / 1e6
        hit = ", ".join(f"{counter} {count}" for counter, count in found["caps_hit"].items())
        rows.append(
            f"{name:<26} {found['unicast']['ratio']:8.1%}  {found['broadcast']['ratio']:10.1%}"
            f"  {delay['p50']:6.2f}/{delay['p90']:6.2f}/{delay['max']:6.1f}   {sent:7.2f}   {hit}"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

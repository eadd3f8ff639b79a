"""``make sim``, ``make sim-ci`` and ``make sim-all``: run scenarios, write reports, judge by what was expected."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [path for path in (str(TESTS), str(TESTS.parent / "node")) if path not in sys.path]

from qpq.errors import QpqError  # noqa: E402
from sim import report  # noqa: E402 (found by the path above)
from sim.figures import figures  # noqa: E402
from sim.progress import Progress  # noqa: E402
from sim.run import run  # noqa: E402
from sim.scenario import SCENARIOS, Scenario, load  # noqa: E402
from sim.versus import against, table  # noqa: E402

HASH_SEED = "PYTHONHASHSEED"


def main(arguments: list[str]) -> int:
    """Run the scenarios named, or all; return 1 when an expectation did not hold."""
    parser = argparse.ArgumentParser(prog="make sim SCENARIO=", description=__doc__)
    parser.add_argument("scenario", nargs="*", help="a file, or a name in tests/sim/scenarios; none: all of them")
    parser.add_argument("--seed", type=int, action="append", help="use these seeds instead of the scenario's")
    parser.add_argument("--ci", action="store_true", help="of all, run those that CI runs")
    parser.add_argument("--quiet", action="store_true", help="print only the verdicts")
    options = parser.parse_args(arguments)
    try:
        scenarios = [load(name) for name in options.scenario or sorted(map(str, SCENARIOS.glob("*.toml")))]
        if options.ci:
            scenarios = [scenario for scenario in scenarios if scenario.ci]
        failed = sum(play(scenario, options.seed or scenario.seeds, options.quiet) for scenario in scenarios)
    except QpqError as error:
        print(f"sim: {error}", file=sys.stderr)
        return 2
    return 1 if failed else 0


def play(scenario: Scenario, seeds: list[int], quiet: bool) -> int:
    """Run one scenario with each seed; return how many expectations did not hold."""
    judged: list[report.Verdict] = []
    for seed in seeds:
        progress = Progress(f"{scenario.name} seed {seed}")
        result = run(scenario, seed, progress)
        progress.done()
        found = figures(result)
        found["against"] = against(scenario, result, found)
        verdicts = report.judge(result, found)
        folder = report.write(result, found, verdicts)
        if quiet:
            print(f"{scenario.name} seed {seed}: {result.seconds:.1f} s", *report.bound(result), *verdicts, sep="\n  ")
            if found["against"]:
                print(table(found["against"]))
        else:
            print(report.text(result, found, verdicts))
            if found["against"]:
                print(table(found["against"]), end="\n\n")
            print(f"written to {folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder}")
        judged += verdicts
    if len(seeds) > 1:
        print(f"{scenario.name}, {len(seeds)} seeds:", *report.ranges(judged), sep="\n  ")
    return sum(not verdict.held for verdict in judged)


def restart() -> None:
    """Begin again with a fixed hash seed: the order of Python's sets hangs on it, and a run must not."""
    environment = {**os.environ, HASH_SEED: "0", "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'node'}"}
    os.execve(sys.executable, [sys.executable, "-m", "sim", *sys.argv[1:]], environment)  # noqa: S606 (no shell is meant)


if __name__ == "__main__":
    if os.environ.get(HASH_SEED) != "0":
        restart()
    sys.exit(main(sys.argv[1:]))

"""Figures into files: JSON that a seed repeats byte for byte, a text, plots; the verdict on what was expected."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from sim.figures import copies, delays, look_up
from sim.plot import plot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.figures import Figures
    from sim.run import Run

DIST = Path(__file__).resolve().parents[2] / "dist" / "sim"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one expectation held in one run."""

    seed: int
    name: str
    value: float
    least: float
    most: float

    @property
    def held(self) -> bool:
        """Whether the value is in the range."""
        return self.least <= self.value <= self.most

    def __str__(self) -> str:
        mark = "ok  " if self.held else "FAIL"
        return f"{mark} seed {self.seed}: {self.name} = {self.value:g}, expected {self.least:g} to {self.most:g}"


def judge(run: Run, found: Figures) -> list[Verdict]:
    """Hold figures against what the scenario expects."""
    return [
        Verdict(run.seed, name, look_up(found, name), least, most)
        for name, (least, most) in run.scenario.expect.items()
    ]


def speed(run: Run) -> Figures:
    """Return what depends on the machine: it has a file of its own."""
    world = run.world
    core_ns = sum(run.marks["end"].cpu_ns)
    busy_ns = core_ns - sum(run.marks["rested"].cpu_ns)
    deliveries = sum(len(message.arrived) for message in world.record.messages.values())
    transfers = sum(message.transfers for message in world.record.messages.values())
    handled = sum(host.handled for host in world.hosts)
    packets = sum(host.tx_packets for host in world.hosts)
    outside_s = run.seconds - core_ns / 1e9
    return {
        "seconds": run.seconds,
        "virtual_seconds_per_second": world.now / run.seconds,
        "events_per_second": world.agenda.done / run.seconds,
        "core_events": handled,
        "core_us_per_event": core_ns / 1e3 / handled if handled else 0.0,
        "core_part": core_ns / 1e9 / run.seconds,
        "core_us_per_delivery": busy_ns / 1e3 / deliveries if deliveries else 0.0,
        "core_us_per_transfer": busy_ns / 1e3 / transfers if transfers else 0.0,
        "outside_us_per_packet": outside_s * 1e6 / packets if packets else 0.0,
        "memory_bytes_per_node": run.memory_bytes / run.graph.nodes,
    }


def write(run: Run, found: Figures, verdicts: Sequence[Verdict]) -> Path:
    """Write all files of a run into dist/sim/<scenario>/; return the folder."""
    folder = DIST / run.scenario.name
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"seed-{run.seed}"
    (folder / f"{stem}.json").write_text(as_json(found))
    (folder / f"{stem}.speed.json").write_text(as_json(speed(run)))
    (folder / f"{stem}.txt").write_text(text(run, found, verdicts))
    for name, document in plots(run).items():
        (folder / f"{stem}.{name}.svg").write_text(document)
    return folder


def as_json(found: Figures) -> str:
    """Return figures as JSON."""
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def text(run: Run, found: Figures, verdicts: Sequence[Verdict]) -> str:
    """Return the report to read."""
    lines = [
        f"{run.scenario.name}: {run.scenario.about}".rstrip(": "),
        f"{found['topology']}; {found['nodes']} nodes, {found['edges']} edges, seed {run.seed}",
        _pace(run, found),
        "",
    ]
    lines += bound(run)
    for kind in ("unicast", "broadcast"):
        entry = found[kind]
        if entry["sent"]:
            lines += [f"{kind}:", *(f"  {name:<22} {_shown(value)}" for name, value in entry.items())]
    for section in ("traffic", "store", "links", "frames", "caps_hit", "honesty"):
        lines += [f"{section}:", *(f"  {name:<30} {_shown(value)}" for name, value in found[section].items())]
    for policy, entry in found.get("against", {}).items():
        lines.append(f"against {policy}: {_shown(entry)}")
    lines.append(f"shown twice: {found['shown_twice']}, shown to others: {found['strange_messages']}")
    lines += ["", *map(str, verdicts)]
    return "\n".join(lines) + "\n"


def bound(run: Run) -> list[str]:
    """Return the line that says what nobody could better, where nodes lie; nothing elsewhere."""
    if all(run.honest):
        return []
    return [f"honest pairs that a path of honest nodes joins: {run.bound:.2%} (the bound)"]


def ranges(verdicts: Sequence[Verdict]) -> list[str]:
    """Return a line for each figure that was expected: from where to where it goes over the seeds, and its mean."""
    values: dict[str, list[float]] = {}
    for verdict in verdicts:
        values.setdefault(verdict.name, []).append(verdict.value)
    return [f"{name}: {min(all_):g} to {max(all_):g}, mean {fmean(all_):g}" for name, all_ in values.items()]


def _pace(run: Run, found: Figures) -> str:
    fast = speed(run)
    return (
        f"{found['virtual_s']:.0f} s of virtual time, {found['events']} events, {run.seconds:.1f} s of processor time "
        f"({fast['events_per_second']:.0f} events/s, {fast['outside_us_per_packet']:.1f} us a packet besides the core)"
    )


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {_shown(entry)}" for name, entry in value.items())
    if isinstance(value, list):
        return " ".join(f"{entry:.2f}" for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def plots(run: Run) -> dict[str, str]:
    """Return the plots of a run as SVG, by name."""
    messages = list(run.world.record.messages.values())
    kinds = sorted({message.kind for message in messages})
    by_kind = {kind: [message for message in messages if message.kind == kind] for kind in kinds}
    title = f"{run.scenario.name}, seed {run.seed}"
    wanted = {kind: sum(len(message.recipients) for message in group) for kind, group in by_kind.items()}
    cumulated = [(kind, _cumulated(delays(group), wanted[kind])) for kind, group in by_kind.items()]
    found = {
        "delivery": plot(f"{title}: delivered by then", "seconds since sent", "part", cumulated, logarithmic=True),
        "delay": plot(
            f"{title}: how long deliveries take", "seconds", "deliveries",
            [(kind, _histogram(delays(group))) for kind, group in by_kind.items()], logarithmic=True,
        ),
        "bytes": plot(
            f"{title}: bytes sent by each node", "nodes, by bytes", "bytes",
            [(name, _ranked(mark.tx_bytes)) for name, mark in run.marks.items()],
        ),
    }  # fmt: skip
    if "broadcast" in by_kind:
        points = [(float(n), copies(message)) for n, message in enumerate(by_kind["broadcast"], 1)]
        found["copies"] = plot(f"{title}: copies per delivery", "broadcast", "copies", [("copies", points)], bars=True)
    return found


def _cumulated(values: list[float], wanted: int) -> list[tuple[float, float]]:
    ordered = sorted(max(value, 1e-4) for value in values)
    return [(value, (rank + 1) / wanted) for rank, value in enumerate(ordered)]


def _histogram(values: list[float]) -> list[tuple[float, float]]:
    if not values:
        return []
    counts: dict[int, int] = {}
    for value in values:
        step = math.floor(4 * math.log10(max(value, 1e-4)))
        counts[step] = counts.get(step, 0) + 1
    return [(10 ** (step / 4), float(counts.get(step, 0))) for step in range(min(counts) - 1, max(counts) + 2)]


def _ranked(values: Sequence[int]) -> list[tuple[float, float]]:
    return [(float(rank), float(value)) for rank, value in enumerate(sorted(values))]

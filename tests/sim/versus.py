"""The core beside known policies on the same contacts and the same messages: one table of what came of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sim.figures import delays, figures, spread
from sim.progress import Progress
from sim.run import run

if TYPE_CHECKING:
    from sim.figures import Figures
    from sim.run import Run
    from sim.scenario import Scenario

OURS = "quicproquo"


def against(scenario: Scenario, result: Run, found: Figures) -> Figures:
    """Run the same scenario with each policy it names; return what came of it, and the core's part of that."""
    if not scenario.compare:
        return {}
    ours = _entry(result, found)
    results: Figures = {OURS: ours}
    for policy in scenario.compare:
        progress = Progress(f"{scenario.name} seed {result.seed} as {policy}")
        other = run(replace(scenario, policy=policy), result.seed, progress)
        progress.done()
        entry = _entry(other, figures(other))
        entry["part_of_its_delivery"] = ours["delivered"] / max(1, entry["delivered"])
        entry["part_of_its_transfers"] = ours["transfers"] / max(1, entry["transfers"])
        results[policy.replace("-", "_")] = entry
    return results


def _entry(result: Run, found: Figures) -> Figures:
    unicast = found["unicast"]
    messages = [message for message in result.world.record.messages.values() if message.kind == "unicast"]
    waited = delays(messages)
    missing = [result.world.now - message.sent_at for message in messages if not message.arrived]
    return {
        "sent": unicast["sent"],
        "delivered": unicast["delivered"],
        "transfers": unicast["transfers"],
        "delay_s": spread(waited),
        "waited_s": spread(waited + missing),
        "bytes": found["traffic"]["bytes"],
    }


def table(results: Figures) -> str:
    """Return the table: delivery, delay of what arrived, waiting of all until the run's end, transmissions, bytes."""
    rows = ["policy                  delivered   delay s mean/p50/p90    waited s mean   transmissions      MB"]
    for name, entry in results.items():
        delay = entry["delay_s"]
        shown = f"{delay['mean']:.0f}/{delay['p50']:.0f}/{delay['p90']:.0f}" if delay["count"] else "-"
        waited = entry["waited_s"].get("mean", 0.0)
        rows.append(
            f"{name:<22}  {entry['delivered']:4d} of {entry['sent']:<4d} {shown:>16}    {waited:12.0f}"
            f"   {entry['transfers']:12d}   {entry['bytes'] / 1e6:7.1f}"
        )
    return "\n".join(rows)

"""Nodes that go off and come back, that sleep, and networks that fall apart and heal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

    from sim.hosts import Host
    from sim.run import Run
    from sim.world import Edge


def plan(result: Run, rng: random.Random) -> None:
    """Put churn and partitions on the agenda; times in the scenario count from when traffic begins."""
    agenda, now = result.world.agenda, result.world.now
    for entry in result.scenario.churn:
        hosts = result.world.hosts
        for host in rng.sample(hosts, int(len(hosts) * entry.get("part", 1.0))):
            change = _Change(result, host, entry, rng, now + entry.get("stop", float("inf")))
            agenda.at(now + entry.get("start", 0.0) + rng.random() * (change.on + change.off), change.go, None)
    for entry in result.scenario.partition:
        edges = _across(result, entry.get("part", 0.5), rng)
        agenda.at(now + entry.get("start", 0.0), _set_open, (edges, False))
        agenda.at(now + entry["stop"], _set_open, (edges, True))
        agenda.at(now + entry["stop"], result.mark, "healed")


class _Change:
    """One node's alternation: ``off`` stops it in order, ``crash`` does not, ``sleep`` only holds it."""

    def __init__(self, result: Run, host: Host, entry: dict[str, Any], rng: random.Random, until: float) -> None:
        self.agenda = result.world.agenda
        self.host = host
        self.kind = entry["kind"]
        self.on = entry.get("on", 600.0)
        self.off = entry.get("off", 600.0)
        self.until = until
        self.random = rng

    def go(self, _argument: None) -> None:
        """Go down, or come back; after the end of the churn only come back."""
        if not self.host.awake:
            if self.kind == "sleep":
                self.host.wake()
            else:
                self.host.start()
            self._next(self.on)
        elif self.agenda.now < self.until:
            if self.kind == "sleep":
                self.host.sleep()
            else:
                self.host.stop(orderly=self.kind == "off")
            self._next(self.off)

    def _next(self, mean: float) -> None:
        self.agenda.after(mean * (0.5 + self.random.random()), self.go)


def _across(result: Run, part: float, rng: random.Random) -> list[Edge]:
    """Return the edges between a connected part of the graph and the rest."""
    world = result.world
    wanted = max(1, int(len(world.hosts) * part))
    inside = [rng.choice(world.hosts)]
    numbers = {inside[0].number}
    for host in inside:
        for other in world.neighbours(host):
            if other.number not in numbers and len(inside) < wanted:
                numbers.add(other.number)
                inside.append(other)
    return [edge for edge in world.edges.values() if (edge.a.number in numbers) != (edge.b.number in numbers)]


def _set_open(what: tuple[list[Edge], bool]) -> None:
    edges, is_open = what
    for edge in edges:
        edge.up = is_open

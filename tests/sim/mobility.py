"""Nodes that move: random waypoints, and ferries between islands; who is near whom, step by step."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Protocol

from qpq.errors import QpqError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.run import Run

    Place = tuple[float, float]

STEP_S = 2.0
BEACON_S = 60.0
"""How often nodes that stay near each other hear of each other anew (DESIGN section 5, Discovery)."""


class MobilityError(QpqError):
    """A scenario asks for a motion that is not known."""


class Walk(Protocol):
    """Where nodes are."""

    def places(self, now: float) -> list[Place]:
        """Return each node's place, in metres; ``now`` never goes back."""
        ...


class Waypoints:
    """Each node walks to a random place at a random speed, rests, and walks on."""

    def __init__(self, nodes: int, area: float, speed: tuple[float, float], pause: float, rng: random.Random) -> None:
        self._area, self._speed, self._pause, self._random = area, speed, pause, rng
        # Of each node: from where and when, to where and when.
        self._legs = [((0.0, 0.0), 0.0, (rng.random() * area, rng.random() * area), 0.0) for _ in range(nodes)]

    def places(self, now: float) -> list[Place]:
        """Return each node's place."""
        found = []
        for node, leg in enumerate(self._legs):
            start, began, goal, ends = leg
            while now >= ends + self._pause:
                start, began = goal, ends + self._pause
                goal = (self._random.random() * self._area, self._random.random() * self._area)
                ends = began + math.dist(start, goal) / self._random.uniform(*self._speed)
            self._legs[node] = (start, began, goal, ends)
            part = 1.0 if now >= ends else max(0.0, (now - began) / (ends - began))
            found.append((start[0] + (goal[0] - start[0]) * part, start[1] + (goal[1] - start[1]) * part))
        return found


class Ferries:
    """Islands of nodes that stay, each in reach of the others there; ferries go from island to island and stop."""

    def __init__(
        self,
        islands: int,
        per_island: int,
        ferries: int,
        *,
        reach: float,
        speed: float,
        dwell: float,
        rng: random.Random,
    ) -> None:
        distance = 20 * reach
        self._islands = [(distance * (n % 4), distance * (n // 4)) for n in range(islands)]
        self._fixed = [
            (x + reach * 0.4 * math.cos(angle), y + reach * 0.4 * math.sin(angle))
            for x, y in self._islands
            for angle in (2 * math.pi * k / per_island for k in range(per_island))
        ]
        self._dwell, self._random = dwell, rng
        self._speed = speed
        starts = [rng.choice(self._islands) for _ in range(ferries)]
        self._legs = [(start, 0.0, start, rng.random() * dwell) for start in starts]

    def places(self, now: float) -> list[Place]:
        """Return each node's place."""
        found = list(self._fixed)
        for ferry, leg in enumerate(self._legs):
            start, began, goal, ends = leg
            while now >= ends + self._dwell:
                start, began = goal, ends + self._dwell
                goal = self._random.choice([island for island in self._islands if island != start])
                ends = began + math.dist(start, goal) / self._speed
            self._legs[ferry] = (start, began, goal, ends)
            part = 1.0 if now >= ends else max(0.0, (now - began) / (ends - began))
            found.append((start[0] + (goal[0] - start[0]) * part, start[1] + (goal[1] - start[1]) * part))
        return found


def nodes(options: dict[str, object]) -> int:
    """Return how many nodes a scenario's motion has by itself; 0: the topology says."""
    if options.get("kind") != "ferry":
        return 0
    return int(options["islands"]) * int(options["per_island"]) + int(options["ferries"])  # type: ignore[call-overload]


def plan(result: Run, meet: Callable[[object], None]) -> None:
    """Let nodes move from now on; ``meet`` is called with the edge of two that hear each other."""
    options, world = result.scenario.mobility, result.world
    rng = random.Random(f"{result.seed} motion")  # noqa: S311 (a seeded run)
    reach = float(options.get("reach", 50.0))
    walk: Walk
    if options["kind"] == "waypoint":
        speed = tuple(options.get("speed", [0.5, 1.5]))
        walk = Waypoints(len(world.hosts), float(options["area"]), speed, float(options.get("pause", 60.0)), rng)
    elif options["kind"] == "ferry":
        walk = Ferries(
            int(options["islands"]),
            int(options["per_island"]),
            int(options["ferries"]),
            reach=reach,
            speed=float(options.get("speed", 5.0)),
            dwell=float(options.get("dwell", 120.0)),
            rng=rng,
        )
    else:
        raise MobilityError(f"the motion {options['kind']!r} is not known; waypoint and ferry are")
    Motion(result, walk, reach, float(options.get("step", STEP_S)), meet).step(None)


class Motion:
    """Opens and closes edges as nodes move."""

    def __init__(self, result: Run, walk: Walk, reach: float, every: float, meet: Callable[[object], None]) -> None:
        self._world = result.world
        self._quality = result.quality(result.scenario.link.get("loss", 0.0))
        self._walk, self._reach, self._every, self._meet = walk, reach, every, meet
        self._near: dict[tuple[int, int], float] = {}
        self.contacts = 0

    def step(self, _argument: None) -> None:
        """Look who is near whom now; come again."""
        world, now = self._world, self._world.now
        found = self._pairs(self._walk.places(now))
        for pair in [pair for pair in self._near if pair not in found]:
            del self._near[pair]
            world.edges[pair].up = False
        for pair in found:
            since = self._near.get(pair)
            if since is None:
                self.contacts += 1
                a, b = world.hosts[pair[0]], world.hosts[pair[1]]
                edge = world.edges.get(pair) or world.join(a, b, self._quality, self._quality)
                edge.up = True
            if since is None or now - since >= BEACON_S:
                self._near[pair] = now
                self._meet(world.edges[pair])
        world.agenda.after(self._every, self.step)

    def _pairs(self, places: list[Place]) -> dict[tuple[int, int], None]:
        reach = self._reach
        cells: dict[tuple[int, int], list[int]] = {}
        for node, (x, y) in enumerate(places):
            cells.setdefault((int(x // reach), int(y // reach)), []).append(node)
        found = {}
        for node, (x, y) in enumerate(places):
            column, row = int(x // reach), int(y // reach)
            for i in (-1, 0, 1):
                for j in (-1, 0, 1):
                    for other in cells.get((column + i, row + j), ()):
                        if node < other and math.dist((x, y), places[other]) <= reach:
                            found[node, other] = None
        return found

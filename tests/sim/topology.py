"""Who can hear whom: lines, grids, rings, stars, random geometric graphs, islands, and real city graphs."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qpq.errors import QpqError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

SHARED = "QPQ_SHARED_DATA"
GRAPHS = "freifunk-graphs"
GOOD_TQ = 0.5
"""A link of at least this quality both ways is a good one."""

REACHABLE_LOSS = 0.9
"""A link that loses more is none: nobody can be reached over it."""

# What the real graphs look like, for checkouts without them: nodes, nodes of each degree, the median quality.
KNOWN: dict[str, tuple[int, dict[int, int], float]] = {
    "altdorf": (660, {1: 204, 2: 186, 3: 102, 4: 36, 5: 36, 6: 29, 8: 20, 11: 46, 659: 1}, 1.0),
    "bremen": (833, {1: 359, 2: 166, 3: 114, 4: 77, 5: 36, 6: 19, 8: 28, 9: 30, 190: 2, 231: 2}, 0.96),
    "leipzig": (210, {1: 58, 2: 48, 3: 16, 4: 20, 5: 26, 6: 15, 8: 10, 11: 12, 13: 3, 22: 1, 58: 1}, 1.0),
    "ulm": (217, {2: 148, 3: 46, 4: 13, 5: 3, 45: 3, 54: 2, 75: 2}, 0.32),
    "aachen": (1971, {0: 60, 1: 376, 2: 651, 3: 328, 4: 156, 5: 98, 6: 90, 9: 100, 12: 70, 25: 7, 70: 35}, 1.0),
}


class TopologyError(QpqError):
    """A scenario asks for a topology that cannot be made."""


@dataclass(slots=True)
class Graph:
    """Nodes 0 to ``nodes`` - 1; each edge with its loss there and back; ``note`` says where it comes from."""

    nodes: int
    edges: list[tuple[int, int, float, float]]
    note: str = ""
    places: dict[int, tuple[float, float]] = field(default_factory=dict)

    def degrees(self) -> Counter[int]:
        """Return each node's number of edges."""
        counts: Counter[int] = Counter()
        for a, b, _, _ in self.edges:
            counts[a] += 1
            counts[b] += 1
        return counts

    def components(self, most_loss: float = 1.0) -> list[int]:
        """Return for each node the number of its component, over edges that lose at most ``most_loss`` each way."""
        parent = list(range(self.nodes))

        def root(node: int) -> int:
            while parent[node] != node:
                parent[node] = parent[parent[node]]
                node = parent[node]
            return node

        for a, b, there, back in self.edges:
            if max(there, back) <= most_loss:
                parent[root(a)] = root(b)
        return [root(node) for node in range(self.nodes)]


def make(options: dict[str, Any], loss: float, rng: random.Random) -> Graph:
    """Make the graph a scenario's ``[topology]`` asks for; ``loss`` is that of links which have none of their own."""
    kind = options.get("kind", "line")
    maker = _MAKERS.get(kind)
    if maker is None:
        raise TopologyError(f"the topology {kind!r} is not known; there are {', '.join(sorted(_MAKERS))}")
    return maker(options, loss, rng)


def _even(nodes: int, pairs: list[tuple[int, int]], loss: float, note: str) -> Graph:
    return Graph(nodes, [(a, b, loss, loss) for a, b in pairs], note)


def _line(options: dict[str, Any], loss: float, _rng: random.Random) -> Graph:
    nodes = options["nodes"]
    return _even(nodes, [(n, n + 1) for n in range(nodes - 1)], loss, f"a line of {nodes}")


def _ring(options: dict[str, Any], loss: float, _rng: random.Random) -> Graph:
    nodes = options["nodes"]
    return _even(nodes, [(n, (n + 1) % nodes) for n in range(nodes)], loss, f"a ring of {nodes}")


def _star(options: dict[str, Any], loss: float, _rng: random.Random) -> Graph:
    nodes = options["nodes"]
    return _even(nodes, [(0, n) for n in range(1, nodes)], loss, f"a star of {nodes}")


def _none(options: dict[str, Any], _loss: float, _rng: random.Random) -> Graph:
    return Graph(options["nodes"], [], f"{options['nodes']} nodes apart")


def _grid(options: dict[str, Any], loss: float, _rng: random.Random) -> Graph:
    width, height = options["width"], options["height"]
    pairs = []
    for y in range(height):
        for x in range(width):
            node = y * width + x
            pairs += [(node, node + 1)] if x + 1 < width else []
            pairs += [(node, node + width)] if y + 1 < height else []
    return _even(width * height, pairs, loss, f"a grid of {width} x {height}")


def _geometric(options: dict[str, Any], loss: float, rng: random.Random) -> Graph:
    """Nodes on a square; who is near hears; islands of the graph are joined at their nearest nodes."""
    nodes, degree = options["nodes"], options.get("degree", 6.0)
    reach = math.sqrt(degree / (math.pi * nodes))
    places = {node: (rng.random(), rng.random()) for node in range(nodes)}
    cells: dict[tuple[int, int], list[int]] = {}
    for node, (x, y) in places.items():
        cells.setdefault((int(x / reach), int(y / reach)), []).append(node)
    pairs = []
    for node, (x, y) in places.items():
        column, row = int(x / reach), int(y / reach)
        near = [n for i in (-1, 0, 1) for j in (-1, 0, 1) for n in cells.get((column + i, row + j), ())]
        pairs += [(node, n) for n in near if node < n and math.dist((x, y), places[n]) <= reach]
    graph = _even(nodes, pairs, loss, f"{nodes} nodes at random places, about {degree:.0f} neighbours each")
    graph.places = places
    _join_islands(graph, loss)
    return graph


def _join_islands(graph: Graph, loss: float) -> None:
    islands: dict[int, list[int]] = {}
    for node, root in enumerate(graph.components()):
        islands.setdefault(root, []).append(node)
    main, *others = sorted(islands.values(), key=len, reverse=True)
    for island in others:
        a, b = min(
            ((a, b) for a in island for b in main), key=lambda ab: math.dist(graph.places[ab[0]], graph.places[ab[1]])
        )
        graph.edges.append((a, b, loss, loss))
        main += island


def graph_file(name: str) -> Path | None:
    """Return where a city's graph lies; None: this checkout has none."""
    root = Path(__file__).resolve().parents[3]
    shared = Path(os.environ.get(SHARED) or root / "shared" / "data")
    path = shared / GRAPHS / f"{name}.json"
    return path if path.is_file() else None


def _city(options: dict[str, Any], _loss: float, rng: random.Random) -> Graph:
    name = options["graph"]
    path = graph_file(name)
    graph = _likeness(name, rng) if path is None else _real(name, path)
    cut = options.get("cut", 0)
    return _cut(graph, cut, rng) if cut else graph


def _real(name: str, path: Path) -> Graph:
    document = json.loads(path.read_text())
    links = [link for link in document["links"] if isinstance(link[0], int) and isinstance(link[1], int)]
    known = [tq for link in links for tq in link[2:4] if tq > 0]
    median = statistics.median(known)
    edges = {}
    for a, b, there, back, *_ in links:
        if a != b and (b, a) not in edges:
            edges[a, b] = (a, b, 1 - (there or median), 1 - (back or median))
    note = f"the city graph {name}; unknown qualities are {median}"
    if len(links) < len(document["links"]):
        note += f"; {len(document['links']) - len(links)} links to a node without a number are left out"
    return Graph(document["nodes"], list(edges.values()), note)


def _cut(graph: Graph, nodes: int, rng: random.Random) -> Graph:
    """Return a connected part of a graph, found by walking outward from a random node of its largest component."""
    near: dict[int, list[int]] = {}
    for a, b, _, _ in graph.edges:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    roots = graph.components()
    largest = Counter(roots).most_common(1)[0][0]
    chosen = [rng.choice([node for node, root in enumerate(roots) if root == largest])]
    for node in chosen:
        for other in near[node]:
            if other not in chosen and len(chosen) < nodes:
                chosen.append(other)
    number = {node: index for index, node in enumerate(chosen)}
    edges = [(number[a], number[b], there, back) for a, b, there, back in graph.edges if a in number and b in number]
    return Graph(len(chosen), edges, f"{len(chosen)} nodes out of {graph.note}")


def _likeness(name: str, rng: random.Random) -> Graph:
    """Return a random graph with a city's number of nodes and their degrees: its data are not here."""
    if name not in KNOWN:
        raise TopologyError(f"the graph {name!r} is neither here nor known; {', '.join(KNOWN)} are")
    nodes, degrees, median = KNOWN[name]
    wanted = [degree for degree, count in degrees.items() for _ in range(count)]
    wanted += [2] * (nodes - len(wanted))
    rng.shuffle(wanted)
    edges: dict[tuple[int, int], None] = {}
    left = dict(enumerate(wanted))
    for node in sorted(left, key=lambda n: -left[n]):
        others = [other for other in left if other != node and left[other] > 0 and (other, node) not in edges]
        rng.shuffle(others)
        others.sort(key=lambda n: -min(left[n], 4))
        for other in others[: left[node]]:
            edges[node, other] = None
            left[other] -= 1
        left[node] = 0
    graph = Graph(nodes, [], f"NOT the city graph {name}, whose data are not here: random links, its size and degrees")
    for a, b in edges:
        tq = median if rng.random() < GOOD_TQ else max(0.01, 1 - rng.expovariate(8))
        graph.edges.append((a, b, 1 - tq, 1 - tq))
    return graph


_MAKERS: dict[str, Callable[[dict[str, Any], float, random.Random], Graph]] = {
    "line": _line,
    "ring": _ring,
    "star": _star,
    "grid": _grid,
    "none": _none,
    "geometric": _geometric,
    "graph": _city,
}

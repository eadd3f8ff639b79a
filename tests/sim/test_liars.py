"""Liars in the simulator: each kind can be had, the bound is what honest paths allow, and a few of all do no harm."""

from __future__ import annotations

import random

import pytest

from qpq.mesh.limits import Limits
from sim.figures import figures
from sim.liars import KINDS, SIBLINGS, LiarError, bound, choose, host
from sim.report import Verdict, judge, ranges
from sim.report import bound as bound_told
from sim.run import Run, run
from sim.scenario import load, parse
from sim.topology import Graph
from sim.world import World


def line(nodes: int) -> Graph:
    return Graph(nodes, [(n, n + 1, 0.0, 0.0) for n in range(nodes - 1)])


def test_a_lie_that_is_not_known_is_refused() -> None:
    with pytest.raises(LiarError, match="kindness"):
        host("kindness", World(0), 0, Limits())


def test_mixed_liars_are_of_all_kinds_in_turn_and_a_sybil_has_siblings_with_its_neighbours() -> None:
    graph = line(20)
    scenario = parse({"liars": [{"kind": "mixed", "part": 0.35}]})
    chosen = choose(scenario, graph, random.Random(1))  # noqa: S311 (a seeded run)
    assert set(chosen.values()) == set(KINDS)
    assert graph.nodes == 20 + SIBLINGS
    assert len(chosen) == 7 + SIBLINGS
    assert all(chosen[sibling] == "sybil" and graph.degrees()[sibling] for sibling in range(20, graph.nodes))


def test_the_bound_is_the_part_of_honest_pairs_that_an_honest_path_joins() -> None:
    result = Run(parse({}), 0, World(0), line(5), honest=[True, True, False, True, True])
    assert bound(result) == pytest.approx(4 / 12)
    result.bound = bound(result)
    assert bound_told(result) == ["honest pairs that a path of honest nodes joins: 33.33% (the bound)"]
    result.honest = [True] * 5
    assert bound(result) == 1.0
    assert bound_told(result) == []


def test_what_was_expected_is_told_over_all_seeds() -> None:
    verdicts = [Verdict(seed, "unicast.ratio", ratio, 0.9, 1) for seed, ratio in ((1, 1.0), (2, 0.95), (3, 0.99))]
    assert ranges(verdicts) == ["unicast.ratio: 0.95 to 1, mean 0.98"]


def test_seven_liars_among_a_few_nodes_keep_nothing_from_the_others() -> None:
    result = run(load("hostile-short"), 1)
    found = figures(result)
    assert found["honesty"]["liars"] == 7 + SIBLINGS
    assert [str(verdict) for verdict in judge(result, found) if not verdict.held] == []

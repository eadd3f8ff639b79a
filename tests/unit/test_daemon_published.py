"""The files that a node writes for other programs: metrics, and on a router the numbers for the network map."""

from __future__ import annotations

import json
import logging
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from qpq import __version__
from qpq.daemon.published import MAP_FIRST_SECONDS, MAP_SECONDS, Published

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Node:
    """As much of a node as the files ask for; ``later`` notes who wants to be called, and ``ring`` calls."""

    def __init__(self, metrics_file: str = "") -> None:
        self.config = SimpleNamespace(metrics_file=metrics_file, metrics_interval=60)
        self.log = logging.getLogger("published")
        self.handlers = SimpleNamespace(metrics_text=lambda: "qpq_links 2\n")
        self.links = SimpleNamespace(links=lambda: ("one", "two"))
        self.timers: dict[str, tuple[float, Callable[[], None]]] = {}

    def settled(self) -> Any:
        counts = SimpleNamespace(inbox=7, waiting=5, relayed=3, relayed_bytes=900, used_bytes=4096)
        return SimpleNamespace(counts=lambda: counts)

    def later(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        self.timers[name] = (seconds, callback)

    def ring(self, name: str) -> None:
        self.timers.pop(name)[1]()


@pytest.fixture
def router(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/openwrt_release").touch()
    (tmp_path / "var/run/qpq").mkdir(parents=True)
    return tmp_path


def published(node: Node, root: Path) -> Published:
    return Published(node, str(root))  # type: ignore[arg-type]


def test_a_router_tells_the_map_how_many_neighbours_and_messages_for_others_it_has(router: Path) -> None:
    node = Node()
    published(node, router).begin()
    file = router / "var/run/qpq/respondd.json"
    assert not file.exists()
    assert node.timers["map"][0] == MAP_FIRST_SECONDS
    node.ring("map")
    assert json.loads(file.read_text()) == {"version": __version__, "peers": 2, "relayed": 3, "relayed_bytes": 900}
    assert file.stat().st_mode & 0o777 == 0o644
    assert node.timers["map"][0] == MAP_SECONDS
    node.ring("map")
    assert os.listdir(file.parent) == ["respondd.json"]


def test_a_node_that_stops_leaves_the_map(router: Path) -> None:
    node = Node()
    files = published(node, router)
    files.begin()
    files.end()
    node.ring("map")
    files.end()
    assert os.listdir(router / "var/run/qpq") == []


@pytest.mark.parametrize("missing", ["etc/openwrt_release", "var/run/qpq"])
def test_what_is_no_router_has_no_map(router: Path, missing: str) -> None:
    (router / missing).rename(router / "gone")
    node = Node()
    files = published(node, router)
    files.begin()
    files.end()
    assert node.timers == {}


def test_metrics_are_written_again_and_again_until_nobody_wants_them(tmp_path: Path) -> None:
    target = tmp_path / "qpq.prom"
    node = Node(str(target))
    published(node, tmp_path).begin()
    assert target.read_text() == "qpq_links 2\n"
    assert node.timers["metrics"][0] == 60.0
    target.unlink()
    node.ring("metrics")
    assert target.exists()
    node.config.metrics_file = ""
    node.ring("metrics")
    assert node.timers == {}


def test_a_file_that_cannot_be_written_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = tmp_path / "prometheus/qpq.prom"
    node = Node(str(target))
    published(node, tmp_path).begin()
    for _ in range(3):
        node.ring("metrics")
    assert [record.getMessage() for record in caplog.records] == [
        f"{target} cannot be written: No such file or directory"
    ]
    target.parent.mkdir()
    node.ring("metrics")
    target.unlink()
    target.parent.rmdir()
    node.ring("metrics")
    assert len(caplog.records) == 2

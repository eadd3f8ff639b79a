"""The simulator held against reality: the same part of a city, the same messages, as real daemons and simulated.

A third of the daemons are the static binary where it is built. Real is what can be: processes, sockets, packets
that cables lose and delay; the cables are slow enough that this machine's two cores do not show.
"""

from __future__ import annotations

import os
import random
import select
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mesh import Mesh
from netns import Lab
from node import wait_for

from sim import topology
from sim.run import run
from sim.scenario import parse

if TYPE_CHECKING:
    from qpq.console.client import Client

pytestmark = [
    pytest.mark.net,
    pytest.mark.skipif(
        "QPQ_REALITY" not in os.environ, reason="make sim-reality runs this, without coverage's tracing"
    ),
]

BINARY = Path(__file__).resolve().parents[2] / "dist" / "x86_64" / "qpq"
SEED = 3
NODES = 25
DELAY_S = 0.12
MESSAGES = 120
NEARLY_ALL = MESSAGES * 97 // 100
"""Of the messages; some cables lose nearly everything, and a few messages wait there for minutes."""
OVER_S = 50.0
SETTLE_S = 40.0
TAIL_S = 20.0
WITHIN = 0.2
"""By how much reality and simulator may differ."""

SCENARIO = {
    "name": "reality",
    "links": "dialled",
    "sessions": True,
    "settle": SETTLE_S,
    "duration": OVER_S + TAIL_S,
    "topology": {"kind": "graph", "graph": "bremen", "cut": NODES},
    "link": {"delay": DELAY_S, "jitter": 0.0},
    "nodes": {"limits": "pc"},
    "traffic": [{"kind": "unicast", "count": MESSAGES, "over": OVER_S}],
}


def test_simulator_and_reality_agree_on_delay_and_bytes() -> None:
    simulated = run(parse(dict(SCENARIO)), SEED)
    messages = sorted(simulated.world.record.messages.values(), key=lambda message: message.sent_at)
    begin = simulated.scenario.traffic_at
    plan = [(each.sent_at - begin, each.sender, next(iter(each.recipients))) for each in messages]
    delays = [at - each.sent_at for each in messages for at in each.arrived.values()]
    sent = [
        after - before
        for before, after in zip(simulated.marks["rested"].tx_bytes, simulated.marks["end"].tx_bytes, strict=True)
    ]
    graph = topology.make(SCENARIO["topology"], 0.0, random.Random(f"{SEED} plan"))  # type: ignore[arg-type]  # noqa: S311
    assert graph.edges == simulated.graph.edges
    assert len(delays) >= NEARLY_ALL
    with Lab() as lab, ExitStack() as stack:
        mesh = Mesh(
            lab,
            stack,
            graph.nodes,
            [edge[:2] for edge in graph.edges],
            loss=[list(edge[2:]) for edge in graph.edges],
            delay_ms=DELAY_S * 1000,
            seed=SEED,
            dialled=True,
            programs={n: [str(BINARY)] for n in range(0, NODES, 3)} if BINARY.exists() else {},
        )
        mesh.start()
        time.sleep(SETTLE_S)
        before = sum(sum(cable["quic"]) for cable in mesh.cables.counts())
        real = exchange(mesh, plan, stack)
        time.sleep(TAIL_S)
        real_bytes = sum(sum(cable["quic"]) for cable in mesh.cables.counts()) - before
    print(
        f"delay: simulated {usual(delays):.3f} (mean {statistics.mean(delays):.3f}), "
        f"real {usual(real):.3f} (mean {statistics.mean(real):.3f}); "
        f"bytes: simulated {sum(sent)}, real {real_bytes}"
    )
    assert usual(real) == pytest.approx(usual(delays), rel=WITHIN)
    assert real_bytes == pytest.approx(sum(sent), rel=WITHIN)


def usual(delays: list[float]) -> float:
    """Return the mean without the slowest tenth: those wait for the machine, or for what one cable happened to lose."""
    return statistics.mean(sorted(delays)[: len(delays) * 9 // 10])


def exchange(mesh: Mesh, plan: list[tuple[float, int, int]], stack: ExitStack) -> list[float]:
    """Send the messages of ``plan`` when it is their time; return how long each took until it was shown."""
    watchers: list[Client] = []
    for node in mesh.nodes:
        watcher = node.client()
        stack.callback(watcher.close)
        watcher.request("watch")
        watchers.append(watcher)
    begin = time.monotonic()
    sent: dict[str, float] = {}
    shown: dict[str, float] = {}

    def look(wait: float = 0.0) -> bool:
        for watcher in select.select(watchers, [], [], wait)[0]:
            for event in watcher.receive():
                if event.get("event") == "message":
                    shown.setdefault(str(event["text"]), time.monotonic())
        return len(shown) >= NEARLY_ALL

    for number, (at, sender, recipient) in enumerate(plan):
        while (left := begin + at - time.monotonic()) > 0:
            look(left)
        text = f"{number:04} ".ljust(200, "x")
        sent[text] = time.monotonic()
        mesh.nodes[sender].send(mesh.ids[recipient], text)
    wait_for("nearly every message is shown", look, 60)
    return [shown[text] - sent[text] for text in shown]

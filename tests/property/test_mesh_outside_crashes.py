"""Two meshes and whatever happens on the way between them: each message is delivered once, or its sender is told."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from cores import MemoryStore, Node, World
from joined_meshes import Shuttle, address, mesh
from qpq.errors import QpqError
from qpq.mesh.effects import State
from qpq.mesh.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpq.mesh.records import Operation

DAY = 86_400.0
MESSAGES = 3


class Frail(MemoryStore):
    """A store at whose transaction number ``at`` the node dies, before it or (``after``) right behind it, or fails."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World
        self.node: Node
        self.at = 0
        self.way = "before"
        self.number = 0

    def apply(self, operations: Sequence[Operation]) -> None:
        self.number += 1
        if self.number != self.at:
            super().apply(operations)
            return
        if self.way == "after":
            super().apply(operations)
        if self.way != "fails":
            self.world.after(0.0, lambda: self.world.start(self.node))
            self.world.crash(self.node)
        raise QpqError("no more")


def run(victim: str, way: str, at: int, *, seed: int = 0) -> tuple[int, list[str]]:
    """Send across and back with an accident; return how many transactions the victim made, and what arrived."""
    world = World(seed)
    shuttle = Shuttle(world)
    store = Frail()
    a = mesh(world, "a.example")
    b = mesh(world, "b.example")
    node = world.nodes[victim]
    world.run(5.0)
    store.__dict__.update(node.store.__dict__)
    store.world, store.node, store.way, store.at, store.number = world, node, way, at, 0
    node.store = store
    sent = [world.send(a[0], address(b[0]), str(number), domain="b.example") for number in range(MESSAGES)]
    world.run(60.0)
    for gateway in (a[2], b[2]):
        shuttle._busy.clear()
        shuttle.look(gateway)
    world.run(DAY)
    assert isinstance(a[0].store, MemoryStore)
    assert isinstance(b[0].store, MemoryStore)
    outbox = a[0].store.outbox
    for message in sent:
        told = a[0].states.get((address(a[0]), message), [])
        assert (address(a[0]), message) not in outbox or told[-1] is State.DELIVERED, (victim, way, at, told)
    return store.number, sorted(row.text for row in b[0].store.inbox.values())


@pytest.mark.parametrize("way", ["before", "after", "fails"])
@pytest.mark.parametrize("victim", ["a0", "a1", "a2", "b0", "b1", "b2"])
def test_a_node_that_dies_at_any_transaction_loses_and_doubles_nothing(victim: str, way: str) -> None:
    total, texts = run(victim, way, 0)
    assert texts == [str(number) for number in range(MESSAGES)]
    for at in range(1, total + 1):
        _, texts = run(victim, way, at)
        assert len(set(texts)) == len(texts)
        if victim != "a0":
            assert texts == [str(number) for number in range(MESSAGES)], at


@pytest.mark.parametrize("seed", range(6))
def test_loss_duplicates_and_restarts_of_everybody_lose_and_double_nothing(seed: int) -> None:
    world = World(seed, jitter=0.05, lost_dials=0.2)
    shuttle = Shuttle(world, loss=0.3, twice=0.3)
    a = mesh(world, "a.example", limits=Limits(outward_window=2))
    b = mesh(world, "b.example", gateways=2)
    chance = random.Random(seed)  # noqa: S311 (a seeded run)
    world.run(5.0)
    sent = []
    for number in range(10):
        sent.append(world.send(a[0], address(b[0]), str(number), domain="b.example"))
        victim = chance.choice([*a, *b])
        world.run(chance.random() * 4)
        world.crash(victim)
        world.run(chance.random() * 4)
        world.start(victim)
        for gateway in (a[2], b[1], b[2]):
            shuttle.look(gateway)
    world.run(2 * DAY)
    assert [a[0].states[address(a[0]), message][-1] for message in sent] == [State.DELIVERED] * 10
    assert isinstance(b[0].store, MemoryStore)
    assert sorted(row.text for row in b[0].store.inbox.values()) == sorted(str(number) for number in range(10))

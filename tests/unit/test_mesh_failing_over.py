"""Gateways that go while they have something to carry, or whose uplink leads nowhere: when another gets it."""

from __future__ import annotations

from test_mesh_outside import star, states, texts, two

from cores import MemoryStore
from joined_meshes import address
from qpq.mesh import counters
from qpq.mesh.effects import State


def test_what_is_on_its_way_to_a_gateway_that_goes_is_given_to_the_next_at_once() -> None:
    world, _, b, sender, first, second = star()
    world.deafen(first)
    message = world.send(sender, address(b[0]), domain="b.example")
    world.run(1.0)
    world.crash(first)
    world.run(5.0)
    assert states(sender, message)[-1] is State.DELIVERED
    assert second.counts[counters.OUTWARD_TAKEN] == 1
    assert sender.counts[counters.OUTWARD_FAILED_OVER] == 1


def test_what_is_on_its_way_to_the_only_gateway_waits_where_that_goes() -> None:
    world, _, a, b = two()
    world.deafen(a[2])
    message = world.send(a[0], address(b[0]), domain="b.example")
    world.run(1.0)
    world.crash(a[2])
    world.run(20.0)
    assert states(a[0], message) == [State.QUEUED]
    world.start(a[2])
    world.run(120.0)
    assert states(a[0], message)[-1] is State.DELIVERED
    assert texts(b[0]) == ["hello"]


def test_what_a_gateway_had_is_given_to_another_soon_after_it_goes() -> None:
    world, shuttle, b, sender, first, second = star()
    shuttle.loss = 1.0
    message = world.send(sender, address(b[0]), domain="b.example")
    world.run(5.0)
    assert states(sender, message)[-1] is State.RELAYED
    world.crash(first)
    shuttle.loss = 0.0
    world.run(25.0)
    assert states(sender, message)[-1] is State.DELIVERED
    assert second.counts[counters.OUTWARD_TAKEN] == 1


def test_a_gateway_that_is_only_out_of_reach_for_a_moment_keeps_what_it_has() -> None:
    world, shuttle, a, b = two()
    shuttle.loss = 1.0
    message = world.send(a[0], address(b[0]), domain="b.example")
    world.run(5.0)
    for wire in list(a[1].wires.values()):
        world._close(wire)
    world.run(60.0)
    assert a[0].counts[counters.OUTWARD_SENT] == 1
    shuttle.loss = 0.0
    world.run(120.0)
    assert states(a[0], message)[-1] is State.DELIVERED
    assert a[0].counts[counters.OUTWARD_SENT] == 1


def test_a_gateway_that_has_started_anew_is_given_what_it_had_once_more() -> None:
    world, shuttle, a, b = two()
    shuttle.loss = 1.0
    message = world.send(a[0], address(b[0]), domain="b.example")
    world.run(5.0)
    world.crash(a[2])
    a[2].store = MemoryStore()  # it was in RAM
    shuttle.loss = 0.0
    world.run(2.0)
    world.start(a[2])
    world.run(60.0)
    assert states(a[0], message)[-1] is State.DELIVERED
    assert texts(b[0]) == ["hello"]


def test_where_no_proof_comes_through_one_gateway_another_is_asked() -> None:
    world, shuttle, b, sender, first, second = star()
    look = shuttle.look
    shuttle.look = lambda node: None if node is first else look(node)  # type: ignore[method-assign]
    message = world.send(sender, address(b[0]), domain="b.example")
    world.run(50.0)
    assert states(sender, message) == [State.QUEUED, State.RELAYED]
    world.run(50.0)
    assert states(sender, message)[-1] is State.DELIVERED
    assert (first.counts[counters.OUTWARD_TAKEN], second.counts[counters.OUTWARD_TAKEN]) == (1, 1)
    message = world.send(sender, address(b[0]), domain="b.example")
    world.run(10.0)
    assert states(sender, message)[-1] is State.DELIVERED, "the other is tried first for a while"

"""Gateways that go while they have something to carry, lead nowhere, or have no room: when another gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from test_mesh_outside import HOUR, star, states, texts, two

from cores import MemoryStore, Node, World
from joined_meshes import Shuttle, address, mesh
from qpq.crypto.identity import SecretIdentity
from qpq.errors import QpqError
from qpq.mesh import counters
from qpq.mesh.effects import State
from qpq.mesh.records import FederationInsert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpq.mesh.records import Operation

CARL = SecretIdentity(b"c" * 32)


class Full(MemoryStore):
    """A gateway's store that has no room for one domain."""

    domain = "c.example"

    def apply(self, operations: Sequence[Operation]) -> None:
        if any(isinstance(one, FederationInsert) and one.domain == self.domain for one in operations):
            raise QpqError("no room")
        super().apply(operations)


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


def behind_a_relay() -> tuple[World, list[Node], Node, Node, Full]:
    """A sender, a relay, and a gateway that has no room for c.example."""
    world, store = World(), Full()
    Shuttle(world)
    b = mesh(world, "b.example")
    sender, gateway = world.add("s"), world.add("g", gateway="a.example", store=store)
    world.add("r")
    world.graph([("s", "r"), ("r", "g")])
    world.run(5.0)
    return world, b, sender, gateway, store


def test_a_gateway_that_is_full_of_one_domain_serves_others_and_takes_the_rest_later() -> None:
    world, b, sender, _, store = behind_a_relay()
    sent = [world.send(sender, CARL.address, domain="c.example") for _ in range(60)]  # more than fly at once
    message = world.send(sender, address(b[0]), domain="b.example")
    world.run(60.0)
    assert states(sender, message)[-1] is State.DELIVERED
    assert {sender.states[address(sender), one][-1] for one in sent} <= {State.QUEUED, State.RELAYED}
    store.domain = ""
    world.run(HOUR)
    assert len([row for row in store.federation.values() if row.domain == "c.example"]) == 60


def test_what_one_gateway_has_no_room_for_another_gets() -> None:
    world, _, sender, gateway, _ = behind_a_relay()
    second = world.add("g2", gateway="a.example")
    world.link(gateway, second)
    world.run(10.0)
    for author in (sender, gateway, sender):
        message = world.send(author, CARL.address, domain="c.example")
        world.run(30.0)
        assert states(author, message)[-1] is State.RELAYED
    assert second.counts[counters.OUTWARD_TAKEN] == 3


def test_a_gateway_of_its_own_user_tries_anew_when_there_may_be_room() -> None:
    world, _, _, gateway, store = behind_a_relay()
    world.send(gateway, CARL.address, domain="c.example")
    assert [one.reason for one in gateway.refused] == ["no room"]
    message = world.send(gateway, CARL.address, domain="c.example")
    world.run(5.0)
    store.domain = ""
    world.run(HOUR)
    assert states(gateway, message)[-1] is State.RELAYED


def test_of_domains_without_room_so_many_are_remembered_and_proofs_are_none_of_them() -> None:
    world, _, sender, gateway, _ = behind_a_relay()
    assert gateway.core is not None
    border = gateway.core._crossings.outside.border
    for number in range(100):
        kind, domain = number % 10 == 0, f"d{number}.example"
        row = FederationInsert(int(kind), domain, bytes(32), address(sender), CARL.address, b"", 9, 0)
        border.not_kept(row, world.now)
    assert len(border._full) == 64

"""When memory is short a core uses a part of its caps and takes no custody, loses nothing, and grows back."""

from __future__ import annotations

import pytest
from test_mesh_custody import BERT, COST, ONE, TWO, item
from test_mesh_relaying import core, envelope, give, graph, held, store

from cores import World, plain_world
from flood_kit import Station, broadcast, news
from qpq.crypto.identity import Address, SecretIdentity
from qpq.crypto.sealing import seal
from qpq.mesh import events
from qpq.mesh.effects import SendFrame
from qpq.mesh.flooded import cost_of
from qpq.mesh.limits import Limits, Room
from qpq.mesh.proofs import Proofs
from qpq.mesh.quotas import Quotas
from qpq.mesh.routes import Routes
from qpq.wire.announce import sign_announce
from qpq.wire.body import Body, encode_body
from qpq.wire.envelope import Envelope, envelope_id, sign_envelope
from qpq.wire.frames import Custody, CustodyCode, Transfer
from qpq.wire.query import sign_query
from qpq.wire.receipts import commitment
from routing_net import RoutingNet

WHOLE, TIGHT = events.RoomSet(100, takes=True), events.RoomSet(25, takes=False)
STRANGER, ABSENT = SecretIdentity(b"s" * 32), SecretIdentity(b"a" * 32)


def made(number: int) -> Envelope:
    secret = number.to_bytes(16, "big")
    body = encode_body(Body(secret, "hi", secret))
    sealed = seal(body, sender=STRANGER.address, recipient=ABSENT.address, entropy=b"e" * 32)
    return sign_envelope(
        STRANGER, recipient=ABSENT.address, payload=sealed, commitment=commitment(secret), ttl=86_400, max_hops=32
    )


def codes(world: World, number: int) -> list[CustodyCode]:
    """Have node b bring node a an envelope for somebody who is not here; return what a answers."""
    node, other = world.nodes["a"], world.nodes["b"]
    link = next(link for link, wire in node.wires.items() if wire.other and wire.other.node is other)
    world.tell(node, events.FrameReceived(link, Transfer(0, 1, 0, made(number))))
    world.run(1.0)
    sent = [frame for one, _, frame in world.frames if one == "a" and isinstance(frame, Custody)]
    return [code for frame in sent[-1:] for _, code in frame.answers]


def line(**limits: object) -> World:
    world = plain_world()
    chosen = Limits(**limits)  # type: ignore[arg-type]
    for name in "cab":
        world.add(name, limits=chosen)
    world.find(world.nodes["c"], world.nodes["a"])
    world.find(world.nodes["a"], world.nodes["b"])
    world.run(10.0)
    return world


def test_of_a_cap_at_least_one_is_left() -> None:
    room = Room()
    assert (room.of(100), room.takes) == (100, True)
    room.percent = 25
    assert (room.of(100), room.of(3), room.of(0)) == (25, 1, 1)


# --- custody -------------------------------------------------------------------------------------


def test_a_node_short_of_memory_takes_nothing_for_others_and_says_that_there_is_no_room() -> None:
    world = line()
    node = world.nodes["a"]
    assert node.core is not None
    assert codes(world, 1) == [CustodyCode.ACCEPTED]
    world.tell(node, TIGHT)
    assert codes(world, 2) == [CustodyCode.QUOTA]
    assert node.core.store_rows(world.now).count == 1, "what is kept stays"
    world.tell(node, WHOLE)
    assert codes(world, 3) == [CustodyCode.ACCEPTED]
    assert node.core.store_rows(world.now).count == 2


def test_it_tells_new_neighbours_that_it_has_no_room() -> None:
    world = line()
    node = world.nodes["a"]
    for event, free in ((TIGHT, False), (WHOLE, True)):
        world.tell(node, event)
        greeting = world.tell(node, events.LinkUp(900 + free, STRANGER.identity, "x:1", initiator=False))
        (hello,) = [effect.frame for effect in greeting if isinstance(effect, SendFrame)]
        assert bool(hello.store_free) is free  # type: ignore[union-attr]


def test_its_own_users_write_and_are_written_to_as_before() -> None:
    world = line()
    node, other = world.nodes["a"], world.nodes["b"]
    world.tell(node, TIGHT)
    world.send(other, node.user.address, "to you")
    world.send(node, other.user.address, "from you")
    world.run(2.0)
    assert [deliver.text for deliver in node.delivered] == ["to you"]
    assert [deliver.text for deliver in other.delivered] == ["from you"]


def test_what_a_neighbour_could_not_hand_over_comes_when_there_is_memory_again() -> None:
    world = line()
    far, node, near = (world.nodes[name] for name in "cab")
    world.tell(node, TIGHT)
    world.send(near, far.user.address, "through the narrow place")
    world.run(30.0)
    assert far.delivered == []
    world.tell(node, WHOLE)
    world.run(3_600.0)
    assert [deliver.text for deliver in far.delivered] == ["through the narrow place"]


def test_of_what_is_kept_only_what_neighbours_have_gives_way_the_newest_of_the_largest_first() -> None:
    quotas = Quotas(100 * COST)
    many = [item(number) for number in range(6)]
    few = [item(number, via=TWO, sender=BERT) for number in range(10, 13)]
    for each in [*many, *few]:
        each.give(TWO if each.via == ONE else ONE)
        quotas.add(each, 0)
    alone, words = item(20), item(21)
    words.via = None
    words.give(ONE)  # made here
    for each in (alone, words):
        quotas.add(each, 0)
    assert quotas.surplus() == []
    quotas.resize(7 * COST)
    assert quotas.surplus() == [many[5], many[4], many[3], many[2]]
    quotas.resize(COST)
    assert quotas.surplus() == [*many[::-1], *few[::-1]]


def test_a_node_short_of_memory_lets_go_of_what_it_has_handed_on_and_of_nothing_else() -> None:
    world, nodes = graph("ab bc", relay_bytes=8 * COST)
    node, other = nodes["b"], nodes["a"]
    carried, last = envelope(), envelope(secret=b"t" * 16)
    give(world, node, other, carried, copies=4)
    give(world, node, other, last, copies=1)
    world.run(30.0)
    assert (held(node, carried).given, held(node, last).given) == ((nodes["c"].identity,), ())
    world.tell(node, events.RoomSet(10, takes=False))
    assert [each.envelope_id for each in core(node)._custody.items()] == [envelope_id(last)]
    assert len(store(node).relay) == 1
    assert held(nodes["c"], carried).copies == 2, "it is safe there"


# --- links ---------------------------------------------------------------------------------------


def test_links_stay_and_newcomers_are_refused() -> None:
    world = plain_world()
    nodes = [world.add(name, limits=Limits(max_links=4)) for name in "abcde"]
    for other in nodes[1:4]:
        world.find(other, nodes[0])
    world.run(10.0)
    assert len(nodes[0].linked(world.now)) == 3
    world.tell(nodes[0], events.RoomSet(50, takes=True))
    world.find(nodes[4], nodes[0])
    world.run(10.0)
    assert {node.identity for node in nodes[1:4]} == nodes[0].linked(world.now)
    world.tell(nodes[0], WHOLE)
    world.run(300.0)
    assert len(nodes[0].linked(world.now)) == 4


def test_cores_that_were_given_the_same_limits_have_room_of_their_own() -> None:
    world = line()
    world.tell(world.nodes["b"], TIGHT)
    assert codes(world, 1) == [CustodyCode.ACCEPTED]


# --- routes and queries --------------------------------------------------------------------------


def test_routes_that_nobody_uses_are_forgotten_and_found_again_when_they_are_wanted() -> None:
    world = plain_world()
    hub = world.add("hub", limits=Limits(routes=8))
    leaves = [world.add(f"n{number}") for number in range(4)]
    behind = [world.add(f"m{number}") for number in range(4)]
    for near, far in zip(leaves, behind, strict=True):
        world.find(near, hub)
        world.find(far, near)
    world.run(20.0)
    assert hub.core is not None
    used = behind[2].user.address
    world.send(hub, used, "used")
    world.run(2.0)
    before = len(hub.core.routes(world.now))
    world.tell(hub, events.RoomSet(25, takes=True))
    after = [row.address for row in hub.core.routes(world.now)]
    assert len(after) < before
    assert used in after
    gone = next(node for node in behind if node.user.address not in after)
    world.send(hub, gone.user.address, "still reached")
    world.run(60.0)
    assert [deliver.text for deliver in gone.delivered] == ["still reached"]


def test_of_too_many_routes_those_go_that_are_least_of_use() -> None:
    limits = Limits(routes=4)
    table = Routes(limits)
    for number in range(4):
        owner = SecretIdentity(bytes([number + 1]) * 32)
        announce = sign_announce(owner, node=owner.identity, boot=1, counter=1)
        found, _ = table.add(announce, 1, 1, 0.0)
        assert found is not None
        found.used = float(number)
    assert table.surplus() == []
    limits.room.percent = 50
    assert [each.used for each in table.surplus()] == [0.0, 1.0]


def test_what_was_asked_by_others_is_forgotten_the_oldest_first() -> None:
    net = RoutingNet()
    node, other = net.line(2, askers=8, asked=8)
    net.run(1.0)
    for number in range(8):
        asker = SecretIdentity(bytes([number + 1]) * 32)
        net.inject(other, node, sign_query(asker, Address(bytes([number + 1]) * 32), 1, 1))
    net.run(1.0)
    queries = node.routing.queries
    assert (len(queries._askers), len(queries._asked)) == (8, 8)
    queries._limits.room.percent = 25
    queries.shrink()
    assert (len(queries._askers), len(queries._asked)) == (2, 2)
    assert list(queries._asked) == [Address(bytes([number]) * 32) for number in (7, 8)]


# --- receipts and broadcasts -----------------------------------------------------------------------


def test_receipts_of_envelopes_never_seen_go_at_once_and_others_with_the_next() -> None:
    def name(number: int) -> bytes:
        return number.to_bytes(16, "big") * 2

    proofs = Proofs(16)
    for number in range(8):
        proofs.add_foreign(name(number), b"s" * 16, b"h" * 32, 100)
    for number in range(100, 116):
        proofs.add(name(number), b"s" * 16, b"h" * 32, number, life=0.0, shared=False)
    assert len(proofs) == 20
    proofs.resize(4)
    assert len(proofs) == 17
    assert [number for number in range(8) if proofs.spent(name(number))] == [6]
    assert len(proofs.add(name(200), b"s" * 16, b"h" * 32, 200, life=0.0, shared=False)) == 13
    assert len(proofs) == 5


@pytest.mark.parametrize("percent", [50, 25])
def test_broadcasts_give_way_but_not_those_made_here(percent: int) -> None:
    size = cost_of(len(broadcast("00").payload) + 172)
    station = Station([1, 2], flood_bytes=16 * size)
    station.join()
    for number in range(12):
        station.bring(1 + number % 2, news(broadcast(f"{number:02}")))
    station.post()
    flooded = station.core._flooded
    assert len(flooded) == 13
    station.tell(events.RoomSet(percent, takes=True))
    assert 0 < flooded.size <= flooded.cap == 16 * size * percent // 100
    assert [held.via for held in flooded.held()].count(None) == 1
    assert len(station.store.relay) == len(flooded)
    station.tell(events.RoomSet(1, takes=False))
    assert [held.via for held in flooded.held()] == [None]
    station.tell(events.RoomSet(percent, takes=False))
    station.bring(1, news(broadcast("later")))
    assert "later" in station.shown(), "what comes is read and goes on all the same"
    assert station.to(Transfer)[-1] == 2

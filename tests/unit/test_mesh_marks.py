"""Marks: from which domain a channel's message is, as the gateways of the mesh say there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cores import UNIX_AT_ZERO, MemoryStore, Node, World
from joined_meshes import Shuttle, mesh, slip
from qpq.crypto.channels import ENTROPY_BYTES, channel_id, day_of, day_tag, open_key, seal_broadcast
from qpq.crypto.identity import SecretIdentity
from qpq.mesh import counters, events
from qpq.mesh.effects import BroadcastHeard, OutsideAnswered, Persist
from qpq.mesh.marks import MAX_MARKS
from qpq.mesh.records import InboxInsert, InboxMark
from qpq.wire.body import Body, KeysWanted, encode_body
from qpq.wire.crossing import MarkBody
from qpq.wire.envelope import Envelope, Mode, encode_envelope, sign_envelope
from qpq.wire.frames import Transfer

KEY = open_key("rheinland")
CARL, LIAR = SecretIdentity(b"c" * 32), SecretIdentity(b"l" * 32)
S = b"s" * 16
C, D = "c.example", "d.example"


def said(author: SecretIdentity, body: Body | MarkBody | KeysWanted, *, age: int = 0) -> Envelope:
    """Return an envelope of the channel with any body."""
    timestamp = UNIX_AT_ZERO - age
    tag = day_tag(KEY, day_of(timestamp))
    payload = seal_broadcast(KEY, b"e" * ENTROPY_BYTES, encode_body(body), tag=tag, sender=author.address)
    return sign_envelope(
        author,
        recipient=tag,
        payload=payload,
        commitment=b"c" * 16,
        ttl=3_600,
        max_hops=64,
        timestamp=timestamp,
        mode=Mode.CHANNEL,
    )


def text(number: int = 0, author: SecretIdentity = CARL) -> Envelope:
    return said(author, Body(secret=name(number), text=f"text {number}", message_id=name(number)))


def mark(author: SecretIdentity, domain: str, number: int = 0, sender: SecretIdentity = CARL) -> Envelope:
    return said(author, MarkBody(S, domain, sender.address, name(number)))


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


def come(world: World, gateway: Node, envelope: Envelope, domain: str = C) -> OutsideAnswered:
    """Let a gateway be handed a broadcast."""
    world.tell(gateway, events.FromOutside(b"t", domain, encode_envelope(envelope), 0))
    return [effect for effect in gateway.outside if isinstance(effect, OutsideAnswered)][-1]


def arrive(world: World, node: Node, envelope: Envelope) -> None:
    """Let a neighbour of a node pass on an envelope of anybody's."""
    number = next(iter(node.wires))
    world.tell(node, events.FramesReceived(number, (Transfer(3, 1, 0, envelope),)))


def shown(node: Node) -> list[tuple[str, str]]:
    return [(message.text, message.domain) for message in node.delivered]


def kept(node: Node) -> list[tuple[str, str]]:
    assert isinstance(node.store, MemoryStore)
    return sorted((row.text, row.domain) for row in node.store.inbox.values())


def sharing(gateways: int = 1) -> tuple[World, list[Node]]:
    """A mesh of three in a line that all read a topic; the last are gateways that share it."""
    world = World(plain=True)
    nodes = mesh(world, "b.example", gateways=gateways)
    for node in nodes:
        world.subscribe(node, KEY)
        if node.gateway is not None:
            world.subscribe(node, KEY, user=node.gateway[0])
    world.run(5.0)
    return world, nodes


def test_every_reader_learns_from_which_domain_a_message_is_before_it_comes() -> None:
    world, nodes = sharing()
    world.broadcast(nodes[0], KEY, "ours")
    world.run(5.0)
    assert come(world, nodes[2], text()).reason == ""
    world.run(5.0)
    assert shown(nodes[0]) == [("text 0", C)]
    for node in nodes[1:]:
        assert shown(node) == [("ours", ""), ("text 0", C)]
        assert kept(node) == [("ours", ""), ("text 0", C)]
    assert nodes[1].counts[counters.FLOOD_TAKEN] == 3  # both, and the mark


def test_what_two_gateways_bring_at_once_is_shown_once_and_has_the_first_domain() -> None:
    world, nodes = sharing(gateways=2)
    come(world, nodes[1], text(), C)
    come(world, nodes[2], text(), D)
    world.run(5.0)
    assert shown(nodes[0]) == [("text 0", C)]
    assert shown(nodes[1]) == [("text 0", C)]
    assert shown(nodes[2]) == [("text 0", D)]
    assert come(world, nodes[2], text(), C).reason == ""
    world.run(5.0)
    assert [len(node.delivered) for node in nodes] == [1, 1, 1]


def test_a_mark_goes_to_no_other_domain_and_is_taken_from_none() -> None:
    world = World(plain=True)
    shuttle = Shuttle(world)
    shuttle.sharing = ("a.example", "b.example", C)
    meshes = [mesh(world, domain) for domain in shuttle.sharing]
    for nodes in meshes:
        assert nodes[2].gateway is not None
        world.subscribe(nodes[0], KEY)
        world.subscribe(nodes[2], KEY, user=nodes[2].gateway[0])
    world.run(10.0)
    world.broadcast(meshes[0][0], KEY, "to all")
    world.run(60.0)
    assert [shown(nodes[0]) for nodes in meshes[1:]] == [[("to all", "a.example")], [("to all", "a.example")]]
    assert len(shuttle.shared) == 3  # each pair of domains once
    gateway = meshes[1][2]
    assert "of no channel" in come(world, gateway, mark(LIAR, D)).reason
    heard = [effect for effect in gateway.outside if isinstance(effect, BroadcastHeard)]
    assert heard == []


def test_another_gateway_that_hears_a_broadcast_learns_its_domain_too() -> None:
    world, nodes = sharing(gateways=2)
    come(world, nodes[1], text())
    world.run(5.0)
    heard = [effect.domain for effect in nodes[2].outside if isinstance(effect, BroadcastHeard)]
    assert heard == [C]


def test_a_mark_that_comes_behind_its_message_is_put_on_what_is_kept() -> None:
    world, nodes = sharing()
    gateway = nodes[2].gateway
    assert gateway is not None
    arrive(world, nodes[0], text())
    arrive(world, nodes[0], mark(gateway[0], C))
    assert shown(nodes[0]) == [("text 0", "")]
    assert kept(nodes[0]) == [("text 0", C)]
    arrive(world, nodes[0], mark(LIAR, D))
    assert kept(nodes[0]) == [("text 0", C)]


def test_a_mark_is_put_on_no_message_but_the_one_it_names() -> None:
    world, nodes = sharing()
    world.subscribe(nodes[0], open_key("kitchen"))
    world.send(nodes[1], nodes[0].user.address, "direct", message_id=name(1))
    arrive(world, nodes[0], text())
    arrive(world, nodes[0], said(LIAR, Body(secret=name(0), text="the same id", message_id=name(0))))
    world.run(5.0)
    for number in range(2):
        arrive(world, nodes[0], mark(nodes[2].gateway[0], C, number))  # type: ignore[index]
    assert kept(nodes[0]) == [("direct", ""), ("text 0", C), ("the same id", "")]


def test_who_is_of_this_mesh_is_made_a_stranger_by_no_mark_and_who_is_no_gateway_makes_none() -> None:
    world, nodes = sharing()
    gateway, anna, ben = nodes[2].gateway, nodes[1].user, nodes[0].user
    assert gateway is not None
    arrive(world, nodes[0], mark(gateway[0], C, 1, anna))
    arrive(world, nodes[0], text(1, anna))
    arrive(world, nodes[0], text(2))
    arrive(world, nodes[0], mark(anna, C, 2))
    arrive(world, nodes[0], mark(ben, C, 2))  # who lost the key may know it
    arrive(world, nodes[0], mark(gateway[0], C, 3, ben))
    assert kept(nodes[0]) == [("text 1", ""), ("text 2", "")]
    assert nodes[0].counts[counters.MARK_DOUBTED] == 4
    arrive(world, nodes[0], mark(LIAR, C, 2))  # as from a gateway that is far away
    assert kept(nodes[0]) == [("text 1", ""), ("text 2", C)]


def test_a_mark_is_judged_again_when_its_message_comes() -> None:
    world, nodes = sharing()
    anna = SecretIdentity(b"a" * 32)
    arrive(world, nodes[0], mark(LIAR, C, 1, anna))
    assert nodes[0].counts[counters.MARK_DOUBTED] == 0
    nodes[1].users.append(anna)
    world.tell(nodes[1], events.UserAdded(anna.seed))
    world.run(5.0)
    arrive(world, nodes[0], text(1, anna))
    assert shown(nodes[0]) == [("text 1", "")]


def test_of_marks_whose_messages_do_not_come_the_oldest_are_forgotten() -> None:
    world, nodes = sharing()
    for number in range(MAX_MARKS + 1):
        arrive(world, nodes[0], mark(LIAR, C, number))
        world.run(0.1)
    for number in (0, 1, MAX_MARKS):
        arrive(world, nodes[0], text(number))
    assert shown(nodes[0]) == [("text 0", ""), ("text 1", C), (f"text {MAX_MARKS}", C)]


def test_marks_outlive_a_restart_and_who_begins_to_read_later_has_them_too() -> None:
    world, nodes = sharing()
    come(world, nodes[2], text())
    world.run(5.0)
    world.crash(nodes[1])
    world.start(nodes[1])
    world.run(5.0)
    later = SecretIdentity(b"z" * 32)
    for node in nodes:
        node.users.append(later)
        world.tell(node, events.UserAdded(later.seed))
        world.subscribe(node, KEY, user=later)
    world.run(5.0)
    for node in nodes:
        assert kept(node) == [("text 0", C)] * 2
    assert len(nodes[1].delivered) == 2


@pytest.mark.parametrize("known", [True, False], ids=["a known gateway", "anybody"])
def test_a_mark_that_is_read_back_is_put_on_a_message_only_where_its_gateway_is_known(known: bool) -> None:
    """After a start no route speaks against a liar yet."""
    world, nodes = sharing()
    gateway = nodes[2].gateway
    assert gateway is not None
    world.tell(nodes[0], events.ChannelLeft(nodes[0].user.address, channel_id(KEY)))
    for node in nodes[:2]:
        node.channels.clear()
    arrive(world, nodes[0], text())
    arrive(world, nodes[0], mark(gateway[0] if known else LIAR, C))
    assert kept(nodes[0]) == []
    world.subscribe(nodes[0], KEY)
    world.run(5.0)
    assert kept(nodes[0]) == [("text 0", C if known else "")]


def test_other_words_in_a_channel_are_shown_to_nobody() -> None:
    world, nodes = sharing()
    arrive(world, nodes[0], said(LIAR, KeysWanted(S)))
    assert nodes[0].counts[counters.CHANNEL_UNREADABLE] == 1
    assert "of no channel" in come(world, nodes[2], said(CARL, KeysWanted(S))).reason
    world.run(5.0)
    assert [shown(node) for node in nodes] == [[], [], []]


def test_a_mark_sealed_to_a_user_is_refused() -> None:
    world, nodes = sharing()
    slip(world, nodes[1], nodes[0].user.address, MarkBody(S, C, CARL.address, S))  # type: ignore[arg-type]
    world.run(5.0)
    assert nodes[0].delivered == []
    assert nodes[0].counts[counters.TRANSFER_REFUSED + "unreadable"] == 1


def test_a_mark_that_the_store_could_not_take_with_others_is_written_alone() -> None:
    world, nodes = sharing()
    row = InboxMark(nodes[0].user.address, S, CARL.address, channel_id(KEY), C)
    other = replace(row, message_id=name(1))
    assert nodes[0].core is not None
    insert = InboxInsert(row.user, S, CARL.address, b"e" * 32, "x", False, 0, 7, 130, None, b"c" * 16, C)
    for operations, again in (((row, other), False), ((row, insert), True)):
        effects = world.tell(nodes[0], events.PersistFailed(operations, "full"))
        persists = [effect for effect in effects if isinstance(effect, Persist)]
        assert any(row in effect.operations for effect in persists) is again

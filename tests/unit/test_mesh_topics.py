"""Open channels that domains share: what is broadcast in one mesh is read in all of them, once, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

from cores import UNIX_AT_ZERO, Node, World
from joined_meshes import Shuttle, mesh
from qpq.crypto.channels import ENTROPY_BYTES, channel_id, day_of, day_tag, open_key, seal_broadcast
from qpq.crypto.identity import SecretIdentity
from qpq.mesh import counters, events
from qpq.mesh.effects import BroadcastHeard, OutsideAnswered
from qpq.mesh.limits import Limits
from qpq.wire.body import Body, encode_body
from qpq.wire.envelope import Envelope, Mode, encode_envelope, sign_envelope

KEY, OTHER = open_key("rheinland"), open_key("kitchen")
DOMAINS = ("a.example", "b.example", "c.example")
CARL = SecretIdentity(b"c" * 32)


def listen(world: World, node: Node, key: bytes = KEY) -> None:
    """Let a gateway read a channel for other domains, also after a restart."""
    assert node.gateway is not None
    world.subscribe(node, key, user=node.gateway[0])


def texts(node: Node) -> list[str]:
    return [message.text for message in node.delivered]


def heard(node: Node) -> list[BroadcastHeard]:
    return [effect for effect in node.outside if isinstance(effect, BroadcastHeard)]


def answers(node: Node) -> list[OutsideAnswered]:
    return [effect for effect in node.outside if isinstance(effect, OutsideAnswered)]


def made(text: str = "hello", *, key: bytes = KEY, ttl: int = 3_600, timestamp: int = UNIX_AT_ZERO) -> Envelope:
    """Return a broadcast of Carl's, who is of another domain."""
    tag = day_tag(key, day_of(timestamp))
    plain = encode_body(Body(secret=b"m" * 16, text=text, message_id=text.encode().ljust(16, b".")[:16]))
    payload = seal_broadcast(key, b"e" * ENTROPY_BYTES, plain, tag=tag, sender=CARL.address)
    return sign_envelope(
        CARL,
        recipient=tag,
        payload=payload,
        commitment=b"c" * 16,
        ttl=ttl,
        max_hops=64,
        timestamp=timestamp,
        mode=Mode.CHANNEL,
    )


def come(world: World, node: Node, envelope: Envelope, *, domain: str = "c.example", age: int = 0) -> OutsideAnswered:
    world.tell(node, events.FromOutside(b"t", domain, encode_envelope(envelope), age))
    return answers(node)[-1]


def sharing(limits: Limits | None = None) -> tuple[World, Node, Node]:
    """A mesh of three in a line whose last is a gateway that shares a topic; the first reads it."""
    world = World(plain=True)
    node, _, gateway = mesh(world, "b.example", limits=limits)
    world.subscribe(node, KEY)
    listen(world, gateway)
    world.run(5.0)
    return world, node, gateway


def test_a_topic_joins_the_domains_that_share_it_and_nothing_else_crosses() -> None:
    world = World(plain=True)
    shuttle = Shuttle(world)
    shuttle.sharing = DOMAINS
    meshes = [mesh(world, domain) for domain in DOMAINS]
    for nodes in meshes:
        listen(world, nodes[2])
        for node in nodes[:2]:
            world.subscribe(node, KEY)
            world.subscribe(node, OTHER)
    world.run(10.0)
    world.broadcast(meshes[0][0], KEY, "to all")
    world.broadcast(meshes[0][0], OTHER, "to us")
    world.broadcast(meshes[1][1], KEY, "from b")
    world.send(meshes[0][1], meshes[0][0].user.address, "private")
    world.run(60.0)
    assert {node.name: sorted(texts(node)) for nodes in meshes for node in nodes[:2]} == {
        "a0": ["from b", "private"],
        "a1": ["from b", "to all", "to us"],
        "b0": ["from b", "to all"],
        "b1": ["to all"],
        "c0": ["from b", "to all"],
        "c1": ["from b", "to all"],
    }
    assert not shuttle.carried
    assert len(shuttle.shared) == 2 * 3  # each pair of domains once a broadcast


def test_what_another_domain_brings_is_told_to_the_next_only_after_a_restart() -> None:
    world, node, gateway = sharing()
    assert come(world, gateway, made()).reason == ""
    world.run(5.0)
    assert texts(node) == ["hello"]
    assert heard(gateway) == []
    world.crash(gateway)
    world.start(gateway)
    world.run(5.0)
    assert [effect.envelope for effect in heard(gateway)] == [encode_envelope(made())]


def test_who_begins_to_share_a_topic_tells_what_is_alive_of_it() -> None:
    world = World(plain=True)
    node, _, gateway = mesh(world, "b.example")
    world.subscribe(node, KEY)
    world.run(5.0)
    world.broadcast(node, KEY, "before")
    world.run(5.0)
    assert heard(gateway) == []
    listen(world, gateway)
    world.run(5.0)
    assert len(heard(gateway)) == 1


def test_a_gateways_own_users_are_heard_and_read_too() -> None:
    world, node, gateway = sharing()
    world.subscribe(gateway, KEY)
    world.broadcast(gateway, KEY, "mine")
    come(world, gateway, made())
    world.run(5.0)
    assert texts(node) == ["mine", "hello"]
    assert texts(gateway) == ["hello"]
    assert len(heard(gateway)) == 1


def test_what_is_of_no_shared_channel_or_forged_or_old_is_refused_for_good() -> None:
    world, node, gateway = sharing()
    world.subscribe(gateway, OTHER)
    forged = replace(made(), signature=bytes(64))
    wrong = replace(made(), payload=made().payload[:-1] + b"\0")
    for envelope, says in (
        (made(key=OTHER), "of no channel"),
        (made(key=open_key("a third")), "of no channel"),
        (wrong, "of no channel"),
        (forged, "not signed"),
        (made("old", timestamp=0), ""),
    ):
        answer = come(world, gateway, envelope, age=3_600 if not says else 0)
        assert (answer.retry, says in answer.reason, bool(answer.reason)) == (False, True, True)
    assert not come(world, world.nodes["b1"], made()).retry  # no gateway
    world.run(5.0)
    assert texts(node) == []


def test_an_age_that_clocks_disprove_is_not_believed() -> None:
    world, node, gateway = sharing()
    world.run(100.0)
    assert come(world, gateway, made(ttl=50)).reason == "its time is over"
    assert come(world, gateway, made(ttl=5_000), age=4_990).reason == ""
    world.run(60.0)
    assert texts(node) == ["hello"]


def test_what_comes_twice_is_taken_once() -> None:
    world, node, gateway = sharing()
    for _ in range(3):
        assert come(world, gateway, made()).reason == ""
    world.run(5.0)
    assert texts(node) == ["hello"]
    assert gateway.counts[counters.FLOOD_TAKEN] == 1


def test_a_domain_has_the_rate_of_one_neighbour() -> None:
    world, _, gateway = sharing(Limits(flood_rate=600.0, flood_sender_percent=100))
    taken = [come(world, gateway, made(f"{number}")).retry for number in range(20)]
    assert taken[0] is False
    assert taken[-1] is True
    assert come(world, gateway, made("x"), domain="d.example").retry is False
    for number in range(70):
        come(world, gateway, made("x"), domain=f"d{number}.example")
    world.run(30.0)
    assert come(world, gateway, made("later")).retry is False


def test_what_other_domains_bring_takes_half_of_the_room_at_most() -> None:
    world, node, gateway = sharing(Limits(flood_bytes=8_192))
    for number in range(30):
        come(world, gateway, made(f"{number} " + 200 * "x"))
        world.run(1.0)
    world.broadcast(node, KEY, "ours")
    world.run(5.0)
    assert gateway.core is not None
    shares = {via is not None and via.startswith(bytes(8)): size for via, _, size in gateway.core._flooded.shares()}
    assert 0 < shares[True] <= 4_096
    assert len(heard(gateway)) == 1


def test_a_channel_that_is_left_is_shared_no_more() -> None:
    world, _, gateway = sharing()
    assert gateway.gateway is not None
    world.tell(gateway, events.ChannelLeft(gateway.gateway[0].address, channel_id(KEY)))
    assert "of no channel" in come(world, gateway, made()).reason

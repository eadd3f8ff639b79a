"""Who gets a place on a full node."""

from __future__ import annotations

from cores import World
from qpq.crypto.identity import Identity
from qpq.mesh.admission import admit
from qpq.mesh.events import LinkUp
from qpq.mesh.limits import Limits
from qpq.mesh.links import Link
from qpq.wire.frames import CloseCode, Hello, Role

LIMITS = Limits(turn_s=600.0, full_retry_s=60)


def link(number: int, *, links: int, role: Role = Role.RELAY, at: float = 0.0) -> Link:
    made = Link(LinkUp(number, Identity(number.to_bytes(32, "big")), "x:1", initiator=False), LIMITS, at)
    made.greeted(Hello(1, 1, 0, 1, 0, False, 0, links, role, 33_024, 0), at)
    return made


def test_a_peer_with_no_other_link_takes_the_place_of_the_one_with_the_most() -> None:
    others = [link(1, links=3), link(2, links=9), link(3, links=0)]
    verdict = admit(link(4, links=0), others, LIMITS, 1.0)
    assert (verdict.link, verdict.code, verdict.retry_after) == (others[1], CloseCode.FULL, 60)


def test_a_peer_with_no_other_link_never_displaces_another_such_peer() -> None:
    newcomer = link(4, links=0)
    verdict = admit(newcomer, [link(1, links=0), link(2, links=0)], LIMITS, 1e9)
    assert (verdict.link, verdict.code) == (newcomer, CloseCode.FULL)


def test_a_peer_that_has_other_links_waits_when_the_node_is_full() -> None:
    newcomer = link(4, links=1)
    assert admit(newcomer, [link(1, links=50)], LIMITS, 1e9).link is newcomer


def test_of_peers_with_as_many_links_the_oldest_gives_way() -> None:
    others = [link(1, links=5, at=20.0), link(2, links=5, at=10.0)]
    assert admit(link(4, links=0), others, LIMITS, 30.0).link is others[1]


def test_leaves_take_turns_and_the_longest_turn_ends_first() -> None:
    others = [link(1, links=2, role=Role.LEAF, at=50.0), link(2, links=2, role=Role.LEAF, at=0.0), link(3, links=9)]
    verdict = admit(link(4, links=1, role=Role.LEAF), others, LIMITS, 700.0)
    assert (verdict.link, verdict.code, verdict.retry_after) == (others[1], CloseCode.TURN_OVER, 600)


def test_a_leaf_keeps_its_place_for_its_whole_turn() -> None:
    newcomer = link(4, links=1, role=Role.LEAF)
    assert admit(newcomer, [link(1, links=2, role=Role.LEAF)], LIMITS, 599.0).link is newcomer
    assert admit(newcomer, [link(1, links=2, role=Role.LEAF)], LIMITS, 600.0).link is not newcomer


def test_leaves_do_not_take_the_places_of_relays() -> None:
    newcomer = link(4, links=1, role=Role.LEAF)
    assert admit(newcomer, [link(1, links=2)], LIMITS, 1e6).link is newcomer


def test_a_full_node_refuses_newcomers_that_have_other_links() -> None:
    world = World()
    hub = world.add("hub", limits=Limits(max_links=2, target_links=0))
    nodes = [world.add(f"n{number}") for number in range(4)]
    world.find(nodes[3], nodes[2])
    world.run(1.0)
    for node in (nodes[0], nodes[1], nodes[3]):
        world.find(node, hub)
        world.run(1.0)
    assert hub.linked(world.now) == {nodes[0].identity, nodes[1].identity}
    assert hub.counts["link.refused_full"] == 1
    (row,) = [row for row in nodes[3].core.peers(world.now) if row.identity == hub.identity]  # type: ignore[union-attr]
    assert row.reason == "peer said FULL: no place free"
    assert row.retry_at >= world.now + 58


def test_on_a_full_node_the_lonely_newcomer_gets_the_place_of_a_well_linked_peer() -> None:
    world = World()
    hub = world.add("hub", limits=Limits(max_links=1, target_links=0))
    rich, friend, lonely = (world.add(name) for name in ("rich", "friend", "lonely"))
    world.find(rich, friend)
    world.run(1.0)
    world.find(rich, hub)
    world.run(1.0)
    world.find(lonely, hub)
    world.run(1.0)
    assert hub.linked(world.now) == {lonely.identity}
    assert hub.counts["link.gave_way"] == 1
    assert rich.linked(world.now) == {friend.identity}


def test_a_peer_at_a_kept_address_always_gets_a_place_and_never_gives_way() -> None:
    world = World()
    hub = world.add("hub", limits=Limits(max_links=1, target_links=0))
    first, kept, lonely = (world.add(name) for name in ("first", "kept", "lonely"))
    world.find(first, hub)
    world.run(1.0)
    hub.static = (kept.address,)
    world.crash(hub)
    world.run(0.1)
    world.start(hub)
    world.run(90.0)
    assert hub.linked(world.now) == {kept.identity}
    world.find(lonely, hub)
    world.run(1.0)
    assert kept.identity in hub.linked(world.now)
    assert lonely.identity not in hub.linked(world.now)


def test_leaves_take_turns_on_a_real_hub() -> None:
    world = World()
    hub = world.add("hub", limits=Limits(max_links=2, target_links=0))
    leaves = [world.add(f"leaf{number}", role=Role.LEAF) for number in range(4)]
    seen: set[bytes] = set()
    for leaf in leaves:
        world.find(leaf, hub)
    for _ in range(120):
        world.run(60.0)
        linked = hub.linked(world.now)
        assert len(linked) <= 2
        seen |= linked
    assert seen == {leaf.identity for leaf in leaves}
    assert hub.counts["link.gave_way"] >= 4

"""Messages between meshes, through gateways whose relays a shuttle stands for: what users see."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cores import MemoryStore, Node, World
from joined_meshes import Shuttle, address, mesh
from qpq.crypto.identity import Address, SecretIdentity
from qpq.mesh import counters, events
from qpq.mesh.effects import InsideProof, LookupDone, Outward, State
from qpq.mesh.limits import Limits
from qpq.mesh.records import FederationInsert, Kept
from qpq.wire.frames import Receipt
from qpq.wire.frames_mesh import Announce, Query, Route

HOUR = 3_600.0


def two(seed: int = 0, *, asks: bool = False, **options: object) -> tuple[World, Shuttle, list[Node], list[Node]]:
    """Two meshes of three; the last node of each is a gateway."""
    world = World(seed, asks=asks)
    shuttle = Shuttle(world)
    a, b = mesh(world, "a.example", **options), mesh(world, "b.example", **options)
    world.run(5.0)
    return world, shuttle, a, b


def states(node: Node, message: bytes) -> list[State]:
    return node.states[address(node), message]


def texts(node: Node) -> list[str]:
    return [message.text for message in node.delivered]


def test_a_message_crosses_and_its_receipt_comes_back() -> None:
    world, shuttle, a, b = two()
    message = world.send(a[0], address(b[0]), "hallo", domain="b.example")
    world.run(30.0)
    assert [(one.text, one.domain, one.sender) for one in b[0].delivered] == [("hallo", "a.example", address(a[0]))]
    assert states(a[0], message) == [State.QUEUED, State.RELAYED, State.DELIVERED]
    assert len(shuttle.carried) == 2
    answer = world.send(b[0], address(a[0]), "selber hallo", domain="a.example")
    world.run(30.0)
    assert texts(a[0]) == ["selber hallo"]
    assert states(b[0], answer)[-1] is State.DELIVERED


@pytest.mark.parametrize(("here", "there"), [(2, 2), (2, 0), (0, 2)])
def test_users_of_the_gateways_themselves_write_and_read_too(here: int, there: int) -> None:
    world, _, a, b = two()
    message = world.send(a[here], address(b[there]), domain="b.example")
    world.run(30.0)
    assert texts(b[there]) == ["hello"]
    assert b[there].delivered[0].domain == "a.example"
    assert states(a[here], message) == [State.QUEUED, State.RELAYED, State.DELIVERED]


def test_a_user_here_with_that_key_is_written_to_here() -> None:
    world, shuttle, a, _ = two()
    message = world.send(a[0], address(a[0]), domain="b.example")
    assert states(a[0], message)[-1] is State.DELIVERED
    assert not shuttle.carried


def test_nothing_but_what_is_addressed_outside_leaves_a_mesh() -> None:
    world, shuttle, a, b = two()
    world.subscribe(a[0], b"k" * 32)
    world.broadcast(a[0], b"k" * 32)
    world.send(a[0], address(a[1]))
    world.send(a[0], address(b[0]))
    world.run(HOUR)
    assert not shuttle.carried
    assert not b[0].delivered
    assert not [one for one in a[2].outside if isinstance(one, Outward | InsideProof)]


def test_within_a_mesh_nobody_sees_sender_or_recipient_of_what_crosses() -> None:
    world, _, a, b = two()
    world.frames.clear()
    message = world.send(a[0], address(b[0]), domain="b.example")
    world.run(30.0)
    assert states(a[0], message)[-1] is State.DELIVERED
    targets = [frame.target for _, _, frame in world.frames if isinstance(frame, Query)]
    announced = [frame.address for _, _, frame in world.frames if isinstance(frame, Announce)]
    routes = [frame.announce.address for _, _, frame in world.frames if isinstance(frame, Route)]
    assert address(b[0]) not in targets
    for name, _, frame in world.frames:
        if name.startswith("a"):
            assert not isinstance(frame, Receipt) or len(frame.proofs) < 3
    assert not {node.user.address for node in b} & {*announced, *routes} & {node.user.address for node in a}


def test_a_message_waits_for_a_gateway_and_for_the_way_to_it() -> None:
    world = World(asks=False)
    Shuttle(world)
    a, b = mesh(world, "a.example"), mesh(world, "b.example")
    world.crash(a[2])
    world.run(5.0)
    message = world.send(a[0], address(b[0]), domain="b.example")
    world.run(100.0)
    assert states(a[0], message) == [State.QUEUED]
    assert a[0].core is not None
    row = a[0].core.message(address(a[0]), message)
    assert row is not None
    assert (row.domain, row.state) == ("b.example", State.QUEUED)
    world.start(a[2])
    world.run(HOUR)
    assert states(a[0], message)[-1] is State.DELIVERED


def test_a_gateway_farther_than_announces_go_is_found_by_one_query() -> None:
    world = World(asks=False)
    Shuttle(world)
    b = mesh(world, "b.example")
    names = [f"a{number}" for number in range(9)]
    for name in names:
        world.add(name, gateway="a.example" if name == "a8" else "")
    world.graph(pairwise(names))
    world.run(10.0)
    far = world.nodes["a0"]
    message = world.send(far, address(b[0]), domain="b.example")
    world.run(60.0)
    assert states(far, message)[-1] is State.DELIVERED
    assert far.counts[counters.QUERY_MADE] == 1


def star(*, asks: bool = False, **limits: object) -> tuple[World, Shuttle, list[Node], Node, Node, Node]:
    """Another mesh, and a sender with two gateways: g1 beside it, g2 behind r."""
    world = World(asks=asks)
    shuttle = Shuttle(world)
    b = mesh(world, "b.example")
    sender = world.add("s", limits=Limits(**limits))  # type: ignore[arg-type]
    first, second = world.add("g1", gateway="a.example"), world.add("g2", gateway="a.example")
    world.add("r")
    world.graph([("s", "g1"), ("s", "r"), ("r", "g2")])
    world.run(5.0)
    return world, shuttle, b, sender, first, second


def test_the_nearest_gateway_is_taken_the_next_where_it_is_silent_and_the_nearest_again_once_it_is_back() -> None:
    world, _, b, sender, first, second = star()
    message = world.send(sender, address(b[0]), "1", domain="b.example")
    world.run(10.0)
    assert states(sender, message)[-1] is State.DELIVERED
    assert (first.counts[counters.OUTWARD_TAKEN], second.counts[counters.OUTWARD_TAKEN]) == (1, 0)
    world.deafen(first)
    message = world.send(sender, address(b[0]), "2", domain="b.example")
    world.run(60.0)
    assert states(sender, message)[-1] is State.DELIVERED
    assert second.counts[counters.OUTWARD_TAKEN] == 1
    assert sender.counts[counters.OUTWARD_FAILED_OVER] == 1
    quick = world.send(sender, address(b[0]), "3", domain="b.example")
    world.run(10.0)
    assert states(sender, quick)[:2] == [State.QUEUED, State.RELAYED]  # its proof may come by the silent one
    world.undeafen(first)
    world.run(900.0)
    assert states(sender, quick)[-1] is State.DELIVERED
    message = world.send(sender, address(b[0]), "4", domain="b.example")
    world.run(10.0)
    assert states(sender, message)[-1] is State.DELIVERED
    assert second.counts[counters.OUTWARD_TAKEN] == 2
    assert texts(b[0]) == ["1", "2", "3", "4"]


def test_the_only_gateway_is_waited_for_and_catches_up() -> None:
    world, _, a, b = two()
    world.deafen(a[2])
    sent = [world.send(a[0], address(b[0]), str(number), domain="b.example") for number in range(5)]
    world.run(600.0)
    assert all(states(a[0], message) == [State.QUEUED] for message in sent)
    world.undeafen(a[2])
    world.run(HOUR)
    assert all(states(a[0], message)[-1] is State.DELIVERED for message in sent)
    assert sorted(texts(b[0])) == [str(number) for number in range(5)]


def test_only_so_much_is_on_its_way_to_gateways_at_once() -> None:
    world, _, a, b = two(limits=Limits(outward_window=2))
    sent = [world.send(a[0], address(b[0]), str(number), domain="b.example") for number in range(7)]
    assert a[0].core is not None
    assert len(a[0].core._crossings.outside.leaving._flying) == 2
    world.run(60.0)
    assert all(states(a[0], message)[-1] is State.DELIVERED for message in sent)


def test_what_leaves_goes_in_a_session_once_there_is_one() -> None:
    world, _, a, b = two()
    world.send(a[0], address(b[0]), "1", domain="b.example")
    world.run(60.0)
    assert a[2].counts[counters.KEYS_TOLD] == 1
    world.send(a[0], address(b[0]), "2", domain="b.example")
    world.run(60.0)
    assert a[2].counts[counters.SESSION_TAKEN] == 1
    world.send(a[0], address(b[0]), "3", domain="b.example")
    world.run(60.0)
    assert texts(b[0]) == ["1", "2", "3"]
    assert b[0].counts[counters.KEYS_TOLD] == 0
    world.run(25 * HOUR)
    world.send(a[0], address(b[0]), "4", domain="b.example")
    world.run(60.0)
    assert a[2].counts[counters.SESSION_TURNED] == 1


def test_a_gateway_that_lost_its_sessions_gets_the_message_in_a_new_one() -> None:
    world, _, a, b = two()
    for text in ("1", "2"):
        world.send(a[0], address(b[0]), text, domain="b.example")
        world.run(60.0)
    world.crash(a[2])
    a[2].store = MemoryStore()
    world.start(a[2])
    world.run(30.0)
    message = world.send(a[0], address(b[0]), "3", domain="b.example")
    world.run(HOUR)
    assert states(a[0], message)[-1] is State.DELIVERED
    assert texts(b[0]) == ["1", "2", "3"]


def test_a_message_for_the_own_domain_is_refused_with_what_to_do() -> None:
    world, _, a, b = two()
    for sender in (a[0], a[2]):
        message = world.send(sender, address(b[0]), domain="a.example")
        world.run(10.0)
        assert states(sender, message)[-1] is State.REFUSED
        assert "send without it" in sender.reasons[0]
        assert isinstance(sender.store, MemoryStore)
        assert sender.store.state(address(sender), message) is State.REFUSED


def test_what_no_relay_carries_is_refused_once_every_gateway_has_said_so() -> None:
    world, shuttle, b, sender, first, second = star()
    shuttle.refuse = lambda row: f"no relay for {row.domain}" if row.domain == "c.example" else ""
    message = world.send(sender, address(b[0]), domain="c.example")
    world.run(60.0)
    assert states(sender, message) == [State.QUEUED, State.RELAYED, State.REFUSED]
    assert sender.reasons == ["no relay for c.example"]
    assert (first.counts[counters.OUTWARD_TAKEN], second.counts[counters.OUTWARD_TAKEN]) == (1, 1)


def test_a_message_that_its_recipient_blocks_is_refused() -> None:
    world, _, a, b = two()
    world.tell(b[0], events.BlockedSet(address(b[0]), frozenset({address(a[0])})))
    world.tell(b[2], events.BlockedSet(address(b[2]), frozenset({address(a[0])})))
    near = world.send(a[0], address(b[0]), domain="b.example", ttl=600)
    message = world.send(a[0], address(b[2]), domain="b.example")
    world.run(30.0)
    assert not b[0].delivered
    assert not b[2].delivered
    assert states(a[0], message)[-1] is State.REFUSED
    assert a[0].reasons == ["the recipient does not take it"]
    world.run(HOUR)
    assert states(a[0], near)[-1] is State.EXPIRED


def test_one_user_cannot_flood_a_gateway() -> None:
    limits = Limits(outward_rate=0.01, outward_burst=2)
    world, _, a, b = two(limits=limits)
    for sender in (a[0], a[2]):
        sent = [world.send(sender, address(b[0]), str(number), domain="b.example") for number in range(4)]
        world.run(20.0)
        assert [states(sender, message)[-1] for message in sent].count(State.DELIVERED) == 2
        world.run(2 * HOUR)
        assert all(states(sender, message)[-1] is State.DELIVERED for message in sent)
    assert a[2].counts[counters.OUTWARD_OVER_RATE] >= 4


def test_of_users_that_a_gateway_counts_the_oldest_is_forgotten() -> None:
    world, _, a, b = two(limits=Limits(outward_users=1))
    for sender in a:
        world.send(sender, address(b[0]), domain="b.example")
    world.run(60.0)
    assert a[2].core is not None
    assert len(a[2].core._crossings.outside.border._rates) == 1


def test_a_message_without_proof_is_sent_once_more() -> None:
    world, shuttle, a, b = two()
    shuttle.loss = 1.0
    message = world.send(a[0], address(b[0]), domain="b.example")
    world.run(600.0)
    shuttle.loss = 0.0
    shuttle._busy.clear()
    assert states(a[0], message) == [State.QUEUED, State.RELAYED]
    world.run(5 * HOUR)
    assert states(a[0], message) == [State.QUEUED, State.RELAYED, State.DELIVERED]
    assert a[0].counts[counters.OUTWARD_SENT] >= 2
    assert texts(b[0]) == ["hello"]


def test_a_message_that_never_gets_there_expires() -> None:
    world, _, a, b = two()
    world.deafen(b[1])
    message = world.send(a[0], address(b[0]), domain="b.example", ttl=100)
    world.run(200.0)
    world.undeafen(b[1])
    world.run(3 * HOUR)
    assert states(a[0], message) == [State.QUEUED, State.RELAYED, State.EXPIRED]
    assert not texts(b[0])
    assert a[0].core is not None
    assert not a[0].core._crossings.outside.leaving._trips


def test_a_message_that_no_gateway_takes_expires_with_what_carries_it() -> None:
    world, _, a, b = two(limits=Limits(outward_window=1))
    world.deafen(a[2])
    first = world.send(a[0], address(b[0]), domain="b.example", ttl=20)
    second = world.send(a[0], address(b[0]), domain="b.example", ttl=10)
    world.run(25.0)
    assert states(a[0], first) == states(a[0], second) == [State.QUEUED, State.EXPIRED]
    world.undeafen(a[2])
    world.run(HOUR)
    assert a[0].core is not None
    assert not len(a[0].core._custody)
    assert not a[0].core._crossings.outside.leaving._trips
    assert not a[0].core._crossings.outside.leaving._flying


def test_of_those_that_wait_their_turn_the_expired_are_left_out() -> None:
    world, _, a, b = two(limits=Limits(outward_window=1))
    world.deafen(a[1])
    world.send(a[0], address(b[0]), "1", domain="b.example")
    world.send(a[0], address(b[0]), "2", domain="b.example", ttl=5)
    world.send(a[0], address(b[0]), "3", domain="b.example")
    world.run(8.0)
    world.undeafen(a[1])
    world.run(60.0)
    assert texts(b[0]) == ["1", "3"]


def test_a_parcel_that_could_not_be_stored_is_made_again() -> None:
    world = World(asks=False)
    Shuttle(world)
    b = mesh(world, "b.example")
    store = MemoryStore()
    sender, gateway = world.add("s", store=store), world.add("g")
    world.link(sender, gateway)
    world.run(5.0)
    message = world.send(sender, address(b[0]), domain="b.example")
    world.run(1.0)
    store.room = 1
    world.tell(gateway, events.UserAdded(b"g" * 32, gateway="a.example"))
    world.run(10.0)
    assert states(sender, message) == [State.QUEUED]
    store.room = 1 << 30
    gateway.gateway = (SecretIdentity(b"g" * 32), "a.example")
    world.run(60.0)
    assert states(sender, message)[-1] is State.DELIVERED


def test_a_full_store_refuses_what_would_leave() -> None:
    world, _, a, b = two()
    assert isinstance(a[0].store, MemoryStore)
    a[0].store.room = 0
    world.send(a[0], address(b[0]), domain="b.example")
    assert [refused.reason for refused in a[0].refused] == ["the store is full"]
    assert a[0].core is not None
    assert not a[0].core._crossings.outside.leaving._trips


def test_another_gateway_that_comes_changes_nothing_for_what_is_on_its_way() -> None:
    world, shuttle, b, sender, first, second = star(lookup_s=100.0, gateway_s=60.0)
    world.crash(second)
    world.run(10.0)
    world.deafen(first)
    shuttle.names["bert", "b.example"] = address(b[0])
    message = world.send(sender, address(b[0]), domain="b.example")
    world.tell(sender, events.Lookup(address(sender), b"t" * 16, "bert", "b.example"))
    world.start(second)
    world.run(20.0)
    assert states(sender, message) == [State.QUEUED]
    world.undeafen(first)
    world.run(70.0)
    assert states(sender, message)[-1] is State.DELIVERED
    assert [one.address for one in sender.outside if isinstance(one, LookupDone)] == [address(b[0])]


def test_what_becomes_of_a_capsule_nobody_waits_for_is_of_no_interest() -> None:
    world, _, a, b = two()
    world.deafen(a[1])
    world.send(a[0], address(b[0]), domain="b.example")
    assert a[0].core is not None
    leaving = a[0].core._crossings.outside.leaving
    (capsule,) = leaving._flying.values()
    trip = leaving._trips.pop(capsule.about)
    capsule.ended(world.now)
    capsule.undone()
    assert trip.capsule is capsule
    assert not leaving._flying


def test_a_proof_after_the_end_still_counts() -> None:
    world, shuttle, a, b = two()
    held: list[FederationInsert] = []

    def hold_proofs(row: FederationInsert) -> str:
        if row.kind == 1 and not held:
            held.append(row)
        return ""

    shuttle.refuse = hold_proofs
    carry = shuttle._carry
    shuttle._carry = lambda node, row, to: None if row.kind == 1 else carry(node, row, to)  # type: ignore[method-assign]
    message = world.send(a[0], address(b[0]), domain="b.example", ttl=60)
    world.run(100.0)
    assert texts(b[0]) == ["hello"]
    assert states(a[0], message)[-1] is State.EXPIRED
    row = held[0]
    world.tell(a[2], events.OutsideProof(b"t" * 16, "b.example", address(a[0]), row.data[:16], row.data[16:]))
    world.run(10.0)
    assert states(a[0], message)[-1] is State.DELIVERED


def test_what_is_deleted_or_whose_user_goes_leaves_no_more() -> None:
    world, shuttle, a, b = two()
    world.crash(a[2])
    world.run(5.0)
    deleted = world.send(a[0], address(b[0]), "1", domain="b.example")
    world.tell(a[0], events.DeleteMessage(address(a[0]), deleted))
    world.send(a[0], address(b[0]), "2", domain="b.example")
    world.tell(a[0], events.UserRemoved(address(a[0])))
    world.start(a[2])
    world.run(HOUR)
    assert not shuttle.carried
    assert a[0].core is not None
    assert not a[0].core._crossings.outside.leaving._trips


def test_what_is_deleted_on_its_way_to_a_gateway_is_not_sent_again() -> None:
    world, shuttle, a, b = two()
    world.deafen(a[1])
    deleted = world.send(a[0], address(b[0]), "1", domain="b.example")
    world.tell(a[0], events.DeleteMessage(address(a[0]), deleted))
    world.run(60.0)
    assert not shuttle.carried
    assert a[0].core is not None
    assert not len(a[0].core._custody)


@pytest.mark.parametrize("before", [0.0, 0.02, 0.3, 30.0])
def test_a_sender_that_restarts_goes_on_where_it_was(before: float) -> None:
    world, shuttle, a, b = two()
    shuttle.loss = 1.0
    message = world.send(a[0], address(b[0]), domain="b.example")
    world.run(before)
    world.crash(a[0])
    shuttle.loss = 0.0
    shuttle._busy.clear()
    world.run(5.0)
    world.start(a[0])
    world.run(5 * HOUR)
    assert states(a[0], message)[-1] is State.DELIVERED
    assert texts(b[0]) == ["hello"]


def test_a_restart_without_its_user_sends_nothing_until_that_is_there() -> None:
    world, _, a, b = two()
    world.crash(a[2])
    message = world.send(a[0], address(b[0]), domain="b.example")
    world.crash(a[0])
    users, a[0].users = a[0].users, []
    world.start(a[2])
    world.start(a[0])
    world.run(600.0)
    assert State.DELIVERED not in a[0].states.get((users[0].address, message), [])
    a[0].users = users
    world.tell(a[0], events.UserAdded(users[0].seed))
    world.run(HOUR)
    assert a[0].states[users[0].address, message][-1] is State.DELIVERED


@pytest.mark.parametrize(
    ("text", "domain", "says"),
    [("x" * 30_700, "b.example", "send the text in parts"), ("hallo", "B.example", "is no domain")],
)
def test_what_cannot_cross_is_refused_at_once(text: str, domain: str, says: str) -> None:
    world, _, a, b = two()
    world.send(a[0], address(b[0]), text, domain=domain)
    assert says in a[0].refused[0].reason
    assert isinstance(a[0].store, MemoryStore)
    assert not a[0].store.outbox


@pytest.mark.parametrize("asks", [True, False])
def test_the_longest_text_crosses(asks: bool) -> None:
    world, _, a, b = two(asks=asks)
    for text in ("x" * 29_150, "y" * 29_150, "z" * 29_150):
        world.send(a[0], address(b[0]), text, domain="b.example")
        world.run(100.0)
    assert [text[0] for text in texts(b[0])] == ["x", "y", "z"]


def test_messages_from_outside_have_a_share_of_the_inbox_of_their_own() -> None:
    world, _, a, b = two(limits=Limits(inbox_count=8, sender_percent=100))
    sent = [world.send(a[0], address(b[0]), str(number), domain="b.example", ttl=600) for number in range(5)]
    world.run(30.0)
    assert len(texts(b[0])) == 2
    for number in range(6):
        world.send(b[1], address(b[0]), f"local {number}")
    world.run(60.0)
    assert len(texts(b[0])) == 8
    assert isinstance(b[0].store, MemoryStore)
    kept = [row for row in b[0].store.restore() if isinstance(row, Kept)]
    assert sum(bool(row.domain) for row in kept) == 2
    assert [states(a[0], message)[-1] for message in sent].count(State.DELIVERED) == 2


def test_two_gateways_that_bring_the_same_bring_it_once() -> None:
    world = World(asks=False)
    shuttle = Shuttle(world, twice=1.0)
    a, b = mesh(world, "a.example"), mesh(world, "b.example", gateways=2)
    world.run(5.0)
    for number in range(10):
        world.send(a[0], address(b[0]), str(number), domain="b.example")
    world.run(100.0)
    assert sorted(texts(b[0])) == [str(number) for number in range(10)]
    assert len(shuttle.carried) > 30


def test_three_domains_write_to_each_other() -> None:
    world = World(asks=False)
    Shuttle(world)
    domains = ["a.example", "b.example", "c.example"]
    meshes = {domain: mesh(world, domain) for domain in domains}
    world.run(5.0)
    for origin in domains:
        for goal in domains:
            if origin != goal:
                world.send(meshes[origin][0], address(meshes[goal][1]), f"{origin} {goal}", domain=goal)
    world.run(60.0)
    for goal in domains:
        assert sorted(texts(meshes[goal][1])) == [f"{origin} {goal}" for origin in domains if origin != goal]


# --- names -------------------------------------------------------------------------------------------------------


def asked(world: World, node: Node, name: str = "bert", domain: str = "b.example") -> LookupDone:
    token = world.random.randbytes(16)
    world.tell(node, events.Lookup(address(node), token, name, domain))
    world.run(30.0)
    answers = [one for one in node.outside if isinstance(one, LookupDone) and one.token == token]
    assert len(answers) == 1
    return answers[0]


@pytest.mark.parametrize("asker", [0, 2])
def test_a_name_is_looked_up_through_a_gateway(asker: int) -> None:
    world, shuttle, a, b = two()
    shuttle.names["bert", "b.example"] = address(b[0])
    shuttle.names["anna", "a.example"] = address(a[1])
    found = asked(world, a[asker])
    assert (found.address, found.domain, found.reason) == (address(b[0]), "b.example", "")
    here = asked(world, a[asker], "anna", "a.example")
    assert (here.address, here.domain) == (address(a[1]), "")
    nobody = asked(world, a[asker], "nobody")
    assert (nobody.address, nobody.reason) == (b"", "no such user")


@pytest.mark.parametrize(("name", "says"), [("", "before the @"), ("a@b", "before the @")])
def test_a_name_that_is_none_is_not_asked_for(name: str, says: str) -> None:
    world, _, a, _ = two()
    assert says in asked(world, a[0], name).reason


def test_without_a_gateway_a_lookup_says_so_and_with_a_silent_one_too() -> None:
    world, shuttle, a, b = two()
    shuttle.names["bert", "b.example"] = address(b[0])
    world.deafen(a[1])
    assert "has not answered" in asked(world, a[0]).reason
    world.undeafen(a[1])
    world.crash(a[2])
    world.run(60.0)
    assert "no gateway" in asked(world, a[0]).reason


def test_a_lookup_waits_for_a_gateway_that_comes() -> None:
    world, shuttle, a, b = two(limits=Limits(lookup_s=1_000.0))
    shuttle.names["bert", "b.example"] = address(b[0])
    world.crash(a[2])
    world.run(5.0)
    world.tell(a[0], events.Lookup(address(a[0]), b"t" * 16, "bert", "b.example"))
    world.run(1.0)
    world.start(a[2])
    world.run(900.0)
    assert [one.address for one in a[0].outside if isinstance(one, LookupDone)] == [address(b[0])]


def test_lookups_are_bounded_and_somebody_must_ask() -> None:
    world, _, a, _ = two(limits=Limits(lookups=1))
    world.deafen(a[1])
    world.tell(a[0], events.Lookup(address(a[0]), b"1" * 16, "bert", "b.example"))
    assert "too many" in asked(world, a[0]).reason
    stranger = Address(SecretIdentity(b"x" * 32).address)
    world.tell(a[0], events.Lookup(stranger, b"2" * 16, "bert", "b.example"))
    done = [one for one in a[0].outside if isinstance(one, LookupDone) and one.token == b"2" * 16]
    assert done[0].reason == "no such user on this node"


def test_with_too_much_on_its_way_nothing_is_looked_up() -> None:
    world, _, a, _ = two(limits=Limits(outside_words=1))
    world.deafen(a[1])
    world.tell(a[0], events.Lookup(address(a[0]), b"1" * 16, "bert", "b.example"))
    assert "too much is on its way" in asked(world, a[0], "carl").reason

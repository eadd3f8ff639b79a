"""Unicasts over relays: custody, copies, repair, receipts that cure, room, and what a restart leaves."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from cores import MemoryStore, Node, World, plain_world
from qpq.crypto.identity import Address, Identity, SecretIdentity
from qpq.crypto.sealing import seal
from qpq.mesh import events
from qpq.mesh.custody import Held, Place
from qpq.mesh.effects import Persist, SendEnvelope, SendFrame, State
from qpq.mesh.limits import Limits
from qpq.mesh.links import Link
from qpq.mesh.records import ProofInsert, RelayCopies, RelayDelete, RelayInsert
from qpq.mesh.windows import Windows
from qpq.wire.body import Body, encode_body
from qpq.wire.envelope import Envelope, envelope_hash, envelope_id, sign_envelope
from qpq.wire.frames import Custody, CustodyCode, Receipt, Role, Transfer
from qpq.wire.receipts import commitment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpq.mesh.core import Core
    from qpq.mesh.effects import Effect
    from qpq.wire.frames import Frame

STRANGER = SecretIdentity(b"s" * 32)
ABSENT = SecretIdentity(b"a" * 32)
DAY = 86_400
SOON = 0.005
"""Seconds after which a relay stores what went on at once: before a receipt can be back."""


def store(node: Node) -> MemoryStore:
    assert isinstance(node.store, MemoryStore)
    return node.store


def core(node: Node) -> Core:
    assert node.core is not None
    return node.core


def state(node: Node, message: bytes) -> tuple[State, int]:
    return store(node).states[node.user.address, message]


def line(count: int, **limits: object) -> tuple[World, list[Node]]:
    """Return a world with nodes in a row that are linked and know of each other."""
    world = plain_world()
    chosen = Limits(**limits)  # type: ignore[arg-type]
    nodes = [world.add(f"n{number}", limits=chosen) for number in range(count)]
    for node, other in pairwise(nodes):
        world.find(node, other)
    world.run(10.0)
    return world, nodes


def graph(edges: str, **limits: object) -> tuple[World, dict[str, Node]]:
    """Return a world linked as ``edges`` say, such as "ab bc"."""
    world = plain_world()
    chosen = Limits(**limits)  # type: ignore[arg-type]
    nodes = {name: world.add(name, limits=chosen) for name in sorted(set(edges) - {" "})}
    for node, other in edges.split():
        world.find(nodes[node], nodes[other])
    world.run(10.0)
    return world, nodes


def envelope(
    recipient: Address = ABSENT.address,
    *,
    sender: SecretIdentity = STRANGER,
    secret: bytes = b"s" * 16,
    text: str = "hi",
    ttl: int = DAY,
    max_hops: int = 32,
) -> Envelope:
    sealed = seal(
        encode_body(Body(secret, text, secret)), sender=sender.address, recipient=recipient, entropy=b"e" * 32
    )
    return sign_envelope(
        sender, recipient=recipient, payload=sealed, commitment=commitment(secret), ttl=ttl, max_hops=max_hops
    )


def link(node: Node, other: Node) -> int:
    return next(number for number, wire in node.wires.items() if wire.other and wire.other.node is other)


def give(
    world: World, node: Node, other: Node, made: Envelope, *, hops: int = 0, copies: int = 1, age: int = 0
) -> list[Effect]:
    """Hand an envelope to ``node`` as if it came from ``other``."""
    frame = Transfer(hops, copies, age, made)
    return world.tell(node, events.FrameReceived(link(node, other), frame))


def answers(effects: Iterable[Effect]) -> list[CustodyCode]:
    return [code for frame in frames(effects) if isinstance(frame, Custody) for _, code in frame.answers]


def frames(effects: Iterable[Effect]) -> list[Frame]:
    return [effect.frame for effect in effects if isinstance(effect, SendFrame)]


def prove(world: World, node: Node, other: Node, made: Envelope, secret: bytes = b"s" * 16) -> list[Effect]:
    """Bring the receipt of an envelope to ``node`` as if from ``other``."""
    receipt = Receipt(((secret, envelope_hash(made)),))
    return world.tell(node, events.FrameReceived(link(node, other), receipt))


def held(node: Node, made: Envelope) -> Held:
    item = core(node)._custody.get(envelope_id(made))
    assert item is not None
    return item


def holders(world: World) -> list[str]:
    return [node.name for node in world.nodes.values() if node.core is not None and len(node.core._custody)]


# --- over relays and back ---------------------------------------------------------------------------


def test_a_message_goes_over_relays_and_its_receipt_cures_each_of_them() -> None:
    world, nodes = line(5)
    message = world.send(nodes[0], nodes[4].user.address, "far")
    world.run(2.0)
    assert [deliver.text for deliver in nodes[4].delivered] == ["far"]
    assert state(nodes[0], message) == (State.DELIVERED, 1)
    assert nodes[0].states[nodes[0].user.address, message] == [State.QUEUED, State.RELAYED, State.DELIVERED]
    assert holders(world) == []
    for relay in nodes[1:4]:
        assert store(relay).relay == {}
        assert len(store(relay).known) == 1, "a tombstone, so that what was purged never comes back"
        assert relay.counts["custody.taken"] == relay.counts["custody.proven"] == 1


def test_an_envelope_tells_the_links_it_crossed_and_half_of_the_copies() -> None:
    world, nodes = line(4)
    world.send(nodes[0], nodes[3].user.address)
    world.run(2.0)
    sent = [frame for _, _, frame in world.frames if isinstance(frame, Transfer)]
    assert [(frame.hops, frame.copies) for frame in sent] == [(0, 4), (1, 2), (2, 1)]
    assert {frame.envelope.max_hops for frame in sent} == {32}


def test_each_holder_adds_the_time_it_kept_an_envelope() -> None:
    world, nodes = graph("ab")
    carl = world.add("c", limits=Limits())
    made = envelope(carl.user.address)
    give(world, nodes["a"], nodes["b"], made, age=100)
    world.run(50.0)
    world.find(nodes["a"], carl)
    world.run(5.0)
    (sent,) = [frame for _, to, frame in world.frames if isinstance(frame, Transfer) and to == "c"]
    assert 150 <= sent.age <= 152
    assert len(carl.delivered) == 1


def kinds(effects: Iterable[Effect]) -> list[type]:
    return [type(effect.frame if isinstance(effect, SendFrame) else effect) for effect in effects]


def stored(effects: Iterable[Effect]) -> list[type]:
    return [type(row) for effect in effects if isinstance(effect, Persist) for row in effect.operations]


def later(world: World, node: Node, seconds: float) -> list[Effect]:
    """Return what the core has to do when its timers ring in so many seconds."""
    return core(node).handle(events.Tick(), world.now + seconds)


def test_a_relay_hands_an_envelope_on_at_once_and_stores_it_before_it_answers_for_it() -> None:
    world, (_, relay, last) = line(3)
    first = world.nodes["n0"]
    effects = give(world, relay, first, envelope(last.user.address), copies=4)
    assert Transfer in kinds(effects)
    assert not {Persist, Custody} & set(kinds(effects))
    assert answers(later(world, relay, 0.04)) == []
    effects = later(world, relay, 0.06)
    assert kinds(effects).index(Persist) < kinds(effects).index(Custody)
    (persist,) = [effect for effect in effects if isinstance(effect, Persist)]
    (row,) = [operation for operation in persist.operations if isinstance(operation, RelayInsert)]
    assert (row.via, row.hops, row.copies) == (first.identity, 1, 4)
    assert answers(effects) == [CustodyCode.ACCEPTED]


def test_a_relay_stores_an_envelope_that_cannot_go_on_before_it_answers_for_it() -> None:
    world, nodes = graph("ab")
    effects = give(world, nodes["a"], nodes["b"], envelope())
    assert kinds(effects).index(Persist) < kinds(effects).index(Custody)
    assert answers(effects) == [CustodyCode.ACCEPTED]


def test_what_is_proven_at_once_is_never_stored_nor_answered_but_by_the_receipt() -> None:
    world, (first, relay, last) = line(3)
    made = envelope(last.user.address)
    give(world, relay, first, made)
    effects = prove(world, relay, last, made)
    assert [frame for frame in frames(effects) if isinstance(frame, Receipt)]
    assert stored(effects) == [ProofInsert]
    assert not any(effect.prompt for effect in effects if isinstance(effect, Persist))
    assert not {RelayInsert, RelayDelete} & set(stored(later(world, relay, 1.0)))
    assert holders(world) == []


def test_a_receipt_is_short_where_it_is_the_first_answer_and_whole_where_another_was_before() -> None:
    for waited, short in ((0.0, True), (1.0, False)):
        world, (first, relay, last) = line(3)
        made = envelope(last.user.address)
        give(world, relay, first, made)
        later(world, relay, waited)
        [receipt] = [frame for frame in frames(prove(world, relay, last, made)) if isinstance(frame, Receipt)]
        assert receipt.answers is short


def test_what_is_only_passed_on_may_leave_before_the_books_are_kept() -> None:
    world, (first, relay, last) = line(3)
    early: list[SendFrame] = []
    core(relay).hasten(lambda effect: early.append(effect) is None)
    made = envelope(last.user.address)
    assert frames(give(world, relay, first, made)) == []
    assert frames(prove(world, relay, last, made)) == []
    assert [(effect.link, type(effect.frame)) for effect in early] == [
        (link(relay, last), Transfer),
        (link(relay, first), Receipt),
    ]
    assert holders(world) == []


def test_what_is_made_here_leaves_behind_its_row() -> None:
    world, (first, relay, last) = line(3)
    for node in (first, relay, last):
        core(node).hasten(lambda _effect: False)
    early: list[SendFrame] = []
    core(first).hasten(lambda effect: early.append(effect) is None)
    message = world.send(first, last.user.address)
    world.run(1.0)
    assert state(first, message)[0] is State.DELIVERED
    assert early == []


def test_envelopes_are_stored_each_in_its_time() -> None:
    world, (first, relay, last) = line(3)
    one, two = (envelope(last.user.address, text=text) for text in "ab")
    frame = Transfer(0, 1, 0, one), Transfer(0, 1, 0, two)
    core(relay).handle(events.FrameReceived(link(relay, first), frame[0]), world.now)
    core(relay).handle(events.FrameReceived(link(relay, first), frame[1]), world.now + 0.03)
    assert stored(later(world, relay, 0.06)).count(RelayInsert) == 1
    assert stored(later(world, relay, 0.09)).count(RelayInsert) == 1
    assert not stored(later(world, relay, 0.2))


def test_an_envelope_that_comes_again_is_stored_before_it_is_said_to_be_kept() -> None:
    world, nodes = graph("ab ac ad")
    made = envelope(nodes["d"].user.address)
    give(world, nodes["a"], nodes["b"], made)
    effects = give(world, nodes["a"], nodes["c"], made)
    assert kinds(effects).index(Persist) < kinds(effects).index(Custody)
    assert answers(effects) == [CustodyCode.ACCEPTED, CustodyCode.DUPLICATE]
    assert answers(give(world, nodes["a"], nodes["c"], made)) == [CustodyCode.DUPLICATE]


def test_an_envelope_that_comes_back_before_it_is_stored_is_stored_before_it_is_sent_again() -> None:
    world, nodes = graph("ab ac cd ae ed")
    made = envelope(nodes["d"].user.address)
    give(world, nodes["a"], nodes["b"], made)
    way = held(nodes["a"], made).link
    effects = core(nodes["a"]).handle(events.LinkDown(way, "gone"), world.now)
    sent = [effect for effect in effects if isinstance(effect, SendEnvelope)]
    assert [effect.envelope_id for effect in sent] == [envelope_id(made)]
    assert RelayInsert in stored(effects)
    assert effects.index(sent[0]) > kinds(effects).index(Persist)


def test_a_stop_stores_what_was_put_off() -> None:
    world, (first, relay, last) = line(3)
    give(world, relay, first, envelope(last.user.address))
    assert RelayInsert in stored(core(relay).handle(events.Shutdown(), world.now))


def test_a_relay_that_crashes_goes_on_from_its_store() -> None:
    world, (first, relay, last) = line(3)
    world.part(relay, last)
    world.run(5.0)
    message = world.send(first, last.user.address)
    world.run(5.0)
    assert state(first, message) == (State.RELAYED, 1)
    world.crash(relay)
    world.run(5.0)
    world.start(relay)
    world.join(relay, last)
    world.find(relay, last)
    world.find(first, relay)
    world.run(60.0)
    assert len(last.delivered) == 1
    assert state(first, message) == (State.DELIVERED, 1)
    assert holders(world) == []


def test_a_recipient_who_is_off_for_days_gets_everything_from_the_last_relay_while_the_sender_is_off() -> None:
    world, (first, relay, last) = line(3)
    world.crash(last)
    world.run(60.0)
    messages = [world.send(first, last.user.address, str(number)) for number in range(20)]
    world.run(10.0)
    world.crash(first)
    world.run(3 * DAY)
    world.start(last)
    world.find(relay, last)
    world.run(10.0)
    assert [deliver.text for deliver in last.delivered] == [str(number) for number in range(20)]
    assert relay.counts["message.sent"] == 20
    world.start(first)
    world.find(first, relay)
    world.run(4000.0)
    assert {state(first, message)[0] for message in messages} == {State.DELIVERED}
    assert holders(world) == []


def test_a_relay_gives_up_at_the_end_of_the_ttl_and_says_nothing_false() -> None:
    world, (first, relay, _) = line(3)
    message = world.send(first, ABSENT.address, ttl=1000)
    world.run(1100.0)
    assert state(first, message)[0] is State.EXPIRED
    assert relay.counts["custody.expired"] == 1
    assert store(relay).relay == {}
    assert holders(world) == []


# --- copies without a route ----------------------------------------------------------------------------


def test_without_a_route_no_more_than_eight_copies_are_about() -> None:
    names = "abcdefghijkl"
    world, nodes = graph(" ".join(a + b for a in names for b in names if a < b))
    message = world.send(nodes["a"], ABSENT.address)
    world.run(2.0)
    assert holders(world) == ["a"], "a route is waited for first"
    world.run(4 * DAY)
    assert len(holders(world)) == 4
    copies = [item.copies for node in nodes.values() for item in core(node)._custody.items()]
    assert copies == [2, 2, 2, 2]
    assert state(nodes["a"], message) == (State.RELAYED, 2), "binary: halves of 8 and 4"
    assert 3 <= sum(node.counts["message.sent"] for node in nodes.values()) <= 6, "some meet who has it already"


def test_the_last_copy_to_give_is_kept_for_a_neighbour_that_comes_later() -> None:
    world, nodes = graph("ab ac ad bc bd cd")
    world.send(nodes["a"], ABSENT.address)
    world.run(600.0)
    assert [item.copies for node in nodes.values() for item in core(node)._custody.items()] == [2, 2, 2, 2]
    ferry = world.add("f")
    world.find(nodes["a"], ferry)
    world.run(60.0)
    assert [item.copies for item in core(ferry)._custody.items()] == [1]
    assert [item.copies for item in core(nodes["a"])._custody.items()] == [1]


def test_copies_on_a_link_that_is_lost_are_handed_to_others_instead() -> None:
    world, nodes = graph("ab", window_count=1)
    first, gone = nodes["a"], nodes["b"]
    world.send(first, ABSENT.address)
    world.send(first, ABSENT.address, "behind it")
    flying, ready = core(first)._custody.items()
    world.deafen(gone)
    world.run(5.0)
    assert [(item.place, item.copies) for item in (flying, ready)] == [(Place.FLYING, 4), (Place.READY, 8)]
    world.tell(first, events.LinkDown(link(first, gone), "lost"))
    assert [(item.place, item.copies) for item in (flying, ready)] == [(Place.WAITING, 8)] * 2
    assert [item.unsure for item in (flying, ready)] == [True, False], (
        "the first may have arrived: its receipt must find it"
    )


def test_who_never_answers_uses_up_no_copies() -> None:
    world, nodes = graph("ab")
    first, silent = nodes["a"], nodes["b"]
    world.deafen(silent)
    world.send(first, ABSENT.address)
    world.run(3600.0)
    (item,) = core(first)._custody.items()
    assert item.attempts > 2
    assert item.copies + (item.spent if item.place is Place.FLYING else 0) == 8


def test_a_carrier_meets_the_recipient_and_all_copies_are_cured() -> None:
    world, nodes = graph("ab ac ad bc bd cd")
    message = world.send(nodes["a"], ABSENT.address)
    world.run(60.0)
    assert holders(world) == ["a", "b", "c", "d"]
    absent = world.add("z")
    absent.users = [ABSENT]
    world.crash(absent)
    world.start(absent)
    world.find(nodes["d"], absent)
    world.run(30.0)
    assert len(absent.delivered) == 1
    assert state(nodes["a"], message)[0] is State.DELIVERED
    assert holders(world) == []


def test_a_leaf_is_handed_nothing_for_others() -> None:
    world = plain_world()
    first, leaf = world.add("a"), world.add("b", role=Role.LEAF)
    world.find(first, leaf)
    message = world.send(first, ABSENT.address)
    world.run(600.0)
    assert state(first, message) == (State.QUEUED, 0)
    assert leaf.counts["transfer.refused_not_here"] == 0


def test_the_last_copy_waits_for_its_recipient_or_a_route() -> None:
    world, nodes = graph("ab bc")
    made = envelope()
    give(world, nodes["b"], nodes["a"], made, copies=1)
    world.run(600.0)
    assert held(nodes["b"], made).given == ()
    assert holders(world) == ["b"]


def test_a_new_neighbour_tells_whom_it_serves_before_it_is_handed_copies() -> None:
    world, nodes = graph("ab")
    world.send(nodes["a"], ABSENT.address)
    world.run(60.0)
    carl = world.add("c")
    world.find(nodes["a"], carl)
    world.run(0.9)
    assert len(core(carl)._custody) == 0
    world.run(1.0)
    assert len(core(carl)._custody) == 1


# --- repair --------------------------------------------------------------------------------------------


def black_hole(monkeypatch: pytest.MonkeyPatch, node: Node) -> None:
    """Let a node take custody of everything and hand nothing on."""
    from qpq.mesh.moving import Moving  # noqa: PLC0415

    whole = Moving.start
    mine = core(node)._sending._moving

    def start(self: Moving, *args: object) -> None:
        if self is not mine:
            whole(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Moving, "start", start)


def test_without_a_receipt_in_time_the_next_copy_takes_another_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    world, nodes = graph("ab ac bd cd", deposit_s=SOON)
    first, last = nodes["a"], nodes["d"]
    hop = core(first)._routing.next_hops(last.user.address, world.now)[0]
    hole = next(node for node in nodes.values() if node.identity == hop.peer)
    black_hole(monkeypatch, hole)
    message = world.send(first, last.user.address)
    world.run(3.0)
    assert state(first, message) == (State.RELAYED, 1)
    assert last.delivered == []
    world.run(10.0)
    assert len(last.delivered) == 1
    assert state(first, message) == (State.DELIVERED, 2)
    scores = {node.name: core(first)._routing._scores.of(node.identity, world.now) for node in nodes.values()}
    other = "b" if hole is nodes["c"] else "c"
    assert scores[hole.name] < scores[other]
    assert holders(world) == [], "the one that kept it to itself is told too"


def test_a_silent_route_is_tried_ever_more_rarely() -> None:
    world, (first, relay, last) = line(3)
    message = world.send(first, last.user.address, ttl=3 * DAY)
    world.run(1.0)
    assert len(last.delivered) == 1
    world.deafen(last)
    silent = world.send(first, last.user.address, ttl=3 * DAY)
    world.run(2 * DAY)
    row = core(first).message(first.user.address, silent)
    assert row is not None
    assert 10 <= row.attempts <= 60
    assert relay.counts["transfer.refused_duplicate"] == row.attempts - 1
    assert state(first, message)[0] is State.DELIVERED


def test_a_relay_without_room_is_passed_by() -> None:
    world, nodes = graph("ab ac bd cd", deposit_s=SOON)
    first, last = nodes["a"], nodes["d"]
    hop = core(first)._routing.next_hops(last.user.address, world.now)[0]
    full = next(node for node in nodes.values() if node.identity == hop.peer)
    store(full).room = 0
    message = world.send(first, last.user.address)
    world.run(2.0)
    assert len(last.delivered) == 1
    assert state(first, message) == (State.DELIVERED, 1)
    assert full.counts["store.failed"] == 1
    assert full.counts["transfer.refused_quota"] == 1


def test_a_relay_whose_disk_was_full_takes_envelopes_again() -> None:
    world, (first, relay, last) = line(3, deposit_s=SOON)
    store(relay).room = 0
    message = world.send(first, last.user.address)
    world.run(2.0)
    assert state(first, message) == (State.QUEUED, 0)
    assert len(core(relay)._custody) == core(relay)._relaying._quotas.size == 0
    store(relay).room = 10
    world.run(10.0)
    assert state(first, message) == (State.DELIVERED, 0), "it had been handed on all the same, and read"


def test_a_lost_link_costs_a_retry_over_another() -> None:
    world, nodes = graph("ab ac bd cd")
    first, last = nodes["a"], nodes["d"]
    hop = core(first)._routing.next_hops(last.user.address, world.now)[0]
    gone = next(node for node in nodes.values() if node.identity == hop.peer)
    world.deafen(gone)
    message = world.send(first, last.user.address)
    world.drop_link(first, link(first, gone))
    world.run(3.0)
    assert state(first, message)[0] is State.DELIVERED
    assert first.counts["message.sent"] == 2


def test_a_route_that_ends_at_a_leaf_is_believed_no_longer() -> None:
    world, nodes = graph("ab bc")
    first, relay, last = nodes["a"], nodes["b"], nodes["c"]
    message = world.send(first, last.user.address)
    number = link(first, relay)
    item = core(first)._custody.items()[0]
    assert item.place is Place.FLYING
    world.tell(first, events.FrameReceived(number, Custody(((item.envelope_id, CustodyCode.NOT_HERE),))))
    assert core(first)._routing.next_hops(last.user.address, world.now) == ()
    assert item.tried == (relay.identity,)
    world.run(60.0)
    assert state(first, message)[0] is State.DELIVERED


@pytest.mark.parametrize("code", [CustodyCode.EXPIRED, CustodyCode.TOO_MANY_HOPS, CustodyCode.BAD_SIGNATURE])
def test_a_relay_that_refuses_is_asked_again_ever_more_rarely(code: CustodyCode) -> None:
    world, (first, relay, last) = line(3)
    world.deafen(relay)
    world.send(first, last.user.address)
    (item,) = core(first)._custody.items()
    for _ in range(20):
        if item.place is Place.FLYING:
            answer = Custody(((item.envelope_id, code),))
            world.tell(first, events.FrameReceived(link(first, relay), answer))
            assert item.copies == 8, "what was not taken is not spent"
        world.run(5.0)
    assert 4 <= item.attempts <= 6
    assert item.place is Place.WAITING


def test_an_answer_that_comes_too_late_still_counts() -> None:
    world, nodes = graph("ab ac bd cd")
    first, last = nodes["a"], nodes["d"]
    hop = core(first)._routing.next_hops(last.user.address, world.now)[0]
    slow = next(node for node in nodes.values() if node.identity == hop.peer)
    world.deafen(last)
    world.deafen(slow)
    message = world.send(first, last.user.address)
    world.run(12.0)
    assert state(first, message) == (State.RELAYED, 1), "the other one has it"
    world.undeafen(slow)
    world.run(1.0)
    assert state(first, message) == (State.RELAYED, 2)
    world.undeafen(last)
    world.run(60.0)
    assert len(last.delivered) == 1
    assert holders(world) == []


def test_who_takes_an_envelope_after_its_delivery_is_told() -> None:
    world, (first, relay, last) = line(3)
    made = envelope(last.user.address)
    give(world, relay, first, made)
    world.run(1.0)
    assert len(last.delivered) == 1
    answer = Custody(((envelope_id(made), CustodyCode.ACCEPTED), (b"?" * 32, CustodyCode.ACCEPTED)))
    effects = world.tell(relay, events.FrameReceived(link(relay, first), answer))
    assert frames(effects) == [Receipt(((b"s" * 16, envelope_hash(made)),))]


def test_a_false_answer_for_what_another_carries_changes_nothing() -> None:
    world, nodes = graph("ab ac")
    world.deafen(nodes["b"])
    world.send(nodes["a"], nodes["b"].user.address)
    (item,) = core(nodes["a"])._custody.items()
    answer = Custody(((item.envelope_id, CustodyCode.ACCEPTED), (item.envelope_id, CustodyCode.QUOTA)))
    world.tell(nodes["a"], events.FrameReceived(link(nodes["a"], nodes["c"]), answer))
    assert item.given == ()
    assert item.place is Place.FLYING


def test_users_who_move_are_followed() -> None:
    world, nodes = graph("ab bc")
    user = nodes["c"].user
    nodes["c"].users = []
    world.tell(nodes["c"], events.UserRemoved(user.address))
    world.run(5.0)
    message = world.send(nodes["a"], user.address)
    world.run(5.0)
    assert state(nodes["a"], message)[0] is State.RELAYED
    nodes["a"].users.append(user)
    world.tell(nodes["a"], events.UserAdded(user.seed))
    world.run(5.0)
    assert len(nodes["a"].delivered) == 1
    assert state(nodes["a"], message)[0] is State.DELIVERED
    assert holders(world) == []


def test_what_is_ready_for_a_relay_goes_straight_to_a_recipient_who_comes_near() -> None:
    world, nodes = graph("ab bc", window_count=1)
    first, relay, last = nodes["a"], nodes["b"], nodes["c"]
    world.deafen(relay)
    for _ in range(3):
        world.send(first, last.user.address)
    assert [item.place for item in core(first)._custody.items()] == [Place.FLYING, Place.READY, Place.READY]
    world.find(first, last)
    world.run(2.0)
    assert len(last.delivered) == 2
    world.undeafen(relay)
    world.run(60.0)
    assert len(last.delivered) == 3
    assert holders(world) == []


def test_an_envelope_that_is_on_its_way_already_is_not_placed_again() -> None:
    world, nodes = graph("ab")
    world.deafen(nodes["b"])
    world.send(nodes["a"], nodes["b"].user.address)
    (item,) = core(nodes["a"])._custody.items()
    core(nodes["a"])._sending._moving.again(item, world.now)
    assert (item.place, item.attempts) == (Place.FLYING, 1)


def test_a_proof_passed_on_over_a_link_that_dies_finds_another_way() -> None:
    world, nodes = graph("ab bc")
    made = envelope()
    give(world, nodes["b"], nodes["a"], made)
    prove(world, nodes["b"], nodes["c"], made)
    proofs = core(nodes["b"])._relaying.proofs
    assert proofs.known() == ()
    world.drop_link(nodes["b"], link(nodes["b"], nodes["a"]))
    world.run(0.5)
    assert [short for short, _ in proofs.known()] == [envelope_id(made)[:16]]


def test_a_proof_that_has_arrived_is_not_reconciled_when_its_link_ends() -> None:
    world, nodes = graph("ab bc")
    world.send(nodes["a"], nodes["c"].user.address)
    world.run(200.0)
    world.drop_link(nodes["b"], link(nodes["b"], nodes["a"]))
    world.run(0.5)
    proofs = core(nodes["b"])._relaying.proofs
    assert (len(proofs), proofs.known()) == (1, ())


def test_a_neighbour_that_refused_and_is_gone_is_forgotten() -> None:
    world, nodes = graph("ab ac bd cd")
    first, last = nodes["a"], nodes["d"]
    world.deafen(last)
    full = [nodes["b"], nodes["c"]]
    for node in full:
        store(node).room = 0
    message = world.send(first, last.user.address)
    world.run(1.0)
    destination = core(first)._custody.destination(last.user.address)
    assert destination is not None
    assert set(destination.lanes) == {node.identity for node in full}
    world.crash(full[0])
    world.run(30.0)
    assert full[0].identity not in destination.lanes
    store(full[1]).room = 10
    world.undeafen(last)
    world.run(700.0)
    assert state(first, message)[0] is State.DELIVERED


def test_what_waits_for_different_recipients_is_looked_at_in_its_own_time() -> None:
    world, nodes = graph("ab")
    first = nodes["a"]
    others = [SecretIdentity(bytes([number]) * 32).address for number in (5, 6)]
    world.send(first, others[0])
    world.run(2.0)
    world.send(first, others[1])
    world.run(1.5)
    taken = {item.recipient for item in core(nodes["b"])._custody.items()}
    assert taken == {others[0]}
    world.run(2.0)
    taken = {item.recipient for item in core(nodes["b"])._custody.items()}
    assert taken == set(others)


def test_nobody_is_waited_for_once_everything_is_handed_on() -> None:
    world, nodes = graph("ab bc")
    first, relay, last = nodes["a"], nodes["b"], nodes["c"]
    world.part(relay, last)
    world.run(5.0)
    world.send(first, last.user.address)
    destination = core(first)._custody.destination(last.user.address)
    assert destination is not None
    assert destination.patience == 0
    world.join(relay, last)
    world.find(relay, last)
    world.deafen(last)
    destination.patience = 3
    for item in destination.items:
        item.place = Place.RESTING
    core(first)._sending.spray_due(0, world.now + 9000.0)
    assert destination.patience == -1


def test_what_is_on_a_link_is_not_waited_for() -> None:
    world, nodes = graph("ab ac")
    first, deaf = nodes["a"], nodes["c"]
    world.deafen(deaf)
    world.send(first, deaf.user.address)
    world.send(first, ABSENT.address)
    world.run(4.0)
    destination = core(first)._custody.destination(deaf.user.address)
    assert destination is not None
    assert destination.patience == -1
    assert len(core(nodes["b"])._custody) == 1


def test_of_two_links_to_a_neighbour_the_one_that_is_left_is_used() -> None:
    windows, peers = Windows(), [Identity(b"p" * 32), Identity(b"q" * 32)]
    for number, peer in ((1, peers[1]), (2, peers[0]), (3, peers[0])):
        windows.open(Link(events.LinkUp(number, peer, "x:1", True), Limits(), 0.0))
    assert windows.link_to(peers[0]) == 3
    closed = windows.close(3)
    assert closed is not None
    assert closed.number == 3
    assert windows.link_to(peers[0]) == 2
    assert windows.close(3) is None
    windows.close(2)
    assert windows.link_to(peers[0]) is None
    assert windows.link_to(peers[1]) == 1


def test_what_a_relay_has_is_not_sent_to_it_again_when_the_recipient_comes_back() -> None:
    world, (first, relay, last) = line(3)
    world.crash(last)
    world.run(60.0)
    messages = [world.send(first, last.user.address) for _ in range(20)]
    world.run(600.0)
    assert relay.counts["custody.taken"] == 20
    world.start(last)
    world.find(last, relay)
    world.run(10.0)
    assert {state(first, message)[0] for message in messages} == {State.DELIVERED}
    assert first.counts["message.sent"] == relay.counts["message.sent"] == 20


def test_a_relay_that_lost_what_it_had_taken_gets_it_again() -> None:
    world, (first, relay, last) = line(3)
    world.crash(last)
    world.run(60.0)
    message = world.send(first, last.user.address)
    world.run(10.0)
    world.crash(relay)
    store(relay).relay.clear()
    world.start(relay)
    world.start(last)
    world.find(first, relay)
    world.find(last, relay)
    world.run(60.0)
    assert state(first, message)[0] is State.DELIVERED


def test_handing_on_the_last_copy_is_no_news_for_the_store() -> None:
    world, (first, relay, third, last) = line(4)
    world.deafen(last)
    made = envelope(last.user.address)
    for copies, operations in ((1, 0), (4, 1)):
        made = envelope(last.user.address, secret=bytes([copies]) * 16)
        world.deafen(third)
        give(world, relay, first, made, copies=copies)
        answer = Custody(((envelope_id(made), CustodyCode.ACCEPTED),))
        effects = world.tell(relay, events.FrameReceived(link(relay, third), answer))
        written = [one for effect in effects if isinstance(effect, Persist) for one in effect.operations]
        assert sum(isinstance(one, RelayCopies) for one in written) == operations
        assert held(relay, made).copies == max(1, copies // 2)

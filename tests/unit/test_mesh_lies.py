"""Neighbours that lie: what they can do to others' messages, routes, memory and processor time, and what ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from test_mesh_custody import ONE, TWO, item, proof
from test_mesh_relaying import DAY, answers, black_hole, core, envelope, give, graph, held, link
from test_mesh_routing import net

from qpq.crypto.identity import Address, SecretIdentity
from qpq.mesh import events
from qpq.mesh.buckets import Bucket
from qpq.mesh.custody import Held, Place, Way
from qpq.mesh.effects import SendFrame
from qpq.mesh.flooded import cost_of
from qpq.mesh.limits import Limits
from qpq.mesh.moving import Moving
from qpq.mesh.quotas import Quotas
from qpq.mesh.routes import rank
from qpq.mesh.scores import Scores
from qpq.wire.envelope import sign_envelope
from qpq.wire.frames import CustodyCode, Receipt
from qpq.wire.frames_mesh import Query
from qpq.wire.query import sign_query

if TYPE_CHECKING:
    from cores import Node, World
    from qpq.wire.envelope import Envelope

A, B = (SecretIdentity(bytes([number]) * 32).identity for number in (1, 2))


def reached(world: World, node: Node, seconds: float) -> bool:
    world.run(seconds)
    return bool(node.delivered)


# --- black holes ---------------------------------------------------------------------------------------


def test_past_a_black_hole_on_the_only_route_a_neighbour_is_tried_that_told_of_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, nodes = graph("al ld ab bc cd", route_radius=2)
    first, last = nodes["a"], nodes["d"]
    (hop,) = core(first)._routing.next_hops(last.user.address, world.now)
    assert hop.peer == nodes["l"].identity
    black_hole(monkeypatch, nodes["l"])
    world.send(first, last.user.address)
    assert not reached(world, last, 3.0)
    (waiting,) = core(first)._custody.items()
    assert reached(world, last, 15.0)
    assert (waiting.way, waiting.peer, waiting.rounds) == (Way.DETOUR, nodes["b"].identity, 1)


def test_where_all_neighbours_were_tried_all_begins_again_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    world, nodes = graph("al ld ab", route_radius=2, receipt_s=5.0, receipt_hop_s=2.0)
    for name in "lb":
        black_hole(monkeypatch, nodes[name])
    world.send(nodes["a"], nodes["d"].user.address)
    (waiting,) = core(nodes["a"])._custody.items()
    rounds = []
    for _ in range(4):
        rounds.append((waiting.rounds, waiting.astray, len(waiting.given)))
        world.run(16.0)
    assert rounds == [(0, False, 0), (1, True, 2), (1, True, 2), (1, False, 2)]
    world.run(40.0)
    assert waiting.rounds >= 2


def test_a_neighbour_whose_receipts_never_come_is_doubted_until_some_come_or_time_has_passed() -> None:
    scores = Scores(Limits())
    for _ in range(2):
        scores.note(A, good=False)
        assert scores.doubt(A, 0.0) == 1
    scores.note(A, good=False)
    assert scores.doubt(A, 0.0) > 1
    scores.note(A, good=True)
    assert scores.doubt(A, 0.0) == 1, "receipts that come settle it"
    for _ in range(3):
        scores.note(B, good=False)
    assert scores.doubt(B, 0.0) > 1
    assert scores.doubt(B, 500.0) > 1, "a little better is not good"
    assert scores.doubt(B, 3600.0) == 1, "and so does time"


def test_routes_of_a_doubted_neighbour_are_neither_taken_nor_told_while_there_are_others() -> None:
    made, routers = net("ax", "xd", "ab", "bc", "cd", "ae")
    user, one = routers["d"].user, routers["a"]
    assert (one.hops(user)[0], routers["e"].row(user).hops) == ("x", 3)  # type: ignore[union-attr]
    for _ in range(3):
        one.do(lambda: one.routing.score(routers["x"].identity, False, made.now))
    made.run(30.0)
    assert one.routing._routes.get(user).route.hops == 3  # type: ignore[union-attr]
    assert routers["e"].row(user) is None, "three links away, farther than announces go"
    made.unlink(one, routers["x"])
    made.link(one, routers["x"])
    made.run(30.0)
    assert routers["e"].row(user) is None, "a new link is no new neighbour"
    for _ in range(3):
        one.do(lambda: one.routing.score(routers["x"].identity, True, made.now))
    made.run(30.0)
    assert routers["e"].row(user).hops == 3  # type: ignore[union-attr]


def test_doubts_are_forgotten_with_the_neighbour() -> None:
    scores = Scores(Limits(scores=1))
    for _ in range(3):
        scores.note(A, good=False)
    assert scores.doubt(A, 0.0) > 1
    scores.note(B, good=False)
    assert scores.doubt(A, 0.0) == 1


def test_a_neighbour_that_proved_itself_goes_before_names_of_which_nothing_is_known_where_most_fail() -> None:
    scores, failing = Scores(Limits()), [SecretIdentity(bytes([number]) * 32).identity for number in range(10, 14)]
    scores.note(B, good=True)
    assert scores.weighed(16, A, 0.0) == 16, "where nobody has failed a stranger is as good"
    scores.note(failing[0], good=False)
    assert scores.weighed(16, A, 0.0) == 16, "nor where one has"
    for peer in failing[1:]:
        scores.note(peer, good=False)
    assert scores.weighed(64, B, 0.0) < scores.weighed(16, A, 0.0) < scores.weighed(16, failing[0], 0.0)
    for _ in range(2):
        scores.note(B, good=False)
    assert scores.weighed(16, A, 0.0) == 16, "where nobody proves anything strangers are to be tried"
    assert scores.of(failing[0], 0.0) == pytest.approx(0.7)
    assert scores.of(failing[0], 36_000.0) == 1.0
    assert failing[0] not in scores._deficits, "what is forgiven takes no place"


def test_a_way_that_could_be_a_loop_goes_before_one_that_is_known_to_lead_nowhere() -> None:
    made, routers = net("ax", "xd", "ab", "bc", "cd", "be", "ef")
    user, one = routers["d"].user, routers["a"]
    destination = one.routing._routes.get(user)
    assert destination is not None
    assert one.hops(user) == ("x", "b")
    destination.limit = rank(destination.announce, 32)  # as after x had told that it is next to it
    assert one.hops(user) == ("x", "b")
    one.do(lambda: one.routing.score(routers["b"].identity, True, made.now))
    one.do(lambda: one.routing.score(routers["x"].identity, False, made.now))
    assert one.hops(user) == ("x", "b"), "once may be chance"
    for _ in range(4):
        one.do(lambda: one.routing._scores.note(routers["x"].identity, good=False))
    for peer in (A, B):
        one.do(lambda peer=peer: one.routing._scores.note(peer, good=False))
    assert one.hops(user) == ("b", "x")


def test_dozens_that_take_a_message_and_pass_nothing_on_cost_less_than_a_wait_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    liars = "efghijklmnopqrstuvw"
    edges = " ".join(f"a{liar} {liar}d" for liar in liars)
    world, nodes = graph(f"{edges} ab bc cd", target_links=2 * len(liars))
    first, last = nodes["a"], nodes["d"]
    whole, mine = Moving.start, [core(nodes[liar])._sending._moving for liar in liars]

    def start(self: Moving, *args: object) -> None:
        if not any(self is one for one in mine):
            whole(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Moving, "start", start)
    world.send(first, last.user.address)
    assert not reached(world, last, 10.0)
    assert reached(world, last, 25.0), "19 waits for a receipt are 75 s"
    world.send(first, last.user.address)
    assert reached(world, last, 1.0), "what it learned serves the next message"


# --- lies about envelopes ----------------------------------------------------------------------------------


def test_hops_that_a_neighbour_added_do_not_stop_an_envelope_that_came_a_shorter_way_too() -> None:
    world, nodes = graph("ab cb")
    made = envelope()
    give(world, nodes["b"], nodes["a"], made, hops=30)
    assert held(nodes["b"], made).hops == 31
    assert answers(give(world, nodes["b"], nodes["c"], made, hops=3)) == [CustodyCode.DUPLICATE]
    assert held(nodes["b"], made).hops == 4
    give(world, nodes["b"], nodes["a"], made, hops=30)
    assert held(nodes["b"], made).hops == 4


def test_an_age_that_clocks_disprove_is_not_believed_of_what_is_kept_for_others() -> None:
    world, nodes = graph("ab")
    node, other = nodes["b"], nodes["a"]
    now = core(node)._clock.stamp(world.now)
    assert now
    made = sign_stamped(now)
    give(world, node, other, made, age=DAY - 1)
    kept = held(node, made)
    assert kept.born + kept.ttl - core(node)._clock.life(world.now) > DAY - 302


def sign_stamped(timestamp: int) -> Envelope:
    plain = envelope()
    return sign_envelope(
        SecretIdentity(b"s" * 32),
        recipient=plain.recipient,
        payload=plain.payload,
        commitment=plain.commitment,
        ttl=plain.ttl,
        max_hops=plain.max_hops,
        timestamp=timestamp,
    )


def test_what_was_read_and_deleted_is_not_shown_again_though_it_came_with_a_false_age() -> None:
    world, nodes = graph("ab")
    reader, other = nodes["b"], nodes["a"]
    made = envelope(reader.user.address)
    give(world, reader, other, made, age=DAY - 1)
    (shown,) = reader.delivered
    world.tell(reader, events.DeleteMessage(reader.user.address, shown.message_id))
    world.run(60.0)
    for number in range(8):
        give(world, reader, other, envelope(reader.user.address, secret=bytes([number]) * 16))
    give(world, reader, other, made)
    assert [one.message_id for one in reader.delivered].count(shown.message_id) == 1


# --- floods --------------------------------------------------------------------------------------------------


def full(way: Place = Place.WAITING) -> Quotas:
    """Return room whose share for one link is full of envelopes, each of a sender of its own."""
    quotas = Quotas(40_000)
    for number in range(100):
        made = item(number, sender=Address(bytes([number]) * 32), recipient=Address(bytes([number, 1]) * 16))
        if quotas.room(ONE, made.sender, made.recipient, made.size) is None:
            break
        made.place = way
        quotas.add(made, 0)
    return quotas


def test_what_has_a_way_passes_a_share_that_is_full_of_envelopes_for_nobody() -> None:
    quotas = full()
    assert quotas.room(ONE, Address(b"a" * 32), Address(b"b" * 32), 488) is None
    gone = quotas.room(ONE, Address(b"a" * 32), Address(b"b" * 32), 1000, routed=True)
    assert gone is not None
    orders = [one.order for one in gone]
    assert orders == sorted(orders, reverse=True)
    assert sum(cost_of(one.size) for one in gone) >= cost_of(1000)
    assert quotas.looked_at >= 1


def test_what_was_handed_on_gives_way_too_but_nothing_that_is_on_its_way() -> None:
    quotas = full(Place.RESTING)
    asked = (ONE, Address(b"a" * 32), Address(b"b" * 32), 488)
    assert quotas.room(*asked, routed=True) is None
    handed_on = newest(quotas)
    handed_on.give(TWO)
    assert quotas.room(*asked, routed=True) == (handed_on,)


def newest(quotas: Quotas) -> Held:
    share = quotas._shares[ONE]
    part = next(reversed(share.senders.values()))
    return next(iter(part.items.values()))


def test_making_room_costs_the_link_that_asks_for_it() -> None:
    bucket = Bucket(10.0, 100.0, 0.0)
    bucket.charge(70.0)
    assert not bucket.take(40.0, 0.0)
    bucket.charge(70.0)
    assert not bucket.take(1.0, 0.0)
    assert bucket.take(10.0, 1.0)


def test_a_flood_of_envelopes_for_nobody_costs_its_link_more_once_the_room_is_full() -> None:
    world, nodes = graph("ab", relay_bytes=40_000, relay_rate=1.0, relay_burst=60_000.0)
    codes = []
    for number in range(200):
        sender = SecretIdentity(bytes([number]) * 32)
        recipient = SecretIdentity(bytes([number, 7]) * 16).address
        made = envelope(recipient, sender=sender, secret=number.to_bytes(16, "big"))
        codes += answers(give(world, nodes["b"], nodes["a"], made))
    assert codes.count(CustodyCode.ACCEPTED) + codes.count(CustodyCode.QUOTA) == 200
    assert core(nodes["b"])._relaying._quotas.size <= 40_000


def test_a_proof_that_has_been_and_gone_is_not_taken_again() -> None:
    world, nodes = graph("ab", proofs=40, proof_burst=64)
    node, other = nodes["b"], nodes["a"]
    proofs = core(node)._relaying.proofs
    foreign = Receipt((proof(1)[1:],))
    world.tell(node, events.FrameReceived(link(node, other), foreign))
    assert len(proofs) == 1
    proofs.expire_foreign(core(node)._clock.life(world.now) + 8 * DAY)
    assert len(proofs) == 0
    assert proofs.spent(proof(1)[0])
    assert proofs.share(proof(1)[0][:16]), "nor asked for"
    world.tell(node, events.FrameReceived(link(node, other), foreign))
    assert len(proofs) == 0
    assert node.counts["receipt.known"] == 1


def test_of_proofs_that_are_gone_a_bounded_number_is_remembered_those_that_gave_way_among_them() -> None:
    world, nodes = graph("ab", proofs=16)
    proofs = core(nodes["b"])._relaying.proofs
    for number in range(20):
        proofs.add_foreign(*proof(number), 100)
    assert [proofs.spent(proof(number)[0]) for number in range(20)] == [False] * 12 + [True] * 4 + [False] * 4
    assert world.now


# --- who is in the tree ----------------------------------------------------------------------------------------


def test_a_question_with_an_even_counter_goes_past_the_broadcast_tree() -> None:
    world, nodes = graph("ab bc bd")
    node, wanted = nodes["b"], SecretIdentity(b"w" * 32).address
    flooding = core(node)._flooding
    for name in "cd":
        flooding._peers[link(node, nodes[name])].eager = name == "c"
    asker = SecretIdentity(b"q" * 32)
    asked = []
    for number in range(1, 5):
        effects = world.tell(node, events.FrameReceived(link(node, nodes["a"]), sign_query(asker, wanted, 1, number)))
        links = {effect.link for effect in effects if isinstance(effect, SendFrame) and type(effect.frame) is Query}
        asked.append("".join(name for name in "cd" if link(node, nodes[name]) in links))
        world.run(5.0)
    assert asked == ["c", "cd", "c", "cd"]

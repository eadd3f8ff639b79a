"""What a gateway and a recipient take, refuse and take back, piece by piece; what lies costs nobody anything."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from cores import MemoryStore, Node, World
from joined_meshes import Shuttle, address, inner, mesh, slip
from qpq.crypto.identity import Address, SecretIdentity
from qpq.errors import QpqError
from qpq.mesh import counters, events
from qpq.mesh.effects import InsideProof, Notice, OutsideAnswered, OutsideLookup, Outward, State
from qpq.mesh.limits import Limits
from qpq.mesh.records import FederationInsert, InboxInsert, Operation
from qpq.wire.announce import GATEWAY
from qpq.wire.crossing import FoundBody, InwardBody, LookupBody, OutwardBody, ProofBody, RefusalBody
from qpq.wire.envelope import Envelope, Mode, encode_envelope, envelope_hash, envelope_id
from qpq.wire.query import ANY_GATEWAY, sign_query

CARL = SecretIdentity(b"c" * 32)
S = b"s" * 16
HOUR = 3_600.0


def one(**options: object) -> tuple[World, Node, Node, Node]:
    """A mesh of three in a line; the last is a gateway."""
    world = World(asks=False)
    nodes = mesh(world, "b.example", **options)
    world.run(5.0)
    return world, *nodes


def come(
    world: World, gateway: Node, envelope: Envelope | bytes, *, age: int = 0, domain: str = "c.example"
) -> list[OutsideAnswered]:
    """Let an envelope come from outside; return all the answers so far."""
    data = envelope if isinstance(envelope, bytes) else encode_envelope(envelope)
    world.tell(gateway, events.FromOutside(b"t%d" % len(gateway.outside), domain, data, age))
    return [effect for effect in gateway.outside if isinstance(effect, OutsideAnswered)]


def proofs(node: Node) -> list[InsideProof]:
    return [effect for effect in node.outside if isinstance(effect, InsideProof)]


# --- into the mesh ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", [0, 2])
def test_what_comes_is_delivered_and_its_proof_kept_for_who_sent_it(reader: int) -> None:
    world, *nodes = one()
    gateway, node = nodes[2], nodes[reader]
    envelope = inner(CARL, address(node))
    assert come(world, gateway, envelope) == [OutsideAnswered(b"t0")]
    world.run(10.0)
    assert [(message.sender, message.domain) for message in node.delivered] == [(CARL.address, "c.example")]
    proof = InsideProof("c.example", CARL.address, address(node), envelope_id(envelope), S, envelope_hash(envelope))
    assert proofs(gateway) == [proof]
    assert isinstance(gateway.store, MemoryStore)
    row = gateway.store.federation[1, envelope_id(envelope)]
    assert (row.domain, row.recipient, row.data) == ("c.example", CARL.address, S + envelope_hash(envelope))
    come(world, gateway, envelope)
    world.run(10.0)
    assert len(node.delivered) == 1
    assert proofs(gateway) == [proof, proof]


def test_what_is_on_its_way_in_is_not_sent_twice() -> None:
    world, node, _, gateway = one()
    envelope = inner(CARL, address(node))
    come(world, gateway, envelope)
    answers = come(world, gateway, envelope)
    assert [answer.reason for answer in answers] == ["", ""]
    assert gateway.counts[counters.INWARD_SENT] == 1


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("garbage", "array"),
        ("domain", "is no domain"),
        ("signature", "not signed"),
        ("mode", "not signed"),
        ("age", "its time is over"),
        ("gateway", "for a gateway itself"),
        ("key", ""),
        ("size", "send the text in parts"),
    ],
)
def test_what_can_never_be_delivered_is_refused_for_good(fault: str, says: str) -> None:
    world, node, _, gateway = one()
    assert gateway.gateway is not None
    envelope: Envelope | bytes = inner(CARL, address(node))
    if fault == "garbage":
        envelope = b"\x00"
    elif fault == "signature":
        envelope = replace(inner(CARL, address(node)), signature=bytes(64))
    elif fault == "mode":
        envelope = inner(CARL, address(node), mode=Mode.SEALED_SENDER)
    elif fault == "gateway":
        envelope = inner(CARL, gateway.gateway[0].address)
    elif fault == "key":
        envelope = inner(CARL, bytes(32), payload=b"x")
    elif fault == "size":
        envelope = inner(CARL, address(node), payload=bytes(31_000))
    answers = come(
        world, gateway, envelope, age=86_400 if fault == "age" else 0, domain="C" if fault == "domain" else "c.example"
    )
    assert [answer.retry for answer in answers] == [False]
    assert answers[0].reason
    assert says in answers[0].reason
    world.run(10.0)
    assert not node.delivered


def test_a_node_that_is_no_gateway_takes_nothing_for_now() -> None:
    world, node, middle, _ = one()
    come(world, middle, inner(CARL, address(node)))
    world.tell(middle, events.OutsideProof(b"p", "c.example", address(node), S, bytes(32)))
    world.tell(middle, events.OutsideRefused(b"r", address(node), bytes(32), "no"))
    world.tell(middle, events.OutsideFound(address(node), S, b"", "c.example"))
    answers = [effect for effect in middle.outside if isinstance(effect, OutsideAnswered)]
    assert [(answer.retry, bool(answer.reason)) for answer in answers] == [(True, True)] * 3


@pytest.mark.parametrize("limits", [Limits(inward_count=2), Limits(inward_domain=2)])
def test_domains_have_a_share_of_the_way_in(limits: Limits) -> None:
    world, node, middle, gateway = one(limits=limits)
    world.deafen(middle)
    for number in range(3):
        answers = come(world, gateway, inner(CARL, address(node), secret=bytes([number]) * 16))
    assert [answer.retry for answer in answers] == [False, False, True]
    other = come(world, gateway, inner(CARL, address(node), secret=b"x" * 16), domain="d.example")
    assert other[3].retry is (limits.inward_count == 2)
    world.undeafen(middle)
    world.run(60.0)
    assert come(world, gateway, inner(CARL, address(node), secret=b"y" * 16))[4].reason == ""


def test_what_is_for_nobody_fills_half_of_the_way_in_at_most() -> None:
    world, node, middle, gateway = one(limits=Limits(inward_count=8, inward_domain=4, keys_seek_burst=1))
    world.deafen(middle)
    nobody = [SecretIdentity(b"%032d" % number).address for number in range(9)]
    for number in range(4):
        answers = come(world, gateway, inner(CARL, nobody[number]))
    assert [answer.retry for answer in answers] == [False, False, True, True]
    for number in range(2):
        answers = come(world, gateway, inner(CARL, address(node), secret=bytes([number]) * 16))
    assert [answer.retry for answer in answers[4:]] == [False, False]
    answers = come(world, gateway, inner(CARL, nobody[5]), domain="d.example")
    assert answers[-1].retry


def test_who_is_far_away_is_looked_for_where_there_is_no_room_for_the_unknown() -> None:
    world = World(asks=False)
    names = [f"n{number}" for number in range(7)]
    world.graph(pairwise(names))
    gateway, far = (
        world.add("g", gateway="b.example", limits=Limits(inward_count=1, inward_domain=1)),
        world.nodes["n0"],
    )
    world.link(gateway, world.nodes["n6"])
    world.run(10.0)
    assert come(world, gateway, inner(CARL, address(far)))[0].retry
    world.run(200.0)
    assert come(world, gateway, inner(CARL, address(far)))[1].reason == ""
    world.run(10.0)
    assert len(far.delivered) == 1


def test_a_full_inbox_beside_the_gateway_asks_to_come_later_a_blocked_sender_never() -> None:
    world, _, _, gateway = one(limits=Limits(inbox_count=4, sender_percent=100))
    come(world, gateway, inner(CARL, address(gateway)))
    assert come(world, gateway, inner(CARL, address(gateway), secret=b"2" * 16))[1].retry
    world.tell(gateway, events.BlockedSet(address(gateway), frozenset({CARL.address})))
    last = come(world, gateway, inner(CARL, address(gateway), secret=b"3" * 16))[2]
    assert (last.retry, last.reason) == (False, "the recipient does not take it")


class Choosy(MemoryStore):
    """A store that takes no transaction with an operation that ``hates`` says so of."""

    hates: tuple[type, ...] = ()

    def apply(self, operations: list[Operation]) -> None:  # type: ignore[override]
        if any(isinstance(operation, self.hates) for operation in operations):
            raise QpqError("no room")
        super().apply(operations)


def test_what_could_not_be_stored_is_asked_for_again() -> None:
    store = Choosy()
    world = World(asks=False)
    node, middle = world.add("n"), world.add("m", gateway="b.example", store=store)
    world.link(node, middle)
    world.run(5.0)
    store.room = 0
    answers = come(world, middle, inner(CARL, address(node)))
    assert [(answer.reason, answer.retry) for answer in answers] == [("the store is full", True)]
    world.tell(middle, events.OutsideProof(b"p", "c.example", address(node), S, bytes(32)))
    store.room = 1 << 30
    store.hates = (InboxInsert,)
    answers = come(world, middle, inner(CARL, address(middle)))
    assert [(answer.reason, answer.retry) for answer in answers] == [("the store is full", True)] * 3
    assert not middle.delivered
    store.hates = ()
    assert come(world, middle, inner(CARL, address(middle)))[3].reason == ""
    assert come(world, middle, inner(CARL, address(node)))[4].reason == ""
    world.run(10.0)
    assert len(middle.delivered) == len(node.delivered) == 1


def test_a_full_store_at_the_recipients_lets_it_come_again() -> None:
    world = World(asks=False)
    store = Choosy()
    node, gateway = world.add("n", store=store), world.add("g", gateway="b.example")
    world.link(node, gateway)
    world.run(5.0)
    store.hates = (InboxInsert,)
    come(world, gateway, inner(CARL, address(node)))
    world.run(30.0)
    assert not node.delivered
    assert not proofs(gateway)
    store.hates = ()
    world.run(2 * HOUR)
    assert len(node.delivered) == 1
    assert len(proofs(gateway)) == 1


def test_a_gateway_whose_store_is_full_leaves_the_message_with_its_sender() -> None:
    world = World(asks=False)
    store = Choosy()
    node, gateway = world.add("n"), world.add("g", gateway="b.example", store=store)
    world.link(node, gateway)
    world.run(5.0)
    store.hates = (FederationInsert,)
    sent = [world.send(sender, CARL.address, domain="c.example") for sender in (node, gateway)]
    world.run(20.0)
    for sender, message in zip((node, gateway), sent, strict=True):
        assert State.RELAYED not in sender.states.get((address(sender), message), [])
    store.hates = ()
    again = world.send(gateway, CARL.address, domain="c.example")
    world.run(HOUR)
    assert node.states[address(node), sent[0]][-1] is State.RELAYED
    assert gateway.states[address(gateway), again][-1] is State.RELAYED


def test_a_message_that_waited_at_its_own_gateway_goes_on_when_there_is_room() -> None:
    world = World(asks=False)
    store = Choosy()
    gateway = world.add("g", store=store)
    message = world.send(gateway, CARL.address, domain="c.example")
    store.hates = (FederationInsert,)
    world.tell(gateway, events.UserAdded(b"g" * 32, gateway="b.example"))
    world.run(60.0)
    assert gateway.states[address(gateway), message] == [State.QUEUED]
    store.hates = ()
    world.run(HOUR)
    assert gateway.states[address(gateway), message] == [State.QUEUED, State.RELAYED]


def test_of_messages_being_stored_beside_the_gateway_so_many_are_remembered() -> None:
    world, _, _, gateway = one()
    for number in range(70):
        come(world, gateway, inner(CARL, address(gateway), secret=bytes([number]) * 16))
    assert gateway.core is not None
    assert len(gateway.core._crossings.outside.border._entering) == 64


# --- words back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sender", [0, 2])
def test_a_proof_or_a_refusal_from_outside_reaches_the_sender(sender: int) -> None:
    world, *nodes = one()
    node, gateway = nodes[sender], nodes[2]
    first, second = (world.send(node, CARL.address, text, domain="c.example") for text in ("1", "2"))
    world.run(10.0)
    rows = {row.message_id: row.envelope_id for row in node.store.outbox.values()}  # type: ignore[attr-defined]
    out = [effect for effect in gateway.outside if isinstance(effect, Outward)]
    assert len(out) == 2
    world.tell(gateway, events.OutsideRefused(b"r", address(node), rows[second], "nobody there"))
    world.run(10.0)
    assert node.states[address(node), first][-1] is State.RELAYED
    assert node.states[address(node), second][-1] is State.REFUSED
    assert node.reasons == ["nobody there"]


def test_words_that_do_not_fit_are_refused_for_good() -> None:
    world, node, _, gateway = one()
    world.tell(gateway, events.OutsideProof(b"1", "C", address(node), S, bytes(32)))
    world.tell(gateway, events.OutsideRefused(b"2", address(node), b"", "no"))
    world.tell(gateway, events.OutsideProof(b"3", "c.example", Address(bytes(32)), S, bytes(32)))
    answers = [effect for effect in gateway.outside if isinstance(effect, OutsideAnswered)]
    assert [(answer.token, answer.retry, bool(answer.reason)) for answer in answers] == [
        (b"1", False, True),
        (b"2", False, True),
        (b"3", False, True),
    ]


def test_words_from_outside_are_bounded() -> None:
    world, node, middle, gateway = one(limits=Limits(outside_words=1))
    world.deafen(middle)
    for token in (b"1", b"2"):
        world.tell(gateway, events.OutsideRefused(token, address(node), bytes(32), "no"))
    world.tell(gateway, events.OutsideFound(address(node), S, b"", "c.example"))
    answers = [effect for effect in gateway.outside if isinstance(effect, OutsideAnswered)]
    assert [answer.retry for answer in answers] == [False, True]
    world.undeafen(middle)
    world.run(10.0)
    world.tell(gateway, events.OutsideRefused(b"3", address(node), bytes(32), "no"))
    assert gateway.outside[-1] == OutsideAnswered(b"3")


def test_an_answer_that_does_not_fit_is_told_as_none() -> None:
    world, node, _, gateway = one()
    world.tell(node, events.Lookup(address(node), S, "carl", "c.example"))
    world.run(5.0)
    asked = [effect for effect in gateway.outside if isinstance(effect, OutsideLookup)]
    assert [(one.name, one.domain) for one in asked] == [("carl", "c.example")]
    world.tell(gateway, events.OutsideFound(asked[0].asker, asked[0].token, b"short", "c.example"))
    world.run(5.0)
    assert [getattr(effect, "reason", "") for effect in node.outside] == ["the other domain's answer cannot be read"]


# --- what lies -------------------------------------------------------------------------------------------------------


def test_a_gateway_takes_only_what_its_sender_has_signed() -> None:
    world, node, _, gateway = one()
    assert gateway.gateway is not None
    to = gateway.gateway[0].address
    envelope = inner(node.user, CARL.address)
    for data in (
        b"\x00",
        encode_envelope(inner(CARL, node.user.address)),
        encode_envelope(replace(envelope, signature=bytes(64))),
        encode_envelope(inner(node.user, CARL.address, mode=Mode.SEALED_SENDER)),
    ):
        slip(world, node, to, OutwardBody(S, "c.example", data))
    for body in (InwardBody(S, "c.example", b"x"), FoundBody(S, S, b"", "", ""), RefusalBody(S, bytes(32), "")):
        slip(world, node, to, body)
    world.run(30.0)
    assert not [effect for effect in gateway.outside if isinstance(effect, Outward)]
    assert gateway.counts[counters.OUTWARD_TAKEN] == 0
    slip(world, node, to, OutwardBody(b"2" * 16, "c.example", encode_envelope(envelope)))
    world.run(5.0)
    assert len([effect for effect in gateway.outside if isinstance(effect, Outward)]) == 1


def test_nothing_lives_longer_outside_than_its_sender_wants() -> None:
    world, node, _, gateway = one()
    assert gateway.gateway is not None
    envelope = encode_envelope(inner(node.user, CARL.address, ttl=100))
    slip(world, node, gateway.gateway[0].address, OutwardBody(S, "c.example", envelope), ttl=86_400)
    world.run(5.0)
    assert [effect.ttl for effect in gateway.outside if isinstance(effect, Outward)] == [100]
    assert isinstance(gateway.store, MemoryStore)
    row = next(iter(gateway.store.federation.values()))
    assert row.ttl == 100


def test_a_gateway_limits_what_proofs_one_user_has_it_carry() -> None:
    world, node, _, gateway = one(limits=Limits(outward_burst=1, outward_rate=0.0))
    assert gateway.gateway is not None
    for number in range(3):
        body = ProofBody(bytes([number]) * 16, "c.example", CARL.address, bytes([number]) * 16, bytes(32))
        slip(world, node, gateway.gateway[0].address, body)
    world.run(30.0)
    assert len(proofs(gateway)) == 1


@pytest.mark.parametrize("fault", ["garbage", "recipient", "mode", "signature", "seal", "body", "word", "format"])
def test_a_recipient_takes_from_a_gateway_only_what_it_would_take_from_anybody(fault: str) -> None:
    world, node, middle, _ = one()
    envelope = inner(CARL, address(node))
    if fault == "recipient":
        envelope = inner(CARL, address(middle))
    elif fault == "mode":
        envelope = inner(CARL, address(node), mode=Mode.SEALED_SENDER)
    elif fault == "signature":
        envelope = replace(envelope, signature=bytes(64))
    elif fault == "seal":
        envelope = inner(CARL, address(node), payload=b"\x01" + bytes(80))
    elif fault == "body":
        envelope = inner(CARL, address(node), payload=inner(CARL, address(node), secret=b"o" * 16).payload)
    elif fault == "word":
        envelope = inner(CARL, address(node), body=LookupBody(S, "n", "c.example"))
    elif fault == "format":
        envelope = inner(CARL, address(node), payload=b"\x07" + bytes(80))
    data = b"\x00" if fault == "garbage" else encode_envelope(envelope)
    slip(world, middle, address(node), InwardBody(S, "c.example", data))
    world.run(5.0)
    assert not node.delivered
    assert node.counts[counters.TRANSFER_REFUSED + "unreadable"] >= 1


def test_bodies_for_gateways_are_for_nobody_else() -> None:
    world, node, middle, _ = one()
    for body in (OutwardBody(S, "c.example", b"x"), LookupBody(S, "carl", "c.example")):
        slip(world, middle, address(node), body)
    world.run(5.0)
    assert node.counts[counters.TRANSFER_REFUSED + "unreadable"] == 2


def test_a_refusal_or_an_answer_by_somebody_else_says_nothing() -> None:
    world, node, middle, _ = one()
    message = world.send(node, CARL.address, domain="c.example")
    world.run(5.0)
    row = next(iter(node.store.outbox.values()))  # type: ignore[attr-defined]
    for about in (row.envelope_id, bytes(32)):
        slip(world, middle, address(node), RefusalBody(about[:16], about, "no"))
    slip(world, middle, address(node), FoundBody(S, S, b"", "", "no"))
    slip(world, middle, address(node), ProofBody(S, "c.example", CARL.address, S, bytes(32)))
    world.run(10.0)
    assert node.states[address(node), message][-1] is State.RELAYED
    assert not node.outside


def test_words_to_a_user_are_limited_for_each_link() -> None:
    world, node, middle, _ = one(limits=Limits(control_burst=1, control_rate=0.001))
    for number in range(4):
        slip(world, middle, address(node), RefusalBody(bytes([number]) * 16, bytes(32), "no"))
    world.run(4.0)
    assert node.counts[counters.CONTROL_OVER_RATE] == 2, "a stranger's first word makes it known, so there is a second"


def test_without_room_for_its_proof_a_message_comes_later() -> None:
    world = World(asks=False)
    node, gateway = world.add("n", limits=Limits(outside_words=1)), world.add("g", gateway="b.example")
    world.link(node, gateway)
    world.run(5.0)
    slip(world, node, CARL.address, RefusalBody(S, bytes(32), "no"), ttl=1_000)
    come(world, gateway, inner(CARL, address(node)))
    world.run(30.0)
    assert not node.delivered
    world.run(2 * HOUR)
    assert len(node.delivered) == 1


def test_what_lies_in_custody_for_a_user_who_comes_is_brought_in_too() -> None:
    world = World(asks=False)
    shelf, gateway = world.add("s"), world.add("g", gateway="b.example")
    world.link(shelf, gateway)
    world.run(5.0)
    bert = SecretIdentity(b"b" * 32)
    come(world, gateway, inner(CARL, bert.address))
    slip(world, gateway, bert.address, InwardBody(b"2" * 16, "c.example", b"\x00"))
    world.run(200.0)
    world.part(shelf, gateway)
    world.run(5.0)
    world.tell(shelf, events.UserAdded(bert.seed))
    world.run(5.0)
    assert [message.domain for message in shelf.delivered] == ["c.example"]
    world.join(shelf, gateway)
    world.run(HOUR)
    assert len(proofs(gateway)) == 1


# --- gateways as users and in routes ---------------------------------------------------------------------------


def test_a_gateway_is_one_user_more_and_reads_nothing_for_its_node() -> None:
    world = World(asks=False)
    node = world.add("n", users=0, limits=Limits(max_users=1), gateway="b.example")
    other = world.add("o")
    world.link(node, other)
    world.run(5.0)
    assert node.core is not None
    assert node.core._users.reader(Address(node.secret.address)) is None
    anna, bert = SecretIdentity(b"a" * 32), SecretIdentity(b"b" * 32)
    world.tell(node, events.UserAdded(anna.seed))
    reader = node.core._users.reader(Address(node.secret.address))
    assert reader is not None
    assert reader[0].secret.address == anna.address
    world.tell(node, events.UserAdded(bert.seed))
    world.tell(node, events.UserAdded(bert.seed, gateway="b.example"))
    assert [notice.level for notice in node.notices if isinstance(notice, Notice)] == ["warning"] * 2
    assert [announce.capabilities for announce in node.core._users.announces()] == [GATEWAY, 0]
    assert node.gateway is not None
    renewed = node.core._users.renew(Address(node.gateway[0].address))
    assert renewed is not None
    assert renewed.announce.capabilities == GATEWAY


def test_every_gateway_answers_a_query_for_any_and_who_asks_again_hears_of_more() -> None:
    world = World(asks=False)
    world.graph([("o", "n1"), ("n1", "n2"), ("n2", "n3"), ("n3", "n4"), ("n4", "n5"), ("n5", "g")])
    gateway = world.nodes["g"]
    gateway.gateway = (SecretIdentity(b"g" * 32), "b.example")
    world.tell(gateway, events.UserAdded(b"g" * 32, gateway="b.example"))
    world.run(30.0)
    asker = world.nodes["o"]
    assert asker.core is not None
    assert asker.core._routing.gateways() == ()
    for counter in range(1, 6):
        query = sign_query(asker.secret, ANY_GATEWAY, 9, 2 * counter)
        for wire in asker.wires.values():
            world.inject(wire, wire.encoder.encode(query))
        world.run(10.0)
    beside = world.nodes["n1"].core
    assert beside is not None
    assert beside._routing.gateways() == (gateway.gateway[0].address,)
    assert asker.core._routing.gateways() == ()  # it did not ask itself
    assert gateway.counts[counters.QUERY_ANSWERED] >= 1


def test_of_silent_gateways_so_many_are_remembered() -> None:
    world, node, _, _ = one()
    assert node.core is not None
    gateways = node.core._crossings.outside._gateways
    for number in range(100):
        gateways.tire(Address(number.to_bytes(32, "big")), world.now)
    assert len(gateways._tired) == 64


def test_the_shuttle_brings_nothing_without_gateways() -> None:
    world, _, _, gateway = one()
    shuttle = Shuttle(world)
    world.send(gateway, CARL.address, domain="c.example")
    world.run(600.0)
    assert not shuttle.carried

"""Envelopes for users here that bring nothing: what they may cost by sender and by link, and whom they hold up not."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from cores import Node, World
from qpq.crypto.identity import Address, SecretIdentity
from qpq.crypto.sealing import seal
from qpq.mesh import counters, events, receiving
from qpq.mesh.custody import MAX_PUT_OFF, Destination
from qpq.mesh.effects import SendFrame, State
from qpq.mesh.ingress import Allowances, Standing
from qpq.mesh.limits import Limits
from qpq.wire.body import Body, encode_body
from qpq.wire.envelope import Envelope, sign_envelope, verify_envelope
from qpq.wire.frames import FEATURES, REFUSES_ONE, Custody, CustodyCode, Transfer
from qpq.wire.receipts import commitment

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = 86_400
TIGHT = Limits(vain_rate=1.0, vain_burst=8, vain_sender_percent=25, vain_senders=2, senders_opened=2)
ANNA, BERT, CARL = (Address(bytes((number,)) * 32) for number in range(3))


def stranger(number: int) -> SecretIdentity:
    return SecretIdentity(b"stranger" * 3 + number.to_bytes(8, "big"))


def vain(sender: SecretIdentity, recipient: Node, number: int = 0, ttl: int = DAY) -> Envelope:
    """Return an envelope that is signed rightly, and that nobody can open."""
    payload = b"\x01" + bytes(range(1, 33)) + number.to_bytes(4, "big") + bytes(60)
    return sign_envelope(sender, recipient=recipient.user.address, payload=payload, commitment=bytes(16), ttl=ttl)


def good(sender: SecretIdentity, recipient: Node, secret: bytes, text: str = "hello", message: bytes = b"") -> Envelope:
    body = encode_body(Body(secret, text, message or secret))
    payload = seal(body, sender=sender.address, recipient=recipient.user.address, entropy=secret * 2)
    return sign_envelope(
        sender, recipient=recipient.user.address, payload=payload, commitment=commitment(secret), ttl=DAY
    )


def bring(world: World, node: Node, envelope: Envelope, link: int | None = None) -> CustodyCode | None:
    """Let a neighbour bring an envelope; return the code that it is answered, None: a receipt."""
    number = link if link is not None else next(iter(node.wires))
    frames = [
        effect.frame
        for effect in world.tell(node, events.FrameReceived(number, Transfer(1, 1, 0, envelope)))
        if isinstance(effect, SendFrame) and isinstance(effect.frame, Custody)
    ]
    return frames[0].answers[0][1] if frames else None


def met(limits: Limits = TIGHT) -> tuple[World, Node, Node]:
    """Return two linked nodes whose users have not met; the second one's limits are small."""
    world = World(plain=True)
    anna, bert = world.add("a"), world.add("b", limits=limits)
    world.link(anna, bert)
    world.run(2.0)
    return world, anna, bert


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Ids of the envelopes for local users whose signatures were verified."""
    found: list[bytes] = []

    def verify(envelope: Envelope, identifier: bytes) -> bool:
        found.append(identifier)
        return verify_envelope(envelope, identifier)

    monkeypatch.setattr(receiving, "verify_envelope", verify)
    return found


# --- allowances ---------------------------------------------------------------------------------------------


def test_one_sender_has_a_part_of_what_its_link_may_bring_in_vain() -> None:
    allowances = Allowances(TIGHT)
    for _ in range(2):
        assert allowances.admits(ANNA, Standing.STRANGER, 0.0)
        allowances.charge(ANNA, Standing.STRANGER, 1, 0.0)
    assert not allowances.admits(ANNA, Standing.STRANGER, 0.0)
    assert allowances.admits(BERT, Standing.STRANGER, 0.0)
    assert not allowances.admits(ANNA, Standing.STRANGER, 3.9)
    assert allowances.admits(ANNA, Standing.STRANGER, 4.1), "a quarter of one a second"


def test_what_costs_more_is_paid_back_before_the_next_is_tried() -> None:
    allowances = Allowances(TIGHT)
    allowances.charge(ANNA, Standing.KNOWN, 5, 0.0)
    assert not allowances.admits(ANNA, Standing.KNOWN, 15.9)
    assert allowances.admits(ANNA, Standing.KNOWN, 16.1)


def test_each_standing_has_its_own_allowance_and_then_takes_from_those_below() -> None:
    allowances = Allowances(TIGHT)
    for number in range(8):
        allowances.charge(Address(bytes((9, number)) * 16), Standing.KNOWN, 1, 0.0)
    assert allowances.admits(ANNA, Standing.KNOWN, 0.0), "there is the strangers'"
    assert allowances.admits(ANNA, Standing.FRIEND, 0.0)
    for number in range(8):
        allowances.charge(Address(bytes((8, number)) * 16), Standing.KNOWN, 1, 0.0)
    assert not allowances.admits(ANNA, Standing.KNOWN, 0.0)
    assert not allowances.admits(ANNA, Standing.STRANGER, 0.0)
    assert allowances.admits(ANNA, Standing.FRIEND, 0.0)
    allowances.charge(CARL, Standing.STRANGER, 1, 0.0)
    assert not allowances.admits(ANNA, Standing.STRANGER, 1.5), "what nobody had left was owed by the standing itself"


def test_so_many_senders_are_told_apart() -> None:
    allowances = Allowances(TIGHT)
    for sender in (ANNA, BERT, CARL):
        allowances.charge(sender, Standing.STRANGER, 2, 0.0)
    assert allowances.admits(ANNA, Standing.STRANGER, 0.0), "forgotten: it failed longest ago"
    assert not allowances.admits(BERT, Standing.STRANGER, 0.0)
    assert not allowances.admits(CARL, Standing.STRANGER, 0.0)


def test_sessions_and_words_are_counted_for_each_standing() -> None:
    allowances = Allowances(Limits(agreement_burst=1, control_burst=2))
    assert [allowances.may_begin(Standing.STRANGER, 0.0) for _ in range(2)] == [True, False]
    assert [allowances.may_begin(Standing.FRIEND, 0.0) for _ in range(3)] == [True, True, False]
    assert [allowances.may_say(Standing.KNOWN, 0.0) for _ in range(5)] == [True] * 4 + [False]


# --- what a node does ---------------------------------------------------------------------------------------


def test_a_flood_that_nobody_can_open_is_not_even_verified(verified: list[bytes]) -> None:
    world, _, bert = met()
    codes = Counter(bring(world, bert, vain(stranger(number), bert)) for number in range(200))
    assert codes == {CustodyCode.UNREADABLE: 8, CustodyCode.LATER: 192}
    assert len(verified) == 8
    world.run(10.0)
    codes = Counter(bring(world, bert, vain(stranger(number), bert)) for number in range(200, 300))
    assert codes == {CustodyCode.UNREADABLE: 8, CustodyCode.LATER: 92}
    assert bert.counts["transfer.refused_later"] == 192 + 92
    assert bert.counts[counters.LINK_MISBEHAVED] == 0, "the link may be an honest relay's"
    assert len(bert.wires) == 1


def test_what_was_not_tried_leaves_nothing_and_is_opened_when_it_comes_again() -> None:
    world, _, bert = met()
    for number in range(8):
        bring(world, bert, vain(stranger(number), bert))
    first = good(stranger(99), bert, b"1" * 16)
    assert bring(world, bert, first) is CustodyCode.LATER
    assert not bert.delivered
    world.run(2.0)
    assert bring(world, bert, first) is None
    assert [each.text for each in bert.delivered] == ["hello"]


def test_what_is_opened_costs_nothing(verified: list[bytes]) -> None:
    world, _, bert = met()
    for number in range(40):
        assert bring(world, bert, good(stranger(number), bert, bytes((number,)) * 16)) is None
    assert len(bert.delivered) == len(verified) == 40


def test_another_link_has_its_own_allowance() -> None:
    world, _, bert = met()
    carl = world.add("c")
    world.link(carl, bert)
    world.run(2.0)
    one, other = bert.wires
    codes = Counter(bring(world, bert, vain(stranger(number), bert), one) for number in range(50))
    assert codes[CustodyCode.LATER] == 42
    assert bring(world, bert, vain(stranger(99), bert), other) is CustodyCode.UNREADABLE
    assert bring(world, bert, good(stranger(98), bert, b"1" * 16), other) is None


def _writes(world: World, bert: Node, friend: SecretIdentity) -> None:
    world.send(bert, friend.address, "are you there?")


def _names(world: World, bert: Node, friend: SecretIdentity) -> None:
    world.tell(bert, events.BlockedSet(bert.user.address, frozenset(), frozenset({friend.address})))


def _starts_with_names(world: World, bert: Node, friend: SecretIdentity) -> None:
    world.tell(bert, events.UserAdded(bert.user.seed, named=frozenset({friend.address})))


def _opened(world: World, bert: Node, friend: SecretIdentity) -> None:
    message = b"0" * 16
    bring(world, bert, good(friend, bert, message))
    world.tell(bert, events.DeleteMessage(bert.user.address, message))


def _kept(world: World, bert: Node, friend: SecretIdentity) -> None:
    bring(world, bert, good(friend, bert, b"0" * 16))
    for number in range(2):
        bring(world, bert, good(stranger(200 + number), bert, bytes((number,)) * 16))


@pytest.mark.parametrize("meet", [_writes, _names, _starts_with_names, _opened, _kept])
def test_strangers_do_not_hold_up_whom_the_user_knows(meet: Callable[[World, Node, SecretIdentity], None]) -> None:
    world, _, bert = met()
    friend = SecretIdentity(b"f" * 32)
    meet(world, bert, friend)
    for number in range(100):
        bring(world, bert, vain(stranger(number), bert))
    assert bring(world, bert, good(stranger(150), bert, b"2" * 16)) is CustodyCode.LATER
    for number in range(20):
        assert bring(world, bert, good(friend, bert, bytes((9, number)) * 8)) is None


def test_a_friend_who_turns_has_a_limit_too(verified: list[bytes]) -> None:
    world, _, bert = met()
    friend = SecretIdentity(b"f" * 32)
    _names(world, bert, friend)
    codes = Counter(bring(world, bert, vain(friend, bert, number)) for number in range(50))
    assert codes == {CustodyCode.UNREADABLE: 2, CustodyCode.LATER: 48}
    assert len(verified) == 2


def test_a_message_that_comes_again_and_again_in_new_envelopes_is_in_vain(verified: list[bytes]) -> None:
    world, _, bert = met()
    friend, message = SecretIdentity(b"f" * 32), b"m" * 16
    codes = Counter(bring(world, bert, good(friend, bert, bytes((n,)) * 16, message=message)) for n in range(30))
    assert codes == {None: 3, CustodyCode.LATER: 27}
    assert len(verified) == 3
    assert len(bert.delivered) == 1


def test_a_false_signature_still_ends_the_link_and_is_charged_to_nobody() -> None:
    world, _, bert = met()
    made = vain(stranger(1), bert)
    forged = Envelope(**{name: getattr(made, name) for name in Envelope.__slots__} | {"signature": bytes(64)})
    assert bring(world, bert, forged) is CustodyCode.BAD_SIGNATURE
    assert bert.counts[counters.LINK_MISBEHAVED] == 1


def test_who_does_not_know_the_code_is_told_another_after_which_it_tries_again() -> None:
    world, anna, bert = met()
    core = bert.core
    assert core is not None
    link = core._neighbours.get(next(iter(bert.wires)))
    assert link is not None
    assert link.hello is not None
    assert link.refuses_one
    object.__setattr__(link.hello, "features", FEATURES & ~REFUSES_ONE)
    for number in range(8):
        bring(world, bert, vain(stranger(number), bert))
    message = world.send(anna, bert.user.address)
    world.run(1.0)
    assert bert.counts["transfer.refused_later"] == 1
    world.run(2 * 3600.0)
    assert anna.states[anna.user.address, message][-1] is State.DELIVERED
    link.hello = None
    assert not link.refuses_one


def test_where_one_senders_part_of_an_inbox_is_full_others_are_not_held_up() -> None:
    world, anna, bert = met(Limits(inbox_count=8))
    codes = [bring(world, bert, good(stranger(1), bert, bytes((number,)) * 16)) for number in range(5)]
    assert codes == [None] * 4 + [CustodyCode.LATER]
    message = world.send(anna, bert.user.address)
    world.run(1.0)
    assert anna.states[anna.user.address, message][-1] is State.DELIVERED


# --- what its neighbours do -----------------------------------------------------------------------------------


def test_an_envelope_that_is_put_off_rests_alone_and_longer_each_time() -> None:
    world, anna, bert = met(Limits(vain_rate=0.001, vain_burst=1))
    bring(world, bert, vain(stranger(1), bert))
    first = world.send(anna, bert.user.address, "first")
    sent = [world.now]
    while len(sent) < 5:
        before = bert.counts["transfer.refused_later"]
        world.run(1.0)
        if bert.counts["transfer.refused_later"] > before:
            sent.append(world.now)
    waits = [later - earlier for earlier, later in pairwise(sent[1:])]
    assert all(least <= wait <= 1.4 * least + 2 for least, wait in zip((5.0, 10.0, 20.0), waits, strict=True))
    _names(world, bert, anna.user)
    second = world.send(anna, bert.user.address, "second")
    world.run(1.0)
    assert anna.states[anna.user.address, second][-1] is State.DELIVERED, "the first one holds up no other"
    assert anna.states[anna.user.address, first][-1] is State.QUEUED
    world.run(60.0)
    assert anna.states[anna.user.address, first][-1] is State.DELIVERED


def flood(world: World, liar: Node, relay: Node, bert: Node, numbers: range, ttl: int) -> None:
    """Let a liar's link bring its relay an envelope of each of so many senders, which nobody can open."""
    number = next(wire.other.number for wire in liar.wires.values() if wire.other is not None)
    for each in numbers:
        world.tell(relay, events.FrameReceived(number, Transfer(1, 1, 0, vain(stranger(each), bert, ttl=ttl))))


@pytest.mark.parametrize("shared", [False, True], ids=["over links of their own", "over one link with the flood"])
def test_a_flood_behind_honest_relays_holds_up_no_conversation_and_lets_a_first_message_through(
    shared: bool, verified: list[bytes]
) -> None:
    world = World(1)
    bert = world.add("bert", limits=Limits(vain_rate=1.0, vain_burst=16, vain_senders=8))
    relay, liar, friend, new = (world.add(name) for name in ("relay", "liar", "friend", "new"))
    entry = world.add("entry") if shared else relay
    world.link(bert, relay)
    if shared:
        world.link(entry, relay)
    for node in (liar, friend, new):
        world.link(node, entry)
    world.run(5.0)
    world.send(friend, bert.user.address, "shall we talk?")
    world.run(2.0)
    world.send(bert, friend.user.address, "yes")
    world.run(2.0)
    began, tried = world.now, len(verified)
    first, asked = b"", []
    for second in range(300):
        flood(world, liar, entry, bert, range(5 * second, 5 * second + 5), ttl=60)
        if second == 60:
            first = world.send(new, bert.user.address, "we have not met")
        if second % 30 == 29:
            asked.append(world.send(friend, bert.user.address, f"talk {second}"))
            world.run(0.5)
            assert friend.states[friend.user.address, asked[-1]][-1] is State.DELIVERED, "at once, all the time"
        world.run(began + second + 1 - world.now)
    assert len(asked) == 10
    assert bert.counts["transfer.refused_unreadable"] <= 16 + 300 / 2 + 1, "the relay hands on one in two seconds"
    assert bert.counts["transfer.refused_later"] <= 2
    assert len(verified) - tried <= 16 + 300 / 2 + len(asked) + 10
    if shared:
        world.run(1.5 * 3600)
    assert new.states[new.user.address, first][-1] is State.DELIVERED
    for node in (bert, relay, entry, friend, new):
        assert node.counts[counters.LINK_MISBEHAVED] == 0
    assert len(entry.wires) + len(relay.wires) == (6 if shared else 8)


def test_a_liar_that_brings_them_itself_holds_up_nobody_who_comes_over_another_link() -> None:
    world = World(1)
    bert = world.add("bert", limits=Limits(vain_rate=1.0, vain_burst=16, vain_senders=8))
    relay, liar, new = (world.add(name) for name in ("relay", "liar", "new"))
    for one, other in ((bert, relay), (bert, liar), (relay, new)):
        world.link(one, other)
    world.run(5.0)
    began = world.now
    first = world.send(new, bert.user.address, "we have not met")
    for second in range(10):
        flood(world, liar, bert, bert, range(50 * second, 50 * second + 50), ttl=60)
        world.run(began + second + 1 - world.now)
    assert new.states[new.user.address, first][-1] is State.DELIVERED
    assert bert.counts["transfer.refused_unreadable"] <= 16 + 10
    assert bert.counts["transfer.refused_later"] >= 500 - 26


def test_who_brought_what_is_put_off_is_remembered_up_to_a_number() -> None:
    destination = Destination()
    sources = [SecretIdentity(bytes((number,)) * 32).identity for number in range(MAX_PUT_OFF + 1)]
    for number, via in enumerate(sources):
        assert destination.wait_behind(via, 5.0, 60.0, float(number)) == 5.0
    assert len(destination.put_off) == MAX_PUT_OFF
    assert sources[0] not in destination.put_off
    waits = [destination.wait_behind(sources[-1], 25.0, 60.0, float(MAX_PUT_OFF)) for _ in range(3)]
    assert waits == [30.0, 55.0, 60.0]


def test_pairs_that_were_proven_are_remembered_up_to_a_number() -> None:
    world = World(plain=True)
    anna, relay, bert = world.add("a"), world.add("r", limits=Limits(pairs_proven=1)), world.add("b", users=2)
    world.link(anna, relay)
    world.link(relay, bert)
    world.run(3.0)
    for user in bert.users:
        world.send(anna, user.address)
        world.run(1.0)
    assert relay.core is not None
    assert list(relay.core._sending._moving._proven) == [(anna.user.address, bert.users[1].address)]

"""Sessions between users: keys are asked for, messages wait for them or not, what went wrong is sealed anew."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cores import FullError, MemoryStore, Node, World, pair
from qpq.crypto import sealing
from qpq.crypto.errors import IdentityError
from qpq.crypto.identity import SecretIdentity
from qpq.crypto.session_header import FORMAT_OPENING, plaintext_bytes
from qpq.mesh import counters, events
from qpq.mesh.custody import Place
from qpq.mesh.effects import Effect, SendFrame, State, StateChanged
from qpq.mesh.giving import Reason
from qpq.mesh.limits import Limits
from qpq.mesh.outbox import Outgoing
from qpq.mesh.records import (
    OutboxInsert,
    OutboxReseal,
    OutboxState,
    PrekeyPut,
    RelayInsert,
    SessionPut,
    TombstoneInsert,
)
from qpq.wire.body import PADDING_STEP, Body, Keys, KeysWanted, encode_body
from qpq.wire.envelope import Envelope, decode_envelope, envelope_id, sign_envelope
from qpq.wire.frames import Custody, CustodyCode, Receipt, Transfer
from qpq.wire.receipts import commitment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpq.mesh.core import Core
    from qpq.mesh.records import Operation

DAY = 86_400
STRANGER = SecretIdentity(b"?" * 32)


def core(node: Node) -> Core:
    assert node.core is not None
    return node.core


def store(node: Node) -> MemoryStore:
    assert isinstance(node.store, MemoryStore)
    return node.store


def texts(node: Node) -> list[str]:
    return [deliver.text for deliver in node.delivered]


def formats(world: World, sender: Node | None = None) -> list[int]:
    """Return the seal formats of all envelopes that went over links, those of one sender's user or of all."""
    transfers = [frame.envelope for _, _, frame in world.frames if isinstance(frame, Transfer)]
    return [each.payload[0] for each in transfers if sender is None or each.sender == sender.user.address]


def sealed(node: Node, message: bytes) -> bool | None:
    return store(node).outbox[node.user.address, message].sealed


def state(node: Node, message: bytes) -> State:
    return store(node).state(node.user.address, message)


def talked(seed: int = 0, **limits: object) -> tuple[World, Node, Node]:
    """Return two nodes whose users have written to each other."""
    world, anna, bert = pair(seed, **limits)
    world.send(anna, bert.user.address, "first")
    world.run(1.0)
    world.send(bert, anna.user.address, "answer")
    world.run(1.0)
    world.send(anna, bert.user.address, "second")
    world.run(1.0)
    assert (texts(anna), texts(bert)) == (["answer"], ["first", "second"])
    world.frames.clear()
    return world, anna, bert


def restored(world: World, node: Node, copy: MemoryStore) -> None:
    """Start a node from an old copy of its store."""
    world.crash(node)
    world.run(1.0)
    node.store = copy
    world.start(node)
    world.meet(*world.nodes.values())
    world.run(30.0)


def give(world: World, node: Node, envelope: Envelope) -> list[object]:
    """Let a neighbour bring an envelope; return what it is answered."""
    effects = world.tell(node, events.FrameReceived(next(iter(node.wires)), Transfer(0, 1, 0, envelope)))
    frames = [effect.frame for effect in effects if isinstance(effect, SendFrame)]
    return [frame for frame in frames if isinstance(frame, Custody | Receipt)]


def word(
    sender: SecretIdentity, recipient: Node, body: KeysWanted | Keys, ttl: int = DAY, payload: bytes = b""
) -> Envelope:
    """Return an envelope with a word about keys."""
    made = payload or sealing.seal(
        encode_body(body), sender=sender.address, recipient=recipient.user.address, entropy=body.secret * 2
    )
    return sign_envelope(
        sender, recipient=recipient.user.address, payload=made, commitment=commitment(body.secret), ttl=ttl
    )


class Broken(MemoryStore):
    """A store that fails once for what ``fails`` picks."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: type[Operation] | None = None
        self.times = 1

    def apply(self, operations: Sequence[Operation]) -> None:
        if self.fails is not None and self.times and any(isinstance(each, self.fails) for each in operations):
            self.times -= 1
            raise FullError("no room")
        super().apply(operations)


# --- first messages ---------------------------------------------------------------------------------------


def test_a_first_message_to_somebody_who_can_be_reached_waits_for_keys_and_goes_in_a_session() -> None:
    world, anna, bert = pair()
    told: list[StateChanged] = []
    world.frames.clear()
    for effect in world.tell(anna, events.SendText(anna.user.address, bert.user.address, b"m" * 16, "hi", DAY)):
        told += [effect] if isinstance(effect, StateChanged) else []
    row = core(anna).message(anna.user.address, b"m" * 16)
    assert row is not None
    assert (row.state, row.post_quantum, told[0].post_quantum) == (State.QUEUED, None, None)
    world.run(1.0)
    assert texts(bert) == ["hi"]
    assert (state(anna, b"m" * 16), sealed(anna, b"m" * 16)) == (State.DELIVERED, True)
    assert formats(world) == [1, 1, 3], "asked, answered, and nothing sealed classically but that"
    assert core(anna)._custody.items() == core(bert)._custody.items() == ()
    assert store(anna).relay == store(bert).relay == {}


def test_how_a_message_is_sealed_is_told_with_each_of_its_states() -> None:
    world, anna, bert = pair()
    told = []
    handle = core(anna).handle

    def listen(event: events.Event, now: float) -> list[Effect]:
        effects = handle(event, now)
        told.extend([(each.state, each.post_quantum) for each in effects if isinstance(each, StateChanged)])
        return effects

    core(anna).handle = listen  # type: ignore[method-assign]
    world.send(anna, bert.user.address)
    world.run(1.0)
    assert told == [(State.QUEUED, None), (State.QUEUED, True), (State.DELIVERED, True)]
    told.clear()
    world.send(anna, anna.user.address, "to myself")
    assert told == [(State.QUEUED, None), (State.DELIVERED, None)]


def test_messages_that_come_while_keys_are_waited_for_wait_too_and_keep_their_order() -> None:
    world, anna, bert = pair()
    for number in range(5):
        world.send(anna, bert.user.address, str(number))
    world.run(1.0)
    assert texts(bert) == ["0", "1", "2", "3", "4"]
    assert formats(world, anna) == [1, 3, 3, 3, 3, 3]
    assert anna.counts[counters.KEYS_ASKED] == 1


def test_once_a_receipt_has_come_messages_are_short() -> None:
    world, anna, bert = talked()
    message = b"m" * 16
    world.tell(anna, events.SendText(anna.user.address, bert.user.address, message, "hi", DAY, padding=False))
    world.run(1.0)
    (transfer,) = [frame for _, _, frame in world.frames if isinstance(frame, Transfer)]
    plain = encode_body(Body(message, "hi", message))
    assert transfer.envelope.payload[0] == 2
    assert len(transfer.envelope.payload) - len(plain) <= 72


def test_messages_are_padded_unless_their_user_does_not_want_that() -> None:
    world, anna, bert = talked()
    for text in ("a", "b" * 200):
        world.send(anna, bert.user.address, text)
    world.run(1.0)
    sizes = {len(frame.envelope.payload) for _, _, frame in world.frames if isinstance(frame, Transfer)}
    assert len(sizes) == 1
    assert anna.counts[counters.PADDING_MESSAGES] == 4
    world.frames.clear()
    world.tell(anna, events.SendText(anna.user.address, bert.user.address, b"n" * 16, "a", DAY, padding=False))
    world.run(1.0)
    (short,) = [len(frame.envelope.payload) for _, _, frame in world.frames if isinstance(frame, Transfer)]
    assert short < min(sizes) - 200
    assert anna.counts[counters.PADDING_MESSAGES] == 4


def test_the_longest_text_goes_in_a_session_from_the_first_message_on() -> None:
    world, anna, bert = pair()
    for _ in range(2):
        world.send(anna, bert.user.address, "x" * 31_440)
        world.run(2.0)
    assert [len(text) for text in texts(bert)] == [31_440] * 2
    assert formats(world, anna) == [1, 3, 2]


def test_a_message_to_somebody_who_cannot_be_reached_goes_at_once_and_brings_keys_back() -> None:
    world = World()
    anna, bert = world.add("anna"), world.add("bert")
    message = world.send(anna, bert.user.address, "are you there?")
    assert anna.counts[counters.KEYS_ASKED] == 0
    world.meet(anna, bert)
    world.run(2.0)
    assert (texts(bert), sealed(anna, message)) == (["are you there?"], False)
    assert len(store(anna).bundles) == 1
    following = world.send(anna, bert.user.address, "so you are")
    assert store(anna).bundles == {}
    world.run(1.0)
    assert (texts(bert)[1:], sealed(anna, following)) == (["so you are"], True)
    assert anna.counts[counters.KEYS_ASKED] == 0
    assert formats(world, anna) == [1, 3]


def test_keys_that_came_before_a_restart_are_used_after_it_unless_they_are_too_old() -> None:
    for wait, kept in ((DAY, True), (31 * DAY, False)):
        world = World()
        anna, bert = world.add("anna"), world.add("bert")
        world.send(anna, bert.user.address, "one")
        world.meet(anna, bert)
        world.run(2.0)
        world.crash(anna)
        world.run(1.0)
        world.start(anna)
        world.run(float(wait))
        message = world.send(anna, bert.user.address, "two")
        assert sealed(anna, message) is kept
        assert store(anna).bundles == {}
        world.meet(anna, bert)
        world.run(30.0)
        assert texts(bert) == ["one", "two"]


def test_a_node_that_knows_no_sessions_costs_a_first_message_five_seconds_and_no_other() -> None:
    world = World()
    anna, bert = world.add("anna"), world.add("bert", limits=Limits(sessions=0))
    world.meet(anna, bert)
    world.run(1.0)
    first = world.send(anna, bert.user.address, "first")
    world.run(4.9)
    assert texts(bert) == []
    (item,) = [each for each in core(anna)._custody.items() if each.place is Place.SEALING]
    world.run(0.2)
    assert (texts(bert), sealed(anna, first)) == (["first"], False)
    assert core(anna)._custody.get(item.envelope_id) is None
    world.send(anna, bert.user.address, "second")
    world.run(0.1)
    assert texts(bert) == ["first", "second"]
    world.run(600.0)
    world.send(anna, bert.user.address, "third")
    world.run(0.1)
    assert texts(bert) == ["first", "second"], "asked anew"
    world.run(5.0)
    assert texts(bert)[2:] == ["third"]


def test_a_node_without_sessions_neither_asks_nor_answers() -> None:
    world = World(plain=True)
    anna, bert = world.add("anna"), world.add("bert")
    world.meet(anna, bert)
    world.run(1.0)
    world.send(anna, bert.user.address, "hi")
    assert give(world, anna, word(STRANGER, anna, KeysWanted(b"s" * 16)))
    world.run(1.0)
    assert formats(world) == [1]
    assert (
        core(bert)
        ._sessions.open(bert.user, anna.user.address, b"", bytes((2, 0)) + bytes(80), world.now, may_begin=bool)
        .value
        == "unreadable"
    )  # type: ignore[union-attr]


def test_no_more_messages_wait_than_there_is_room_for() -> None:
    for size, held in ((10, 16), (10_000, 6)):
        world = World()
        anna, bert = world.add("anna"), world.add("bert", limits=Limits(sessions=0))
        world.meet(anna, bert)
        world.run(1.0)
        for number in range(20):
            world.send(anna, bert.user.address, f"{number} ".ljust(size))
        world.run(1.0)
        assert len(texts(bert)) == 20 - held
        world.run(5.0)
        assert sorted(int(text) for text in texts(bert)) == list(range(20))


def test_where_too_much_is_on_its_way_nobody_is_asked_and_nothing_waits() -> None:
    world, anna, bert = pair(controls=0)
    message = world.send(anna, bert.user.address, "hi")
    world.run(0.5)
    assert (texts(bert), sealed(anna, message)) == (["hi"], False)
    assert anna.counts[counters.CONTROL_OVER_CAP] == 1


def test_those_who_were_asked_are_remembered_up_to_a_number() -> None:
    world, anna, _ = pair(keys_asked=2)
    nodes = [world.add(f"n{number}", limits=Limits(sessions=0)) for number in range(4)]
    world.meet(anna, *nodes)
    world.run(2.0)
    for node in nodes:
        world.send(anna, node.user.address, "hi")
        world.run(6.0)
    assert len(core(anna)._asking._asks) == 2
    assert all(texts(node) == ["hi"] for node in nodes)


def test_a_first_message_waits_for_a_route_and_then_for_keys() -> None:
    for quiet in (False, True):
        world, anna, bert = pair()
        user = SecretIdentity(b"u" * 32)
        message = world.send(anna, user.address, "for somebody who comes")
        world.run(1.0)
        assert not texts(bert)
        world.tell(bert, events.UserAdded(user.seed))
        if quiet:
            world.deafen(bert)
        world.run(3.0)
        world.undeafen(bert)
        world.run(1.0)
        assert (texts(bert), sealed(anna, message)) == (["for somebody who comes"], True)


def test_where_no_route_comes_nobody_is_asked() -> None:
    world, anna, bert = pair()
    message = world.send(anna, STRANGER.address, "nobody there")
    world.run(2.4)
    assert len(core(anna)._custody.items()) == 2
    world.run(0.2)
    (item,) = core(anna)._custody.items()
    assert (item.place, sealed(anna, message)) == (Place.WAITING, False)
    assert core(anna)._relaying._quotas.size == 0
    world.run(5.0)
    assert formats(world) == [1], "the message itself, carried about"
    assert not core(bert)._giving._owed


def test_far_away_it_is_the_same() -> None:
    world = World()
    nodes = world.line(7)
    world.run(80.0)
    first, last = nodes[0], nodes[-1]
    for sender, recipient in ((first, last), (last, first)):
        message = world.send(sender, recipient.user.address, "far away")
        world.run(10.0)
        assert (texts(recipient), sealed(sender, message)) == (["far away"], True)


# --- while a message waits --------------------------------------------------------------------------------


def waiting() -> tuple[World, Node, Node, bytes]:
    """Return two nodes, and a message that waits for keys that will not come."""
    world = World()
    anna, bert = world.add("anna", users=2), world.add("bert", limits=Limits(sessions=0))
    world.meet(anna, bert)
    world.run(1.0)
    message = world.send(anna, bert.user.address, "hi", ttl=3)
    world.run(0.5)
    assert [each.place for each in core(anna)._custody.items() if not each.urgent] == [Place.SEALING]
    return world, anna, bert, message


def test_a_message_that_is_deleted_while_it_waits_is_not_sent() -> None:
    world, anna, bert, message = waiting()
    world.tell(anna, events.DeleteMessage(anna.user.address, message))
    world.run(10.0)
    assert texts(bert) == []


def test_a_message_may_expire_while_it_waits() -> None:
    world, anna, bert, message = waiting()
    world.run(10.0)
    assert texts(bert) == []
    assert state(anna, message) is State.EXPIRED


def test_a_user_may_go_while_a_message_waits() -> None:
    world, anna, bert, _ = waiting()
    world.tell(anna, events.UserRemoved(anna.user.address))
    world.run(10.0)
    assert texts(bert) == []
    assert core(anna)._custody.items() == ()


def test_nothing_moves_a_message_that_waits() -> None:
    world, anna, bert, _ = waiting()
    for number in list(anna.wires):
        world.drop_link(anna, number)
    world.run(0.1)
    world.meet(anna, bert)
    world.run(1.4)
    assert texts(bert) == []


def test_after_a_restart_a_message_that_waited_goes_as_it_is() -> None:
    world = World()
    anna, bert = world.add("anna"), world.add("bert", limits=Limits(sessions=0))
    world.meet(anna, bert)
    world.run(1.0)
    world.send(anna, bert.user.address, "hi")
    world.crash(anna)
    world.run(1.0)
    world.start(anna)
    world.meet(anna, bert)
    world.run(3.0)
    assert texts(bert) == ["hi"]


def test_a_session_that_the_peer_has_begun_meanwhile_serves_what_waited() -> None:
    world, anna, bert = pair(keys_wait_s=20.0, keys_wanted_s=1e9)
    core(bert)._giving._told[bert.user.address, anna.user.address, 0] = world.now  # type: ignore[index]
    message = world.send(anna, bert.user.address, "from anna")
    world.run(1.0)
    assert texts(bert) == []
    world.send(bert, anna.user.address, "from bert")
    world.run(1.0)
    assert texts(anna) == ["from bert"]
    world.run(20.0)
    assert (texts(bert), sealed(anna, message)) == (["from anna"], True)
    assert anna.counts[counters.SESSION_BEGUN] == 0


# --- a conversation ---------------------------------------------------------------------------------------


def test_both_may_begin_at_once_and_then_use_one_session() -> None:
    world, anna, bert = pair()
    world.send(anna, bert.user.address, "from anna")
    world.send(bert, anna.user.address, "from bert")
    world.run(1.0)
    assert (texts(anna), texts(bert)) == (["from bert"], ["from anna"])
    assert len(store(anna).sessions) == len(store(bert).sessions) == 2
    for number in range(3):
        world.send(anna, bert.user.address, f"a{number}")
        world.run(0.5)
        world.send(bert, anna.user.address, f"b{number}")
        world.run(0.5)
    assert (len(texts(anna)), len(texts(bert))) == (4, 4)
    used = [
        core(node)._sessions.current(node.user.address, other.user.address)
        for node, other in ((anna, bert), (bert, anna))
    ]
    assert used[0] == used[1]


def test_several_users_of_a_node_have_sessions_of_their_own() -> None:
    world = World()
    anna, bert = world.add("anna", users=2), world.add("bert", users=2)
    world.meet(anna, bert)
    world.run(1.0)
    for user in anna.users:
        for other in bert.users:
            world.send(anna, other.address, "hi", user=user)
    world.run(2.0)
    assert len(texts(bert)) == 4
    assert len(store(anna).sessions) == len(store(bert).sessions) == 4
    assert all(row.sealed for row in store(anna).outbox.values())
    world.tell(bert, events.UserRemoved(bert.users[0].address))
    assert {row.user for row in store(bert).sessions.values()} == {bert.users[1].address}
    assert len(core(bert)._sessions) == 2
    assert {key[0] for key in store(bert).prekeys} == {bert.users[1].address}


def test_a_node_has_sessions_too() -> None:
    world, anna, bert = pair()
    for text in ("one", "two"):
        message = world.send(anna, bert.secret.address, text)
        world.run(1.0)
        assert sealed(anna, message) is True
    assert texts(bert) == ["one", "two"]
    assert [row.user for row in store(bert).sessions.values()] == [bert.secret.address]


def test_over_relays_it_is_the_same() -> None:
    world = World()
    nodes = world.line(4)
    world.run(5.0)
    first, last = nodes[0], nodes[3]
    world.send(first, last.user.address, "there")
    world.run(3.0)
    world.send(last, first.user.address, "and back")
    world.run(3.0)
    assert (texts(last), texts(first)) == (["there"], ["and back"])
    assert all(row.sealed for node in (first, last) for row in store(node).outbox.values())
    assert all(not core(node)._custody.items() for node in nodes)


def test_a_session_goes_on_after_a_restart() -> None:
    world, anna, bert = talked()
    for node in (anna, bert):
        world.crash(node)
        world.run(1.0)
        world.start(node)
    world.meet(anna, bert)
    world.run(5.0)
    world.send(anna, bert.user.address, "third")
    world.send(bert, anna.user.address, "fourth")
    world.run(1.0)
    assert (texts(bert)[2:], texts(anna)[1:]) == (["third"], ["fourth"])
    assert set(formats(world)) == {2}


def test_a_store_that_may_have_lost_the_last_seconds_leaves_numbers_out() -> None:
    world, anna, bert = talked(session_jump=64)
    world.crash(anna)
    world.run(1.0)
    world.start(anna)
    world.meet(anna, bert)
    world.run(5.0)
    world.send(anna, bert.user.address, "third")
    world.run(1.0)
    assert texts(bert)[2:] == ["third"]
    (kept,) = core(anna)._sessions._pairs._pairs[anna.user.address, bert.user.address].sessions
    assert kept.session is not None
    assert kept.session._ratchet.sent >= 65


def test_who_only_reads_sends_new_keys_once_a_day() -> None:
    world, anna, bert = talked()
    for day in range(3):
        world.run(DAY + 60.0)
        world.frames.clear()
        for number in range(5):
            world.send(anna, bert.user.address, f"{day} {number}")
            world.run(10.0)
        assert formats(world, bert) == [2]
    assert bert.counts[counters.SESSION_TURNED] == 3
    assert len(texts(bert)) == 2 + 15
    assert texts(anna) == ["answer"], "nothing is shown of it"


def test_nothing_turns_where_the_session_is_gone_by_then() -> None:
    world, anna, bert = talked()
    user, peer, sessions = bert.user.address, anna.user.address, core(bert)._sessions
    core(bert)._giving.turn(user, peer, world.now)
    sessions.retire(user, peer, sessions.current(user, peer))
    sessions.retire(user, peer, b"no such session")
    world.tell(bert, events.Tick())
    world.run(1.0)
    assert bert.counts[counters.SESSION_TURNED] == 0


# --- what a peer cannot open is sealed anew --------------------------------------------------------------


def test_a_recipient_that_was_restored_from_an_old_copy_gets_everything() -> None:
    world, anna, bert = pair()
    copy = deepcopy(store(bert))
    world.send(anna, bert.user.address, "one")
    world.run(1.0)
    restored(world, bert, copy)
    for number in range(12):
        world.send(anna, bert.user.address, f"after {number}")
    world.run(5.0)
    assert sorted(texts(bert)) == sorted(["one", *[f"after {number}" for number in range(12)]])
    assert all(row.sealed for row in store(anna).outbox.values())
    assert anna.counts[counters.SESSION_RENEWED] >= 1
    assert not core(anna)._custody.items()
    world.send(bert, anna.user.address, "back")
    world.run(1.0)
    assert texts(anna) == ["back"]


@pytest.mark.parametrize("messages", [0, 1, 3])
def test_a_sender_that_was_restored_from_an_old_copy_is_read(messages: int) -> None:
    world, anna, bert = talked()
    copy = deepcopy(store(anna))
    for number in range(messages):
        world.send(anna, bert.user.address, f"a{number}")
        world.run(1.0)
        world.send(bert, anna.user.address, f"b{number}")
        world.run(1.0)
    restored(world, anna, copy)
    world.send(anna, bert.user.address, "again")
    world.run(10.0)
    world.send(bert, anna.user.address, "and back")
    world.run(10.0)
    assert texts(bert)[-1] == "again"
    assert texts(anna)[-1] == "and back"
    assert len(texts(bert)) == 3 + messages
    assert len(texts(anna)) == 2 + messages


def test_a_restored_sender_of_whom_nothing_is_known_begins_anew() -> None:
    world, anna, bert = pair()
    copy = deepcopy(store(anna))
    world.send(anna, bert.user.address, "one")
    world.run(1.0)
    restored(world, anna, copy)
    world.send(anna, bert.user.address, "two")
    world.run(1.0)
    assert texts(bert) == ["one", "two"]
    world.send(bert, anna.user.address, "back")
    world.run(1.0)
    assert texts(anna) == ["back"]
    assert len(store(bert).sessions) == 2


def test_copies_at_relays_of_what_was_sealed_anew_vanish() -> None:
    world = World()
    first, relay, last = world.line(3)
    world.run(5.0)
    world.send(first, last.user.address, "one")
    world.run(2.0)
    copy = deepcopy(store(last))
    copy.sessions.clear()
    world.crash(last)
    world.run(1.0)
    for number in range(3):
        world.send(first, last.user.address, f"while away {number}")
    world.run(60.0)
    assert len(core(relay)._custody.items()) == 3
    last.store = copy
    world.start(last)
    world.link(relay, last)
    world.run(120.0)
    assert sorted(texts(last)) == ["one", *[f"while away {number}" for number in range(3)]]
    assert not core(relay)._custody.items()
    assert not core(first)._custody.items()
    assert all(row.sealed for row in store(first).outbox.values())


def test_a_message_may_be_sealed_anew_often_and_each_time_the_copies_before_go() -> None:
    world = World()
    first, relay, last = world.line(3)
    world.run(5.0)
    world.send(first, last.user.address, "one")
    world.run(2.0)
    world.crash(last)
    world.run(1.0)
    message = world.send(first, last.user.address, "two")
    world.run(60.0)
    for _ in range(18):
        (before,) = core(relay)._custody.items()
        item = core(first)._outbox.of_user(first.user.address, message)
        found = store(first).sent(first.user.address, message)
        assert item is not None
        assert found is not None
        assert item.envelope_id == before.envelope_id
        envelope = decode_envelope(found[0])
        world.tell(first, events.Tick())
        resealing = core(first)._undoing._resealing
        assert resealing.reseal(first.user, item, found[1], world.now, padded=True, envelope=envelope)
        world.tell(first, events.Tick())
        world.run(60.0)
        if before.envelope_id in {each.envelope_id for each in core(relay)._custody.items()}:
            break
    else:
        pytest.fail("secrets that cannot be told again end some time")
    world.start(last)
    world.link(relay, last)
    world.run(60.0)
    assert texts(last) == ["one", "two"]


def test_an_identity_that_moved_to_another_node_is_written_to_and_writes() -> None:
    world, anna, bert = talked()
    new = world.add("new")
    world.meet(anna, new)
    world.run(1.0)
    user = bert.users[0]
    world.tell(bert, events.UserRemoved(user.address))
    new.users.append(user)
    world.tell(new, events.UserAdded(user.seed))
    world.run(5.0)
    world.send(anna, user.address, "moved?")
    world.run(30.0)
    assert texts(new) == ["moved?"]
    world.send(new, anna.user.address, "yes", user=user)
    world.run(5.0)
    assert texts(anna) == ["answer", "yes"]
    assert all(row.sealed for row in (*store(anna).outbox.values(), *store(new).outbox.values()))


def test_an_identity_that_moved_may_write_first() -> None:
    world, anna, bert = talked()
    new = world.add("new")
    world.meet(anna, new)
    world.run(1.0)
    user = bert.users[0]
    world.tell(bert, events.UserRemoved(user.address))
    world.tell(new, events.UserAdded(user.seed))
    world.run(5.0)
    message = b"w" * 16
    world.tell(new, events.SendText(user.address, anna.user.address, message, "it is me", DAY))
    world.run(2.0)
    assert texts(anna)[1:] == ["it is me"]
    assert store(new).outbox[user.address, message].sealed
    world.send(anna, user.address, "so it seems")
    world.run(2.0)
    assert texts(new) == ["so it seems"]


def test_a_renewal_while_much_waits_seals_all_of_it_anew() -> None:
    world, anna, bert = talked()
    copy = deepcopy(store(bert))
    copy.sessions.clear()
    world.crash(bert)
    world.run(1.0)
    for number in range(30):
        world.send(anna, bert.user.address, str(number))
    bert.store = copy
    world.start(bert)
    world.meet(anna, bert)
    world.run(30.0)
    assert sorted(texts(bert)[2:], key=int) == [str(number) for number in range(30)]
    assert anna.counts[counters.SESSION_RENEWED] == 1
    assert anna.counts[counters.MESSAGE_RESEALED] == 31
    assert bert.counts[counters.KEYS_TOLD] == 2


def test_a_message_that_is_sealed_anew_is_as_long_as_its_user_wanted_it() -> None:
    world, anna, bert = talked()
    copy = deepcopy(store(bert))
    copy.sessions.clear()
    world.crash(bert)
    world.run(1.0)
    me, peer = anna.user.address, bert.user.address
    world.tell(anna, events.SendText(me, peer, b"n" * 16, "short", DAY, padding=False))
    world.send(anna, peer, "padded")
    world.frames.clear()
    bert.store = copy
    world.start(bert)
    world.meet(anna, bert)
    world.run(30.0)
    assert sorted(texts(bert)[2:]) == ["padded", "short"]
    assert anna.counts[counters.MESSAGE_RESEALED] >= 2
    payloads = [frame.envelope.payload for _, _, frame in world.frames if isinstance(frame, Transfer)]
    hidden = {plaintext_bytes(each) for each in payloads if each[0] == FORMAT_OPENING}
    assert {size % PADDING_STEP == 0 for size in hidden} == {True, False}


def test_a_message_that_was_sealed_in_no_session_is_padded_when_it_is_sealed_anew() -> None:
    world, anna, bert = talked()
    world.crash(bert)
    world.run(1.0)
    me, peer = anna.user.address, bert.user.address
    (kept,) = core(anna)._sessions._pairs._pairs[me, peer].sessions
    kept.retired = True
    world.tell(anna, events.SendText(me, peer, b"n" * 16, "short", DAY, padding=False))
    kept.retired = False
    envelope, text = store(anna).sent(me, b"n" * 16) or (b"", "")
    world.tell(anna, events.TextsRecalled((events.SentText(me, b"n" * 16, text, decode_envelope(envelope)),)))
    assert anna.counts[counters.MESSAGE_RESEALED] == 2
    after, _ = store(anna).sent(me, b"n" * 16) or (b"", "")
    assert plaintext_bytes(decode_envelope(after).payload) % PADDING_STEP == 0


def test_what_is_delivered_or_deleted_before_its_text_is_read_is_left_alone() -> None:
    world, anna, bert = talked()
    message = world.send(anna, bert.user.address, "hi")
    envelope, _ = store(anna).sent(anna.user.address, message) or (b"", "")
    world.run(1.0)
    late = events.SentText(anna.user.address, message, "hi", decode_envelope(envelope))
    world.tell(anna, events.TextsRecalled((late,)))
    world.run(1.0)
    assert anna.counts[counters.MESSAGE_RESEALED] == 1
    assert texts(bert)[2:] == ["hi"]


def test_what_was_sealed_without_a_session_is_not_sealed_anew() -> None:
    world, anna, bert = talked()
    copy = deepcopy(store(bert))
    copy.sessions.clear()
    world.crash(bert)
    world.run(1.0)
    (kept,) = core(anna)._sessions._pairs._pairs[anna.user.address, bert.user.address].sessions
    kept.retired = True
    classical = world.send(anna, bert.user.address, "without")
    kept.retired = False
    world.send(anna, bert.user.address, "with")
    bert.store = copy
    world.start(bert)
    world.meet(anna, bert)
    world.run(30.0)
    assert sorted(texts(bert)[2:]) == ["with", "without"]
    assert sealed(anna, classical) is False
    assert anna.counts[counters.MESSAGE_RESEALED] == 2


# --- who does not get keys -------------------------------------------------------------------------------


def test_who_is_blocked_gets_no_keys() -> None:
    world, anna, bert = pair()
    world.tell(bert, events.BlockedSet(bert.user.address, frozenset({anna.user.address})))
    world.send(anna, bert.user.address, "hi")
    world.run(30.0)
    assert bert.counts[counters.KEYS_TOLD] == 0
    assert (texts(bert), store(bert).prekeys) == ([], {})


def test_who_is_blocked_before_keys_could_be_sent_gets_none() -> None:
    world, anna, bert = pair()
    core(bert)._giving.keys(bert.user.address, anna.user.address, b"e" * 32, Reason.WANTED, world.now)
    world.tell(bert, events.BlockedSet(bert.user.address, frozenset({anna.user.address})))
    world.run(1.0)
    assert bert.counts[counters.KEYS_TOLD] == 0
    assert not core(bert)._giving._owed


def test_keys_for_somebody_who_cannot_be_reached_wait_for_a_day() -> None:
    for wait, told in ((1000.0, 1), (2.0 * DAY, 0)):
        world = World()
        anna, bert = world.add("anna"), world.add("bert")
        core(bert)._giving.keys(bert.user.address, anna.user.address, b"e" * 32, Reason.WANTED, world.now)
        world.run(wait)
        assert bert.counts[counters.KEYS_TOLD] == 0
        world.meet(anna, bert)
        world.run(2.0)
        assert bert.counts[counters.KEYS_TOLD] == told
        assert anna.counts[counters.KEYS_UNASKED] == told, "nobody here asked"


def test_who_goes_gives_no_keys() -> None:
    world = World()
    anna, bert = world.add("anna"), world.add("bert", users=2)
    for user in bert.users:
        core(bert)._giving.keys(user.address, anna.user.address, b"e" * 32, Reason.WANTED, world.now)
    world.tell(bert, events.UserRemoved(bert.users[0].address))
    assert [key[0] for key in core(bert)._giving._owed] == [bert.users[1].address]
    core(bert)._users.remove(bert.users[1].address)
    world.meet(anna, bert)
    world.run(2.0)
    assert not core(bert)._giving._owed


def test_a_peer_whose_address_is_no_key_for_sealing_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    world, anna, bert = pair()

    def no_key(*_: object, **__: object) -> bytes:
        raise IdentityError("no usable key")

    core(bert)._giving.keys(bert.user.address, anna.user.address, b"e" * 32, Reason.WANTED, world.now)
    monkeypatch.setattr(sealing, "seal", no_key)
    world.tell(bert, events.Tick())
    world.run(1.0)
    assert bert.counts[counters.KEYS_TOLD] == 0


# --- strangers: what they can make a node do --------------------------------------------------------------


def strangers(count: int) -> list[SecretIdentity]:
    return [SecretIdentity(bytes((number >> 8, number & 255)) * 16) for number in range(count)]


def test_a_flood_of_wishes_for_keys_makes_a_bounded_number_of_them() -> None:
    world, _, bert = pair()
    answers: list[object] = []
    for number, stranger in enumerate(strangers(300)):
        answers += give(world, bert, word(stranger, bert, KeysWanted(number.to_bytes(16, "big"))))
    refused = [each for each in answers if isinstance(each, Custody)]
    assert len(refused) == 300 - Limits().control_burst
    assert {code for each in refused for _, code in each.answers} == {CustodyCode.LATER}
    world.run(1.0)
    assert bert.counts[counters.CONTROL_OVER_RATE] == len(refused)
    assert len(core(bert)._giving._owed) <= Limits().keys_owed
    assert len(store(bert).prekeys) <= 1 + Limits().one_times
    assert bert.counts[counters.KEYS_TOLD] == 0, "none of them can be reached"
    assert bert.counts[counters.QUERY_MADE] == Limits().keys_seek_burst


def test_one_who_asks_again_and_again_is_answered_now_and_then() -> None:
    world, anna, bert = pair()
    for number in range(20):
        give(world, bert, word(anna.user, bert, KeysWanted(number.to_bytes(16, "big"))))
        world.run(1.0)
    assert bert.counts[counters.KEYS_TOLD] == 2
    assert bert.counts[counters.KEYS_OVER_RATE] == 18


def test_all_together_get_keys_at_a_bounded_rate() -> None:
    world, anna, bert = pair(keys_rate=0.1, keys_burst=2, control_burst=64)
    users = strangers(5)
    for user in users:
        world.tell(anna, events.UserAdded(user.seed))
    world.run(5.0)
    for number, user in enumerate(users):
        give(world, bert, word(user, bert, KeysWanted(number.to_bytes(16, "big"))))
    world.run(1.0)
    assert bert.counts[counters.KEYS_TOLD] == 2
    world.run(10.0)
    assert bert.counts[counters.KEYS_TOLD] == 3
    world.run(30.0)
    assert bert.counts[counters.KEYS_TOLD] == 5


def test_a_flood_of_false_openings_is_answered_without_much_work() -> None:
    world, _, bert = talked(agreement_burst=8, agreement_rate=0.0)
    (signed,) = [row for row in store(bert).prekeys.values() if row.kind == 0]
    codes: Counter[CustodyCode] = Counter()
    for number, stranger in enumerate(strangers(60)):
        payload = bytes((3, 0)) + (signed.key_id if number % 2 else bytes(8)) + bytes(32 + 1120 + 32 + 2 + 16 + 60)
        envelope = word(stranger, bert, KeysWanted(number.to_bytes(16, "big")), payload=payload)
        for answer in give(world, bert, envelope):
            assert isinstance(answer, Custody)
            codes.update(code for _, code in answer.answers)
    assert codes == {CustodyCode.UNREADABLE: 30 + 8, CustodyCode.LATER: 22}
    assert bert.counts[counters.SESSION_OVER_RATE] == 22
    assert len(core(bert)._giving._owed) == 38
    assert len(store(bert).sessions) == 1


@pytest.mark.parametrize(
    "payload", [b"", bytes((2,)), bytes((2, 0)) + bytes(40), bytes((2, 255)) + bytes(200), bytes((9, 9)) + bytes(99)]
)
def test_what_is_no_payload_is_unreadable_and_answered_with_no_keys(payload: bytes) -> None:
    world, anna, bert = talked()
    envelope = sign_envelope(anna.user, recipient=bert.user.address, payload=payload, commitment=bytes(16), ttl=DAY)
    (answer,) = give(world, bert, envelope)
    assert isinstance(answer, Custody)
    assert [code for _, code in answer.answers] == [CustodyCode.UNREADABLE]
    assert not core(bert)._giving._owed


def test_what_was_opened_and_holds_nothing_known_is_unreadable() -> None:
    world, anna, bert = talked()
    for plaintext, seal in ((b"\x81\x09", b""), (encode_body(Body(b"s" * 16, "hi", b"s" * 16)), bytes(16))):
        made = core(anna)._sessions.seal(anna.user, bert.user.address, plaintext, world.now)
        assert made is not None
        envelope = sign_envelope(
            anna.user, recipient=bert.user.address, payload=made.payload, commitment=seal or bytes(16), ttl=DAY
        )
        (answer,) = give(world, bert, envelope)
        assert isinstance(answer, Custody)
        assert [code for _, code in answer.answers] == [CustodyCode.UNREADABLE]


def test_keys_that_nobody_waits_for_do_nothing() -> None:
    world, anna, bert = talked()
    bundle = core(anna)._sessions.prekeys.bundle(anna.user, world.now)
    before = dict(store(bert).sessions)
    for number in range(40):
        body = Keys(number.to_bytes(16, "big"), bundle, number.to_bytes(32, "big"))
        give(world, bert, word(anna.user, bert, body))
    assert bert.counts[counters.KEYS_UNASKED] == 40
    assert store(bert).sessions == before
    assert not store(bert).bundles


def test_keys_about_an_envelope_to_somebody_else_do_nothing() -> None:
    world, anna, bert = talked()
    carl = world.add("carl")
    world.crash(bert)
    world.run(1.0)
    message = world.send(anna, bert.user.address, "for bert")
    about = store(anna).outbox[anna.user.address, message].envelope_id
    world.meet(anna, carl)
    world.run(2.0)
    bundle = core(carl)._sessions.prekeys.bundle(carl.user, world.now)
    give(world, anna, word(carl.user, anna, Keys(b"s" * 16, bundle, about)))
    assert anna.counts[counters.KEYS_UNASKED] == 1
    assert anna.counts[counters.SESSION_RENEWED] == 0


def test_keys_by_another_than_the_recipient_do_nothing_nor_do_false_ones() -> None:
    world, anna, bert = talked()
    world.crash(bert)
    world.run(1.0)
    message = world.send(anna, bert.user.address, "for bert")
    about = store(anna).outbox[anna.user.address, message].envelope_id
    carl = world.add("carl")
    world.meet(anna, carl)
    world.run(2.0)
    false = word(STRANGER, anna, Keys(b"s" * 16, b"false", about))
    forged = replace(false, sender=bert.user.address)
    link = next(iter(core(anna)._neighbours.usable()))
    assert not core(anna)._intake._receiving.transfer(link, Transfer(0, 1, 0, forged), world.now), "a false signature"
    give(world, anna, word(bert.user, anna, Keys(b"t" * 16, b"false", about)))
    assert anna.counts[counters.KEYS_FORGED] == 1
    assert anna.counts[counters.SESSION_RENEWED] == 0
    assert core(anna)._sessions.has(anna.user.address, bert.user.address)


def test_a_renewal_that_is_played_again_does_nothing() -> None:
    world, anna, bert = talked()
    copy = deepcopy(store(bert))
    copy.sessions.clear()
    restored(world, bert, copy)
    world.send(anna, bert.user.address, "third")
    world.run(5.0)
    assert texts(bert)[2:] == ["third"]
    assert anna.counts[counters.SESSION_RENEWED] == 1
    keys = [
        frame.envelope
        for _, to, frame in world.frames
        if isinstance(frame, Transfer) and to == "anna" and frame.envelope.payload[0] == 1
    ]
    assert keys
    before = {key: row.used for key, row in store(anna).sessions.items()}
    for envelope in keys:
        assert give(world, anna, envelope), "its receipt"
        core(anna)._tombstones.remove(envelope_id(envelope))
        give(world, anna, envelope)
    assert {key: row.used for key, row in store(anna).sessions.items()} == before
    assert anna.counts[counters.SESSION_RENEWED] == 1
    assert anna.counts[counters.KEYS_UNASKED] == len(keys)


def test_strangers_do_not_push_out_those_whom_a_user_writes_to() -> None:
    world, anna, bert = pair(sessions=8, agreement_burst=1000)
    world.send(bert, anna.user.address, "hello")
    world.run(1.0)
    others = [world.add(f"n{number}") for number in range(12)]
    for other in others:
        world.meet(bert, other)
        world.run(1.0)
        world.send(other, bert.user.address, "hi")
        world.run(2.0)
    assert len(texts(bert)) == 12
    assert len(store(bert).sessions) == len(core(bert)._sessions) == 8
    assert core(bert)._sessions.has(bert.user.address, anna.user.address)
    assert bert.counts[counters.SESSION_EVICTED] == 5
    world.frames.clear()
    world.send(others[0], bert.user.address, "still?")
    world.run(30.0)
    assert texts(bert)[12:] == ["still?"], "whose session has gone begins another"


def test_a_user_with_many_peers_forgets_whom_was_written_to_longest_ago() -> None:
    world = World()
    anna = world.add("anna", limits=Limits(sessions=4))
    others = [world.add(f"n{number}") for number in range(6)]
    world.meet(anna, *others)
    world.run(2.0)
    for other in others:
        world.send(anna, other.user.address, "hi")
        world.run(1.0)
    assert {row.peer for row in store(anna).sessions.values()} == {other.user.address for other in others[2:]}


# --- what the store cannot take -------------------------------------------------------------------------


def broken() -> tuple[World, Node, Node, Broken]:
    """Return two nodes that have talked; the store of the second can be made to fail."""
    world = World()
    failing = Broken()
    anna, bert = world.add("anna"), world.add("bert", store=failing)
    world.meet(anna, bert)
    world.run(1.0)
    world.send(anna, bert.user.address, "first")
    world.run(1.0)
    world.send(bert, anna.user.address, "answer")
    world.run(1.0)
    return world, anna, bert, failing


def test_a_message_that_could_not_be_stored_is_opened_when_it_comes_again() -> None:
    world, anna, bert, failing = broken()
    failing.fails = TombstoneInsert
    world.send(anna, bert.user.address, "second")
    world.send(anna, bert.user.address, "third")
    world.run(60.0)
    assert sorted(texts(bert)) == ["first", "second", "third"]
    assert bert.counts[counters.SESSION_UNREADABLE] == 0


def test_a_first_message_that_could_not_be_stored_is_opened_when_it_comes_again() -> None:
    world = World()
    failing = Broken()
    anna, bert = world.add("anna"), world.add("bert", store=failing)
    world.meet(anna, bert)
    world.run(1.0)
    world.send(anna, bert.user.address, "first")
    failing.fails = SessionPut
    world.run(60.0)
    assert (texts(bert), failing.times) == (["first"], 0)
    assert len(failing.sessions) == 1
    assert [row.kind for row in failing.prekeys.values()] == [0], "the one-time prekey has gone"


def test_a_message_that_was_refused_takes_its_number_along() -> None:
    world, anna, bert, failing = broken()
    failing.fails = OutboxInsert
    message = world.send(bert, anna.user.address, "lost")
    assert [refusal.message_id for refusal in bert.refused] == [message]
    (row,) = failing.sessions.values()
    world.send(bert, anna.user.address, "second")
    world.run(1.0)
    assert texts(anna) == ["answer", "second"]
    (kept,) = core(anna)._sessions._pairs._pairs[anna.user.address, bert.user.address].sessions
    assert kept.session is not None
    assert len(kept.session._ratchet.skipped) == 1, "one number was left out"
    assert row.data != next(iter(failing.sessions.values())).data


def test_a_store_that_fails_for_good_does_not_keep_a_node_busy() -> None:
    world, anna, bert, failing = broken()
    failing.fails, failing.times = SessionPut, 1000
    world.send(bert, anna.user.address, "lost")
    world.run(10.0)
    assert 990 < failing.times < 1000
    failing.times = 0
    world.send(bert, anna.user.address, "second")
    world.run(1.0)
    assert texts(anna) == ["answer", "second"]


def test_a_message_that_cannot_be_sealed_anew_for_lack_of_room_goes_as_it_was() -> None:
    world = World()
    failing = Broken()
    anna, bert = world.add("anna", store=failing), world.add("bert")
    world.meet(anna, bert)
    world.run(1.0)
    failing.fails = OutboxReseal
    message = world.send(anna, bert.user.address, "first")
    world.run(60.0)
    assert texts(bert) == ["first"]
    assert (state(anna, message), sealed(anna, message)) == (State.DELIVERED, False)
    world.send(anna, bert.user.address, "second")
    world.run(1.0)
    assert texts(bert) == ["first", "second"]
    assert not core(anna)._custody.items()


def test_a_failure_to_seal_anew_comes_too_late_for_a_message_that_is_gone() -> None:
    world, anna, bert = talked()
    gone = OutboxReseal(anna.user.address, b"m" * 16, b"e" * 32, b"", sealed=True)
    world.tell(anna, events.PersistFailed((gone,), "no room"))
    world.send(anna, bert.user.address, "goes on")
    world.run(1.0)
    assert texts(bert)[2:] == ["goes on"]


def test_an_end_that_could_not_be_written_is_told_with_how_the_message_was_sealed() -> None:
    world, anna, bert, failing = broken()
    world.crash(anna)
    world.run(1.0)
    told: list[StateChanged] = []
    handle = core(bert).handle

    def listen(event: events.Event, now: float) -> list[Effect]:
        effects = handle(event, now)
        told.extend([effect for effect in effects if isinstance(effect, StateChanged)])
        return effects

    message = world.send(bert, anna.user.address, "too late", ttl=5)
    core(bert).handle = listen  # type: ignore[method-assign]
    failing.fails = OutboxState
    world.run(10.0)
    assert StateChanged(bert.user.address, message, State.EXPIRED, 0, post_quantum=True) in told


def test_a_state_that_could_not_be_written_is_told_with_how_the_message_is_sealed() -> None:
    world = World()
    failing = Broken()
    first, relay, last = world.add("first", store=failing), world.add("relay"), world.add("last")
    for one, other in ((first, relay), (relay, last)):
        world.link(one, other)
    world.run(5.0)
    world.send(first, last.user.address, "one")
    world.run(2.0)
    world.crash(last)
    world.run(1.0)
    told = []
    handle = core(first).handle

    def listen(event: events.Event, now: float) -> list[Effect]:
        effects = handle(event, now)
        told.extend([(each.state, each.post_quantum) for each in effects if isinstance(each, StateChanged)])
        return effects

    core(first).handle = listen  # type: ignore[method-assign]
    world.send(first, last.user.address, "two", ttl=20)
    world.run(5.0)
    assert told == [(State.QUEUED, True), (State.RELAYED, True)]
    told.clear()
    failing.fails = OutboxState
    world.run(30.0)
    assert (failing.times, told) == (0, [(State.EXPIRED, True), (State.EXPIRED, True)])


def test_keys_without_a_one_time_prekey_begin_a_session_too() -> None:
    world, anna, bert = pair(one_times=0)
    message = world.send(anna, bert.user.address, "hi")
    world.run(1.0)
    assert (texts(bert), sealed(anna, message)) == (["hi"], True)
    assert [row.kind for row in store(bert).prekeys.values()] == [0]


def test_keys_that_could_not_be_stored_are_not_given() -> None:
    world = World()
    failing = Broken()
    anna, bert = world.add("anna"), world.add("bert", store=failing)
    world.meet(anna, bert)
    world.run(1.0)
    failing.fails = PrekeyPut
    message = world.send(anna, bert.user.address, "first")
    world.run(10.0)
    assert (texts(bert), sealed(anna, message)) == (["first"], False)
    assert failing.times == 0
    assert failing.prekeys == {} or all(
        row in failing.prekeys.values()
        for rows in core(bert)._sessions.prekeys._by_user.values()
        for row in rows.values()
    )
    assert not core(bert)._custody.items()


def test_a_wish_that_could_not_be_stored_leaves_no_trace() -> None:
    world = World()
    failing = Broken()
    anna, bert = world.add("anna", store=failing), world.add("bert")
    world.meet(anna, bert)
    world.run(1.0)
    failing.fails = RelayInsert
    world.send(anna, bert.user.address, "first")
    assert len(anna.refused) == 1
    assert not core(anna)._custody.items()
    assert core(anna)._relaying._quotas.size == 0


def test_words_about_keys_are_tried_again_after_a_restart() -> None:
    world = World()
    anna, bert = world.add("anna"), world.add("bert")
    world.meet(anna, bert)
    world.run(1.0)
    world.deafen(bert)
    world.send(anna, bert.user.address, "first")
    world.crash(anna)
    assert len(store(anna).relay) == 1
    world.run(1.0)
    world.start(anna)
    (item,) = [each for each in core(anna)._custody.items() if not isinstance(each, Outgoing)]
    assert (item.own, item.unsure) == (True, True)
    world.meet(anna, bert)
    world.run(60.0)
    assert texts(bert) == ["first"]
    assert not core(anna)._custody.items()
    assert store(anna).relay == {}


def test_a_later_word_of_a_kind_replaces_the_one_before() -> None:
    world = World()
    anna, bert = world.add("anna"), world.add("bert")
    world.meet(anna, bert)
    world.run(1.0)
    world.deafen(bert)
    for _ in range(3):
        world.send(anna, bert.user.address, "hi")
        world.run(700.0)
    assert len([each for each in core(anna)._custody.items() if not isinstance(each, Outgoing)]) == 1
    assert len(store(anna).relay) == 1
    world.tell(anna, events.UserRemoved(anna.user.address))
    assert not core(anna)._custody.items()
    assert store(anna).relay == {}


def test_a_damaged_session_is_forgotten_and_begun_anew() -> None:
    world, anna, bert = talked()
    copy = deepcopy(store(anna))
    for key, row in copy.sessions.items():
        copy.sessions[key] = replace(row, data=row.data[:-1])
    restored(world, anna, copy)
    world.send(anna, bert.user.address, "third")
    world.run(2.0)
    assert texts(bert)[2:] == ["third"]
    assert anna.counts[counters.SESSION_DAMAGED] == 1
    assert len(store(anna).sessions) == 1


def test_a_message_that_was_kept_here_is_read_when_its_user_comes() -> None:
    world = World()
    anna, relay = world.add("anna"), world.add("relay")
    user = SecretIdentity(b"u" * 32)
    world.meet(anna, relay)
    world.run(1.0)
    world.send(anna, user.address, "for a user who comes")
    world.run(30.0)
    world.tell(relay, events.UserAdded(user.seed))
    world.run(5.0)
    assert texts(relay) == ["for a user who comes"]
    assert len(store(anna).bundles) == 1, "and was told with which keys to go on"
    bundle = core(anna)._sessions.prekeys.bundle(anna.user, world.now)
    assert bundle


def test_a_session_message_for_a_user_who_comes_without_keys_is_asked_for_anew() -> None:
    world, anna, bert = talked()
    relay = world.add("relay")
    world.meet(anna, relay)
    world.run(2.0)
    user = bert.users[0]
    world.crash(bert)
    world.run(1.0)
    world.send(anna, user.address, "third")
    world.run(30.0)
    assert len(core(relay)._custody.items()) == 1
    world.tell(relay, events.UserAdded(user.seed))
    world.run(30.0)
    assert texts(relay) == ["third"]
    assert not core(relay)._custody.items()
    assert not core(anna)._custody.items()

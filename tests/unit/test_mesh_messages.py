"""Messages from the sender's queue to the recipient's inbox and the receipt back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from cores import UNIX_AT_ZERO, FullError, MemoryStore, Node, World, plain_pair, plain_world
from qpq.crypto.identity import Address, SecretIdentity
from qpq.crypto.sealing import seal
from qpq.mesh import events
from qpq.mesh.due import Due
from qpq.mesh.effects import Count, Deliver, Persist, SendEnvelope, SendFrame, SetTimer, State, StateChanged
from qpq.mesh.limits import Limits
from qpq.mesh.records import InboxInsert, TombstoneInsert
from qpq.wire.body import MAX_TEXT, Body, encode_body
from qpq.wire.envelope import MAX_TTL, Envelope, Mode, envelope_hash, envelope_id, sign_envelope
from qpq.wire.frames import CloseCode, Custody, CustodyCode, Receipt, Role, Transfer
from qpq.wire.receipts import commitment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpq.mesh.effects import Effect
    from qpq.wire.frames import Frame

STRANGER = SecretIdentity(b"s" * 32)


def store(node: Node) -> MemoryStore:
    assert isinstance(node.store, MemoryStore)
    return node.store


def state(node: Node, message: bytes) -> State:
    return store(node).state(node.user.address, message)


def envelope(recipient: Address, *, sender: SecretIdentity = STRANGER, text: str = "hi", **fields: object) -> Envelope:
    """Make an honest envelope, but for ``fields``."""
    values: dict[str, object] = {"ttl": 1000, "timestamp": 0, "message_id": b"m" * 16, "secret": b"s" * 16} | fields
    body = Body(values.pop("secret"), text, values.pop("message_id"))  # type: ignore[arg-type]
    sealed = seal(encode_body(body), sender=sender.address, recipient=recipient, entropy=b"e" * 32)
    values = {"payload": sealed, "commitment": commitment(body.secret)} | values
    return sign_envelope(sender, recipient=recipient, **values)  # type: ignore[arg-type]


def give(world: World, node: Node, made: Envelope, *, hops: int = 0, age: int = 0) -> list[Frame]:
    """Hand an envelope to a node over its link and return what it answers."""
    (number,) = node.wires
    effects = world.tell(node, events.FrameReceived(number, Transfer(hops, 1, age, made)))
    return frames(effects)


def frames(effects: Iterable[Effect]) -> list[Frame]:
    return [effect.frame for effect in effects if isinstance(effect, SendFrame)]


def refusal(world: World, node: Node, made: Envelope, **how: int) -> CustodyCode:
    (answer,) = give(world, node, made, **how)
    assert isinstance(answer, Custody)
    ((identifier, code),) = answer.answers
    assert identifier == envelope_id(made)
    return code


def answer(world: World, node: Node, message: bytes, code: CustodyCode) -> list[Effect]:
    """Let the peer answer a message of ``node`` with a code."""
    assert node.core is not None
    row = node.core.message(node.user.address, message)
    assert row is not None
    (number,) = node.wires
    return world.tell(node, events.FrameReceived(number, Custody(((row.envelope_id, code),))))


# --- the way there and back --------------------------------------------------------------------


def test_a_message_to_a_neighbours_user_arrives_once_and_its_receipt_comes_back() -> None:
    world, anna, bert = plain_pair()
    message = world.send(anna, bert.user.address, "grüße", urgent=True)
    world.run(1.0)
    (deliver,) = bert.delivered
    assert (deliver.user, deliver.message_id, deliver.sender) == (bert.user.address, message, anna.user.address)
    assert (deliver.text, deliver.urgent, deliver.received) == ("grüße", True, UNIX_AT_ZERO + 1)
    assert anna.states[anna.user.address, message] == [State.QUEUED, State.DELIVERED]
    assert state(anna, message) is State.DELIVERED
    assert anna.core is not None
    assert anna.core.message(anna.user.address, message) is None


def test_a_message_to_a_node_goes_to_its_first_user() -> None:
    world = plain_world()
    anna, bert = world.add("anna"), world.add("bert", users=3)
    world.find(anna, bert)
    world.run(1.0)
    world.send(anna, bert.secret.address)
    world.run(1.0)
    assert [deliver.user for deliver in bert.delivered] == [bert.users[0].address]


def test_a_message_is_durable_before_its_receipt_and_before_it_is_shown() -> None:
    world, anna, bert = plain_pair()
    made = envelope(bert.user.address)
    (number,) = bert.wires
    effects = world.tell(bert, events.FrameReceived(number, Transfer(0, 1, 0, made)))
    kinds = [type(effect) for effect in effects if not isinstance(effect, Count)]
    assert kinds == [Persist, Deliver, SendFrame]
    (persist,) = [effect for effect in effects if isinstance(effect, Persist)]
    assert [type(operation) for operation in persist.operations] == [TombstoneInsert, InboxInsert]
    assert frames(effects) == [Receipt(((b"s" * 16, envelope_hash(made)),))]
    assert anna.delivered == []


def test_receipts_of_frames_that_came_together_leave_together() -> None:
    world, _, bert = plain_pair()
    (number,) = bert.wires
    ids = [bytes([n]) * 16 for n in range(5)]
    made = tuple(Transfer(0, 1, 0, envelope(bert.user.address, secret=s, message_id=s)) for s in ids)
    (receipt,) = frames(world.tell(bert, events.FramesReceived(number, made)))
    assert isinstance(receipt, Receipt)
    assert [proof[0] for proof in receipt.proofs] == ids


def test_a_sender_stores_a_message_before_it_leaves() -> None:
    world, anna, bert = plain_pair()
    event = events.SendText(anna.user.address, bert.user.address, b"m" * 16, "hi", 1000)
    assert anna.core is not None
    kinds = [type(effect) for effect in anna.core.handle(event, world.now)]
    assert kinds.index(Persist) < kinds.index(StateChanged) < kinds.index(SendFrame)


def test_a_message_waits_for_its_recipient_and_is_read_from_the_store_then() -> None:
    world = plain_world()
    anna, bert = world.add("anna"), world.add("bert")
    message = world.send(anna, bert.user.address)
    world.run(3600.0)
    assert state(anna, message) is State.QUEUED
    world.find(anna, bert)
    world.run(1.0)
    assert state(anna, message) is State.DELIVERED
    (sent,) = [frame for _, _, frame in world.frames if isinstance(frame, Transfer)]
    assert (sent.age, sent.hops, sent.copies) == (3600, 0, 1)


def test_the_hop_limit_follows_the_length_of_the_route() -> None:
    world, anna, bert = plain_pair()
    carl = world.add("carl")
    world.send(anna, bert.user.address)
    world.send(anna, carl.user.address)
    world.find(anna, carl)
    world.run(1.0)
    sent = [frame.envelope.max_hops for _, _, frame in world.frames if isinstance(frame, Transfer)]
    assert sent == [32, 64]


def test_a_link_that_is_lost_before_the_receipt_queues_the_message_again() -> None:
    world, anna, bert = plain_pair()
    message = world.send(anna, bert.user.address)
    world.crash(bert)
    world.run(0.5)
    assert anna.core is not None
    row = anna.core.message(anna.user.address, message)
    assert row is not None
    assert (row.state, row.attempts) == (State.QUEUED, 1)
    world.start(bert)
    world.run(600.0)
    assert len(bert.delivered) == 1
    assert anna.states[anna.user.address, message] == [State.QUEUED, State.DELIVERED]


def test_a_lost_receipt_costs_one_more_transfer_and_shows_nothing_twice() -> None:
    world, anna, bert = plain_pair()
    world.deafen(anna)
    message = world.send(anna, bert.user.address)
    world.run(0.1)
    assert len(bert.delivered) == 1
    world.drop_link(anna, next(iter(anna.wires)))
    world.run(60.0)
    assert state(anna, message) is State.DELIVERED
    assert len(bert.delivered) == 1
    assert bert.counts["transfer.duplicate"] == 1
    receipts = {frame for _, _, frame in world.frames if isinstance(frame, Receipt)}
    assert len(receipts) == 1, "the duplicate is answered by the very same receipt"


def test_a_duplicate_is_known_after_a_restart() -> None:
    world, _, bert = plain_pair()
    made = envelope(bert.user.address)
    first = give(world, bert, made)
    world.crash(bert)
    world.run(1.0)
    world.start(bert)
    world.run(60.0)
    assert give(world, bert, made) == first
    assert len(bert.delivered) == 1


def test_a_message_sealed_anew_is_confirmed_but_not_shown_again() -> None:
    world, _, bert = plain_pair()
    give(world, bert, envelope(bert.user.address))
    again = envelope(bert.user.address, secret=b"t" * 16)
    assert give(world, bert, again) == [Receipt(((b"t" * 16, envelope_hash(again)),))]
    assert len(bert.delivered) == 1
    assert bert.counts["transfer.resent"] == 1
    assert len(store(bert).inbox) == 1


def test_a_message_that_was_deleted_does_not_come_back_when_it_is_sealed_anew() -> None:
    world, _, bert = plain_pair()
    give(world, bert, envelope(bert.user.address))
    world.tell(bert, events.DeleteMessage(bert.user.address, b"m" * 16))
    again = envelope(bert.user.address, secret=b"t" * 16)
    assert isinstance(give(world, bert, again)[0], Receipt)
    assert store(bert).inbox == {}
    assert len(bert.delivered) == 1


def test_one_senders_message_id_does_not_hide_anothers() -> None:
    world, _, bert = plain_pair()
    give(world, bert, envelope(bert.user.address))
    give(world, bert, envelope(bert.user.address, sender=SecretIdentity(b"o" * 32)))
    assert len(bert.delivered) == 2
    world.tell(bert, events.DeleteMessage(bert.user.address, b"m" * 16))
    assert store(bert).inbox == {}


def test_messages_of_one_user_arrive_in_order_and_the_urgent_first() -> None:
    world = plain_world()
    anna, bert = world.add("anna"), world.add("bert")
    for text in "abcd":
        world.send(anna, bert.user.address, text)
    world.send(anna, bert.user.address, "!", urgent=True)
    world.find(anna, bert)
    world.run(1.0)
    assert [deliver.text for deliver in bert.delivered] == ["!", "a", "b", "c", "d"]


def test_a_message_to_oneself_and_to_another_user_of_the_node_needs_no_link() -> None:
    world = plain_world()
    anna = world.add("anna", users=2)
    own = world.send(anna, anna.user.address, "note")
    other = world.send(anna, anna.users[1].address, "hello")
    node = world.send(anna, anna.secret.address, "to the node")
    assert [(deliver.user, deliver.text) for deliver in anna.delivered] == [
        (anna.user.address, "note"),
        (anna.users[1].address, "hello"),
        (anna.user.address, "to the node"),
    ]
    for message in (own, other, node):
        assert anna.states[anna.user.address, message] == [State.QUEUED, State.DELIVERED]
        assert state(anna, message) is State.DELIVERED


# --- what a user cannot send ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user": STRANGER.address}, "no such user"),
        ({"recipient": b"short"}, "32 bytes"),
        ({"recipient": bytes(32)}, "key"),
        ({"ttl": 0}, "time to live"),
        ({"ttl": MAX_TTL + 1}, "time to live"),
        ({"text": "x" * (MAX_TEXT + 1)}, "send it in parts"),
        ({"text": "\ud800"}, "surrogate"),
        ({"message_id": b"short"}, "16 bytes"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_reason(change: dict[str, object], reason: str) -> None:
    world, anna, bert = plain_pair()
    event = events.SendText(anna.user.address, bert.user.address, b"m" * 16, "hi", 1000)
    effects = world.tell(anna, replace(event, **change))  # type: ignore[arg-type]
    (refused,) = anna.refused
    assert reason in refused.reason
    assert not [effect for effect in effects if isinstance(effect, Persist | SendFrame)]


def test_the_longest_text_fits() -> None:
    world, anna, bert = plain_pair()
    world.send(anna, bert.user.address, "x" * MAX_TEXT)
    world.run(1.0)
    assert [len(deliver.text) for deliver in bert.delivered] == [MAX_TEXT]


def test_an_id_that_is_on_its_way_is_not_taken_twice() -> None:
    world, anna, _ = plain_pair()
    for _ in range(2):
        world.send(anna, STRANGER.address, message_id=b"m" * 16)
    assert ["on its way already" in refused.reason for refused in anna.refused] == [True]


def test_an_id_that_was_delivered_here_is_not_taken_twice() -> None:
    world, anna, _ = plain_pair()
    for _ in range(2):
        world.send(anna, anna.user.address, message_id=b"m" * 16)
    assert ["delivered already" in refused.reason for refused in anna.refused] == [True]
    assert len(anna.delivered) == 1


def test_a_full_outbox_refuses_and_a_delivery_makes_room() -> None:
    world, anna, bert = plain_pair(outbox_count=2)
    for _ in range(3):
        world.send(anna, STRANGER.address)
    assert ["outbox is full" in refused.reason for refused in anna.refused] == [True]
    world.tell(anna, events.DeleteMessage(anna.user.address, next(iter(anna.states))[1]))
    world.send(anna, bert.user.address)
    assert len(anna.refused) == 1


def test_an_outbox_is_full_by_bytes_too() -> None:
    world, anna, _ = plain_pair(outbox_bytes=2000)
    world.send(anna, STRANGER.address, "x" * 4000)
    assert "larger than the outbox" in anna.refused[0].reason
    world.send(anna, STRANGER.address, "x" * 1000)
    world.send(anna, STRANGER.address, "x" * 1000)
    assert "outbox is full" in anna.refused[1].reason


def test_one_recipient_does_not_get_all_of_an_outbox() -> None:
    world, anna, bert = plain_pair(recipient_count=1)
    world.send(anna, STRANGER.address)
    world.send(anna, STRANGER.address)
    world.send(anna, bert.user.address)
    assert ["this recipient" in refused.reason for refused in anna.refused] == [True]


def test_a_local_user_who_blocks_or_is_full_refuses_at_once() -> None:
    world = plain_world()
    anna = world.add("anna", users=2, limits=Limits(inbox_count=2, sender_percent=50))
    world.tell(anna, events.BlockedSet(anna.users[1].address, frozenset({anna.user.address})))
    world.send(anna, anna.users[1].address)
    assert "does not take messages" in anna.refused[0].reason
    world.send(anna, anna.user.address)
    world.send(anna, anna.user.address)
    assert "inbox is full" in anna.refused[1].reason
    world.tell(anna, events.BlockedSet(STRANGER.address, frozenset()))


# --- what a recipient refuses ----------------------------------------------------------------------


def test_a_leaf_refuses_what_is_not_for_it() -> None:
    world = plain_world()
    anna, bert = world.add("anna"), world.add("bert", role=Role.LEAF)
    world.find(anna, bert)
    world.run(1.0)
    assert refusal(world, bert, envelope(STRANGER.address)) is CustodyCode.NOT_HERE


def test_a_mode_of_later_versions_is_refused() -> None:
    world, _, bert = plain_pair()
    made = sign_envelope(
        STRANGER, recipient=bert.user.address, payload=b"x", commitment=b"c" * 16, mode=Mode.SEALED_SENDER
    )
    assert refusal(world, bert, made) is CustodyCode.NOT_HERE


def test_an_envelope_with_too_many_hops_is_refused() -> None:
    world, _, bert = plain_pair()
    made = envelope(bert.user.address, max_hops=3)
    assert refusal(world, bert, made, hops=4) is CustodyCode.TOO_MANY_HOPS
    assert isinstance(give(world, bert, made, hops=3)[0], Receipt)


def test_an_envelope_is_expired_by_its_age() -> None:
    world, _, bert = plain_pair()
    made = envelope(bert.user.address, ttl=1000)
    assert refusal(world, bert, made, age=1000) is CustodyCode.EXPIRED
    assert isinstance(give(world, bert, made, age=999)[0], Receipt)


def test_a_false_signature_costs_the_neighbour_its_link() -> None:
    world, anna, bert = plain_pair()
    made = replace(envelope(bert.user.address), signature=bytes(64))
    give(world, bert, made)
    assert bert.closed[-1].code == CloseCode.NOT_PERMITTED
    assert bert.delivered == []
    world.run(5.0)
    assert anna.identity not in bert.linked(world.now)


def test_an_envelope_altered_in_any_signed_field_does_not_arrive() -> None:
    made = envelope(SecretIdentity(b"b" * 32).address)
    changes: list[dict[str, object]] = [
        {"urgent": True},
        {"sender": SecretIdentity(b"x" * 32).address},
        {"ttl": 999},
        {"max_hops": 9},
        {"timestamp": UNIX_AT_ZERO},
        {"commitment": bytes(16)},
        {"payload": made.payload + b"x"},
    ]
    for change in changes:
        world, _, bert = plain_pair()
        forbert = envelope(bert.user.address)
        give(world, bert, replace(forbert, **change))  # type: ignore[arg-type]
        assert bert.delivered == []
        assert bert.counts["transfer.refused_bad_signature"] == 1


def test_what_cannot_be_opened_is_refused_and_the_neighbour_keeps_its_link() -> None:
    world, anna, bert = plain_pair()
    for payload in (b"", b"\x01" + bytes(60), b"\x09" + bytes(60)):
        made = envelope(bert.user.address, payload=payload)
        assert refusal(world, bert, made) is CustodyCode.UNREADABLE
    not_a_body = seal(b"\xff", sender=STRANGER.address, recipient=bert.user.address, entropy=b"e" * 32)
    assert refusal(world, bert, envelope(bert.user.address, payload=not_a_body)) is CustodyCode.UNREADABLE
    assert anna.identity in bert.linked(world.now)


def test_a_message_whose_receipt_would_not_be_believed_is_refused() -> None:
    world, _, bert = plain_pair()
    made = envelope(bert.user.address, commitment=commitment(b"another secret.."))
    assert refusal(world, bert, made) is CustodyCode.UNREADABLE


def test_a_blocked_sender_is_refused() -> None:
    world, _, bert = plain_pair()
    world.tell(bert, events.BlockedSet(bert.user.address, frozenset({STRANGER.address})))
    assert refusal(world, bert, envelope(bert.user.address)) is CustodyCode.BLOCKED


def many(world: World, node: Node, count: int, *, sender: SecretIdentity = STRANGER, text: str = "x") -> list[bool]:
    """Hand a node so many messages; whether each was taken."""
    made = [
        envelope(node.user.address, sender=sender, secret=s, message_id=s, text=text)
        for s in (world.random.randbytes(16) for _ in range(count))
    ]
    return [isinstance(give(world, node, one)[0], Receipt) for one in made]


def test_one_sender_fills_half_of_an_inbox_and_one_neighbour_three_quarters() -> None:
    world, anna, bert = plain_pair(inbox_count=8)
    other = SecretIdentity(b"o" * 32)
    assert many(world, bert, 6) == [True] * 4 + [False] * 2
    assert many(world, bert, 4, sender=other) == [True] * 2 + [False] * 2
    assert (bert.counts["transfer.refused_later"], bert.counts["transfer.refused_quota"]) == (2, 2)
    world.send(bert, bert.user.address, "my own")
    assert len(bert.delivered) == 7, "what a user writes to oneself comes over no neighbour"
    assert anna.identity in bert.linked(world.now)


def test_an_inbox_is_full_by_bytes_too_and_deleting_makes_room() -> None:
    world, _, bert = plain_pair(inbox_bytes=4000)
    assert many(world, bert, 3, text="x" * 500) == [True, True, True]
    assert many(world, bert, 1, text="x" * 500) == [False]
    world.tell(bert, events.DeleteMessage(bert.user.address, bert.delivered[0].message_id))
    assert many(world, bert, 1, text="x" * 500) == [True]


def test_an_inbox_is_as_full_after_a_restart_as_before() -> None:
    world, _, bert = plain_pair(inbox_count=4)
    assert many(world, bert, 3) == [True, True, False]
    world.crash(bert)
    world.run(1.0)
    world.start(bert)
    world.run(60.0)
    assert many(world, bert, 1) == [False]


def test_a_full_inbox_keeps_the_message_queued_and_is_asked_ever_more_rarely() -> None:
    world, anna, bert = plain_pair(inbox_count=2, sender_percent=50)
    world.send(anna, bert.user.address, "fits")
    world.run(1.0)
    waiting = [world.send(anna, bert.user.address, f"waits {n}") for n in range(20)]
    world.run(3600.0)
    assert {state(anna, message) for message in waiting} == {State.QUEUED}
    assert 20 < anna.counts["message.sent"] < 40, "the first window is sent, later one message probes"
    world.tell(bert, events.DeleteMessage(bert.user.address, bert.delivered[0].message_id))
    world.run(800.0)
    assert [deliver.text for deliver in bert.delivered] == ["fits", "waits 0"]


def test_when_a_recipient_has_room_again_everything_flows() -> None:
    world, anna, bert = plain_pair(inbox_count=2, sender_percent=50)
    world.send(anna, bert.user.address, "0")
    for text in "1234":
        world.send(anna, bert.user.address, text)
    for _ in range(5):
        world.run(900.0)
        world.tell(bert, events.DeleteMessage(bert.user.address, bert.delivered[-1].message_id))
    assert [deliver.text for deliver in bert.delivered] == list("01234")


# --- answers the sender gets -----------------------------------------------------------------------


def sending(**limits: object) -> tuple[World, Node, Node, bytes]:
    """A pair where a message is on the link and no answer will come."""
    world, anna, bert = plain_pair(**limits)
    world.deafen(bert)
    return world, anna, bert, world.send(anna, bert.user.address)


def attempts(node: Node, message: bytes) -> int:
    assert node.core is not None
    row = node.core.message(node.user.address, message)
    assert row is not None
    return row.attempts


def test_a_receipt_that_proves_nothing_is_counted() -> None:
    world, anna, _, message = sending()
    (number,) = anna.wires
    world.tell(anna, events.FrameReceived(number, Receipt(((message, b"h" * 32), (b"?" * 16, b"h" * 32)))))
    assert anna.counts["receipt.unknown"] == 2
    assert state(anna, message) is State.QUEUED


def test_an_answer_for_a_message_that_is_not_on_that_link_is_counted() -> None:
    world, anna, _, _ = sending()
    (number,) = anna.wires
    world.tell(anna, events.FrameReceived(number, Custody(((b"?" * 32, CustodyCode.QUOTA),))))
    assert anna.counts["custody.unknown"] == 1


@pytest.mark.parametrize(
    "code",
    [
        CustodyCode.BLOCKED,
        CustodyCode.UNREADABLE,
        CustodyCode.EXPIRED,
        CustodyCode.TOO_MANY_HOPS,
        CustodyCode.BAD_SIGNATURE,
    ],
)
def test_a_final_refusal_is_tried_again_an_hour_later(code: CustodyCode) -> None:
    world, anna, _, message = sending()
    answer(world, anna, message, code)
    world.run(3599.0)
    assert attempts(anna, message) == 1
    world.run(910.0)
    assert attempts(anna, message) > 1
    assert state(anna, message) is State.QUEUED


def test_custody_is_shown_as_relayed_and_a_receipt_ends_it() -> None:
    world, anna, bert, message = sending()
    (sent,) = [frame for _, _, frame in world.frames if isinstance(frame, Transfer)]
    answer(world, anna, message, CustodyCode.ACCEPTED)
    assert anna.states[anna.user.address, message] == [State.QUEUED, State.RELAYED]
    (number,) = anna.wires
    proof = (message, envelope_hash(sent.envelope))
    world.tell(anna, events.FrameReceived(number, Receipt((proof,))))
    assert state(anna, message) is State.DELIVERED
    assert bert.delivered == []


def test_who_hears_of_custody_and_of_the_receipt_at_once_is_told_both_in_that_order() -> None:
    world, anna, _, message = sending()
    (sent,) = [frame for _, _, frame in world.frames if isinstance(frame, Transfer)]
    (number,) = anna.wires
    custody = Custody(((envelope_id(sent.envelope), CustodyCode.ACCEPTED),))
    receipt = Receipt(((message, envelope_hash(sent.envelope)),))
    world.tell(anna, events.FramesReceived(number, (custody, receipt)))
    assert anna.states[anna.user.address, message] == [State.QUEUED, State.RELAYED, State.DELIVERED]
    assert state(anna, message) is State.DELIVERED


def test_a_relayed_message_stays_relayed_over_a_restart() -> None:
    world, anna, _, message = sending()
    answer(world, anna, message, CustodyCode.ACCEPTED)
    world.crash(anna)
    world.start(anna)
    assert anna.core is not None
    row = anna.core.message(anna.user.address, message)
    assert row is not None
    assert (row.state, row.copies) == (State.RELAYED, 1)


def test_a_node_that_says_a_user_is_not_there_is_not_asked_again_but_another_is() -> None:
    world, anna, bert, message = sending()
    carl = world.add("carl")
    second = world.send(anna, bert.user.address)
    (number,) = anna.wires
    answer(world, anna, message, CustodyCode.NOT_HERE)
    answer(world, anna, second, CustodyCode.NOT_HERE)
    assert anna.core is not None
    assert anna.core.where(bert.user.address) is None
    world.tell(carl, events.UserAdded(bert.user.seed))
    world.find(anna, carl)
    world.run(1.0)
    assert len(carl.delivered) == 2
    assert number in anna.wires


def test_a_node_that_disowns_its_own_address_is_asked_an_hour_later() -> None:
    world, anna, bert = plain_pair()
    world.deafen(bert)
    message = world.send(anna, bert.secret.address)
    answer(world, anna, message, CustodyCode.NOT_HERE)
    world.run(3000.0)
    assert attempts(anna, message) == 1
    world.run(1600.0)
    assert attempts(anna, message) > 1


def test_a_peer_that_does_not_answer_is_tried_again_after_a_while() -> None:
    world, anna, bert, message = sending(answer_s=30.0)
    world.run(29.0)
    assert attempts(anna, message) == 1
    world.run(10.0)
    assert attempts(anna, message) == 2
    assert anna.counts["message.retried"] == 1
    world.undeafen(bert)
    world.run(60.0)
    assert state(anna, message) is State.DELIVERED
    assert len(bert.delivered) == 1


def test_a_link_carries_so_many_messages_at_once_and_no_more() -> None:
    world, anna, bert = plain_pair(window_count=4)
    world.deafen(bert)
    for _ in range(10):
        world.send(anna, bert.user.address)
    assert anna.counts["message.sent"] == 4
    world.undeafen(bert)
    world.send(anna, bert.user.address)
    world.run(5.0)
    assert len(bert.delivered) == 11


def test_a_link_carries_so_many_bytes_at_once_and_no_more() -> None:
    world, anna, bert = plain_pair(window_bytes=2000)
    world.deafen(bert)
    for _ in range(10):
        world.send(anna, bert.user.address, "x" * 1000)
    assert anna.counts["message.sent"] == 2


def test_a_message_that_a_peer_could_not_take_is_not_sent_to_it() -> None:
    world = plain_world()
    anna, bert = world.add("anna"), world.add("bert")
    message = world.send(anna, bert.user.address, "x" * 20_000)
    assert anna.core is not None
    assert bert.core is not None
    hello = bert.core._neighbours._hello
    bert.core._neighbours._hello = lambda others, now: replace(hello(others, now), max_frame=8192)
    world.find(anna, bert)
    world.run(1.0)
    assert anna.counts["message.too_large_for_peer"] == 1
    assert bert.delivered == []
    assert state(anna, message) is State.QUEUED


# --- the end of a message --------------------------------------------------------------------------


def test_a_message_without_a_receipt_expires_at_its_ttl() -> None:
    world, anna, _ = plain_pair()
    message = world.send(anna, STRANGER.address, ttl=1000)
    world.run(998.0)
    assert state(anna, message) is State.RELAYED, "a neighbour carries a copy about"
    world.run(3.0)
    assert state(anna, message) is State.EXPIRED
    assert anna.states[anna.user.address, message] == [State.QUEUED, State.RELAYED, State.EXPIRED]
    assert anna.counts["message.expired"] == 1


def test_a_receipt_that_comes_too_late_is_still_true() -> None:
    world, anna, bert = plain_pair()
    world.deafen(anna)
    message = world.send(anna, bert.user.address, ttl=20)
    world.run(21.0)
    assert state(anna, message) is State.EXPIRED
    world.undeafen(anna)
    assert anna.states[anna.user.address, message] == [State.QUEUED, State.EXPIRED, State.DELIVERED]
    assert state(anna, message) is State.DELIVERED


def test_only_so_many_expired_messages_wait_for_a_late_receipt() -> None:
    world, anna, _ = plain_pair(late_receipts=2)
    for _ in range(5):
        world.send(anna, STRANGER.address, ttl=10)
    world.run(20.0)
    assert anna.counts["message.expired"] == 5
    assert anna.core is not None
    assert len(anna.core._posting._late) == 2
    world.tell(anna, events.UserRemoved(anna.user.address))
    assert len(anna.core._posting._late) == 0


def test_a_deleted_message_is_neither_sent_nor_expired_any_more() -> None:
    world, anna, bert = plain_pair()
    message = world.send(anna, STRANGER.address, ttl=1000)
    flying = world.send(anna, bert.user.address)
    world.tell(anna, events.DeleteMessage(anna.user.address, message))
    world.tell(anna, events.DeleteMessage(anna.user.address, flying))
    world.tell(anna, events.DeleteMessage(anna.user.address, b"unknown id......"))
    world.run(2000.0)
    assert store(anna).outbox == {}
    assert anna.counts["message.expired"] == 0
    assert len(bert.delivered) == 1, "what is on its way is not called back"
    assert anna.counts["receipt.unknown"] == 1


def test_a_user_who_is_removed_takes_everything_along() -> None:
    world, anna, bert = plain_pair()
    world.send(bert, anna.user.address)
    world.run(1.0)
    world.send(anna, STRANGER.address)
    world.deafen(bert)
    world.send(anna, bert.user.address)
    world.tell(anna, events.UserRemoved(anna.user.address))
    assert (store(anna).inbox, store(anna).outbox, store(anna).tombstones) == ({}, {}, {})
    assert anna.core is not None
    assert len(anna.core._outbox) == len(anna.core._tombstones) == 0
    world.run(3600.0)


def test_tombstones_are_bounded_and_the_one_that_expires_first_goes() -> None:
    world, _, bert = plain_pair(tombstones=3)
    ids = [bytes([n]) * 16 for n in range(5)]
    for number, secret in enumerate(ids):
        made = envelope(bert.user.address, secret=secret, message_id=secret, ttl=1000 - number)
        give(world, bert, made)
    assert [stone.message_id for stone in store(bert).tombstones.values()] == [ids[0], ids[1], ids[4]]
    assert bert.counts["tombstone.evicted"] == 2


def test_expired_tombstones_go_when_new_ones_come() -> None:
    world, _, bert = plain_pair()
    for number in range(6):
        secret = bytes([number]) * 16
        give(world, bert, envelope(bert.user.address, secret=secret, message_id=secret, ttl=100))
    world.run(101.0)
    give(world, bert, envelope(bert.user.address, secret=b"n" * 16, message_id=b"n" * 16))
    assert len(store(bert).tombstones) == 3
    assert bert.counts["tombstone.evicted"] == 0


# --- a store without room ----------------------------------------------------------------------------


def test_a_message_that_cannot_be_stored_is_refused_to_its_sender() -> None:
    world = plain_world()
    anna = world.add("anna", store=MemoryStore(room=1))
    world.send(anna, STRANGER.address)
    message = world.send(anna, STRANGER.address)
    (refused,) = anna.refused
    assert (refused.message_id, refused.reason) == (message, "the store is full")
    assert anna.core is not None
    assert anna.core.message(anna.user.address, message) is None
    assert (anna.user.address, message) not in anna.states
    world.run(1000.0)


def test_a_local_message_that_cannot_be_stored_is_refused_and_can_be_sent_later() -> None:
    world = plain_world()
    anna = world.add("anna", store=MemoryStore(room=1))
    message = world.send(anna, anna.user.address)
    assert anna.delivered == []
    assert len(anna.refused) == 1
    store(anna).room = 2
    world.send(anna, anna.user.address, message_id=message)
    assert len(anna.delivered) == 1


def test_an_arriving_message_that_cannot_be_stored_is_answered_with_quota_and_comes_later() -> None:
    world = plain_world()
    anna, bert = world.add("anna"), world.add("bert", store=MemoryStore(room=0))
    world.find(anna, bert)
    world.run(1.0)
    message = world.send(anna, bert.user.address)
    world.run(1.0)
    assert bert.delivered == []
    assert bert.counts["store.failed"] == 1
    assert state(anna, message) is State.QUEUED
    store(bert).room = 10
    world.run(60.0)
    assert len(bert.delivered) == 1
    assert state(anna, message) is State.DELIVERED


def test_a_receipt_hangs_on_the_tombstone_of_the_first() -> None:
    world, _, bert = plain_pair()
    made = envelope(bert.user.address)
    give(world, bert, made)
    store(bert).tombstones.clear()
    (number,) = bert.wires
    before = len(world.frames)
    world.tell(bert, events.FrameReceived(number, Transfer(0, 1, 0, made)))
    assert not [frame for _, _, frame in list(world.frames)[before:] if isinstance(frame, Receipt)]


def test_a_message_sealed_anew_that_cannot_be_stored_leaves_the_first_alone() -> None:
    world, _, bert = plain_pair()
    give(world, bert, envelope(bert.user.address))
    store(bert).room = 0
    give(world, bert, envelope(bert.user.address, secret=b"t" * 16))
    store(bert).room = 9
    give(world, bert, envelope(bert.user.address, secret=b"t" * 16))
    assert len(bert.delivered) == 1
    assert len(store(bert).inbox) == 1


def test_a_state_that_cannot_be_written_is_told_all_the_same() -> None:
    world, anna, bert = plain_pair()
    message = world.send(anna, bert.user.address)
    assert anna.core is not None
    for effect in anna.core.handle(events.DeleteMessage(anna.user.address, b"x" * 16), world.now):
        assert isinstance(effect, Persist)
        world.tell(anna, events.PersistFailed(effect.operations, "disk"))
    with patch.object(anna.store, "apply", side_effect=FullError("no room")):
        world.run(1.0)
    assert anna.states[anna.user.address, message][-1] is State.DELIVERED


def test_after_a_failed_persist_the_timer_is_asked_for_again() -> None:
    world, anna, _ = plain_pair()
    world.send(anna, STRANGER.address, ttl=1000)
    assert anna.core is not None
    effects = anna.core.handle(events.PersistFailed((), "disk"), world.now)
    assert [effect for effect in effects if isinstance(effect, SetTimer)]


def test_an_envelope_sent_again_is_read_from_the_store() -> None:
    world, anna, bert = plain_pair()
    world.deafen(bert)
    message = world.send(anna, bert.user.address)
    effects: list[Effect] = []
    (number,) = anna.wires
    assert anna.core is not None
    row = anna.core.message(anna.user.address, message)
    assert row is not None
    custody = Custody(((row.envelope_id, CustodyCode.QUOTA),))
    anna.core.handle(events.FrameReceived(number, custody), world.now)
    effects = anna.core.handle(events.Tick(), world.now + 10.0)
    assert SendEnvelope(number, row.envelope_id, 0, 1, 10) in effects


# --- what must not be left behind ------------------------------------------------------------------------


def refused_for(world: World, node: Node, message: bytes, recipient: Address) -> float:
    """Let the peer say that it has no room; return the wait until it is asked again."""
    answer(world, node, message, CustodyCode.QUOTA)
    assert node.core is not None
    timers = node.core._timers._at.items()
    (at,) = [at for (kind, key), (at, _) in timers if kind is Due.RESUME and bytes(key)[32:] == recipient]
    return at - world.now


def test_a_receipt_ends_the_growing_waits_for_its_recipient() -> None:
    world, anna, bert = plain_pair(answer_s=1e6)
    recipient = bert.user.address
    world.deafen(bert)
    message = world.send(anna, recipient)
    for least in (5.0, 10.0, 20.0, 40.0):
        wait = refused_for(world, anna, message, recipient)
        assert least <= wait <= least * 1.25
        world.run(wait + 0.001)
    others = [world.send(anna, recipient) for _ in range(3)]
    assert [attempts(anna, other) for other in others] == [0, 0, 0], "one message probes"
    made = next(frame.envelope for _, _, frame in world.frames if isinstance(frame, Transfer))
    (number,) = anna.wires
    world.tell(anna, events.FrameReceived(number, Receipt(((message, envelope_hash(made)),))))
    assert [attempts(anna, other) for other in others] == [1, 1, 1], "its receipt lets all others go"
    assert refused_for(world, anna, others[0], recipient) <= 6.25
    refused_for(world, anna, others[1], recipient)
    world.undeafen(bert)
    world.run(10.0)
    assert {state(anna, other) for other in others} == {State.DELIVERED}


def test_what_was_delivered_does_not_count_against_the_outbox() -> None:
    world, anna, bert = plain_pair(outbox_bytes=3300)
    world.send(anna, STRANGER.address, "x" * 1000)
    for _ in range(10):
        world.send(anna, bert.user.address, "x" * 1000)
        world.run(1.0)
    assert len(bert.delivered) == 10


def test_a_delivered_message_leaves_no_timers() -> None:
    world, anna, bert, message = sending()
    (sent,) = [frame for _, _, frame in world.frames if isinstance(frame, Transfer)]
    assert anna.core is not None
    idle = len(anna.core._timers)
    assert idle >= 2, "its answer and its expiry are waited for"
    answer(world, anna, message, CustodyCode.ACCEPTED)
    (number,) = anna.wires
    receipt = Receipt(((message, envelope_hash(sent.envelope)),))
    world.tell(anna, events.FrameReceived(number, receipt))
    kinds = {kind for kind, _ in anna.core._timers._at}
    assert not kinds & {Due.ANSWER, Due.HOLD, Due.EXPIRE, Due.SPRAY, Due.RESUME}
    world.undeafen(bert)
    world.send(anna, bert.user.address)
    world.run(1.0)
    kinds = {kind for kind, _ in anna.core._timers._at}
    assert not kinds & {Due.ANSWER, Due.HOLD, Due.EXPIRE, Due.SPRAY, Due.RESUME}


def test_a_peer_cannot_answer_for_what_another_carries() -> None:
    world, anna, _, message = sending()
    carl = world.add("carl")
    world.find(anna, carl)
    world.run(1.0)
    assert anna.core is not None
    row = anna.core.message(anna.user.address, message)
    assert row is not None
    link = next(row.link for row in anna.core.peers(world.now) if row.identity == carl.identity)
    assert link is not None
    custody = Custody(((row.envelope_id, CustodyCode.ACCEPTED),))
    world.tell(anna, events.FrameReceived(link, custody))
    assert anna.counts["custody.unknown"] == 1
    assert anna.states[anna.user.address, message] == [State.QUEUED]


def test_what_a_lost_link_carried_goes_over_another_to_the_same_user_at_once() -> None:
    world, anna, bert = plain_pair()
    carl = world.add("carl")
    world.tell(carl, events.UserAdded(bert.user.seed))
    world.find(anna, carl)
    world.run(1.0)
    world.deafen(carl)
    message = world.send(anna, bert.user.address)
    link = next(number for number, wire in anna.wires.items() if wire.other and wire.other.node is carl)
    world.drop_link(anna, link)
    world.run(0.5)
    assert state(anna, message) is State.DELIVERED
    assert len(bert.delivered) == 1

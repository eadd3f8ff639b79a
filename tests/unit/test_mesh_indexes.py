"""The indexes of inbox, outbox and tombstones."""

from __future__ import annotations

import pytest

from cores import pair
from qpq.crypto.identity import Address, Identity
from qpq.mesh import events
from qpq.mesh.custody import Custody
from qpq.mesh.due import Due
from qpq.mesh.effects import SendFrame, State
from qpq.mesh.inbox import Inbox
from qpq.mesh.limits import Limits
from qpq.mesh.outbox import Outbox
from qpq.mesh.records import Kept, Queued, TombstoneInsert
from qpq.mesh.tombstones import Tombstones

ANNA = Address(b"a" * 32)
BERT = Address(b"b" * 32)
CARL = Address(b"c" * 32)
NODE = Identity(b"n" * 32)
ID = b"m" * 16


def queued(number: int, *, urgent: bool = False, recipient: Address = BERT) -> Queued:
    return Queued(
        user=ANNA,
        message_id=number.to_bytes(16, "big"),
        envelope_id=number.to_bytes(32, "big"),
        recipient=recipient,
        size=100,
        urgent=urgent,
        ttl=1000,
        born=0,
        state=State.QUEUED,
        copies=0,
    )


def stone(number: int, *, expires: int = 100, user: Address = ANNA, message: bytes = ID) -> TombstoneInsert:
    return TombstoneInsert(user, number.to_bytes(32, "big"), BERT, message, b"s" * 16, b"h" * 32, expires)


def inbox(*messages: Kept) -> Inbox:
    made = Inbox(Limits(inbox_count=4, inbox_bytes=1000))
    for message in messages:
        made.add(message)
    return made


def test_an_inbox_forgets_one_of_two_messages_with_the_same_id() -> None:
    box = inbox(Kept(ANNA, ID, BERT, 100, NODE), Kept(ANNA, ID, CARL, 50, None))
    box.remove_one(ANNA, CARL, ID)
    assert box.knows(ANNA, BERT, ID)
    assert not box.knows(ANNA, CARL, ID)
    assert box.size() == 100
    box.remove_one(ANNA, BERT, ID)
    box.remove_one(ANNA, BERT, ID)
    box.remove_one(BERT, ANNA, ID)
    assert box.size() == 0


def test_an_inbox_notes_a_message_once() -> None:
    box = inbox(Kept(ANNA, ID, BERT, 100, NODE), Kept(ANNA, ID, BERT, 100, NODE))
    assert box.size() == 100
    assert not box.knows(BERT, BERT, ID)
    assert box.remove(ANNA, ID)
    assert not box.remove(ANNA, ID)
    assert not box.remove(BERT, ID)


def test_the_first_message_of_a_user_may_already_be_too_large() -> None:
    assert not inbox().fits(ANNA, BERT, NODE, 600)
    assert inbox().fits(ANNA, BERT, NODE, 500)


def test_an_outbox_without_messages_holds_nothing() -> None:
    custody = Custody()
    box = Outbox(Limits(), custody)
    for number in range(5):
        box.add(queued(number, recipient=BERT if number % 2 else CARL))
    assert len(box) == len(custody) == len(box.all_of(ANNA)) == 5
    assert box.of_user(BERT, b"") is None
    for message in box.all_of(ANNA):
        box.remove(message)
        custody.remove(message)
    assert (box._senders, len(custody), custody.destinations()) == ({}, 0, ())


def test_a_message_is_known_by_any_of_its_tombstones() -> None:
    stones = Tombstones(10)
    for number in (1, 2):
        stones.add(stone(number))
        stones.add(stone(number))
    assert len(stones) == 2
    stones.remove(stone(1).envelope_id)
    stones.remove(stone(1).envelope_id)
    assert stones.knows(ANNA, BERT, ID)
    assert not stones.knows(ANNA, CARL, ID)
    stones.remove(stone(2).envelope_id)
    assert not stones.knows(ANNA, BERT, ID)


def test_a_tombstone_that_was_set_anew_keeps_its_new_time() -> None:
    stones = Tombstones(10)
    stones.add(stone(1, expires=50))
    stones.remove(stone(1).envelope_id)
    stones.add(stone(1, expires=500))
    assert stones.make_room(100.0, 4) == []
    assert stones.make_room(500.0, 4) == [(stone(1, expires=500), True)]
    assert stones.make_room(500.0, 4) == []


def test_tombstones_set_and_removed_for_ever_do_not_pile_up() -> None:
    stones = Tombstones(10)
    for number in range(1000):
        stones.add(stone(number))
        stones.remove(stone(number).envelope_id)
    assert len(stones._by_expiry) <= 65


def test_a_users_tombstones_go_with_the_user() -> None:
    stones = Tombstones(10)
    stones.add(stone(1))
    stones.add(stone(2, user=BERT))
    stones.remove_user(ANNA)
    assert stones.get(stone(1).envelope_id) is None
    assert stones.get(stone(2).envelope_id) is not None


@pytest.mark.parametrize("due", ["answer_due", "hold_due", "resume_due", "spray_due"])
def test_a_deadline_of_a_message_that_is_gone_is_no_fault(due: str) -> None:
    world, anna, _ = pair()
    assert anna.core is not None
    world.run(5.0)
    getattr(anna.core._sending, due)(b"?" * 64, world.now)
    anna.core._sending.link_gone(999, world.now)
    assert not any(isinstance(effect, SendFrame) for effect in anna.core.handle(events.Tick(), world.now))


def test_an_expiry_that_comes_before_its_time_is_set_again() -> None:
    world, anna, _ = pair()
    message = world.send(anna, CARL, ttl=1000)
    assert anna.refused, "an address that is no key"
    message = world.send(anna, world.add("carl").user.address, ttl=1000)
    assert anna.core is not None
    row = anna.core.message(anna.user.address, message)
    assert row is not None
    anna.core._sending.expire_due(0, world.now)
    assert anna.core.message(anna.user.address, message) == row
    assert (Due.EXPIRE, 0) in anna.core._timers._at

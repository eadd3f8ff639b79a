"""Messages that their user has read give way when an inbox is full, the oldest first, and nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from cores import World, pair
from qpq.crypto.identity import Address, Identity
from qpq.mesh import events
from qpq.mesh.effects import Persist, State
from qpq.mesh.inbox import Inbox
from qpq.mesh.limits import Limits
from qpq.mesh.records import Kept, MessageDelete
from qpq.store.database import Database

if TYPE_CHECKING:
    from pathlib import Path

ANNA = Address(b"a" * 32)
BERT = Address(b"b" * 32)
CARL = Address(b"c" * 32)
NODE = Identity(b"n" * 32)


def kept(
    number: int, *, sender: Address = BERT, size: int = 100, via: Identity | None = None, read: bool = False
) -> Kept:
    return Kept(ANNA, number.to_bytes(16, "big"), sender, size, via, read)


def inbox(*messages: Kept, count: int = 4, size: int = 1000, sender: int = 100, link: int = 100) -> Inbox:
    made = Inbox(Limits(inbox_count=count, inbox_bytes=size, sender_percent=sender, link_percent=link))
    for message in messages:
        made.add(message)
    return made


def take(box: Inbox, message: Kept) -> list[int] | None:
    """Take a message as the core does and return which gave way; None: it was refused."""
    if not box.fits(message.user, message.sender, message.via, message.size):
        return None
    gone = [int.from_bytes(each, "big") for each in box.make_room(message)]
    box.add(message)
    return gone


def read(box: Inbox, *numbers: int, sender: Address = BERT) -> None:
    for number in numbers:
        box.mark_read(ANNA, sender, number.to_bytes(16, "big"))


def test_a_full_inbox_refuses_while_nothing_in_it_was_read() -> None:
    box = inbox(*[kept(number) for number in range(4)])
    assert take(box, kept(9)) is None
    assert take(inbox(), kept(0)) == []


def test_the_oldest_read_message_gives_way_however_late_it_was_read() -> None:
    box = inbox(*[kept(number) for number in range(4)])
    read(box, 3)
    read(box, 1)
    assert take(box, kept(4)) == [1]
    assert take(box, kept(5)) == [3]
    assert take(box, kept(6)) is None


def test_as_many_read_messages_give_way_as_the_new_one_needs_and_no_more() -> None:
    box = inbox(*[kept(number, size=200) for number in range(5)], count=100)
    read(box, 0, 1, 2, 3)
    assert take(box, kept(9, size=350)) == [0, 1]
    assert box.size() == 950


def test_a_sender_whose_share_is_full_pushes_out_only_its_own_read_messages() -> None:
    box = inbox(*[kept(number, sender=CARL) for number in range(2)], kept(2), kept(3), count=6, sender=34)
    read(box, 0, 1, sender=CARL)
    assert take(box, kept(9)) is None, "what is read of Carl's makes no room in Bert's share"
    read(box, 3)
    assert take(box, kept(9)) == [3]


def test_a_neighbour_whose_share_is_full_pushes_out_only_what_it_brought() -> None:
    box = inbox(kept(0), kept(1, via=NODE), kept(2, via=NODE), count=4, link=50)
    read(box, 0, 2)
    assert take(box, kept(9, via=NODE)) == [2]


def test_one_sender_may_use_the_inbox_for_ever_if_its_user_reads() -> None:
    box = inbox(count=10, sender=50)
    for number in range(100):
        assert take(box, kept(number)) is not None
        read(box, number)
    assert box.size() == 500


def test_only_the_message_that_was_meant_counts_as_read() -> None:
    box = inbox(*[kept(number) for number in range(4)])
    read(box, 1, sender=CARL)
    read(box, 77)
    box.mark_read(BERT, BERT, bytes(16))
    assert take(box, kept(9)) is None


def test_two_messages_of_one_id_never_give_way_since_the_store_deletes_by_id() -> None:
    box = inbox(kept(0), kept(1), kept(2))
    read(box, 0)
    box.add(kept(0, sender=CARL, read=True))
    read(box, 0)
    read(box, 0, sender=CARL)
    assert take(box, kept(9)) is None
    box.remove_one(ANNA, CARL, bytes(16))
    read(box, 0)
    read(box, 0)
    assert take(box, kept(8)) == []
    assert take(box, kept(9)) == [0]


def test_what_was_read_before_a_restart_gives_way_after_it() -> None:
    box = inbox(kept(0), kept(1, read=True), kept(2), kept(3))
    assert take(box, kept(9)) == [1]
    box.remove(ANNA, kept(0).message_id)
    assert take(box, kept(10)) == []


@given(st.lists(st.tuples(st.sampled_from(("take", "read", "remove", "one")), st.integers(0, 9), st.integers(1, 400))))
def test_shares_are_what_the_messages_add_up_to_whatever_happens(steps: list[tuple[str, int, int]]) -> None:
    box = inbox(sender=60, link=70)
    model: dict[int, Kept] = {}
    for what, number, size in steps:
        message = kept(number, size=size, sender=BERT if number % 2 else CARL, via=NODE if number % 3 else None)
        if what == "take" and number not in model:
            gone = take(box, message)
            if gone is not None:
                assert all(model.pop(each).read for each in gone)
                model[number] = message
        elif what == "read" and number in model:
            box.mark_read(ANNA, message.sender, message.message_id)
            model[number] = Kept(*[getattr(model[number], name) for name in Kept.__slots__[:5]], True)
        elif what == "remove":
            assert box.remove(ANNA, message.message_id) is (model.pop(number, None) is not None)
        elif what == "one":
            box.remove_one(ANNA, message.sender, message.message_id)
            model.pop(number, None)
        assert box.size() == sum(each.size for each in model.values()) <= 1000
        assert len(model) <= 4
        assert (
            [each for same in box._boxes[ANNA].messages.values() for each in same] == list(model.values())
            if model
            else True
        )


def test_a_node_whose_user_reads_takes_messages_for_ever_and_its_store_forgets_the_oldest(tmp_path: Path) -> None:
    world = World(1)
    store = Database(str(tmp_path / "bert.db"))
    anna = world.add("anna")
    bert = world.add("bert", store=store, limits=Limits(inbox_count=4, sender_percent=100, link_percent=100))
    world.meet(anna, bert)
    world.run(1.0)
    messages = [world.send(anna, bert.user.address, f"{number}") for number in range(5)]
    world.run(1.0)
    assert [entry.text for entry in store.inbox(bert.user.address)] == ["0", "1", "2", "3"]
    entries = store.inbox(bert.user.address)[:3]
    store.mark_read(bert.user.address, [entry.number for entry in entries])
    world.tell(
        bert, events.MessagesRead(bert.user.address, tuple((entry.message_id, entry.sender) for entry in entries))
    )
    world.run(100.0)
    assert anna.states[anna.user.address, messages[4]][-1] is State.DELIVERED
    assert [entry.text for entry in store.inbox(bert.user.address)] == ["1", "2", "3", "4"]
    world.crash(bert)
    world.start(bert)
    world.meet(anna, bert)
    world.run(1.0)
    world.send(anna, bert.user.address, "5")
    world.run(10.0)
    assert [entry.text for entry in store.inbox(bert.user.address)] == ["2", "3", "4", "5"]


def test_a_message_between_users_of_one_node_makes_room_too() -> None:
    world = World()
    node = world.add("node", users=2, limits=Limits(inbox_count=1, sender_percent=100))
    anna, bert = node.users
    first = world.send(node, bert.address, "1", user=anna)
    world.send(node, bert.address, "2", user=anna)
    assert [refused.reason for refused in node.refused] == ["the recipient's inbox is full"]
    world.tell(node, events.MessagesRead(bert.address, ((first, anna.address),)))
    message = world.random.randbytes(16)
    effects = world.tell(node, events.SendText(anna.address, bert.address, message, "3", 60))
    persisted = [one for effect in effects if isinstance(effect, Persist) for one in effect.operations]
    assert MessageDelete(bert.address, first) in persisted
    assert [message.text for message in node.delivered] == ["1", "3"]


def test_reading_is_no_event_for_anybody_else() -> None:
    world, anna, _ = pair()
    assert world.tell(anna, events.MessagesRead(anna.user.address, ((bytes(16), BERT),))) == []

"""What users post to channels and read of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cores import World
from flood_kit import CHANNEL, KEY, UNIX, USER, WRITER, Station, broadcast, news, short
from qpq.crypto.channels import channel_id, day_tag, open_broadcast, open_key
from qpq.crypto.errors import CryptoError
from qpq.crypto.identity import SecretIdentity
from qpq.mesh import counters, effects, events
from qpq.mesh.effects import State
from qpq.mesh.records import OutboxState
from qpq.store.database import Database
from qpq.wire.body import decode_body
from qpq.wire.envelope import Mode, envelope_hash, envelope_id, sign_envelope, verify_envelope
from qpq.wire.frames import Custody, CustodyCode, Receipt, Transfer
from qpq.wire.frames_mesh import Graft
from qpq.wire.receipts import commitment

if TYPE_CHECKING:
    from pathlib import Path

RAIN = broadcast("rain")
OTHER_KEY = open_key("sports")
BERT = SecretIdentity(b"b" * 32)


def states(station: Station) -> list[tuple[State, int]]:
    return [(e.state, e.copies) for e in station.effects if isinstance(e, effects.StateChanged)]


# --- reading -----------------------------------------------------------------------------------------


def test_a_reader_is_shown_a_broadcast_of_the_channel_with_the_channels_id() -> None:
    station = Station([1], clock=float(UNIX))
    station.join()
    today = broadcast("rain", timestamp=UNIX)
    station.bring(1, news(today))
    assert [effect for effect in station.effects if isinstance(effect, effects.Deliver)] == [
        effects.Deliver(USER.address, today.commitment, WRITER.address, "rain", UNIX, urgent=False, channel=CHANNEL)
    ]
    (row,) = station.store.inbox.values()
    assert (row.text, row.channel, row.sent) == ("rain", CHANNEL, UNIX)


def test_the_day_is_the_envelopes_own_so_no_clock_is_needed() -> None:
    station = Station([1])
    station.join()
    for days in (0, 1, 400):
        station.bring(1, news(broadcast(f"day {days}", timestamp=days * 86_400)))
    assert station.shown() == ["day 0", "day 1", "day 400"]


def test_a_broadcast_of_a_channel_that_nobody_reads_is_passed_on_unread() -> None:
    station = Station([1, 2])
    station.join()
    station.bring(1, news(broadcast("goal", key=OTHER_KEY)))
    assert station.shown() == []
    assert station.to(Transfer) == [2]


def test_two_users_of_a_node_are_both_shown_it() -> None:
    station = Station([1])
    station.tell(events.UserAdded(BERT.seed))
    station.join()
    station.join(user=BERT)
    station.bring(1, news(RAIN))
    assert station.shown() == ["rain", "rain"]
    station.tell(events.ChannelLeft(BERT.address, CHANNEL))
    station.bring(1, news(broadcast("snow")))
    assert station.shown() == ["rain", "rain", "snow"]


def test_who_left_is_shown_nothing_more() -> None:
    station = Station([1])
    station.join()
    station.tell(events.ChannelLeft(USER.address, CHANNEL))
    station.tell(events.ChannelLeft(USER.address, CHANNEL))
    station.bring(1, news(RAIN))
    assert station.shown() == []


def test_a_removed_user_reads_no_channel() -> None:
    station = Station([1])
    station.join()
    station.post()
    station.tell(events.UserRemoved(USER.address))
    station.bring(1, news(RAIN))
    assert station.shown() == []
    assert station.core.message(USER.address, b"m" * 16) is None


def test_one_message_in_two_envelopes_is_shown_once() -> None:
    station = Station([1])
    station.join()
    station.bring(1, news(RAIN), news(broadcast("rain", message_id=RAIN.commitment, ttl=500)))
    assert station.shown() == ["rain"]


def test_a_blocked_sender_is_not_shown_but_passed_on() -> None:
    station = Station([1, 2])
    station.join()
    station.tell(events.BlockedSet(USER.address, frozenset({WRITER.address})))
    station.bring(1, news(RAIN))
    assert station.shown() == []
    assert station.count(counters.CHANNEL_BLOCKED) == 1
    assert station.to(Transfer) == [2]


def test_an_announcement_channel_shows_its_signers_only() -> None:
    station = Station([1, 2])
    station.join(signers=[WRITER.address])
    station.bring(1, news(broadcast("false alarm", sender=BERT)), news(RAIN))
    assert station.shown() == ["rain"]
    assert station.count(counters.CHANNEL_FOREIGN) == 1
    assert station.to(Transfer) == [2, 2]


@pytest.mark.parametrize("plaintext", [b"", b"no body", b"\x83\x18\x63\x40\x60"])
def test_what_cannot_be_read_is_counted_and_passed_on(plaintext: bytes) -> None:
    station = Station([1, 2])
    station.join()
    station.bring(1, news(broadcast(plaintext=plaintext)))
    assert station.shown() == []
    assert station.count(counters.CHANNEL_UNREADABLE) == 1
    assert station.to(Transfer) == [2]


def test_a_tag_of_another_day_than_the_timestamps_is_nobodys() -> None:
    station = Station([1])
    station.join()
    yesterday = broadcast("rain", timestamp=86_400)
    today = sign_envelope(
        WRITER,
        recipient=yesterday.recipient,
        payload=yesterday.payload,
        commitment=yesterday.commitment,
        timestamp=2 * 86_400,
        max_hops=64,
        mode=Mode.CHANNEL,
    )
    station.bring(1, news(today))
    assert station.shown() == []
    station.bring(1, news(yesterday))
    assert station.shown() == ["rain"]


def test_a_full_inbox_refuses_and_gets_the_message_after_a_restart() -> None:
    station = Station([1], inbox_count=2)
    station.join()
    station.bring(1, news(RAIN), news(broadcast("snow")))
    assert station.shown() == ["rain"]
    assert station.count(counters.CHANNEL_NO_ROOM) == 1
    again = station.restarted()
    again.join()
    assert again.shown() == ["snow"]


def test_read_messages_give_way_to_a_broadcast() -> None:
    station = Station([1], inbox_count=2, sender_percent=100, link_percent=100)
    station.join()
    snow, hail = broadcast("snow"), broadcast("hail")
    station.bring(1, news(RAIN), news(snow))
    station.tell(events.MessagesRead(USER.address, ((RAIN.commitment, WRITER.address),)))
    station.bring(1, news(hail))
    assert station.shown() == ["rain", "snow", "hail"]
    assert {row.text for row in station.store.inbox.values()} == {"snow", "hail"}


def test_channels_are_capped() -> None:
    station = Station([1], channels=1)
    station.join(OTHER_KEY)
    station.join()
    station.bring(1, news(RAIN))
    assert station.shown() == []
    assert station.count(counters.CHANNEL_OVER_CAP) == 1
    station.tell(events.ChannelLeft(USER.address, channel_id(OTHER_KEY)))
    station.join()
    assert station.shown() == ["rain"]


def test_only_users_of_this_node_read() -> None:
    station = Station([1])
    station.join(user=BERT)
    station.bring(1, news(RAIN))
    assert station.shown() == []


def test_a_key_of_another_length_is_no_key() -> None:
    with pytest.raises(CryptoError):
        Station().join(b"short")


def test_tags_are_kept_for_a_bounded_number_of_days() -> None:
    station = Station([1])
    station.join()
    for day in range(60):
        station.bring(1, news(broadcast(str(day), timestamp=day * 86_400)))
        station.wait(1.0)
    assert len(station.shown()) == 60
    assert len(station.core._channels._channels._by_day) <= 40


# --- what is alive in the store --------------------------------------------------------------------------


def test_who_subscribes_late_is_shown_what_is_alive() -> None:
    station = Station([1])
    station.bring(1, news(broadcast("brief", ttl=50)), news(RAIN), news(broadcast("goal", key=OTHER_KEY)))
    station.wait(60.0)
    station.join()
    assert station.shown() == ["rain"]


def test_only_what_may_be_of_the_channel_is_read_from_the_store() -> None:
    station = Station([1])
    station.bring(1, news(broadcast("goal", key=OTHER_KEY)))
    station.join()
    assert [effect for effect in station.effects if isinstance(effect, effects.Recall)] == []


def test_many_are_read_from_the_store_in_lots() -> None:
    station = Station([1])
    for number in range(40):
        station.bring(1, news(broadcast(f"{number:02}")))
    station.join()
    lots = [len(effect.envelope_ids) for effect in station.effects if isinstance(effect, effects.Recall)]
    assert lots == [16, 16, 8]
    assert len(station.shown()) == 40


def test_what_gave_way_before_its_lot_came_is_left_out() -> None:
    station = Station([1])
    for number in range(17):
        station.bring(1, news(broadcast(f"{number:02}", ttl=100)))
    station.core.handle(events.ChannelJoined(USER.address, KEY), station.now)  # its Recall is not answered yet
    station.wait(200.0)
    gone = broadcast("00", ttl=100)
    station.tell(events.Recalled((gone,)))
    assert station.shown() == []
    station.clear()
    station.bring(1, news(RAIN))
    station.tell(events.ChannelLeft(USER.address, CHANNEL))
    station.join()
    assert station.shown() == ["rain"]


def test_nothing_is_shown_twice_after_a_restart() -> None:
    station = Station([1])
    station.join()
    station.bring(1, news(RAIN), news(broadcast("snow")))
    station.tell(events.DeleteMessage(USER.address, RAIN.commitment))
    again = station.restarted([1])
    again.join()
    again.bring(1, news(RAIN), news(broadcast("rain", message_id=RAIN.commitment, ttl=500)))
    assert again.shown() == []


def test_after_a_restart_a_new_subscription_finds_what_is_alive() -> None:
    station = Station([1])
    station.bring(1, news(RAIN), news(broadcast("goal", key=OTHER_KEY)), news(broadcast(plaintext=b"?")))
    again = station.restarted()
    again.join()
    assert again.shown() == ["rain"]


def test_a_store_on_disk_keeps_broadcasts_and_what_became_of_them(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "qpq.db"), durable=False)
    station = Station([1, 2], store=database, flood_bytes=4_000)
    station.join()
    station.bring(1, news(RAIN), *[news(broadcast(str(number), key=OTHER_KEY)) for number in range(6)])
    station.post(padding=False)
    station.bring(2, Custody(((envelope_id(station.sent(2, Transfer)[-1].envelope), CustodyCode.ACCEPTED),)))
    assert [entry.text for entry in database.inbox(USER.address)] == ["rain"]
    assert [entry.copies for entry in database.outbox(USER.address)] == [1]
    known = database.counts().known
    assert known > 0
    database.close()
    database = Database(str(tmp_path / "qpq.db"), durable=False)
    again = Station([1, 2], store=database)
    again.join()
    assert again.shown() == []
    assert again.core._flooded.known == known
    row = again.core.message(USER.address, b"m" * 16)
    assert row is not None
    assert (row.state, row.copies) == (State.RELAYED, 1)
    again.bring(1, news(RAIN))
    again.wait(100_000.0)
    assert database.counts().relayed == database.counts().known == 0
    database.close()


def test_a_message_that_could_not_be_stored_is_not_shown() -> None:
    station = Station([1])
    station.join()
    station.store.room = 0
    station.bring(1, news(RAIN))
    assert station.shown() == []
    assert station.sent(1, Custody) == []
    station.store.room = 100
    station.wait(700.0)
    station.bring(1, news(RAIN))
    assert station.shown() == ["rain"]


def test_what_was_shown_longest_ago_gives_way_among_the_tombstones() -> None:
    station = Station([1], tombstones=2)
    station.join()
    for number in range(4):
        station.bring(1, news(broadcast(str(number), ttl=100 + number)))
    assert len(station.store.tombstones) == 2
    assert station.count(counters.TOMBSTONE_EVICTED) == 2
    station.wait(200.0)
    station.bring(1, news(RAIN))
    assert len(station.store.tombstones) == 1


def test_an_envelope_that_failed_to_be_stored_twice_is_let_go_once() -> None:
    station = Station([1])
    station.bring(1, news(RAIN))
    (operations,) = [effect.operations for effect in station.effects if isinstance(effect, effects.Persist)]
    station.tell(events.PersistFailed(operations, "full"))
    station.tell(events.PersistFailed(operations, "full"))
    assert len(station.core._flooded) == 0


# --- posting -----------------------------------------------------------------------------------------------


def test_a_broadcast_is_signed_sealed_kept_and_sent_to_all_links() -> None:
    station = Station([1, 2], clock=float(UNIX))
    station.join()
    station.post("sun", ttl=3_600)
    (first,), (second,) = station.sent(1, Transfer), station.sent(2, Transfer)
    assert first == second
    envelope = first.envelope
    assert (first.hops, first.copies, first.age) == (0, 1, 0)
    assert (envelope.mode, envelope.ttl, envelope.max_hops, envelope.timestamp) == (Mode.CHANNEL, 3_600, 64, UNIX)
    assert verify_envelope(envelope)
    plain = open_broadcast(KEY, envelope.payload, tag=day_tag(KEY, UNIX // 86_400), sender=USER.address)
    assert decode_body(plain).text == "sun"
    (row,) = station.store.relay.values()
    assert (row.envelope_id, row.via) == (envelope_id(envelope), None)


def test_nobody_can_prove_a_broadcast_delivered() -> None:
    station = Station([1])
    station.join()
    station.post(message_id=b"m" * 16)
    (frame,) = station.sent(1, Transfer)
    assert frame.envelope.commitment not in (b"m" * 16, commitment(b"m" * 16))


def test_the_author_is_not_shown_the_own_broadcast_but_other_users_of_the_node_are() -> None:
    station = Station([1])
    station.tell(events.UserAdded(BERT.seed))
    station.join()
    station.join(user=BERT)
    station.post("sun")
    assert [(e.user, e.text) for e in station.effects if isinstance(e, effects.Deliver)] == [(BERT.address, "sun")]


def test_a_broadcast_is_queued_then_relayed_with_the_neighbours_that_took_it() -> None:
    station = Station([1, 2])
    station.join()
    station.post()
    identifier = envelope_id(station.sent(1, Transfer)[0].envelope)
    row = station.core.message(USER.address, b"m" * 16)
    assert row is not None
    assert (row.state, row.recipient, row.envelope_id) == (State.QUEUED, CHANNEL, identifier)
    for link, code in ((1, CustodyCode.ACCEPTED), (1, CustodyCode.ACCEPTED), (2, CustodyCode.DUPLICATE)):
        station.bring(link, Custody(((identifier, code),)))
    assert states(station) == [(State.QUEUED, 0), (State.RELAYED, 1), (State.RELAYED, 2)]
    assert station.store.states[USER.address, b"m" * 16] == (State.RELAYED, 2)
    row = station.core.message(USER.address, b"m" * 16)
    assert row is not None
    assert row.copies == 2


def test_a_state_that_could_not_be_written_is_told_all_the_same() -> None:
    station = Station([1])
    station.join()
    station.post()
    station.clear()
    operations = [OutboxState(USER.address, b"m" * 16, state, 1) for state in (State.RELAYED, State.EXPIRED)]
    station.tell(events.PersistFailed(tuple(operations), "the disk is full"))
    assert states(station) == [(State.EXPIRED, 1)], "the other was told before it was to be written"


def test_a_refusal_changes_no_state() -> None:
    station = Station([1])
    station.join()
    station.post()
    identifier = envelope_id(station.sent(1, Transfer)[0].envelope)
    station.bring(1, Custody(((identifier, CustodyCode.QUOTA), (identifier, CustodyCode.EXPIRED))))
    assert states(station) == [(State.QUEUED, 0)]


def test_what_neighbours_took_is_known_after_a_restart() -> None:
    station = Station([1])
    station.join()
    station.post(message_id=b"1" * 16)
    station.bring(1, Custody(((envelope_id(station.sent(1, Transfer)[0].envelope), CustodyCode.ACCEPTED),)))
    station.post("more", message_id=b"2" * 16)
    again = station.restarted([2])
    again.join()
    rows = [again.core.message(USER.address, identifier) for identifier in (b"1" * 16, b"2" * 16)]
    assert [(row.state, row.copies) for row in rows if row is not None] == [(State.RELAYED, 1), (State.QUEUED, 0)]
    again.bring(2, Graft(eager=False, short_ids=tuple(held.short for held in again.core._flooded.held())))
    assert [frame.hops for frame in again.sent(2, Transfer)] == [0, 0]
    taken = again.sent(2, Transfer)[0].envelope
    again.bring(2, Custody(((envelope_id(taken), CustodyCode.ACCEPTED),)))
    assert again.store.states[USER.address, b"1" * 16] == (State.RELAYED, 2)


def test_a_broadcast_that_nobody_took_expires_and_one_that_was_taken_stays_relayed() -> None:
    station = Station([1])
    station.join()
    station.post("one", ttl=100, message_id=b"1" * 16)
    station.bring(1, Custody(((envelope_id(station.sent(1, Transfer)[0].envelope), CustodyCode.ACCEPTED),)))
    station.post("two", ttl=100, message_id=b"2" * 16)
    station.wait(200.0)
    assert station.store.states[USER.address, b"1" * 16] == (State.RELAYED, 1)
    assert station.store.states[USER.address, b"2" * 16] == (State.EXPIRED, 0)
    assert station.store.relay == {}
    assert station.core.message(USER.address, b"1" * 16) is None
    assert station.core._flooding._peers[1].took == set()


def test_a_deleted_broadcast_goes_on_but_is_told_of_no_more() -> None:
    station = Station([1])
    station.join()
    station.post()
    identifier = envelope_id(station.sent(1, Transfer)[0].envelope)
    station.tell(events.DeleteMessage(USER.address, b"m" * 16))
    station.clear()
    station.bring(1, Custody(((identifier, CustodyCode.ACCEPTED),)))
    assert states(station) == []
    assert identifier in station.store.relay
    station.wait(90_000.0)
    assert states(station) == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"user": BERT.address}, "no such user on this node"),
        ({"channel": channel_id(OTHER_KEY)}, "this channel is not read by this user: subscribe to it first"),
        ({"ttl": 0}, "the time to live is 1 s to 30 days, not 0 s"),
        ({"text": "x" * 31_441}, "the text has 31441 bytes, at most 31440 are allowed: send it in parts"),
        ({"message_id": b"short"}, "receipt secret and message id have 16 bytes each"),
    ],
)
def test_what_cannot_be_posted_is_refused_with_the_reason(fields: dict[str, object], reason: str) -> None:
    station = Station([1])
    station.join()
    station.post(**fields)  # type: ignore[arg-type]
    assert station.refusals() == [reason]
    assert station.to(Transfer) == []
    assert station.store.outbox == {}


def test_the_longest_text_can_be_posted() -> None:
    station = Station([1])
    station.join()
    station.post("x" * 31_440)
    assert station.refusals() == []
    assert station.to(Transfer) == [1]


def test_only_a_signer_posts_to_an_announcement_channel() -> None:
    station = Station([1])
    station.join(signers=[WRITER.address])
    station.post()
    assert station.refusals() == ["only its signers write to this channel"]
    station.join(signers=[USER.address])
    station.post()
    assert station.to(Transfer) == [1]


def test_a_message_id_on_its_way_is_refused() -> None:
    station = Station([1])
    station.join()
    station.post("one")
    station.post("two")
    assert station.refusals() == ["a message with this id is on its way already"]


def test_what_was_made_here_fills_its_part_of_the_store_and_no_more() -> None:
    station = Station([1], flood_bytes=8_000)
    station.join()
    for number in range(10):
        station.post(str(number), message_id=bytes([number]) * 16, padding=False)
    assert len(station.store.relay) == 3
    assert len(station.refusals()) == 7
    assert len(station.store.outbox) == 3
    taken = [envelope_id(frame.envelope) for frame in station.sent(1, Transfer)]
    station.bring(1, Custody(tuple((identifier, CustodyCode.ACCEPTED) for identifier in taken)))
    station.clear()
    station.post("more", message_id=b"m" * 16, padding=False)
    assert station.refusals() == []
    assert len(station.store.relay) == 3


def test_a_broadcast_that_cannot_be_stored_is_refused() -> None:
    station = Station([1])
    station.join()
    station.store.room = 0
    station.post()
    assert station.refusals() == ["the store is full"]
    assert station.to(Transfer) == []
    assert station.core.message(USER.address, b"m" * 16) is None
    station.store.room = 100
    station.clear()
    station.post()
    assert station.refusals() == []


# --- hostile -----------------------------------------------------------------------------------------------


def test_spam_in_an_open_channel_stays_within_the_bucket_and_the_part_of_its_link() -> None:
    station = Station([1, 2], flood_bytes=40_000, flood_rate=2_000.0)
    station.join()
    for number in range(400):
        station.bring(1, news(broadcast(f"spam {number}", sender=SecretIdentity((number + 1).to_bytes(32, "big")))))
        station.wait(0.05)
    assert len(station.shown()) <= (2_000 * 5 + 2_000 * 20) // 600
    assert station.core._flooded.size <= 20_000
    station.bring(2, news(RAIN))
    assert "rain" in station.shown()


def test_a_receipt_for_a_broadcast_takes_nothing_away() -> None:
    secret = b"s" * 16
    made = broadcast("rain", message_id=commitment(secret))
    station = Station([1, 2])
    station.bring(1, news(made))
    station.bring(1, Receipt(((secret, envelope_hash(made)),)))
    assert envelope_id(made) in station.store.relay
    station.bring(2, Graft(eager=True, short_ids=(short(made),)))
    assert len(station.sent(2, Transfer)) == 2


# --- with real nodes ---------------------------------------------------------------------------------------


def test_a_broadcast_reaches_a_node_that_comes_late() -> None:
    world = World(1)
    anna, bert = world.line(2)
    for node in (anna, bert):
        world.subscribe(node, KEY)
    world.run(10.0)
    message = world.broadcast(anna, KEY, "early")
    world.run(5.0)
    carl = world.add("carl")
    world.subscribe(carl, KEY)
    world.link(bert, carl)
    world.run(10.0)
    assert [(d.message_id, d.text) for d in carl.delivered] == [(message, "early")]
    assert anna.states[anna.user.address, message] == [State.QUEUED, State.RELAYED]


def test_a_broadcast_made_alone_goes_out_with_the_first_link() -> None:
    world = World(1)
    anna, bert = world.add("anna"), world.add("bert")
    for node in (anna, bert):
        world.subscribe(node, KEY)
    message = world.broadcast(anna, KEY)
    world.run(100.0)
    world.find(anna, bert)
    world.run(30.0)
    assert [d.message_id for d in bert.delivered] == [message]
    assert anna.store.state(anna.user.address, message) is State.RELAYED

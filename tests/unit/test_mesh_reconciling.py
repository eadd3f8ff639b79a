"""Comparing what two neighbours know: when, what comes of it, and what a liar can make of it."""

from __future__ import annotations

from flood_kit import Station, broadcast, made_up, news, short
from qpq.crypto.identity import SecretIdentity
from qpq.mesh import counters
from qpq.wire.envelope import Envelope, envelope_hash, envelope_id, sign_envelope
from qpq.wire.frames import Custody, CustodyCode, Receipt, Transfer
from qpq.wire.frames_mesh import Graft, IHave, Prune, Reconcile
from qpq.wire.receipts import commitment
from qpq.wire.reconcile import Items, initiate, respond

SALT = b"8 bytes."
RAIN, SNOW = broadcast("rain"), broadcast("snow")


def compare(station: Station, link: int, theirs: Items) -> list[bytes]:
    """Play the other end of a comparison begun there, until neither has anything to say; return what it would give."""
    station.bring(link, Reconcile(initiate(theirs, SALT)))
    return answer_all(station, link, theirs)


def answer_all(station: Station, link: int, theirs: Items) -> list[bytes]:
    """Answer the last RECONCILE that went out, and those that follow, and ask for what is lacking."""
    given: list[bytes] = []
    seen = 0
    while len(frames := station.sent(link, Reconcile)) > seen:
        seen = len(frames)
        step = respond(theirs, frames[-1].ranges)
        given += step.have
        for start in range(0, len(step.need), 32):
            station.bring(link, Graft(eager=False, short_ids=step.need[start : start + 32]))
        if step.reply:
            station.bring(link, Reconcile(step.reply))
    return given


def listing(*short_ids: bytes) -> Reconcile:
    """Return a message that tells all ids of a neighbour, at most 12."""
    reply = respond(Items(short_ids), initiate(Items([b"another........."]), SALT)).reply
    return Reconcile(reply)


def many(count: int, prefix: str = "m") -> list[Envelope]:
    return [
        broadcast(f"{prefix}{number}", sender=SecretIdentity(bytes([number % 250 + 1]) * 32)) for number in range(count)
    ]


# --- when --------------------------------------------------------------------------------------------


def test_who_began_the_link_begins_to_compare_soon() -> None:
    station = Station()
    station.link(1, initiator=True)
    station.link(2)
    station.wait(0.9)
    assert station.to(Reconcile) == []
    station.wait(2.2)
    assert station.to(Reconcile) == [1]


def test_comparisons_without_result_become_rare() -> None:
    station = Station()
    station.link(1, initiator=True)
    station.wait(86_400.0)
    assert 20 <= len(station.to(Reconcile)) <= 36
    station.clear()
    station.wait(3 * 3_600.0)
    assert len(station.to(Reconcile)) <= 4


def test_a_difference_makes_comparisons_frequent_again() -> None:
    station = Station()
    station.link(1, initiator=True)
    station.wait(86_400.0)
    station.bring(1, made_up(broadcast("late", ttl=600_000)))
    station.clear()
    station.wait(6_000.0)
    assert len(station.to(Reconcile)) >= 4


def test_equal_sets_take_one_message() -> None:
    station = Station([1, 2])
    station.bring(1, news(RAIN))
    station.clear()
    compare(station, 2, Items([short(RAIN)]))
    assert station.to(Reconcile) == []
    assert station.to(Transfer) == []


def test_a_link_that_ends_is_compared_no_longer() -> None:
    station = Station()
    station.link(1, initiator=True)
    station.drop(1)
    station.clear()
    station.wait(600.0)
    assert station.to(Reconcile) == []


# --- what comes of it ----------------------------------------------------------------------------------


def test_what_the_neighbour_lacks_is_sent_as_something_missed() -> None:
    station = Station([1, 2])
    station.bring(1, news(RAIN, age=3))
    station.clear()
    station.wait(10.0)
    compare(station, 2, Items())
    assert station.sent(2, Transfer) == [Transfer(2, 0, 13, RAIN)]


def test_what_is_lacking_here_is_asked_for_without_changing_the_tree() -> None:
    station = Station([1])
    station.bring(1, listing(short(RAIN), short(SNOW)))
    assert station.sent(1, Graft) == [Graft(eager=False, short_ids=tuple(sorted((short(RAIN), short(SNOW)))))]


def test_what_was_missed_is_sent_when_asked_for() -> None:
    station = Station([1, 2])
    station.bring(1, news(RAIN))
    station.bring(2, Prune())
    station.clear()
    station.bring(2, Graft(eager=False, short_ids=(short(RAIN), b"?" * 16)))
    assert station.sent(2, Transfer) == [Transfer(2, 0, 0, RAIN)]
    assert station.core._flooding.eager_links() == (1,)


def test_a_large_difference_is_found_and_made_up_for() -> None:
    station = Station([1, 2])
    ours, theirs = many(120), many(60, "t")
    for envelope in ours:
        station.bring(1, news(envelope))
    station.clear()
    given = compare(station, 2, Items(short(envelope) for envelope in [*ours[:20], *theirs]))
    station.wait(60.0)
    assert {frame.envelope for frame in station.sent(2, Transfer)} == set(ours[20:])
    asked = [short_id for frame in station.sent(2, Graft) for short_id in frame.short_ids]
    assert sorted([*asked, *given]) == sorted(map(short, theirs))
    assert all(len(frame.ranges) <= 900 for frame in station.sent(2, Reconcile))


def test_what_is_sent_keeps_to_a_pace() -> None:
    station = Station([1, 2], supply_rate=1_000.0)
    for envelope in many(60):
        station.bring(1, news(envelope))
    station.clear()
    compare(station, 2, Items())
    at_once = len(station.sent(2, Transfer))
    assert at_once < 25
    station.wait(2.0)
    assert at_once < len(station.sent(2, Transfer)) < at_once + 14
    station.wait(60.0)
    assert len(station.sent(2, Transfer)) == 60


def test_what_gave_way_meanwhile_is_not_sent() -> None:
    station = Station([1, 2], supply_rate=100.0, flood_bytes=7_000)
    first = many(5)
    for envelope in first:
        station.bring(1, news(envelope, age=100))
    station.clear()
    compare(station, 2, Items())
    for envelope in many(8, "later"):
        station.bring(1, news(envelope))
    station.bring(2, Prune())
    station.wait(60.0)
    assert len([frame for frame in station.sent(2, Transfer) if frame.copies == 0]) < 5


def test_an_id_without_an_envelope_makes_no_work_but_the_first_time() -> None:
    station = Station()
    station.link(1, initiator=True)
    for _ in range(12):
        station.wait(4_600.0)
        station.bring(1, listing(b"purged there...."))
    asked = [short_id for frame in station.sent(1, Graft) for short_id in frame.short_ids]
    assert asked == [b"purged there...."]
    station.clear()
    station.wait(3_600.0)
    assert len(station.to(Reconcile)) <= 1


def test_what_a_neighbour_would_not_keep_is_sent_once() -> None:
    station = Station([1, 2])
    station.bring(1, news(RAIN))
    station.clear()
    for _ in range(5):
        compare(station, 2, Items())
    assert len(station.sent(2, Transfer)) == 1


def test_a_neighbour_without_room_is_left_alone_for_a_while() -> None:
    station = Station([1, 2], supply_rate=200.0)
    for envelope in many(30):
        station.bring(1, news(envelope))
    station.clear()
    compare(station, 2, Items())
    sent = station.sent(2, Transfer)
    assert 0 < len(sent) < 30
    station.bring(2, Custody(((envelope_id(sent[0].envelope), CustodyCode.QUOTA),)))
    compare(station, 2, Items())
    station.wait(200.0)
    assert len(station.sent(2, Transfer)) == len(sent)
    station.wait(200.0)
    compare(station, 2, Items(short(frame.envelope) for frame in sent))
    station.wait(200.0)
    assert len({frame.envelope for frame in station.sent(2, Transfer)}) == 30


# --- proofs --------------------------------------------------------------------------------------------


def proof(number: int) -> tuple[bytes, bytes, bytes]:
    """Return secret, hash and short id of a receipt."""
    secret = bytes([number]) * 16
    envelope = sign_envelope(
        SecretIdentity(b"s" * 32), recipient=b"r" * 32, payload=b"", commitment=commitment(secret), ttl=600
    )
    return secret, envelope_hash(envelope), short(envelope)


def test_a_proof_that_the_neighbour_lacks_moves() -> None:
    station = Station([1, 2])
    secret, digest, _ = proof(1)
    station.bring(1, Receipt(((secret, digest),)))
    station.clear()
    compare(station, 2, Items())
    assert station.sent(2, Receipt) == [Receipt(((secret, digest),))]


def test_a_proof_that_is_lacking_here_is_asked_for_and_known_then() -> None:
    station = Station([1])
    secret, digest, short_id = proof(1)
    station.bring(1, listing(short_id))
    assert station.sent(1, Graft) == [Graft(eager=False, short_ids=(short_id,))]
    station.bring(1, Receipt(((secret, digest),)))
    station.clear()
    station.bring(1, listing(short_id))
    assert station.out == []


def test_proofs_keep_to_the_pace_too() -> None:
    station = Station([1, 2], supply_rate=64.0)
    proofs = [proof(number) for number in range(20)]
    for secret, digest, _ in proofs:
        station.bring(1, Receipt(((secret, digest),)))
    station.clear()
    station.bring(2, Graft(eager=False, short_ids=tuple(short_id for _, _, short_id in proofs)))
    assert sum(len(frame.proofs) for frame in station.sent(2, Receipt)) == 4


# --- turns, and what has been missed elsewhere ------------------------------------------------------------


def test_a_node_that_lacks_much_takes_it_from_one_neighbour_at_a_time() -> None:
    station = Station([1, 2])
    lacking = many(10)
    station.bring(1, listing(*map(short, lacking)))
    station.bring(2, listing(*map(short, lacking)))
    assert station.to(Graft) == [1]
    station.bring(1, *map(made_up, lacking))
    station.wait(5.0)
    assert station.to(Graft) == [1]
    assert station.sent(2, Reconcile) == []


def test_a_neighbour_that_gives_for_ever_does_not_keep_others_waiting() -> None:
    station = Station([1, 2])
    lacking = many(60)
    station.bring(1, listing(*map(short, lacking[:12])))
    station.clear()
    station.bring(2, listing(b"only there......"))
    for envelope in lacking:
        station.bring(1, made_up(envelope))
        station.wait(1.0)
    assert station.sent(2, Graft) == [Graft(eager=False, short_ids=(b"only there......",))]


def test_the_turn_ends_with_the_link() -> None:
    station = Station([1, 2])
    station.bring(1, listing(short(RAIN)))
    station.drop(1)
    station.bring(2, listing(short(SNOW)))
    assert station.sent(2, Graft) == [Graft(eager=False, short_ids=(short(SNOW),))]


def test_who_is_to_begin_waits_for_the_turn() -> None:
    station = Station([1])
    station.link(2, initiator=True)
    station.bring(1, listing(*map(short, many(8))))
    for envelope in many(8):
        station.bring(1, made_up(envelope))
        station.wait(1.0)
    assert station.sent(2, Reconcile) == []
    station.wait(4.0)
    assert len(station.sent(2, Reconcile)) == 1


def test_an_answer_that_had_to_wait_is_taken_and_the_next_comparison_follows() -> None:
    station = Station([1])
    station.link(2, initiator=True)
    station.wait(3.5)
    station.clear()
    station.bring(1, listing(short(RAIN), short(SNOW)))
    station.bring(2, listing(b"only there......"))
    assert station.to(Graft) == [1]
    station.wait(5.0)
    assert station.to(Graft) == [1, 2]
    station.wait(120.0)
    assert len(station.sent(2, Reconcile)) >= 1


def test_what_was_missed_is_not_sent_where_a_comparison_is_to_come() -> None:
    station = Station([1])
    station.link(2)
    station.bring(1, made_up(RAIN))
    station.wait(10.0)
    assert station.to(Transfer) == []
    assert station.to(IHave) == []


def test_what_was_missed_goes_on_over_links_that_were_compared() -> None:
    station = Station([1, 2, 3])
    compare(station, 2, Items())
    compare(station, 3, Items())
    station.bring(3, Prune())
    station.wait(3.0)
    station.bring(1, made_up(RAIN))
    station.wait(1.0)
    assert station.sent(2, Transfer) == [Transfer(2, 0, 0, RAIN)]
    assert station.sent(3, IHave) == [IHave((short(RAIN),))]


def test_what_was_missed_is_only_told_of_while_a_comparison_goes_on() -> None:
    station = Station([1, 2])
    station.bring(1, news(SNOW))
    compare(station, 2, Items())
    station.clear()
    station.bring(1, made_up(RAIN))
    station.wait(1.0)
    assert station.sent(2, Transfer) == []
    assert station.sent(2, IHave) == [IHave((short(RAIN),))]


def test_a_neighbour_that_never_compares_is_sent_what_was_missed_after_a_minute() -> None:
    station = Station([1, 2])
    station.wait(61.0)
    station.bring(1, made_up(RAIN))
    assert station.sent(2, Transfer) == [Transfer(2, 0, 0, RAIN)]


def test_much_that_came_of_a_comparison_brings_the_next_one_soon() -> None:
    station = Station()
    station.link(1, initiator=True)
    station.wait(3.5)
    for envelope in many(70):
        station.bring(1, made_up(envelope))
        station.wait(0.1)
    station.clear()
    station.wait(8.0)
    assert len(station.to(Reconcile)) == 1


# --- hostile ---------------------------------------------------------------------------------------------


def test_ranges_that_nobody_may_send_cost_the_peer() -> None:
    station = Station([1, 2])
    station.bring(1, Reconcile(b"\xff" * 900))
    assert station.closed == {1}


def test_ranges_that_nobody_may_send_are_dropped_where_they_had_to_wait() -> None:
    station = Station([1, 2])
    station.bring(1, listing(short(RAIN)))
    station.bring(2, Reconcile(b"\xff" * 900))
    station.wait(5.0)
    assert station.closed == set()
    assert station.sent(2, Reconcile) == []


def test_endless_rounds_end_at_the_rate() -> None:
    station = Station([1, 2])
    for envelope in many(40):
        station.bring(1, news(envelope))
    station.clear()
    empty = Reconcile(initiate(Items([b"lie............."]), SALT))
    for _ in range(500):
        station.bring(2, empty)
    assert len(station.sent(2, Reconcile)) <= 64
    assert station.count(counters.RECONCILE_OVER_RATE) >= 430


def test_false_ids_are_asked_for_within_bounds() -> None:
    station = Station([1], reconcile_ids=64, reconcile_burst=10)
    for turn in range(50):
        station.bring(1, listing(*(bytes([turn, number]) * 8 for number in range(12))))
        station.wait(0.1)
    run = station.core._reconciling._runs[1]
    assert len(run.asked) <= 64
    assert sum(len(frame.short_ids) for frame in station.sent(1, Graft)) <= 12 * 20


def test_what_waits_to_be_sent_to_one_link_is_bounded() -> None:
    station = Station([1, 2], supply_rate=50.0, supply_ids=10)
    for envelope in many(40):
        station.bring(1, news(envelope))
    station.clear()
    compare(station, 2, Items())
    for _ in range(5):
        station.bring(2, Graft(eager=False, short_ids=tuple(short(envelope) for envelope in many(30))))
    assert len(station.core._supplying._queues[2].ids) == 10
    assert station.count(counters.FLOOD_SUPPLY_FULL) > 0

"""Which channel envelopes are kept, which give way, and which ids are known."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from flood_kit import Station, broadcast, made_up, news, peer, short
from qpq.crypto.identity import SecretIdentity
from qpq.daemon.memory import core_limits
from qpq.mesh import counters, effects, events
from qpq.mesh.flooded import Flooded, Held, cost_of
from qpq.mesh.limits import MIB, Limits
from qpq.mesh.records import Relayed
from qpq.wire.envelope import envelope_id, sign_envelope
from qpq.wire.frames import CustodyCode, Transfer
from qpq.wire.frames_mesh import IHave

ANNA, BERT = SecretIdentity(b"a" * 32), SecretIdentity(b"b" * 32)
LINKS = [peer(number).identity for number in range(1, 6)]
SIZE = 500
LIMITS = Limits(flood_bytes=10 * cost_of(SIZE), known_ids=8)
"""Ten envelopes of SIZE in all, five over one neighbour, two from local users."""


def held(
    number: int, *, sender: SecretIdentity = ANNA, via: int | None = 0, born: int = 0, copies: int = 0, size: int = SIZE
) -> Held:
    """Return an envelope of SIZE bytes."""
    row = Relayed(
        envelope_id=number.to_bytes(16, "big") * 2,
        sender=sender.address,
        recipient=b"t" * 16,
        via=None if via is None else LINKS[via],
        urgent=False,
        ttl=1_000,
        born=born,
        hops=1,
        max_hops=64,
        copies=copies,
        size=size,
    )
    return Held(row, size, None)


def filled(*items: Held, links: int = 5) -> Flooded:
    """Return an index with envelopes, and so many linked neighbours."""
    flooded = Flooded(LIMITS)
    for link in LINKS[:links]:
        flooded.linked(link, 1)
    for item in items:
        flooded.add(item)
    return flooded


# --- who gives way ---------------------------------------------------------------------------------


def test_there_is_room_until_a_neighbours_part_is_full() -> None:
    flooded = filled(*[held(number) for number in range(4)])
    assert flooded.room(LINKS[0], BERT.address, SIZE, 0) == (True, None)
    flooded.add(held(4, sender=BERT))
    assert flooded.room(LINKS[0], BERT.address, SIZE, 0)[1] is not None
    assert flooded.room(LINKS[1], BERT.address, SIZE, 0) == (True, None)


def test_of_the_sender_with_most_bytes_the_oldest_gives_way() -> None:
    items = [held(0, born=5), held(1, born=2), held(2, born=9), held(3, sender=BERT), held(4, sender=BERT)]
    flooded = filled(*items)
    carl = SecretIdentity(b"c" * 32)
    assert flooded.room(LINKS[0], carl.address, SIZE, 1) == (True, items[1])


def test_a_newcomer_of_the_heaviest_sender_that_is_older_than_all_is_refused() -> None:
    flooded = filled(*[held(number, born=5) for number in range(5)])
    assert flooded.room(LINKS[0], ANNA.address, SIZE, 4) == (False, None)
    assert flooded.room(LINKS[0], ANNA.address, SIZE, 5)[0]


def test_a_newcomer_that_alone_would_be_the_heaviest_is_refused() -> None:
    flooded = filled(*[held(number, sender=SecretIdentity(bytes([number + 1]) * 32)) for number in range(5)])
    assert flooded.room(LINKS[0], BERT.address, 3_000, 9) == (False, None)
    assert filled().room(LINKS[0], BERT.address, 30_000, 9) == (False, None)


def test_where_all_is_full_a_neighbour_without_a_link_gives_way_first() -> None:
    items = [held(number, via=number % 3) for number in range(10)]
    flooded = filled(*items, links=2)
    assert flooded.room(LINKS[1], BERT.address, SIZE, 9) == (True, items[2])


def test_where_all_is_full_whoever_has_most_gives_way() -> None:
    flooded = filled(*[held(number, via=0 if number < 4 else 1 + number % 3) for number in range(10)])
    assert flooded.room(LINKS[4], BERT.address, SIZE, 9) == (True, flooded.get((0).to_bytes(16, "big")))


def test_nothing_displaces_what_came_over_another_link_within_an_equal_part() -> None:
    items = [held(number, via=number % 5) for number in range(10)]
    flooded = filled(*items)
    fits, loser = flooded.room(LINKS[3], BERT.address, SIZE, 9)
    assert fits
    assert loser is items[3]


def test_what_was_made_here_gives_way_only_to_its_like_and_once_somebody_took_it() -> None:
    flooded = filled(held(0, via=None), held(1, via=None, born=1))
    assert not flooded.room(None, ANNA.address, SIZE, 2)[0]
    flooded = filled(held(0, via=None, copies=1), held(1, via=None, born=1))
    assert flooded.room(None, ANNA.address, SIZE, 2)[0]
    full = filled(held(0, via=None), held(1, via=None), *[held(2 + number, via=number % 4) for number in range(8)])
    fits, loser = full.room(LINKS[4], BERT.address, SIZE, 9)
    assert fits
    assert loser is not None
    assert loser.via is not None


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(0, 20), st.integers(0, 3_000))))
def test_whatever_comes_the_shares_hold(arrivals: list[tuple[int, int, int, int]]) -> None:
    flooded = filled(links=3)
    for number, (via, sender, born, size) in enumerate(arrivals):
        writer = SecretIdentity(bytes([sender]) * 32)
        fits, loser = flooded.room(LINKS[via], writer.address, size, born)
        while fits and loser is not None:
            flooded.remove(loser)
            fits, loser = flooded.room(LINKS[via], writer.address, size, born)
        if fits:
            flooded.add(held(number, sender=writer, via=via, born=born, size=size))
        shares = {link: (count, total) for link, count, total in flooded.shares()}
        assert flooded.size == sum(total for _, total in shares.values()) <= LIMITS.flood_bytes
        assert all(total <= LIMITS.flood_bytes // 2 for _, total in shares.values())
        assert len(flooded) == sum(count for count, _ in shares.values())
    for item in list(flooded.held()):
        flooded.remove(item)
    assert flooded.size == 0
    assert list(flooded.shares()) == []


def test_neighbours_that_are_gone_and_brought_nothing_leave_nothing() -> None:
    flooded = filled(held(0))
    for link in LINKS:
        flooded.linked(link, -1)
    assert len(flooded._shares) == 1
    flooded.remove(held(0))
    assert len(flooded._shares) == 0


# --- known ids -------------------------------------------------------------------------------------


def test_an_envelope_is_wanted_once() -> None:
    flooded = filled()
    item = held(1)
    assert flooded.wants(item.short, LINKS[0])
    flooded.add(item)
    flooded.add(held(1))
    assert not flooded.wants(item.short, LINKS[1])
    assert len(flooded) == 1
    flooded.remove(item)
    flooded.remember(item.envelope_id, 100)
    assert not flooded.wants(item.short, LINKS[0])


def test_what_one_neighbour_brought_in_vain_another_may_bring() -> None:
    flooded = filled()
    item = held(1)
    flooded.remember(item.envelope_id, 100, LINKS[0])
    assert not flooded.wants(item.short, LINKS[0])
    assert flooded.wants(item.short, LINKS[1])
    flooded.add(item)
    assert flooded.known == 0


def test_known_ids_are_capped_and_the_soonest_over_is_forgotten() -> None:
    flooded = filled()
    gone = [flooded.remember(held(number).envelope_id, 1_000 - number) for number in range(10)]
    assert gone == [None] * 8 + [held(8).envelope_id, held(9).envelope_id]
    assert flooded.known == 8
    assert len(flooded.items(0)) == 8


def test_ids_are_reconciled_until_shortly_before_they_are_over() -> None:
    flooded = filled(held(1))
    flooded.remember(held(2).envelope_id, 500)
    assert len(flooded.items(469)) == 2
    assert len(flooded.items(470)) == 1
    assert len(flooded.items(970)) == 0
    assert flooded.expire(999.0) == ([], [])
    assert [item.envelope_id for item in flooded.expire(1_000.0)[0]] == [held(1).envelope_id]
    assert flooded.next_expiry() == 1_100
    assert flooded.expire(1_100.0) == ([], [held(2).envelope_id])
    assert flooded.next_expiry() is None


def test_proofs_are_reconciled_but_for_those_whose_id_is_a_broadcasts() -> None:
    flooded = filled(held(1))
    flooded.remember(held(2).envelope_id, 500)
    for number in (1, 2, 3):
        flooded.proof_changed(held(number).short, 700)
    assert len(flooded.items(0)) == 3
    for number in (1, 2, 3):
        flooded.proof_changed(held(number).short, 0)
    assert len(flooded.items(0)) == 2


# --- in the core -----------------------------------------------------------------------------------


def test_what_gives_way_is_gone_from_the_store_and_never_taken_again() -> None:
    station = Station([1, 2], flood_bytes=5_000)
    many = [broadcast(f"{number:02}") for number in range(6)]
    for number, envelope in enumerate(many):
        station.bring(1, news(envelope, age=100 - number))
    assert station.count(counters.FLOOD_PURGED) > 0
    first = envelope_id(many[0])
    assert first not in station.store.relay
    assert first in station.store.known
    station.bring(2, news(many[0]), IHave((short(many[0]),)))
    station.wait(5.0)
    assert first not in station.store.relay
    again = station.restarted([1, 2], flood_bytes=5_000)
    again.bring(2, news(many[0]))
    assert first not in again.store.relay


def test_what_finds_no_room_is_remembered_and_another_neighbour_may_bring_it() -> None:
    station = Station([1, 2], flood_bytes=5_000)
    station.bring(1, *[news(broadcast(f"{number:02}")) for number in range(4)])
    late = broadcast("late")
    station.bring(1, made_up(late, age=50))
    assert station.answers(1) == [(envelope_id(late), CustodyCode.QUOTA)]
    assert envelope_id(late) in station.store.known
    station.clear()
    station.bring(1, made_up(late, age=50))
    assert station.count("flood.refused_quota") == 0
    station.bring(2, news(late, age=50))
    assert envelope_id(late) in station.store.relay


def test_known_ids_in_the_store_are_capped_too() -> None:
    station = Station([1], flood_bytes=5_000, known_ids=10)
    for number in range(60):
        station.bring(1, news(broadcast(f"{number:02}"), age=100 - number))
        station.wait(1.0)
    assert len(station.store.known) == 10
    assert len(station.core._flooded.items(0)) == 10 + len(station.store.relay)


def test_a_store_that_fails_twice_undoes_once_and_answers_only_who_is_there() -> None:
    station = Station([1])
    message = sign_envelope(ANNA, recipient=BERT.address, payload=b"sealed", commitment=b"c" * 16)
    station.bring(1, Transfer(1, 1, 0, message))
    operations = next(effect.operations for effect in station.effects if isinstance(effect, effects.Persist))
    station.clear()
    station.drop(1)
    station.tell(events.PersistFailed(operations, "full"))
    station.tell(events.PersistFailed(operations, "full"))
    assert station.out == []
    assert station.count(counters.STORE_FAILED) == 2


def test_known_ids_beyond_the_cap_are_deleted_after_a_restart() -> None:
    station = Station([1], flood_bytes=5_000)
    for number in range(12):
        station.bring(1, news(broadcast(f"{number:02}"), age=100 - number))
    assert len(station.store.known) > 4
    station.restarted(known_ids=4)
    assert len(station.store.known) == 4


def test_a_large_newcomer_that_would_have_to_go_next_is_refused_at_last() -> None:
    station = Station([1], flood_bytes=8_000)
    for number in range(5):
        station.bring(1, news(broadcast(f"{number:02}")))
    station.bring(1, news(broadcast("small", sender=ANNA)))
    large = broadcast("x" * 700, sender=BERT)
    station.bring(1, news(large))
    assert envelope_id(large) in station.store.known
    assert station.count("flood.refused_quota") == 1
    assert station.to(Transfer) == []


def test_the_row_of_the_store_tells_of_broadcasts_too() -> None:
    station = Station([1, 2])
    station.join()
    station.bring(1, news(broadcast("rain"), age=70))
    station.bring(2, news(broadcast("snow")))
    station.post()
    row = station.core.store_rows(station.now)
    assert (row.count, row.oldest, row.known) == (3, 70, 0)
    assert row.size == sum(len(kept.envelope) for kept in station.store.relay.values())
    assert row.used == sum(cost_of(len(kept.envelope)) for kept in station.store.relay.values())
    assert {via: count for via, count, _ in row.by_link} == {LINKS[0]: 1, LINKS[1]: 1, None: 1}
    assert row.cap > LIMITS.flood_bytes


def test_one_link_full_of_spam_takes_nothing_from_another() -> None:
    station = Station([1, 2], flood_bytes=20_000)
    mine = [broadcast(f"mine {number}") for number in range(5)]
    station.bring(2, *map(news, mine))
    keys = random.Random(1)  # noqa: S311 (a seed)
    for number in range(200):
        spam = broadcast(f"spam {number}", sender=SecretIdentity(keys.randbytes(32)))
        station.bring(1, news(spam))
        station.wait(0.1)
    assert {envelope_id(envelope) for envelope in mine} <= station.store.relay.keys()


def test_neighbours_that_come_and_go_under_new_names_take_nothing_from_one_that_stays() -> None:
    station = Station([1], flood_bytes=20_000)
    mine = [broadcast(f"mine {number}") for number in range(5)]
    station.bring(1, *map(news, mine))
    for turn in range(2, 60):
        station.link(turn)
        station.bring(turn, *[news(broadcast(f"spam {turn} {number}")) for number in range(10)])
        station.drop(turn)
        station.wait(0.1)
    assert {envelope_id(envelope) for envelope in mine} <= station.store.relay.keys()
    assert station.core._flooded.size <= 20_000


def test_what_broadcasts_may_take_follows_the_size_of_the_machine() -> None:
    small = core_limits(max_links=24, store_bytes=2 * MIB)
    large = core_limits(max_links=1_000, store_bytes=256 * MIB)
    assert small.flood_bytes == 256 * 1024
    assert large.flood_bytes == 16 * MIB
    assert small.known_ids < large.known_ids
    assert small.supply_rate == large.supply_rate < small.flood_rate

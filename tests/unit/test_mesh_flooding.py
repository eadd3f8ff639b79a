"""The broadcast tree: who gets a channel envelope whole, who by its id, who is asked and who is pruned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flood_kit import UNIX, Station, broadcast, made_up, news, short
from qpq.crypto.identity import SecretIdentity
from qpq.mesh import counters, effects, events
from qpq.wire.envelope import envelope_id
from qpq.wire.frames import Custody, CustodyCode, Role, Transfer
from qpq.wire.frames_mesh import Graft, IHave, Prune, Reconcile

RAIN = broadcast("rain")


# --- the tree ------------------------------------------------------------------------------------


def test_a_new_envelope_goes_to_all_links_but_the_one_it_came_over() -> None:
    station = Station([1, 2, 3])
    station.bring(1, news(RAIN, hops=4))
    assert [(link, frame) for link, frame in station.out if isinstance(frame, Transfer)] == [
        (2, Transfer(5, 1, 0, RAIN)),
        (3, Transfer(5, 1, 0, RAIN)),
    ]


def test_a_new_envelope_is_not_answered_when_it_has_crossed_a_link_before() -> None:
    station = Station([1])
    station.bring(1, news(RAIN))
    assert station.sent(1, Custody) == []


def test_the_origin_is_told_that_its_envelope_was_kept() -> None:
    station = Station([1])
    station.bring(1, news(RAIN, hops=0))
    assert station.answers(1) == [(envelope_id(RAIN), CustodyCode.ACCEPTED)]


def test_a_second_copy_is_pruned_and_its_link_gets_ids_only() -> None:
    station = Station([1, 2, 3])
    station.bring(1, news(RAIN))
    station.bring(2, news(RAIN))
    assert station.to(Prune) == [2]
    assert station.core._flooding.eager_links() == (1, 3)
    station.clear()
    snow = broadcast("snow")
    station.bring(1, news(snow))
    station.wait(1.0)
    assert station.to(Transfer) == [3]
    assert station.sent(2, IHave) == [IHave((short(snow),))]


def test_a_flood_of_second_copies_is_answered_by_one_prune_a_second() -> None:
    station = Station([1, 2])
    station.bring(1, news(RAIN))
    station.bring(2, *[news(RAIN)] * 20)
    assert station.to(Prune) == [2]
    station.wait(1.0)
    station.bring(2, news(RAIN))
    assert station.to(Prune) == [2, 2]


def test_who_brought_the_first_copy_may_bring_another() -> None:
    station = Station([1, 2])
    station.bring(1, news(RAIN), news(RAIN))
    assert station.to(Prune) == []
    assert station.core._flooding.eager_links() == (1, 2)


def test_what_makes_up_for_something_missed_costs_no_link_its_place() -> None:
    station = Station([1, 2])
    station.bring(1, news(RAIN))
    station.bring(2, made_up(RAIN))
    assert station.to(Prune) == []
    assert station.core._flooding.eager_links() == (1, 2)


def test_who_prunes_gets_ids_only() -> None:
    station = Station([1, 2])
    station.bring(2, Prune())
    station.bring(1, news(RAIN))
    assert station.to(Transfer) == []
    station.wait(1.0)
    assert station.to(IHave) == [2]


def test_several_ids_go_in_one_frame() -> None:
    station = Station([1, 2])
    station.bring(2, Prune())
    many = [broadcast(str(number)) for number in range(40)]
    station.bring(1, *map(news, many))
    station.wait(1.0)
    assert [len(frame.short_ids) for frame in station.sent(2, IHave)] == [32, 8]


def test_a_neighbour_that_told_of_an_id_is_not_told_of_it() -> None:
    station = Station([1, 2, 3])
    station.bring(2, Prune())
    station.bring(1, news(RAIN))
    station.bring(2, IHave((short(RAIN),)))
    station.wait(1.0)
    assert station.to(IHave) == []


def test_a_neighbour_that_told_of_an_id_is_not_sent_the_envelope() -> None:
    station = Station([1, 2, 3])
    station.bring(2, IHave((short(RAIN),)))
    station.bring(1, news(RAIN))
    assert station.to(Transfer) == [3]


def test_two_links_to_one_neighbour_do_not_carry_its_own_envelope_back() -> None:
    station = Station([1])
    station.link(2, key=1)
    station.clear()
    station.bring(1, news(RAIN))
    assert station.to(Transfer) == []


def test_an_envelope_too_large_for_a_neighbour_is_not_sent_to_it() -> None:
    station = Station([1])
    station.link(2, max_frame=1024)
    station.clear()
    long = broadcast("x" * 1_000)
    station.bring(1, news(long))
    station.bring(2, Graft(eager=True, short_ids=(short(long),)), Graft(eager=False, short_ids=(short(long),)))
    assert station.to(Transfer) == []


def test_ids_beyond_the_cap_are_left_to_reconciliation() -> None:
    station = Station([1, 2], ihave_ids=3)
    station.bring(2, Prune())
    station.bring(1, *[news(broadcast(str(number))) for number in range(5)])
    station.wait(1.0)
    assert [len(frame.short_ids) for frame in station.sent(2, IHave)] == [3]


# --- hops ------------------------------------------------------------------------------------------


def test_an_envelope_that_has_crossed_all_its_links_stays() -> None:
    station = Station([1, 2])
    last = broadcast(max_hops=5)
    station.bring(1, news(last, hops=4))
    station.bring(2, Graft(eager=True, short_ids=(short(last),)), Graft(eager=False, short_ids=(short(last),)))
    station.wait(1.0)
    assert station.to(Transfer) == []
    assert station.to(IHave) == []


def test_an_envelope_that_has_crossed_too_many_links_is_refused() -> None:
    station = Station([1])
    station.bring(1, news(broadcast(max_hops=5), hops=5))
    assert station.count("flood.refused_too_many_hops") == 1
    assert station.store.relay == {}


def test_a_liar_cannot_stop_an_envelope_by_its_hops() -> None:
    station = Station([1, 2, 3])
    station.bring(1, news(RAIN, hops=63))
    assert station.to(Transfer) == []
    station.bring(2, news(RAIN, hops=3))
    assert [(link, frame) for link, frame in station.out if isinstance(frame, Transfer)] == [
        (1, Transfer(4, 1, 0, RAIN)),
        (3, Transfer(4, 1, 0, RAIN)),
    ]


def test_what_a_liar_stopped_is_asked_of_others_who_tell_of_it() -> None:
    station = Station([1, 2, 3])
    station.bring(1, news(RAIN, hops=63))
    station.bring(2, IHave((short(RAIN),)))
    station.wait(0.8)
    assert station.sent(2, Graft) == [Graft(eager=True, short_ids=(short(RAIN),))]
    station.bring(2, news(RAIN, hops=3))
    assert station.to(Transfer) == [1, 3]
    station.clear()
    station.bring(3, IHave((short(RAIN),)))
    station.wait(5.0)
    assert station.to(Graft) == []


def test_what_a_liar_stopped_counts_as_lacking_until_it_came_a_shorter_way() -> None:
    station = Station([1, 2])
    station.bring(1, news(RAIN, hops=63))
    assert short(RAIN) not in station.core._flooded.items(0)
    station.bring(2, made_up(RAIN, hops=3))
    assert short(RAIN) in station.core._flooded.items(0)
    assert station.to(Transfer) == [1]


def test_a_shorter_way_that_changes_nothing_makes_no_traffic() -> None:
    station = Station([1, 2, 3])
    station.bring(1, news(RAIN, hops=9))
    station.clear()
    station.bring(2, news(RAIN, hops=3))
    assert station.to(Transfer) == []


# --- GRAFT -----------------------------------------------------------------------------------------


def test_what_was_heard_of_and_does_not_come_is_asked_for() -> None:
    station = Station([1, 2])
    station.bring(2, IHave((short(RAIN),)))
    station.wait(0.6)
    assert station.to(Graft) == []
    station.wait(0.2)
    assert station.sent(2, Graft) == [Graft(eager=True, short_ids=(short(RAIN),))]


def test_what_comes_in_time_is_not_asked_for() -> None:
    station = Station([1, 2])
    station.bring(2, IHave((short(RAIN),)))
    station.wait(0.5)
    station.bring(1, news(RAIN))
    station.wait(10.0)
    assert station.to(Graft) == []


def test_a_second_link_is_asked_when_the_first_stays_silent() -> None:
    station = Station([1, 2, 3])
    for link in (1, 2, 3):
        station.bring(link, IHave((short(RAIN),)))
    station.wait(10.0)
    assert sorted(station.to(Graft)) == [1, 2, 3]


def test_the_better_link_is_asked_first() -> None:
    station = Station([1, 2])
    station.tell(events.LinkQuality(1, 0.5, 0.6))
    station.bring(1, IHave((short(RAIN),)))
    station.bring(2, IHave((short(RAIN),)))
    station.wait(0.8)
    assert station.to(Graft) == [2]


def test_a_link_that_is_gone_is_not_asked() -> None:
    station = Station([1, 2])
    station.bring(1, IHave((short(RAIN),)))
    station.bring(2, IHave((short(RAIN),)))
    station.drop(1)
    station.wait(0.8)
    assert station.to(Graft) == [2]
    station.drop(2)
    station.wait(10.0)
    station.link(3)
    station.bring(3, news(RAIN))
    assert len(station.store.relay) == 1


def test_an_answered_graft_makes_the_link_eager_and_goes_on_as_news() -> None:
    station = Station([1, 2])
    station.bring(2, Prune())
    station.bring(2, IHave((short(RAIN),)))
    station.wait(0.8)
    assert 2 in station.core._flooding.eager_links()
    station.bring(2, news(RAIN))
    assert station.to(Transfer) == [1]


def test_a_graft_is_answered_with_the_envelope_and_makes_the_link_eager() -> None:
    station = Station([1, 2])
    station.bring(2, Prune())
    station.bring(1, news(RAIN, age=7))
    station.wait(3.0)
    station.bring(2, Graft(eager=True, short_ids=(short(RAIN), b"unknown" + bytes(9))))
    assert station.sent(2, Transfer) == [Transfer(2, 1, 10, RAIN)]
    assert station.core._flooding.eager_links() == (1, 2)


def test_lazy_links_take_the_place_of_one_that_is_lost() -> None:
    station = Station([1, 2, 3, 4, 5, 6])
    for link in (2, 3, 4, 5, 6):
        station.bring(link, Prune())
    station.tell(events.LinkQuality(2, 0.5, 0.6))
    station.drop(1)
    assert station.core._flooding.eager_links() == (3, 4, 5)
    assert station.to(Graft) == [3, 4, 5]
    station.clear()
    station.drop(2)
    assert station.to(Graft) == []


def test_a_hub_that_loses_a_leaf_asks_nobody_to_stand_in() -> None:
    station = Station([1, 2, 3, 4, 5])
    station.bring(5, Prune())
    station.drop(1)
    assert station.to(Graft) == []


# --- what is refused ---------------------------------------------------------------------------------


def test_a_false_signature_costs_the_peer() -> None:
    station = Station([1, 2])
    station.bring(1, news(replace(RAIN, signature=bytes(64))))
    assert station.closed == {1}
    assert station.to(Transfer) == []
    assert station.store.relay == {}
    station.bring(2, news(RAIN))
    assert len(station.store.relay) == 1


def test_the_signature_of_what_is_known_is_not_looked_at() -> None:
    station = Station([1, 2])
    station.bring(1, news(RAIN))
    station.bring(2, news(replace(RAIN, signature=bytes(64))))
    assert station.closed == set()


def test_an_envelope_past_its_time_is_refused_and_not_remembered() -> None:
    station = Station([1, 2])
    station.bring(1, news(RAIN, age=86_400))
    assert station.count("flood.refused_expired") == 1
    station.bring(2, news(RAIN))
    assert len(station.store.relay) == 1


@pytest.mark.parametrize("age", [0, 50_000, 86_399])
def test_an_age_that_the_clocks_disprove_is_not_believed(age: int) -> None:
    station = Station(clock=float(UNIX))
    station.link(1, time=UNIX)
    station.link(2)
    station.clear()
    station.bring(1, news(broadcast(timestamp=UNIX - 1_000), age=age))
    assert [frame.age for frame in station.sent(2, Transfer)] == [700 if age == 0 else 1_300]


def test_an_envelope_past_its_time_by_the_clock_is_refused_whatever_its_age() -> None:
    station = Station(clock=float(UNIX))
    station.link(1, time=UNIX)
    station.bring(1, news(broadcast(timestamp=UNIX - 86_401)))
    assert station.count("flood.refused_expired") == 1


def test_without_a_trusted_clock_the_age_counts() -> None:
    station = Station([1, 2])
    station.bring(1, news(broadcast(timestamp=UNIX - 86_401), age=5))
    assert [frame.age for frame in station.sent(2, Transfer)] == [5]


def test_a_rate_bounds_what_one_link_brings_and_nothing_of_the_rest_is_remembered() -> None:
    station = Station([1, 2], flood_rate=1_000.0)
    many = [broadcast(str(number), sender=SecretIdentity(bytes([number]) * 32)) for number in range(1, 40)]
    station.bring(1, *map(news, many))
    kept = len(station.store.relay)
    assert 0 < kept < 15
    assert station.store.known == {}
    station.bring(2, news(many[-1]))
    assert len(station.store.relay) == kept + 1


def test_one_sender_gets_a_part_of_a_links_rate() -> None:
    station = Station([1], flood_rate=2_000.0)
    station.bring(1, *[news(broadcast(str(number))) for number in range(40)])
    mine = len(station.store.relay)
    station.bring(1, news(broadcast("other", sender=SecretIdentity(b"o" * 32))))
    assert mine < 10
    assert len(station.store.relay) == mine + 1


def test_senders_told_apart_on_one_link_are_capped() -> None:
    station = Station([1], flood_senders=3)
    for number in range(10):
        station.bring(1, news(broadcast(str(number), sender=SecretIdentity(bytes([number + 1]) * 32))))
    assert len(station.core._flooding._peers[1].rates._senders) == 3


def test_who_makes_up_for_something_without_room_is_told_so() -> None:
    station = Station([1], flood_rate=100.0)
    station.bring(1, made_up(RAIN))
    assert station.answers(1) == [(envelope_id(RAIN), CustodyCode.QUOTA)]


def test_news_without_room_is_refused_in_silence() -> None:
    station = Station([1], flood_rate=100.0)
    station.bring(1, news(RAIN))
    assert station.sent(1, Custody) == []


# --- hostile: bounded whatever comes -------------------------------------------------------------------


def test_ids_that_never_come_are_bounded_and_their_teller_is_not_listened_to() -> None:
    station = Station([1, 2], missing_link=8)
    for turn in range(40):
        station.bring(1, IHave(tuple(bytes([turn, number]) * 8 for number in range(32))))
        station.wait(0.1)
        assert len(station.core._flooding._awaiting._missing) <= 8
    station.wait(10.0)
    assert len(station.core._flooding._awaiting._missing) == 0
    assert station.count(counters.FLOOD_DEAF) >= 1
    assert sum(len(frame.short_ids) for frame in station.sent(1, Graft)) <= 8 * 6


def test_who_is_not_listened_to_is_heard_again_later() -> None:
    station = Station([1], missing_link=2, deaf_s=60.0)
    station.bring(1, IHave((b"a" * 16, b"b" * 16)))
    station.wait(5.0)
    station.bring(1, IHave((b"c" * 16,)))
    assert station.count(counters.FLOOD_OVER_CAP) == 1
    station.wait(60.0)
    station.bring(1, IHave((b"c" * 16,)))
    assert station.count(counters.FLOOD_OVER_CAP) == 1


def test_who_gives_what_was_asked_for_owes_nothing() -> None:
    station = Station([1, 2], missing_link=2)
    station.bring(1, IHave((b"a" * 16,)))
    station.wait(5.0)
    station.bring(1, news(RAIN))
    station.bring(1, IHave((b"b" * 16,)))
    station.wait(5.0)
    assert station.count(counters.FLOOD_DEAF) == 0


def test_all_that_is_waited_for_is_bounded() -> None:
    station = Station([1, 2, 3], missing_ids=5)
    for link in (1, 2, 3):
        station.bring(link, IHave(tuple(bytes([link, number]) * 8 for number in range(4))))
    assert len(station.core._flooding._awaiting._missing) == 5


def test_links_that_told_of_one_id_are_bounded() -> None:
    station = Station(range(1, 10))
    for link in range(1, 10):
        station.bring(link, IHave((short(RAIN),)), IHave((short(RAIN),)))
    assert len(station.core._flooding._awaiting._missing[short(RAIN)].announcers) == 4


def test_a_flood_of_grafts_gets_what_the_rate_allows() -> None:
    station = Station([1, 2], flood_rate=500.0)
    rain = broadcast("rain", plaintext=b"x")
    station.bring(1, news(rain))
    station.clear()
    station.bring(2, *[Graft(eager=True, short_ids=(short(rain),))] * 50)
    assert 0 < len(station.sent(2, Transfer)) <= 15
    assert station.count(counters.FLOOD_OVER_RATE) > 0


def test_no_answer_of_a_neighbour_makes_anything_of_another_s_envelope() -> None:
    station = Station([1, 2])
    station.bring(1, news(RAIN))
    station.clear()
    answers = [(envelope_id(RAIN), code) for code in CustodyCode]
    station.bring(2, Custody(tuple(answers)))
    assert [effect for effect in station.effects if isinstance(effect, effects.Persist | effects.StateChanged)] == []


def test_the_answer_to_another_envelope_of_the_same_beginning_is_none_of_ours() -> None:
    station = Station([1])
    station.bring(1, news(RAIN))
    assert not station.core._flooding.answered(1, short(RAIN) + bytes(16), CustodyCode.ACCEPTED, station.now)


# --- a leaf ----------------------------------------------------------------------------------------------


def test_a_leaf_shows_and_passes_on_but_keeps_the_id_only() -> None:
    station = Station([1, 2], role=Role.LEAF)
    station.bring(2, Prune())
    station.join()
    station.bring(1, news(RAIN))
    station.wait(1.0)
    assert station.shown() == ["rain"]
    assert station.store.relay == {}
    assert list(station.store.known) == [envelope_id(RAIN)]
    assert station.to(IHave) == []
    station.clear()
    station.bring(2, news(RAIN))
    assert station.to(Prune) == [2]
    assert station.shown() == []


def test_a_leaf_keeps_what_its_own_user_wrote() -> None:
    station = Station([1], role=Role.LEAF)
    station.join()
    station.post()
    assert len(station.store.relay) == 1


# --- the store -------------------------------------------------------------------------------------------


def test_a_store_that_fails_lets_the_envelope_pass_and_takes_it_later() -> None:
    station = Station([1, 2])
    station.store.room = 0
    station.bring(1, news(RAIN))
    assert station.to(Transfer) == [2]
    station.bring(2, news(RAIN))
    assert station.to(Transfer) == [2]
    station.store.room = 100
    station.wait(700.0)
    station.bring(1, news(RAIN))
    assert len(station.store.relay) == 1


def test_a_node_restarted_from_its_store_takes_nothing_twice() -> None:
    station = Station([1])
    station.join()
    station.bring(1, news(RAIN))
    again = station.restarted([1, 2])
    again.join()
    again.bring(1, news(RAIN))
    again.bring(2, IHave((short(RAIN),)))
    again.wait(10.0)
    assert again.shown() == []
    assert again.to(Graft) == []
    assert not [frame for frame in again.sent(1, Reconcile) if frame.ranges[8:] == b""]
    again.bring(2, Graft(eager=True, short_ids=(short(RAIN),)))
    assert [frame.envelope for frame in again.sent(2, Transfer)] == [RAIN]


def test_what_is_over_is_let_go_and_its_id_known_a_little_longer() -> None:
    station = Station([1, 2])
    station.bring(1, news(broadcast("brief", ttl=100)))
    station.wait(99.0)
    assert len(station.store.relay) == 1
    station.wait(2.0)
    assert station.store.relay == {}
    station.bring(2, news(broadcast("brief", ttl=100)))
    assert station.store.relay == {}
    station.wait(700.0)
    assert station.core._flooded.known == 0


def test_a_clock_that_jumps_ends_what_is_over() -> None:
    station = Station([1], clock=float(UNIX))
    station.wait(100.0)
    station.bring(1, news(RAIN))
    again = station.restarted()
    again.tell(events.ClockSet(UNIX + 86_700 - again.now, trusted=True))
    again.wait(2.0)
    assert again.store.relay == {}


def test_ages_go_on_being_counted_while_broadcasts_are_all_there_is() -> None:
    station = Station([1])
    station.bring(1, news(RAIN))
    before = station.store.checkpoint.life
    station.wait(4_000.0)
    assert station.store.checkpoint.life > before + 1_000


QUERY = b"asks for a route"


def test_a_query_cuts_no_link_that_costs_much_less_than_the_one_that_was_first() -> None:
    station = lazy()
    station.tell(events.LinkQuality(1, 0.0, 0.6))
    station.core._flooding.query_again(2, 1, QUERY, station.now)
    assert station.core._flooding.eager_links() == (1, 2, 3)
    station.core._flooding.query_again(1, 2, QUERY, station.now)
    assert station.core._flooding.eager_links() == (2, 3)


def test_a_query_cuts_nothing_while_a_broadcast_may_go_round() -> None:
    station = lazy()
    station.bring(1, news(RAIN))
    station.core._flooding.query_again(2, 1, QUERY, station.now + 9.0)
    assert station.core._flooding.eager_links() == (1, 2, 3)
    station.core._flooding.query_again(2, 1, QUERY, station.now + 11.0)
    assert station.core._flooding.eager_links() == (1, 3)


def lazy(*links: int) -> Station:
    station = Station([1, 2, 3])
    for link in links:
        station.bring(link, Prune())
    return station


def test_of_two_eager_links_that_bring_one_query_the_later_leaves_the_tree() -> None:
    station = lazy()
    flooding = station.core._flooding
    flooding.query_new(1, QUERY, 0.0)
    flooding.query_again(2, 1, QUERY, 0.0)
    assert flooding.eager_links() == (1, 3)
    flooding.query_again(2, 1, QUERY, 0.0)
    flooding.query_again(3, 3, QUERY, 0.0)
    flooding.query_again(3, 9, QUERY, 0.0)
    assert flooding.eager_links() == (1, 3), "what shows nothing, or came first over a link that is gone, cuts none"


def test_a_query_that_came_first_over_a_lazy_link_cuts_no_other() -> None:
    station = lazy(1)
    flooding = station.core._flooding
    flooding.query_new(1, QUERY, station.now)
    flooding.query_again(2, 1, QUERY, station.now)
    station.wait(2.0)
    assert flooding.eager_links() == (2, 3)
    assert station.to(Graft) == station.to(Prune) == []


def test_a_lazy_link_that_alone_brings_a_query_joins_the_tree_and_owes_nothing() -> None:
    station = lazy(1)
    flooding = station.core._flooding
    flooding.query_new(1, QUERY, station.now)
    station.wait(2.0)
    assert flooding.eager_links() == (1, 2, 3)
    assert station.sent(1, Graft) == [Graft(eager=True, short_ids=(QUERY,))]
    assert flooding._awaiting._missing == {}
    station.wait(5.0)
    assert station.to(Graft) == [1]

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from link_world import Node, Sent, World, host, linked, secret

from qpq.link.aioquic_private import LinkConnection
from qpq.link.hub import CONNECTION_ID_BYTES, DATAGRAM_BYTES
from qpq.link.tickets import TicketStore
from qpq.mesh.events import DialFailed, FrameReceived, LinkDown, LinkUp
from qpq.wire.envelope import Envelope, Mode
from qpq.wire.frames import Bye, CloseCode, Custody, CustodyCode, Frame, Hello, Receipt, Role, Transfer

if TYPE_CHECKING:
    import pytest

PING = Receipt(((b"s" * 16, b"h" * 32),))
HELLO = Hello(1, 1, 0, 1, 0, False, 0, 0, Role.RELAY, 33_024, 0)


def big(number: int) -> Frame:
    """Return a frame of about 400 bytes that no other number gives."""
    return Custody(tuple((number.to_bytes(16, "big") + bytes([i] * 16), CustodyCode.ACCEPTED) for i in range(12)))


def _initials(world: World) -> int:
    return sum(1 for sent in world.sent if sent.data[0] & 0xF0 == 0xC0)


# --- links and frames ------------------------------------------------------------------------


def test_a_dial_becomes_a_link_at_both_ends_that_names_the_other() -> None:
    _, anna, ben = linked()
    assert anna.up == LinkUp(1, ben.hub.own, "peer:7000", initiator=True)
    assert ben.up == LinkUp(1, anna.hub.own, "10.0.0.1:7000", initiator=False)


def test_frames_arrive_whole_and_in_order_both_ways() -> None:
    world, anna, ben = linked()
    for number in range(50):
        assert anna.hub.write(anna.up.link, [big(number)])
        assert ben.hub.write(ben.up.link, [big(1000 + number), PING])
    world.run(2)
    assert ben.frames == [big(number) for number in range(50)]
    assert anna.frames == [frame for number in range(50) for frame in (big(1000 + number), PING)]


def test_the_answering_end_may_speak_before_it_has_heard_anything() -> None:
    world = World()
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2))
    ben.on_event = lambda event: isinstance(event, LinkUp) and ben.hub.write(event.link, [HELLO, PING])
    anna.on_event = lambda event: isinstance(event, LinkUp) and anna.hub.write(event.link, [HELLO])
    anna.dial(ben)
    world.run(1)
    assert anna.frames == [HELLO, PING]
    assert ben.frames == [HELLO]


def test_frames_survive_a_wire_that_loses_a_fifth_of_all_datagrams() -> None:
    world, anna, ben = linked()
    count = iter(range(10**6))
    world.lose = lambda _: next(count) % 5 == 3
    for number in range(200):
        anna.hub.write(anna.up.link, [big(number)])
    world.run(30)
    assert ben.frames == [big(number) for number in range(200)]


@settings(max_examples=25)
@given(st.lists(st.integers(0, 255), min_size=40, max_size=400), st.integers(1, 30))
def test_frames_survive_loss_doubling_and_disorder(fates: list[int], count: int) -> None:
    world, anna, ben = linked()
    fate = itertools.chain(fates, itertools.repeat(255))

    def meddle(sent: Sent) -> bool:
        chance = next(fate)
        if 60 <= chance < 90:
            world.inject(sent.data, sent.source, sent.destination)  # overtakes, and comes again
        return chance < 60

    world.lose = meddle
    for number in range(count):
        anna.hub.write(anna.up.link, [big(number)])
        ben.hub.write(ben.up.link, [big(500 + number)])
    world.run(120)
    assert ben.frames == [big(number) for number in range(count)][: len(ben.frames)]
    assert anna.frames == [big(500 + number) for number in range(count)][: len(anna.frames)]
    if not (anna.down or ben.down):
        assert len(anna.frames) == len(ben.frames) == count


def test_a_dial_without_identity_takes_whoever_answers() -> None:
    world = World()
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2))
    anna.dial(ben)
    world.run(1)
    assert anna.up.peer == ben.hub.own


def test_the_longest_frame_is_what_the_peers_hello_allows() -> None:
    world, anna, ben = linked()
    ben.hub.write(ben.up.link, [Hello(1, 1, 0, 1, 0, False, 0, 0, Role.LEAF, 1024, 0)])
    anna.hub.write(anna.up.link, [HELLO])
    world.run(1)
    codecs = anna.hub._links[1]._codecs
    assert codecs is not None
    assert codecs[0].max_frame == 1024


def test_writing_to_a_link_that_is_gone_is_swallowed() -> None:
    world, anna, _ = linked()
    anna.hub.close(anna.up.link, CloseCode.NONE, "bye")
    assert not anna.hub.write(anna.up.link, [PING])
    world.run(1)
    assert not anna.hub.write(anna.up.link, [PING])
    anna.hub.close(anna.up.link, CloseCode.NONE, "again")
    world.run(1)
    assert len(anna.down) == 1


def test_a_frame_longer_than_the_peer_takes_stays_here_and_the_others_leave() -> None:
    world, anna, ben = linked()
    anna.hub.write(anna.up.link, [HELLO])
    world.run(0.1)
    ben.hub.write(ben.up.link, [Hello(1, 1, 0, 1, 0, False, 0, 0, Role.LEAF, 1024, 0)])
    world.run(0.1)
    unsigned = Envelope(
        Mode.UNICAST, False, secret("anna").address, secret("ben").address, 60, 5, 0, bytes(16), bytes(2000), bytes(64)
    )
    assert not anna.hub.write(anna.up.link, [PING, Transfer(0, 0, 0, unsigned), PING])
    world.run(0.1)
    assert ben.frames == [HELLO, PING, PING]
    assert not anna.down


# --- the wire ---------------------------------------------------------------------------------


def test_an_exchange_on_a_busy_link_takes_two_datagrams() -> None:
    world, anna, ben = linked()
    rounds = 100
    ben.on_event = lambda event: type(event) is FrameReceived and ben.hub.write(ben.up.link, [PING])
    anna.on_event = lambda event: (
        type(event) is FrameReceived and len(anna.frames) < rounds and anna.hub.write(anna.up.link, [PING])
    )
    world.run(1)
    before = len(world.sent)
    anna.hub.write(anna.up.link, [PING])
    world.run(5, until=lambda: len(anna.frames) == rounds)
    assert len(world.sent) - before <= 2 * rounds
    assert max(len(sent.data) for sent in world.sent[before:]) <= 54 + 36  # the frame and what carries it


def test_a_link_at_rest_sends_less_than_three_bytes_a_second_each_way_of_udp_payload() -> None:
    world, anna, ben = linked()
    world.run(10)
    before = len(world.sent)
    world.run(3600)
    sent = world.sent[before:]
    assert not anna.down
    assert not ben.down
    assert 2 * 60 <= len(sent) <= 2 * 81  # a question and its answer, every 45 to 60 s
    assert sum(len(each.data) for each in sent) / 3600 < 3


def test_a_busy_link_asks_for_no_sign_of_life() -> None:
    world, anna, ben = linked()
    ben.on_event = lambda event: type(event) is FrameReceived and ben.hub.write(ben.up.link, [PING])
    before = len(world.sent)
    for _ in range(20):
        anna.hub.write(anna.up.link, [PING])
        world.run(30)
    assert len(world.sent) - before <= 20 * 3


def test_datagrams_fit_every_path() -> None:
    world, anna, _ = linked()
    for number in range(100):
        anna.hub.write(anna.up.link, [big(number)])
    world.run(2)
    assert max(len(sent.data) for sent in world.sent) <= DATAGRAM_BYTES


def test_connection_ids_are_short_and_lead_to_one_link_each() -> None:
    world = World()
    hub = Node(world, "ben", host(2), links_a_host=99)
    for number in range(20):
        Node(world, f"peer {number}", host(10 + number)).dial(hub)
    world.run(2)
    ids = [name for link in hub.hub._links.values() for name in link.ids]
    assert len(hub.of(LinkUp)) == 20
    assert len(ids) == len(set(ids)) == len(hub.hub._by_id)
    assert sorted({len(name) for name in ids}) == [CONNECTION_ID_BYTES, 8]  # 8: what a client invents


def test_packets_that_need_no_answer_are_not_remembered_for_ever() -> None:
    world, anna, ben = linked()
    for _ in range(300):
        anna.hub.write(anna.up.link, [PING])
        world.run(0.2)
    assert len(ben.frames) == 300
    assert len(ben.hub._links[1].quic._space.sent_packets) < 64


def test_an_id_the_peer_has_retired_leads_nowhere_and_a_new_one_takes_its_place() -> None:
    world, anna, ben = linked()
    for _ in range(5):
        before = set(ben.hub._links[1].ids)
        anna.hub._links[1].quic.change_connection_id()
        anna.hub.write(anna.up.link, [PING])
        world.run(1)
        after = set(ben.hub._links[1].ids)
        assert len(before - after) == len(after - before) == 1
        assert set(ben.hub._by_id) == after
    assert ben.frames == [PING] * 5
    ben.hub.release_connection_id(b"gone")


def test_an_id_that_is_taken_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    _, anna, _ = linked()
    link = anna.hub._links[1]
    taken = next(name for name in link.ids)
    draws = iter([taken, taken, b"free"])
    monkeypatch.setattr("qpq.link.hub.os.urandom", lambda _: next(draws))
    assert anna.hub.new_connection_id(link) == b"free"


# --- sessions that resume ---------------------------------------------------------------------


def test_a_second_dial_resumes_and_both_ends_know_who_it_is() -> None:
    world, anna, ben = linked()
    for _ in range(3):
        anna.hub.close(anna.up.link, CloseCode.NONE, "later")
        world.run(1)
        anna.dial(ben, ben.hub.own)
        world.run(1)
        assert anna.up.resumed
        assert ben.up.resumed
        assert anna.up.peer == ben.hub.own
        assert ben.up.peer == anna.hub.own
    assert len(anna.of(LinkUp)) == 4


def test_a_dial_to_a_known_address_resumes_without_naming_the_identity() -> None:
    world, anna, ben = linked()
    anna.hub.close(anna.up.link, CloseCode.NONE, "later")
    world.run(1)
    anna.dial(ben)
    world.run(1)
    assert anna.up.resumed
    assert anna.up.peer == ben.hub.own


def test_the_end_that_was_dialled_before_dials_with_a_full_handshake_and_then_resumes() -> None:
    world, anna, ben = linked()
    ben.dial(anna, anna.hub.own)
    world.run(1)
    assert not ben.up.resumed
    ben.dial(anna, anna.hub.own)
    world.run(1)
    assert ben.up.resumed
    assert anna.up.resumed


def test_a_node_that_has_lost_its_tickets_falls_back_to_certificates() -> None:
    world, anna, ben = linked()
    ben.hub.tickets.forget(anna.hub.own)
    anna.dial(ben, ben.hub.own)
    world.run(1)
    assert len(anna.of(LinkUp)) == 2
    assert not anna.up.resumed
    assert ben.up.peer == anna.hub.own


def test_a_ticket_does_not_outlive_its_time() -> None:
    world, anna, ben = linked(ticket_s=60)
    anna.hub.close(anna.up.link, CloseCode.NONE, "later")
    world.run(61)
    anna.dial(ben, ben.hub.own)
    world.run(1)
    assert not anna.up.resumed


def test_another_identity_at_a_known_address_is_not_offered_the_ticket() -> None:
    world, anna, ben = linked()
    carla = secret("carla").identity
    anna.dial(ben, carla)
    world.run(1)
    assert anna.failed == ["another key than the one dialled"]
    assert len(anna.of(LinkUp)) == 1


def test_a_resumed_link_to_another_identity_than_the_dialled_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    world, anna, ben = linked()
    carla = secret("carla").identity
    monkeypatch.setattr(TicketStore, "take", lambda *_: anna.hub.tickets._given[ben.hub.own])
    anna.dial(ben, carla)
    world.run(1)
    assert anna.failed == ["another key than the one dialled"]
    assert anna.refused == {"refused_other_key": 1}
    assert len(anna.of(LinkUp)) == 1
    assert len(ben.of(LinkUp)) == 1


def test_a_connection_without_a_proven_identity_is_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LinkConnection, "proven", None)
    world = World()
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2))
    anna.dial(ben)
    world.run(1)
    assert anna.failed == ["no certificate"]
    assert not anna.of(LinkUp)
    assert not ben.of(LinkUp)


def test_a_ticket_of_the_node_itself_makes_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    world, anna, ben = linked()
    bound = replace(anna.hub.tickets._given[ben.hub.own], identity=anna.hub.own)
    monkeypatch.setattr(TicketStore, "take", lambda *_: bound)
    anna.dial(ben)
    world.run(1)
    assert anna.failed == ["this is the node itself"]


# --- the end ----------------------------------------------------------------------------------


def test_the_reason_of_a_close_reaches_the_other_side() -> None:
    world, anna, ben = linked()
    anna.hub.close(anna.up.link, CloseCode.TURN_OVER, "come back in a minute")
    world.run(1)
    assert anna.down == ["come back in a minute"]
    assert ben.down == ["closed by the peer: turn over (come back in a minute)"]


def test_a_reason_is_printable_whatever_a_peer_writes() -> None:
    world, anna, ben = linked()
    anna.hub._links[1].quic.close(error_code=77, reason_phrase="\x1b[2Jhi\n")
    anna.hub._pressed[anna.hub._links[1]] = None
    world.run(1)
    assert ben.down == ["closed by the peer: code 77 (?[2Jhi?)"]


def test_what_was_queued_before_a_close_still_arrives() -> None:
    world, anna, ben = linked()
    bye = Bye(CloseCode.SHUTDOWN, 60, "maintenance")
    anna.hub.write(anna.up.link, [PING, bye])
    anna.hub.close(anna.up.link, CloseCode.SHUTDOWN, "maintenance")
    world.run(1)
    assert ben.frames == [PING, bye]
    assert ben.down == ["closed by the peer: shutdown (maintenance)"]


def test_a_peer_that_missed_the_close_is_told_again() -> None:
    world, anna, ben = linked()
    anna.hub.write(anna.up.link, [PING])
    world.run(1)
    world.lose = lambda _: True
    anna.hub.close(anna.up.link, CloseCode.FULL, "full")
    world.run(0.1)
    assert not ben.down
    world.lose = lambda _: False
    ben.hub.write(ben.up.link, [PING])
    world.run(0.5)
    assert ben.down == ["closed by the peer: full (full)"]


def test_the_last_word_is_repeated_three_times_at_most_and_only_to_the_peer() -> None:
    world, anna, ben = linked()
    name = next(iter(anna.hub._links[1].ids))
    anna.hub.close(anna.up.link, CloseCode.FULL, "full")
    world.run(0.1)
    before = len(world.sent)
    for _ in range(10):
        world.inject(b"\x40" + name + bytes(30), host(66), anna.address)
    world.run(0.1)
    assert len(world.sent) == before
    for _ in range(10):
        world.inject(b"\x40" + name + bytes(30), ben.address, anna.address)
    world.run(0.1)
    assert len(world.sent) == before + 8


def test_farewells_are_forgotten() -> None:
    world, anna, ben = linked(lingering=4)
    for _ in range(5):
        anna.hub.close(anna.up.link, CloseCode.NONE, "later")
        world.run(1)
        anna.dial(ben, ben.hub.own)
        world.run(1)
    assert len(anna.hub._farewells) <= 4
    name = next(iter(anna.hub._farewells))
    world.run(601)
    world.inject(b"\x40" + name + bytes(30), ben.address, anna.address)
    world.run(0.1)
    assert name not in anna.hub._farewells


def test_a_peer_that_falls_silent_with_data_under_way_is_given_up_after_15_seconds() -> None:
    world, anna, ben = linked()
    world.lose = lambda _: True
    anna.hub.write(anna.up.link, [PING])
    world.run(14.5)
    assert not anna.down
    world.run(2)
    assert anna.down == ["no answer for 15 s"]
    assert not ben.down


def test_a_peer_that_falls_silent_on_an_idle_link_is_found_out_by_both_ends_the_initiator_first() -> None:
    world, anna, ben = linked()
    world.run(5)
    world.lose = lambda _: True
    world.run(60 + 16)
    assert anna.down == ["no answer for 15 s"]
    assert ben.down == []
    world.run(30)
    assert ben.down == ["no answer for 15 s"]


def test_after_a_kick_a_lost_peer_is_noticed_within_five_seconds_by_both_ends() -> None:
    world, anna, ben = linked()
    world.run(5)
    world.lose = lambda _: True
    anna.hub.kick()
    ben.hub.kick()
    world.run(6)
    assert anna.down == ben.down == ["no answer for 5 s"]


def test_a_kick_leaves_links_that_work_alone_and_their_patience_returns() -> None:
    world, anna, _ = linked()
    anna.hub.kick()
    world.run(20)
    assert not anna.down
    world.lose = lambda _: True
    anna.hub.write(anna.up.link, [PING])
    world.run(10)
    assert not anna.down


def test_a_kick_does_not_disturb_a_handshake_or_an_ended_link() -> None:
    world = World()
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2))
    anna.dial(ben)
    anna.hub.kick()
    world.run(1)
    anna.hub.close(anna.up.link, 0, "bye")
    anna.hub.kick()
    world.run(1)
    assert anna.down == ["bye"]


def test_a_link_the_machine_can_no_longer_send_on_is_given_up_soon() -> None:
    world, anna, _ = linked()
    anna.hub._send = lambda *_: "Network is unreachable"
    anna.hub.write(anna.up.link, [PING])
    world.run(6)
    assert anna.down == ["no answer for 5 s"]


def test_a_stumble_of_the_library_on_the_way_out_is_an_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    world, anna, _ = linked()

    def stumble(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(anna.hub._links[1].quic, "flush", stumble)
    anna.hub.close(anna.up.link, CloseCode.NONE, "bye")
    world.run(1)
    assert anna.down == ["bye"]


# --- addresses that change --------------------------------------------------------------------


def test_a_link_goes_on_when_the_initiators_address_changes() -> None:
    world, anna, ben = linked()
    for number in (33, 34, 35):
        anna.address = host(number)
        anna.hub.kick()
        world.run(2)
        ben.hub.write(ben.up.link, [PING])
        anna.hub.write(anna.up.link, [PING])
        world.run(2)
        assert ben.hub.rows()[0].address == f"10.0.0.{number}:7000"
    assert not anna.down
    assert not ben.down
    assert len(anna.frames) == len(ben.frames) == 3


def test_data_under_way_survives_a_change_of_address() -> None:
    world, anna, ben = linked()
    for number in range(100):
        anna.hub.write(anna.up.link, [big(number)])
    world.run(0.006)
    anna.address = host(33)
    anna.hub.kick()
    world.run(10)
    assert ben.frames == [big(number) for number in range(100)]


def test_a_forged_change_of_address_does_not_take_the_link_away() -> None:
    world, anna, ben = linked()
    copies: list[Sent] = []
    world.lose = lambda sent: bool(sent.source == anna.address and copies.append(sent))
    anna.hub.write(anna.up.link, [PING])
    world.run(0.001)
    world.lose = lambda _: False
    world.inject(copies[0].data, host(66), ben.address)  # an attacker's copy overtakes the original
    world.run(0.1)
    world.inject(copies[0].data, anna.address, ben.address)
    world.run(5)
    ben.hub.write(ben.up.link, [PING])
    world.run(5)
    assert anna.frames == [PING]
    assert ben.hub.rows()[0].address == "10.0.0.1:7000"


def test_the_initiator_believes_no_other_address() -> None:
    world, anna, ben = linked()
    ben.address = host(44)
    ben.hub.write(ben.up.link, [PING])
    world.run(1)
    assert not anna.frames


# --- dialling ---------------------------------------------------------------------------------


def test_a_dial_that_nobody_answers_fails_in_time() -> None:
    world = World()
    anna = Node(world, "anna", host(1))
    anna.hub.dial("nobody:7000", [host(9)], None, world.now)
    world.run(9.5)
    assert not anna.events
    world.run(1)
    assert anna.events == [DialFailed("nobody:7000", "no answer")]
    assert not anna.hub._links


def test_a_dial_tries_one_address_after_the_other() -> None:
    world = World()
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2))
    anna.hub.dial("ben:7000", [host(8), host(9), ben.address], None, world.now)
    world.run(10)
    assert anna.events == [LinkUp(3, ben.hub.own, "ben:7000", initiator=True)]


def test_a_dial_to_several_dead_addresses_fails_once() -> None:
    world = World()
    anna = Node(world, "anna", host(1))
    anna.hub.dial("ben:7000", [host(8), host(9)], None, world.now)
    world.run(30)
    assert anna.events == [DialFailed("ben:7000", "no answer")]


def test_an_address_with_the_wrong_key_ends_the_search() -> None:
    world = World()
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2))
    anna.hub.dial("ben:7000", [ben.address, host(9)], secret("carla").identity, world.now)
    world.run(30)
    assert anna.failed == ["another key than the one dialled"]


def test_an_address_the_system_cannot_reach_fails_at_once() -> None:
    world = World()
    anna = Node(world, "anna", host(1))
    anna.hub._send = lambda _data, _address, _local: "Network is unreachable"
    anna.hub.dial("far:7000", [host(9)], None, world.now)
    world.run(0.01)
    assert anna.failed == ["Network is unreachable"]


def test_only_so_many_dials_run_at_once() -> None:
    world = World()
    anna = Node(world, "anna", host(1), dials=2)
    for number in range(3):
        anna.hub.dial(f"nobody{number}:7000", [host(9)], None, world.now)
    world.run(0.01)
    assert anna.events == [DialFailed("nobody2:7000", "too many dials at once")]


def test_dialling_oneself_fails_whether_known_or_not() -> None:
    world = World()
    anna = Node(world, "anna", host(1))
    anna.dial(anna, anna.hub.own)
    anna.dial(anna)
    world.run(2)
    assert anna.failed == ["this is the node itself", "this is the node itself"]
    assert not anna.of(LinkUp)
    assert anna.refused["refused_self"] >= 1


def test_two_nodes_that_dial_each_other_get_two_links() -> None:
    world = World()
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2))
    anna.dial(ben)
    ben.dial(anna)
    world.run(1)
    assert [up.initiator for up in anna.of(LinkUp)] in ([True, False], [False, True])
    assert len(ben.of(LinkUp)) == 2


def test_a_lost_first_packet_is_sent_again() -> None:
    world = World()
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2))
    world.lose = lambda _: len(world.sent) <= 2
    anna.dial(ben)
    world.run(3)
    assert anna.up.peer == ben.hub.own


# --- what stays behind ------------------------------------------------------------------------


def test_two_hundred_links_in_a_row_leave_nothing_behind() -> None:
    world, anna, ben = linked(handshakes_a_second=1000.0)
    for _ in range(200):
        anna.hub.close(anna.up.link, CloseCode.NONE, "next")
        world.run(0.1)
        anna.dial(ben, ben.hub.own)
        world.run(0.2)
    anna.hub.close(anna.up.link, CloseCode.NONE, "last")
    world.run(1)
    assert len(anna.of(LinkUp)) == len(ben.of(LinkDown)) == 201
    for hub in (anna.hub, ben.hub):
        assert not hub._links
        assert not hub._by_id
        assert len(hub._farewells) <= hub.limits.lingering
        assert len(hub.tickets) <= 1
        assert (hub.sources.links, hub.sources.half_open) == (0, 0)
        assert not hub.sources._links
        assert hub.timer_at == float("inf") or hub.timer_at > world.now


def test_rows_tell_of_links_that_are_up() -> None:
    world, anna, ben = linked()
    anna.dial(Node(world, "nobody", host(9)))
    assert len(anna.hub.rows()) == 1
    ben.hub.write(ben.up.link, [PING])
    anna.hub.write(anna.up.link, [PING])
    world.run(0.5)
    row = anna.hub.rows()[0]
    assert (row.peer, row.address, row.initiator, row.backlog) == (ben.hub.own, "10.0.0.2:7000", True, 0)
    assert row.rtt is not None
    assert 0.009 < row.rtt < 0.02
    assert row.sent_bytes > 1200
    assert row.received_bytes > 1200

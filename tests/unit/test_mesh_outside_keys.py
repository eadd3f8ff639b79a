"""Sessions between users of two domains: how their keys cross, what waits for them, and what where none come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from test_mesh_border import CARL, come, one
from test_mesh_outside import HOUR, star, states, texts, two

from cores import MemoryStore, Node, World
from joined_meshes import Shuttle, address, inner, mesh, slip
from qpq.crypto.identity import Address, SecretIdentity
from qpq.mesh import counters, events
from qpq.mesh.effects import OutsideAnswered, State
from qpq.mesh.limits import Limits
from qpq.wire.body import Keys, KeysWanted, Turn
from qpq.wire.crossing import LookupBody, RefusalBody
from qpq.wire.envelope import MAX_INNER, decode_envelope

if TYPE_CHECKING:
    from qpq.mesh.words import Words

CLASSICAL, LATER, FIRST = 1, 2, 3
"""Formats of seals."""


def store(node: Node) -> MemoryStore:
    assert isinstance(node.store, MemoryStore)
    return node.store


def crossed(shuttle: Shuttle, sender: Node) -> list[int]:
    """The formats of what a node's user has sent to another domain, words and messages."""
    rows = [row for row in shuttle.carried if row.kind == 0 and row.sender == address(sender)]
    return [decode_envelope(row.data).payload[0] for row in rows]


def sealed(node: Node, message: bytes) -> bool | None:
    return store(node).outbox[address(node), message].sealed


def words(node: Node) -> Words:
    assert node.core is not None
    return node.core._crossings.outside.words


def talked(**options: object) -> tuple[World, Shuttle, list[Node], list[Node]]:
    """Two meshes of which the first nodes' users have written to each other."""
    world, shuttle, a, b = two(asks=True, **options)
    world.send(a[0], address(b[0]), "1", domain="b.example")
    world.run(10.0)
    world.send(b[0], address(a[0]), "2", domain="a.example")
    world.run(10.0)
    assert (texts(b[0]), texts(a[0])) == (["1"], ["2"])
    shuttle.carried.clear()
    return world, shuttle, a, b


# --- keys come ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("here", "there"), [(0, 0), (2, 2), (2, 0), (0, 2)])
def test_the_first_message_waits_for_keys_and_goes_in_a_session(here: int, there: int) -> None:
    world, shuttle, a, b = two(asks=True)
    message = world.send(a[here], address(b[there]), domain="b.example")
    assert a[here].core is not None
    row = a[here].core.message(address(a[here]), message)
    assert row is not None
    assert row.post_quantum is None, "it is open yet"
    assert states(a[here], message) == [State.QUEUED]
    world.run(9.0)
    assert crossed(shuttle, a[here]) == [CLASSICAL, FIRST], "a wish for keys, and the message"
    assert crossed(shuttle, b[there]) == [CLASSICAL], "the keys"
    assert texts(b[there]) == ["hello"]
    assert sealed(a[here], message)
    assert states(a[here], message)[-1] is State.DELIVERED


def test_those_who_answer_and_go_on_do_so_in_the_same_session() -> None:
    world, shuttle, a, b = talked()
    for text in ("3", "4"):
        world.send(a[0], address(b[0]), text, domain="b.example")
        world.send(b[0], address(a[0]), text, domain="a.example")
        world.run(10.0)
    assert crossed(shuttle, a[0]) == crossed(shuttle, b[0]) == [LATER, LATER]
    assert texts(b[0]) == ["1", "3", "4"]
    for node in (a[0], b[0]):
        assert len([row for row in store(node).sessions.values() if row.peer in (address(a[0]), address(b[0]))]) == 1
        assert node.counts[counters.KEYS_TOLD] <= 1


def test_what_comes_twice_begins_one_session() -> None:
    world = World(3)
    Shuttle(world, twice=1.0)
    a, b = mesh(world, "a.example"), mesh(world, "b.example", gateways=2)
    world.run(5.0)
    sent = [world.send(a[0], address(b[0]), str(number), domain="b.example") for number in range(4)]
    world.run(60.0)
    assert sorted(texts(b[0])) == ["0", "1", "2", "3"]
    assert all(sealed(a[0], message) for message in sent)
    assert (b[0].counts[counters.SESSION_TAKEN], b[0].counts[counters.KEYS_TOLD]) == (1, 1)


def test_nobody_is_asked_who_is_in_the_same_session_already() -> None:
    world, shuttle, a, b = talked()
    world.run(25 * HOUR)
    message = world.send(a[0], address(b[0]), "3", domain="b.example")
    world.run(10.0)
    assert sealed(a[0], message)
    assert set(crossed(shuttle, a[0])) == {LATER}


def test_who_only_reads_sends_new_keys_once_a_day() -> None:
    world, shuttle, a, b = talked()
    for day in range(3):
        world.send(a[0], address(b[0]), str(day), domain="b.example")
        world.run(25 * HOUR)
    assert len(texts(b[0])) == 4
    assert 2 <= b[0].counts[counters.SESSION_TURNED] == len(crossed(shuttle, b[0]))
    assert set(crossed(shuttle, b[0])) == {LATER}


# --- none come ---------------------------------------------------------------------------------------------------


def test_without_keys_a_message_goes_after_ten_seconds_and_one_is_asked_again_in_an_hour() -> None:
    world, _, a, b = two(asks=True)
    before = b[0].limits
    world.crash(b[0])
    b[0].limits = Limits(sessions=0)  # it gives no keys
    world.start(b[0])
    world.run(5.0)
    first = world.send(a[0], address(b[0]), "1", domain="b.example")
    world.run(9.0)
    assert not texts(b[0])
    second = world.send(a[0], address(b[0]), "2", domain="b.example")
    world.run(20.0)
    third = world.send(a[0], address(b[0]), "3", domain="b.example")
    world.run(5.0)
    assert texts(b[0]) == ["1", "2", "3"]
    assert not any(sealed(a[0], message) for message in (first, second, third))
    assert a[0].counts[counters.KEYS_ASKED] == 1
    world.crash(b[0])
    b[0].limits = before
    world.start(b[0])
    world.run(HOUR)
    last = world.send(a[0], address(b[0]), "4", domain="b.example")
    world.run(20.0)
    assert sealed(a[0], last)
    assert texts(b[0])[-1] == "4"


def test_keys_that_come_late_are_for_the_next_message() -> None:
    world, shuttle, a, b = two(asks=True)
    world.deafen(b[1])
    first = world.send(a[0], address(b[0]), "1", domain="b.example")
    world.run(20.0)
    world.undeafen(b[1])
    world.run(120.0)
    assert texts(b[0]) == ["1"]
    assert not sealed(a[0], first)
    second = world.send(a[0], address(b[0]), "2", domain="b.example")
    assert sealed(a[0], second)
    world.run(20.0)
    assert crossed(shuttle, a[0])[-1] == FIRST
    assert texts(b[0]) == ["1", "2"]


def test_what_waited_for_keys_at_a_restart_goes_as_it_is() -> None:
    world, _, a, b = two(asks=True)
    message = world.send(a[0], address(b[0]), domain="b.example")
    world.crash(a[0])
    world.start(a[0])
    world.meet(a[0], a[1])
    world.run(120.0)
    assert texts(b[0]) == ["hello"]
    assert states(a[0], message)[-1] is State.DELIVERED


def test_a_message_that_waits_for_keys_can_be_deleted_or_expire() -> None:
    world, _, a, b = two(asks=True)
    world.deafen(a[1])
    short = world.send(a[0], address(b[0]), domain="b.example", ttl=4)
    message = world.send(a[0], address(b[0]), domain="b.example")
    world.tell(a[0], events.DeleteMessage(address(a[0]), message))
    world.run(30.0)
    world.undeafen(a[1])
    world.run(60.0)
    assert states(a[0], short)[-1] is State.EXPIRED
    assert not texts(b[0])


def test_whom_one_asked_in_the_mesh_is_asked_outside_too() -> None:
    world, _, a, b = two(asks=True)
    near = world.send(a[0], address(b[0]), "here")
    message = world.send(a[0], address(b[0]), "there", domain="b.example")
    world.run(20.0)
    assert texts(b[0]) == ["there"]
    assert sealed(a[0], message)
    assert not sealed(a[0], near)
    assert a[0].counts[counters.KEYS_ASKED] == 2


# --- nobody carries it there -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sender", [0, 2])
def test_a_message_that_is_refused_does_not_wait_for_keys_first(sender: int) -> None:
    world, shuttle, a, b = two(asks=True)
    shuttle.refuse = lambda row: f"{row.domain} is not reached from here"
    message = world.send(a[sender], address(b[0]), domain="b.example")
    world.run(3.0)
    assert states(a[sender], message)[-1] is State.REFUSED
    assert a[sender].reasons == ["b.example is not reached from here"]
    another = world.send(a[sender], address(b[0]), domain="b.example")
    world.run(3.0)
    assert states(a[sender], another)[-1] is State.REFUSED
    assert a[sender].counts[counters.KEYS_ASKED] == 1


@pytest.mark.parametrize("sender", [0, 2])
def test_nor_does_one_for_the_own_mesh_with_the_name_of_its_domain(sender: int) -> None:
    world, _, a, _ = two(asks=True)
    message = world.send(a[sender], address(a[1]), domain="a.example")
    world.run(3.0)
    assert states(a[sender], message)[-1] is State.REFUSED
    assert "is the domain of this very mesh" in a[sender].reasons[0]


def test_that_keys_are_not_carried_is_only_a_gateways_to_say() -> None:
    world, _, a, b = two(asks=True)
    world.deafen(a[2])
    message = world.send(a[0], address(b[0]), domain="b.example")
    assert a[0].core is not None
    (ask,) = a[0].core._asking._asks.values()
    assert ask.about is not None
    slip(world, a[1], address(a[0]), RefusalBody(b"s" * 16, ask.about, "no"))
    world.run(3.0)
    assert ask.waiting
    a[0].core._asking.refused(b"another", world.now)
    assert states(a[0], message) == [State.QUEUED]


# --- keys are lost -----------------------------------------------------------------------------------------------


def test_what_cannot_be_opened_any_more_is_sealed_anew() -> None:
    world, shuttle, a, b = talked()
    world.crash(b[0])
    b[0].store = MemoryStore()
    world.start(b[0])
    world.run(30.0)
    sent = [world.send(a[0], address(b[0]), text, domain="b.example") for text in ("3", "4", "5")]
    world.run(60.0)
    assert sorted(texts(b[0])[1:]) == ["3", "4", "5"]
    assert all(states(a[0], message)[-1] is State.DELIVERED for message in sent)
    assert all(sealed(a[0], message) for message in sent)
    assert a[0].counts[counters.SESSION_RENEWED] >= 1
    assert crossed(shuttle, a[0])[:1] == [LATER]
    assert crossed(shuttle, a[0])[-1] == FIRST
    world.run(HOUR)
    for node in (a[0], a[2], b[2]):
        assert node.core is not None
        assert not len(node.core._custody), "what could not be opened waits nowhere"


def test_where_the_gateway_itself_has_lost_its_users_keys_it_says_so_as_well() -> None:
    world, _, a, b = two(asks=True)
    for text in ("1", "2"):
        world.send(a[2], address(b[2]), text, domain="b.example")
        world.run(20.0)
    world.crash(b[2])
    b[2].store = MemoryStore()
    world.start(b[2])
    world.run(30.0)
    message = world.send(a[2], address(b[2]), "3", domain="b.example")
    world.run(60.0)
    assert texts(b[2])[-1] == "3"
    assert states(a[2], message)[-1] is State.DELIVERED


def test_a_message_sealed_anew_that_cannot_be_stored_stays_as_it_was() -> None:
    world, _, a, b = two(asks=True)
    message = world.send(a[0], address(b[0]), domain="b.example")
    before = store(a[0]).outbox[address(a[0]), message]
    world.run(0.05)
    store(a[0]).room = 0
    world.run(9.0)
    assert store(a[0]).outbox[address(a[0]), message] == before
    assert not texts(b[0])
    store(a[0]).room = 1 << 30
    world.run(120.0)
    assert texts(b[0]) == ["hello"]
    assert states(a[0], message)[-1] is State.DELIVERED


def test_what_would_not_cross_once_it_is_sealed_anew_is_refused_at_once() -> None:
    world, _, a, b = two(asks=True)
    world.send(a[0], address(b[0]), "x" * (MAX_INNER - 1_700), domain="b.example")
    assert "send the text in parts" in a[0].refused[0].reason
    assert not store(a[0]).outbox


# --- words on their way ------------------------------------------------------------------------------------------


def test_a_word_waits_for_a_gateway_until_its_time_is_over() -> None:
    world = World()
    Shuttle(world)
    a, b = mesh(world, "a.example"), mesh(world, "b.example")
    world.crash(a[2])
    world.run(5.0)
    world.send(a[0], address(b[0]), "1", domain="b.example")
    world.run(100.0)
    assert len(words(a[0])._words) == 1
    world.start(a[2])
    world.run(900.0)
    assert b[0].counts[counters.KEYS_TOLD] == 1
    assert not words(a[0])._words
    world.crash(a[2])
    world.run(600.0)
    world.send(a[0], address(b[1]), "2", domain="b.example")
    world.run(2 * HOUR)
    world.start(a[2])
    world.run(HOUR)
    assert texts(b[1]) == ["2"]
    assert not words(a[0])._words
    assert b[1].counts[counters.KEYS_TOLD] == 0


def test_a_word_of_a_user_who_is_gone_goes_nowhere() -> None:
    world, _, a, b = two(asks=True)
    world.crash(a[2])
    world.run(600.0)
    world.send(a[0], address(b[0]), domain="b.example")
    world.tell(a[0], events.UserRemoved(address(a[0])))
    world.start(a[2])
    world.run(900.0)
    assert not words(a[0])._words
    assert b[0].counts[counters.KEYS_TOLD] == 0


def test_a_word_goes_to_the_next_gateway_where_one_is_silent() -> None:
    world, _, b, sender, first, second = star(asks=True)
    world.deafen(first)
    world.send(sender, address(b[0]), "1", domain="b.example")
    world.run(90.0)
    assert texts(b[0]) == ["1"]
    assert second.counts[counters.OUTWARD_TAKEN] == 2
    assert b[0].counts[counters.KEYS_TOLD] == 1
    message = world.send(sender, address(b[0]), "2", domain="b.example")
    assert sealed(sender, message)


def test_a_word_is_not_moved_because_another_gateway_comes_or_is_silent() -> None:
    world, _, b, sender, first, second = star(asks=True)
    world.deafen(first)
    world.send(sender, address(b[0]), domain="b.example")
    (word,) = words(sender)._words.values()
    capsule = word.capsule
    assert capsule is not None
    assert second.gateway is not None
    words(sender).silent(Address(second.gateway[0].address), world.now)
    words(sender).gateway_found(world.now)
    assert word.capsule is capsule
    assert second.counts[counters.OUTWARD_TAKEN] == 0


@pytest.mark.parametrize("found", [True, False])
def test_of_too_many_words_the_oldest_goes(found: bool) -> None:
    world, _, a, b = two(asks=True, limits=Limits(controls=1))
    if found:
        world.deafen(a[2])
    else:
        world.crash(a[2])
        world.run(600.0)
    world.send(a[0], address(b[0]), domain="b.example")
    world.send(a[0], address(b[1]), domain="b.example")
    assert [peer for _, peer, _ in words(a[0])._words] == [address(b[1])]
    assert a[0].counts[counters.CONTROL_OVER_CAP] == 1
    if found:
        world.undeafen(a[2])
    else:
        world.start(a[2])
    world.run(HOUR)
    assert (len(texts(b[0])), len(texts(b[1]))) == (1, 1)


def test_later_keys_replace_those_that_have_not_left() -> None:
    world, node, _, gateway = one()
    world.deafen(gateway)
    for number in (1, 2):
        secret = bytes((number,)) * 16
        come(world, gateway, inner(CARL, address(node), secret=secret, body=KeysWanted(secret)))
        world.run(20.0)
    assert node.counts[counters.KEYS_TOLD] == 2
    assert len(words(node)._words) == 1
    world.undeafen(gateway)
    world.run(60.0)
    assert not words(node)._words


def test_a_word_that_cannot_be_stored_is_forgotten() -> None:
    world, _, a, b = two(asks=True)
    store(a[0]).room = 0
    world.send(a[0], address(b[0]), domain="b.example")
    assert len(a[0].refused) == 1
    assert not words(a[0])._words


# --- what others bring -------------------------------------------------------------------------------------------


def test_words_and_sessions_from_outside_are_limited_all_together() -> None:
    world, node, _, gateway = one(limits=Limits(control_rate=0.01, control_burst=2))
    others = [SecretIdentity(bytes((number,)) * 32) for number in range(1, 6)]
    for number, other in enumerate(others):
        secret = bytes((number,)) * 16
        come(world, gateway, inner(other, address(node), secret=secret, body=KeysWanted(secret)))
    world.run(60.0)
    assert node.counts[counters.KEYS_TOLD] == 2
    assert node.counts[counters.CONTROL_OVER_RATE] == 3
    world.run(1.6 * HOUR)
    assert node.counts[counters.KEYS_TOLD] == 5


def test_sessions_from_outside_are_limited_all_together() -> None:
    world, _, a, b = two(asks=True, limits=Limits(agreement_rate=0.01, agreement_burst=1))
    for node in a:
        for number in range(2):
            world.send(node, address(b[0]), str(number), domain="b.example")
    world.run(30.0)
    assert b[0].counts[counters.SESSION_OVER_RATE] >= 1
    assert len(texts(b[0])) == 4
    world.run(2 * HOUR)
    assert len(texts(b[0])) == 6


def test_a_body_for_gateways_inside_is_refused_and_words_unasked_do_nothing() -> None:
    world, node, _, gateway = one()
    secret = b"1" * 16
    come(world, gateway, inner(CARL, address(node), secret=secret, body=LookupBody(secret, "n", "c.example")))
    come(world, gateway, inner(CARL, address(gateway), secret=secret, body=LookupBody(secret, "n", "c.example")))
    answers = [one for one in gateway.outside if isinstance(one, OutsideAnswered)]
    assert [answer.reason for answer in answers] == ["", "the recipient does not take it"]
    for number, to in ((2, node), (3, gateway)):
        secret = bytes((number,)) * 16
        come(world, gateway, inner(CARL, address(to), secret=secret, body=Keys(secret, b"b" * 1_300, b"a" * 32)))
    come(world, gateway, inner(CARL, address(node), secret=b"4" * 16, body=Turn(b"4" * 16)))
    world.run(60.0)
    assert node.counts[counters.KEYS_UNASKED] == gateway.counts[counters.KEYS_UNASKED] == 1
    assert not node.delivered
    assert not [row for row in store(gateway).federation.values() if row.kind == 1], "nothing of it is proven"


def test_who_is_blocked_gets_no_keys() -> None:
    world, node, _, gateway = one()
    world.tell(node, events.BlockedSet(address(node), frozenset({Address(CARL.address)})))
    secret = b"1" * 16
    come(world, gateway, inner(CARL, address(node), secret=secret, body=KeysWanted(secret), ttl=600))
    world.run(HOUR)
    assert node.counts[counters.KEYS_TOLD] == 0

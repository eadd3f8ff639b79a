"""The parts of sessions by themselves: prekeys and their time, the index of sessions, caps, what is put back."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from test_mesh_sessions import DAY, core, pair, sealed, store, talked, texts

from cores import World
from qpq.crypto import prekeys as crypto_prekeys
from qpq.crypto.errors import CryptoError
from qpq.crypto.identity import Address, SecretIdentity
from qpq.mesh import counters, events
from qpq.mesh.chance import Chance
from qpq.mesh.clock import Clock
from qpq.mesh.collecting import Effects
from qpq.mesh.controls import Control
from qpq.mesh.due import Due, Timer
from qpq.mesh.effects import Persist
from qpq.mesh.giving import Reason
from qpq.mesh.limits import Limits
from qpq.mesh.pairs import PAIR_SESSIONS
from qpq.mesh.prekeys import ONE_TIME, SIGNED, Prekeys
from qpq.mesh.records import PrekeyDelete, PrekeyPut, SessionDelete, SessionPut
from qpq.mesh.sessions import Plain, Sessions
from qpq.mesh.timers import Timers
from qpq.wire.body import Keys
from qpq.wire.envelope import decode_envelope
from sim.kem import CheapKem

if TYPE_CHECKING:
    from qpq.mesh.records import Operation

ANNA, BERT, CARL = (SecretIdentity(bytes((number,)) * 32) for number in (1, 2, 3))


class Desk:
    """The machines for the sessions of one node, with a clock that the test moves."""

    def __init__(self, seed: int = 1, **limits: object) -> None:
        draw = random.Random(seed).randbytes  # noqa: S311 (a seeded run)
        self.limits = Limits(**limits)  # type: ignore[arg-type]
        self.effects = Effects()
        self.clock = Clock(self.limits)
        self.clock.start(0.0)
        self.timers = Timers[Timer]()
        self.sessions = Sessions(
            limits=self.limits,
            clock=self.clock,
            chance=Chance(draw),
            timers=self.timers,
            effects=self.effects,
            kem=CheapKem(draw),
        )
        self.prekeys: Prekeys = self.sessions.prekeys

    def operations(self) -> list[Operation]:
        """Return what is to be written."""
        self.sessions.flush()
        found = [effect for effect in self.effects.take() if isinstance(effect, Persist)]
        return [operation for persist in found for operation in persist.operations]

    def rows(self) -> list[PrekeyPut]:
        return [row for row in self.operations() if isinstance(row, PrekeyPut)]

    def take(
        self, payload: bytes, sender: SecretIdentity = ANNA, own: SecretIdentity = BERT, now: float = 0.0
    ) -> object:
        """Open a payload; return the text, or why there is none."""
        found = self.sessions.open(own, sender.address, b"e" * 32, payload, now, may_begin=lambda: True)
        return found.text if isinstance(found, Plain) else found.value


def opened(here: Desk, there: Desk, now: float = 0.0) -> bytes:
    """Begin a session of anna's with bert, who is ``there``; return its first payload."""
    here.sessions.begin(ANNA, BERT.address, there.prekeys.bundle(BERT, now), now)
    found = here.sessions.seal(ANNA, BERT.address, b"text", now)
    assert found is not None
    return found.payload


# --- prekeys ---------------------------------------------------------------------------------------------


def test_nothing_is_made_before_somebody_needs_it() -> None:
    desk = Desk()
    assert desk.operations() == []
    assert len(desk.timers) == 0
    desk.prekeys.bundle(BERT, 0.0)
    assert [row.kind for row in desk.rows()] == [SIGNED, ONE_TIME]
    assert len(desk.timers) == 1


def test_a_signed_prekey_serves_for_a_week_and_is_kept_for_a_month_more() -> None:
    desk = Desk()
    first, later = desk.prekeys.bundle(BERT, 0.0), desk.prekeys.bundle(BERT, 7 * DAY - 1.0)
    ids = [crypto_prekeys.open_bundle(bundle, BERT.address).key_id for bundle in (first, later)]
    assert ids[0] == ids[1]
    other = crypto_prekeys.open_bundle(desk.prekeys.bundle(BERT, 7.0 * DAY), BERT.address).key_id
    assert other != ids[0]
    desk.prekeys.due(0, 37 * DAY - 1.0)
    assert desk.prekeys.signed(BERT.address, ids[0]) is not None
    desk.operations()
    desk.prekeys.due(0, 37.0 * DAY)
    assert desk.prekeys.signed(BERT.address, ids[0]) is None
    assert desk.prekeys.signed(BERT.address, other) is not None
    assert PrekeyDelete(BERT.address, ids[0]) in desk.operations()


def test_a_one_time_prekey_is_kept_for_a_month_unless_it_is_used() -> None:
    desk = Desk()
    bundles = [crypto_prekeys.open_bundle(desk.prekeys.bundle(BERT, 0.0), BERT.address) for _ in range(2)]
    first, second = (bundle.one_time_id for bundle in bundles)
    assert first != second
    desk.prekeys.spend(BERT.address, first)
    assert desk.prekeys.one_time(BERT.address, first) is None
    assert desk.prekeys.one_time(BERT.address, second) is not None
    assert desk.timers.next_at() == 30.0 * DAY
    desk.prekeys.due(0, 30.0 * DAY)
    assert desk.prekeys.one_time(BERT.address, second) is None
    assert desk.timers.next_at() == 37.0 * DAY


def test_with_many_one_time_prekeys_out_bundles_have_none() -> None:
    desk = Desk(one_times=3)
    found = [crypto_prekeys.open_bundle(desk.prekeys.bundle(BERT, 0.0), BERT.address) for _ in range(5)]
    assert [bool(bundle.one_time) for bundle in found] == [True, True, True, False, False]
    assert bool(crypto_prekeys.open_bundle(desk.prekeys.bundle(ANNA, 0.0), ANNA.address).one_time)


def test_prekeys_outlive_a_restart_and_their_time_goes_on() -> None:
    desk = Desk()
    bundle = crypto_prekeys.open_bundle(desk.prekeys.bundle(BERT, 0.0), BERT.address)
    again = Desk()
    for row in desk.rows():
        again.prekeys.restore(row)
    again.prekeys.rearm(0.0)
    assert again.timers.next_at() == 30.0 * DAY
    assert again.prekeys.signed(BERT.address, bundle.key_id) is not None
    assert again.prekeys.one_time(BERT.address, bundle.one_time_id) is not None
    assert again.prekeys.signed(BERT.address, bundle.one_time_id) is None
    assert again.prekeys.one_time(BERT.address, bundle.key_id) is None
    assert crypto_prekeys.open_bundle(again.prekeys.bundle(BERT, 5.0), BERT.address).key_id == bundle.key_id
    again.prekeys.remove_user(BERT.address)
    assert again.prekeys.signed(BERT.address, bundle.key_id) is None
    Desk().prekeys.rearm(0.0)


def test_damaged_prekeys_are_as_good_as_none() -> None:
    desk = Desk()
    bundle = crypto_prekeys.open_bundle(desk.prekeys.bundle(BERT, 0.0), BERT.address)
    again = Desk(2)
    for row in desk.rows():
        again.prekeys.restore(replace(row, data=row.data[:-1]))
    assert again.prekeys.signed(BERT.address, bundle.key_id) is None
    assert again.prekeys.one_time(BERT.address, bundle.one_time_id) is None
    assert crypto_prekeys.open_bundle(again.prekeys.bundle(BERT, 5.0), BERT.address).key_id != bundle.key_id


def test_prekeys_go_in_time_on_a_node_that_runs() -> None:
    world, anna, bert = pair()
    world.send(anna, bert.user.address)
    world.run(1.0)
    assert [row.kind for row in store(bert).prekeys.values()] == [SIGNED], "the one-time prekey was used"
    assert (Due.PREKEYS, 0) in core(bert)._timers._at
    world.run(36.9 * DAY)
    assert store(bert).prekeys
    world.run(0.2 * DAY)
    assert not store(bert).prekeys
    world.send(anna, bert.user.address, "goes on")
    world.run(1.0)
    assert texts(bert)[1:] == ["goes on"], "sessions need them no more"


# --- sessions of a pair ----------------------------------------------------------------------------------


def test_a_pair_has_four_sessions_and_the_least_of_them_gives_way() -> None:
    here, there = Desk(1), Desk(2)
    first = opened(here, there)
    assert there.take(first) == b"text"
    payloads = [opened(here, there) for _ in range(3)]
    for payload in payloads:
        assert there.take(payload) == b"text"
    assert len(here.sessions) == len(there.sessions) == PAIR_SESSIONS
    there.operations()
    assert there.take(opened(here, there)) == b"text"
    assert len(there.sessions) == PAIR_SESSIONS
    (gone,) = [row for row in there.operations() if isinstance(row, SessionDelete)]
    assert there.take(first) == "keys lost", "with its session its one-time prekey has gone"
    assert gone.peer == ANNA.address


def test_a_retired_session_gives_way_first_and_is_still_read() -> None:
    here, there = Desk(1), Desk(2)
    for _ in range(PAIR_SESSIONS):
        there.take(opened(here, there))
    names = [there.sessions.current(BERT.address, ANNA.address)]
    there.sessions.retire(BERT.address, ANNA.address, names[0])
    assert there.sessions.current(BERT.address, ANNA.address) != names[0]
    found = here.sessions.seal(ANNA, BERT.address, b"still", 0.0)
    assert found is not None
    assert there.take(found.payload) == b"still"
    assert there.sessions.current(BERT.address, ANNA.address) != names[0], "nothing is sent in it any more"
    rows = [row for row in there.operations() if isinstance(row, SessionPut)]
    again = Desk(3)
    for row in rows:
        again.sessions.restore(row)
    assert again.sessions.current(BERT.address, ANNA.address) == there.sessions.current(BERT.address, ANNA.address)
    there.take(opened(here, there))
    (gone,) = [row for row in there.operations() if isinstance(row, SessionDelete)]
    assert gone.session_id == names[0]


def test_a_message_of_any_session_of_a_pair_is_opened_whatever_the_order() -> None:
    here, there = Desk(1), Desk(2)
    payloads = [opened(here, there) for _ in range(3)]
    more = []
    for payload in payloads:
        assert there.take(payload) == b"text"
        back = there.sessions.seal(BERT, ANNA.address, b"back", 0.0)
        assert back is not None
        more.append(back.payload)
    assert [here.take(payload, BERT, ANNA) for payload in reversed(more)] == [b"back"] * 3
    assert [here.take(payload, BERT, ANNA) for payload in more] == ["keys lost"] * 3
    assert here.take(bytes((2, 0)) + bytes(32) + bytes(2) + bytes(16) + bytes(40), BERT, ANNA) == "keys lost"


def test_a_damaged_session_among_others_is_left_out() -> None:
    here, there = Desk(1), Desk(2)
    payload = opened(here, there)
    assert there.take(payload) == b"text"
    rows = [row for row in there.operations() if isinstance(row, SessionPut)]
    for damaged in (1, 2):
        again = Desk(4)
        for number in range(damaged):
            again.sessions.restore(replace(rows[0], session_id=bytes((number,)) * 8, data=b"damaged", used=99))
        if damaged > 1:
            again.sessions.restore(rows[0])
            found = here.sessions.seal(ANNA, BERT.address, b"more", 0.0)
            assert found is not None
            assert again.take(found.payload) == b"more"
        else:
            assert again.take(payload) == "keys lost"
            assert not again.sessions.has(BERT.address, ANNA.address)
        assert len(again.sessions) == damaged - 1


def test_damaged_sessions_are_not_sent_in() -> None:
    here = Desk(1)
    for number in range(3):
        here.sessions.restore(SessionPut(ANNA.address, BERT.address, bytes((number,)) * 8, number << 3, b"damaged"))
    assert here.sessions.seal(ANNA, BERT.address, b"text", 0.0) is None
    assert len([row for row in here.operations() if isinstance(row, SessionDelete)]) == 3


def test_a_session_that_has_come_to_its_end_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = Desk(1), Desk(2)
    opened(here, there)

    def at_the_end(*_: object, **__: object) -> None:
        raise CryptoError("too many messages")

    monkeypatch.setattr("qpq.crypto.sessions.Session.seal", at_the_end)
    assert here.sessions.seal(ANNA, BERT.address, b"text", 0.0) is None
    assert len(here.sessions) == 0


def test_keys_that_open_nothing_are_refused() -> None:
    here, there = Desk(1), Desk(2)
    with pytest.raises(CryptoError):
        here.sessions.begin(ANNA, CARL.address, there.prekeys.bundle(BERT, 0.0), 0.0)
    assert len(here.sessions) == 0


def test_an_opening_that_was_altered_begins_nothing_and_costs_no_prekey() -> None:
    here, there = Desk(1), Desk(2)
    payload = opened(here, there)
    assert there.take(payload[:-1] + bytes((payload[-1] ^ 1,))) == "keys lost"
    assert there.take(payload, CARL) == "keys lost"
    assert len(there.sessions) == 0
    assert there.take(payload) == b"text"


def test_what_was_opened_may_be_put_back_as_long_as_it_is_remembered() -> None:
    here, there = Desk(1), Desk(2, unstored=2)
    first = opened(here, there)
    assert there.take(first) == b"text"
    there.sessions.unread(b"e" * 32)
    assert there.take(first) == b"text"
    payloads = []
    for number in range(3):
        found = here.sessions.seal(ANNA, BERT.address, b"%d" % number, 0.0)
        assert found is not None
        payloads.append(found.payload)
        plain = there.sessions.open(
            BERT, ANNA.address, bytes((number,)) * 32, found.payload, 0.0, may_begin=lambda: True
        )
        assert isinstance(plain, Plain)
    for number in range(3):
        there.sessions.unread(bytes((number,)) * 32)
        there.sessions.unread(bytes((number,)) * 32)
    assert [there.take(payload) for payload in payloads] == ["keys lost", b"1", b"2"]


def test_keys_of_opened_messages_are_given_up_within_a_second() -> None:
    here, there = Desk(1), Desk(2)
    assert there.take(opened(here, there)) == b"text"
    payloads = []
    for number, now in enumerate((7.0, 7.4)):
        found = here.sessions.seal(ANNA, BERT.address, b"%d" % number, 0.0)
        assert found is not None
        payloads.append(found.payload)
        assert isinstance(
            there.sessions.open(BERT, ANNA.address, bytes((number,)) * 32, found.payload, now, may_begin=lambda: True),
            Plain,
        )
    there.sessions.due(0, 7.5)
    for number in range(2):
        there.sessions.unread(bytes((number,)) * 32)
    assert [there.take(payload) for payload in payloads] == ["keys lost", b"1"], "the second may not be stored yet"
    assert there.timers.pop_due(8.0) == (Due.SESSIONS, 0)


def test_nothing_is_put_back_in_a_session_that_is_gone() -> None:
    here, there = Desk(1), Desk(2)
    assert there.take(opened(here, there)) == b"text"
    there.sessions.remove_user(BERT.address)
    there.sessions.unread(b"e" * 32)
    row = SessionPut(BERT.address, ANNA.address, b"i" * 8, 0, b"")
    there.sessions.unwritten(row, retry=True)
    assert [row for row in there.operations() if isinstance(row, SessionPut)] == []
    assert len(there.sessions) == 0


def test_what_a_receipt_proves_is_written_with_the_next_thing() -> None:
    here, there = Desk(1), Desk(2)
    here.sessions.begin(ANNA, BERT.address, there.prekeys.bundle(BERT, 0.0), 0.0)
    found = here.sessions.seal(ANNA, BERT.address, b"text", 0.0)
    assert found is not None
    assert found.mark is not None
    (before,) = here.operations()
    here.sessions.proven(ANNA.address, BERT.address, found.mark)
    assert here.operations() == []
    here.effects.persist(PrekeyDelete(ANNA.address, b"any"))
    after = next(row for row in here.operations() if isinstance(row, SessionPut))
    assert isinstance(before, SessionPut)
    assert len(after.data) < len(before.data) - 1000
    here.sessions.proven(ANNA.address, BERT.address, found.mark)
    here.sessions.proven(ANNA.address, CARL.address, found.mark)
    here.sessions.proven(ANNA.address, BERT.address, replace(found.mark, marker=b""))
    here.effects.persist(PrekeyDelete(ANNA.address, b"any"))
    assert not [row for row in here.operations() if isinstance(row, SessionPut)], "nothing new"


def test_a_restored_session_that_was_not_used_is_written_as_it_was_read() -> None:
    here = Desk(1)
    row = SessionPut(ANNA.address, BERT.address, b"i" * 8, 3 << 3, b"state")
    here.sessions.restore(row)
    here.sessions.retire(ANNA.address, BERT.address, b"i" * 8)
    (written,) = here.operations()
    assert isinstance(written, SessionPut)
    assert (written.data, written.used >> 3) == (b"state", 3)
    assert not here.sessions.turn_due(Plain(b"", None), 0.0)


def test_the_newcomer_itself_does_not_give_way() -> None:
    here, there = Desk(1, sessions=1), Desk(2)
    opened(here, there)
    opened(here, there)
    assert len(here.sessions) == 2, "of one pair, which may have four"
    bundle = Desk(3).prekeys.bundle(CARL, 0.0)
    here.sessions.begin(ANNA, CARL.address, bundle, 0.0)
    assert here.sessions.has(ANNA.address, CARL.address)


# --- caps ------------------------------------------------------------------------------------------------


def test_what_is_expected_owed_told_and_kept_is_bounded() -> None:
    world = World()
    anna = world.add("anna", limits=Limits(keys_expected=3, keys_owed=2, keys_told=1, bundles=1))
    others = [world.add(f"n{number}") for number in range(4)]
    for other in others:
        world.send(anna, other.user.address, "hi")
        core(anna)._giving.keys(anna.user.address, other.user.address, b"e" * 32, Reason.WANTED, world.now)
    assert len(core(anna)._asking._expected) == 3
    assert len(core(anna)._giving._owed) == 2
    world.meet(anna, *others)
    world.run(5.0)
    assert len(core(anna)._giving._told) == 1
    assert len(core(anna)._asking._bundles) == len(store(anna).bundles) == 1
    assert anna.counts[counters.KEYS_TAKEN] == 3


def test_keys_that_come_while_there_is_a_session_are_left_alone() -> None:
    world, anna, bert = talked()
    about = b"e" * 32
    core(anna)._asking.expect(about, (anna.user.address, bert.user.address))
    core(bert)._giving.keys(bert.user.address, anna.user.address, about, Reason.LACKING, world.now)
    world.tell(bert, events.Tick())
    world.run(1.0)
    assert anna.counts[counters.KEYS_TAKEN] == 2
    assert not store(anna).bundles
    assert len(store(anna).sessions) == 1


def test_a_turn_that_cannot_be_opened_makes_a_new_session_and_goes() -> None:
    world, anna, bert = talked()
    store(anna).sessions.clear()
    world.crash(anna)
    world.run(1.0)
    world.start(anna)
    world.meet(anna, bert)
    world.run(5.0)
    core(bert)._giving.turn(bert.user.address, anna.user.address, world.now)
    world.tell(bert, events.Tick())
    world.run(10.0)
    assert bert.counts[counters.SESSION_RENEWED] == 1
    assert not [item for item in core(bert)._custody.items() if isinstance(item, Control)]
    world.send(bert, anna.user.address, "new")
    world.run(1.0)
    assert texts(anna)[1:] == ["new"]


def test_a_late_renewal_of_one_message_uses_the_session_that_is_there() -> None:
    """Keys may come about a message that is still in the old session after another brought a new one."""
    world, anna, bert = talked()
    world.crash(bert)
    world.run(1.0)
    (kept,) = core(anna)._sessions._pairs._pairs[anna.user.address, bert.user.address].sessions
    kept.retired = True
    classical = world.send(anna, bert.user.address, "without a session")
    kept.retired = False
    messages = [world.send(anna, bert.user.address, str(number)) for number in range(2)]
    items = [core(anna)._outbox.of_user(anna.user.address, message) for message in messages]
    about = [item.envelope_id for item in items if item is not None]
    bundles = [Desk(number).prekeys.bundle(bert.user, 0.0) for number in (1, 2)]
    asking, own, peer = core(anna)._asking, anna.user, bert.user.address
    asking.taken(own, peer, Keys(b"s" * 16, bundles[0], about[0]), world.now)
    session = core(anna)._sessions.current(own.address, peer)
    asking.taken(own, peer, Keys(b"t" * 16, bundles[1], about[1]), world.now)
    assert core(anna)._sessions.current(own.address, peer) == session
    world.tell(anna, events.Tick())
    world.run(5.0)
    assert anna.counts[counters.MESSAGE_RESEALED] == 3
    assert sealed(anna, classical) is False


def test_a_text_that_is_too_long_for_a_session_stays_as_it_is() -> None:
    world, anna, bert = talked()
    world.crash(bert)
    world.run(1.0)
    message = world.send(anna, bert.user.address, "hi")
    item = core(anna)._outbox.of_user(anna.user.address, message)
    assert item is not None
    assert not core(anna)._undoing._resealing.reseal(anna.user, item, "x" * 32_000, world.now, padded=True)
    assert core(anna)._outbox.of_user(anna.user.address, message) is item


def test_a_renewal_after_the_session_is_gone_changes_nothing() -> None:
    world, anna, bert = talked()
    world.crash(bert)
    world.run(1.0)
    message = world.send(anna, bert.user.address, "hi")
    found = store(anna).sent(anna.user.address, message)
    assert found is not None
    sessions = core(anna)._sessions
    sessions.retire(anna.user.address, bert.user.address, sessions.current(anna.user.address, bert.user.address))
    item = core(anna)._outbox.of_user(anna.user.address, message)
    assert item is not None
    assert not core(anna)._undoing._resealing.reseal(anna.user, item, found[1], world.now, padded=True)
    assert sealed(anna, message)


def test_a_user_who_went_while_texts_were_read_has_nothing_sealed() -> None:
    world, anna, bert = talked()
    world.crash(bert)
    world.run(1.0)
    message = world.send(anna, bert.user.address, "hi")
    found = store(anna).sent(anna.user.address, message)
    assert found is not None
    gone = events.SentText(Address(b"?" * 32), message, "hi", decode_envelope(found[0]))
    world.tell(anna, events.TextsRecalled((gone,)))
    assert anna.counts[counters.MESSAGE_RESEALED] == 1

"""The small machines: timers, chance, buckets, the list of effects, penalties."""

from __future__ import annotations

import pytest

from qpq.crypto.identity import Identity
from qpq.daemon.memory import core_limits
from qpq.mesh.buckets import Bucket
from qpq.mesh.chance import Chance
from qpq.mesh.collecting import Effects
from qpq.mesh.effects import Count, Notice, Persist, SendFrame, SetTimer
from qpq.mesh.limits import KIB, MIB, Limits
from qpq.mesh.penalties import Penalties
from qpq.mesh.records import Checkpoint
from qpq.mesh.timers import Timers
from qpq.wire.frames import Custody, CustodyCode, Receipt


def test_timers_come_in_the_order_of_their_times() -> None:
    timers = Timers[str]()
    timers.set("late", 3.0)
    timers.set("early", 1.0)
    timers.set("middle", 2.0)
    assert timers.next_at() == 1.0
    assert [timers.pop_due(2.5), timers.pop_due(2.5), timers.pop_due(2.5)] == ["early", "middle", None]
    assert len(timers) == 1


def test_a_timer_set_again_comes_once_and_at_the_new_time() -> None:
    timers = Timers[str]()
    timers.set("a", 1.0)
    timers.set("a", 5.0)
    assert timers.pop_due(4.0) is None
    assert timers.pop_due(5.0) == "a"
    assert timers.pop_due(9.0) is None


def test_a_cancelled_timer_does_not_come() -> None:
    timers = Timers[str]()
    timers.set("a", 1.0)
    timers.cancel("a")
    timers.cancel("never set")
    assert timers.next_at() is None


def test_timers_that_are_set_for_ever_do_not_pile_up() -> None:
    timers = Timers[int]()
    for round_ in range(10_000):
        timers.set(round_ % 3, float(round_))
    assert len(timers._heap) <= 2 * 3 + 65


def constant(value: int) -> Chance:
    return Chance(lambda n: bytes([value]) * n)


def test_back_off_doubles_up_to_its_ceiling_with_full_jitter() -> None:
    most = constant(0xFF)
    assert [round(most.backoff(n, 1.0, 300.0)) for n in (1, 2, 3, 8, 9, 10, 1000)] == [1, 2, 4, 128, 256, 300, 300]
    assert constant(0).backoff(7, 1.0, 300.0) == 0.0


def test_a_fraction_is_never_one() -> None:
    assert 0.999 < constant(0xFF).fraction() < 1.0
    assert constant(0).fraction() == 0.0


def test_a_stretched_wait_is_up_to_a_quarter_longer() -> None:
    assert constant(0).stretch(100.0) == 100.0
    assert 124.9 < constant(0xFF).stretch(100.0) <= 125.0


def test_every_item_can_be_picked() -> None:
    assert constant(0).pick("abc") == "a"
    assert constant(0xFF).pick("abc") == "c"


def test_a_bucket_gives_its_depth_at_once_and_its_rate_for_long() -> None:
    bucket = Bucket(2.0, 5.0, now=10.0)
    assert [bucket.take(1, 10.0) for _ in range(6)] == [True] * 5 + [False]
    assert bucket.take(2, 11.0)
    assert not bucket.take(1, 11.0)
    assert bucket.take(5, 1000.0)
    assert not bucket.take(0.5, 1000.0)


def test_effects_that_hang_on_the_store_come_behind_the_one_persist() -> None:
    effects = Effects()
    effects.prove(1, b"s" * 16, b"h" * 32)
    effects.after(Notice("info", "stored"))
    effects.persist(Checkpoint(1, 0))
    effects.persist(Checkpoint(2, 0))
    effects.answer(2, b"i" * 32, CustodyCode.QUOTA)
    effects.do(SetTimer(1.0))
    effects.count("x", 2)
    assert effects.persists
    assert effects.take() == [
        SetTimer(1.0),
        Count("x", 2),
        SendFrame(2, Custody(((b"i" * 32, CustodyCode.QUOTA),))),
        Persist((Checkpoint(1, 0), Checkpoint(2, 0))),
        Notice("info", "stored"),
        SendFrame(1, Receipt(((b"s" * 16, b"h" * 32),))),
    ]
    assert effects.take() == []
    assert not effects.persists


def test_many_receipts_of_one_event_leave_in_as_few_frames_as_the_wire_allows() -> None:
    effects = Effects()
    for number in range(40):
        effects.prove(7, bytes([number]) * 16, b"h" * 32)
        effects.answer(7, bytes([number]) * 32, CustodyCode.NOT_HERE)
    frames = [effect.frame for effect in effects.take() if isinstance(effect, SendFrame)]
    assert [len(frame.proofs) for frame in frames if isinstance(frame, Receipt)] == [16, 16, 8]
    assert [len(frame.answers) for frame in frames if isinstance(frame, Custody)] == [16, 16, 8]


def peer(number: int) -> Identity:
    return Identity(number.to_bytes(32, "big"))


def test_each_offence_keeps_a_peer_away_twice_as_long() -> None:
    penalties = Penalties(Limits(penalty_min_s=10.0, penalty_max_s=100.0))
    waits = []
    now = 0.0
    for _ in range(6):
        until = penalties.punish(peer(1), now)
        waits.append(until - now)
        now = until
    assert waits == [10.0, 20.0, 40.0, 80.0, 100.0, 100.0]
    assert penalties.until(peer(1)) == now
    assert penalties.until(peer(2)) == 0.0


def test_an_offence_long_after_the_last_is_a_first_one() -> None:
    penalties = Penalties(Limits(penalty_min_s=10.0, penalty_max_s=100.0))
    penalties.punish(peer(1), 0.0)
    assert penalties.punish(peer(1), 111.0) == 121.0


def test_the_penalty_that_ends_first_gives_way_when_there_are_too_many() -> None:
    penalties = Penalties(Limits(max_penalties=3))
    for number in range(5):
        penalties.punish(peer(number), float(number))
    assert len(penalties) == 3
    assert penalties.until(peer(0)) == 0.0
    assert penalties.until(peer(4)) == 14.0


@pytest.mark.parametrize("store", [2 * MIB, 4 * MIB, 256 * MIB])
def test_limits_of_any_machine_leave_room_for_the_longest_message(store: int) -> None:
    limits = core_limits(max_links=24, store_bytes=store)
    assert limits.max_links == 24
    assert limits.outbox_bytes > 33 * KIB
    assert limits.window_bytes > 33 * KIB
    assert limits.inbox_bytes * limits.sender_percent // 100 > 33 * KIB
    assert limits.inbox_bytes <= store

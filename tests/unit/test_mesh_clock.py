"""Time: wall clocks that are trusted or not, and ages that survive restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cores import UNIX_AT_ZERO, MemoryStore, Node, World, pair
from qpq.crypto.identity import SecretIdentity
from qpq.crypto.sealing import seal
from qpq.mesh import events
from qpq.mesh.clock import Clock
from qpq.mesh.effects import State
from qpq.mesh.limits import Limits
from qpq.mesh.records import Checkpoint
from qpq.wire.body import Body, encode_body
from qpq.wire.envelope import sign_envelope
from qpq.wire.frames import Custody, CustodyCode, Hello, Transfer
from qpq.wire.receipts import commitment

if TYPE_CHECKING:
    from qpq.wire.envelope import Envelope

STRANGER = SecretIdentity(b"s" * 32)
YEAR = 365.0 * 86_400


def started(checkpoint: Checkpoint = Checkpoint(0, 0), at: float = 100.0) -> Clock:  # noqa: B008 (frozen)
    clock = Clock(Limits())
    clock.restore(checkpoint)
    assert clock.start(at)
    assert not clock.start(at + 1)
    return clock


def test_life_goes_on_from_the_checkpoint() -> None:
    clock = started(Checkpoint(5000, 0))
    assert clock.life(100.0) == 5000.0
    assert clock.life(160.0) == 5060.0
    assert clock.checkpoint(160.0) == Checkpoint(5060, 0)


def test_time_off_counts_where_both_ends_of_it_are_trusted() -> None:
    clock = started(Checkpoint(5000, 1_000_000))
    assert clock.set(1_003_600.0 - 110.0, trusted=True, now=110.0) == 3590.0
    assert clock.life(110.0) == 8600.0
    assert clock.set(1_003_600.0 - 110.0, trusted=True, now=120.0) == 0.0, "once only"
    assert clock.set(2e9, trusted=True, now=130.0) == 0.0, (
        "a clock that is set forward while the node runs adds nothing"
    )


def test_time_off_does_not_count_without_a_trusted_clock() -> None:
    assert started(Checkpoint(5000, 1_000_000)).set(2e9, trusted=False, now=110.0) == 0.0
    assert started(Checkpoint(5000, 0)).set(2e9, trusted=True, now=110.0) == 0.0


def test_a_clock_that_went_back_adds_nothing() -> None:
    clock = started(Checkpoint(5000, 1_000_000))
    assert clock.set(0.0, trusted=True, now=110.0) == 0.0
    assert clock.life(110.0) == 5010.0


def test_a_clock_trusted_late_counts_what_ran_after_the_checkpoint_but_nothing_twice() -> None:
    clock = started(Checkpoint(5000, 1_000_000))
    clock.set(0.0, trusted=False, now=110.0)
    clock.set(1_010_000.0 - 600.0, trusted=True, now=600.0)
    assert clock.life(600.0) == 15_000.0


def test_unix_time_is_told_as_well_as_it_is_known_but_stamped_only_when_trusted() -> None:
    clock = started()
    assert (clock.unix(100.0), clock.stamp(100.0)) == (0, 0)
    clock.set(5000.0, trusted=False, now=100.0)
    assert (clock.unix(100.0), clock.stamp(100.0)) == (5100, 0)
    clock.set(5000.0, trusted=True, now=100.0)
    assert (clock.unix(100.9), clock.stamp(100.9)) == (5100, 5100)
    clock.set(-1e6, trusted=True, now=100.0)
    assert clock.unix(100.0) == 0
    clock.set(1e15, trusted=True, now=100.0)
    assert clock.unix(100.0) == 253_402_300_799


def test_clocks_agree_within_the_skew() -> None:
    clock = started()
    clock.set(1000.0, trusted=True, now=100.0)
    assert clock.agrees(1400, 100.0)
    assert not clock.agrees(1401, 100.0)
    clock.set(1000.0, trusted=False, now=100.0)
    assert not clock.agrees(1100, 100.0)


def test_checkpoints_come_after_a_minute_then_ever_more_rarely_up_to_an_hour() -> None:
    clock = started(at=0.0)
    now, waits = 0.0, []
    for _ in range(9):
        at = clock.next_save(now)
        waits.append(at - now)
        now = at
    assert waits == [60.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0]
    assert not clock.worth_saving(59.0)
    assert clock.worth_saving(60.0)
    clock.checkpoint(60.0)
    assert not clock.worth_saving(61.0)


# --- in the core -----------------------------------------------------------------------------------


def store(node: Node) -> MemoryStore:
    assert isinstance(node.store, MemoryStore)
    return node.store


def state(node: Node, message: bytes) -> State:
    return store(node).state(node.user.address, message)


def restart(world: World, node: Node, *, off: float, crash: bool, clock: tuple[float, bool] | None) -> None:
    """Turn a node off for a while; its monotonic clock goes on, which only this test knows."""
    if crash:
        world.crash(node)
    else:
        world.stop(node)
    world.run(off)
    node.clock = clock
    world.start(node)


def test_without_a_trusted_clock_a_restart_neither_expires_a_message_nor_makes_it_immortal() -> None:
    world = World()
    anna = world.add("anna")
    anna.clock = (0.0, False)
    world.tell(anna, events.ClockSet(0.0, trusted=False))
    message = world.send(anna, STRANGER.address, ttl=10_000)
    for _ in range(5):
        world.run(1000.0)
        restart(world, anna, off=50_000.0, crash=False, clock=(YEAR, False))
    assert state(anna, message) is State.QUEUED, "the time off is not known and does not count"
    world.run(4990.0)
    assert state(anna, message) is State.QUEUED
    world.run(20.0)
    assert state(anna, message) is State.EXPIRED


def test_a_timer_that_comes_in_time_finds_the_message_expired_however_sums_are_rounded() -> None:
    for step in range(300):
        world = World()
        world.now = 0.001 * step
        anna = world.add("anna")
        world.run(0.1 * step)
        message = world.send(anna, STRANGER.address, ttl=10)
        world.run(10.5, steps=20)
        assert state(anna, message) is State.EXPIRED


def test_a_message_of_a_node_that_always_crashes_ages_by_at_least_half_the_time_it_ran() -> None:
    world = World()
    anna = world.add("anna")
    world.tell(anna, events.ClockSet(0.0, trusted=False))
    message = world.send(anna, STRANGER.address, ttl=10_000)
    ran = 0.0
    while state(anna, message) is State.QUEUED:
        world.run(700.0)
        ran += 700.0
        restart(world, anna, off=10.0, crash=True, clock=None)
        assert ran < 20_800.0
    assert ran >= 10_000.0


def test_with_a_trusted_clock_the_time_off_counts_even_after_a_crash() -> None:
    world = World()
    anna = world.add("anna")
    message = world.send(anna, STRANGER.address, ttl=10_000)
    world.run(500.0)
    restart(world, anna, off=9_400.0, crash=True, clock=(float(UNIX_AT_ZERO), True))
    world.run(90.0)
    assert state(anna, message) is State.QUEUED
    world.run(20.0)
    assert state(anna, message) is State.EXPIRED


def test_nothing_is_written_while_nothing_waits() -> None:
    world, anna, bert = pair()
    world.send(anna, bert.user.address)
    world.run(100.0)
    before = (store(anna).checkpoint, store(bert).checkpoint)
    world.run(100_000.0)
    assert (store(anna).checkpoint, store(bert).checkpoint) == before


def test_a_write_that_happens_anyway_saves_the_clock() -> None:
    world = World()
    anna = world.add("anna")
    world.run(100.0)
    world.send(anna, anna.user.address)
    assert store(anna).checkpoint == Checkpoint(100, UNIX_AT_ZERO + 100)


def sent(world: World) -> Envelope:
    (frame,) = [frame for _, _, frame in world.frames if isinstance(frame, Transfer)]
    return frame.envelope


@pytest.mark.parametrize("trusted", [True, False])
def test_a_message_carries_the_time_only_where_the_clock_is_trusted(trusted: bool) -> None:
    world, anna, bert = pair()
    world.tell(anna, events.ClockSet(float(UNIX_AT_ZERO), trusted))
    world.send(anna, bert.user.address)
    assert sent(world).timestamp == (UNIX_AT_ZERO + 1 if trusted else 0)


@pytest.mark.parametrize("off", [-YEAR, YEAR])
@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("sender_trusted", [True, False])
def test_a_receiver_whose_clock_is_a_year_off_still_accepts(off: float, trusted: bool, sender_trusted: bool) -> None:
    world = World()
    anna, bert = world.add("anna", start=False), world.add("bert", start=False)
    anna.clock = (float(UNIX_AT_ZERO), sender_trusted)
    bert.clock = (UNIX_AT_ZERO + off, trusted)
    world.start(anna)
    world.start(bert)
    world.find(anna, bert)
    world.run(1.0)
    message = world.send(anna, bert.user.address)
    world.run(1.0)
    assert len(bert.delivered) == 1
    assert state(anna, message) is State.DELIVERED


def test_where_both_clocks_are_trusted_and_agree_the_wall_clock_judges_too() -> None:
    world = World()
    anna, bert = world.add("anna", start=False), world.add("bert")
    anna.clock = (UNIX_AT_ZERO - 200.0, True)
    world.start(anna)
    world.find(anna, bert)
    world.run(1.0)
    message = world.send(anna, bert.user.address, ttl=150)
    world.run(1.0)
    assert bert.delivered == []
    assert bert.counts["transfer.refused_expired"] == 1
    assert state(anna, message) is State.QUEUED


def test_a_greeting_tells_the_time_and_whether_it_is_trusted() -> None:
    world, anna, _ = pair()
    hellos = {sender: frame for sender, _, frame in world.frames if isinstance(frame, Hello)}
    assert hellos["anna"].time == UNIX_AT_ZERO
    assert hellos["anna"].time_trusted
    assert anna.core is not None


# --- time lent by neighbours ---------------------------------------------------------------------------


def test_the_median_of_three_neighbours_is_what_a_node_without_a_clock_judges_by() -> None:
    clock = started()
    assert clock.judge(100.0) == 0
    assert not clock.agrees(UNIX_AT_ZERO, 100.0)
    clock.lend([UNIX_AT_ZERO, UNIX_AT_ZERO + 2], 100.0)
    assert clock.judge(100.0) == 0, "two are too few"
    clock.lend([UNIX_AT_ZERO + 2, 0, UNIX_AT_ZERO], 100.0)
    assert clock.judge(160.0) == UNIX_AT_ZERO + 60
    assert clock.agrees(UNIX_AT_ZERO + 61, 160.0)
    assert not clock.agrees(UNIX_AT_ZERO + 661, 160.0)
    assert clock.stamp(160.0) == clock.unix(160.0) == 0, "it is for nobody else"
    clock.lend([], 200.0)
    assert clock.judge(200.0) == 0


def test_a_trusted_clock_of_ones_own_borrows_nothing() -> None:
    clock = started()
    clock.set(1000.0, trusted=True, now=100.0)
    clock.lend([UNIX_AT_ZERO] * 3, 100.0)
    assert clock.judge(100.0) == 1100


@pytest.mark.parametrize(("liars", "code"), [(0, CustodyCode.EXPIRED), (1, CustodyCode.EXPIRED), (2, None)])
def test_neighbours_clocks_expire_what_is_old_unless_most_of_them_lie(liars: int, code: CustodyCode | None) -> None:
    world = World()
    node = world.add("node")
    node.clock = None
    world.crash(node)
    world.start(node)
    others = [world.add(f"n{n}") for n in range(3)]
    for n, other in enumerate(others):
        world.tell(other, events.ClockSet(UNIX_AT_ZERO + (YEAR if n < liars else 0), trusted=True))
        world.find(node, other)
    world.run(5.0)
    honest = others[-1]
    secret = b"s" * 16
    sealed = seal(
        encode_body(Body(secret, "hello", secret)),
        sender=STRANGER.address,
        recipient=node.user.address,
        entropy=b"e" * 32,
    )
    made = sign_envelope(
        STRANGER,
        recipient=node.user.address,
        payload=sealed,
        commitment=commitment(secret),
        ttl=60,
        max_hops=9,
        timestamp=UNIX_AT_ZERO - 3600,
    )
    wire = next(iter(honest.wires.values()))
    world.inject(wire, wire.encoder.encode(Transfer(0, 1, 0, made)))
    world.run(1.0)
    answers = [
        code
        for one, _, frame in world.frames
        if one == "node" and isinstance(frame, Custody)
        for _, code in frame.answers
    ]
    assert answers == ([] if code is None else [code])
    assert len(node.delivered) == (1 if code is None else 0)
    assert node.core is not None
    assert not any(frame.time for one, _, frame in world.frames if one == "node" and isinstance(frame, Hello))

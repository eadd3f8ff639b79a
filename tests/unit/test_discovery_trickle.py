"""The Trickle timer and the rate limits."""

from __future__ import annotations

from itertools import pairwise

from discovery_kit import seeded

from qpq.discovery.limits import MAX_SOURCES, SourceLimiter, TokenBucket
from qpq.discovery.trickle import DOUBLINGS, REDUNDANCY, SHORTEST, Trickle


def sent(timer: Trickle, until: float) -> list[float]:
    times = []
    while timer.at < until:
        at = timer.at
        if timer.poll(at):
            times.append(at)
    return times


def test_the_first_message_comes_in_the_second_half_of_the_shortest_interval() -> None:
    for value in (0.0, 0.5, 0.999):
        timer = Trickle(100.0, lambda value=value: value)
        assert 100 + SHORTEST / 2 <= timer.at < 100 + SHORTEST


def test_intervals_double_up_to_about_seventeen_minutes() -> None:
    timer = Trickle(0.0, seeded(1).random)
    intervals = []
    while len(intervals) < 14:
        if not intervals or intervals[-1] != timer.interval:
            intervals.append(timer.interval)
        elif timer.interval == SHORTEST * 2**DOUBLINGS:
            break
        timer.poll(timer.at)
    assert intervals == [0.5 * 2**n for n in range(12)]
    assert intervals[-1] == 1024


def test_in_a_stable_neighbourhood_no_two_messages_fall_in_one_minute() -> None:
    timer = Trickle(0.0, seeded(2).random)
    times = sent(timer, 86_400)
    settled = [at for at in times if at > 256]
    assert all(later - earlier > 60 for earlier, later in pairwise(settled))
    assert len([at for at in times if at < 10]) >= 4
    assert len(times) < 100


def test_whoever_heard_enough_keeps_silent_for_that_interval_only() -> None:
    timer = Trickle(0.0, lambda: 0.5)
    for _ in range(REDUNDANCY):
        timer.consistent()
    assert not timer.poll(timer.at)
    timer.poll(timer.at)
    for _ in range(REDUNDANCY - 1):
        timer.consistent()
    assert timer.poll(timer.at)


def test_a_reset_begins_anew_but_not_while_the_shortest_interval_runs() -> None:
    timer = Trickle(0.0, lambda: 0.5)
    at = timer.at
    timer.reset(0.1)
    assert timer.at == at
    sent(timer, 5000)
    timer.reset(5000)
    assert (timer.interval, timer.at) == (SHORTEST, 5000 + SHORTEST * 0.75)


def test_intervals_missed_in_a_pause_are_not_made_up_for() -> None:
    timer = Trickle(0.0, lambda: 0.5)
    assert timer.poll(10_000.0)
    assert timer.at > 10_000
    assert not timer.poll(10_000.0)


def test_polling_too_early_does_nothing() -> None:
    timer = Trickle(0.0, lambda: 0.5)
    assert not timer.poll(0.1)
    assert timer.at == SHORTEST * 0.75


def test_a_bucket_allows_a_burst_then_the_rate_and_time_running_backwards_adds_nothing() -> None:
    bucket = TokenBucket(rate=2.0, burst=3.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(100.5) for _ in range(2)] == [True, False]
    assert not bucket.take(50.0)
    assert not bucket.take(50.4)
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]


def test_each_source_has_its_own_bucket_and_the_idle_ones_are_forgotten_first() -> None:
    limiter = SourceLimiter(rate=0.0, burst=1.0)
    assert limiter.take("a", 0.0)
    assert not limiter.take("a", 0.0)
    for n in range(MAX_SOURCES - 1):
        assert limiter.take(n, 0.0)
    assert not limiter.take("a", 0.0)
    assert limiter.take("new", 0.0)
    assert len(limiter) == MAX_SOURCES
    assert not limiter.take("a", 0.0)
    assert limiter.take(0, 0.0)

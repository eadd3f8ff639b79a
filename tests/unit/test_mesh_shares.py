"""Shares: the greedy leave room for the modest."""

from __future__ import annotations

from qpq.mesh.shares import Shares

RATE, DEPTH = 4.0, 64.0


def served(shares: Shares, rates: dict[int, float], seconds: int = 400) -> dict[int, float]:
    """Return the part of what each source wants that it gets; ``rates`` a second."""
    got, wanted = dict.fromkeys(rates, 0), dict.fromkeys(rates, 0)
    due = dict.fromkeys(rates, 0.0)
    for step in range(seconds * 20):
        now = step / 20
        for source, rate in rates.items():
            while due[source] <= now:
                due[source] += 1 / rate
                wanted[source] += 1
                got[source] += shares.take(source, now)
    return {source: got[source] / wanted[source] for source in rates}


def test_one_that_takes_all_it_can_gets_half() -> None:
    part = served(Shares(RATE, DEPTH), {1: 20.0})[1]
    assert 0.45 * RATE < part * 20 < 0.6 * RATE


def test_the_modest_get_everything_beside_the_greedy() -> None:
    parts = served(Shares(RATE, DEPTH), {1: 20.0, 2: 20.0, 3: 0.25, 4: 0.05})
    assert parts[3] == parts[4] == 1
    assert 20 * (parts[1] + parts[2]) < RATE
    assert abs(parts[1] - parts[2]) < 0.02


def test_beside_ever_so_many_greedy_ones_who_asks_rarely_gets_an_answer() -> None:
    parts = served(Shares(RATE, DEPTH), {**dict.fromkeys(range(100), 5.0), 200: 0.02}, 200)
    assert parts[200] == 1


def test_a_source_that_is_gone_begins_anew_but_what_it_added_drains_as_ever() -> None:
    shares = Shares(RATE, DEPTH)
    while shares.take(1, 0.0):
        pass
    shares.forget(1)
    shares.forget(2)
    taken = 0
    while shares.take(1, 0.0):
        taken += 1
    assert 10 < taken < 20, "half of what was left"
    assert shares.take(1, 60.0)

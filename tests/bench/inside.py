"""Like for like: qpq and LXMF, each driven inside its own process, in rounds that take turns.

Both pairs stand beside each other all the time, and each round of one is followed by a round of
the other, so that what else the machine does meets both. A figure is the median of its rounds;
the ratio is the median of qpq's figure by LXMF's of the same turn.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from typing import TYPE_CHECKING

import lxmf_side
import qpq_inside
from figures import Row

if TYPE_CHECKING:
    from pathlib import Path

    from driven import DrivenPair
    from figures import Burst
    from rig import Host

ROUNDS = 5
STALL = 1.0  # seconds for one message that nothing should hold up
WARM = 50  # messages before the first round: they set things up
ENDS = "each driven in its own process"
TIMES = {"32": 5.0}
"""How many times LXMF's messages per second are asked for, by messages in flight; elsewhere more than it has."""
KINDS = (
    ("messages_per_s", "messages, median round", "1/s", "more"),
    ("p50_ms", "receipt after, p50", "ms", "less"),
    ("p99_ms", "receipt after, p99", "ms", "less"),
    ("cpu_ms_per_message", "processor time of both ends, a message", "ms", "less"),
    ("link_bytes_per_message", "Ethernet bytes both ways, a message", "B", "less"),
)

Summary = dict[str, float | int | None]
Rounds = dict[str, list[Summary]]
"""Rounds by the number of messages in flight."""


def measure(
    ends: tuple[Host, Host],
    folder: Path,
    python: Path | None,
    *,
    ipv6: bool,
    flights: tuple[int, ...],
    count: int,
    seconds: float,
    size: int,
) -> dict[str, Rounds]:
    """Return the rounds of ``qpq``, and of ``lxmf`` where its ``python`` is there."""
    with ExitStack() as stack:
        pairs: dict[str, DrivenPair] = {}
        pairs["qpq"] = stack.enter_context(qpq_inside.pair(ends, folder, ipv6=ipv6))
        if python is not None:
            pairs["lxmf"] = stack.enter_context(lxmf_side.pair(python, ends, folder / "lxmf", ipv6=ipv6))
        return in_turns(pairs, flights=flights, count=count, seconds=seconds, size=size)


def in_turns(
    pairs: dict[str, DrivenPair], *, flights: tuple[int, ...], count: int, seconds: float, size: int
) -> dict[str, Rounds]:
    """Return the rounds of each pair, of which one takes its turn after the other."""
    for pair in pairs.values():
        pair.burst(WARM, 1, seconds, size)
    found: dict[str, Rounds] = {name: {} for name in pairs}
    for flight in flights:
        for _ in range(ROUNDS):
            for name, pair in pairs.items():
                burst: Burst = pair.burst(count, flight, seconds, size)
                stalled = burst.unfinished > 0 or max(burst.latencies, default=0.0) > STALL
                found[name].setdefault(str(flight), []).append({**burst.summary(), "stalled": stalled})
    return found


def rows(
    ours: Rounds, theirs: Rounds | None, label: str, kinds: tuple[tuple[str, str, str, str], ...] = KINDS
) -> list[Row]:
    """Put the medians side by side, with their ratio; last how many times LXMF's messages there are."""
    found = []
    for flight, rounds in ours.items():
        others = (theirs or {}).get(flight, [])
        for key, text, unit, better in kinds:
            name = f"{text}; {flight} in flight, {label}, {ENDS}"
            if key == "messages_per_s":
                best = f"messages, best round; {flight} in flight, {label}, {ENDS}"
                stalls = f"rounds that stalled: {_stalls(rounds)} of qpq, {_stalls(others)} of LXMF"
                found.append(Row(best, unit, better, _best(rounds, key), _best(others, key), stalls))
            found.append(
                Row(name, unit, better, _median(rounds, key), _median(others, key), _ratio(rounds, others, key))
            )
        if others:
            found.append(_goal(rounds, others, flight, f"{flight} in flight, {label}, {ENDS}"))
    return found


def _goal(ours: list[Summary], theirs: list[Summary], flight: str, label: str) -> Row:
    """Hold the messages per second against what is asked: more than LXMF's at 1 in flight, ``TIMES`` as many at 32."""
    rate = KINDS[0][0]
    times = statistics.median(_ratios(ours, theirs, rate) or [0.0])
    least = TIMES.get(flight, 1.0)
    verdict = "reached" if times >= least else "missed"
    return Row(f"messages per second by LXMF's; {label}", "x", "more", times, None, f"goal x{least:.0f}: {verdict}")


def _stalls(rounds: list[Summary]) -> int:
    return sum(bool(one["stalled"]) for one in rounds)


def _best(rounds: list[Summary], key: str) -> float | None:
    return max((value for one in rounds if (value := one[key]) is not None), default=None)


def _median(rounds: list[Summary], key: str) -> float | None:
    values = [value for one in rounds if (value := one[key]) is not None]
    return statistics.median(values) if values else None


def _ratio(ours: list[Summary], theirs: list[Summary], key: str) -> str:
    ratios = _ratios(ours, theirs, key)
    if not ratios:
        return ""
    return f"x{statistics.median(ratios):.2f} (x{min(ratios):.2f} to x{max(ratios):.2f}, {len(ratios)} rounds)"


def _ratios(ours: list[Summary], theirs: list[Summary], key: str) -> list[float]:
    return [mine / other for one, two in zip(ours, theirs, strict=False) if (mine := one[key]) and (other := two[key])]

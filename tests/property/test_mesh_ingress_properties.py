"""What envelopes cost that bring nothing is bounded by sender and by link, and those below hold up nobody."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from qpq.crypto.identity import Address
from qpq.mesh.ingress import Allowances, Standing
from qpq.mesh.limits import Limits

LIMITS = Limits(vain_rate=2.0, vain_burst=12, vain_sender_percent=25, vain_senders=3)
PART = LIMITS.vain_sender_percent / 100
MOST = 5
"""What one failure costs at most: a signature and four sessions."""

senders = st.integers(0, 9).map(lambda number: Address(bytes((number,)) * 32))
standings = st.sampled_from(Standing)
waits = st.sampled_from([0.0, 0.0, 0.1, 0.7, 3.0])
arrivals = st.lists(st.tuples(waits, senders, standings, st.integers(1, MOST)), max_size=200)


@given(arrivals)
def test_a_link_costs_no_more_than_its_allowances_whoever_sends(
    script: list[tuple[float, Address, Standing, int]],
) -> None:
    allowances, now = Allowances(LIMITS), 0.0
    spent: Counter[Standing] = Counter()
    for wait, sender, standing, cost in script:
        now += wait
        if allowances.admits(sender, standing, now):
            allowances.charge(sender, standing, cost, now)
            spent[standing] += cost
        for level in Standing:
            kinds = level + 1
            allowed = kinds * (LIMITS.vain_burst + LIMITS.vain_rate * now + MOST)
            assert sum(spent[below] for below in Standing if below <= level) <= allowed
        assert all(len(each.senders) <= LIMITS.vain_senders for each in allowances._by_standing.values())


@given(arrivals)
def test_one_sender_costs_no_more_than_its_part_of_them(script: list[tuple[float, Address, Standing, int]]) -> None:
    allowances, now, spent = Allowances(LIMITS), 0.0, 0
    sender = Address(b"?" * 32)
    for wait, _, _, cost in script:
        now += wait
        if allowances.admits(sender, Standing.KNOWN, now):
            allowances.charge(sender, Standing.KNOWN, cost, now)
            spent += cost
        assert spent <= PART * (LIMITS.vain_burst + LIMITS.vain_rate * now) + MOST


@given(arrivals, senders, st.sampled_from([Standing.KNOWN, Standing.FRIEND]))
def test_nobody_is_held_up_by_those_below(
    script: list[tuple[float, Address, Standing, int]], sender: Address, standing: Standing
) -> None:
    allowances, now = Allowances(LIMITS), 0.0
    for wait, other, below, cost in script:
        now += wait
        if below < standing and allowances.admits(other, below, now):
            allowances.charge(other, below, cost, now)
        assert allowances.admits(sender, standing, now)

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from qpq.wire.errors import WireError
from qpq.wire.frames_mesh import MAX_RANGES
from qpq.wire.reconcile import Items, initiate, respond

SALTS = st.binary(min_size=8, max_size=8)
NEAR = st.integers(0, 400).map(lambda number: number.to_bytes(16, "big"))
WIDE = st.integers(0, 400).map(lambda number: (number * 0x9E37_79B9_7F4A_7C15 % 2**128).to_bytes(16, "little"))
SPARSE = st.sampled_from([bytes(at) + b"\x01" + bytes(15 - at) for at in range(16)] + [bytes(16), b"\xff" * 16])
IDS = st.one_of(NEAR, WIDE, SPARSE, st.binary(min_size=16, max_size=16))
SETS = st.one_of(
    st.sets(IDS, max_size=60),
    st.tuples(st.integers(0, 400), st.integers(0, 400)).map(
        lambda ends: {number.to_bytes(16, "big") for number in range(*ends)}
    ),
)


def reconcile(ours: set[bytes], theirs: set[bytes], salt: bytes) -> tuple[set[bytes], set[bytes]]:
    """Run to the end: what each side alone has, each id told once and to one end."""
    ends = [Items(ours), Items(theirs)]
    only: tuple[list[bytes], list[bytes]] = ([], [])
    message = initiate(ends[0], salt)
    for count in range(1, 400):
        assert 0 < len(message) <= MAX_RANGES
        end = count % 2
        step = respond(ends[end], message)
        only[end].extend(step.have)
        only[1 - end].extend(step.need)
        message = step.reply
        if not message:
            break
    assert message == b""
    assert len(set(only[0])) == len(only[0])
    assert len(set(only[1])) == len(only[1])
    return set(only[0]), set(only[1])


@given(SETS, SETS, SALTS)
@settings(deadline=None, max_examples=200)
def test_any_two_sets_converge_and_each_difference_is_told_once(
    ours: set[bytes], theirs: set[bytes], salt: bytes
) -> None:
    assert reconcile(ours, theirs, salt) == (ours - theirs, theirs - ours)


@given(SETS, SETS, SETS, SALTS)
@settings(deadline=None)
def test_two_sets_with_much_in_common_converge(
    common: set[bytes], ours: set[bytes], theirs: set[bytes], salt: bytes
) -> None:
    assert reconcile(common | ours, common | theirs, salt) == (ours - theirs - common, theirs - ours - common)


@given(SETS, st.binary(max_size=MAX_RANGES + 5))
@settings(deadline=None, max_examples=300)
def test_any_bytes_get_an_answer_that_fits_or_a_named_fault(ids: set[bytes], message: bytes) -> None:
    items = Items(ids)
    with contextlib.suppress(WireError):
        step = respond(items, message)
        assert len(step.reply) <= MAX_RANGES
        assert ids.issuperset(step.have)
        assert ids.isdisjoint(step.need)
        if step.reply:
            respond(Items(), step.reply)


@given(SETS, SETS, SALTS, st.data())
@settings(deadline=None, max_examples=200)
def test_a_changed_message_of_a_run_gets_an_answer_that_fits_or_a_named_fault(
    ours: set[bytes], theirs: set[bytes], salt: bytes, data: st.DataObject
) -> None:
    ends = [Items(ours), Items(theirs)]
    message = initiate(ends[0], salt)
    for count in range(1, 6):
        changed = bytearray(message)
        changed[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(WireError):
            step = respond(ends[count % 2], bytes(changed))
            assert len(step.reply) <= MAX_RANGES
        message = respond(ends[count % 2], message).reply
        if not message:
            break


class Sorted(RuleBasedStateMachine):
    """The container against a plain set."""

    def __init__(self) -> None:
        super().__init__()
        self.items = Items()
        self.model: set[bytes] = set()

    @rule(short_id=IDS)
    def add(self, short_id: bytes) -> None:
        self.items.add(short_id)
        self.model.add(short_id)

    @rule(short_id=IDS)
    def remove(self, short_id: bytes) -> None:
        self.items.remove(short_id)
        self.model.discard(short_id)

    @rule(bound=st.binary(max_size=17))
    def rank(self, bound: bytes) -> None:
        assert self.items.rank(bound) == sum(short_id < bound for short_id in self.model)

    @invariant()
    def holds_the_ids_in_order(self) -> None:
        assert self.items.between(0, len(self.items)) == tuple(sorted(self.model))
        assert all(short_id in self.items for short_id in self.model)
        again = Items(self.model)
        assert again.fingerprint(b"", 0, len(again)) == self.items.fingerprint(b"", 0, len(self.items))


Sorted.TestCase.settings = settings(deadline=None, max_examples=40, stateful_step_count=30)
TestSorted = Sorted.TestCase

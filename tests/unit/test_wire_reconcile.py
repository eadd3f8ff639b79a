from __future__ import annotations

import random

import pytest

from qpq.wire.errors import FieldError, NotShortestError, TooLongError, TruncatedError, WireError
from qpq.wire.frames_mesh import MAX_RANGES
from qpq.wire.reconcile import Items, initiate, respond

SALT = b"saltsalt"
SKIP, FINGERPRINT, LIST = range(3)
NO_END = 17


def short_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def drawn(count: int, seed: int = 1) -> list[bytes]:
    chance = random.Random(seed)  # noqa: S311 (no secret)
    return [chance.randbytes(16) for _ in range(count)]


def run(ours: Items, theirs: Items, salt: bytes = SALT) -> tuple[int, int, set[bytes], set[bytes]]:
    """Reconcile two sets: messages, their bytes, and the ids that only the one and the other has."""
    ends = [ours, theirs]
    only: tuple[set[bytes], set[bytes]] = (set(), set())
    message = initiate(ours, salt)
    count = size = 0
    while message:
        assert len(message) <= MAX_RANGES
        count += 1
        size += len(message)
        assert count < 2000
        end = count % 2
        step = respond(ends[end], message)
        assert only[end].isdisjoint(step.have)
        only[end].update(step.have)
        only[1 - end].update(step.need)
        message = step.reply
    return count, size, only[0], only[1]


def head(mode: int, bound: bytes | None) -> bytes:
    return bytes([NO_END << 2 | mode]) if bound is None else bytes([len(bound) << 2 | mode]) + bound


def test_ids_are_kept_in_order_and_once() -> None:
    items = Items([short_id(9), short_id(2), short_id(9)])
    for number in (5, 2, 1, 12):
        items.add(short_id(number))
    assert items.between(0, len(items)) == tuple(map(short_id, (1, 2, 5, 9, 12)))
    items.remove(short_id(5))
    items.remove(short_id(6))
    assert items.between(0, len(items)) == tuple(map(short_id, (1, 2, 9, 12)))
    assert short_id(9) in items
    assert short_id(5) not in items
    assert short_id(99) not in items


def test_an_id_of_another_length_is_refused() -> None:
    with pytest.raises(FieldError):
        Items([b"x" * 15])
    with pytest.raises(FieldError):
        Items().add(b"x" * 17)


def test_equal_sets_cost_one_short_message() -> None:
    for ids in ([], drawn(1), drawn(10_000)):
        count, size, ours, theirs = run(Items(ids), Items(ids))
        assert (count, ours, theirs) == (1, set(), set())
        assert size <= 17


def test_a_newcomer_learns_in_one_step_that_the_other_has_everything() -> None:
    ids = drawn(1000)
    step = respond(Items(ids), initiate(Items(), SALT))
    assert step.reply == b""
    assert step.have == tuple(sorted(ids))
    assert step.need == ()


def test_the_other_tells_all_to_a_newcomer_in_two_steps() -> None:
    ids = drawn(1000)
    count, size, ours, theirs = run(Items(ids), Items())
    assert (count, ours, theirs) == (2, set(ids), set())
    assert size <= 30


def test_ids_that_differ_in_the_last_bit_only_are_told_apart() -> None:
    ids = [short_id(number) for number in range(2000)]
    _, _, ours, theirs = run(Items(ids[:-1]), Items(ids[1:]))
    assert (ours, theirs) == ({ids[0]}, {ids[-1]})


def test_two_sets_with_nothing_in_common_are_told_in_full_over_many_messages() -> None:
    left, right = drawn(700), drawn(900, seed=2)
    count, _, ours, theirs = run(Items(left), Items(right))
    assert (ours, theirs) == (set(left), set(right))
    assert count > 10


def test_the_fingerprint_depends_on_the_salt_so_that_nobody_can_prepare_a_collision() -> None:
    items = Items(drawn(10))
    assert initiate(items, b"a" * 8)[8:] != initiate(items, b"b" * 8)[8:]
    with pytest.raises(FieldError):
        initiate(items, b"short")


def test_the_ends_agree_however_the_salt_collides_later() -> None:
    ids = drawn(300)
    for salt in (bytes(8), b"\xff" * 8):
        assert run(Items(ids[1:]), Items(ids), salt)[2:] == (set(), {ids[0]})


@pytest.mark.parametrize(
    ("total", "difference", "most", "steps"),
    [
        (1000, 1, 360, 5),
        (1000, 10, 200, 8),
        (1000, 100, 130, 24),
        (10_000, 1, 500, 6),
        (10_000, 10, 310, 9),
        (10_000, 100, 230, 38),
    ],
)
def test_the_bytes_for_one_difference_are_bounded(total: int, difference: int, most: int, steps: int) -> None:
    for seed in range(3):
        ids = drawn(total, seed)
        common, differing = ids[difference:], ids[:difference]
        half = difference // 2
        count, size, ours, theirs = run(Items(common + differing[:half]), Items(common + differing[half:]))
        assert ours | theirs == set(differing)
        assert size <= most * difference
        assert count <= steps


def test_a_set_that_changes_between_the_steps_is_no_fault() -> None:
    ids = drawn(2000)
    ours, theirs = Items(ids[:1900]), Items(ids[100:])
    ends = [ours, theirs]
    message = initiate(ours, SALT)
    for count in range(1, 200):
        step = respond(ends[count % 2], message)
        for number in step.have:
            ends[1 - count % 2].add(number)
        for number in step.need:
            ends[count % 2].add(number)
        ours.add(short_id(count))
        theirs.remove(ids[count])
        message = step.reply
        if not message:
            break
    assert message == b""


def test_a_list_with_more_and_less_than_the_own_ids_tells_both() -> None:
    items = Items(map(short_id, (1, 2, 3)))
    message = SALT + head(LIST, None) + b"\x02" + short_id(2) + short_id(7)
    step = respond(items, message)
    assert step.have == (short_id(1), short_id(3))
    assert step.need == (short_id(7),)
    assert step.reply == b""


def test_a_range_that_is_skipped_is_not_compared() -> None:
    items = Items(map(short_id, (1, 2, 3)))
    message = SALT + head(SKIP, short_id(2)) + head(LIST, short_id(3)) + b"\x01" + short_id(2)
    assert respond(items, message).have == ()
    assert respond(items, message).reply == b""


def test_what_has_no_room_is_asked_about_again() -> None:
    ids = drawn(4000)
    parts = [(1 + at).to_bytes(1, "big") for at in range(0, 160, 2)]
    message = SALT + b"".join(head(FINGERPRINT, bound) + bytes(8) for bound in parts)
    reply = respond(Items(ids), message).reply
    assert MAX_RANGES - 250 < len(reply) <= MAX_RANGES
    records = reply[-10:]
    assert records[:2] == head(FINGERPRINT, parts[-1])
    items = Items(ids)
    end = items.rank(parts[-1])
    assert any(records[2:] == items.fingerprint(SALT, start, end) for start in range(end))


def test_what_has_no_room_behind_a_range_that_agrees_is_told_from_its_own_beginning() -> None:
    items = Items(drawn(4000))
    message = SALT
    for at in range(1, 80):
        agrees = items.fingerprint(SALT, items.rank(bytes([2 * at - 2])), items.rank(bytes([2 * at - 1])))
        message += head(FINGERPRINT, bytes([2 * at - 1])) + (agrees if at > 1 else bytes(8))
        if len(message) < 880:
            message += head(SKIP if at % 2 else FINGERPRINT, bytes([2 * at])) + (b"" if at % 2 else bytes(8))
        if len(message) > 880:
            break
    reply = respond(items, message).reply
    assert len(reply) <= MAX_RANGES
    respond(items, reply)


@pytest.mark.parametrize(
    ("ranges", "error"),
    [
        (b"", NotShortestError),
        (head(SKIP, None), NotShortestError),
        (head(SKIP, b"\x01") + head(SKIP, b"\x02") + head(LIST, None) + b"\0", NotShortestError),
        (head(LIST, None) + b"\0" + head(SKIP, None), FieldError),
        (head(LIST, b"\x01") + b"\0" + head(SKIP, b"\x02"), NotShortestError),
        (head(LIST, None) + b"\0" + head(LIST, None) + b"\0", FieldError),
        (head(LIST, b"\x02") + b"\0" + head(LIST, b"\x02") + b"\0", FieldError),
        (head(LIST, b"\x02") + b"\0" + head(LIST, b"\x01") + b"\0", FieldError),
        (head(LIST, b"") + b"\0", FieldError),
        (head(LIST, b"\x02\x00") + b"\0", NotShortestError),
        (head(LIST, b"\x02" * 18) + b"\0", FieldError),
        (head(LIST, b"\x02" * 63) + b"\0", FieldError),
        (head(LIST, b"\x02" * 16)[:-1], TruncatedError),
        (head(LIST, None), TruncatedError),
        (head(LIST, None) + b"\x01" + bytes(15), TruncatedError),
        (head(LIST, None) + b"\xff" + bytes(16), TruncatedError),
        (head(FINGERPRINT, None) + bytes(7), TruncatedError),
        (head(FINGERPRINT, None) + bytes(9), FieldError),
        (head(3, None), FieldError),
        (head(LIST, None) + b"\x02" + short_id(2) * 2, FieldError),
        (head(LIST, None) + b"\x02" + short_id(2) + short_id(1), FieldError),
        (head(SKIP, short_id(5)) + head(LIST, None) + b"\x01" + short_id(4), FieldError),
        (head(LIST, short_id(5)) + b"\x01" + short_id(5), FieldError),
        (head(LIST, b"\x01") + b"\x01" + b"\x01" + bytes(15), FieldError),
    ],
)
def test_a_message_of_another_form_is_refused(ranges: bytes, error: type[WireError]) -> None:
    with pytest.raises(error):
        respond(Items(drawn(20)), SALT + ranges)


def test_the_first_id_of_a_list_may_be_its_lower_bound() -> None:
    message = SALT + head(SKIP, short_id(5)) + head(LIST, short_id(7)) + b"\x02" + short_id(5) + short_id(6)
    assert respond(Items(), message).need == (short_id(5), short_id(6))


def test_a_message_longer_than_a_frame_carries_or_without_a_salt_is_refused() -> None:
    with pytest.raises(TooLongError):
        respond(Items(), bytes(MAX_RANGES + 1))
    for size in range(8):
        with pytest.raises(TruncatedError):
            respond(Items(), bytes(size))


def test_every_cut_of_a_message_is_refused_or_says_less() -> None:
    ids = drawn(400)
    message = respond(Items(ids), initiate(Items(ids[:-9]), SALT)).reply
    for end in range(len(message)):
        try:
            step = respond(Items(), message[:end])
        except WireError:
            continue
        assert len(step.reply) <= MAX_RANGES

from __future__ import annotations

import pytest

from qpq.wire.errors import EmptySlotError, RedundantLiteralError
from qpq.wire.keytable import TABLE_SIZE, KeyTable

A, B = b"a" * 32, b"b" * 32


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_the_ends_of_the_link_are_in_slots_0_and_1_from_the_start() -> None:
    table = KeyTable(A, B)
    assert (table.slot(A), table.slot(B)) == (0, 1)
    assert (table.key(0), table.key(1)) == (A, B)


def test_keys_take_the_slots_from_2_on_in_the_order_they_came() -> None:
    table = KeyTable(A, B)
    for number in range(10):
        assert table.slot(key(number)) is None
        table.insert(key(number))
        assert table.slot(key(number)) == number + 2
        assert table.key(number + 2) == key(number)


def test_the_255th_key_evicts_the_first_and_never_the_ends_of_the_link() -> None:
    table = KeyTable(A, B)
    for number in range(254):
        table.insert(key(number))
    assert table.slot(key(253)) == TABLE_SIZE - 1
    table.insert(key(254))
    assert table.slot(key(0)) is None
    assert table.slot(key(254)) == 2
    for number in range(1000, 2000):
        table.insert(key(number))
    assert (table.slot(A), table.slot(B)) == (0, 1)
    table.insert(key(0))


@pytest.mark.parametrize("slot", [2, 255, 256, 2**64 - 1])
def test_a_reference_to_an_empty_slot_or_beyond_the_table_is_refused(slot: int) -> None:
    with pytest.raises(EmptySlotError):
        KeyTable(A, B).key(slot)


def test_a_key_the_table_holds_is_not_taken_again() -> None:
    table = KeyTable(A, B)
    table.insert(key(1))
    for known in (A, B, key(1)):
        with pytest.raises(RedundantLiteralError):
            table.insert(known)

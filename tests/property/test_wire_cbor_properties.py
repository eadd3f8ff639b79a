from __future__ import annotations

import contextlib

import cbor2
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wire_strategies import VALUES

from qpq.wire import cbor
from qpq.wire.errors import WireError

WIDE = cbor.Limits(depth=64, items=100_000, length=1_000_000)


@given(VALUES)
@settings(deadline=None)
def test_what_is_encoded_decodes_to_the_same_value(value: cbor.Value) -> None:
    decoded = cbor.decode(cbor.encode(value), WIDE)
    assert decoded == value
    assert repr(decoded) == repr(_sorted(value))  # True is not 1


@given(VALUES)
@settings(deadline=None)
def test_an_independent_library_reads_it_alike_and_writes_the_same_bytes(value: cbor.Value) -> None:
    data = cbor.encode(value)
    assert cbor2.loads(data) == value
    assert cbor2.dumps(value, canonical=True) == data


@given(st.binary(max_size=200))
@example(b"\x81\x58\x18" + bytes(24))
@settings(deadline=None, max_examples=500)
def test_bytes_that_are_accepted_are_the_only_encoding_of_their_value(data: bytes) -> None:
    with contextlib.suppress(WireError):
        value = cbor.decode(data, WIDE)
        assert cbor.encode(value) == data
        assert cbor2.loads(data) == value


@given(VALUES, st.data())
@settings(deadline=None)
def test_a_changed_byte_is_refused_or_makes_another_value(value: cbor.Value, data: st.DataObject) -> None:
    encoded = bytearray(cbor.encode(value))
    index = data.draw(st.integers(0, len(encoded) - 1))
    encoded[index] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(WireError):
        changed = cbor.decode(bytes(encoded), WIDE)
        assert cbor.encode(changed) == bytes(encoded)
        assert repr(changed) != repr(_sorted(value))


@given(VALUES, st.data())
@settings(deadline=None)
def test_no_part_of_an_encoding_is_an_encoding(value: cbor.Value, data: st.DataObject) -> None:
    encoded = cbor.encode(value)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    try:
        cbor.decode(encoded[:cut], WIDE)
    except WireError:
        return
    raise AssertionError(f"{encoded[:cut].hex()} was accepted")


def _sorted(value: object) -> object:
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return value

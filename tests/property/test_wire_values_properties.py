from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from wire_strategies import BEACONS, BODIES, ENVELOPES

from qpq.crypto.primitives import tagged_hash
from qpq.wire.beacon import MAX_BEACON, Beacon, decode_beacon, encode_beacon
from qpq.wire.body import AnyBody, decode_body, encode_body
from qpq.wire.cbor import encode
from qpq.wire.envelope import Envelope, decode_envelope, encode_envelope, envelope_hash
from qpq.wire.errors import WireError
from qpq.wire.varint import MAX_VARINT, decode_varint, encode_varint

if TYPE_CHECKING:
    from collections.abc import Callable


@given(ENVELOPES)
@settings(deadline=None)
def test_an_envelope_reads_back(envelope: Envelope) -> None:
    assert decode_envelope(encode_envelope(envelope)) == envelope


@given(ENVELOPES)
@settings(deadline=None)
def test_the_packed_hash_is_the_tagged_hash_of_the_fields(envelope: Envelope) -> None:
    assert envelope_hash(envelope) == tagged_hash(
        b"qpq/1/envelope",
        bytes((envelope.element0,)),
        envelope.sender,
        envelope.recipient,
        envelope.ttl.to_bytes(4, "big"),
        bytes((envelope.max_hops,)),
        envelope.timestamp.to_bytes(8, "big"),
        envelope.payload,
    )


@given(BODIES)
@settings(deadline=None)
def test_a_body_reads_back(body: AnyBody) -> None:
    assert decode_body(encode_body(body)) == body


@given(BEACONS)
@settings(deadline=None)
def test_a_beacon_reads_back_and_stays_small(beacon: Beacon) -> None:
    assert decode_beacon(encode_beacon(beacon)) == beacon
    assert len(encode_beacon(beacon)) <= MAX_BEACON


ITEMS = st.one_of(
    st.integers(0, 2**40),
    st.booleans(),
    st.sampled_from([0, 1, 5, 8, 10, b"qpq", bytes(16), bytes(32), bytes(64), "x"]),
    st.binary(max_size=70),
    st.text(max_size=20),
)


@given(st.lists(ITEMS, max_size=10).map(encode) | st.binary(max_size=120))
@settings(deadline=None, max_examples=400)
def test_bytes_that_are_accepted_are_the_only_form_of_their_value(data: bytes) -> None:
    codecs: list[tuple[Callable[[bytes], object], Callable[[object], bytes]]] = [
        (decode_envelope, encode_envelope),  # type: ignore[list-item]
        (decode_body, encode_body),  # type: ignore[list-item]
        (decode_beacon, encode_beacon),  # type: ignore[list-item]
    ]
    for decode, write in codecs:
        with contextlib.suppress(WireError):
            assert write(decode(data)) == data


@given(st.one_of(ENVELOPES.map(encode_envelope), BODIES.map(encode_body), BEACONS.map(encode_beacon)), st.data())
@settings(deadline=None, max_examples=300)
def test_a_changed_byte_is_refused_or_makes_another_value(data: bytes, draw: st.DataObject) -> None:
    index = draw.draw(st.integers(0, len(data) - 1))
    changed = data[:index] + bytes((data[index] ^ draw.draw(st.integers(1, 255)),)) + data[index + 1 :]
    for decode in (decode_envelope, decode_body, decode_beacon):
        with contextlib.suppress(WireError):
            value = decode(changed)
            with contextlib.suppress(WireError):
                assert decode(data) != value


@given(st.integers(0, MAX_VARINT) | st.sampled_from([63, 64, 2**14 - 1, 2**14, 2**30 - 1, 2**30]))
def test_a_length_reads_back(value: int) -> None:
    data = encode_varint(value)
    assert decode_varint(data, 0) == (value, len(data))


@given(st.binary(min_size=8, max_size=8))
def test_a_length_that_is_accepted_has_one_form(data: bytes) -> None:
    with contextlib.suppress(WireError):
        found = decode_varint(data, 0)
        assert found is not None
        assert encode_varint(found[0]) == data[: found[1]]

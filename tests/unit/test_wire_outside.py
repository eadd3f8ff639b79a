"""What relays hand each other: one form for each kind, strict about everything that is not of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpq.crypto.identity import SecretIdentity
from qpq.wire.cbor import encode
from qpq.wire.envelope import Envelope, Mode, encode_envelope, envelope_hash, envelope_id, sign_envelope
from qpq.wire.errors import FieldError, ShapeError, UnknownBodyError, WireError
from qpq.wire.outside import (
    MAX_REASON,
    OutsideBroadcast,
    OutsideEnvelope,
    OutsideReceipt,
    OutsideRefusal,
    decode_outside,
    encode_outside,
)
from qpq.wire.receipts import commitment

A, B = "aachen.example", "berlin.example"
SECRET = b"s" * 16


def envelope() -> Envelope:
    anna, ben = SecretIdentity(b"a" * 32), SecretIdentity(b"b" * 32)
    return sign_envelope(
        anna, recipient=ben.address, ttl=60, max_hops=5, timestamp=0, commitment=commitment(SECRET), payload=b"sealed"
    )


VALUES = [
    OutsideEnvelope(B, A, b"bytes"),
    OutsideReceipt(A, B, SECRET, b"h" * 32),
    OutsideRefusal(A, B, b"i" * 32, "nobody of that name"),
    OutsideBroadcast(B, A, b"bytes"),
]


@pytest.mark.parametrize("value", VALUES)
def test_what_is_written_is_read(value: OutsideEnvelope) -> None:
    payload = encode_outside(value)
    assert payload[0] == VALUES.index(value)
    assert decode_outside(payload) == value


def test_each_kind_names_the_envelope_it_is_about() -> None:
    sent = envelope()
    assert OutsideEnvelope(B, A, encode_envelope(sent)).message_id == envelope_id(sent)
    assert OutsideBroadcast(B, A, encode_envelope(sent)).message_id == envelope_id(sent)
    assert OutsideReceipt(A, B, SECRET, envelope_hash(sent)).message_id == envelope_id(sent)
    assert Mode(sent.mode) is sent.mode


def test_a_reason_is_cut_to_what_is_read() -> None:
    long = OutsideRefusal(A, B, b"i" * 32, "ä" * MAX_REASON)
    found = decode_outside(encode_outside(long))
    assert isinstance(found, OutsideRefusal)
    assert found.reason == "ä" * (MAX_REASON // 2)


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", UnknownBodyError),
        (b"\x04", UnknownBodyError),
        (b"\x00", WireError),
        (b"\x00" + encode([B, A, b"x", b"y"]), ShapeError),
        (b"\x01" + encode([B, A, b"x"]), ShapeError),
        (b"\x02" + encode([B, A, b"x", 5]), ShapeError),
        (b"\x00" + encode(7), ShapeError),
        (b"\x00" + encode(["", A, b"x"]), FieldError),
        (b"\x00" + encode([B, "A.example", b"x"]), FieldError),
        (b"\x01" + encode([B, A, b"s" * 15, b"h" * 32]), FieldError),
        (b"\x01" + encode([B, A, b"s" * 16, b"h" * 31]), FieldError),
        (b"\x02" + encode([B, A, b"i" * 31, "why"]), FieldError),
        (b"\x02" + encode([B, A, b"i" * 32, "w" * 201]), FieldError),
        (b"\x02" + encode([B, A, b"i" * 32, "\x1b[2J"]), FieldError),
    ],
)
def test_whatever_is_not_as_it_must_be_is_refused(payload: bytes, fault: type[WireError]) -> None:
    with pytest.raises(fault):
        decode_outside(payload)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(payload: bytes) -> None:
    try:
        value = decode_outside(payload)
    except WireError:
        return
    assert encode_outside(value) == payload


@given(st.binary(max_size=100), st.sampled_from([A, B, "a", "x-1.y"]))
def test_every_envelope_comes_back(data: bytes, domain: str) -> None:
    value = OutsideEnvelope(domain, A, data)
    assert decode_outside(encode_outside(value)) == value

from __future__ import annotations

import pytest

from qpq.crypto.identity import SecretIdentity
from qpq.crypto.sealing import seal
from qpq.wire import cbor
from qpq.wire.body import MAX_TEXT, Body, decode_body, encode_body
from qpq.wire.envelope import MAX_PAYLOAD
from qpq.wire.errors import FieldError, ShapeError, TrailingBytesError, UnknownBodyError, WireError

S = b"s" * 16
M = b"m" * 16


def test_a_first_sending_carries_no_message_id_of_its_own() -> None:
    body = Body(S, "hallo", S)
    assert encode_body(body) == cbor.encode([0, S, "hallo"])
    assert decode_body(encode_body(body)) == body


def test_a_resend_keeps_the_message_id_under_a_new_secret() -> None:
    body = Body(S, "hallo", M)
    assert encode_body(body) == cbor.encode([0, S, "hallo", M])
    assert decode_body(encode_body(body)) == body


def test_the_longest_text_fits_a_payload_once_sealed() -> None:
    plaintext = encode_body(Body(S, "ü" * (MAX_TEXT // 2), M))
    recipient = SecretIdentity(b"b" * 32)
    sealed = seal(plaintext, sender=recipient.address, recipient=recipient.address, entropy=bytes(32))
    assert len(sealed) <= MAX_PAYLOAD
    assert len(decode_body(plaintext).text.encode()) == MAX_TEXT


@pytest.mark.parametrize(
    ("secret", "text", "message_id"),
    [(S[1:], "", S), (S, "", S + b"x"), (S, "x" * (MAX_TEXT + 1), S), (S, "\udc80", S), (S, "ü" * 20_000, S)],
)
def test_a_body_that_does_not_fit_the_wire_cannot_be_made(secret: bytes, text: str, message_id: bytes) -> None:
    with pytest.raises(FieldError):
        Body(secret, text, message_id)


@pytest.mark.parametrize(
    ("items", "error"),
    [
        ([1, S, "later"], UnknownBodyError),
        ([9], UnknownBodyError),
        ([0, S, "x", S], ShapeError),
        ([0, S, b"x"], ShapeError),
        ([0, S], ShapeError),
        ([0, S, "x", M, 0], WireError),
        ([0, S, "x", 1], ShapeError),
        ([False, S, "x"], ShapeError),
        ([], ShapeError),
        ({}, ShapeError),
        (S, ShapeError),
        ([0, S[1:], "x"], FieldError),
        ([0, S, "x", M[1:]], FieldError),
        ([0, S, "x" * (MAX_TEXT + 1)], FieldError),
    ],
)
def test_a_body_of_another_shape_is_refused(items: cbor.Value, error: type[WireError]) -> None:
    with pytest.raises(error):
        decode_body(cbor.encode(items))


def test_padding_after_a_body_is_refused() -> None:
    with pytest.raises(TrailingBytesError):
        decode_body(encode_body(Body(S, "hallo", S)) + b"\0")

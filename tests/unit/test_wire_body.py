from __future__ import annotations

import pytest

from qpq.crypto import channels, prekeys, sealing, sessions
from qpq.wire import cbor
from qpq.wire.body import (
    MAX_BUNDLE,
    MAX_TEXT,
    PADDING_STEP,
    AnyBody,
    Body,
    Keys,
    KeysWanted,
    Turn,
    decode_body,
    encode_body,
)
from qpq.wire.envelope import MAX_PAYLOAD
from qpq.wire.errors import FieldError, PaddingError, ShapeError, UnknownBodyError, WireError

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


def test_the_longest_text_fits_a_payload_once_padded_in_any_seal() -> None:
    plaintext = encode_body(Body(S, "ü" * (MAX_TEXT // 2), M), PADDING_STEP)
    for most in (sealing.OVERHEAD, sessions.MAX_OVERHEAD, channels.OVERHEAD):
        assert len(plaintext) + most <= MAX_PAYLOAD
    body = decode_body(plaintext)
    assert isinstance(body, Body)
    assert len(body.text.encode()) == MAX_TEXT


def test_a_bundle_with_all_it_may_have_fits_its_body() -> None:
    assert prekeys.MAX_BUNDLE_BYTES <= MAX_BUNDLE
    assert len(encode_body(Keys(S, bytes(MAX_BUNDLE), bytes(32)))) + sealing.OVERHEAD < MAX_PAYLOAD


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
        ([11, S, "later"], UnknownBodyError),
        ([1, S, "later"], ShapeError),
        ([1], ShapeError),
        ([2, S, b"bundle"], ShapeError),
        ([2, S, b"", b"e" * 32], FieldError),
        ([3, S, S], ShapeError),
        ([3, S[1:]], FieldError),
        ([99], UnknownBodyError),
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


@pytest.mark.parametrize("word", [KeysWanted(S), Keys(S, b"bundle", b"e" * 32), Turn(S)])
def test_words_about_keys_come_back_as_they_were(word: AnyBody) -> None:
    for step in (0, PADDING_STEP):
        assert decode_body(encode_body(word, step)) == word


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (KeysWanted, (S[1:],)),
        (Turn, (S + b"x",)),
        (Keys, (S[1:], b"bundle", b"e" * 32)),
        (Keys, (S, b"", b"e" * 32)),
        (Keys, (S, bytes(MAX_BUNDLE + 1), b"e" * 32)),
        (Keys, (S, b"bundle", b"e" * 31)),
    ],
)
def test_words_about_keys_that_do_not_fit_the_wire_cannot_be_made(
    kind: type[AnyBody], fields: tuple[bytes, ...]
) -> None:
    with pytest.raises(FieldError):
        kind(*fields)


@pytest.mark.parametrize("size", [0, 1, 200, 216, 217, 218, 500, 1000])
def test_a_padded_body_has_a_multiple_of_the_step_and_says_no_more(size: int) -> None:
    data = encode_body(Body(S, "x" * size, S), PADDING_STEP)
    assert len(data) % PADDING_STEP == 0
    assert 1 <= len(data) - len(encode_body(Body(S, "x" * size, S))) <= PADDING_STEP
    assert decode_body(data) == Body(S, "x" * size, S)


def test_anything_after_a_body_but_its_one_padding_is_refused() -> None:
    short = encode_body(Body(S, "hallo", S))
    padded = encode_body(Body(S, "hallo", S), PADDING_STEP)
    space = PADDING_STEP - len(short)
    bad = [
        short + b"\0",
        short + b"\x80",
        short + bytes(space),
        short + b"\x80" + bytes(space - 2) + b"\x01",
        short + b"\x81" + bytes(space - 1),
        short + b"\0\x80" + bytes(space - 2),
        padded[:-1],
        padded + b"\0",
        padded + bytes(PADDING_STEP),
    ]
    for data in bad:
        with pytest.raises(PaddingError):
            decode_body(data)

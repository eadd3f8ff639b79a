"""Short receipts: what came over a link is confirmed over it without its name, and by nothing that was not sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qpq.crypto.identity import SecretIdentity
from qpq.wire.codec import FrameDecoder, FrameEncoder, codecs
from qpq.wire.envelope import Envelope, Mode, envelope_hash, sign_envelope
from qpq.wire.errors import FieldError, ShapeError
from qpq.wire.frames import FEATURES, LEANING, MAX_PROOFS, Hello, Receipt, Role, Skipped, Transfer
from qpq.wire.receipts import MAX_SENT, SentEnvelopes, commitment

ANNA, BERT = (SecretIdentity(name * 32) for name in (b"a", b"b"))
HELLO = Hello(1, 1, FEATURES, 1, 0, False, 0, 0, Role.RELAY, 33_024, 0)
SHORT, SKIPPED = 14, Skipped(14)


def secret(number: int) -> bytes:
    return number.to_bytes(16, "big")


def envelope(number: int, payload: bytes = b"text") -> Envelope:
    return sign_envelope(ANNA, recipient=BERT.address, payload=payload, commitment=commitment(secret(number)))


def proof(number: int, payload: bytes = b"text") -> tuple[bytes, bytes]:
    return secret(number), envelope_hash(envelope(number, payload))


Ends = tuple[FrameEncoder, FrameDecoder]


def linked(near: Hello = HELLO, far: Hello = HELLO) -> tuple[Ends, Ends]:
    """Return both ends of a link after their greeting."""
    ends = codecs(ANNA.identity, BERT.identity), codecs(BERT.identity, ANNA.identity)
    (there, back), hellos = ends, (near, far)
    assert back[1].feed(there[0].encode(hellos[0])) == [hellos[0]]
    assert there[1].feed(back[0].encode(hellos[1])) == [hellos[1]]
    return ends


def test_a_receipt_goes_back_in_20_bytes_instead_of_54() -> None:
    (encoder, decoder), (back, _) = linked()
    encoder.encode(Transfer(0, 1, 0, envelope(1)))
    data = back.encode(Receipt((proof(1),), answers=True))
    assert len(data) == 20
    assert data[2] == SHORT
    assert decoder.feed(data) == [Receipt((proof(1),))]
    assert len(back.encode(Receipt((proof(1),)))) == 54


def test_several_go_back_in_one_frame() -> None:
    (encoder, decoder), (back, _) = linked()
    for number in range(MAX_PROOFS):
        encoder.encode(Transfer(0, 1, 0, envelope(number)))
    proofs = Receipt(tuple(proof(number) for number in reversed(range(MAX_PROOFS))), answers=True)
    assert decoder.feed(back.encode(proofs)) == [proofs]


@pytest.mark.parametrize("features", [0, LEANING])
def test_a_peer_that_does_not_know_them_gets_receipts_as_ever(features: int) -> None:
    _, (back, _) = linked(near=replace(HELLO, features=features))
    receipt = Receipt((proof(1),), answers=True)
    assert back.encode(receipt) == back.encode(Receipt(receipt.proofs))


def test_a_receipt_that_answers_nothing_of_this_link_is_passed_over() -> None:
    (encoder, decoder), (back, _) = linked()
    encoder.encode(Transfer(0, 1, 0, envelope(1)))
    assert decoder.feed(back.encode(Receipt((proof(2),), answers=True))) == [SKIPPED]
    both = Receipt((proof(2), proof(1)), answers=True)
    assert decoder.feed(back.encode(both)) == [Receipt((proof(1),))]


def test_an_answer_counts_once_and_again_when_the_envelope_was_sent_again() -> None:
    (encoder, decoder), (back, _) = linked()
    answer = back.encode(Receipt((proof(1),), answers=True))
    for _ in range(2):
        encoder.encode(Transfer(0, 1, 0, envelope(1)))
        assert decoder.feed(answer) == [Receipt((proof(1),))]
        assert decoder.feed(answer) == [SKIPPED]


def test_what_has_no_receipts_is_not_remembered() -> None:
    (encoder, decoder), (back, _) = linked()
    broadcast = sign_envelope(
        ANNA, recipient=bytes(16), payload=b"x", commitment=commitment(secret(1)), mode=Mode.CHANNEL
    )
    encoder.encode(Transfer(0, 1, 0, broadcast))
    assert decoder.feed(back.encode(Receipt((proof(1),), answers=True))) == [SKIPPED]


def test_before_the_greeting_a_short_receipt_means_nothing() -> None:
    decoder = codecs(ANNA.identity, BERT.identity)[1]
    assert decoder.feed(bytes((19, 0x82, SHORT, 0x50)) + bytes(16)) == [SKIPPED]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"\x81\x0e", FieldError),
        (b"\x92\x0e" + b"\x00" * 17, FieldError),
        (b"\x82\x0e\x05", ShapeError),
        (b"\x82\x0e\x4f" + bytes(15), ShapeError),
        (b"\x83\x0e\x50" + bytes(16) + b"\x58\x20" + bytes(32), ShapeError),
    ],
)
def test_a_short_receipt_of_another_shape_is_refused(body: bytes, error: type[Exception]) -> None:
    (_, decoder), _ = linked()
    with pytest.raises(error):
        decoder.feed(bytes((len(body),)) + body)


def test_only_the_newest_are_remembered() -> None:
    sent = SentEnvelopes()
    for number in range(MAX_SENT + 1):
        sent.add(envelope(number))
    assert sent.prove([secret(0)]) == []
    assert sent.prove([secret(1), secret(MAX_SENT)]) == [proof(1), proof(MAX_SENT)]


def test_one_that_is_sent_again_is_as_good_as_new() -> None:
    sent = SentEnvelopes()
    for number in (*range(MAX_SENT), 0, MAX_SENT):
        sent.add(envelope(number))
    assert sent.prove([secret(0), secret(1)]) == [proof(0)]


def test_a_copied_commitment_does_not_hide_the_envelope_it_was_copied_from() -> None:
    """Who copies the commitment of another's envelope gets that proven as well, which it cannot be without it."""
    sent = SentEnvelopes()
    for payload in (b"copied", b"text"):
        sent.add(envelope(1, payload))
    assert sent.prove([secret(1)]) == [proof(1, b"copied"), proof(1)]


def test_of_many_with_one_commitment_two_are_remembered_and_after_a_receipt_there_is_room_again() -> None:
    sent = SentEnvelopes()
    for payload in (b"1", b"2", b"3", b"text"):
        sent.add(envelope(1, payload))
    assert sent.prove([secret(1)]) == [proof(1, b"1"), proof(1, b"2")]
    sent.add(envelope(1))
    assert sent.prove([secret(1)]) == [proof(1)]


def test_copied_commitments_never_make_more_receipts_than_a_frame_may_have() -> None:
    (encoder, decoder), (back, _) = linked()
    for number in range(MAX_PROOFS):
        encoder.encode(Transfer(0, 1, 0, envelope(number)))
        encoder.encode(Transfer(0, 1, 0, envelope(number, b"copied")))
    [receipt] = decoder.feed(back.encode(Receipt(tuple(proof(number) for number in range(MAX_PROOFS)), answers=True)))
    assert isinstance(receipt, Receipt)
    assert len(receipt.proofs) == MAX_PROOFS

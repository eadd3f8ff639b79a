"""Bodies to and from gateways."""

from __future__ import annotations

import pytest

from qpq.crypto import sessions
from qpq.crypto.identity import Address
from qpq.wire import cbor
from qpq.wire.body import PADDING_STEP, decode_body, encode_body
from qpq.wire.crossing import (
    MAX_INNER,
    MAX_REASON,
    FoundBody,
    InwardBody,
    LookupBody,
    MarkBody,
    OutwardBody,
    ProofBody,
    RefusalBody,
    short_reason,
)
from qpq.wire.domain import MAX_DOMAIN
from qpq.wire.envelope import MAX_PAYLOAD
from qpq.wire.errors import FieldError, ShapeError

S = b"s" * 16
A = Address(b"a" * 32)
H = b"h" * 32
LONGEST = ".".join(["d" * 63] * 3 + ["d" * 61])


@pytest.mark.parametrize("kind", [OutwardBody, InwardBody])
def test_the_largest_inner_envelope_fits_a_payload_padded_and_in_any_seal(
    kind: type[OutwardBody | InwardBody],
) -> None:
    assert len(LONGEST) == MAX_DOMAIN
    plaintext = encode_body(kind(S, LONGEST, bytes(MAX_INNER)), PADDING_STEP)
    assert len(plaintext) + sessions.MAX_OVERHEAD <= MAX_PAYLOAD
    for envelope in (b"", bytes(MAX_INNER + 1)):
        with pytest.raises(FieldError, match="send the text in parts"):
            kind(S, LONGEST, envelope)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (OutwardBody, (S[1:], "berlin", b"x")),
        (InwardBody, (S, "Berlin", b"x")),
        (ProofBody, (S[1:], "berlin", A, S, H)),
        (ProofBody, (S, "", A, S, H)),
        (ProofBody, (S, "berlin", A[1:], S, H)),
        (ProofBody, (S, "berlin", A, S[1:], H)),
        (ProofBody, (S, "berlin", A, S, H[1:])),
        (LookupBody, (S[1:], "anna", "berlin")),
        (LookupBody, (S, "", "berlin")),
        (LookupBody, (S, "anna", "ber lin")),
        (FoundBody, (S[1:], S, A, "", "")),
        (FoundBody, (S, S[1:], A, "", "")),
        (FoundBody, (S, S, A[1:], "", "")),
        (FoundBody, (S, S, A, "-", "")),
        (FoundBody, (S, S, A, "", "\udc80")),
        (FoundBody, (S, S, b"", "", "x" * (MAX_REASON + 1))),
        (RefusalBody, (S[1:], H, "")),
        (RefusalBody, (S, H[1:], "")),
        (RefusalBody, (S, H, "ü" * MAX_REASON)),
        (MarkBody, (S[1:], "berlin", A, S)),
        (MarkBody, (S, "Berlin", A, S)),
        (MarkBody, (S, "berlin", A[1:], S)),
        (MarkBody, (S, "berlin", A, S[1:])),
    ],
)
def test_what_does_not_fit_the_wire_cannot_be_made(kind: type, fields: tuple[object, ...]) -> None:
    with pytest.raises(FieldError):
        kind(*fields)


@pytest.mark.parametrize(
    "items",
    [
        [4, S, b"berlin", b"x"],
        [5, S, "berlin"],
        [6, S, "berlin", A, S],
        [7, S, "anna", "berlin", ""],
        [8, S, S, A, "berlin", b""],
        [9, S, H],
        [10, S, "berlin", A],
    ],
)
def test_another_shape_is_refused(items: cbor.Value) -> None:
    with pytest.raises(ShapeError):
        decode_body(cbor.encode(items))


def test_a_reason_is_cut_between_characters() -> None:
    assert short_reason("no") == "no"
    assert short_reason("x" + "ü" * MAX_REASON) == "x" + "ü" * (MAX_REASON // 2 - 1)
    assert short_reason("\udc80") == "?"

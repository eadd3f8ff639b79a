from __future__ import annotations

import dataclasses
import hashlib

import pytest

from qpq.crypto.identity import Address, SecretIdentity
from qpq.crypto.primitives import tagged_hash
from qpq.wire import cbor
from qpq.wire.envelope import (
    DEFAULT_MAX_HOPS,
    DEFAULT_TTL,
    MAX_ENVELOPE,
    MAX_PAYLOAD,
    MAX_TIME,
    MAX_TTL,
    Envelope,
    Mode,
    decode_envelope,
    encode_envelope,
    envelope_hash,
    envelope_id,
    id_of,
    sign_envelope,
    verify_envelope,
)
from qpq.wire.errors import FieldError, ShapeError, TooLongError, TrailingBytesError, UnknownVersionError, WireError

ANNA = SecretIdentity(b"a" * 32)
BERT = SecretIdentity(b"b" * 32)


def signed(**changes: object) -> Envelope:
    fields: dict[str, object] = {
        "recipient": BERT.address,
        "payload": b"sealed",
        "commitment": b"c" * 16,
        "ttl": 3600,
        "max_hops": 7,
        "timestamp": 1_700_000_000,
    }
    return sign_envelope(ANNA, **(fields | changes))  # type: ignore[arg-type]


def channel() -> Envelope:
    return signed(mode=Mode.CHANNEL, recipient=b"t" * 16)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("urgent", True),
        ("mode", Mode.SEALED_SENDER),
        ("sender", Address(b"x" * 32)),
        ("recipient", b"x" * 32),
        ("ttl", 3601),
        ("max_hops", 8),
        ("timestamp", 0),
        ("commitment", b"x" * 16),
        ("payload", b"sealee"),
        ("payload", b""),
    ],
)
def test_a_change_of_any_signed_field_changes_the_id_and_breaks_the_signature(field: str, value: object) -> None:
    envelope = signed()
    changed = dataclasses.replace(envelope, **{field: value})  # type: ignore[arg-type]
    assert verify_envelope(envelope)
    assert envelope_id(changed) != envelope_id(envelope)
    assert not verify_envelope(changed)


def test_a_changed_signature_does_not_verify_and_leaves_the_id() -> None:
    envelope = signed()
    changed = dataclasses.replace(envelope, signature=envelope.signature[:-1] + b"\0")
    assert envelope_id(changed) == envelope_id(envelope)
    assert not verify_envelope(changed)


def test_an_id_computed_before_serves_for_verifying() -> None:
    envelope = signed()
    assert verify_envelope(envelope, envelope_id(envelope))
    assert not verify_envelope(envelope, bytes(32))


@pytest.mark.parametrize("envelope", [signed(), channel(), signed(urgent=True, timestamp=0, payload=b"p" * 300)])
def test_hash_id_and_signature_are_those_of_the_protocol_description(envelope: Envelope) -> None:
    fields = (
        bytes((8 | envelope.urgent << 2 | envelope.mode,)),
        envelope.sender,
        envelope.recipient,
        envelope.ttl.to_bytes(4, "big"),
        envelope.max_hops.to_bytes(1, "big"),
        envelope.timestamp.to_bytes(8, "big"),
        envelope.payload,
    )
    joined = b"\x0eqpq/1/envelope" + b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    assert envelope_hash(envelope) == hashlib.sha256(joined).digest()
    assert envelope_hash(envelope) == tagged_hash(b"qpq/1/envelope", *fields)
    identifier = tagged_hash(b"qpq/1/id", envelope.commitment, envelope_hash(envelope))
    assert envelope_id(envelope) == identifier == id_of(envelope.commitment, envelope_hash(envelope))
    assert envelope.signature == ANNA.sign(b"qpq/1/sign" + identifier)


def test_max_hops_zero_means_five_and_a_ttl_not_given_is_a_week() -> None:
    envelope = sign_envelope(ANNA, recipient=BERT.address, payload=b"", commitment=bytes(16))
    assert envelope.max_hops == DEFAULT_MAX_HOPS == 5
    assert envelope.ttl == DEFAULT_TTL == 7 * 24 * 3600


@pytest.mark.parametrize("urgent", [False, True])
@pytest.mark.parametrize("mode", list(Mode))
def test_element_0_tells_version_urgency_and_mode(mode: Mode, urgent: bool) -> None:
    recipient = b"t" * 16 if mode == Mode.CHANNEL else BERT.address
    envelope = signed(mode=mode, urgent=urgent, recipient=recipient)
    assert envelope.element0 == 8 + 4 * urgent + mode
    assert decode_envelope(encode_envelope(envelope)) == envelope


def test_the_stored_form_is_an_array_of_nine() -> None:
    envelope = signed()
    assert cbor.decode(encode_envelope(envelope)) == [
        8,
        ANNA.address,
        BERT.address,
        3600,
        7,
        1_700_000_000,
        b"c" * 16,
        b"sealed",
        envelope.signature,
    ]


def test_the_largest_envelope_fits_and_reads_back() -> None:
    envelope = signed(payload=bytes(MAX_PAYLOAD), ttl=MAX_TTL, max_hops=255, timestamp=MAX_TIME)
    data = encode_envelope(envelope)
    assert len(data) == MAX_ENVELOPE
    assert decode_envelope(data) == envelope
    with pytest.raises(TooLongError):
        decode_envelope(data + b"\0")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sender", b"x" * 31),
        ("recipient", b"x" * 16),
        ("recipient", b"x" * 33),
        ("ttl", 0),
        ("ttl", -1),
        ("ttl", MAX_TTL + 1),
        ("max_hops", 0),
        ("max_hops", 256),
        ("timestamp", -1),
        ("timestamp", MAX_TIME + 1),
        ("commitment", b"x" * 15),
        ("payload", bytes(MAX_PAYLOAD + 1)),
        ("signature", b"x" * 63),
        ("mode", Mode.CHANNEL),
    ],
)
def test_an_envelope_that_does_not_fit_the_wire_cannot_be_made(field: str, value: object) -> None:
    with pytest.raises(FieldError):
        dataclasses.replace(signed(), **{field: value})  # type: ignore[arg-type]


def elements(**changes: object) -> list[cbor.Value]:
    names = ("element0", "sender", "recipient", "ttl", "max_hops", "timestamp", "commitment", "payload", "signature")
    values = dict(zip(names, cbor.decode(encode_envelope(signed())), strict=True))  # type: ignore[arg-type]
    return list((values | changes).values())  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("items", "error"),
    [
        (elements(element0=3), UnknownVersionError),
        (elements(element0=11), FieldError),
        (elements(element0=15), FieldError),
        (elements(element0=0), UnknownVersionError),
        (elements(element0=16), UnknownVersionError),
        (elements(element0=b"\x08"), ShapeError),
        (elements(element0=True), ShapeError),
        (elements(sender=1), ShapeError),
        (elements(ttl=True), ShapeError),
        (elements(ttl=0), FieldError),
        (elements(max_hops=256), FieldError),
        (elements(timestamp=2**63), FieldError),
        (elements(payload="text"), ShapeError),
        (elements(recipient=b"t" * 16), FieldError),
        (elements(element0=10), FieldError),
        (elements()[:8], ShapeError),
        (b"", ShapeError),
        ({}, ShapeError),
    ],
)
def test_a_stored_envelope_of_another_shape_is_refused(items: cbor.Value, error: type[WireError]) -> None:
    with pytest.raises(error):
        decode_envelope(cbor.encode(items))


def test_bytes_after_the_envelope_are_refused() -> None:
    with pytest.raises(TrailingBytesError):
        decode_envelope(encode_envelope(signed()) + b"\0")

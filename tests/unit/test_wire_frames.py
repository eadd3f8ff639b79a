from __future__ import annotations

import dataclasses

import pytest

from qpq.crypto.identity import SecretIdentity
from qpq.wire.envelope import sign_envelope
from qpq.wire.errors import FieldError
from qpq.wire.frames import (
    FIRST_NON_CRITICAL,
    MAX_ANSWERS,
    MAX_EXTENSION,
    MAX_EXTENSIONS,
    MAX_PROOFS,
    MAX_REASON,
    Bye,
    Custody,
    CustodyCode,
    FrameType,
    Hello,
    Receipt,
    Role,
    Transfer,
)

HELLO = Hello(1, 1, 0, 7, 1_700_000_000, True, 0, 3, Role.RELAY, 33_024, 2048)
TRANSFER = Transfer(
    0, 8, 0, sign_envelope(SecretIdentity(b"a" * 32), recipient=bytes(32), payload=b"", commitment=bytes(16))
)


def test_every_type_this_version_knows_is_critical() -> None:
    assert max(FrameType) < FIRST_NON_CRITICAL


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version_min", 0),
        ("version_min", 2),
        ("version_max", 0),
        ("version_max", 256),
        ("features", 2**64),
        ("features", -1),
        ("boot", 2**32),
        ("time", 253_402_300_800),
        ("time", -1),
        ("load", 256),
        ("links", 65_536),
        ("max_frame", 1023),
        ("max_frame", 2**32),
        ("store_free", 2**32),
        ("extensions", dict.fromkeys(range(MAX_EXTENSIONS + 1), b"")),
        ("extensions", {0: bytes(MAX_EXTENSION + 1)}),
        ("extensions", {65_536: b""}),
        ("extensions", {-1: b""}),
    ],
)
def test_a_hello_with_a_field_out_of_its_range_cannot_be_made(field: str, value: object) -> None:
    with pytest.raises(FieldError):
        dataclasses.replace(HELLO, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"), [("hops", 256), ("hops", -1), ("copies", 256), ("copies", -1), ("age", 2**32), ("age", -1)]
)
def test_a_transfer_with_a_field_out_of_its_range_cannot_be_made(field: str, value: int) -> None:
    with pytest.raises(FieldError):
        dataclasses.replace(TRANSFER, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "proofs",
    [(), ((bytes(16), bytes(32)),) * (MAX_PROOFS + 1), ((bytes(15), bytes(32)),), ((bytes(16), bytes(33)),)],
)
def test_a_receipt_has_1_to_16_proofs_of_16_and_32_bytes(proofs: tuple[tuple[bytes, bytes], ...]) -> None:
    with pytest.raises(FieldError):
        Receipt(proofs)


@pytest.mark.parametrize("ids", [[], [bytes(32)] * (MAX_ANSWERS + 1), [bytes(31)], [bytes(32), b""]])
def test_custody_has_1_to_16_answers_to_ids_of_32_bytes(ids: list[bytes]) -> None:
    with pytest.raises(FieldError):
        Custody(tuple((identifier, CustodyCode.ACCEPTED) for identifier in ids))


@pytest.mark.parametrize(
    ("code", "retry_after", "reason"),
    [(65_536, 0, ""), (-1, 0, ""), (0, 2**32, ""), (0, 0, "x" * (MAX_REASON + 1)), (0, 0, "ü" * 65), (0, 0, "\ud800")],
)
def test_a_bye_with_a_field_out_of_its_range_cannot_be_made(code: int, retry_after: int, reason: str) -> None:
    with pytest.raises(FieldError):
        Bye(code, retry_after, reason)

from __future__ import annotations

import dataclasses

import pytest

from qpq.crypto.identity import Address, Identity, SecretIdentity
from qpq.crypto.primitives import tagged_hash
from qpq.wire.announce import announce_hash, sign_announce, verify_announce
from qpq.wire.codec import FrameEncoder
from qpq.wire.errors import FieldError

ANNA = SecretIdentity(b"a" * 32)
NODE = SecretIdentity(b"n" * 32)
OTHER = SecretIdentity(b"o" * 32)
ANNOUNCE = sign_announce(ANNA, node=NODE.identity, boot=3, counter=9, capabilities=1, kem_hash=b"k" * 12)


def test_the_owner_of_the_address_signs() -> None:
    assert ANNOUNCE.hops == 0
    assert ANNOUNCE.address == ANNA.address
    assert verify_announce(ANNOUNCE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("address", Address(OTHER.identity)),
        ("node", OTHER.identity),
        ("boot", 4),
        ("counter", 10),
        ("capabilities", 0),
        ("kem_hash", b""),
        ("kem_hash", b"K" * 12),
        ("signature", bytes(64)),
    ],
)
def test_nobody_else_can_change_what_was_announced(field: str, value: object) -> None:
    assert not verify_announce(dataclasses.replace(ANNOUNCE, **{field: value}))  # type: ignore[arg-type]


def test_forwarding_keeps_the_signature_valid() -> None:
    assert verify_announce(dataclasses.replace(ANNOUNCE, hops=3))


def test_the_signed_hash_is_that_of_the_protocol_description() -> None:
    expected = tagged_hash(
        b"qpq/1/announce",
        ANNA.address,
        NODE.identity,
        b"\0\0\0\3",
        b"\0\0\0\x09",
        b"\0\0\0\1",
        b"k" * 12,
    )
    assert announce_hash(ANNOUNCE) == expected
    assert ANNA.sign(expected) == ANNOUNCE.signature


def test_an_announce_of_the_nodes_own_user_takes_at_most_128_bytes_with_its_length() -> None:
    announce = sign_announce(ANNA, node=NODE.identity, boot=65_535, counter=65_535, capabilities=23, kem_hash=bytes(12))
    encoder = FrameEncoder(NODE.identity, OTHER.identity)
    assert len(encoder.encode(dataclasses.replace(announce, hops=255))) <= 128


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hops", 256),
        ("address", Address(b"x")),
        ("node", Identity(b"x")),
        ("boot", 2**32),
        ("boot", -1),
        ("counter", 2**32),
        ("capabilities", 2**32),
        ("kem_hash", b"x" * 16),
        ("signature", b""),
    ],
)
def test_an_announce_that_does_not_fit_the_wire_cannot_be_made(field: str, value: object) -> None:
    with pytest.raises(FieldError):
        dataclasses.replace(ANNOUNCE, **{field: value})  # type: ignore[arg-type]

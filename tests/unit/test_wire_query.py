from __future__ import annotations

import dataclasses

import pytest

from qpq.crypto.identity import Address, Identity, SecretIdentity
from qpq.crypto.primitives import tagged_hash
from qpq.wire.errors import FieldError
from qpq.wire.query import query_hash, sign_query, verify_query

NODE, OTHER = SecretIdentity(b"n" * 32), SecretIdentity(b"o" * 32)
TARGET = Address(b"t" * 32)


def test_a_query_is_signed_by_the_node_that_asks() -> None:
    query = sign_query(NODE, TARGET, 7, 9)
    assert (query.hops, query.target, query.asker, query.boot, query.counter) == (0, TARGET, NODE.identity, 7, 9)
    assert verify_query(query)


def test_every_signed_field_breaks_the_signature_when_changed() -> None:
    query = sign_query(NODE, TARGET, 7, 9)
    for changes in (
        {"target": Address(b"u" * 32)},
        {"asker": OTHER.identity},
        {"asker": Identity(bytes(32))},
        {"boot": 8},
        {"counter": 10},
        {"signature": bytes(64)},
    ):
        assert not verify_query(dataclasses.replace(query, **changes)), changes  # type: ignore[arg-type]


def test_hops_are_not_signed() -> None:
    assert verify_query(dataclasses.replace(sign_query(NODE, TARGET, 7, 9), hops=9))


def test_what_is_signed_is_the_tagged_hash_of_the_four_fields() -> None:
    query = sign_query(NODE, TARGET, 7, 2**32 - 1)
    fields = (TARGET, NODE.identity, b"\0\0\0\x07", b"\xff\xff\xff\xff")
    assert query_hash(query) == tagged_hash(b"qpq/1/query", *fields)


def test_a_counter_beyond_32_bits_is_refused() -> None:
    with pytest.raises(FieldError):
        sign_query(NODE, TARGET, 7, 2**32)

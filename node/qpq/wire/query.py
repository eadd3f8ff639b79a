"""Queries: a node's signed question to the mesh for a route to an address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.crypto.identity import Address
from qpq.crypto.primitives import ed25519_verify, tagged_hash
from qpq.wire.frames_mesh import Query

if TYPE_CHECKING:
    from qpq.crypto.identity import SecretIdentity

ANY_GATEWAY: Final = Address(bytes(32))
"""The target of a query that every gateway answers; no user can have this address, which is a point of small order."""

_TAG = b"qpq/1/query"


def sign_query(secret: SecretIdentity, target: Address, boot: int, counter: int) -> Query:
    """Make the query of the node ``secret`` for ``target`` with hops 0; raises FieldError for values out of range.

    (boot, counter) must be greater than in every query this node has signed before.
    """
    unsigned = Query(0, target, secret.identity, boot, counter, bytes(64))
    return Query(0, target, secret.identity, boot, counter, secret.sign(query_hash(unsigned)))


def verify_query(query: Query) -> bool:
    """Whether the asking node signed this query; ``hops`` is not signed."""
    return ed25519_verify(query.asker, query.signature, query_hash(query))


def query_hash(query: Query) -> bytes:
    """Return what is signed: a hash of all fields but ``hops`` and ``signature``, 32 bytes."""
    return tagged_hash(_TAG, query.target, query.asker, query.boot.to_bytes(4, "big"), query.counter.to_bytes(4, "big"))

"""Vectors of what a home server signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vector_base import ANNA, BERT, NODE_A

from qpq.wire.delivery import make_proof, message_id

if TYPE_CHECKING:
    from vector_base import Document

LARGEST = (1 << 64) - 1


def deliveries() -> Document:
    """Return delivery proofs of node a."""
    rows = []
    for recipient, seq, payload, timestamp in (
        (BERT, 1, b"hello", 1_790_000_000),
        (ANNA, 300, "grüße".encode(), 0),
        (BERT, LARGEST, bytes(1000), LARGEST),
    ):
        message = message_id(recipient.identity, seq, payload)
        rows.append(
            {
                "recipient": recipient.identity.hex(),
                "seq": seq,
                "payload": payload.hex(),
                "timestamp": timestamp,
                "message_id": message.hex(),
                "proof": make_proof(NODE_A, message, recipient.identity, timestamp).hex(),
            }
        )
    return {"note": "delivery proofs of node a", "proofs": rows}

"""Receipts: only who opened the sealed payload can make one, and any node can check it.

The sender draws ``s`` (16 bytes) and puts it inside the sealed payload; the envelope shows the
commitment to it. Whoever sends ``(s, h)`` has opened the payload, since the id follows from both.
"""

from __future__ import annotations

from typing import Final

from qpq.crypto.primitives import tagged_hash
from qpq.wire.envelope import COMMITMENT_SIZE, id_of

SECRET_SIZE: Final = 16
HASH_SIZE: Final = 32

_TAG = b"qpq/1/receipt"


def commitment(secret: bytes) -> bytes:
    """Return ``c``, the 16 bytes an envelope shows of its receipt secret ``s``."""
    return tagged_hash(_TAG, secret)[:COMMITMENT_SIZE]


def receipt_id(secret: bytes, envelope_hash: bytes) -> bytes:
    """Return the id of the envelope that the receipt ``(s, h)`` answers."""
    return id_of(commitment(secret), envelope_hash)

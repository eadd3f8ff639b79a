"""Receipts: only who opened the sealed payload can make one, and any node can check it.

The sender draws ``s`` (16 bytes) and puts it inside the sealed payload; the envelope shows the
commitment to it. Whoever sends ``(s, h)`` has opened the payload, since the id follows from both.
"""

from __future__ import annotations

from typing import Final

from qpq.crypto.primitives import sha256
from qpq.wire.envelope import COMMITMENT_SIZE, id_of

SECRET_SIZE: Final = 16
HASH_SIZE: Final = 32

_TAG = b"qpq/1/receipt"
_START = bytes((len(_TAG),)) + _TAG  # of what tagged_hash would hash


def commitment(secret: bytes) -> bytes:
    """Return ``c``, the 16 bytes an envelope shows of its receipt secret ``s``."""
    return sha256(b"".join((_START, len(secret).to_bytes(4, "big"), secret)))[:COMMITMENT_SIZE]


def receipt_id(secret: bytes, envelope_hash: bytes) -> bytes:
    """Return the id of the envelope that the receipt ``(s, h)`` answers."""
    return id_of(commitment(secret), envelope_hash)

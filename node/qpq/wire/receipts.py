"""Receipts: only who opened the sealed payload can make one, and any node can check it.

The sender draws ``s`` (16 bytes) and puts it inside the sealed payload; the envelope shows the
commitment to it. Whoever sends ``(s, h)`` has opened the payload, since the id follows from both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.crypto.primitives import sha256
from qpq.wire.envelope import COMMITMENT_SIZE, id_of
from qpq.wire.envelope import envelope_hash as hash_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpq.wire.envelope import Envelope

SECRET_SIZE: Final = 16
HASH_SIZE: Final = 32
MAX_SENT: Final = 128
"""Envelopes remembered a link, about 230 bytes each: twice as many as the core lets go without an answer."""
_NAMESAKES = 2

_TAG = b"qpq/1/receipt"
_START = bytes((len(_TAG),)) + _TAG  # of what tagged_hash would hash


def commitment(secret: bytes) -> bytes:
    """Return ``c``, the 16 bytes an envelope shows of its receipt secret ``s``."""
    return sha256(b"".join((_START, len(secret).to_bytes(4, "big"), secret)))[:COMMITMENT_SIZE]


def receipt_id(secret: bytes, envelope_hash: bytes) -> bytes:
    """Return the id of the envelope that the receipt ``(s, h)`` answers."""
    return id_of(commitment(secret), envelope_hash)


class SentEnvelopes:
    """The last envelopes sent over one link that have no receipt, by commitment; the oldest gives way.

    A sender may show one commitment in several envelopes, or copy another's. A secret proves all of these that are
    here: who knows it is the sender of one of them, or its recipient.
    """

    __slots__ = ("_hashes",)

    def __init__(self) -> None:
        self._hashes: dict[bytes, tuple[bytes, ...]] = {}

    def add(self, envelope: Envelope) -> None:
        """Remember an envelope."""
        digest = hash_of(envelope)
        known = self._hashes.pop(envelope.commitment, ())
        if digest not in known and len(known) < _NAMESAKES:
            known = (*known, digest)
        self._hashes[envelope.commitment] = known
        if len(self._hashes) > MAX_SENT:
            del self._hashes[next(iter(self._hashes))]

    def prove(self, secrets: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
        """Return the receipts, ``(s, h)``, that these secrets are of, and forget the envelopes."""
        return [(secret, digest) for secret in secrets for digest in self._hashes.pop(commitment(secret), ())]

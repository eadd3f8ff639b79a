"""What a home server signs when it has taken a message for somebody's inbox: 96 bytes, SHA-256 and Ed25519 over it.

::

    message_id = H("qpq home message v1", recipient, seq, payload)
    hash       = H("qpq delivery proof v1", message_id, recipient, timestamp)
    proof      = hash (32 bytes) || Ed25519 signature of hash by the node's identity (64 bytes)

``H`` is ``crypto.primitives.tagged_hash``: the tag and every field stand behind their length. ``seq`` and
``timestamp`` (Unix seconds, 0: the node has no trusted clock) are eight bytes, most significant first. Source: the
reference's interface table (96 bytes, hash and signature); the input of the hash is this project's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.crypto.primitives import ed25519_verify, equal, tagged_hash

if TYPE_CHECKING:
    from qpq.crypto.identity import Identity, SecretIdentity

PROOF_BYTES: Final = 96
MESSAGE_TAG: Final = b"qpq home message v1"
PROOF_TAG: Final = b"qpq delivery proof v1"
_HASH_BYTES = 32
_NUMBER_BYTES = 8


def message_id(recipient: bytes, seq: int, payload: bytes) -> bytes:
    """Return the 32-byte id of the message that got number ``seq`` in the inbox of ``recipient``."""
    return tagged_hash(MESSAGE_TAG, recipient, seq.to_bytes(_NUMBER_BYTES, "big"), payload)


def make_proof(node: SecretIdentity, message: bytes, recipient: bytes, timestamp: int) -> bytes:
    """Return the proof that ``node`` has taken a message, named by its id."""
    digest = _digest(message, recipient, timestamp)
    return digest + node.sign(digest)


def check_proof(node: Identity, proof: bytes, message: bytes, recipient: bytes, timestamp: int) -> bool:
    """Whether ``proof`` shows that the node of that key has taken the message."""
    digest, signature = proof[:_HASH_BYTES], proof[_HASH_BYTES:]
    return (
        len(proof) == PROOF_BYTES
        and equal(digest, _digest(message, recipient, timestamp))
        and ed25519_verify(node, signature, digest)
    )


def _digest(message: bytes, recipient: bytes, timestamp: int) -> bytes:
    return tagged_hash(PROOF_TAG, message, recipient, timestamp.to_bytes(_NUMBER_BYTES, "big"))

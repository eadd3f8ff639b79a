"""Announces: a user's signed word about which node serves the user's address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.crypto.primitives import ed25519_verify, tagged_hash
from qpq.wire.frames_mesh import Announce

if TYPE_CHECKING:
    from qpq.crypto.identity import Identity, SecretIdentity

GATEWAY: Final = 1
"""Bit 0 of the capabilities: the address is that of a gateway to other domains."""

_TAG = b"qpq/1/announce"


def sign_announce(
    secret: SecretIdentity,
    *,
    node: Identity,
    boot: int,
    counter: int,
    capabilities: int = 0,
    kem_hash: bytes = b"",
) -> Announce:
    """Make the announce of the address of ``secret`` with hops 0; raises FieldError for values out of range."""
    unsigned = Announce(0, secret.address, node, boot, counter, capabilities, kem_hash, bytes(64))
    signature = secret.sign(announce_hash(unsigned))
    return Announce(0, secret.address, node, boot, counter, capabilities, kem_hash, signature)


def verify_announce(announce: Announce) -> bool:
    """Whether the owner of the address signed this announce; ``hops`` is not signed."""
    return ed25519_verify(announce.address, announce.signature, announce_hash(announce))


def announce_hash(announce: Announce) -> bytes:
    """Return what is signed: a hash of all fields but ``hops`` and ``signature``, 32 bytes."""
    return tagged_hash(
        _TAG,
        announce.address,
        announce.node,
        announce.boot.to_bytes(4, "big"),
        announce.counter.to_bytes(4, "big"),
        announce.capabilities.to_bytes(4, "big"),
        announce.kem_hash,
    )

"""The first secret of a session: PQXDH (Signal, revision 3) with X-Wing as its KEM.

The initiator (a) holds a bundle of the responder (b): signed prekey SPK, X-Wing key, perhaps one-time prekey OPK.
Identity keys IK are the X25519 forms of the Ed25519 ones, EK is an ephemeral key::

    ikm = 0xff (32) || DH(IKa, SPKb) || DH(EKa, IKb) || DH(EKa, SPKb) [|| DH(EKa, OPKb)] || X-Wing's secret
    secret = HKDF-SHA-256(ikm, salt: 32 zero bytes, info: "qpq/1/session", 32 bytes)

The associated data of every message, ``binding``, is a tagged hash of both addresses (initiator's first), the signed
prekey's id and the X-Wing key, so that the KEM's key is bound as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from qpq.crypto import primitives, xwing
from qpq.crypto.errors import AuthenticationError, CryptoError, KeyGoneError
from qpq.crypto.primitives import KEY_BYTES, spend, tagged_hash, taken

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.crypto.kem import Kem
    from qpq.crypto.prekeys import Bundle, OneTimePrekey, SignedPrekey
    from qpq.crypto.session_header import Header

ENTROPY_BYTES: Final = KEY_BYTES + xwing.ENTROPY_BYTES
SESSION_ID_BYTES: Final = 8

_INFO: Final = b"qpq/1/session"
_BINDING_TAG: Final = b"qpq/1/session-binding"
_ID_TAG: Final = b"qpq/1/session-id"
_PREFIX: Final = b"\xff" * KEY_BYTES
_SALT: Final = bytes(primitives.HASH_BYTES)


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both sides hold after an agreement: ``secret`` (32 bytes) becomes the ratchet's root."""

    secret: bytes = field(repr=False)
    binding: bytes
    ephemeral: bytes


def begin(own: SecretIdentity, bundle: Bundle, kem: Kem, entropy: bytes) -> tuple[Agreed, bytes]:
    """Return the initiator's side, and what opening messages carry behind their flags (1160 or 1168 bytes).

    ``entropy`` is 64 random bytes, never used again. Raises CryptoError for a bundle with impossible keys,
    IdentityError where the owner's address is no usable key.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise CryptoError(f"beginning a session takes {ENTROPY_BYTES} random bytes, not {len(entropy)}")
    secret = taken(entropy[:KEY_BYTES])
    ephemeral = primitives.x25519_public(secret)
    ciphertext, shared = xwing.encapsulate(kem, bundle.xwing, taken(entropy[KEY_BYTES:]))
    parts = [
        primitives.x25519(own.x25519_secret, bundle.x25519),
        primitives.x25519(secret, primitives.ed25519_public_to_x25519(bundle.owner)),
        primitives.x25519(secret, bundle.x25519),
    ]
    if bundle.one_time:
        parts.append(primitives.x25519(secret, bundle.one_time))
    binding = _binding(own.address, bundle.owner, bundle.key_id, bundle.xwing)
    opening = b"".join((bundle.key_id, bundle.one_time_id, ephemeral, ciphertext))
    return Agreed(_derive(parts, shared), binding, ephemeral), opening


def answer(
    own: SecretIdentity,
    peer: Address,
    header: Header,
    signed: SignedPrekey,
    one_time: OneTimePrekey | None,
    *,
    kem: Kem,
) -> Agreed:
    """Return the responder's side for the header of an opening message from ``peer``.

    Raises KeyGoneError when the prekeys given are not those it names, AuthenticationError for impossible keys.
    Another's or an altered opening gives another secret, which the message's tag shows.
    """
    if header.prekey_id != signed.key_id:
        raise KeyGoneError("a session begun with a prekey that is no longer kept")
    if header.one_time_id != (one_time.key_id if one_time is not None else b""):
        raise KeyGoneError("a session begun with a one-time prekey that is no longer kept")
    ephemeral = header.ephemeral
    try:
        parts = [
            primitives.x25519(signed.x25519_secret, primitives.ed25519_public_to_x25519(peer)),
            primitives.x25519(own.x25519_secret, ephemeral),
            primitives.x25519(signed.x25519_secret, ephemeral),
        ]
        if one_time is not None:
            parts.append(primitives.x25519(one_time.secret, ephemeral))
        public_x25519 = signed.public[-KEY_BYTES:]
        shared = xwing.decapsulate(kem, signed.xwing_secret, public_x25519, header.xwing_ciphertext)
    except CryptoError:
        raise AuthenticationError("a session begun with impossible keys") from None
    return Agreed(_derive(parts, shared), _binding(peer, own.address, signed.key_id, signed.xwing_public), ephemeral)


def session_id(initiator: Address, responder: Address, ephemeral: bytes) -> bytes:
    """Return the 8 bytes by which both sides name a session; no secret."""
    return tagged_hash(_ID_TAG, initiator, responder, ephemeral)[:SESSION_ID_BYTES]


def _derive(parts: list[bytes], shared: bytes) -> bytes:
    ikm = b"".join((_PREFIX, *parts, shared))
    secret = taken(primitives.hkdf(ikm, salt=_SALT, info=_INFO, length=KEY_BYTES))
    spend(ikm)
    return secret


def _binding(initiator: Address, responder: Address, key_id: bytes, xwing_public: bytes) -> bytes:
    return tagged_hash(_BINDING_TAG, initiator, responder, key_id, xwing_public)

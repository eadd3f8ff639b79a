"""A message's text sealed for one recipient, so that relays see the routing header only.

The first byte names the session format, so that later ones (X-Wing, a ratchet) stand
beside this one. Format 1 is HPKE base to the X25519 form of the recipient's identity key::

    u8 1 || enc (32) || ciphertext || tag (16)

The HPKE info binds format, sender and recipient. Who sent it is proven by the signature of
the envelope around it, not here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from qpq.crypto import hpke, primitives
from qpq.crypto.errors import AuthenticationError, CryptoError, UnknownFormatError

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity

FORMAT_HPKE = 1
ENTROPY_BYTES = 32
OVERHEAD = 1 + hpke.ENC_BYTES + primitives.TAG_BYTES

_INFO = b"qpq/1/seal"
_BODY = 1 + hpke.ENC_BYTES
_RECIPIENT_KEYS = 64
"""Converted keys of the last recipients written to (64 bytes each); the least recently used goes."""


def seal(plaintext: bytes, *, sender: Address, recipient: Address, entropy: bytes) -> bytes:
    """Return ``plaintext`` sealed for ``recipient``, OVERHEAD (49) bytes longer.

    ``entropy`` is 32 random bytes, secret and never used again. Raises IdentityError where the
    recipient's address is no usable key, CryptoError for an entropy of another length.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise CryptoError(f"sealing takes {ENTROPY_BYTES} random bytes, not {len(entropy)}")
    enc, context = hpke.setup_sender(_recipient_key(recipient), _info(sender, recipient), entropy)
    return b"".join((bytes((FORMAT_HPKE,)), enc, context.seal(plaintext)))


def open_sealed(sealed: bytes, *, sender: Address, recipient_secret: SecretIdentity) -> bytes:
    """Return what ``seal`` was given.

    Raises UnknownFormatError for a format this version lacks, AuthenticationError for whatever
    is cut, altered, or was sealed between two other addresses.
    """
    if sealed[:1] != bytes((FORMAT_HPKE,)):
        raise UnknownFormatError(f"a sealed message of format {sealed[:1].hex() or 'none'}: a newer qpq may open it")
    if len(sealed) < OVERHEAD:
        raise AuthenticationError(f"a sealed message of {len(sealed)} bytes is cut short")
    secret, public = recipient_secret.x25519_secret, recipient_secret.x25519_public
    info = _info(sender, recipient_secret.address)
    try:
        context = hpke.setup_recipient(sealed[1:_BODY], secret, public, info)
    except CryptoError:
        raise AuthenticationError("a sealed message with an impossible key") from None
    return context.open(sealed[_BODY:])


def _info(sender: Address, recipient: Address) -> bytes:
    return b"".join((_INFO, bytes((FORMAT_HPKE,)), sender, recipient))


@lru_cache(maxsize=_RECIPIENT_KEYS)
def _recipient_key(recipient: Address) -> bytes:
    return primitives.ed25519_public_to_x25519(recipient)

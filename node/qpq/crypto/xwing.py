"""X-Wing, the hybrid of X25519 and ML-KEM-768 (draft-connolly-cfrg-xwing-kem): secret while either of them is.

A public key is ``ML-KEM-768 key (1184) || X25519 key (32)``, a ciphertext ``ML-KEM-768 ciphertext (1088) || X25519
key (32)``. A secret key here is ``X25519 secret (32) || expanded ML-KEM-768 secret (2400)``, because the KEM behind
the port takes no seed; it never travels, so the draft's 32-byte form is not needed. Unlike the draft, an X25519 key
of small order is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.crypto import kem as mlkem
from qpq.crypto import primitives
from qpq.crypto.errors import CryptoError
from qpq.crypto.primitives import KEY_BYTES, spend, taken

if TYPE_CHECKING:
    from qpq.crypto.kem import Kem

PUBLIC_BYTES: Final = mlkem.PUBLIC_BYTES + KEY_BYTES
SECRET_BYTES: Final = KEY_BYTES + mlkem.SECRET_BYTES
CIPHERTEXT_BYTES: Final = mlkem.CIPHERTEXT_BYTES + KEY_BYTES
SHARED_BYTES: Final = 32
ENTROPY_BYTES: Final = 32

_LABEL: Final = b"\\.//^\\"


def keygen(kem: Kem, entropy: bytes) -> tuple[bytes, bytes]:
    """Return a new public key (1216 bytes) and its secret key (2432).

    ``entropy`` is 32 random bytes, the X25519 secret; ML-KEM's randomness is the port's.
    """
    _check("the entropy of an X-Wing key", entropy, ENTROPY_BYTES)
    public, secret = kem.keygen()
    return public + primitives.x25519_public(entropy), taken(entropy + secret)


def encapsulate(kem: Kem, public: bytes, entropy: bytes) -> tuple[bytes, bytes]:
    """Return a ciphertext (1120 bytes) and the shared secret (32).

    ``entropy`` is 32 random bytes, never used again. Raises CryptoError for what is no public key.
    """
    _check("the entropy of an X-Wing ciphertext", entropy, ENTROPY_BYTES)
    _check("an X-Wing public key", public, PUBLIC_BYTES)
    public_x25519 = public[mlkem.PUBLIC_BYTES :]
    ephemeral = primitives.x25519_public(entropy)
    shared_x25519 = primitives.x25519(entropy, public_x25519)
    ciphertext, shared = kem.encapsulate(public[: mlkem.PUBLIC_BYTES])
    return ciphertext + ephemeral, _combine(shared, shared_x25519, ephemeral, public_x25519)


def decapsulate(kem: Kem, secret: bytes, public_x25519: bytes, ciphertext: bytes) -> bytes:
    """Return the shared secret, 32 bytes; ``public_x25519`` is the X25519 half of the own public key.

    A wrong ciphertext gives another secret. Raises CryptoError for wrong lengths, a damaged secret key and an X25519
    key of small order.
    """
    _check("an X-Wing secret key", secret, SECRET_BYTES)
    _check("an X-Wing ciphertext", ciphertext, CIPHERTEXT_BYTES)
    _check("the X25519 half of an X-Wing public key", public_x25519, KEY_BYTES)
    ephemeral = ciphertext[mlkem.CIPHERTEXT_BYTES :]
    shared_x25519 = primitives.x25519(taken(secret[:KEY_BYTES]), ephemeral)
    shared = kem.decapsulate(taken(secret[KEY_BYTES:]), ciphertext[: mlkem.CIPHERTEXT_BYTES])
    return _combine(shared, shared_x25519, ephemeral, public_x25519)


def _combine(shared: bytes, shared_x25519: bytes, ephemeral: bytes, public_x25519: bytes) -> bytes:
    """Return the draft's combiner."""
    joined = b"".join((shared, shared_x25519, ephemeral, public_x25519, _LABEL))
    secret = taken(primitives.sha3_256(joined))
    spend(joined)
    return secret


def _check(what: str, value: bytes, length: int) -> None:
    if len(value) != length:
        raise CryptoError(f"{what} has {length} bytes, not {len(value)}")

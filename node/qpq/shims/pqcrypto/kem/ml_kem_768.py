"""ML-KEM-768 (FIPS 203) over ``_qpq_native``."""

from __future__ import annotations

from typing import Final

import _qpq_native as native

ALGORITHM: Final = "MlKem768"
PUBLIC_KEY_SIZE: Final = 1184
SECRET_KEY_SIZE: Final = 2400
CIPHERTEXT_SIZE: Final = 1088
SHARED_SECRET_SIZE: Final = 32
_SEED_BYTES, _COIN_BYTES = 64, 32


def keygen() -> tuple[bytes, bytes]:
    """Return a new public and secret key."""
    return native.mlkem768_keypair(native.random_bytes(_SEED_BYTES))


def encaps(pk_bytes: bytes) -> tuple[bytes, bytes]:
    """Return ciphertext and shared secret; raises ValueError for what is no public key."""
    _check("public key", pk_bytes, PUBLIC_KEY_SIZE)
    return native.mlkem768_encaps(pk_bytes, native.random_bytes(_COIN_BYTES))


def decaps(sk_bytes: bytes, ct_bytes: bytes) -> bytes:
    """Return the shared secret, another one for a wrong ciphertext; raises ValueError for a damaged secret key."""
    _check("secret key", sk_bytes, SECRET_KEY_SIZE)
    _check("ciphertext", ct_bytes, CIPHERTEXT_SIZE)
    return native.mlkem768_decaps(sk_bytes, ct_bytes)


def _check(what: str, value: bytes, length: int) -> None:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__!r} object is not an instance of 'bytes'")
    if len(value) != length:
        raise ValueError(f"invalid {what} length")

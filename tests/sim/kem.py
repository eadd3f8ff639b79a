"""A stand-in for ML-KEM-768 with its sizes: as cheap as a hash, the same in every run of a seed, and no secret."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from qpq.crypto.errors import CryptoError
from qpq.crypto.kem import CIPHERTEXT_BYTES, PUBLIC_BYTES, SECRET_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

_SEED = 32


class CheapKem:
    """A key pair is a seed and its hash; whoever has the public key could open everything."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random

    def keygen(self) -> tuple[bytes, bytes]:
        seed = self._random(_SEED)
        return sha256(seed).digest().ljust(PUBLIC_BYTES, b"\0"), seed.ljust(SECRET_BYTES, b"\0")

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        if len(public) != PUBLIC_BYTES or any(public[_SEED:]):
            raise CryptoError("no public key")
        fresh = self._random(_SEED)
        return fresh.ljust(CIPHERTEXT_BYTES, b"\0"), sha256(public[:_SEED] + fresh).digest()

    def decapsulate(self, secret: bytes, ciphertext: bytes) -> bytes:
        if len(secret) != SECRET_BYTES or len(ciphertext) != CIPHERTEXT_BYTES:
            raise CryptoError("damaged")
        return sha256(sha256(secret[:_SEED]).digest() + ciphertext[:_SEED]).digest()

"""HMAC with SHA-256 (RFC 2104)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from _qpq_native import Digest, equal

from ...exceptions import AlreadyFinalized, InvalidSignature, UnsupportedAlgorithm
from .hashes import HashAlgorithm, HashContext, check_algorithm

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

__all__ = ["HMAC"]


class HMAC(HashContext):
    """A MAC over bytes that come in parts."""

    __slots__ = ("_algorithm", "_digest")

    _digest: Digest | None

    def __init__(self, key: Buffer, algorithm: HashAlgorithm, backend: object = None) -> None:  # noqa: ARG002 (theirs)
        check_algorithm(algorithm)
        if algorithm.name != "sha256":
            raise UnsupportedAlgorithm(f"{algorithm.name} is not a supported hash on this backend.")
        self._algorithm = algorithm
        self._digest = Digest("hmac-sha256", key)

    @property
    def algorithm(self) -> HashAlgorithm:
        """Return what it was made with."""
        return self._algorithm

    def update(self, data: Buffer) -> None:
        """Take in bytes."""
        self._live().update(data)

    def copy(self) -> HMAC:
        """Return another one in the same state."""
        other = HMAC.__new__(HMAC)
        other._algorithm = self._algorithm
        other._digest = self._live().copy()
        return other

    def finalize(self) -> bytes:
        """Return the MAC; nothing can follow."""
        value = self._live().digest()
        self._digest = None
        return value

    def verify(self, signature: bytes) -> None:
        """Compare in constant time; raises InvalidSignature."""
        if not isinstance(signature, bytes):
            raise TypeError(f"{type(signature).__name__!r} object is not an instance of 'bytes'")
        if not equal(self.finalize(), signature):
            raise InvalidSignature("Signature did not match digest.")

    def _live(self) -> Digest:
        if self._digest is None:
            raise AlreadyFinalized("Context was already finalized.")
        return self._digest

"""SHA-256 and SHA-512; the names of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from _qpq_native import Digest

from ...exceptions import AlreadyFinalized, UnsupportedAlgorithm

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class HashAlgorithm:
    """A hash by name; sizes in bytes."""

    name: ClassVar[str]
    digest_size: ClassVar[int]
    block_size: ClassVar[int]


class SHA1(HashAlgorithm):
    """Only the name: TLS 1.3 has no use for it."""

    name = "sha1"
    digest_size = 20
    block_size = 64


class SHA256(HashAlgorithm):
    """FIPS 180-4."""

    name = "sha256"
    digest_size = 32
    block_size = 64


class SHA384(HashAlgorithm):
    """Only the name: no cipher suite that needs it is offered."""

    name = "sha384"
    digest_size = 48
    block_size = 128


class SHA512(HashAlgorithm):
    """FIPS 180-4."""

    name = "sha512"
    digest_size = 64
    block_size = 128


class HashContext:
    """What ``Hash`` is."""

    __slots__ = ()


class Hash(HashContext):
    """A hash over bytes that come in parts."""

    __slots__ = ("_algorithm", "_digest")

    _digest: Digest | None

    def __init__(self, algorithm: HashAlgorithm, backend: object = None) -> None:  # noqa: ARG002 (theirs)
        check_algorithm(algorithm)
        if algorithm.name not in {"sha256", "sha512"}:
            raise UnsupportedAlgorithm(f"{algorithm.name} is not a supported hash on this backend.")
        self._algorithm = algorithm
        self._digest = Digest(algorithm.name)

    @property
    def algorithm(self) -> HashAlgorithm:
        """Return what it was made with."""
        return self._algorithm

    def update(self, data: Buffer) -> None:
        """Take in bytes."""
        self._live().update(data)

    def copy(self) -> Hash:
        """Return another one in the same state."""
        other = Hash.__new__(Hash)
        other._algorithm = self._algorithm
        other._digest = self._live().copy()
        return other

    def finalize(self) -> bytes:
        """Return the hash; nothing can follow."""
        value = self._live().digest()
        self._digest = None
        return value

    def _live(self) -> Digest:
        if self._digest is None:
            raise AlreadyFinalized("Context was already finalized.")
        return self._digest


def check_algorithm(algorithm: object) -> None:
    """Raise TypeError for what is no instance of a HashAlgorithm."""
    if not isinstance(algorithm, HashAlgorithm):
        raise TypeError("Expected instance of hashes.HashAlgorithm.")

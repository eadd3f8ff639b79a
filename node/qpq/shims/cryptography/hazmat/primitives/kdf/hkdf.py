"""HKDF's second half with SHA-256 (RFC 5869 section 2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from _qpq_native import equal, hkdf_sha256_expand

from ....exceptions import AlreadyFinalized, InvalidKey, UnsupportedAlgorithm
from ..hashes import check_algorithm

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

    from ..hashes import HashAlgorithm

__all__ = ["HKDFExpand"]


class HKDFExpand:
    """Derives ``length`` bytes, once."""

    __slots__ = ("_info", "_length", "_used")

    def __init__(self, algorithm: HashAlgorithm, length: int, info: bytes | None, backend: object = None) -> None:  # noqa: ARG002 (theirs)
        check_algorithm(algorithm)
        if algorithm.name != "sha256":
            raise UnsupportedAlgorithm(f"{algorithm.name} is not a supported hash on this backend.")
        if info is not None and not isinstance(info, bytes):
            raise TypeError(f"{type(info).__name__!r} object is not an instance of 'bytes'")
        if length < 0:
            raise OverflowError("can't convert negative int to unsigned")
        if length > 255 * algorithm.digest_size:
            raise ValueError(f"Cannot derive keys larger than {255 * algorithm.digest_size} octets.")
        self._info = info or b""
        self._length = length
        self._used = False

    def derive(self, key_material: Buffer) -> bytes:
        """Return the bytes; raises AlreadyFinalized the second time."""
        if self._used:
            raise AlreadyFinalized
        value = hkdf_sha256_expand(key_material, self._info, self._length)
        self._used = True
        return value

    def verify(self, key_material: Buffer, expected_key: bytes) -> None:
        """Compare in constant time; raises InvalidKey."""
        if not equal(self.derive(key_material), expected_key):
            raise InvalidKey("Keys do not match.")

"""Ciphers with their keys; sizes in bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class CipherAlgorithm:
    """A cipher with its key."""

    __slots__ = ("_key",)

    name: ClassVar[str]
    key_sizes: ClassVar[frozenset[int]]

    def __init__(self, key: Buffer) -> None:
        self._key = as_bytes("key", key)
        if self.key_size not in self.key_sizes:
            raise ValueError(f"Invalid key size ({self.key_size}) for {self.name}.")

    @property
    def key(self) -> bytes:
        """Return the key."""
        return self._key

    @property
    def key_size(self) -> int:
        """Return its size in bits."""
        return len(self._key) * 8


class AES(CipherAlgorithm):
    """The key sizes are those of the real class; 128 bits can be used."""

    __slots__ = ()

    name = "AES"
    block_size = 128
    key_sizes = frozenset((128, 192, 256, 512))


class ChaCha20(CipherAlgorithm):
    """``nonce``: 4 bytes of counter, the lowest first, and 12 of nonce (RFC 8439)."""

    __slots__ = ("_nonce",)

    name = "ChaCha20"
    key_sizes = frozenset((256,))

    def __init__(self, key: Buffer, nonce: Buffer) -> None:
        super().__init__(key)
        self._nonce = as_bytes("nonce", nonce)
        if len(self._nonce) != 16:
            raise ValueError("nonce must be 128-bits (16 bytes)")

    @property
    def nonce(self) -> bytes:
        """Return counter and nonce."""
        return self._nonce


def as_bytes(name: str, value: Buffer) -> bytes:
    """Return a bytes-like object as bytes; raises TypeError."""
    try:
        return bytes(memoryview(value))
    except TypeError:
        raise TypeError(f"{name} must be bytes-like") from None

"""ML-KEM-768 (FIPS 203) behind a port, because the library draws its randomness itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from qpq.crypto.errors import CryptoError
from qpq.crypto.primitives import taken

if TYPE_CHECKING:
    from types import ModuleType

PUBLIC_BYTES: Final = 1184
SECRET_BYTES: Final = 2400
CIPHERTEXT_BYTES: Final = 1088
SHARED_BYTES: Final = 32


class Kem(Protocol):
    """A key encapsulation mechanism with the lengths of ML-KEM-768; values are ``bytes``."""

    def keygen(self) -> tuple[bytes, bytes]:
        """Return a new public key (1184 bytes) and its secret key (2400)."""
        ...

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """Return a ciphertext (1088 bytes) and the shared secret (32); raises CryptoError for what is no public key."""
        ...

    def decapsulate(self, secret: bytes, ciphertext: bytes) -> bytes:
        """Return the shared secret, 32 bytes, and another one for a wrong ciphertext (implicit rejection).

        Raises CryptoError for a wrong length and for a damaged secret key.
        """
        ...


class _MlKem768:
    """``pqcrypto``, loaded when it is first needed: a node that opens no session never does."""

    __slots__ = ("_library",)

    def __init__(self) -> None:
        self._library: ModuleType | None = None

    def keygen(self) -> tuple[bytes, bytes]:
        public, secret = self._loaded().keygen()
        return public, taken(secret)

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        try:
            ciphertext, shared = self._loaded().encaps(public)
        except ValueError:
            raise CryptoError("an ML-KEM-768 public key that is none") from None
        return ciphertext, taken(shared)

    def decapsulate(self, secret: bytes, ciphertext: bytes) -> bytes:
        try:
            shared: bytes = self._loaded().decaps(secret, ciphertext)
        except ValueError:
            raise CryptoError("an ML-KEM-768 secret key or ciphertext that is damaged or of a wrong length") from None
        return taken(shared)

    def _loaded(self) -> ModuleType:
        if self._library is None:
            self._library = load_library()
        return self._library


def load_library() -> ModuleType:
    """Import the library; a daemon puts something lighter in this place (qpq.daemon.lean)."""
    import pqcrypto.kem.ml_kem_768 as library  # type: ignore[import-untyped]  # noqa: PLC0415 (at first need)

    found: ModuleType = library
    return found


_STANDARD: Final = _MlKem768()


def standard_kem() -> Kem:
    """Return ML-KEM-768 over ``pqcrypto`` (on a router: over mlkem-native)."""
    return _STANDARD

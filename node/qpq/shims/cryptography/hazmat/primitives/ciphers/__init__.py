"""ChaCha20, and AES-128 in ECB mode: what QUIC masks headers with."""

from __future__ import annotations

from _qpq_native import CipherContext

from ....exceptions import AbsentAlgorithm
from . import aead, algorithms, modes

__all__ = ["Cipher", "CipherContext", "aead", "algorithms", "modes"]


class Cipher:
    """An algorithm and its mode; ``mode`` is None for ChaCha20."""

    __slots__ = ("algorithm", "mode")

    def __init__(self, algorithm: algorithms.CipherAlgorithm, mode: modes.ECB | None, backend: object = None) -> None:  # noqa: ARG002 (theirs)
        if not isinstance(algorithm, algorithms.CipherAlgorithm):
            raise TypeError("Expected interface of CipherAlgorithm.")
        self.algorithm = algorithm
        self.mode = mode

    def encryptor(self) -> CipherContext:
        """Return a context that encrypts; raises UnsupportedAlgorithm for what QUIC does not use."""
        algorithm = self.algorithm
        if isinstance(algorithm, algorithms.ChaCha20) and self.mode is None:
            return CipherContext(algorithm.key, algorithm.nonce)
        if algorithm.key_size == 128 and isinstance(self.mode, modes.ECB) and isinstance(algorithm, algorithms.AES):
            return CipherContext(algorithm.key)
        raise AbsentAlgorithm(f"{algorithm.name} with keys of {algorithm.key_size} bits in this mode is not built in")

    def decryptor(self) -> CipherContext:
        """Return a context that decrypts: ChaCha20 only."""
        if not isinstance(self.algorithm, algorithms.ChaCha20):
            raise AbsentAlgorithm(f"decryption with {self.algorithm.name} is not built in")
        return self.encryptor()

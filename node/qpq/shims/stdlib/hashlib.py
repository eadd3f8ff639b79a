"""SHA-256 and SHA-512 over libsodium, which Ed25519 needs anyway, and SHA3-256 over the Keccak that ML-KEM needs.

The interpreter's own take 75 KB on MIPS.
"""

from __future__ import annotations

from _qpq_native import Digest, sha3_256, sha256, sha512

algorithms_guaranteed = algorithms_available = frozenset(("sha256", "sha512", "sha3_256"))

_CONSTRUCTORS = {"sha256": sha256, "sha512": sha512, "sha3_256": sha3_256}


def new(name: str, data: bytes = b"", *, usedforsecurity: bool = True) -> Digest:  # noqa: ARG001 (theirs)
    """Return a hash by name; raises ValueError for one that is not built in."""
    constructor = _CONSTRUCTORS.get(name.lower())
    if constructor is None:
        raise ValueError("unsupported hash type " + name)
    return constructor(data)


def __getattr__(name: str) -> None:
    raise AttributeError(f"hashlib.{name} is not built into this program")

"""HMAC-SHA-256 in C, and the comparison in constant time."""

from __future__ import annotations

from _operator import _compare_digest as compare_digest
from typing import Any

from _qpq_native import Digest, hmac_sha256

__all__ = ["compare_digest", "digest", "new"]


def digest(key: bytes, msg: bytes, digest: Any) -> bytes:
    """Return the MAC of one message."""
    _check(digest)
    return hmac_sha256(key, msg)


def new(key: bytes, msg: bytes | None = None, digestmod: Any = "") -> Digest:
    """Return a MAC over bytes that come in parts."""
    _check(digestmod)
    state = Digest("hmac-sha256", key)
    if msg is not None:
        state.update(msg)
    return state


def _check(algorithm: Any) -> None:
    if not algorithm:
        raise TypeError("Missing required argument 'digestmod'.")
    name = algorithm if isinstance(algorithm, str) else getattr(algorithm, "__name__", "")
    if name.lower() != "sha256":
        raise ValueError(f"HMAC with {name or algorithm!r} is not built in")

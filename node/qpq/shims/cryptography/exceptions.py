"""The exceptions of ``cryptography.exceptions``."""

from __future__ import annotations

from _qpq_native import AlreadyFinalized, InvalidTag, UnsupportedAlgorithm

__all__ = [
    "AbsentAlgorithm",
    "AlreadyFinalized",
    "InvalidKey",
    "InvalidSignature",
    "InvalidTag",
    "UnsupportedAlgorithm",
]


class InvalidSignature(Exception):
    """A signature or MAC does not verify."""


class InvalidKey(Exception):
    """A derived key is not the expected one."""


class AbsentAlgorithm(UnsupportedAlgorithm, ValueError):
    """This program was built without the algorithm; a ValueError too, for callers who take bad keys for bad input."""

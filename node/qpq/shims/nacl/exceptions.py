"""The exceptions of ``nacl.exceptions``."""

from __future__ import annotations

import builtins


class CryptoError(Exception):
    """The root."""


class BadSignatureError(CryptoError):
    """A signature does not verify."""


class RuntimeError(builtins.RuntimeError, CryptoError):  # noqa: A001 (theirs)
    """The library refused."""


class TypeError(builtins.TypeError, CryptoError):  # noqa: A001 (theirs)
    """An argument of the wrong type or length."""


class ValueError(builtins.ValueError, CryptoError):  # noqa: A001 (theirs)
    """An argument of a wrong value."""

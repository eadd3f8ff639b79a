"""Says that chains of certificates cannot be checked."""

from __future__ import annotations

from typing import NoReturn

_REASON = "chains of certificates cannot be checked in this program: it has no OpenSSL"


class X509StoreContextError(Exception):
    """A chain that does not verify; never raised."""


class _Missing:
    def __init__(self, *_: object, **__: object) -> NoReturn:
        raise NotImplementedError(_REASON)

    @staticmethod
    def from_cryptography(certificate: object) -> NoReturn:
        """Refuse."""
        raise NotImplementedError(_REASON)


class X509(_Missing):
    """A certificate of OpenSSL."""


class X509Store(_Missing):
    """Trusted certificates."""


class X509StoreContext(_Missing):
    """The check of a chain."""

"""Which algorithms there are."""

from __future__ import annotations


class Backend:
    """Answers for the algorithms of ``_qpq_native``."""

    __slots__ = ()

    name = "qpq"

    def x25519_supported(self) -> bool:
        """Return True."""
        return True

    def ed25519_supported(self) -> bool:
        """Return True."""
        return True

    def x448_supported(self) -> bool:
        """Return False."""
        return False

    def ed448_supported(self) -> bool:
        """Return False."""
        return False


_BACKEND = Backend()


def default_backend() -> Backend:
    """Return the only one there is."""
    return _BACKEND

"""Only the names aioquic mentions: names in certificates mean nothing here, links pin their peer's key."""

from . import cryptography

__all__ = ["CertificateError", "VerificationError", "cryptography"]


class CertificateError(Exception):
    """A certificate with malformed names; never raised."""


class VerificationError(Exception):
    """A certificate for another name; never raised."""

"""Whether a chain of certificates leads from a domain's key to an authority that is trusted (RFC 5280 section 6).

The profile is narrow: a leaf with exactly one domain, at most one intermediate authority, an authority of the own
list; every signature Ed25519, every date against a clock that is trusted. Nothing is fetched and nothing revoked:
certificates live for weeks and are renewed, and a key that was stolen leaves the list of its relay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.federation.errors import UntrustedError
from qpq.federation.x509 import DIGITAL_SIGNATURE, KEY_CERT_SIGN, Certificate, read

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CHAIN: Final = 3
"""Certificates a peer may show: its own, an intermediate authority's, and the root's, which is not looked at."""


def check_authority(authority: Certificate) -> None:
    """See that a certificate may issue others. Raises UntrustedError."""
    if not authority.authority or authority.usage is None or KEY_CERT_SIGN not in authority.usage:
        raise UntrustedError("an issuer that is no authority")
    if not authority.has_subject or authority.subject_key is None:
        raise UntrustedError("an authority without a name or a key identifier")
    if authority.has_constraints:
        raise UntrustedError("an authority with name constraints")


def check_chain(shown: Sequence[bytes], authorities: Sequence[Certificate], purpose: bytes, now: int) -> Certificate:
    """Return the leaf of a chain (DER, the leaf first), which speaks for ``domain`` then.

    ``purpose`` is SERVER_AUTH for who was called, CLIENT_AUTH for who calls; ``now`` is UTC, read YYYYMMDDhhmmss.
    ``authorities`` have passed ``check_authority``. Raises UntrustedError.
    """
    if not 1 <= len(shown) <= MAX_CHAIN:
        raise UntrustedError(f"{len(shown)} certificates, 1 to {MAX_CHAIN} are read")
    chain = [read(der) for der in shown]
    if len(chain) > 1 and chain[-1].der in {known.der for known in authorities}:
        chain.pop()
    if len(chain) == MAX_CHAIN:
        raise UntrustedError("more than one intermediate authority")
    leaf = chain[0]
    _check_leaf(leaf, purpose)
    lower = leaf
    for authority in chain[1:]:
        check_authority(authority)
        _check_issued(lower, authority, purpose)
        lower = authority
    root = _issuer_of(lower, authorities)
    _check_issued(lower, root, purpose)
    if root.path_length is not None and len(chain) - 1 > root.path_length:
        raise UntrustedError("an authority that may not have others below it")
    for certificate in (*chain, root):
        check_dates(certificate, now)
    return leaf


def check_dates(certificate: Certificate, now: int) -> None:
    """See that a certificate is valid at ``now``. Raises UntrustedError."""
    if now < certificate.not_before:
        raise UntrustedError(f"a certificate that is valid from {_date(certificate.not_before)} on")
    if now > certificate.not_after:
        raise UntrustedError(f"a certificate that has expired on {_date(certificate.not_after)}")


def _check_leaf(leaf: Certificate, purpose: bytes) -> None:
    if leaf.authority or leaf.has_constraints:
        raise UntrustedError("an authority where a domain is wanted")
    if leaf.domain is None:
        raise UntrustedError("a certificate without a domain")
    if leaf.usage is not None and (KEY_CERT_SIGN in leaf.usage or DIGITAL_SIGNATURE not in leaf.usage):
        raise UntrustedError("a key that is not for signing handshakes")
    if leaf.purposes is None or purpose not in leaf.purposes:
        raise UntrustedError("a certificate for another purpose")


def _issuer_of(lower: Certificate, authorities: Sequence[Certificate]) -> Certificate:
    for authority in authorities:
        if authority.subject == lower.issuer and authority.subject_key == lower.authority_key:
            return authority
    raise UntrustedError("an issuer that is not trusted here")


def _check_issued(lower: Certificate, authority: Certificate, purpose: bytes) -> None:
    """See that ``authority`` has issued ``lower``."""
    if lower.issuer != authority.subject or lower.authority_key != authority.subject_key:
        raise UntrustedError("a chain that does not hang together")
    if lower.subject == lower.issuer:
        raise UntrustedError("a certificate that its own holder has issued")
    if authority.purposes is not None and purpose not in authority.purposes:
        raise UntrustedError("an authority for another purpose")
    if not lower.is_signed_by(authority.key):
        raise UntrustedError("a certificate with a false signature")


def _date(number: int) -> str:
    digits = f"{number:014}"
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"

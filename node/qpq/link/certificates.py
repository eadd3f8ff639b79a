"""Certificates: an X.509 version 3 shell around a node identity, made and read with a few lines of DER.

Only the Ed25519 key in it matters. Names and dates are the same in every certificate, so that a router
without a clock makes and accepts them (RFC 5280 section 4.1.2.5: 1970 to the end of year 9999).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.crypto.identity import ID_BYTES, Identity
from qpq.link.errors import CertificateError
from qpq.wire.der import BIT_STRING, INTEGER, SEQUENCE, Reader, tlv
from qpq.wire.errors import DerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpq.crypto.identity import SecretIdentity

MAX_CERTIFICATE: Final = 1024
"""Bytes of the largest certificate that is read; the own ones have about 220."""

_EXTENSIONS = 0xA3  # [3] EXPLICIT
_ED25519 = bytes.fromhex("300506032b6570")  # AlgorithmIdentifier 1.3.101.112 (RFC 8410 section 3)
_VERSION_3 = bytes.fromhex("a003020102")
_COMMON_NAME_QPQ = bytes.fromhex("300e310c300a06035504030c03717071")
_VALIDITY = b"\x30\x20\x17\x0d700101000000Z\x18\x0f99991231235959Z"
_KEY_HEAD = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo up to the 32 bytes of the key
_SIGNATURE_HEAD = b"\x00"  # no unused bits
_SERIAL_BYTES = 8


def make_certificate(secret: SecretIdentity) -> bytes:
    """Return the self-signed certificate of ``secret`` as DER; the same identity gives the same bytes."""
    serial = bytes([secret.identity[0] & 0x3F | 0x40]) + secret.identity[1:_SERIAL_BYTES]
    to_be_signed = tlv(
        SEQUENCE,
        _VERSION_3
        + tlv(INTEGER, serial)
        + _ED25519
        + _COMMON_NAME_QPQ
        + _VALIDITY
        + _COMMON_NAME_QPQ
        + _KEY_HEAD
        + secret.identity,
    )
    signature = tlv(BIT_STRING, _SIGNATURE_HEAD + secret.sign(to_be_signed))
    return tlv(SEQUENCE, to_be_signed + _ED25519 + signature)


def sole_identity(chain: Sequence[bytes]) -> Identity:
    """Return the identity shown by a chain of exactly one Ed25519 certificate.

    That the peer holds the key is shown by TLS (CertificateVerify), not here. Raises CertificateError.
    """
    if not chain:
        raise CertificateError("the certificate is empty")
    if len(chain) != 1:
        raise CertificateError(f"{len(chain)} certificates instead of one")
    return identity_of(chain[0])


def identity_of(certificate: bytes) -> Identity:
    """Return the Ed25519 key of one X.509 certificate; what extensions, names and dates say is not looked at.

    Everything in it must have the form of RFC 5280 in strict DER, so that no other reader refuses it or
    finds another key in it. Raises CertificateError for that, for other keys, for another version than 3,
    for more than MAX_CERTIFICATE bytes.
    """
    if len(certificate) > MAX_CERTIFICATE:
        raise CertificateError(f"a certificate of {len(certificate)} bytes, at most {MAX_CERTIFICATE} are read")
    try:
        return _read(certificate)
    except DerError as fault:
        raise CertificateError(str(fault)) from None


def _read(certificate: bytes) -> Identity:
    outer = Reader(certificate)
    content = outer.inner(SEQUENCE)
    outer.end("the certificate")
    signed = content.inner(SEQUENCE)
    if not content.skip(_ED25519):
        raise CertificateError("a signature that is not Ed25519")
    signature = content.take(BIT_STRING)
    content.end("the signature")
    if len(signature) != 65 or not signature.startswith(_SIGNATURE_HEAD):  # noqa: PLR2004 (RFC 8032 signature)
        raise CertificateError("a signature of the wrong length")
    return _key_of(signed)


def _key_of(signed: Reader) -> Identity:
    """Return the key in what a certificate's signature is about (RFC 5280 section 4.1)."""
    if not signed.skip(_VERSION_3):
        raise CertificateError("not an X.509 certificate of version 3")
    signed.serial()
    if not signed.skip(_ED25519):
        raise CertificateError("a signature that is not Ed25519")
    signed.name()
    validity = signed.inner(SEQUENCE)
    validity.time()
    validity.time()
    validity.end("the validity")
    signed.name()
    if not signed.skip(_KEY_HEAD):
        raise CertificateError("a key that is not Ed25519")
    key = signed.raw(ID_BYTES)
    if not signed.is_done():
        wrapped = signed.inner(_EXTENSIONS)
        signed.end("the extensions")
        for _ in wrapped.inner(SEQUENCE).extensions():
            pass
        wrapped.end("the extensions")
    return Identity(key)

"""Certificates: an X.509 version 3 shell around a node identity, made and read with a few lines of DER.

Only the Ed25519 key in it matters. Names and dates are the same in every certificate, so that a router
without a clock makes and accepts them (RFC 5280 section 4.1.2.5: 1970 to the end of year 9999).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.crypto.identity import ID_BYTES, Identity
from qpq.link.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpq.crypto.identity import SecretIdentity

MAX_CERTIFICATE: Final = 1024
"""Bytes of the largest certificate that is read; the own ones have about 220."""

_INTEGER, _BIT_STRING, _SEQUENCE = 0x02, 0x03, 0x30
_VERSION = 0xA0  # [0] EXPLICIT
_ED25519 = bytes.fromhex("300506032b6570")  # AlgorithmIdentifier 1.3.101.112 (RFC 8410 section 3)
_VERSION_3 = bytes.fromhex("a003020102")
_COMMON_NAME_QPQ = bytes.fromhex("300e310c300a06035504030c03717071")
_VALIDITY = b"\x30\x20\x17\x0d700101000000Z\x18\x0f99991231235959Z"
_KEY_HEAD = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo up to the 32 bytes of the key
_SIGNATURE_HEAD = b"\x00"  # no unused bits
_SERIAL_BYTES = 8
_SHORT = 0x80


def make_certificate(secret: SecretIdentity) -> bytes:
    """Return the self-signed certificate of ``secret`` as DER; the same identity gives the same bytes."""
    serial = bytes([secret.identity[0] & 0x3F | 0x40]) + secret.identity[1:_SERIAL_BYTES]
    to_be_signed = _tlv(
        _SEQUENCE,
        _VERSION_3
        + _tlv(_INTEGER, serial)
        + _ED25519
        + _COMMON_NAME_QPQ
        + _VALIDITY
        + _COMMON_NAME_QPQ
        + _KEY_HEAD
        + secret.identity,
    )
    signature = _tlv(_BIT_STRING, _SIGNATURE_HEAD + secret.sign(to_be_signed))
    return _tlv(_SEQUENCE, to_be_signed + _ED25519 + signature)


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
    """Return the Ed25519 key of one X.509 certificate; extensions and names are not looked at.

    Raises CertificateError for other keys, more than MAX_CERTIFICATE bytes, and what is not strict DER.
    """
    if len(certificate) > MAX_CERTIFICATE:
        raise CertificateError(f"a certificate of {len(certificate)} bytes, at most {MAX_CERTIFICATE} are read")
    content, rest = _read(certificate, _SEQUENCE)
    if rest:
        raise CertificateError("bytes after the certificate")
    to_be_signed, rest = _read(content, _SEQUENCE)
    if not rest.startswith(_ED25519):
        raise CertificateError("a signature that is not Ed25519")
    signature, rest = _read(rest[len(_ED25519) :], _BIT_STRING)
    if rest or len(signature) != 65:  # noqa: PLR2004 (no unused bits, RFC 8032 signature)
        raise CertificateError("a signature of the wrong length")
    if not to_be_signed.startswith(_VERSION_3):
        raise CertificateError("not an X.509 certificate of version 3")
    _, rest = _read(to_be_signed[len(_VERSION_3) :], _INTEGER)
    for _ in ("signature algorithm", "issuer", "validity", "subject"):
        _, rest = _read(rest, _SEQUENCE)
    key = rest[len(_KEY_HEAD) :][:ID_BYTES]
    if not rest.startswith(_KEY_HEAD) or len(key) != ID_BYTES:
        raise CertificateError("a key that is not Ed25519")
    return Identity(key)


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < _SHORT:
        return bytes([tag, size]) + content
    return bytes([tag, 0x81, size]) + content  # nothing here has 256 bytes


def _read(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return content of the first item, which must have ``tag``, and what follows it (X.690 section 10.1)."""
    if len(data) < 2 or data[0] != tag:  # noqa: PLR2004 (tag and length)
        raise CertificateError("not a certificate in DER")
    size, start = data[1], 2
    if size >= _SHORT:
        start += size - _SHORT
        size = int.from_bytes(data[2:start], "big")
        if start not in {3, 4} or size < (_SHORT if start == 3 else 0x100):  # noqa: PLR2004 (shortest form)
            raise CertificateError("a length that is not strict DER")
    if start + size > len(data):
        raise CertificateError("a certificate that is cut")
    return data[start : start + size], data[start + size :]

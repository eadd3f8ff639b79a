"""Certificates and key files that a community makes for itself: its authority, and one certificate for each relay.

A relay's certificate is about the node identity it has anyway, so no secret of a relay's ever leaves it: the
authority is told a domain and an id.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Final

from qpq.crypto.primitives import sha256
from qpq.federation.errors import UntrustedError
from qpq.federation.path import check_authority
from qpq.federation.x509 import (
    AUTHORITY_KEY,
    BASIC_CONSTRAINTS,
    CLIENT_AUTH,
    DNS_NAME,
    ED25519,
    EXTENDED_KEY_USAGE,
    EXTENSIONS,
    KEY_HEAD,
    KEY_IDENTIFIER,
    KEY_USAGE,
    SERVER_AUTH,
    SUBJECT_KEY,
    SUBJECT_NAMES,
    VERSION_3,
    Certificate,
    read,
)
from qpq.wire.der import (
    BIT_STRING,
    BOOLEAN,
    GENERALIZED_TIME,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    SET,
    UTC_TIME,
    UTF8,
    tlv,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpq.crypto.identity import Identity, SecretIdentity

SERIAL_BYTES: Final = 16
MAX_NAME: Final = 64
"""Bytes of an authority's name (RFC 5280 appendix A.1: ub-common-name)."""
MAX_FILE: Final = 64 * 1024
MAX_CERTIFICATES: Final = 32
"""Of one file."""

_KEY_FILE = bytes.fromhex("302e020100300506032b657004220420")  # PKCS #8 up to the seed (RFC 8410 section 7)
_TRUE = b"\xff"
_COMMON_NAME = bytes.fromhex("550403")
_LINE = 64
_SEED_BYTES = 32
_UTC_UNTIL = 2050


def make_authority(
    secret: SecretIdentity, name: str, *, serial: bytes, not_before: int, not_after: int, path_length: int = 1
) -> bytes:
    """Return the self-signed certificate (DER) of an authority called ``name``; times as in ``x509.Certificate``."""
    subject = _name(name)
    extensions = (
        _extension(BASIC_CONSTRAINTS, tlv(SEQUENCE, tlv(BOOLEAN, _TRUE), tlv(INTEGER, bytes((path_length,)))), True),
        _extension(KEY_USAGE, tlv(BIT_STRING, b"\x01\x06"), True),  # keyCertSign, cRLSign
        _extension(SUBJECT_KEY, tlv(OCTET_STRING, _key_identifier(secret.identity)), False),
    )
    dates = (not_before, not_after)
    return _made(secret, serial, dates, issuer=subject, subject=subject, key=secret.identity, extensions=extensions)


def issue(
    authority: Certificate,
    secret: SecretIdentity,
    domain: str,
    key: Identity,
    *,
    serial: bytes,
    not_before: int,
    not_after: int,
) -> bytes:
    """Return a certificate (DER) by which ``key`` speaks for ``domain``; raises UntrustedError for what nobody takes.

    It is not valid for longer than the authority is.
    """
    check_authority(authority)
    if authority.key != secret.identity or authority.subject_key is None:
        raise UntrustedError("the key of another authority")
    extensions = (
        _extension(BASIC_CONSTRAINTS, tlv(SEQUENCE), True),
        _extension(KEY_USAGE, tlv(BIT_STRING, b"\x07\x80"), True),  # digitalSignature
        _extension(EXTENDED_KEY_USAGE, tlv(SEQUENCE, tlv(OID, SERVER_AUTH), tlv(OID, CLIENT_AUTH)), False),
        _extension(SUBJECT_NAMES, tlv(SEQUENCE, tlv(DNS_NAME, domain.encode())), True),
        _extension(SUBJECT_KEY, tlv(OCTET_STRING, _key_identifier(key)), False),
        _extension(AUTHORITY_KEY, tlv(SEQUENCE, tlv(KEY_IDENTIFIER, authority.subject_key)), False),
    )
    dates = (not_before, min(not_after, authority.not_after))
    made = _made(secret, serial, dates, issuer=authority.subject, subject=tlv(SEQUENCE), key=key, extensions=extensions)
    read(made)  # so that nothing is issued that this program refuses
    return made


def to_pem(kind: str, data: bytes) -> str:
    """Return ``data`` as text (RFC 7468); ``kind`` is CERTIFICATE or PRIVATE KEY."""
    text = binascii.b2a_base64(data, newline=False).decode()
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----"]) + "\n"


def from_pem(kind: str, text: str) -> list[bytes]:
    """Return what the blocks of this kind in ``text`` hold; other blocks and words between them are passed over.

    Raises UntrustedError for none, for too many, and for a block that is not base64.
    """
    found = []
    _, *blocks = text.split(f"-----BEGIN {kind}-----")
    for block in blocks:
        inside, end, _ = block.partition(f"-----END {kind}-----")
        try:
            found.append(binascii.a2b_base64("".join(inside.split()), strict_mode=True))
        except ValueError:
            raise UntrustedError(f"a {kind.lower()} that is not base64") from None
        if not end:
            raise UntrustedError(f"a {kind.lower()} that is cut")
    if not 1 <= len(found) <= MAX_CERTIFICATES:
        raise UntrustedError(f"{len(found)} times {kind.lower()}; 1 to {MAX_CERTIFICATES} are read")
    return found


def key_file(seed: bytes) -> str:
    """Return an Ed25519 seed as the text of a key file (PKCS #8)."""
    return to_pem("PRIVATE KEY", _KEY_FILE + seed)


def seed_of(text: str) -> bytes:
    """Return the seed in a key file; raises UntrustedError for other keys."""
    data = from_pem("PRIVATE KEY", text)[0]
    if not data.startswith(_KEY_FILE) or len(data) != len(_KEY_FILE) + _SEED_BYTES:
        raise UntrustedError("a private key that is not Ed25519 (PKCS #8, RFC 8410)")
    return data[len(_KEY_FILE) :]


def _made(
    signer: SecretIdentity,
    serial: bytes,
    dates: tuple[int, int],
    *,
    issuer: bytes,
    subject: bytes,
    key: Identity,
    extensions: Sequence[bytes],
) -> bytes:
    number = bytes((serial[0] & 0x3F | 0x40,)) + serial[1:SERIAL_BYTES]  # positive and of one length
    signed = tlv(
        SEQUENCE,
        VERSION_3,
        tlv(INTEGER, number),
        ED25519,
        issuer,
        tlv(SEQUENCE, *map(_time, dates)),
        subject,
        KEY_HEAD,
        key,
        tlv(EXTENSIONS, tlv(SEQUENCE, *extensions)),
    )
    return tlv(SEQUENCE, signed, ED25519, tlv(BIT_STRING, b"\0", signer.sign(signed)))


def _name(text: str) -> bytes:
    data = text.encode()
    if not 0 < len(data) <= MAX_NAME or not text.isprintable():
        raise UntrustedError(f"an authority's name has 1 to {MAX_NAME} bytes of printable text")
    return tlv(SEQUENCE, tlv(SET, tlv(SEQUENCE, tlv(OID, _COMMON_NAME), tlv(UTF8, data))))


def _time(number: int) -> bytes:
    digits = f"{number:014}"
    if int(digits[:4]) < _UTC_UNTIL:
        return tlv(UTC_TIME, f"{digits[2:]}Z".encode())
    return tlv(GENERALIZED_TIME, f"{digits}Z".encode())


def _extension(oid: bytes, value: bytes, critical: bool) -> bytes:
    return tlv(SEQUENCE, tlv(OID, oid), tlv(BOOLEAN, _TRUE) if critical else b"", tlv(OCTET_STRING, value))


def _key_identifier(key: Identity) -> bytes:
    """Return 20 bytes of the key's hash (RFC 7093 section 2, method 1)."""
    return sha256(key)[:20]

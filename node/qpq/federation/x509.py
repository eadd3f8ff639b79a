"""Certificates that say which domain a key speaks for (RFC 5280, Ed25519 as in RFC 8410), read strictly.

Every certificate must have version 3 and be signed with Ed25519 over an Ed25519 key. The extensions that matter
are read, one that is critical and not among them refuses the certificate, and so do name constraints
whether critical or not, since nobody here would keep them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from qpq.crypto.identity import ID_BYTES, Identity
from qpq.crypto.primitives import ed25519_verify
from qpq.federation.errors import UntrustedError
from qpq.wire.der import BIT_STRING, INTEGER, OCTET_STRING, SEQUENCE, Reader
from qpq.wire.domain import MAX_DOMAIN, check_domain
from qpq.wire.errors import DerError, FieldError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CERTIFICATE: Final = 1024
"""Bytes of a certificate; what ``qpq federation ca`` issues has about 400."""

SERVER_AUTH: Final = bytes.fromhex("2b06010505070301")
CLIENT_AUTH: Final = bytes.fromhex("2b06010505070302")
DIGITAL_SIGNATURE: Final = 0
KEY_CERT_SIGN: Final = 5
"""Bits of a key usage (RFC 5280 section 4.2.1.3)."""

ED25519: Final = bytes.fromhex("300506032b6570")
VERSION_3: Final = bytes.fromhex("a003020102")
KEY_HEAD: Final = bytes.fromhex("302a300506032b6570032100")
EXTENSIONS: Final = 0xA3
DNS_NAME: Final = 0x82
KEY_IDENTIFIER: Final = 0x80
BASIC_CONSTRAINTS: Final = bytes.fromhex("551d13")
KEY_USAGE: Final = bytes.fromhex("551d0f")
EXTENDED_KEY_USAGE: Final = bytes.fromhex("551d25")
SUBJECT_NAMES: Final = bytes.fromhex("551d11")
SUBJECT_KEY: Final = bytes.fromhex("551d0e")
AUTHORITY_KEY: Final = bytes.fromhex("551d23")
_NAME_CONSTRAINTS = bytes.fromhex("551d1e")
_EMPTY_NAME = b"\x30\x00"
_SIGNATURE_BYTES = 64
_USAGES = 9


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says. Times are UTC as numbers that are read YYYYMMDDhhmmss; None: it says nothing of it."""

    der: bytes
    signed: bytes
    signature: bytes
    issuer: bytes
    subject: bytes
    not_before: int
    not_after: int
    key: Identity
    authority: bool = False
    path_length: int | None = None
    usage: frozenset[int] | None = None
    purposes: frozenset[bytes] | None = None
    domain: str | None = None
    subject_key: bytes | None = None
    authority_key: bytes | None = None
    has_constraints: bool = False

    @property
    def has_subject(self) -> bool:
        """Whether its holder has a name besides the domain."""
        return self.subject != _EMPTY_NAME

    def is_signed_by(self, key: Identity) -> bool:
        """Whether the holder of ``key`` has signed it."""
        return ed25519_verify(key, self.signature, self.signed)


def is_domain(text: str) -> bool:
    """Whether ``text`` is the name of a domain (``check_domain``), and neither a wildcard nor an address."""
    try:
        check_domain(text)
    except FieldError:
        return False
    return not text.rpartition(".")[2].isdigit()


def read(der: bytes) -> Certificate:
    """Read one certificate. Raises UntrustedError for whatever is not exactly as it must be."""
    if len(der) > MAX_CERTIFICATE:
        raise UntrustedError(f"a certificate of {len(der)} bytes, at most {MAX_CERTIFICATE} are read")
    try:
        return _read(der)
    except DerError as fault:
        raise UntrustedError(str(fault)) from None


def _read(der: bytes) -> Certificate:
    outer = Reader(der)
    content = outer.inner(SEQUENCE)
    outer.end("the certificate")
    signed = content.item(SEQUENCE)
    if not content.skip(ED25519):
        raise UntrustedError("a signature that is not Ed25519")
    signature = content.take(BIT_STRING)
    content.end("the signature")
    if len(signature) != 1 + _SIGNATURE_BYTES or signature[0]:
        raise UntrustedError("a signature of the wrong length")
    inside = Reader(signed).inner(SEQUENCE)
    if not inside.skip(VERSION_3):
        raise UntrustedError("not an X.509 certificate of version 3")
    inside.serial()
    if not inside.skip(ED25519):
        raise UntrustedError("a signature that is not Ed25519")
    issuer = inside.name()
    if issuer == _EMPTY_NAME:
        raise UntrustedError("an issuer without a name")
    validity = inside.inner(SEQUENCE)
    not_before, not_after = validity.time(), validity.time()
    validity.end("the validity")
    subject = inside.name()
    if not inside.skip(KEY_HEAD):
        raise UntrustedError("a key that is not Ed25519")
    key = Identity(inside.raw(ID_BYTES))
    found = _extensions(inside, has_subject=subject != _EMPTY_NAME)
    return Certificate(der, signed, signature[1:], issuer, subject, not_before, not_after, key, **found)


def _extensions(inside: Reader, *, has_subject: bool) -> dict[str, Any]:
    """Return what the extensions say, by the names of ``Certificate``'s fields."""
    found: dict[str, Any] = {}
    if inside.is_done():
        return found
    wrapped = inside.inner(EXTENSIONS)
    inside.end("the extensions")
    seen: set[bytes] = set()
    for extension in wrapped.inner(SEQUENCE).extensions():
        if extension.oid in seen:
            raise UntrustedError("an extension that is there twice")
        seen.add(extension.oid)
        reader = _READERS.get(extension.oid)
        if reader is not None:
            inner = Reader(extension.value)
            found |= reader(inner)
            inner.end("an extension")
        elif extension.oid == _NAME_CONSTRAINTS:
            found["has_constraints"] = True
        elif extension.critical:
            raise UntrustedError("a critical extension that is not known here")
        if extension.oid == BASIC_CONSTRAINTS and found["authority"] and not extension.critical:
            raise UntrustedError("an authority that does not insist on being one")
        if extension.oid == SUBJECT_NAMES and extension.critical is has_subject:
            raise UntrustedError("names that are critical beside a subject, or not without one")
        if extension.oid in {SUBJECT_KEY, AUTHORITY_KEY} and extension.critical:
            raise UntrustedError("a key identifier that is critical")
    wrapped.end("the extensions")
    return found


def _basic_constraints(inner: Reader) -> dict[str, Any]:
    content = inner.inner(SEQUENCE)
    authority = content.boolean()
    length = None
    if not content.is_done():
        digits = content.take(INTEGER)
        if not authority or len(digits) != 1 or digits[0] > 0x7F:  # noqa: PLR2004 (positive, in one byte)
            raise UntrustedError("a path length that makes no sense")
        length = digits[0]
    content.end("the basic constraints")
    return {"authority": authority, "path_length": length}


def _key_usage(inner: Reader) -> dict[str, Any]:
    bits = inner.take(BIT_STRING)
    if not 2 <= len(bits) <= 3 or bits[0] > 7:  # noqa: PLR2004 (unused bits, then nine)
        raise UntrustedError("a key usage that is none")
    number = int.from_bytes(bits[1:], "big")
    if not number >> bits[0] & 1 or number & ((1 << bits[0]) - 1):
        raise UntrustedError("a key usage that is not strict DER")
    width = 8 * (len(bits) - 1)
    if width - bits[0] > _USAGES:
        raise UntrustedError("a key usage that is none")
    return {"usage": frozenset(bit for bit in range(width) if number >> (width - 1 - bit) & 1)}


def _extended_key_usage(inner: Reader) -> dict[str, Any]:
    content = inner.inner(SEQUENCE)
    purposes = {content.oid()}
    while not content.is_done():
        purposes.add(content.oid())
    return {"purposes": frozenset(purposes)}


def _subject_names(inner: Reader) -> dict[str, Any]:
    content = inner.inner(SEQUENCE)
    if not content.is_at(DNS_NAME):
        raise UntrustedError("a subject that is no domain")
    text = content.take(DNS_NAME).decode("ascii", "replace")
    if not content.is_done():
        raise UntrustedError("more than one domain in a certificate")
    if not is_domain(text):
        raise UntrustedError(f"{text[:MAX_DOMAIN]!a} is no domain: small letters, digits, '-' and '.' are allowed")
    return {"domain": text}


def _subject_key(inner: Reader) -> dict[str, Any]:
    return {"subject_key": _identifier(inner.take(OCTET_STRING))}


def _authority_key(inner: Reader) -> dict[str, Any]:
    content = inner.inner(SEQUENCE)
    identifier = content.take(KEY_IDENTIFIER)
    content.end("the authority's key identifier")
    return {"authority_key": _identifier(identifier)}


def _identifier(data: bytes) -> bytes:
    if not data:
        raise UntrustedError("a key identifier that is empty")
    return data


_READERS: Final[dict[bytes, Callable[[Reader], dict[str, Any]]]] = {
    BASIC_CONSTRAINTS: _basic_constraints,
    KEY_USAGE: _key_usage,
    EXTENDED_KEY_USAGE: _extended_key_usage,
    SUBJECT_NAMES: _subject_names,
    SUBJECT_KEY: _subject_key,
    AUTHORITY_KEY: _authority_key,
}

"""X.509 certificates (RFC 5280): strict DER in, the Ed25519 or X25519 key out.

Names and extensions are checked for their form and kept as bytes. Whatever the real package refuses is refused with
ValueError; certificates without a key this program could use can be loaded, their key is UnsupportedAlgorithm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .exceptions import UnsupportedAlgorithm
from .hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from .hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from .hazmat.primitives.serialization import Encoding, check, encoded, from_pem

if TYPE_CHECKING:
    from datetime import datetime

_BOOLEAN, _INTEGER, _BIT_STRING, _OCTET_STRING, _OID = 0x01, 0x02, 0x03, 0x04, 0x06
_SEQUENCE, _SET = 0x30, 0x31
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _ISSUER_ID, _SUBJECT_ID, _EXTENSIONS = 0xA0, 0x81, 0x82, 0xA3
_PRINTABLE = 0x13
_PRINTABLES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?"
_WIDE = {0x1C: "utf-32-be", 0x1E: "utf-16-be"}  # UniversalString, BMPString
_SHORT, _HIGH_TAG = 0x80, 0x1F
_MAX_LENGTH_BYTES: Final = 4
_KEYS = {key.oid[2:]: key for key in (Ed25519PublicKey, X25519PublicKey)}
_UTC_PIVOT = b"50"  # years below are of this century (RFC 5280 section 4.1.2.5.1)
_UTC_DIGITS, _GENERALIZED_DIGITS = 12, 14


class InvalidVersion(Exception):
    """A certificate of another version than 1 to 3."""

    def __init__(self, msg: str, parsed_version: int) -> None:
        super().__init__(msg)
        self.parsed_version = parsed_version


class Certificate:
    """A certificate whose form has been checked; its signature has not."""

    __slots__ = ("_dates", "_der", "_key", "_serial")

    def __init__(self, der: bytes) -> None:
        self._der = der
        self._serial, self._dates, self._key = _certificate(der)

    def __eq__(self, other: object) -> bool:
        """Compare the bytes."""
        return isinstance(other, Certificate) and other._der == self._der

    def __hash__(self) -> int:
        """Return the hash of the bytes."""
        return hash(self._der)

    @property
    def serial_number(self) -> int:
        """Return the serial number."""
        return self._serial

    @property
    def not_valid_before_utc(self) -> datetime:
        """Return when the certificate begins to be valid, in UTC."""
        return _moment(self._dates[0])

    @property
    def not_valid_after_utc(self) -> datetime:
        """Return when the certificate ends, in UTC."""
        return _moment(self._dates[1])

    def public_key(self) -> Ed25519PublicKey | X25519PublicKey:
        """Return the key; raises UnsupportedAlgorithm for other kinds, ValueError for a malformed one."""
        algorithm, key = self._key
        kind = _KEYS.get(algorithm)
        if kind is None:
            raise UnsupportedAlgorithm("Unsupported key type in the certificate")
        if key[0] or len(key) != 33:
            raise ValueError("Invalid key")
        return kind.from_public_bytes(key[1:])

    def public_bytes(self, encoding: Encoding) -> bytes:
        """Return the certificate in DER or PEM."""
        check(encoding, Encoding)
        if encoding not in {Encoding.DER, Encoding.PEM}:
            raise TypeError("encoding must be Encoding.DER or Encoding.PEM")
        return encoded(self._der, encoding, "CERTIFICATE")


def load_der_x509_certificate(data: bytes, backend: object = None) -> Certificate:  # noqa: ARG001 (theirs)
    """Return the certificate; raises ValueError for what is not strict DER, InvalidVersion."""
    if not isinstance(data, bytes):
        raise TypeError(f"{type(data).__name__!r} object is not an instance of 'bytes'")
    return Certificate(data)


def load_pem_x509_certificate(data: bytes, backend: object = None) -> Certificate:  # noqa: ARG001 (theirs)
    """Return the first certificate of a PEM file; raises ValueError."""
    if not isinstance(data, bytes):
        raise TypeError(f"{type(data).__name__!r} object is not an instance of 'bytes'")
    return Certificate(from_pem(data, "CERTIFICATE"))


class _Reader:
    """A position in DER (X.690); every length in its shortest form."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def at(self, tag: int) -> bool:
        """Whether the next item has this tag."""
        return self.position < len(self.data) and self.data[self.position] == tag

    def item(self) -> tuple[int, bytes]:
        """Return tag and content of the next item."""
        start = self.position
        head = self.data[start : start + 2]
        if len(head) < 2 or head[0] & _HIGH_TAG == _HIGH_TAG:
            raise ValueError(f"error parsing asn1 value: no item at byte {start}")
        size, begin = head[1], start + 2
        if size >= _SHORT:
            wide = size - _SHORT
            field = self.data[begin : begin + wide]
            size = int.from_bytes(field, "big")
            begin += wide
            shortest = len(field) == wide and 0 < wide <= _MAX_LENGTH_BYTES and field[0] != 0 and size >= _SHORT
            if not shortest:
                raise ValueError(f"error parsing asn1 value: a length at byte {start} that is not DER")
        end = begin + size
        if end > len(self.data):
            raise ValueError(f"error parsing asn1 value: short of {end - len(self.data)} bytes")
        self.position = end
        return head[0], self.data[begin:end]

    def content(self, *tags: int) -> bytes:
        """Return the content of the next item, which must have one of the tags."""
        start = self.position
        tag, content = self.item()
        if tag not in tags:
            raise ValueError(f"error parsing asn1 value: unexpected tag {tag:#x} at byte {start}")
        return content

    def inner(self, tag: int) -> _Reader:
        """Return a reader of the next item's content."""
        return _Reader(self.content(tag))

    def end(self) -> None:
        """Raise ValueError when there is more."""
        if self.position != len(self.data):
            raise ValueError("error parsing asn1 value: extra data")


def _certificate(der: bytes) -> tuple[int, tuple[bytes, bytes], tuple[bytes, bytes]]:
    """Return serial number, both dates and (algorithm, key as BIT STRING)."""
    outer = _Reader(der)
    certificate = outer.inner(_SEQUENCE)
    outer.end()
    signed = certificate.inner(_SEQUENCE)
    _algorithm(certificate)
    _bits(certificate)
    certificate.end()
    version = _version(signed)
    serial = int.from_bytes(_integer(signed), "big", signed=True)
    _algorithm(signed)
    _name(signed)
    validity = signed.inner(_SEQUENCE)
    dates = _time(validity), _time(validity)
    validity.end()
    _name(signed)
    key_info = signed.inner(_SEQUENCE)
    key = _algorithm(key_info), key_info.content(_BIT_STRING)
    _bit_content(key[1])
    key_info.end()
    for tag in (_ISSUER_ID, _SUBJECT_ID):
        if signed.at(tag):
            _bit_content(signed.content(tag))
    if signed.at(_EXTENSIONS):
        wrapped = signed.inner(_EXTENSIONS)
        _extensions(wrapped.inner(_SEQUENCE))
        wrapped.end()
    signed.end()
    if version not in {0, 2}:
        raise InvalidVersion(f"{version} is not a valid X509 version", version)
    return serial, dates, key


def _version(signed: _Reader) -> int:
    """Return 0 for version 1, 2 for version 3; an octet as the real package has it."""
    if not signed.at(_VERSION):
        return 0
    wrapped = signed.inner(_VERSION)
    version = int.from_bytes(_integer(wrapped), "big", signed=True)
    wrapped.end()
    if not 0 < version <= 0xFF:
        raise ValueError("error parsing asn1 value: a version that is none, or the default written out")
    return version


def _algorithm(reader: _Reader) -> bytes:
    """Return the object identifier of an AlgorithmIdentifier; a key of a known kind allows no parameters."""
    identifier = reader.inner(_SEQUENCE)
    oid = _oid(identifier)
    if identifier.position < len(identifier.data):
        if oid in _KEYS:
            raise ValueError("error parsing asn1 value: parameters of an algorithm that has none")
        identifier.item()
    identifier.end()
    return oid


def _oid(reader: _Reader) -> bytes:
    content = reader.content(_OID)
    previous = 0
    for byte in content:
        if byte == _SHORT and not previous & _SHORT:
            raise ValueError("error parsing asn1 value: an object identifier that is not DER")
        previous = byte
    if not content or previous & _SHORT:
        raise ValueError("error parsing asn1 value: an object identifier that is cut")
    return content


def _integer(reader: _Reader) -> bytes:
    content = reader.content(_INTEGER)
    if not content or (len(content) > 1 and content[0] in {0, 0xFF} and content[0] >> 7 == content[1] >> 7):
        raise ValueError("error parsing asn1 value: an integer that is not DER")
    return content


def _bits(reader: _Reader) -> None:
    _bit_content(reader.content(_BIT_STRING))


def _bit_content(content: bytes) -> None:
    if not content or content[0] > 7 or (content[0] and (len(content) == 1 or content[-1] & ((1 << content[0]) - 1))):
        raise ValueError("error parsing asn1 value: a bit string that is not DER")


def _name(reader: _Reader) -> None:
    names = reader.inner(_SEQUENCE)
    while names.position < len(names.data):
        members = names.inner(_SET)
        previous = b""
        while members.position < len(members.data) or not previous:
            start = members.position
            member = members.inner(_SEQUENCE)
            _oid(member)
            _value(*member.item())
            member.end()
            item = members.data[start : members.position]
            if item < previous:
                raise ValueError("error parsing asn1 value: a set that is out of order")
            previous = item


def _value(tag: int, content: bytes) -> None:
    """Check the three kinds of string whose bytes are restricted when a certificate is loaded."""
    if tag == _PRINTABLE and content.translate(None, _PRINTABLES):
        raise ValueError("error parsing asn1 value: a PrintableString with other characters")
    if tag in _WIDE:
        content.decode(_WIDE[tag])


def _extensions(reader: _Reader) -> None:
    while True:
        extension = reader.inner(_SEQUENCE)
        _oid(extension)
        if extension.at(_BOOLEAN) and extension.content(_BOOLEAN) != b"\xff":
            raise ValueError("error parsing asn1 value: a boolean that is not DER")
        extension.content(_OCTET_STRING)
        extension.end()
        if reader.position == len(reader.data):
            return


def _time(reader: _Reader) -> bytes:
    """Return a UTCTime or GeneralizedTime as fourteen digits."""
    short = reader.at(_UTC_TIME)
    content = reader.content(_UTC_TIME, _GENERALIZED_TIME)
    digits, zone = content[:-1], content[-1:]
    if zone != b"Z" or len(digits) != (_UTC_DIGITS if short else _GENERALIZED_DIGITS) or not digits.isdigit():
        raise ValueError("error parsing asn1 value: a time that is not DER")
    if short:
        digits = (b"20" if digits[:2] < _UTC_PIVOT else b"19") + digits
    year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:8])
    if not 1 <= month <= 12 or not 1 <= day <= _days(year, month):
        raise ValueError("error parsing asn1 value: a day that does not exist")
    if digits[8:10] > b"23" or digits[10:12] > b"59" or digits[12:] > b"59":
        raise ValueError("error parsing asn1 value: a time that does not exist")
    return digits


def _days(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in {4, 6, 9, 11} else 31


def _moment(digits: bytes) -> datetime:
    from datetime import UTC, datetime  # noqa: PLC0415 (nothing on a router asks)

    fields = [int(digits[:4]), *(int(digits[start : start + 2]) for start in range(4, 14, 2))]
    return datetime(*fields, tzinfo=UTC)  # type: ignore[misc,arg-type]  # six numbers

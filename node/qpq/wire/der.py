"""DER (X.690): items of known tags and shortest lengths, into certificates and out of those of peers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from qpq.wire.errors import DerError

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OID = 0x01, 0x02, 0x03, 0x04, 0x06
UTF8, UTC_TIME, GENERALIZED_TIME = 0x0C, 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31
_PRINTABLE, _IA5 = 0x13, 0x16

_SHORT = 0x80
_TRUE = b"\xff"
_MAX_SERIAL: Final = 20  # bytes (RFC 5280 section 4.1.2.2)
_MAX_OID: Final = 63
_MAX_ARC: Final = 4
_PRINTABLES: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?"
_GENERALIZED_FROM: Final = b"2050"  # years before are written as UTCTime (RFC 5280 section 4.1.2.5)
_UTC_PIVOT: Final = b"50"
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Extension(NamedTuple):
    """One extension of a certificate: its object identifier as written, and what is in it."""

    oid: bytes
    critical: bool
    value: bytes


def tlv(tag: int, *parts: bytes) -> bytes:
    """Return an item of this tag with the given content, below 64 KiB of it."""
    content = b"".join(parts)
    size = len(content)
    if size < _SHORT:
        return bytes((tag, size)) + content
    wide = 1 if size <= 0xFF else 2  # noqa: PLR2004 (one byte)
    return bytes((tag, _SHORT | wide)) + size.to_bytes(wide, "big") + content


class Reader:
    """A position in the content of one item. Every method raises DerError for anything but what it names."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def is_at(self, tag: int) -> bool:
        """Whether the next item has this tag."""
        return self._data[self._position : self._position + 1] == bytes((tag,))

    def is_done(self) -> bool:
        """Whether nothing follows."""
        return self._position == len(self._data)

    def take(self, tag: int) -> bytes:
        """Return the content of the next item, which must have this tag."""
        data, start = self._data, self._position
        if len(data) - start < 2 or data[start] != tag:  # noqa: PLR2004 (tag and length)
            raise DerError("not a certificate in DER")
        size, begin = data[start + 1], start + 2
        if size >= _SHORT:
            wide = size - _SHORT
            size = int.from_bytes(data[begin : begin + wide], "big")
            begin += wide
            if wide not in {1, 2} or size < (_SHORT if wide == 1 else 0x100):
                raise DerError("a length that is not strict DER")
        end = begin + size
        if end > len(data):
            raise DerError("a certificate that is cut")
        self._position = end
        return data[begin:end]

    def inner(self, tag: int) -> Reader:
        """Return a reader of the next item's content."""
        return Reader(self.take(tag))

    def item(self, tag: int) -> bytes:
        """Return the next item as it is written, tag and length too."""
        start = self._position
        self.take(tag)
        return self._data[start : self._position]

    def skip(self, prefix: bytes) -> bool:
        """Go past ``prefix``, whole items written out, and return True if they come next."""
        if not self._data.startswith(prefix, self._position):
            return False
        self._position += len(prefix)
        return True

    def raw(self, size: int) -> bytes:
        """Return the next ``size`` bytes, whose tag and length were skipped."""
        data = self._data[self._position : self._position + size]
        if len(data) != size:
            raise DerError("a certificate that is cut")
        self._position += size
        return data

    def end(self, what: str) -> None:
        """Make sure that nothing follows."""
        if not self.is_done():
            raise DerError(f"bytes after {what}")

    def serial(self) -> None:
        """Take a serial number: positive, shortest form."""
        content = self.take(INTEGER)
        if not content or content[0] & _SHORT or len(content) > _MAX_SERIAL or not any(content):
            raise DerError("a serial number that is none")
        if content[0] == 0 and not content[1] & _SHORT:
            raise DerError("a serial number that is not strict DER")

    def name(self) -> bytes:
        """Take a name, any number of attributes, each alone and with text, and return it as written."""
        start = self._position
        parts = self.inner(SEQUENCE)
        while not parts.is_done():
            part = parts.inner(SET)
            attribute = part.inner(SEQUENCE)
            part.end("the attribute of a name")
            attribute.oid()
            attribute.text()
            attribute.end("the attribute of a name")
        return self._data[start : self._position]

    def text(self) -> None:
        """Take a UTF8String, PrintableString or IA5String."""
        if self.is_at(UTF8):
            try:
                self.take(UTF8).decode()
            except UnicodeDecodeError:
                raise DerError("a name that is no text") from None
        elif self.is_at(_PRINTABLE):
            if self.take(_PRINTABLE).translate(None, _PRINTABLES):
                raise DerError("a name that is no text")
        elif not self.take(_IA5).isascii():
            raise DerError("a name that is no text")

    def oid(self) -> bytes:
        """Take an object identifier and return it as written."""
        content = self.take(OID)
        if not content or len(content) > _MAX_OID or content[-1] & _SHORT:
            raise DerError("an object identifier that is none")
        length = 0
        for byte in content:
            if byte == _SHORT and not length:
                raise DerError("an object identifier that is not strict DER")
            length = length + 1 if byte & _SHORT else 0
            if length >= _MAX_ARC:
                raise DerError("an object identifier that is too large")
        return content

    def time(self) -> int:
        """Take a point in time (UTC) that exists and return it as a number that is read YYYYMMDDhhmmss."""
        if self.is_at(UTC_TIME):
            digits = self.take(UTC_TIME)
            digits = (b"20" if digits[:2] < _UTC_PIVOT else b"19") + digits
        else:
            digits = self.take(GENERALIZED_TIME)
            if digits[:4] < _GENERALIZED_FROM:
                raise DerError("a time that is not strict DER")
        if len(digits) != 15 or digits[14:] != b"Z" or not digits[:14].isdigit():  # noqa: PLR2004 (YYYYMMDDhhmmssZ)
            raise DerError("a time that is not strict DER")
        year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:8])
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        if not 1 <= month <= len(_DAYS) or not 1 <= day <= _DAYS[month - 1] + (leap and month == 2):  # noqa: PLR2004
            raise DerError("a day that does not exist")
        if digits[8:10] > b"23" or digits[10:12] > b"59" or digits[12:14] > b"59":
            raise DerError("a time that does not exist")
        return int(digits[:14])

    def boolean(self) -> bool:
        """Take a truth value where the default is False, so that only True is written."""
        if not self.is_at(BOOLEAN):
            return False
        if self.take(BOOLEAN) != _TRUE:
            raise DerError("a truth value that is not strict DER")
        return True

    def extensions(self) -> Iterator[Extension]:
        """Go through one or more extensions."""
        while True:
            extension = self.inner(SEQUENCE)
            oid, critical = extension.oid(), extension.boolean()
            found = Extension(oid, critical, extension.take(OCTET_STRING))
            extension.end("an extension")
            yield found
            if self.is_done():
                return

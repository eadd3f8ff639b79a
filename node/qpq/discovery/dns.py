"""Multicast DNS messages, the part that service discovery needs: strict decoder of responses, encoder of queries.

RFC 1035 section 4, RFC 6762 section 18, RFC 6763. The decoder is for bytes from anybody: bounded
records, compression that only points backwards, lengths that must match to the byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_ntop
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from qpq.discovery.errors import DnsError

if TYPE_CHECKING:
    from collections.abc import Iterable

A, PTR, TXT, AAAA, SRV = 1, 12, 16, 28, 33

MAX_MESSAGE: Final = 9000
"""Bytes (RFC 6762 section 17)."""

MAX_RECORDS: Final = 128
MAX_QUESTIONS: Final = 16
MAX_QUERY: Final = 1232
"""Bytes of a query of ours: fits the least IPv6 MTU."""

_HEADER = struct.Struct(">HHHHHH")
_RECORD = struct.Struct(">HHIH")
_QUESTION = struct.Struct(">HH")
_SERVICE = struct.Struct(">HHH")
_RESPONSE, _OPCODE_RCODE = 0x8000, 0x780F
_INTERNET, _CLASS_MASK, _UNICAST = 1, 0x7FFF, 0x8000
_MAX_NAME, _MAX_LABEL, _POINTER = 255, 63, 0xC0
_SIZES = {A: 4, AAAA: 16}


class Pointer(NamedTuple):
    """PTR: ``name`` has the instance ``target``."""

    name: str
    ttl: int
    target: str


class Service(NamedTuple):
    """SRV: the instance ``name`` is served by ``host`` at ``port``."""

    name: str
    ttl: int
    port: int
    host: str


class Text(NamedTuple):
    """TXT: ``entries`` as they came, at most 255 bytes each."""

    name: str
    ttl: int
    entries: tuple[bytes, ...]


class HostAddress(NamedTuple):
    """A or AAAA: ``name`` has the address ``host``; ``scope`` is the interface it was heard on (0: unknown)."""

    name: str
    ttl: int
    host: str
    scope: int = 0


Record: TypeAlias = Pointer | Service | Text | HostAddress


class Question(NamedTuple):
    """One question of a query; ``split`` tells where in ``name`` the first label ends (0: at the first dot)."""

    name: str
    kind: int
    split: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """A decoded response: its id (0 when multicast) and the records of all its sections."""

    id: int
    records: tuple[Record, ...]


def decode(message: bytes) -> Response:
    """Read a response; records of other types and classes are skipped. Names come in lower case, ending with a dot.

    Raises DnsError for queries, failures, and anything not well-formed to the last byte.
    """
    if not _HEADER.size <= len(message) <= MAX_MESSAGE:
        raise DnsError(f"a message of {len(message)} bytes")
    identifier, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(message)
    if flags & (_RESPONSE | _OPCODE_RCODE) != _RESPONSE:
        raise DnsError("no response, or one that tells of a failure")
    count = answers + authorities + additionals
    if questions > MAX_QUESTIONS or count > MAX_RECORDS:
        raise DnsError(f"{questions} questions and {count} records are too many")
    at = _HEADER.size
    for _ in range(questions):
        _name, at = _read_name(message, at)
        at += _QUESTION.size
    records = []
    for _ in range(count):
        record, at = _read_record(message, at)
        if record is not None:
            records.append(record)
    if at != len(message):
        raise DnsError("bytes follow the last record, or the last question is cut short")
    return Response(identifier, tuple(records))


def encode_query(questions: Iterable[Question], *, identifier: int = 0, unicast: bool = True) -> bytes:
    """Return a query; ``unicast`` asks for answers to the sender alone (RFC 6762 section 5.4).

    Questions that do not fit MAX_QUESTIONS or MAX_QUERY are left out. Raises DnsError for a name that cannot be.
    """
    body, count = b"", 0
    kind_class = _INTERNET | (_UNICAST if unicast else 0)
    for question in questions:
        encoded = _encode_name(question) + _QUESTION.pack(question.kind, kind_class)
        if count == MAX_QUESTIONS or _HEADER.size + len(body) + len(encoded) > MAX_QUERY:
            break
        body += encoded
        count += 1
    return _HEADER.pack(identifier, 0, count, 0, 0, 0) + body


def can_be_asked(question: Question) -> bool:
    """Whether the name can be written: what ``decode`` reads is not always that (dots inside of labels, lower case)."""
    try:
        _encode_name(question)
    except DnsError:
        return False
    return True


def split_text(data: bytes) -> tuple[bytes, ...]:
    """Return the strings of a TXT record (RFC 1035 section 3.3.14); raises DnsError."""
    entries, at = [], 0
    while at < len(data):
        end = at + 1 + data[at]
        if end > len(data):
            raise DnsError("a string of a TXT record is cut short")
        if end > at + 1:
            entries.append(data[at + 1 : end])
        at = end
    return tuple(entries)


def _read_record(message: bytes, at: int) -> tuple[Record | None, int]:
    name, at = _read_name(message, at)
    if at + _RECORD.size > len(message):
        raise DnsError("a record header is cut short")
    kind, kind_class, ttl, size = _RECORD.unpack_from(message, at)
    at += _RECORD.size
    end = at + size
    if end > len(message):
        raise DnsError(f"a record of {size} bytes is cut short")
    if kind_class & _CLASS_MASK != _INTERNET:
        return None, end
    return _read_data(message, at, end, kind, (name, ttl)), end


def _read_data(message: bytes, at: int, end: int, kind: int, head: tuple[str, int]) -> Record | None:
    if kind in _SIZES:
        if end - at != _SIZES[kind]:
            raise DnsError(f"an address of {end - at} bytes")
        return HostAddress(*head, inet_ntop(AF_INET if kind == A else AF_INET6, message[at:end]))
    if kind == TXT:
        return Text(*head, split_text(message[at:end]))
    if kind == PTR:
        return Pointer(*head, _read_target(message, at, end))
    if kind == SRV:
        if end - at <= _SERVICE.size:
            raise DnsError("a SRV record is cut short")
        _priority, _weight, port = _SERVICE.unpack_from(message, at)
        return Service(*head, port, _read_target(message, at + _SERVICE.size, end))
    return None


def _read_target(message: bytes, at: int, end: int) -> str:
    target, after = _read_name(message, at)
    if after != end:
        raise DnsError("a name does not fill its record")
    return target


def _read_name(message: bytes, at: int) -> tuple[str, int]:
    """Return the name at ``at`` and where it ends; pointers must go backwards, so they cannot loop."""
    labels: list[bytes] = []
    size, end, limit = 1, 0, at
    while True:
        if at >= len(message):
            raise DnsError("a name is cut short")
        length = message[at]
        if length >= _POINTER:
            if at + 2 > len(message):
                raise DnsError("a name is cut short")
            end = end or at + 2
            at = (length & ~_POINTER) << 8 | message[at + 1]
            if not _HEADER.size <= at < limit:
                raise DnsError("a compressed name does not point backwards")
            limit = at
            continue
        at += 1
        if length == 0:
            break
        if length > _MAX_LABEL or at + length > len(message):
            raise DnsError("a label is too long")
        size += length + 1
        if size > _MAX_NAME:
            raise DnsError("a name of more than 255 bytes")
        labels.append(message[at : at + length])
        at += length
    try:
        return b".".join([*labels, b""]).decode().lower(), end or at
    except UnicodeDecodeError:
        raise DnsError("a name that is not UTF-8") from None


def _encode_name(question: Question) -> bytes:
    first = question.name[: question.split] if question.split else ""
    rest = question.name[question.split + 1 :] if question.split else question.name
    encoded = b""
    for label in [*([first] if first else []), *rest.rstrip(".").split(".")]:
        raw = label.encode()
        if not 1 <= len(raw) <= _MAX_LABEL:
            raise DnsError(f"a label of {len(raw)} bytes")
        encoded += bytes([len(raw)]) + raw
    if len(encoded) >= _MAX_NAME:
        raise DnsError(f"a name of {len(encoded) + 1} bytes")
    return encoded + b"\0"

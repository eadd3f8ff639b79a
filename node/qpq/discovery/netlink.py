"""rtnetlink messages about links and addresses: strict decoder and builder of requests, no socket (RFC 3549).

The kernel writes in the byte order of the machine; ``order`` is a ``struct`` prefix so that both
are tested everywhere. All fields have fixed sizes: 32-bit machines differ in nothing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_ntop
from typing import TYPE_CHECKING, Final, TypeAlias

from qpq.discovery.errors import NetlinkError

if TYPE_CHECKING:
    from collections.abc import Iterator

NATIVE: Final = "="
MAX_DATAGRAM: Final = 65536
"""No dump chunk of the kernel is longer (it asks for at most 32 KiB)."""

NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 2, 3, 4
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22

IFF_UP, IFF_LOOPBACK, IFF_RUNNING, IFF_MULTICAST = 0x1, 0x8, 0x40, 0x1000
IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE, IFA_F_OPTIMISTIC = 0x08, 0x20, 0x40, 0x04

_NLM_F_REQUEST, _NLM_F_DUMP, _NLM_F_DUMP_INTR = 0x1, 0x300, 0x10
_IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_EXT_MASK = 3, 10, 18, 29
_INFO_KIND, _INFO_SLAVE_KIND = 1, 4
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_RTEXT_FILTER_SKIP_STATS = 8
_TYPE_MASK = 0x3FFF
_HEADER, _LINK, _ADDRESS, _ATTRIBUTE, _WORD = "IHHII", "BxHiII", "BBBBI", "HH", "I"
_HEADER_SIZE, _LINK_SIZE, _ADDRESS_SIZE, _ATTRIBUTE_SIZE, _WORD_SIZE = 16, 16, 8, 4, 4
_MAX_NAME, _MAX_INDEX = 15, 0x7FFF_FFFF
_ADDRESS_BYTES = {AF_INET: 4, AF_INET6: 16}


@dataclass(frozen=True, slots=True)
class LinkMessage:
    """A link (network interface) appeared, changed or, ``deleted``, went away; ``master`` 0: none."""

    sequence: int
    deleted: bool
    index: int
    name: str
    flags: int
    master: int = 0
    kind: str = ""
    slave_kind: str = ""


@dataclass(frozen=True, slots=True)
class AddressMessage:
    """An address of a link appeared, changed its flags or, ``deleted``, went away."""

    sequence: int
    deleted: bool
    index: int
    host: str
    prefix: int
    scope: int
    flags: int


@dataclass(frozen=True, slots=True)
class DumpEnd:
    """The answer to request ``sequence`` is complete; ``error`` is 0 or an errno."""

    sequence: int
    error: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """What was dumped changed meanwhile or was cut: the dump ``sequence`` cannot be relied on."""

    sequence: int


Message: TypeAlias = LinkMessage | AddressMessage | DumpEnd | Interrupted


def request_links(sequence: int, order: str = NATIVE) -> bytes:
    """Return a request for all links, without their statistics."""
    mask = struct.pack(order + _ATTRIBUTE + _WORD, 8, _IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    return _request(RTM_GETLINK, sequence, struct.pack(order + _LINK, 0, 0, 0, 0, 0) + mask, order)


def request_addresses(sequence: int, order: str = NATIVE) -> bytes:
    """Return a request for all addresses, IPv4 and IPv6."""
    return _request(RTM_GETADDR, sequence, struct.pack(order + _ADDRESS, 0, 0, 0, 0, 0), order)


def parse(datagram: bytes, order: str = NATIVE) -> list[Message]:
    """Read one datagram from rtnetlink; message types and attributes of no interest are skipped.

    Raises NetlinkError when it does not consist of whole messages with whole attributes.
    """
    messages: list[Message] = []
    at = 0
    while at < len(datagram):
        if len(datagram) - at < _HEADER_SIZE:
            raise NetlinkError("a message header is cut short")
        length, kind, flags, sequence, _port = struct.unpack_from(order + _HEADER, datagram, at)
        if not _HEADER_SIZE <= length <= len(datagram) - at:
            raise NetlinkError(f"a message of {length} bytes in {len(datagram) - at}")
        message = _message(kind, sequence, datagram[at + _HEADER_SIZE : at + length], order)
        if message is not None:
            messages.append(message)
        if flags & _NLM_F_DUMP_INTR:
            messages.append(Interrupted(sequence))
        at += _aligned(length)
    return messages


def _message(kind: int, sequence: int, body: bytes, order: str) -> Message | None:
    if kind in (RTM_NEWLINK, RTM_DELLINK):
        return _link(kind == RTM_DELLINK, sequence, body, order)
    if kind in (RTM_NEWADDR, RTM_DELADDR):
        return _address(kind == RTM_DELADDR, sequence, body, order)
    if kind in (NLMSG_DONE, NLMSG_ERROR):
        return _end(kind, sequence, body, order)
    if kind == NLMSG_OVERRUN:
        return Interrupted(sequence)
    return None


def _link(deleted: bool, sequence: int, body: bytes, order: str) -> LinkMessage | None:
    if len(body) < _LINK_SIZE:
        raise NetlinkError("a link message is cut short")
    family, _type, index, flags, _change = struct.unpack_from(order + _LINK, body)
    if family:
        return None  # a bridge or IPv6 telling of its own view of the link: DELLINK there deletes no link
    name, master, kind, slave_kind = "", 0, "", ""
    for attribute, value in _attributes(body[_LINK_SIZE:], order):
        if attribute == _IFLA_IFNAME:
            name = _text(value)
        elif attribute == _IFLA_MASTER:
            master = _word(value, order)
        elif attribute == _IFLA_LINKINFO:
            info = dict(_attributes(value, order))
            kind = _text(info.get(_INFO_KIND, b""))
            slave_kind = _text(info.get(_INFO_SLAVE_KIND, b""))
    if index <= 0 or not name or len(name) > _MAX_NAME:
        raise NetlinkError(f"a link message with index {index} and a name of {len(name)} characters")
    return LinkMessage(sequence, deleted, index, name, flags, master, kind, slave_kind)


def _address(deleted: bool, sequence: int, body: bytes, order: str) -> AddressMessage | None:
    if len(body) < _ADDRESS_SIZE:
        raise NetlinkError("an address message is cut short")
    family, prefix, flags, scope, index = struct.unpack_from(order + _ADDRESS, body)
    if family not in _ADDRESS_BYTES:
        return None
    local = peer = None
    for attribute, value in _attributes(body[_ADDRESS_SIZE:], order):
        if attribute == _IFA_LOCAL:
            local = value
        elif attribute == _IFA_ADDRESS:
            peer = value
        elif attribute == _IFA_FLAGS:
            flags = _word(value, order)
    host = peer if local is None else local
    size = _ADDRESS_BYTES[family]
    if host is None or len(host) != size or prefix > size * 8 or not 0 < index <= _MAX_INDEX:
        raise NetlinkError(f"an address message for link {index} with prefix length {prefix} and no proper address")
    return AddressMessage(sequence, deleted, index, inet_ntop(family, host), prefix, scope, flags)


def _end(kind: int, sequence: int, body: bytes, order: str) -> DumpEnd:
    if len(body) < _WORD_SIZE:
        if kind == NLMSG_DONE and not body:
            return DumpEnd(sequence, 0)
        raise NetlinkError("the end of a dump is cut short")
    (code,) = struct.unpack_from(order + "i", body)
    return DumpEnd(sequence, max(0, -code))


def _attributes(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        if len(data) - at < _ATTRIBUTE_SIZE:
            raise NetlinkError("an attribute header is cut short")
        length, kind = struct.unpack_from(order + _ATTRIBUTE, data, at)
        if not _ATTRIBUTE_SIZE <= length <= len(data) - at:
            raise NetlinkError(f"an attribute of {length} bytes in {len(data) - at}")
        yield kind & _TYPE_MASK, data[at + _ATTRIBUTE_SIZE : at + length]
        at += _aligned(length)


def _text(value: bytes) -> str:
    return value.partition(b"\0")[0].decode("ascii", "replace")


def _word(value: bytes, order: str) -> int:
    if len(value) != _WORD_SIZE:
        raise NetlinkError(f"an attribute of {len(value)} bytes that should have {_WORD_SIZE}")
    (word,) = struct.unpack(order + _WORD, value)
    return int(word)


def _request(kind: int, sequence: int, body: bytes, order: str) -> bytes:
    flags = _NLM_F_REQUEST | _NLM_F_DUMP
    return struct.pack(order + _HEADER, _HEADER_SIZE + len(body), kind, flags, sequence, 0) + body


def _aligned(length: int) -> int:
    return length + 3 & ~3

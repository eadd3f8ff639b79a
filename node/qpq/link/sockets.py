"""The one UDP socket of a node: both families where the machine has both.

A machine has many addresses, and a peer believes only the one it has called. So each datagram comes with
the local address it was sent to (IPV6_PKTINFO, RFC 3542 section 6), and answers leave from there.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from qpq.link.errors import AddressError, ListenError
from qpq.netaddress import NetAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.link.sources import Local, SockAddr

_DATAGRAM = 2048  # bytes: above every datagram this program or another QUIC of its kind sends
_WAITING = 512 * 1024  # bytes that may have arrived meanwhile: a handshake takes a router most of a second
_LATER = frozenset((errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.EMSGSIZE, errno.EINTR, errno.ENOMEM))
_ANCILLARY = 64  # bytes: one control message with an address and an interface
_IP_PKTINFO = 8  # Linux; Python names it from 3.14 on
_IP_RECVERR, _IPV6_RECVERR = 11, 25  # Linux; Python has no names for them
_MOST_ERRORS = 16  # taken from the kernel at once
_PACKET_INFO4 = struct.Struct("=i4s4s")  # interface, source of an answer, destination in the header
_PACKET_INFO6 = struct.Struct("=16si")
_ANY6, _ANY4 = "::", "0.0.0.0"  # noqa: S104 (a node talks to its neighbours on every interface)
_MULTICAST6 = 0xFF
_MULTICAST4 = 224


class UdpSocket:
    """A nonblocking UDP socket bound to ``address``; raises ListenError.

    Without an address of one family it takes IPv6 with mapped IPv4, and else the family there is.
    ``lost`` counts datagrams that the kernel would not take; ``doubt`` is called with whom the network says it cannot
    reach (ICMP: no such port or machine, which anybody on the network may say).
    """

    __slots__ = ("_doubt", "_dual", "_info", "_socket", "family", "lost")

    def __init__(self, address: NetAddress, doubt: Callable[[SockAddr], None] = lambda _address: None) -> None:
        self.lost = 0
        self._doubt = doubt
        self._dual = False
        self._socket = self._open(address)
        self.family = self._socket.family
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WAITING)  # the kernel may grant less
        if self.family == socket.AF_INET6:
            self._info = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            self._info = (socket.IPPROTO_IP, _IP_PKTINFO)
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        with suppress(OSError):
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            if self.family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)

    @property
    def port(self) -> int:
        """The local UDP port."""
        port: int = self._socket.getsockname()[1]
        return port

    def fileno(self) -> int:
        """Return the file descriptor, for the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()

    def receive(self) -> tuple[bytes, SockAddr, Local] | None:
        """Return the next datagram, where it came from and where it was sent to, or None when there is none."""
        try:
            data, ancillary, _, address = self._socket.recvmsg(_DATAGRAM, _ANCILLARY)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            self.lost += not self.hear()
            return None
        for level, kind, content in ancillary:
            if (level, kind) == self._info:
                return data, address, self._local(content)
        return data, address, b""

    def send(self, data: bytes, address: SockAddr, local: Local = b"", *, anew: bool = False) -> str:
        """Send, from ``local`` if given; return why ``address`` cannot be reached, or nothing.

        What is lost on the way is QUIC's to repair.
        """
        try:
            if local:
                self._socket.sendmsg((data,), ((*self._info, local),), 0, address)
            else:
                self._socket.sendto(data, address)
        except OSError as error:
            if not anew and self.hear():  # the error may be about what was sent to somebody else
                return self.send(data, address, local, anew=True)
            self.lost += 1
            return "" if error.errno in _LATER else os.strerror(error.errno or 0)
        return ""

    def hear(self) -> bool:
        """Take what the network has said of datagrams that were sent; whether that was anything."""
        heard = 0
        with suppress(OSError):
            while heard < _MOST_ERRORS:
                address = self._socket.recvmsg(0, 0, socket.MSG_ERRQUEUE)[3]
                heard += 1
                self._doubt(address)
        return heard > 0

    def sockaddr(self, address: NetAddress) -> SockAddr:
        """Return the tuple under which this socket sends to a literal address and hears from it.

        Raises AddressError for what is not one machine, or not reachable with this socket's family.
        """
        packed = socket.inet_pton(socket.AF_INET6 if address.is_ipv6 else socket.AF_INET, address.host)
        if not any(packed) or (packed[0] == _MULTICAST6 if address.is_ipv6 else packed[0] >= _MULTICAST4):
            raise AddressError(f"{address.host} is not the address of one machine")
        if address.is_link_local and not address.scope:
            raise AddressError(f"{address.host} needs its interface: write [{address.host}%interface]:{address.port}")
        if self.family == socket.AF_INET:
            plain = NetAddress.from_sockaddr((_canonical(packed), address.port))
            if plain.is_ipv6:
                raise AddressError("this machine has no IPv6")
            return (plain.host, plain.port)
        if not address.is_ipv6:
            if not self._dual:
                raise AddressError("this node listens on IPv6 only")
            return address.sockaddr6()
        return NetAddress(_canonical(packed), address.port, address.scope if address.is_link_local else 0).sockaddr6()

    def _local(self, content: bytes) -> Local:
        """Turn what tells where a datagram was sent to into what sends the answer from there."""
        if self.family == socket.AF_INET6:
            return _PACKET_INFO6.pack(_PACKET_INFO6.unpack(content)[0], 0)
        return _PACKET_INFO4.pack(0, _PACKET_INFO4.unpack(content)[2], bytes(4))

    def _open(self, address: NetAddress) -> socket.socket:
        families = [socket.AF_INET6, socket.AF_INET]
        if address.host not in {_ANY6, _ANY4} and address.is_ipv6:
            families = [socket.AF_INET6]
        elif address.host != _ANY6:
            families = [socket.AF_INET]
        error = OSError()
        for family in families:
            try:
                return self._bind(family, address)
            except OSError as fault:
                error = fault
                if fault.errno == errno.EADDRINUSE:
                    break
        raise ListenError(f"cannot listen on UDP {address}: {os.strerror(error.errno or 0)}") from error

    def _bind(self, family: int, address: NetAddress) -> socket.socket:
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                self._dual = address.host == _ANY6 and _join_families(opened)
                opened.bind((address.host, address.port, 0, address.scope))
            else:
                opened.bind((_ANY4 if address.host == _ANY6 else address.host, address.port))
        except OSError:
            opened.close()
            raise
        return opened


def _join_families(opened: socket.socket) -> bool:
    try:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    except OSError:
        return False
    return True


def _canonical(packed: bytes) -> str:
    """Return the text that the kernel's answers will have."""
    return socket.inet_ntop(socket.AF_INET6 if len(packed) == 16 else socket.AF_INET, packed)  # noqa: PLR2004

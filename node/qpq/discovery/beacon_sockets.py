"""The UDP sockets of the beacon: link-local IPv6 groups on each interface, IPv4 on loopback.

Linux routes no IPv6 multicast over ``lo``, and only root could add the route, so nodes on one
machine hear of each other through an IPv4 group that never leaves it (TTL 0).
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from qpq.discovery.interfaces import is_link_local
from qpq.mesh.events import Via
from qpq.netaddress import NetAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qpq.discovery.beacon import Channel

PORT: Final = 7171
MESH_GROUP: Final = "ff12::8000:7170"
"""Nodes on one mesh interface: transient, link-local scope (RFC 4291 section 2.7)."""

CLIENT_GROUP: Final = "ff12::8000:7171"
"""Nodes on the client bridge: few join it, so batman-adv carries it without flooding (Gluon)."""

LOCAL_GROUP: Final = "239.255.71.70"
"""Nodes on this machine (RFC 2365 section 6.1, sent with TTL 0)."""

MAX_DATAGRAM: Final = 512
_BATCH = 16
_ANCILLARY = 128
_IP_MULTICAST_ALL, _IPV6_MULTICAST_ALL = 49, 29  # linux/in.h, in6.h; Python has no names for them
_GROUPS = {Via.BEACON: MESH_GROUP, Via.GROUP: CLIENT_GROUP}
_PACKED = {socket.inet_pton(socket.AF_INET6, group): via for via, group in _GROUPS.items()}
_MEMBERSHIP = struct.Struct("=16sI")  # ipv6_mreq and in6_pktinfo alike
_ON_LOOPBACK = struct.pack("=4s4si", socket.inet_aton(LOCAL_GROUP), b"\x7f\0\0\1", 1)  # lo always has index 1


class BeaconSockets:
    """Sends and receives beacons; every socket that the machine does not allow is left out."""

    def __init__(self, port: int = PORT) -> None:
        """Open what can be opened; raises OSError when that is nothing."""
        self._port = port
        self._channels: dict[tuple[int, Via], Channel] = {}
        self._local: Channel | None = None
        self._socket6, error = _attempt(_ipv6, port)
        self._socket4, other = _attempt(_loopback, port)
        if self._socket6 is None and self._socket4 is None:
            raise error or other or OSError("no UDP socket")
        self.ipv6_error = error

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The open sockets, to be watched for reading."""
        return tuple(sock for sock in (self._socket6, self._socket4) if sock is not None)

    def join(self, channel: Channel) -> None:
        """Hear on ``channel``; raises OSError."""
        if channel.loopback:
            if self._socket4 is None:
                raise OSError("no IPv4 socket for the loopback interface")
            self._socket4.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _ON_LOOPBACK)
            self._local = channel
            return
        if self._socket6 is None:
            raise self.ipv6_error or OSError("no IPv6 socket")
        self._socket6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, _membership(channel))
        self._channels[channel.index, channel.via] = channel

    def leave(self, channel: Channel) -> None:
        """Hear on ``channel`` no more; an interface that is gone has taken the membership with it."""
        with suppress(OSError):
            if channel.loopback and self._local is not None and self._socket4 is not None:
                self._local = None
                self._socket4.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, _ON_LOOPBACK)
            elif self._channels.pop((channel.index, channel.via), None) is not None and self._socket6 is not None:
                self._socket6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP, _membership(channel))

    def send(self, channel: Channel, datagram: bytes) -> None:
        """Multicast ``datagram`` on ``channel``; raises OSError."""
        if channel.loopback and self._socket4 is not None:
            self._socket4.sendto(datagram, (LOCAL_GROUP, self._port))
        elif self._socket6 is not None:
            self._socket6.sendto(datagram, (_GROUPS[channel.via], self._port, 0, channel.index))

    def receive(self, sock: socket.socket) -> Iterator[tuple[Channel, bytes, NetAddress]]:
        """Yield what has come in, at most a few datagrams; what is not from the link itself is left out."""
        for _ in range(_BATCH):
            try:
                data, ancillary, _flags, sender = sock.recvmsg(MAX_DATAGRAM, _ANCILLARY)
            except OSError:  # nothing more, or an error of an earlier send
                return
            source = NetAddress.from_sockaddr(sender)
            if sock is self._socket4:
                channel = self._local if source.host.startswith("127.") else None
            else:
                channel = self._channel(ancillary, source)
            if channel is not None:
                yield channel, data, source

    def close(self) -> None:
        """Close the sockets; the kernel leaves the groups."""
        for sock in self.sockets:
            sock.close()
        self._socket6 = self._socket4 = None

    def _channel(self, ancillary: list[tuple[int, int, bytes]], source: NetAddress) -> Channel | None:
        """Return where a datagram was heard: group and interface, sent from a link-local address."""
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO and len(value) == _MEMBERSHIP.size:
                group, index = _MEMBERSHIP.unpack(value)
                via = _PACKED.get(group)
                if via is not None and source.scope == index and is_link_local(source.host):
                    return self._channels.get((index, via))
        return None


def _attempt(make: Callable[[int], socket.socket], port: int) -> tuple[socket.socket | None, OSError | None]:
    try:
        return make(port), None
    except OSError as error:
        return None, error


def _ipv6(port: int) -> socket.socket:
    sock = _datagram(socket.AF_INET6)
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
        with suppress(OSError):  # Linux before 4.20; what it would let in, PKTINFO shows
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
        sock.bind(("::", port))
    except OSError:
        sock.close()
        raise
    return sock


def _loopback(port: int) -> socket.socket:
    sock = _datagram(socket.AF_INET)
    try:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _ON_LOOPBACK)
        sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        sock.bind((LOCAL_GROUP, port))
    except OSError:
        sock.close()
        raise
    return sock


def _datagram(family: socket.AddressFamily) -> socket.socket:
    """Return a socket whose port other nodes on this machine may share."""
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return sock


def _membership(channel: Channel) -> bytes:
    return _MEMBERSHIP.pack(socket.inet_pton(socket.AF_INET6, _GROUPS[channel.via]), channel.index)

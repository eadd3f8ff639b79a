"""Finds other nodes by one-shot multicast DNS queries, for machines where port 5353 is somebody else's.

RFC 6762 section 5.1: a query from an ephemeral port, answered by unicast to that port. What is
published of us goes through avahi's file (service_files), or is umdns's affair.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from qpq.discovery.dns import MAX_MESSAGE, PTR, HostAddress, Question, decode, encode_query
from qpq.discovery.dnssd import SERVICE_TYPE
from qpq.discovery.errors import DiscoveryError, DnsError, PublishError
from qpq.discovery.limits import SourceLimiter, TokenBucket
from qpq.discovery.placing import published, server_host
from qpq.discovery.service_files import ServiceFile, find_responder
from qpq.discovery.trickle import Trickle
from qpq.netaddress import NetAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qpq.crypto.identity import Identity
    from qpq.discovery.dnssd import ServiceTable
    from qpq.discovery.interfaces import Interface
    from qpq.discovery.service_files import Responder
    from qpq.mesh.events import PeerFound

PORT: Final = 5353
GROUP4, GROUP6 = "224.0.0.251", "ff02::fb"
ANSWER_TIME: Final = 3.0
"""Seconds after a query in which answers are listened to."""

ANSWER_RATE, ANSWER_BURST = 20.0, 200.0
SOURCE_RATE, SOURCE_BURST = 1.0, 20.0
FOLLOW_UP: Final = 0.1
FOLLOW_UP_RATE, FOLLOW_UP_BURST = 0.2, 10.0
_FIRST_QUESTION, _DOUBLINGS, _ALWAYS = 1.0, 10, 1 << 30
_BATCH, _ANCILLARY = 16, 256
_IP_PKTINFO = 8  # linux/in.h; Python has no name for it before 3.14
_INFO4, _INFO6 = struct.Struct("=i4s4s"), struct.Struct("=16sI")

log = logging.getLogger(__name__)


class OneShotMdns:
    """Publishes through a service file where it can, asks from an ephemeral port on each interface."""

    def __init__(
        self,
        identity: Identity,
        port: int,
        domain: str,
        services: ServiceTable,
        *,
        random: Callable[[], float],
        on_found: Callable[[PeerFound], None],
        find: Callable[[], Responder | None] = find_responder,
        is_published: bool = False,
    ) -> None:
        """``is_published``: somebody else publishes the node already."""
        self._identity = identity
        self._port = port
        self._domain = domain
        self._services = services
        self._random = random
        self._on_found = on_found
        self._find = find
        self._is_published = is_published
        self._responder: Responder | None = None
        self._file: ServiceFile | None = None
        self._problem = ""
        self._interfaces: list[Interface] = []
        self._sockets: dict[socket.AddressFamily, socket.socket] = {}
        self._identifier = 0
        self._listen_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._follow_up: asyncio.TimerHandle | None = None
        self._all = TokenBucket(ANSWER_RATE, ANSWER_BURST)
        self._sources = SourceLimiter(SOURCE_RATE, SOURCE_BURST)
        self._follow_ups = TokenBucket(FOLLOW_UP_RATE, FOLLOW_UP_BURST)
        self.counters = dict.fromkeys(("mdns_queries", "mdns_limited", "mdns_damaged", "mdns_send_errors"), 0)

    def start(self, interfaces: Iterable[Interface]) -> None:
        """Open the sockets and begin; raises DiscoveryError when there is not one socket to be had."""
        self._loop = asyncio.get_running_loop()
        self._responder = None if self._is_published else self._find()
        self._file = None if self._responder is None else ServiceFile(self._responder, self._identity)
        for family in (socket.AF_INET6, socket.AF_INET):
            with suppress(OSError):
                self._sockets[family] = _open(family)
        if not self._sockets:
            raise DiscoveryError("no UDP socket for mDNS queries: neither IPv6 nor IPv4 can be used by this process")
        for sock in self._sockets.values():
            self._loop.add_reader(sock, self._readable, sock)
        self._trickle = Trickle(
            self._loop.time(), self._random, shortest=_FIRST_QUESTION, doublings=_DOUBLINGS, redundancy=_ALWAYS
        )
        self.follow(interfaces)

    def close(self) -> None:
        """Take the service file away and stop; may be called twice."""
        for timer in (self._timer, self._follow_up):
            if timer is not None:
                timer.cancel()
        for sock in self._sockets.values():
            self._loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()
        if self._file is not None:
            try:
                self._file.withdraw()
            except PublishError as error:
                log.warning("mdns: %s", error)

    def follow(self, interfaces: Iterable[Interface]) -> None:
        """Use these interfaces and their addresses from now on."""
        self._interfaces = list(interfaces)
        self._services.forget()
        self._publish()
        self.look_around()

    def look_around(self) -> None:
        """A link broke or the interfaces changed: ask at the quick pace again."""
        if self._sockets:
            self._trickle.reset(self._loop.time())
            self._arm()

    def status(self) -> str:
        """Say what this does."""
        if self._is_published:
            return "one-shot queries, published by umdns"
        if self._responder is None:
            return "one-shot queries only, not published: port 5353 is taken and avahi is not here"
        if self._problem:
            return f"one-shot queries only, not published: {self._problem}"
        note = "" if self._responder.running else " (avahi does not seem to run)"
        return f"avahi service file + one-shot queries{note}"

    def _publish(self) -> None:
        if self._file is None:
            return
        host = server_host(published(self._interfaces), socket.gethostname() + ".local")
        try:
            self._file.publish(self._port, f"{host}:{self._port}", self._domain)
            self._problem = ""
        except PublishError as error:
            if str(error) != self._problem:
                log.warning("mdns: %s", error)
            self._problem = str(error)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._trickle.at, self._ask)

    def _ask(self) -> None:
        if self._trickle.poll(self._loop.time()):
            self._identifier = 1 + int(self._random() * 0xFFFE)
            self._send([Question(SERVICE_TYPE, PTR)])
        self._arm()

    def _ask_more(self) -> None:
        self._follow_up = None
        now = self._loop.time()
        questions = self._services.questions(now)
        if questions and self._follow_ups.take(now):
            self._send(questions)

    def _send(self, questions: Iterable[Question]) -> None:
        query = encode_query(questions, identifier=self._identifier)
        self._listen_until = self._loop.time() + ANSWER_TIME
        for interface in self._interfaces:
            for family, sock in self._sockets.items():
                try:
                    if family == socket.AF_INET6 and interface.link_local:
                        sock.sendto(query, (GROUP6, PORT, 0, interface.index))
                    elif family == socket.AF_INET and interface.ipv4:
                        info = _INFO4.pack(interface.index, bytes(4), bytes(4))
                        sock.sendmsg([query], [(socket.IPPROTO_IP, _IP_PKTINFO, info)], 0, (GROUP4, PORT))
                    else:
                        continue
                except OSError:  # the interface is going away: netlink will say so
                    self.counters["mdns_send_errors"] += 1
                else:
                    self.counters["mdns_queries"] += 1

    def _readable(self, sock: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                data, ancillary, flags, sender = sock.recvmsg(MAX_MESSAGE, _ANCILLARY)
            except OSError:  # nothing more, or an error of an earlier send
                return
            source, index = NetAddress.from_sockaddr(sender), _interface(ancillary)
            if not flags & socket.MSG_TRUNC:
                self._take(data, source, index)

    def _take(self, data: bytes, source: NetAddress, index: int) -> None:
        """Judge one datagram: from a responder on one of our links, an answer to what was asked just now."""
        now = self._loop.time()
        interface = next((interface for interface in self._interfaces if interface.index == index), None)
        if interface is None or source.port != PORT or now > self._listen_until:
            self.counters["mdns_damaged"] += 1
            return
        near = source.is_link_local or any(address.covers(source.host) for address in interface.addresses)
        if not near or not self._all.take(now) or not self._sources.take(source.host, now):
            self.counters["mdns_limited"] += 1
            return
        try:
            response = decode(data)
        except DnsError:
            self.counters["mdns_damaged"] += 1
            return
        if response.id not in (self._identifier, 0):  # umdns leaves the id out
            self.counters["mdns_damaged"] += 1
            return
        records = [r._replace(scope=index) if isinstance(r, HostAddress) else r for r in response.records]
        for found in self._services.feed(records, now):
            self._on_found(found)
        if self._follow_up is None:
            self._follow_up = self._loop.call_later(FOLLOW_UP, self._ask_more)


def _open(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            sock.bind(("::", 0))
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
            sock.bind(("0.0.0.0", 0))  # noqa: S104 (answers come to whichever address asked)
    except OSError:
        sock.close()
        raise
    return sock


def _interface(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Return the index of the interface a datagram came in by, 0 if the kernel did not say."""
    for level, kind, value in ancillary:
        if (level, kind, len(value)) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _INFO6.size):
            return int(_INFO6.unpack(value)[1])
        if (level, kind, len(value)) == (socket.IPPROTO_IP, _IP_PKTINFO, _INFO4.size):
            return int(_INFO4.unpack(value)[0])
    return 0

"""All links of a node behind one socket: datagrams find their link, links find their datagrams.

It does no I/O and reads no clock: the endpoint feeds it from a real socket, the simulator from a virtual
one. ``now`` is seconds, monotonic, and never runs backwards.
"""

from __future__ import annotations

from qpq.link import imports as _imports  # noqa: F401 (it loads aioquic)

# isort: split

import os
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import CipherSuite
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from qpq.link.admission import VERSIONS, Door
from qpq.link.certificates import make_certificate
from qpq.link.connection import P2P_ALPN, TRUST, Link
from qpq.link.imports import Certificate
from qpq.link.ports import NEVER, Notice, Phase
from qpq.link.refusals import Refusals, printable
from qpq.link.sources import Sources
from qpq.link.tickets import TicketStore
from qpq.mesh.events import DialFailed, LinkDown
from qpq.netaddress import NetAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from qpq.crypto.identity import Identity, SecretIdentity
    from qpq.link.endings import Verdict
    from qpq.link.limits import LinkLimits
    from qpq.link.ports import LinkRow, Send
    from qpq.link.sources import Local, SockAddr
    from qpq.link.streams import Service
    from qpq.mesh.events import Event
    from qpq.wire.frames import Frame

CONNECTION_ID_BYTES: Final = 4
"""Bytes of the ids this node hands out: in every packet, so short; told apart by length from a client's first 8.
An id is no secret, a packet with a guessed one fails its authentication."""
DATAGRAM_BYTES: Final = 1200
"""Of UDP payload, which every path carries (RFC 9000 section 14)."""
BUSY_BYTES: Final = 2 * DATAGRAM_BYTES
"""Of a link's stream on their way; from there on messages wait for each other till the end of the loop's turn."""
_CERT_NONE = 0
_LONG_HEADER = 0x80
_LENGTH_AT = 5  # of the destination's length in a long header (RFC 8999 section 5.1)
_FAREWELLS = 8
_NO_LIMIT = 1 << 60  # of the connection; its one stream has a limit


@dataclass(slots=True)
class _Farewell:
    """The last datagram of a link this end has closed, for a peer that goes on as if it had been lost."""

    data: bytes
    address: SockAddr
    local: Local
    until: float
    left: int = _FAREWELLS


class Hub:
    """The links of one node.

    Events wait in ``events``: call ``collect`` after datagrams, hand the events out, then call ``transmit``.
    """

    def __init__(self, secret: SecretIdentity, limits: LinkLimits, send: Send, now: float) -> None:
        self.own = secret.identity
        self.limits = limits
        self.events: deque[Event | Notice] = deque()
        self.refusals = Refusals()
        self.sources = Sources(limits, now)
        self.tickets = TicketStore(limits.tickets, limits.ticket_s)
        self.timer_at = NEVER
        self.trust = dict(TRUST)
        self.wake: Callable[[], None] = lambda: None
        self._services: dict[str, Service] = {}
        self._send = send
        self._door = Door(limits, self.sources, self.refusals, send, now)
        self._links: dict[int, Link] = {}
        self._by_id: dict[bytes, Link] = {}
        self._farewells: dict[bytes, _Farewell] = {}
        self._pressed: dict[Link, None] = {}
        self._heard: dict[Link, None] = {}
        self._next_number = 1
        self._server = QuicConfiguration(
            alpn_protocols=list(TRUST),
            cipher_suites=[CipherSuite.CHACHA20_POLY1305_SHA256],
            connection_id_length=CONNECTION_ID_BYTES,
            idle_timeout=limits.idle_s,
            is_client=False,
            max_data=_NO_LIMIT,
            max_datagram_size=DATAGRAM_BYTES,
            max_stream_data=limits.receive_window,
            supported_versions=list(VERSIONS),
            verify_mode=_CERT_NONE,
            certificate=Certificate(make_certificate(secret)),
            private_key=Ed25519PrivateKey.from_private_bytes(secret.seed),
        )
        self._client = replace(self._server, is_client=True, alpn_protocols=[P2P_ALPN])

    # datagrams and time in

    @property
    def is_dirty(self) -> bool:
        """Whether ``transmit`` may have something to send."""
        return bool(self._pressed or self._heard)

    @property
    def is_pressed(self) -> bool:
        """Whether that is more than answers to what came in, which may wait a moment for company."""
        return bool(self._pressed)

    @property
    def is_busy(self) -> bool:
        """Whether of that nothing is in a hurry: on each link some packets' worth waits for acknowledgement."""
        return bool(self._pressed) and all(link.backlog > BUSY_BYTES for link in self._pressed)

    def receive(self, data: bytes, address: SockAddr, now: float, local: Local = b"") -> None:
        """Take a datagram from ``address`` to ``local``, one of the own addresses."""
        if not data:
            return
        if data[0] & _LONG_HEADER:
            start = _LENGTH_AT + 1
            name = data[start : start + data[_LENGTH_AT]] if len(data) > start else b""
        else:
            name = data[1 : 1 + CONNECTION_ID_BYTES]
        link = self._by_id.get(name)
        if link is not None:
            link.receive(data, address, now)
            (self._heard if link.phase is Phase.UP else self._pressed)[link] = None
        elif name in self._farewells:
            self._repeat_farewell(name, address, now)
        else:
            self._begin(data, address, local, now)

    def collect(self) -> None:
        """Turn what has come in since into events."""
        for link in {**self._pressed, **self._heard}:
            handshake = link.phase is Phase.HANDSHAKE
            self.events += link.events()
            if handshake and link.phase is Phase.UP and link.source is not None:
                self.sources.finish(link.source)
                if link.service is not None:
                    self.sources.release(link.source)

    def handle_timers(self, now: float) -> None:
        """Do what is due; ``collect`` and ``transmit`` come after it."""
        for link in list(self._links.values()):
            if link.timer_at <= now:
                link.handle_timer(now)
                self._pressed[link] = None
        self.timer_at = min((link.timer_at for link in self._links.values() if link.timer_at > now), default=NEVER)

    def transmit(self, now: float) -> None:
        """Send what is due and set ``timer_at``, when ``handle_timers`` is next to be called."""
        dirty = {**self._pressed, **self._heard}  # who only was heard does not hold up the others
        self._pressed, self._heard = {}, {}
        for link in dirty:
            datagrams = link.transmit(now)
            error = ""
            for data, address in datagrams:
                error = self._send(data, address, link.local) or error
            if error:
                link.unreachable(error)
            verdict = link.verdict()
            if verdict is not None:
                self._end(link, verdict, datagrams, now)
            else:
                link.timer_at = link.deadline(now)
                self.timer_at = min(self.timer_at, link.timer_at)

    # what the node wants

    def serve(self, service: Service) -> None:
        """Answer callers of one more ALPN from now on, or by other rules than before."""
        self._services[service.alpn] = service
        self.trust[service.alpn] = service.trust
        self._server = replace(self._server, alpn_protocols=list(self.trust))

    def dial(
        self,
        text: str,
        addresses: Sequence[SockAddr],
        identity: Identity | None,
        now: float,
        service: Service | None = None,
    ) -> None:
        """Begin a handshake with the first of ``addresses`` that answers; ``text`` is what the events call it."""
        dialling = sum(link.initiator and link.phase is Phase.HANDSHAKE for link in self._links.values())
        if dialling >= self.limits.dials:
            self.fail(text, "too many dials at once", service)
        elif identity == self.own:
            self.fail(text, "this is the node itself", service)
        else:
            self._dial(text, list(addresses), identity, now, service)

    def fail(self, text: str, reason: str, service: Service | None = None) -> None:
        """Say that nobody was reached at ``text``."""
        self.events.append(
            DialFailed(text, reason) if service is None else Notice(lambda: service.failed(printable(reason)))
        )

    def write(self, number: int, frames: Iterable[Frame]) -> bool:
        """Queue frames on a link; False when not all of them will leave."""
        link = self._links.get(number)
        if link is None:
            return False
        self._pressed[link] = None
        return link.write(frames)

    def close(self, number: int, code: int, reason: str) -> None:
        """End a link; the peer is told ``code`` (``wire.frames.CloseCode``) and ``reason``."""
        link = self._links.get(number)
        if link is not None:
            link.alternatives = []
            link.close(code, reason)
            self._pressed[link] = None

    def kick(self) -> None:
        """Find out at once which peers can still be reached."""
        for link in self._links.values():
            link.kick()
            self._pressed[link] = None

    def doubt(self, address: SockAddr) -> None:
        """Wait less for an answer from ``address``: somebody (ICMP, which proves nothing) says that nobody is there."""
        for link in self._links.values():
            if link.quic.remote[:2] == address[:2]:
                link.unreachable("")
                self.press(link)

    def rows(self) -> tuple[LinkRow, ...]:
        """Return the links that are up."""
        return tuple(row for row in [link.row() for link in self._links.values()] if row is not None)

    def numbers(self) -> tuple[int, ...]:
        """Return all links, those in a handshake too."""
        return tuple(self._links)

    def backlog(self) -> int:
        """Return how many bytes wait for acknowledgement."""
        return sum(link.backlog for link in self._links.values() if link.phase is Phase.UP)

    # what links ask

    def service(self, alpn: str, link: Link) -> Service | None:
        """Return what serves a caller of this ALPN, None for links; raises CrowdedError."""
        service = self._services.get(alpn)
        if service is not None:
            service.check_room(tuple(self._links.values()), link)
        return service

    def press(self, link: Link) -> None:
        """Have ``transmit`` called for a link; one that has ended meanwhile is left alone."""
        if link.number in self._links:
            self._pressed[link] = None
            self.wake()

    def new_connection_id(self, link: Link) -> bytes:
        """Return 4 random bytes that lead to ``link`` and to no other, living or just ended."""
        while True:
            name = os.urandom(CONNECTION_ID_BYTES)
            if name not in self._by_id and name not in self._farewells:
                break
        self._assign(name, link)
        return name

    def release_connection_id(self, connection_id: bytes) -> None:
        """Forget an id the peer no longer uses."""
        link = self._by_id.pop(connection_id, None)
        if link is not None:
            link.ids.discard(connection_id)

    def chance(self) -> float:
        """Return a random number from 0 to 1."""
        return os.urandom(1)[0] / 255

    # inside

    def _assign(self, name: bytes, link: Link) -> None:
        self._by_id[name] = link
        link.ids.add(name)

    def _number(self) -> int:
        number = self._next_number
        self._next_number += 1
        return number

    def _begin(self, data: bytes, address: SockAddr, local: Local, now: float) -> None:
        admission = self._door.admit(data, address, local, now)
        if admission is None:
            return
        link = Link(
            self._number(),
            self,
            self._server,
            address=str(NetAddress.from_sockaddr(address)),
            now=now,
            patience=self.limits.handshake_s,
            source=admission.source,
            local=local,
            original_destination=admission.original_destination,
            retry_source=admission.retry_source,
        )
        self._assign(admission.destination, link)
        link.receive(data, address, now)
        if link.quic.is_new:
            self._forget_ids(link)
            self.refusals.count("dropped_garbage")
            return
        self.sources.begin(admission.source)
        self._links[link.number] = link
        self._pressed[link] = None

    def _dial(
        self, text: str, addresses: list[SockAddr], identity: Identity | None, now: float, service: Service | None
    ) -> None:
        ticket = self.tickets.take(identity, text, now) if service is None else None
        configuration = replace(self._client, session_ticket=ticket.ticket) if ticket is not None else self._client
        if service is not None:
            configuration = self._calling(service)
        link = Link(
            self._number(),
            self,
            configuration,
            address=text,
            now=now,
            patience=self.limits.handshake_s / len(addresses),
            dialled=identity,
            ticket=ticket,
            service=service,
        )
        link.alternatives = addresses[1:]
        self._links[link.number] = link
        link.quic.connect(addresses[0], now)
        self._pressed[link] = None

    def _calling(self, service: Service) -> QuicConfiguration:
        """Return how somebody is called by a service's rules."""
        shown = service.credentials()
        certificates = [Certificate(der) for der in shown.chain]
        return replace(
            self._client,
            alpn_protocols=[service.alpn],
            certificate=certificates[0],
            certificate_chain=certificates[1:],
            private_key=Ed25519PrivateKey.from_private_bytes(shown.seed),
        )

    def _end(self, link: Link, verdict: Verdict, datagrams: list[tuple[bytes, SockAddr]], now: float) -> None:
        reason, refusal = verdict.reason, verdict.refusal
        del self._links[link.number]
        self._forget_ids(link, self._farewell(link, datagrams, now))
        if link.source is not None:
            if link.phase is Phase.HANDSHAKE:
                self.sources.finish(link.source)
            self.sources.end(link.source, counted=link.stream is None)
        if refusal is not None:
            self.refusals.refuse(refusal, link.address, reason, now)
        if link.phase is Phase.UP:
            ended = link.stream.end(reason) if link.stream is not None else LinkDown(link.number, reason)
            self.events.append(ended)
        elif link.initiator:
            if link.alternatives and refusal is None:
                self._dial(link.address, link.alternatives, link.dialled, now, link.service)
            else:
                self.fail(link.address, reason, link.service)
        link.phase = Phase.ENDED

    def _forget_ids(self, link: Link, farewell: _Farewell | None = None) -> None:
        for name in link.ids:
            del self._by_id[name]
            if farewell is not None:
                self._farewells[name] = farewell
        while len(self._farewells) > self.limits.lingering:
            del self._farewells[next(iter(self._farewells))]

    def _farewell(self, link: Link, datagrams: list[tuple[bytes, SockAddr]], now: float) -> _Farewell | None:
        if not datagrams:
            return None
        data, address = datagrams[-1]
        return _Farewell(data, address, link.local, now + self.limits.lingering_s)

    def _repeat_farewell(self, name: bytes, address: SockAddr, now: float) -> None:
        farewell = self._farewells[name]
        if now >= farewell.until or not farewell.left:
            del self._farewells[name]
        elif address == farewell.address:
            farewell.left -= 1
            self._send(farewell.data, address, farewell.local)

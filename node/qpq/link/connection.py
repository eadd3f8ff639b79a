"""One link: a QUIC connection, the identity behind it, and frames on its one stream.

It does no I/O and reads no clock: datagrams and times (seconds, monotonic) come in, datagrams, events
and the time of the next timer come out.
"""

from __future__ import annotations

from qpq.link import imports as _imports  # noqa: F401 (it loads aioquic)

# isort: split

from typing import TYPE_CHECKING, Any, Final

from aioquic.quic.events import (
    ConnectionIdRetired,
    HandshakeCompleted,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)
from aioquic.quic.packet import QuicErrorCode

from qpq.errors import QpqError
from qpq.link.aioquic_private import LinkConnection
from qpq.link.aioquic_private_tls import Hooks, Trust
from qpq.link.certificates import sole_identity
from qpq.link.endings import LIBRARY_FAULTS, Verdict, explain
from qpq.link.errors import CertificateError
from qpq.link.liveness import Liveness
from qpq.link.ports import NEVER, Outlet, Phase, row_of
from qpq.link.refusals import Refusal, printable
from qpq.mesh.events import FrameReceived, LinkQuality, LinkUp
from qpq.wire.codec import close_code, codecs
from qpq.wire.errors import FrameTooLongError, WireError
from qpq.wire.frames import LEANING, CloseCode, Hello

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.events import QuicEvent
    from aioquic.tls import SessionTicket

    from qpq.crypto.identity import Identity
    from qpq.link.ports import Host, LinkRow, Notice
    from qpq.link.sources import Local, SockAddr, Source
    from qpq.link.streams import Service, Stream
    from qpq.link.tickets import Bound
    from qpq.mesh.events import Event
    from qpq.wire.codec import FrameDecoder, FrameEncoder
    from qpq.wire.frames import Frame

P2P_ALPN: Final = "quicproquo/p2p/1"
TRUST: Final = {P2P_ALPN: Trust(mutual=True)}
"""What each ALPN of this port asks for; further services of the node join here with rules of their own."""

_PROVEN = 3  # times the patience of a handshake, for a peer that has answered


class Link:
    """One connection, from the first packet to its end.

    ``address`` is the text that was dialled or where the peer called from; ``dialled`` the identity
    that must answer (None: anybody), ``ticket`` what a dial resumes with, ``source`` who called and
    ``local`` which of the own addresses. With a ``service`` it is none of the core's, and has a ``stream``.
    """

    __slots__ = (
        "_codecs", "_host", "_jitter", "_judge_at", "_latest", "_liveness", "_outbox", "_outlet",
        "_refusal", "_ticket", "_until", "address", "alternatives", "dialled", "ids", "initiator",
        "local", "now", "number", "peer", "phase", "quic", "reason", "received_bytes", "resumed", "sent_bytes",
        "service", "silent", "source", "stream", "timer_at",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        host: Host,
        configuration: QuicConfiguration,
        *,
        address: str,
        now: float,
        patience: float,
        dialled: Identity | None = None,
        ticket: Bound | None = None,
        source: Source | None = None,
        local: Local = b"",
        original_destination: bytes | None = None,
        retry_source: bytes | None = None,
        service: Service | None = None,
    ) -> None:
        self.number = number
        self.address = address
        self.alternatives: list[SockAddr] = []
        self.ids: set[bytes] = set()
        self.initiator = configuration.is_client
        self.local = local
        self.now = now
        self.peer: Identity | None = None
        self.phase = Phase.HANDSHAKE
        self.reason = ""
        self.received_bytes = self.sent_bytes = 0
        self.resumed = False
        self.service = service
        self.silent = False
        self.source = source
        self.stream: Stream | None = None
        self.timer_at = NEVER
        self._host = host
        self.dialled = dialled
        self._ticket = ticket
        self._until = now + patience
        self._latest = now + host.limits.handshake_max_s
        self._judge_at = now + host.limits.quality_s
        self._codecs: tuple[FrameEncoder, FrameDecoder] | None = None
        self._jitter = host.chance()
        self._outbox: list[tuple[bytes, SockAddr]] = []
        self._liveness = Liveness(host.limits)
        self._refusal: Refusal | None = None
        self.quic = LinkConnection(
            configuration,
            Hooks(self._new_id, self._judge, self._redeem, self._keep, self._choose),
            host.trust if service is None else {service.alpn: service.trust},
            window=host.limits.receive_window,
            acknowledge_s=host.limits.acknowledge_s,
            original_destination=original_destination,
            retry_source=retry_source,
        )
        self._outlet = Outlet(self.quic)

    # bytes in, events out

    def receive(self, data: bytes, address: SockAddr, now: float) -> None:
        """Take a datagram that carries one of this link's ids."""
        self.now = now
        self.received_bytes += len(data)
        shaking = self.phase is Phase.HANDSHAKE
        heard = self.quic.last_active if shaking else 0.0
        try:
            self.quic.receive_datagram(data, address, now)
        except LIBRARY_FAULTS as fault:
            self._fail(fault)
        if shaking and self.quic.last_active > heard and self.quic.is_validated:
            self._until = max(self._until, min(now + _PROVEN * self._host.limits.handshake_s, self._latest))

    def events(self) -> list[Event | Notice]:
        """Return what the datagrams so far mean."""
        events: list[Event | Notice] = []
        while (event := self.quic.next_event()) is not None:
            if not self.reason:
                self._handle(event, events)
        if self.stream is not None:
            events += self.stream.relief()
        elif self.now >= self._judge_at and self.phase is Phase.UP and (quality := self.quic.quality) is not None:
            self._judge_at = self.now + self._host.limits.quality_s
            events.append(LinkQuality(self.number, *quality))
        return events

    def _handle(self, event: QuicEvent, events: list[Event | Notice]) -> None:
        kind = type(event)
        if kind is StreamDataReceived:
            self._read(event, events)  # type: ignore[arg-type]
        elif kind is HandshakeCompleted:
            self._complete(event, events)  # type: ignore[arg-type]
        elif kind is ConnectionIdRetired:
            self._host.release_connection_id(event.connection_id)  # type: ignore[attr-defined]
        elif kind is StreamReset or kind is StopSendingReceived:
            self.close(CloseCode.NOT_PERMITTED, "the stream was broken off", Refusal.PROTOCOL)

    def _read(self, event: StreamDataReceived, events: list[Event | Notice]) -> None:
        if self._codecs is None:
            if self.stream is not None:
                events += self.stream.feed(event.data, end=event.end_stream)
            return
        try:
            frames = self._codecs[1].feed(event.data)
        except WireError as error:
            self.close(close_code(error), str(error), Refusal.MALFORMED)
            return
        for frame in frames:
            if type(frame) is Hello and frame.features & LEANING:
                self.quic.lean()
            events.append(FrameReceived(self.number, frame))
        if event.end_stream:
            self.close(CloseCode.NOT_PERMITTED, "the stream was ended", Refusal.PROTOCOL)

    def _complete(self, event: HandshakeCompleted, events: list[Event | Notice]) -> None:
        if self.service is not None:
            self._open(self.service, event, events)
            return
        self.resumed = event.session_resumed
        peer = self._ticket.identity if self.resumed and self._ticket is not None else self.quic.proven
        if peer is None:
            self.close(CloseCode.IDENTITY, "no certificate", Refusal.CERTIFICATE)
        elif self.dialled is not None and peer != self.dialled:
            self.close(CloseCode.IDENTITY, "another key than the one dialled", Refusal.NOT_DIALLED)
        elif peer == self._host.own:
            self.close(CloseCode.SELF, "this is the node itself", Refusal.SELF)
        else:
            self.peer = peer
            self.phase = Phase.UP
            self._codecs = codecs(self._host.own, peer)
            events.append(LinkUp(self.number, peer, self.address, self.initiator, self.resumed))

    def _open(self, service: Service, event: HandshakeCompleted, events: list[Event | Notice]) -> None:
        fault = service.complaint(event, self.quic.proven, initiator=self.initiator)
        if fault:
            self.close(CloseCode.IDENTITY, fault, Refusal.CERTIFICATE)
            return
        self.phase = Phase.UP
        self.stream = service.stream(self, self.quic.proven, self.quic.chain)
        events.append(self.stream.begin(service))

    # frames out

    def write(self, frames: Iterable[Frame]) -> bool:
        """Queue frames; False when the link is not up, or a frame is longer than the peer takes."""
        if self._codecs is None or self.phase is not Phase.UP or self.reason:
            return False
        whole = True
        parts = []
        for frame in frames:
            try:
                parts.append(self._codecs[0].encode(frame))
            except FrameTooLongError:
                whole = False
        self._outlet.put(b"".join(parts))
        if self.backlog > self._host.limits.send_buffer:
            self.close(CloseCode.TOO_SLOW, f"{self.backlog} bytes wait for acknowledgement", Refusal.SLOW)
        return whole

    def write_bytes(self, data: bytes) -> None:
        """Queue bytes of a service's stream."""
        if self.phase is Phase.UP and not self.reason:
            self._outlet.put(data)
            self.press()

    def press(self) -> None:
        """Have what is queued sent."""
        self._host.press(self)

    @property
    def backlog(self) -> int:
        """Bytes that wait for the peer's acknowledgement, sent or not."""
        return self._outlet.backlog

    def transmit(self, now: float) -> list[tuple[bytes, SockAddr]]:
        """Return the datagrams that are due, each with its destination."""
        self.now = now
        if not self.reason:
            self._outlet.flush()
        datagrams, self._outbox = self._outbox, []
        datagrams += self._flush(now)
        for data, _ in datagrams:
            self.sent_bytes += len(data)
        return datagrams

    # time

    def deadline(self, now: float) -> float:
        """Return when ``handle_timer`` wants to be called; to be asked when the datagrams are on their way."""
        quic = self.quic
        at: float = quic.get_timer() or NEVER
        if self.phase is not Phase.UP:
            return min(at, self._until)
        awaiting = quic.awaiting
        self._liveness.watch(
            now,
            awaiting=awaiting,
            signs=quic.signs,
            delivered=quic.delivered,
            backlog=self._outlet.owed,
            loss=quic.loss,
        )
        at = min(at, self._liveness.deadline())
        return at if awaiting else min(at, self._keepalive_at())

    def handle_timer(self, now: float) -> None:
        """Do what is due; ``transmit`` comes after it."""
        self.now = now
        if self.phase is Phase.HANDSHAKE:
            if now >= self._until:
                self._expire()
        elif (verdict := self._liveness.verdict(now)) is not None:
            self.close(*verdict)
        elif not self.quic.awaiting and now >= self._keepalive_at():
            self._jitter = self._host.chance()
            self.quic.ping()
        at = self.quic.get_timer()
        if at is not None and now >= at:
            try:
                self.quic.handle_timer(now)
            except LIBRARY_FAULTS as fault:
                self._fail(fault)

    def unreachable(self, reason: str) -> None:
        """Take note that the peer cannot be sent to: a link has little time left, a dial fails if there is a reason."""
        if self.phase is Phase.UP:
            self._liveness.hurry()
        elif self.initiator and reason:
            self.drop(reason)

    def kick(self) -> None:
        """Find out at once whether the peer can still be reached."""
        if self.phase is Phase.UP and not self.reason:
            self._liveness.hurry()
            self.quic.ping()

    def _keepalive_at(self) -> float:
        quic = self.quic
        return quic.last_active + self._liveness.keepalive(quic.idle_s, initiator=self.initiator, jitter=self._jitter)

    # the end

    def close(self, code: int, reason: str, refusal: Refusal | None = None) -> None:
        """End the link after sending what the peer can take at once; ``reason`` goes to the peer."""
        if self.reason or self.quic.ending() is not None:
            return
        self.reason = printable(reason) or "closed"
        self._refusal = refusal
        if self.phase is Phase.UP:
            self._outbox += self._flush(self.now)
        self.quic.close(error_code=code, reason_phrase=self.reason)

    def drop(self, reason: str) -> None:
        """End the link without a word to the peer."""
        self.reason = self.reason or reason
        self.silent = True

    def _flush(self, now: float) -> list[tuple[bytes, SockAddr]]:
        if self.silent:
            return []
        try:
            return self.quic.flush(now)
        except LIBRARY_FAULTS as fault:
            self._fail(fault)
            return []

    def _expire(self) -> None:
        if self.initiator:
            self.close(QuicErrorCode.NO_ERROR, "no answer")
        else:
            self._refusal = Refusal.TIMEOUT
            self.drop("no handshake in time")

    def _fail(self, fault: Exception) -> None:
        self._refusal = Refusal.FAULT
        self.drop(f"packets that cannot be handled ({type(fault).__name__})")

    def verdict(self) -> Verdict | None:
        """Return why the link has ended; None while it lives."""
        if self.reason:
            return Verdict(self.reason, self._refusal)
        ending = self.quic.ending()
        if ending is None:
            return None
        verdict = explain(ending, self.phase is Phase.HANDSHAKE)
        return verdict if ending.remote or self._refusal is None else Verdict(verdict.reason, self._refusal)

    def row(self) -> LinkRow | None:
        """Return the link for people; None before it is up."""
        return row_of(self, self.peer) if self.peer is not None else None

    # what the TLS half asks

    def _new_id(self) -> bytes:
        return self._host.new_connection_id(self)

    def _choose(self, alpn: str) -> None:
        self.service = self._host.service(alpn, self)

    def _judge(self, chain: Sequence[bytes]) -> Identity:
        try:
            if self.service is not None:
                return self.service.judged(chain)
            identity = sole_identity(chain)
        except QpqError:
            self._refusal = Refusal.CERTIFICATE
            raise
        if identity == self._host.own:
            self._refusal = Refusal.SELF
            raise CertificateError("this is the node itself")
        if self.dialled is not None and identity != self.dialled:
            self._refusal = Refusal.NOT_DIALLED
            raise CertificateError("another key than the one dialled")
        return identity

    def _redeem(self, name: bytes) -> SessionTicket | None:
        self._ticket = self._host.tickets.redeem(name, self.now)
        return self._ticket.ticket if self._ticket is not None else None

    def _keep(self, ticket: Any) -> None:
        peer = self._ticket.identity if self.quic.is_resumed and self._ticket is not None else self.quic.shown
        if peer is None or self.service is not None:
            return
        if self.initiator:
            self._host.tickets.keep(ticket, peer, self.address, self.now)
        else:
            self._host.tickets.issue(ticket, peer, self.now)

"""All that reaches behind aioquic's public face; the modules named like it beside it are the only others that do.

Written against aioquic 1.7.2 and kept honest by tests/unit/test_link_aioquic_private.py, which fails
by name when one of them changes. What is changed, and why:

* a server asks for the client's certificate, and does without when a session is resumed (the library
  waits for it for ever); an empty or missing one ends the handshake;
* the certificate is judged before the own one is shown; X25519, Ed25519 and ChaCha20-Poly1305 only;
* 0-RTT is neither offered nor taken: it can be replayed;
* connection ids are handed out by the owner of the socket, so that they are short and unique;
* what a peer can make this end buffer has a cap: the library's windows double for ever;
* a client's second datagram has no packet that would fill it up to 1200 bytes (RFC 9000 section 14.1);
* the buffers of the handshake are small and go with it: the library keeps 48 KiB a link;
* acknowledgements wait for a packet to ride in; packets that hold nothing else are not kept for ever;
* what answers a packet leans on that packet's timer, where both ends do so (_recovery);
* probes for what was lost do not become ever rarer, so that a link lives where most packets are lost;
* the stream's frame is the last of its packet and so needs no length: two bytes less in each;
* packets of a link with nothing special to say are read and written in half the time (_packets).
"""

from __future__ import annotations

from qpq.link import imports as _imports  # noqa: F401 (it loads aioquic)

# isort: split

import os
from typing import TYPE_CHECKING, Any, Final

from aioquic import tls as library_tls
from aioquic.buffer import Buffer, size_uint_var  # type: ignore[attr-defined]
from aioquic.quic.connection import (
    MAX_STREAM_DATA_FRAME_CAPACITY,
    QuicConnectionError,
    QuicConnectionId,
    QuicConnectionState,
)
from aioquic.quic.packet import QuicErrorCode, QuicFrameType

from qpq.link.aioquic_private_packets import STREAM, WITH_OFFSET, PacketConnection
from qpq.link.aioquic_private_recovery import Leaning, LinkRecovery
from qpq.link.aioquic_private_tls import LinkContext
from qpq.link.endings import Ending
from qpq.link.errors import CrowdedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.packet_builder import QuicPacketBuilder

    from qpq.crypto.identity import Identity
    from qpq.link.aioquic_private_tls import Hooks, Trust

FIRST_DESTINATION_BYTES: Final = 8
"""Bytes of the destination a client invents for its first packet (at least 8: RFC 9000 section 7.2)."""
MAX_CRYPTO_PENDING: Final = 8192
"""Bytes of handshake messages held out of order or incomplete; a whole handshake of ours has about 600."""
_CRYPTO_BYTES = 2048  # of handshake messages written at once
_PAST = 0.000_001  # seconds
_EVERY = 4  # packets that want an acknowledgement before one goes out at once
_TELLING = 8  # packets that wanted an acknowledgement before what was lost of them means something
_UNANSWERED = 32  # packets without need of acknowledgement that are kept before one is asked for


class _Silence:
    """Takes the library's log lines: what peers do is told once, by this room, and at no peer's pace."""

    def debug(self, *_: object) -> None:
        """Drop it."""

    info = warning = error = debug


_SILENCE: Any = _Silence()


class LinkConnection(PacketConnection):
    """A QUIC connection that carries one bidirectional stream between two proven identities.

    ``trust`` maps the ALPNs a server accepts. ``acknowledge_s`` is how long an acknowledgement may
    wait (below the 25 ms peers are told), ``window`` the bytes a peer may have under way.
    """

    tls: LinkContext

    def __init__(
        self,
        configuration: QuicConfiguration,
        hooks: Hooks,
        trust: Mapping[str, Trust],
        *,
        window: int,
        acknowledge_s: float,
        original_destination: bytes | None = None,
        retry_source: bytes | None = None,
    ) -> None:
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original_destination,
            retry_source_connection_id=retry_source,
            session_ticket_handler=hooks.keep,
        )
        self._hooks = hooks
        self._trust = trust
        self._window = window
        self.hold = False
        self.leaning = None
        self._acknowledged_up_to = -1
        self._ack_delay = acknowledge_s
        self._logger = _SILENCE
        self._loss.__class__ = LinkRecovery  # the library makes its own; only its class can still be chosen
        self._loss._logger = None  # noqa: SLF001
        own = hooks.new_connection_id()
        self._host_cids[0].cid = self.host_cid = self._local_initial_source_connection_id = own
        self._local_active_connection_id_limit = 2
        streams = 0 if self._is_client else 1
        for limit, value in ((self._local_max_streams_bidi, streams), (self._local_max_streams_uni, 0)):
            limit.value = limit.sent = value
        if self._is_client:
            self._peer_cid.cid = self._original_destination_connection_id = os.urandom(FIRST_DESTINATION_BYTES)

    # what the owner asks

    @property
    def is_new(self) -> bool:
        """Whether no packet of the peer's has been believed yet."""
        return self._state is QuicConnectionState.FIRSTFLIGHT

    @property
    def proven(self) -> Identity | None:
        """The identity in the certificate the peer signed with; None before, and when a session was resumed."""
        return self.tls.peer_identity if self._handshake_complete else None

    @property
    def shown(self) -> Identity | None:
        """The identity in the peer's certificate; proven by the time a ticket is issued or comes."""
        return self.tls.peer_identity

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The peer's certificates as it showed them."""
        return self.tls.peer_chain

    @property
    def is_resumed(self) -> bool:
        """Whether the keys come from a ticket instead of certificates."""
        return self.tls.session_resumed

    @property
    def rtt(self) -> float | None:
        """Smoothed round trip time in seconds; None before the first sample."""
        return self._loss._rtt_smoothed if self._loss._rtt_initialized else None  # noqa: SLF001

    @property
    def loss(self) -> float:
        """The part of the packets sent lately that was lost, 0 to 1."""
        return self._loss.loss

    @property
    def quality(self) -> tuple[float, float] | None:
        """Round trip in seconds and the part of the packets lost; None until enough were sent to tell."""
        self.settle()
        loss = self._loss
        if loss.wanted < _TELLING or not loss._rtt_initialized:  # noqa: SLF001
            return None
        return loss._rtt_smoothed, min(1.0, loss.lost / loss.wanted)  # noqa: SLF001

    @property
    def remote(self) -> Any:
        """Where datagrams go to, as a socket's tuple; empty before the first."""
        return self._network_paths[0].addr if self._network_paths else ()

    @property
    def is_validated(self) -> bool:
        """Whether the peer has answered from the address it claims (RFC 9000 section 8.1)."""
        return self._is_client or self._network_paths[0].is_validated

    @property
    def backlog(self) -> int:
        """Bytes of the stream that are not acknowledged, sent or not."""
        stream = self._streams.get(STREAM)
        if stream is None:
            return 0
        sender = stream.sender
        arrived = sender._buffer_start if self._acknowledged is None else sender.highest_offset  # noqa: SLF001
        return sender._buffer_stop - arrived  # noqa: SLF001

    @property
    def delivered(self) -> int:
        """Bytes of the stream that the peer has acknowledged without a gap."""
        stream = self._streams.get(STREAM)
        return stream.sender._buffer_start if stream else 0  # noqa: SLF001

    @property
    def has_stream(self) -> bool:
        """Whether the stream can be written to: the initiator opens it, the other end must have heard of it."""
        return self._is_client or STREAM in self._streams

    @property
    def awaiting(self) -> bool:
        """Whether something was sent that the peer has yet to acknowledge."""
        return self._space.ack_eliciting_in_flight > 0

    @property
    def is_resting(self) -> bool:
        """Whether nothing of the stream is to be sent, and what was is acknowledged or leans."""
        stream = self._streams.get(STREAM)
        return not self.awaiting and (stream is None or not len(stream.sender._pending))  # noqa: SLF001

    def lean(self) -> None:
        """Let answers lean from now on: the peer does so too."""
        self.leaning = Leaning()

    @property
    def signs(self) -> int:
        """Grows with every sign of life: a packet from the peer, or one that it has acknowledged."""
        received: int = self._space.largest_received_packet
        return received + self._space.largest_acked_packet

    @property
    def last_active(self) -> float:
        """When the peer was last heard, or a question to it was sent after that; with the idle time ``idle_s``."""
        return (self._close_at or 0.0) - self.idle_s

    @property
    def idle_s(self) -> float:
        """Seconds of silence both ends allow."""
        return self._idle_timeout()

    def ending(self) -> Ending | None:
        """Return why the connection ends, from the moment that is known."""
        event = self._close_event
        if event is None:
            return None
        remote = self._state is QuicConnectionState.DRAINING
        return Ending(event.error_code, event.reason_phrase, event.frame_type is None, remote)

    def ping(self) -> None:
        """Ask the peer for an acknowledgement, past the congestion window."""
        self._probe_pending = True

    def flush(self, now: float) -> list[tuple[bytes, Any]]:
        """Return the datagrams to send, each with its destination; like ``datagrams_to_send``, and cheaper."""
        if self._handshake_confirmed and self._state is QuicConnectionState.CONNECTED:
            if len(self._space.ack_queue) > 1:
                self.settle()  # perhaps the peer knows of what came before the gap
            self._hurry_acknowledgement(now)
            if self.says_only_data():
                return self.write_packets(now)
        self.settle()
        datagrams: list[tuple[bytes, Any]] = self.datagrams_to_send(now)
        if self._handshake_confirmed and self._space.ack_at is None:
            self.acknowledged()
        return datagrams

    def _hurry_acknowledgement(self, now: float) -> None:
        space, leaning = self._space, self.leaning
        owes = leaning is not None and leaning.owes
        if space.ack_at is None and not owes:
            return
        stream = self._streams.get(STREAM)
        if (
            (space.ack_at is not None and space.ack_at <= now)
            or self._probe_pending
            or self._handshake_done_pending
            or space.largest_received_packet - self._acknowledged_up_to >= _EVERY
            or len(space.ack_queue) > 1
            or (stream is not None and not stream.sender.buffer_is_empty)
        ):
            # In the past, for else the pacer may hold the packet back, and the timer of ``now`` would never end.
            space.ack_at = now - _PAST
            self._acknowledged_up_to = space.largest_received_packet
            if leaning is not None:
                leaning.owes = False
            unanswered = len(space.sent_packets) if self._acknowledged is None else 0
            if unanswered > _UNANSWERED and not space.ack_eliciting_in_flight:
                self._probe_pending = True

    # what the library asks itself

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        # The library makes its own context here; only its class can still be chosen.
        context: Any = self.tls
        context.__class__ = LinkContext
        context.adopt(self._hooks)
        self._crypto_buffers = {epoch: Buffer(capacity=_CRYPTO_BYTES) for epoch in self._crypto_buffers}

    def _write_handshake(self, builder: QuicPacketBuilder, epoch: library_tls.Epoch, now: float) -> None:
        """Leave out a client's last first packet: an ACK that the next packet makes needless (RFC 9001, 4.9.1)."""
        if not (
            self._is_client
            and epoch is library_tls.Epoch.INITIAL
            and self._crypto_streams[epoch].sender.buffer_is_empty
            and not self._crypto_streams[library_tls.Epoch.HANDSHAKE].sender.buffer_is_empty
        ):
            super()._write_handshake(builder, epoch, now)

    def _alpn_handler(self, alpn_protocol: str) -> None:
        super()._alpn_handler(alpn_protocol)
        trust = self._trust[alpn_protocol]
        self._window = trust.window or self._window
        if self._is_client:
            return
        try:
            self._hooks.choose(alpn_protocol)
        except CrowdedError as fault:
            raise QuicConnectionError(QuicErrorCode.CONNECTION_REFUSED, QuicFrameType.CRYPTO, str(fault)) from fault
        self.tls.demand_certificate(trust.mutual)
        if trust.credentials is not None:
            self.tls.show(trust.credentials())

    def _handle_session_ticket(self, session_ticket: library_tls.SessionTicket) -> None:
        session_ticket.max_early_data_size = None
        super()._handle_session_ticket(session_ticket)

    def _update_traffic_key(
        self,
        direction: library_tls.Direction,
        epoch: library_tls.Epoch,
        cipher_suite: library_tls.CipherSuite,
        secret: bytes,
    ) -> None:
        if epoch is library_tls.Epoch.ZERO_RTT:
            raise library_tls.AlertIllegalParameter("0-RTT is not accepted")
        super()._update_traffic_key(direction, epoch, cipher_suite, secret)

    def _handle_crypto_frame(self, context: Any, frame_type: int, buf: Buffer) -> None:
        start = buf.tell()
        offset = buf.pull_uint_var()
        end = offset + buf.pull_uint_var()
        buf.seek(start)
        ahead = end - self._crypto_streams[context.epoch].receiver.starting_offset()
        if ahead + self.tls.unread_bytes() > MAX_CRYPTO_PENDING:
            raise QuicConnectionError(
                error_code=QuicErrorCode.CRYPTO_BUFFER_EXCEEDED,
                frame_type=frame_type,
                reason_phrase="too much of a handshake",
            )
        super()._handle_crypto_frame(context, frame_type, buf)
        if self._handshake_complete:
            self._crypto_buffers = {}  # nothing is written after the handshake

    def _replenish_connection_ids(self) -> None:
        while len(self._host_cids) < min(2, self._remote_active_connection_id_limit):
            self._host_cids.append(
                QuicConnectionId(
                    cid=self._hooks.new_connection_id(),
                    sequence_number=self._host_cid_seq,
                    stateless_reset_token=os.urandom(16),
                )
            )
            self._host_cid_seq += 1

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: Any) -> None:
        """Raise nothing: the one stream has a window, and no other may be opened."""

    def _write_stream_limits(self, builder: QuicPacketBuilder, space: Any, stream: Any) -> None:  # noqa: ARG002 (theirs)
        """Move the stream's window on when half of it is used (RFC 9000 section 4.1)."""
        allowed = stream.receiver.starting_offset() + self._window
        if allowed - stream.max_stream_data_local > self._window // 2 and not self.hold:
            stream.max_stream_data_local = allowed
        if stream.max_stream_data_local_sent == stream.max_stream_data_local:
            return
        buf = builder.start_frame(
            QuicFrameType.MAX_STREAM_DATA,
            capacity=MAX_STREAM_DATA_FRAME_CAPACITY,
            handler=self._on_max_stream_data_delivery,
            handler_args=(stream,),
        )
        buf.push_uint_var(stream.stream_id)
        buf.push_uint_var(stream.max_stream_data_local)
        stream.max_stream_data_local_sent = stream.max_stream_data_local

    def _write_stream_frame(self, builder: QuicPacketBuilder, space: Any, stream: Any, max_offset: int) -> int:
        if builder._datagram_needs_padding:  # noqa: SLF001
            return super()._write_stream_frame(builder, space, stream, max_offset)
        sender = stream.sender
        offset = sender.next_offset
        overhead = 1 + size_uint_var(stream.stream_id) + (size_uint_var(offset) if offset else 0)
        highest: int = sender.highest_offset
        frame = sender.get_frame(builder.remaining_flight_space - overhead, max_offset)
        if frame is None:
            return 0
        buf = builder.start_frame(
            QuicFrameType.STREAM_BASE | (WITH_OFFSET if offset else 0) | frame.fin,
            capacity=overhead,
            handler=sender.on_data_delivery,
            handler_args=(offset, offset + len(frame.data), frame.fin),
        )
        buf.push_uint_var(stream.stream_id)
        if offset:
            buf.push_uint_var(offset)
        buf.push_bytes(frame.data)
        sent: int = sender.highest_offset - highest
        return sent

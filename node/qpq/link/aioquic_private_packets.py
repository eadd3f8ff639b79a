"""Packets of a settled link, without the questions that the library asks for every other one (see aioquic_private).

A link is settled nearly all its life: keys and its one path are agreed on, and it has nothing to say but data of
its stream and acknowledgements. Packets of that kind are read and written here as the library does it, on the same
state and in the same order, in half the time; every other packet is left to it. What an acknowledgement of all that
is under way means for the next loss, and that a packet has left, is booked once the answer is on the wire (``settle``).
tests/unit/test_link_packets.py holds the two against each other.
"""

from __future__ import annotations

from qpq.link import imports as _imports  # noqa: F401 (it loads aioquic)

# isort: split

from typing import TYPE_CHECKING, Any, Final

from aioquic import tls as library_tls
from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.connection import QuicConnection, QuicConnectionError, QuicConnectionState, QuicReceiveContext
from aioquic.quic.crypto import CryptoError  # type: ignore[attr-defined]
from aioquic.quic.events import StreamDataReceived
from aioquic.quic.packet import QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.recovery import MAX_ACK_RANGES

from qpq.link.aioquic_private_tls import NUMBER_BYTES, PHASE, TAG_BYTES, open_packet, protect_packet
from qpq.wire.varint import encode_varint

if TYPE_CHECKING:
    from aioquic.quic.crypto import CryptoPair
    from aioquic.quic.recovery import QuicPacketSpace
    from aioquic.quic.stream import QuicStream

    from qpq.link.aioquic_private_recovery import Leaning, LinkRecovery

STREAM: Final = 0
WITH_OFFSET: Final = 4
"""Bit of a STREAM frame's type (RFC 9000 section 19.8)."""
_ONE_RTT: Final = library_tls.Epoch.ONE_RTT
_ACK: Final = int(QuicFrameType.ACK)
_DATA: Final = int(QuicFrameType.STREAM_BASE)
_HEAD_START: Final = bytes((_DATA, STREAM))
_HEAD_THERE: Final = bytes((_DATA | WITH_OFFSET, STREAM))
"""What a frame of the stream begins with, at its start and behind that; the offset follows."""
# The first byte of a short header (RFC 9000 section 17.3.1).
_FORM: Final = 0xC0
_SHORT: Final = 0x40
_SPIN: Final = 0x20
_RESERVED: Final = 0x18


class PacketConnection(QuicConnection):
    """A QUIC connection with one stream, quick while it is settled."""

    leaning: Leaning | None
    """None until both ends have agreed on it."""
    _loss: LinkRecovery
    _window: int
    _space: QuicPacketSpace
    _crypto_stream: QuicStream
    _one_rtt: CryptoPair
    """Of 1-RTT: the packet space, the stream of handshake messages, the keys; kept, for hashing an Enum is slow."""
    _acknowledged: tuple[range, float, float] | None = None
    _left: tuple[QuicSentPacket, float] | None = None
    _active: float | None = None
    """An acknowledgement (of what, after which delay, come when), a packet (sent when), and when something came or left
    that keeps the connection alive: what is not booked yet."""

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self._space = self._spaces[_ONE_RTT]
        self._crypto_stream = self._crypto_streams[_ONE_RTT]
        self._one_rtt = self._cryptos[_ONE_RTT]

    # in

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        """Take a datagram that came from ``addr``."""
        self.settle()
        start = 1 + len(self.host_cid)
        if not self._expects(data, start, addr):
            super().receive_datagram(data, addr, now)
            if self.leaning is not None:
                self.leaning.rise(self._loss, self._space, now, probes=False)
            return
        space = self._space
        watched = space.ack_eliciting_in_flight
        try:
            first, payload, number = open_packet(self._one_rtt, data, start, space.expected_packet_number)
        except CryptoError:
            return
        if number in space.received_packets:
            return
        if first & _RESERVED:
            super().receive_datagram(data, addr, now)  # which ends the connection
            return
        if number > space.expected_packet_number:
            space.expected_packet_number = number + 1
        if number > self._spin_highest_pn:
            self._spin_highest_pn = number
            self._spin_bit = bool(first & _SPIN) is not self._is_client
        try:
            news = self._read_plainly(payload, now)
            eliciting = news or self._read_anyhow(payload, now)
        except QuicConnectionError as fault:
            self.close(error_code=fault.error_code, frame_type=fault.frame_type, reason_phrase=fault.reason_phrase)
            return
        if not self._close_pending and self._state is QuicConnectionState.CONNECTED:
            self._note(number, now, eliciting=eliciting, news=news, watched=watched)

    def _expects(self, data: bytes, start: int, addr: Any) -> bool:
        """Whether a datagram has a short header and comes from where all come from, to the id in use."""
        return (
            self._handshake_confirmed
            and self._is_settled()
            and data[0] & _FORM == _SHORT
            and data[1:start] == self.host_cid
            and self._network_paths[0].addr == addr
            and not self._close_pending
        )

    def _note(self, number: int, now: float, *, eliciting: bool, news: bool, watched: int) -> None:
        """Take note of a packet that was read.

        ``news``: it held the stream's next bytes; ``watched``: how many packets were on their way before it came.
        """
        space, leaning = self._space, self.leaning
        waits = False
        if leaning is not None:
            if self._acknowledged is None:
                leaning.rise(self._loss, space, now, probes=eliciting and not news)
                left = space.ack_eliciting_in_flight
            else:
                leaning.arrived()
                left = 0
            if eliciting:
                waits = leaning.came(relieved=0 == left < watched, in_order=number > space.largest_received_packet)
        self._active = now
        self._ack_eliciting_sent_since_receipt = False
        if number > space.largest_received_packet:
            space.largest_received_packet = number
            space.largest_received_time = now
        space.ack_queue.add(number)
        space.received_packets.add(number)
        if len(space.ack_queue) > MAX_ACK_RANGES:
            space.ack_queue.shift()
        if eliciting and not waits and space.ack_at is None:
            space.ack_at = now + self._ack_delay

    def _read_plainly(self, payload: bytes, now: float) -> bool:
        """Read a packet of the stream's next data, with or without an acknowledgement before it.

        False: it is something else, and nothing was done.
        """
        buffer = Buffer(data=payload)
        pull = buffer.pull_uint_var
        acknowledged = None
        delay = 0
        try:
            kind = pull()
            if kind == _ACK:
                last, delay, more, before = pull(), pull(), pull(), pull()
                if more or before > last:
                    return False
                acknowledged = range(last - before, last + 1)
                kind = pull()
            if kind & ~WITH_OFFSET != _DATA or pull() != STREAM:
                return False
            offset = pull() if kind & WITH_OFFSET else 0
        except ValueError:  # cut short
            return False
        data = payload[buffer.tell() :]
        stream = self._streams.get(STREAM)
        end = offset + len(data)
        if stream is None or not data or end > stream.max_stream_data_local:
            return False
        receiver = stream.receiver
        if offset != receiver._buffer_start or receiver._buffer or receiver._final_size is not None:  # noqa: SLF001
            return False
        if acknowledged is not None:
            seconds = (delay << self._remote_ack_delay_exponent) / 1_000_000
            self._acknowledged = acknowledged, seconds, now
            if not self._is_all(acknowledged):
                self.settle()
        self._local_max_data.used += end - receiver.highest_offset
        receiver._buffer_start = receiver.highest_offset = end  # noqa: SLF001
        self._events.append(StreamDataReceived(data=data, end_stream=False, stream_id=STREAM))
        return True

    def _read_anyhow(self, payload: bytes, now: float) -> bool:
        """Read a packet with whatever is in it; whether it wants an acknowledgement. Raises QuicConnectionError."""
        context = QuicReceiveContext(
            epoch=_ONE_RTT,
            host_cid=self.host_cid,
            network_path=self._network_paths[0],
            quic_logger_frames=None,
            time=now,
            version=None,
        )
        eliciting: bool = self._payload_received(context, payload)[0]
        return eliciting

    def _is_all(self, acknowledged: range) -> bool:
        """Whether everything that is under way is acknowledged, so that nothing can be found lost by that."""
        oldest = next(iter(self._space.sent_packets), None)
        return oldest is not None and acknowledged.start <= oldest and acknowledged.stop == self._packet_number

    def settle(self) -> None:
        """Book the acknowledgement that came last, the packet that left last, and how long the connection lives."""
        loss = self._loss
        if self._acknowledged is not None:
            acknowledged, delay, now = self._acknowledged
            self._acknowledged = None
            loss.on_ack_received(ack_rangeset=RangeSet((acknowledged,)), ack_delay=delay, now=now, space=self._space)
        if self._left is not None:
            packet, now = self._left
            self._left = None
            loss.on_packet_sent(packet=packet, space=self._space)
            loss._pacer.update_after_send(now=now)  # noqa: SLF001
        if self._active is not None:
            self._close_at = self._active + self._idle_timeout()
            self._active = None

    # time

    def get_timer(self) -> float | None:
        """Return when ``handle_timer`` wants to be called."""
        self.settle()
        if not self._handshake_confirmed or self._close_at is None or not self._is_settled():
            return super().get_timer()
        space, loss = self._space, self._loss
        lost_at = space.loss_time
        if lost_at is None and space.ack_eliciting_in_flight:
            lost_at = loss._time_of_last_sent_ack_eliciting_packet + loss.get_probe_timeout() * 2**loss._pto_count  # noqa: SLF001
        self._loss_at = lost_at
        at: float = self._close_at
        for other in (space.ack_at, lost_at, self._pacing_at):
            if other is not None and other < at:
                at = other
        return at

    def _is_settled(self) -> bool:
        """Whether the connection lives, on one path that is known to be the peer's."""
        return (
            self._state is QuicConnectionState.CONNECTED
            and len(self._network_paths) == 1
            and self._network_paths[0].is_validated
        )

    # out

    def says_only_data(self) -> bool:
        """Whether there is nothing to send but data of the stream, and acknowledgements of packets in one range.

        For a connection whose handshake is confirmed and that does not end.
        """
        if (
            self._probe_pending
            or self._close_pending
            or self._handshake_done_pending
            or self._retire_connection_ids
            or not self._is_settled()
            or self._network_paths[0].remote_challenges
            or len(self._space.ack_queue) > 1
            or not self._crypto_stream.sender.buffer_is_empty
            or False in [known.was_sent for known in self._host_cids]
        ):
            return False
        stream = self._streams.get(STREAM)
        return stream is None or (
            not stream.is_blocked
            and not stream.receiver.stop_pending
            and not stream.sender.reset_pending
            and stream.max_stream_data_local_sent == stream.max_stream_data_local
            and stream.receiver.starting_offset() + self._window // 2 <= stream.max_stream_data_local
        )

    def write_packets(self, now: float) -> list[tuple[bytes, Any]]:
        """Return what ``datagrams_to_send`` would, where ``says_only_data``."""
        space, loss = self._space, self._loss
        stream = self._streams.get(STREAM)
        sender = stream.sender if stream is not None else None
        datagrams: list[tuple[bytes, Any]] = []
        # Where all that was under way has arrived the window is open, whatever it will be.
        flight = loss.congestion_window - (loss.bytes_in_flight if self._acknowledged is None else 0)
        self._pacing_at = None  # the library would leave it in the past and ask for its timer for ever
        while True:
            acknowledges = space.ack_at is not None and space.ack_at <= now
            has_data = sender is not None and len(sender._pending) > 0  # noqa: SLF001
            if not acknowledges:
                if not has_data:
                    break
                if self._acknowledged is not None or self._left is not None:
                    self.settle()
                    flight = loss.congestion_window - loss.bytes_in_flight
                self._pacing_at = loss._pacer.next_send_time(now=now)  # noqa: SLF001
                if self._pacing_at is not None:
                    break
            header_bytes = 1 + len(self._peer_cid.cid) + NUMBER_BYTES
            room = self._max_datagram_size - header_bytes - TAG_BYTES
            handlers: list[Any] = []
            payload = self._acknowledgement(handlers, now) if acknowledges else b""
            leans = acknowledges and self.acknowledged()
            limit = min(room, flight - header_bytes - TAG_BYTES) - len(payload)
            data = self._data(handlers, limit) if has_data else b""
            if not handlers:
                break
            written = bool(data)
            packet = self._seal(payload + data, handlers, datagrams, in_flight=written, now=now)
            if written and leans and self.leaning is not None:
                self.leaning.sent(packet, now)
            self._left = packet, now
            if written and not self._ack_eliciting_sent_since_receipt:
                self._active = now
                self._ack_eliciting_sent_since_receipt = True
        if sender is not None:
            sender.buffer_is_empty = not len(sender._pending)  # noqa: SLF001
        return datagrams

    def _acknowledgement(self, handlers: list[Any], now: float) -> bytes:
        """Return the frame that acknowledges the one range of packets that came (RFC 9000 section 19.3)."""
        space = self._space
        came = space.ack_queue[0]
        delay = int((now - (space.largest_received_time or now)) * 1_000_000) >> self._local_ack_delay_exponent
        space.ack_at = None
        handlers.append((self._on_ack_delivery, (space, space.largest_received_packet)))
        last = came.stop - 1
        return b"%c%b%b\0%b" % (_ACK, encode_varint(last), encode_varint(delay), encode_varint(last - came.start))

    def acknowledged(self) -> bool:
        """Take note that all was acknowledged; whether a packet was among it that the peer watches."""
        leaning = self.leaning
        if leaning is None:
            return False
        answers, leaning.answers = leaning.answers, False
        return answers

    def _data(self, handlers: list[Any], limit: int) -> bytes:
        """Return a frame (RFC 9000 section 19.8) of as much of the stream as ``limit`` bytes and the windows hold."""
        stream = self._streams[STREAM]
        sender = stream.sender
        offset = sender.next_offset
        highest = sender.highest_offset
        head = _HEAD_THERE + encode_varint(offset) if offset else _HEAD_START
        allowed = highest + self._remote_max_data - self._remote_max_data_used
        frame = sender.get_frame(limit - len(head), min(allowed, stream.max_stream_data_remote))
        if frame is None:
            return b""
        handlers.append((sender.on_data_delivery, (offset, offset + len(frame.data), False)))
        self._remote_max_data_used += sender.highest_offset - highest
        return head + frame.data

    def _seal(
        self, payload: bytes, handlers: list[Any], datagrams: list[tuple[bytes, Any]], *, in_flight: bool, now: float
    ) -> QuicSentPacket:
        """Make the next packet, and a datagram of it."""
        number = self._packet_number
        self._packet_number = number + 1
        first = _SHORT | (_SPIN if self._spin_bit else 0) | self._one_rtt.key_phase << PHASE | NUMBER_BYTES - 1
        data = protect_packet(self._one_rtt, first, self._peer_cid.cid, number, payload)
        path = self._network_paths[0]
        path.bytes_sent += len(data)
        datagrams.append((data, path.addr))
        return QuicSentPacket(
            epoch=_ONE_RTT,
            in_flight=in_flight,
            is_ack_eliciting=in_flight,
            is_crypto_packet=False,
            packet_number=number,
            packet_type=QuicPacketType.ONE_RTT,
            sent_time=now,
            sent_bytes=len(data),
            delivery_handlers=handlers,
        )

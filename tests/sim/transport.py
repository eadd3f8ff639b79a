"""The link model of large runs: one QUIC connection with its one stream, packet by packet, without the cryptography.

Each ``End`` does what ``link.connection.Link`` over aioquic does, in bytes and in time: packets of at most
1200 bytes, acknowledgements that wait for something to ride along with, probes, retransmission, pacing,
keep-alives, and death after the transport's patience. The bytes of the stream are the real frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.link.liveness import Liveness
from sim.medium import FRAMING
from sim.recovery import NEVER, PACKET, Recovery, Sent
from sim.sizes import CLOSE_BYTES, CREDIT, HEADER, TAG, ack_size, varint_size
from sim.stream import Incoming, Outgoing, Spans

if TYPE_CHECKING:
    from qpq.link.aioquic_private_recovery import Leaning
    from qpq.link.limits import LinkLimits
    from sim.agenda import Agenda
    from sim.medium import Pipe
    from sim.owner import Owner

EVERY = 4
"""Packets that want an acknowledgement before one goes out at once (link.aioquic_private)."""
UNANSWERED = 32
PING_EVERY = 8
"""Of the packets with an ACK of several ranges every so many asks for an acknowledgement, as aioquic's."""
MAX_RANGES = 64
FAREWELLS = 8

Packet = tuple[int, tuple[tuple[int, int], ...], float, int, bytes, bool, int]
"""Number, acknowledged ranges, acknowledgement delay, stream offset, stream bytes, wants an answer, credit."""


class End:
    """One end of a link that is up; ``pipe`` leads to the other end, which is ``other``."""

    __slots__ = (
        "_ack_at", "_acked_up_to", "_active_at", "_allowed", "_armed", "_asked", "_credit_due", "_highest",
        "_incoming", "_jitter", "_judge_at", "_largest", "_largest_at", "_limit", "_liveness", "_outgoing",
        "_pacing_at", "_probe", "_ranges", "_settled", "agenda", "farewells", "held", "initiator", "leaning", "limits",
        "number", "open", "other", "owner", "pipe", "recovery", "rx_bytes", "timer_at", "tx_bytes", "writable",
    )  # fmt: skip

    other: End

    def __init__(
        self,
        owner: Owner,
        number: int,
        pipe: Pipe,
        agenda: Agenda,
        *,
        initiator: bool,
        jitter: float,
        limits: LinkLimits,
    ) -> None:
        now = agenda.now
        self.owner = owner
        self.number = number
        self.pipe = pipe
        self.agenda = agenda
        self.initiator = initiator
        self.limits = limits
        self.open = True
        self.held = True
        self.farewells = 0
        self.writable = initiator
        self.tx_bytes = self.rx_bytes = 0
        self.recovery = Recovery(self._on_acked, self._on_lost)
        self.timer_at = self._armed = NEVER
        self._outgoing = Outgoing()
        self._incoming = Incoming()
        self._highest = 0
        self._limit = self._allowed = limits.receive_window
        self._credit_due = False
        self._ranges = Spans()
        self._largest = self._acked_up_to = -1
        self._largest_at = now
        self._ack_at = self._pacing_at = NEVER
        self._probe = False
        self._active_at = now
        self._asked = False
        self._jitter = jitter
        self._liveness = Liveness(limits)
        self._judge_at = now + limits.quality_s
        self._settled = False
        self.leaning: Leaning | None = None  # until both ends have agreed on it

    # --- what the owner does ---------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Queue bytes of the stream; ``flush`` sends them."""
        if not self.open:
            return
        self._outgoing.write(data)
        if self._outgoing.backlog > self.limits.send_buffer:
            self.close("too much waits for acknowledgement")

    def close(self, reason: str) -> None:
        """End the link, after sending once what may be sent now."""
        if not self.open:
            return
        self.flush()
        self.open = False
        self.farewells = FAREWELLS
        self._say_close(reason)
        self.owner.link_ended(self, reason)

    def ride(self, other: End) -> None:
        """Let the other end have what waits: it came along with the handshake's last datagram."""
        pending = self._outgoing.pending
        if pending:
            start, data = self._outgoing.next(PACKET, self._limit)
            at = self.agenda.now - self.pipe.quality.delay
            number = self.recovery.on_sent(
                Sent(at, 0, start, start + len(data), eliciting=True, acknowledges=-1, credit=False)
            )
            other.receive((number, (), 0.0, start, data, True, 0))

    def vanish(self) -> None:
        """End without a word: the node has lost its power."""
        self.open = False

    def hurry(self) -> None:
        """Find out soon whether the peer is still there."""
        self._liveness.hurry()
        self._probe = True

    # --- packets ---------------------------------------------------------------------------------------

    def receive(self, packet: Packet) -> None:
        """Take a packet."""
        owner = self.owner
        if (not self.open or not owner.awake or self.held) and not self._revive():
            return
        number, ranges, delay, offset, data, eliciting, credit = packet
        now = self.agenda.now
        self._active_at = now
        self._asked = False
        watched = self.recovery.eliciting
        if ranges:
            self.recovery.on_ack(ranges, delay, now)
        news = bool(data) and offset == self._incoming.offset
        waits = self.leaning is not None and self._leans(number, now, watched, eliciting=eliciting, news=news)
        self._limit = max(self._limit, credit)
        self._ranges.add(number, number + 1)
        if len(self._ranges.spans) > MAX_RANGES:
            del self._ranges.spans[0]
        if number > self._largest:
            self._largest = number
            self._largest_at = now
        if eliciting and not waits and self._ack_at == NEVER:
            self._ack_at = now + self.limits.acknowledge_s
        self._settled = False
        if data:
            self._take(offset, data)
        if now >= self._judge_at and self.open:
            self._judge(now)
        owner.end_turn()
        if not self._settled:
            self.flush()

    def _leans(self, number: int, now: float, watched: int, *, eliciting: bool, news: bool) -> bool:
        """Take note of a packet (``PacketConnection._note``); whether its acknowledgement may wait."""
        self.recovery.rise(now, probes=eliciting and not news)
        if self.leaning is None or not eliciting:
            return False
        return self.leaning.came(relieved=0 == self.recovery.eliciting < watched, in_order=number > self._largest)

    def _revive(self) -> bool:
        """Return whether an end that is held, or ended, or of a node that sleeps takes a packet all the same."""
        if not self.owner.awake:
            return False
        if self.open and self.initiator:
            self.held = False  # what the server sends shows that it is done, whatever came of its last datagram
            return True
        if self.farewells:
            self.farewells -= 1
            self._say_close("ended")
        return False

    def _judge(self, now: float) -> None:
        quality = self.recovery.quality
        if quality is not None:
            self._judge_at = now + self.limits.quality_s
            self.owner.quality(self.number, *quality)

    def receive_close(self, reason: str) -> None:
        """Take the peer's goodbye."""
        if self.open and self.owner.awake:
            self.open = False
            self.owner.link_ended(self, reason)
            self.owner.end_turn()

    def _take(self, offset: int, data: bytes) -> None:
        incoming = self._incoming
        fresh = incoming.take(offset, data)
        self.writable = True
        window = self.limits.receive_window
        if incoming.offset + window - self._allowed > window // 2:
            self._allowed = incoming.offset + window
            self._credit_due = True
        if fresh:
            self.rx_bytes += len(fresh)
            self.owner.bytes_came(self, fresh)

    def flush(self) -> None:
        """Send what is due and set the timer; nothing while the handshake holds the end."""
        if not self.open or not self.owner.awake or self.held:
            return
        self._settled = True
        now = self.agenda.now
        waits = bool(self._outgoing.pending) and self.writable
        acknowledge = False
        leaning = self.leaning
        if self._ack_at != NEVER or (leaning is not None and leaning.owes):
            acknowledge = (
                self._ack_at <= now
                or self._probe
                or waits
                or self._largest - self._acked_up_to >= EVERY
                or len(self._ranges.spans) > 1
            )
            if acknowledge and len(self.recovery.sent) > UNANSWERED and not self.recovery.eliciting:
                self._probe = True
            if acknowledge and leaning is not None:
                leaning.owes = False
        self._pacing_at = NEVER
        if acknowledge or waits or self._probe or self._credit_due:
            self._send(acknowledge, now)
        self._watch()
        self._arm(now)

    def _send(self, acknowledge: bool, now: float) -> None:
        recovery = self.recovery
        budget = recovery.window - recovery.in_flight
        if self._probe:
            budget = max(budget, PACKET)
        while True:
            if not acknowledge:
                paced = recovery.paced_until(now)
                if paced:
                    self._pacing_at = paced
                    return
            size = self._compose(acknowledge, budget, now)
            acknowledge = False
            if not size:
                return
            budget -= size

    def _compose(self, acknowledge: bool, budget: int, now: float) -> int:
        """Send one packet; return its bytes, 0: there was nothing to send."""
        recovery = self.recovery
        size = HEADER + TAG
        ranges: tuple[tuple[int, int], ...] = ()
        delay = 0.0
        if acknowledge:
            ranges = tuple(self._ranges.spans)
            delay = max(0, (int((now - self._largest_at) * 1e6) >> 3) - 1) * 8e-6  # as the wire rounds it
            size += ack_size(ranges, delay)
            self._ack_at = NEVER
            self._acked_up_to = self._largest
        credit = 0
        if self._credit_due and budget > size:
            size += CREDIT
            credit = self._allowed
            self._credit_due = False
        ping = self._probe or (len(ranges) > 1 and recovery.number % PING_EVERY == 0)
        if ping:
            size += 1
            self._probe = False
        start, data, size = self._stream_part(size, budget)
        eliciting = bool(credit or ping or data)
        if not ranges and not eliciting:
            return 0
        if eliciting and not self._asked:
            self._asked = True
            self._active_at = now
        acknowledges = self._largest if ranges else -1
        leans, leaning = False, self.leaning
        if ranges and leaning is not None:
            leans, leaning.answers = leaning.answers and bool(data) and not (credit or ping or ranges[1:]), False
        sent = Sent(now, size, start, start + len(data), eliciting and not leans, acknowledges, bool(credit), leans)
        number = recovery.on_sent(sent)
        kind = "probe" if ping else "answer"
        if data:
            kind = "news" if start + len(data) > self._highest else "repeat"
            self._highest = max(self._highest, start + len(data))
        self._put(kind, size, (number, ranges, delay, start, data, eliciting, credit), now)
        return size

    def _stream_part(self, size: int, budget: int) -> tuple[int, bytes, int]:
        """Return offset and bytes of the stream for a packet that has ``size`` bytes so far, and what it has then."""
        outgoing = self._outgoing
        if not outgoing.pending or not self.writable:
            return 0, b"", size
        start = outgoing.pending[0][0]
        overhead = 2 + varint_size(start) if start else 2
        room = min(PACKET, budget) - size - overhead
        if room <= 0:
            return start, b"", size
        start, data = outgoing.next(room, self._limit)
        return start, data, size + overhead + len(data) if data else size

    def _put(self, kind: str, size: int, packet: Packet, now: float) -> None:
        self.owner.sent(kind, size + FRAMING)
        self.tx_bytes += size + FRAMING
        at = self.pipe.carry(size + FRAMING, now)
        if at >= 0:
            self.other.owner.rx_bytes += size + FRAMING
            self.agenda.at(at, self.other.receive, packet)

    def _say_close(self, reason: str) -> None:
        size = CLOSE_BYTES + len(reason) + FRAMING
        self.owner.sent("goodbye", size)
        at = self.pipe.carry(size, self.agenda.now)
        if at >= 0:
            self.other.owner.rx_bytes += size
            self.agenda.at(at, self.other.receive_close, f"closed by the peer: {reason}")

    def _on_acked(self, packet: Sent) -> None:
        if packet.stop > packet.start:
            self._outgoing.acknowledged(packet.start, packet.stop)
        if packet.acknowledges >= 0:
            self._ranges.cut_below(packet.acknowledges + 1)

    def _on_lost(self, packet: Sent) -> None:
        if packet.stop > packet.start:
            self._outgoing.lost(packet.start, packet.stop)
        if packet.credit:
            self._credit_due = True

    # --- time ------------------------------------------------------------------------------------------

    def rearm(self) -> None:
        """Set the timer anew: the node has slept."""
        self._armed = NEVER
        self._arm(self.agenda.now)

    def _arm(self, now: float) -> None:
        recovery = self.recovery
        at = min(self._ack_at, self._pacing_at, self._active_at + self.limits.idle_s)
        if recovery.eliciting:
            at = min(at, recovery.deadline(), self._liveness.deadline())
        else:
            at = min(at, recovery.loss_time)
            at = min(at, self._keepalive_at())
        self.timer_at = at = max(at, now)
        if at < self._armed:
            self._armed = at
            self.agenda.at(at, self._ring, at)

    def _ring(self, at: float) -> None:
        if at != self._armed:
            return
        self._armed = NEVER
        if not self.open or not self.owner.awake:
            return
        now = self.agenda.now
        if now < self.timer_at:
            self._armed = self.timer_at
            self.agenda.at(self.timer_at, self._ring, self.timer_at)
            return
        reason = self._verdict(now)
        if reason:
            self.close(reason)
            self.owner.end_turn()
            return
        recovery = self.recovery
        if not recovery.eliciting and now >= self._keepalive_at():
            self._jitter = self.pipe.random()
            self._probe = True
        if now >= recovery.deadline() and recovery.timeout(now):
            self._probe = True
        self.flush()

    def _keepalive_at(self) -> float:
        idle_s = self.limits.idle_s
        return self._active_at + self._liveness.keepalive(idle_s, initiator=self.initiator, jitter=self._jitter)

    def _watch(self) -> None:
        """Take note of whether the peer still answers, and takes what it is sent."""
        recovery = self.recovery
        self._liveness.watch(
            self.agenda.now,
            awaiting=recovery.eliciting > 0,
            signs=self._largest + recovery.largest_acked,
            delivered=self._outgoing.base,
            backlog=self._outgoing.backlog if recovery.eliciting or self._outgoing.pending else 0,
            loss=recovery.loss,
        )

    def _verdict(self, now: float) -> str:
        verdict = self._liveness.verdict(now)
        if verdict is not None:
            return verdict[1]
        return "Idle timeout" if now >= self._active_at + self.limits.idle_s else ""

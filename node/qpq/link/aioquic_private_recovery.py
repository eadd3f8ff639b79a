"""What is changed in aioquic's loss detection, and what need not be watched (link.aioquic_private tells the rest)."""

from __future__ import annotations

from qpq.link import imports as _imports  # noqa: F401 (it loads aioquic)

# isort: split

from typing import TYPE_CHECKING, Any, Final

from aioquic.quic.recovery import QuicPacketRecovery

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aioquic.quic.packet_builder import QuicSentPacket
    from aioquic.quic.recovery import QuicPacketSpace

PROBE_S: Final = 1.5
"""Seconds between probes at most, unless a round trip takes so long that twice two doublings are more."""
_DOUBLINGS = 2
_ROUNDING_S = 0.000_001
_MEMORY = 64  # packets after which older ones count half


class LinkRecovery(QuicPacketRecovery):
    """Loss detection (RFC 9002) for radio: the back-off of probes ends, and what is lost is counted.

    The standard's endless doubling guards a path against congestion collapse; one small packet each
    ``PROBE_S`` does so too, and a link that loses four packets in five still gets an answer within a minute.
    """

    wanted = 0.0
    lost = 0.0
    """Packets that want an acknowledgement sooner or later, and those of them taken for lost, the recent ones."""

    @property
    def loss(self) -> float:
        """The part of recent packets that was lost, by Laplace's rule of succession: a half before any was sent."""
        return min(1.0, (self.lost + 1) / (self.wanted + 2))

    @property
    def least_round_trip(self) -> float:
        """The shortest round trip so far, in seconds."""
        return self._rtt_min

    def watch_from(self, at: float) -> None:
        """Let the timer of probes run for a packet sent at ``at``, for which it did not run."""
        last = self._time_of_last_sent_ack_eliciting_packet
        self._time_of_last_sent_ack_eliciting_packet = max(last, at)

    def resend(self, packet: QuicSentPacket, *, now: float, space: QuicPacketSpace) -> None:
        """Send anew what a lost packet held; that one was lost is no sign of congestion."""
        self._on_packets_lost(congestion_event=False, now=now, packets=(packet,), space=space)

    def on_packet_sent(self, *, packet: QuicSentPacket, space: Any) -> None:
        """Count a packet."""
        super().on_packet_sent(packet=packet, space=space)
        if packet.in_flight:
            self.wanted += 1
            if self.wanted >= _MEMORY:
                self.wanted /= 2
                self.lost /= 2

    def on_loss_detection_timeout(self, *, now: float) -> None:
        """Probe, and let the wait for the next probe not grow beyond ``PROBE_S``."""
        super().on_loss_detection_timeout(now=now)
        period = self.get_probe_timeout()
        while self._pto_count > _DOUBLINGS and period * 2**self._pto_count > PROBE_S:
            self._pto_count -= 1

    def _detect_loss(self, *, now: float, space: QuicPacketSpace) -> None:
        """Look for lost packets; there are none where none is under way that was sent before an acknowledged one."""
        oldest = next(iter(space.sent_packets), None)
        if oldest is None or oldest > space.largest_acked_packet:
            space.loss_time = None
        else:
            # A little later, for else rounding may keep a packet at the very time for which its loss was foretold, and
            # that timer be asked for again and again.
            super()._detect_loss(now=now + _ROUNDING_S, space=space)

    def _on_packets_lost(self, *, packets: Iterable[QuicSentPacket], **options: Any) -> None:
        packets = tuple(packets)
        self.lost += sum(packet.in_flight for packet in packets)
        super()._on_packets_lost(packets=packets, **options)


class Leaning:
    """What leans at one end of a link: packets sent, and the acknowledgement of packets that came.

    A packet with data that is the first to acknowledge one of the peer's is not watched: if it is lost, so is that
    acknowledgement, and the peer, whose own timer then runs out, probes. The probe shows what is missing. Who gets
    such a packet acknowledges it with whatever it sends next, if only a keep-alive (docs/protocol.md, section 3; the
    ends must have agreed on it). What it acknowledges must be watched itself, else nobody would probe.

    ``owes``: one came whose acknowledgement may wait for company; ``answers``: one came that the peer watches, so
    what is first to acknowledge it may lean.
    """

    __slots__ = ("_packets", "answers", "owes")

    def __init__(self) -> None:
        self._packets: list[tuple[QuicSentPacket, float]] = []
        self.answers = self.owes = False

    def came(self, *, relieved: bool, in_order: bool) -> bool:
        """Take note of a packet that wants an acknowledgement; whether that may wait.

        ``relieved``: it was the first to acknowledge something, and nothing that is watched is left on its way.
        """
        if relieved:
            self.owes = True
        elif in_order:  # else it may be one that leans on what a later one has acknowledged already
            self.answers = True
        return relieved

    def sent(self, packet: QuicSentPacket, now: float) -> None:
        """Let a packet lean that is about to be sent."""
        packet.is_ack_eliciting = False
        self._packets.append((packet, now))

    def arrived(self) -> None:
        """Forget what leaned: all of it has been acknowledged."""
        self._packets.clear()

    def rise(self, loss: LinkRecovery, space: QuicPacketSpace, now: float, *, probes: bool) -> None:
        """Watch what leaned and is not acknowledged by a packet that has just come.

        ``probes``: that packet asks for an acknowledgement and has nothing new, as one whose sender misses the
        acknowledgement that was in what leans. So that is lost, unless the packet came too soon to know of it.
        """
        packets, self._packets = self._packets, []
        for packet, at in packets:
            if packet.packet_number in space.sent_packets:
                packet.is_ack_eliciting = True
                space.ack_eliciting_in_flight += 1
                loss.watch_from(at)
                if probes and now - at > loss.least_round_trip:
                    loss.resend(packet, now=now, space=space)

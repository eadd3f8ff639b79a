"""What is changed in aioquic's loss detection (link.aioquic_private tells the rest)."""

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
_MEMORY = 64  # packets after which older ones count half


class LinkRecovery(QuicPacketRecovery):
    """Loss detection (RFC 9002) for radio: the back-off of probes ends, and what is lost is counted.

    The standard's endless doubling guards a path against congestion collapse; one small packet each
    ``PROBE_S`` does so too, and a link that loses four packets in five still gets an answer within a minute.
    """

    wanted = 0.0
    lost = 0.0
    """Packets that wanted an acknowledgement, and those of them taken for lost, the recent ones."""

    @property
    def loss(self) -> float:
        """The part of recent packets that was lost, by Laplace's rule of succession: a half before any was sent."""
        return min(1.0, (self.lost + 1) / (self.wanted + 2))

    def on_packet_sent(self, *, packet: QuicSentPacket, space: Any) -> None:
        """Count a packet."""
        super().on_packet_sent(packet=packet, space=space)
        if packet.is_ack_eliciting:
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
            super()._detect_loss(now=now, space=space)

    def _on_packets_lost(self, *, packets: Iterable[QuicSentPacket], **options: Any) -> None:
        packets = tuple(packets)
        self.lost += sum(packet.is_ack_eliciting for packet in packets)
        super()._on_packets_lost(packets=packets, **options)

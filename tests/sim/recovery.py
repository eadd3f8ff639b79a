"""Loss detection, probes, congestion window and pacing of one end, as aioquic 1.7.2 does it (RFC 9002).

Written after aioquic's behaviour so that a run of thousands of links is what the real library would
do; ``fit.py`` compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qpq.link.aioquic_private import _TELLING
from qpq.link.aioquic_private_recovery import _DOUBLINGS, _MEMORY, PROBE_S

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER = float("inf")
PACKET = 1200
"""Bytes of UDP payload at most."""
INITIAL_RTT = 0.1
MAX_ACK_DELAY = 0.025
GRANULARITY = 0.001
PACKET_THRESHOLD = 3
TIME_THRESHOLD = 9 / 8
LEAST_WINDOW = 2 * PACKET
FIRST_WINDOW = 10 * PACKET


class Sent(NamedTuple):
    """A packet that is not acknowledged yet; ``start`` and ``stop`` its part of the stream."""

    at: float
    size: int
    start: int
    stop: int
    eliciting: bool
    acknowledges: int
    """The highest packet number its ACK frame names; -1: it has none."""
    credit: bool
    leans: bool = False
    """It is answered for by the peer's timer (``link.aioquic_private_recovery``), and not ``eliciting`` here."""


class Recovery:
    """What one end knows about its packets on their way. ``acked`` and ``lost`` are called for each."""

    __slots__ = (
        "_acked",
        "_bucket",
        "_bucket_at",
        "_bucket_max",
        "_first_sample",
        "_has_rtt",
        "_latest",
        "_leaning",
        "_lost",
        "_packet_time",
        "_pto_count",
        "_recent_lost",
        "_recent_sent",
        "_recovery_start",
        "_rtt_min",
        "_stash",
        "_threshold",
        "eliciting",
        "in_flight",
        "largest_acked",
        "last_eliciting",
        "loss_time",
        "number",
        "rtt",
        "sent",
        "variance",
        "window",
    )  # fmt: skip

    def __init__(self, acked: Callable[[Sent], None], lost: Callable[[Sent], None]) -> None:
        self._acked = acked
        self._lost = lost
        self.number = 0
        self.sent: dict[int, Sent] = {}
        self._leaning: list[int] = []
        self._recent_sent = self._recent_lost = 0.0
        self.eliciting = self.in_flight = 0
        self.largest_acked = 0
        self.last_eliciting = 0.0
        self.loss_time = NEVER
        self._pto_count = 0
        self._has_rtt = False
        self._first_sample = 0.0
        self.rtt = self.variance = self._latest = 0.0
        self._rtt_min = NEVER
        self.window = FIRST_WINDOW
        self._threshold = 0
        self._stash = 0
        self._recovery_start = 0.0
        self._packet_time = 0.0
        self._bucket = self._bucket_at = self._bucket_max = 0.0

    def prime(self, rtt: float, now: float) -> None:
        """Take over what the handshake has shown: the round trip, measured twice."""
        self._measure(rtt, 0.0, now)
        self._measure(rtt, 0.0, now)

    @property
    def loss(self) -> float:
        """The part of the packets sent lately that was lost (``LinkRecovery.loss``)."""
        return min(1.0, (self._recent_lost + 1) / (self._recent_sent + 2))

    @property
    def quality(self) -> tuple[float, float] | None:
        """Round trip in seconds and the part of the packets lost; None: too few sent (``LinkConnection.quality``)."""
        if self._recent_sent < _TELLING or not self._has_rtt:
            return None
        return self.rtt, min(1.0, self._recent_lost / self._recent_sent)

    # --- sending -----------------------------------------------------------------------------------

    def paced_until(self, now: float) -> float:
        """Return when the next packet may leave; 0: at once."""
        if not self._packet_time:
            return 0.0
        self._fill(now)
        return now + self._packet_time if self._bucket <= 0 else 0.0

    def on_sent(self, packet: Sent) -> int:
        """Note a packet; return its number."""
        number = self.number
        self.number = number + 1
        self.sent[number] = packet
        if packet.leans:
            self._leaning.append(number)
        elif packet.eliciting:
            self.eliciting += 1
            self.last_eliciting = packet.at
        if packet.eliciting or packet.leans:
            self.in_flight += packet.size
            self._recent_sent += 1
            if self._recent_sent >= _MEMORY:
                self._recent_sent /= 2
                self._recent_lost /= 2
        if self._packet_time:
            self._fill(packet.at)
            self._bucket = max(0.0, self._bucket - self._packet_time)
        return number

    # --- acknowledgements and losses ------------------------------------------------------------------

    def on_ack(self, ranges: tuple[tuple[int, int], ...], delay: float, now: float) -> None:
        """Take an ACK frame."""
        sent = self.sent
        largest = ranges[-1][1] - 1
        self.largest_acked = max(self.largest_acked, largest)
        newest: Sent | None = None
        newest_number = -1
        elicited = False
        if len(sent) == 1:
            numbers = [number for number in sent if any(low <= number < high for low, high in ranges)]
        else:
            numbers = [number for low, high in ranges for number in sent if low <= number < high]
        for number in numbers:
            packet = sent.pop(number)
            if packet.eliciting:
                elicited = True
                self.eliciting -= 1
            if packet.eliciting or packet.leans:
                self._grow(packet)
            newest, newest_number = packet, number
            self._acked(packet)
        if newest is None:
            return
        if newest_number == largest and elicited:
            self._measure(now - newest.at, delay, now)
        self._detect(now)
        self._pto_count = 0

    def rise(self, now: float, *, probes: bool) -> None:
        """Watch what leaned and was not acknowledged by what has just come (``Leaning.rise``)."""
        numbers, self._leaning = self._leaning, []
        for number in numbers:
            if (packet := self.sent.get(number)) is not None:
                self.sent[number] = packet = packet._replace(eliciting=True, leans=False)
                self.eliciting += 1
                self.last_eliciting = max(self.last_eliciting, packet.at)
                if probes and now - packet.at > self._rtt_min:
                    self._give_up(number, packet)

    def timeout(self, now: float) -> bool:
        """Do what ``deadline`` was for; True: a probe is to be sent."""
        if self.loss_time != NEVER:
            self._detect(now)
            return False
        self._pto_count = probe_doublings(self._pto_count + 1, self.probe_timeout())
        for number, packet in self.sent.items():
            if packet.eliciting:
                self._give_up(number, packet)
                break
        return True

    def deadline(self) -> float:
        """Return when ``timeout`` is due."""
        if self.loss_time != NEVER:
            return self.loss_time
        if not self.eliciting:
            return NEVER
        return self.last_eliciting + self.probe_timeout() * (1 << self._pto_count)

    def probe_timeout(self) -> float:
        """Return the PTO without back-off, in seconds."""
        if not self._has_rtt:
            return 2 * INITIAL_RTT
        return self.rtt + max(4 * self.variance, GRANULARITY) + MAX_ACK_DELAY

    # --- inside --------------------------------------------------------------------------------------

    def _measure(self, sample: float, delay: float, now: float) -> None:
        self._latest = latest = max(sample, 0.001)
        self._rtt_min = min(self._rtt_min, latest)
        delay = min(delay, MAX_ACK_DELAY)
        if latest > self._rtt_min + delay:
            self._latest = latest = latest - delay
        if self._has_rtt:
            self.variance += (abs(self._rtt_min - latest) - self.variance) / 4
            self.rtt += (latest - self.rtt) / 8
        else:
            self._has_rtt = True
            self._first_sample = now
            self.variance = sample / 2
            self.rtt = sample
        self._pace()

    def _detect(self, now: float) -> None:
        self.loss_time = NEVER
        sent = self.sent
        if not sent:
            return
        delay = TIME_THRESHOLD * (max(self._latest, self.rtt) if self._has_rtt else INITIAL_RTT)
        largest = self.largest_acked
        lost = []
        for number, packet in sent.items():
            if number > largest:
                break
            if number <= largest - PACKET_THRESHOLD or packet.at + delay <= now:
                lost.append(number)
            else:
                self.loss_time = min(self.loss_time, packet.at + delay)
        if lost:
            self._lose(lost, now)

    def _lose(self, numbers: list[int], now: float) -> None:
        last = first = 0.0
        previous = -1
        persistent = False
        for number in numbers:
            packet = self.sent[number]
            if number != previous + 1:
                first = 0.0
            previous = number
            if packet.eliciting or packet.leans:
                last = packet.at
            if packet.eliciting and packet.at > self._first_sample:
                first = first or packet.at
                persistent = persistent or packet.at - first > 3 * self.probe_timeout()
            self._give_up(number, packet)
        if last > self._recovery_start:
            self._recovery_start = now
            self.window = self._threshold = max(self.window // 2, LEAST_WINDOW)
        if persistent and self._has_rtt:
            self.window = LEAST_WINDOW
            self._recovery_start = 0.0
        if last:
            self._pace()

    def _give_up(self, number: int, packet: Sent) -> None:
        del self.sent[number]
        if packet.eliciting:
            self.eliciting -= 1
        if packet.eliciting or packet.leans:
            self.in_flight -= packet.size
            self._recent_lost += 1
        self._lost(packet)

    def _grow(self, packet: Sent) -> None:
        self.in_flight -= packet.size
        if packet.at <= self._recovery_start:
            return
        if not self._threshold or self.window < self._threshold:
            self.window += packet.size
            return
        self._stash += packet.size
        count = self._stash // self.window
        if count:
            self._stash -= count * self.window
            self.window += count * PACKET

    def _pace(self) -> None:
        rate = self.window / max(self.rtt, 1e-6)
        self._packet_time = max(1e-6, min(PACKET / rate, 1.0))
        self._bucket_max = max(2 * PACKET, min(self.window // 4, 16 * PACKET)) / rate
        self._bucket = min(self._bucket, self._bucket_max)

    def _fill(self, now: float) -> None:
        if now > self._bucket_at:
            self._bucket = min(self._bucket + now - self._bucket_at, self._bucket_max)
            self._bucket_at = now


def probe_doublings(count: int, period: float) -> int:
    """Return how often the wait for the next probe is doubled after ``count`` probes (``LinkRecovery``)."""
    while count > _DOUBLINGS and period * (1 << count) > PROBE_S:
        count -= 1
    return count

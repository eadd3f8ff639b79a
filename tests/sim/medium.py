"""What carries packets from one node to another: loss, delay, bandwidth, a queue; one direction each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

FRAMING = 62
"""Bytes that Ethernet (14), IPv6 (40) and UDP (8) add to each packet."""


@dataclass(frozen=True, slots=True)
class Quality:
    """One direction of a link.

    ``loss`` 0 to 1 of the packets, ``delay`` and ``jitter`` seconds one way (jitter is drawn evenly and
    added), ``rate`` bytes a second (0: without bound), ``queue`` bytes that may wait for the rate.
    """

    loss: float = 0.0
    delay: float = 0.005
    jitter: float = 0.0
    rate: float = 0.0
    queue: int = 64 * 1024


class Pipe:
    """One direction between two nodes; ``open`` False loses everything (out of range, partition)."""

    __slots__ = ("bytes", "dropped", "free_at", "lost", "open", "packets", "quality", "random")

    def __init__(self, quality: Quality, rng: random.Random) -> None:
        self.quality = quality
        self.random = rng.random
        self.open = True
        self.free_at = 0.0
        self.packets = self.bytes = self.lost = self.dropped = 0

    def carry(self, size: int, now: float) -> float:
        """Return when a packet of ``size`` bytes (framing included) arrives; -1: it does not."""
        quality = self.quality
        self.packets += 1
        self.bytes += size
        arrival = now + quality.delay
        if quality.rate:
            start = max(now, self.free_at)
            if (start - now) * quality.rate > quality.queue:
                self.dropped += 1
                return -1.0
            self.free_at = start + size / quality.rate
            arrival = self.free_at + quality.delay
        if not self.open or (quality.loss and self.random() < quality.loss):
            self.lost += 1
            return -1.0
        if quality.jitter:
            arrival += quality.jitter * self.random()
        return arrival

"""Bytes of what a QUIC packet of ours holds (RFC 9000 sections 16, 17 and 19), as link.aioquic_private writes it."""

from __future__ import annotations

HEADER = 7
"""Bytes of a short header: flags, connection id (4), packet number (2)."""
TAG = 16
ACK_LEAST = 5
"""Bytes of an ACK frame of one range with small numbers: type, largest, delay, count, first range."""
CREDIT = 6
"""Bytes of a MAX_STREAM_DATA frame."""
CLOSE_BYTES = HEADER + TAG + 4
"""Bytes of a packet with CONNECTION_CLOSE, without the reason."""


def varint_size(number: int) -> int:
    """Return the bytes of a QUIC variable-length integer (RFC 9000 section 16)."""
    return 1 if number < 64 else 2 if number < 16_384 else 4


def ack_size(ranges: tuple[tuple[int, int], ...], delay: float) -> int:
    """Return the bytes of an ACK frame; ``delay`` seconds travel in units of 8 microseconds."""
    low, high = ranges[-1]
    size = 1 + varint_size(high - 1) + varint_size(int(delay * 125_000)) + 1 + varint_size(high - low - 1)
    for start, stop in reversed(ranges[:-1]):
        size += varint_size(max(0, low - stop - 1)) + varint_size(stop - start - 1)
        low = start
    return size

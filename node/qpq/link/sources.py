"""Who a datagram's address belongs to, as far as that can be told, and how much each may ask for."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from qpq.link.limits import LinkLimits

SockAddr: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
Local: TypeAlias = bytes
"""Which of the own addresses a datagram was sent to, as the socket wants it for the answer; empty: any."""
Source: TypeAlias = bytes
"""4 bytes of an IPv4 address, 20 of a link-local address and its interface, 8 of an IPv6 prefix."""

_MAPPED = b"\0" * 10 + b"\xff\xff"
_LOOPBACK6 = b"\0" * 15 + b"\x01"
_PREFIX_BYTES = 8
_IPV4_BYTES = 4
_LOOPBACK4 = 127


def source_of(address: SockAddr) -> Source:
    """Return who answers for ``address``: one IPv4 host, one link-local address, or one IPv6 /64."""
    host = address[0].partition("%")[0]
    if ":" not in host:
        return socket.inet_pton(socket.AF_INET, host)
    packed = socket.inet_pton(socket.AF_INET6, host)
    if packed.startswith(_MAPPED):
        return packed[12:]
    if packed == _LOOPBACK6:
        return bytes((_LOOPBACK4, 0, 0, 1))
    if packed[0] == 0xFE and packed[1] & 0xC0 == 0x80:  # noqa: PLR2004 (fe80::/10)
        return packed + (address[3] if len(address) == 4 else 0).to_bytes(4, "big")  # noqa: PLR2004
    return packed[:_PREFIX_BYTES]


def is_prefix(source: Source) -> bool:
    """Whether many hosts may stand behind ``source``."""
    return len(source) == _PREFIX_BYTES


def is_this_machine(source: Source) -> bool:
    """Whether ``source`` is a loopback address."""
    return len(source) == _IPV4_BYTES and source[0] == _LOOPBACK4


class Bucket:
    """A token bucket: ``rate`` a second, at most ``burst`` at once."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Take one token if there is one."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Sources:
    """How many connections and half-open handshakes each source has here, and how fast new ones come.

    The counts are bounded by the connections themselves; of the rates, ``limits.sources`` are kept and
    the source not heard of for longest gives way.
    """

    __slots__ = ("_half_open", "_limits", "_links", "_rates", "_unproven", "half_open", "links")

    def __init__(self, limits: LinkLimits, now: float) -> None:
        self._limits = limits
        self._unproven = Bucket(limits.unproven_a_second, limits.unproven_burst, now)
        self._links: dict[Source, int] = {}
        self._half_open: dict[Source, int] = {}
        self._rates: dict[Source, Bucket] = {}
        self.links = 0
        self.half_open = 0

    def crowded(self, source: Source) -> str:
        """Return why one more connection from ``source`` is too many, or nothing."""
        limits = self._limits
        if self._half_open.get(source, 0) >= limits.half_open_a_source:
            return "too many unfinished handshakes from this address"
        most = limits.links_a_prefix if is_prefix(source) else limits.links_a_host
        return "too many links from this address" if self._links.get(source, 0) >= most else ""

    def must_prove(self, source: Source, now: float) -> bool:
        """Whether ``source`` must first show that it gets what is sent to it: many handshakes are open, or begin."""
        half_open = self._half_open.get(source, 0)
        if self.half_open >= self._limits.retry_from or half_open * 2 >= self._limits.half_open_a_source:
            return True
        return not self._unproven.take(now)

    def hasty(self, source: Source, now: float) -> bool:
        """Take note of one more handshake; return whether they come too fast."""
        if is_this_machine(source):
            return False
        bucket = self._rates.pop(source, None)
        if bucket is None:
            bucket = Bucket(self._limits.handshakes_a_second, self._limits.handshake_burst, now)
            if len(self._rates) >= self._limits.sources:
                del self._rates[next(iter(self._rates))]
        self._rates[source] = bucket
        return not bucket.take(now)

    def begin(self, source: Source) -> None:
        """A handshake from ``source`` has begun."""
        self.links += 1
        self.half_open += 1
        self._links[source] = self._links.get(source, 0) + 1
        self._half_open[source] = self._half_open.get(source, 0) + 1

    def finish(self, source: Source) -> None:
        """The handshake is over, well or not."""
        self.half_open -= 1
        _decrease(self._half_open, source)

    def release(self, source: Source) -> None:
        """The connection is of a service, which counts its own."""
        _decrease(self._links, source)

    def end(self, source: Source, *, counted: bool = True) -> None:
        """The connection is gone; it was not ``counted`` any more after ``release``."""
        self.links -= 1
        if counted:
            _decrease(self._links, source)


def _decrease(counts: dict[Source, int], source: Source) -> None:
    counts[source] -= 1
    if not counts[source]:
        del counts[source]

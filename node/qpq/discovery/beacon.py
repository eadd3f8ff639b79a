"""When to send beacons and what to believe of those heard: no socket, no clock, no randomness of its own.

A beacon says "this node, at the address it came from, listens on this port" (wire.beacon). It
proves nothing; what follows from it is one dial whose handshake proves the key. So the cost of
false ones is bounded here: rates over all and for each source, capped tables, few timer resets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpq.discovery.limits import SourceLimiter, TokenBucket
from qpq.discovery.trickle import DOUBLINGS, SHORTEST, Trickle
from qpq.mesh.events import PeerFound
from qpq.netaddress import NetAddress
from qpq.wire.beacon import Beacon, decode_beacon, encode_beacon
from qpq.wire.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qpq.crypto.identity import Identity
    from qpq.mesh.events import Via

MAX_CHANNELS: Final = 32
MAX_NEIGHBOURS: Final = 256
"""Nodes remembered as heard; the one heard longest ago is forgotten."""

FORGET_AFTER: Final = 3 * SHORTEST * 2**DOUBLINGS
"""Seconds (51 minutes) after which a silent node counts as new when it is heard again."""

TELL_AGAIN: Final = 60.0
"""Seconds before an unchanged node is reported again."""

DATAGRAM_RATE, DATAGRAM_BURST = 64.0, 128.0
SOURCE_RATE, SOURCE_BURST = 0.2, 8.0
STRANGER_RATE, STRANGER_BURST = 4.0, 64.0
RESET_RATE, RESET_BURST = 1 / 60, 4.0


@dataclass(frozen=True, slots=True, order=True)
class Channel:
    """One interface and group to send to and hear on; ``loopback`` is told apart as its sources are all one host."""

    index: int
    name: str
    via: Via
    loopback: bool = False


@dataclass(slots=True)
class _Neighbour:
    beacon: Beacon
    address: NetAddress
    heard: float
    told: float


class _Pace:
    """The timer of one channel and how often strangers may reset it."""

    __slots__ = ("resets", "trickle")

    def __init__(self, now: float, random: Callable[[], float]) -> None:
        self.trickle = Trickle(now, random)
        self.resets = TokenBucket(RESET_RATE, RESET_BURST)

    def reset(self, now: float) -> None:
        if self.resets.take(now):
            self.trickle.reset(now)


class BeaconMachine:
    """The beacons of one node on all its channels.

    ``random`` returns a float in [0, 1). The owner sends ``datagram`` on what ``due`` returns,
    calls it again at ``at``, and passes what it hears to ``heard``.
    """

    __slots__ = (
        "_all",
        "_beacon",
        "_neighbours",
        "_paces",
        "_random",
        "_sources",
        "_strangers",
        "counters",
        "datagram",
    )

    def __init__(self, node: Identity, port: int, boot: int, random: Callable[[], float]) -> None:
        self._beacon = Beacon(node, port, boot)
        self._random = random
        self._paces: dict[Channel, _Pace] = {}
        self._neighbours: dict[tuple[bytes, int], _Neighbour] = {}
        self._all = TokenBucket(DATAGRAM_RATE, DATAGRAM_BURST)
        self._sources = SourceLimiter(SOURCE_RATE, SOURCE_BURST)
        self._strangers = TokenBucket(STRANGER_RATE, STRANGER_BURST)
        self.datagram = encode_beacon(self._beacon)
        self.counters = dict.fromkeys(
            ("beacon_sent", "beacon_heard", "beacon_own", "beacon_invalid", "beacon_limited", "beacon_peers_found"), 0
        )

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Where beacons are sent and heard."""
        return tuple(self._paces)

    def neighbours(self, via: Via) -> int:
        """How many nodes are remembered as heard on channels of this kind."""
        indexes = {channel.index for channel in self._paces if channel.via is via}
        return len({node for node, index in self._neighbours if index in indexes})

    @property
    def at(self) -> float | None:
        """When ``due`` is to be called; None while there are no channels."""
        return min((pace.trickle.at for pace in self._paces.values()), default=None)

    def set_channels(self, channels: Iterable[Channel], now: float) -> tuple[list[Channel], list[Channel]]:
        """Take up and give up channels; return those added and those removed.

        An added channel begins with the shortest interval. At most MAX_CHANNELS, by rising index.
        """
        wanted = sorted(set(channels), key=lambda channel: channel.index)[:MAX_CHANNELS]
        removed = [channel for channel in self._paces if channel not in wanted]
        added = [channel for channel in wanted if channel not in self._paces]
        for channel in removed:
            del self._paces[channel]
            for key in [key for key in self._neighbours if key[1] == channel.index]:
                del self._neighbours[key]
        for channel in added:
            self._paces[channel] = _Pace(now, self._random)
        return added, removed

    def link_lost(self, now: float) -> None:
        """A link to a neighbour broke: look around anew, a few times a minute at most."""
        for pace in self._paces.values():
            pace.reset(now)

    def due(self, now: float) -> list[Channel]:
        """Return the channels on which to send ``datagram`` now."""
        for key in [key for key, neighbour in self._neighbours.items() if now - neighbour.heard > FORGET_AFTER]:
            del self._neighbours[key]
        channels = [channel for channel, pace in self._paces.items() if pace.trickle.poll(now)]
        self.counters["beacon_sent"] += len(channels)
        return channels

    def heard(self, channel: Channel, datagram: bytes, source: NetAddress, now: float) -> PeerFound | None:
        """Judge a datagram that came from ``source``; return what to tell the core, if anything."""
        pace = self._paces.get(channel)
        if pace is None:
            return None
        if not self._all.take(now):
            self.counters["beacon_limited"] += 1
            return None
        try:
            beacon = decode_beacon(datagram)
        except WireError:
            self._sources.take((source.host, channel.index), now)
            self.counters["beacon_invalid"] += 1
            return None
        if beacon.node == self._beacon.node:
            self.counters["beacon_own"] += 1
            return None
        if not channel.loopback and not self._sources.take((source.host, channel.index), now):
            self.counters["beacon_limited"] += 1
            return None
        self.counters["beacon_heard"] += 1
        return self._judge(channel, pace, beacon, source, now)

    def _judge(self, channel: Channel, pace: _Pace, beacon: Beacon, source: NetAddress, now: float) -> PeerFound | None:
        key = (beacon.node, channel.index)
        address = NetAddress(source.host, beacon.port, source.scope)
        known = self._neighbours.pop(key, None)
        if known is None or known.beacon != beacon or known.address != address:
            if not self._strangers.take(now):
                self.counters["beacon_limited"] += 1
                return None
            known = _Neighbour(beacon, address, now, now - TELL_AGAIN)
            pace.reset(now)
        else:
            pace.trickle.consistent()
        while len(self._neighbours) >= MAX_NEIGHBOURS:
            del self._neighbours[next(iter(self._neighbours))]
        self._neighbours[key] = known
        known.heard = now
        if now - known.told < TELL_AGAIN:
            return None
        known.told = now
        self.counters["beacon_peers_found"] += 1
        return PeerFound(str(address), channel.via, beacon.node)

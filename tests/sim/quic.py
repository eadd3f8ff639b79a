"""The links of one node over real aioquic: the daemon's own ``link.hub.Hub`` on virtual datagrams."""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qpq.link.hub import Hub
from qpq.link.ports import NEVER
from qpq.mesh.events import DialFailed
from qpq.netaddress import NetAddress
from sim.medium import FRAMING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpq.crypto.identity import Identity
    from qpq.link.sources import Local, SockAddr
    from qpq.wire.frames import Frame
    from sim.hosts import Host
    from sim.transport import End
    from sim.world import World

_EPOCH = 1000.0
"""Seconds that links are ahead of the world's clock: to aioquic zero is no time."""


_LATE = 1e-6
"""Seconds that a timer comes late at least, as on any machine: by sums of times alone one could be due for ever."""


@contextmanager
def seeded_urandom(seed: int) -> Iterator[None]:
    """Let aioquic and the hub draw what they need from a seed; keys of TLS stay as they are, they change no size."""
    rng = random.Random(f"{seed} urandom")  # noqa: S311 (a seeded run)
    real, os.urandom = os.urandom, rng.randbytes  # type: ignore[assignment]
    try:
        yield
    finally:
        os.urandom = real


class QuicLines:
    """Links over a hub, served as ``link.endpoint.Endpoint`` serves it."""

    def __init__(self, host: Host, world: World) -> None:
        self._host = host
        self._world = world
        self._sockaddr = _sockaddr(host.address)
        self._armed = NEVER
        self._latest = 0.0
        self._hub = self._new_hub()
        self._serving = False

    # --- what the host wants -------------------------------------------------------------------------

    def queue(self, number: int, frame: Frame) -> None:
        """Queue a frame."""
        self._hub.write(number, (frame,))

    def connect(self, address: str, identity: Identity | None) -> None:
        """Dial."""
        other = self._world.at_address(address)
        if other is None or self._world.pipe(self._host, other) is None:
            self._hub.events.append(DialFailed(address, "no route to host"))
        else:
            self._hub.dial(address, [_sockaddr(address)], identity, self._now)

    def close(self, number: int, code: int, reason: str) -> None:
        """End a link after what was queued."""
        self._hub.close(number, code, reason)

    def close_all(self) -> None:
        """End all links with a goodbye."""
        for number in self._hub.numbers():
            self._hub.close(number, 1, "the node stops")
        self._hub.transmit(self._now)
        self._hub = self._new_hub()

    def vanish(self) -> None:
        """Lose all links."""
        self._hub = self._new_hub()

    def wake(self) -> None:
        """Set the timer anew."""
        self._armed = NEVER
        self._arm()

    @property
    def numbers(self) -> tuple[int, ...]:
        """The links that are up."""
        return tuple(row.link for row in self._hub.rows())

    def peer(self, number: int) -> Identity | None:
        """Return who is at the other end of a link."""
        return next((row.peer for row in self._hub.rows() if row.link == number), None)

    def transmit(self) -> None:
        """Hand out events, then send, as the endpoint does in one turn of the loop."""
        if self._serving:
            return
        self._serving = True
        hub = self._hub
        hub.collect()
        while hub is self._hub and (hub.events or hub.is_dirty):
            while hub.events:
                self._host.tell(hub.events.popleft())
            hub.transmit(self._now)
        self._serving = False
        self._arm()

    # --- datagrams and time --------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        self._latest = max(self._latest, self._world.agenda.now + _EPOCH)
        return self._latest

    def _new_hub(self) -> Hub:
        return Hub(self._host.secret, self._world.link_limits, self._put, self._now)

    def _put(self, data: bytes, address: SockAddr, _local: Local) -> str:
        host, world = self._host, self._world
        other = world.at_address(str(NetAddress.from_sockaddr(address)))
        pipe = world.pipe(host, other) if other is not None else None
        if other is None or pipe is None:
            return "no route to host"
        size = len(data) + FRAMING
        host.sent("datagram", size)
        at = pipe.carry(size, world.agenda.now)
        if at >= 0:
            other.rx_bytes += size
            world.agenda.at(at, other.lines.datagram, (data, self._sockaddr))  # type: ignore[attr-defined]
        return ""

    def datagram(self, arrived: tuple[bytes, SockAddr]) -> None:
        """Take a datagram."""
        if self._host.awake:
            self._hub.receive(arrived[0], arrived[1], self._now)
            self._host.end_turn()

    def _arm(self) -> None:
        at = self._hub.timer_at
        if at < self._armed:
            self._armed = at
            self._world.agenda.at(at - _EPOCH, self._ring, at)

    def _ring(self, at: float) -> None:
        if at != self._armed:
            return
        self._armed = NEVER
        self._latest = max(self._latest, at + _LATE)
        if self._host.awake:
            self._hub.handle_timers(self._now)
            self._host.end_turn()

    # --- the model's side of the port ------------------------------------------------------------------

    def bytes_came(self, end: End, data: bytes) -> None:
        """Ends of the model have no business here."""
        raise NotImplementedError

    def link_ended(self, end: End, reason: str) -> None:
        """Ends of the model have no business here."""
        raise NotImplementedError


def _sockaddr(address: str) -> SockAddr:
    return NetAddress.parse(address).sockaddr6()

"""The links of a node on a real socket and the event loop.

Use::

    endpoint = Endpoint(secret, on_event)          # on_event(event: qpq.mesh.events.Event)
    endpoint.listen("[::]:7000")
    endpoint.connect("[fe80::1%eth0]:7000")        # LinkUp or DialFailed follows
    endpoint.send(link, frame)
    await endpoint.close_all(2.0)

``on_event`` is called from the event loop and from ``close_all``, never from inside a command.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from qpq.errors import QpqError
from qpq.link.errors import AddressError
from qpq.link.limits import LinkLimits
from qpq.link.ports import NEVER, Notice
from qpq.link.sockets import UdpSocket
from qpq.netaddress import NetAddress
from qpq.threads import beside
from qpq.wire.frames import CloseCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qpq.crypto.identity import Identity, SecretIdentity
    from qpq.link.hub import Hub
    from qpq.link.ports import LinkRow
    from qpq.link.sources import Local, SockAddr
    from qpq.link.streams import Service
    from qpq.mesh.events import Event
    from qpq.wire.frames import Frame

MAX_LOOKUPS = 4
"""Names looked up at once: each holds a thread of the resolver's."""
MAX_ADDRESSES = 4
"""Addresses of one name that are tried."""


@dataclass(frozen=True, slots=True)
class _Call:
    """Who is dialled: by the core, which may want a certain ``identity``, or by the rules of a service."""

    address: str
    identity: Identity | None = None
    service: Service | None = None


class Endpoint:
    """All links of one node: listens, dials, turns datagrams into core events and frames into datagrams."""

    def __init__(
        self, secret: SecretIdentity, on_event: Callable[[Event], None], limits: LinkLimits | None = None
    ) -> None:
        self.limits = limits or LinkLimits()
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._socket: UdpSocket | None = None
        self._secret = secret
        self._lookups: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._crowded = False
        self._timer_at = NEVER
        self._wake: asyncio.Handle | None = None
        self._serving = False
        self._drained: asyncio.Event | None = None

    @cached_property
    def _hub(self) -> Hub:
        """The links: loaded, and with it aioquic, when the first one is wanted, or when ``load`` says so."""
        from qpq.link.hub import Hub  # noqa: PLC0415 (a third of what a node loads)

        hub = Hub(self._secret, self.limits, self._put, self._loop.time())
        hub.wake = self._soon
        return hub

    @property
    def _is_loaded(self) -> bool:
        return "_hub" in vars(self)

    # lifecycle

    def load(self) -> None:
        """Load now what links take, so that the first one need not wait for it."""
        self._hub.collect()

    def listen(self, address: str | NetAddress = "[::]:7000") -> None:
        """Bind the UDP port (0: any) and begin to serve; raises ListenError and NetAddressError."""
        where = _listen_address(address) if isinstance(address, str) else address
        self._socket = UdpSocket(where, self._doubt)
        self._loop.add_reader(self._socket.fileno(), self._readable)

    @property
    def port(self) -> int:
        """The local UDP port; 0 when not listening."""
        return self._socket.port if self._socket is not None else 0

    async def close_all(self, deadline: float) -> None:
        """Let links deliver what they hold, for at most ``deadline`` seconds, then end them and close the socket."""
        for task in self._lookups:
            task.cancel()
        await asyncio.gather(*self._lookups, return_exceptions=True)
        if not self._is_loaded:
            self._stop()
            return
        if self._hub.backlog():
            self._drained = asyncio.Event()
            self.kick()  # for what leans is acknowledged with something else, or when it is asked for
            try:
                async with asyncio.timeout(deadline):
                    await self._drained.wait()
            except TimeoutError:
                pass
        for number in self._hub.numbers():
            self._hub.close(number, CloseCode.SHUTDOWN, "the node stops")
        self._serve()
        self._stop()

    # commands

    def connect(self, address: str, identity: Identity | None = None) -> None:
        """Dial ``address`` (``host:port``); LinkUp or DialFailed with the same text follows.

        With ``identity`` any other key is refused.
        """
        self._call(_Call(address, identity))

    def open(self, address: str, service: Service) -> None:
        """Call ``address`` by the rules of ``service``, whose ``opened`` or ``failed`` is called."""
        self._call(_Call(address, service=service))

    def serve(self, service: Service) -> None:
        """Answer callers of one more ALPN from now on; one that is served already gets the new rules."""
        self._hub.serve(service)

    def send(self, link: int, frame: Frame) -> bool:
        """Queue a frame; False when it will not leave: the link is gone, or its peer takes no frame that long."""
        return self.send_many(link, (frame,))

    def send_many(self, link: int, frames: Iterable[Frame]) -> bool:
        """Queue frames, to share packets; False when not all will leave."""
        queued = self._hub.write(link, frames)
        self._soon()
        return queued

    def queue(self, link: int, frame: Frame) -> bool:
        """Like ``send``, but the frame waits for ``transmit``, which the caller owes."""
        return self._hub.write(link, (frame,))

    def close(self, link: int, code: int, reason: str) -> None:
        """End a link after what was queued, as far as the peer can take it at once; LinkDown follows."""
        self._hub.close(link, code, reason)
        self._soon()

    def transmit(self) -> None:
        """Put what was queued on the wire now, ahead of whatever else waits for the loop.

        Where some packets are on their way already it waits for that, for company in its packets.
        """
        if not self._is_loaded:
            return
        if self._hub.is_busy:
            self._soon()
        elif not self._serving:
            self._hub.transmit(self._loop.time())
            self._set_timer()
            if self._hub.events:
                self._soon()

    def hurry(self) -> None:
        """Put what was queued on the wire from within an event, if that is the last of those that came together."""
        if self._serving and not self._crowded and not self._hub.events:
            self._hub.transmit(self._loop.time())

    def kick(self) -> None:
        """Addresses of this machine have changed: ask every peer for an answer."""
        self._hub.kick()
        self._soon()

    def links(self) -> tuple[LinkRow, ...]:
        """Return the links that are up, oldest first."""
        return self._hub.rows()

    @property
    def counters(self) -> dict[str, int]:
        """What was refused, dropped and answered without state, by name."""
        lost = self._socket.lost if self._socket is not None else 0
        return {**self._hub.refusals.counters, "datagrams_lost": lost, "half_open": self._hub.sources.half_open}

    def forget(self, identity: Identity) -> None:
        """Drop the session tickets of ``identity``, so that it must prove its key anew."""
        self._hub.tickets.forget(identity)

    # dialling

    def _sockaddr(self, where: NetAddress) -> SockAddr:
        if self._socket is None:
            raise AddressError("the node does not listen, so it cannot dial")
        return self._socket.sockaddr(where)

    def _call(self, call: _Call) -> None:
        try:
            where = NetAddress.parse(call.address)
            if where.is_literal:
                self._dial(call, [self._sockaddr(where)])
                return
        except QpqError as fault:
            self._fail_dial(call, str(fault))
            return
        if len(self._lookups) >= MAX_LOOKUPS:
            self._fail_dial(call, "too many names are being looked up")
            return
        task = self._loop.create_task(self._look_up(call, where))
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    def _dial(self, call: _Call, addresses: list[SockAddr]) -> None:
        self._hub.dial(call.address, addresses, call.identity, self._loop.time(), call.service)
        self._soon()

    def _fail_dial(self, call: _Call, reason: str) -> None:
        self._hub.fail(call.address, reason, call.service)
        self._soon()

    async def _look_up(self, call: _Call, where: NetAddress) -> None:
        try:
            async with asyncio.timeout(self.limits.lookup_s):
                found = await beside(lambda: socket.getaddrinfo(where.host, where.port, type=socket.SOCK_DGRAM))
        except TimeoutError:
            self._fail_dial(call, f"the name {where.host} was not found in time")
            return
        except OSError as error:
            self._fail_dial(call, f"the name {where.host} was not found ({error.strerror or error})")
            return
        addresses: list[SockAddr] = []
        reason = "no usable address"
        for _, _, _, _, sockaddr in found:
            try:
                address = self._sockaddr(NetAddress.from_sockaddr(sockaddr))  # type: ignore[arg-type]
            except AddressError as fault:
                reason = str(fault)
                continue
            if address not in addresses and len(addresses) < MAX_ADDRESSES:
                addresses.append(address)
        if addresses:
            self._dial(call, addresses)
        else:
            self._fail_dial(call, f"{where.host}: {reason}")

    # the loop

    def _put(self, data: bytes, address: SockAddr, local: Local) -> str:
        return self._socket.send(data, address, local) if self._socket is not None else "the node does not listen"

    def _doubt(self, address: SockAddr) -> None:
        if self._is_loaded:
            self._loop.call_soon(self._hub.doubt, address)  # links may be just being sent for

    def _soon(self) -> None:
        if self._wake is None and not self._serving:
            self._wake = self._loop.call_soon(self._serve)

    def _readable(self) -> None:
        """Take datagrams; where they come one by one, each is answered before the socket is asked for another.

        What nothing answers at once is acknowledged behind all that it has woken: mostly with what that sends.
        """
        most = self.limits.datagrams_a_wake
        if self._crowded:
            self._crowded = self._receive(most) > 1
            self._serve()
            return
        if not self._receive(1) and self._socket is not None:
            self._socket.hear()
        self._serving = True
        try:
            self._hub.collect()
            self._tell()
            pressed = self._hub.is_pressed
            if pressed:
                self._hub.transmit(self._loop.time())
        finally:
            self._serving = False
        if pressed or not self._hub.is_dirty:
            self._go_on()
        elif self._wake is None:
            self._wake = self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Send what is due, and look whether datagrams come in numbers."""
        self._serve()
        if self._receive(self.limits.datagrams_a_wake - 1):
            self._crowded = True
            self._serve()

    def _receive(self, most: int) -> int:
        """Hand datagrams to the hub and return how many there were."""
        now = self._loop.time()
        for count in range(most):
            datagram = self._socket.receive() if self._socket is not None else None
            if datagram is None:
                return count
            data, address, local = datagram
            self._hub.receive(data, address, now, local)
        return most

    def _ring(self) -> None:
        self._timer = None
        self._timer_at = NEVER
        self._hub.handle_timers(self._loop.time())
        self._serve()

    def _serve(self) -> None:
        """Hand out events, then send: what the events' answers are rides with the acknowledgements."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        hub = self._hub
        self._serving = True
        try:
            hub.collect()
            while hub.events or hub.is_dirty:
                self._tell()
                hub.transmit(self._loop.time())
        finally:
            self._serving = False
            if hub.events or hub.is_dirty:
                self._soon()
            self._set_timer()
        if self._drained is not None and not hub.backlog():
            self._drained.set()

    def _tell(self) -> None:
        events = self._hub.events
        while events:
            event = events.popleft()
            if isinstance(event, Notice):
                event.tell()
            else:
                self._on_event(event)

    def _set_timer(self) -> None:
        at = self._hub.timer_at
        if at >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._ring)

    def _stop(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None


def _listen_address(text: str) -> NetAddress:
    host, colon, port = text.rpartition(":")
    if colon and port == "0":
        return NetAddress(NetAddress.parse(f"{host}:1").host, 0)
    return NetAddress.parse(text)

"""Runs the beacon: the asyncio shell around BeaconMachine and BeaconSockets."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from qpq.discovery.beacon import BeaconMachine, Channel
from qpq.discovery.beacon_sockets import PORT, BeaconSockets
from qpq.mesh.events import Via

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Iterable

    from qpq.crypto.identity import Identity
    from qpq.discovery.interfaces import Interface
    from qpq.mesh.events import PeerFound

log = logging.getLogger(__name__)

_BATMAN = "batadv"


def channels(
    interfaces: Iterable[Interface], only: Collection[str], group: Collection[str], *, mesh: bool, client: bool
) -> list[Channel]:
    """Return where beacons go: ``mesh`` on every link that can, ``client`` on the interfaces named in ``group``.

    ``only`` names the interfaces to be used for ``mesh`` (empty: all). A batman-adv interface is
    a whole mesh one hop wide, so it is a client interface even if nobody named it; ports of
    a bridge hear nothing themselves and are left to the bridge.
    """
    found = []
    for interface in interfaces:
        if not interface.running or (only and interface.name not in only and interface.name not in group):
            continue
        if interface.loopback:
            if mesh:
                found.append(Channel(interface.index, interface.name, Via.BEACON, loopback=True))
        elif interface.multicast and interface.link_local is not None:
            if interface.name in group or (interface.kind == _BATMAN and interface.name not in only):
                if client and not interface.is_port:
                    found.append(Channel(interface.index, interface.name, Via.GROUP))
            elif mesh and (not interface.is_port or interface.name in only):
                found.append(Channel(interface.index, interface.name, Via.BEACON))
    return found


class BeaconService:
    """Sends and hears beacons on the channels given to ``follow``; calls ``on_found`` for what it hears."""

    def __init__(
        self,
        node: Identity,
        port: int,
        boot: int,
        *,
        random: Callable[[], float],
        on_found: Callable[[PeerFound], None],
        udp_port: int = PORT,
    ) -> None:
        self._machine = BeaconMachine(node, port, boot, random)
        self._on_found = on_found
        self._udp_port = udp_port
        self._sockets: BeaconSockets | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failed: dict[Channel, str] = {}
        self.send_errors = 0

    @property
    def counters(self) -> dict[str, int]:
        """What was sent, heard and refused."""
        return self._machine.counters | {"beacon_send_errors": self.send_errors}

    def start(self) -> None:
        """Open the sockets; raises OSError when there are none to be had."""
        self._loop = asyncio.get_running_loop()
        self._sockets = BeaconSockets(self._udp_port)
        for sock in self._sockets.sockets:
            self._loop.add_reader(sock, self._readable, sock)

    def close(self) -> None:
        """Stop; may be called twice."""
        if self._timer is not None:
            self._timer.cancel()
        if self._sockets is not None:
            for sock in self._sockets.sockets:
                self._loop.remove_reader(sock)
            self._sockets.close()
            self._sockets = None

    def follow(self, wanted: Iterable[Channel]) -> None:
        """Use these channels from now on."""
        if self._sockets is None:
            return
        added, removed = self._machine.set_channels(wanted, self._loop.time())
        for channel in removed:
            self._failed.pop(channel, None)
            self._sockets.leave(channel)
        for channel in added:
            try:
                self._sockets.join(channel)
            except OSError as error:
                self._failed[channel] = error.strerror or str(error)
                log.warning("beacon: cannot join the group on %s: %s", channel.name, self._failed[channel])
        self._arm()

    def link_lost(self) -> None:
        """A link to a neighbour broke: look around anew."""
        self._machine.link_lost(self._loop.time())
        self._arm()

    def status(self, via: Via) -> str:
        """Say on which interfaces this runs."""
        if self._sockets is None:
            return "off"
        names = [channel.name for channel in self._machine.channels if channel.via is via]
        if via is Via.BEACON and self._sockets.ipv6_error is not None:
            return f"failed: no IPv6 ({self._sockets.ipv6_error.strerror}); only nodes on this machine are found"
        if not names:
            return "waiting for an interface with a carrier and an IPv6 link-local address"
        failures = [f"{channel.name}: {why}" for channel, why in self._failed.items() if channel.via is via]
        count = self._machine.neighbours(via)
        heard = "1 node heard" if count == 1 else f"{count} nodes heard"
        return f"on {', '.join(names)}: {heard}" + (f"; failed: {'; '.join(failures)}" if failures else "")

    def _readable(self, sock: socket.socket) -> None:
        if self._sockets is None:
            return
        for channel, datagram, source in self._sockets.receive(sock):
            found = self._machine.heard(channel, datagram, source, self._loop.time())
            if found is not None:
                self._on_found(found)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at = self._machine.at
        self._timer = None if at is None else self._loop.call_at(at, self._send)

    def _send(self) -> None:
        for channel in self._machine.due(self._loop.time()):
            try:
                if self._sockets is not None:
                    self._sockets.send(channel, self._machine.datagram)
            except OSError:  # the interface is going away: netlink will say so
                self.send_errors += 1
        self._arm()

"""Runs all the ways by which this node finds others, each of which can be switched off."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from qpq.discovery.beacon_service import BeaconService, channels
from qpq.discovery.config import MdnsMode
from qpq.discovery.dnssd import ServiceTable
from qpq.discovery.errors import DiscoveryError, MdnsUnavailableError
from qpq.discovery.placing import mdns_interfaces, placer
from qpq.discovery.service_files import find_responder
from qpq.discovery.watcher import Watcher
from qpq.mesh.events import Via

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import Identity
    from qpq.discovery.config import DiscoveryConfig
    from qpq.discovery.interfaces import Interface
    from qpq.discovery.mdns import Mdns
    from qpq.discovery.mdns_fallback import OneShotMdns
    from qpq.mesh.events import PeerFound

MDNS_DELAY = 0.2
"""Seconds until mDNS starts: loading zeroconf holds everything up, and who asks a new node should be answered first."""
_WORD: Final = 4

log = logging.getLogger(__name__)


class Discovery:
    """The interface watcher, the beacon and mDNS of one node.

    ``on_found`` gets a PeerFound for every hint, ``on_change`` is called when interfaces or
    addresses changed (the core wants NetworkChanged then), ``random(n)`` returns n random bytes.
    """

    def __init__(
        self,
        config: DiscoveryConfig,
        on_found: Callable[[PeerFound], None],
        on_change: Callable[[], None],
        *,
        random: Callable[[int], bytes],
    ) -> None:
        self._config = config
        self._on_found = on_found
        self._on_change = on_change
        self._random = lambda: int.from_bytes(random(_WORD), "big") / 2 ** (8 * _WORD)
        self._watcher = Watcher(self._interfaces_changed)
        self._services = ServiceTable(config.identity, placer(lambda: self._watcher.table, config.mdns_interfaces))
        self._beacon: BeaconService | None = None
        self._mdns: Mdns | OneShotMdns | None = None
        self._coming: asyncio.Task[None] | None = None
        self._problems: dict[str, str] = {}

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """The network interfaces as they are now, for the console and for sockets that follow them."""
        return tuple(self._watcher.table)

    @property
    def counters(self) -> dict[str, int]:
        """All counters of discovery by name."""
        counted = self._watcher.counters | self._services.counters
        for part in (self._beacon, self._mdns):
            counted |= part.counters if part is not None else {}
        return counted

    async def start(self) -> None:
        """Start what is switched on; what fails is told by ``status`` and the log, the rest runs.

        mDNS is only begun; ``settled`` waits for it.
        """
        try:
            await self._watcher.start()
        except DiscoveryError as error:
            self._failed("netlink", error)
        self._start_beacon()
        if self._config.mdns is not MdnsMode.OFF:
            self._coming = asyncio.create_task(self._start_mdns(), name="mdns start")
            self._coming.add_done_callback(self._came)

    async def settled(self) -> None:
        """Wait until mDNS runs or has failed."""
        if self._coming is not None:
            await asyncio.wait((self._coming,))

    async def stop(self) -> None:
        """Stop everything, say goodbye and remove what was published; may be called twice."""
        self._watcher.close()
        if self._beacon is not None:
            self._beacon.close()
        if self._coming is not None and self._is_coming():
            self._coming.cancel()
            with suppress(asyncio.CancelledError):
                await self._coming
        mdns, self._mdns = self._mdns, None
        if mdns is not None:
            closing = mdns.close()
            if closing is not None:
                await closing

    def link_lost(self) -> None:
        """A link to a neighbour broke: look around quickly again."""
        if self._beacon is not None:
            self._beacon.link_lost()
        if self._mdns is not None:
            self._mdns.look_around()

    def status(self) -> dict[str, str]:
        """Say for each method what it does, or why it does not and what helps."""
        config, beacon = self._config, self._beacon
        running = f"following {len(self._watcher.table)} interfaces"
        off = {
            "beacon": not config.beacon,
            "group": not (config.group and config.group_interfaces),
            "mdns": config.mdns is MdnsMode.OFF,
        }
        told = {
            "netlink": running,
            "beacon": beacon.status(Via.BEACON) if beacon else "",
            "group": beacon.status(Via.GROUP) if beacon else "",
            "mdns": self._mdns.status() if self._mdns else "starting" if self._is_coming() else "off",
        }
        return {name: "off" if off.get(name) else self._problems.get(name, text) for name, text in told.items()}

    def _start_beacon(self) -> None:
        config = self._config
        if not config.beacon and not config.group:
            return
        beacon = BeaconService(config.identity, config.port, config.boot, random=self._random, on_found=self._on_found)
        try:
            beacon.start()
        except OSError as error:
            for name in ("beacon", "group"):
                self._failed(name, f"UDP port 7171: {error.strerror}; let one program have it or switch the beacon off")
            return
        self._beacon = beacon
        self._follow_beacon()

    async def _start_mdns(self) -> None:
        await asyncio.sleep(MDNS_DELAY)
        if self._config.mdns is MdnsMode.AUTO:
            from qpq.discovery.mdns import Mdns  # noqa: PLC0415 (zeroconf only when it is used)

            mdns = Mdns(*self._mdns_arguments(), random=self._random, on_found=self._on_found)
            known = self._mdns_interfaces()
            try:
                await mdns.start(known)
            except MdnsUnavailableError as error:
                log.warning("mdns: %s; publishing through a service file and asking one-shot queries", error)
            else:
                self._mdns = mdns
                if self._mdns_interfaces() != known:
                    mdns.follow(self._mdns_interfaces())
                return
        from qpq.discovery.mdns_fallback import OneShotMdns  # noqa: PLC0415

        config = self._config
        fallback = OneShotMdns(
            *self._mdns_arguments(),
            random=self._random,
            on_found=self._on_found,
            find=lambda: find_responder(config.avahi_dir),
            is_published=config.mdns is MdnsMode.ASK,
        )
        try:
            fallback.start(self._mdns_interfaces())
        except DiscoveryError as error:
            self._failed("mdns", error)
        else:
            self._mdns = fallback

    def _is_coming(self) -> bool:
        return self._coming is not None and not self._coming.done()

    def _came(self, coming: asyncio.Task[None]) -> None:
        """Tell of what nobody foresaw, which would leave mDNS starting for ever."""
        fault = None if coming.cancelled() else coming.exception()
        if fault is not None:
            self._failed("mdns", f"{type(fault).__name__}: {fault}")
            raise fault

    def _mdns_arguments(self) -> tuple[Identity, int, str, ServiceTable]:
        return self._config.identity, self._config.port, self._config.domain, self._services

    def _mdns_interfaces(self) -> list[Interface]:
        return mdns_interfaces(self._watcher.table, self._config.mdns_interfaces)

    def _interfaces_changed(self) -> None:
        self._follow_beacon()
        if self._mdns is not None:
            self._mdns.follow(self._mdns_interfaces())
        self._on_change()

    def _follow_beacon(self) -> None:
        config = self._config
        if self._beacon is not None:
            self._beacon.follow(
                channels(
                    self._watcher.table,
                    config.interfaces,
                    config.group_interfaces,
                    mesh=config.beacon,
                    client=config.group,
                )
            )

    def _failed(self, method: str, why: object) -> None:
        self._problems[method] = f"failed: {why}"
        log.warning("%s: %s", method, why)

"""One node: makes the rooms, joins them, and takes them down; the only place that knows all."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from qpq.crypto.identity import text_id
from qpq.daemon import clock, doctor_data, domains, logs, memory, places
from qpq.daemon.control import ControlServer
from qpq.daemon.control_socket import group_id
from qpq.daemon.lean import keep
from qpq.daemon.memory import core_limits
from qpq.daemon.pressure import Pressure
from qpq.daemon.protecting import Protection
from qpq.daemon.published import Published
from qpq.daemon.shell import Shell
from qpq.discovery.config import DiscoveryConfig, MdnsMode
from qpq.errors import QpqError
from qpq.link.endpoint import Endpoint
from qpq.link.limits import LinkLimits
from qpq.mesh import effects, events
from qpq.mesh.core import Core
from qpq.mesh.effects import State
from qpq.netaddress import NetAddress, NetAddressError, plain
from qpq.store.keyring import FILE_NAME, Keyring
from qpq.store.keyring_errors import KeyringError
from qpq.wire.frames import Role

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from qpq.crypto.identity import Address, Identity
    from qpq.daemon.client_port import ClientPort
    from qpq.daemon.federating import Federating
    from qpq.daemon.handlers import Handlers
    from qpq.daemon.options import Config
    from qpq.daemon.saving import Saver
    from qpq.discovery.discovery import Discovery
    from qpq.store.database import Database
    from qpq.store.entries import InboxEntry
    from qpq.store.keeper import Keeper
    from qpq.store.keyring_data import User
    from qpq.store.vault import Vault

CLOCK_SECONDS = 60.0
"""How often the wall clock is held against the monotonic one."""
LINKS_SECONDS, DISCOVERY_SECONDS = 0.2, 0.05
"""When links and discovery are loaded: that holds everything up, and who asks a new node should be answered first."""
GOODBYE_SECONDS, DRAIN_SECONDS = 1.0, 2.0
"""How long discovery may take to say goodbye, and links to deliver what they hold, when the node stops."""

_WAYS = ("netlink", "beacon", "group", "mdns")
_ROLES = {"leaf": Role.LEAF, "relay": Role.RELAY, "hub": Role.HUB}


class Node:
    """All rooms of one running node. ``start`` once, ``stop`` once, also after a start that failed."""

    def __init__(self, config: Config, log: logging.Logger, vault: Vault | None = None) -> None:
        self.config = config
        self.log = log
        self.started = time.monotonic()
        self.protection = Protection(self, vault)
        self.published = Published(self)
        self.domains = domains.Domains(self)
        self.pressure = Pressure(self)
        self.keyring = Keyring.open(os.path.join(config.data_dir, FILE_NAME), codec=self.protection.identities)
        self.bound: list[doctor_data.Bound] = []
        self._loop = asyncio.get_running_loop()
        self._jumps = clock.JumpWatch(time.time, self._loop.time)
        self._clock: clock.ClockState | None = None
        self._linked: set[Identity] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._parts_up: list[str] = []
        self._looking: asyncio.Task[None] | None = None
        self.saver: Saver | None = None
        self.store: Database
        self.kept: Database | Keeper
        self.core: Core
        self.links: Endpoint
        self.shell: Shell
        self.discovery: Discovery
        self.control: ControlServer
        self.client_port: ClientPort | None = None
        self._handlers: Handlers | None = None
        self.federation: Federating | None = None

    async def start(self) -> None:
        """Come up whole or raise QpqError."""
        if self.keyring.exposed:
            self.log.warning("%s could be read by others until now; its mode is 0600 again", self.keyring.path)
        self._open_store()
        self._measure()
        self._listen()
        self._make_core()
        await self.protection.begin()
        await self._open_control()
        self._wake_core()
        self._federate()
        if self.config.client_port:
            from qpq.daemon.client_port import ClientPort  # noqa: PLC0415 (most nodes have no clients)

            self.client_port = ClientPort(self)
        self.published.begin()
        self.pressure.look()
        self.later("links", LINKS_SECONDS, lambda: keep(self.links.load))
        self.later("discovery", DISCOVERY_SECONDS, self._start_discovery)

    async def stop(self, until: float) -> None:
        """Say goodbye, persist and close all that came up; others are waited for until then, on the loop's clock."""
        for timer in self._timers.values():
            timer.cancel()
        self.published.end()
        goodbye = [] if self._looking is None else [self._stop_discovery(self._looking, until)]
        await asyncio.gather(*goodbye, *([self.control.stop()] if "control" in self._parts_up else []))
        if "core" in self._parts_up:
            self.shell.put(events.Shutdown())
            self.shell.close()
        if "links" in self._parts_up:
            await self.links.close_all(max(0.0, min(DRAIN_SECONDS, until - self.now())))
        if "store" in self._parts_up:
            if self.saver is not None:
                await self.saver.stop(save=not self.protection.wiped)
            else:
                self.store.close()
        self.protection.end()
        self._parts_up.clear()

    async def reload(self, config: Config) -> None:
        """Take over the options that need no restart."""
        new = [peer for peer in config.peer if peer not in self.config.peer]
        before = self.configured()
        self.config = config
        logs.set_level(config.log_level)
        for peer in before - self.configured() - {known.address for known in self.keyring.peers}:
            self.shell.put(events.Undial(peer))
        self._dial(new)
        self._check_clock()
        self.published.metrics()
        self.pressure.look()
        self._federate()

    async def drain(self) -> None:
        """Finish what is under way with clients and other domains, before ``stop``."""
        seconds = float(self.config.drain_timeout)
        clients = [self.client_port.stop(seconds)] if self.client_port is not None else []
        domains = [self.federation.drain(seconds)] if self.federation is not None else []
        await asyncio.gather(*clients, *domains)

    # --- what the rooms tell each other ----------------------------------------------------------

    def delivered(self, effect: effects.Deliver) -> None:
        """Show a message to whoever watches its user's inbox."""
        if self._handlers is not None:
            self._handlers.delivered(effect)

    def state_changed(self, effect: effects.StateChanged) -> None:
        """Show a message's new state to whoever watches its sender."""
        if self._handlers is not None:
            self._handlers.state_changed(effect)

    def probed(self, effect: effects.ProbeDone) -> None:
        """Tell whoever asked how far somebody is."""
        self.handlers.mesh.probed(effect)

    def neighbour_changed(self, effect: effects.NeighbourChanged) -> None:
        """Show a neighbour; look around quickly when one was lost."""
        if effect.up is not (effect.peer in self._linked):  # else only its users have changed
            self._linked ^= {effect.peer}
            what = "linked with" if effect.up else "no link any more with"
            self.log.info("%s %s at %s", what, text_id(effect.peer), effect.address)
        if effect.up:
            self.note_seen()
        if self._handlers is not None:
            self._handlers.neighbour_changed(effect)
        if not effect.up and self._looking is not None:
            self.discovery.link_lost()

    def outside(self, effect: effects.Effect) -> None:
        """Pass on what concerns other domains."""
        if not self.domains.found(effect) and self.federation is not None:
            self.federation.effect(effect)

    def note_seen(self) -> None:
        """Remember which nodes answer at the addresses that are always dialled, to notice another key there later."""
        static = self.configured() | {peer.address for peer in self.keyring.peers}
        seen = self.keyring.seen
        for row in self.core.peers(self.now()) if static else ():
            known = seen.get(row.address) == row.identity or row.known is not None
            if row.address in static and row.proven and not known:
                try:
                    self.keyring.note_seen(row.address, row.identity)
                except KeyringError as error:
                    self.log.warning("%s", error)

    def known_at(self, address: str) -> Identity | None:
        """Return who answered before at an address that another key answers at now."""
        return next((row.known for row in self.core.peers(self.now()) if row.address == address and row.known), None)

    def add_user(self, user: User) -> None:
        """Have the core serve a user with all channels."""
        self.shell.put(events.UserAdded(user.secret.seed, user.blocked, named=user.verified.union(user.petnames)))
        for channel in user.channels:
            self.shell.put(events.ChannelJoined(user.address, channel.key, frozenset(channel.signers)))

    def user_of(self, address: Address) -> User | None:
        """Return the local user with that address; the node's own address is its first user's."""
        if address == self.keyring.node.address:
            return self.keyring.users[0]
        return next((user for user in self.keyring.users if user.address == address), None)

    @property
    def handlers(self) -> Handlers:
        """What carries out commands, loaded with the first of them; before that nobody watches."""
        if self._handlers is None:
            from qpq.daemon.handlers import Handlers  # noqa: PLC0415

            self._handlers = Handlers(self)
        return self._handlers

    # --- what the commands ask -------------------------------------------------------------------

    def now(self) -> float:
        """Return the time on the core's clock, in seconds."""
        return self._loop.time()

    def state_of(self, user: Address, message_id: bytes) -> str:
        """Return the state of a message that was just taken."""
        row = self.core.message(user, message_id)
        return row.state.value if row is not None else State.DELIVERED.value

    def sealed_of(self, user: Address, message_id: bytes) -> bool | None:
        """Return whether a message just taken is sealed post-quantum; None: it waits for keys, or is not sealed."""
        row = self.core.message(user, message_id)
        return row.post_quantum if row is not None else None

    def settled(self) -> Database:
        """Return the store with all that has happened in it, what may be written late too."""
        self.shell.settle()
        return self.store

    def mark_read(self, user: Address, entries: list[InboxEntry]) -> None:
        """Note that a user has seen messages; from then on they may give way."""
        if self.saver is not None:
            self.saver.keeper.mark_read(user, entries)
        else:
            self.store.mark_read(user, [entry.number for entry in entries])
        self.shell.put(events.MessagesRead(user, tuple([(entry.message_id, entry.sender) for entry in entries])))

    def discovery_document(self) -> dict[str, str]:
        """Return what each way of discovery does, or why it does not."""
        return self.discovery.status() if self._looking is not None else dict.fromkeys(_WAYS, "starting")

    def discovery_counters(self) -> dict[str, int]:
        """Return the counters of discovery by name."""
        return self.discovery.counters if self._looking is not None else {}

    def clock_document(self) -> dict[str, object]:
        """Return whether the wall clock is trusted, and why."""
        return {} if self._clock is None else {"trusted": self._clock.trusted, "reason": self._clock.reason}

    # --- start, step by step ---------------------------------------------------------------------

    def _open_store(self) -> None:
        own, codec = self.keyring.node.identity, self.protection.store
        self.store, self.saver, self.durable = places.open_store(self.config, own, codec, self.log)
        self.kept = self.saver.keeper if self.saver is not None else self.store
        self._parts_up.append("store")

    def _measure(self) -> None:
        found = memory.read()
        allowed = memory.limits(found)
        self.limits = core_limits(
            max_links=self.config.max_links or allowed.max_links,
            store_bytes=self.config.store_size or allowed.store_size,
        )
        self.role = _ROLES.get(self.config.role, Role.LEAF if allowed.leaf else Role.RELAY)
        if allowed.leaf and self.config.role == "auto":
            megabytes = found.available >> 20
            self.log.warning("%d MB of memory are available: this node is a leaf and carries nothing", megabytes)
        if self.saver is not None:
            self.limits = self.saver.narrowed(self.limits)

    def _make_core(self) -> None:
        self.boot = self.kept.next_boot()  # writes to flash: where no port is had, procd starts the node every 10 s
        self.core = Core(self.keyring.node, boot=self.boot, random=os.urandom, limits=self.limits, role=self.role)
        self.core.restore(self.store.restore())
        self.shell = Shell(self.core, self.kept, self.links, self, group=self.durable)
        self._parts_up.append("core")

    def _listen(self) -> None:
        self.links = Endpoint(self.keyring.node, self._link_event, LinkLimits.sized(max_links=self.limits.max_links))
        try:
            self.links.listen(self.config.listen)
        except QpqError as error:
            self.bound.append(doctor_data.Bound("links", self.config.listen, str(error)))
            raise
        self._parts_up.append("links")
        self.bound.append(doctor_data.Bound("links", f"UDP port {self.links.port}"))

    async def _open_control(self) -> None:
        self.control = ControlServer(
            self.config.socket,
            lambda: self.handlers.table(),  # noqa: PLW0108 (not before somebody asks)
            log=self.log,
            user_exists=lambda name: any(user.name == name for user in self.keyring.users),
            group=group_id(self.config.socket_group),
        )
        await self.control.start()
        self._parts_up.append("control")

    def _wake_core(self) -> None:
        self._check_clock()
        for user in self.keyring.users:
            self.add_user(user)
        self._dial(self.config.peer)
        for peer in self.keyring.peers:
            self.shell.put(events.Dial(peer.address, identity=peer.identity, known=self.keyring.seen.get(peer.address)))

    def _federate(self) -> None:
        """Deal with other domains as the configuration says now; raises FederationConfigError."""
        if self.federation is not None:
            self.federation.reload(self.config)
        elif self.config.relays or self.config.federation_ca:
            from qpq.daemon.federating import started  # noqa: PLC0415 (most nodes belong to no domain)

            self.federation = started(self)

    def _discovery_wanted(self) -> DiscoveryConfig:
        config = self.config
        return DiscoveryConfig(
            identity=self.keyring.node.identity,
            port=self.links.port,
            boot=self.boot,
            mdns=(MdnsMode.ASK if config.umdns else MdnsMode.AUTO) if config.mdns else MdnsMode.OFF,
            beacon=config.beacon,
            group=config.group,
            interfaces=config.mesh_interface,
            group_interfaces=config.group_interface,
            domain=config.domain,
        )

    def _start_discovery(self) -> None:
        from qpq.discovery.discovery import Discovery  # noqa: PLC0415 (see DISCOVERY_SECONDS)

        self.discovery = Discovery(self._discovery_wanted(), self.shell.put, self._network_changed, random=os.urandom)
        self._looking = self._loop.create_task(self.discovery.start(), name="discovery start")

    async def _stop_discovery(self, looking: asyncio.Task[None], until: float) -> None:
        """End discovery, also one that has not come up yet: on some machines netlink gives no answer for seconds."""
        try:
            async with asyncio.timeout(min(GOODBYE_SECONDS, until - self.now())):
                if looking.cancel():
                    await asyncio.wait((looking,))
                await self.discovery.stop()
        except TimeoutError:
            self.log.warning("mDNS has not said goodbye in time: peers will forget this node by themselves")

    # --- while it runs ---------------------------------------------------------------------------

    def _link_event(self, event: events.Event) -> None:
        self.shell.put(event)

    def _network_changed(self) -> None:
        self.links.kick()
        self.shell.put(events.NetworkChanged())

    def _dial(self, addresses: tuple[str, ...] | list[str]) -> None:
        """Have these dialled for ever; one whose interface is not there yet is tried anew when networks change."""
        for text in addresses:
            try:
                NetAddress.parse(text)
            except NetAddressError as error:
                self.log.warning("%s; it is dialled when that changes", error)
            self.shell.put(events.Dial(plain(text), known=self.keyring.seen.get(plain(text))))

    def configured(self) -> set[str]:
        """Return the peers that the configuration names, as ``_dial`` hands them to the core."""
        return {plain(text) for text in self.config.peer}

    def _check_clock(self) -> None:
        jumped = self._jumps.check()
        judged = clock.assess(self.config.clock_trusted, time.time())
        if jumped or self._clock is None or judged.trusted != self._clock.trusted:
            trust = "trusted" if judged.trusted else "not trusted"
            self.log.info("the wall clock is %s: %s", trust, judged.reason)
        self._clock = judged
        self.shell.put(events.ClockSet(self._jumps.offset, judged.trusted))
        self.later("clock", CLOCK_SECONDS, self._check_clock)

    def later(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        """Call back in ``seconds``; a call under the same name that waits gives way."""
        waiting = self._timers.pop(name, None)
        if waiting is not None:
            waiting.cancel()
        self._timers[name] = self._loop.call_later(seconds, callback)

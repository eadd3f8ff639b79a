"""Publishes this node and hears others by multicast DNS: what to tell zeroconf and what to believe of it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from qpq.discovery import adapters
from qpq.discovery.dns import PTR, Question
from qpq.discovery.dnssd import SERVICE_TYPE, instance_name, text_entries
from qpq.discovery.errors import DnsError, MdnsUnavailableError, NameTakenError
from qpq.discovery.limits import TokenBucket
from qpq.discovery.placing import published, server_host
from qpq.discovery.trickle import Trickle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from zeroconf import RecordUpdate

    from qpq.crypto.identity import Identity
    from qpq.discovery.dns import Record
    from qpq.discovery.dnssd import ServiceTable
    from qpq.discovery.interfaces import Interface
    from qpq.mesh.events import PeerFound

RECORD_RATE, RECORD_BURST = 200.0, 1000.0
"""Records looked at: a second, at once. The rest is ignored and counted."""

PUBLISH_DEADLINE, RETRY = 20.0, 30.0

NAMES: Final = 3
"""Instance names tried when somebody else claims ours."""

MAX_KNOWN: Final = 24
TRIM_EVERY: Final = 512
"""Records heard between two looks at the size of zeroconf's cache."""

FOLLOW_UP: Final = 0.1
FOLLOW_UP_RATE, FOLLOW_UP_BURST = 0.2, 10.0
FIRST_QUESTION, DOUBLINGS, ALWAYS = 1.0, 10, 1 << 30
"""Questions: the second comes at least 1 s after the first (RFC 6762 section 5.2), at last every 17 minutes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Publication:
    """The records of one service instance; ``host`` is the name its ``addresses`` go by."""

    kind: str
    name: str
    port: int
    host: str
    addresses: tuple[str, ...]
    text: tuple[tuple[str, str], ...]


class Responder(Protocol):
    """What is wanted of zeroconf: see ``zeroconf_bridge.Bridge``."""

    ipv6: bool

    @property
    def refused(self) -> int:
        """How many messages were not even read."""
        ...

    async def start(self, interfaces: list[str | int]) -> None:
        """Bind port 5353; raises MdnsUnavailableError."""
        ...

    async def close(self) -> None:
        """Say goodbye and close."""
        ...

    async def use(self, interfaces: list[str | int]) -> None:
        """Speak on these interfaces from now on; raises MdnsUnavailableError."""
        ...

    async def publish(self, publication: Publication) -> None:
        """Announce, or change what is announced; raises NameTakenError, MdnsUnavailableError."""
        ...

    def ask(self, questions: Iterable[Question], known: Iterable[tuple[str, str, int]], *, unicast: bool) -> None:
        """Send a query with known answers."""
        ...

    def convert(self, update: RecordUpdate) -> Record | None:
        """Return a record heard as ours; raises DnsError."""
        ...

    def trim(self) -> bool:
        """Empty a cache that has grown too large; True when it was."""
        ...


class Mdns:
    """This node as a zeroconf service, and the others."""

    def __init__(
        self,
        identity: Identity,
        port: int,
        domain: str,
        services: ServiceTable,
        *,
        random: Callable[[], float],
        on_found: Callable[[PeerFound], None],
        make: Callable[[Callable[[Sequence[RecordUpdate]], None]], Responder] | None = None,
    ) -> None:
        self._make = make or _zeroconf
        self._identity = identity
        self._port = port
        self._domain = domain
        self._services = services
        self._random = random
        self._on_found = on_found
        self._interfaces: list[Interface] = []
        self._used: list[str | int] = []
        self._published: Publication | None = None
        self._responder: Responder | None = None
        self._worker: asyncio.Task[None] | None = None
        self._dirty = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._follow_up: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._records = TokenBucket(RECORD_RATE, RECORD_BURST)
        self._follow_ups = TokenBucket(FOLLOW_UP_RATE, FOLLOW_UP_BURST)
        self._since_trim = 0
        self._problem = ""
        self._counted = dict.fromkeys(("mdns_queries", "mdns_limited", "mdns_damaged", "mdns_cache_emptied"), 0)

    @property
    def counters(self) -> dict[str, int]:
        """Queries sent; records ignored, damaged; messages not read; how often zeroconf's cache was emptied."""
        return self._counted | {"mdns_flooded": self._responder.refused if self._responder else 0}

    async def start(self, interfaces: Iterable[Interface]) -> None:
        """Bind port 5353, begin to publish and to ask; raises MdnsUnavailableError."""
        self._loop = asyncio.get_running_loop()
        self._interfaces = list(interfaces)
        adapters.update(self._interfaces)
        responder = self._make(self._take)
        self._used = self._wanted(responder)
        try:
            await responder.start(self._used)
        except asyncio.CancelledError:
            await responder.close()
            raise
        self._responder = responder
        self._trickle = Trickle(
            self._loop.time(), self._random, shortest=FIRST_QUESTION, doublings=DOUBLINGS, redundancy=ALWAYS
        )
        self._dirty.set()
        self._worker = asyncio.create_task(self._work(responder), name="mdns")
        self._arm()

    async def close(self) -> None:
        """Say goodbye to the network and stop; may be called twice."""
        for timer in (self._timer, self._follow_up, self._retry):
            if timer is not None:
                timer.cancel()
        if self._worker is not None:
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker
        responder, self._responder = self._responder, None
        if responder is not None:
            await responder.close()

    def follow(self, interfaces: Iterable[Interface]) -> None:
        """Use these interfaces and their addresses from now on."""
        self._interfaces = list(interfaces)
        adapters.update(self._interfaces)
        self._services.forget()
        self._dirty.set()
        self.look_around()

    def look_around(self) -> None:
        """A link broke or the interfaces changed: ask at the quick pace again."""
        if self._responder is not None:
            self._trickle.reset(self._loop.time())
            self._arm()

    def status(self) -> str:
        """Say what this does."""
        if self._problem:
            return f"zeroconf on 5353, not published: {self._problem}"
        return "zeroconf on 5353" if self._interfaces else "zeroconf on 5353, waiting for an interface with a carrier"

    def _wanted(self, responder: Responder) -> list[str | int]:
        """Return zeroconf's way to name interfaces: an IPv4 address, an index for IPv6."""
        four = [interface.ipv4[0].host for interface in self._interfaces if interface.ipv4]
        six = [interface.index for interface in self._interfaces if interface.link_local and responder.ipv6]
        return [*four, *six]

    async def _work(self, responder: Responder) -> None:
        """Bring zeroconf in line with the interfaces whenever they changed; retry what failed."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                async with asyncio.timeout(PUBLISH_DEADLINE):
                    await self._reconcile(responder)
                self._problem = ""
            except (TimeoutError, MdnsUnavailableError, NameTakenError) as error:
                self._problem = str(error) or f"no end after {PUBLISH_DEADLINE:.0f} s"
                log.warning("mdns: not published: %s; trying again in %d s", self._problem, RETRY)
                self._retry = self._loop.call_later(RETRY, self._dirty.set)

    async def _reconcile(self, responder: Responder) -> None:
        wanted = self._wanted(responder)
        if wanted != self._used:
            await responder.use(wanted)
            self._used = wanted
        if self._published is None:
            await self._publish_first(responder)
            return
        publication = self._publication(self._published.name)
        if publication != self._published:
            await responder.publish(publication)
            self._published = publication

    async def _publish_first(self, responder: Responder) -> None:
        """Announce this node; while somebody claims the name (a clone, a liar), under another one."""
        name = instance_name(self._identity)
        for attempt in range(NAMES):
            suffix = f"-{int(self._random() * 0x10000):04x}" if attempt else ""
            publication = self._publication(f"{name}{suffix}.{SERVICE_TYPE}")
            try:
                await responder.publish(publication)
            except NameTakenError:
                if attempt == NAMES - 1:
                    raise
                log.warning("mdns: the name %s is claimed by another node", publication.name)
            else:
                self._published = publication
                return

    def _publication(self, name: str) -> Publication:
        addresses = published(self._interfaces)
        host = f"qpq-{instance_name(self._identity)}.local"
        server = f"{server_host(addresses, host)}:{self._port}"
        text = text_entries(self._identity, server, self._domain)
        return Publication(SERVICE_TYPE, name, self._port, host + ".", tuple(addresses), tuple(text.items()))

    def _take(self, updates: Sequence[RecordUpdate]) -> None:
        """Pass records from the network on, as many as the rate allows."""
        if self._responder is None:
            return
        now = self._loop.time()
        records = [record for update in updates if (record := self._read(self._responder, update, now)) is not None]
        for found in self._services.feed(records, now):
            self._on_found(found)
        if self._follow_up is None:
            self._follow_up = self._loop.call_later(FOLLOW_UP, self._ask_more)
        self._since_trim += len(updates)
        if self._since_trim > TRIM_EVERY:
            self._since_trim = 0
            self._loop.call_soon(self._trim)

    def _read(self, responder: Responder, update: RecordUpdate, now: float) -> Record | None:
        if not self._records.take(now):
            self._counted["mdns_limited"] += 1
            return None
        try:
            return responder.convert(update)
        except DnsError:
            self._counted["mdns_damaged"] += 1
            return None

    def _trim(self) -> None:
        if self._responder is not None and self._responder.trim():
            self._counted["mdns_cache_emptied"] += 1

    def _ask_more(self) -> None:
        self._follow_up = None
        now = self._loop.time()
        questions = self._services.questions(now)
        if questions and self._follow_ups.take(now):
            self._send(questions, [], unicast=True)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._trickle.at, self._ask)

    def _ask(self) -> None:
        now = self._loop.time()
        first = self._trickle.interval <= FIRST_QUESTION
        if self._trickle.poll(now):
            known = [(SERVICE_TYPE, name, left) for name, left in self._services.known(now)[:MAX_KNOWN]]
            self._send([Question(SERVICE_TYPE, PTR)], known, unicast=first)
        self._arm()

    def _send(self, questions: list[Question], known: list[tuple[str, str, int]], *, unicast: bool) -> None:
        if self._responder is not None:
            self._counted["mdns_queries"] += 1
            self._responder.ask(questions, known, unicast=unicast)


def _zeroconf(take: Callable[[Sequence[RecordUpdate]], None]) -> Responder:
    """Import zeroconf, now that it is needed; raises MdnsUnavailableError."""
    adapters.install()
    try:
        from qpq.discovery.zeroconf_bridge import Bridge  # noqa: PLC0415 (4 MB, see there)
    except ImportError as error:
        raise MdnsUnavailableError(f"the package zeroconf is not here ({error})") from error
    return Bridge(take)

"""A node's dealings with other domains: joins the federation room with links, store and core."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from qpq.crypto.channels import channel_id, open_key
from qpq.crypto.identity import Address, Identity, text_id
from qpq.daemon import federation_files
from qpq.daemon.directory import Directory
from qpq.daemon.domains import gateway_secret
from qpq.daemon.federation_files import FederationConfigError
from qpq.daemon.federation_queue import FederationQueue
from qpq.daemon.histogram import Histograms
from qpq.daemon.metrics import Series
from qpq.errors import QpqError
from qpq.federation.federation import ALPN, Federation
from qpq.federation.ports import Answer, Parts
from qpq.federation.settings import Rates
from qpq.federation.trust import Trust
from qpq.link.certificates import make_certificate
from qpq.link.ports import Credentials
from qpq.link.streams import Service
from qpq.mesh import effects, events
from qpq.rpc.binding import RpcBinding
from qpq.wire.outside import OutsideBroadcast, OutsideEnvelope, OutsideReceipt
from qpq.wire.rpc_services import FEDERATION_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.daemon.node import Node
    from qpq.daemon.options import Config
    from qpq.federation.settings import Settings
    from qpq.link.streams import Stream
    from qpq.mesh.effects import Effect
    from qpq.mesh.parcel import Parcel
    from qpq.wire.capnp_messages import Values
    from qpq.wire.outside import Outside

T = TypeVar("T")
TAKE_S: Final = 20.0
"""For the core to say what became of something from outside."""
LOOKUP_S: Final = 15.0
"""For another domain to say who somebody is."""
FORGET_S: Final = 60.0
WARN_S: Final = 86400.0
_RESOLVE = FEDERATION_SERVICE.method("proxyResolveUser")
_NAMES: Final = {"federation_relay_seconds": "Time for another relay to take something."}


def started(node: Node) -> Federating:
    """Make the node a gateway, which deals with other domains from now on; raises FederationConfigError."""
    federating = Federating(node)
    federating.start()
    node.domains.open(federating.settings.domain)
    federating.read_topics()
    return federating


class Federating:
    """Made only where other domains are configured; raises FederationConfigError where they are wrongly."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.settings = self._load(node.config)
        self.directory = Directory(node.config.data_dir)
        self._topics: frozenset[str] = frozenset()
        self.counters: dict[str, int] = {}
        self._histograms = Histograms("Time to answer a call of another relay.", _NAMES)
        self._loop = asyncio.get_running_loop()
        self._tokens: dict[bytes, asyncio.Future[Answer]] = {}
        self._bundles: dict[bytes, asyncio.Future[bytes | None]] = {}
        self._lookups: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        changed = (lambda: None) if node.saver is None else node.saver.keeper.snapshot.custody_changed
        self.queue = FederationQueue(node.store, self._life, self._woken, changed)
        parts = Parts(self.queue, self, self, self, _chance)
        self.federation = Federation(self._trust(self.settings), parts)

    # life

    def start(self) -> None:
        """Answer other relays, and call those that have addresses."""
        self._node.links.serve(self._service(self.federation.trust.caller))
        self.federation.start(row.domain for row in self.queue.waiting())
        self._forget()
        self._warn()

    def reload(self, config: Config) -> None:
        """Read the files again and go by them; raises FederationConfigError, and then nothing has changed."""
        settings = self._load(config)
        if settings.domain != self.settings.domain:
            settings = replace(settings, domain=self.settings.domain)
        self.settings = settings
        self.federation.renew(self._trust(settings))
        self._node.links.serve(self._service(self.federation.trust.caller))
        self.read_topics()
        self._warn()

    def read_topics(self) -> None:
        """Have the gateway's user read the channels that are shared, and no others; what is alive is heard anew."""
        gateway, topics = gateway_secret(self._node.keyring.node).address, frozenset(self.settings.topics)
        for topic in self._topics - topics:
            self._node.shell.put(events.ChannelLeft(gateway, channel_id(open_key(topic))))
        for topic in topics:
            self._node.shell.put(events.ChannelJoined(gateway, open_key(topic)))
        self._topics = topics

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 (not an error when it passes)
        """Finish what is under way and take nothing new."""
        for timer in self._timers.values():
            timer.cancel()
        for task in self._lookups:
            task.cancel()
        await self.federation.drain(timeout)

    # for the federation room: the dialler

    def open(self, address: str, domain: str, failed: Callable[[str], None]) -> None:
        """Call a relay."""
        service = self._service(self.federation.trust.called(domain))
        self._node.links.open(address, replace(service, failed=failed))

    # the mesh

    async def take(self, item: Outside, recipient: Address, age: int) -> Answer:
        """Hand something over to the core."""
        token = os.urandom(16)
        if isinstance(item, OutsideEnvelope | OutsideBroadcast):
            event: events.Event = events.FromOutside(token, item.origin, item.envelope, age)
        elif isinstance(item, OutsideReceipt):
            event = events.OutsideProof(token, item.origin, recipient, item.secret, item.envelope_hash)
        else:
            event = events.OutsideRefused(token, recipient, item.message_id, item.reason)
        return await self._ask(token, event)

    async def give_up(self, parcel: Parcel, reason: str) -> Answer:
        """Tell a user of this mesh that a message is refused over there."""
        token = os.urandom(16)
        return await self._ask(token, events.OutsideRefused(token, parcel.sender, parcel.envelope_id, reason))

    def resolve(self, name: str) -> Identity | None:
        """Return the key of a user of this node by name, or of whoever the directory names."""
        found = next((user for user in self._node.keyring.users if user.name == name), None)
        return Identity(found.address) if found is not None else self.directory.names.get(name)

    async def keys(self, user: Address, *, single: bool) -> bytes | None:
        """Return the signed bundle of a user of this mesh, whose node may have to be asked for it."""
        token = os.urandom(16)
        return await self._await(self._bundles, token, events.BundleAsked(token, user, single), None)

    # the meter

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        self.counters[name] = self.counters.get(name, 0) + amount

    def observe(self, name: str, seconds: float) -> None:
        """Note how long something took."""
        self._histograms.observe(name, seconds)

    def latencies(self) -> str:
        """Return the latencies as Prometheus text."""
        return self._histograms.render()

    def gauges(self) -> list[Series]:
        """Return what there is now, in numbers."""
        waiting = self.queue.waiting()
        found = [
            Series("federation_connections", "Relays connected.", sum(self.federation.connected().values())),
            Series("federation_waiting", "Messages that wait for other domains.", sum(row.rows for row in waiting)),
            Series("federation_waiting_bytes", "Bytes of these.", sum(row.size for row in waiting)),
        ]
        if self.settings.chain:
            days = federation_files.days_left(self.settings.chain[0])
            found.append(Series("federation_certificate_days", "Days until the own certificate ends.", days))
        return found

    # what the core tells

    def effect(self, effect: Effect) -> None:
        """Take note of something the core has done or wants."""
        if isinstance(effect, (effects.Outward, effects.InsideProof)):
            self._woken(effect.domain)  # it is in the table
        elif isinstance(effect, effects.BroadcastHeard):
            self.federation.heard(effect.envelope, max(0, int(self._life()) - effect.born), effect.domain)
        elif isinstance(effect, effects.OutsideAnswered):
            _settle(self._tokens, effect.token, Answer(effect.reason, effect.retry))
        elif isinstance(effect, effects.BundleMade):
            _settle(self._bundles, effect.token, None if effect.retry else effect.data)
        elif isinstance(effect, effects.OutsideLookup):
            task = self._loop.create_task(self._look_up(effect))
            self._lookups.add(task)
            task.add_done_callback(self._lookups.discard)

    # for people

    def document(self) -> dict[str, object]:
        """Return what there is to know of it."""
        waiting = {row.domain: row for row in self.queue.waiting()}
        connected = self.federation.connected()
        names = sorted({*waiting, *connected, *(relay.domain for relay in self.settings.relays)})
        topics = {relay.domain: list(relay.topics) for relay in self.settings.relays}
        chain = self.settings.chain
        return {
            "domain": self.settings.domain,
            "key": text_id(self._node.keyring.node.identity),
            "certificate_days": federation_files.days_left(chain[0]) if chain else None,
            "draining": self.federation.desk.draining,
            "names": len(self.directory.names),
            "relays": [
                {
                    "domain": name,
                    "connections": connected.get(name, 0),
                    "waiting": waiting[name].rows if name in waiting else 0,
                    "foreign": waiting[name].foreign if name in waiting else 0,
                    "waiting_bytes": waiting[name].size if name in waiting else 0,
                    "reached": self.federation.session_to(name) is not None,
                    "topics": topics.get(name, []),
                }
                for name in names
            ],
        }

    # inside

    def _load(self, config: Config) -> Settings:
        settings = federation_files.load(config, self._node.keyring.node.identity)
        if config.production:
            found = federation_files.complaints(
                config,
                settings,
                durable=self._node.durable,
                clock_trusted=bool(self._node.clock_document().get("trusted")),
                exposed=self._node.keyring.exposed,
            )
            if found:
                raise FederationConfigError("option production: " + "; ".join(found))
        return replace(settings, rates=Rates.sized(self._node.store.max_bytes))

    def _trust(self, settings: Settings) -> Trust:
        return Trust(settings, self._node.keyring.node.identity, self._utc)

    def _utc(self) -> int | None:
        return federation_files.utc(time.time()) if bool(self._node.clock_document().get("trusted")) else None

    def _life(self) -> float:
        return self._node.core.life(self._node.now())

    def _service(self, judge: Callable[..., Identity]) -> Service:
        return Service(ALPN, self._credentials, judge, self._opened)

    def _credentials(self) -> Credentials:
        secret = self._node.keyring.node
        chain = tuple(certificate.der for certificate in self.settings.chain)
        return Credentials(chain or (make_certificate(secret),), secret.seed)

    def _opened(self, stream: Stream) -> RpcBinding:
        binding = RpcBinding(stream)
        key = stream.peer or Identity(b"")
        binding.session = self.federation.opened(binding, key, stream.address, initiator=stream.initiator)
        return binding

    def _woken(self, domain: str) -> None:
        self.federation.wake(domain)

    async def _ask(self, token: bytes, event: events.Event) -> Answer:
        """Hand an event to the core and wait for its answer."""
        return await self._await(self._tokens, token, event, Answer("this node was too slow to take it", retry=True))

    async def _await(
        self, waiting: dict[bytes, asyncio.Future[T]], token: bytes, event: events.Event, otherwise: T
    ) -> T:
        future: asyncio.Future[T] = self._loop.create_future()
        waiting[token] = future
        try:
            self._node.shell.put(event)
            async with asyncio.timeout(TAKE_S):
                return await future
        except TimeoutError:
            return otherwise
        finally:
            del waiting[token]

    async def _look_up(self, effect: effects.OutsideLookup) -> None:
        address, domain, reason = b"", effect.domain, ""
        if effect.domain == self.settings.domain:
            address, domain = self.resolve(effect.name) or b"", ""
            reason = "" if address else f"no user {effect.name} is known here"
        else:
            address, reason = await self._resolve_there(effect.name, effect.domain)
        self._node.shell.put(events.OutsideFound(effect.asker, effect.token, address, domain, reason))

    async def _resolve_there(self, name: str, domain: str) -> tuple[bytes, str]:
        session = self.federation.session_to(domain)
        if session is None:
            return b"", f"no relay of {domain} is reached now"
        values: Values = {"username": name, "auth": {"origin": self.settings.domain}}
        try:
            key = (await session.call(_RESOLVE, values, timeout=LOOKUP_S)).data("identityKey")
        except QpqError as fault:
            return b"", str(fault)
        return (key, "") if len(key) == len(Identity(bytes(32))) else (b"", f"nobody is called {name} in {domain}")

    def _forget(self) -> None:
        expired = self.queue.forget()
        if expired:
            self.count("federation.expired", expired)
        self._later("forget", FORGET_S, self._forget)

    def _warn(self) -> None:
        for what, certificate in (
            *(("federation_certificate", each) for each in self.settings.chain),
            *(("federation_ca", each) for each in self.settings.authorities),
        ):
            days = federation_files.days_left(certificate)
            if days <= federation_files.WARN_DAYS:
                end = f"expires in {days} days" if days > 0 else "has expired"
                self._node.log.warning("%s: a certificate %s: have it renewed, then send SIGHUP", what, end)
        self._later("warn", WARN_S, self._warn)

    def _later(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        waiting = self._timers.pop(name, None)
        if waiting is not None:
            waiting.cancel()
        self._timers[name] = self._loop.call_later(seconds, callback)


def _settle(waiting: dict[bytes, asyncio.Future[T]], token: bytes, result: T) -> None:
    future = waiting.get(token)
    if future is not None and not future.done():
        future.set_result(result)


def _chance() -> float:
    return os.urandom(1)[0] / 255

"""Relays of several domains in one loop: real UDP, real TLS, real stores; only the meshes behind them are stood for."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from qpq.crypto.identity import Address, Identity, SecretIdentity
from qpq.daemon.federation_queue import FederationQueue
from qpq.federation.authority import issue, make_authority
from qpq.federation.federation import ALPN, Federation
from qpq.federation.ports import Answer, Parts
from qpq.federation.settings import Relay, Settings
from qpq.federation.trust import Trust
from qpq.federation.x509 import read
from qpq.link.certificates import make_certificate
from qpq.link.endpoint import Endpoint
from qpq.link.limits import LinkLimits
from qpq.link.ports import Credentials
from qpq.link.streams import Service
from qpq.rpc.binding import RpcBinding
from qpq.store.database import Database
from qpq.wire.envelope import decode_envelope, encode_envelope, envelope_hash, sign_envelope
from qpq.wire.outside import OutsideEnvelope, OutsideReceipt
from qpq.wire.receipts import commitment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from qpq.link.streams import Stream
    from qpq.mesh.parcel import Parcel
    from qpq.wire.outside import Outside

NOW = 20300601000000
AUTHORITY = SecretIdentity(b"c" * 32)
ROOT = make_authority(
    AUTHORITY, "the communities", serial=bytes(16), not_before=20300101000000, not_after=20310101000000
)
SECRET = b"s" * 16


def secret(name: str) -> SecretIdentity:
    return SecretIdentity(name.encode().ljust(32, b".")[:32])


def envelope(sender: str, recipient: str, number: int = 0, ttl: int = 3600) -> bytes:
    """Return an envelope between two users, by name."""
    made = sign_envelope(
        secret(sender),
        recipient=secret(recipient).address,
        ttl=ttl,
        max_hops=5,
        timestamp=0,
        commitment=commitment(SECRET),
        payload=b"sealed %d" % number,
    )
    return encode_envelope(made)


def certificate(domain: str, key: Identity, **dates: int) -> bytes:
    given = {"not_before": 20300101000000, "not_after": 20301231000000} | dates
    return issue(read(ROOT), AUTHORITY, domain, key, serial=bytes(16), **given)


@dataclass
class Took:
    """What a mesh was handed."""

    item: Outside
    recipient: Address
    age: int


@dataclass
class Domain:
    """One relay and the mesh behind it."""

    name: str
    path: str = ":memory:"
    listen: str = "127.0.0.1:0"
    chain: tuple[bytes, ...] = ()
    clock: int | None = NOW
    answer: Answer = field(default_factory=Answer)
    proves: bool = False
    slow: float = 0.0
    took: list[Took] = field(default_factory=list)
    given_up: list[tuple[Parcel, str]] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    users: dict[str, Identity] = field(default_factory=dict)
    bundles: dict[Address, bytes] = field(default_factory=dict)
    gave: dict[Address, bytes] = field(default_factory=dict)
    origin: str = ""
    max_bytes: int = 64 << 20

    endpoint: Endpoint = field(init=False)
    federation: Federation = field(init=False)
    queue: FederationQueue = field(init=False)

    @property
    def key(self) -> SecretIdentity:
        return secret(f"relay {self.name}")

    def begin(self, *relays: Relay, ca: bool = False, **changes: Any) -> Domain:
        """Open the port and the store; ``start`` calls the others."""
        authorities = (read(ROOT),) if ca else ()
        self.settings = replace(Settings(self.name, relays, authorities), **changes)
        self.database = Database(self.path, durable=False, max_bytes=self.max_bytes)
        self.queue = FederationQueue(self.database, self.life, self.woken)
        trust = Trust(self.settings, self.key.identity, lambda: self.clock)
        chance = random.Random(self.name).random  # noqa: S311 (a seed)
        self.federation = Federation(trust, Parts(self.queue, self, self, self, chance))
        self.endpoint = Endpoint(self.key, print, LinkLimits())
        self.endpoint.listen(self.listen)
        self.listen = f"127.0.0.1:{self.endpoint.port}"
        self.endpoint.serve(self.service(self.caller))
        return self

    def start(self) -> None:
        self.federation.start([row.domain for row in self.queue.waiting()])

    async def stop(self, drain: float = 1.0) -> None:
        await self.federation.drain(drain)
        await self.endpoint.close_all(0.5)
        self.database.close()

    def service(self, judge: Callable[..., Identity]) -> Service:
        shown = Credentials(self.chain or (make_certificate(self.key),), self.key.seed)
        return Service(ALPN, lambda: shown, judge, self.opened)

    def opened(self, stream: Stream) -> RpcBinding:
        binding = RpcBinding(stream)
        assert stream.peer is not None
        binding.session = self.federation.opened(binding, stream.peer, stream.address, initiator=stream.initiator)
        return binding

    def woken(self, domain: str) -> None:
        self.federation.wake(domain)

    def caller(self, chain: Sequence[bytes]) -> Identity:
        return self.federation.trust.caller(chain)  # the trust of now, which may change

    def life(self) -> float:
        return time.monotonic()

    def send(self, to: str, sender: str, recipient: str, number: int = 0, ttl: int = 3600) -> int:
        """Keep a message of a user of this mesh for another domain, as its core would."""
        data = envelope(sender, recipient, number, ttl)
        return self.queue.hold(OutsideEnvelope(to, "", data), secret(recipient).address, ttl=ttl, age=0, hops=0)

    def relay(self, **changes: Any) -> Relay:
        """Return how others configure this one, pinned."""
        return replace(Relay(self.name, self.name, (self.key.identity,), (self.listen,)), **changes)

    # the ports

    def open(self, address: str, domain: str, failed: Callable[[str], None]) -> None:
        def note(reason: str) -> None:
            self.failures.append(reason)
            failed(reason)

        service = self.service(self.federation.trust.called(domain))
        self.endpoint.open(address, replace(service, failed=note))

    async def take(self, item: Outside, recipient: Address, age: int) -> Answer:
        if self.slow:
            await asyncio.sleep(self.slow)
        if self.answer.reason:
            return self.answer
        self.took.append(Took(item, recipient, age))
        if self.proves and isinstance(item, OutsideEnvelope):
            read_ = decode_envelope(item.envelope)
            proof = OutsideReceipt(item.origin, "", SECRET, envelope_hash(read_))
            self.queue.hold(proof, read_.sender, ttl=3600, age=0, hops=0)
        return self.answer

    async def give_up(self, parcel: Parcel, reason: str) -> Answer:
        self.given_up.append((parcel, reason))
        return Answer()

    def resolve(self, name: str) -> Identity | None:
        return self.users.get(name)

    async def keys(self, user: Address, *, single: bool) -> bytes | None:
        """Keys that are good for one session go once; more of them are for later."""
        bundle = self.bundles.get(user, b"")
        if not single or not bundle:
            return bundle
        return None if user in self.gave else self.gave.setdefault(user, bundle + b", single")

    def count(self, name: str, amount: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + amount

    def observe(self, name: str, seconds: float) -> None:
        self.seconds.setdefault(name, []).append(seconds)

    # what came

    def numbers(self) -> list[int]:
        """Return the numbers of the envelopes that were taken, in order."""
        return [
            int(decode_envelope(took.item.envelope).payload.split()[1])
            for took in self.took
            if isinstance(took.item, OutsideEnvelope)
        ]

    def receipts(self) -> list[OutsideReceipt]:
        return [took.item for took in self.took if isinstance(took.item, OutsideReceipt)]


@asynccontextmanager
async def domains(*members: Domain) -> AsyncIterator[None]:
    try:
        for member in members:
            member.start()
        yield
    finally:
        for member in members:
            await member.stop()


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (what is waited for is plain state)
            await asyncio.sleep(0.01)


def run(scenario: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 55))


def pair(**changes: Any) -> tuple[Domain, Domain]:
    """Return two domains that have pinned each other; the first calls the second."""
    aachen, berlin = Domain("aachen.example"), Domain("berlin.example")
    berlin.begin(replace(aachen.relay(), addresses=()), **changes)
    aachen.begin(berlin.relay())
    return aachen, berlin

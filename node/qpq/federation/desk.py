"""What a relay of another domain may ask: the six methods, each checked against who asks."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from qpq.crypto.identity import ID_BYTES, Address
from qpq.errors import QpqError
from qpq.federation.errors import PolicyError
from qpq.federation.settings import MAX_HOPS
from qpq.federation.topics import share, topic_of
from qpq.rpc.service import Service
from qpq.wire.envelope import Mode, decode_envelope, verify_envelope
from qpq.wire.errors import WireError
from qpq.wire.outside import MAX_PAYLOAD, OutsideBroadcast, OutsideEnvelope, decode_outside
from qpq.wire.rpc_errors import CallFailed, CallOverloaded
from qpq.wire.rpc_services import FEDERATION_SERVICE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qpq.federation.ports import Mesh, Meter, Queue
    from qpq.federation.settings import Rates, Settings
    from qpq.rpc.service import Handler
    from qpq.wire.capnp_messages import Fields, Values
    from qpq.wire.outside import Outside

VERSION: Final = 1
MAX_BATCH: Final = 64
"""Recipients of one call."""
MAX_BUCKETS: Final = 1024
"""Domains whose rate is remembered; the one not heard of for longest gives way."""
OTHER_TTL: Final = 7 * 86400
"""Seconds that receipts and refusals live."""
FLOOR_S: Final = 0.005
"""Seconds that an answer about a name takes at least."""


class Bucket:
    """What one domain has left to hand over now; ``now`` is monotonic."""

    __slots__ = ("_at", "_bytes", "_messages", "_rates")

    def __init__(self, rates: Rates, now: float) -> None:
        self._rates = rates
        self._messages, self._bytes = float(rates.message_burst), float(rates.byte_burst)
        self._at = now

    def take(self, size: int, now: float) -> bool:
        """Take one message of ``size`` bytes, if there is room for it."""
        rates, passed = self._rates, now - self._at
        self._at = now
        self._messages = min(float(rates.message_burst), self._messages + passed * rates.messages)
        self._bytes = min(float(rates.byte_burst), self._bytes + passed * rates.bytes)
        if self._messages < 1 or self._bytes < size:
            return False
        self._messages -= 1
        self._bytes -= size
        return True


class Desk:
    """Answers relays; one for all of them, with a bucket for each domain (as many as have proven one)."""

    def __init__(self, settings: Settings, queue: Queue, mesh: Mesh, meter: Meter) -> None:
        self.settings = settings
        self.draining = False
        self._queue = queue
        self._mesh = mesh
        self._meter = meter
        self._buckets: dict[str, Bucket] = {}
        self._pending: set[bytes] = set()

    def service(self, caller: str) -> Service:
        """Return what a relay of the domain ``caller`` may call."""
        return Service(FEDERATION_SERVICE, {name: self._handler(name, caller) for name in _METHODS}, _DEADLINES)

    def _handler(self, name: str, caller: str) -> Handler:
        method = _METHODS[name]

        async def handle(params: Fields) -> Values:
            started = time.monotonic()
            try:
                return await method(self, caller, params)
            finally:
                self._meter.observe(_SERIES[name], time.monotonic() - started)

        return handle

    # the methods

    async def relay_enqueue(self, caller: str, params: Fields) -> Values:
        """@0: take something for a user here, or for a domain that is reached through here."""
        return {"seq": await self._enqueue(caller, params, params.data("recipientKey"))}

    async def relay_batch_enqueue(self, caller: str, params: Fields) -> Values:
        """@1: the same for recipients of one payload, in their order; here each is for one, named once or more."""
        keys = params.datas("recipientKeys")
        if not 1 <= len(keys) <= MAX_BATCH:
            raise CallFailed(f"{len(keys)} recipients; 1 to {MAX_BATCH} are allowed")
        if len(set(keys)) > 1:  # before the first has got what the others are refused
            raise CallFailed("each payload is sealed for one recipient: hand over what each is to get by itself")
        return {"seqs": [await self._enqueue(caller, params, key) for key in keys]}

    async def proxy_fetch_key_package(self, caller: str, params: Fields) -> Values:
        """@2: keys of a user by which one session begins, never given out twice; empty when there are none."""
        return {"package": await self._keys(caller, params, single=True)}

    async def proxy_fetch_hybrid_key(self, caller: str, params: Fields) -> Values:
        """@3: keys of a user by which sessions begin; empty when there are none."""
        return {"hybridPublicKey": await self._keys(caller, params, single=False)}

    async def proxy_resolve_user(self, caller: str, params: Fields) -> Values:
        """@4: the key of a user by name; empty when there is none. Not faster for names that exist."""
        started = time.monotonic()
        self._check_caller(caller, params)
        found = self._mesh.resolve(params.text("username"))
        await _until(started + FLOOR_S)
        return {"identityKey": found or b""}

    async def federation_health(self, caller: str, _params: Fields) -> Values:
        """@5: whether this relay takes messages, and of which domain it is."""
        self._spend(caller, 0)
        return {"status": "draining" if self.draining else "ok", "serverDomain": self.settings.domain}

    async def _keys(self, caller: str, params: Fields, *, single: bool) -> bytes:
        """Return the signed bundle of a user of this mesh; empty: there is no such user, or none that answers."""
        self._check_caller(caller, params)
        bundle = await self._mesh.keys(_key(params.data("identityKey")), single=single)
        if bundle is None:
            raise CallOverloaded("this user has been asked for keys just now, or too many are: try again in a while")
        return bundle

    # one message

    async def _enqueue(self, caller: str, params: Fields, key: bytes) -> int:
        payload = params.data("payload")
        self._check_caller(caller, params, len(payload))
        if self.draining:
            raise CallOverloaded("this relay is about to stop")
        recipient = _key(key)
        if params.uint("version") != VERSION or params.data("channelId"):
            raise CallFailed(f"version {VERSION} and an empty channelId are taken here")
        try:
            item = self._read(caller, payload, params, recipient)
        except (WireError, PolicyError) as fault:
            self._meter.count("federation.refused")
            raise CallFailed(str(fault)) from None
        known = self._queue.known(item)
        if known is not None:
            self._meter.count("federation.duplicates")
            return known
        return await self._take(caller, item, recipient, params)

    def _read(self, caller: str, payload: bytes, params: Fields, recipient: Address) -> Outside:
        """Return what the payload is; raises WireError, PolicyError."""
        if len(payload) > MAX_PAYLOAD:
            raise PolicyError(f"a payload of {len(payload)} bytes; at most {MAX_PAYLOAD} are taken")
        item = decode_outside(payload)
        if params.data("messageId") not in {b"", item.message_id}:
            raise PolicyError("messageId is not the id of what is in the payload")
        if params.uint("hops") > MAX_HOPS:
            raise PolicyError(f"it has passed {params.uint('hops')} domains, and {MAX_HOPS} are allowed")
        if not self.settings.relay_of(caller).speaks_for(item.origin):
            raise PolicyError(f"a relay of {caller} may not speak for {item.origin}")
        if isinstance(item, OutsideBroadcast):
            self._check_topic(caller, item)
        if isinstance(item, OutsideEnvelope):
            envelope = decode_envelope(item.envelope)
            if envelope.recipient != recipient:
                raise PolicyError("an envelope for somebody else than recipientKey")
            if item.to != self.settings.domain and not verify_envelope(envelope):  # the mesh checks its own
                raise PolicyError("an envelope with a false signature")
        return item

    def _check_topic(self, caller: str, item: OutsideBroadcast) -> None:
        """See that both sides share the channel of a broadcast; raises WireError, PolicyError."""
        if item.to != self.settings.domain or item.origin != caller:
            raise PolicyError("a broadcast goes from one domain to the next, in its own name")
        envelope = decode_envelope(item.envelope)
        if envelope.mode is not Mode.CHANNEL or not topic_of(envelope, self.settings.relay_of(caller).topics):
            raise PolicyError(f"a broadcast of no topic that {item.to} shares with {caller}")

    async def _take(self, caller: str, item: Outside, recipient: Address, params: Fields) -> int:
        left, hops, home = params.uint("ttlSecs"), max(1, params.uint("hops")), params.text("home")
        ttl = decode_envelope(item.envelope).ttl if isinstance(item, OutsideEnvelope | OutsideBroadcast) else OTHER_TTL
        age = max(0, ttl - left) if left else 0
        if item.to != self.settings.domain:
            return self._carry(caller, item, recipient, ttl=ttl, age=age, hops=hops)
        name = item.message_id
        if name in self._pending:
            raise CallOverloaded("the same is being taken in just now")
        self._pending.add(name)
        if not self.settings.relay_of(caller).speaks_for(home):
            home = caller
        try:
            inside = replace(item, origin=home) if isinstance(item, OutsideBroadcast) else item
            answer = await self._mesh.take(inside, recipient, age)
        finally:
            self._pending.discard(name)
        if answer.reason:
            self._meter.count("federation.refused")
            raise (CallOverloaded if answer.retry else CallFailed)(answer.reason)
        self._meter.count("federation.taken")
        seq = self._queue.note(item, recipient, ttl=ttl, age=age)
        if isinstance(item, OutsideBroadcast):
            share(self.settings, self._queue, self._meter, item.envelope, age=age, hops=hops, home=home)
        return seq

    def _carry(self, caller: str, item: Outside, recipient: Address, *, ttl: int, age: int, hops: int) -> int:
        """Keep what is for a third domain."""
        settings = self.settings
        refusal = ""
        if not settings.relay_of(caller).transit:
            refusal = f"nothing is carried from {caller} to other domains"
        elif not settings.reaches(item.to) or item.to == caller:
            refusal = f"{item.to} is not reached from here"
        elif hops >= MAX_HOPS:
            refusal = f"it has passed {hops} domains, and {MAX_HOPS} are allowed"
        if refusal:
            self._meter.count("federation.refused")
            raise CallFailed(refusal)
        try:
            seq = self._queue.hold(item, recipient, ttl=ttl, age=age, hops=hops)
        except QpqError as fault:
            raise CallOverloaded(str(fault)) from fault
        self._meter.count("federation.carried")
        return seq

    def _check_caller(self, caller: str, params: Fields, size: int = 0) -> None:
        """See that it says who it is, and does not ask for more than its share."""
        origin = params.struct("auth").text("origin")
        if origin != caller:
            self._meter.count("federation.lies")
            raise CallFailed(f"origin is {origin[:64]!a}, the certificate is of {caller}")
        self._spend(caller, size)

    def _spend(self, caller: str, size: int) -> None:
        now = time.monotonic()
        bucket = self._buckets.pop(caller, None) or Bucket(self.settings.rates, now)
        if len(self._buckets) >= MAX_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[caller] = bucket
        if not bucket.take(size, now):
            self._meter.count("federation.hasty")
            raise CallOverloaded(f"{caller} sends faster than this relay takes")


def _key(data: bytes) -> Address:
    if len(data) != ID_BYTES:
        raise CallFailed(f"a key of {len(data)} bytes, not {ID_BYTES}")
    return Address(data)


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


_METHODS: Final[dict[str, Callable[[Desk, str, Fields], Awaitable[Values]]]] = {
    "relayEnqueue": Desk.relay_enqueue,
    "relayBatchEnqueue": Desk.relay_batch_enqueue,
    "proxyFetchKeyPackage": Desk.proxy_fetch_key_package,
    "proxyFetchHybridKey": Desk.proxy_fetch_hybrid_key,
    "proxyResolveUser": Desk.proxy_resolve_user,
    "federationHealth": Desk.federation_health,
}
_DEADLINES: Final = {"relayBatchEnqueue": 60.0}
"""Seconds for up to 64 messages, where that is more than for one."""
_SERIES: Final = {
    "relayEnqueue": "federation_enqueue_seconds",
    "relayBatchEnqueue": "federation_batch_seconds",
    "proxyFetchKeyPackage": "federation_key_package_seconds",
    "proxyFetchHybridKey": "federation_hybrid_key_seconds",
    "proxyResolveUser": "federation_resolve_seconds",
    "federationHealth": "federation_health_seconds",
}

"""One connection of a client: the calls of NodeService that this server offers, each with its checks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from qpq.rpc.binding import RpcBinding
from qpq.rpc.service import HANDLE_S, Service
from qpq.rpc.session import RpcSession
from qpq.wire.delivery import make_proof, message_id
from qpq.wire.rpc_errors import CallFailed, CallOverloaded, CallUnimplemented
from qpq.wire.rpc_services import NODE_SERVICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpq.home.accounts import Token
    from qpq.home.home import Home
    from qpq.home.windows import Windows
    from qpq.rpc.binding import PausableStream
    from qpq.rpc.service import Handler
    from qpq.wire.capnp_messages import Fields, Values

AUTH_VERSION: Final = 1
MESSAGE_VERSION: Final = 1
KEY_BYTES: Final = 32
_DEVICE_BYTES = (0, 16)
_ALL = 1000

_LATER: Final = (
    "uploadKeyPackage", "fetchKeyPackage", "uploadHybridKey", "fetchHybridKey", "fetchHybridKeys", "batchEnqueue",
    "opaqueRegisterStart", "opaqueRegisterFinish", "opaqueLoginStart", "opaqueLoginFinish", "createChannel",
    "uploadBlob", "downloadBlob", "deleteAccount",
)  # fmt: skip


_SERIES: Final = {
    "health": "home_health_seconds",
    "enqueue": "home_enqueue_seconds",
    "fetch": "home_fetch_seconds",
    "peek": "home_fetch_seconds",
    "ack": "home_ack_seconds",
    "resolveUser": "home_lookup_seconds",
    "resolveIdentity": "home_lookup_seconds",
    "publishEndpoint": "home_lookup_seconds",
    "resolveEndpoint": "home_lookup_seconds",
}


class Visit(RpcBinding):
    """A client's connection: its stream, its session, and what it may do."""

    def __init__(self, home: Home, stream: PausableStream) -> None:
        super().__init__(stream)
        self._home = home
        self._loop = asyncio.get_running_loop()
        self._bad = 0
        self._has_room = asyncio.Event()
        later = dict.fromkeys(_LATER, _unimplemented)
        offered: dict[str, Handler] = {
            "health": self._health,
            "enqueue": self._enqueue,
            "fetch": self._fetch,
            "fetchWait": self._fetch_wait,
            "peek": self._fetch,
            "ack": self._ack,
            "resolveUser": self._resolve_user,
            "resolveIdentity": self._resolve_identity,
            "publishEndpoint": self._publish_endpoint,
            "resolveEndpoint": self._resolve_endpoint,
        }
        offered |= {name: self._timed(series, offered[name]) for name, series in _SERIES.items()}
        deadlines = {"fetchWait": home.limits.wait_s + HANDLE_S}
        self.session = RpcSession(self, Service(NODE_SERVICE, {**later, **offered}, deadlines), home.rpc_limits)
        self.session.max_message = home.limits.stranger

    # the stream

    def room(self) -> None:
        """Go on reading, and answering."""
        super().room()
        self._has_room.set()

    def ended(self, reason: str) -> None:
        """Take note of the end."""
        super().ended(reason)
        self._home.gone(self)

    # the calls

    def _timed(self, series: str, handler: Handler) -> Handler:
        """Return a handler whose time is noted; not one that waits for what clients do."""

        async def handle(params: Fields) -> Values:
            begin = self._loop.time()
            try:
                return await handler(params)
            finally:
                self._home.observe(series, self._loop.time() - begin)

        return handle

    async def _health(self, _params: Fields) -> Values:
        return {"status": "ok"}

    async def _enqueue(self, params: Fields) -> Values:
        home, limits = self._home, self._home.limits
        token = self._token(params)
        recipient, payload = _key(params, "recipientKey"), params.data("payload")
        _check_queue(params)
        if not payload:
            raise CallFailed("payload is empty: there is nothing to deliver")
        if len(payload) > limits.payload:
            raise CallFailed(f"payload has {len(payload)} bytes: at most {limits.payload} are taken here")
        ttl = params.uint("ttlSecs") or limits.ttl_s
        if ttl > limits.max_ttl_s:
            raise CallFailed(f"ttlSecs is {ttl}: at most {limits.max_ttl_s} (30 days) are taken")
        if not home.accounts.name(recipient):
            raise CallFailed("recipientKey has no inbox here: ask who runs this node for an account")
        self._take(home.enqueues, token, "messages")
        try:
            seq = await home.queues.post(recipient, payload, ttl)
        except CallOverloaded:
            home.count("refused_room")
            raise
        home.count("enqueued")
        stamp = home.stamp()
        proof = make_proof(home.own, message_id(recipient, seq, payload), recipient, stamp)
        return {"seq": seq, "deliveryProof": proof, "timestamp": stamp}

    async def _fetch(self, params: Fields) -> Values:
        _, recipient = self._own_inbox(params)
        await self._until_room()
        return self._answer(self._look(recipient, params.uint("limit")))

    async def _fetch_wait(self, params: Fields) -> Values:
        home = self._home
        token, recipient = self._own_inbox(params)
        limit = params.uint("limit")
        seconds = min(params.uint("timeoutMs") / 1000, home.limits.wait_s)
        if home.waiting.get(token.number, 0) >= home.limits.waiting:
            raise CallOverloaded(f"{home.limits.waiting} calls of this token wait for messages already")
        home.waiting[token.number] = home.waiting.get(token.number, 0) + 1

        def look() -> Sequence[tuple[int, bytes]]:
            if not home.accounts.is_valid(token):
                raise CallFailed("this access token has been revoked")
            return self._look(recipient, limit)

        try:
            found = await home.waiters.wait(recipient, seconds, look)
            if self._stream.is_full:
                await self._until_room()
                found = look()
            return self._answer(found)
        finally:
            home.waiting[token.number] -= 1
            if not home.waiting[token.number]:
                del home.waiting[token.number]

    async def _ack(self, params: Fields) -> Values:
        home = self._home
        _, recipient = self._own_inbox(params)
        up_to, last = params.uint("seqUpTo"), home.queues.last(recipient)
        if up_to > last:
            raise CallFailed(f"seqUpTo is {up_to}: the newest message of this inbox had number {last}")
        if up_to:
            home.count("acknowledged", home.queues.acknowledge(recipient, up_to))
        return {}

    async def _resolve_user(self, params: Fields) -> Values:
        begin = self._loop.time()
        self._take(self._home.lookups, self._token(params), "lookups")
        key = self._home.accounts.key(params.text("username"))
        await self._floor(begin)
        return {"identityKey": key or b"", "inclusionProof": b""}

    async def _resolve_identity(self, params: Fields) -> Values:
        begin = self._loop.time()
        self._take(self._home.lookups, self._token(params), "lookups")
        name = self._home.accounts.name(_key(params, "identityKey"))
        await self._floor(begin)
        return {"username": name}

    async def _publish_endpoint(self, params: Fields) -> Values:
        home = self._home
        token, identity, address = self._token(params), _key(params, "identityKey"), params.data("nodeAddr")
        if identity != token.identity:
            raise CallFailed("identityKey is not the key of this token: only the own endpoint can be published")
        if len(address) > home.limits.endpoint:
            raise CallFailed(f"nodeAddr has {len(address)} bytes: at most {home.limits.endpoint} are kept")
        self._take(home.lookups, token, "lookups")
        home.queues.publish(identity, address, home.limits.endpoint_s)
        return {}

    async def _resolve_endpoint(self, params: Fields) -> Values:
        begin = self._loop.time()
        self._take(self._home.lookups, self._token(params), "lookups")
        address = self._home.queues.endpoint(_key(params, "identityKey"))
        await self._floor(begin)
        return {"nodeAddr": address}

    # what they share

    def _token(self, params: Fields) -> Token:
        """Return whose call it is; raises CallFailed."""
        auth = params.struct("auth")
        if auth.uint("version") != AUTH_VERSION:
            raise CallFailed(f"auth.version is {auth.uint('version')}: it must be {AUTH_VERSION}, with an access token")
        if len(auth.data("deviceId")) not in _DEVICE_BYTES:
            raise CallFailed("auth.deviceId must be empty or the 16 bytes of a UUID")
        token = self._home.accounts.holder(auth.data("accessToken"))
        if token is None:
            self._refused()
            raise CallFailed("the access token is not valid here: ask who runs this node for another")
        self.session.max_message = self._home.rpc_limits.message
        return token

    def _refused(self) -> None:
        self._home.count("refused_token")
        self._bad += 1
        if self._bad >= self._home.limits.bad_tokens:
            self._loop.call_soon(self.session.close, "too many calls with a wrong access token")

    def _own_inbox(self, params: Fields) -> tuple[Token, bytes]:
        """Return token and inbox of a call about the own inbox; raises CallFailed."""
        token, recipient = self._token(params), _key(params, "recipientKey")
        _check_queue(params)
        if recipient != token.identity:
            raise CallFailed("recipientKey is not the key of this token: only the own inbox can be read")
        return token, recipient

    def _take(self, windows: Windows, token: Token, what: str) -> None:
        wait = windows.take(token.number, self._loop.time())
        if wait:
            self._home.count("refused_rate")
            raise CallOverloaded(f"more than {windows.most} {what} a minute: try again in {wait:.0f} s")

    def _look(self, recipient: bytes, limit: int) -> Sequence[tuple[int, bytes]]:
        return self._home.queues.waiting(recipient, min(limit or _ALL, _ALL), self._home.limits.reply)

    def _answer(self, found: Sequence[tuple[int, bytes]]) -> Values:
        self._home.count("fetched", len(found))
        return {"payloads": [{"seq": seq, "data": data} for seq, data in found]}

    async def _until_room(self) -> None:
        """Wait while the client does not take what it was sent, so that answers do not pile up."""
        while self._stream.is_full:
            self._has_room.clear()
            await self._has_room.wait()

    async def _floor(self, begin: float) -> None:
        """Wait until an answer tells nothing by its time."""
        await asyncio.sleep(begin + self._home.limits.floor_s - self._loop.time())


async def _unimplemented(_params: Fields) -> Values:
    raise CallUnimplemented(
        "not offered by this server: it has health, enqueue, fetch, fetchWait, peek, ack, resolveUser,"
        " resolveIdentity, publishEndpoint and resolveEndpoint"
    )


def _key(params: Fields, name: str) -> bytes:
    key = params.data(name)
    if len(key) != KEY_BYTES:
        raise CallFailed(f"{name} has {len(key)} bytes: an Ed25519 public key has {KEY_BYTES}")
    return key


def _check_queue(params: Fields) -> None:
    """See that the default inbox is meant, in the form this server speaks."""
    if params.data("channelId"):
        raise CallFailed("channelId must be empty: this server has no channels, only the default inbox")
    if params.uint("version") != MESSAGE_VERSION:
        raise CallFailed(f"version is {params.uint('version')}: it must be {MESSAGE_VERSION}")

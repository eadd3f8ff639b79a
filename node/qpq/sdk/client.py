"""A client of one account at one node: typed calls, reconnecting, and messages one after the other."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpq.crypto.identity import Identity, parse_id
from qpq.sdk.errors import ConnectError, ProofError
from qpq.sdk.transport import Transport
from qpq.wire.delivery import check_proof, message_id
from qpq.wire.rpc_errors import CallDisconnected, CallOverloaded, CallTimeout
from qpq.wire.rpc_services import NODE_SERVICE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType
    from typing import Self

    from qpq.rpc.session import RpcSession
    from qpq.wire.capnp_messages import Fields, Value

VERSION: Final = 1
"""Of ``auth`` and of messages."""
WAIT_S: Final = 240.0
"""How long one ``fetchWait`` of ``messages`` waits; the next follows."""
MOST_CALLS: Final = 48
"""Calls at once; a server takes 64 on one connection, and more of the SDK's wait for the end of others."""
_FIRST_S, _MOST_S = 0.2, 10.0


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the own inbox. ``seq`` rises by one; a missing number has expired or was acknowledged."""

    seq: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """That the node has taken a message: its number in the recipient's inbox, and the 96 bytes that prove it.

    ``timestamp``: Unix seconds; 0: the node has no trusted clock.
    """

    seq: int
    timestamp: int
    proof: bytes


class Client:
    """The account of ``key`` at ``node``, to be used in one event loop; any number of calls at once.

    ``node`` and ``key`` are ids as text or 32 bytes, ``token`` is what ``qpq client token add`` has shown. Connects
    with the first call, and anew when the connection is lost or a call gets no answer for ``timeout`` seconds; a call
    that can be made twice is, for ``patience`` seconds. All raise ConnectError, and RpcError as the server answers.
    """

    def __init__(
        self,
        address: str,
        *,
        node: str | bytes,
        token: str,
        key: str | bytes,
        device_id: bytes = b"",
        timeout: float = 10.0,
        patience: float = 30.0,
    ) -> None:
        self.node = _key(node)
        self.key = _key(key)
        self._address = address
        self._auth: dict[str, Value] = {"version": VERSION, "accessToken": token.encode(), "deviceId": device_id}
        self._timeout = timeout
        self._patience = patience
        self._transport: Transport | None = None
        self._session: RpcSession | None = None
        self._connecting = asyncio.Lock()
        self._running = asyncio.Semaphore(MOST_CALLS)
        self._closed = False

    async def __aenter__(self) -> Self:
        """Connect."""
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    async def connect(self) -> None:
        """Connect now, and see that the token is valid; raises ConnectError, CallFailed."""
        await self._open()

    async def close(self) -> None:
        """End the connection for good."""
        self._closed = True
        if self._session is not None:
            self._session.close("the client has gone")
        if self._transport is not None:
            await self._transport.close()

    # calls

    async def health(self) -> str:
        """Return how the server is: ``ok``."""
        return (await self._again("health", {}, auth=False)).text("status")

    async def enqueue(self, recipient: str | bytes, payload: bytes, *, ttl: int = 0) -> Receipt:
        """Put a message into somebody's inbox for ``ttl`` seconds (0: the server's 7 days).

        It is not repeated by itself: after CallDisconnected or CallTimeout it may be there or not. Raises ProofError
        too, and CallOverloaded where the inbox is full or this was the 101st message in a minute.
        """
        key = _key(recipient)
        values = {**self._inbox(key), "payload": payload, "ttlSecs": ttl}
        answer = await self._call("enqueue", values)
        receipt = Receipt(answer.uint("seq"), answer.uint("timestamp"), answer.data("deliveryProof"))
        if not self.proves(receipt, key, payload):
            raise ProofError(f"message {receipt.seq} came back with a delivery proof that is none")
        return receipt

    def proves(self, receipt: Receipt, recipient: str | bytes, payload: bytes) -> bool:
        """Whether a receipt proves that the node has taken this message for that recipient."""
        key = _key(recipient)
        message = message_id(key, receipt.seq, payload)
        return check_proof(self.node, receipt.proof, message, key, receipt.timestamp)

    async def fetch(self, limit: int = 0) -> list[Message]:
        """Return the oldest messages (0: all that fit one answer); they stay until ``ack``."""
        return _messages(await self._again("fetch", {**self._inbox(self.key), "limit": limit}))

    async def peek(self, limit: int = 0) -> list[Message]:
        """Return what ``fetch`` does; servers that delete what they hand out keep it here."""
        return _messages(await self._again("peek", {**self._inbox(self.key), "limit": limit}))

    async def fetch_wait(self, seconds: float, limit: int = 0) -> list[Message]:
        """Return messages as soon as there are some, none after ``seconds`` (at most 300)."""
        values = {**self._inbox(self.key), "timeoutMs": int(seconds * 1000), "limit": limit}
        return _messages(await self._again("fetchWait", values, seconds))

    async def ack(self, seq: int) -> None:
        """Delete the own messages up to that number."""
        await self._again("ack", {**self._inbox(self.key), "seqUpTo": seq})

    async def resolve_user(self, name: str) -> Identity | None:
        """Return the key of the account with that name; None: there is none."""
        return Identity((await self._again("resolveUser", {"username": name})).data("identityKey")) or None

    async def resolve_identity(self, key: str | bytes) -> str | None:
        """Return the name of the account with that key; None: there is none."""
        return (await self._again("resolveIdentity", {"identityKey": _key(key)})).text("username") or None

    async def publish_endpoint(self, address: bytes) -> None:
        """Let others know for a day where this client can be reached; empty: take it back."""
        await self._again("publishEndpoint", {"identityKey": self.key, "nodeAddr": address})

    async def resolve_endpoint(self, key: str | bytes) -> bytes | None:
        """Return what somebody has published; None: nothing, or a day ago."""
        return (await self._again("resolveEndpoint", {"identityKey": _key(key)})).data("nodeAddr") or None

    async def messages(self) -> AsyncIterator[Message]:
        """Go through the messages as they come, for ever, over lost connections too.

        Each is acknowledged when the next is asked for, so one that is being worked on when this program dies comes
        again. Raises what will not mend itself: CallFailed (the token was revoked, for instance).
        """
        pause = _FIRST_S
        while True:
            try:
                found = await self.fetch_wait(WAIT_S)
            except (ConnectError, CallDisconnected, CallTimeout, CallOverloaded):
                if self._closed:
                    return
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (no secret)
                pause = min(2 * pause, _MOST_S)
                continue
            pause = _FIRST_S
            for message in found:
                yield message
                await self._acknowledge(message.seq)

    # underneath

    async def _acknowledge(self, seq: int) -> None:
        """Acknowledge; what cannot be now is fetched and worked on once more."""
        with suppress(ConnectError, CallDisconnected, CallTimeout, CallOverloaded):
            await self.ack(seq)

    def _inbox(self, key: bytes) -> dict[str, Value]:
        return {"recipientKey": key, "version": VERSION}

    async def _again(self, name: str, values: dict[str, Value], extra: float = 0.0, *, auth: bool = True) -> Fields:
        """Call what changes nothing when it is called twice, until it is answered or patience ends."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        pause = _FIRST_S
        while True:
            try:
                return await self._call(name, values, extra, auth=auth)
            except (ConnectError, CallDisconnected, CallTimeout):
                if self._closed or loop.time() + pause > until:
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (no secret)
            pause = min(2 * pause, _MOST_S)

    async def _call(self, name: str, values: dict[str, Value], extra: float = 0.0, *, auth: bool = True) -> Fields:
        session = await self._open()
        given = {**values, "auth": self._auth} if auth else values
        try:
            async with self._running:
                return await session.call(NODE_SERVICE.method(name), given, self._timeout + extra)
        except CallTimeout:
            session.close("no answer")  # the node may have been started anew, and know nothing of this connection
            raise

    async def _open(self) -> RpcSession:
        """Return the session, a new one where there is none; its first call shows the token."""
        async with self._connecting:
            if self._closed:
                raise ConnectError("this client was closed")
            if self._session is not None and self._session.is_open:
                return self._session
            if self._transport is None:
                self._transport = Transport(self._address, self.node)
            session = await self._transport.connect(self._timeout)
            try:
                first = {**self._inbox(self.key), "seqUpTo": 0, "auth": self._auth}
                await session.call(NODE_SERVICE.method("ack"), first, self._timeout)
            except BaseException:
                session.close("not let in")
                raise
            self._session = session
            return session


def _messages(answer: Fields) -> list[Message]:
    return [Message(row.uint("seq"), row.data("data")) for row in answer.structs("payloads")]


def _key(given: str | bytes) -> Identity:
    return Identity(parse_id(given) if isinstance(given, str) else bytes(given))

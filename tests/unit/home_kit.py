"""A home server without a network: real inboxes in a real store, clients joined to it in one event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from qpq.crypto.identity import Identity, SecretIdentity
from qpq.daemon.client_queues import ClientQueues
from qpq.home.accounts import Accounts
from qpq.home.home import Home
from qpq.rpc.session import RpcSession
from qpq.store.database import Database
from qpq.wire.rpc_services import NODE_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from qpq.home.limits import HomeLimits
    from qpq.home.visit import Visit
    from qpq.wire.capnp_messages import Fields

NODE = SecretIdentity(bytes(32))
ANNA, BERT = Identity(b"a" * 32), Identity(b"b" * 32)
STAMP = 1_700_000_000


class Near:
    """The client's end of a stream: bytes come out at the visit."""

    def __init__(self) -> None:
        self.visit: Visit
        self.reason: str | None = None

    def write(self, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(self.visit.received, data)

    def close(self, reason: str) -> None:
        if self.reason is None:
            self.reason = reason
            asyncio.get_running_loop().call_soon(self.visit.ended, reason)


class Far:
    """The server's end; ``is_full`` as a test wants it."""

    def __init__(self) -> None:
        self.client: RpcSession
        self.visit: Visit
        self.is_full = False
        self.paused = False
        self.reason = ""

    def write(self, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(self.client.receive, data)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self, reason: str) -> None:
        self.reason = reason
        asyncio.get_running_loop().call_soon(self.client.ended, reason)
        asyncio.get_running_loop().call_soon(self.visit.ended, reason)


class Guest:
    """A client with a token: ``call`` fills in what every call has."""

    def __init__(self, home: Home, token: str, key: bytes) -> None:
        self.far, self.near = Far(), Near()
        self.key = key
        self.auth = {"version": 1, "accessToken": token.encode()}
        self.session = RpcSession(self.near)
        self.far.client = self.session
        self.visit = self.near.visit = self.far.visit = home.visit(self.far)

    async def call(self, name: str, **values: Any) -> Fields:
        given = {"auth": self.auth, **values}
        if name in ("enqueue", "fetch", "fetchWait", "peek", "ack"):
            given = {"recipientKey": self.key, "version": 1, **given}
        if name == "health":
            given = {}
        return await self.session.call(NODE_SERVICE.method(name), given)

    async def seqs(self, name: str = "fetch", **values: Any) -> list[int]:
        return [row.uint("seq") for row in (await self.call(name, **values)).structs("payloads")]


class World:
    """A home with anna and bert; ``life`` is its clock."""

    def __init__(self, limits: HomeLimits | None = None, room: int = 1 << 22) -> None:
        self.life = 0
        self.database = Database(":memory:")
        self.queues = ClientQueues(self.database, room, lambda: self.life)
        self.accounts = Accounts()
        self.home = Home(NODE, self.accounts, self.queues, lambda: STAMP, limits)
        self.tokens = {
            name: self.accounts.add(name, key, 0, _counted())[1] for name, key in (("anna", ANNA), ("bert", BERT))
        }
        self.anna, self.bert = self.guest("anna", ANNA), self.guest("bert", BERT)

    def guest(self, name: str, key: bytes) -> Guest:
        return Guest(self.home, self.tokens[name], key)


_numbers = iter(range(1, 1 << 30))


def _counted() -> Callable[[int], bytes]:
    return lambda size: next(_numbers).to_bytes(size, "big")


def run(test: Callable[[World], Coroutine[Any, Any, None]], **more: Any) -> None:
    async def main() -> None:
        await test(World(**more))

    asyncio.run(asyncio.wait_for(main(), 20))

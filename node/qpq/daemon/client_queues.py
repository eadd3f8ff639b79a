"""Clients' inboxes in the node's store; what comes in one turn of the loop is committed together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qpq.store.faults import StoreError, StoreFullError
from qpq.store.home import HomeTables, Posted
from qpq.wire.rpc_errors import CallOverloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qpq.store.database import Database
    from qpq.store.home import HomeCounts
    from qpq.store.oplog import Logged


class ClientQueues:
    """``home.ports.Queues`` over the tables; ``life`` returns seconds of life, ``note`` as in HomeTables."""

    def __init__(
        self,
        database: Database,
        room: int,
        life: Callable[[], int],
        note: Callable[[Sequence[Logged]], None] | None = None,
    ) -> None:
        self._tables = HomeTables(database, room, note)
        self._life = life
        self._loop = asyncio.get_running_loop()
        self.arrived: Callable[[bytes], None] = lambda _inbox: None
        self._posts: list[tuple[Posted, asyncio.Future[int]]] = []

    async def post(self, recipient: bytes, payload: bytes, ttl: int) -> int:
        """Keep a message and return its number once it is on disk; raises CallOverloaded, StoreError."""
        if not self._posts:
            self._loop.call_soon(self._commit)
        done: asyncio.Future[int] = self._loop.create_future()
        self._posts.append((Posted(recipient, payload, self._life() + ttl), done))
        return await done

    def waiting(self, recipient: bytes, most: int, room: int) -> Sequence[tuple[int, bytes]]:
        """Return the oldest messages that have not expired."""
        return self._tables.waiting(recipient, self._life(), most, room)

    def last(self, recipient: bytes) -> int:
        """Return the number of the newest message that was ever there."""
        return self._tables.last(recipient)

    def acknowledge(self, recipient: bytes, up_to: int) -> int:
        """Delete messages up to a number; return how many."""
        return self._tables.acknowledge(recipient, up_to)

    def publish(self, identity: bytes, address: bytes, seconds: int) -> None:
        """Keep an endpoint."""
        self._tables.publish(identity, address, self._life() + seconds)

    def endpoint(self, identity: bytes) -> bytes:
        """Return an endpoint."""
        return self._tables.endpoint(identity, self._life())

    def forget(self) -> int:
        """Delete what has expired; return how many messages."""
        return self._tables.forget(self._life())

    def counts(self) -> HomeCounts:
        """Return what waits."""
        return self._tables.counts()

    def _commit(self) -> None:
        posts, self._posts = self._posts, []
        self._post(posts)

    def _post(self, posts: list[tuple[Posted, asyncio.Future[int]]]) -> None:
        try:
            outcomes = self._tables.post([posted for posted, _ in posts], self._life())
        except StoreFullError as fault:
            if len(posts) > 1:  # it may have room for some of them
                for post in posts:
                    self._post([post])
                return
            outcomes = [fault]
        except StoreError as fault:
            for _, done in posts:
                _settle(done, fault)
            return
        for (posted, done), outcome in zip(posts, outcomes, strict=True):
            _settle(done, outcome)
            if isinstance(outcome, int):
                self.arrived(posted.recipient)


def _settle(done: asyncio.Future[int], outcome: int | StoreError) -> None:
    if done.done():  # the client has gone; the message is there all the same
        return
    if isinstance(outcome, int):
        done.set_result(outcome)
    elif isinstance(outcome, StoreFullError):
        done.set_exception(CallOverloaded(str(outcome)))
    else:
        done.set_exception(outcome)

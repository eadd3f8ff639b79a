"""The control server: JSON lines over a Unix socket, roles, watchers; commands go to handlers given from outside.

Order on one connection: requests begin in the order they came in and may end in another; answers carry the id.
``become`` and ``watch`` are the server's own: the first binds a connection to a user for good and must be its first
request (when it fails the connection is closed), the second subscribes it to events.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from qpq.daemon import control_limits as limits
from qpq.daemon import control_socket
from qpq.daemon.commands import Args, BusyError, Caller, CommandError, FailedError, Role
from qpq.errors import QpqError

if TYPE_CHECKING:
    import logging

    from qpq.daemon.control_connection import Connection

Handler: TypeAlias = Callable[[Caller, Args], "Awaitable[object] | object"]
"""Carries out one command and returns plain JSON; raises CommandError (or any QpqError: code ``failed``)."""
Handlers: TypeAlias = Mapping[str, Handler]


class InternalError(CommandError):
    """A fault of this program; the log has the details."""

    code: ClassVar[str] = "internal"


class ControlServer:
    """Serves what ``handlers`` returns at ``path``; ``user_exists`` says whether a name is a user of this node.

    Nobody may connect for days, so ``handlers`` is called, and what serves connections loaded, with the first one.
    ``group`` is the number of the socket's group, None for none. ``counters`` may be read at any time.
    """

    def __init__(
        self,
        path: str,
        handlers: Callable[[], Handlers],
        *,
        log: logging.Logger,
        user_exists: Callable[[str], bool],
        group: int | None = None,
    ) -> None:
        self.counters = {f"control.{name}": 0 for name in ("connections", "refused", "requests", "failed", "dropped")}
        self.user_exists = user_exists
        self._path = path
        self._make_handlers = handlers
        self._handlers: Handlers = {}
        self._log = log
        self._group = group
        self._inode = 0
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._lingering: set[Connection] = set()
        self._tasks: set[asyncio.Task[object]] = set()

    async def start(self) -> None:
        """Open the socket. Raises ControlSocketError."""
        listener = control_socket.listen(self._path, self._group)
        self._inode = os.stat(self._path).st_ino
        self._server = await asyncio.get_running_loop().create_unix_server(self._meet, sock=listener)

    async def stop(self) -> None:
        """Take no more connections, let requests end for up to a second, close everything, remove the file."""
        if self._server is None:
            return
        server, self._server = self._server, None
        for listener in server.sockets:
            asyncio.get_running_loop().remove_reader(listener)
        await asyncio.sleep(0)  # whom asyncio has just taken in it would lose, unanswered and open, in a closed server
        server.close()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=limits.STOP_SECONDS)
            for task in late:
                task.cancel()
        for connection in [*self._connections, *self._lingering]:
            connection.close()
        control_socket.remove(self._path, self._inode)

    def is_watched(self, user: str | None = None) -> bool:
        """Whether ``publish`` would reach anybody: what nobody sees need not be put into words."""
        return any(connection.watches(user) for connection in self._connections)

    def publish(self, name: str, fields: Mapping[str, object], user: str | None = None) -> None:
        """Send an event to every watcher that may see it: all of them, or with ``user`` those of that user.

        Watchers that named no user see the events of all users, if their role is at least USER.
        """
        watching = [connection for connection in self._connections if connection.watches(user)]
        if watching:
            from qpq.daemon.control_line import event  # noqa: PLC0415 (see the class)

            line = event(name, fields)
            for connection in watching:
                connection.offer(line)

    def _meet(self) -> Connection:
        from qpq.daemon.control_connection import Connection  # noqa: PLC0415 (see the class)

        self._handlers = self._handlers or self._make_handlers()
        return Connection(self)

    # --- for Connection ---------------------------------------------------------------------

    def admit(self, connection: Connection, peer: control_socket.Peer) -> Role:
        """Take a new connection in and return its role. Raises BusyError."""
        role = control_socket.role_of(peer, os.geteuid(), self._group)
        room = limits.MAX_CONNECTIONS - (0 if role is Role.ADMIN else limits.RESERVED)
        if self._server is None:  # it came in while the socket was being closed
            raise BusyError("this node is stopping; try again once it is back")
        if len(self._connections) >= room:
            self.counters["control.refused"] += 1
            raise BusyError(f"{len(self._connections)} consoles are connected already; close one")
        self.counters["control.connections"] += 1
        self._connections.add(connection)
        return role

    def leave(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._connections.discard(connection)
        self._lingering.discard(connection)

    def may_linger(self, connection: Connection) -> bool:
        """Return whether a connection that is turned away gets time to read why."""
        if connection not in self._connections:
            if len(self._lingering) >= limits.MAX_LINGERING:
                return False
            self._lingering.add(connection)
        return True

    def dropped(self, why: str) -> None:
        """Count and log a connection that was ended for what it did."""
        self.counters["control.dropped"] += 1
        self._log.warning("a control connection was dropped: %s", why)

    def carry_out(
        self, name: str, caller: Caller, args: Args, done: Callable[[object, CommandError | None], None]
    ) -> bool:
        """Run a command's handler and give ``done`` its result or error, at once unless it has to wait.

        Returns whether it waits: ``done`` is called later. Raises CommandError where it can't even begin.
        """
        handler = self._handlers.get(name)
        if handler is None:
            raise FailedError(f"this daemon does not know how to do {name}")
        if len(self._tasks) >= limits.MAX_TASKS:
            raise BusyError("too many commands are being carried out; try again")
        self.counters["control.requests"] += 1
        try:
            result = handler(caller, args)
        except Exception as error:  # noqa: BLE001 (whatever it is, it costs this command only and is logged)
            done(None, self._fault(name, error))
            return False
        if not isinstance(result, Awaitable):
            done(result, None)
            return False
        task = asyncio.get_running_loop().create_task(_waited_for(name, result))
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(name, ended, done))
        return True

    def check_user(self, name: str) -> None:
        """Raise FailedError unless ``name`` is a user of this node."""
        if not self.user_exists(name):
            raise FailedError(f"this node has no user {name!a}")

    def internal(self, name: str, error: BaseException) -> InternalError:
        """Log a fault of this program and return what the caller is told."""
        self._log.error("the command %s failed by a fault of this program", name, exc_info=error)
        return InternalError(f"{name} failed by a fault of the daemon; its log has the details")

    def _ended(
        self, name: str, task: asyncio.Task[object], done: Callable[[object, CommandError | None], None]
    ) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            done(None, FailedError("the daemon is stopping"))
            return
        error = task.exception()
        if error is None:
            done(task.result(), None)
        else:
            done(None, self._fault(name, error))

    def _fault(self, name: str, error: BaseException) -> CommandError:
        """Count a command that failed and return what its caller is told."""
        self.counters["control.failed"] += 1
        if isinstance(error, CommandError):
            return error
        return FailedError(str(error)) if isinstance(error, QpqError) else self.internal(name, error)


async def _waited_for(name: str, result: Awaitable[object]) -> object:
    """Wait for a handler, within its time."""
    try:
        async with asyncio.timeout(limits.HANDLER_SECONDS):
            return await result
    except TimeoutError:
        raise FailedError(f"{name} was not done within {limits.HANDLER_SECONDS:.0f} seconds") from None

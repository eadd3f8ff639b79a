"""One connection to the control socket: its role, its requests in flight, its events that wait."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

from qpq.daemon import control_limits as limits
from qpq.daemon import control_socket
from qpq.daemon.commands import (
    Args,
    BusyError,
    Caller,
    CommandError,
    DeniedError,
    FailedError,
    Role,
    UsageError,
    check_args,
    check_role,
    find,
)
from qpq.daemon.control_line import MAX_LINE, Request, RequestError, answer, decode, refusal

if TYPE_CHECKING:
    from qpq.daemon.control import ControlServer


class Connection(asyncio.Protocol):
    """Cuts lines from the socket, checks each request, and hands it to the server."""

    _transport: asyncio.Transport
    _peer: control_socket.Peer

    def __init__(self, server: ControlServer) -> None:
        self._server = server
        self._role = Role.READ_ONLY
        self._user: str | None = None
        self._restricted = False
        self._buffer = bytearray()
        self._requests = 0
        self._in_flight = 0
        self._watching = False
        self._watched: str | None = None
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._full = False
        self._eof = False
        self._ending = False
        self._line_begun = False
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    # --- asyncio.Protocol -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find out who it is and ask the server for a place."""
        self._transport = cast("asyncio.Transport", transport)
        try:
            self._peer = control_socket.peer_of(transport.get_extra_info("socket"))
            self._role = self._server.admit(self, self._peer)
        except OSError:  # gone already
            self._transport.abort()
        except BusyError as error:
            self._turn_away(None, error)
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what came; whole lines are requests."""
        if not self._ending:
            self._buffer += data
            self._proceed()

    def eof_received(self) -> bool:
        """Answer what was asked, then close."""
        self._eof = True
        self._proceed()
        return not self._ending

    def pause_writing(self) -> None:
        """Keep events and requests back, and give the reader a while."""
        self._full = True
        self._write_timer = self._after(limits.WRITE_SECONDS, "it does not read")

    def resume_writing(self) -> None:
        """Send what waited."""
        self._full = False
        _cancel(self._write_timer)
        while self._queue and not self._full:
            line = self._queue.popleft()
            self._queued -= len(line)
            self._send(line)
        self._proceed()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        """Forget everything; requests in flight end unheard."""
        self._ending = True
        _cancel(self._timer)
        _cancel(self._write_timer)
        self._buffer.clear()
        self._queue.clear()
        self._server.leave(self)

    # --- for the server ---------------------------------------------------------------------

    def watches(self, user: str | None) -> bool:
        """Whether this connection gets events of ``user`` (None: events that belong to nobody)."""
        if not self._watching or self._ending:
            return False
        return user is None or (self._role >= Role.USER and self._watched in {None, user})

    def offer(self, line: bytes) -> None:
        """Send an event, or queue it while the reader is behind; a full queue drops the connection."""
        if not self._full:
            self._send(line)
            return
        self._queue.append(line)
        self._queued += len(line)
        if len(self._queue) > limits.MAX_QUEUE or self._queued > limits.MAX_QUEUE_BYTES:
            self._drop("it watches and does not read")

    def close(self) -> None:
        """Close when what is written has been sent, or after a while in any case."""
        self._ending = True
        self._ends_within(limits.WRITE_SECONDS)
        self._transport.close()

    # --- requests ---------------------------------------------------------------------------

    def _turn_away(self, number: int | None, error: CommandError) -> None:
        """Refuse and close, throwing away what still comes: closed with it unread, the refusal would be lost."""
        self._send(refusal(number, error))
        if not self._server.may_linger(self):
            self.close()
            return
        self._ending = True
        self._buffer.clear()
        self._ends_within(limits.LINGER_SECONDS)
        self._transport.resume_reading()
        self._transport.write_eof()

    def _ends_within(self, seconds: float) -> None:
        _cancel(self._timer)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._transport.abort)

    def _proceed(self) -> None:
        """Begin the requests that are there, as far as the caps allow, and wait for more."""
        while not self._ending and not self._held_up():
            end = self._buffer.find(b"\n")
            if end < 0:
                break
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._line_begun = False
            if line.strip():
                self._request(line)
        if self._ending:
            return
        if self._held_up():
            self._transport.pause_reading()
        elif len(self._buffer) > MAX_LINE:
            self._turn_away(None, UsageError(f"a request of more than {MAX_LINE} bytes"))
            return
        elif self._eof and not self._in_flight:
            self.close()
            return
        else:
            self._transport.resume_reading()
        self._wait()

    def _held_up(self) -> bool:
        return self._full or self._in_flight >= limits.MAX_IN_FLIGHT

    def _request(self, line: bytes) -> None:
        self._requests += 1
        try:
            request = decode(line)
        except RequestError as error:
            self._send(refusal(error.id, error))
            return
        try:
            self._dispatch(request)
        except CommandError as error:
            if request.command == "become":  # whoever goes on regardless must not go on with more rights than meant
                self._turn_away(request.id, error)
            else:
                self._send(refusal(request.id, error))

    def _dispatch(self, request: Request) -> None:
        """Check a request and begin it. Raises CommandError."""
        command = find(request.command)
        caller = self._caller(request.user)
        check_role(request.command, command, caller)
        args = check_args(request.command, command, request.args)
        if request.user is not None:
            self._server.check_user(request.user)
        if request.command == "become":
            self._become(args.text("user"))
            self._send(answer(request.id, {"user": self._user}))
        elif request.command == "watch":
            self._watching, self._watched = True, caller.user
            self._send(answer(request.id, {"watching": True}))
        else:
            self._begin(request.id, request.command, caller, args)

    def _caller(self, user: str | None) -> Caller:
        """Return who speaks. Raises DeniedError where one names a user and may not, or is bound to another."""
        peer = self._peer
        if user is not None and self._role < Role.USER:
            raise DeniedError("to speak for a user one must be a member of the socket's group")
        if not self._restricted:
            return Caller(self._role, peer.uid, peer.gid, peer.pid, user)
        if user not in {None, self._user}:
            raise DeniedError(f"this console speaks for {self._user} only")
        return Caller(self._role, peer.uid, peer.gid, peer.pid, self._user, restricted=True)

    def _become(self, user: str) -> None:
        if self._requests != 1:
            raise DeniedError("become must be the first request of a connection")
        self._server.check_user(user)
        self._user, self._restricted = user, True
        self._role = min(self._role, Role.USER)

    def _begin(self, number: int, name: str, caller: Caller, args: Args) -> None:
        begun = False

        def done(result: object, error: CommandError | None) -> None:
            self._send(self._encoded(number, name, result) if error is None else refusal(number, error))
            if begun:  # else it was done at once, from within _proceed
                self._in_flight -= 1
                self._proceed()

        begun = self._server.carry_out(name, caller, args, done)
        self._in_flight += begun

    def _encoded(self, number: int, name: str, result: object) -> bytes:
        try:
            line = answer(number, result)
        except (TypeError, ValueError) as error:  # the handler gave something that is not JSON
            return refusal(number, self._server.internal(name, error))
        if len(line) > limits.MAX_ANSWER:
            return refusal(number, FailedError(f"the answer would be {len(line)} bytes long; ask for less (a limit)"))
        return line

    # --- writing and waiting ----------------------------------------------------------------

    def _send(self, line: bytes) -> None:
        if not self._ending:
            self._transport.write(line)

    def _wait(self) -> None:
        """Set the deadline for what is waited for: the rest of a begun line, or any request at all."""
        begun = bool(self._buffer) and not self._held_up()
        if begun and self._line_begun:
            return  # single bytes do not prolong it
        _cancel(self._timer)
        self._line_begun = begun
        if begun:
            self._timer = self._after(limits.LINE_SECONDS, "it begins a request and does not end it")
        elif not self._watching and not self._in_flight:
            self._timer = self._after(limits.IDLE_SECONDS, "")

    def _after(self, seconds: float, why: str) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self._drop, why)

    def _drop(self, why: str) -> None:
        """End the connection at once; without a reason it was only idle."""
        self._ending = True
        if why:
            self._server.dropped(f"{why} (process {self._peer.pid}, user {self._peer.uid})")
        self._transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()

"""One RPC connection on a stream of bytes: a service for the peer, calls to the peer's.

Use::

    session = RpcSession(stream, Service(NODE_SERVICE, {"health": health}))
    session.receive(data)                                      # bytes of the stream, as they come
    results = await session.call(FEDERATION_SERVICE.method("federationHealth"), {}, timeout=5.0)
    results.text("status")
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from qpq.wire.capnp_messages import Fields, decode_results, encode_params
from qpq.wire.rpc import RpcConnection
from qpq.wire.rpc_errors import CallOverloaded, CallTimeout, RpcError, failure
from qpq.wire.rpc_events import Called, Cancelled, Ended, Failed, Own, Pipelined, Returned
from qpq.wire.rpc_messages import Failure

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from qpq.rpc.service import Service
    from qpq.wire.capnp_messages import Values
    from qpq.wire.rpc_events import RpcEvent
    from qpq.wire.rpc_limits import RpcLimits
    from qpq.wire.rpc_services import Method

CALL_S: Final = 30.0
"""Seconds that a call waits for its answer unless told otherwise."""


_BOOTSTRAP: Final = "bootstrap"


class Stream(Protocol):
    """What a session needs of the stream under it."""

    def write(self, data: bytes) -> None:
        """Send bytes, in order; who cannot ends the session."""
        ...

    def close(self, reason: str) -> None:
        """End the stream, after what was written; the session has ended already."""
        ...


class RpcSession:
    """One end of a connection; ``service`` is what the peer gets as bootstrap object.

    To be used from one event loop only.
    """

    def __init__(self, stream: Stream, service: Service | None = None, limits: RpcLimits | None = None) -> None:
        self._stream = stream
        self._objects: dict[Hashable, Service] = {} if service is None else {_BOOTSTRAP: service}
        self._loop = asyncio.get_running_loop()
        self._connection = RpcConnection(None if service is None else Own(_BOOTSTRAP), limits)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._first: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wake: asyncio.Handle | None = None
        self._draining = False
        self._closed = asyncio.Event()
        self.reason = ""
        """Why the session has ended; empty while it is open."""

    # the stream

    def receive(self, data: bytes) -> None:
        """Take bytes of the stream."""
        self._act(self._connection.receive(data))

    def ended(self, reason: str) -> None:
        """The stream is gone: running handlers are cancelled, calls fail with CallDisconnected."""
        self._connection.end(reason)
        self._act(self._connection.events())

    @property
    def max_message(self) -> int:
        """Bytes of one message that is taken; as in the limits, unless it was set."""
        return self._connection.max_message

    @max_message.setter
    def max_message(self, most: int) -> None:
        self._connection.max_message = most

    @property
    def is_open(self) -> bool:
        """Whether calls can be made."""
        return self._connection.is_open

    @property
    def running(self) -> int:
        """Calls of the peer that handlers are at."""
        return len(self._running)

    # calls

    async def call(self, method: Method, values: Values, timeout: float = CALL_S) -> Fields:  # noqa: ASYNC109 (the machine keeps deadlines)
        """Call a method of the peer's bootstrap object.

        Raises ValuesError (values or results that the schema does not have), CallTimeout after ``timeout`` seconds,
        and what the peer answers: CallFailed, CallOverloaded, CallUnimplemented, CallDisconnected.
        """
        content = encode_params(method, values)
        connection = self._connection
        if self._first is None:
            self._first = connection.bootstrap()
        number = connection.call(
            Pipelined(self._first),
            method.interface.number,
            method.ordinal,
            content,
            deadline=self._loop.time() + timeout,
        )
        waiting: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[number] = waiting
        self._act(connection.events())
        try:
            results = await waiting
        finally:
            if self._waiting.pop(number, None) is not None:  # given up
                connection.finish(number)
                self._flush()
        return decode_results(method, results, connection.limits)

    # the end

    def close(self, reason: str = "closed") -> None:
        """End the session, and the stream with it."""
        self._connection.abort(reason)
        self._act(self._connection.events())

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 (not an error when it passes)
        """Refuse new calls as overloaded, and wait ``timeout`` seconds at most for those that run."""
        self._draining = True
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=timeout)

    async def wait_closed(self) -> None:
        """Wait for the end."""
        await self._closed.wait()

    # events

    def _act(self, events: Iterable[RpcEvent]) -> None:
        for event in events:
            match event:
                case Called():
                    self._start(event)
                case Cancelled(answer):
                    task = self._running.pop(answer, None)
                    if task is not None:
                        task.cancel()
                case Returned(question, content, caps):
                    if question != self._first:
                        for cap in caps:
                            self._connection.release(cap)
                    self._settle(question, content)
                case Failed(question, fault, timed_out):
                    error = CallTimeout(fault.reason) if timed_out else failure(fault.kind, fault.reason)
                    self._settle(question, error)
                case Ended(reason):
                    self.reason = reason
                case _:
                    pass
        self._flush()

    def _settle(self, question: int, outcome: bytes | RpcError) -> None:
        waiting = self._waiting.pop(question, None)
        if waiting is None or waiting.done():
            return
        if isinstance(outcome, bytes):
            waiting.set_result(outcome)
        else:
            waiting.set_exception(outcome)

    def _start(self, call: Called) -> None:
        for cap in call.caps:  # no method here takes capabilities
            self._connection.release(cap)
        task = self._loop.create_task(self._perform(call))
        self._running[call.answer] = task

    async def _perform(self, call: Called) -> None:
        connection, service = self._connection, self._objects[call.target]
        try:
            if self._draining:
                raise CallOverloaded("this service is about to stop")
            results = await service.perform(call.interface, call.method, call.content, connection.limits)
        except RpcError as error:
            connection.fail(call.answer, Failure(error.kind, error.reason))
        else:
            connection.answer(call.answer, results)
        self._running.pop(call.answer, None)
        self._act(connection.events())

    def _flush(self) -> None:
        """Have ``_send`` called: soon, so that what one event brings leaves together, and at once at the end."""
        if not self._connection.is_open:
            self._send()
        elif self._wake is None:
            self._wake = self._loop.call_soon(self._send)

    def _send(self) -> None:
        """Send what is due, set the timer, and end the stream when it is over."""
        connection, self._wake = self._connection, None
        data = connection.data_to_send()
        if data:
            self._stream.write(data)
        at = connection.next_deadline()
        if at is not None and (self._timer is None or at < self._timer.when()):  # one too early sets it anew
            self._disarm()
            self._timer = self._loop.call_at(at, self._ring)
        if not connection.is_open and not self._closed.is_set():
            self._disarm()
            self._closed.set()
            self._stream.close(self.reason)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        self._act(self._connection.tick(self._loop.time()))

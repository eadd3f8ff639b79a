"""RPC over QUIC for programs that speak it over Unix sockets only: bytes are moved, and nothing else.

A ``Port`` is a node's UDP port. ``Port.serve`` answers callers of the ALPN with what a Unix socket says,
``Port.listen`` makes a Unix socket whose every connection becomes a call to another node.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from qpq.crypto.identity import SecretIdentity
from qpq.link.certificates import make_certificate, sole_identity
from qpq.link.endpoint import Endpoint
from qpq.link.ports import Credentials
from qpq.link.streams import Service, Stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ALPN = "capnp"


class Shuttle:
    """A stream's handler that moves bytes between it and a pair of asyncio's streams."""

    def __init__(self, stream: Stream, opened: Callable[[], Awaitable[tuple[Any, Any]]]) -> None:
        self._stream = stream
        self._early = bytearray()
        self._writer: Any = None
        self.task = asyncio.get_running_loop().create_task(self._run(opened))

    async def _run(self, opened: Callable[[], Awaitable[tuple[Any, Any]]]) -> None:
        reader, self._writer = await opened()
        self._writer.write(bytes(self._early))
        while data := await reader.read(1 << 16):
            self._stream.write(data)
        self._stream.close("the socket was closed")

    def received(self, data: bytes) -> None:
        """Hand on what came."""
        if self._writer is None:
            self._early += data
        else:
            self._writer.write(data)

    def room(self) -> None:
        """Nothing waits here."""

    def ended(self, _reason: str) -> None:
        """Close the socket."""
        if self._writer is not None:
            self._writer.close()
        self.task.cancel()


class Port:
    """A UDP port on loopback, and what is bridged to it."""

    def __init__(self, seed: int) -> None:
        self._secret = SecretIdentity(bytes([seed]) * 32)
        self._shown = Credentials((make_certificate(self._secret),), self._secret.seed)
        self.endpoint = Endpoint(self._secret, lambda _event: None)
        self.endpoint.listen("127.0.0.1:0")
        self._servers: list[asyncio.Server] = []

    @property
    def address(self) -> str:
        """Where this port is called."""
        return f"127.0.0.1:{self.endpoint.port}"

    def service(self, opened: Callable[[Stream], Any], failed: Callable[[str], None] = lambda _reason: None) -> Service:
        """Return the rules of the ALPN, the same at both ends: the server alone shows who it is."""
        return Service(ALPN, lambda: self._shown, sole_identity, opened, failed, mutual=False)

    def answer(self, opened: Callable[[Stream], Any]) -> None:
        """Answer callers by a handler of the test's."""
        self.endpoint.serve(self.service(opened))

    async def call(self, address: str, opened: Callable[[Stream], Any]) -> Any:
        """Call a port, return the handler of the stream."""
        handler: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def open_it(stream: Stream) -> Any:
            handler.set_result(opened(stream))
            return handler.result()

        self.endpoint.open(address, self.service(open_it, lambda why: handler.set_exception(ConnectionError(why))))
        return await handler

    def serve(self, socket: str) -> None:
        """Answer callers with what a Unix socket says."""
        self.answer(lambda stream: Shuttle(stream, lambda: asyncio.open_unix_connection(socket)))

    async def listen(self, socket: str, address: str) -> None:
        """Make each connection to a Unix socket a call to ``address``."""

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async def pair() -> tuple[Any, Any]:
                return reader, writer

            await self.call(address, lambda stream: Shuttle(stream, pair))

        self._servers.append(await asyncio.start_unix_server(accepted, socket))

    async def close(self) -> None:
        """Close everything."""
        for server in self._servers:
            server.close()
        await self.endpoint.close_all(0.2)

"""Connections to one node: QUIC with its key pinned, Cap'n Proto RPC on the one stream."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from qpq.crypto.identity import SecretIdentity, text_id
from qpq.errors import QpqError
from qpq.link.certificates import make_certificate, sole_identity
from qpq.link.endpoint import Endpoint
from qpq.link.errors import CertificateError
from qpq.link.ports import Credentials
from qpq.link.streams import Service
from qpq.rpc.binding import RpcBinding
from qpq.rpc.session import RpcSession
from qpq.sdk.errors import ConnectError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpq.crypto.identity import Identity
    from qpq.link.streams import Stream, StreamHandler

ALPN: Final = "capnp"
_LISTEN: Final = ("[::]:0", "0.0.0.0:0")
_GOODBYE_S: Final = 0.5


class Transport:
    """Dials one node, as often as it is asked to. To be used in one event loop; raises ConnectError."""

    def __init__(self, address: str, node: Identity) -> None:
        secret = SecretIdentity(os.urandom(32))  # a client shows no certificate, but an endpoint has an identity
        self._address = address
        self._node = node
        self._shown = Credentials((make_certificate(secret),), secret.seed)
        self._endpoint = Endpoint(secret, lambda _event: None)
        _listen(self._endpoint)

    async def connect(self, timeout: float) -> RpcSession:  # noqa: ASYNC109 (raises its own error)
        """Return a new session; raises ConnectError after ``timeout`` seconds or when the node refuses."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[RpcSession] = loop.create_future()

        def opened(stream: Stream) -> StreamHandler:
            binding = RpcBinding(stream)
            binding.session = RpcSession(binding)
            if outcome.done():
                loop.call_soon(binding.session.close, "too late")
            else:
                outcome.set_result(binding.session)
            return binding

        def failed(reason: str) -> None:
            if not outcome.done():
                outcome.set_exception(ConnectError(f"{self._address}: {reason}"))

        service = Service(ALPN, lambda: self._shown, self._judge, opened, failed, mutual=False)
        self._endpoint.open(self._address, service)
        done, _ = await asyncio.wait((outcome,), timeout=timeout)
        if not done:
            outcome.cancel()
            raise ConnectError(f"{self._address}: no answer in {timeout:g} s")
        return outcome.result()

    async def close(self) -> None:
        """End all connections."""
        await self._endpoint.close_all(_GOODBYE_S)

    def _judge(self, chain: Sequence[bytes]) -> Identity:
        shown = sole_identity(chain)
        if shown != self._node:
            raise CertificateError(f"this is node {text_id(shown)}, not {text_id(self._node)}")
        return shown


def _listen(endpoint: Endpoint) -> None:
    """Take a port of one's own, with IPv6 where there is IPv6."""
    problem = ""
    for where in _LISTEN:
        try:
            endpoint.listen(where)
        except QpqError as error:
            problem = str(error)
        else:
            return
    raise ConnectError(f"no UDP socket: {problem}")

"""One end of the bench of calls, in a process of its own.

Kinds: ``qpq`` is a session on a node's UDP port (ALPN capnp), ``pycapnp`` its own RPC on a Unix socket, ``echo`` a
plain aioquic stream that brings back as many bytes as a call has. All three carry NodeService.health or its like.

usage: rpc_driver.py KIND serve PLACE | KIND call PLACE CONNECTIONS FLIGHT SECONDS

A server prints a JSON line when it is ready; a caller prints one when its connections are open, waits for a line on
stdin, calls until the time is over, and prints what it measured.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "node"))

import capnp
from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import StreamDataReceived

from qpq.crypto.identity import SecretIdentity
from qpq.link.certificates import make_certificate, sole_identity
from qpq.link.endpoint import Endpoint
from qpq.link.limits import LinkLimits
from qpq.link.ports import Credentials
from qpq.link.streams import Service as StreamService
from qpq.rpc.binding import RpcBinding
from qpq.rpc.service import Service
from qpq.rpc.session import RpcSession
from qpq.wire.rpc_services import NODE_SERVICE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aioquic.quic.events import QuicEvent

    from qpq.link.streams import Stream
    from qpq.wire.capnp_messages import Fields, Values

    Call = Callable[[], Awaitable[None]]

ROOT = Path(__file__).resolve().parents[2]
ALPN = "capnp"
MESSAGE = 128
"""Bytes of a call of health on the wire, and about those of its return."""
MANY = 200
OPEN = replace(LinkLimits(), handshakes_a_second=1e6, handshake_burst=1_000_000)


def say(**told: object) -> None:
    print(json.dumps(told), flush=True)


# a session on a node's port


def port(service: Service | None, opened: Callable[[RpcSession], None]) -> tuple[Endpoint, StreamService]:
    secret = SecretIdentity(bytes(range(32)) if service else bytes(32))
    endpoint = Endpoint(secret, lambda _event: None, OPEN)
    shown = Credentials((make_certificate(secret),), secret.seed)

    def open_it(stream: Stream) -> RpcBinding:
        binding = RpcBinding(stream)
        binding.session = RpcSession(binding, service)
        opened(binding.session)
        return binding

    rules = StreamService(
        ALPN,
        lambda: shown,
        sole_identity,
        open_it,
        lambda reason: print(reason, file=sys.stderr),
        mutual=False,
        connections=MANY,
        connections_a_source=MANY,
    )
    return endpoint, rules


async def qpq_serve(place: str) -> None:
    async def health(_params: Fields) -> Values:
        return {"status": "ok"}

    endpoint, rules = port(Service(NODE_SERVICE, {"health": health}), lambda _session: None)
    endpoint.serve(rules)
    endpoint.listen(place)


async def qpq_calls(place: str, count: int) -> list[Call]:
    sessions: asyncio.Queue[RpcSession] = asyncio.Queue()
    endpoint, rules = port(None, sessions.put_nowait)
    endpoint.listen("127.0.0.1:0")
    method = NODE_SERVICE.method("health")

    def caller(session: RpcSession) -> Call:
        async def call() -> None:
            assert (await session.call(method, {})).text("status") == "ok"

        return call

    calls = []
    for _ in range(count):
        endpoint.open(place, rules)
        calls.append(caller(await asyncio.wait_for(sessions.get(), 10)))
    return calls


# pycapnp's own


class Node(capnp.load(str(ROOT / "schemas" / "node.capnp")).NodeService.Server):  # type: ignore[misc]
    """The service on pycapnp."""

    async def health(self, **_more: Any) -> str:
        return "ok"


async def pycapnp_serve(place: str) -> None:
    async def accepted(stream: Any) -> None:
        await capnp.TwoPartyServer(stream, bootstrap=Node()).on_disconnect()

    await capnp.AsyncIoStream.create_unix_server(accepted, place)


async def pycapnp_calls(place: str, count: int) -> list[Call]:
    def caller(node: Any, client: Any) -> Call:
        async def call() -> None:
            assert client
            assert (await node.health()).status == "ok"

        return call

    schema = capnp.load(str(ROOT / "schemas" / "node.capnp")).NodeService
    calls = []
    for _ in range(count):
        client = capnp.TwoPartyClient(await capnp.AsyncIoStream.create_unix_connection(place))
        calls.append(caller(client.bootstrap().cast_as(schema), client))
    return calls


# a plain stream


class Echo(QuicConnectionProtocol):
    """Brings back what comes; at the other end, counts it and wakes who waits."""

    waiting: asyncio.Queue[asyncio.Future[None]]
    got = 0

    def quic_event_received(self, event: QuicEvent) -> None:
        if not isinstance(event, StreamDataReceived):
            return
        if not self._quic.configuration.is_client:
            self._quic.send_stream_data(event.stream_id, event.data)
            self.transmit()
            return
        self.got += len(event.data)
        while self.got >= MESSAGE:
            self.got -= MESSAGE
            self.waiting.get_nowait().set_result(None)

    async def bounce(self) -> None:
        back = asyncio.get_running_loop().create_future()
        self.waiting.put_nowait(back)
        self._quic.send_stream_data(0, bytes(MESSAGE))
        self.transmit()
        await back


async def echo_serve(place: str) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 (this end only)
    from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415

    secret = SecretIdentity(bytes(range(32)))
    configuration = QuicConfiguration(is_client=False, alpn_protocols=[ALPN], idle_timeout=600)
    configuration.certificate = load_der_x509_certificate(make_certificate(secret))
    configuration.private_key = Ed25519PrivateKey.from_private_bytes(secret.seed)
    host, _, number = place.rpartition(":")
    await serve(host, int(number), configuration=configuration, create_protocol=Echo)


async def echo_calls(place: str, count: int) -> list[Call]:
    host, _, number = place.rpartition(":")
    configuration = QuicConfiguration(is_client=True, alpn_protocols=[ALPN], verify_mode=ssl.CERT_NONE)
    calls: list[Call] = []
    for _ in range(count):
        context = connect(host, int(number), configuration=configuration, create_protocol=Echo)
        protocol = await context.__aenter__()
        assert isinstance(protocol, Echo)
        protocol.waiting = asyncio.Queue()
        calls.append(protocol.bounce)
        KEPT.append(context)
    return calls


KEPT: list[object] = []
SERVE = {"qpq": qpq_serve, "pycapnp": pycapnp_serve, "echo": echo_serve}
CALLS = {"qpq": qpq_calls, "pycapnp": pycapnp_calls, "echo": echo_calls}


async def measure(calls: list[Call], flight: int, seconds: float) -> dict[str, object]:
    """Let ``flight`` callers on each connection call one after another until the time is over."""
    latencies: list[float] = []
    begin = time.perf_counter()

    async def one(call: Call) -> None:
        while (started := time.perf_counter()) < begin + seconds:
            await call()
            latencies.append(time.perf_counter() - started)

    await asyncio.gather(*[one(call) for call in calls for _ in range(flight)])
    return {"latencies": latencies, "elapsed": time.perf_counter() - begin}


async def main(kind: str, role: str, place: str, *more: str) -> None:
    """Be one end."""
    if role == "serve":
        await SERVE[kind](place)
        say(ready=True)
        await asyncio.Event().wait()
    count, flight, seconds = int(more[0]), int(more[1]), float(more[2])
    calls = await CALLS[kind](place, count)
    for call in calls:
        await call()
    say(ready=True)
    await asyncio.to_thread(sys.stdin.readline)
    told = await measure(calls, flight, seconds)
    print(json.dumps(told), flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def begin() -> None:
    """Run with pycapnp's loop where it is needed."""
    if sys.argv[1] == "pycapnp":
        async with capnp.kj_loop():
            await main(*sys.argv[1:])
    else:
        await main(*sys.argv[1:])


if __name__ == "__main__":
    asyncio.run(begin())

"""pycapnp's own RPC speaks to ours over QUIC, in both directions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import capnp
import desk
import pytest
from bridge import Port

from qpq.rpc.service import Service
from qpq.rpc.session import RpcSession
from qpq.wire.rpc_errors import CallUnimplemented
from qpq.wire.rpc_services import NODE_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from qpq.link.streams import Stream
    from qpq.wire.capnp_messages import Fields, Values

DEADLINE = 30.0
ROOT = desk.Path(__file__).resolve().parents[2]


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        async with capnp.kj_loop():
            await asyncio.wait_for(main(), DEADLINE)

    asyncio.run(whole())


class TheirBox(desk.SCHEMA.Box.Server):  # type: ignore[misc, name-defined]
    """A box of pycapnp's."""

    def __init__(self, value: int) -> None:
        self.number = value
        self.calls: list[int] = []

    async def value(self, **_more: Any) -> int:
        return self.number


class TheirDesk(desk.SCHEMA.Desk.Server):  # type: ignore[misc, name-defined]
    """A desk of pycapnp's."""

    async def echo(self, data: bytes, **_more: Any) -> bytes:
        return data

    async def open(self, value: int, **_more: Any) -> Any:
        return TheirBox(value)

    async def hand(self, box: Any, **_more: Any) -> Any:
        return box

    async def fail(self, **_more: Any) -> None:
        raise ValueError("as you wish")  # of whatever type, pycapnp makes "failed" of it

    async def sum(self, box: Any, times: int, **_more: Any) -> int:
        return sum([(await box.value()).value for _ in range(times)])

    async def slow(self, **_more: Any) -> None:
        await asyncio.sleep(DEADLINE)


# their client, our server


async def their_client(folder: Path, opened: Callable[[Stream], Any]) -> tuple[Any, list[Port]]:
    """Return pycapnp's bootstrap object of what ``opened`` serves over QUIC, and the ports to close."""
    near, far = Port(1), Port(2)
    far.answer(opened)
    socket = str(folder / "client")
    await near.listen(socket, far.address)
    stream = await capnp.AsyncIoStream.create_unix_connection(socket)
    return capnp.TwoPartyClient(stream), [near, far]


def test_their_client_calls_a_service_of_ours(tmp_path: Path) -> None:
    async def health(_params: Fields) -> Values:
        return {"status": "ok"}

    async def enqueue(params: Fields) -> Values:
        return {"seq": params.uint("ttlSecs"), "deliveryProof": params.data("payload")[::-1]}

    async def fetch(params: Fields) -> Values:
        return {"payloads": [{"seq": seq, "data": bytes([seq]) * 1000} for seq in range(params.uint("limit"))]}

    async def main() -> None:
        service = Service(NODE_SERVICE, {"health": health, "enqueue": enqueue, "fetch": fetch})
        client, ports = await their_client(tmp_path, lambda stream: Handler(stream, service))
        node = client.bootstrap().cast_as(capnp.load(str(ROOT / "schemas" / "node.capnp")).NodeService)
        assert (await node.health()).status == "ok"
        big = bytes(range(256)) * 12_000  # 3 MB
        answer = await node.enqueue(
            recipientKey=b"r" * 32, payload=big, version=1, ttlSecs=60, auth={"accessToken": b"t"}
        )
        assert answer.seq == 60
        assert bytes(answer.deliveryProof) == big[::-1]
        answers = await asyncio.gather(*[node.fetch(limit=count, auth={}) for count in range(20)])
        assert [len(answer.payloads) for answer in answers] == list(range(20))
        assert bytes(answers[5].payloads[4].data) == b"\4" * 1000
        with pytest.raises(capnp.KjException, match="ack is not offered here") as caught:
            await node.ack()
        assert caught.value.type == "UNIMPLEMENTED"
        for port in ports:
            await port.close()

    run(main)


class Handler:
    """A stream's handler that is a session."""

    def __init__(self, stream: Stream, service: Service | None) -> None:
        self.session = RpcSession(stream, service)
        self.received = self.session.receive
        self.ended = self.session.ended

    def room(self) -> None:
        pass


def test_their_client_passes_capabilities_to_ours(tmp_path: Path) -> None:
    async def main() -> None:
        ends: list[desk.End] = []

        def opened(stream: Stream) -> desk.End:
            ends.append(desk.End(stream))
            return ends[0]

        client, ports = await their_client(tmp_path, opened)
        theirs = client.bootstrap().cast_as(desk.SCHEMA.Desk)
        assert bytes((await theirs.echo(b"hello")).data) == b"hello"
        assert (await theirs.open(41).box.value()).value == 41  # pipelined
        box = (await theirs.open(42)).box
        assert (await box.value()).value == 42
        assert (await theirs.sum(TheirBox(7), 3)).sum == 21  # we call back
        handed = theirs.hand(TheirBox(9)).box  # comes back to them, through an embargo
        early = handed.value()
        await asyncio.sleep(0.1)
        assert [answer.value for answer in await asyncio.gather(early, handed.value(), handed.value())] == [9, 9, 9]
        again = (await theirs.hand(box)).box
        assert (await again.value()).value == 42
        for kind, name in ((0, "FAILED"), (1, "OVERLOADED"), (2, "DISCONNECTED"), (3, "UNIMPLEMENTED")):
            with pytest.raises(capnp.KjException, match="as you wish") as caught:
                await theirs.fail(kind)
            assert caught.value.type == name
        slow = asyncio.ensure_future(theirs.slow())
        await asyncio.sleep(0.1)
        slow.cancel()
        while not ends[0].cancelled:  # noqa: ASYNC110 (no event tells it)
            await asyncio.sleep(0.01)
        assert bytes((await theirs.echo(b"still here")).data) == b"still here"
        del box, again, handed, early
        for port in ports:
            await port.close()

    run(main)


# our client, their server


async def their_server(folder: Path, opened: Callable[[Stream], Any]) -> tuple[Any, list[Port]]:
    """Return our handler of a stream over QUIC to pycapnp's server, and what to close."""
    near, far = Port(3), Port(4)
    socket = str(folder / "server")

    async def accepted(stream: Any) -> None:
        await capnp.TwoPartyServer(stream, bootstrap=TheirDesk()).on_disconnect()

    server = await capnp.AsyncIoStream.create_unix_server(accepted, socket)
    far.serve(socket)
    handler = await near.call(far.address, opened)
    handler.server = server
    return handler, [near, far]


def test_our_client_passes_capabilities_to_theirs(tmp_path: Path) -> None:
    async def main() -> None:
        end, ports = await their_server(tmp_path, desk.End)
        await desk.try_all(end, kinds=False)
        for port in ports:
            await port.close()
        end.server.close()

    run(main)


def test_our_session_calls_their_server(tmp_path: Path) -> None:
    async def main() -> None:
        handler, ports = await their_server(tmp_path, lambda stream: Handler(stream, None))
        with pytest.raises(CallUnimplemented):
            await handler.session.call(NODE_SERVICE.method("health"), {}, timeout=5.0)
        assert handler.session.is_open
        handler.session.close("done")
        for port in ports:
            await port.close()
        handler.server.close()

    run(main)

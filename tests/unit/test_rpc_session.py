"""Sessions: services and calls over a stream, in one event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from qpq.errors import QpqError
from qpq.rpc.pipe import PipeStream, pipe
from qpq.rpc.service import Service
from qpq.rpc.session import RpcSession
from qpq.wire.capnp_errors import ValuesError
from qpq.wire.rpc import RpcConnection
from qpq.wire.rpc_errors import (
    CallDisconnected,
    CallFailed,
    CallOverloaded,
    CallTimeout,
    CallUnimplemented,
)
from qpq.wire.rpc_events import Dropped, Own, Pipelined
from qpq.wire.rpc_limits import RpcLimits
from qpq.wire.rpc_services import FEDERATION_SERVICE, NODE_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from qpq.wire.capnp_messages import Fields, Values

HEALTH = FEDERATION_SERVICE.method("federationHealth")
ENQUEUE = FEDERATION_SERVICE.method("relayEnqueue")
RESOLVE = FEDERATION_SERVICE.method("proxyResolveUser")


class Desk:
    """A service that counts, waits and fails as it is told."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.started = 0
        self.cancelled = 0

    async def health(self, _params: Fields) -> Values:
        return {"status": "ok", "serverDomain": "berlin.example"}

    async def enqueue(self, params: Fields) -> Values:
        self.started += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return {"seq": len(params.data("payload"))}

    async def resolve(self, params: Fields) -> Values:
        name = params.text("username")
        if name == "overloaded":
            raise CallOverloaded("come back later")
        if name == "error":
            raise QpqError("no such user")
        if name == "bug":
            raise ZeroDivisionError
        return {"identityKey": 5}  # not what the schema says

    def service(self) -> Service:
        handlers = {"federationHealth": self.health, "relayEnqueue": self.enqueue, "proxyResolveUser": self.resolve}
        return Service(FEDERATION_SERVICE, handlers)


def run(test: Callable[[RpcSession, RpcSession, Desk], Coroutine[Any, Any, None]], **more: Any) -> None:
    async def main() -> None:
        desk = Desk()
        caller, callee = pipe(None, desk.service(), **more)
        await test(caller, callee, desk)

    asyncio.run(asyncio.wait_for(main(), 10))


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    while not condition():  # noqa: ASYNC110 (no event tells it)
        await asyncio.sleep(0)


def test_a_call_returns_what_the_handler_said() -> None:
    async def test(caller: RpcSession, callee: RpcSession, _desk: Desk) -> None:
        for _ in range(3):
            results = await caller.call(HEALTH, {})
            assert (results.text("status"), results.text("serverDomain")) == ("ok", "berlin.example")
        assert (caller.is_open, callee.running) == (True, 0)

    run(test)


def test_calls_run_side_by_side() -> None:
    async def test(caller: RpcSession, callee: RpcSession, desk: Desk) -> None:
        calls = [asyncio.create_task(caller.call(ENQUEUE, {"payload": bytes(size)})) for size in range(5)]
        await until(lambda: desk.started == 5)
        assert callee.running == 5
        assert (await caller.call(HEALTH, {})).text("status") == "ok"
        desk.go_on.set()
        assert [(await one).uint("seq") for one in calls] == [0, 1, 2, 3, 4]

    run(test)


def test_errors_keep_their_kind_and_bugs_their_secret(caplog: pytest.LogCaptureFixture) -> None:
    async def test(caller: RpcSession, _callee: RpcSession, _desk: Desk) -> None:
        for name, kind, text in (
            ("overloaded", CallOverloaded, "come back later"),
            ("error", CallFailed, "no such user"),
            ("bug", CallFailed, "internal error"),
            ("values", CallFailed, "FederationService.proxyResolveUser: values that its schema does not have"),
        ):
            with pytest.raises(kind, match=text):
                await caller.call(RESOLVE, {"username": name})

    run(test)
    assert "FederationService.proxyResolveUser failed" in caplog.text


def test_what_is_not_offered_is_unimplemented() -> None:
    async def test(caller: RpcSession, callee: RpcSession, _desk: Desk) -> None:
        with pytest.raises(CallUnimplemented, match="proxyFetchHybridKey is not offered here"):
            await caller.call(FEDERATION_SERVICE.method("proxyFetchHybridKey"), {})
        with pytest.raises(CallUnimplemented, match="this is a FederationService, not 0xd0c8a4cd19599e78"):
            await caller.call(NODE_SERVICE.method("health"), {})
        with pytest.raises(CallFailed, match="there is no bootstrap object"):
            await callee.call(HEALTH, {})

    run(test)


def test_a_method_that_no_schema_has_is_unimplemented() -> None:
    async def main() -> None:
        service = Service(FEDERATION_SERVICE, {})
        with pytest.raises(CallUnimplemented, match="method 99 is not offered"):
            await service.perform(FEDERATION_SERVICE.number, 99, b"", RpcLimits())

    asyncio.run(main())
    with pytest.raises(ValueError, match="not in tuple"):
        Service(FEDERATION_SERVICE, {"bake": Desk().health})


def test_values_are_checked_before_anything_is_sent() -> None:
    async def test(caller: RpcSession, _callee: RpcSession, _desk: Desk) -> None:
        with pytest.raises(ValuesError):
            await caller.call(ENQUEUE, {"hops": 1000})

    run(test)


def test_a_call_that_takes_too_long_is_given_up_there_too() -> None:
    async def test(caller: RpcSession, _callee: RpcSession, desk: Desk) -> None:
        with pytest.raises(CallTimeout, match="no answer in time"):
            await caller.call(ENQUEUE, {}, timeout=0.05)
        await until(lambda: bool(desk.cancelled))
        assert (await caller.call(HEALTH, {}, timeout=5)).text("status") == "ok"

    run(test)


@pytest.mark.parametrize("own", [False, True])
def test_a_handler_has_a_deadline_of_its_own_whatever_the_caller_waits(
    monkeypatch: pytest.MonkeyPatch, *, own: bool
) -> None:
    monkeypatch.setattr("qpq.rpc.service.HANDLE_S", 30.0 if own else 0.05)

    async def main() -> None:
        desk = Desk()
        handlers = {"federationHealth": desk.health, "relayEnqueue": desk.enqueue}
        service = Service(FEDERATION_SERVICE, handlers, {"relayEnqueue": 0.05} if own else None)
        caller, callee = pipe(None, service)
        with pytest.raises(CallOverloaded, match="relayEnqueue took too long here: try again later"):
            await caller.call(ENQUEUE, {}, timeout=20)
        assert (desk.cancelled, callee.running) == (1, 0)
        assert (await caller.call(HEALTH, {}, timeout=5)).text("status") == "ok"

    asyncio.run(main())


def test_a_handler_that_waits_in_vain_for_something_else_is_a_fault_of_ours() -> None:
    async def fail(_params: Fields) -> Values:
        raise TimeoutError

    async def main() -> None:
        caller, _ = pipe(None, Service(FEDERATION_SERVICE, {"relayEnqueue": fail}))
        with pytest.raises(CallFailed, match="internal error"):
            await caller.call(ENQUEUE, {})

    asyncio.run(main())


def test_a_caller_that_is_cancelled_cancels_the_handler() -> None:
    async def test(caller: RpcSession, callee: RpcSession, desk: Desk) -> None:
        call = asyncio.create_task(caller.call(ENQUEUE, {}))
        await until(lambda: bool(desk.started))
        call.cancel()
        await until(lambda: bool(desk.cancelled))
        assert call.cancelled()
        assert callee.running == 0

    run(test)


@pytest.mark.parametrize("side", [0, 1])
def test_the_end_reaches_everybody(side: int) -> None:
    async def test(caller: RpcSession, callee: RpcSession, desk: Desk) -> None:
        call = asyncio.create_task(caller.call(ENQUEUE, {}))
        await until(lambda: bool(desk.started))
        (caller, callee)[side].close("good night")
        with pytest.raises(CallDisconnected, match="good night"):
            await call
        await asyncio.gather(caller.wait_closed(), callee.wait_closed())
        await asyncio.sleep(0)
        assert (desk.cancelled, caller.is_open, callee.is_open) == (1, False, False)
        assert "good night" in caller.reason
        with pytest.raises(CallDisconnected, match="has ended"):
            await caller.call(HEALTH, {})

    run(test)


def test_a_stream_that_is_gone_ends_the_session() -> None:
    async def test(caller: RpcSession, _callee: RpcSession, _desk: Desk) -> None:
        call = asyncio.create_task(caller.call(ENQUEUE, {}))
        await asyncio.sleep(0)
        caller.ended("the connection was lost")
        with pytest.raises(CallDisconnected, match="the connection was lost"):
            await call

    run(test)


def test_bytes_that_are_no_protocol_end_the_session() -> None:
    async def test(caller: RpcSession, callee: RpcSession, _desk: Desk) -> None:
        callee.receive(b"GET / HTTP/1.1\r\n\r\n")
        await caller.wait_closed()
        assert "segments, at most 512 are allowed" in caller.reason

    run(test)


def test_draining_refuses_what_is_new_and_waits_for_what_runs() -> None:
    async def test(caller: RpcSession, callee: RpcSession, desk: Desk) -> None:
        await callee.drain(1.0)
        with pytest.raises(CallOverloaded, match="about to stop"):
            await caller.call(HEALTH, {})
        callee._draining = False
        call = asyncio.create_task(caller.call(ENQUEUE, {}))
        await until(lambda: bool(desk.started))
        await callee.drain(0.01)
        assert callee.running == 1
        asyncio.get_running_loop().call_later(0.01, desk.go_on.set)
        await callee.drain(5.0)
        assert callee.running == 0
        assert (await call).uint("seq") == 0

    run(test)


def test_capabilities_that_nobody_asked_for_are_given_back() -> None:
    async def main() -> None:
        stream = PipeStream()
        session = RpcSession(stream, Desk().service())
        peer = RpcConnection()
        sent: list[bytes] = []
        stream.write = sent.append  # type: ignore[method-assign]
        question = peer.bootstrap()
        peer.call(Pipelined(question), FEDERATION_SERVICE.number, HEALTH.ordinal, caps=(Own("gift"),))
        session.receive(peer.data_to_send())
        events: list[object] = []

        def dropped() -> bool:
            events.extend(peer.receive(b"".join(sent)))
            sent.clear()
            return Dropped("gift") in events

        await until(dropped)

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_pipe_to_nobody_swallows_everything() -> None:
    async def main() -> None:
        session = RpcSession(PipeStream())
        with pytest.raises(CallTimeout):
            await session.call(HEALTH, {}, timeout=0.01)
        session.close()
        await session.wait_closed()

    asyncio.run(asyncio.wait_for(main(), 10))

"""Our end of the desk (desk.capnp), with capabilities: the RPC machine driven by a stream's events."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import capnp
import pytest

from qpq.wire.capnp_build import EMPTY
from qpq.wire.capnp_segments import join
from qpq.wire.capnp_view import root
from qpq.wire.rpc import RpcConnection
from qpq.wire.rpc_errors import KINDS, failure
from qpq.wire.rpc_events import Called, Cancelled, Failed, Own, Pipelined, Returned
from qpq.wire.rpc_messages import Failure

if TYPE_CHECKING:
    from qpq.link.streams import Stream
    from qpq.wire.rpc_events import Capability, RpcEvent

SCHEMA = capnp.load(str(Path(__file__).parent / "desk.capnp"))
DESK, BOX = SCHEMA.Desk.schema.node.id, SCHEMA.Box.schema.node.id
ECHO, OPEN, HAND, FAIL, SUM, SLOW = range(6)
ONE_CAPABILITY = join([bytes.fromhex("0000000000000100 0300000000000000")])
"""A struct whose first pointer is the first capability."""


def struct(method: str, which: str) -> Any:
    """Return the module of a method's params or results."""
    return capnp.lib.capnp._StructModule(getattr(SCHEMA.Desk.schema.methods[method], which), method)


def number(content: bytes) -> int:
    """Return the first word of a struct's data."""
    return root(content, len(content), 64).uint(0, 8)


def with_number(value: int) -> bytes:
    """Return a struct of one number."""
    return join([bytes.fromhex("0000000001000000") + value.to_bytes(8, "little")])


class End:
    """A connection with a desk of our own, and calls to the peer's."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.connection = RpcConnection(Own("desk"))
        self._waiting: dict[int, asyncio.Future[Returned]] = {}
        self.cancelled = 0
        self._tasks: set[asyncio.Task[None]] = set()

    # a stream's handler

    def received(self, data: bytes) -> None:
        """Take what came."""
        self._act(self.connection.receive(data))

    def room(self) -> None:
        """Nothing waits here."""

    def ended(self, reason: str) -> None:
        """Take note of the end."""
        self.connection.end(reason)
        self._act(self.connection.events())

    # calls

    async def ask(
        self, target: Capability, interface: int, method: int, content: bytes = EMPTY, *caps: Capability
    ) -> Returned:
        """Call and wait."""
        return await self.wait(self.start(target, interface, method, content, *caps))

    def start(self, target: Capability, interface: int, method: int, content: bytes = EMPTY, *caps: Capability) -> int:
        """Call; its answer can be called already."""
        question = self.connection.call(target, interface, method, content, caps, keep=True)
        self.expect(question)
        return question

    def expect(self, question: int) -> None:
        """Be ready for an answer."""
        self._waiting[question] = asyncio.get_running_loop().create_future()
        self._act(self.connection.events())

    async def wait(self, question: int) -> Returned:
        """Return an answer."""
        return await self._waiting[question]

    def flush(self) -> None:
        """Send what is due."""
        data = self.connection.data_to_send()
        if data:
            self._stream.write(data)

    def _act(self, events: list[RpcEvent]) -> None:
        while events:
            for event in events:
                self._take(event)
            events = self.connection.events()
        self.flush()

    def _take(self, event: RpcEvent) -> None:
        match event:
            case Called():
                self._answer(event)
            case Cancelled():
                self.cancelled += 1
            case Returned(question):
                self._waiting[question].set_result(event)
            case Failed(question, fault):
                self._waiting[question].set_exception(failure(fault.kind, fault.reason))
            case _:
                pass

    def _answer(self, call: Called) -> None:
        connection = self.connection
        if call.interface == BOX:
            assert isinstance(call.target, int)
            connection.answer(call.answer, with_number(call.target))
        elif call.method == ECHO:
            connection.answer(call.answer, call.content)
        elif call.method == OPEN:
            connection.answer(call.answer, ONE_CAPABILITY, (Own(number(call.content)),))
        elif call.method == HAND:
            connection.answer(call.answer, ONE_CAPABILITY, call.caps)
            connection.release(call.caps[0])
        elif call.method == FAIL:
            connection.fail(call.answer, Failure(number(call.content), "as you wish"))
        elif call.method == SUM:
            task = asyncio.get_running_loop().create_task(self._sum(call))
            self._tasks.add(task)

    async def _sum(self, call: Called) -> None:
        times, total = number(call.content), 0
        for _ in range(times):
            total += number((await self.ask(call.caps[0], BOX, 0)).content)
        self.connection.release(call.caps[0])
        self.connection.answer(call.answer, with_number(total))
        self.flush()


def with_capability(message: bytes) -> bytes:
    """Return a message of one number and one pointer with the pointer set to the first capability."""
    return message[:-8] + bytes.fromhex("0300000000000000")


async def try_all(end: End, *, kinds: bool) -> None:
    """Use all of level 1 of a desk of another implementation; ``kinds``: its exceptions have types."""
    question = end.connection.bootstrap()
    end.expect(question)
    boot = Pipelined(question)
    data = struct("echo", "param_type").new_message(data=b"hello" * 100_000).to_bytes()
    answer = await end.ask(boot, DESK, ECHO, data)
    with struct("echo", "result_type").from_bytes(answer.content) as results:
        assert bytes(results.data) == b"hello" * 100_000
    opened = end.start(boot, DESK, OPEN, with_number(41))
    assert number((await end.ask(Pipelined(opened, (0,)), BOX, 0)).content) == 41
    (box,) = (await end.wait(opened)).caps
    assert number((await end.ask(box, BOX, 0)).content) == 41
    times = struct("sum", "param_type").new_message(times=3).to_bytes()
    assert number((await end.ask(boot, DESK, SUM, with_capability(times), Own(7))).content) == 21
    handed = end.start(boot, DESK, HAND, ONE_CAPABILITY, Own(9))
    early = end.start(Pipelined(handed, (0,)), BOX, 0)
    assert (await end.wait(handed)).caps == (Own(9),)
    late = end.start(Pipelined(handed, (0,)), BOX, 0)
    assert [number((await end.wait(one)).content) for one in (early, late)] == [9, 9]
    again = await end.ask(boot, DESK, HAND, ONE_CAPABILITY, box)
    assert number((await end.ask(again.caps[0], BOX, 0)).content) == 41
    for kind, error in enumerate(KINDS if kinds else KINDS[:1]):
        with pytest.raises(error, match="as you wish"):
            await end.ask(boot, DESK, FAIL, with_number(kind))
    slow = end.start(boot, DESK, SLOW)
    end.connection.finish(slow)
    for cap in (box, again.caps[0]):
        end.connection.release(cap)
    end.flush()
    await end.ask(boot, DESK, ECHO, data)

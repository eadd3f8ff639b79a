"""fetchWait: woken by the message, never late, never for nothing; and what ends a wait otherwise."""

from __future__ import annotations

import asyncio

import pytest
from home_kit import ANNA, BERT, World, run
from hypothesis import given, settings
from hypothesis import strategies as st

from qpq.home.limits import HomeLimits
from qpq.home.waiters import Waiters
from qpq.wire.rpc_errors import CallDisconnected, CallFailed, CallOverloaded


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_waiting_call_is_answered_by_the_message() -> None:
    async def test(world: World) -> None:
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(world.bert.seqs("fetchWait", timeoutMs=10_000))
        await turns(20)
        begin = loop.time()
        await world.anna.call("enqueue", recipientKey=BERT, payload=b"x")
        assert await waiting == [1]
        assert loop.time() - begin < 1
        assert not world.home.waiting
        assert not world.home.waiters._waiting

    run(test)


def test_a_wait_without_a_message_ends_empty_in_time() -> None:
    async def test(world: World) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        assert await world.bert.seqs("fetchWait", timeoutMs=50) == []
        assert 0.05 <= loop.time() - begin < 5
        assert await world.bert.seqs("fetchWait", timeoutMs=0) == []
        assert not world.home.waiters._waiting

    run(test)


def test_no_wait_is_longer_than_the_limit() -> None:
    async def test(world: World) -> None:
        assert await world.bert.seqs("fetchWait", timeoutMs=(1 << 64) - 1) == []

    run(test, limits=HomeLimits(wait_s=0.02))


def test_a_message_for_somebody_else_wakes_nobody() -> None:
    async def test(world: World) -> None:
        waiting = asyncio.create_task(world.bert.seqs("fetchWait", timeoutMs=10_000))
        await world.bert.call("enqueue", recipientKey=ANNA, payload=b"x")
        await turns(20)
        assert not waiting.done()
        waiting.cancel()

    run(test)


def test_all_who_wait_for_an_inbox_are_woken() -> None:
    async def test(world: World) -> None:
        other = world.guest("bert", BERT)
        guests = [world.bert, world.bert, other]
        waiting = [asyncio.create_task(guest.seqs("fetchWait", timeoutMs=10_000)) for guest in guests]
        await turns(20)
        await world.anna.call("enqueue", recipientKey=BERT, payload=b"x")
        assert await asyncio.gather(*waiting) == [[1], [1], [1]]

    run(test)


def test_only_so_many_calls_of_a_token_wait() -> None:
    async def test(world: World) -> None:
        waiting = [asyncio.create_task(world.bert.seqs("fetchWait", timeoutMs=10_000)) for _ in range(2)]
        await turns(20)
        with pytest.raises(CallOverloaded, match="2 calls of this token wait"):
            await world.bert.seqs("fetchWait", timeoutMs=10_000)
        waiting[0].cancel()
        await turns(20)
        third = asyncio.create_task(world.bert.seqs("fetchWait", timeoutMs=10_000))
        await turns(20)
        await world.anna.call("enqueue", recipientKey=BERT, payload=b"x")
        assert await third == [1]

    run(test, limits=HomeLimits(waiting=2))


def test_a_client_that_leaves_waits_no_more() -> None:
    async def test(world: World) -> None:
        waiting = asyncio.create_task(world.bert.seqs("fetchWait", timeoutMs=10_000))
        await turns(20)
        assert world.home.waiters._waiting
        world.bert.session.close("gone")
        with pytest.raises(CallDisconnected):
            await waiting
        await turns(20)
        assert not world.home.waiters._waiting
        assert not world.home.waiting
        assert world.home.connections == 1

    run(test)


def test_a_revoked_token_ends_its_waits_and_every_later_call() -> None:
    async def test(world: World) -> None:
        waiting = asyncio.create_task(world.bert.seqs("fetchWait", timeoutMs=10_000))
        await turns(20)
        world.home.revoked(world.accounts.revoke(world.accounts.tokens[1].number))
        with pytest.raises(CallFailed, match="has been revoked"):
            await waiting
        with pytest.raises(CallFailed, match="not valid here"):
            await world.bert.seqs()
        with pytest.raises(CallFailed, match="no inbox here"):
            await world.anna.call("enqueue", recipientKey=BERT, payload=b"x")

    run(test)


def test_a_stop_lets_those_who_wait_go_takes_no_more_and_ends_connections() -> None:
    async def test(world: World) -> None:
        waiting = asyncio.create_task(world.bert.seqs("fetchWait", timeoutMs=10_000))
        await turns(20)
        stopping = asyncio.create_task(world.home.stop(5))
        assert await waiting == []
        await stopping
        await asyncio.gather(world.anna.session.wait_closed(), world.bert.session.wait_closed())
        assert "the node stops" in world.bert.session.reason
        late = world.guest("bert", BERT)
        await late.session.wait_closed()
        assert "the node stops" in late.session.reason

    run(test)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "take", "wait"]), st.integers(0, 3)), max_size=30))
def test_whatever_comes_in_between_no_waiter_misses_a_message(steps: list[tuple[str, int]]) -> None:
    """Waiters, messages and takers in any order, with any number of turns of the loop between them."""

    async def main() -> None:
        waiters, box = Waiters(), [0]
        tasks: list[asyncio.Task[object]] = []
        for what, pause in steps:
            if what == "put":
                box.append(len(box))
                waiters.wake(b"box")
            elif what == "take":
                box.clear()
            else:
                tasks.append(asyncio.create_task(waiters.wait(b"box", 30.0, lambda: tuple(box))))
            await turns(pause)
        box.append(99)
        waiters.wake(b"box")
        for found in await asyncio.wait_for(asyncio.gather(*tasks), 5):
            assert found
        assert not waiters._waiting

    asyncio.run(main())


def test_under_stress_every_message_arrives_once_and_in_order_and_at_once() -> None:
    """Three readers take turns at acknowledging while three writers write: no number is missing or late."""

    async def test(world: World) -> None:
        total, got = 240, []
        done = asyncio.Event()

        async def write(count: int) -> None:
            for number in range(count):
                await world.queues.post(BERT, bytes([number % 256]), 60)
                await turns(number % 4)

        async def read() -> None:
            guest = world.guest("bert", BERT)
            while not done.is_set():
                found = await guest.seqs("fetchWait", timeoutMs=15_000, limit=7)
                fresh = [seq for seq in found if seq not in got]
                got.extend(fresh)
                if found:
                    await guest.call("ack", seqUpTo=found[-1])
                if len(got) == total:
                    done.set()
                    world.home.waiters.end()

        await asyncio.gather(*(write(total // 3) for _ in range(3)), *(read() for _ in range(3)))
        assert sorted(got) == list(range(1, total + 1))

    run(test)

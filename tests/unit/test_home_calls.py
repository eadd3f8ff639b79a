"""The calls of the client port: what each answers, refuses, and leaves as it was."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest
from home_kit import ANNA, BERT, NODE, STAMP, World, run

from qpq.home.limits import DAY_S, HomeLimits
from qpq.store.faults import StoreError
from qpq.wire.delivery import check_proof, message_id
from qpq.wire.rpc_errors import CallDisconnected, CallFailed, CallOverloaded, CallUnimplemented
from qpq.wire.rpc_services import NODE_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    while not condition():  # noqa: ASYNC110 (no event tells it)
        await asyncio.sleep(0)


def test_a_message_is_taken_with_a_proof_fetched_as_often_as_wanted_and_gone_when_acknowledged() -> None:
    async def test(world: World) -> None:
        taken = await world.anna.call("enqueue", recipientKey=BERT, payload=b"hello")
        assert (taken.uint("seq"), taken.uint("timestamp")) == (1, STAMP)
        message = message_id(BERT, 1, b"hello")
        assert check_proof(NODE.identity, taken.data("deliveryProof"), message, BERT, STAMP)
        for name in ("fetch", "peek", "fetchWait", "fetch"):
            (row,) = (await world.bert.call(name)).structs("payloads")
            assert (row.uint("seq"), row.data("data")) == (1, b"hello")
        await world.bert.call("ack", seqUpTo=1)
        assert await world.bert.seqs() == []
        assert world.home.counters["home.enqueued"] == world.home.counters["home.acknowledged"] == 1

    run(test)


def test_numbers_of_an_inbox_have_no_gaps_however_many_send_at_once() -> None:
    async def test(world: World) -> None:
        senders = [world.anna, world.bert, world.guest("anna", ANNA)]
        calls = [senders[n % 3].call("enqueue", recipientKey=BERT, payload=bytes([n])) for n in range(60)]
        assert sorted([taken.uint("seq") for taken in await asyncio.gather(*calls)]) == list(range(1, 61))
        assert await world.bert.seqs() == list(range(1, 61))

    run(test)


def test_a_limit_is_kept_and_nought_means_all() -> None:
    async def test(world: World) -> None:
        for _ in range(5):
            await world.anna.call("enqueue", recipientKey=BERT, payload=b"x")
        assert await world.bert.seqs(limit=2) == [1, 2]
        assert await world.bert.seqs(limit=0) == [1, 2, 3, 4, 5]
        assert await world.bert.seqs(limit=4_000_000_000) == [1, 2, 3, 4, 5]

    run(test)


def test_an_answer_holds_what_fits_and_the_rest_comes_after_an_acknowledgement() -> None:
    async def test(world: World) -> None:
        for _ in range(3):
            await world.anna.call("enqueue", recipientKey=BERT, payload=bytes(60))
        assert await world.bert.seqs() == [1]
        await world.bert.call("ack", seqUpTo=1)
        assert await world.bert.seqs() == [2]

    run(test, limits=HomeLimits(reply=100))


def test_what_has_expired_is_not_handed_out() -> None:
    async def test(world: World) -> None:
        await world.anna.call("enqueue", recipientKey=BERT, payload=b"x", ttlSecs=60)
        await world.anna.call("enqueue", recipientKey=BERT, payload=b"y")
        world.life = 60
        assert await world.bert.seqs() == [2]
        assert world.queues.forget() == 1
        world.life = 7 * DAY_S
        assert await world.bert.seqs() == []

    run(test)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"recipientKey": b"short"}, "recipientKey has 5 bytes"),
        ({"recipientKey": b"c" * 32}, "no inbox here"),
        ({"payload": b""}, "payload is empty"),
        ({"payload": bytes(1001)}, "payload has 1001 bytes: at most 1000"),
        ({"ttlSecs": 30 * DAY_S + 1}, "at most 2592000"),
        ({"channelId": bytes(16)}, "channelId must be empty"),
        ({"version": 0}, "version is 0: it must be 1"),
        ({"version": 2}, "version is 2: it must be 1"),
    ],
)
def test_what_cannot_be_taken_is_refused_and_says_why(values: dict[str, Any], text: str) -> None:
    async def test(world: World) -> None:
        with pytest.raises(CallFailed, match=text):
            await world.anna.call("enqueue", **{"recipientKey": BERT, "payload": b"x", **values})
        assert await world.bert.seqs() == []

    run(test, limits=HomeLimits(payload=1000))


@pytest.mark.parametrize(
    ("auth", "text"),
    [
        ({}, "auth.version is 0"),
        ({"version": 2, "accessToken": b"x"}, "auth.version is 2"),
        ({"version": 1}, "not valid here"),
        ({"version": 1, "accessToken": b"qpq-aaaaaaaa-bbbb"}, "not valid here"),
        ({"version": 1, "accessToken": b"x", "deviceId": b"short"}, "16 bytes of a UUID"),
    ],
)
def test_every_call_but_health_needs_a_token(auth: dict[str, Any], text: str) -> None:
    async def test(world: World) -> None:
        for name, values in (
            ("enqueue", {"recipientKey": BERT, "payload": b"x"}),
            ("fetch", {}),
            ("fetchWait", {"timeoutMs": 1000}),
            ("peek", {}),
            ("ack", {"seqUpTo": 1}),
            ("resolveUser", {"username": "bert"}),
            ("resolveIdentity", {"identityKey": BERT}),
            ("publishEndpoint", {"identityKey": ANNA, "nodeAddr": b"x"}),
            ("resolveEndpoint", {"identityKey": BERT}),
        ):
            with pytest.raises(CallFailed, match=text):
                await world.anna.call(name, **values, auth=auth)
        assert (await world.anna.call("health")).text("status") == "ok"

    run(test, limits=HomeLimits(bad_tokens=100))


def test_a_device_may_name_itself() -> None:
    async def test(world: World) -> None:
        world.anna.auth["deviceId"] = bytes(16)
        assert await world.anna.seqs() == []

    run(test)


def test_nobody_reads_or_empties_anothers_inbox() -> None:
    async def test(world: World) -> None:
        await world.anna.call("enqueue", recipientKey=BERT, payload=b"x")
        for name, values in (("fetch", {}), ("peek", {}), ("fetchWait", {"timeoutMs": 9}), ("ack", {"seqUpTo": 1})):
            with pytest.raises(CallFailed, match="only the own inbox"):
                await world.anna.call(name, recipientKey=BERT, **values)
        assert await world.bert.seqs() == [1]

    run(test)


def test_what_never_was_cannot_be_acknowledged() -> None:
    async def test(world: World) -> None:
        await world.bert.call("ack", seqUpTo=0)
        with pytest.raises(CallFailed, match="seqUpTo is 1: the newest message of this inbox had number 0"):
            await world.bert.call("ack", seqUpTo=1)

    run(test)


def test_a_hundred_messages_a_minute_from_one_token() -> None:
    async def test(world: World) -> None:
        for _ in range(100):
            await world.anna.call("enqueue", recipientKey=BERT, payload=b"x")
        other = world.guest("anna", ANNA)  # another connection is no other token
        for guest in (world.anna, other):
            with pytest.raises(CallOverloaded, match=r"more than 100 messages a minute: try again in [56]. s"):
                await guest.call("enqueue", recipientKey=BERT, payload=b"x")
        await world.bert.call("enqueue", recipientKey=BERT, payload=b"x")
        assert world.queues.last(BERT) == 101
        assert world.home.counters["home.refused_rate"] == 2

    run(test)


def test_a_full_inbox_refuses_until_something_is_acknowledged() -> None:
    async def test(world: World) -> None:
        for number in range(1000):
            await world.queues.post(BERT, number.to_bytes(4, "big"), 60)
        with pytest.raises(CallOverloaded, match="the inbox is full: 1000 messages"):
            await world.anna.call("enqueue", recipientKey=BERT, payload=b"x")
        await world.bert.call("ack", seqUpTo=1)
        assert (await world.anna.call("enqueue", recipientKey=BERT, payload=b"x")).uint("seq") == 1001
        assert world.home.counters["home.refused_room"] == 1

    run(test)


def test_names_and_keys_are_told_or_not_after_the_same_least_time() -> None:
    async def test(world: World) -> None:
        loop = asyncio.get_running_loop()
        for name, values, field, expected in (
            ("resolveUser", {"username": "bert"}, "identityKey", BERT),
            ("resolveUser", {"username": "nobody"}, "identityKey", b""),
            ("resolveUser", {"username": "\0" * 1000}, "identityKey", b""),
            ("resolveEndpoint", {"identityKey": BERT}, "nodeAddr", b""),
        ):
            begin = loop.time()
            assert (await world.anna.call(name, **values)).data(field) == expected
            assert loop.time() - begin >= 0.005
        for key, expected_name in ((BERT, "bert"), (b"c" * 32, "")):
            begin = loop.time()
            assert (await world.anna.call("resolveIdentity", identityKey=key)).text("username") == expected_name
            assert loop.time() - begin >= 0.005
        with pytest.raises(CallFailed, match="identityKey has 3 bytes"):
            await world.anna.call("resolveIdentity", identityKey=b"abc")

    run(test)


def test_lookups_are_counted_too() -> None:
    async def test(world: World) -> None:
        for _ in range(3):
            await world.anna.call("resolveUser", username="bert")
        for name, values in (
            ("resolveUser", {"username": "bert"}),
            ("resolveIdentity", {"identityKey": BERT}),
            ("resolveEndpoint", {"identityKey": BERT}),
            ("publishEndpoint", {"identityKey": ANNA, "nodeAddr": b"x"}),
        ):
            with pytest.raises(CallOverloaded, match="more than 3 lookups a minute"):
                await world.anna.call(name, **values)

    run(test, limits=HomeLimits(lookups=3))


def test_an_endpoint_is_published_by_its_owner_only_and_for_a_day() -> None:
    async def test(world: World) -> None:
        await world.anna.call("publishEndpoint", identityKey=ANNA, nodeAddr=b"somewhere")
        assert (await world.bert.call("resolveEndpoint", identityKey=ANNA)).data("nodeAddr") == b"somewhere"
        with pytest.raises(CallFailed, match="only the own endpoint"):
            await world.anna.call("publishEndpoint", identityKey=BERT, nodeAddr=b"x")
        with pytest.raises(CallFailed, match="at most 1024 are kept"):
            await world.anna.call("publishEndpoint", identityKey=ANNA, nodeAddr=bytes(1025))
        world.life = DAY_S
        assert (await world.bert.call("resolveEndpoint", identityKey=ANNA)).data("nodeAddr") == b""

    run(test)


def test_everything_else_of_the_interface_is_unimplemented_and_says_what_there_is() -> None:
    offered = {"health", "enqueue", "fetch", "fetchWait", "peek", "ack", "resolveUser", "resolveIdentity"}
    offered |= {"publishEndpoint", "resolveEndpoint"}
    others = [name for name in NODE_SERVICE.methods if name not in offered]
    assert len(others) == 14

    async def test(world: World) -> None:
        for name in others:
            with pytest.raises(CallUnimplemented, match="not offered by this server: it has health, enqueue"):
                await world.anna.session.call(NODE_SERVICE.method(name), {})

    run(test)


# --- a hostile client ------------------------------------------------------------------------


def test_who_tries_tokens_loses_the_connection() -> None:
    async def test(world: World) -> None:
        guest = world.anna
        for _ in range(5):
            with pytest.raises(CallFailed, match="not valid here"):
                await guest.call("fetch", auth={"version": 1, "accessToken": os.urandom(20)})
        await guest.session.wait_closed()
        assert "too many calls with a wrong access token" in guest.session.reason
        assert world.home.counters["home.refused_token"] == 5
        with pytest.raises(CallDisconnected):
            await guest.call("health")
        assert world.home.connections == 1

    run(test)


def test_a_stranger_sends_no_large_messages_and_whoever_has_a_token_may() -> None:
    async def test(world: World) -> None:
        large = os.urandom(200_000)
        with pytest.raises(CallDisconnected):
            await world.anna.call("enqueue", recipientKey=BERT, payload=large)
        assert "at most 65536 are allowed" in world.anna.session.reason
        again = world.guest("anna", ANNA)
        await again.call("ack")
        assert (await again.call("enqueue", recipientKey=BERT, payload=large)).uint("seq") == 1
        assert (await world.bert.call("fetch")).structs("payloads")[0].data("data") == large

    run(test)


def test_bytes_that_are_no_rpc_end_the_connection_and_nothing_else() -> None:
    async def test(world: World) -> None:
        world.anna.visit.received(os.urandom(400))
        await asyncio.sleep(0)
        assert not world.anna.visit.session.is_open
        assert await world.bert.seqs() == []

    run(test)


def test_answers_wait_while_a_client_does_not_take_what_it_was_sent() -> None:
    async def test(world: World) -> None:
        await world.anna.call("enqueue", recipientKey=BERT, payload=b"x")
        await world.bert.call("ack")
        world.bert.far.is_full = True
        calls = [asyncio.create_task(world.bert.seqs(name)) for name in ("fetch", "fetchWait")]
        for _ in range(20):
            await asyncio.sleep(0)
        assert not any(call.done() for call in calls)
        world.bert.visit.room()  # not enough room yet
        await asyncio.sleep(0)
        world.bert.far.is_full = False
        world.bert.visit.room()
        assert await asyncio.gather(*calls) == [[1], [1]]
        assert not world.bert.far.paused

    run(test)


def test_calls_end_that_wait_for_a_client_who_takes_nothing_and_a_wait_for_messages_may_be_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("qpq.rpc.service", "qpq.home.visit"):
        monkeypatch.setattr(f"{module}.HANDLE_S", 0.05)

    async def test(world: World) -> None:
        assert await world.bert.seqs("fetchWait", timeoutMs=150) == []
        await world.bert.call("ack")
        world.bert.far.is_full = True
        with pytest.raises(CallOverloaded, match="fetch took too long here"):
            await world.bert.seqs()
        world.bert.far.is_full = False
        assert await world.bert.seqs() == []

    run(test)


def test_a_wait_that_ends_while_the_client_is_slow_answers_later_with_what_there_is_then() -> None:
    async def test(world: World) -> None:
        waiting = asyncio.create_task(world.bert.seqs("fetchWait", timeoutMs=10_000))
        for _ in range(10):
            await asyncio.sleep(0)
        world.bert.far.is_full = True
        for _ in range(2):
            await world.anna.call("enqueue", recipientKey=BERT, payload=b"x")
        assert not waiting.done()
        world.bert.far.is_full = False
        world.bert.visit.room()
        assert await waiting == [1, 2]

    run(test)


def test_a_store_that_fails_is_an_error_and_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        def fail(*_: object) -> None:
            raise StoreError("the disk is gone")

        with monkeypatch.context() as patch:
            patch.setattr(world.queues._tables, "post", fail)
            calls = [world.anna.call("enqueue", recipientKey=BERT, payload=b"x") for _ in range(2)]
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(outcome, CallFailed)
                assert "the disk is gone" in outcome.reason
        assert (await world.anna.call("enqueue", recipientKey=BERT, payload=b"x")).uint("seq") == 1

    run(test)


def test_of_what_comes_together_that_is_kept_for_which_there_is_room() -> None:
    async def test(world: World) -> None:
        world.database.max_bytes = 1 << 18
        world.database._limit_pages(0)
        await world.anna.call("ack")
        sizes = (150_000, 150_000, 1000)
        calls = [world.anna.call("enqueue", recipientKey=BERT, payload=bytes(size)) for size in sizes]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(outcome, CallOverloaded) for outcome in outcomes] == [False, True, False]
        assert await world.bert.seqs() == [1, 2]

    run(test)


def test_who_leaves_before_the_answer_has_sent_the_message_all_the_same_and_wakes_who_waits() -> None:
    async def test(world: World) -> None:
        waiting = asyncio.create_task(world.bert.seqs("fetchWait", timeoutMs=15_000))
        call = asyncio.create_task(world.anna.call("enqueue", recipientKey=BERT, payload=b"x"))
        await until(lambda: bool(world.queues._posts))
        world.anna.visit.ended("gone")
        await until(lambda: not world.queues._posts)
        assert await asyncio.wait_for(waiting, 5) == [1]
        assert await world.bert.seqs() == [1]
        call.cancel()

    run(test)

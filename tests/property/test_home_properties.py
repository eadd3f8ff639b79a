"""Whatever a client sends to the client port: an answer or a clear refusal, and inboxes as a simple model has them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from home_kit import ANNA, BERT, Guest, World

from qpq.home.limits import DAY_S, HomeLimits
from qpq.wire.rpc_errors import CallFailed, RpcError
from qpq.wire.rpc_services import NODE_SERVICE

KEYS = st.one_of(st.sampled_from([ANNA, BERT, b"", bytes(32)]), st.binary(max_size=40))
AUTH = st.fixed_dictionaries(
    {},
    optional={"version": st.integers(0, 3), "accessToken": st.binary(max_size=80), "deviceId": st.binary(max_size=20)},
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "recipientKey": KEYS,
    "identityKey": KEYS,
    "payload": st.binary(max_size=200),
    "channelId": st.sampled_from([b"", b"", b"", bytes(16), b"x"]),
    "version": st.integers(0, 2),
    "ttlSecs": st.integers(0, (1 << 32) - 1),
    "limit": st.integers(0, (1 << 32) - 1),
    "timeoutMs": st.integers(0, (1 << 64) - 1),
    "seqUpTo": st.integers(0, (1 << 64) - 1),
    "username": st.text(st.characters(codec="utf-8"), max_size=40),
    "nodeAddr": st.binary(max_size=60),
}
TAKES = {
    "enqueue": ("recipientKey", "payload", "channelId", "version", "ttlSecs"),
    "fetch": ("recipientKey", "channelId", "version", "limit"),
    "fetchWait": ("recipientKey", "channelId", "version", "limit", "timeoutMs"),
    "peek": ("recipientKey", "channelId", "version", "limit"),
    "ack": ("recipientKey", "channelId", "version", "seqUpTo"),
    "resolveUser": ("username",),
    "resolveIdentity": ("identityKey",),
    "publishEndpoint": ("identityKey", "nodeAddr"),
    "resolveEndpoint": ("identityKey",),
}
CALLS = st.sampled_from(sorted(TAKES)).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.fixed_dictionaries({}, optional={key: VALUES[key] for key in TAKES[name]}),
        st.one_of(st.none(), st.none(), AUTH),
    )
)
QUICK = HomeLimits(floor_s=0.0, wait_s=0.001, bad_tokens=1 << 30, lookups=1 << 30, endpoint=50)


@settings(max_examples=60, deadline=None)
@given(st.lists(CALLS, max_size=25))
def test_any_values_are_answered_or_refused_with_a_reason(
    calls: list[tuple[str, dict[str, Any], dict[str, Any] | None]],
) -> None:
    async def main() -> None:
        world, refused = World(QUICK), []
        for name, values, auth in calls:
            method = NODE_SERVICE.method(name)
            given_auth = world.anna.auth if auth is None else auth
            try:
                await world.anna.session.call(method, {"auth": given_auth, **values})
            except RpcError as error:
                refused.append(error)
        assert [error for error in refused if type(error) is not CallFailed or "internal" in error.reason] == []
        assert (await world.anna.call("health")).text("status") == "ok"

    asyncio.run(asyncio.wait_for(main(), 20))


STEPS = st.one_of(
    st.tuples(st.just("enqueue"), st.booleans(), st.integers(1, 3)),
    st.tuples(st.just("ack"), st.booleans(), st.integers(0, 9)),
    st.tuples(st.just("fetch"), st.booleans(), st.integers(0, 4)),
    st.tuples(st.just("expire"), st.booleans(), st.integers(1, 2)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_inboxes_are_what_was_sent_and_neither_acknowledged_nor_expired(steps: list[tuple[str, bool, int]]) -> None:
    async def main() -> None:
        world = World(QUICK)
        guests: dict[bool, Guest] = {True: world.anna, False: world.bert}
        model: dict[bool, dict[int, int]] = {True: {}, False: {}}
        last = {True: 0, False: 0}
        for what, who, number in steps:
            guest = guests[who]
            if what == "enqueue":
                taken = await guests[not who].call(
                    "enqueue", recipientKey=guest.key, payload=b"x", ttlSecs=number * DAY_S
                )
                last[who] += 1
                assert taken.uint("seq") == last[who]
                model[who][last[who]] = world.life + number * DAY_S
            elif what == "ack" and number <= last[who]:
                await guest.call("ack", seqUpTo=number)
                model[who] = {seq: ends for seq, ends in model[who].items() if seq > number}
            elif what == "expire":
                world.life += number * DAY_S
                world.queues.forget()
                for rows in model.values():
                    for seq in [seq for seq, ends in rows.items() if ends <= world.life]:
                        del rows[seq]
            found = await guest.seqs(limit=number if what == "fetch" else 0)
            expected = sorted(model[who])
            assert found == (expected[:number] if what == "fetch" and number else expected)

    asyncio.run(asyncio.wait_for(main(), 20))

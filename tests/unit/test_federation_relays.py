"""Relays of two and three domains over real sockets: what crosses, what does not, and what is told of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from domains_kit import Domain, certificate, domains, envelope, pair, run, secret, until
from qpq.federation.ports import Answer
from qpq.federation.settings import MAX_HOPS, Rates, Relay
from qpq.rpc.session import RpcSession
from qpq.wire.envelope import decode_envelope, encode_envelope
from qpq.wire.outside import OutsideEnvelope, OutsideRefusal, encode_outside
from qpq.wire.rpc_errors import CallFailed, CallOverloaded, RpcError
from qpq.wire.rpc_services import FEDERATION_SERVICE

if TYPE_CHECKING:
    from qpq.wire.capnp_messages import Fields

TESTS = Path(__file__).resolve().parents[1]
A, B, C = "aachen.example", "berlin.example", "chemnitz.example"


def test_a_message_crosses_and_its_receipt_comes_back() -> None:
    async def scenario() -> None:
        aachen, berlin = pair()
        berlin.proves = True
        async with domains(aachen, berlin):
            seq = aachen.send(B, "anna", "ben", 7)
            await until(lambda: bool(aachen.receipts()))
            assert seq == 1
            took = berlin.took[0]
            assert berlin.numbers() == [7]
            assert (took.item.origin, took.recipient) == (A, secret("ben").address)
            assert aachen.receipts()[0].origin == B
            assert aachen.took[0].recipient == secret("anna").address
            await until(lambda: not aachen.queue.waiting() and not berlin.queue.waiting())
            assert len(berlin.seconds["federation_enqueue_seconds"]) == 1
            assert len(aachen.seconds["federation_relay_seconds"]) == 1

    run(scenario)


def test_a_shared_authority_vouches_for_both_and_age_is_carried() -> None:
    async def scenario() -> None:
        aachen, berlin = Domain(A), Domain(B)
        aachen.chain = (certificate(A, aachen.key.identity),)
        berlin.chain = (certificate(B, berlin.key.identity),)
        berlin.begin(ca=True)
        aachen.begin(Relay("b", B, (), (berlin.listen,)), ca=True)
        async with domains(aachen, berlin):
            data = envelope("anna", "ben", 1)
            item = OutsideEnvelope(B, "", data)
            aachen.queue.hold(item, secret("ben").address, ttl=3600, age=600, hops=0)
            await until(lambda: bool(berlin.took))
            assert 600 <= berlin.took[0].age <= 602

    run(scenario)


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        (lambda key: (certificate("chemnitz.example", key),), "a certificate of chemnitz.example"),
        (lambda key: (certificate(B, key, not_after=20300301000000),), "expired on 2030-03-01"),
        (lambda key: (certificate(B, key, not_before=20300701000000),), "valid from 2030-07-01"),
        (lambda _key: (), "without a domain"),
    ],
)
def test_who_is_called_and_proves_nothing_good_is_left(chain: Any, words: str) -> None:
    async def scenario() -> None:
        aachen, berlin = Domain(A), Domain(B)
        aachen.chain = (certificate(A, aachen.key.identity),)
        berlin.chain = chain(berlin.key.identity)
        berlin.begin(ca=True)
        aachen.begin(Relay("b", B, (), (berlin.listen,)), ca=True)
        async with domains(aachen, berlin):
            aachen.send(B, "anna", "ben")
            await until(lambda: bool(aachen.failures))
            assert words in aachen.failures[0]
            assert not berlin.took

    run(scenario)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chain": "expired"}, "expired on"),
        ({"chain": "none"}, "without a domain"),
        ({"chain": "own"}, "which is the own domain"),
        ({"clock": None}, "clock is not trusted"),
        ({"ca": False}, "pinned for no domain"),
    ],
)
def test_who_calls_and_proves_nothing_good_is_refused(
    change: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        aachen, berlin = Domain(A), Domain(B)
        chains = {
            "expired": (certificate(A, aachen.key.identity, not_after=20300301000000),),
            "own": (certificate(B, aachen.key.identity),),
            "none": (),
        }
        aachen.chain = chains.get(change.get("chain", ""), (certificate(A, aachen.key.identity),))
        berlin.clock = change.get("clock", berlin.clock)
        berlin.begin(ca=change.get("ca", True))
        aachen.begin(berlin.relay())
        async with domains(aachen, berlin):
            aachen.send(B, "anna", "ben")
            await until(lambda: berlin.endpoint.counters.get("refused_certificate", 0) > 0)
            assert not berlin.took
            assert aachen.queue.waiting()[0].rows == 1

    run(scenario)
    assert any(words in record.message for record in caplog.records)


def test_a_pinned_key_is_believed_without_a_clock_and_the_authority_does_not_overrule_it() -> None:
    async def scenario() -> None:
        aachen, berlin = Domain(A), Domain(B)
        aachen.chain = (certificate(A, aachen.key.identity),)
        berlin.begin(Relay("a", A, (secret("another key").identity,)), ca=True)
        aachen.begin(berlin.relay())
        async with domains(aachen, berlin):
            await until(lambda: berlin.endpoint.counters.get("refused_certificate", 0) > 0)
        aachen, berlin = pair()
        berlin.clock = None
        async with domains(aachen, berlin):
            aachen.send(B, "anna", "ben")
            await until(lambda: bool(berlin.took))

    run(scenario)


async def ask(domain: Domain, to: str, method: str, **values: Any) -> Fields:
    """Call a method of another relay as it stands; with ``origin`` the caller lies or not."""
    await until(lambda: domain.federation.session_to(to) is not None)
    session = domain.federation.session_to(to)
    assert isinstance(session, RpcSession)
    origin = values.pop("origin", domain.name)
    if method != "federationHealth":
        values["auth"] = {"origin": origin}
    return await session.call(FEDERATION_SERVICE.method(method), values, timeout=10)


def enqueue(data: bytes, to: str = B, origin: str = A, recipient: str = "ben", **more: Any) -> dict[str, Any]:
    return {
        "recipientKey": secret(recipient).address,
        "payload": encode_outside(OutsideEnvelope(to, origin, data)),
        "version": 1,
        **more,
    }


def test_the_six_methods_are_bound_to_what_there_is() -> None:
    async def scenario() -> None:
        aachen, berlin = pair()
        berlin.users["ben"] = secret("ben").identity
        berlin.bundles[secret("ben").address] = b"bundle"
        ben = secret("ben").address
        async with domains(aachen, berlin):
            health = await ask(aachen, B, "federationHealth")
            assert (health.text("status"), health.text("serverDomain")) == ("ok", B)
            found = await ask(aachen, B, "proxyResolveUser", username="ben")
            assert found.data("identityKey") == ben
            assert (await ask(aachen, B, "proxyResolveUser", username="nobody")).data("identityKey") == b""
            assert (await ask(aachen, B, "proxyFetchHybridKey", identityKey=ben)).data("hybridPublicKey") == b"bundle"
            assert (await ask(aachen, B, "proxyFetchHybridKey", identityKey=bytes(32))).data("hybridPublicKey") == b""
            package = await ask(aachen, B, "proxyFetchKeyPackage", identityKey=ben)
            assert package.data("package") == b"bundle, single"
            with pytest.raises(CallOverloaded, match="asked for keys just now"):
                await ask(aachen, B, "proxyFetchKeyPackage", identityKey=ben)
            assert (await ask(aachen, B, "proxyFetchKeyPackage", identityKey=bytes(32))).data("package") == b""
            one = await ask(aachen, B, "relayEnqueue", **enqueue(envelope("anna", "ben", 1)))
            assert one.uint("seq") == 1
            values = enqueue(envelope("anna", "ben", 2))
            del values["recipientKey"]
            many = await ask(aachen, B, "relayBatchEnqueue", recipientKeys=[ben, ben], **values)
            assert many.uints("seqs") == [2, 2]
            assert berlin.numbers() == [1, 2]

    run(scenario)


LIE = envelope("anna", "ben", 9)


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        (enqueue(LIE, origin=C), CallFailed, f"a relay of {A} may not speak for {C}"),
        ({**enqueue(LIE), "origin": C}, CallFailed, f"the certificate is of {A}"),
        ({**enqueue(LIE), "origin": ""}, CallFailed, f"the certificate is of {A}"),
        (enqueue(LIE, version=2), CallFailed, "version 1"),
        (enqueue(LIE, channelId=bytes(16)), CallFailed, "empty channelId"),
        (enqueue(LIE, recipient="carl"), CallFailed, "somebody else than recipientKey"),
        ({**enqueue(LIE), "recipientKey": b"short"}, CallFailed, "a key of 5 bytes"),
        (enqueue(LIE, messageId=bytes(32)), CallFailed, "messageId"),
        (enqueue(LIE, hops=MAX_HOPS + 1), CallFailed, "has passed 9 domains"),
        (enqueue(b"no envelope"), CallFailed, "."),
        (enqueue(LIE, payload=bytes(40_000)), CallFailed, "at most"),
        (enqueue(LIE, payload=b"\x07"), CallFailed, "not known here"),
        (enqueue(LIE, to=C), CallFailed, "nothing is carried"),
    ],
)
def test_what_is_not_as_it_must_be_is_refused_with_the_reason(
    values: dict[str, Any], error: type[RpcError], words: str
) -> None:
    async def scenario() -> None:
        aachen, berlin = pair()
        async with domains(aachen, berlin):
            with pytest.raises(error, match=words):
                await ask(aachen, B, "relayEnqueue", **values)
            assert not berlin.took

    run(scenario)


def test_a_batch_has_bounds_and_is_refused_whole() -> None:
    async def scenario() -> None:
        aachen, berlin = pair()
        values = enqueue(LIE)
        del values["recipientKey"]
        async with domains(aachen, berlin):
            for keys in ([], [bytes(32)] * 65, [secret("carl").address], [secret("ben").address, bytes(32)]):
                with pytest.raises(CallFailed):
                    await ask(aachen, B, "relayBatchEnqueue", recipientKeys=keys, **values)
            assert not berlin.took

    run(scenario)


def test_the_same_twice_is_taken_once_and_has_one_number() -> None:
    async def scenario() -> None:
        aachen, berlin = pair()
        async with domains(aachen, berlin):
            numbers = [(await ask(aachen, B, "relayEnqueue", **enqueue(LIE))).uint("seq") for _ in range(3)]
            assert numbers == [1, 1, 1]
            assert len(berlin.took) == 1
            assert berlin.counters["federation.duplicates"] == 2

    run(scenario)


def test_a_domain_that_floods_is_slowed_down_and_others_are_not() -> None:
    async def scenario() -> None:
        aachen, berlin = pair(rates=Rates(messages=1, message_burst=6))  # one for the greeting
        async with domains(aachen, berlin):
            for number in range(5):
                await ask(aachen, B, "relayEnqueue", **enqueue(envelope("anna", "ben", number)))
            with pytest.raises(CallOverloaded, match="sends faster"):
                await ask(aachen, B, "relayEnqueue", **enqueue(envelope("anna", "ben", 6)))
            assert len(berlin.took) == 5

    run(scenario)


def test_what_is_refused_over_there_comes_back_to_its_sender() -> None:
    async def scenario() -> None:
        aachen, berlin = pair()
        berlin.answer = Answer("nobody of that key is known")
        async with domains(aachen, berlin):
            aachen.send(B, "anna", "ben")
            await until(lambda: bool(aachen.given_up))
            parcel, reason = aachen.given_up[0]
            assert (parcel.sender, reason) == (secret("anna").address, "nobody of that key is known")
            await until(lambda: not aachen.queue.waiting())

    run(scenario)


def test_what_is_for_a_domain_that_nobody_reaches_is_given_up_at_once() -> None:
    async def scenario() -> None:
        aachen, berlin = pair()
        async with domains(aachen, berlin):
            aachen.send("nowhere.example", "anna", "ben")
            await until(lambda: bool(aachen.given_up))
            assert aachen.given_up[0][1] == f"nowhere.example is not reached from {A}"
            await until(lambda: not aachen.queue.waiting())

    run(scenario)


def test_what_is_not_taken_now_is_offered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qpq.federation.courier.FIRST_RETRY_S", 0.01)

    async def scenario() -> None:
        aachen, berlin = pair()
        berlin.answer = Answer("no room now", retry=True)
        async with domains(aachen, berlin):
            aachen.send(B, "anna", "ben", 4)
            await until(lambda: aachen.counters.get("federation.put_off", 0) >= 1)
            berlin.answer = Answer()
            await until(lambda: berlin.numbers() == [4])

    run(scenario)


def test_a_queue_that_is_full_puts_others_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qpq.federation.courier.FIRST_RETRY_S", 0.01)

    async def scenario() -> None:
        aachen, berlin, chemnitz = line_of_three(max_bytes=1 << 20)
        chemnitz.answer = Answer("not now", retry=True)
        async with domains(aachen, berlin, chemnitz):
            for number in range(600):
                aachen.send(C, "anna", "carl", number)
            await until(lambda: aachen.counters.get("federation.put_off", 0) > 0)
            waiting = sum(row.rows for row in aachen.queue.waiting()) + sum(row.rows for row in berlin.queue.waiting())
            assert waiting >= 600  # what is just being handed on stands in both
            assert not aachen.given_up
            chemnitz.answer = Answer()
            await until(lambda: len(chemnitz.took) == 600, 45)
            assert sorted(chemnitz.numbers()) == list(range(600))

    run(scenario)


def line_of_three(**berlin_only: Any) -> tuple[Domain, Domain, Domain]:
    """Return Aachen, which reaches Chemnitz through Berlin only."""
    aachen, berlin, chemnitz = Domain(A), Domain(B, **berlin_only), Domain(C)
    chemnitz.begin(Relay("b", B, (berlin.key.identity,), (), carries=(A,)))
    berlin.begin(
        Relay("a", A, (aachen.key.identity,), (), transit=True),
        Relay("c", C, (chemnitz.key.identity,), (chemnitz.listen,), transit=True),
    )
    chemnitz.federation.trust.settings = chemnitz.settings
    aachen.begin(Relay("b", B, (berlin.key.identity,), (berlin.listen,), carries=(C,)))
    return aachen, berlin, chemnitz


def test_a_domain_between_carries_messages_on_and_receipts_back_and_they_are_marked() -> None:
    async def scenario() -> None:
        aachen, berlin, chemnitz = line_of_three()
        chemnitz.proves = True
        async with domains(aachen, berlin, chemnitz):
            aachen.send(C, "anna", "carl", 5)
            await until(lambda: bool(aachen.receipts()))
            assert chemnitz.numbers() == [5]
            assert chemnitz.took[0].item.origin == A
            assert not berlin.took
            assert berlin.counters["federation.carried"] == 2

    run(scenario)


def test_what_is_carried_stands_apart_while_it_waits() -> None:
    async def scenario() -> None:
        aachen, berlin, chemnitz = line_of_three()
        chemnitz.answer = Answer("not now", retry=True)
        async with domains(aachen, berlin, chemnitz):
            aachen.send(C, "anna", "carl", 5)
            await until(lambda: berlin.counters.get("federation.put_off", 0) > 0)
            row = berlin.queue.waiting()[0]
            assert (row.domain, row.rows, row.foreign) == (C, 1, 1)

    run(scenario)


def test_a_refusal_finds_its_way_back_through_the_domain_between() -> None:
    async def scenario() -> None:
        aachen, berlin, chemnitz = line_of_three()
        chemnitz.answer = Answer("nobody of that key is known")
        async with domains(aachen, berlin, chemnitz):
            aachen.send(C, "anna", "carl", 5)
            await until(lambda: bool(aachen.took))
            item = aachen.took[0].item
            assert isinstance(item, OutsideRefusal)
            assert item.reason == "nobody of that key is known"
            assert aachen.took[0].recipient == secret("anna").address

    run(scenario)


def ring() -> tuple[Domain, Domain, Domain]:
    """Return three domains, each of which believes that the next one reaches ``nowhere.example``."""
    members = Domain(A), Domain(B), Domain(C)
    for member in members:
        member.begin()
    for index, member in enumerate(members):
        after, before = members[(index + 1) % 3], members[(index + 2) % 3]
        relays = (
            Relay("next", after.name, (after.key.identity,), (after.listen,), carries=("nowhere.example",)),
            Relay("before", before.name, (before.key.identity,), (), transit=True, carries=(A, B, C)),
        )
        settings = replace(member.settings, relays=relays)
        member.settings = settings
        member.federation.trust.settings = settings
        member.federation.desk.settings = settings
    return members


def test_a_loop_of_three_domains_ends() -> None:
    async def scenario() -> None:
        members = ring()
        async with domains(*members):
            members[0].send("nowhere.example", "anna", "nobody", 1)
            await until(lambda: members[0].counters.get("federation.duplicates", 0) >= 1)
            await until(lambda: not any(member.queue.waiting() for member in members))
            assert [member.counters.get("federation.carried", 0) for member in members] == [0, 1, 1]

    run(scenario)


def test_a_loop_ends_by_its_hops_where_nobody_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qpq.daemon.federation_queue.FederationQueue.known", lambda _self, _item: None)

    async def scenario() -> None:
        members = ring()
        async with domains(*members):
            members[0].send("nowhere.example", "anna", "nobody", 1)
            await until(lambda: sum(member.counters.get("federation.refused", 0) for member in members) >= 1)
            assert sum(member.counters.get("federation.carried", 0) for member in members) == MAX_HOPS - 1

    run(scenario)


def test_an_envelope_with_a_false_signature_is_not_carried() -> None:
    async def scenario() -> None:
        aachen, berlin, chemnitz = line_of_three()
        good = decode_envelope(envelope("anna", "carl", 1))
        bad = encode_envelope(replace(good, signature=bytes(64)))
        async with domains(aachen, berlin, chemnitz):
            with pytest.raises(CallFailed, match="false signature"):
                await ask(aachen, B, "relayEnqueue", **enqueue(bad, to=C, recipient="carl"))
            assert not berlin.queue.waiting()

    run(scenario)


def test_nothing_is_lost_or_doubled_when_a_relay_stops_in_the_middle_and_comes_back(tmp_path: Any) -> None:
    async def scenario() -> None:
        aachen, berlin = Domain(A, str(tmp_path / "a.db")), Domain(B, str(tmp_path / "b.db"))
        berlin.begin(replace(aachen.relay(), addresses=()))
        aachen.begin(berlin.relay())
        berlin.start()
        aachen.start()
        for number in range(300):
            aachen.send(B, "anna", "ben", number)
        await until(lambda: len(berlin.took) > 50)
        await berlin.stop(0.2)
        seen = berlin.numbers()
        again = Domain(B, str(tmp_path / "b.db"), listen=berlin.listen).begin(*berlin.settings.relays)
        again.start()
        await until(lambda: len(seen) + len(again.took) >= 300, 30)
        await aachen.stop()
        await again.stop()
        assert sorted(seen + again.numbers()) == list(range(300))

    run(scenario)


def test_a_restart_of_the_sender_goes_on_where_it_was(tmp_path: Any) -> None:
    async def scenario() -> None:
        aachen, berlin = Domain(A, str(tmp_path / "a.db")), Domain(B)
        berlin.begin(replace(aachen.relay(), addresses=()))
        aachen.begin(berlin.relay())
        aachen.start()
        for number in range(300):
            aachen.send(B, "anna", "ben", number)
        await until(lambda: len(berlin.took) > 50)
        await aachen.stop(0.0)
        again = Domain(A, str(tmp_path / "a.db")).begin(berlin.relay())
        again.start()
        await until(lambda: not again.queue.waiting(), 30)
        assert sorted(set(berlin.numbers())) == list(range(300))
        assert len(berlin.numbers()) == 300
        await again.stop()
        await berlin.stop()

    run(scenario)


def test_two_relays_that_call_each_other_at_once_are_connected_twice_and_either_will_do() -> None:
    async def scenario() -> None:
        aachen, berlin = Domain(A, listen="127.0.0.1:7391"), Domain(B, listen="127.0.0.1:7392")
        aachen.begin(berlin.relay())
        berlin.begin(aachen.relay())
        async with domains(aachen, berlin):
            await until(lambda: aachen.federation.connected() == {B: 2} == {B: berlin.federation.connected().get(A, 0)})
            session = aachen.federation.session_to(B)
            assert session is not None
            session.close("gone")
            aachen.send(B, "anna", "ben", 1)
            await until(lambda: berlin.numbers() == [1])

    run(scenario)


def test_of_two_connections_the_newer_is_used_since_the_older_may_have_died_unseen() -> None:
    async def scenario() -> None:
        aachen, berlin = pair()
        async with domains(aachen, berlin):
            await until(lambda: aachen.federation.session_to(B) is not None)
            first = aachen.federation.session_to(B)
            aachen.open(berlin.listen, B, print)
            await until(lambda: aachen.federation.connected() == {B: 2})
            second = aachen.federation.session_to(B)
            assert second is not None
            assert second is not first
            second.close("gone")
            assert aachen.federation.session_to(B) is first

    run(scenario)


def test_what_was_under_way_when_a_connection_ended_goes_over_another() -> None:
    async def scenario() -> None:
        aachen, berlin = Domain(A, listen="127.0.0.1:7391"), Domain(B, listen="127.0.0.1:7392")
        aachen.begin(berlin.relay())
        berlin.begin(aachen.relay())
        berlin.slow = 0.2
        async with domains(aachen, berlin):
            await until(lambda: aachen.federation.connected() == {B: 2})
            aachen.send(B, "anna", "ben", 1)
            await until(lambda: bool(berlin.federation.desk._pending))
            session = aachen.federation.session_to(B)
            assert session is not None
            session.close("gone")
            await until(lambda: not aachen.queue.waiting())
            assert set(berlin.numbers()) == {1}

    run(scenario)


def test_a_relay_that_stops_finishes_what_is_under_way_and_takes_nothing_new() -> None:
    async def scenario() -> None:
        aachen, berlin = pair()
        berlin.slow = 0.3
        async with domains(aachen, berlin):
            slow = asyncio.create_task(ask(aachen, B, "relayEnqueue", **enqueue(LIE)))
            await until(lambda: berlin.federation.desk._pending != set())
            session = aachen.federation.session_to(B)
            stopping = asyncio.create_task(berlin.federation.drain(5))
            await asyncio.sleep(0.05)
            assert session is not None
            late = {**enqueue(envelope("anna", "ben", 1)), "auth": {"origin": A}}
            with pytest.raises(CallOverloaded):
                await session.call(FEDERATION_SERVICE.method("relayEnqueue"), late)
            assert (await slow).uint("seq") == 1
            await stopping
            assert aachen.federation.session_to(B) is None or not session.is_open
            berlin.federation.wake(C)
            await asyncio.sleep(0)
            assert not berlin.federation._tasks, "nobody is left to work on what comes now"

    run(scenario)


def test_other_rules_end_what_they_do_not_allow_and_keep_the_rest() -> None:
    async def scenario() -> None:
        aachen, berlin = pair()
        async with domains(aachen, berlin):
            await until(lambda: aachen.federation.session_to(B) is not None)
            before = aachen.federation.session_to(B)
            aachen.federation.renew(aachen.federation.trust)
            assert aachen.federation.session_to(B) is before
            trust = berlin.federation.trust
            settings = replace(berlin.settings, relays=())
            berlin.federation.renew(type(trust)(settings, berlin.key.identity, lambda: berlin.clock))
            await until(lambda: berlin.endpoint.counters.get("refused_certificate", 0) > 0)
            aachen.send(B, "anna", "ben")
            await asyncio.sleep(0.2)
            assert not berlin.took

    run(scenario)


def test_another_address_is_called_when_the_first_is_silent() -> None:
    async def scenario() -> None:
        aachen, berlin = Domain(A), Domain(B)
        berlin.begin(replace(aachen.relay(), addresses=()))
        aachen.begin(berlin.relay(addresses=("127.0.0.1:9", berlin.listen)))
        async with domains(aachen, berlin):
            aachen.send(B, "anna", "ben", 3)
            await until(lambda: berlin.numbers() == [3], 40)
            assert aachen.failures

    run(scenario)


def test_ten_thousand_messages_for_ten_people_drain_after_an_outage() -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # it has much to do
    argv = [sys.executable, str(TESTS / "domains_drain.py"), "10000"]
    path = os.pathsep.join([str(TESTS), str(TESTS.parent / "node")])
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=58, check=False, env={**kept, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("10000 messages for 10 people, none twice")

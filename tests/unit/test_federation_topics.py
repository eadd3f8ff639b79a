"""Broadcasts of shared topics between relays over real sockets: to whom they go, and where they end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from domains_kit import Domain, domains, pair, run, secret, until
from qpq.crypto.channels import ENTROPY_BYTES, day_tag, open_key, seal_broadcast
from qpq.crypto.identity import Address
from qpq.federation.ports import Answer
from qpq.federation.settings import MAX_HOPS
from qpq.federation.topics import NOBODY, topic_of
from qpq.wire.body import Body, encode_body
from qpq.wire.envelope import Mode, decode_envelope, encode_envelope, sign_envelope
from qpq.wire.outside import OutsideBroadcast, encode_outside
from qpq.wire.rpc_errors import CallFailed, CallOverloaded
from qpq.wire.rpc_services import FEDERATION_SERVICE

if TYPE_CHECKING:
    from qpq.federation.settings import Relay

A, B, C = "aachen.example", "berlin.example", "chemnitz.example"
TOPIC, KITCHEN = "rheinland", "kitchen"


def broadcast(number: int = 0, *, topic: str = TOPIC, size: int = 8, mode: Mode = Mode.CHANNEL) -> bytes:
    """Return a broadcast of Anna's to the open channel of a topic."""
    anna, key, text = secret("anna"), open_key(topic), f"{number}".ljust(size)
    tag = day_tag(key, 0)
    plain = encode_body(Body(secret=b"m" * 16, text=text, message_id=number.to_bytes(16, "big")))
    made = sign_envelope(
        anna,
        recipient=tag if mode is Mode.CHANNEL else anna.address,
        ttl=3600,
        max_hops=64,
        timestamp=0,
        commitment=number.to_bytes(16, "big"),
        payload=seal_broadcast(key, b"e" * ENTROPY_BYTES, plain, tag=tag, sender=anna.address),
        mode=mode,
    )
    return encode_envelope(made)


def shares(relay: Relay, *topics: str, calls: bool = True) -> Relay:
    return replace(relay, topics=topics or (TOPIC,), addresses=relay.addresses if calls else ())


def sharing() -> tuple[Domain, Domain]:
    """Two domains that share a topic; the first calls."""
    aachen, berlin = Domain(A), Domain(B)
    berlin.begin(shares(aachen.relay(), calls=False))
    aachen.begin(shares(berlin.relay()))
    return aachen, berlin


def triangle() -> tuple[Domain, Domain, Domain]:
    """Three domains that all share a topic with each other."""
    members = Domain(A), Domain(B), Domain(C)
    for number, member in enumerate(members):
        others = [
            shares(other.relay(), calls=place < number) for place, other in enumerate(members) if other is not member
        ]
        member.begin(*others)
    return members


def taken(domain: Domain) -> list[bytes]:
    return [took.item.envelope for took in domain.took if isinstance(took.item, OutsideBroadcast)]


async def ask(domain: Domain, to: str, payload: bytes, **values: Any) -> None:
    await until(lambda: domain.federation.session_to(to) is not None)
    session = domain.federation.session_to(to)
    assert session is not None
    given = {"recipientKey": NOBODY, "payload": payload, "version": 1, "auth": {"origin": domain.name}, **values}
    await session.call(FEDERATION_SERVICE.method("relayEnqueue"), given)


def test_a_broadcast_goes_to_who_shares_its_topic_once_and_never_back() -> None:
    async def scenario() -> None:
        aachen, berlin = sharing()
        async with domains(aachen, berlin):
            for data in (broadcast(1), broadcast(1), broadcast(2, topic=KITCHEN), broadcast(3)):
                aachen.federation.heard(data, 60)
            await until(lambda: len(taken(berlin)) == 2)
            assert taken(berlin) == [broadcast(1), broadcast(3)]
            assert 60 <= berlin.took[0].age <= 62
            berlin.federation.heard(broadcast(1), 70)  # its other relays hear it in the mesh
            aachen.federation.heard(broadcast(1), 70)
            await until(lambda: not aachen.queue.waiting())
            assert not berlin.queue.waiting()
            assert not taken(aachen)
            berlin.federation.heard(broadcast(4), 0)
            await until(lambda: taken(aachen) == [broadcast(4)])

    run(scenario)


def test_in_a_triangle_everybody_gets_it_and_it_comes_to_rest() -> None:
    async def scenario() -> None:
        members = triangle()
        async with domains(*members):
            await until(lambda: all(len(member.federation.connected()) == 2 for member in members))
            members[0].federation.heard(broadcast(1), 0)
            await until(lambda: all(set(taken(member)) == {broadcast(1)} for member in members[1:]))
            await until(lambda: not any(member.queue.waiting() for member in members))
            handed = [member.counters.get("federation.handed_on", 0) for member in members]
            assert sum(handed) <= 2 * 3  # each pair of domains at most once in each direction
            assert handed[0] == 2

    run(scenario)


@pytest.mark.parametrize(("carries", "origin"), [((A,), A), ((), B)], ids=["carried", "not carried"])
def test_in_a_line_the_last_learns_where_a_broadcast_is_from_if_it_lets_the_one_between_say_so(
    carries: tuple[str, ...], origin: str
) -> None:
    async def scenario() -> None:
        aachen, berlin, chemnitz = Domain(A), Domain(B), Domain(C)
        chemnitz.begin(shares(replace(berlin.relay(), carries=carries), calls=False))
        berlin.begin(shares(aachen.relay(), calls=False), shares(chemnitz.relay()))
        aachen.begin(shares(berlin.relay()))
        async with domains(aachen, berlin, chemnitz):
            aachen.federation.heard(broadcast(1), 0)
            await until(lambda: taken(chemnitz) == [broadcast(1)])
            assert [took.item.origin for took in (*berlin.took, *chemnitz.took)] == [A, origin]
            berlin.federation.heard(broadcast(2), 0, A)  # as another relay of Berlin's says, which brought it
            await until(lambda: taken(chemnitz) == [broadcast(1), broadcast(2)])
            assert chemnitz.took[1].item.origin == origin
            berlin.federation.heard(broadcast(3), 0)
            await until(lambda: taken(aachen) == [broadcast(3)])
            assert [took.item.origin for took in chemnitz.took[2:]] == [B]

    run(scenario)


def test_a_broadcast_passes_eight_domains_at_most() -> None:
    async def scenario() -> None:
        members = triangle()
        async with domains(*members):
            for hops, expected in ((MAX_HOPS - 1, 1), (MAX_HOPS, 1)):
                payload = encode_outside(OutsideBroadcast(B, A, broadcast(hops)))
                await ask(members[0], B, payload, hops=hops)
                await until(lambda expected=expected: len(taken(members[2])) >= expected)
            assert taken(members[2]) == [broadcast(MAX_HOPS - 1)]
            assert len(taken(members[1])) == 2

    run(scenario)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (OutsideBroadcast(B, A, broadcast(topic=KITCHEN)), "no topic that berlin.example shares with aachen"),
        (OutsideBroadcast(B, A, broadcast(mode=Mode.UNICAST)), "no topic"),
        (OutsideBroadcast(C, A, broadcast()), "from one domain to the next"),
        (OutsideBroadcast(B, "dortmund.example", broadcast()), "from one domain to the next"),
        (OutsideBroadcast(B, A, b"x"), "cut off"),
    ],
)
def test_what_is_not_shared_is_refused_by_who_is_asked(item: OutsideBroadcast, words: str) -> None:
    async def scenario() -> None:
        aachen, berlin = Domain(A), Domain(B)
        berlin.begin(shares(replace(aachen.relay(), carries=("dortmund.example",)), calls=False))
        aachen.begin(shares(berlin.relay(), TOPIC, KITCHEN))
        async with domains(aachen, berlin):
            with pytest.raises(CallFailed, match=words):
                await ask(aachen, B, encode_outside(item))
            assert not berlin.took

    run(scenario)


def test_what_only_one_side_lists_is_dropped_and_nothing_waits_for_it() -> None:
    async def scenario() -> None:
        aachen, berlin = pair()
        aachen.settings = replace(aachen.settings, relays=(shares(berlin.relay()),))
        async with domains(aachen, berlin):
            aachen.federation.renew(replace_settings(aachen))
            aachen.federation.heard(broadcast(), 0)
            await until(lambda: aachen.counters.get("federation.turned_down", 0) == 1)
            await until(lambda: not aachen.queue.waiting())
            assert not aachen.given_up
            assert not berlin.took

    run(scenario)


def replace_settings(domain: Domain) -> Any:
    trust = domain.federation.trust
    return type(trust)(domain.settings, domain.key.identity, lambda: domain.clock)


def test_a_mesh_without_room_is_asked_again_later() -> None:
    async def scenario() -> None:
        aachen, berlin = sharing()
        berlin.answer = Answer("too many", retry=True)
        async with domains(aachen, berlin):
            with pytest.raises(CallOverloaded):
                await ask(aachen, B, encode_outside(OutsideBroadcast(B, A, broadcast(1))))
            aachen.federation.heard(broadcast(2), 0)
            await until(lambda: aachen.counters.get("federation.put_off", 0) == 1)
            assert aachen.queue.waiting()[0].rows == 1

    run(scenario)


def test_a_mesh_that_does_not_answer_holds_no_call_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qpq.rpc.service.HANDLE_S", 0.1)

    async def scenario() -> None:
        aachen, berlin = sharing()
        berlin.slow = 60.0
        async with domains(aachen, berlin):
            with pytest.raises(CallOverloaded, match="relayEnqueue took too long here"):
                await ask(aachen, B, encode_outside(OutsideBroadcast(B, A, broadcast(1))))
            berlin.slow = 0.0
            await ask(aachen, B, encode_outside(OutsideBroadcast(B, A, broadcast(1))))
            assert taken(berlin) == [broadcast(1)]

    run(scenario)


def test_broadcasts_leave_the_queue_of_a_domain_to_messages() -> None:
    async def scenario() -> None:
        aachen = Domain(A, max_bytes=1 << 20)
        aachen.begin(shares(Domain(B).relay(), calls=False))
        async with domains(aachen):
            for number in range(40):
                aachen.federation.heard(broadcast(number, size=2_000), 0)
            waiting = aachen.queue.waiting()[0].size
            assert waiting < (1 << 20) // 4 // 8
            assert aachen.counters["federation.topics_left_out"] > 10
            for number in range(100):
                aachen.send(B, "anna", "ben", number)
            assert aachen.queue.waiting()[0].rows > 100

    run(scenario)


def test_the_topic_of_a_broadcast_is_told_by_its_tag() -> None:
    envelope = decode_envelope(broadcast())
    assert topic_of(envelope, (KITCHEN, TOPIC)) == TOPIC
    assert topic_of(envelope, (KITCHEN,)) == ""
    assert Address(bytes(32)) == NOBODY

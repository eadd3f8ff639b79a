"""Services beside the links on one port: told apart by ALPN, each with its own certificate and its own trust."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import AlertDescription
from link_world import Node, Plain, Shown, World, host, plain_configuration, secret

from qpq.errors import QpqError
from qpq.link.certificates import make_certificate, sole_identity
from qpq.link.endpoint import Endpoint
from qpq.link.errors import CertificateError
from qpq.link.limits import LinkLimits
from qpq.link.ports import Credentials
from qpq.link.streams import FULL, MAX_BACKLOG, WINDOW, Service, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qpq.crypto.identity import Identity, SecretIdentity

ALPN = "test/1"
OPEN = "open/1"


@dataclass
class Log:
    """A handler that writes down what it is told; ``answer`` says what to do with bytes."""

    stream: Stream
    got: bytearray = field(default_factory=bytearray)
    rooms: int = 0
    reason: str = ""
    answer: Callable[[Stream, bytes], None] = lambda _stream, _data: None

    def received(self, data: bytes) -> None:
        self.got += data
        self.answer(self.stream, data)

    def room(self) -> None:
        self.rooms += 1

    def ended(self, reason: str) -> None:
        assert not self.reason
        self.reason = reason


class Side:
    """One end's service and what came of it."""

    def __init__(self, owner: SecretIdentity, judge: Callable[[Sequence[bytes]], Identity] = sole_identity) -> None:
        self.logs: list[Log] = []
        self.failures: list[str] = []
        self.answer: Callable[[Stream, bytes], None] = lambda _stream, _data: None
        shown = Credentials((make_certificate(owner),), owner.seed)
        self.service = Service(ALPN, lambda: shown, judge, self.opened, self.failures.append)

    def opened(self, stream: Stream) -> Log:
        self.logs.append(Log(stream, answer=self.answer))
        return self.logs[-1]

    @property
    def log(self) -> Log:
        return self.logs[-1]


def echo(stream: Stream, data: bytes) -> None:
    stream.write(data)


def world_of(**changes: Any) -> tuple[World, Node, Node, Side, Side]:
    """Return anna, who knows the service, and ben, who serves it."""
    world = World()
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2))
    calling, serving = Side(secret("anna of the service")), Side(secret("ben of the service"))
    serving.service = replace(serving.service, **changes)
    ben.hub.serve(serving.service)
    return world, anna, ben, calling, serving


def call(world: World, node: Node, other: Node, side: Side, seconds: float = 1) -> None:
    node.hub.dial("there:7000", [other.address], None, world.now, side.service)
    world.run(seconds)


def test_both_ends_prove_the_keys_of_the_service_and_bytes_go_both_ways() -> None:
    world, anna, ben, calling, serving = world_of()
    serving.answer = echo
    call(world, anna, ben, calling)
    assert calling.log.stream.peer == secret("ben of the service").identity
    assert serving.log.stream.peer == secret("anna of the service").identity
    assert serving.log.stream.chain == (make_certificate(secret("anna of the service")),)
    assert (calling.log.stream.initiator, serving.log.stream.initiator) == (True, False)
    calling.log.stream.write(b"hello")
    world.run(1)
    assert bytes(serving.log.got) == bytes(calling.log.got) == b"hello"
    assert not anna.events
    assert not ben.events
    assert not ben.hub.rows()


def test_the_end_that_was_called_may_speak_first() -> None:
    world, anna, ben, calling, serving = world_of()
    anna.hub.dial("there:7000", [ben.address], None, world.now, calling.service)
    world.run(1, lambda: bool(serving.logs))
    serving.log.stream.write(b"late")  # the caller's stream is not there yet
    world.run(1)
    calling.log.stream.write(b"early")
    world.run(1)
    assert bytes(calling.log.got) == b"late"


def test_a_link_and_a_service_share_the_port() -> None:
    world, anna, ben, calling, serving = world_of()
    anna.dial(ben, ben.hub.own)
    call(world, anna, ben, calling)
    assert anna.up.peer == ben.hub.own
    assert len(ben.hub.rows()) == 1
    assert serving.log.stream.address == "10.0.0.1:7000"


def test_a_service_that_is_not_registered_is_refused_like_any_unknown_alpn() -> None:
    world = World()
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2))
    side = Side(secret("anna"))
    call(world, anna, ben, side)
    assert ben.refused == {"refused_alpn": 1}
    assert side.failures == ["refused by the peer: No common ALPN protocols"]
    assert not anna.events


def test_a_caller_without_a_certificate_is_refused() -> None:
    world, _, ben, _, serving = world_of()
    client = Plain.client(world, 6, alpn_protocols=[ALPN])
    client.connect(ben)
    world.run(1)
    assert client.ended is not None
    assert client.ended.error_code == QuicErrorCode.CRYPTO_ERROR + AlertDescription.certificate_required
    assert ben.refused == {"refused_certificate": 1}
    assert not serving.logs


def test_a_service_for_everybody_asks_for_no_certificate() -> None:
    world, _, ben, _, serving = world_of(mutual=False)
    client = Plain.client(world, 6, Shown.of(secret("guest")), alpn_protocols=[ALPN])
    client.connect(ben)
    world.run(1)
    assert client.completed
    assert serving.log.stream.peer is None
    assert serving.log.stream.chain == ()
    shown = client.quic.tls._peer_certificate
    assert shown is not None
    assert shown.public_key().public_bytes_raw() == secret("ben of the service").identity


def test_other_rules_may_follow_and_hold_for_those_who_come_later() -> None:
    world, anna, ben, calling, serving = world_of()
    call(world, anna, ben, calling)
    other = Side(secret("another ben"))
    ben.hub.serve(other.service)
    call(world, anna, ben, calling)
    assert len(serving.logs) == len(other.logs) == 1
    assert calling.log.stream.peer == secret("another ben").identity


def refuse(_chain: Sequence[bytes]) -> Identity:
    raise CertificateError("not a friend")


def fault(_chain: Sequence[bytes]) -> Identity:
    raise QpqError("no friend of ours")


@pytest.mark.parametrize(("judge", "words"), [(refuse, "not a friend"), (fault, "no friend of ours")])
def test_a_caller_whose_certificate_is_refused_hears_why(
    judge: Callable[[Sequence[bytes]], Identity], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    world, anna, ben, calling, serving = world_of(judge=judge)
    call(world, anna, ben, calling)
    assert calling.log.reason == f"refused by the peer: {words}"
    assert ben.refused == {"refused_certificate": 1}
    assert not serving.logs
    assert caplog.records[0].message == f"refused 10.0.0.1:7000: {words}"


def test_who_is_called_is_judged_too() -> None:
    world, anna, ben, calling, serving = world_of()
    calling.service = replace(calling.service, judge=refuse)
    call(world, anna, ben, calling)
    assert calling.failures == ["not a friend"]
    assert not calling.logs
    assert not serving.logs


def test_the_ticket_of_a_link_opens_no_service() -> None:
    world, anna, ben, _, serving = world_of()
    anna.dial(ben, ben.hub.own)
    world.run(1)
    bound = anna.hub.tickets.take(ben.hub.own, "", world.now)
    assert bound is not None
    quic = QuicConnection(configuration=plain_configuration(alpn_protocols=[ALPN], session_ticket=bound.ticket))
    client = Plain.client(world, 6, quic=quic)
    client.connect(ben)
    world.run(1)
    assert not serving.logs
    assert client.ended is not None
    assert client.ended.error_code == QuicErrorCode.CRYPTO_ERROR + AlertDescription.certificate_required


def test_a_service_gives_no_tickets() -> None:
    world, _, ben, _, serving = world_of()
    kept: list[Any] = []
    quic = QuicConnection(
        configuration=plain_configuration(Shown.of(secret("guest")), alpn_protocols=[ALPN]),
        session_ticket_handler=kept.append,
    )
    Plain.client(world, 6, quic=quic).connect(ben)
    world.run(1)
    assert serving.logs
    assert not kept
    assert not len(ben.hub.tickets)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"connections": 2}, f"this node has no room for more connections of {ALPN}"),
        ({"connections_a_source": 2}, f"too many connections of {ALPN} from this address"),
    ],
)
def test_each_service_has_room_for_so_many(limits: dict[str, int], words: str) -> None:
    world, anna, ben, calling, serving = world_of(**limits)
    for _ in range(3):
        call(world, anna, ben, calling)
    assert len(serving.logs) == 2
    assert calling.failures == [f"refused by the peer: {words}"]
    assert ben.refused == {"refused_crowded": 1}
    calling.logs[0].stream.close("enough")
    world.run(1)
    call(world, anna, ben, calling)
    assert len(serving.logs) == 3


def test_connections_of_a_service_take_no_places_of_links() -> None:
    world = World()
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2), links_a_host=2)
    calling, serving = Side(secret("a")), Side(secret("b"))
    ben.hub.serve(serving.service)
    for _ in range(4):
        call(world, anna, ben, calling)
    anna.dial(ben, ben.hub.own)
    world.run(1)
    assert anna.up
    assert ben.hub.sources.links == 5
    for log in calling.logs:
        log.stream.close("enough")
    world.run(1)
    assert ben.hub.sources.links == 1
    assert ben.hub.sources.half_open == 0


def test_too_many_dials_fail_a_call_too() -> None:
    world, anna, ben, calling, _ = world_of()
    for _ in range(LinkLimits().dials + 1):
        anna.hub.dial("there:7000", [ben.address], None, world.now, calling.service)
    world.run(0.001)
    assert calling.failures == ["too many dials at once"]


def test_a_call_goes_on_with_the_next_address() -> None:
    world, anna, ben, calling, serving = world_of()
    anna.hub.dial("there:7000", [host(99), ben.address], None, world.now, calling.service)
    world.run(20)
    assert serving.logs
    assert not calling.failures


def test_either_end_may_end_it_and_the_other_hears_why() -> None:
    world, anna, ben, calling, serving = world_of()
    call(world, anna, ben, calling)
    calling.log.stream.write(b"last words")
    calling.log.stream.close("enough")
    world.run(1)
    assert bytes(serving.log.got) == b"last words"
    assert calling.log.reason == "enough"
    assert serving.log.reason == "closed by the peer: none (enough)"
    calling.log.stream.write(b"nobody hears this")
    world.run(1)
    assert bytes(serving.log.got) == b"last words"


def test_who_closes_or_resumes_what_has_ended_does_nothing() -> None:
    world, anna, ben, calling, serving = world_of()
    call(world, anna, ben, calling)
    serving.log.stream.close("enough")
    world.run(1)
    stream = calling.log.stream
    stream.close("too late")
    stream.resume()
    world.run(1)
    assert calling.log.reason == "closed by the peer: none (enough)"
    assert not anna.hub.is_dirty


def test_a_caller_that_ends_its_half_has_ended_it() -> None:
    world, _, ben, _, serving = world_of()
    client = Plain.client(world, 6, Shown.of(secret("guest")), alpn_protocols=[ALPN])
    client.connect(ben)
    world.run(1)
    client.quic.send_stream_data(0, b"bye", end_stream=True)
    client.serve()
    world.run(1)
    assert bytes(serving.log.got) == b"bye"
    assert serving.log.reason == "the peer has ended it"


def test_a_second_stream_ends_the_connection() -> None:
    world, _, ben, _, serving = world_of()
    client = Plain.client(world, 6, Shown.of(secret("guest")), alpn_protocols=[ALPN])
    client.connect(ben)
    world.run(1)
    client.quic._remote_max_streams_bidi = 5
    client.quic.send_stream_data(4, b"more")
    client.serve()
    world.run(1)
    assert serving.log.reason


def test_a_writer_is_told_when_there_is_room_again() -> None:
    world, anna, ben, calling, serving = world_of()
    call(world, anna, ben, calling)
    stream = calling.log.stream
    assert not stream.is_full
    stream.write(bytes(FULL))
    assert stream.is_full
    world.run(5)
    assert calling.log.rooms == 1
    assert not stream.is_full
    assert len(serving.log.got) == FULL


def test_a_reader_that_pauses_holds_the_writer_back() -> None:
    world, anna, ben, calling, serving = world_of()
    call(world, anna, ben, calling)
    serving.log.stream.pause()
    calling.log.stream.write(bytes(4 * WINDOW))
    world.run(10)
    assert 0 < len(serving.log.got) <= WINDOW + WINDOW // 2
    serving.log.stream.resume()
    world.run(10)
    assert len(serving.log.got) == 4 * WINDOW


def test_a_writer_that_does_not_wait_loses_the_connection() -> None:
    world, anna, ben, calling, _ = world_of()
    call(world, anna, ben, calling)
    calling.log.stream.write(bytes(MAX_BACKLOG + 1))
    world.run(1)
    assert calling.log.reason == f"{MAX_BACKLOG + 1} bytes wait for acknowledgement"


def test_what_is_spoken_is_what_was_asked_for() -> None:
    world, anna, ben, calling, serving = world_of()
    other = replace(serving.service, alpn=OPEN)
    ben.hub.serve(other)
    anna.hub.dial("there:7000", [ben.address], None, world.now, calling.service)
    link = next(iter(anna.hub._links.values()))
    assert link.service is not None
    link.service = replace(link.service, alpn=OPEN)
    world.run(1)
    assert not calling.logs
    assert calling.failures == [f"{ALPN} was spoken instead of {OPEN}"]


def test_over_real_sockets_a_call_is_answered_and_one_to_nobody_fails() -> None:
    async def scenario() -> None:
        calling, serving = Side(secret("a")), Side(secret("b"))
        serving.answer = echo
        anna, ben = Endpoint(secret("anna"), _no_event), Endpoint(secret("ben"), _no_event)
        anna.listen("[::]:0")
        ben.listen("[::]:0")
        ben.serve(serving.service)
        try:
            anna.open(f"127.0.0.1:{ben.port}", calling.service)
            await _until(lambda: bool(calling.logs))
            calling.log.stream.write(b"hello")
            await _until(lambda: bytes(calling.log.got) == b"hello")
            anna.open("no address", calling.service)
            anna.open("127.0.0.1.invalid:7000", calling.service)
            await _until(lambda: len(calling.failures) == 2)
            serving.log.stream.close("enough")
            await _until(lambda: bool(calling.log.reason))
        finally:
            await anna.close_all(1)
            await ben.close_all(1)

    asyncio.run(asyncio.wait_for(scenario(), 30))


def _no_event(event: object) -> None:
    raise AssertionError(event)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (what is waited for is plain state)
        await asyncio.sleep(0.01)

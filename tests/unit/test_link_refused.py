"""What a hostile or merely foreign peer gets: one log line here, a reason there, and no link."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any

import pytest
from aioquic import tls
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import AlertDescription
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from link_world import (
    CHACHA,
    Node,
    Plain,
    Shown,
    World,
    host,
    linked,
    needs_cryptography,
    plain_configuration,
    secret,
)

from qpq.link.certificates import make_certificate
from qpq.link.connection import P2P_ALPN
from qpq.mesh.events import FrameReceived, LinkUp
from qpq.wire.codec import FrameEncoder
from qpq.wire.frames import CloseCode, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable

PING = Receipt(((b"s" * 16, b"h" * 32),))
MALLORY = secret("mallory")


def alert(description: AlertDescription) -> int:
    return int(QuicErrorCode.CRYPTO_ERROR + description)


def visit(quic: QuicConnection | None = None, shown: Shown | None = None, **settings: Any) -> tuple[World, Node, Plain]:
    """Let a plain client visit ben."""
    world = World()
    ben = Node(world, "ben", host(2))
    client = Plain.client(world, 6, shown, quic, **settings)
    client.connect(ben)
    world.run(2)
    return world, ben, client


def refused(caplog: pytest.LogCaptureFixture, ben: Node, words: str, counter: str) -> None:
    assert not ben.of(LinkUp)
    assert ben.hub.refusals.counters[counter] == 1
    lines = [record.message for record in caplog.records]
    assert len(lines) == 1
    assert lines[0] == f"refused 10.0.0.6:7000: {words}"


def certificate_of(key: Any) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "qpq")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36500))
    )
    algorithm = None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


# --- certificates -----------------------------------------------------------------------------


def test_a_client_without_a_certificate_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    _, ben, client = visit()
    refused(caplog, ben, "the certificate is empty", "refused_certificate")
    assert client.ended is not None
    assert client.ended.error_code == alert(AlertDescription.certificate_required)
    assert client.ended.reason_phrase == "the certificate is empty"


class Mute(QuicConnection):
    """A client that overhears the request for its certificate."""

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        context = self.tls
        original = context._client_handle_certificate_request

        def overhear(input_buf: Any) -> None:
            original(input_buf)
            context._certificate_request = None

        context._client_handle_certificate_request = overhear  # type: ignore[method-assign]


def test_a_client_that_skips_the_certificate_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    _, ben, client = visit(Mute(configuration=plain_configuration()))
    refused(caplog, ben, "no certificate was shown", "refused_certificate")
    assert client.ended is not None
    assert client.ended.reason_phrase == "no certificate was shown"


def test_several_certificates_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    shown = Shown.of(MALLORY)
    shown.chain.append(make_certificate(secret("ben")))
    _, ben, client = visit(shown=shown)
    refused(caplog, ben, "2 certificates instead of one", "refused_certificate")
    assert client.ended is not None
    assert client.ended.error_code == alert(AlertDescription.bad_certificate)


@needs_cryptography
def test_a_key_that_is_not_ed25519_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    class Elliptic(QuicConnection):
        def _initialize(self, peer_cid: bytes) -> None:
            super()._initialize(peer_cid)
            self.tls._signature_algorithms_for_private_key = lambda: [tls.SignatureAlgorithm.ED25519]  # type: ignore[method-assign]

    class Signer:
        def sign(self, *_: object) -> bytes:
            return bytes(64)

    configuration = plain_configuration(Shown([certificate_of(key)], Signer()))
    _, ben, _ = visit(Elliptic(configuration=configuration))
    refused(caplog, ben, "a signature that is not Ed25519", "refused_certificate")


def test_somebody_elses_certificate_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    anna = secret("anna")
    shown = Shown([make_certificate(anna)], Ed25519PrivateKey.from_private_bytes(MALLORY.seed))
    _, ben, client = visit(shown=shown)
    assert client.ended is not None
    assert client.ended.error_code == alert(AlertDescription.decrypt_error)
    assert not ben.of(LinkUp)
    assert ben.refused == {"refused_certificate": 1}
    assert len(caplog.records) == 1


def test_the_nodes_own_key_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    _, ben, _ = visit(shown=Shown.of(secret("ben")))
    refused(caplog, ben, "this is the node itself", "refused_self")


def test_a_huge_certificate_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    shown = Shown.of(MALLORY)
    configuration = plain_configuration(shown)

    class Huge:
        def public_bytes(self, _: object) -> bytes:
            return shown.chain[0] + bytes(2000)

    configuration.certificate = Huge()
    _, ben, _ = visit(QuicConnection(configuration=configuration))
    refused(caplog, ben, "a certificate of 2212 bytes, at most 1024 are read", "refused_certificate")


def test_a_certificate_two_readers_would_read_differently_is_refused(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qpq.link.connection.sole_identity", lambda _: secret("anna").identity)
    _, ben, _ = visit(shown=Shown.of(MALLORY))
    refused(caplog, ben, "a certificate that can be read in two ways", "refused_certificate")


@needs_cryptography
def test_a_foreign_certificate_of_an_ed25519_key_is_welcome() -> None:
    key = Ed25519PrivateKey.from_private_bytes(MALLORY.seed)
    _, ben, client = visit(shown=Shown([certificate_of(key)], key))
    assert client.completed
    assert ben.up.peer == MALLORY.identity


# --- what is spoken ---------------------------------------------------------------------------


@pytest.mark.parametrize("offered", [["h3"], ["quicproquo/p2p/2", "capnp"], [P2P_ALPN.upper()]])
def test_a_wrong_alpn_is_refused(caplog: pytest.LogCaptureFixture, offered: list[str]) -> None:
    _, ben, client = visit(shown=Shown.of(MALLORY), alpn_protocols=offered)
    refused(caplog, ben, "No common ALPN protocols", "refused_alpn")
    assert client.ended is not None
    assert client.ended.error_code == alert(AlertDescription.no_application_protocol)


def test_no_alpn_at_all_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    _, ben, _ = visit(shown=Shown.of(MALLORY), alpn_protocols=None)
    refused(caplog, ben, "No common ALPN protocols", "refused_alpn")


def test_the_right_alpn_among_others_is_found() -> None:
    _, ben, _ = visit(shown=Shown.of(MALLORY), alpn_protocols=["h3", P2P_ALPN])
    assert ben.up.peer == MALLORY.identity


def test_aes_is_not_spoken(caplog: pytest.LogCaptureFixture) -> None:
    _, ben, _ = visit(shown=Shown.of(MALLORY), cipher_suites=[tls.CipherSuite.AES_128_GCM_SHA256])
    refused(caplog, ben, "No supported cipher suite", "refused_handshake")


@needs_cryptography
def test_other_groups_than_x25519_are_not_spoken(caplog: pytest.LogCaptureFixture) -> None:
    class Nist(QuicConnection):
        def _initialize(self, peer_cid: bytes) -> None:
            super()._initialize(peer_cid)
            self.tls._supported_groups = [tls.Group.SECP256R1]

    _, ben, _ = visit(Nist(configuration=plain_configuration(Shown.of(MALLORY))))
    refused(caplog, ben, "No supported key share", "refused_handshake")


def test_an_unknown_version_is_answered_with_the_known_one_and_never_amplified() -> None:
    world = World()
    ben = Node(world, "ben", host(2))
    first = b"\xc0\x1a\x2a\x3a\x4a\x08" + b"d" * 8 + b"\x04" + b"s" * 4
    world.inject(first + bytes(1100), host(6), ben.address)
    world.run(1)
    assert not world.sent
    world.inject(first + bytes(1200), host(6), ben.address)
    world.run(1)
    assert len(world.sent) == 1
    answer = world.sent[0].data
    assert len(answer) < 40
    assert answer.endswith(b"\0\0\0\1")
    world.inject(answer + bytes(1200), host(6), ben.address)  # a version negotiation is not answered with another
    world.run(1)
    assert len(world.sent) == 1


def test_quic_version_2_is_led_to_version_1() -> None:
    world = World()
    ben = Node(world, "ben", host(2))
    client = Plain.client(world, 6, Shown.of(MALLORY), original_version=0x6B3343CF)
    client.connect(ben)
    world.run(2)
    assert client.completed
    assert ben.up.peer == MALLORY.identity


# --- the server's side of a dial --------------------------------------------------------------


def serve(world: World, shown: Shown, keep: Callable[..., None] | None = None, **settings: Any) -> Plain:
    """Return a plain aioquic server that answers one client."""

    class Server(Plain):
        def receive(self, data: bytes, source: Any) -> None:
            if self.quic is None:
                configuration = plain_configuration(shown, is_client=False, **settings)
                length = data[5]
                self.quic = QuicConnection(
                    configuration=configuration,
                    original_destination_connection_id=data[6 : 6 + length],
                    session_ticket_handler=keep,
                )
            super().receive(data, source)

        def timer_at(self) -> float:
            return float("inf") if self.quic is None else super().timer_at()

        def serve(self) -> None:
            if self.quic is not None:
                super().serve()

    return Server(world, host(6), None)  # type: ignore[arg-type]


def test_a_server_with_another_key_than_the_one_dialled_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    anna = Node(world, "anna", host(1))
    server = serve(world, Shown.of(MALLORY))
    anna.dial(server, secret("ben").identity)
    world.run(2)
    assert anna.failed == ["another key than the one dialled"]
    assert not anna.of(LinkUp)
    assert anna.refused == {"refused_other_key": 1}
    assert [record.message for record in caplog.records] == ["refused peer:7000: another key than the one dialled"]
    assert server.ended is not None
    assert server.ended.reason_phrase == "another key than the one dialled"


def test_the_own_certificate_is_not_shown_to_a_server_that_was_not_dialled() -> None:
    world = World()
    anna, mallory = Node(world, "anna", host(1)), Node(world, "mallory", host(6))
    judged: list[Any] = []
    mallory.hub._begin = wrap(mallory.hub._begin, mallory, judged)  # type: ignore[method-assign]
    anna.dial(mallory, secret("ben").identity)
    world.run(2)
    assert anna.failed == ["another key than the one dialled"]
    assert judged
    assert all(link.quic.tls._peer_certificate is None for link in judged)


def wrap(begin: Callable[..., None], node: Node, seen: list[Any]) -> Callable[..., None]:
    def begin_and_see(*arguments: Any) -> None:
        begin(*arguments)
        seen.extend(node.hub._links.values())

    return begin_and_see


def test_a_server_that_wants_no_client_certificate_still_proves_its_own() -> None:
    world = World()
    anna = Node(world, "anna", host(1))
    server = serve(world, Shown.of(MALLORY))
    anna.dial(server, MALLORY.identity)
    world.run(2)
    assert anna.up.peer == MALLORY.identity


def test_a_server_with_another_alpn_fails_the_dial() -> None:
    world = World()
    anna = Node(world, "anna", host(1))
    server = serve(world, Shown.of(MALLORY), alpn_protocols=["h3"])
    anna.dial(server)
    world.run(2)
    assert anna.failed == ["refused by the peer: No common ALPN protocols"]


# --- tickets and 0-RTT ------------------------------------------------------------------------


def with_ticket(world: World, ben: Node, shown: Shown, number: int = 6) -> tls.SessionTicket:
    """Let a plain client link once and return the ticket it got."""
    tickets: list[tls.SessionTicket] = []
    quic = QuicConnection(configuration=plain_configuration(shown), session_ticket_handler=tickets.append)
    client = Plain.client(world, number, quic=quic)
    client.connect(ben)
    world.run(1)
    client.quic.close()
    world.run(1)
    assert client.completed
    return tickets[0]


def test_a_plain_client_resumes_once_and_the_replayed_ticket_is_worth_nothing() -> None:
    world = World()
    ben = Node(world, "ben", host(2))
    ticket = with_ticket(world, ben, Shown.of(MALLORY))
    assert ticket.max_early_data_size is None
    first = Plain.client(world, 7, Shown.of(MALLORY), session_ticket=ticket)
    first.connect(ben)
    world.run(1)
    assert ben.up.resumed
    assert ben.up.peer == MALLORY.identity
    second = Plain.client(world, 8, Shown.of(MALLORY), session_ticket=ticket)
    second.connect(ben)
    world.run(1)
    assert len(ben.of(LinkUp)) == 3
    assert not ben.up.resumed
    assert ben.up.peer == MALLORY.identity


def test_a_replayed_ticket_without_a_certificate_is_refused() -> None:
    world = World()
    ben = Node(world, "ben", host(2))
    ticket = with_ticket(world, ben, Shown.of(MALLORY))
    for number in (7, 8):
        client = Plain.client(world, number, session_ticket=ticket)
        client.connect(ben)
        world.run(1)
    assert len(ben.of(LinkUp)) == 2
    assert ben.refused == {"refused_certificate": 1}


def test_a_replayed_first_packet_is_no_link() -> None:
    world = World()
    ben = Node(world, "ben", host(2))
    ticket = with_ticket(world, ben, Shown.of(MALLORY))
    client = Plain.client(world, 7, session_ticket=ticket)
    client.connect(ben)
    world.run(1)
    first = next(sent for sent in world.sent if sent.source == host(7))
    before = len(ben.of(LinkUp))
    client.quic.close()
    world.run(10)
    world.inject(first.data, host(7), ben.address)
    world.run(15)
    assert len(ben.of(LinkUp)) == before
    assert not ben.hub._links


def test_the_identity_of_a_resumed_link_is_the_tickets_whatever_certificate_the_client_has() -> None:
    world = World()
    ben = Node(world, "ben", host(2))
    ticket = with_ticket(world, ben, Shown.of(MALLORY))
    client = Plain.client(world, 7, Shown.of(secret("anna")), session_ticket=ticket)
    client.connect(ben)
    world.run(1)
    assert ben.up.resumed
    assert ben.up.peer == MALLORY.identity


def test_a_stolen_name_of_a_ticket_without_its_secret_is_refused() -> None:
    world = World()
    ben = Node(world, "ben", host(2))
    ticket = with_ticket(world, ben, Shown.of(secret("anna")))
    ticket.resumption_secret = os.urandom(32)
    thief = Plain.client(world, 7, Shown.of(MALLORY), session_ticket=ticket)
    thief.connect(ben)
    world.run(1)
    assert len(ben.of(LinkUp)) == 1
    assert ben.refused == {"refused_handshake": 1}
    assert thief.ended is not None


def test_a_ticket_of_another_node_is_ignored() -> None:
    world = World()
    ben, carla = Node(world, "ben", host(2)), Node(world, "carla", host(3))
    ticket = with_ticket(world, carla, Shown.of(MALLORY))
    client = Plain.client(world, 7, Shown.of(MALLORY), session_ticket=ticket)
    client.connect(ben)
    world.run(1)
    assert not ben.up.resumed
    assert ben.up.peer == MALLORY.identity


def test_offered_0_rtt_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    ben = Node(world, "ben", host(2))
    ticket = with_ticket(world, ben, Shown.of(MALLORY))
    ticket.max_early_data_size = 0xFFFFFFFF
    client = Plain.client(world, 6, Shown.of(MALLORY), session_ticket=ticket)
    client.connect(ben)
    client.quic.send_stream_data(0, FrameEncoder(MALLORY.identity, ben.hub.own).encode(PING))
    ben.events.clear()
    world.run(2)
    refused(caplog, ben, "0-RTT is not accepted", "refused_handshake")
    assert not ben.of(FrameReceived)


def test_0_rtt_without_a_known_ticket_is_dropped_and_the_link_made_in_full() -> None:
    world = World()
    ben, carla = Node(world, "ben", host(2)), Node(world, "carla", host(3))
    ticket = with_ticket(world, carla, Shown.of(MALLORY))
    ticket.max_early_data_size = 0xFFFFFFFF
    client = Plain.client(world, 6, Shown.of(MALLORY), session_ticket=ticket)
    client.connect(ben)
    world.run(2)
    assert ben.up.peer == MALLORY.identity
    assert not ben.up.resumed


def test_a_server_that_invites_to_0_rtt_is_not_heard() -> None:
    world = World()
    anna = Node(world, "anna", host(1))
    kept: list[tls.SessionTicket] = []
    server = serve(world, Shown.of(MALLORY), kept.append)
    anna.dial(server, MALLORY.identity)
    world.run(2)
    assert kept[0].max_early_data_size == 0xFFFFFFFF
    bound = anna.hub.tickets.take(MALLORY.identity, "", world.now)
    assert bound is not None
    assert bound.ticket.max_early_data_size is None


# --- on a link --------------------------------------------------------------------------------


def guest(**settings: Any) -> tuple[World, Node, Plain]:
    """Return a world in which a plain client has a link to ben."""
    world, ben, client = visit(shown=Shown.of(MALLORY), **settings)
    assert ben.up.peer == MALLORY.identity
    return world, ben, client


def closed(ben: Node, reason: str, counter: str) -> None:
    assert ben.down == [reason]
    assert ben.refused == {counter: 1}


def test_a_malformed_frame_closes_the_link_with_the_faults_name(caplog: pytest.LogCaptureFixture) -> None:
    world, ben, client = guest()
    client.quic.send_stream_data(0, b"\x02\xff\xff")
    world.run(1)
    assert len(ben.down) == 1
    assert client.ended is not None
    assert client.ended.error_code == CloseCode.MALFORMED
    assert client.ended.reason_phrase == ben.down[0]
    assert [record.message for record in caplog.records] == [f"closed 10.0.0.6:7000: {ben.down[0]}"]


def test_a_frame_longer_than_allowed_closes_the_link_before_it_is_held() -> None:
    world, ben, client = guest()
    client.quic.send_stream_data(0, b"\x80\x01\x00\x00" + bytes(100))
    world.run(1)
    closed(ben, "a frame of 65536 bytes, at most 33024 are allowed", "closed_malformed")


def test_an_unknown_critical_frame_closes_the_link_with_its_code() -> None:
    world, ben, client = guest()
    client.quic.send_stream_data(0, b"\x03\x81\x18\x64")
    world.run(1)
    assert client.ended is not None
    assert client.ended.error_code == CloseCode.UNKNOWN_CRITICAL
    assert ben.refused == {"closed_malformed": 1}


def test_nothing_is_handed_out_after_the_fault() -> None:
    world, ben, client = guest()
    encoder = FrameEncoder(MALLORY.identity, ben.hub.own)
    client.quic.send_stream_data(0, encoder.encode(PING))
    world.run(1)
    client.quic.send_stream_data(0, b"\x02\xff\xff")
    client.quic.send_stream_data(0, encoder.encode(PING))
    world.run(1)
    assert ben.frames == [PING]


@pytest.mark.parametrize("stream", [4, 2, 400])
def test_another_stream_closes_the_link(stream: int) -> None:
    world, ben, client = guest()
    client.quic._remote_max_streams_bidi = client.quic._remote_max_streams_uni = 1000
    client.quic._remote_max_stream_data_uni = 1000
    client.quic.send_stream_data(0, b"\x01")
    client.quic.send_stream_data(stream, b"\x01")
    world.run(1)
    closed(ben, "Too many streams open", "closed_protocol")


def test_a_datagram_frame_closes_the_link() -> None:
    world, ben, client = guest()
    client.quic.send_datagram_frame(b"hi")
    world.run(1)
    closed(ben, "Unexpected DATAGRAM frame", "closed_protocol")


def test_a_stream_that_ends_ends_the_link() -> None:
    world, ben, client = guest()
    client.quic.send_stream_data(0, FrameEncoder(MALLORY.identity, ben.hub.own).encode(PING), end_stream=True)
    world.run(1)
    assert ben.frames == [PING]
    closed(ben, "the stream was ended", "closed_protocol")
    assert client.ended is not None
    assert client.ended.error_code == CloseCode.NOT_PERMITTED


def test_a_stream_that_is_broken_off_ends_the_link() -> None:
    world, ben, client = guest()
    client.quic.send_stream_data(0, b"\x05")
    client.quic.reset_stream(0, 1)
    world.run(1)
    closed(ben, "the stream was broken off", "closed_protocol")


def test_a_peer_that_will_not_listen_is_closed() -> None:
    world, ben, client = guest()
    client.quic.send_stream_data(0, FrameEncoder(MALLORY.identity, ben.hub.own).encode(PING))
    client.quic.stop_stream(0, 1)
    world.run(1)
    closed(ben, "the stream was broken off", "closed_protocol")


def test_a_slow_reader_is_closed_before_it_costs_memory() -> None:
    world = World()
    ben = Node(world, "ben", host(2), send_buffer=20_000)
    client = Plain.client(world, 6, Shown.of(MALLORY), max_stream_data=2000)
    client.connect(ben)
    world.run(1)
    client.quic._write_stream_limits = lambda **_: None  # type: ignore[method-assign]
    client.quic.send_stream_data(0, FrameEncoder(MALLORY.identity, ben.hub.own).encode(PING))
    world.run(1)
    written = 0
    while not ben.down:
        assert ben.hub.write(ben.up.link, [PING])
        written += 1
        world.run(0.1)
    assert written * 53 < 20_000 + 2000 + 100
    assert ben.refused == {"closed_slow": 1}
    world.run(1)
    assert client.ended is not None
    assert client.ended.error_code == CloseCode.TOO_SLOW


def test_a_peer_that_takes_nothing_for_a_minute_is_closed() -> None:
    world = World()
    ben = Node(world, "ben", host(2))
    client = Plain.client(world, 6, Shown.of(MALLORY), max_stream_data=100)
    client.connect(ben)
    world.run(1)
    client.quic._write_stream_limits = lambda **_: None  # type: ignore[method-assign]
    client.quic.send_stream_data(0, FrameEncoder(MALLORY.identity, ben.hub.own).encode(PING))
    world.run(1)
    ben.hub.write(ben.up.link, [PING] * 5)
    for _ in range(58):
        client.quic.send_ping(1)
        world.run(1)
    assert not ben.down
    world.run(3)
    closed(ben, "nothing was taken for 60 s", "closed_slow")


def test_what_a_peer_holds_back_in_the_middle_is_bounded() -> None:
    world, ben, client = guest()
    window = ben.hub.limits.receive_window
    client.quic.send_stream_data(0, b"\x05")
    world.run(1)
    client.quic._streams[0].max_stream_data_remote = client.quic._remote_max_data = 10**9
    client.quic._streams[0].sender._buffer_start = client.quic._streams[0].sender._buffer_stop = 10 * window
    client.quic.send_stream_data(0, b"far ahead")
    world.run(1)
    closed(ben, "Over stream data limit", "closed_protocol")


def test_a_window_does_not_grow_with_what_was_received() -> None:
    world, anna, ben = linked()
    for _ in range(2000):
        anna.hub.write(anna.up.link, [PING] * 4)
        world.run(0.02)
    stream = ben.hub._links[1].quic._streams[0]
    assert len(ben.frames) == 8000
    assert stream.receiver.starting_offset() > 4 * ben.hub.limits.receive_window
    assert stream.max_stream_data_local <= stream.receiver.starting_offset() + ben.hub.limits.receive_window


def test_a_handshake_that_wants_too_much_memory_is_ended() -> None:
    for start, size in ((500_000, 10), (0, 1100)):
        world = World()
        ben = Node(world, "ben", host(2))
        client = Plain.client(world, 6, Shown.of(MALLORY))
        client.connect(ben)
        sender = client.quic._crypto_streams[tls.Epoch.INITIAL].sender
        if start:
            sender._buffer_start = sender._buffer_stop = sender._buffer_stop + start
            sender.write(bytes(size))
        else:  # one endless message
            sender._buffer[0:4] = b"\x01\xff\xff\xff"
            for _ in range(20):
                sender.write(bytes(size))
        world.run(3)
        assert not ben.of(LinkUp)
        assert ben.refused == {"refused_handshake": 1}
        assert client.ended is not None
        assert client.ended.error_code == QuicErrorCode.CRYPTO_BUFFER_EXCEEDED


def test_what_makes_the_library_stumble_costs_that_peer_only(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, anna, ben = linked()
    client = Plain.client(world, 6, Shown.of(MALLORY))
    client.connect(ben)
    world.run(1)
    stumbling = next(link for link in ben.hub._links.values() if link.peer == MALLORY.identity)

    def stumble(*_: object, **__: object) -> None:
        raise IndexError

    monkeypatch.setattr(stumbling.quic, "_payload_received", stumble)
    client.quic.send_ping(1)
    world.run(1)
    assert ben.down == ["packets that cannot be handled (IndexError)"]
    assert ben.refused == {"closed_fault": 1}
    anna.hub.write(anna.up.link, [PING])
    world.run(1)
    assert ben.frames == [PING]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("method", ["datagrams_to_send", "handle_timer"])
def test_a_stumble_while_sending_costs_that_peer_only(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world, anna, _ = linked()

    def stumble(*_: object, **__: object) -> None:
        raise KeyError

    monkeypatch.setattr(anna.hub._links[1].quic, method, stumble)
    world.lose = lambda _: True
    anna.hub.write(anna.up.link, [PING])
    world.run(1)
    assert anna.down == ["packets that cannot be handled (KeyError)"]


def test_the_librarys_own_log_lines_stay_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    world, ben, client = guest(cipher_suites=CHACHA)
    client.quic._logger = ben.hub._links[1].quic._logger
    caplog.clear()
    client.quic.send_datagram_frame(b"hi")
    world.run(1)
    assert [record.name for record in caplog.records if record.name != "quic"] == ["qpq.link"]
    assert not [record for record in caplog.records if record.name == "quic"]

"""A network without a network: hubs and plain aioquic clients on virtual wires and virtual time."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import os
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import pytest

import qpq.link.imports  # noqa: F401 (before aioquic, as in a node: see qpq.link.imports)

# isort: split
from aioquic import tls
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, QuicEvent
from aioquic.tls import CipherSuite
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509 import load_der_x509_certificate

from qpq.crypto.identity import SecretIdentity
from qpq.link.certificates import make_certificate
from qpq.link.connection import P2P_ALPN
from qpq.link.hub import Hub
from qpq.link.limits import LinkLimits
from qpq.link.ports import Notice
from qpq.mesh.events import DialFailed, FrameReceived, LinkDown, LinkUp

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import Identity
    from qpq.link.sources import SockAddr
    from qpq.mesh.events import Event
    from qpq.wire.frames import Frame

STAND_INS = os.environ.get("QPQ_SHIMS") == "1"
needs_cryptography = pytest.mark.skipif(STAND_INS, reason="it makes what only the real package cryptography makes")

NEVER = float("inf")
CHACHA = [CipherSuite.CHACHA20_POLY1305_SHA256]

# A plain client offers key shares on curves. A node loads no curves, so the library in this process gets what makes
# such shares; what reads them stays as a node has it.
CURVES = {
    tls.Group.SECP256R1: ec.SECP256R1,
    tls.Group.SECP384R1: ec.SECP384R1,
    tls.Group.SECP521R1: ec.SECP521R1,
}
tls.ec.generate_private_key = ec.generate_private_key
tls.GROUP_TO_CURVE.update(CURVES)
tls.CURVE_TO_GROUP.update({curve: group for group, curve in CURVES.items()})


def _on_x25519(make: Callable[..., None]) -> Callable[..., None]:
    """Return what makes a TLS context, but for the curves, which stand-ins for packages do not have."""

    @wraps(make)
    def init(self: tls.Context, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        self._supported_groups = [tls.Group.X25519]

    return init


if STAND_INS:
    tls.Context.__init__ = _on_x25519(tls.Context.__init__)  # type: ignore[method-assign]


def secret(name: str) -> SecretIdentity:
    """Return the same identity for the same name."""
    return SecretIdentity(hashlib.sha256(name.encode()).digest())


def host(number: int, port: int = 7000) -> SockAddr:
    """Return the address of host 10.0.0.``number`` as a dual-stack socket tells it."""
    return (f"::ffff:10.0.0.{number}", port, 0, 0)


@dataclass
class Sent:
    """One datagram that somebody put on the wire."""

    at: float
    source: SockAddr
    destination: SockAddr
    data: bytes


class Party:
    """Somebody with an address."""

    def __init__(self, world: World, address: SockAddr) -> None:
        self.world = world
        self.address = address
        world.parties.append(self)

    def receive(self, data: bytes, source: SockAddr) -> None:
        raise NotImplementedError

    def timer_at(self) -> float:
        return NEVER

    def ring(self) -> None:
        raise NotImplementedError

    def serve(self) -> None:
        raise NotImplementedError

    def put(self, data: bytes, destination: SockAddr, _local: bytes = b"") -> str:
        return self.world.put(self, data, destination)


class World:
    """Delivers datagrams ``delay`` seconds later, unless ``lose`` says otherwise; keeps all in ``sent``."""

    def __init__(self, delay: float = 0.005) -> None:
        self.now = 1000.0
        self.delay = delay
        self.lose: Callable[[Sent], bool] = lambda _: False
        self.sent: list[Sent] = []
        self.parties: list[Party] = []
        self._queue: list[tuple[float, int, Sent]] = []
        self._order = itertools.count()

    def put(self, party: Party, data: bytes, destination: SockAddr) -> str:
        sent = Sent(self.now, party.address, destination, data)
        self.sent.append(sent)
        if not self.lose(sent):
            heapq.heappush(self._queue, (self.now + self.delay, next(self._order), sent))
        return ""

    def inject(self, data: bytes, source: SockAddr, destination: SockAddr) -> None:
        heapq.heappush(self._queue, (self.now, next(self._order), Sent(self.now, source, destination, data)))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass; everything due happens in order."""
        end = self.now + seconds
        turns, last = 0, -1.0
        for party in self.parties:
            party.serve()
        while not until():
            timer_at = min(party.timer_at() for party in self.parties)
            at = min(self._queue[0][0] if self._queue else NEVER, timer_at)
            if at > end:
                self.now = end
                return
            self.now = max(self.now, at)
            turns, last = (turns + 1 if self.now == last else 0), self.now
            assert turns < 1000, f"time stands still at {self.now}: a timer is asked for that is never done with"
            touched = self._deliver()
            for party in self.parties:
                if party.timer_at() <= self.now:
                    party.ring()
                    touched.add(party)
            for party in self.parties:
                if party in touched:
                    party.serve()

    def _deliver(self) -> set[Party]:
        touched = set()
        while self._queue and self._queue[0][0] <= self.now:
            sent = heapq.heappop(self._queue)[2]
            for party in self.parties:
                if party.address == sent.destination:
                    party.receive(sent.data, sent.source)
                    touched.add(party)
        return touched


class Node(Party):
    """A hub with an identity; keeps its events, and answers them with ``on_event``."""

    def __init__(self, world: World, name: str, address: SockAddr, **limits: Any) -> None:
        super().__init__(world, address)
        self.secret = secret(name)
        self.hub = Hub(self.secret, replace(LinkLimits(), **limits), self.put, world.now)
        self.events: list[Event] = []
        self.on_event: Callable[[Event], None] = lambda _: None

    def receive(self, data: bytes, source: SockAddr) -> None:
        self.hub.receive(data, source, self.world.now)

    def timer_at(self) -> float:
        return self.hub.timer_at

    def ring(self) -> None:
        self.hub.handle_timers(self.world.now)

    def serve(self) -> None:
        self.hub.collect()
        while self.hub.events or self.hub.is_dirty:
            while self.hub.events:
                event = self.hub.events.popleft()
                if isinstance(event, Notice):
                    event.tell()
                    continue
                self.events.append(event)
                self.on_event(event)
            self.hub.transmit(self.world.now)

    def dial(self, other: Party, identity: Identity | None = None, text: str = "peer:7000") -> None:
        self.hub.dial(text, [other.address], identity, self.world.now)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    @property
    def up(self) -> LinkUp:
        last: LinkUp = self.of(LinkUp)[-1]
        return last

    @property
    def down(self) -> list[str]:
        return [event.reason for event in self.of(LinkDown)]

    @property
    def failed(self) -> list[str]:
        return [event.reason for event in self.of(DialFailed)]

    @property
    def frames(self) -> list[Frame]:
        return [event.frame for event in self.of(FrameReceived)]

    @property
    def refused(self) -> dict[str, int]:
        return {name: n for name, n in self.hub.refusals.counters.items() if name.startswith(("refused", "closed"))}


def linked(delay: float = 0.005, **limits: Any) -> tuple[World, Node, Node]:
    """Return a world in which anna has dialled ben and the link is up."""
    world = World(delay)
    anna, ben = Node(world, "anna", host(1), **limits), Node(world, "ben", host(2), **limits)
    anna.dial(ben, ben.hub.own)
    world.run(1)
    assert anna.up.peer == ben.hub.own
    assert ben.up.peer == anna.hub.own
    return world, anna, ben


@dataclass
class Shown:
    """What a plain client shows: certificates (DER) and the key it signs with."""

    chain: list[bytes] = field(default_factory=list)
    key: Any = None

    @classmethod
    def of(cls, owner: SecretIdentity) -> Shown:
        return cls([make_certificate(owner)], Ed25519PrivateKey.from_private_bytes(owner.seed))


def plain_configuration(shown: Shown | None = None, **settings: Any) -> QuicConfiguration:
    """Return a plain client's configuration, for the ALPN of links unless ``settings`` say otherwise."""
    configuration = QuicConfiguration(is_client=True, alpn_protocols=[P2P_ALPN], verify_mode=0, cipher_suites=CHACHA)
    if shown is not None:
        certificates = [load_der_x509_certificate(der) for der in shown.chain]
        configuration.certificate = certificates[0]
        configuration.certificate_chain = certificates[1:]
        configuration.private_key = shown.key
    for name, value in settings.items():
        setattr(configuration, name, value)
    return configuration


class Plain(Party):
    """A plain aioquic client, or server, without any rule of ours."""

    def __init__(self, world: World, address: SockAddr, quic: QuicConnection) -> None:
        super().__init__(world, address)
        self.quic = quic
        self.events: list[QuicEvent] = []

    @classmethod
    def client(
        cls, world: World, number: int, shown: Shown | None = None, quic: QuicConnection | None = None, **settings: Any
    ) -> Plain:
        return cls(world, host(number), quic or QuicConnection(configuration=plain_configuration(shown, **settings)))

    def connect(self, other: Party) -> None:
        self.quic.connect(other.address, self.world.now)

    def receive(self, data: bytes, source: SockAddr) -> None:
        self.quic.receive_datagram(data, source, self.world.now)

    def timer_at(self) -> float:
        if self.quic.get_peer_address() is None:
            return NEVER
        return self.quic.get_timer() or NEVER

    def ring(self) -> None:
        self.quic.handle_timer(self.world.now)

    def serve(self) -> None:
        while (event := self.quic.next_event()) is not None:
            self.events.append(event)
        if self.quic.get_peer_address() is not None:
            for data, address in self.quic.datagrams_to_send(self.world.now):
                self.put(data, address)

    @property
    def completed(self) -> bool:
        return any(isinstance(event, HandshakeCompleted) for event in self.events)

    @property
    def ended(self) -> ConnectionTerminated | None:
        return next((event for event in self.events if isinstance(event, ConnectionTerminated)), None)


def first_packet(destination: SockAddr, now: float) -> bytes:
    """Return the first datagram of a plain client that will never go on."""
    quic = QuicConnection(configuration=plain_configuration(Shown.of(secret("mallory"))))
    quic.connect(destination, now)
    return quic.datagrams_to_send(now)[0][0]

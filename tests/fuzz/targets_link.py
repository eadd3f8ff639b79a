"""What reaches the socket of links: datagrams, what their first packets hold, and certificates."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicProtocolVersion

from qpq.crypto.identity import SecretIdentity
from qpq.link.certificates import identity_of, sole_identity
from qpq.link.errors import CertificateError
from qpq.link.hub import Hub
from qpq.link.limits import LinkLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.link.sources import SockAddr

NODE = SecretIdentity(b"n" * 32)
CALLER: SockAddr = ("fe80::1", 7000, 0, 2)
DESTINATION, SOURCE = b"destinat", b"sour"
LEAST_DATAGRAM = 1200
TAG_BYTES = 16
NUMBER = bytes(4)


def certificate(data: bytes) -> None:
    with contextlib.suppress(CertificateError):
        identity = identity_of(data)
        assert len(identity) == 32
        assert identity in data
        assert sole_identity([data]) == identity


def datagram(data: bytes) -> None:
    """Receive a datagram as it is, and again as long as a first one must be."""
    _receive(data)
    _receive(data.ljust(LEAST_DATAGRAM, b"\0"))


def initial(data: bytes) -> None:
    """Receive a first packet that is rightly protected and holds ``data``: QUIC frames, TLS in them."""
    pair = CryptoPair()
    pair.setup_initial(cid=DESTINATION, is_client=True, version=QuicProtocolVersion.VERSION_1)
    head = b"\xc3\x00\x00\x00\x01" + bytes([len(DESTINATION)]) + DESTINATION + bytes([len(SOURCE)]) + SOURCE + b"\0"
    payload = data.ljust(LEAST_DATAGRAM - len(head) - 2 - len(NUMBER) - TAG_BYTES, b"\0")
    size = len(payload) + len(NUMBER) + TAG_BYTES
    plain = head + (size | 0x4000).to_bytes(2, "big") + NUMBER
    _receive(pair.encrypt_packet(plain, payload, 0))


def _receive(data: bytes) -> None:
    """Give a node one datagram and let its time pass; all it keeps must be gone after that."""
    logging.getLogger("qpq.link").disabled = True
    answers: list[bytes] = []

    def send(answer: bytes, *_where: object) -> str:
        answers.append(answer)
        return ""

    hub = Hub(NODE, LinkLimits(), send, 1000.0)
    try:
        hub.receive(data, CALLER, 1000.0)
        hub.collect()
        hub.transmit(1000.0)
        assert sum(map(len, answers)) <= 3 * max(len(data), LEAST_DATAGRAM)
        for now in (1000.5, 1002.0, 1011.0, 1300.0):
            hub.handle_timers(now)
            hub.collect()
            hub.transmit(now)
        assert not hub.numbers()
        assert not hub.events
    finally:
        logging.getLogger("qpq.link").disabled = False


TARGETS: dict[str, Callable[[bytes], None]] = {"certificate": certificate, "datagram": datagram, "initial": initial}

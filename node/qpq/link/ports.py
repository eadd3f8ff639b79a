"""What a link and the hub it belongs to are to each other, and what both tell others."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from qpq.netaddress import NetAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import Identity
    from qpq.link.aioquic_private import LinkConnection
    from qpq.link.aioquic_private_tls import Trust
    from qpq.link.connection import Link
    from qpq.link.limits import LinkLimits
    from qpq.link.sources import Local, SockAddr
    from qpq.link.streams import Service
    from qpq.link.tickets import TicketStore

    Send: TypeAlias = Callable[[bytes, SockAddr, Local], str]
    """Puts a datagram on the wire, from one of the own addresses; returns why that cannot work, or nothing."""


NEVER: Final = float("inf")
"""A time that does not come, on any clock."""
_STREAM: Final = 0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an end shows: certificates (DER), its own first, and the seed of the Ed25519 key in that."""

    chain: tuple[bytes, ...]
    seed: bytes


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a stream's handler is told, in the order of all events."""

    tell: Callable[[], None]


class Phase(Enum):
    """How far a link has come."""

    HANDSHAKE = 0
    UP = 1
    ENDED = 2


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A link for people: ``rtt`` in seconds (None: unknown), UDP payload bytes, ``backlog`` bytes unacknowledged."""

    link: int
    peer: Identity
    address: str
    initiator: bool
    resumed: bool
    rtt: float | None
    sent_bytes: int
    received_bytes: int
    backlog: int


def row_of(link: Link, peer: Identity) -> LinkRow:
    """Return a link that is up for people."""
    at = link.quic.get_peer_address()
    address = str(NetAddress.from_sockaddr(at)) if at else link.address
    return LinkRow(
        link.number, peer, address, link.initiator, link.resumed,
        link.quic.rtt, link.sent_bytes, link.received_bytes, link.backlog,
    )  # fmt: skip


class Host(Protocol):
    """What a link asks of the hub it belongs to."""

    own: Identity
    limits: LinkLimits
    tickets: TicketStore
    trust: dict[str, Trust]

    def service(self, alpn: str, link: Link) -> Service | None:
        """Return what serves a caller of this ALPN, None for links; raises CrowdedError."""
        ...

    def press(self, link: Link) -> None:
        """Have ``transmit`` called for a link."""
        ...

    def new_connection_id(self, link: Link) -> bytes:
        """Return an id that leads to ``link``."""
        ...

    def release_connection_id(self, connection_id: bytes) -> None:
        """Forget an id."""
        ...

    def chance(self) -> float:
        """Return a random number from 0 to 1."""
        ...


class Outlet:
    """Hands bytes to the connection, and keeps them until there is a stream."""

    __slots__ = ("_bytes", "_parts", "_quic")

    def __init__(self, quic: LinkConnection) -> None:
        self._quic = quic
        self._parts: list[bytes] = []
        self._bytes = 0

    @property
    def backlog(self) -> int:
        """Bytes that wait for the peer's acknowledgement, sent or not."""
        return self._quic.backlog + self._bytes

    @property
    def owed(self) -> int:
        """Bytes of the backlog that the peer is expected to acknowledge by itself: not of what leans."""
        return self._bytes if self._quic.is_resting else self.backlog

    def put(self, data: bytes) -> None:
        """Queue bytes behind all others."""
        if self._quic.has_stream and not self._parts:
            self._quic.send_stream_data(_STREAM, data)
        else:
            self._parts.append(data)
            self._bytes += len(data)

    def flush(self) -> None:
        """Hand over what waited for the stream, if that is there."""
        if self._parts and self._quic.has_stream:
            self._quic.send_stream_data(_STREAM, b"".join(self._parts))
            self._parts.clear()
            self._bytes = 0

"""Connections that are no links: one stream of bytes each, of an ALPN whose rules a service brings along.

A service says what this end shows, who may be at the other end, and who gets the bytes. All services share the node's
one UDP port with its links; one that nobody has registered is refused like any unknown ALPN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from qpq.errors import QpqError
from qpq.link.aioquic_private_tls import Trust
from qpq.link.errors import CertificateError, CrowdedError
from qpq.link.ports import Notice
from qpq.link.refusals import Refusal, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aioquic.quic.events import HandshakeCompleted

    from qpq.crypto.identity import Identity
    from qpq.link.connection import Link
    from qpq.link.ports import Credentials

WINDOW: Final = 256 * 1024
"""Bytes a peer may have under way on a service's stream."""
FULL: Final = 256 * 1024
"""Bytes that wait for acknowledgement, from which on a writer should wait for ``room``."""
ROOM: Final = 64 * 1024
"""Bytes below which a writer that was told to wait is called."""
MAX_BACKLOG: Final = 24 << 20
"""Bytes that wait for acknowledgement at most; a writer that goes on all the same loses the connection."""


class StreamHandler(Protocol):
    """Who gets what comes over a stream. Called from the event loop, never from inside a command."""

    def received(self, data: bytes) -> None:
        """Take the next bytes."""
        ...

    def room(self) -> None:
        """Go on writing: little waits for acknowledgement, after ``is_full`` had been seen."""
        ...

    def ended(self, reason: str) -> None:
        """Take note that the connection is gone; nothing follows."""
        ...


@dataclass(frozen=True, slots=True)
class Service:
    """The rules of one ALPN: for those who call, or for one call to somebody.

    ``credentials`` is asked at each handshake. ``judge`` gets the other end's certificates (DER), its own first, and
    returns the key in that or raises CertificateError; a caller shows none unless ``mutual``. ``opened`` is
    called once the other end has proven it; ``failed`` with the reason when a call does not get that far.
    """

    alpn: str
    credentials: Callable[[], Credentials]
    judge: Callable[[Sequence[bytes]], Identity]
    opened: Callable[[Stream], StreamHandler]
    failed: Callable[[str], None] = lambda _reason: None
    mutual: bool = True
    connections: int = 64
    """Connections that others opened, at once."""
    connections_a_source: int = 16
    """Of these, from one IPv4 host, link-local address, or IPv6 /64."""

    @property
    def trust(self) -> Trust:
        """What the TLS half needs of it."""
        return Trust(self.mutual, self.credentials, WINDOW)

    def check_room(self, here: Sequence[Link], newcomer: Link) -> None:
        """See that ``newcomer`` may come beside those who are ``here``; raises CrowdedError."""
        others = [link for link in here if link.service is self and not link.initiator]
        if len(others) >= self.connections:
            raise CrowdedError(f"this node has no room for more connections of {self.alpn}")
        if sum(link.source == newcomer.source for link in others) >= self.connections_a_source:
            raise CrowdedError(f"too many connections of {self.alpn} from this address")

    def judged(self, chain: Sequence[bytes]) -> Identity:
        """Return the key at the other end; raises CertificateError."""
        try:
            return self.judge(chain)
        except QpqError as fault:
            raise CertificateError(str(fault)) from fault

    def complaint(self, event: HandshakeCompleted, peer: Identity | None, *, initiator: bool) -> str:
        """Return why a finished handshake is not good enough; empty: it is."""
        if event.alpn_protocol != self.alpn:
            return printable(f"{event.alpn_protocol} was spoken instead of {self.alpn}")
        if event.session_resumed or (peer is None and (initiator or self.mutual)):
            return "no certificate"
        return ""

    def stream(self, link: Link, peer: Identity | None, chain: tuple[bytes, ...]) -> Stream:
        """Make the stream of a connection."""
        return Stream(link, peer, chain)


class Stream:
    """One open connection of a service, for its handler.

    ``peer`` is the key the other end has proven, ``chain`` its certificates as shown; None and none for a caller of
    a service that is not ``mutual``. ``initiator``: this end has called. ``address`` is text for people.
    """

    __slots__ = ("_handler", "_link", "_notices", "_waiting", "address", "chain", "initiator", "peer")

    def __init__(self, link: Link, peer: Identity | None, chain: tuple[bytes, ...]) -> None:
        self.address = link.address
        self.chain = chain
        self.initiator = link.initiator
        self.peer = peer
        self._link = link
        self._notices: list[Notice] = []
        self._waiting = False
        self._handler: StreamHandler

    # for the handler

    def write(self, data: bytes) -> None:
        """Send bytes; what is written to a connection that has ended is dropped."""
        self._link.write_bytes(data)
        if self.backlog > MAX_BACKLOG:
            self._link.close(1, f"{self.backlog} bytes wait for acknowledgement", Refusal.SLOW)

    @property
    def backlog(self) -> int:
        """Bytes that wait for the peer's acknowledgement, sent or not."""
        return self._link.backlog

    @property
    def is_full(self) -> bool:
        """Whether so much waits that more should wait too; ``room`` is called when it has become less."""
        self._waiting = self._waiting or self.backlog >= FULL
        return self._waiting

    def pause(self) -> None:
        """Let the peer send no more than its window has room for, until ``resume``."""
        self._link.quic.hold = True

    def resume(self) -> None:
        """Let the peer send again."""
        self._link.quic.hold = False
        self._link.press()

    def close(self, reason: str) -> None:
        """End the connection after what the peer can take at once; ``ended`` follows."""
        self._link.close(0, reason)
        self._link.press()

    # for the link

    def begin(self, service: Service) -> Notice:
        """Have the service choose who handles the stream."""

        def open_it() -> None:
            self._handler = service.opened(self)

        return Notice(open_it)

    def feed(self, data: bytes, *, end: bool) -> list[Notice]:
        """Hand bytes on; a peer that has no more to say has ended the connection."""
        if end:
            self._link.close(0, "the peer has ended it")
        return [Notice(lambda: self._handler.received(data))] if data else []

    def end(self, reason: str) -> Notice:
        """Say that it is over."""
        return Notice(lambda: self._handler.ended(reason))

    def relief(self) -> list[Notice]:
        """Return what there is to say when the peer has acknowledged something."""
        if not self._waiting or self.backlog > ROOM:
            return []
        self._waiting = False
        return [Notice(self._handler.room)]

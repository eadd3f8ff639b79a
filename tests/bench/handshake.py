"""What a link costs below everything of ours: a handshake of plain aioquic, a certificate at either end, beside ours.

Both ends in this process, datagrams handed over in memory; X25519, Ed25519 and ChaCha20-Poly1305 on both sides.

``python tests/bench/handshake.py [ROUNDS]`` (after ``make dev``) measures both in turns and prints them.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "node"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rigs"))

from aioquic import tls
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import HandshakeCompleted
from link_world import Shown, host, linked, plain_configuration, secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioquic.quic.configuration import QuicConfiguration

COUNT = 100
HEADERS = 14 + 20 + 8  # Ethernet, IPv4, UDP
ROUNDS = 5
AHEAD = 0.2  # seconds of the virtual clock in which all has been said


class Asking(QuicConnection):
    """A server that asks for the client's certificate, which the library does behind a private switch only."""

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self.tls._request_client_certificate = True


def server_configuration() -> QuicConfiguration:
    """Return what the server shows and takes."""
    configuration = plain_configuration(Shown.of(secret("ben")))
    configuration.is_client = False
    return configuration


def plain() -> int:
    """Make one connection of plain aioquic; return its Ethernet bytes."""
    now = 1000.0
    client = QuicConnection(configuration=plain_configuration(Shown.of(secret("anna"))))
    client.connect(host(2), now)
    server = Asking(
        configuration=server_configuration(),
        original_destination_connection_id=client.original_destination_connection_id,
    )
    done: set[QuicConnection] = set()
    sent = 0
    for end in range(2 * 10):
        source, target = (client, server) if end % 2 == 0 else (server, client)
        for data, _ in source.datagrams_to_send(now):
            sent += HEADERS + len(data)
            target.receive_datagram(data, host(1 + end % 2), now)
        for each in (client, server):
            while (event := each.next_event()) is not None:
                if isinstance(event, HandshakeCompleted):
                    done.add(each)
        now += AHEAD / 20
    assert len(done) == 2, "both ends are done"
    assert server.tls._peer_certificate is not None, "the client has shown its certificate"
    return sent


def ours() -> int:
    """Make one link; return its Ethernet bytes."""
    world, _, _ = linked()
    return sum(HEADERS + len(sent.data) for sent in world.sent)


def measure(make: Callable[[], int]) -> float:
    """Return the milliseconds of processor time that a link takes, both ends together."""
    begin = time.process_time()
    for _ in range(COUNT):
        make()
    return (time.process_time() - begin) * 1000 / COUNT


def main(rounds: int) -> None:
    """Measure in turns, and print."""
    tls.Context.__init__ = only_x25519(tls.Context.__init__)  # type: ignore[method-assign]
    kinds = {"plain aioquic": plain, "a link of qpq": ours}
    found: dict[str, list[float]] = {name: [] for name in kinds}
    sizes = {name: make() for name, make in kinds.items()}  # which also warms up
    for _ in range(rounds):
        for name, make in kinds.items():
            found[name].append(measure(make))
    for name, values in found.items():
        print(f"{name:14} {statistics.median(values):.2f} ms (both ends), {sizes[name]:,} bytes")


def only_x25519(make: Callable[..., None]) -> Callable[..., None]:
    """Return what makes a TLS context that offers one group, as links do."""

    def init(self: tls.Context, *arguments: object, **options: object) -> None:
        make(self, *arguments, **options)
        self._supported_groups = [tls.Group.X25519]

    return init


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)

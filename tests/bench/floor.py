"""What two hops cost below everything of ours: the bytes of a message there and of its receipt back, one at a time.

Three processes in a line as in ``hops.py``, and no more in them than the loop needs: bare datagrams, or the streams of
plain aioquic connections that the outer two hold with the one in the middle, which passes on what comes. Nothing is
sealed, signed, verified, decoded, routed or stored.

``chrt -f 1 python tests/bench/floor.py [ROUNDS]`` measures both in turns and prints them.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "node"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import StreamDataReceived
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509 import load_der_x509_certificate
from driven import Driven
from rig import Host, line, stop

from qpq.crypto.identity import SecretIdentity
from qpq.link.certificates import make_certificate

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioquic.quic.events import QuicEvent

THERE, BACK = 394, 20  # bytes of a TRANSFER with a text of 200, and of a SHORT_RECEIPT
COUNT = 300
PORT = 17_400
ALPN = "floor"
SENDER, RECEIVER = b"S", b"R"  # how the outer two name themselves to the one in the middle


class Datagrams(asyncio.DatagramProtocol):
    """One socket; what comes goes to ``came``, with a way to answer."""

    def __init__(self, came: Callable[[Callable[[bytes], None], bytes], None]) -> None:
        self.came = came
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        """Keep it."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Hand it on."""
        self.came(lambda answer: self.transport.sendto(answer, addr), data)


class Streams(QuicConnectionProtocol):
    """One connection; what comes on its stream goes to ``came``, with a way to answer."""

    came: Callable[[Callable[[bytes], None], bytes], None]

    def quic_event_received(self, event: QuicEvent) -> None:
        """Hand it on."""
        if isinstance(event, StreamDataReceived):
            self.came(self.send, event.data)

    def send(self, data: bytes) -> None:
        """Write on the stream, and put it on the wire now."""
        self._quic.send_stream_data(0, data)
        self.transmit()


class Middle:
    """Passes on what the one sends to the other."""

    def __init__(self) -> None:
        self.ways: dict[bytes, Callable[[bytes], None]] = {}

    def came(self, answer: Callable[[bytes], None], data: bytes) -> None:
        """Pass it on; one byte is a name."""
        if len(data) == 1:
            self.ways[data] = answer
        else:
            self.ways[RECEIVER if len(data) == THERE else SENDER](data)


class Outer:
    """The sender, which takes the time, or the receiver, which answers."""

    def __init__(self) -> None:
        self.back = asyncio.Event()

    def came(self, answer: Callable[[bytes], None], data: bytes) -> None:
        """Answer a message; a receipt wakes who waits for it."""
        if len(data) == THERE:
            answer(bytes(BACK))
        else:
            self.back.set()

    async def burst(self, send: Callable[[bytes], None]) -> list[float]:
        """Return the seconds from sending to the answer, of one message after another."""
        found = []
        for _ in range(COUNT):
            self.back.clear()
            begin = time.perf_counter()
            send(bytes(THERE))
            await self.back.wait()
            found.append(time.perf_counter() - begin)
        return found


async def listen(kind: str, middle: Middle, port: int) -> None:
    """Be the one in the middle."""
    if kind == "udp":
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: Datagrams(middle.came), ("0.0.0.0", port))  # noqa: S104 (both links)
        return
    secret = SecretIdentity(bytes(range(32)))
    configuration = QuicConfiguration(is_client=False, alpn_protocols=[ALPN], idle_timeout=600)
    configuration.certificate = load_der_x509_certificate(make_certificate(secret))
    configuration.private_key = Ed25519PrivateKey.from_private_bytes(secret.seed)
    Streams.came = staticmethod(middle.came)
    await serve("0.0.0.0", port, configuration=configuration, create_protocol=Streams)  # noqa: S104


async def dial(kind: str, outer: Outer, host: str, port: int, stack: list[object]) -> Callable[[bytes], None]:
    """Be one of the outer two; returns how it sends."""
    if kind == "udp":
        loop = asyncio.get_running_loop()
        made = await loop.create_datagram_endpoint(lambda: Datagrams(outer.came), remote_addr=(host, port))
        return made[0].sendto
    Streams.came = staticmethod(outer.came)
    configuration = QuicConfiguration(is_client=True, alpn_protocols=[ALPN], verify_mode=ssl.CERT_NONE)
    configuration.idle_timeout = 600
    context = connect(host, port, configuration=configuration, create_protocol=Streams)
    stack.append(context)
    protocol = await context.__aenter__()
    assert isinstance(protocol, Streams)
    return protocol.send


async def drive(kind: str, role: str, host: str, port: int) -> None:
    """Be one of the three; each line on stdin asks the sender for a burst."""
    stack: list[object] = []
    outer = Outer()
    if role == "middle":
        await listen(kind, Middle(), port)
    else:
        send = await dial(kind, outer, host, port, stack)
        send(SENDER if role == "sender" else RECEIVER)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps({}), flush=True)
    while await lines.readline():
        print(json.dumps({"latencies": await outer.burst(send)}), flush=True)


def measure(rounds: int) -> dict[str, list[float]]:
    """Return the latencies of each kind, in seconds."""
    found: dict[str, list[float]] = {"udp": [], "aioquic": []}
    with line() as three, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:

        def begin(kind: str, role: str, host: Host, other: str, port: int) -> Driven:
            argv = host.command(sys.executable, str(Path(__file__).resolve()), kind, role, other, str(port))
            driven = Driven(argv, Path(folder, f"{kind}-{role}"))
            stack.callback(stop, driven.process)
            return driven

        senders = {}
        for port, kind in enumerate(found, PORT):
            begin(kind, "middle", three.near, "", port)
            begin(kind, "receiver", three.receiver, three.far.ipv4, port)
            senders[kind] = begin(kind, "sender", three.sender, three.near.ipv4, port)
        for _ in range(rounds):
            for kind, sender in senders.items():
                found[kind] += sender.ask("burst")["latencies"]  # type: ignore[misc]
    return found


if __name__ == "__main__":
    if len(sys.argv) > 2:
        asyncio.run(drive(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
    else:
        for name, values in measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5).items():
            print(f"{name:8} p50 {statistics.median(values) * 1000:.2f} ms, {len(values)} messages over two hops")

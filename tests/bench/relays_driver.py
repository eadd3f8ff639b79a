"""A relay of other domains under the bench: calls one node's relay, or holds connections to it that do nothing.

usage: relays_driver.py ADDRESS USER relayEnqueue|relayBatchEnqueue FLIGHT SECONDS | ADDRESS USER idle CONNECTIONS

USER is the id of a user of the node that is called. Prints a JSON line when its connections are open, waits for a line
on stdin, calls until the time is over or all it has made is sent, prints what it measured.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "node"))

from qpq.crypto.identity import Address, SecretIdentity, parse_id
from qpq.crypto.sealing import ENTROPY_BYTES, seal
from qpq.federation.federation import ALPN
from qpq.link.certificates import make_certificate, sole_identity
from qpq.link.endpoint import Endpoint
from qpq.link.limits import LinkLimits
from qpq.link.ports import Credentials
from qpq.link.streams import Service
from qpq.rpc.binding import RpcBinding
from qpq.rpc.session import RpcSession
from qpq.wire.body import Body, encode_body, pad
from qpq.wire.envelope import encode_envelope, sign_envelope
from qpq.wire.outside import OutsideEnvelope, encode_outside
from qpq.wire.receipts import commitment
from qpq.wire.rpc_services import FEDERATION_SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpq.link.streams import Stream

DOMAIN = "callee.example"
"""That of the node that is called."""
A_HOST = 12
"""Connections from one address of the loopback network: a node takes 16."""
OPEN = replace(LinkLimits(), handshakes_a_second=1e6, handshake_burst=1_000_000)
TEXT = "x" * 200
TTL = 3_600
A_SECOND = 600
"""Envelopes made beforehand for each second."""


def domain(number: int) -> str:
    """Return the domain of a relay that calls."""
    return f"caller{number}.example"


def key(number: int) -> SecretIdentity:
    """Return its key."""
    return SecretIdentity(bytes((number + 1,)) * 32)


async def session(address: str, number: int, endpoint: Endpoint) -> RpcSession:
    """Open a connection as relay ``number``."""
    opened: asyncio.Future[RpcSession] = asyncio.get_running_loop().create_future()
    shown = Credentials((make_certificate(key(number)),), key(number).seed)

    def take(stream: Stream) -> RpcBinding:
        binding = RpcBinding(stream)
        binding.session = RpcSession(binding)
        opened.set_result(binding.session)
        return binding

    endpoint.open(address, Service(ALPN, lambda: shown, sole_identity, take))
    made = await asyncio.wait_for(opened, 10)
    await made.call(FEDERATION_SERVICE.method("federationHealth"), {}, timeout=10.0)
    return made


def endpoints(count: int) -> Iterator[Endpoint]:
    """Give an endpoint for each connection, a new one where an address has its share."""
    for host in itertools.count(2):
        endpoint = Endpoint(key(0), lambda _event: None, OPEN)
        endpoint.listen(f"127.0.0.{host}:0")
        yield from itertools.repeat(endpoint, min(A_HOST, count))


def envelopes(user: Address, count: int) -> Iterator[bytes]:
    """Make padded messages for a user, each with a receipt to come."""
    sender = SecretIdentity(b"writer".ljust(32, b"."))
    for _ in range(count):
        secret = os.urandom(16)
        body = pad(encode_body(Body(secret, TEXT, secret)))
        payload = seal(body, sender=sender.address, recipient=user, entropy=os.urandom(ENTROPY_BYTES))
        made = sign_envelope(
            sender,
            recipient=user,
            payload=payload,
            commitment=commitment(secret),
            ttl=TTL,
            max_hops=32,
            timestamp=0,
        )
        yield encode_envelope(made)


async def calls(address: str, user: Address, name: str, flight: int, seconds: float) -> dict[str, object]:
    """Hand over messages, ``flight`` at a time."""
    called = await session(address, 0, next(endpoints(1)))
    method = FEDERATION_SERVICE.method(name)
    made = [encode_outside(OutsideEnvelope(DOMAIN, domain(0), one)) for one in envelopes(user, int(A_SECOND * seconds))]
    payloads = iter(made)
    recipients: dict[str, object] = {"recipientKeys": [user]} if name == "relayBatchEnqueue" else {"recipientKey": user}
    await ready()
    latencies: list[float] = []
    begin = time.perf_counter()

    async def one() -> None:
        while (started := time.perf_counter()) < begin + seconds and (payload := next(payloads, None)) is not None:
            given = {**recipients, "payload": payload, "version": 1, "auth": {"origin": domain(0)}, "ttlSecs": TTL}
            await called.call(method, given, timeout=30.0)  # type: ignore[arg-type]
            latencies.append(time.perf_counter() - started)

    await asyncio.gather(*[one() for _ in range(flight)])
    return {"latencies": latencies, "elapsed": time.perf_counter() - begin}


async def idle(address: str, count: int) -> dict[str, object]:
    """Hold connections, each of another domain."""
    kept = [
        await session(address, number, endpoint)
        for number, endpoint in zip(range(count), endpoints(count), strict=False)
    ]
    await ready()
    return {"open": sum(one.is_open for one in kept)}


async def ready() -> None:
    """Say that all connections are open, and wait to be told to go on."""
    print(json.dumps({"ready": True}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def main(address: str, user: str, what: str, *more: str) -> None:
    """Do one of it."""
    if what == "idle":
        told = await idle(address, int(more[0]))
    else:
        told = await calls(address, Address(parse_id(user)), what, int(more[0]), float(more[1]))
    print(json.dumps(told), flush=True)
    await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

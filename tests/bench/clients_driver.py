"""Clients of the SDK under the bench, all in one process.

usage: clients_driver.py ACCOUNTS.json health|enqueue|wake CONNECTIONS FLIGHT SECONDS

Prints a JSON line when its connections are open and idle, waits for a line on stdin, works until the time is over or
the node's limits are reached, prints what it measured.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "node"))

from qpq.sdk import Client  # noqa: E402 (the bench runs without the package installed, too)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Once = Callable[[], Awaitable[float]]

A_MINUTE = 100
PAYLOAD = bytes(200)
WAIT_S = 50.0


class Sender:
    """Sends with all tokens there are in turn, since each may send a hundred messages a minute only."""

    def __init__(self, client: Client, accounts: list[dict[str, Any]]) -> None:
        self._client = client
        self._keys = itertools.cycle([bytes.fromhex(account["key"]) for account in accounts])
        tokens = [token for account in accounts for token in account["tokens"]]
        self._tokens = iter([token for _ in range(A_MINUTE - 5) for token in tokens])

    async def send(self, key: bytes | None = None) -> None:
        """Send one message to one client, or to the next; StopAsyncIteration when the minute's are sent."""
        token = next(self._tokens, None)
        if token is None:
            raise StopAsyncIteration
        self._client._auth = {"version": 1, "accessToken": token.encode()}
        await self._client.enqueue(key or next(self._keys), PAYLOAD)


async def opened(told: dict[str, Any], count: int) -> list[Client]:
    """Return that many connected clients, each another account."""
    clients = []
    for account in told["clients"][:count]:
        key = bytes.fromhex(account["key"])
        clients.append(Client(told["address"], node=told["node"], key=key, token=account["tokens"][0], timeout=20.0))
        await clients[-1].connect()
    return clients


async def calls(kind: str, told: dict[str, Any], clients: list[Client]) -> list[Once]:
    """Return what each connection does again and again."""
    accounts = told["clients"]
    shares = [accounts] if len(clients) == 1 else [[account] for account in accounts]

    def once(client: Client, sender: Sender) -> Once:
        async def call() -> float:
            begin = time.perf_counter()
            await (client.health() if kind == "health" else sender.send())
            return time.perf_counter() - begin

        return call

    return [once(client, Sender(client, share)) for client, share in zip(clients, shares, strict=False)]


async def repeated(onces: list[Once], flight: int, seconds: float) -> dict[str, object]:
    """Let ``flight`` callers on each connection call one after another."""
    latencies: list[float] = []
    begin = time.perf_counter()

    async def one(once: Once) -> None:
        while time.perf_counter() < begin + seconds:
            try:
                latencies.append(await once())
            except StopAsyncIteration:
                return

    await asyncio.gather(*[one(once) for once in onces for _ in range(flight)])
    return {"latencies": latencies, "elapsed": time.perf_counter() - begin}


async def wakes(told: dict[str, Any], clients: list[Client], seconds: float) -> dict[str, object]:
    """Wake one of the clients that wait after another; all others go on waiting."""
    boss = Client(told["address"], node=told["node"], key=clients[0].key, token=told["clients"][0]["tokens"][0])
    await boss.connect()
    sender = Sender(boss, told["clients"])
    waiting = {client: asyncio.create_task(client.fetch_wait(WAIT_S)) for client in clients}
    await asyncio.sleep(1.0)
    ready()
    await asyncio.to_thread(sys.stdin.readline)
    latencies = []
    begin = time.perf_counter()
    for client in itertools.cycle(clients):
        started = time.perf_counter()
        if started > begin + seconds:
            break
        try:
            _, found = await asyncio.gather(sender.send(client.key), waiting[client])
        except StopAsyncIteration:
            break
        latencies.append(time.perf_counter() - started)
        await client.ack(found[-1].seq)
        waiting[client] = asyncio.create_task(client.fetch_wait(WAIT_S))
        await asyncio.sleep(0.005)  # it waits again
    return {"latencies": latencies, "elapsed": time.perf_counter() - begin}


def ready() -> None:
    """Say that all connections are open."""
    print(json.dumps({"ready": True}), flush=True)


async def main(told: dict[str, Any], kind: str, connections: str, flight: str, seconds: str) -> None:
    """Measure one case."""
    clients = await opened(told, int(connections))
    if kind == "wake":
        result = await wakes(told, clients, float(seconds))
    else:
        onces = await calls(kind, told, clients)
        ready()
        await asyncio.to_thread(sys.stdin.readline)
        result = await repeated(onces, int(flight), float(seconds))
    print(json.dumps(result), flush=True)
    await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), *sys.argv[2:]))

"""The client port of the static binary, under clients of the SDK on this machine: where bytes go the other way too."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import binaries
import pytest
from node import Node

from qpq.crypto.identity import Identity, text_id
from qpq.sdk import CallFailed, CallUnimplemented, Client, Message
from qpq.wire.rpc_services import NODE_SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = {name: Identity(name[:1].encode() * 32) for name in ("anna", "bert")}
SLOW = 40.0  # seconds: a handshake under emulation


@pytest.fixture(params=binaries.TOLD)
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """Give a running node of a built binary."""
    program = binaries.command(request.param)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    made = Node(address, arguments=("--no-mdns", "--no-beacon", "--no-group", "--client-port", "--listen", address))
    made.program = program
    try:
        yield made.start()
    finally:
        made.close()


def test_clients_write_wait_read_and_find_each_other(node: Node) -> None:
    made: dict[str, Any] = {
        name: node.ask("client.token.add", name=name, key=text_id(key)) for name, key in KEYS.items()
    }

    def client(name: str) -> Client:
        token = made[name]["token"]
        return Client(node.name, node=node.identity(), token=token, key=KEYS[name], timeout=SLOW)

    async def test() -> None:
        async with client("anna") as anna, client("bert") as bert:
            waiting = asyncio.create_task(bert.fetch_wait(SLOW))
            receipt = await anna.enqueue(KEYS["bert"], b"hello")  # and the proof holds
            assert await waiting == [Message(1, b"hello")]
            large = bytes(range(256)) * 200  # what a small router takes
            assert (await anna.enqueue(KEYS["bert"], large)).seq == receipt.seq + 1
            await bert.ack(1)
            assert await bert.fetch() == [Message(2, large)]
            assert await anna.resolve_user("bert") == KEYS["bert"]
            assert await anna.resolve_identity(KEYS["bert"]) == "bert"
            await bert.publish_endpoint(b"here")
            assert await anna.resolve_endpoint(KEYS["bert"]) == b"here"
            with pytest.raises(CallFailed, match="had number 2"):
                await bert.ack(3)
            session = await anna._open()
            with pytest.raises(CallUnimplemented, match="not offered by this server"):
                await session.call(NODE_SERVICE.method("deleteAccount"), {}, SLOW)

    asyncio.run(asyncio.wait_for(test(), 3 * SLOW))
    assert "Traceback" not in node.log()

"""A client that has nothing of ours, pycapnp's own RPC and the schema, at a real node's client port."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import capnp
import desk
import pytest
from bridge import Port
from node import Node

from qpq.crypto.identity import Identity, parse_id, text_id
from qpq.wire.delivery import check_proof, message_id

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path
    from typing import TypeAlias

    Home: TypeAlias = tuple[Node, dict[bytes, str]]
    """A node and the tokens of its accounts by key."""

SCHEMA: Any = capnp.load(str(desk.Path(__file__).resolve().parents[2] / "schemas" / "node.capnp"))
BINARY = desk.Path(__file__).resolve().parents[2] / "dist" / "x86_64" / "qpq"
ANNA, BERT = b"a" * 32, b"b" * 32


class Client:
    """A bootstrapped NodeService and what goes with every call of one account."""

    def __init__(self, stream: Any, key: bytes, token: str) -> None:
        self.connection = capnp.TwoPartyClient(stream)
        self.node = self.connection.bootstrap().cast_as(SCHEMA.NodeService)
        self.auth = {"version": 1, "accessToken": token.encode()}
        self.own = {"recipientKey": key, "version": 1, "auth": self.auth}


@pytest.fixture(scope="module", params=["source", "binary"])
def home(request: pytest.FixtureRequest) -> Iterator[Home]:
    """Give a node on pycapnp, and the static one, which has the stand-in for it."""
    if request.param == "binary" and not BINARY.exists():
        pytest.skip("no static binary in dist/x86_64: make cross TARGET=x86_64")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    node = Node("home", arguments=("--no-mdns", "--no-beacon", "--client-port", "--listen", address))
    if request.param == "binary":
        node.program, node.measured = [str(BINARY)], False
    try:
        node.start()
        made: dict[bytes, Any] = {
            key: node.ask("client.token.add", name=name, key=text_id(Identity(key)))
            for name, key in (("anna", ANNA), ("bert", BERT))
        }
        node.name = address
        yield node, {key: answer["token"] for key, answer in made.items()}
    finally:
        node.close()


def run(folder: Path, home: Home, test: Callable[[Client, Client], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        async with capnp.kj_loop():
            port = Port(7)
            await port.listen(str(folder / "s"), home[0].name)
            both = [
                Client(await capnp.AsyncIoStream.create_unix_connection(str(folder / "s")), key, home[1][key])
                for key in (ANNA, BERT)
            ]
            await asyncio.wait_for(test(*both), 30)
            await port.close()

    asyncio.run(whole())


def test_it_sends_waits_reads_and_acknowledges_and_the_proof_is_what_the_page_says(tmp_path: Path, home: Home) -> None:
    async def test(anna: Client, bert: Client) -> None:
        assert (await anna.node.health()).status == "ok"
        await bert.node.ack(**bert.own, seqUpTo=0)
        waiting = bert.node.fetchWait(**bert.own, timeoutMs=20_000)
        taken = await anna.node.enqueue(**{**anna.own, "recipientKey": BERT}, payload=b"hello", ttlSecs=60)
        (message,) = (await waiting).payloads
        assert (message.seq, bytes(message.data)) == (taken.seq, b"hello")
        node = Identity(parse_id(home[0].identity()))
        assert check_proof(
            node, bytes(taken.deliveryProof), message_id(BERT, taken.seq, b"hello"), BERT, taken.timestamp
        )
        assert len((await bert.node.peek(**bert.own, limit=1)).payloads) == 1
        await bert.node.ack(**bert.own, seqUpTo=message.seq)
        assert len((await bert.node.fetch(**bert.own)).payloads) == 0

    run(tmp_path, home, test)


def test_it_finds_names_and_endpoints(tmp_path: Path, home: Home) -> None:
    async def test(anna: Client, bert: Client) -> None:
        assert bytes((await anna.node.resolveUser(username="bert", auth=anna.auth)).identityKey) == BERT
        assert (await anna.node.resolveIdentity(identityKey=BERT, auth=anna.auth)).username == "bert"
        await bert.node.publishEndpoint(identityKey=BERT, nodeAddr=b"here", auth=bert.auth)
        assert bytes((await anna.node.resolveEndpoint(identityKey=BERT, auth=anna.auth)).nodeAddr) == b"here"

    run(tmp_path, home, test)


def test_it_is_told_what_is_wrong_and_of_which_kind(tmp_path: Path, home: Home) -> None:
    async def test(anna: Client, _bert: Client) -> None:
        for call, kind, text in (
            (lambda: anna.node.fetch(**{**anna.own, "recipientKey": BERT}), "FAILED", "only the own inbox"),
            (lambda: anna.node.fetch(**{**anna.own, "auth": {"version": 1}}), "FAILED", "token is not valid here"),
            (lambda: anna.node.deleteAccount(auth=anna.auth), "UNIMPLEMENTED", "not offered by this server"),
        ):
            with pytest.raises(capnp.KjException, match=text) as caught:
                await call()
            assert caught.value.type == kind

        async def flood() -> None:
            for _ in range(101):
                await anna.node.enqueue(**anna.own, payload=b"x")

        with pytest.raises(capnp.KjException, match="more than 100 messages a minute") as caught:
            await flood()
        assert caught.value.type == "OVERLOADED"

    run(tmp_path, home, test)

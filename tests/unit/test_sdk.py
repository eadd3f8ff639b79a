"""The SDK and a real node with its client port on, over loopback: calls, restarts, wrong keys, an example bot."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from node import NODE_SOURCE, Node

from qpq.crypto.identity import Identity, parse_id, text_id
from qpq.sdk import CallFailed, CallOverloaded, Client, ConnectError, Message, ProofError, Receipt
from qpq.sdk.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

NO_TOKEN = "qpq-aaaaaaaa-" + "a" * 52
LARGE_HEAD = struct.pack("<II", 0, 1 << 17)
"""The table of a message of a mebibyte."""
HALF = struct.pack("<II", 0, 8000) + bytes(30_000)
QUIET = ("--no-mdns", "--no-beacon")
KEYS = {name: Identity(name[:1].encode() * 32) for name in ("anna", "bert", "echo")}
BOT = Path(__file__).resolve().parents[2] / "docs" / "examples" / "echo_bot.py"


def free_address() -> str:
    """Return an address on loopback that nobody uses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Home:
    """A node with its client port on, and a token for each of three clients."""

    def __init__(self) -> None:
        self.address = free_address()
        self.node = Node("home", arguments=(*QUIET, "--client-port", "--listen", self.address))
        self.node.start()
        self.id = self.node.identity()
        self.made: dict[str, Any] = {
            name: self.node.ask("client.token.add", name=name, key=text_id(key)) for name, key in KEYS.items()
        }

    def client(self, name: str, **more: Any) -> Client:
        given = {"node": self.id, "token": self.made[name]["token"], "key": KEYS[name], **more}
        return Client(self.address, **given)


@pytest.fixture(scope="module")
def shared() -> Iterator[Home]:
    home = Home()
    try:
        yield home
    finally:
        with suppress(TimeoutError):
            home.node.stop()
        home.node.close()


@pytest.fixture
def own() -> Iterator[Home]:
    home = Home()
    try:
        yield home
    finally:
        home.node.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 45))


async def emptied(client: Client) -> Client:
    while found := await client.fetch():
        await client.ack(found[-1].seq)
    return client


def test_messages_go_from_client_to_client_and_wait_until_they_are_acknowledged(shared: Home) -> None:
    async def test() -> None:
        async with shared.client("anna") as anna, shared.client("bert") as bert:
            assert await anna.health() == "ok"
            await emptied(bert)
            receipt = await anna.enqueue(KEYS["bert"], b"hello", ttl=60)
            assert anna.proves(receipt, text_id(KEYS["bert"]), b"hello")
            assert not anna.proves(receipt, KEYS["bert"], b"hallo")
            assert await bert.fetch() == await bert.peek(limit=5) == [Message(receipt.seq, b"hello")]
            assert await bert.fetch_wait(5, limit=1) == [Message(receipt.seq, b"hello")]
            await bert.ack(receipt.seq)
            assert await bert.fetch_wait(0.05) == []

    run(test)


def test_the_token_that_the_console_shows_lets_in_and_revoked_it_does_not(shared: Home) -> None:
    def console(*words: str) -> str:
        argv = [sys.executable, "-m", "qpq", "--socket", str(shared.node.socket), "client", "token", *words]
        environment = {**os.environ, "PYTHONPATH": str(NODE_SOURCE)}
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True, env=environment).stdout

    (token,) = re.findall(r"^    (qpq-\S+)$", console("add", "carl", text_id(b"c" * 32)), re.MULTILINE)
    number = token.split("-")[1]
    client = shared.client("anna", key=b"c" * 32, token=token)

    async def test() -> None:
        async with client:
            assert await client.resolve_identity(b"c" * 32) == "carl"
            await asyncio.to_thread(console, "revoke", number)
            with pytest.raises(CallFailed, match="not valid here"):
                await client.fetch()

    assert number in console("list")
    run(test)
    assert number not in console("list")


def test_a_message_of_five_mebibytes_passes_and_one_byte_more_does_not(shared: Home) -> None:
    async def test() -> None:
        large = os.urandom(5 << 20)
        async with shared.client("anna", timeout=40) as anna, shared.client("bert", timeout=40) as bert:
            await emptied(bert)
            receipt = await anna.enqueue(KEYS["bert"], large)
            with pytest.raises(CallFailed, match="at most 5242880 are taken"):
                await anna.enqueue(KEYS["bert"], large + b"x")
            assert await bert.fetch() == [Message(receipt.seq, large)]
            await bert.ack(receipt.seq)

    run(test)


def test_names_keys_and_endpoints_are_found(shared: Home) -> None:
    async def test() -> None:
        async with shared.client("anna") as anna, shared.client("bert") as bert:
            assert await anna.resolve_user("bert") == KEYS["bert"]
            assert await anna.resolve_user("nobody") is None
            assert await anna.resolve_identity(KEYS["bert"]) == "bert"
            assert await anna.resolve_identity(bytes(32)) is None
            await bert.publish_endpoint(b"198.51.100.7:7000")
            assert await anna.resolve_endpoint(KEYS["bert"]) == b"198.51.100.7:7000"
            await bert.publish_endpoint(b"")
            assert await anna.resolve_endpoint(text_id(KEYS["bert"])) is None

    run(test)


def test_a_waiting_client_is_woken_by_the_message_at_once(shared: Home) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with shared.client("anna") as anna, shared.client("bert") as bert:
            await emptied(bert)
            for _ in range(10):
                waiting = asyncio.create_task(bert.fetch_wait(30))
                await asyncio.sleep(0.02)
                begin = loop.time()
                receipt = await anna.enqueue(KEYS["bert"], b"wake")
                assert [message.seq for message in await waiting] == [receipt.seq]
                assert loop.time() - begin < 5
                await bert.ack(receipt.seq)

    run(test)


def test_another_node_than_the_pinned_one_gets_no_token(shared: Home) -> None:
    async def test() -> None:
        with pytest.raises(ConnectError, match="this is node"):
            await shared.client("anna", node=bytes(32)).connect()

    run(test)


def test_a_wrong_token_is_told_so_and_not_tried_again(shared: Home) -> None:
    async def test() -> None:
        client = shared.client("anna", token=NO_TOKEN)
        with pytest.raises(CallFailed, match="the access token is not valid here"):
            async with client:
                pass
        with pytest.raises(ConnectError, match="this client was closed"):
            await client.health()

    run(test)


def test_the_wrong_key_for_a_token_is_told_so(shared: Home) -> None:
    async def test() -> None:
        with pytest.raises(CallFailed, match="not the key of this token"):
            async with shared.client("anna", key=KEYS["bert"]):
                pass

    run(test)


def test_nobody_there_is_an_error_in_time() -> None:
    async def test() -> None:
        client = Client(free_address(), node=bytes(32), token=NO_TOKEN, key=bytes(32), timeout=0.3, patience=0.5)
        with pytest.raises(ConnectError, match=r"no answer in 0.3 s|refused"):
            await client.health()
        with pytest.raises(ConnectError):
            await client.enqueue(bytes(32), b"x")
        await client.close()

    run(test)


def test_a_proof_that_is_none_is_an_error(shared: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qpq.sdk.client.check_proof", lambda *_: False)

    async def test() -> None:
        async with shared.client("anna") as anna:
            with pytest.raises(ProofError, match="a delivery proof that is none"):
                await anna.enqueue(KEYS["echo"], b"x")
            await emptied(shared.client("echo"))

    run(test)


def test_a_revoked_token_ends_a_wait_at_once(own: Home) -> None:
    async def test() -> None:
        async with own.client("bert") as bert:
            waiting = asyncio.create_task(bert.fetch_wait(40))
            await asyncio.sleep(0.1)
            await asyncio.to_thread(own.node.ask, "client.token.revoke", id=own.made["bert"]["id"])
            with pytest.raises(CallFailed, match="revoked"):
                await waiting

    run(test)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart_in_the_middle_loses_nothing_and_clients_come_back(own: Home, how: str) -> None:
    async def test() -> None:
        got: list[bytes] = []
        sent: list[Receipt] = []
        async with own.client("anna", timeout=2) as anna, own.client("bert", timeout=2, patience=0.1) as bert:

            async def read() -> None:
                async for message in bert.messages():
                    if message.data not in got:
                        got.append(message.data)
                    if len(got) == 40:
                        return

            reading = asyncio.create_task(read())
            for number in range(40):
                if number == 20:
                    await asyncio.to_thread(getattr(own.node, how))
                    await asyncio.to_thread(own.node.start)
                    assert await anna.health() == "ok"  # connects anew
                sent.append(await anna.enqueue(KEYS["bert"], bytes([number])))
            await reading
        assert [receipt.seq for receipt in sent] == list(range(1, 41))
        assert sorted(got) == [bytes([number]) for number in range(40)]

    run(test)
    if how == "stop":
        assert "not stopped cleanly" not in own.node.log()


def test_hostile_clients_harm_themselves_only(shared: Home) -> None:
    before = shared.node.counter("home.connections")

    async def test() -> None:
        transport = Transport(shared.address, Identity(parse_id(shared.id)))
        async with shared.client("anna") as anna, shared.client("bert") as bert:
            await emptied(bert)
            for bytes_sent in (os.urandom(300), bytes(8), b"\xff" * 64, LARGE_HEAD, LARGE_HEAD[:8] + bytes(60_000)):
                session = await transport.connect(10)
                session._stream.write(bytes_sent)
                if bytes_sent is LARGE_HEAD:
                    await asyncio.wait_for(session.wait_closed(), 10)
                    assert "at most 65536 are allowed" in session.reason
            stalled = [await transport.connect(10) for _ in range(10)]  # half a message each, and then nothing
            for session in stalled:
                session._stream.write(HALF)
            receipt = await anna.enqueue(KEYS["bert"], b"still here")
            assert await bert.fetch_wait(10) == [Message(receipt.seq, b"still here")]
            await bert.ack(receipt.seq)
        await transport.close()

    run(test)
    assert shared.node.counter("home.connections") == before + 17
    assert "Traceback" not in shared.node.log()


def test_the_hundred_and_first_message_in_a_minute_waits(own: Home) -> None:
    async def test() -> None:
        async with own.client("anna") as anna:
            await asyncio.gather(*(anna.enqueue(KEYS["bert"], b"x") for _ in range(100)))
            with pytest.raises(CallOverloaded, match="more than 100 messages a minute"):
                await anna.enqueue(KEYS["bert"], b"x")

    run(test)
    assert own.node.counter("home.enqueued") == 100
    text = own.node.ask("metrics")
    assert isinstance(text, dict)
    assert "qpq_home_messages 100" in str(text["text"])
    assert "qpq_home_enqueue_seconds_count 101" in str(text["text"])
    assert "fetch" not in str(text["text"]).partition("qpq_home_enqueue_seconds")[2], "nobody has called that"


def test_a_node_without_the_option_loads_nothing_of_it_and_refuses_clients() -> None:
    address = free_address()
    node = Node("plain", arguments=(*QUIET, "--listen", address), environment={"PYTHONPROFILEIMPORTTIME": "1"})
    node.measured = False
    try:
        node.start()

        async def test() -> None:
            transport = Transport(address, Identity(bytes(32)))
            with pytest.raises(ConnectError, match="ALPN"):
                await transport.connect(10)
            await transport.close()

        run(test)
        log = node.log()
        assert "qpq.daemon.node" in log
        for room in ("qpq.home", "qpq.rpc", "qpq.sdk", "qpq.link.streams", "qpq.daemon.client", "capnp"):
            assert room not in log
    finally:
        node.close()


def test_the_example_bot_answers(own: Home, tmp_path: Path) -> None:
    environment = {
        **{key: value for key, value in os.environ.items() if key.startswith("PATH")},
        "PYTHONPATH": str(NODE_SOURCE),
        "QPQ_NODE_ADDRESS": own.address,
        "QPQ_NODE": own.id,
        "QPQ_KEY": text_id(KEYS["echo"]),
        "QPQ_TOKEN": own.made["echo"]["token"],
    }

    async def test() -> None:
        bot = await asyncio.create_subprocess_exec(sys.executable, str(BOT), env=environment, cwd=tmp_path)
        try:
            async with own.client("anna") as anna:
                await anna.enqueue(KEYS["echo"], KEYS["anna"] + b"hello")
                (answer,) = await anna.fetch_wait(30)
                assert answer.data == KEYS["echo"] + b"you said: hello"
                await anna.enqueue(KEYS["echo"], b"short")  # no sender: the bot goes on
                await anna.ack(answer.seq)
                await anna.enqueue(KEYS["echo"], KEYS["anna"] + b"again")
                (answer,) = await anna.fetch_wait(30)
                assert answer.data.endswith(b"again")
        finally:
            bot.terminate()
            await bot.wait()

    run(test)

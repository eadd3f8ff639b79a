"""A real relay with clients whose store is in RAM: what a power cut leaves of inboxes and of what waits for others."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from node import Node, free_port, wait_for

from qpq.crypto.identity import Identity, SecretIdentity, text_id
from qpq.mesh.parcel import Parcel
from qpq.sdk import Client
from qpq.store.oplog import read

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from qpq.sdk.client import Receipt

RAM = Path("/dev/shm")  # noqa: S108 (tmpfs on every Linux)
BERT = Identity(b"b" * 32)
CONFIG = """config qpq 'main'
option domain 'aachen.example'
option client_port '1'
config relay
option domain 'berlin.example'
list key '{}'
"""


@pytest.fixture
def ram() -> Iterator[Path]:
    if not RAM.is_dir() or "tmpfs" not in Path("/proc/mounts").read_text():
        pytest.skip("no tmpfs here")
    folder = Path(tempfile.mkdtemp(prefix="qpq", dir=RAM))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def node(ram: Path) -> Iterator[Node]:
    quiet = ("--no-mdns", "--no-beacon", "--no-group", "--commit-interval", "1h")
    node = Node("ram", arguments=[*quiet, "--listen", f"127.0.0.1:{free_port()}", "--store-dir", str(ram)])
    stat = subprocess.run(["stat", "-f", "-c", "%T", str(node.folder)], capture_output=True, text=True, check=True)
    if "tmpfs" in stat.stdout:
        pytest.skip("the data directory is in RAM as well")
    config = node.folder / "conf"
    config.write_text(CONFIG.format(text_id(SecretIdentity(b"r" * 32).identity)))
    node.arguments += ["--config", str(config)]
    try:
        node.start()
        yield node
    finally:
        node.close()


def run(node: Node, made: Any, work: Callable[[Client], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        address = node.arguments[node.arguments.index("--listen") + 1]
        async with Client(address, node=node.identity(), key=BERT, token=made["token"]) as client:
            return await asyncio.wait_for(work(client), 20)

    return asyncio.run(main())


def test_a_power_cut_takes_the_last_seconds_and_a_stop_nothing(node: Node, ram: Path) -> None:
    made: Any = node.ask("client.token.add", name="bert", key=text_id(BERT))
    snapshot = node.folder / "qpq.snap"

    async def enqueue(client: Client) -> Receipt:
        return await client.enqueue(BERT, b"a promise")

    async def fetch(client: Client) -> list[tuple[int, bytes]]:
        return [(message.seq, message.data) for message in await client.fetch()]

    assert run(node, made, enqueue).seq == 1
    wait_for("it is on flash", lambda: b"a promise" in snapshot.read_bytes())
    node.kill()
    shutil.rmtree(ram)
    node.start()
    assert run(node, made, fetch) == [(1, b"a promise")]
    second = run(node, made, enqueue).seq
    assert second > 1 << 24
    node.send(f"{text_id(SecretIdentity(b'o' * 32).address)}@berlin.example", "to another domain")
    wait_for("it waits", lambda: node.ask("federation.status")["relays"][0]["waiting"] == 1)  # type: ignore[index]
    assert node.stop() == 0
    operations, whole = read(snapshot.read_bytes())
    assert whole == snapshot.stat().st_size
    assert [row.domain for row in operations if isinstance(row, Parcel)] == ["berlin.example"]
    shutil.rmtree(ram)
    node.start()
    assert run(node, made, enqueue).seq == second + 1
    assert [seq for seq, _ in run(node, made, fetch)] == [1, second, second + 1]
    status: Any = node.ask("federation.status")
    assert status["relays"][0]["waiting"] == 1
    assert "Traceback" not in node.log()

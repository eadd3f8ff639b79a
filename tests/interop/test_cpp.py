"""A C++ program on Debian's Cap'n Proto speaks to ours over QUIC, in both directions; it is built here."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import desk
import pytest
from bridge import Port

from qpq.wire.rpc_errors import KINDS
from qpq.wire.rpc_events import Own, Pipelined

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

HERE = Path(__file__).parent
BUILD_DEADLINE = 240
DEADLINE = 30.0


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build the program; skipped where the library or a compiler is not here."""
    lacking = [tool for tool in ("capnp", "capnpc-c++", "g++", "pkg-config") if shutil.which(tool) is None]
    if lacking or subprocess.run(["pkg-config", "--exists", "capnp-rpc"], check=False, timeout=30).returncode:
        pytest.skip(
            f"Cap'n Proto's C++ library is not here (Debian: capnproto libcapnp-dev g++ pkg-config); no {lacking}"
        )
    folder = tmp_path_factory.mktemp("peer")
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "capnp-rpc"], check=True, capture_output=True, text=True, timeout=30
    ).stdout.split()
    for command in (
        ["capnp", "compile", f"-oc++:{folder}", f"--src-prefix={HERE}", str(HERE / "desk.capnp")],
        ["g++", "-std=c++17", "-O0", "-o", "peer", f"-I{folder}", str(HERE / "peer.c++"), "desk.capnp.c++", *flags],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=BUILD_DEADLINE)
        assert done.returncode == 0, done.stderr
    return str(folder / "peer")


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), DEADLINE))


def test_a_client_in_cpp_uses_all_of_level_1_of_ours(peer: str, tmp_path: Path) -> None:
    async def main() -> None:
        near, far = Port(1), Port(2)
        ends: list[desk.End] = []

        def opened(stream: Any) -> desk.End:
            ends.append(desk.End(stream))
            return ends[-1]

        far.answer(opened)
        socket = str(tmp_path / "client")
        await near.listen(socket, far.address)
        process = await asyncio.create_subprocess_exec(
            peer, "call", socket, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(), DEADLINE - 5)
        finally:
            if process.returncode is None:
                process.kill()
        assert output == b"all well\n", errors.decode()
        assert ends[0].cancelled == 1
        await asyncio.gather(near.close(), far.close())

    run(main)


def test_our_client_uses_all_of_level_1_of_a_server_in_cpp(peer: str, tmp_path: Path) -> None:
    async def main() -> None:
        near, far = Port(3), Port(4)
        socket = str(tmp_path / "server")
        process = await asyncio.create_subprocess_exec(peer, "serve", socket, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        try:
            assert await process.stdout.readline() == b"ready\n"
            far.serve(socket)
            end = await near.call(far.address, desk.End)
            await desk.try_all(end, kinds=True)
        finally:
            process.kill()
            await process.wait()
        await asyncio.gather(near.close(), far.close())

    run(main)


def test_a_promise_of_ours_is_resolved_for_a_server_in_cpp(peer: str, tmp_path: Path) -> None:
    async def main() -> None:
        near, far = Port(5), Port(6)
        socket = str(tmp_path / "server")
        process = await asyncio.create_subprocess_exec(peer, "serve", socket, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        try:
            assert await process.stdout.readline() == b"ready\n"
            far.serve(socket)
            end = await near.call(far.address, desk.End)
            question = end.connection.bootstrap()
            end.expect(question)
            boot = Pipelined(question)
            opened = await end.ask(boot, desk.DESK, desk.OPEN, desk.with_number(20))
            for outcome, expected in ((Own(5), 10), (opened.caps[0], 40)):
                promise = end.connection.promise()
                params = desk.struct("sum", "param_type").new_message(times=2).to_bytes()
                asked = end.start(boot, desk.DESK, desk.SUM, desk.with_capability(params), promise)
                await end.ask(boot, desk.DESK, desk.ECHO)
                end.connection.resolve(promise, outcome)
                end.flush()
                assert desk.number((await end.wait(asked)).content) == expected
        finally:
            process.kill()
            await process.wait()
        await asyncio.gather(near.close(), far.close())

    run(main)


def test_every_kind_of_exception_has_a_class_here() -> None:
    assert len(KINDS) == 4

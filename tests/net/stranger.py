"""Somebody whom other domains' relays meet and who need not be honest: shows and says what it is told to.

``Stranger`` runs this file in a namespace. Commands and answers are Python literals, one a line.
"""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qpq.crypto.identity import SecretIdentity
from qpq.errors import QpqError
from qpq.federation.federation import ALPN
from qpq.federation.x509 import read
from qpq.link.certificates import make_certificate
from qpq.link.endpoint import Endpoint
from qpq.link.ports import Credentials
from qpq.link.streams import Service
from qpq.rpc.binding import RpcBinding
from qpq.rpc.session import RpcSession
from qpq.wire.rpc_services import FEDERATION_SERVICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netns import Namespace

    from qpq.link.streams import Stream

ANSWER_S = 15.0
HEALTH = FEDERATION_SERVICE.method("federationHealth")


class Stranger:
    """The process in its namespace, as tests see it."""

    def __init__(self, namespace: Namespace, package: Path) -> None:
        self._process = namespace.start(
            *(sys.executable, str(Path(__file__))),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={"PYTHONPATH": str(package), "PATH": "/usr/bin:/bin"},
        )

    def call(self, address: str, secret: SecretIdentity, *chain: bytes) -> str:
        """Connect with these certificates (none: a plain one of its own); return why it was refused, or nothing."""
        return str(self._ask(do="call", address=address, seed=secret.seed, chain=list(chain)))

    def answer(self, secret: SecretIdentity, *chain: bytes) -> None:
        """Show these certificates to who calls from now on, and say nothing."""
        self._ask(do="answer", seed=secret.seed, chain=list(chain))

    def ask(self, method: str, *calls: dict[str, Any], at_once: int = 1) -> list[str]:
        """Call a method with each of these values over the last connection; return each one's fault, or nothing."""
        return list(self._ask(do="ask", method=method, calls=list(calls), at_once=at_once))

    def fetch(self, method: str, result: str, **values: Any) -> bytes:
        """Call a method over the last connection; return that result of it."""
        return bytes(self._ask(do="fetch", method=method, result=result, values=values))

    def flood(self, address: str, count: int) -> int:
        """Begin so many connections at once with keys nobody knows; return how many were let in."""
        return int(self._ask(do="flood", address=address, count=count))

    def _ask(self, **command: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command!r}\n")
        self._process.stdin.flush()
        return ast.literal_eval(self._process.stdout.readline())


class _Caller:
    """The process itself."""

    def __init__(self) -> None:
        self._endpoint = Endpoint(SecretIdentity(b"stranger".ljust(32)), lambda _event: None)
        self._endpoint.listen("0.0.0.0:7000")
        self._session: RpcSession | None = None

    async def obey(self, do: str, **values: Any) -> Any:
        """Carry out one command."""
        if do == "call":
            return await self._call(values["address"], SecretIdentity(values["seed"]), values["chain"])
        if do == "answer":
            return self._answer(SecretIdentity(values["seed"]), values["chain"])
        if do == "fetch":
            assert self._session is not None
            method = FEDERATION_SERVICE.method(values["method"])
            return (await self._session.call(method, values["values"], timeout=ANSWER_S)).data(values["result"])
        if do == "ask":
            return await self._calls(values["method"], values["calls"], values["at_once"])
        secrets = [SecretIdentity(number.to_bytes(32, "big")) for number in range(values["count"])]
        found = await asyncio.gather(*(self._call(values["address"], secret, []) for secret in secrets))
        return sum(not reason for reason in found)

    async def _call(self, address: str, secret: SecretIdentity, chain: Sequence[bytes]) -> str:
        outcome: asyncio.Future[RpcSession] = asyncio.get_running_loop().create_future()

        def opened(stream: Stream) -> RpcBinding:
            binding = RpcBinding(stream)
            binding.session = RpcSession(binding)
            outcome.set_result(binding.session)
            return binding

        def failed(reason: str) -> None:
            outcome.set_exception(QpqError(reason))

        shown = Credentials(tuple(chain) or (make_certificate(secret),), secret.seed)
        service = Service(ALPN, lambda: shown, lambda chain: read(chain[0]).key, opened, failed)
        self._endpoint.open(address, service)
        try:
            session = await asyncio.wait_for(outcome, ANSWER_S)
        except QpqError as fault:
            return str(fault)
        try:
            await session.call(HEALTH, {}, timeout=ANSWER_S)
        except QpqError as fault:
            return session.reason or str(fault)
        self._session = session
        return ""

    def _answer(self, secret: SecretIdentity, chain: Sequence[bytes]) -> None:
        def opened(stream: Stream) -> RpcBinding:
            binding = RpcBinding(stream)
            binding.session = RpcSession(binding)
            return binding

        shown = Credentials(tuple(chain), secret.seed)
        self._endpoint.serve(Service(ALPN, lambda: shown, lambda chain: read(chain[0]).key, opened))

    async def _calls(self, name: str, calls: list[dict[str, Any]], at_once: int) -> list[str]:
        gate, method, session = asyncio.Semaphore(at_once), FEDERATION_SERVICE.method(name), self._session
        assert session is not None

        async def one(values: dict[str, Any]) -> str:
            async with gate:
                try:
                    await session.call(method, values, timeout=ANSWER_S)
                except QpqError as fault:
                    return f"{type(fault).__name__}: {fault}"
                return ""

        return list(await asyncio.gather(*(one(values) for values in calls)))


async def main() -> None:
    """Answer commands until there are no more."""
    caller, reader = _Caller(), asyncio.StreamReader(limit=1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(repr(await caller.obey(**ast.literal_eval(line.decode()))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())

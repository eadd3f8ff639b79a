"""The control server over real Unix sockets: roles, bounds, watchers, and what bad clients get."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from qpq.daemon import control_limits as limits
from qpq.daemon import control_socket
from qpq.daemon.commands import Args, BusyError, Caller, DeniedError, FailedError, Role
from qpq.daemon.control import ControlServer
from qpq.daemon.control_connection import Connection
from qpq.daemon.control_line import MAX_LINE
from qpq.errors import QpqError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from qpq.daemon.control import Handlers

SECONDS = 20.0
"""The deadline of every wait in these tests; none is reached when the server is right."""
NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")


class _Client:
    """A raw client, so that it can misbehave."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, **request: object) -> None:
        self.writer.write(json.dumps(request).encode() + b"\n")

    async def line(self) -> dict[str, Any]:
        line = await asyncio.wait_for(self.reader.readline(), SECONDS)
        assert line, "the server closed the connection"
        found = json.loads(line)
        assert isinstance(found, dict)
        return found

    async def ask(self, command: str, user: str | None = None, **args: object) -> dict[str, Any]:
        self.send(id=1, command=command, args=args, **({"user": user} if user else {}))
        return await self.line()

    async def closed(self) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(), SECONDS) == b""
        except ConnectionError:
            return True


class _Rig:
    def __init__(self, path: str, handlers: Handlers, group: int | None) -> None:
        self.path = path
        self.log = logging.Logger("qpq")  # noqa: LOG001 (apart from the program's own)
        self.records: list[logging.LogRecord] = []
        handler = logging.Handler()
        handler.emit = self.records.append  # type: ignore[method-assign]
        self.log.addHandler(handler)
        self.server = ControlServer(
            path, lambda: handlers, log=self.log, user_exists=lambda name: name in {"me", "anna"}, group=group
        )
        self.clients: list[_Client] = []

    async def connect(self) -> _Client:
        client = _Client(*await asyncio.open_unix_connection(self.path, limit=1 << 24))
        self.clients.append(client)
        return client


def _run(
    tmp_path: Path, test: Callable[[_Rig], Awaitable[None]], handlers: Handlers | None = None, group: int | None = None
) -> None:
    @contextlib.asynccontextmanager
    async def served() -> AsyncIterator[_Rig]:
        rig = _Rig(str(tmp_path / "qpq.sock"), handlers if handlers is not None else _HANDLERS, group)
        await rig.server.start()
        try:
            yield rig
        finally:
            for client in rig.clients:
                client.writer.close()
            await rig.server.stop()

    async def main() -> None:
        async with served() as rig:
            await asyncio.wait_for(test(rig), 2 * SECONDS)

    asyncio.run(main())


def _who(caller: Caller, _: Args) -> object:
    return {"role": caller.role.name, "user": caller.user, "restricted": caller.restricted, "uid": caller.uid}


async def _later(_: Caller, args: Args) -> object:
    await asyncio.sleep(0)
    return args.text("peer")


def _fails(_: Caller, __: Args) -> object:
    raise FailedError("the peer is not known")


def _fails_elsewhere(_: Caller, __: Args) -> object:
    raise QpqError("the disk is full")


def _faulty(_: Caller, __: Args) -> object:
    return {}["secret"]


_HANDLERS: Handlers = {
    "status": _who,
    "mesh.inbox": _who,
    "mesh.block": _later,
    "mesh.unblock": _fails,
    "mesh.mute": _fails_elsewhere,
    "mesh.unmute": _faulty,
    "mesh.outbox": lambda _, __: {"bytes": b"not JSON"},
    "mesh.user.export": _who,
}


# --- requests and answers ------------------------------------------------------------------


def test_a_request_is_answered_with_its_id(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        client.send(id=7, command="status")
        assert await client.line() == {
            "id": 7,
            "ok": True,
            "result": {"role": "ADMIN", "user": None, "restricted": False, "uid": os.geteuid()},
        }
        assert (await client.ask("mesh.block", peer="anna"))["result"] == "anna"
        assert (await client.ask("mesh.inbox", user="anna"))["result"]["user"] == "anna"
        assert rig.server.counters["control.requests"] == 3

    _run(tmp_path, test)


def test_errors_have_a_code_and_leave_the_connection_open(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        for command, args, code in (
            ("mesh.unblock", {"peer": "x"}, "failed"),
            ("mesh.mute", {"peer": "x"}, "failed"),
            ("mesh.unmute", {"peer": "x"}, "internal"),
            ("mesh.outbox", {}, "internal"),
            ("mesh.pers", {}, "usage"),
            ("status", {"x": 1}, "usage"),
            ("version", {}, "failed"),
        ):
            answer = await client.ask(command, **args)
            assert (answer["id"], answer["ok"], answer["error"]["code"]) == (1, False, code)
            assert "secret" not in answer["error"]["message"]
        assert (await client.ask("status", user="nobody"))["error"]["code"] == "failed"
        assert (await client.ask("status"))["ok"]
        assert [record.levelname for record in rig.records] == ["ERROR", "ERROR"]

    _run(tmp_path, test)


def test_what_is_no_request_is_told_and_survived(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        for line in (
            b"hello",
            b"[]",
            b"{}",
            b'{"id":1}',
            b"[" * 10000,
            b"\xff",
            b'{"id":1,"id":2,"command":"status"}',
            b'{"id":1,"command":"status","args":[]}',
            b'{"id":1,"command":"status","user":""}',
            b'{"id":1,"command":"status","users":"anna"}',
            b'{"id":1.5,"command":"status"}',
        ):
            client.writer.write(line + b"\n")
            answer = await client.line()
            assert answer["error"]["code"] == "usage"
        client.writer.write(b"\n  \n")
        assert (await client.ask("status"))["ok"]

    _run(tmp_path, test)


def test_a_line_that_never_ends_is_refused_at_its_limit(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        for _ in range(64):
            client.writer.write(b"x" * 65536)
            await client.writer.drain()
        client.writer.write_eof()
        answer = await client.line()
        assert answer["error"] == {"code": "usage", "message": f"a request of more than {MAX_LINE} bytes"}
        assert await client.closed()

    _run(tmp_path, test)


def test_the_longest_text_fits_in_a_line_however_it_is_escaped(tmp_path: Path) -> None:
    seen: list[str] = []

    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        assert (await client.ask("mesh.send", peer="anna", text="\x01" * 32768))["ok"]
        assert (await client.ask("mesh.send", peer="anna", text="x" * 32769))["error"]["code"] == "usage"
        assert seen == ["\x01" * 32768]

    _run(tmp_path, test, {"mesh.send": lambda _, args: seen.append(args.text("text"))})


def test_an_answer_that_nobody_could_hold_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ANSWER", 1000)

    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        answer = await client.ask("status")
        assert answer["error"]["code"] == "failed"
        assert "ask for less" in answer["error"]["message"]

    _run(tmp_path, test, {"status": lambda *_: "x" * 1000})


def test_requests_that_came_before_the_end_of_input_are_answered(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        for number in range(3 * limits.MAX_IN_FLIGHT):
            client.send(id=number, command="mesh.block", args={"peer": "p"})
        client.writer.write_eof()
        answers = [await client.line() for _ in range(3 * limits.MAX_IN_FLIGHT)]
        assert [answer["id"] for answer in answers] == list(range(3 * limits.MAX_IN_FLIGHT))
        assert await client.closed()

    _run(tmp_path, test)


# --- roles ---------------------------------------------------------------------------------


def test_roles_come_from_uid_and_group() -> None:
    peer = control_socket.Peer
    assert control_socket.role_of(peer(1, 0, 0, frozenset()), 500, None) is Role.ADMIN
    assert control_socket.role_of(peer(1, 500, 1, frozenset()), 500, None) is Role.ADMIN
    assert control_socket.role_of(peer(1, 501, 70, frozenset()), 500, 70) is Role.USER
    assert control_socket.role_of(peer(1, 501, 1, frozenset({70})), 500, 70) is Role.USER
    assert control_socket.role_of(peer(1, 501, 1, frozenset()), 500, 70) is Role.READ_ONLY
    assert control_socket.role_of(peer(1, 501, 0, frozenset({0})), 500, None) is Role.READ_ONLY


_ASK = """
import json, os, socket, sys
path, commands, uid, gid, groups = json.loads(sys.argv[1])
os.setgroups(groups)
os.setgid(gid)
os.setuid(uid)
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(path)
    lines = connection.makefile("rwb")
    for number, command in enumerate(commands):
        lines.write(json.dumps({"id": number} | command).encode() + b"\\n")
        lines.flush()
        print(lines.readline().decode().strip(), flush=True)
"""


async def _ask_as(
    path: str, commands: list[dict[str, object]], gid: int = NOBODY, groups: tuple[int, ...] = ()
) -> list[dict[str, Any]]:
    """Ask from another process that has become another user."""
    what = json.dumps([path, commands, NOBODY, gid, groups])
    # Nothing to measure there, and coverage could not write what it measured.
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", _ASK, what, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=unmeasured
    )
    out, err = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode == 0, err.decode()
    return [json.loads(line) for line in out.decode().splitlines()]


def _open_up(path: Path) -> None:
    """Let other users reach the socket in pytest's private directory."""
    for folder in (path, *path.parents):
        if folder.stat().st_uid == os.geteuid() and str(folder) not in {"/", "/tmp"}:  # noqa: S108
            folder.chmod(folder.stat().st_mode | 0o055)


@needs_root
def test_a_stranger_reads_the_state_and_nothing_else(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        _open_up(tmp_path)
        (tmp_path / "qpq.sock").chmod(0o666)
        answers = await _ask_as(
            rig.path,
            [
                {"command": "status"},
                {"command": "status", "user": "anna"},
                {"command": "watch", "user": "anna"},
                {"command": "become", "args": {"user": "anna"}},
            ],
        )
        assert [answer.get("error", {}).get("code") for answer in answers] == [None, "denied", "denied", "denied"]
        answers = await _ask_as(
            rig.path,
            [
                {"command": "status"},
                {"command": "mesh.inbox"},
                {"command": "mesh.user.export", "args": {"name": "anna", "passphrase": "x"}},
            ],
        )
        assert answers[0]["result"] == {"role": "READ_ONLY", "user": None, "restricted": False, "uid": NOBODY}
        assert [answer["error"]["code"] for answer in answers[1:]] == ["denied", "denied"]

    _run(tmp_path, test)


@needs_root
@pytest.mark.parametrize(("gid", "groups"), [(4242, ()), (NOBODY, (7, 4242))])
def test_a_member_of_the_sockets_group_uses_it_and_handles_no_identities(
    tmp_path: Path, gid: int, groups: tuple[int, ...]
) -> None:
    async def test(rig: _Rig) -> None:
        _open_up(tmp_path)
        state = (tmp_path / "qpq.sock").stat()
        assert (state.st_mode & 0o777, state.st_gid) == (0o660, 4242)
        answers = await _ask_as(
            rig.path,
            [
                {"command": "mesh.inbox", "user": "anna"},
                {"command": "mesh.user.export", "args": {"name": "anna", "passphrase": "x"}},
            ],
            gid,
            groups,
        )
        assert answers[0]["result"]["role"] == "USER"
        assert answers[1]["error"]["code"] == "denied"

    _run(tmp_path, test, group=4242)


@needs_root
def test_a_stranger_cannot_even_connect(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        _open_up(tmp_path)
        with pytest.raises(AssertionError, match="PermissionError"):
            await _ask_as(rig.path, [{"command": "status"}])

    _run(tmp_path, test)


# --- become --------------------------------------------------------------------------------


def test_become_binds_a_connection_for_good(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        client.send(id=1, command="become", args={"user": "anna"})
        assert (await client.line())["result"] == {"user": "anna"}
        bound = {"role": "USER", "user": "anna", "restricted": True, "uid": os.geteuid()}
        assert (await client.ask("mesh.inbox"))["result"] == bound
        assert (await client.ask("mesh.inbox", user="anna"))["result"] == bound
        assert (await client.ask("mesh.inbox", user="me"))["error"]["code"] == "denied"
        answer = await client.ask("mesh.user.export", name="anna", passphrase="x")  # noqa: S106
        assert answer["error"]["code"] == "denied"
        client.send(id=1, command="become", args={"user": "me"})
        assert (await client.line())["error"]["code"] == "denied"
        assert await client.closed()

    _run(tmp_path, test)


@pytest.mark.parametrize("args", [{"user": "nobody"}, {"user": "../me"}, {}, {"user": "anna", "x": 1}])
def test_a_become_that_fails_closes_the_connection_before_anything_else_is_done(
    tmp_path: Path, args: dict[str, object]
) -> None:
    done: list[object] = []

    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        client.send(id=1, command="become", args=args)
        client.send(id=2, command="status")
        assert not (await client.line())["ok"]
        assert await client.closed()
        assert done == []

    _run(tmp_path, test, {"status": lambda *_: done.append(1)})


def test_become_must_be_the_first_request(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        for first in (b'{"id":1,"command":"watch"}', b"garbage"):
            client = await rig.connect()
            client.writer.write(first + b"\n")
            await client.line()
            client.send(id=2, command="become", args={"user": "anna"})
            answer = await client.line()
            assert (answer["id"], answer["error"]["code"]) == (2, "denied")
            assert await client.closed()

    _run(tmp_path, test)


def test_requests_sent_together_with_become_are_bound_too(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        client.send(id=1, command="become", args={"user": "anna"})
        client.send(id=2, command="mesh.user.export", args={"name": "me", "passphrase": "x"})
        client.send(id=3, command="mesh.inbox", user="me")
        answers = {answer["id"]: answer for answer in [await client.line() for _ in range(3)]}
        assert [answers[number]["ok"] for number in (1, 2, 3)] == [True, False, False]

    _run(tmp_path, test)


# --- watch ---------------------------------------------------------------------------------


def test_what_nobody_watches_is_known_as_that(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        bound, silent = await rig.connect(), await rig.connect()
        bound.send(id=1, command="become", args={"user": "me"})
        assert (await bound.line())["ok"]
        assert (await silent.ask("status"))["ok"]
        assert not rig.server.is_watched("me")
        assert (await bound.ask("watch"))["ok"]
        assert rig.server.is_watched("me")
        assert not rig.server.is_watched("anna")

    _run(tmp_path, test)


def test_watchers_get_the_events_they_may_see(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        everybody, anna, bound, silent = [await rig.connect() for _ in range(4)]
        assert (await everybody.ask("watch"))["result"] == {"watching": True}
        assert (await anna.ask("watch", user="anna"))["ok"]
        bound.send(id=1, command="become", args={"user": "me"})
        assert (await bound.line())["ok"]
        assert (await bound.ask("watch"))["ok"]
        assert (await silent.ask("status"))["ok"]
        assert rig.server.is_watched("anna")
        rig.server.publish("message", {"text": "for anna"}, "anna")
        rig.server.publish("message", {"text": "for me"}, "me")
        rig.server.publish("peer", {"up": True})
        assert [(await everybody.line())["event"] for _ in range(3)] == ["message", "message", "peer"]
        assert [await anna.line() for _ in range(2)] == [
            {"event": "message", "text": "for anna"},
            {"event": "peer", "up": True},
        ]
        assert [(await bound.line()).get("text") for _ in range(2)] == ["for me", None]
        assert (await silent.ask("status"))["ok"]

    _run(tmp_path, test)


@needs_root
def test_a_read_only_watcher_sees_no_messages(tmp_path: Path) -> None:
    seen: list[tuple[bool, bool]] = []
    rigs: list[_Rig] = []

    def look(_: Caller, __: Args) -> object:
        (connection,) = rigs[0].server._connections
        seen.append((connection.watches(None), connection.watches("anna")))
        return None

    async def test(rig: _Rig) -> None:
        rigs.append(rig)
        _open_up(tmp_path)
        (tmp_path / "qpq.sock").chmod(0o666)
        await _ask_as(rig.path, [{"command": "watch"}, {"command": "status"}])
        assert seen == [(True, False)]

    _run(tmp_path, test, {"status": look})


def test_a_slow_watcher_gets_what_waits_once_it_reads(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        client = await _deaf(rig)
        rig.server.publish("message", {"text": "x" * 400_000})
        for number in range(10):
            rig.server.publish("message", {"number": number})
        client.setblocking(True)
        lines = await asyncio.to_thread(_read_lines, client, 11)
        assert [json.loads(line).get("number") for line in lines[1:]] == list(range(10))
        client.close()

    _run(tmp_path, test)


def test_a_watcher_that_does_not_read_is_dropped_and_costs_bounded_memory(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        for size in (10_000, 10):
            client = await _deaf(rig)
            (connection,) = rig.server._connections
            for _ in range(100_000):
                rig.server.publish("message", {"text": "x" * size})
                assert connection._queued <= limits.MAX_QUEUE_BYTES + 20_000
                assert len(connection._queue) <= limits.MAX_QUEUE + 1
                if not connection.watches(None):
                    break
            await _until(lambda: not rig.server._connections)
            client.close()
        assert rig.server.counters["control.dropped"] == 2
        assert "does not read" in rig.records[0].getMessage()

    _run(tmp_path, test)


def test_a_reader_that_leaves_its_answers_is_dropped_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WRITE_SECONDS", 0.05)

    async def test(rig: _Rig) -> None:
        client = await _deaf(rig)
        client.sendall(b'{"id":1,"command":"status"}\n' * 50)
        await _until(lambda: rig.server.counters["control.dropped"] == 1)
        await _until(lambda: not rig.server._connections)
        assert rig.server.counters["control.requests"] < 50
        client.close()

    _run(tmp_path, test, {"status": lambda *_: "x" * 200_000})


async def _deaf(rig: _Rig) -> socket.socket:
    """Connect a watcher with a small receive buffer that never reads."""
    client = socket.socket(socket.AF_UNIX)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, rig.path)
    await loop.sock_sendall(client, b'{"id":1,"command":"watch"}\n')
    await _until(lambda: any(connection.watches(None) for connection in rig.server._connections))
    return client


def _read_lines(client: socket.socket, count: int) -> list[bytes]:
    client.settimeout(SECONDS)
    with client.makefile("rb") as file:
        answer = file.readline()
        assert b"watching" in answer
        return [file.readline() for _ in range(count)]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 (what is waited for tells nobody)
            await asyncio.sleep(0.001)


# --- bounds --------------------------------------------------------------------------------


def test_a_thousand_connections_leave_the_daemon_at_work(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        first = await rig.connect()
        assert (await first.ask("status"))["ok"]
        refused = 0
        for _ in range(1000):
            client = await rig.connect()
            if len(rig.server._connections) == limits.MAX_CONNECTIONS and refused < 3:
                with contextlib.suppress(AssertionError):
                    assert (await client.line())["error"]["code"] == "busy"
                    assert await client.closed()
                    refused += 1
        await _until(lambda: rig.server.counters["control.refused"] == 1001 - limits.MAX_CONNECTIONS)
        assert len(rig.server._connections) == limits.MAX_CONNECTIONS
        assert (await first.ask("status"))["ok"]
        for client in rig.clients[1:]:
            client.writer.close()
        await _until(lambda: len(rig.server._connections) == 1)
        assert (await (await rig.connect()).ask("status"))["ok"]

    _run(tmp_path, test)


def test_the_last_places_are_kept_for_an_admin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: _Rig) -> None:
        monkeypatch.setattr(control_socket, "role_of", lambda *_: Role.USER)
        for _ in range(limits.MAX_CONNECTIONS - limits.RESERVED):
            assert (await (await rig.connect()).ask("status"))["ok"]
        assert (await (await rig.connect()).line())["error"]["code"] == "busy"
        monkeypatch.setattr(control_socket, "role_of", lambda *_: Role.ADMIN)
        assert (await (await rig.connect()).ask("status"))["ok"]

    _run(tmp_path, test)


def test_requests_in_flight_are_capped_for_each_and_for_all(tmp_path: Path) -> None:
    gate: list[asyncio.Event] = []
    running = 0

    async def wait(_: Caller, __: Args) -> object:
        nonlocal running
        running += 1
        await gate[0].wait()
        return None

    async def test(rig: _Rig) -> None:
        gate.append(asyncio.Event())
        for _ in range(limits.MAX_TASKS // limits.MAX_IN_FLIGHT):
            client = await rig.connect()
            for number in range(2 * limits.MAX_IN_FLIGHT):
                client.send(id=number, command="status")
        await _until(lambda: running == limits.MAX_TASKS)
        late = await rig.connect()
        assert (await late.ask("status"))["error"]["code"] == "busy"
        assert running == limits.MAX_TASKS
        gate[0].set()
        for client in rig.clients[:-1]:
            answers = [await client.line() for _ in range(2 * limits.MAX_IN_FLIGHT)]
            assert {answer["id"] for answer in answers} == set(range(2 * limits.MAX_IN_FLIGHT))

    _run(tmp_path, test, {"status": wait})


@pytest.mark.parametrize(
    ("limit", "sent", "logged"),
    [("LINE_SECONDS", b'{"id":1,', True), ("IDLE_SECONDS", b"", False), ("IDLE_SECONDS", b"\n", False)],
)
def test_silence_has_a_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, sent: bytes, logged: bool
) -> None:
    monkeypatch.setattr(limits, limit, 0.05)

    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        client.writer.write(sent)
        assert await client.closed()
        assert bool(rig.records) is logged

    _run(tmp_path, test)


def test_single_bytes_do_not_prolong_the_deadline_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LINE_SECONDS", 0.1)

    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        client.writer.write(b"x")
        await _until(lambda: any(connection._line_begun for connection in rig.server._connections))
        (connection,) = rig.server._connections
        deadline = connection._timer
        client.writer.write(b"y")
        await _until(lambda: len(connection._buffer) == 2)
        assert connection._timer is deadline
        assert await client.closed()

    _run(tmp_path, test)


def test_a_watcher_may_be_silent(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        assert (await client.ask("watch"))["ok"]
        (connection,) = rig.server._connections
        timer = connection._timer
        assert timer is None or timer.cancelled()

    _run(tmp_path, test)


def test_a_handler_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HANDLER_SECONDS", 0.05)

    async def hang(_: Caller, __: Args) -> object:
        await asyncio.Event().wait()
        return None

    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        answer = await client.ask("status")
        assert answer["error"] == {"code": "failed", "message": "status was not done within 0 seconds"}

    _run(tmp_path, test, {"status": hang})


def test_a_stop_ends_what_hangs_and_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STOP_SECONDS", 0.05)

    async def hang(_: Caller, __: Args) -> object:
        await asyncio.Event().wait()
        return None

    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        idle = await rig.connect()
        client.send(id=1, command="status")
        await _until(lambda: bool(rig.server._tasks) and len(rig.server._connections) == 2)
        await rig.server.stop()
        await rig.server.stop()
        assert await idle.closed()
        with contextlib.suppress(AssertionError):
            assert (await client.line())["error"]["message"] == "the daemon is stopping"
        assert not (tmp_path / "qpq.sock").exists()

    _run(tmp_path, test, {"status": hang})


def test_a_client_that_leaves_early_is_forgotten(tmp_path: Path) -> None:
    async def slow(_: Caller, __: Args) -> object:
        await asyncio.sleep(0.02)
        return "x"

    async def test(rig: _Rig) -> None:
        client = await rig.connect()
        client.send(id=1, command="status")
        await _until(lambda: bool(rig.server._tasks))
        client.writer.transport.abort()
        await _until(lambda: not rig.server._connections)
        await _until(lambda: not rig.server._tasks)

    _run(tmp_path, test, {"status": slow})


def test_a_peer_the_kernel_cannot_name_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> None:
        raise OSError(107, "not connected")

    async def test(rig: _Rig) -> None:
        monkeypatch.setattr(control_socket, "peer_of", gone)
        assert await (await rig.connect()).closed()

    _run(tmp_path, test)


# --- the file of the socket ----------------------------------------------------------------


def test_the_socket_is_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        control_socket.listen(str(tmp_path / "s")).close()
        assert os.umask(0) == 0
    finally:
        os.umask(old)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600


def test_a_stale_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    control_socket.listen(path).close()
    living = control_socket.listen(path)
    with pytest.raises(control_socket.ControlSocketError, match="a daemon answers"):
        control_socket.listen(path)
    living.close()
    control_socket.listen(path).close()


def test_a_daemon_too_busy_to_accept_is_not_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(path)
        busy.listen(0)
        waiting = socket.socket(socket.AF_UNIX)
        waiting.connect(path)
        with pytest.raises(control_socket.ControlSocketError, match="a daemon answers"):
            control_socket.listen(path)
        waiting.close()


def test_nothing_but_a_socket_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("file", "link"):
        with pytest.raises(control_socket.ControlSocketError, match="is no socket"):
            control_socket.listen(str(tmp_path / name))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_socket_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(control_socket.ControlSocketError, match="longer than 107 bytes"):
        control_socket.listen("/" + "x" * 107)
    with pytest.raises(control_socket.ControlSocketError, match="No such file"):
        control_socket.listen(str(tmp_path / "absent/s"))
    (tmp_path / "file").write_text("")
    with pytest.raises(control_socket.ControlSocketError, match="Not a directory"):
        control_socket.listen(str(tmp_path / "file/s"))
    control_socket.listen(str(tmp_path / "s")).close()

    def refuse(_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(control_socket.os, "unlink", refuse)
    with pytest.raises(control_socket.ControlSocketError, match=r"stale socket .* Read-only"):
        control_socket.listen(str(tmp_path / "s"))


def test_who_comes_in_while_the_server_stops_is_told_so(tmp_path: Path) -> None:
    async def test(rig: _Rig) -> None:
        late = Connection(rig.server)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            await rig.server.stop()
            await asyncio.get_running_loop().connect_accepted_socket(lambda: late, ours)
            theirs.settimeout(2)
            refusal = json.loads(await asyncio.to_thread(theirs.recv, 4096))
        assert refusal["error"] == {"code": "busy", "message": "this node is stopping; try again once it is back"}
        assert rig.server.counters["control.refused"] == 0

    _run(tmp_path, test)


@pytest.mark.parametrize("turns", range(5))
def test_who_is_being_taken_in_while_the_server_stops_is_not_left_waiting(tmp_path: Path, turns: int) -> None:
    async def test(rig: _Rig) -> None:
        with socket.socket(socket.AF_UNIX) as late:
            late.connect(rig.path)
            for _ in range(turns):
                await asyncio.sleep(0)
            await rig.server.stop()
            late.settimeout(limits.LINGER_SECONDS + 2)
            with contextlib.suppress(ConnectionError):
                assert b"stopping" in (told := await asyncio.to_thread(late.recv, 4096)) or not told

    gc.disable()  # as while a node starts: a connection that asyncio has lost would be closed by chance only
    try:
        _run(tmp_path, test)
    finally:
        gc.enable()


def test_a_stopped_server_leaves_the_socket_of_its_successor(tmp_path: Path) -> None:
    path = tmp_path / "s"
    control_socket.listen(str(path)).close()
    inode = path.stat().st_ino
    control_socket.remove(str(path), inode + 1)
    assert path.exists()
    control_socket.remove(str(path), inode)
    assert not path.exists()
    control_socket.remove(str(path), inode)


def test_a_group_is_found_by_name_or_number(tmp_path: Path) -> None:
    groups = tmp_path / "group"
    groups.write_text("root:x:0:\nodd\nbad:x:y:\nqpq:x:4242:anna\n")
    assert control_socket.group_id("", str(groups)) is None
    assert control_socket.group_id("77", str(groups)) == 77
    assert control_socket.group_id("qpq", str(groups)) == 4242
    for name, part in (("bad", "knows no group"), ("qp", "knows no group")):
        with pytest.raises(control_socket.ControlSocketError, match=part):
            control_socket.group_id(name, str(groups))
    with pytest.raises(control_socket.ControlSocketError, match="cannot be read"):
        control_socket.group_id("qpq", str(tmp_path / "absent"))


def test_the_kernel_names_both_ends(tmp_path: Path) -> None:
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        peer = control_socket.peer_of(left)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert set(os.getgroups()) == set(peer.groups)
    assert tmp_path.exists()


def test_an_old_kernel_without_peer_groups_leaves_the_primary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "_SO_PEERGROUPS", 250)
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        assert control_socket.peer_of(left).groups == frozenset()


def test_the_errors_of_the_socket_are_no_programming_faults() -> None:
    assert issubclass(control_socket.ControlSocketError, QpqError)
    assert {BusyError.code, DeniedError.code} == {"busy", "denied"}

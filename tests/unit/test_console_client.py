"""The client of the control socket against a server that behaves, and against ones that do not."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from console_fake import FakeServer, refusing

from qpq.console import client as client_module
from qpq.console.client import MAX_EVENTS, Client, LineBuffer
from qpq.console.errors import ConnectionLostError, DeadlineError, NoDaemonError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    made = FakeServer(tmp_path / "s")
    yield made
    made.close()


class Clock:
    """Time that passes a second with every look."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 1
        return self.seconds


def pair(*, clock: Clock | None = None) -> tuple[Client, socket.socket]:
    ours, theirs = socket.socketpair()
    return (Client(ours, clock=clock) if clock else Client(ours)), theirs


def test_a_request_gets_its_result(server: FakeServer) -> None:
    client = Client.connect(server.path, user="anna")
    assert client.request("version") == {"version": "0.1.0"}
    assert server.requests == [{"id": 1, "command": "version", "args": {}, "user": "anna"}]
    client.close()
    client.close()


def test_without_a_user_none_is_named(server: FakeServer) -> None:
    Client.connect(server.path).request("status", {"a": 1})
    assert server.requests == [{"id": 1, "command": "status", "args": {"a": 1}}]


def test_a_refusal_carries_code_message_and_exit_status(server: FakeServer) -> None:
    server.table["status"] = refusing("denied", "not you")
    server.table["version"] = refusing("usage", "not so")
    client = Client.connect(server.path)
    with pytest.raises(RefusedError, match="not you") as denied:
        client.request("status")
    assert (denied.value.code, denied.value.status) == ("denied", 1)
    with pytest.raises(RefusedError) as usage:
        client.request("version")
    assert usage.value.status == 2


def test_events_between_are_kept_in_order(server: FakeServer) -> None:
    client = Client.connect(server.path)
    client.request("watch")
    for number in range(3):
        server.push({"event": "peer", "id": number})
    client.request("status")
    assert [event["id"] for event in client.events()] == [0, 1, 2]
    assert client.events() == []
    server.push({"event": "peer", "id": 9})
    assert client.receive() == [{"event": "peer", "id": 9}]


def test_waiting_for_one_event_keeps_the_others(server: FakeServer) -> None:
    client = Client.connect(server.path)
    client.request("watch")
    server.push({"event": "message", "id": "a"})
    server.push({"event": "state", "id": "b"})
    found = client.wait_event(client.now() + 5, lambda event: event["event"] == "state")
    assert found == {"event": "state", "id": "b"}
    assert client.wait_event(client.now() + 5) == {"event": "message", "id": "a"}
    assert client.wait_event(client.now() - 1) is None


def test_events_that_nobody_takes_are_capped_oldest_first() -> None:
    client, theirs = pair()
    theirs.sendall(b"".join(b'{"event":"peer","id":%d}\n' % number for number in range(MAX_EVENTS + 10)))
    theirs.sendall(b'{"id":1,"ok":true}\n')
    assert client.request("status") is None
    assert client.lost_events == 10
    assert client.events()[0]["id"] == 10


def test_answers_to_earlier_requests_are_skipped() -> None:
    client, theirs = pair()
    theirs.sendall(b'{"id":77,"ok":true,"result":1}\n{"id":1,"ok":true,"result":2}\n')
    assert client.request("status") == 2


def test_a_refusal_without_an_id_belongs_to_what_was_sent() -> None:
    client, theirs = pair()
    theirs.sendall(b'{"id":null,"ok":false,"error":{"code":"busy","message":"too many"}}\n')
    with pytest.raises(RefusedError, match="too many"):
        client.request("status")


def test_an_error_without_words_is_an_error_too() -> None:
    client, theirs = pair()
    theirs.sendall(b'{"id":1,"ok":false}\n')
    with pytest.raises(RefusedError, match="refused"):
        client.request("status")


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b"\xff\n", b"1\n"])
def test_a_daemon_that_speaks_something_else_is_given_up(line: bytes) -> None:
    client, theirs = pair()
    theirs.sendall(line)
    with pytest.raises(ConnectionLostError):
        client.request("status")


def test_a_closed_connection_is_told() -> None:
    client, theirs = pair()
    theirs.close()
    with pytest.raises(ConnectionLostError):
        client.request("status")
    with pytest.raises(ConnectionLostError):
        client.receive()
    client, theirs = pair()
    client.close()
    with pytest.raises(ConnectionLostError):
        client.receive()


def test_every_wait_has_a_deadline() -> None:
    client, _theirs = pair()
    with pytest.raises(DeadlineError):
        client.request("status", timeout=0.01)
    hurried, _other = pair(clock=Clock())
    with pytest.raises(DeadlineError):
        hurried.request("status", timeout=1.5)


def test_a_daemon_that_does_not_read_does_not_hold_us() -> None:
    ours, _theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with pytest.raises(DeadlineError):
        Client(ours).request("mesh.send", {"text": "x" * 1_000_000}, timeout=0.05)


def test_a_line_without_an_end_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_LINE", 10)
    buffer = LineBuffer()
    assert buffer.feed(b"abc\n\n") == [b"abc"]
    assert buffer.feed(b"1234567890") == []
    with pytest.raises(ConnectionLostError):
        buffer.feed(b"1")


def test_without_a_daemon_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoDaemonError, match="qpq run"):
        Client.connect(str(tmp_path / "none"))
    with pytest.raises(NoDaemonError, match="longer than 107"):
        Client.connect(str(tmp_path / ("x" * 200)))
    with pytest.raises(NoDaemonError):
        Client.connect("a\0b")


@pytest.mark.parametrize(("error", "words"), [(PermissionError(13, "no"), "group"), (TimeoutError(), "does not take")])
def test_other_faults_of_the_socket_have_their_own_words(
    monkeypatch: pytest.MonkeyPatch, error: OSError, words: str
) -> None:
    def fail(_self: object, _path: object) -> None:
        raise error

    class Failing(socket.socket):
        connect = fail

    monkeypatch.setattr(client_module.socket, "socket", Failing)
    with pytest.raises(NoDaemonError, match=words):
        Client.connect(os.devnull)

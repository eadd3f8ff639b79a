"""A client of the control socket: JSON lines over a Unix socket, every wait with a deadline.

Blocking and single-threaded; the interactive console waits for ``fileno`` itself and calls ``receive``.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from typing import TYPE_CHECKING

from qpq.console import document
from qpq.console.errors import ConnectionLostError, DeadlineError, NoDaemonError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.console.document import Document, Json

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 15.0
# One inbox page of the longest messages, escaped; what is longer is no answer of ours.
MAX_LINE = 8 * 1024 * 1024
MAX_EVENTS = 1024
_MAX_PATH = 107
_CHUNK = 65536


def _any(_event: Document) -> bool:
    return True


class LineBuffer:
    """Bytes in, complete lines out; raises ConnectionLostError beyond 8 MiB without a line end."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read; return the complete lines in it, without their ends."""
        self._rest += data
        lines: list[bytes] = []
        if b"\n" in data:
            *lines, rest = bytes(self._rest).split(b"\n")
            self._rest = bytearray(rest)
        if len(self._rest) > MAX_LINE:
            raise ConnectionLostError("the daemon's answer has more than 8 MiB; ask for less (--limit)")
        return [line for line in lines if line]


class Client:
    """One connection; ``user`` goes with every request, events that come in between are kept (at most 1024)."""

    def __init__(
        self, connection: socket.socket, *, user: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.user = user
        self.lost_events = 0
        self._socket = connection
        self._clock = clock
        self._lines = LineBuffer()
        self._events: deque[Document] = deque()
        self._answers: deque[Document] = deque(maxlen=16)
        self._next_id = 1

    @classmethod
    def connect(cls, path: str, *, user: str = "", timeout: float = CONNECT_SECONDS) -> Client:
        """Connect to the daemon at ``path``; raises NoDaemonError with what to do."""
        if len(path.encode("utf-8", "surrogateescape")) > _MAX_PATH:
            raise NoDaemonError(f"the socket path is longer than {_MAX_PATH} bytes: {path}; choose one with --socket")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(path)
        except (OSError, ValueError) as error:
            connection.close()
            raise NoDaemonError(_why(path, error)) from None
        return cls(connection, user=user)

    def now(self) -> float:
        """Return the time of the clock that deadlines are given in (seconds)."""
        return self._clock()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the connection; a second time does nothing."""
        self._socket.close()

    def request(self, command: str, args: Document | None = None, *, timeout: float = ANSWER_SECONDS) -> Json:
        """Send one command and return its result.

        Raises RefusedError (the daemon's own error), DeadlineError after ``timeout`` seconds, ConnectionLostError.
        """
        number = self._next_id
        self._next_id += 1
        request: Document = {"id": number, "command": command, "args": args or {}}
        if self.user:
            request["user"] = self.user
        deadline = self._clock() + timeout
        self._send(document.dump(request).encode("ascii") + b"\n", deadline)
        while True:
            answer = self._answer_to(number)
            if answer is not None:
                return _result(answer)
            self._read(deadline)

    def events(self) -> list[Document]:
        """Return the events that have come and forget them; reads nothing."""
        found = list(self._events)
        self._events.clear()
        return found

    def receive(self) -> list[Document]:
        """Read once what is there (call when readable) and return the events in it."""
        self._read(self._clock() + ANSWER_SECONDS)
        return self.events()

    def wait_event(self, deadline: float, wanted: Callable[[Document], bool] = _any) -> Document | None:
        """Return the next event that is ``wanted``, None when none came until ``deadline`` (``now``'s clock, seconds).

        The others are kept for ``events``.
        """
        while True:
            for at, event in enumerate(self._events):
                if wanted(event):
                    del self._events[at]
                    return event
            try:
                self._read(deadline)
            except DeadlineError:
                return None

    def _answer_to(self, number: int) -> Document | None:
        while self._answers:
            answer = self._answers.popleft()
            # An answer without an id refuses a line that the daemon could not read: the one just sent.
            if answer.get("id") in {number, None}:
                return answer
        return None

    def _send(self, data: bytes, deadline: float) -> None:
        try:
            self._socket.settimeout(max(deadline - self._clock(), 0.001))
            self._socket.sendall(data)
        except TimeoutError:
            raise DeadlineError("the daemon does not take the command; see qpq doctor") from None
        except OSError as error:
            raise ConnectionLostError(f"the daemon has closed the connection ({error.strerror})") from None

    def _read(self, deadline: float) -> None:
        left = deadline - self._clock()
        if left <= 0:
            raise DeadlineError("the daemon does not answer; see qpq doctor")
        try:
            self._socket.settimeout(left)
            data = self._socket.recv(_CHUNK)
        except TimeoutError:
            raise DeadlineError("the daemon does not answer; see qpq doctor") from None
        except OSError as error:
            raise ConnectionLostError(f"the daemon has closed the connection ({error.strerror})") from None
        if not data:
            raise ConnectionLostError("the daemon has closed the connection")
        for line in self._lines.feed(data):
            self._sort(line)

    def _sort(self, line: bytes) -> None:
        try:
            found = document.parse(line)
        except ValueError:
            raise ConnectionLostError("the daemon sent something that is no control document") from None
        if "event" not in found:
            self._answers.append(found)
            return
        if len(self._events) >= MAX_EVENTS:
            self._events.popleft()
            self.lost_events += 1
        self._events.append(found)


def _result(answer: Document) -> Json:
    if answer.get("ok") is True:
        return answer.get("result")
    error = document.as_document(answer.get("error"))
    raise RefusedError(document.text(error, "code", "failed"), document.text(error, "message", "the daemon refused"))


def _why(path: str, error: OSError | ValueError) -> str:
    if isinstance(error, PermissionError):
        return f"this account may not use the daemon's socket {path}; become a member of its group"
    if isinstance(error, TimeoutError):
        return f"the daemon at {path} does not take connections; see qpq doctor"
    return f"no daemon answers at {path}; start one with: qpq run (or qpq daemon), or name its socket with --socket"

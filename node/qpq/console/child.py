"""``qpq run``: a daemon that lives as long as the console that started it."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qpq.console.client import Client
from qpq.console.errors import ConsoleError, NoDaemonError
from qpq.console.files import read_tail
from qpq.console.safe import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qpq.console.arguments import Arguments
    from qpq.console.context import Context

LOG_NAME = "qpq.log"
MAX_LOG = 1 << 20
START_SECONDS = 30.0
STOP_SECONDS = 6.0
_LOOK_SECONDS = 0.05
_LAST_LINES = 5
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def run_with_daemon(context: Context, arguments: Arguments, console: Callable[[], int]) -> int:
    """Use the daemon that runs, else start one (log: ``qpq.log`` in the data directory), and open ``console``."""
    if _answers(context.socket):
        context.show([f"a daemon runs already at {safe(context.socket)}; this console uses it"])
        return console()
    with _leaving_tidily(), _child(context, arguments) as log:
        context.show([f"the node runs; it stops with this console; its log is {safe(log)}"])
        return console()


def daemon_command() -> list[str]:
    """Return the words that start this program again: the compiled binary, or the interpreter with ``-m qpq``."""
    if "__compiled__" in globals():
        return ["/proc/self/exe"]
    return [sys.executable, "-m", "qpq"]


@contextmanager
def _child(context: Context, arguments: Arguments) -> Iterator[str]:
    """Start the daemon, wait until it answers, stop it at the end; gives the log's path."""
    log = f"{context.data_dir.rstrip('/')}/{LOG_NAME}"
    try:
        os.makedirs(context.data_dir, 0o700, exist_ok=True)
        _set_aside(log)
        started = _spawn([*daemon_command(), "daemon", *arguments.for_daemon()], log, dict(context.environ))
    except OSError as error:
        raise ConsoleError(f"the daemon cannot be started: {error.strerror}: {error.filename or log}") from None
    child = _Child(started)
    try:
        _wait_until_ready(child, context.socket, log)
        yield log
    finally:
        context.close()
        child.stop()


def _spawn(command: list[str], log: str, environ: dict[str, str]) -> int:
    """Start ``command`` in a process group of its own, so that ^C does not reach it; returns its id."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    return os.posix_spawn(
        command[0],
        command,
        environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setpgroup=0,
    )


def _set_aside(log: str) -> None:
    """Begin a new log when the old one has more than 1 MiB; one old one is kept."""
    if os.path.exists(log) and os.path.getsize(log) > MAX_LOG:
        os.replace(log, log + ".1")


class _Child:
    """A process to be reaped exactly once."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._ended = False

    def has_ended(self) -> bool:
        """Whether it is gone."""
        if not self._ended:
            self._ended = os.waitpid(self._number, os.WNOHANG)[0] != 0
        return self._ended

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is still there after 6 s."""
        for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
            if self.has_ended():
                return
            os.kill(self._number, number)
            deadline = time.monotonic() + seconds
            while not self.has_ended() and time.monotonic() < deadline:
                time.sleep(_LOOK_SECONDS)


def _wait_until_ready(child: _Child, socket: str, log: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(socket):
        if child.has_ended():
            raise ConsoleError(
                "\n".join([f"the daemon has ended; the last lines of {log}:", *read_tail(log, _LAST_LINES)])
            )
        if time.monotonic() > deadline:
            raise ConsoleError(f"the daemon does not answer after {START_SECONDS:.0f} s; see {log}")
        time.sleep(_LOOK_SECONDS)


def _answers(socket: str) -> bool:
    try:
        Client.connect(socket).close()
    except NoDaemonError:
        return False
    return True


@contextmanager
def _leaving_tidily() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this process by way of the ``finally`` clauses."""
    before = {number: signal.signal(number, _leave) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)

"""The faults of the console; each carries the exit status of DESIGN section 7."""

from __future__ import annotations

from qpq.errors import QpqError

DONE = 0
FAILED = 1
USAGE = 2
NO_DAEMON = 3


class ConsoleError(QpqError):
    """A command could not be done; the message is shown on stderr and ``status`` is the exit status."""

    status = FAILED


class UsageError(ConsoleError):
    """The command was not written as its help line says."""

    status = USAGE


class DeniedError(ConsoleError):
    """The command exists but this console or this account may not use it."""


class RefusedError(ConsoleError):
    """The daemon answered with an error; ``code`` is its word for it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = USAGE if code == "usage" else FAILED


class NoDaemonError(ConsoleError):
    """Nobody answers at the control socket; start the daemon or name the right socket."""

    status = NO_DAEMON


class ConnectionLostError(ConsoleError):
    """The daemon closed the connection or broke the protocol in the middle of a command."""


class DeadlineError(ConsoleError):
    """The daemon did not answer in time; ``qpq doctor`` tells whether it still runs."""

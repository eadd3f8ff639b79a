"""Only what asyncio mentions when it is imported: this program starts no others through it."""

from __future__ import annotations

from typing import NoReturn

PIPE = -1
STDOUT = -2
DEVNULL = -3


class SubprocessError(Exception):
    """The root."""


class CalledProcessError(SubprocessError):
    """Never raised."""


class TimeoutExpired(SubprocessError):
    """Never raised."""


class Popen:
    """Says that it is missing."""

    def __init__(self, *_: object, **__: object) -> None:
        raise NotImplementedError("starting programs through subprocess is not built in")


def run(*_: object, **__: object) -> NoReturn:
    """Refuse."""
    raise NotImplementedError("starting programs through subprocess is not built in")


call = check_call = check_output = getoutput = run

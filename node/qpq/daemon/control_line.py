"""The lines of the control protocol: bytes to a request, answers and events to bytes; pure.

Request ``{"id": 1, "command": "mesh.send", "args": {...}, "user": "anna"}``; answer ``{"id": 1, "ok": true,
"result": ...}`` or ``{"id": 1, "ok": false, "error": {"code": "usage", "message": "..."}}``; event ``{"event":
"message", ...}``. One JSON object (RFC 8259) a line, ASCII when written by us. What a request may be is narrow: no
doubled keys, no floating point numbers, no nesting beyond ``args``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from qpq.daemon.commands import CommandError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LINE = 256 * 1024
"""Bytes of a request without its newline."""
MAX_ID = (1 << 53) - 1
MAX_COMMAND = 64
MAX_USER = 64

_KEYS = frozenset({"id", "command", "args", "user"})
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_MAX_NESTING = 8


class RequestError(UsageError):
    """A line that is no request; ``id`` is the request's where it could be read, else None."""

    def __init__(self, text: str, number: int | None = None) -> None:
        """Name the fault and, where known, the request's id."""
        super().__init__(text)
        self.id = number


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it was read; its arguments are not checked yet."""

    id: int
    command: str
    args: Mapping[str, object]
    user: str | None


def decode(line: bytes) -> Request:
    """Read one line. Raises RequestError."""
    if len(line) > MAX_LINE:
        raise RequestError(f"a request of more than {MAX_LINE} bytes")
    document = _document(line)
    number = document.get("id")
    if type(number) is not int or not 0 <= number <= MAX_ID:
        raise RequestError("a request needs an id, a whole number from 0 to 2^53-1")
    unknown = sorted(set(document) - _KEYS)
    if unknown:
        raise RequestError(f"a request has no {unknown[0][:MAX_COMMAND]!a}; it has id, command, args and user", number)
    command, args, user = document.get("command"), document.get("args"), document.get("user")
    if not isinstance(command, str) or not 0 < len(command) <= MAX_COMMAND:
        raise RequestError("a request needs a command", number)
    if args is not None and not isinstance(args, dict):
        raise RequestError("args must be an object", number)
    if user is not None and (not isinstance(user, str) or not 0 < len(user) <= MAX_USER):
        raise RequestError("user must be the name of a user", number)
    return Request(number, command, args or {}, user)


def answer(number: int, result: object) -> bytes:
    """Return the line that answers a request with its result, which must be plain JSON."""
    return _line({"id": number, "ok": True, "result": result})


def refusal(number: int | None, error: CommandError) -> bytes:
    """Return the line that answers a request with an error."""
    return _line({"id": number, "ok": False, "error": {"code": error.code, "message": str(error)}})


def event(name: str, fields: Mapping[str, object]) -> bytes:
    """Return the line that tells a watcher of an event."""
    return _line({"event": name, **fields})


def _document(line: bytes) -> dict[str, object]:
    # deep nesting would cost the decoder's stack, so brackets outside strings are counted first
    if _brackets(line) > _MAX_NESTING and _brackets(_STRINGS.sub(b"", line)) > _MAX_NESTING:
        raise RequestError("a request with too many brackets")
    try:
        value = _READER.decode(line.decode())
    except UnicodeDecodeError:
        raise RequestError("a request that is not UTF-8") from None
    except ValueError:
        raise RequestError("a request that is not JSON") from None
    if not isinstance(value, dict):
        raise RequestError("a request is a JSON object")
    return value


def _brackets(line: bytes) -> int:
    return line.count(b"{") + line.count(b"[")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise RequestError("a request with a doubled key")
    return document


def _no_number(text: str) -> NoReturn:
    raise RequestError(f"{text[:20]} is no number that a request may hold")


def _line(document: Mapping[str, object]) -> bytes:
    return _WRITER.encode(document).encode() + b"\n"


# What ``json.loads`` and ``json.dumps`` would make anew for each line.
_READER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_no_number, parse_constant=_no_number)
_WRITER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))

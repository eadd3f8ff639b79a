"""Completion in the interactive console: commands, options, peers and users, by the command table."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qpq.console.commands import PER_COMMAND, Command, available
from qpq.console.document import rows, text
from qpq.console.editor import Completion
from qpq.console.errors import ConsoleError
from qpq.console.safe import safe
from qpq.console.values import CHOICES, Kind
from qpq.console.words import quote, split

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.console.context import Context
    from qpq.console.document import Document, Json

MAX_NAMES = 200
FRESH_SECONDS = 5.0
ASK_SECONDS = 1.0
_SHORT_ID = 12
_SHORT_MESSAGE = 8
_LISTS = ("peers", "users", "petnames", "messages")
_ASKED = {
    Kind.PEER: ("mesh.peers", "mesh.identity"),
    Kind.USER: ("mesh.user.list",),
    Kind.MESSAGE: ("mesh.outbox",),
    Kind.TOPIC: ("mesh.channels",),
}


class Completer:
    """Callable for the editor; names come from ``names`` by kind."""

    def __init__(self, names: Callable[[Kind], list[str]], *, restricted: bool = False) -> None:
        self._names = names
        self._commands = available(restricted=restricted, interactive=True)
        self._restricted = restricted

    def __call__(self, line: str, cursor: int) -> Completion:
        """Return what may stand at the cursor."""
        before = line[:cursor]
        words = split(before)
        start = words[-1].start if words and words[-1].end == cursor else cursor
        typed = before[start:]
        spoken = [word.value for word in words if word.start < start]
        if not spoken and not typed.startswith("/"):
            return Completion(cursor, ())
        if not spoken:
            return Completion(start, tuple(sorted({f"/{c.words[0]} " for c in self._commands if _begins(c, typed)})))
        spoken[0] = spoken[0].removeprefix("/")
        return Completion(start, tuple(self._candidates(spoken, typed)))

    def _candidates(self, spoken: list[str], typed: str) -> list[str]:
        for command in self._commands:
            if list(command.words) == spoken[: len(command.words)]:
                return self._after(command, spoken[len(command.words) :], typed)
        depth = len(spoken)
        following = {
            command.words[depth]
            for command in self._commands
            if len(command.words) > depth and list(command.words[:depth]) == spoken
        }
        return sorted(f"{word} " for word in following if word.startswith(typed))

    def _after(self, command: Command, given: list[str], typed: str) -> list[str]:
        if typed.startswith("--"):
            options = [*command.options, *PER_COMMAND]
            if self._restricted:
                options = [option for option in options if option.kind not in {Kind.FILE, Kind.USER}]
            return sorted(f"{option.name} " for option in options if option.name.startswith(typed))
        at = len([word for word in given if not word.startswith("--")])
        if at >= len(command.arguments):
            return []
        argument = command.arguments[at]
        if argument.kind is Kind.COMMAND:
            return sorted({f"{known.words[0]} " for known in self._commands if known.words[0].startswith(typed)})
        found = {f"{quote(name)} " for name in self._names(argument.kind)[:MAX_NAMES]}
        return sorted(name for name in found if name.startswith(typed))


class Directory:
    """Names for completion, asked from the daemon at most every 5 s and never for longer than 1 s."""

    def __init__(self, context: Context, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._clock = clock
        self._known: dict[Kind, tuple[float, list[str]]] = {}

    def names(self, kind: Kind) -> list[str]:
        """Return the names of one kind, none when the daemon does not tell."""
        if kind not in _ASKED:
            return list(CHOICES.get(kind, ()))
        asked, names = self._known.get(kind, (-FRESH_SECONDS, []))
        if self._clock() - asked >= FRESH_SECONDS:
            names = [name for command in _ASKED[kind] for name in self._ask(command, kind)]
            self._known[kind] = (self._clock(), names)
        return names

    def _ask(self, command: str, kind: Kind) -> list[str]:
        if self._context.restricted and kind is Kind.USER:
            return []
        try:
            result = self._context.request(command, timeout=ASK_SECONDS)
        except ConsoleError:
            return []
        names: list[str] = []
        short = _SHORT_MESSAGE if kind is Kind.MESSAGE else _SHORT_ID
        for row in _rows(result):
            name = text(row, "topic" if kind is Kind.TOPIC else "name")
            names.append(name if _harmless(name) else text(row, "id")[:short])
        return [name for name in names if _harmless(name)]


def _rows(result: Json) -> list[Document]:
    """Return the rows of an answer, and the users that hang below them."""
    found = rows(result) or [row for key in _LISTS for row in rows(result, key)]
    return found + [user for row in found for user in rows(row, "users")]


def _harmless(name: str) -> bool:
    """Whether a name can be shown and typed as it is; others have to be typed by their id."""
    return bool(name) and safe(name) == name


def _begins(command: Command, typed: str) -> bool:
    return f"/{command.words[0]}".startswith(typed)

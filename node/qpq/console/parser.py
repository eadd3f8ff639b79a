"""From words to one command of the table with checked values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from qpq.console.commands import COMMANDS, PER_COMMAND, Argument, Command, Option
from qpq.console.errors import DeniedError, UsageError
from qpq.console.safe import safe_name
from qpq.console.values import Kind, convert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpq.console.words import Word

_LOOKS_LIKE_OPTION = re.compile(r"--[a-z][a-z-]*(=.*)?", re.DOTALL)
_END_OF_OPTIONS = "--"
_ALIASES = {"?": "help", "exit": "quit"}


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command with its values; flags that were given are True in ``options``."""

    command: Command
    values: dict[str, str | int] = field(default_factory=dict)
    options: dict[str, str | int] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Return an argument's or option's text, empty when it was not given."""
        found = self.values.get(name, self.options.get(name, ""))
        return str(found)

    def number(self, name: str) -> int | None:
        """Return an option's number when it was given."""
        found = self.options.get(name)
        return found if isinstance(found, int) else None

    def flag(self, name: str) -> bool:
        """Whether a flag was given."""
        return name in self.options


def parse(line: str, words: Sequence[Word], *, restricted: bool = False, interactive: bool = False) -> Invocation:
    """Read a command: ``words`` of ``line``; raises UsageError, or DeniedError for what is not for this console."""
    command, used = find(words)
    if command.interactive and not interactive:
        raise UsageError(f"{command.name}: only in the interactive console")
    if restricted and not command.restricted:
        raise DeniedError(f"{command.name}: not in the restricted console")
    positional, options = _take_options(command, words[used:], restricted=restricted)
    return Invocation(command, _values(command, positional, line), options)


def find(words: Sequence[Word]) -> tuple[Command, int]:
    """Return the command the words begin with and how many words it took; raises UsageError."""
    spoken = [word.value for word in words[:3]]
    if spoken:
        first = spoken[0].removeprefix("/")
        spoken[0] = _ALIASES.get(first, first)
    for length in (3, 2, 1):
        for command in COMMANDS:
            if len(command.words) == length and list(command.words) == spoken[:length]:
                return command, length
    raise UsageError(_unknown(spoken))


def beginning_with(prefix: Sequence[str]) -> list[Command]:
    """Return the commands whose words begin with ``prefix``."""
    return [command for command in COMMANDS if list(command.words[: len(prefix)]) == list(prefix)]


def _unknown(spoken: list[str]) -> str:
    for length in (2, 1):
        group = beginning_with(spoken[:length]) if len(spoken) >= length else []
        if group:
            further = sorted({command.words[length] for command in group})
            return f"{' '.join(spoken[:length])}: write one of {', '.join(further)} after it"
    name = safe_name(spoken[0]) if spoken else ""
    return f"no command {name!r}; help lists them"


def _take_options(
    command: Command, words: Sequence[Word], *, restricted: bool
) -> tuple[list[Word], dict[str, str | int]]:
    positional: list[Word] = []
    options: dict[str, str | int] = {}
    rest_at = next((at for at, argument in enumerate(command.arguments) if argument.rest), None)
    queue = list(words)
    while queue:
        word = queue.pop(0)
        in_text = rest_at is not None and len(positional) > rest_at
        if word.value == _END_OF_OPTIONS and not word.quoted and not in_text:
            positional += queue
            break
        if word.quoted or not _LOOKS_LIKE_OPTION.fullmatch(word.value):
            positional.append(word)
            continue
        name, equals, given = word.value.partition("=")
        option = _option(command, name, restricted=restricted)
        if option.kind is None:
            if equals:
                raise UsageError(f"{name} takes no value")
            options[name] = True
            continue
        if not equals:
            if not queue:
                raise UsageError(f"{name} needs a value: {option.help}")
            given = queue.pop(0).value
        options[name] = convert(option.kind, given)
    return positional, options


def _option(command: Command, name: str, *, restricted: bool) -> Option:
    for option in (*command.options, *PER_COMMAND):
        if option.name == name:
            if restricted and (option.kind is Kind.FILE or name == "--user"):
                raise DeniedError(f"{name}: not in the restricted console")
            return option
    hint = "; write -- before a text that has such a word" if any(a.rest for a in command.arguments) else ""
    raise UsageError(f"{command.name} has no option {safe_name(name)}{hint}")


def _values(command: Command, words: list[Word], line: str) -> dict[str, str | int]:
    values: dict[str, str | int] = {}
    for argument in command.arguments:
        if not words:
            if argument.required:
                raise UsageError(f"{argument.name} is missing; write: {command.usage()}")
            continue
        if argument.rest:
            values[argument.name] = _rest(argument, words, line)
            return values
        values[argument.name] = convert(argument.kind, words.pop(0).value)
    if words:
        raise UsageError(f"{safe_name(words[0].value)!r} is too much; write: {command.usage()}")
    return values


def _rest(argument: Argument, words: list[Word], line: str) -> str | int:
    """One word without its quotes; several as they stand in the line, unless an option stood between them."""
    if len(words) == 1:
        return convert(argument.kind, words[0].value)
    together = all(line[one.end : other.start].isspace() for one, other in pairwise(words))
    if together:
        return convert(argument.kind, line[words[0].start : words[-1].end])
    return convert(argument.kind, " ".join(line[word.start : word.end] for word in words))

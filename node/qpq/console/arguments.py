"""The process's arguments: global options, and a program (daemon, run), a command, or nothing.

What follows ``daemon`` is the daemon's alone; with ``run`` the daemon gets what the console does not know.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qpq.console.commands import GLOBAL_OPTIONS, Option
from qpq.console.errors import UsageError
from qpq.console.values import convert

PROGRAMS = ("daemon", "run")
_SHORT = {"-h": "--help", "-V": "--version"}
_OPTIONS = {option.name: option for option in GLOBAL_OPTIONS}
_FOR_DAEMON = ("--socket", "--data-dir", "--config")
_NOT_RESTRICTED = ("--socket", "--data-dir", "--config", "--history", "--user")


@dataclass(slots=True)
class Arguments:
    """Global options as written; ``words`` is the command, or of a program what follows its name."""

    options: dict[str, str] = field(default_factory=dict)
    program: str = ""
    words: list[str] = field(default_factory=list)

    def flag(self, name: str) -> bool:
        """Whether a flag was given."""
        return name in self.options

    def for_daemon(self) -> list[str]:
        """Return the options that the daemon wants too, before its own."""
        given = [(name, self.options[name]) for name in _FOR_DAEMON if name in self.options]
        return [word for pair in given for word in pair] + self.words


def read(argv: list[str]) -> Arguments:
    """Take the global options out of ``argv``, wherever they stand before ``--``; raises UsageError."""
    found = Arguments()
    queue = list(argv)
    while queue and queue[0] != "--" and found.program != "daemon":
        word = queue.pop(0)
        name, equals, value = word.partition("=")
        option = _OPTIONS.get(_SHORT.get(name, name))
        if option is not None:
            found.options[option.name] = _value(option, value if equals else None, queue)
        elif word in PROGRAMS and not found.words and not found.program:
            found.program = word
        else:
            found.words.append(word)
    found.words += queue
    _check(found)
    return found


def _value(option: Option, given: str | None, queue: list[str]) -> str:
    """Return the option's value: written behind ``=``, or the next word; a flag has none."""
    if option.kind is None:
        if given is not None:
            raise UsageError(f"{option.name} takes no value")
        return ""
    if given is None:
        given = queue.pop(0) if queue else ""
    if not given:
        raise UsageError(f"{option.name} needs a value: {option.help}")
    return str(convert(option.kind, given))


def _check(found: Arguments) -> None:
    restricted = found.flag("--restricted")
    if restricted != found.flag("--as"):
        raise UsageError("--restricted and --as <user> go together")
    refused = [name for name in _NOT_RESTRICTED if found.flag(name)] if restricted else []
    if restricted and found.program:
        refused.append(found.program)
    if refused:
        raise UsageError(f"{refused[0]}: not with --restricted")

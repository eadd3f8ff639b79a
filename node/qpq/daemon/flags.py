"""The flags of ``qpq daemon``: read from the command line by the option table, and told by --help."""

from __future__ import annotations

from dataclasses import dataclass, field

from qpq.daemon.kinds import Kind, Option
from qpq.daemon.nearest import hint
from qpq.daemon.options import OPTIONS
from qpq.errors import QpqError

_WIDTH = 100
_COLUMN = 30
_SHOWN = 60


class FlagError(QpqError):
    """A command line that cannot be read; ``qpq daemon --help`` lists the flags."""


@dataclass(frozen=True, slots=True)
class Given:
    """What one source says of an option: the words as written, and where (flag, variable, ``file:line``)."""

    texts: tuple[str, ...]
    where: str


@dataclass(slots=True)
class Flags:
    """The flags that were given, by option name; ``help`` and ``check``: --help or --check was among them."""

    given: dict[str, Given] = field(default_factory=dict)
    help: bool = False
    check: bool = False


def parse(argv: list[str]) -> Flags:
    """Read ``--flag value``, ``--flag=value``, ``--switch``, ``--no-switch``, ``--check`` and ``--help``.

    Raises FlagError: an unknown flag, a word that is none, a missing value, a flag given twice that is no list.
    """
    flags, words = Flags(), list(reversed(argv))
    while words:
        word = words.pop()
        if word in {"-h", "--help"}:
            flags.help = True
            continue
        if word == "--check":
            flags.check = True
            continue
        name, equals, value = word.partition("=")
        option = _BY_FLAG.get(name)
        if option is None:
            raise FlagError(f"unknown flag {name[:_SHOWN]!a}{hint(name, _BY_FLAG)}")
        if name == option.negative:
            if equals:
                raise FlagError(f"{name} takes no value")
            value = "0"
        elif option.kind is Kind.BOOL:
            value = value if equals else "1"
        elif not equals:
            if not words:
                raise FlagError(f"{name} needs a value: {name} {option.meta}")
            value = words.pop()
        _keep(flags, option, name, value)
    return flags


def help_text() -> str:
    """Return what ``qpq daemon --help`` prints."""
    lines = [
        "Usage: qpq daemon [flags]",
        "",
        "Runs a node in the foreground; SIGTERM and SIGINT stop it, SIGHUP makes it read its configuration again.",
        "Flags go over variables (QPQ_LISTEN for --listen, and so on), those over the UCI file.",
        "",
    ]
    for option in OPTIONS:
        if option.flag is not None:
            name = f"{option.flag} {option.meta}" if option.meta else f"{option.flag}, {option.negative}"
            lines += _entry(name, f"{option.help} Default: {_default(option)}.")
    lines += _entry("--check", "Only look whether the configuration is allowed: one line and exit status 1 if not.")
    lines += _entry("--help", "This text.")
    return "\n".join(lines) + "\n"


_BY_FLAG = {flag: option for option in OPTIONS for flag in (option.flag, option.negative) if flag is not None}


def _keep(flags: Flags, option: Option, name: str, value: str) -> None:
    known = flags.given.get(option.name)
    if known is not None and not option.is_list:
        raise FlagError(f"{name} is given twice")
    earlier = known.texts if known is not None else ()
    flags.given[option.name] = Given((*earlier, value), name)


def _default(option: Option) -> str:
    value = option.default
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return (option.zero if value == 0 else str(value)) or "none"


def _entry(name: str, text: str) -> list[str]:
    """Return one flag and its text, folded to the width of a terminal."""
    lines, line = [], f"  {name}".ljust(_COLUMN)
    for word in text.split():
        if len(line) + len(word) + 1 > _WIDTH:
            lines.append(line)
            line = " " * _COLUMN
        line += (" " if line.strip() and len(line) >= _COLUMN and line[-1] != " " else "") + word
    return [*lines, line]

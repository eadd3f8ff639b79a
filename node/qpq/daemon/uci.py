"""The grammar of UCI files: text to sections with options and lists, strict, with line numbers.

The grammar is libuci's (openwrt/uci, file.c): commands ``package``, ``config``, ``option``, ``list`` (or their
first letters), ended by a newline or ``;``; ``#`` outside quotes begins a comment, also inside a word; words are
made of bare text, ``'...'`` (all literal) and ``"..."`` (backslash takes the next character literally), joined
where they touch; a backslash before a newline continues the line; quoted text may span lines. A later ``option``
of a name replaces the earlier, ``list`` adds. Stricter than libuci: an option without a value, more words than a
command takes, control characters and what is not UTF-8 are errors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from qpq.errors import QpqError

MAX_FILE = 256 * 1024
"""Bytes of a file."""
MAX_SECTIONS = 256
MAX_OPTIONS = 256
"""Options of one section."""
MAX_ITEMS = 256
"""Items of one list."""
MAX_WORD = 4096
"""Characters of one word."""

_NAME = re.compile(r"[A-Za-z0-9_]+")
_PACKAGE = re.compile(r"[A-Za-z0-9_-]+")
_TYPE = re.compile(r"[!-~]+")
_COMMANDS = {"p": "package", "c": "config", "o": "option", "l": "list"}
_WORDS = {"package": (2, 2), "config": (2, 3), "option": (3, 3), "list": (3, 3)}
_BLANK = " \t\r"
_BARE_END = " \t\r\n;#"


class UciError(QpqError):
    """A file that is not UCI; ``line`` is where, the message says what is wrong."""

    def __init__(self, line: int, text: str) -> None:
        """Name the line (from 1) and the fault."""
        super().__init__(text)
        self.line = line


@dataclass(frozen=True, slots=True)
class UciItem:
    """One value and the line it stands on."""

    text: str
    line: int


@dataclass(slots=True)
class UciOption:
    """The values of one option: exactly one unless ``is_list``."""

    name: str
    items: list[UciItem]
    is_list: bool


@dataclass(slots=True)
class UciSection:
    """One section; ``name`` is None for an anonymous one."""

    type: str
    name: str | None
    line: int
    options: dict[str, UciOption] = field(default_factory=dict)


@dataclass(slots=True)
class UciFile:
    """What a file says; ``package`` is None where no ``package`` command names it."""

    package: str | None = None
    sections: list[UciSection] = field(default_factory=list)


def parse(data: bytes) -> UciFile:
    """Read a whole file. Raises UciError."""
    if len(data) > MAX_FILE:
        raise UciError(1, f"the file is longer than {MAX_FILE} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UciError(data.count(b"\n", 0, error.start) + 1, "not UTF-8") from None
    file = UciFile()
    reader = _Reader(text)
    while (words := reader.command()) is not None:
        if words:
            _apply(file, words)
    return file


def _apply(file: UciFile, words: list[UciItem]) -> None:
    line, word = words[0].line, words[0].text
    command = _COMMANDS.get(word, word)
    if command not in _WORDS:
        raise UciError(line, f"{word[:40]!a} is no command; package, config, option and list are")
    least, most = _WORDS[command]
    if not least <= len(words) <= most:
        wanted = least - 1 if least == most else f"{least - 1} or {most - 1}"
        raise UciError(line, f"{command} takes {wanted} words, not {len(words) - 1}")
    if command == "package":
        _package(file, words)
    elif command == "config":
        _section(file, words)
    else:
        _option(file, words, is_list=command == "list")


def _package(file: UciFile, words: list[UciItem]) -> None:
    name = _checked(words[1], _PACKAGE, "a package's name")
    if file.sections or file.package not in {None, name}:
        raise UciError(words[1].line, "package must stand once, before the first section")
    file.package = name


def _section(file: UciFile, words: list[UciItem]) -> None:
    kind = _checked(words[1], _TYPE, "a section's type")
    name = _checked(words[2], _NAME, "a section's name") if len(words) > 2 and words[2].text else None  # noqa: PLR2004
    for index, known in enumerate(file.sections):
        if name is not None and known.name == name:
            if known.type != kind:
                raise UciError(words[1].line, f"section {name} has the type {known.type} in line {known.line}")
            file.sections.append(file.sections.pop(index))  # options that follow belong to it again
            return
    if len(file.sections) >= MAX_SECTIONS:
        raise UciError(words[0].line, f"more than {MAX_SECTIONS} sections")
    file.sections.append(UciSection(kind, name, words[0].line))


def _option(file: UciFile, words: list[UciItem], *, is_list: bool) -> None:
    line = words[0].line
    if not file.sections:
        raise UciError(line, "an option before the first config")
    options = file.sections[-1].options
    name = _checked(words[1], _NAME, "an option's name")
    known = options.get(name)
    if known is None and len(options) >= MAX_OPTIONS:
        raise UciError(line, f"more than {MAX_OPTIONS} options in a section")
    earlier = known.items if known is not None and is_list else []
    if len(earlier) >= MAX_ITEMS:
        raise UciError(line, f"list {name} has more than {MAX_ITEMS} items")
    options[name] = UciOption(name, [*earlier, words[2]], is_list)


def _checked(word: UciItem, pattern: re.Pattern[str], what: str) -> str:
    if not pattern.fullmatch(word.text):
        raise UciError(word.line, f"{word.text[:40]!a} cannot be {what}")
    return word.text


class _Reader:
    """Cuts the text into commands of words."""

    __slots__ = ("_at", "_line", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1

    def command(self) -> list[UciItem] | None:
        """Return the words of the next command (none for an empty one), None at the end."""
        words: list[UciItem] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if character in _BLANK:
                self._at += 1
            elif character == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif character in "\n;":
                self._take()
                return words
            elif not self._continued():
                words.append(self._word())
        return words or None

    def _word(self) -> UciItem:
        line, parts, length = self._line, [], 0
        while self._at < len(self._text) and self._text[self._at] not in _BARE_END:
            if self._text[self._at] in "'\"":
                part = self._quoted(self._text[self._at])
            else:
                part = "" if self._continued() else self._literal()
            length += len(part)
            if length > MAX_WORD:
                raise UciError(line, f"a word longer than {MAX_WORD} characters")
            parts.append(part)
        text = "".join(parts)
        if not all(character.isprintable() or character in "\t\n" for character in text):
            raise UciError(line, f"a control character in {text[:40]!a}")
        return UciItem(text, line)

    def _quoted(self, quote: str) -> str:
        line = self._line
        parts: list[str] = []
        self._at += 1
        while self._at < len(self._text):
            if self._text[self._at] == quote:
                self._at += 1
                return "".join(parts)
            if quote == "'":
                parts.append(self._take())
            elif not self._continued():
                parts.append(self._literal())
        raise UciError(line, f"the quote {quote} is never closed")

    def _literal(self) -> str:
        """Take one character, or the one behind a backslash."""
        character = self._take()
        if character != "\\":
            return character
        if self._at >= len(self._text):
            raise UciError(self._line, "a backslash at the end of the file")
        return self._take()

    def _continued(self) -> bool:
        """Pass over a backslash and the end of line behind it, if they stand here."""
        for ending in ("\\\n", "\\\r\n"):
            if self._text.startswith(ending, self._at):
                self._at += len(ending)
                self._line += 1
                return True
        return False

    def _take(self) -> str:
        character = self._text[self._at]
        self._at += 1
        self._line += character == "\n"
        return character

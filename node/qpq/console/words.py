r"""A command line cut into words: quotes, no expansion of any kind.

A quote counts only at the beginning of a word, and closes only where the word ends, so that ``it's`` and
``don't`` need no care. Inside double quotes ``\"`` and ``\\`` stand for themselves; inside single quotes
everything does. A quote that never closes is an ordinary character. Nothing is ever an error: the text may
be what somebody types into a chat.
"""

from __future__ import annotations

from dataclasses import dataclass

_BLANK = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Word:
    """One word: its value without quotes, where it stands in the line, whether it was quoted."""

    value: str
    start: int
    end: int
    quoted: bool = False


def split(line: str) -> list[Word]:
    """Cut ``line`` into words."""
    words = []
    at = 0
    while at < len(line):
        if line[at] in _BLANK:
            at += 1
            continue
        word = _quoted(line, at) if line[at] in "'\"" else None
        if word is None:
            word = _plain(line, at)
        words.append(word)
        at = word.end
    return words


def quote(value: str) -> str:
    """Return ``value`` so that ``split`` gives it back as one word."""
    if value and value[0] not in "'\"" and not any(blank in value for blank in _BLANK):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def from_arguments(arguments: list[str]) -> tuple[str, list[Word]]:
    """Return the words of a process's arguments and the line they would have been (joined by single spaces)."""
    words = []
    at = 0
    for value in arguments:
        words.append(Word(value, at, at + len(value)))
        at += len(value) + 1
    return " ".join(arguments), words


def _plain(line: str, start: int) -> Word:
    end = start
    while end < len(line) and line[end] not in _BLANK:
        end += 1
    return Word(line[start:end], start, end)


def _quoted(line: str, start: int) -> Word | None:
    mark = line[start]
    value: list[str] = []
    at = start + 1
    while at < len(line):
        char = line[at]
        following = line[at + 1 : at + 2]
        if char == "\\" and mark == '"' and following and following in '"\\':
            value.append(following)
            at += 2
        elif char == mark and (not following or following in _BLANK):
            return Word("".join(value), start, at + 1, quoted=True)
        else:
            value.append(char)
            at += 1
    return None

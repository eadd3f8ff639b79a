"""The prompt line as terminal output: one line that scrolls sideways, so that nothing ever wraps.

Only what BusyBox's and every vt100 terminal knows: carriage return, erase to the end of the line (EL,
ECMA-48 8.3.41), cursor right (CUF, 8.3.20), clear (ED and CUP). A dumb terminal gets blanks and
backspaces. Nothing is written here; the text to write is returned.
"""

from __future__ import annotations

from qpq.console.width import columns, width

MIN_COLUMNS = 8
_ERASE = "\x1b[K"
_CLEAR = "\x1b[H\x1b[2J"
BELL = "\a"
PASTE_ON = "\x1b[?2004h"
PASTE_OFF = "\x1b[?2004l"


class PromptLine:
    """What stands on the prompt's line; ``total`` is the terminal's width in columns."""

    def __init__(self, total: int, *, dumb: bool = False) -> None:
        self.dumb = dumb
        self.total = max(total, MIN_COLUMNS)
        self._first = 0
        self._drawn = 0

    def resize(self, total: int) -> None:
        """Take a new width; the next ``draw`` fits it."""
        self.total = max(total, MIN_COLUMNS)

    def draw(self, prompt: str, text: str, cursor: int) -> str:
        """Return what draws ``prompt`` and the part of ``text`` around ``cursor``; line ends show as one space."""
        prompt = prompt if columns(prompt) <= self.total // 2 else ""
        room = self.total - columns(prompt) - 1
        shown, before = self._window(text, cursor, room)
        column = columns(prompt) + before
        line = prompt + shown
        if self.dumb:
            return self._draw_dumb(line, column)
        self._drawn = columns(line)
        move = f"\x1b[{column}C" if column else ""
        return f"\r{line}{_ERASE}\r{move}"

    def erase(self) -> str:
        """Return what empties the line and puts the cursor at its start."""
        if not self.dumb:
            return "\r" + _ERASE
        blank = " " * self._drawn
        self._drawn = 0
        return f"\r{blank}\r"

    def clear(self) -> str:
        """Return what clears the screen (on a dumb terminal: a new line)."""
        self._drawn = 0
        return "\n" if self.dumb else _CLEAR

    def finish(self, prompt: str, text: str) -> str:
        """Return what leaves the line behind, cursor on the next; long lines show their beginning."""
        drawn = self.draw(prompt, text, 0)
        self._first = 0
        self._drawn = 0
        return drawn + "\n"

    def _draw_dumb(self, line: str, column: int) -> str:
        used = columns(line)
        blank = max(self._drawn - used, 0)
        self._drawn = used
        return "\r" + line + " " * blank + "\b" * (used + blank - column)

    def _window(self, text: str, cursor: int, room: int) -> tuple[str, int]:
        """Return the part of ``text`` that is shown and the columns before the cursor in it."""
        self._first = min(self._first, cursor)
        before = sum(_shown_width(char) for char in text[self._first : cursor])
        if before > room:
            # Scroll by a third of the line, not by one, so that a slow line is not redrawn with every key.
            keep = room - room // 3
            while before > keep:
                before -= _shown_width(text[self._first])
                self._first += 1
        elif self._first and not before:
            while self._first and before < room // 3:
                self._first -= 1
                before += _shown_width(text[self._first])
        part: list[str] = []
        used = 0
        for char in text[self._first :]:
            used += _shown_width(char)
            if used > room:
                break
            part.append(char if char.isprintable() or char in "\u200c\u200d" else " ")
        return "".join(part), before


def _shown_width(char: str) -> int:
    return width(char) if char >= " " else 1

"""The line being typed: text, cursor and the operations keys ask for."""

from __future__ import annotations

from qpq.console.width import is_mark

MAX_LENGTH = 32768


class EditBuffer:
    """At most 32,768 characters; the cursor stands before ``text[cursor]``, never inside a combined character."""

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0
        self._killed = ""

    def insert(self, text: str) -> bool:
        """Insert at the cursor; False (and nothing done) when the line would grow too long."""
        if len(self.text) + len(text) > MAX_LENGTH:
            return False
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)
        return True

    def set(self, text: str, cursor: int | None = None) -> None:
        """Replace the line; the cursor goes to ``cursor`` or the end."""
        self.text = text[:MAX_LENGTH]
        self.cursor = len(self.text) if cursor is None else min(max(cursor, 0), len(self.text))

    def take(self) -> str:
        """Return the line and begin a new one."""
        text = self.text
        self.set("")
        return text

    def left(self) -> None:
        """Move one character to the left."""
        self.cursor = self._before(self.cursor)

    def right(self) -> None:
        """Move one character to the right."""
        self.cursor = self._after(self.cursor)

    def home(self) -> None:
        """Move to the beginning."""
        self.cursor = 0

    def end(self) -> None:
        """Move to the end."""
        self.cursor = len(self.text)

    def word_left(self) -> None:
        """Move to the beginning of this or the word before."""
        self.cursor = self._word_start()

    def word_right(self) -> None:
        """Move behind the end of this or the next word."""
        self.cursor = self._word_end()

    def backspace(self) -> None:
        """Delete the character before the cursor."""
        self._cut(self._before(self.cursor), self.cursor)

    def delete(self) -> None:
        """Delete the character at the cursor."""
        self._cut(self.cursor, self._after(self.cursor))

    def kill_end(self) -> None:
        """Cut to the end of the line, for ``yank``."""
        self._kill(self.cursor, len(self.text))

    def kill_start(self) -> None:
        """Cut to the beginning of the line, for ``yank``."""
        self._kill(0, self.cursor)

    def kill_word(self) -> None:
        """Cut the word before the cursor, for ``yank``."""
        self._kill(self._word_start(), self.cursor)

    def kill_word_right(self) -> None:
        """Cut the word after the cursor, for ``yank``."""
        self._kill(self.cursor, self._word_end())

    def yank(self) -> None:
        """Insert what was cut last."""
        self.insert(self._killed)

    def _before(self, at: int) -> int:
        at = max(at - 1, 0)
        while at > 0 and is_mark(self.text[at]):
            at -= 1
        return at

    def _after(self, at: int) -> int:
        at = min(at + 1, len(self.text))
        while at < len(self.text) and is_mark(self.text[at]):
            at += 1
        return at

    def _word_start(self) -> int:
        at = self.cursor
        while at > 0 and self.text[at - 1].isspace():
            at -= 1
        while at > 0 and not self.text[at - 1].isspace():
            at -= 1
        return at

    def _word_end(self) -> int:
        at = self.cursor
        while at < len(self.text) and self.text[at].isspace():
            at += 1
        while at < len(self.text) and not self.text[at].isspace():
            at += 1
        return at

    def _kill(self, start: int, end: int) -> None:
        if start < end:
            self._killed = self.text[start:end]
            self._cut(start, end)

    def _cut(self, start: int, end: int) -> None:
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start

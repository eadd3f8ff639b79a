"""The line editor as a state machine: bytes in, finished lines and text to write out.

It does no I/O: ``terminal`` reads and writes, ``interactive`` waits. What others print meanwhile goes
through ``print_above``, which puts it over the prompt and leaves the typed text as it is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeAlias

from qpq.console.buffer import EditBuffer
from qpq.console.keys import Key, KeyDecoder, Pasted, Pressed, Stroke, Typed
from qpq.console.screen import BELL, PromptLine
from qpq.console.width import columns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qpq.console.history import History

MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Line:
    """A line was entered."""

    text: str


class Signal(Enum):
    """What is no line."""

    INTERRUPT = auto()
    END = auto()


Outcome: TypeAlias = Line | Signal


@dataclass(frozen=True, slots=True)
class Completion:
    """What may stand from ``start`` to the cursor; each candidate ends as it is to be inserted."""

    start: int
    candidates: tuple[str, ...]


def no_completion(_text: str, cursor: int) -> Completion:
    """Complete nothing."""
    return Completion(cursor, ())


class Editor:
    """One prompt, its line, its history; ``output`` collects what has to be written."""

    def __init__(
        self,
        line: PromptLine,
        history: History,
        complete: Callable[[str, int], Completion] = no_completion,
        prompt: str = "> ",
    ) -> None:
        self.prompt = prompt
        self.history = history
        self._line = line
        self._complete = complete
        self._buffer = EditBuffer()
        self._keys = KeyDecoder()
        self._strokes: deque[Stroke] = deque()
        self._output: list[str] = []
        self._listed: tuple[str, int] | None = None
        self._open = False
        self._ended = False
        self._actions: dict[Key, Callable[[], None]] = self._table()

    @property
    def patience(self) -> float | None:
        """Seconds after which ``flush`` is due when no byte came; None: never."""
        return self._keys.patience

    @property
    def text(self) -> str:
        """What is typed so far."""
        return self._buffer.text

    @property
    def cursor(self) -> int:
        """Where the cursor stands in ``text``."""
        return self._buffer.cursor

    def take_output(self) -> str:
        """Return what has to be written and forget it."""
        output = "".join(self._output)
        self._output.clear()
        return output

    def open(self) -> None:
        """Show the prompt and what is typed."""
        self._open = True
        self._redraw()

    def close(self) -> None:
        """Take the prompt away (something else writes now); ``open`` brings it back with what was typed."""
        if self._open:
            self._output.append(self._line.erase())
        self._open = False

    def feed(self, data: bytes) -> None:
        """Take bytes of the terminal; ``next`` works on them."""
        self._strokes.extend(self._keys.feed(data))

    def flush(self) -> None:
        """Nothing came for ``patience`` seconds."""
        self._strokes.extend(self._keys.flush())

    def end(self) -> None:
        """The terminal hung up: after what was fed comes the end, an unfinished line is given up."""
        self._ended = True

    def next(self) -> Outcome | None:
        """Work on what was fed up to the next line or signal; None when nothing is left."""
        worked = False
        while self._strokes:
            stroke = self._strokes.popleft()
            worked = True
            if not isinstance(stroke, Pressed):
                self._insert(stroke)
                continue
            outcome = self._press(stroke.key)
            if outcome is not None:
                return outcome
        if worked and self._open:
            self._redraw()
        return Signal.END if self._ended else None

    def resize(self, total: int) -> None:
        """Take the terminal's new width in columns."""
        self._line.resize(total)
        if self._open:
            self._redraw()

    def print_above(self, lines: Sequence[str]) -> None:
        """Write harmless lines over the prompt."""
        if self._open:
            self._output.append(self._line.erase())
        self._output.extend(line + "\n" for line in lines)
        if self._open:
            self._redraw()

    def _insert(self, stroke: Typed | Pasted) -> None:
        text = stroke.text.rstrip("\n") if isinstance(stroke, Pasted) else stroke.text
        if not self._buffer.insert(text):
            self._output.append(BELL)

    def _press(self, key: Key) -> Outcome | None:
        if key is Key.ENTER:
            return self._enter()
        if key is Key.INTERRUPT:
            self._finish("^C")
            self._buffer.take()
            return Signal.INTERRUPT
        if key is Key.END_OF_INPUT:
            if not self._buffer.text:
                self._finish("")
                return Signal.END
            self._buffer.delete()
            return None
        if key is not Key.COMPLETE:
            self._listed = None
        self._actions[key]()
        return None

    def _enter(self) -> Outcome:
        self._finish("")
        text = self._buffer.take()
        self.history.add(text)
        return Line(text)

    def _finish(self, mark: str) -> None:
        """Leave the line behind; the caller opens the prompt again when it has done what was asked."""
        if self._open:
            self._output.append(self._line.finish(self.prompt, self._buffer.text + mark))
        self._open = False

    def _table(self) -> dict[Key, Callable[[], None]]:
        buffer = self._buffer
        return {
            Key.LEFT: buffer.left,
            Key.RIGHT: buffer.right,
            Key.HOME: buffer.home,
            Key.END: buffer.end,
            Key.WORD_LEFT: buffer.word_left,
            Key.WORD_RIGHT: buffer.word_right,
            Key.BACKSPACE: buffer.backspace,
            Key.DELETE: buffer.delete,
            Key.KILL_END: buffer.kill_end,
            Key.KILL_START: buffer.kill_start,
            Key.KILL_WORD: buffer.kill_word,
            Key.KILL_WORD_RIGHT: buffer.kill_word_right,
            Key.YANK: buffer.yank,
            Key.UP: self._up,
            Key.DOWN: self._down,
            Key.CLEAR: self._clear,
            Key.COMPLETE: self._tab,
        }

    def _up(self) -> None:
        self._replace(self.history.up(self._buffer.text))

    def _down(self) -> None:
        self._replace(self.history.down())

    def _replace(self, line: str | None) -> None:
        if line is not None:
            self._buffer.set(line)

    def _clear(self) -> None:
        self._output.append(self._line.clear())

    def _tab(self) -> None:
        text, cursor = self._buffer.text, self._buffer.cursor
        found = self._complete(text, cursor)
        if not found.candidates:
            self._output.append(BELL)
            return
        common = _common(found.candidates)
        typed = text[found.start : cursor]
        if len(common) > len(typed):
            self._buffer.set(text[: found.start] + common + text[cursor:], found.start + len(common))
            self._listed = None
        elif len(found.candidates) > 1:
            self._list(found.candidates)

    def _list(self, candidates: tuple[str, ...]) -> None:
        """The first Tab without progress only rings, the second lists."""
        here = (self._buffer.text, self._buffer.cursor)
        if self._listed != here:
            self._listed = here
            self._output.append(BELL)
            return
        names = [name.strip() for name in candidates[:MAX_SHOWN]]
        if len(candidates) > MAX_SHOWN:
            names.append(f"... and {len(candidates) - MAX_SHOWN} more")
        self.print_above(_in_columns(names, self._line.total))

    def _redraw(self) -> None:
        self._output.append(self._line.draw(self.prompt, self._buffer.text, self._buffer.cursor))


def _common(candidates: tuple[str, ...]) -> str:
    first, last = min(candidates), max(candidates)
    for index, char in enumerate(first):
        if index >= len(last) or last[index] != char:
            return first[:index]
    return first


def _in_columns(names: list[str], total: int) -> list[str]:
    cell = max(columns(name) for name in names) + 2
    per_line = max(total // cell, 1)
    lines = []
    for at in range(0, len(names), per_line):
        row = names[at : at + per_line]
        lines.append("".join(name + " " * (cell - columns(name)) for name in row).rstrip())
    return lines

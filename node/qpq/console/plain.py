"""Lines from a pipe: the editor's stand-in where there is no terminal to edit on."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from qpq.console.editor import Line, Outcome, Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_LINE = 65536


class PlainLines:
    """Bytes in, lines out, no prompt; a line beyond 64 KiB is cut."""

    patience: float | None = None

    def __init__(self) -> None:
        self.prompt = ""
        self._rest = bytearray()
        self._outcomes: deque[Outcome] = deque()
        self._output: list[str] = []

    def open(self) -> None:
        """Show no prompt."""

    def close(self) -> None:
        """There is nothing to take away."""

    def resize(self, total: int) -> None:
        """A pipe has no width."""

    def flush(self) -> None:
        """Nothing is kept back for a time."""

    def feed(self, data: bytes) -> None:
        """Take bytes; complete lines become outcomes."""
        *lines, rest = (bytes(self._rest) + data).split(b"\n")
        self._rest = bytearray(rest[:MAX_LINE])
        self._outcomes.extend(_line(line) for line in lines)

    def end(self) -> None:
        """The input has ended; what stands without a line end is a line too."""
        if self._rest:
            self._outcomes.append(_line(bytes(self._rest)))
            self._rest.clear()
        self._outcomes.append(Signal.END)

    def next(self) -> Outcome | None:
        """Return the next line, or the end."""
        return self._outcomes.popleft() if self._outcomes else None

    def print_above(self, lines: Sequence[str]) -> None:
        """Print lines."""
        self._output.extend(line + "\n" for line in lines)

    def take_output(self) -> str:
        """Return what has to be written and forget it."""
        output = "".join(self._output)
        self._output.clear()
        return output


def _line(data: bytes) -> Line:
    return Line(data[:MAX_LINE].decode("utf-8", "replace").removesuffix("\r"))

"""The lines typed before: at most 500 in memory, the oldest go first; a file only when asked for."""

from __future__ import annotations

import os

MAX_LINES = 500
MAX_LINE = 4096
MAX_FILE = 1 << 20


class History:
    """Up and down through what was typed; the line being typed is kept while looking around."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._at: int | None = None
        self._typed = ""

    def add(self, line: str) -> None:
        """Remember a line; blank, overlong and repeated ones, and those begun with a blank, are not kept."""
        self._at = None
        if not line or line[0].isspace() or len(line) > MAX_LINE or line in self.lines[-1:]:
            return
        self.lines.append(line)
        del self.lines[:-MAX_LINES]

    def up(self, current: str) -> str | None:
        """Return the line before, None at the oldest; ``current`` is what stands in the editor."""
        if self._at is None:
            self._typed = current
            self._at = len(self.lines)
        if self._at == 0:
            return None
        self._at -= 1
        return self.lines[self._at]

    def down(self) -> str | None:
        """Return the line after, at the end what was being typed; None when not looking around."""
        if self._at is None:
            return None
        self._at += 1
        if self._at >= len(self.lines):
            self._at = None
            return self._typed
        return self.lines[self._at]

    def load(self, path: str) -> None:
        """Read the lines of ``path``, newest 500; a missing file is an empty one. Raises OSError."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        with open(descriptor, "rb") as file:
            data = file.read(MAX_FILE)
        for line in data.decode("utf-8", "ignore").split("\n"):
            self.add("".join(char for char in line if char.isprintable()))

    def save(self, path: str) -> None:
        """Write the lines to ``path``, mode 0600, by replacing it. Raises OSError."""
        beside = f"{path}.{os.getpid()}"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.writelines(line.replace("\n", " ").encode("utf-8", "ignore") + b"\n" for line in self.lines)
            os.replace(beside, path)
        except OSError:
            os.unlink(beside)
            raise

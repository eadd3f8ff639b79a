"""A bar on a terminal; nothing elsewhere."""

from __future__ import annotations

import sys
import time

WIDTH = 40
EVERY_S = 0.2


class Progress:
    """Draws how much of a run is over on stderr, if that is a terminal."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._shown = sys.stderr.isatty()
        self._began = time.monotonic()
        self._at = 0.0

    def __call__(self, part: float) -> None:
        """Show ``part``, 0 to 1."""
        now = time.monotonic()
        if not self._shown or (now - self._at < EVERY_S and part < 1):
            return
        self._at = now
        full = int(WIDTH * part)
        print(
            f"\r{self._title} [{'#' * full}{'.' * (WIDTH - full)}] {part:4.0%} {now - self._began:5.0f} s",
            end="",
            file=sys.stderr,
            flush=True,
        )

    def done(self) -> None:
        """Leave the line."""
        if self._shown:
            print("\r" + " " * (len(self._title) + WIDTH + 20) + "\r", end="", file=sys.stderr, flush=True)

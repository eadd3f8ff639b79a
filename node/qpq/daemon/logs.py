"""The log: one flushed line an event on stderr, with nothing in it that a terminal or a log reader could act upon.

A line begins with its level: as a word (``warning: ...``), or as ``<4>`` where systemd's journal reads it
(sd-daemon(3)). The time stands before it only on a terminal, since procd, syslog and the journal add their own.
What repeats is cut: within a minute 5 lines of a kind are written, then they are counted and the number is told with
the next one. A kind is the level with the text before the first colon or parenthesis, so that a peer who fails in a
thousand ways costs a few lines.

On a router, whose log is a small ring in RAM, ``log_ring`` says what of it is written.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TYPE_CHECKING, TextIO

from qpq.paths import OPENWRT_MARK, OPENWRT_RUN_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qpq.daemon.log_ring import Ring

NAME = "qpq"
RING_NAME = "log.json"
MAX_LINE = 2000
"""Characters of one line; the rest is cut off."""
WINDOW = 60.0
"""Seconds over which repeats are counted."""
PER_WINDOW = 5
"""Lines of one kind in a window."""
ALL_PER_WINDOW = 200
"""Lines of all kinds below error in a window."""
MAX_KINDS = 256
"""Kinds remembered; the one first seen longest ago goes first."""

LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}
_JOURNAL = {logging.ERROR: "<3>", logging.WARNING: "<4>", logging.INFO: "<6>", logging.DEBUG: "<7>"}
_KIND_LENGTH = 60


def setup(level: str, stream: TextIO | None = None, environ: Mapping[str, str] | None = None) -> logging.Logger:
    """Send the program's log to ``stream`` (stderr) from ``level`` on and return its logger.

    Libraries' loggers are heard from warning on. Called again it replaces what it set up before.
    """
    target = sys.stderr if stream is None else stream
    variables = os.environ if environ is None else environ
    terminal, journal = target.isatty(), "JOURNAL_STREAM" in variables
    ring = None
    if not terminal and not journal and os.path.exists(OPENWRT_MARK):
        from qpq.daemon.log_ring import Ring  # noqa: PLC0415 (a router's)

        ring = Ring(f"{OPENWRT_RUN_DIR}/{RING_NAME}")
    handler = LineHandler(target, terminal=terminal, journal=journal, ring=ring)
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, LineHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.raiseExceptions = False  # a log that cannot be written must not stop the node
    set_level(level)
    return logging.getLogger(NAME)


def set_level(level: str) -> None:
    """Change what is logged: ``error``, ``warning``, ``info`` or ``debug``."""
    logging.getLogger(NAME).setLevel(LEVELS[level])


def close() -> None:
    """Tell what was counted and not told, before the program ends."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LineHandler):
            handler.finish()


def escaped(text: str) -> str:
    r"""Return ``text`` with everything that is not printable as ``\\x1b``, ``\\n``, ``\\u202e``."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


class LineHandler(logging.Handler):
    """Writes records as single lines and counts repeats away; ``clock`` gives monotonic seconds."""

    def __init__(
        self,
        stream: TextIO,
        *,
        terminal: bool,
        journal: bool,
        ring: Ring | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write to ``stream``; ``terminal``: with the time, ``journal``: levels as numbers, ``ring``: into that."""
        super().__init__()
        self._stream = stream
        self._terminal = terminal
        self._journal = journal
        self._clock = clock
        self._seen: dict[tuple[int, str], _Window] = {}
        self._all = _Window(clock())
        self.ring = ring

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, unless there were too many of its kind or, below error, of all kinds."""
        text = _text(record)
        level = _rounded(record.levelno)
        now = self._clock()
        kind = _kind(text)
        untold = self._window(level, kind, now).admit(now, PER_WINDOW)
        if untold is None or (level < logging.ERROR and self._all.admit(now, ALL_PER_WINDOW) is None):
            return
        line = text + (f" (and {untold} more of this kind)" if untold else "")
        line = line if self.ring is None else self.ring.spend(level, kind, line, now)
        if line:
            self._write(level, line)

    def finish(self) -> None:
        """Write how many lines were kept back since their kinds were last told; a router's ring keeps its own count."""
        if self.ring is not None:
            self.ring.save()
            return
        for (level, kind), window in self._seen.items():
            if window.kept_back:
                self._write(level, f"{kind} (and {window.kept_back} more of this kind)")
        self._seen.clear()

    def _window(self, level: int, kind: str, now: float) -> _Window:
        window = self._seen.get((level, kind))
        if window is None:
            if len(self._seen) >= MAX_KINDS:
                del self._seen[next(iter(self._seen))]
            window = self._seen[level, kind] = _Window(now)
        return window

    def _write(self, level: int, text: str) -> None:
        prefix = _JOURNAL[level] if self._journal else f"{logging.getLevelName(level).lower()}: "
        stamp = time.strftime("%Y-%m-%d %H:%M:%S ") if self._terminal else ""
        try:
            self._stream.write(f"{stamp}{prefix}{text}\n")
            self._stream.flush()
        except (OSError, ValueError):  # the reader of stderr is gone; there is nowhere left to say so
            return


class _Window:
    """What happened to one kind of line since ``begun``."""

    __slots__ = ("begun", "kept_back", "written")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.written = 0
        self.kept_back = 0

    def admit(self, now: float, limit: int) -> int | None:
        """Return how many lines were kept back before this one and not told, None where this one is kept back too."""
        untold = 0
        if now - self.begun >= WINDOW:
            untold, self.begun, self.written, self.kept_back = self.kept_back, now, 0, 0
        if self.written < limit:
            self.written += 1
            return untold
        self.kept_back += 1
        return None


def _text(record: logging.LogRecord) -> str:
    """Return the record as one safe line; a traceback follows behind bars."""
    try:
        text = record.getMessage()
    except (TypeError, ValueError):
        text = f"{record.msg} {record.args}"
    if record.exc_info and record.exc_info[0] is not None:
        trace = logging.Formatter().formatException(record.exc_info)
        text += " | " + " | ".join(line.strip() for line in trace.splitlines())
    if record.name.partition(".")[0] != NAME:
        text = f"{record.name}: {text}"
    text = escaped(text[: 2 * MAX_LINE])
    return text if len(text) <= MAX_LINE else text[:MAX_LINE] + "..."


def _kind(text: str) -> str:
    return text.partition(":")[0].partition("(")[0].strip()[:_KIND_LENGTH]


def _rounded(level: int) -> int:
    """Return the nearest of our levels at or below ``level``."""
    return next((known for known in (logging.ERROR, logging.WARNING, logging.INFO) if level >= known), logging.DEBUG)

"""The log: one flushed line an event on stderr, with nothing in it that a terminal or a log reader could act upon.

A line begins with its level: as a word (``warning: ...``), or as ``<4>`` where systemd's journal reads it
(sd-daemon(3)). The time stands before it only on a terminal, since procd, syslog and the journal add their own.
What repeats is cut: within a minute 5 lines of a kind are written, then they are counted and the number is told with
the next one. A kind is the level with the text before the first colon or parenthesis, so that a peer who fails in a
thousand ways costs a few lines.

A router keeps its log in a ring of 64 KiB in RAM, for all its programs. There each level has a share of bytes for a
day, such that a week of them fits the ring, and each kind a few lines of it; the rest is counted and told the next day.
Who sets the level ``debug`` looks on, and gets everything.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TYPE_CHECKING, TextIO

from qpq.paths import OPENWRT_MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAME = "qpq"
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
DAY = 86_400.0
PER_DAY = 6
"""Lines of one kind a day, on a router."""
SHARES = {logging.ERROR: 1_200, logging.WARNING: 2_400, logging.INFO: 5_000}
"""Bytes a day of each level, on a router: seven days of them and what is said at the end of each are below 64 KiB."""
ENTRY = 48
"""Bytes that logd's ring needs beside the text: its header, and the name and number of the process."""

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
    ring = not terminal and not journal and os.path.exists(OPENWRT_MARK)
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
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


class LineHandler(logging.Handler):
    """Writes records as single lines and counts repeats away; ``clock`` gives monotonic seconds."""

    def __init__(
        self,
        stream: TextIO,
        *,
        terminal: bool,
        journal: bool,
        ring: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write to ``stream``; ``terminal``: with the time, ``journal``: levels as numbers, ``ring``: a router's."""
        super().__init__()
        self._stream = stream
        self._terminal = terminal
        self._journal = journal
        self._clock = clock
        self._seen: dict[tuple[int, str], _Window] = {}
        self._all = _Window(clock())
        self._shares = {level: _Share(share, clock()) for level, share in SHARES.items()} if ring else {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, unless there were too many of its kind or, below error, of all kinds."""
        text = _text(record)
        level = _rounded(record.levelno)
        now = self._clock()
        window = self._window(level, _kind(text), now)
        untold = window.admit(now, PER_WINDOW)
        if untold is None or (level < logging.ERROR and self._all.admit(now, ALL_PER_WINDOW) is None):
            return
        line = text + (f" (and {untold} more of this kind)" if untold else "")
        share = self._shares.get(level)
        told = line if share is None or _is_watched() else share.spend(line, window, now)
        if told:
            self._write(level, told)

    def finish(self) -> None:
        """Write how many lines were kept back since their kinds, or their day, were last told."""
        for level, share in self._shares.items():
            if share.kept_back:
                self._write(level, f"log: {share.kept_back} lines were counted only")
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

    __slots__ = ("begun", "day", "kept_back", "today", "written")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.day = -1
        self.today = 0
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


class _Share:
    """What one level may still write today; days are counted from ``since``."""

    __slots__ = ("_bytes", "_day", "_left", "_since", "kept_back")

    def __init__(self, share: int, since: float) -> None:
        self._bytes = self._left = share
        self._since = since
        self._day = 0
        self.kept_back = 0

    def spend(self, line: str, window: _Window, now: float) -> str:
        """Return the line, or what is said in its place where it is too much for today; empty: it is only counted."""
        day = int((now - self._since) // DAY)
        if day != self._day:
            line += f" (and {self.kept_back} lines of the days before)" if self.kept_back else ""
            self._day, self._left, self.kept_back = day, self._bytes, 0
        if window.day != day:
            window.day, window.today = day, 0
        window.today += 1
        if self._left == self._bytes:  # the first of today is told, as much of it as fits
            line = line.encode()[: self._left - ENTRY].decode(errors="ignore")
        cost = len(line.encode()) + ENTRY
        if window.today <= PER_DAY and cost <= self._left:
            self._left -= cost
            return line
        self.kept_back += 1
        return _ENOUGH if self.kept_back == 1 else ""


_ENOUGH = "log: more lines of today are counted only, so that a week fits; all of them: option log_level debug"


def _is_watched() -> bool:
    """Whether somebody set the level debug, who wants everything."""
    return logging.getLogger(NAME).level == logging.DEBUG


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

"""What a router's node may log: a ring of 64 KiB in RAM holds the log of all programs, so each level has a day's share.

A week of the shares fits the ring, and of each kind a few lines a day are written; the rest is counted, and told with
the next day's first line. What was used is kept in RAM across restarts: a node that cannot start, and is tried again
every ten seconds, floods the log no more than another. Who sets the level ``debug`` looks on, and gets everything.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os

DAY = 86_400.0
PER_DAY = 6
"""Lines of one kind."""
SHARES = {logging.ERROR: 1_200, logging.WARNING: 2_400, logging.INFO: 5_000}
"""Bytes of each level; seven days of them, and of what is said at the end of each, are below 64 KiB."""
ENTRY = 48
"""Bytes that logd needs beside the text: its header, and the name and number of the process."""
MAX_KINDS = 256
"""Kinds remembered; the one first seen longest ago goes first."""
ENOUGH = "log: more lines of today are counted only, so that a week fits; all of them: option log_level debug"

_MAX_FILE = 65_536
_WATCHED = "qpq"


class Ring:
    """The shares of a day; days are counted from when the machine started. ``path`` is where they are kept."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._day = 0
        self._used = dict.fromkeys(SHARES, 0)
        self._counted = dict.fromkeys(SHARES, 0)
        self._before = dict.fromkeys(SHARES, 0)
        self._kinds: dict[str, int] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # no state, or none of ours: a new day
            self._load()

    def spend(self, level: int, kind: str, line: str, now: float) -> str:
        """Return the line, or what is said in its place where it is too much for today; empty: it is only counted.

        ``now`` is in seconds since the machine started.
        """
        if level not in SHARES or logging.getLogger(_WATCHED).level == logging.DEBUG:
            return line
        if int(now // DAY) != self._day:
            self._turn(int(now // DAY))
        line += f" (and {self._before[level]} lines of the days before)" if self._before[level] else ""
        if not self._used[level]:  # the first of today is told, as much of it as fits
            line = line.encode()[: SHARES[level] - ENTRY].decode(errors="ignore")
        used = self._used[level] + len(line.encode()) + ENTRY
        if self._note(f"{level} {kind}") <= PER_DAY and used <= SHARES[level]:
            self._used[level], self._before[level] = used, 0
            return line
        self._counted[level] += 1
        return ENOUGH if self._counted[level] == 1 else ""

    def save(self) -> None:
        """Keep what was used for the next process; the directory may be gone, or another's."""
        state = {"day": self._day, "kinds": self._kinds}
        for name, numbers in (("used", self._used), ("counted", self._counted), ("before", self._before)):
            state[name] = list(numbers.values())
        draft = f"{self._path}.{os.getpid()}"
        with contextlib.suppress(OSError):
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "w") as file:
                json.dump(state, file)
            os.replace(draft, self._path)

    def _load(self) -> None:
        with open(self._path, encoding="utf-8") as file:
            state = json.loads(file.read(_MAX_FILE))
        columns = [[int(number) for number in state[name]] for name in ("used", "counted", "before")]
        kinds = {str(kind): int(count) for kind, count in dict(state["kinds"]).items()}
        if {len(column) for column in columns} != {len(SHARES)} or len(kinds) > MAX_KINDS:
            raise ValueError(self._path)
        self._day, self._kinds = int(state["day"]), kinds
        self._used, self._counted, self._before = (dict(zip(SHARES, column, strict=True)) for column in columns)

    def _turn(self, day: int) -> None:
        """Begin a day."""
        self._day = day
        self._kinds.clear()
        for level in SHARES:
            self._before[level] += self._counted[level]
            self._used[level] = self._counted[level] = 0

    def _note(self, kind: str) -> int:
        """Count a line of a kind; return how many there were today."""
        if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
            del self._kinds[next(iter(self._kinds))]
        self._kinds[kind] = self._kinds.get(kind, 0) + 1
        return self._kinds[kind]

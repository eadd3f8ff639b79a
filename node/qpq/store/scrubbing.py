"""Takes away what deleted and replaced rows left in SQLite's files, soon after and not at once.

``secure_delete`` overwrites what is freed. It leaves: the write-ahead log, which keeps old pages until it is written
over; and the gap of a B-tree page (file format, section 1.6: between the pointers to its cells and the first cell),
where copies of cells stay that moved to another page. So the log is moved into the file and cut to nothing, and the
gaps are filled with zeros, in the file itself: no byte of them means anything, whatever a power cut leaves. The file
belongs to this process alone (SQLite's exclusive locking), and the descriptor stays open as long as SQLite's:
closing it would take away the lock (fcntl(2)).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection

SOON_S: Final = 3.0
"""Seconds from what is to be taken away to the scrub, so that several go together."""
SHARE: Final = 50
"""Times as long as a scrub took is the least wait for the next."""
SLICE_PAGES: Final = 4096
"""Pages that are swept at a time while the node runs: some 30 ms."""

PAGE: Final = 4096
_AT_ONCE = 64
_MAX_BYTES = PAGE << 25
"""In larger files the first byte of a page could be that of another page's number."""
_SIZE_AT, _RESERVED_AT, _AUTO_VACUUM_AT = 16, 20, 52
_FIRST_HEAD = 100
_LEAVES = frozenset({10, 13})
_INNER = frozenset({2, 5})
_LEAF_HEAD, _INNER_HEAD = 8, 12
_MAPPED = PAGE // 5 + 1
"""Pages from one pointer map (section 1.8) to the next, the first being the second page: 5 bytes tell of one page."""


class Scrubber:
    """Of the store in the file ``path``. ``wake`` is called when there is something to do after there was nothing."""

    def __init__(self, path: str) -> None:
        self.wake: Callable[[], None] = _nobody
        self.is_clean = not _has_log(path)
        self._path = path
        self._descriptor = -1
        self._soiled = False
        self._at = 0
        self._swept = 0

    @property
    def is_sweeping(self) -> bool:
        """Whether a sweep is begun and not ended."""
        return self._at > 0

    def soil(self) -> None:
        """Note that something secret was deleted or replaced."""
        self._soiled = True
        if self.is_clean:
            self.is_clean = False
            self.wake()

    def scrub(self, connection: Connection, pages: int = SLICE_PAGES) -> None:
        """Do the next ``pages``; what is soiled while a sweep goes on has its turn in the next.

        Raises sqlite3.Error, and then it is still to be done.
        """
        if self.is_clean or self._path == ":memory:":
            return
        if not self._at:
            if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                return  # somebody reads: later
            self._soiled, self._swept = False, 0
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        self._sweep(pages)
        if not self._at:
            if self._swept:
                os.fsync(self._descriptor)
                connection.execute("PRAGMA shrink_memory")  # or its own copies of the pages would come back
            self.is_clean = not self._soiled

    def close(self) -> None:
        """Close the file; SQLite has closed its own before."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _sweep(self, pages: int) -> None:
        """Fill the gaps of the next ``pages`` with zeros; count in how many there was something else."""
        size = os.fstat(self._descriptor).st_size
        begun, end_at = self._at, self._at + pages * PAGE
        self._at = end_at if end_at < size else 0
        header = os.pread(self._descriptor, _FIRST_HEAD, 0)
        if not PAGE <= size < _MAX_BYTES or not _is_known(header):
            return
        has_maps = any(header[_AUTO_VACUUM_AT : _AUTO_VACUUM_AT + 4])
        for start in range(begun, min(size, end_at), PAGE * _AT_ONCE):
            chunk = os.pread(self._descriptor, PAGE * _AT_ONCE, start)
            for at in range(0, len(chunk) - PAGE + 1, PAGE):
                if has_maps and (start + at) // PAGE % _MAPPED == 1:
                    continue
                begin, end = gap(chunk, at, _FIRST_HEAD if start + at == 0 else 0)
                if begin < end and chunk.count(0, at + begin, at + end) != end - begin:
                    os.pwrite(self._descriptor, bytes(end - begin), start + at + begin)
                    self._swept += 1


def gap(data: bytes, at: int, head: int) -> tuple[int, int]:
    """Return where in the page of ``data`` at ``at`` the gap begins and ends; ``head``: bytes before the page's own.

    What is no B-tree page (a free page, the rest of a long value) has none: (0, 0).
    """
    kind = data[at + head]
    if kind not in _LEAVES and kind not in _INNER:
        return 0, 0
    cells = int.from_bytes(data[at + head + 3 : at + head + 5], "big")
    content = int.from_bytes(data[at + head + 5 : at + head + 7], "big") or 1 << 16
    begin = head + (_LEAF_HEAD if kind in _LEAVES else _INNER_HEAD) + 2 * cells
    return (begin, content) if begin <= content <= PAGE else (0, 0)


def _is_known(header: bytes) -> bool:
    """Whether the database header (section 1.3) tells of the layout that ``gap`` reads."""
    size = int.from_bytes(header[_SIZE_AT : _SIZE_AT + 2], "big")
    return size == PAGE and not header[_RESERVED_AT]


def _has_log(path: str) -> bool:
    """Whether a log lies there, of a process that was killed."""
    try:
        return os.stat(path + "-wal").st_size > 0
    except OSError:
        return False


def _nobody() -> None:
    """Nobody waits for work."""

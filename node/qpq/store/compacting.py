"""Makes the file of a store in RAM smaller when rows were deleted: a free page there is memory that others lack.

SQLite keeps free pages for later. With ``auto_vacuum = INCREMENTAL`` it also keeps which page refers to each
(pointer maps, file format section 1.8), by which pages from the end can be moved into the gaps. A file without them is
left as large as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.store.counting import PAGE

if TYPE_CHECKING:
    from sqlite3 import Connection

SLICE_PAGES: Final = 32
"""Pages moved at a time: so much the log grows before it is cut again, since memory is short."""
MIN_PAGES: Final = 16
"""Free pages that are kept, for what comes next."""

_INCREMENTAL: Final = 2


def compact(connection: Connection) -> int:
    """Give back free pages, all but a few; return the bytes. Raises sqlite3.Error."""

    def value(pragma: str) -> int:
        return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    spare = value("freelist_count") - MIN_PAGES
    if spare <= 0 or value("auto_vacuum") != _INCREMENTAL:
        return 0
    before = value("page_count")
    for start in range(0, spare, SLICE_PAGES):
        # of its steps, each of which moves one page, ``execute`` would take the first only
        connection.executescript(f"PRAGMA incremental_vacuum({min(SLICE_PAGES, spare - start)})")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.execute("PRAGMA shrink_memory")
    return (before - value("page_count")) * PAGE

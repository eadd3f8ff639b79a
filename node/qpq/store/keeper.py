"""A store in two places: the live one in RAM, and its snapshot on flash (``store.snapshot``)."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from qpq.store.database import Database
from qpq.store.faults import StoreDamagedError, StoreTooNewError
from qpq.store.oplog import Booted, Seen
from qpq.store.snapshot import Snapshot, load, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from qpq.crypto.identity import Address
    from qpq.mesh.records import Operation, Row
    from qpq.store.entries import InboxEntry
    from qpq.store.snapshot import Job

_LIVE = "live"
_HALF_MADE, _IN_USE, _CLOSED = range(3)
"""What the live store says of itself; of one that was in use, a crash, the snapshot lacks the last seconds."""


class Keeper:
    """The core's port over both places; what the daemon asks of a store it asks of ``database``.

    ``clock`` gives monotonic seconds, ``wake`` is called when ``snapshot.due`` is to be asked anew. Raises
    StoreError where neither place can be opened; a snapshot that is damaged is left as it is.
    """

    def __init__(
        self,
        live: str,
        path: str,
        *,
        max_bytes: int,
        commit_s: float,
        clock: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self.path = path
        self._clock = clock
        self.database = self._open(live, max_bytes)
        self.snapshot = Snapshot(self.database, commit_s=commit_s, now=clock(), wake=wake)
        try:
            self._take_up()
        except BaseException:
            self.database.close()
            raise

    # --- the core's port ------------------------------------------------------------------------

    def apply(self, operations: Sequence[Operation]) -> None:
        """Carry out all operations or none; raises as ``Database.apply``."""
        self.database.apply(operations)
        self.snapshot.note(operations, self._clock())

    def envelope(self, envelope_id: bytes) -> bytes | None:
        """Return the bytes of an envelope."""
        return self.database.envelope(envelope_id)

    def restore(self) -> Iterable[Row]:
        """Go through what ``Core.restore`` takes."""
        return self.database.restore()

    # --- for the daemon -------------------------------------------------------------------------

    def next_boot(self) -> int:
        """Count a start of the node, on flash as well, and return its number."""
        boot = self.database.next_boot()
        self.snapshot.note((Booted(boot),), self._clock())
        self.save()
        return boot

    def mark_read(self, user: Address, entries: Sequence[InboxEntry]) -> None:
        """Note that a user has seen these messages."""
        self.database.mark_read(user, [entry.number for entry in entries])
        self.snapshot.note([Seen(user, entry.message_id, entry.sender) for entry in entries], self._clock())

    def take(self) -> Job | None:
        """Return what is to be written to flash now; ``snapshot.write`` does it in any thread, then call ``done``."""
        return self.snapshot.take(self._clock(), self._free())

    def done(self, job: Job, problem: str) -> None:
        """Take what became of a job."""
        self.snapshot.done(job, problem, self._clock())

    def save(self) -> None:
        """Write what has changed to flash at once."""
        job = self.snapshot.take(self._clock(), self._free(), stop=True)
        if job is not None:
            self.done(job, write(self.path, job))

    def close(self) -> None:
        """Write all that has changed to flash and close the live store, which serves the next start."""
        self.save()
        if not self.snapshot.problem:
            self.database.set_number(_LIVE, _CLOSED)
        self.database.close()

    # --- start ----------------------------------------------------------------------------------

    def _open(self, live: str, max_bytes: int) -> Database:
        """Open the live store; one that cannot be used, or was left half made, is only a copy and is made anew."""
        try:
            database = Database(live, durable=False, max_bytes=max_bytes)
            if database.numbers().get(_LIVE, _HALF_MADE) != _HALF_MADE:
                return database
            database.close()
        except (StoreDamagedError, StoreTooNewError):
            pass
        for ending in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                os.unlink(live + ending)
        return Database(live, durable=False, max_bytes=max_bytes)

    def _take_up(self) -> None:
        state = self.database.numbers().get(_LIVE, _HALF_MADE)
        if state == _HALF_MADE:
            self.snapshot.found(*load(self.path, self.database))
        elif state == _CLOSED:
            with suppress(OSError):
                size = os.stat(self.path).st_size
                self.snapshot.found(size, size)
        self.database.set_number(_LIVE, _IN_USE)

    def _free(self) -> int:
        try:
            found = os.statvfs(os.path.dirname(self.path))
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize

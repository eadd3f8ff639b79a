"""A store in two places: the live one in RAM, and its snapshot on flash (``store.snapshot``)."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from qpq.store.codec import PLAIN
from qpq.store.database import Database
from qpq.store.faults import StoreDamagedError, StoreError, StoreSealedError, StoreTooNewError
from qpq.store.keyring_file import read_private
from qpq.store.oplog import Booted, Seen, Stopped, head
from qpq.store.reloading import MAX_READ, load
from qpq.store.snapshot import Snapshot, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from qpq.crypto.identity import Address
    from qpq.mesh.records import Operation, Row
    from qpq.store.codec import Codec
    from qpq.store.entries import InboxEntry
    from qpq.store.oplog import Logged
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
        codec: Codec = PLAIN,
        clock: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self.path = path
        self._clock = clock
        self.database = self._open(live, max_bytes, codec)
        self.snapshot = Snapshot(self.database, commit_s=commit_s, now=clock(), wake=wake, codec=codec)
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

    def sent(self, user: Address, message_id: bytes) -> tuple[bytes, str] | None:
        """Return envelope and text of a user's own message that is on its way."""
        return self.database.sent(user, message_id)

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

    def note(self, operations: Sequence[Logged]) -> None:
        """Take what was written to the store beside the core."""
        self.snapshot.note(operations, self._clock())

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

    def reseal(self, codec: Codec) -> None:
        """Put both places under another codec, the one on flash at once; raises StoreError."""
        self.database.reseal(codec)
        self.snapshot.use(codec, self._clock())
        self.save()
        if self.snapshot.problem:
            raise StoreError(f"{self.path} cannot be written: {self.snapshot.problem}")

    def close(self) -> None:
        """Write all that has changed to flash and close the live store, which serves the next start."""
        if self.database.gives_numbers():
            self.note((Stopped(),))
        self.save()
        if not self.snapshot.problem:
            self.database.set_number(_LIVE, _CLOSED)
        self.database.close()

    # --- start ----------------------------------------------------------------------------------

    def _open(self, live: str, max_bytes: int, codec: Codec) -> Database:
        """Open the live store; one that cannot be used, or was left half made, is only a copy and is made anew."""
        try:
            database = Database(live, durable=False, max_bytes=max_bytes, codec=codec)
            if database.numbers().get(_LIVE, _HALF_MADE) != _HALF_MADE:
                return database
            database.close()
        except (StoreDamagedError, StoreSealedError, StoreTooNewError):
            pass
        for ending in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                os.unlink(live + ending)
        return Database(live, durable=False, max_bytes=max_bytes, codec=codec)

    def _take_up(self) -> None:
        state = self.database.numbers().get(_LIVE, _HALF_MADE)
        if state == _HALF_MADE:
            self.snapshot.found(*load(self.path, self.database))
        elif state == _CLOSED:
            with suppress(OSError, ValueError):
                found = read_private(self.path, MAX_READ).content
                self.snapshot.found(len(found), len(found) if found.startswith(head(self.database.codec)) else 0)
        self.database.set_number(_LIVE, _IN_USE)

    def _free(self) -> int:
        try:
            found = os.statvfs(os.path.dirname(self.path))
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize

"""The second place of a store in RAM: a small file on flash from which it is made anew after a power cut.

What only this node holds (its users' messages, tombstones, the number of its start) is appended within
``SOON_S``, as far as ``RATE`` allows; what it keeps for others goes in whenever the file is written anew,
at the latest every ``commit_s``, if it has changed. Nothing is written while nothing changes. The file has at most
``MAX_BYTES`` and never more than half of what is free.

``Snapshot`` decides and keeps the books; it does no I/O. ``write`` carries a ``Job`` out, in any thread.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpq.mesh.records import (
    Checkpoint,
    InboxInsert,
    KnownDelete,
    KnownInsert,
    MessageDelete,
    OutboxInsert,
    OutboxState,
    ProofInsert,
    RelayCopies,
    RelayDelete,
    RelayInsert,
    TombstoneDelete,
    TombstoneInsert,
    UserDelete,
)
from qpq.store.dump import Dump
from qpq.store.faults import StoreError, StoreFullError
from qpq.store.keyring_file import read_private, replace_private
from qpq.store.oplog import HEAD, Booted, Seen, block, item, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qpq.mesh.records import Operation
    from qpq.store.database import Database
    from qpq.store.oplog import Logged

MAX_BYTES: Final = 256 * 1024
"""Of the file, appended blocks included."""
SOON_S: Final = 4.0
"""The wait before a change is written, so that several go together; with the writing it is under 5 s."""
RETRY_S: Final = 300.0
"""The wait after a write that failed, or found no room."""
RATE: Final = 1024 * 1024 / 3600
"""Bytes a second that may be written for long: 9 GB a year, a small part of what 5 MB of NOR flash endure."""
BURST: Final = 2 * MAX_BYTES
"""Bytes that may be written at once."""

INBOX_BYTES: Final = MAX_BYTES // 4
OUTBOX_BYTES: Final = 40 * 1024
"""What one user's messages may count, so that all of them go in."""

_FULL = 7 / 8
"""The part of the file that is filled when it is written anew; the rest is for appending."""
_PENDING = 64 * 1024
"""Bytes that wait to be appended; with more the file is written anew."""
_MIN_BYTES = 16 * 1024
_AT_ONCE = 64
_MAX_READ = 4 * MAX_BYTES

_OWN = frozenset(
    {OutboxInsert, OutboxState, InboxInsert, MessageDelete, UserDelete, TombstoneInsert, TombstoneDelete, Seen, Booted}
)
_OTHERS = frozenset({RelayInsert, RelayCopies, RelayDelete, ProofInsert, KnownInsert, KnownDelete})


@dataclass(frozen=True, slots=True)
class Job:
    """Bytes to append to the file, or to put in its place."""

    data: bytes
    append: bool
    left_out: int = 0


class Snapshot:
    """The books of the file ``path``: what it lacks, when it is to be written, and with what.

    ``wake`` is called when something has changed after nothing had; then ask ``due``.
    """

    def __init__(self, database: Database, *, commit_s: float, now: float, wake: Callable[[], None]) -> None:
        self.size = 0
        self.written_at: float | None = None
        self.problem = ""
        self._database = database
        self._commit_s = commit_s
        self._wake = wake
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._checkpoint: Checkpoint | None = None
        self._changed_at: float | None = None
        self._others_changed = False
        self._committed_at = now
        self._anew = True
        self._running = False
        self._budget = float(BURST)
        self._budget_at = now
        self._not_before = now

    def found(self, size: int, whole: int) -> None:
        """Take up a file of ``size`` bytes that holds what the store holds; ``whole`` of them can be read."""
        self.size = size
        self._anew = size != whole or size > MAX_BYTES

    # --- what happens ---------------------------------------------------------------------------

    def note(self, operations: Sequence[Logged], now: float) -> None:
        """Take what has been written to the store."""
        for operation in operations:
            kind = type(operation)
            if kind in _OWN or (kind is RelayInsert and operation.via is None):  # type: ignore[union-attr]
                self._changed(now)
                if not self._anew:
                    self._append(item(operation))
            elif kind is Checkpoint:
                self._checkpoint = operation  # type: ignore[assignment]
            elif kind in _OTHERS and not self._others_changed:
                self._others_changed = True
                self._wake()

    def due(self, now: float) -> float | None:
        """Return when ``take`` is to be called; None: when something has changed."""
        if self._running or (self._changed_at is None and not self._others_changed):
            return None
        if self._changed_at is None:
            return max(self._committed_at + self._commit_s, self._not_before)
        self._refill(now)
        lacking = (min(MAX_BYTES, self.size + _PENDING) if self._anew else self._pending_bytes) - self._budget
        return max(self._changed_at + SOON_S, self._not_before, now + lacking / RATE if lacking > 0 else 0.0)

    def take(self, now: float, free: int, *, stop: bool = False) -> Job | None:
        """Return what is to be written now; None: nothing, or there is no room on the ``free`` bytes of flash.

        ``stop``: all that changed goes in, whatever was written before. Call ``done`` after it.
        """
        due = self.due(now)
        if due is None or (due > now and not stop):
            return None
        commit = self._others_changed and (stop or now >= self._committed_at + self._commit_s)
        try:
            job = self._whole(free) if self._anew or commit else self._more(free)
        except StoreError as fault:
            self._fail(str(fault), now)
            return None
        if job is None:
            self._fail("there is no room for it: at most half of what is free is taken", now)
            return None
        self._running = True
        self._pending, self._pending_bytes, self._changed_at = [], 0, None
        if not job.append:
            self._anew, self._others_changed, self._committed_at = False, False, now
        return job

    def done(self, job: Job, problem: str, now: float) -> None:
        """Take what became of a job; ``problem`` is empty, or why it failed."""
        self._running = False
        if problem:
            self._fail(problem, now)
            self._others_changed = True
            self._changed(now)
            return
        self.size = len(job.data) + (self.size if job.append else 0)
        self.written_at = now
        self._refill(now)
        self._budget -= len(job.data)
        if not job.append:
            left = f"{job.left_out} messages of users are in RAM only, there is no more room for them: delete some"
            self.problem = left if job.left_out else ""

    # --- what is written ------------------------------------------------------------------------

    def _whole(self, free: int) -> Job | None:
        room = int(min(MAX_BYTES, free // 2) * _FULL)
        if room < _MIN_BYTES:
            return None
        dump = Dump(self._database, room)
        items = dump.items
        blocks = [block(items[start : start + _AT_ONCE]) for start in range(0, len(items), _AT_ONCE)]
        return Job(b"".join((HEAD, *blocks)), False, dump.left_out)

    def _more(self, free: int) -> Job | None:
        if self._checkpoint is not None:
            self._append(item(self._checkpoint))
            self._checkpoint = None
        data = block(self._pending)
        if self._anew or self.size + len(data) > MAX_BYTES:
            self._anew = True
            return self._whole(free)
        return Job(data, True) if len(data) <= free // 2 else None

    def _append(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes > _PENDING:
            self._anew, self._pending, self._pending_bytes = True, [], 0

    def _changed(self, now: float) -> None:
        if self._changed_at is None:
            self._changed_at = now
            self._wake()

    def _fail(self, problem: str, now: float) -> None:
        self.problem = problem
        self._anew = True
        self._not_before = now + RETRY_S

    def _refill(self, now: float) -> None:
        self._budget = min(float(BURST), self._budget + (now - self._budget_at) * RATE)
        self._budget_at = now


def write(path: str, job: Job) -> str:
    """Carry a job out, so that a power cut leaves the file before or after; return why it failed, or nothing."""
    try:
        if not job.append:
            replace_private(path, job.data)
            return ""
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            if os.write(handle, job.data) != len(job.data):
                return "it could be written in part only"
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def load(path: str, database: Database) -> tuple[int, int]:
    """Write what the snapshot holds to an empty store; return the size of the file, and how much of it is whole.

    Operations for which there is no room are left out. Raises StoreDamagedError, StoreTooNewError, StoreError.
    """
    try:
        data = read_private(path, _MAX_READ).content
    except FileNotFoundError:
        return 0, -1
    except (OSError, ValueError) as error:
        raise StoreError(f"the snapshot {path} cannot be read: {error}") from None
    operations, whole = read(data)
    for start in range(0, len(operations), _AT_ONCE):
        batch = operations[start : start + _AT_ONCE]
        try:
            _apply(database, batch)
        except StoreFullError:
            for operation in batch:
                try:
                    _apply(database, [operation])
                except StoreFullError:
                    continue
    return len(data), whole


def _apply(database: Database, operations: Sequence[Logged]) -> None:
    plain: list[Operation] = []
    for operation in operations:
        if isinstance(operation, Booted):
            database.next_boot(operation.boot)
        elif isinstance(operation, Seen):
            database.apply(plain)
            plain = []
            database.mark_seen(operation.user, operation.message_id, operation.sender)
        else:
            plain.append(operation)
    database.apply(plain)

"""The second place of a store in RAM: a small file on flash from which it is made anew after a power cut.

What only this node holds (its users' and clients' messages, tombstones, the number of its start) is appended within
``SOON_S``, as far as ``RATE`` and for clients ``CLIENT_RATE`` allow; what it keeps for others, and for other domains,
goes in whenever the file is written anew, at the latest every ``commit_s``, if it has changed. Nothing is written while
nothing changes. The file has at most ``MAX_BYTES`` and never more than half of what is free. What was deleted stands in
it until it is written anew: ``PURGE_S`` after a deletion, or later, so that such writing takes at most ``PURGE_RATE``.

``Snapshot`` decides and keeps the books; it does no I/O. ``write`` carries a ``Job`` out, in any thread.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpq.mesh.buckets import Bucket
from qpq.mesh.effects import State
from qpq.mesh.records import (
    BundleDelete,
    BundlePut,
    Checkpoint,
    FederationInsert,
    InboxInsert,
    InboxMark,
    KnownDelete,
    KnownInsert,
    MessageDelete,
    OutboxInsert,
    OutboxReseal,
    OutboxState,
    PrekeyDelete,
    PrekeyPut,
    ProofInsert,
    RelayCopies,
    RelayDelete,
    RelayInsert,
    SessionDelete,
    SessionPut,
    TombstoneDelete,
    TombstoneInsert,
    UserDelete,
)
from qpq.store.codec import PLAIN
from qpq.store.dump import Dump
from qpq.store.faults import StoreError
from qpq.store.keyring_file import replace_private
from qpq.store.oplog import Booted, HomeExpired, HomePosted, HomeRead, Seen, Stopped, block, head, item
from qpq.store.writers import PURGING
from qpq.wire.envelope import CHANNEL_TAG_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qpq.store.codec import Codec
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

PURGE_S: Final = 60.0
"""The wait after a deletion before the file is written anew, without what was deleted."""
PURGE_RATE: Final = RATE / 2
"""Bytes a second that such writing may take for long."""

INBOX_BYTES: Final = MAX_BYTES // 4
OUTBOX_BYTES: Final = 40 * 1024
"""What one user's messages may count, so that all of them go in."""

SESSION_JUMP: Final = 64
"""Numbers that a session leaves out after a start: the file may lack the messages of the last ``SOON_S``."""

_FULL = 7 / 8
"""The part of the file that is filled when it is written anew; the rest is for appending."""
_PENDING = 64 * 1024
"""Bytes that wait to be appended; with more the file is written anew."""
_SESSION = 96
"""Bytes of a session's record beside its state."""
_CLIENT = 64
"""Bytes of a record about a client's inbox beside the message."""
_MIN_BYTES = 16 * 1024
_AT_ONCE = 64
CLIENT_RATE: Final = RATE / 4
CLIENT_BURST: Final = 64 * 1024
"""Bytes a second, and at once, that may be appended for clients; more goes in when the file is written anew, soon."""

_OWN = frozenset(
    {
        OutboxInsert,
        OutboxReseal,
        OutboxState,
        InboxInsert,
        InboxMark,
        MessageDelete,
        UserDelete,
        TombstoneInsert,
        TombstoneDelete,
        SessionPut,
        SessionDelete,
        PrekeyPut,
        PrekeyDelete,
        BundlePut,
        BundleDelete,
        Seen,
        Booted,
    }
)
_CLIENTS = frozenset({HomePosted, HomeRead, HomeExpired})
_OTHERS = frozenset({RelayInsert, RelayCopies, RelayDelete, ProofInsert, KnownInsert, KnownDelete, FederationInsert})


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

    def __init__(
        self, database: Database, *, commit_s: float, now: float, wake: Callable[[], None], codec: Codec = PLAIN
    ) -> None:
        self.size = 0
        self.written_at: float | None = None
        self.problem = ""
        self._database = database
        self._commit_s = commit_s
        self._wake = wake
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._sessions: dict[tuple[bytes, ...], SessionPut] = {}
        self._checkpoint: Checkpoint | None = None
        self._changed_at: float | None = None
        self._others_changed = False
        self._committed_at = now
        self._anew = True
        self._codec = codec
        self._purge_at: float | None = None
        self._purge_not_before = now
        self._running = False
        self._budget = float(BURST)
        self._budget_at = now
        self._clients = Bucket(CLIENT_RATE, CLIENT_BURST, now)
        self._stopped = False
        self._not_before = now

    def found(self, size: int, whole: int) -> None:
        """Take up a file of ``size`` bytes that holds what the store holds; ``whole`` of them can be read."""
        self.size = size
        self._anew = size != whole or size > MAX_BYTES

    def use(self, codec: Codec, now: float) -> None:
        """Write everything under this codec from now on, and the file anew if that is another one."""
        if codec.number != self._codec.number:
            self._codec, self._anew, self._not_before = codec, True, now
            self._changed(now)

    # --- what happens ---------------------------------------------------------------------------

    def note(self, operations: Sequence[Logged], now: float) -> None:
        """Take what has been written to the store."""
        for operation in operations:
            kind = type(operation)
            self._stopped = kind is Stopped
            if self._stopped:
                self._changed(now)
            elif kind in _CLIENTS:
                self._note_client(operation, now)
            elif kind in _OWN or (kind is RelayInsert and _own_broadcast(operation)):  # type: ignore[arg-type]
                self._changed(now)
                if not self._anew:
                    self._log(operation)
                if self._purge_at is None and _purges(operation):
                    self._purge_at = now + PURGE_S
            elif kind is Checkpoint:
                self._checkpoint = operation  # type: ignore[assignment]
            elif kind in _OTHERS:
                self.custody_changed()

    def custody_changed(self) -> None:
        """Take note that what is kept for others, or for other domains, is not what it was."""
        if not self._others_changed:
            self._others_changed = True
            self._wake()

    def due(self, now: float) -> float | None:
        """Return when ``take`` is to be called; None: when something has changed."""
        if self._running or (self._changed_at is None and not self._others_changed and self._purge_at is None):
            return None
        self._refill(now)
        purge = self._purge_due()
        if self._changed_at is None:
            commit = self._committed_at + self._commit_s if self._others_changed else purge
            return max(min(commit, purge), self._not_before)
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
        commit = commit or (self._purge_at is not None and (stop or now >= self._purge_due()))
        try:
            job = self._whole(free) if self._anew or commit else self._more(free)
        except StoreError as fault:
            self._fail(str(fault), now)
            return None
        if job is None:
            self._fail("there is no room for it: at most half of what is free is taken", now)
            return None
        self._running = True
        self._pending, self._pending_bytes, self._changed_at, self._sessions = [], 0, None, {}
        if not job.append:
            self._purge_not_before = now + len(job.data) / PURGE_RATE
            self._anew, self._others_changed, self._committed_at, self._purge_at = False, False, now, None
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
            left = f"{job.left_out} messages for people here are in RAM only, there is no more room: delete some"
            self.problem = left if job.left_out else ""

    # --- what is written ------------------------------------------------------------------------

    def _whole(self, free: int) -> Job | None:
        room = int(min(MAX_BYTES, free // 2) * _FULL)
        if room < _MIN_BYTES:
            return None
        dump = Dump(self._database, room)
        items = dump.items
        items += self._end()
        data = bytearray(head(self._codec))
        for start in range(0, len(items), _AT_ONCE):
            data += block(items[start : start + _AT_ONCE], len(data), self._codec)
        return Job(bytes(data), False, dump.left_out)

    def _more(self, free: int) -> Job | None:
        if self._checkpoint is not None:
            self._append(item(self._checkpoint))
            self._checkpoint = None
        data = block([*self._pending, *map(item, self._sessions.values()), *self._end()], self.size, self._codec)
        if self._anew or self.size + len(data) > MAX_BYTES:
            self._anew = True
            return self._whole(free)
        return Job(data, True) if len(data) <= free // 2 else None

    def _end(self) -> list[bytes]:
        return [item(Stopped())] if self._stopped else []

    def _note_client(self, operation: Logged, now: float) -> None:
        """Append what concerns a client's inbox, as fast as that may be; else have the file written anew."""
        size = len(operation.data) if isinstance(operation, HomePosted) else 0
        admitted = self._anew or self._clients.take(size + _CLIENT, now)
        if admitted:
            self._changed(now)
            if not self._anew:
                self._log(operation)
        if self._purge_at is None and not (admitted and isinstance(operation, HomePosted)):
            self._purge_at = now + PURGE_S
            self._wake()

    def _log(self, operation: Logged) -> None:
        """Note what is to be appended; of a session, which changes with every message, only what it is at last."""
        if isinstance(operation, SessionPut):
            key = (operation.user, operation.peer, operation.session_id)
            before = self._sessions.get(key)
            self._sessions[key] = operation
            self._count(len(operation.data) + _SESSION - (0 if before is None else len(before.data) + _SESSION))
            return
        if isinstance(operation, SessionDelete | UserDelete):
            self._forget_sessions(operation)
        self._append(item(operation))

    def _forget_sessions(self, gone: SessionDelete | UserDelete) -> None:
        """Leave out what is deleted again: it would stand behind that."""
        key = (gone.user,) if isinstance(gone, UserDelete) else (gone.user, gone.peer, gone.session_id)
        for known in [known for known in self._sessions if known[: len(key)] == key]:
            self._count(-len(self._sessions.pop(known).data) - _SESSION)

    def _append(self, data: bytes) -> None:
        self._pending.append(data)
        self._count(len(data))

    def _count(self, size: int) -> None:
        self._pending_bytes += size
        if self._pending_bytes > _PENDING:
            self._anew, self._pending, self._pending_bytes, self._sessions = True, [], 0, {}

    def _changed(self, now: float) -> None:
        if self._changed_at is None:
            self._changed_at = now
            self._wake()

    def _purge_due(self) -> float:
        """Return when the file is to be written anew for what was deleted; never where nothing was."""
        return float("inf") if self._purge_at is None else max(self._purge_at, self._purge_not_before)

    def _fail(self, problem: str, now: float) -> None:
        self.problem = problem
        self._anew = True
        self._not_before = now + RETRY_S

    def _refill(self, now: float) -> None:
        self._budget = min(float(BURST), self._budget + (now - self._budget_at) * RATE)
        self._budget_at = now


def _purges(operation: Logged) -> bool:
    """Whether something that stands in the file must leave it after this."""
    return type(operation) in PURGING or (
        isinstance(operation, OutboxState) and operation.state in (State.EXPIRED, State.REFUSED)
    )


def _own_broadcast(row: RelayInsert) -> bool:
    """Whether an envelope was made here and cannot be made anew: words about keys can."""
    return row.via is None and len(row.recipient) == CHANNEL_TAG_SIZE


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

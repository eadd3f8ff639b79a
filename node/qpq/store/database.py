"""The durable store behind the core's port: one SQLite file with outbox, inbox, tombstones and others' envelopes.

Others' envelopes may take half of it, so they never leave the users of this node without room.
Durable stores (disk, USB) run in WAL mode with synchronous=FULL: what ``apply`` returned from is
there after a power cut. Others (tmpfs) skip the syncs. The file is open to this process alone.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from qpq.crypto.identity import ID_BYTES, prefix_range
from qpq.mesh.records import (
    MessageDelete,
)
from qpq.store.codec import CODEC_NUMBER, OUTBOX_TEXT, PLAIN
from qpq.store.counting import PAGE, counts
from qpq.store.entries import INBOX, OUTBOX, Counts, InboxEntry, OutboxEntry, inbox_entry, outbox_entry
from qpq.store.faults import StoreBusyError, StoreDamagedError, StoreError, StoreFullError, StoreSealedError
from qpq.store.restoring import restored
from qpq.store.schema import CAN_SHRINK, place_of, prepare, upgrade
from qpq.store.scrubbing import Scrubber
from qpq.store.writers import GROWING, SOLE, Writers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qpq.crypto.identity import Address
    from qpq.mesh.records import Operation, Row
    from qpq.store.codec import Codec

DEFAULT_MAX_BYTES = 64 << 20
MESSAGE_ID_BYTES = 16
MAX_HISTORY = 1_000
"""Delivered and expired messages kept for each user to look at; the oldest go."""

_RELAY_PART = 2
OUTSIDE_PART = 4
"""The part of the store that what waits for other domains may take is one in so many."""
"""Envelopes for others take at most the store's bytes divided by this; the rest is for users whatever comes."""
_RESERVE_PAGES = 16
"""Pages beyond the limit for what must not fail when the store is full: states, deletions, checkpoints."""
_CHECK_BELOW = 8 << 20
"""Bytes up to which a file is checked whole when it is opened; larger ones are found damaged when read."""
_LOCK_WAIT_S = 2.0
_WAL_PAGES = 16
_WAL_PAGES_DURABLE = 512
_CACHE_KIB = 64
_CACHE_KIB_DURABLE = 2048
"""Of a store in RAM the log and the cache are copies in the same RAM, and larger ones make it no faster."""
_ROWS_AT_ONCE = 32
_NUMBERED = "SELECT 1 FROM sqlite_master WHERE name IN ('home_message', 'federation')"


class Database:
    """The store in the file ``path`` (":memory:" for tests), at most ``max_bytes`` large.

    ``codec``: what its secret columns stand under; a file where they stand as they are is sealed now.
    ``scrubber`` takes away what deleted rows left in the file. Raises StoreDamagedError, StoreTooNewError,
    StoreBusyError, StoreSealedError, StoreError where it cannot be opened; a file that is refused is left as it is.
    """

    def __init__(
        self,
        path: str,
        *,
        durable: bool = True,
        max_bytes: int = DEFAULT_MAX_BYTES,
        history: int = MAX_HISTORY,
        codec: Codec = PLAIN,
    ) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.codec = codec
        self.scrubber = Scrubber(path)
        self._connection = self._connect()
        relayed, outside = max_bytes // _RELAY_PART, max_bytes // OUTSIDE_PART
        self._writers = Writers(
            self._connection, history, codec, self.scrubber.soil, relay_bytes=relayed, outside_bytes=outside
        )
        try:
            self._set_up(durable)
        except sqlite3.Error as fault:
            self._close()
            raise self._name(fault) from fault
        except StoreError:
            self._close()
            raise

    # --- the core's port -------------------------------------------------------------------------

    def apply(self, operations: Sequence[Operation]) -> None:
        """Carry out all operations or none, as one transaction; for a group commit pass them in order.

        Raises StoreFullError when there is no room, StoreDamagedError, StoreError.
        """
        try:
            self._write(operations)
        except StoreFullError:
            if any(isinstance(operation, GROWING) for operation in operations):
                raise
            self._limit_pages(_RESERVE_PAGES)
            try:
                self._write(operations)
            finally:
                self._limit_pages(0)

    def envelope(self, envelope_id: bytes) -> bytes | None:
        """Return the bytes of an envelope on its way, a user's or another's; None: it is not there any more."""
        rows = self._read("SELECT envelope FROM outbox WHERE envelope_id = ?", (envelope_id,))
        if not rows or rows[0][0] is None:
            place = place_of(envelope_id)
            rows = self._read("SELECT envelope FROM relay WHERE place = ? AND envelope_id = ?", (place, envelope_id))
        return rows[0][0] if rows else None

    def sent(self, user: Address, message_id: bytes) -> tuple[bytes, str] | None:
        """Return envelope and text of a user's own message that is on its way; None: there is none such any more."""
        rows = self._read(
            "SELECT envelope, text FROM outbox WHERE user = ? AND message_id = ? AND envelope IS NOT NULL",
            (user, message_id),
        )
        if not rows:
            return None
        envelope, text = rows[0]
        return envelope, self.codec.read_text(OUTBOX_TEXT, (user, message_id), text)

    def restore(self) -> Iterator[Row]:
        """Go through what ``Core.restore`` takes; nothing is written meanwhile."""
        return restored(self)

    # --- for people ----------------------------------------------------------------------------------

    def inbox(
        self, user: Address, *, unread: bool = False, limit: int = 100, after: int | None = None
    ) -> list[InboxEntry]:
        """Return a user's messages, oldest first: the last ``limit``, or the first behind number ``after``."""
        rows = self._some(INBOX, user, "AND read = 0" if unread else "", limit, after)
        return [inbox_entry(self.codec, user, row) for row in rows]

    def outbox(self, user: Address, *, limit: int = 100, after: int | None = None) -> list[OutboxEntry]:
        """Return what a user sent, oldest first: the last ``limit``, or the first behind number ``after``."""
        rows = self._some(OUTBOX, user, "", limit, after)
        return [outbox_entry(self.codec, user, row) for row in rows]

    def message_ids(self, user: Address, prefix: str, limit: int = 10) -> list[bytes]:
        """Return the ids of a user's messages, of inbox and outbox, whose text form begins with ``prefix``."""
        found = prefix_range(prefix, MESSAGE_ID_BYTES)
        if found is None:
            return []
        rows = self._read(
            "SELECT message_id FROM inbox WHERE user = ?1 AND message_id BETWEEN ?2 AND ?3 UNION"
            " SELECT message_id FROM outbox WHERE user = ?1 AND message_id BETWEEN ?2 AND ?3 LIMIT ?4",
            (user, *found, limit),
        )
        return [row[0] for row in rows]

    def correspondents(self, user: Address) -> list[bytes]:
        """Return the addresses a user has messages from or to, for whoever types a prefix."""
        rows = self._read(
            "SELECT sender FROM inbox WHERE user = ?1 UNION SELECT recipient FROM outbox WHERE user = ?1", (user,)
        )
        return [row[0] for row in rows if len(row[0]) == ID_BYTES]  # not channels

    def domain_of(self, user: Address, other: Address) -> str:
        """Return the other domain of whom a user has messages from or to, by the newest; empty: none is known."""
        for sql in (
            "SELECT domain FROM inbox WHERE user = ? AND sender = ? AND channel IS NULL ORDER BY number DESC LIMIT 1",
            "SELECT domain FROM outbox WHERE user = ? AND recipient = ? ORDER BY number DESC LIMIT 1",
        ):
            for (domain,) in self._read(sql, (user, other)):
                return str(domain)
        return ""

    def mark_read(self, user: Address, numbers: Sequence[int]) -> None:
        """Note that a user has seen these messages of the own inbox."""
        with self.transaction():
            self._connection.executemany(
                "UPDATE inbox SET read = 1 WHERE user = ? AND number = ?", [(user, number) for number in numbers]
            )

    def mark_seen(self, user: Address, message_id: bytes, sender: Address) -> None:
        """Note that a user has seen a message, named by its id and sender."""
        with self.transaction():
            self._connection.execute(
                "UPDATE inbox SET read = 1 WHERE user = ? AND message_id = ? AND sender = ?", (user, message_id, sender)
            )

    def delete(self, user: Address, message_id: bytes) -> None:
        """Delete a message behind the core's back, for a store without a running node."""
        self.apply((MessageDelete(user, message_id),))

    def counts(self) -> Counts:
        """Return what there is, for ``qpq status``."""
        return counts(self._read, self.max_bytes, self.max_bytes // _RELAY_PART)

    def next_boot(self, floor: int = 0) -> int:
        """Count a start of the node, durably, and return its number (1 or more, 32 bits).

        ``floor``: the least it may be, for a store that may have been lost (tmpfs).
        """
        boot = max(self.numbers().get("boot", 0) + 1, floor)
        self.set_number("boot", boot)
        return boot

    def numbers(self) -> dict[str, int]:
        """Return the node's own numbers: boots, the clock of life."""
        return dict(self._read("SELECT key, value FROM meta", ()))

    def set_number(self, key: str, value: int) -> None:
        """Keep one of the node's own numbers."""
        with self.transaction():
            self._writers.set_meta(key, value)

    def gives_numbers(self) -> bool:
        """Whether there are the tables of clients or of other domains, whose numbers others know."""
        return bool(self._read(_NUMBERED, ()))

    def reseal(self, codec: Codec) -> None:
        """Put the secret columns under another codec, all or none, and take away what was there before.

        Raises StoreFullError, StoreDamagedError, StoreError.
        """
        from qpq.store.sealing import reseal  # noqa: PLC0415 (seldom)

        self._limit_pages(self.max_bytes // PAGE)  # they get longer, and for a while both are there
        try:
            with self.transaction():
                reseal(self._connection, self.codec, codec)
                self._writers.set_meta(CODEC_NUMBER, codec.number)
        finally:
            self._limit_pages(0)
        self.codec = self._writers.codec = codec
        self.scrubber.soil()
        self.scrub()

    def forget_keys(self) -> None:
        """Delete what opens messages, and its traces, before everything is wiped; raises StoreError."""
        from qpq.store.sealing import drop_keys  # noqa: PLC0415 (seldom)

        with self.transaction():
            drop_keys(self._connection)
        self.scrubber.soil()
        self.scrub()

    def scrub(self, *, whole: bool = True) -> None:
        """Take away what deleted and replaced rows left in the files, or only a slice of it."""
        with suppress(sqlite3.Error):  # a full disk: later
            self.scrubber.scrub(self._connection)
            while whole and self.scrubber.is_sweeping:
                self.scrubber.scrub(self._connection)

    def compact(self) -> int:
        """Give back memory of what was deleted, where the store lies in RAM; return the bytes. Raises StoreError."""
        from qpq.store.compacting import compact  # noqa: PLC0415 (only where memory is short)

        try:
            return compact(self._connection)
        except sqlite3.Error as fault:
            raise self._name(fault) from fault

    def close(self) -> None:
        """Move everything into the one file and close it; later calls raise StoreError."""
        with suppress(sqlite3.Error):  # what stays in the WAL is read at the next start
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.scrub()
        self._close()

    # --- SQLite ----------------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        try:
            if self.path != ":memory:":
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite's own files follow this mode
            return sqlite3.connect(self.path, timeout=_LOCK_WAIT_S, isolation_level=None)
        except (OSError, sqlite3.Error) as fault:
            raise StoreError(f"the message store {self.path} cannot be opened: {fault}") from fault

    def _close(self) -> None:
        self._connection.close()
        self.scrubber.close()

    def _set_up(self, durable: bool) -> None:
        execute = self._connection.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute(f"PRAGMA page_size = {PAGE}")
        prepare(self._connection, self.path, *([] if durable else [CAN_SHRINK]))
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES_DURABLE if durable else _WAL_PAGES}")
        execute(f"PRAGMA cache_size = -{_CACHE_KIB_DURABLE if durable else _CACHE_KIB}")
        execute("PRAGMA temp_store = MEMORY")
        execute("PRAGMA secure_delete = ON")
        if execute("PRAGMA page_count").fetchone()[0] * PAGE <= _CHECK_BELOW:
            verdict = execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise StoreDamagedError(self._damage(verdict))
        upgrade(self._connection)
        self._limit_pages(0)
        self._check_codec()

    def _check_codec(self) -> None:
        """See that the secret columns stand under this codec; seal them if they stand as they are."""
        number = self.numbers().get(CODEC_NUMBER, 0)
        if not number and self.codec.number:
            wanted, self.codec = self.codec, PLAIN
            self.reseal(wanted)
        elif number != self.codec.number:
            raise StoreSealedError(
                f"the message store {self.path} is sealed under a key that this node does not have: put the vault.json"
                " that belongs to it back, or move the store away to start with an empty one; it was left as it is"
            )

    def _limit_pages(self, reserve: int) -> None:
        self._connection.execute(f"PRAGMA max_page_count = {max(1, self.max_bytes // PAGE) + reserve}")

    def _write(self, operations: Sequence[Operation]) -> None:
        write = self._writers.write
        if len(operations) == 1 and type(operations[0]) in SOLE:
            try:
                write(operations[0])  # one statement is a transaction of its own
            except sqlite3.Error as fault:
                self._writers.forget_counts()
                raise self._name(fault) from fault
            return
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            for operation in operations:
                write(operation)
            execute("COMMIT")
        except sqlite3.Error as fault:
            self._undo()
            raise self._name(fault) from fault
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        """Take back what a transaction has done so far."""
        self._writers.forget_counts()
        with suppress(sqlite3.Error):  # the fault that led here is the one to tell
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold a transaction, for this room; whatever goes wrong undoes it. Raises StoreError of some kind."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        except sqlite3.Error as fault:
            raise self._name(fault) from fault

    def _read(self, statement: str, parameters: tuple[object, ...]) -> list[Any]:
        try:
            return self._connection.execute(statement, parameters).fetchall()
        except sqlite3.Error as fault:
            raise self._name(fault) from fault

    def each(self, statement: str, at_once: int = _ROWS_AT_ONCE) -> Iterator[Any]:
        """Go through the rows of a statement, not all in memory at once; for this room. Raises StoreError."""
        try:
            cursor = self._connection.execute(statement)
            while rows := cursor.fetchmany(at_once):
                yield from rows
        except sqlite3.Error as fault:
            raise self._name(fault) from fault

    def _some(self, select: str, user: Address, condition: str, limit: int, after: int | None) -> list[Any]:
        start = f"{select} WHERE user = ? {condition}"
        if after is not None:
            return self._read(f"{start} AND number > ? ORDER BY number LIMIT ?", (user, after, limit))
        return self._read(f"{start} ORDER BY number DESC LIMIT ?", (user, limit))[::-1]

    def _name(self, fault: sqlite3.Error) -> StoreError:
        """Return the fault in the words of this room."""
        code = getattr(fault, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return StoreFullError(f"the message store {self.path} is full: delete messages or give it more room")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StoreDamagedError(self._damage(str(fault)))
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreBusyError(f"the message store {self.path} is open in another process: stop that one first")
        return StoreError(f"the message store {self.path} failed: {fault}")

    def _damage(self, what: str) -> str:
        return (
            f"the message store {self.path} is damaged ({what}). It was left as it is. To start with an empty one,"
            " move it away together with the files of the same name that end in -wal and -shm"
        )

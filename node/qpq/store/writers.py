"""The core's operations as SQL, one statement or two each; the caller holds the transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qpq.mesh.records import (
    Checkpoint,
    InboxInsert,
    MessageDelete,
    OutboxInsert,
    OutboxState,
    TombstoneDelete,
    TombstoneExpected,
    TombstoneInsert,
    UserDelete,
)
from qpq.store.faults import StoreFullError
from qpq.store.schema import FINAL, STATES

if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection

    from qpq.crypto.identity import Address
    from qpq.mesh.records import Operation

GROWING: Final = (OutboxInsert, InboxInsert)
"""The operations that may fail for lack of room; all others get a reserve."""

SOLE: Final = (OutboxInsert, OutboxState, InboxInsert, TombstoneInsert, TombstoneDelete)
"""The operations that are one statement, besides forgetting old rows, which may as well come later."""

_TRIM_EVERY = 64
_STATE_NUMBERS = {state: number for number, state in enumerate(STATES)}


class Writers:
    """Writes operations; of each user ``history`` finished messages are kept, the oldest go now and then."""

    def __init__(self, connection: Connection, history: int) -> None:
        self._connection = connection
        self._history = history
        self._finished: dict[Address, int] = {}
        self._unsure: set[Address] = set()
        self._writers = self._table()

    def write(self, operation: Operation) -> None:
        """Carry out one operation; raises sqlite3.Error, StoreFullError."""
        self._writers[type(operation)](operation)

    def forget_counts(self) -> None:
        """Count anew what is there: a transaction was undone."""
        self._finished.clear()

    def set_meta(self, key: str, value: int) -> None:
        """Set one of the node's own numbers."""
        self._connection.execute(
            "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def _table(self) -> dict[type[Operation], Callable[[Any], None]]:
        return {
            OutboxInsert: self._outbox_insert,
            OutboxState: self._outbox_state,
            InboxInsert: self._inbox_insert,
            MessageDelete: self._message_delete,
            UserDelete: self._user_delete,
            TombstoneInsert: self._tombstone_insert,
            TombstoneDelete: self._tombstone_delete,
            TombstoneExpected: self._tombstone_expected,
            Checkpoint: self._checkpoint,
        }

    def _outbox_insert(self, row: OutboxInsert) -> None:
        self._connection.execute(
            "INSERT INTO outbox (user, message_id, envelope_id, recipient, urgent, ttl, born, sent, state, copies,"
            " text, envelope) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?) ON CONFLICT DO NOTHING",
            (
                row.user,
                row.message_id,
                row.envelope_id or None,
                row.recipient,
                row.urgent,
                row.ttl,
                row.born,
                row.sent,
                _STATE_NUMBERS[row.state],
                row.text,
                row.envelope or None,
            ),
        )
        if not row.envelope:
            self._trim(row.user)

    def _outbox_state(self, row: OutboxState) -> None:
        state = _STATE_NUMBERS[row.state]
        self._connection.execute(
            "UPDATE outbox SET state = ?, copies = ?, envelope = CASE WHEN ? THEN NULL ELSE envelope END"
            " WHERE user = ? AND message_id = ?",
            (state, row.copies, state >= FINAL, row.user, row.message_id),
        )
        if state >= FINAL:
            self._trim(row.user)

    def _inbox_insert(self, row: InboxInsert) -> None:
        self._connection.execute(
            "INSERT INTO inbox (user, message_id, sender, envelope_id, urgent, sent, received, size, via, read, text)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?) ON CONFLICT DO NOTHING",
            (
                row.user,
                row.message_id,
                row.sender,
                row.envelope_id or None,
                row.urgent,
                row.sent,
                row.received,
                row.size,
                row.via,
                row.text,
            ),
        )

    def _message_delete(self, row: MessageDelete) -> None:
        self._unsure.add(row.user)
        for table in ("inbox", "outbox"):
            self._connection.execute(
                f"DELETE FROM {table} WHERE user = ? AND message_id = ?",  # noqa: S608 (one of two constants)
                (row.user, row.message_id),
            )

    def _user_delete(self, row: UserDelete) -> None:
        for table in ("inbox", "outbox", "tombstone"):
            self._connection.execute(f"DELETE FROM {table} WHERE user = ?", (row.user,))  # noqa: S608 (constants)
        self._finished.pop(row.user, None)
        self._unsure.discard(row.user)

    def _tombstone_insert(self, row: TombstoneInsert) -> None:
        self._connection.execute(
            "INSERT INTO tombstone (envelope_id, user, sender, message_id, secret, hash, expires)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (row.envelope_id, row.user, row.sender, row.message_id, row.secret, row.envelope_hash, row.expires),
        )

    def _tombstone_delete(self, row: TombstoneDelete) -> None:
        self._connection.execute("DELETE FROM tombstone WHERE envelope_id = ?", (row.envelope_id,))

    def _tombstone_expected(self, row: TombstoneExpected) -> None:
        found = self._connection.execute("SELECT 1 FROM tombstone WHERE envelope_id = ?", (row.envelope_id,)).fetchone()
        if found is None:
            raise StoreFullError("a message that a receipt is asked for could not be stored before")

    def _checkpoint(self, row: Checkpoint) -> None:
        self.set_meta("life", row.life)
        self.set_meta("unix", row.unix)

    def _trim(self, user: Address) -> None:
        """Forget the oldest finished messages of a user, now and then; one more has just been finished.

        Counting reads them all, so it is done once, and again only where the count may be too high.
        """
        finished = self._finished.get(user, -1) + 1
        if not finished or (finished >= self._history + _TRIM_EVERY and user in self._unsure):
            finished = self._count_finished(user)
        if finished >= self._history + _TRIM_EVERY:
            self._connection.execute(
                "DELETE FROM outbox WHERE number IN (SELECT number FROM outbox WHERE user = ? AND state >= ?"
                " ORDER BY number LIMIT ?)",
                (user, FINAL, finished - self._history),
            )
            finished = self._history
        self._finished[user] = finished

    def _count_finished(self, user: Address) -> int:
        self._unsure.discard(user)
        rows = self._connection.execute("SELECT count(*) FROM outbox WHERE user = ? AND state >= ?", (user, FINAL))
        return int(rows.fetchone()[0])

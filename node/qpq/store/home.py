"""Inboxes of clients and where clients can be reached, for the client port.

The tables are made with the first row: a node without clients has none, and they take no pages of its store. A message
stays until it is acknowledged or its time is up (``ends``, seconds of life). The number of the last message of an
inbox outlives the messages, so that numbers go on without gaps; where a store in RAM was lost and its snapshot may lack
some (``store.reloading``), they go on higher than any that was given out. ``seq`` is a blob of 8 bytes, most
significant first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpq.store.codec import HOME_DATA
from qpq.store.faults import StoreFullError
from qpq.store.oplog import HomeExpired, HomeLast, HomePosted, HomeRead
from qpq.store.schema import CLIENTS_NUMBER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from sqlite3 import Connection

    from qpq.store.database import Database
    from qpq.store.oplog import Logged

MAX_MESSAGES: Final = 1000
"""Messages that wait in one inbox."""
_PARTS: Final = 2
"""One inbox may take half of the room."""
_ROW_BYTES: Final = 180
"""What a row takes beside its data."""
_MOST: Final = (1 << 64) - 1

_TABLES = (
    """CREATE TABLE IF NOT EXISTS home_message (
        recipient BLOB NOT NULL,
        seq BLOB NOT NULL,
        ends INTEGER NOT NULL,
        size INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (recipient, seq)
    )""",
    "CREATE INDEX IF NOT EXISTS home_message_ends ON home_message (ends)",
    """CREATE TABLE IF NOT EXISTS home_inbox (
        recipient BLOB PRIMARY KEY NOT NULL,
        last INTEGER NOT NULL,
        messages INTEGER NOT NULL,
        size INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS home_endpoint (
        identity BLOB PRIMARY KEY NOT NULL,
        ends INTEGER NOT NULL,
        address BLOB NOT NULL
    ) WITHOUT ROWID""",
)
_TAKEN = (
    "INSERT INTO home_inbox (recipient, last, messages, size) VALUES (?1, ?2, 1, ?3)"
    " ON CONFLICT (recipient) DO UPDATE SET last = ?2, messages = messages + 1, size = size + ?3"
)
_AGAIN = (
    "INSERT INTO home_inbox (recipient, last, messages, size) VALUES (?1, ?2, ?3, ?4)"
    " ON CONFLICT (recipient) DO UPDATE SET last = max(last, ?2), messages = messages + ?3, size = size + ?4"
)
_INSERT = "INSERT INTO home_message (recipient, seq, ends, size, data) VALUES (?, ?, ?, ?, ?)"
_THERE = "SELECT 1 FROM home_message WHERE recipient = ? AND seq = ?"
_UP_TO = "recipient = ? AND seq <= ?"
_OVER = "ends <= ?"
_GONE = "UPDATE home_inbox SET messages = messages - 1, size = size - ?2 WHERE recipient = ?1"
_PUBLISH = (
    "INSERT INTO home_endpoint (identity, ends, address) VALUES (?1, ?2, ?3)"
    " ON CONFLICT (identity) DO UPDATE SET ends = ?2, address = ?3"
)


@dataclass(frozen=True, slots=True)
class Posted:
    """A message for an inbox; ``ends``: seconds of life after which nobody wants it any more."""

    recipient: bytes
    data: bytes
    ends: int


@dataclass(frozen=True, slots=True)
class HomeCounts:
    """What waits in all inboxes: messages and bytes, of ``room`` bytes at most."""

    messages: int
    size: int
    room: int


def replay(database: Database, row: HomePosted | HomeRead | HomeExpired | HomeLast) -> None:
    """Do again what a snapshot tells; a second time changes nothing. Raises StoreError."""
    with database.transaction() as connection:
        for statement in _TABLES:
            connection.execute(statement)
        if isinstance(row, HomePosted):
            name = (row.recipient, _seq(row.seq))
            if not connection.execute(_THERE, name).fetchone():
                size = _ROW_BYTES + len(row.data)
                stored = database.codec.data(HOME_DATA, name, row.data)
                connection.execute(_INSERT, (*name, row.ends, size, stored))
                connection.execute(_AGAIN, (row.recipient, row.seq, 1, size))
        elif isinstance(row, HomeRead):
            _delete(connection, _UP_TO, (row.recipient, _seq(row.up_to)))
        elif isinstance(row, HomeLast):
            connection.execute(_AGAIN, (row.recipient, row.last, 0, 0))
        else:
            _delete(connection, _OVER, (row.life,))


class HomeTables:
    """The tables as the daemon uses them; ``room`` is how many bytes all inboxes may take. All raise StoreError.

    ``note`` is told what has changed, for a snapshot.
    """

    def __init__(self, database: Database, room: int, note: Callable[[Sequence[Logged]], None] | None = None) -> None:
        self._database = database
        self._room = room
        self._note = note
        self._floor = database.numbers().get(CLIENTS_NUMBER, 0)
        with database.transaction() as connection:
            found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'home_endpoint'").fetchone()
        self._made = found is not None

    def post(self, messages: Sequence[Posted], life: int) -> list[int | StoreFullError]:
        """Keep messages in one transaction; return the number of each in its inbox, or why there was no room."""
        self._make()
        with self._database.transaction() as connection:
            outcomes = [self._post(connection, message, life) for message in messages]
        if self._note is not None:
            self._note(
                [
                    HomePosted(message.recipient, outcome, message.ends, message.data)
                    for message, outcome in zip(messages, outcomes, strict=True)
                    if isinstance(outcome, int)
                ]
            )
        return outcomes

    def waiting(self, recipient: bytes, life: int, most: int, room: int) -> list[tuple[int, bytes]]:
        """Return the oldest messages of an inbox with their numbers: at most ``most`` of at most ``room`` bytes.

        The first is returned however long it is.
        """
        found: list[tuple[int, bytes]] = []
        if not self._made:
            return found
        with self._database.transaction() as connection:
            for seq, stored in connection.execute(
                "SELECT seq, data FROM home_message WHERE recipient = ? AND ends > ? ORDER BY seq LIMIT ?",
                (recipient, life, most),
            ):
                data = self._database.codec.read_data(HOME_DATA, (recipient, seq), stored)
                room -= len(data)
                if found and room < 0:
                    break
                found.append((int.from_bytes(seq, "big"), data))
        return found

    def last(self, recipient: bytes) -> int:
        """Return the number of the newest message that an inbox has ever had; 0: none."""
        if not self._made:
            return 0
        with self._database.transaction() as connection:
            return _inbox(connection, recipient)[0]

    def acknowledge(self, recipient: bytes, up_to: int) -> int:
        """Delete an inbox's messages up to a number; return how many that were."""
        up_to = min(up_to, _MOST)
        if not self._made:
            return 0
        return self._delete(_UP_TO, (recipient, _seq(up_to)), HomeRead(recipient, up_to))

    def forget(self, life: int) -> int:
        """Delete what has expired; return how many messages that were."""
        if not self._made:
            return 0
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM home_endpoint WHERE ends <= ?", (life,))
        return self._delete(_OVER, (life,), HomeExpired(life))

    def publish(self, identity: bytes, address: bytes, ends: int) -> None:
        """Keep where somebody can be reached; an empty address takes it away."""
        self._make()
        with self._database.transaction() as connection:
            if address:
                connection.execute(_PUBLISH, (identity, ends, address))
            else:
                connection.execute("DELETE FROM home_endpoint WHERE identity = ?", (identity,))

    def endpoint(self, identity: bytes, life: int) -> bytes:
        """Return where somebody can be reached; empty: unknown."""
        if not self._made:
            return b""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT address FROM home_endpoint WHERE identity = ? AND ends > ?", (identity, life)
            ).fetchone()
        return bytes(row[0]) if row is not None else b""

    def counts(self) -> HomeCounts:
        """Return what waits."""
        if not self._made:
            return HomeCounts(0, 0, self._room)
        with self._database.transaction() as connection:
            messages, size = connection.execute(
                "SELECT coalesce(sum(messages), 0), coalesce(sum(size), 0) FROM home_inbox"
            ).fetchone()
        return HomeCounts(messages, size, self._room)

    def _make(self) -> None:
        if not self._made:
            with self._database.transaction() as connection:
                for statement in _TABLES:
                    connection.execute(statement)
            self._made = True

    def _post(self, connection: Connection, message: Posted, life: int) -> int | StoreFullError:
        recipient, size = message.recipient, _ROW_BYTES + len(message.data)
        last, messages, used = _inbox(connection, recipient)
        if messages >= MAX_MESSAGES:
            _delete(connection, "recipient = ? AND ends <= ?", (recipient, life))
            last, messages, used = _inbox(connection, recipient)
        if messages >= MAX_MESSAGES:
            return StoreFullError(f"the inbox is full: {messages} messages wait to be acknowledged")
        if used + size > self._room // _PARTS:
            return StoreFullError("the inbox is full: too many bytes wait to be acknowledged")
        (taken,) = connection.execute("SELECT coalesce(sum(size), 0) FROM home_inbox").fetchone()
        if taken + size > self._room:
            return StoreFullError("the part of this node's store that is for clients is full")
        number = max(last, self._floor) + 1
        seq, codec = _seq(number), self._database.codec
        stored = codec.data(HOME_DATA, (recipient, seq), message.data)
        connection.execute(_INSERT, (recipient, seq, message.ends, size, stored))
        connection.execute(_TAKEN, (recipient, number, size))
        return number

    def _delete(self, condition: str, values: tuple[object, ...], told: HomeRead | HomeExpired) -> int:
        with self._database.transaction() as connection:
            count = _delete(connection, condition, values)
        if count:
            self._database.scrubber.soil()
            if self._note is not None:
                self._note((told,))
        return count


def _seq(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _inbox(connection: Connection, recipient: bytes) -> tuple[int, int, int]:
    """Return an inbox's last number, messages and bytes."""
    row = connection.execute("SELECT last, messages, size FROM home_inbox WHERE recipient = ?", (recipient,)).fetchone()
    return row or (0, 0, 0)


def _delete(connection: Connection, condition: str, values: tuple[object, ...]) -> int:
    gone = connection.execute(
        f"DELETE FROM home_message WHERE {condition} RETURNING recipient, size",  # noqa: S608 (ours)
        values,
    ).fetchall()
    connection.executemany(_GONE, gone)
    return len(gone)

"""What waits for other domains, in the order it came; each row has its number, without gaps.

Where a store in RAM was lost and its snapshot may lack some, the numbers go on higher than any that was given out. The
tables are made with the first row: a node of no domain has none, and they take no pages of its store.

A row whose ``data`` is gone has been handed on: it is remembered until it would have expired, or many have come since,
so that whoever sends the same again gets the same number, and it goes its way again only when that was a while ago.
``origin`` is the domain it came from, empty for the own one; ``born`` is when it was made, ``due`` when to try it
(again) or when it was handed on, all in seconds of life.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from qpq.mesh.parcel import Parcel
from qpq.store.faults import StoreFullError
from qpq.store.schema import CUSTODY_NUMBER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from sqlite3 import Connection

    from qpq.mesh.records import FederationInsert
    from qpq.store.database import Database

_PARTS: Final = 2
"""One domain may take half of the room, so that one that is cut off leaves room for all others."""
_BROADCAST: Final = 3
_BROADCAST_PARTS: Final = 8
"""Broadcasts are kept only while a domain takes no more than an eighth: the rest is for messages."""
_ROW_BYTES: Final = 200
"""What a row takes beside its data."""
_REMEMBERED_PART: Final = 8
_LEAST_REMEMBERED: Final = 256
_TRIM_EVERY: Final = 64
"""What was handed on is remembered while it is among the last that an eighth of the room has rows for, or so many."""
_MAX_WAITING: Final = 50_000
"""Rows of one domain that wait."""

_TABLES = (
    """CREATE TABLE IF NOT EXISTS federation (
        seq INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,
        domain TEXT NOT NULL,
        origin TEXT NOT NULL,
        envelope_id BLOB NOT NULL,
        sender BLOB NOT NULL,
        recipient BLOB NOT NULL,
        data BLOB,
        size INTEGER NOT NULL,
        ttl INTEGER NOT NULL,
        born INTEGER NOT NULL,
        hops INTEGER NOT NULL,
        tries INTEGER NOT NULL,
        due INTEGER NOT NULL,
        UNIQUE (kind, envelope_id)
    )""",
    "CREATE INDEX IF NOT EXISTS federation_waiting ON federation (domain, due) WHERE data IS NOT NULL",
    """CREATE TABLE IF NOT EXISTS federation_sum (
        domain TEXT PRIMARY KEY NOT NULL,
        rows INTEGER NOT NULL,
        size INTEGER NOT NULL
    ) WITHOUT ROWID""",
)
_COUNTED = (
    "INSERT INTO federation_sum (domain, rows, size) VALUES (?1, 1, ?2)"
    " ON CONFLICT (domain) DO UPDATE SET rows = rows + 1, size = size + ?2"
)
_RECOUNT = (
    "DELETE FROM federation_sum",
    (
        "INSERT INTO federation_sum SELECT domain, count(*), sum(size) FROM federation WHERE data IS NOT NULL"
        " GROUP BY domain"
    ),
)
_COLUMNS = "seq, kind, domain, origin, envelope_id, sender, recipient, data, ttl, born, hops, tries"
_INSERT = (
    "INSERT INTO federation (seq, kind, domain, origin, envelope_id, sender, recipient, data, size, ttl, born,"
    " hops, tries, due) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)"
)


_NUMBERED = (
    "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)"
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for one domain: rows, those of them that came from other domains, bytes."""

    domain: str
    rows: int
    foreign: int
    size: int


def prepare(connection: Connection) -> None:
    """Make the tables where there are none."""
    for statement in _TABLES:
        connection.execute(statement)


def insert(connection: Connection, row: FederationInsert, room: int) -> None:
    """Keep what came from the own mesh, unless it was kept before; raises StoreFullError, sqlite3.Error."""
    parcel = Parcel(
        0, row.kind, row.domain, "", row.envelope_id, row.sender, row.recipient, row.data, row.ttl, row.born, 0
    )
    prepare(connection)
    keep(connection, parcel, room)


def keep(connection: Connection, parcel: Parcel, room: int, *, done: int | None = None) -> int:
    """Keep a parcel, or only that it was handed on at ``done``; return its number.

    Where one of its kind and id waits, that stays; what was handed on before waits anew under its number. ``room`` is
    what all may take, in bytes. Raises StoreFullError.
    """
    known = connection.execute(
        "SELECT seq, data IS NOT NULL FROM federation WHERE kind = ? AND envelope_id = ?",
        (parcel.kind, parcel.envelope_id),
    ).fetchone()
    if known is not None and known[1]:
        return int(known[0])
    if done is None:
        _check_room(connection, parcel, room)
        connection.execute(_COUNTED, (parcel.domain, _size(parcel)))
    if known is not None:
        connection.execute(
            "UPDATE federation SET data = ?, born = ?, ttl = ?, hops = ?, tries = 0, due = ? WHERE seq = ?",
            (parcel.data if done is None else None, parcel.born, parcel.ttl, parcel.hops, done or 0, known[0]),
        )
        return int(known[0])
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (CUSTODY_NUMBER,)).fetchone()
    seq = int(row[0]) + 1 if row is not None else 1
    connection.execute(_NUMBERED, (CUSTODY_NUMBER, seq))
    _write(connection, replace(parcel, seq=seq), parcel.data if done is None else None, done or 0)
    if seq % _TRIM_EVERY == 0:
        kept = max(_LEAST_REMEMBERED, room // _REMEMBERED_PART // _ROW_BYTES)
        connection.execute("DELETE FROM federation WHERE seq <= ? AND data IS NULL", (seq - kept,))
    return seq


def _write(connection: Connection, parcel: Parcel, data: bytes | None, due: int) -> None:
    connection.execute(
        _INSERT,
        (
            parcel.seq,
            parcel.kind,
            parcel.domain,
            parcel.origin,
            parcel.envelope_id,
            parcel.sender,
            parcel.recipient,
            data,
            _size(parcel),
            parcel.ttl,
            parcel.born,
            parcel.hops,
            due,
        ),
    )


def replay(database: Database, parcel: Parcel) -> None:
    """Keep again what a snapshot says that waits, under its number; a second time changes nothing."""
    with database.transaction() as connection:
        prepare(connection)
        there = connection.execute("SELECT 1 FROM federation WHERE seq = ?", (parcel.seq,)).fetchone()
        if not there:
            _write(connection, parcel, parcel.data, 0)
            connection.execute(_COUNTED, (parcel.domain, _size(parcel)))
            connection.execute(_NUMBERED, (CUSTODY_NUMBER, parcel.seq))


def _check_room(connection: Connection, parcel: Parcel, room: int) -> None:
    size = _size(parcel)
    counted = connection.execute("SELECT rows, size FROM federation_sum WHERE domain = ?", (parcel.domain,)).fetchone()
    rows, used = counted or (0, 0)
    parts = _BROADCAST_PARTS if parcel.kind == _BROADCAST else _PARTS
    if rows >= _MAX_WAITING or used + size > room // parts:
        raise StoreFullError(f"too much waits for {parcel.domain} already")
    (used,) = connection.execute("SELECT coalesce(sum(size), 0) FROM federation_sum").fetchone()
    if used + size > room:
        raise StoreFullError("the part of the message store that is for other domains is full")


def _size(parcel: Parcel) -> int:
    return _ROW_BYTES + len(parcel.data)


def _recount(connection: Connection) -> None:
    for statement in _RECOUNT:
        connection.execute(statement)


class Parcels:
    """The table as the daemon uses it; ``room`` is how many bytes all of it may take. Raises StoreError.

    ``changed`` is called when something was added or taken away, for a snapshot.
    """

    def __init__(self, database: Database, room: int, changed: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._room = room
        self._changed = changed
        with database.transaction() as connection:
            prepare(connection)

    def keep(self, parcel: Parcel, *, done: int | None = None) -> int:
        """Keep a parcel, or only that it was handed on at ``done``; return its number."""
        with self._database.transaction() as connection:
            seq = keep(connection, parcel, self._room, done=done)
        if done is None:
            self._changed()
        return seq

    def known(self, kind: int, envelope_id: bytes, since: int) -> int | None:
        """Return the number of what waits, or was handed on after ``since``."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT seq FROM federation WHERE kind = ? AND envelope_id = ? AND (data IS NOT NULL OR due > ?)",
                (kind, envelope_id, since),
            ).fetchone()
        return int(row[0]) if row is not None else None

    def due(self, domain: str, life: int, most: int) -> list[Parcel]:
        """Return what is to be sent to a domain now, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM federation WHERE domain = ? AND due <= ? AND data IS NOT NULL"  # noqa: S608 (ours)
                " ORDER BY due, seq LIMIT ?",
                (domain, life, most),
            ).fetchall()
        return [Parcel(*row) for row in rows]

    def next_due(self, domain: str) -> int | None:
        """Return when the next of a domain is to be tried; None: nothing waits."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT min(due) FROM federation WHERE domain = ? AND data IS NOT NULL", (domain,)
            ).fetchone()
        return int(row[0]) if row[0] is not None else None

    def done(self, numbers: Iterable[int], life: int) -> None:
        """Note that these were handed on."""
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE federation SET data = NULL, due = ? WHERE seq = ?", [(life, seq) for seq in numbers]
            )
            _recount(connection)
        self._changed()

    def later(self, when: Iterable[tuple[int, int]]) -> None:
        """Note when to try each anew: pairs of number and seconds of life."""
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE federation SET tries = tries + 1, due = ? WHERE seq = ?", [(due, seq) for seq, due in when]
            )

    def forget(self, life: int) -> int:
        """Delete what has expired by now; return how many of those still waited."""
        with self._database.transaction() as connection:
            gone = connection.execute(
                "DELETE FROM federation WHERE born + ttl <= ? RETURNING data IS NOT NULL", (life,)
            ).fetchall()
            _recount(connection)
        expired = int(sum(waited for (waited,) in gone))
        if expired:
            self._changed()
        return expired

    def waiting(self) -> list[Waiting]:
        """Return what waits, by domain."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT domain, count(*), sum(origin <> ''), sum(size) FROM federation"
                " WHERE data IS NOT NULL GROUP BY domain ORDER BY domain"
            ).fetchall()
        return [Waiting(*row) for row in rows]

"""Puts the secret columns of a store under another codec: sealed, unsealed, or under another key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qpq.store.codec import BUNDLE_DATA, HOME_DATA, INBOX_TEXT, OUTBOX_TEXT, PREKEY_DATA, SESSION_DATA

if TYPE_CHECKING:
    from sqlite3 import Connection

    from qpq.store.codec import Codec

_COLUMNS: Final = {
    OUTBOX_TEXT: ("user", "message_id"),
    INBOX_TEXT: ("user", "message_id", "sender"),
    SESSION_DATA: ("user", "peer", "session_id"),
    PREKEY_DATA: ("user", "key_id"),
    BUNDLE_DATA: ("user", "peer"),
    HOME_DATA: ("recipient", "seq"),
}
_TEXTS: Final = frozenset({OUTBOX_TEXT, INBOX_TEXT})
_AT_ONCE = 256


def reseal(connection: Connection, before: Codec, after: Codec) -> None:
    """Rewrite every secret value within the transaction that the caller holds.

    Raises sqlite3.Error, StoreDamagedError for a value that cannot be opened.
    """
    for place, row in _COLUMNS.items():
        if _has(connection, place.partition(".")[0]):
            _rewrite(connection, place, row, before, after)


def drop_keys(connection: Connection) -> None:
    """Delete all states of sessions and prekeys; raises sqlite3.Error."""
    for place in (SESSION_DATA, PREKEY_DATA, BUNDLE_DATA):
        table = place.partition(".")[0]
        if _has(connection, table):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 (constants)


def _rewrite(connection: Connection, place: str, row: tuple[str, ...], before: Codec, after: Codec) -> None:
    table, column = place.split(".")
    found = connection.execute(f"SELECT {', '.join(row)} FROM {table}").fetchall()  # noqa: S608 (constants)
    wanted = " AND ".join([f"{name} = ?" for name in row])
    for start in range(0, len(found), _AT_ONCE):
        changed: list[tuple[Any, ...]] = []
        for name in found[start : start + _AT_ONCE]:
            query = f"SELECT {column} FROM {table} WHERE {wanted}"  # noqa: S608 (constants)
            (stored,) = connection.execute(query, name).fetchone()
            if place in _TEXTS:
                value: str | bytes = after.text(place, name, before.read_text(place, name, stored))
            else:
                value = after.data(place, name, before.read_data(place, name, stored))
            changed.append((value, *name))
        update = f"UPDATE {table} SET {column} = ? WHERE {wanted}"  # noqa: S608 (constants)
        connection.executemany(update, changed)


def _has(connection: Connection, table: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone())

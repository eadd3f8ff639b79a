"""The tables of the message store, version 4, and how a file gets or has them.

Every row of ``outbox``, ``inbox`` and ``tombstone`` carries the user it belongs to; ``relay`` and
``known`` are of others: envelopes kept for them, and ids not to be taken again, with the receipt
where one is known. ``born`` and ``expires`` are seconds of the clock of life (``mesh.clock``),
``sent`` and ``received`` Unix seconds (0: unknown). ``place`` is the first 63 bits of an envelope
id (``place_of``): random, so the holes that deleted rows leave are filled again, and no index is needed.
``domain`` is empty, or the other domain that a message goes to or came from; ``reason`` says why one was refused.
``session``, ``prekey`` and ``bundle`` are the keys of users, and of the node, with others: what is in ``data`` of the
first two is secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.mesh.effects import State
from qpq.store.faults import StoreDamagedError, StoreTooNewError

if TYPE_CHECKING:
    from sqlite3 import Connection

VERSION: Final = 4
APPLICATION_ID: Final = 0x71707131  # "qpq1"

STATES: Final = (State.QUEUED, State.RELAYED, State.DELIVERED, State.EXPIRED, State.REFUSED)
"""A state is stored as its place here; from ``FINAL`` on the envelope is needed no longer."""
FINAL: Final = 2

CUSTODY_NUMBER: Final = "federation"
"""The node's own number, in ``meta``, that was given last to something that waits for another domain."""
CLIENTS_NUMBER: Final = "clients"
"""The one that the numbers of all messages to come are higher than, in clients' inboxes."""

CAN_SHRINK: Final = "PRAGMA auto_vacuum = INCREMENTAL"
"""What an empty file is told before it gets its tables, to be made smaller later (store.compacting)."""

_TABLES = (
    """CREATE TABLE meta (
        key TEXT PRIMARY KEY NOT NULL,
        value INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE outbox (
        number INTEGER PRIMARY KEY,
        user BLOB NOT NULL,
        message_id BLOB NOT NULL,
        envelope_id BLOB,
        recipient BLOB NOT NULL,
        urgent INTEGER NOT NULL,
        ttl INTEGER NOT NULL,
        born INTEGER NOT NULL,
        sent INTEGER NOT NULL,
        state INTEGER NOT NULL,
        copies INTEGER NOT NULL,
        text TEXT NOT NULL,
        envelope BLOB,
        sealed INTEGER,
        domain TEXT NOT NULL DEFAULT '',
        reason TEXT NOT NULL DEFAULT '',
        UNIQUE (user, message_id)
    )""",
    "CREATE UNIQUE INDEX outbox_envelope ON outbox (envelope_id) WHERE envelope_id IS NOT NULL",
    """CREATE TABLE inbox (
        number INTEGER PRIMARY KEY,
        user BLOB NOT NULL,
        message_id BLOB NOT NULL,
        sender BLOB NOT NULL,
        envelope_id BLOB,
        urgent INTEGER NOT NULL,
        sent INTEGER NOT NULL,
        received INTEGER NOT NULL,
        size INTEGER NOT NULL,
        via BLOB,
        read INTEGER NOT NULL,
        text TEXT NOT NULL,
        channel BLOB,
        domain TEXT NOT NULL DEFAULT '',
        UNIQUE (user, message_id, sender)
    )""",
    """CREATE TABLE tombstone (
        envelope_id BLOB PRIMARY KEY NOT NULL,
        user BLOB NOT NULL,
        sender BLOB NOT NULL,
        message_id BLOB NOT NULL,
        secret BLOB NOT NULL,
        hash BLOB NOT NULL,
        expires INTEGER NOT NULL
    ) WITHOUT ROWID""",
)
_OF_OTHERS = (
    """CREATE TABLE relay (
        place INTEGER PRIMARY KEY,
        envelope_id BLOB NOT NULL,
        sender BLOB NOT NULL,
        recipient BLOB NOT NULL,
        via BLOB,
        urgent INTEGER NOT NULL,
        ttl INTEGER NOT NULL,
        born INTEGER NOT NULL,
        hops INTEGER NOT NULL,
        max_hops INTEGER NOT NULL,
        copies INTEGER NOT NULL,
        envelope BLOB NOT NULL
    )""",
    """CREATE TABLE known (
        envelope_id BLOB PRIMARY KEY NOT NULL,
        secret BLOB,
        hash BLOB,
        expires INTEGER NOT NULL
    ) WITHOUT ROWID""",
)
_KEYS = (
    """CREATE TABLE session (
        number INTEGER PRIMARY KEY,
        user BLOB NOT NULL,
        peer BLOB NOT NULL,
        session_id BLOB NOT NULL,
        used INTEGER NOT NULL,
        data BLOB NOT NULL,
        UNIQUE (user, peer, session_id)
    )""",
    """CREATE TABLE prekey (
        user BLOB NOT NULL,
        key_id BLOB NOT NULL,
        kind INTEGER NOT NULL,
        made INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (user, key_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE bundle (
        user BLOB NOT NULL,
        peer BLOB NOT NULL,
        life INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (user, peer)
    ) WITHOUT ROWID""",
)
_TO_VERSION_2 = ("ALTER TABLE inbox ADD COLUMN channel BLOB", *_OF_OTHERS)
_TO_VERSION_3 = (
    "ALTER TABLE outbox ADD COLUMN sealed INTEGER",
    "UPDATE outbox SET sealed = 0 WHERE envelope_id IS NOT NULL",
    *_KEYS,
)
_TO_VERSION_4 = (
    "ALTER TABLE outbox ADD COLUMN domain TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE outbox ADD COLUMN reason TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE inbox ADD COLUMN domain TEXT NOT NULL DEFAULT ''",
)
_UPGRADES = {
    1: (*_TO_VERSION_2, *_TO_VERSION_3, *_TO_VERSION_4),
    2: (*_TO_VERSION_3, *_TO_VERSION_4),
    3: _TO_VERSION_4,
}


def prepare(connection: Connection, path: str, *before: str) -> None:
    """Create the tables in an empty file, or see that the file has them or those of an earlier version.

    ``before``: statements for an empty file that must come before its tables.

    Raises StoreDamagedError for another program's file, StoreTooNewError for a later version.
    """
    application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    if not application and not version and not _pragma(connection, "page_count"):
        _run(connection, (*before, *_TABLES, *_OF_OTHERS, *_KEYS))
    elif application != APPLICATION_ID:
        raise StoreDamagedError(f"{path} is no message store of this program: move it away or choose another data-dir")
    elif version > VERSION:
        raise StoreTooNewError(
            f"{path} was written by a newer version (store version {version}, this program knows {VERSION}): "
            "update the program or choose another data-dir; the file was not touched"
        )


def place_of(envelope_id: bytes) -> int:
    """Return where the row of an envelope for others stands in its table."""
    return int.from_bytes(envelope_id[:8], "big") >> 1


def upgrade(connection: Connection) -> None:
    """Bring the tables of an earlier version up to date; to be called once the file is known to be whole."""
    version = _pragma(connection, "user_version")
    if version < VERSION:
        _run(connection, _UPGRADES[version])


def _run(connection: Connection, statements: tuple[str, ...]) -> None:
    """Make a file one of this version, wholly or not at all."""
    connection.execute("BEGIN")  # not IMMEDIATE, which would make page 1 already
    for statement in statements:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

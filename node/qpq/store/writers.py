"""The core's operations as SQL, one statement or two each; the caller holds the transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qpq.mesh.effects import State
from qpq.mesh.flooded import cost_of
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
    TombstoneExpected,
    TombstoneInsert,
    UserDelete,
)
from qpq.store.codec import BUNDLE_DATA, INBOX_TEXT, OUTBOX_TEXT, PREKEY_DATA, SESSION_DATA
from qpq.store.faults import StoreFullError
from qpq.store.schema import FINAL, STATES, place_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection

    from qpq.crypto.identity import Address
    from qpq.mesh.records import Operation
    from qpq.store.codec import Codec

GROWING: Final = (OutboxInsert, OutboxReseal, InboxInsert, RelayInsert, PrekeyPut, BundlePut, FederationInsert)
"""The operations that may fail for lack of room; all others get a reserve."""

SOLE: Final = (
    OutboxInsert,
    OutboxState,
    InboxInsert,
    InboxMark,
    TombstoneInsert,
    TombstoneDelete,
    RelayCopies,
    RelayDelete,
    ProofInsert,
    KnownInsert,
    KnownDelete,
    SessionPut,
)
"""The operations that are one statement, besides forgetting old rows, which may as well come later."""

PURGING: Final[frozenset[type[Any]]] = frozenset(
    {MessageDelete, UserDelete, SessionPut, SessionDelete, PrekeyDelete, BundleDelete}
)
"""The operations after which what stood there before must leave the files too; expiry and forgetting do as well."""

_TRIM_EVERY = 16
_STATE_NUMBERS = {state: number for number, state in enumerate(STATES)}


class Writers:
    """Writes operations.

    Of each user ``history`` finished messages are kept, the oldest go now and then. Envelopes for others may
    take ``relay_bytes``, those for other domains ``outside_bytes``. ``soil`` is called when something secret was
    deleted or replaced.
    """

    def __init__(
        self,
        connection: Connection,
        history: int,
        codec: Codec,
        soil: Callable[[], None],
        *,
        relay_bytes: int,
        outside_bytes: int,
    ) -> None:
        self.codec = codec
        self._soil = soil
        self._connection = connection
        self._history = history
        self._relay_bytes = relay_bytes
        self._outside_bytes = outside_bytes
        self._relayed: int | None = None
        self._finished: dict[Address, int] = {}
        self._writers = self._table()

    def write(self, operation: Operation) -> None:
        """Carry out one operation; raises sqlite3.Error, StoreFullError."""
        kind = type(operation)
        self._writers[kind](operation)
        if kind in PURGING:
            self._soil()

    def forget_counts(self) -> None:
        """Count anew what is there: a transaction was undone."""
        self._finished.clear()
        self._relayed = None

    @property
    def relayed(self) -> int:
        """Bytes that envelopes for others take."""
        if self._relayed is None:
            sizes = self._connection.execute("SELECT length(envelope) FROM relay")
            self._relayed = sum(cost_of(size) for (size,) in sizes)
        return self._relayed

    def set_meta(self, key: str, value: int) -> None:
        """Set one of the node's own numbers."""
        self._connection.execute(
            "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def _table(self) -> dict[type[Operation], Callable[[Any], None]]:
        return {
            OutboxInsert: self._outbox_insert,
            OutboxReseal: self._outbox_reseal,
            OutboxState: self._outbox_state,
            InboxInsert: self._inbox_insert,
            InboxMark: self._inbox_mark,
            MessageDelete: self._message_delete,
            UserDelete: self._user_delete,
            TombstoneInsert: self._tombstone_insert,
            TombstoneDelete: self._tombstone_delete,
            TombstoneExpected: self._tombstone_expected,
            RelayInsert: self._relay_insert,
            RelayCopies: self._relay_copies,
            RelayDelete: lambda row: self._relay_clear(row.envelope_id),
            ProofInsert: lambda row: self._known(row.envelope_id, row.secret, row.envelope_hash, row.expires),
            KnownInsert: lambda row: self._known(row.envelope_id, None, None, row.expires),
            KnownDelete: self._known_delete,
            SessionPut: self._session_put,
            SessionDelete: self._session_delete,
            PrekeyPut: self._prekey_put,
            PrekeyDelete: self._prekey_delete,
            BundlePut: self._bundle_put,
            BundleDelete: self._bundle_delete,
            FederationInsert: self._federation_insert,
            Checkpoint: self._checkpoint,
        }

    def _outbox_insert(self, row: OutboxInsert) -> None:
        done = self._connection.execute(
            "INSERT INTO outbox (user, message_id, envelope_id, recipient, urgent, ttl, born, sent, state, copies,"
            " text, envelope, sealed, domain) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
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
                self.codec.text(OUTBOX_TEXT, (row.user, row.message_id), row.text),
                row.envelope or None,
                False if row.sealed is None and row.envelope else row.sealed,  # so it was before there were sessions
                row.domain,
            ),
        )
        if done.rowcount and not row.envelope:
            self._trim(row.user)

    def _outbox_reseal(self, row: OutboxReseal) -> None:
        self._connection.execute(
            "UPDATE outbox SET envelope_id = ?, envelope = ?, sealed = ?, state = 0, copies = 0"
            " WHERE user = ? AND message_id = ? AND envelope IS NOT NULL",
            (row.envelope_id, row.envelope, row.sealed, row.user, row.message_id),
        )

    def _outbox_state(self, row: OutboxState) -> None:
        state = _STATE_NUMBERS[row.state]
        if row.state in (State.EXPIRED, State.REFUSED):
            self._forget_text(row)
        if state >= FINAL:
            done = self._connection.execute(
                "UPDATE outbox SET state = ?, copies = ?, reason = ?, envelope = NULL"
                " WHERE user = ? AND message_id = ? AND envelope IS NOT NULL",
                (state, row.copies, row.reason, row.user, row.message_id),
            )
            if done.rowcount:
                self._trim(row.user)
                return
        self._connection.execute(
            "UPDATE outbox SET state = ?, copies = ?, reason = ? WHERE user = ? AND message_id = ?",
            (state, row.copies, row.reason, row.user, row.message_id),
        )

    def _forget_text(self, row: OutboxState) -> None:
        """Whose time is over is not kept in words either; that it was sent is."""
        self._connection.execute(
            "UPDATE outbox SET text = ? WHERE user = ? AND message_id = ?",
            (self.codec.text(OUTBOX_TEXT, (row.user, row.message_id), ""), row.user, row.message_id),
        )
        self._soil()

    def _inbox_insert(self, row: InboxInsert) -> None:
        self._connection.execute(
            "INSERT INTO inbox (user, message_id, sender, envelope_id, urgent, sent, received, size, via, read, text,"
            " channel, domain) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?) ON CONFLICT DO NOTHING",
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
                self.codec.text(INBOX_TEXT, (row.user, row.message_id, row.sender), row.text),
                row.channel or None,
                row.domain,
            ),
        )

    def _inbox_mark(self, row: InboxMark) -> None:
        self._connection.execute(
            "UPDATE inbox SET domain = ?"
            " WHERE user = ? AND message_id = ? AND sender = ? AND channel = ? AND domain = ''",
            (row.domain, row.user, row.message_id, row.sender, row.channel),
        )

    def _message_delete(self, row: MessageDelete) -> None:
        name = (row.user, row.message_id)
        self._connection.execute("DELETE FROM inbox WHERE user = ? AND message_id = ?", name)
        gone = self._connection.execute(
            "DELETE FROM outbox WHERE user = ? AND message_id = ? RETURNING envelope IS NULL", name
        ).fetchall()
        if row.user in self._finished:
            self._finished[row.user] -= sum(finished for (finished,) in gone)

    def _user_delete(self, row: UserDelete) -> None:
        for table in ("inbox", "outbox", "tombstone", "session", "prekey", "bundle"):
            self._connection.execute(f"DELETE FROM {table} WHERE user = ?", (row.user,))  # noqa: S608 (constants)
        self._finished.pop(row.user, None)

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

    def _relay_insert(self, row: RelayInsert) -> None:
        before = self.relayed
        done = self._connection.execute(
            "INSERT INTO relay (place, envelope_id, sender, recipient, via, urgent, ttl, born, hops, max_hops, copies,"
            " envelope) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                place_of(row.envelope_id),
                row.envelope_id,
                row.sender,
                row.recipient,
                row.via,
                row.urgent,
                row.ttl,
                row.born,
                row.hops,
                row.max_hops,
                row.copies,
                row.envelope,
            ),
        )
        if not done.rowcount:
            self._relay_clear(row.envelope_id)
            self._relay_insert(row)
            return
        self._relayed = before + cost_of(len(row.envelope))
        if self._relayed > self._relay_bytes:
            raise StoreFullError("the part of the message store that is for others' messages is full")

    def _relay_copies(self, row: RelayCopies) -> None:
        self._connection.execute(
            "UPDATE relay SET copies = ? WHERE place = ? AND envelope_id = ?",
            (row.copies, place_of(row.envelope_id), row.envelope_id),
        )

    def _relay_clear(self, envelope_id: bytes) -> None:
        """Delete the envelope that stands where this one stands; none there is no fault."""
        before = self.relayed
        gone = self._connection.execute(
            "DELETE FROM relay WHERE place = ? RETURNING length(envelope)", (place_of(envelope_id),)
        ).fetchall()
        self._relayed = before - sum(cost_of(size) for (size,) in gone)

    def _known(self, envelope_id: bytes, secret: bytes | None, envelope_hash: bytes | None, expires: int) -> None:
        """Note an id not to be taken again; a receipt that is known stays known."""
        self._connection.execute(
            "INSERT INTO known (envelope_id, secret, hash, expires) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " secret = coalesce(excluded.secret, secret), hash = coalesce(excluded.hash, hash),"
            " expires = max(excluded.expires, expires)",
            (envelope_id, secret, envelope_hash, expires),
        )

    def _known_delete(self, row: KnownDelete) -> None:
        self._connection.execute("DELETE FROM known WHERE envelope_id = ?", (row.envelope_id,))

    def _session_put(self, row: SessionPut) -> None:
        key = (row.user, row.peer, row.session_id)
        self._connection.execute(
            "INSERT INTO session (user, peer, session_id, used, data) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (user, peer, session_id) DO UPDATE SET used = excluded.used, data = excluded.data",
            (row.user, row.peer, row.session_id, row.used, self.codec.data(SESSION_DATA, key, row.data)),
        )

    def _session_delete(self, row: SessionDelete) -> None:
        self._connection.execute(
            "DELETE FROM session WHERE user = ? AND peer = ? AND session_id = ?", (row.user, row.peer, row.session_id)
        )

    def _prekey_put(self, row: PrekeyPut) -> None:
        data = self.codec.data(PREKEY_DATA, (row.user, row.key_id), row.data)
        self._connection.execute(
            "INSERT INTO prekey (user, key_id, kind, made, data) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (row.user, row.key_id, row.kind, row.made, data),
        )

    def _prekey_delete(self, row: PrekeyDelete) -> None:
        self._connection.execute("DELETE FROM prekey WHERE user = ? AND key_id = ?", (row.user, row.key_id))

    def _bundle_put(self, row: BundlePut) -> None:
        data = self.codec.data(BUNDLE_DATA, (row.user, row.peer), row.data)
        self._connection.execute(
            "INSERT INTO bundle (user, peer, life, data) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (user, peer) DO UPDATE SET life = excluded.life, data = excluded.data",
            (row.user, row.peer, row.life, data),
        )

    def _bundle_delete(self, row: BundleDelete) -> None:
        self._connection.execute("DELETE FROM bundle WHERE user = ? AND peer = ?", (row.user, row.peer))

    def _federation_insert(self, row: FederationInsert) -> None:
        from qpq.store.federation import insert  # noqa: PLC0415 (for gateways)

        insert(self._connection, row, self._outside_bytes)

    def _checkpoint(self, row: Checkpoint) -> None:
        self.set_meta("life", row.life)
        self.set_meta("unix", row.unix)

    def _trim(self, user: Address) -> None:
        """Forget the oldest messages of a user's that are not on their way, now and then; there is one more.

        Counting reads them all, so it is done once.
        """
        finished = self._finished.get(user, -1) + 1
        if not finished:
            rows = self._connection.execute("SELECT count(*) FROM outbox WHERE user = ? AND envelope IS NULL", (user,))
            finished = int(rows.fetchone()[0])
        if finished >= self._history + _TRIM_EVERY:
            self._connection.execute(
                # "+" keeps the index of users out of it: with that one all rows would be read, to be sorted
                "DELETE FROM outbox WHERE number IN (SELECT number FROM outbox WHERE +user = ? AND envelope IS NULL"
                " ORDER BY number LIMIT ?)",
                (user, finished - self._history),
            )
            self._soil()
            finished = self._history
        self._finished[user] = finished

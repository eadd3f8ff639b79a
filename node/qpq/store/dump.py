"""What of a store goes into a snapshot that has not room for all, as the operations that make it anew.

First what waits to be sent and what users have not read, then the rest of their messages, clients' inboxes, the keys of
sessions, what is needed to know a message again, and history; what is kept for other domains and for others fills up.
Of each kind the newest go in.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qpq.mesh.parcel import Parcel
from qpq.mesh.records import (
    BundlePut,
    Checkpoint,
    InboxInsert,
    KnownInsert,
    OutboxInsert,
    OutboxState,
    PrekeyPut,
    ProofInsert,
    RelayInsert,
    SessionPut,
    TombstoneInsert,
)
from qpq.store.codec import BUNDLE_DATA, HOME_DATA, INBOX_TEXT, OUTBOX_TEXT, PREKEY_DATA, SESSION_DATA
from qpq.store.oplog import Booted, HomeLast, HomePosted, Seen, item
from qpq.store.schema import STATES

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.store.codec import Codec
    from qpq.store.database import Database
    from qpq.store.oplog import Logged

_OUTBOX = (
    "SELECT number, user, message_id, coalesce(envelope_id, x''), recipient, coalesce(envelope, x''), text, urgent,"
    " ttl, born, sent, state, sealed, domain, reason, copies FROM outbox WHERE "
)
_INBOX = (
    "SELECT number, user, message_id, sender, coalesce(envelope_id, x''), text, urgent, sent, received, size, via,"
    " coalesce(channel, x''), domain, read FROM inbox WHERE "
)
_RELAY = (
    "SELECT born, envelope_id, envelope, sender, recipient, via, urgent, ttl, born, hops, max_hops, copies FROM relay"
    " WHERE "
)
_TOMBSTONES = "SELECT expires, user, envelope_id, sender, message_id, secret, hash, expires FROM tombstone"
_KNOWN = "SELECT expires, envelope_id, secret, hash, expires FROM known"
_PREKEYS = "SELECT made, user, key_id, kind, made, data FROM prekey ORDER BY made DESC"
_SESSIONS = "SELECT used, user, peer, session_id, used, data FROM session ORDER BY used DESC"
_BUNDLES = "SELECT life, user, peer, life, data FROM bundle ORDER BY life DESC"
_CLIENTS = "SELECT rowid, recipient, seq, ends, data FROM home_message ORDER BY rowid DESC"
_NUMBERS = "SELECT 0, recipient, last FROM home_inbox"
_DOMAINS = (
    "SELECT seq, seq, kind, domain, origin, envelope_id, sender, recipient, data, ttl, born, hops, tries"
    " FROM federation WHERE data IS NOT NULL ORDER BY seq DESC"
)
_TABLES = "SELECT name FROM sqlite_master WHERE name IN ('home_message', 'federation')"
_PARTS = 16
_AT_ONCE = 16


class Dump:
    """``items`` of at most ``room`` bytes; ``left_out``: so many of the users' messages did not fit."""

    def __init__(self, database: Database, room: int) -> None:
        self.left_out = 0
        self._database = database
        meta = database.numbers()
        head: list[Logged] = [Booted(meta.get("boot", 0)), Checkpoint(meta.get("life", 0), meta.get("unix", 0))]
        self.items = [b"".join(map(item, head))]
        self._left = room - len(self.items[0])
        part = room // _PARTS
        outbox: list[tuple[int, bytes]] = []
        inbox: list[tuple[int, bytes]] = []
        others: list[tuple[int, bytes]] = []
        clients: list[tuple[int, bytes]] = []
        domains: list[tuple[int, bytes]] = []
        tables = [name for (name,) in database.each(_TABLES)]
        sent, got = partial(_sent, database.codec), partial(_got, database.codec)
        self._newest(outbox, _OUTBOX + "envelope IS NOT NULL ORDER BY number DESC", 5 * part, sent, counted=True)
        self._newest(others, _RELAY + "via IS NULL ORDER BY born DESC", 2 * part, _kept, counted=True)
        for read in ("0", "1"):
            used = sum(len(data) for _, data in inbox)
            self._newest(inbox, f"{_INBOX}read = {read} ORDER BY number DESC", 7 * part - used, got, counted=True)
        if "home_message" in tables:
            self._newest(clients, _NUMBERS, part, _numbered)
            self._newest(clients, _CLIENTS, 3 * part, partial(_posted, database.codec), counted=True)
        self._newest(others, _PREKEYS, part, partial(_prekey, database.codec))
        self._newest(others, _SESSIONS, 3 * part, partial(_session, database.codec))
        self._newest(others, _BUNDLES, part, partial(_bundle, database.codec))
        self._newest(others, _TOMBSTONES + " ORDER BY expires DESC", 2 * part, _buried)
        self._newest(outbox, _OUTBOX + "envelope IS NULL ORDER BY number DESC", part, sent)
        if "federation" in tables:
            self._newest(domains, _DOMAINS, self._left // 2, _carried)
        self._newest(others, _RELAY + "via IS NOT NULL ORDER BY born DESC", room, _kept)
        self._newest(others, _KNOWN + " ORDER BY expires DESC", room, _known)
        tables_of_items = (outbox, inbox, clients, others, domains)
        self.items += [data for table in tables_of_items for _, data in sorted(table, key=_first)]

    def _newest(
        self,
        table: list[tuple[int, bytes]],
        select: str,
        room: int,
        make: Callable[..., tuple[Logged, ...]],
        *,
        counted: bool = False,
    ) -> None:
        """Add rows while there is room; the first column says in which order they are to be written again."""
        room = min(room, self._left)
        for number, *columns in self._database.each(select, _AT_ONCE):
            data = b"".join(map(item, make(*columns)))
            if len(data) <= room:
                room -= len(data)
                self._left -= len(data)
                table.append((number, data))
            elif counted:
                self.left_out += 1
            else:
                break


def _first(pair: tuple[int, bytes]) -> int:
    return pair[0]


def _sent(codec: Codec, *columns: Any) -> tuple[Logged, ...]:
    user, message_id, envelope_id, recipient, envelope, text, urgent, *more = columns
    ttl, born, sent, state, sealed, domain, reason, copies = more
    text = codec.read_text(OUTBOX_TEXT, (user, message_id), text)
    made = OutboxInsert(
        user,
        message_id,
        envelope_id,
        recipient,
        envelope,
        text,
        bool(urgent),
        ttl,
        born,
        sent,
        STATES[state],
        bool(sealed) if sealed is not None else None,
        domain,
    )
    if copies or reason:
        return made, OutboxState(user, message_id, STATES[state], copies, reason)
    return (made,)


def _got(codec: Codec, *columns: Any) -> tuple[Logged, ...]:
    user, message_id, sender, envelope_id, text, urgent, sent, received, size, via, *more = columns
    channel, domain, read = more
    text = codec.read_text(INBOX_TEXT, (user, message_id, sender), text)
    made = InboxInsert(
        user, message_id, sender, envelope_id, text, bool(urgent), sent, received, size, via, channel, domain
    )
    return (made, Seen(user, message_id, sender)) if read else (made,)


def _kept(*columns: Any) -> tuple[Logged, ...]:
    envelope_id, envelope, sender, recipient, via, urgent, *numbers = columns
    return (RelayInsert(envelope_id, envelope, sender, recipient, via, bool(urgent), *numbers),)


def _buried(*columns: Any) -> tuple[Logged, ...]:
    return (TombstoneInsert(*columns),)


def _prekey(codec: Codec, *columns: Any) -> tuple[Logged, ...]:
    user, key_id, kind, made, data = columns
    return (PrekeyPut(user, key_id, kind, made, codec.read_data(PREKEY_DATA, (user, key_id), data)),)


def _session(codec: Codec, *columns: Any) -> tuple[Logged, ...]:
    user, peer, session_id, used, data = columns
    return (SessionPut(user, peer, session_id, used, codec.read_data(SESSION_DATA, (user, peer, session_id), data)),)


def _bundle(codec: Codec, *columns: Any) -> tuple[Logged, ...]:
    user, peer, life, data = columns
    return (BundlePut(user, peer, life, codec.read_data(BUNDLE_DATA, (user, peer), data)),)


def _posted(codec: Codec, *columns: Any) -> tuple[Logged, ...]:
    recipient, seq, ends, data = columns
    data = codec.read_data(HOME_DATA, (recipient, seq), data)
    return (HomePosted(recipient, int.from_bytes(seq, "big"), ends, data),)


def _numbered(*columns: Any) -> tuple[Logged, ...]:
    return (HomeLast(*columns),)


def _carried(*columns: Any) -> tuple[Logged, ...]:
    return (Parcel(*columns),)


def _known(*columns: Any) -> tuple[Logged, ...]:
    envelope_id, secret, envelope_hash, expires = columns
    if secret is None:
        return (KnownInsert(envelope_id, expires),)
    return (ProofInsert(envelope_id, secret, envelope_hash, expires),)

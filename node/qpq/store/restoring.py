"""The rows of a store that the core takes up after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qpq.mesh.records import (
    BundlePut,
    Checkpoint,
    Kept,
    KnownInsert,
    PrekeyPut,
    ProofInsert,
    Queued,
    Relayed,
    SessionPut,
    TombstoneInsert,
)
from qpq.store.codec import BUNDLE_DATA, PREKEY_DATA, SESSION_DATA
from qpq.store.schema import STATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpq.mesh.records import Row
    from qpq.store.database import Database

_SESSIONS = "SELECT user, peer, session_id, used, data FROM session"
_PREKEYS = "SELECT user, key_id, kind, made, data FROM prekey"
_BUNDLES = "SELECT user, peer, life, data FROM bundle"


def restored(database: Database) -> Iterator[Row]:
    """Go through what ``Core.restore`` takes; nothing is written meanwhile.

    An address, or the id of a message, is one object in all rows that name it, as it is in a node that took them one by
    one: on a router with a full store a fifth of what the core has in memory would be copies of them.
    """
    meta = database.numbers()
    known: dict[bytes, bytes] = {}

    def one(name: Any) -> Any:
        return known.setdefault(name, name)

    yield Checkpoint(meta.get("life", 0), meta.get("unix", 0))
    for row in database.each(
        "SELECT user, message_id, envelope_id, recipient, length(envelope), urgent, sealed, ttl, born, state, copies,"
        " domain FROM outbox WHERE envelope IS NOT NULL ORDER BY number"
    ):
        user, message_id, envelope_id, recipient, size, urgent, sealed, ttl, born, state, copies, domain = row
        yield Queued(
            one(user),
            message_id,
            envelope_id,
            one(recipient),
            size,
            bool(urgent),
            ttl,
            born,
            STATES[state],
            copies,
            bool(sealed),
            domain,
        )
    for user, message_id, sender, size, via, read, domain in database.each(
        "SELECT user, message_id, sender, size, via, read, domain FROM inbox ORDER BY number"
    ):
        yield Kept(one(user), one(message_id), one(sender), size, via and one(via), bool(read), domain)
    for user, envelope_id, sender, message_id, *proof in database.each(
        "SELECT user, envelope_id, sender, message_id, secret, hash, expires FROM tombstone"
    ):
        yield TombstoneInsert(one(user), envelope_id, one(sender), one(message_id), *proof)
    for row in database.each(
        "SELECT envelope_id, sender, recipient, via, urgent, ttl, born, hops, max_hops, copies, length(envelope)"
        " FROM relay ORDER BY born, place"
    ):
        envelope_id, sender, recipient, via, urgent, *numbers = row
        yield Relayed(envelope_id, one(sender), one(recipient), via and one(via), bool(urgent), *numbers)
    for envelope_id, secret, envelope_hash, expires in database.each(
        "SELECT envelope_id, secret, hash, expires FROM known"
    ):
        if secret is None:
            yield KnownInsert(envelope_id, expires)
        else:
            yield ProofInsert(envelope_id, secret, envelope_hash, expires)
    yield from _keys(database)


def _keys(database: Database) -> Iterator[SessionPut | PrekeyPut | BundlePut]:
    read = database.codec.read_data
    for user, peer, session_id, used, data in database.each(f"{_SESSIONS} ORDER BY used"):
        yield SessionPut(user, peer, session_id, used, read(SESSION_DATA, (user, peer, session_id), data))
    for user, key_id, kind, made, data in database.each(_PREKEYS):
        yield PrekeyPut(user, key_id, kind, made, read(PREKEY_DATA, (user, key_id), data))
    for user, peer, life, data in database.each(f"{_BUNDLES} ORDER BY life"):
        yield BundlePut(user, peer, life, read(BUNDLE_DATA, (user, peer), data))

"""What comes back from the store: rows after a restart, and a transaction that it could not take.

After the latter the core goes back to where it had not been.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qpq.mesh import counters
from qpq.mesh.effects import SendRefused, State, StateChanged
from qpq.mesh.outbox import Outgoing
from qpq.mesh.records import (
    BundleDelete,
    BundlePut,
    Checkpoint,
    FederationInsert,
    InboxInsert,
    InboxMark,
    Kept,
    KnownDelete,
    KnownInsert,
    OutboxInsert,
    OutboxReseal,
    OutboxState,
    PrekeyDelete,
    PrekeyPut,
    ProofInsert,
    Queued,
    RelayCopies,
    RelayDelete,
    Relayed,
    RelayInsert,
    SessionDelete,
    SessionPut,
    TombstoneInsert,
)
from qpq.wire.envelope import CHANNEL_TAG_SIZE
from qpq.wire.frames import CustodyCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import Identity
    from qpq.mesh.channels import Channels
    from qpq.mesh.collecting import Effects
    from qpq.mesh.crossings import Crossings
    from qpq.mesh.custody import Custody
    from qpq.mesh.events import PersistFailed
    from qpq.mesh.keeping import Keeping
    from qpq.mesh.machines import Machines
    from qpq.mesh.neighbours import Neighbours
    from qpq.mesh.posting import Posting
    from qpq.mesh.receiving import Receiving
    from qpq.mesh.records import Operation, Row
    from qpq.mesh.relaying import Relaying
    from qpq.mesh.resealing import Resealing
    from qpq.mesh.sessions import Sessions


_SMALL = (
    InboxMark,
    OutboxState,
    ProofInsert,
    RelayCopies,
    RelayDelete,
    KnownDelete,
    SessionDelete,
    PrekeyDelete,
    BundleDelete,
    SessionPut,
)
"""What is true, and what a store without room still takes, whatever else of its transaction did not fit."""


_TOLD = (State.RELAYED, State.DELIVERED)
"""States that are told before they are written."""


def row_table(machines: Machines) -> dict[type[Row], Callable[[Any], object]]:
    """Return what each kind of row is taken by, before the first event."""

    def queued(row: Queued) -> None:
        message = machines.outbox.add(row)
        if message.domain:
            machines.crossings.restored(message)

    def relayed(row: Relayed) -> None:
        if len(row.recipient) == CHANNEL_TAG_SIZE:
            machines.keeping.restore(row)
        elif row.via is None:
            machines.controls.restore(row)
        else:
            machines.relaying.restore(row)

    return {
        Queued: queued,
        Kept: machines.inbox.add,
        Checkpoint: machines.clock.restore,
        Relayed: relayed,
        KnownInsert: machines.keeping.restore_known,
        ProofInsert: machines.relaying.restore_proof,
        SessionPut: machines.sessions.restore,
        PrekeyPut: machines.sessions.prekeys.restore,
        BundlePut: machines.asking.restore,
        TombstoneInsert: machines.tombstones.add,
    }


class Undoing:
    """Takes PersistFailed: what was to be kept is not, its sender is told; what was to be forgotten stays forgotten.

    A state that could not be written is still true and is told; after a restart the message
    is sent once more and answered by the same receipt. Sessions stay as far as they are; what was opened in them and
    could not be stored may come again.
    """

    __slots__ = (
        "_channels",
        "_crossings",
        "_custody",
        "_effects",
        "_keeping",
        "_neighbours",
        "_posting",
        "_receiving",
        "_relaying",
        "_resealing",
        "_sessions",
        "_table",
    )

    def __init__(
        self,
        *,
        effects: Effects,
        neighbours: Neighbours,
        custody: Custody,
        posting: Posting,
        receiving: Receiving,
        relaying: Relaying,
        keeping: Keeping,
        channels: Channels,
        sessions: Sessions,
        resealing: Resealing,
        crossings: Crossings,
    ) -> None:
        self._crossings = crossings
        self._effects = effects
        self._neighbours = neighbours
        self._custody = custody
        self._posting = posting
        self._receiving = receiving
        self._relaying = relaying
        self._keeping = keeping
        self._channels = channels
        self._sessions = sessions
        self._resealing = resealing
        self._table: dict[type[Operation], Callable[[Any, float], None]] = {
            InboxInsert: self._inbox_insert,
            RelayInsert: self._relay_insert,
            TombstoneInsert: self._tombstone_insert,
            OutboxReseal: self._outbox_reseal,
            PrekeyPut: self._prekey_put,
            FederationInsert: self._crossings.not_kept,
        }

    def failed(self, event: PersistFailed, now: float) -> None:
        """Take back what the operations stand for; what is true all the same is written alone, once."""
        self._effects.count(counters.STORE_FAILED)
        small = [operation for operation in event.operations if isinstance(operation, _SMALL)]
        retry = len(small) < len(event.operations)
        for operation in event.operations:
            if isinstance(operation, OutboxInsert):
                self._outbox_insert(operation, event.reason, now)
            elif isinstance(operation, OutboxState) and operation.state not in _TOLD:
                user, message_id = operation.user, operation.message_id
                how = self._posting.post_quantum(user, message_id)
                told = StateChanged(user, message_id, operation.state, operation.copies, how)
                (self._effects.after if retry else self._effects.do)(told)
            elif isinstance(operation, SessionPut):
                self._sessions.unwritten(operation, retry=retry)
            elif type(operation) in self._table:
                self._table[type(operation)](operation, now)
        for operation in small if retry else ():
            if not isinstance(operation, SessionPut):  # as it is now, not as it was
                self._effects.persist(operation)

    def _outbox_insert(self, operation: OutboxInsert, reason: str, now: float) -> None:
        message = self._custody.get(operation.envelope_id)
        if isinstance(message, Outgoing):
            self._posting.drop(message, now)
        self._channels.forget(operation.user, operation.message_id)
        self._effects.count(counters.MESSAGE_REFUSED)
        self._effects.do(SendRefused(operation.user, operation.message_id, reason))

    def _inbox_insert(self, operation: InboxInsert, _now: float) -> None:
        self._receiving.delivering.undo(operation)
        if operation.domain and not operation.channel:
            self._crossings.not_delivered(operation)
        elif operation.envelope_id and not operation.channel:
            self._refuse(operation.via, operation.envelope_id)

    def _relay_insert(self, operation: RelayInsert, now: float) -> None:
        if len(operation.recipient) == CHANNEL_TAG_SIZE:
            self._keeping.undo(operation, now)
        elif self._relaying.undo(operation, now):
            self._refuse(operation.via, operation.envelope_id)

    def _tombstone_insert(self, operation: TombstoneInsert, _now: float) -> None:
        self._receiving.delivering.unbury(operation.envelope_id)

    def _outbox_reseal(self, operation: OutboxReseal, now: float) -> None:
        message = self._custody.get(operation.envelope_id)
        if isinstance(message, Outgoing) and message.before is not None:
            self._resealing.undo(message, message.before, now)

    def _prekey_put(self, operation: PrekeyPut, _now: float) -> None:
        self._sessions.prekeys.undo(operation)

    def _refuse(self, via: Identity | None, envelope_id: bytes) -> None:
        link = self._neighbours.link_to(via) if via is not None else None
        if link is not None:
            self._receiving.refuse(link, envelope_id, CustodyCode.QUOTA)

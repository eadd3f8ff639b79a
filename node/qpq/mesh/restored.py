"""Who takes which row of the store's after a restart."""

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
from qpq.wire.envelope import CHANNEL_TAG_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.mesh.machines import Machines
    from qpq.mesh.records import Row


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

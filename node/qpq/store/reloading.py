"""A live store made anew from its snapshot on flash, and what numbers given out go on from afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.mesh.parcel import Parcel
from qpq.store.faults import StoreError, StoreFullError
from qpq.store.keyring_file import read_private
from qpq.store.oplog import Booted, HomeExpired, HomeLast, HomePosted, HomeRead, Seen, Stopped, read
from qpq.store.schema import CLIENTS_NUMBER, CUSTODY_NUMBER
from qpq.store.snapshot import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpq.mesh.records import Operation
    from qpq.store.database import Database
    from qpq.store.oplog import Logged

MAX_READ: Final = 4 * MAX_BYTES
_AT_ONCE = 64
_CUSTODY_SHIFT: Final = 20
_CLIENTS_SHIFT: Final = 24
"""After a loss numbers go on at a multiple of 2 to this power that is greater with every start of the node."""


def load(path: str, database: Database) -> tuple[int, int]:
    """Write what the snapshot holds to an empty store; return the size of the file, and how much of it is whole.

    Operations for which there is no room are left out. Raises StoreDamagedError, StoreSealedError,
    StoreTooNewError, StoreError.
    """
    try:
        data = read_private(path, MAX_READ).content
    except FileNotFoundError:
        return 0, -1
    except (OSError, ValueError) as error:
        raise StoreError(f"the snapshot {path} cannot be read: {error}") from None
    operations, whole = read(data, database.codec)
    _apply_all(database, operations)
    if not operations or not isinstance(operations[-1], Stopped):
        _leave_out(database)
    return len(data), whole


def _apply_all(database: Database, operations: Sequence[Logged]) -> None:
    for start in range(0, len(operations), _AT_ONCE):
        batch = operations[start : start + _AT_ONCE]
        try:
            _apply(database, batch)
        except StoreFullError:
            for operation in batch:
                try:
                    _apply(database, [operation])
                except StoreFullError:
                    continue


def _leave_out(database: Database) -> None:
    """Leave out the numbers that may have been given out since the snapshot was last written."""
    numbers = database.numbers()
    start = numbers.get("boot", 0) + 1
    for name, shift in ((CUSTODY_NUMBER, _CUSTODY_SHIFT), (CLIENTS_NUMBER, _CLIENTS_SHIFT)):
        database.set_number(name, max(numbers.get(name, 0), start << shift))


def _apply(database: Database, operations: Sequence[Logged]) -> None:
    plain: list[Operation] = []
    for operation in operations:
        if isinstance(operation, Booted):
            database.next_boot(operation.boot)
        elif isinstance(operation, Seen | Parcel | HomePosted | HomeRead | HomeExpired | HomeLast):
            database.apply(plain)
            plain = []
            _replay(database, operation)
        elif not isinstance(operation, Stopped):
            plain.append(operation)
    database.apply(plain)


def _replay(database: Database, operation: Seen | Parcel | HomePosted | HomeRead | HomeExpired | HomeLast) -> None:
    """Carry out what is none of the core's operations; a second time changes nothing."""
    if isinstance(operation, Seen):
        database.mark_seen(operation.user, operation.message_id, operation.sender)
    elif isinstance(operation, Parcel):
        from qpq.store import federation  # noqa: PLC0415 (for gateways)

        federation.replay(database, operation)
    else:
        from qpq.store import home  # noqa: PLC0415 (for nodes with clients)

        home.replay(database, operation)

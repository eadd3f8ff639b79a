"""Makes room for a new store where a damaged one lies."""

from __future__ import annotations

import os

from qpq.store.faults import StoreError

_MAX_ASIDE = 100


def set_aside(path: str) -> str:
    """Rename a store's files so that a new one can be made, and return the new name; nothing is deleted.

    Raises StoreError where they cannot be renamed.
    """
    for number in range(1, _MAX_ASIDE + 1):
        aside = f"{path}.damaged-{number}"
        if not os.path.lexists(aside):
            break
    else:
        raise StoreError(f"{_MAX_ASIDE} damaged stores lie beside {path}: look at them and remove some")
    try:
        for ending in ("-wal", "-shm", ""):
            if os.path.lexists(path + ending):
                os.rename(path + ending, aside + ending)
    except OSError as fault:
        raise StoreError(f"{path} cannot be moved away: {fault}") from fault
    return aside

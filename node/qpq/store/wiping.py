"""``qpq wipe``: what a node keeps is destroyed for good, its keys first.

Before anything else ``qpq.wipe`` is written, which says where the live store lies, so that a wipe that was killed is
finished by the next one, or by the next start. Then, each overwritten with zeros, flushed to the medium and removed:
the vault and the identities, then the store with sessions and prekeys, its log, the tokens of clients, the directory of
names, and the node's own log file.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from qpq.errors import QpqError
from qpq.store.keyring import FILE_NAME as IDENTITIES
from qpq.store.keyring_file import destroy, read_private, replace_private
from qpq.store.vault import FILE_NAME as VAULT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MARK: Final = "qpq.wipe"
STORE: Final = "qpq.db"
SNAPSHOT: Final = "qpq.snap"
CLIENTS: Final = "clients.json"
NAMES: Final = "names.json"
_BESIDE: Final = ("", ".new")
_SQLITE: Final = ("", "-wal", "-shm", "-journal")
_LOGS: Final = ("qpq.log", "qpq.log.1")
_DAMAGED: Final = f"{STORE}.damaged-"
_LIVE_END: Final = ".db"
_MAX_MARK = 16 * 1024


class WipeError(QpqError):
    """Something could not be destroyed; the message says what. A second wipe goes on where this one ended."""


def is_begun(data_dir: str) -> bool:
    """Whether a wipe of this data directory was begun and is not finished."""
    return os.path.exists(os.path.join(data_dir, MARK))


def begin(data_dir: str, stores: Iterable[str] = ()) -> None:
    """Note that everything is to go, also ``stores``, which may lie elsewhere; destroy the keys.

    Raises WipeError.
    """
    lives = sorted({*_noted(data_dir), *stores})
    try:
        replace_private(os.path.join(data_dir, MARK), json.dumps(lives).encode())
    except OSError as error:
        raise WipeError(f"{data_dir}: {error.strerror}: nothing was wiped") from None
    _destroy(_keys(data_dir))


def finish(data_dir: str) -> int:
    """Destroy what is left, after ``begin``, and return how many files that were. Raises WipeError."""
    lives = _noted(data_dir)
    count = _destroy(_keys(data_dir))
    for live in lives:
        count += _destroy(live + ending for ending in _SQLITE)
    count += _destroy(_data(data_dir))
    _destroy([os.path.join(data_dir, MARK)])
    return count


def _keys(data_dir: str) -> Iterator[str]:
    for name in (VAULT, IDENTITIES):
        for ending in _BESIDE:
            yield os.path.realpath(os.path.join(data_dir, name)) + ending


def _data(data_dir: str) -> Iterator[str]:
    """Go through the store, its log and what else the node wrote; others' files stay."""
    for ending in _SQLITE:
        yield os.path.join(data_dir, STORE + ending)
    for name in (SNAPSHOT, CLIENTS, NAMES):
        for ending in _BESIDE:
            yield os.path.join(data_dir, name + ending)
    with suppress(OSError):
        for name in sorted(os.listdir(data_dir)):
            if name.startswith(_DAMAGED) or name in _LOGS:
                yield os.path.join(data_dir, name)


def _destroy(paths: Iterable[str]) -> int:
    count = 0
    problems = []
    for path in paths:
        try:
            count += destroy(path)
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
    if problems:
        raise WipeError(f"not everything could be destroyed, try again: {'; '.join(problems)}")
    return count


def _noted(data_dir: str) -> list[str]:
    """Return the live stores that an earlier ``begin`` noted: files named as live stores are."""
    try:
        found = json.loads(read_private(os.path.join(data_dir, MARK), _MAX_MARK).content)
    except (OSError, ValueError):
        return []
    listed = found if isinstance(found, list) else []
    return [path for path in listed if isinstance(path, str) and path.startswith("/") and path.endswith(_LIVE_END)]

"""``qpq wipe`` where no daemon runs: finds everything a node keeps, and destroys it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from qpq.crypto.identity import text_id
from qpq.daemon import places
from qpq.daemon.data_dir import DataDirError, Lock
from qpq.store import wiping
from qpq.store.keyring import FILE_NAME, Keyring
from qpq.store.keyring_errors import KeyringError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpq.daemon.options import Config

_LIVE = re.compile(r"[a-z2-7]{16}\.db")


def wipe_all(config: Config) -> list[str]:
    """Destroy everything and return what to tell; raises DataDirError, also where a daemon runs, and WipeError."""
    if not os.path.isdir(config.data_dir):
        raise DataDirError(f"data_dir: {config.data_dir} is not there: nothing to wipe")
    lock = Lock(config.data_dir)
    try:
        stores = sorted(live_stores(config))
        before = _count(config.data_dir)
        wiping.begin(config.data_dir, stores)
        wiping.finish(config.data_dir)
    finally:
        lock.release()
    return [f"{config.data_dir}: keys destroyed, then everything else ({before - _count(config.data_dir)} files)"]


def live_stores(config: Config, root: str = "") -> Iterator[str]:
    """Go through the stores of this node that lie outside the data directory.

    In RAM they are called by the node's id; where that is sealed, all that belong to this account are this node's.
    """
    if not config.store_dir and not os.path.exists(root + places.OPENWRT):
        return
    directory = config.store_dir or root + places.IN_RAM
    wanted = _live_name(config.data_dir)
    with suppress(OSError):
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            known = name == wanted if wanted else _LIVE.fullmatch(name) is not None
            if (known or (config.store_dir and name == wiping.STORE)) and os.lstat(path).st_uid == os.geteuid():
                yield os.path.abspath(path)


def _live_name(data_dir: str) -> str:
    try:
        return f"{text_id(Keyring.load(os.path.join(data_dir, FILE_NAME)).node.identity)[:16]}.db"
    except KeyringError:
        return ""


def _count(data_dir: str) -> int:
    return len(os.listdir(data_dir))

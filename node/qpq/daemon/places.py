"""Where the store lies: in the data directory, or in RAM with a snapshot there, where flash would wear out."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpq.crypto.identity import text_id
from qpq.daemon import doctor_data, memory
from qpq.daemon.data_dir import DataDirError, prepare
from qpq.store.database import Database

if TYPE_CHECKING:
    import logging

    from qpq.crypto.identity import Identity
    from qpq.daemon.options import Config
    from qpq.daemon.saving import Saver
    from qpq.store.codec import Codec

STORE_NAME = "qpq.db"
SNAPSHOT_NAME = "qpq.snap"

IN_RAM = "/tmp/qpq"  # noqa: S108 (tmpfs on OpenWrt, and checked to be ours)
OPENWRT = "/etc/openwrt_release"
RUNTIME = "/var/run/qpq"
FLASH = frozenset({"jffs2", "ubifs", "overlay", "squashfs"})
VOLATILE = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True, slots=True)
class Place:
    """The live store's ``directory``; ``durable``: on a medium; ``snapshot``: it is not, but the data directory is."""

    directory: str
    durable: bool
    snapshot: bool


def choose(store_dir: str, data_dir: str, root: str = "") -> Place:
    """Return where the store lies; ``store_dir`` is the option, ``root`` is put before the system's paths, for tests.

    Without the option it is the data directory, but for flash of a router. Makes the directory. Raises DataDirError.
    """
    kind = doctor_data.storage(data_dir, root).get("filesystem")
    directory = store_dir
    if not store_dir:
        flash = kind in FLASH and os.path.exists(root + OPENWRT)
        directory = root + IN_RAM if flash else data_dir
    if os.path.realpath(directory) == os.path.realpath(data_dir):
        return Place(data_dir, kind not in VOLATILE, snapshot=False)
    prepare(directory)
    state = os.stat(directory)
    if state.st_uid != os.geteuid() or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise DataDirError(f"store_dir: {directory} belongs to somebody else, or others may write to it; use another")
    durable = doctor_data.storage(directory, root).get("filesystem") not in VOLATILE
    return Place(directory, durable, snapshot=not durable and kind not in VOLATILE)


def open_store(config: Config, own: Identity, codec: Codec, log: logging.Logger) -> tuple[Database, Saver | None, bool]:
    """Return the store, what saves one in RAM, and whether the store is durable; raises DataDirError, StoreError."""
    place = choose(config.store_dir, config.data_dir)
    max_bytes = config.store_size or memory.limits(memory.read()).store_size
    if not place.snapshot:
        path = os.path.join(place.directory, STORE_NAME)
        return Database(path, durable=place.durable, max_bytes=max_bytes, codec=codec), None, place.durable
    from qpq.daemon.saving import Saver  # noqa: PLC0415 (a PC keeps its store on disk)

    live = os.path.join(place.directory, f"{text_id(own)[:16]}.db")
    path = os.path.join(config.data_dir, SNAPSHOT_NAME)
    saver = Saver(live, path, max_bytes=max_bytes, commit_s=config.commit_interval, log=log, codec=codec)
    log.info("the store is in RAM (%s), what must last is saved in %s", live, path)
    return saver.keeper.database, saver, place.durable


def runtime(root: str = "") -> str:
    """Return the directory in RAM that OpenWrt's init script makes for the node; empty: there is none."""
    made = os.path.exists(root + OPENWRT) and os.path.isdir(root + RUNTIME)
    return root + RUNTIME if made else ""

"""The start of a node whose keys are sealed: nothing but the control socket until somebody, or a stick, opens them."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import time
from typing import TYPE_CHECKING, ClassVar

from qpq import __version__, threads
from qpq.daemon import doctor_data, memory
from qpq.daemon.commands import COMMANDS, BusyError, CommandError, FailedError
from qpq.daemon.control import ControlServer
from qpq.daemon.control_socket import group_id
from qpq.daemon.protecting import VAULT_NAME, beside
from qpq.store import vault as vaults
from qpq.store.codec import SEALED_HEAD

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from qpq.daemon.commands import Args, Caller
    from qpq.daemon.control import Handlers as Table
    from qpq.daemon.options import Config
    from qpq.store.vault import Vault

IDENTITIES = "identity.json"
LOOK_SECONDS = 2.0
"""How often it is looked whether the key file has come."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds after the first wrong passphrase in which none is tried; each further one doubles them."""


class LockedError(CommandError):
    """The node is locked: unlock it first."""

    code: ClassVar[str] = "locked"


class Locked:
    """A node that waits for its key; ``config`` may be exchanged meanwhile."""

    def __init__(self, config: Config, log: logging.Logger) -> None:
        self.config = config
        self._log = log
        self._path = os.path.join(config.data_dir, VAULT_NAME)
        self._lock = vaults.load(self._path)
        if self._lock is None and _is_sealed(os.path.join(config.data_dir, IDENTITIES)):
            raise vaults.VaultError(
                f"{self._path} is missing, and the identities are sealed: put it back; nothing was changed"
            )
        self._problem = ""
        self._told = ""
        self._started = time.monotonic()
        self._failures = 0
        self._not_before = 0.0
        self._trying = False
        self._opened: Vault | None = None
        self._news = asyncio.Event()

    async def wait(self, stop: asyncio.Event, hangup: asyncio.Event, again: Callable[[], Config]) -> Vault | None:
        """Return the vault once it is open, None when a stop is asked for meanwhile; raises QpqError."""
        if self._lock is not None and self._lock.protection == vaults.NONE:
            return vaults.open_bare(self._path, self._lock)
        if not self._look():
            await self._serve(stop, hangup, again)
        return self._opened

    async def _serve(self, stop: asyncio.Event, hangup: asyncio.Event, again: Callable[[], Config]) -> None:
        server = ControlServer(
            self.config.socket,
            self._table,
            log=self._log,
            user_exists=lambda _: True,  # who is here is sealed too
            group=group_id(self.config.socket_group),
        )
        await server.start()
        self._log.warning("locked: waiting for %s; until then only the control socket answers", self._wanted())
        gc.enable()
        try:
            while not stop.is_set() and not self._look():
                waits = [asyncio.ensure_future(event.wait()) for event in (stop, hangup, self._news)]
                await asyncio.wait(waits, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
                self._news.clear()
                if hangup.is_set():
                    hangup.clear()
                    self.config = again()
        finally:
            await server.stop()
            gc.disable()
        if self._opened is not None:
            self._log.info("unlocked after %.0f s", time.monotonic() - self._started)

    def _look(self) -> bool:
        """Try the key file, where there is to be one; return whether the vault is open."""
        if self._opened is not None:
            return True
        path = self._key_file()
        if not path:
            return False
        try:
            if self._lock is None:
                self._opened = vaults.Vault.make(self._path, vaults.key_file_lock(path))
                self._log.info("the keys are under the key file %s from now on", path)
            else:
                self._opened = vaults.open_key_file(self._path, self._lock, path)
        except vaults.KeyFileMissingError:
            self._problem = ""
        except vaults.VaultError as error:
            self._problem = str(error)
            if self._problem != self._told:
                self._log.warning("%s", error)
        self._told = self._problem
        return self._opened is not None

    def _key_file(self) -> str:
        if self._lock is None:
            return self.config.key_file
        return (self.config.key_file or self._lock.key_file) if self._lock.protection == vaults.KEY_FILE else ""

    def _wanted(self) -> str:
        path = self._key_file()
        return f"the key file {path}" if path else "the passphrase: qpq unlock"

    # --- commands --------------------------------------------------------------------------------

    def _table(self) -> Table:
        """Return the few commands there are, and for all others what says why not."""
        table: dict[str, Callable[[Caller, Args], object]] = dict.fromkeys(COMMANDS, self._refused)
        table |= {
            "status": lambda _caller, _args: {
                "version": __version__,
                "uptime_s": int(time.monotonic() - self._started),
                "lock": self._document(),
            },
            "version": lambda _caller, _args: {"version": __version__},
            "doctor": self._doctor,
            "unlock": self._unlock,
            "lock.key_file": self._make_key_file,
            "wipe": self._wipe,
        }
        return table

    def _refused(self, _caller: Caller, _args: Args) -> object:
        raise LockedError(f"the node is locked: it waits for {self._wanted()}")

    def _document(self) -> dict[str, object]:
        protection = vaults.NONE if self._lock is None else self._lock.protection
        return {
            "state": "locked",
            "protection": protection,
            "waits_for": self._wanted(),
            **({"problem": self._problem} if self._problem else {}),
        }

    def _doctor(self, _caller: Caller, _args: Args) -> object:
        facts = doctor_data.gather(self.config.data_dir, [], self.config.clock_trusted, time.time())
        return {**facts, "lock": self._document()}

    async def _unlock(self, _caller: Caller, args: Args) -> object:
        """Try a passphrase: one at a time, and ever longer pauses after wrong ones."""
        lock = self._lock
        if lock is None or lock.protection != vaults.PASSPHRASE:
            raise FailedError(f"this node has no passphrase: it waits for {self._wanted()}")
        left = self._not_before - time.monotonic()
        if self._trying or left > 0:
            why = "a passphrase is being tried" if self._trying else f"wait {math.ceil(left)} s, then try again"
            raise BusyError(why)
        available = memory.read().available
        if 0 < available < lock.cost.memory_kib << 10:
            raise FailedError(
                f"trying a passphrase takes {lock.cost.memory_kib >> 10} MiB of memory, and {available >> 20} are"
                " available: stop other programs first"
            )
        self._trying = True
        try:
            words = args.text("passphrase")
            self._opened = await threads.beside(lambda: vaults.open_passphrase(self._path, lock, words))
        except vaults.WrongKeyError:
            self._failures += 1
            pause = min(FIRST_WAIT * 2 ** min(self._failures - 1, 10), LONGEST_WAIT)
            self._not_before = time.monotonic() + pause
            self._log.warning("a wrong passphrase was tried (%d so far)", self._failures)
            raise
        finally:
            self._trying = False
        self._news.set()
        return {"state": "open"}

    def _make_key_file(self, _caller: Caller, args: Args) -> object:
        """Make the key file that the configuration asks for; a node that has a lock already does not change it here."""
        path = args.text("path")
        if self._lock is not None:
            self._refused(_caller, args)
        if path != self.config.key_file:
            raise FailedError(f"the configuration names another key file: {self.config.key_file}")
        made = vaults.make_key_file(path)
        vaults.read_key_file(path)
        self._news.set()
        return {"state": "open", "protection": vaults.KEY_FILE, "key_file": path, "made": made} | beside(
            path, self.config.data_dir
        )

    def _wipe(self, _caller: Caller, _args: Args) -> object:
        from qpq.daemon.wiping import live_stores  # noqa: PLC0415 (seldom)
        from qpq.store import wiping  # noqa: PLC0415 (likewise)

        wiping.begin(self.config.data_dir, live_stores(self.config))
        self._log.warning("wiped: the keys are gone, the rest follows as this node stops")
        os.kill(os.getpid(), signal.SIGTERM)
        return {"wiped": True}


def _is_sealed(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(SEALED_HEAD)) == SEALED_HEAD
    except OSError:
        return False

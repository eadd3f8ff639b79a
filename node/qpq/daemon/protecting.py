"""Keys at rest of a running node: what protects them, changing that, wiping, and scrubbing what was deleted."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from qpq import threads
from qpq.daemon import guard, memory
from qpq.daemon.commands import BusyError, FailedError
from qpq.errors import QpqError
from qpq.store.codec import PLAIN
from qpq.store.scrubbing import SHARE, SOON_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qpq.daemon.commands import Args, Caller
    from qpq.daemon.control import Handlers as Table
    from qpq.daemon.node import Node
    from qpq.store.codec import Codec
    from qpq.store.vault import Lock, Vault

VAULT_NAME = "vault.json"
SLICE_SECONDS = 0.2
"""The wait between the slices of a sweep, for what else there is to do."""
NOT_LOCKED = "the node is not locked"


class Protection:
    """What lies between a node's keys and whoever has its disk; ``vault`` None: the files' modes alone."""

    def __init__(self, node: Node, vault: Vault | None) -> None:
        self.vault = vault
        self.wiped = False
        self._node = node
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._took = 0.0
        self._guard = guard.raise_guard(sealed=vault is not None)

    @property
    def identities(self) -> Codec:
        """What identity.json is under."""
        return PLAIN if self.vault is None else self.vault.identities

    @property
    def store(self) -> Codec:
        """What the store is under."""
        return PLAIN if self.vault is None else self.vault.store

    async def begin(self) -> None:
        """Take up what a node that was killed left: a protection half taken away, traces of deleted rows."""
        scrubber = self._node.store.scrubber
        scrubber.wake = self._soiled
        if not scrubber.is_clean:
            self._soiled()
        if self.vault is not None and self.vault.protection == "none":
            await self._leave(self.vault)

    def document(self) -> dict[str, object]:
        """Return what ``status`` and ``doctor`` tell."""
        protection = "none" if self.vault is None else self.vault.protection
        document: dict[str, object] = {"state": "open", "protection": protection, "memory": self._guard.document()}
        if self.vault is not None and self.vault.lock.key_file:
            document["key_file"] = self.vault.lock.key_file
        return document

    def end(self) -> None:
        """Forget the data key; what was to be scrubbed is scrubbed as the store is closed."""
        if self._timer is not None:
            self._timer.cancel()
        if self.vault is not None:
            self.vault.forget()

    def table(self) -> Table:
        """Return command names and what carries them out."""
        return {
            "lock.set": self._set,
            "lock.key_file": self._key_file,
            "lock.off": self._off,
            "unlock": _not_locked,
            "wipe": self._wipe,
        }

    # --- commands --------------------------------------------------------------------------------

    async def _set(self, _caller: Caller, args: Args) -> object:
        from qpq.store.vault import passphrase_lock, sized  # noqa: PLC0415 (most nodes never need it)

        cost = sized(memory.read().available)
        return await self._alone(lambda: threads.beside(lambda: passphrase_lock(args.text("passphrase"), cost)))

    async def _key_file(self, _caller: Caller, args: Args) -> object:
        from qpq.store.vault import key_file_lock, make_key_file  # noqa: PLC0415 (most nodes never need it)

        path = args.text("path")
        if not path.startswith("/"):
            raise FailedError("lock.key_file: the path of the key file must be absolute")
        made = make_key_file(path)
        document = await self._alone(lambda: threads.beside(lambda: key_file_lock(path)))
        return {**document, "made": made, **beside(path, self._node.config.data_dir)}

    async def _off(self, _caller: Caller, _args: Args) -> object:
        if self.vault is None:
            raise FailedError("the keys of this node are under no passphrase and no key file")
        self._begin_change()
        try:
            vault = self.vault
            vault.give_up()
            await self._leave(vault)
        finally:
            self._busy = False
        return self.document()

    def _wipe(self, _caller: Caller, _args: Args) -> object:
        from qpq.store import wiping  # noqa: PLC0415 (seldom)

        node = self._node
        wiping.begin(node.config.data_dir, [node.store.path])
        self.wiped = True
        node.keyring.destroy()
        node.store.forget_keys()
        self.end()
        node.log.warning("wiped: the keys are gone, the rest follows as this node stops")
        os.kill(os.getpid(), signal.SIGTERM)
        return {"wiped": True}

    # --- changes ---------------------------------------------------------------------------------

    def _begin_change(self) -> None:
        if self._busy or self.wiped:
            raise BusyError("the protection of this node is being changed already; wait")
        self._busy = True

    async def _alone(self, lock: Callable[[], Awaitable[Callable[[bytes], Lock]]]) -> dict[str, object]:
        """Put the data key under a new lock, one change at a time."""
        self._begin_change()
        try:
            made = await lock()
            if self.vault is None:
                await self._enter(made)
            else:
                self.vault.change(made)
        finally:
            self._busy = False
        return self.document()

    async def _enter(self, lock: Callable[[bytes], Lock]) -> None:
        """Seal everything. From the writing of vault.json on a node that is killed asks for the key, and goes on."""
        from qpq.store.vault import Vault  # noqa: PLC0415 (most nodes never need it)

        vault = Vault.make(os.path.join(self._node.config.data_dir, VAULT_NAME), lock)
        try:
            await self._reseal(vault.identities, vault.store)
        except QpqError:
            with suppress(QpqError):
                await self._reseal(PLAIN, PLAIN)
                vault.remove()
            raise
        self.vault = vault
        self._guard = guard.raise_guard(sealed=True)

    async def _leave(self, vault: Vault) -> None:
        """Unseal everything, then remove vault.json."""
        await self._reseal(PLAIN, PLAIN)
        vault.remove()
        vault.forget()
        self.vault = None

    async def _reseal(self, identities: Codec, store: Codec) -> None:
        node = self._node
        node.keyring.reseal(identities)
        if node.saver is not None:
            await node.saver.reseal(store)
        else:
            node.settled().reseal(store)

    # --- scrubbing -------------------------------------------------------------------------------

    def _soiled(self) -> None:
        """Scrub soon; of a large store, where that takes its time, not so often."""
        if self._timer is None:
            wait = max(SOON_S, self._took * SHARE)
            self._timer = asyncio.get_running_loop().call_later(wait, self._scrub)

    def _scrub(self) -> None:
        self._timer = None
        began = time.monotonic()
        store = self._node.settled()
        if not store.scrubber.is_sweeping:
            self._took = 0.0
        store.scrub(whole=False)
        self._took += time.monotonic() - began
        if store.scrubber.is_sweeping:
            self._timer = asyncio.get_running_loop().call_later(SLICE_SECONDS, self._scrub)
        elif not store.scrubber.is_clean:
            self._soiled()


def beside(path: str, data_dir: str) -> dict[str, object]:
    """Return a warning where the key file lies on the same file system as what it protects."""
    try:
        same = os.stat(path).st_dev == os.stat(data_dir).st_dev
    except OSError:
        return {}
    note = "the key file lies on the same file system as the data: whoever takes one has both"
    return {"note": note} if same else {}


def _not_locked(_caller: Caller, _args: Args) -> object:
    raise FailedError(NOT_LOCKED)

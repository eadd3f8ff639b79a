"""When the snapshot of a store in RAM is written, and what people are told of it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from qpq.store.codec import PLAIN
from qpq.store.keeper import Keeper
from qpq.store.snapshot import INBOX_BYTES, MAX_BYTES, OUTBOX_BYTES, SESSION_JUMP, write
from qpq.threads import beside

if TYPE_CHECKING:
    import logging

    from qpq.mesh.limits import Limits
    from qpq.store.codec import Codec
    from qpq.store.snapshot import Job


class Saver:
    """A ``keeper`` whose snapshot is written by the running loop, beside everything else."""

    def __init__(
        self, live: str, path: str, *, max_bytes: int, commit_s: int, log: logging.Logger, codec: Codec = PLAIN
    ) -> None:
        """Open both places; raises StoreError."""
        self._loop = asyncio.get_running_loop()
        self._log = log
        self._commit_s = commit_s
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self.keeper = Keeper(
            live,
            path,
            max_bytes=max_bytes,
            commit_s=float(commit_s),
            codec=codec,
            clock=self._loop.time,
            wake=self._plan,
        )

    async def stop(self, *, save: bool = True) -> None:
        """Let a write under way end, write the rest, and close the store; without ``save`` it is only closed."""
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            await self._writing
        if not save:
            self.keeper.database.close()
            return
        self.keeper.close()
        self._tell("")

    async def reseal(self, codec: Codec) -> None:
        """Put both places under another codec; raises StoreError."""
        if self._writing is not None:
            await self._writing
        self.keeper.reseal(codec)

    def narrowed(self, limits: Limits) -> Limits:
        """Return limits by which what must last fits the snapshot, and what it may lack of sessions is left out."""
        inbox, outbox = min(limits.inbox_bytes, INBOX_BYTES), min(limits.outbox_bytes, OUTBOX_BYTES)
        return replace(limits, inbox_bytes=inbox, outbox_bytes=outbox, session_jump=SESSION_JUMP)

    def document(self) -> dict[str, object]:
        """Return what lies on flash."""
        snapshot = self.keeper.snapshot
        written = snapshot.written_at
        return {
            "path": self.keeper.path,
            "bytes": snapshot.size,
            "max_bytes": MAX_BYTES,
            "written": int(time.time() - (self._loop.time() - written)) if written is not None else None,
            "commit_interval_s": self._commit_s,
            "problem": snapshot.problem,
        }

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.keeper.snapshot.due(self._loop.time())
        if due is not None:
            self._timer = self._loop.call_at(due, self._begin)

    def _begin(self) -> None:
        self._timer = None
        before = self.keeper.snapshot.problem
        job = self.keeper.take()
        if job is not None:
            self._writing = self._loop.create_task(self._write(job))
        else:
            self._tell(before)
            self._plan()

    async def _write(self, job: Job) -> None:
        before = self.keeper.snapshot.problem
        self.keeper.done(job, await beside(lambda: write(self.keeper.path, job)))
        self._writing = None
        self._tell(before)
        self._plan()

    def _tell(self, before: str) -> None:
        problem = self.keeper.snapshot.problem
        if problem and problem != before:
            self._log.warning("%s is not up to date: %s", self.keeper.path, problem)

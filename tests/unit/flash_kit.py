"""A store in RAM with its snapshot on flash, for tests that cut the power."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from qpq.store.keeper import Keeper
from qpq.store.snapshot import write

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = 12 * 3600.0


class Flash:
    """A snapshot on flash with a live store in RAM, and time that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = str(folder / "flash" / "qpq.snap")
        self.live = str(folder / "ram" / "live.db")
        for name in ("flash", "ram"):
            (folder / name).mkdir(exist_ok=True)
        self.now = 1000.0
        self.woken = 0
        self.keeper = self.open()

    def open(self) -> Keeper:
        def wake() -> None:
            self.woken += 1

        return Keeper(self.live, self.path, max_bytes=2 << 20, commit_s=COMMIT, clock=lambda: self.now, wake=wake)

    def boot(self) -> Flash:
        self.keeper.next_boot()
        return self

    def power_cut(self) -> Flash:
        """Lose what is in RAM and start again."""
        self.keeper.database.close()
        shutil.rmtree(self.folder / "ram")
        return Flash(self.folder)

    def run(self, seconds: float) -> int:
        """Let time pass, writing when it is due; return how many bytes were written."""
        end, count = self.now + seconds, 0
        while (due := self.keeper.snapshot.due(self.now)) is not None and due <= end:
            self.now = max(self.now, due)
            job = self.keeper.take()
            if job is None:
                continue
            count += len(job.data)
            self.keeper.done(job, write(self.path, job))
        self.now = end
        return count

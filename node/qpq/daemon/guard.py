"""What keeps secrets in memory from reaching a disk: no core dumps, and no swapping where that can be had.

The router's binary has a C function for it; on a PC the kernel is asked through the standard library, and with a vault
through the C library too. Nothing here fails: what the kernel refuses is told.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

SWAPS = "/proc/swaps"
COREDUMP_FILTER = "/proc/self/coredump_filter"
_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_MAX_READ = 4096
_IN_RAM = "/dev/zram"


@dataclass(frozen=True, slots=True)
class Guard:
    """``no_dumps``: the kernel writes no core dumps; ``private``: other processes of the user may not look in.

    ``swap``: there is swap on a medium; ``locked``: this process is kept out of it.
    """

    no_dumps: bool
    private: bool
    swap: bool
    locked: bool

    def document(self) -> dict[str, bool]:
        """Return it as plain JSON."""
        return {"core_dumps": not self.no_dumps, "private": self.private, "swap": self.swap, "locked": self.locked}


def raise_guard(*, sealed: bool, swaps: str = SWAPS) -> Guard:
    """Forbid core dumps; ``sealed`` (the node has a vault): lock the memory too, where there is swap on a medium.

    Without swap locking would gain nothing. It is tried only where no limit stands against it: beyond
    RLIMIT_MEMLOCK later allocations would fail.
    """
    swap = has_swap(swaps)
    want_lock = sealed and swap and _may_lock()
    try:
        from _qpq_native import guard  # type: ignore[attr-defined, unused-ignore]  # noqa: PLC0415 (the router's)
    except ImportError:
        return _by_library(sealed=sealed, swap=swap, want_lock=want_lock)
    done: int = guard(want_lock)
    return Guard(bool(done & 1), bool(done & 2), swap, bool(done & 4))


def has_swap(path: str = SWAPS) -> bool:
    """Whether memory may be written to a medium; compressed memory (zram) is none."""
    try:
        with open(path, "rb") as file:
            rows = file.read(_MAX_READ).decode("ascii", "replace").splitlines()[1:]
    except OSError:
        return False
    return any(not row.startswith(_IN_RAM) for row in rows if row.strip())


def _may_lock() -> bool:
    """Whether nothing limits how much this process may lock."""
    if os.geteuid() == 0:
        return True
    try:
        with open("/proc/self/limits", "rb") as file:
            rows = file.read(_MAX_READ).decode("ascii", "replace").splitlines()
    except OSError:
        return False
    return any(row.startswith("Max locked memory") and row.split()[3] == "unlimited" for row in rows)


def _by_library(*, sealed: bool, swap: bool, want_lock: bool) -> Guard:
    try:
        import resource  # noqa: PLC0415 (not in the router's binary)

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        no_dumps = True
    except (ImportError, OSError, ValueError):
        no_dumps = False
    try:
        with open(COREDUMP_FILTER, "wb") as file:  # for dumps that go to a program: those ask no limit (core(5))
            file.write(b"0\n")
    except OSError:
        pass
    private, locked = _by_c(want_lock=want_lock) if sealed else (False, False)
    return Guard(no_dumps, private, swap, locked)


def _by_c(*, want_lock: bool) -> tuple[bool, bool]:
    """Call prctl(2) and mlockall(2); return whether each was done."""
    try:
        import ctypes  # noqa: PLC0415 (not in the router's binary; only with a vault)

        library = ctypes.CDLL(None)
        private = library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
        locked = want_lock and library.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0
    except (ImportError, OSError, AttributeError):
        return False, False
    return private, locked

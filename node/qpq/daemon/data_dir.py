"""The data directory: made private, refused where others may write, held by one daemon at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat

from qpq.errors import QpqError

LOCK_NAME = "qpq.lock"
_LOCKS = "/proc/locks"
_MAX_READ = 1 << 16
_PRIVATE = stat.S_IRWXU
_PASSABLE = stat.S_IRWXU | stat.S_IXGRP


class DataDirError(QpqError):
    """The data directory cannot be used; the message says why and what to do."""


class DataDirBusyError(DataDirError):
    """Another daemon holds the data directory."""


def prepare(path: str, group: int | None = None) -> None:
    """Make the directory (mode 0700, parents as needed) unless it is there.

    With ``group`` (the control socket lies in it) the group may pass through: mode 0710. A directory that
    is there keeps its mode, but that an own, private one is opened that far. Raises DataDirError.
    """
    try:
        os.makedirs(os.path.dirname(path) or "/", 0o755, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, _PRIVATE)
        state = os.stat(path)
        if not stat.S_ISDIR(state.st_mode):
            raise DataDirError(f"data_dir: {path} is no directory; name another with --data-dir")
        if state.st_mode & stat.S_IWOTH:
            raise DataDirError(f"data_dir: everybody may write to {path}; use a directory of its own, or: chmod o-w")
        if group is not None and stat.S_IMODE(state.st_mode) == _PRIVATE and state.st_uid == os.geteuid():
            os.chown(path, -1, group)
            os.chmod(path, _PASSABLE)
    except OSError as error:
        raise DataDirError(f"data_dir: {path} cannot be used: {error.strerror}") from None


class Lock:
    """Holds ``qpq.lock`` in the data directory until ``release`` or the end of the process (flock(2)).

    Nothing is written into the file: it may be on flash, and a node that cannot start is started every few seconds.
    """

    __slots__ = ("_handle",)

    def __init__(self, data_dir: str) -> None:
        """Take the lock. Raises DataDirBusyError or DataDirError."""
        path = f"{data_dir.rstrip('/')}/{LOCK_NAME}"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise DataDirError(f"data_dir: {path} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(os.fstat(handle))
            os.close(handle)
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                who = f"process {holder}" if holder else "another process"
                raise DataDirBusyError(
                    f"a daemon ({who}) uses {data_dir} already; stop it, or give this one another --data-dir"
                ) from None
            raise DataDirError(f"data_dir: {path} cannot be locked: {error.strerror}") from None
        self._handle = handle

    def release(self) -> None:
        """Give the lock back; the file stays, since removing it would let two daemons hold two files."""
        os.close(self._handle)


def _holder(file: os.stat_result) -> str:
    """Return the number of the process that holds a lock on a file (proc(5)); empty: it is not known here."""
    device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    try:
        with open(_LOCKS, "rb") as locks:
            rows = [line.split() for line in locks.read(_MAX_READ).decode("ascii", "replace").splitlines()]
    except OSError:
        return ""
    # a number, FLOCK, ADVISORY, WRITE, the process (0: of another namespace), the file, from, to
    return next((row[-4] for row in rows if "FLOCK" in row and row[-3] == device and row[-4] != "0"), "")

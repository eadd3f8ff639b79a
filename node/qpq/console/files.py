"""The few files a user names: read whole under a cap, written new with mode 0600."""

from __future__ import annotations

import os

from qpq.console.errors import ConsoleError, UsageError

_MAX_TAIL = 16384


def read_file(path: str, limit: int) -> bytes:
    """Return a file's bytes; raises ConsoleError, UsageError beyond ``limit`` bytes."""
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise ConsoleError(f"{path}: {_reason(error)}") from None
    if len(data) > limit:
        raise UsageError(f"{path} has more than {limit} bytes")
    return data


def write_new(path: str, data: bytes) -> None:
    """Write a file that must not exist, mode 0600, and flush it to the disk; raises ConsoleError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except (OSError, ValueError) as error:
        raise ConsoleError(f"{path}: {_reason(error)}") from None


def read_tail(path: str, count: int) -> list[str]:
    """Return the last ``count`` lines of a log, none when it cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _MAX_TAIL, 0))
            data = file.read(_MAX_TAIL)
    except OSError:
        return []
    return data.decode("utf-8", "replace").splitlines()[-count:]


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)

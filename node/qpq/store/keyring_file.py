"""A small file with secrets on disk: read with care, replaced whole or not at all."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass

PRIVATE_MODE = 0o600
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells whether a file on disk is still the one that was read or written."""

    inode: int
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class PrivateFile:
    """Content of a file; ``exposed``: others could read it until its mode was mended just now."""

    content: bytes
    stamp: Stamp
    exposed: bool


def read_private(path: str, limit: int) -> PrivateFile:
    """Read a regular file of at most ``limit`` bytes and set its mode to 0600.

    Raises OSError; ValueError where it is no regular file or larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ValueError(f"it is larger than {limit} bytes")
        exposed = bool(status.st_mode & _OTHERS)
        if exposed:
            with suppress(OSError):
                os.fchmod(descriptor, PRIVATE_MODE)
    finally:
        os.close(descriptor)
    return PrivateFile(content, _stamp(status), exposed)


def replace_private(path: str, content: bytes) -> Stamp:
    """Write ``content`` beside ``path``, flush it to the medium, and rename it into place, mode 0600.

    After a power cut there is the old file or the new one. Raises OSError, and then the old
    file is untouched.
    """
    beside = path + ".new"
    with suppress(FileNotFoundError):
        os.unlink(beside)
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
            status = os.fstat(descriptor)
        os.rename(beside, path)
    except OSError:
        with suppress(OSError):
            os.unlink(beside)
        raise
    _flush_directory(os.path.dirname(path))
    return _stamp(status)


def stamp_of(path: str) -> Stamp | None:
    """Return the stamp of the file at ``path``, None where there is none; raises OSError."""
    try:
        return _stamp(os.stat(path))
    except FileNotFoundError:
        return None


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_ino, status.st_size, status.st_mtime_ns)


def _flush_directory(path: str) -> None:
    # The rename has been done: a file system that cannot flush directories must not make it fail.
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

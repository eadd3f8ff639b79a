"""A small file with secrets on disk: read with care, replaced whole or not at all."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpq.store.codec import SEALED_HEAD

if TYPE_CHECKING:
    from qpq.store.codec import Codec

PRIVATE_MODE = 0o600
_OTHERS = 0o077
_AT_ONCE = 1 << 16


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


def replace_private(path: str, content: bytes, *, shred: bool = False) -> Stamp:
    """Write ``content`` beside ``path``, flush it to the medium, and rename it into place, mode 0600.

    After a power cut there is the old file or the new one. ``shred``: then the old file's bytes are overwritten,
    where the medium writes in place. Raises OSError, and then the old file is untouched.
    """
    beside = path + ".new"
    old = _open_to_shred(path) if shred else -1
    try:
        stamp = _replaced(path, beside, content)
        if old >= 0:
            _overwrite(old)
    finally:
        if old >= 0:
            os.close(old)
    return stamp


def destroy(path: str) -> bool:
    """Overwrite a file, flush that to the medium, and remove it; False where there is none. Raises OSError."""
    try:
        if stat.S_ISREG(os.lstat(path).st_mode):
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                _overwrite(descriptor)
            finally:
                os.close(descriptor)
        os.unlink(path)
    except FileNotFoundError:
        return False
    _flush_directory(os.path.dirname(path))
    return True


def _overwrite(descriptor: int) -> None:
    left = os.fstat(descriptor).st_size
    os.lseek(descriptor, 0, os.SEEK_SET)
    while left > 0:
        left -= os.write(descriptor, bytes(min(left, _AT_ONCE)))
    os.fsync(descriptor)


def _open_to_shred(path: str) -> int:
    """Return a descriptor of what is about to be replaced; -1 where there is nothing, or it has other names."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return -1
    if os.fstat(descriptor).st_nlink == 1:
        return descriptor
    os.close(descriptor)
    return -1


def _replaced(path: str, beside: str, content: bytes) -> Stamp:
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


def sealed(content: bytes, codec: Codec) -> bytes:
    """Return what is to be written of a document: itself, or under a key its sealed form."""
    if not codec.number:
        return content
    from qpq.store.sealed_file import seal  # noqa: PLC0415 (with a vault only)

    return seal(content, codec)


def opened(content: bytes, codec: Codec, limit: int) -> tuple[bool, bytes]:
    """Return whether a file's content is sealed, and the document in it, of at most ``limit`` bytes.

    Raises ValueError where it cannot be opened or is larger.
    """
    if not content.startswith(SEALED_HEAD):
        if len(content) > limit:
            raise ValueError(f"it is larger than {limit} bytes")
        return False, content
    from qpq.store.sealed_file import unseal  # noqa: PLC0415 (with a vault only)

    return True, unseal(content, codec)


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

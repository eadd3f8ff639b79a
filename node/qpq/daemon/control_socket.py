"""The control socket's file: made with narrow rights, replaced when stale, never taken from a living daemon.

Without a group the file has mode 0600, with one 0660 and that group.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
from dataclasses import dataclass

from qpq.daemon.commands import Role
from qpq.errors import QpqError

MAX_PATH = 107
"""Bytes (unix(7): sun_path holds 108 with the final zero)."""
BACKLOG = 64
GROUP_FILE = "/etc/group"

_ANSWER_SECONDS = 1.0
_SO_PEERGROUPS = 59  # socket(7), Linux 4.13; the same number on every architecture we build for
_MAX_GROUPS = 256  # 1,024 bytes is the most that Python's getsockopt gives
_MAX_GROUP_FILE = 1 << 20
_UCRED = struct.Struct("=iII")  # unix(7), struct ucred: pid, uid, gid


class ControlSocketError(QpqError):
    """The control socket cannot be made; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end when it connected (SO_PEERCRED), with its supplementary groups."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int]


def group_id(name: str, path: str = GROUP_FILE) -> int | None:
    """Return the number of a group given by name or number, None for the empty name.

    Raises ControlSocketError where /etc/group (group(5)) does not know it.
    """
    if not name:
        return None
    if name.isascii() and name.isdigit() and len(name) <= 10:  # noqa: PLR2004 (32 bits in decimal)
        return int(name)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(_MAX_GROUP_FILE)
    except OSError as error:
        raise ControlSocketError(f"socket_group: {path} cannot be read: {error.strerror}") from None
    for line in text.splitlines():
        fields = line.split(":")
        if fields[0] == name and len(fields) > 2 and fields[2].isdigit():  # noqa: PLR2004 (name, password, number)
            return int(fields[2])
    raise ControlSocketError(f"socket_group: {path} knows no group {name!a}; create it, or give its number")


def listen(path: str, group: int | None = None) -> socket.socket:
    """Return a listening, non-blocking Unix socket at ``path``.

    Raises ControlSocketError: the path is too long, its directory is missing, something that is no socket lies
    there, or a daemon answers there. A file of a daemon that is gone is replaced.
    """
    if len(os.fsencode(path)) > MAX_PATH:
        raise ControlSocketError(f"{path} is longer than {MAX_PATH} bytes; name a shorter one with --socket")
    _clear(path)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        server.bind(path)
        if group is not None:
            os.chown(path, -1, group)
            os.chmod(path, 0o660)
        server.listen(BACKLOG)
        server.setblocking(False)
    except OSError as error:
        server.close()
        raise ControlSocketError(f"the control socket {path} cannot be made: {_reason(error)}") from None
    finally:
        os.umask(mask)
    return server


def remove(path: str, inode: int) -> None:
    """Remove the file of a socket that we made, unless another daemon's has taken its place."""
    with contextlib.suppress(OSError):
        if os.lstat(path).st_ino == inode:
            os.unlink(path)


def peer_of(connection: socket.socket) -> Peer:
    """Ask the kernel who is at the other end. Raises OSError where it does not say."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(raw)
    try:
        groups = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MAX_GROUPS * 4)
    except OSError:  # an old kernel, or more groups than we ask for: the primary group alone counts
        groups = b""
    return Peer(pid, uid, gid, frozenset(number for (number,) in struct.iter_unpack("=I", groups)))


def role_of(peer: Peer, owner: int, group: int | None) -> Role:
    """Return what ``peer`` may do on the socket of a daemon that runs as ``owner`` with the socket's ``group``."""
    if peer.uid in {0, owner}:
        return Role.ADMIN
    if group is not None and (peer.gid == group or group in peer.groups):
        return Role.USER
    return Role.READ_ONLY


def _clear(path: str) -> None:
    """Remove a stale socket file. Raises ControlSocketError where it is in use or something else."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ControlSocketError(f"the control socket {path} cannot be made: {_reason(error)}") from None
    if not stat.S_ISSOCK(mode):
        raise ControlSocketError(f"{path} is there and is no socket; remove it, or name another with --socket")
    if _answers(path):
        raise ControlSocketError(f"a daemon answers at {path}; stop it, or name another socket with --socket")
    try:
        os.unlink(path)
    except OSError as error:
        raise ControlSocketError(f"the stale socket {path} cannot be removed: {_reason(error)}") from None


def _answers(path: str) -> bool:
    """Return whether somebody listens at ``path``; a queue that is full is somebody too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER_SECONDS)
        try:
            probe.connect(path)
        except OSError as error:
            return error.errno not in {errno.ECONNREFUSED, errno.ENOENT}
    return True


def _reason(error: OSError) -> str:
    return error.strerror or str(error)

"""Runs a command as procd and ujail would: in a directory of bound mounts, as another user, without capabilities.

Started as root in mount and process namespaces of its own: ``jail.py NUMBER DIRECTORY LIMIT COMMAND...``; ``LIMIT`` is
the address space in bytes.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_CAPABILITIES = 41


def main(argv: list[str]) -> None:
    """Enter the jail and become the command."""
    number, directory, limit, *command = argv
    os.chroot(directory)
    os.chdir("/")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    library = ctypes.CDLL(None)
    for capability in range(_CAPABILITIES):
        library.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(int(number), int(number), int(number))
    os.setresuid(int(number), int(number), int(number))
    resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))
    os.execve(command[0], command, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})  # noqa: S606 (no shell is wanted)


if __name__ == "__main__":
    main(sys.argv[1:])

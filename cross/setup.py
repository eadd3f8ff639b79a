"""What the build needs of the machine, installed where that can be done: Debian packages, as root."""

from __future__ import annotations

import os
import shutil

from cross.errors import CrossError
from cross.process import run

# A command, and the Debian package that brings it.
NEEDED = {
    "mips-linux-gnu-gcc": "gcc-mips-linux-gnu",
    "mipsel-linux-gnu-gcc": "gcc-mipsel-linux-gnu",
    "gcc": "gcc",
    "make": "make",
    "qemu-mips": "qemu-user",
    "tclsh": "tcl",
}


def install() -> None:
    """Install the packages that are missing.

    Raises:
        CrossError: packages are missing and this is not root on a machine with apt.
    """
    missing = sorted({package for command, package in NEEDED.items() if not shutil.which(command)})
    if not missing:
        return
    if os.geteuid() or not shutil.which("apt-get"):
        msg = f"the build needs {' '.join(missing)} (Debian's names): install them, or run this as root on Debian"
        raise CrossError(msg)
    print(f"cross: installing {' '.join(missing)}", flush=True)
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], env=env)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], env=env)

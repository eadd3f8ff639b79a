"""Where a node keeps its data and where its control socket lies when nobody says otherwise."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OPENWRT_MARK = "/etc/openwrt_release"
OPENWRT_DATA_DIR = "/etc/qpq"
OPENWRT_RUN_DIR = "/var/run/qpq"
"""In RAM: making a socket on flash would be a write at every start."""
SOCKET_NAME = "qpq.sock"
_SHARED = "share/qpq/schemas"
"""Where pyproject.toml has pip put them, below the prefix."""


def default_data_dir(environ: Mapping[str, str], *, uid: int | None = None, mark: str = OPENWRT_MARK) -> str:
    """Return the data directory: QPQ_DATA_DIR, /etc/qpq for root on OpenWrt, else below the user's data home.

    ``uid`` (default: this process's) and ``mark`` (the file whose presence means OpenWrt) are arguments for
    tests. The data home is $XDG_DATA_HOME when absolute (XDG Base Directory Specification), else ~/.local/share.
    """
    chosen = environ.get("QPQ_DATA_DIR")
    if chosen:
        return chosen
    if (os.getuid() if uid is None else uid) == 0 and os.path.exists(mark):
        return OPENWRT_DATA_DIR
    home = environ.get("XDG_DATA_HOME", "")
    if not home.startswith("/"):
        home = (environ.get("HOME") or os.path.expanduser("~")).rstrip("/") + "/.local/share"
    return home + "/qpq"


def default_socket(data_dir: str, environ: Mapping[str, str]) -> str:
    """Return the path of the control socket: QPQ_SOCKET, else ``qpq.sock`` in ``data_dir``, of /etc/qpq in RAM."""
    directory = data_dir.rstrip("/")
    directory = OPENWRT_RUN_DIR if directory == OPENWRT_DATA_DIR else directory
    return environ.get("QPQ_SOCKET") or directory + "/" + SOCKET_NAME


def schema_file(name: str) -> str:
    """Return the path of an interface's schema: in the tree, or where pip has put it; its name in one without files."""
    source = globals().get("__file__")
    if source is None:
        return name
    packages = os.path.dirname(os.path.dirname(os.path.abspath(source)))
    # Beside the package in the tree; below an environment's prefix; below a folder of packages (pip's --target).
    places = [f"{packages}/{way}" for way in ("../schemas", f"../../../{_SHARED}", _SHARED)]
    found = next((place for place in places if os.path.exists(f"{place}/{name}")), places[0])
    return os.path.abspath(f"{found}/{name}")

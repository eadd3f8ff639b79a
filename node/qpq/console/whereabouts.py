"""Where the daemon's socket and data are, by the same rules as the daemon's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qpq.errors import QpqError
from qpq.paths import default_data_dir, default_socket

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_CONFIG = "/etc/config/qpq"
_MAX_FILE = 1 << 18


def locate(flags: Mapping[str, str], environ: Mapping[str, str]) -> tuple[str, str]:
    """Return data directory and socket: flags over QPQ_* over the UCI file over defaults.

    ``flags`` may hold ``--data-dir``, ``--socket``, ``--config``. A file that cannot be read says nothing:
    the daemon is the one to complain about it.
    """
    asked = flags.get("--config") or environ.get("QPQ_CONFIG") or DEFAULT_CONFIG
    told = _from_file(asked) if os.path.exists(asked) else {}
    data_dir = flags.get("--data-dir") or environ.get("QPQ_DATA_DIR") or told.get("data_dir")
    data_dir = os.path.abspath(data_dir or default_data_dir(environ))
    socket = flags.get("--socket") or environ.get("QPQ_SOCKET") or told.get("socket")
    return data_dir, os.path.abspath(socket or default_socket(data_dir, {}))


def _from_file(path: str) -> dict[str, str]:
    from qpq.daemon import uci  # noqa: PLC0415 (only where there is such a file)

    try:
        with open(path, "rb") as file:
            parsed = uci.parse(file.read(_MAX_FILE))
    except (OSError, QpqError):
        return {}
    found: dict[str, str] = {}
    for section in parsed.sections:
        for name in ("data_dir", "socket"):
            if name in section.options:
                found[name] = section.options[name].items[-1].text
    return found

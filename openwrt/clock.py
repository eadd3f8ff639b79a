"""The one time that everything packed bears, so that the same source gives the same bytes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from openwrt.errors import PackError

ROOT = Path(__file__).resolve().parent.parent


def epoch() -> int:
    """Return ``$SOURCE_DATE_EPOCH``, else when the last commit was made, in seconds since 1970.

    Raises:
        PackError: there is neither, or the variable is no number.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given:
        if not given.isdecimal():
            msg = f"SOURCE_DATE_EPOCH is {given!r}, not seconds since 1970"
            raise PackError(msg)
        return int(given)
    try:
        asked = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
        return int(subprocess.run(asked, capture_output=True, check=True, text=True).stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        msg = "this is no git checkout: set SOURCE_DATE_EPOCH to the release's time, in seconds since 1970"
        raise PackError(msg) from None

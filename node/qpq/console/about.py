"""Which program this is: the version, and for a built binary also its commit and its target."""

from __future__ import annotations

import qpq

try:
    from qpq._build import COMMIT, TARGET  # there in the static binary only, where the build puts it
except ImportError:
    COMMIT = TARGET = ""


def version_line() -> str:
    """Return ``qpq 1.2.3``, followed in a built binary by ``(commit ..., target)``."""
    return f"qpq {qpq.__version__} (commit {COMMIT}, {TARGET})" if TARGET else f"qpq {qpq.__version__}"


def version_document() -> dict[str, str]:
    """Return what ``version --json`` tells of this program."""
    told = {"version": qpq.__version__}
    return {**told, "commit": COMMIT, "target": TARGET} if TARGET else told

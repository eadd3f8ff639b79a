"""Which version of the program is being built."""

from __future__ import annotations

import ast

from cross.cache import ROOT
from cross.errors import CrossError
from cross.process import run


def version_and_commit() -> tuple[str, str]:
    """Return the version of the package and the commit (``unknown`` outside a checkout, ``+``: changed since)."""
    return _version(), _commit()


def _version() -> str:
    tree = ast.parse((ROOT / "node" / "qpq" / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__version__":
            return str(ast.literal_eval(node.value))
    msg = "node/qpq/__init__.py has no __version__"
    raise CrossError(msg)


def _commit() -> str:
    try:
        commit = run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT).strip()
        changed = run(["git", "status", "--porcelain", "--", "node", "cross"], cwd=ROOT).strip()
    except (CrossError, FileNotFoundError):
        return "unknown"
    return commit + ("+" if changed else "")

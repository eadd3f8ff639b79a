"""Access tokens of clients as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.console import relative
from qpq.console.document import as_document, flag, number, rows, text
from qpq.console.render import table
from qpq.console.safe import safe, safe_name

if TYPE_CHECKING:
    from qpq.console.document import Document, Json

OFF = "the client port is off: switch option client_port on and restart the node"


def added(result: Json, _now: float) -> list[str]:
    """Return a token that was just made; nothing shows it again."""
    row = as_document(result)
    lines = [
        f"token {_field(row, 'id')} for {_field(row, 'name')}, key {_field(row, 'key')}:",
        "",
        f"    {safe(text(row, 'token', '-'))}",
        "",
        "Copy it now: it is shown this once. Whoever has it reads and sends as that client.",
    ]
    return lines if flag(row, "serving") else [*lines, OFF]


def tokens(result: Json, now: float) -> list[str]:
    """Return the table of tokens."""
    body = [
        (
            _field(row, "id"),
            _field(row, "name"),
            relative.ago(number(row, "made"), now),
            _field(row, "key"),
        )
        for row in rows(result, "tokens")
    ]
    return table(("TOKEN", "CLIENT", "MADE", "KEY"), body) if body else ["no tokens; client token add makes one"]


def revoked(result: Json, _now: float) -> list[str]:
    """Return whose token was taken away."""
    row = as_document(result)
    return [f"token {_field(row, 'id')} for {_field(row, 'name')} is revoked"]


def _field(row: Document, name: str) -> str:
    return safe_name(text(row, name, "-"))

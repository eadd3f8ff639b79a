"""The directory of a domain as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.console.document import as_document, rows, text
from qpq.console.render import table
from qpq.console.safe import safe_name

if TYPE_CHECKING:
    from qpq.console.document import Document, Json

OFF = "this node is no relay of a domain yet: nobody outside can ask it"


def added(result: Json, _now: float) -> list[str]:
    """Return what a name means from now on."""
    row = as_document(result)
    return [f"{_name(row)} is {safe_name(text(row, 'key', '-'))}", *_note(row)]


def names(result: Json, _now: float) -> list[str]:
    """Return the table of names."""
    row = as_document(result)
    body = [(_name(row | each), safe_name(text(each, "key", "-"))) for each in rows(result, "names")]
    return [*(table(("NAME", "KEY"), body) if body else ["no names; federation name add writes one down"]), *_note(row)]


def removed(result: Json, _now: float) -> list[str]:
    """Return which name is gone."""
    return [f"{_name(as_document(result))} is in the directory no longer"]


def _name(row: Document) -> str:
    domain = text(row, "domain")
    return safe_name(text(row, "name", "-")) + (f"@{safe_name(domain)}" if domain else "")


def _note(row: Document) -> list[str]:
    return [] if text(row, "domain") else [OFF]

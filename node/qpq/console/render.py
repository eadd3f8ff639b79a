"""Control documents as text for people. Whatever a peer may have chosen goes through ``safe``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.console import relative
from qpq.console.document import as_document, flag, number, rows, text, texts
from qpq.console.safe import safe, safe_lines, safe_name
from qpq.console.width import clip, columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpq.console.document import Document, Json

SHORT_ID = 12
SHORT_MESSAGE = 8
MAX_CELL = 40
MAX_ROWS = 2000
MAX_DEPTH = 4
_MARKS = {"verified": "verified", "changed": "KEY CHANGED"}
_SEALED = {True: ", post-quantum", False: ", not post-quantum"}


def table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Return aligned columns; a cell has at most 40 columns but for the last of a row."""
    lines = [list(heads), *[list(row) for row in body[:MAX_ROWS]]]
    for line in lines:
        line[:-1] = [clip(cell, MAX_CELL) for cell in line[:-1]]
    widths = [max(columns(line[at]) for line in lines) for at in range(len(heads) - 1)]
    shown = []
    for line in lines:
        cells = [cell + " " * (wide - columns(cell)) for cell, wide in zip(line, widths, strict=False)]
        shown.append("  ".join([*cells, line[-1]]).rstrip())
    if len(body) > MAX_ROWS:
        shown.append(f"... and {len(body) - MAX_ROWS} more")
    return shown


def short_id(value: str) -> str:
    """Return the beginning of an id: long enough to be accepted as a prefix."""
    return safe(value[:SHORT_ID])


def who(row: Document, key: str) -> str:
    """Return a peer as its petname with a short id, or the short id alone; marked where its key is worth a word.

    Somebody of another domain has that behind it, as the gateway says.
    """
    name = text(row, key + "_name") or text(row, "name")
    mark = _MARKS.get(text(row, key + "_trust"), "")
    domain = f"@{safe_name(text(row, 'domain'))}" if text(row, "domain") else ""
    marks = [*([mark] if mark else []), *(["outside"] if domain else [])]
    identifier = short_id(text(row, key)) or "?"
    if name:
        return f"{safe_name(name)}{domain} ({', '.join([identifier, *marks])})"
    return f"{identifier}{domain} ({', '.join(marks)})" if marks else identifier


def changed(row: Document) -> list[str]:
    """Return, loudly, that a petname is claimed by another id, and what to do."""
    name = safe_name(text(row, "name", "-"))
    user = safe_name(text(row, "user"))
    return [
        f"THE KEY OF {name} HAS CHANGED" + (f" (for user {user})" if user else ""),
        f"  it was {safe_name(text(row, 'old', '-'))}",
        f"  and {safe_name(text(row, 'new', '-'))} claims the name now",
        f"  nothing is sent to {name} until that is settled: compare numbers with: verify {name}",
        f"  accept the new key: verify {name} --accept; keep the old one: verify {name} --undo",
    ]


def peers(result: Json, _now: float) -> list[str]:
    """Return the table of peers."""
    body = [
        (
            who(row, "id"),
            safe_name(text(row, "trust", "-")),
            safe_name(text(row, "state", "-")),
            relative.milliseconds(number(row, "rtt_ms")),
            safe_name(text(row, "via", "-")),
            relative.duration(number(row, "age_s")),
            safe_name(text(row, "address", "-")),
            _users(row) + _known(row) + _reason(row),
        )
        for row in rows(result, "peers")
    ]
    if not body:
        return ["no peers yet; they are found by themselves, or dialled with: mesh server <host:port>"]
    return table(("PEER", "TRUST", "STATE", "RTT", "VIA", "AGE", "ADDRESS", "USERS"), body)


def inbox(result: Json, now: float) -> list[str]:
    """Return the messages that came, oldest first as the daemon gives them."""
    lines = []
    for row in rows(result, "messages"):
        lines += message(row, now)
    return lines or ["no messages"]


def message(row: Document, now: float) -> list[str]:
    """Return one message: a line about it, then its text, indented."""
    mark = "! " if flag(row, "urgent") else ""
    topic = text(row, "channel")
    place = f"#{safe_name(topic)} " if topic else ""
    head = f"{mark}{_short_message(row)}  {relative.ago(number(row, 'received'), now)}  {place}{who(row, 'from')}:"
    lines = safe_lines(text(row, "text"))
    if len(lines) == 1:
        return [f"{head} {lines[0]}"]
    return [head, *("    " + line for line in lines)]


def outbox(result: Json, now: float) -> list[str]:
    """Return the table of what was sent."""
    body = []
    for row in rows(result, "messages"):
        created = number(row, "created")
        body.append(
            [
                _short_message(row),
                relative.ago(created if created is not None else number(row, "sent"), now),
                _state(row),
                f"#{safe_name(text(row, 'channel'))}" if text(row, "channel") else who(row, "to"),
                safe(text(row, "text").partition("\n")[0], MAX_CELL),
            ]
        )
    if not body:
        return ["nothing was sent, or nothing is kept any more"]
    return table(("MESSAGE", "SENT", "STATE", "TO", "TEXT"), body)


def sent(result: Json, _now: float) -> list[str]:
    """Return what became of a message that was handed over."""
    row = as_document(result)
    return [f"{_short_message(row)}  {_state(row)}"]


def users(result: Json, _now: float) -> list[str]:
    """Return the table of this node's users."""
    body = [[safe_name(text(row, "name", "-")), safe_name(text(row, "id", "-"))] for row in rows(result, "users")]
    return table(("USER", "ID"), body) if body else ["no users"]


def identity(result: Json, now: float) -> list[str]:
    """Return the node's id and its users (the QR code is put above by the caller)."""
    row = as_document(result)
    return [f"node {safe_name(text(row, 'id', '-'))}", "", *users(row.get("users"), now)]


def status(result: Json, _now: float) -> list[str]:
    """Return the status document: what is known by name first, the rest as it comes."""
    row = dict(as_document(result))
    lines = []
    for key, shown in (("version", "version"), ("id", "node")):
        lines.append(f"{shown}: {safe_name(text(row, key, '-'))}")
        row.pop(key, None)
    lines.append(f"up: {relative.duration(number(row, 'uptime_s'))}")
    row.pop("uptime_s", None)
    return lines + tree(row)


def tree(value: Json, depth: int = 0) -> list[str]:
    """Return any document as indented ``key: value`` lines, at most four levels deep."""
    lines: list[str] = []
    pad = "  " * depth
    for key, item in as_document(value).items():
        # A dotted key is a counter's name, which people look for as it is.
        name = pad + safe_name(key if "." in key else key.replace("_", " "))
        if isinstance(item, (dict, list)) and item and depth < MAX_DEPTH:
            lines.append(f"{name}:")
            lines += tree(item, depth + 1) if isinstance(item, dict) else _items(item, depth + 1)
        else:
            lines.append(f"{name}: {_scalar(item)}")
    return lines


def done(result: Json, _now: float) -> list[str]:
    """Return what a command without a table of its own says."""
    row = as_document(result)
    return tree(row) if row else ["done"]


def event(row: Document, now: float) -> list[str]:
    """Return an event of ``watch`` as lines; nothing for what is not to be shown."""
    kind = text(row, "event")
    if kind == "message":
        return [] if flag(row, "muted") else message(row, now)
    if kind == "state":
        return [f"{_short_message(row)}  {_state(row)}"]
    if kind == "peer":
        up = flag(row, "up") or text(row, "state") == "up"
        where = safe_name(text(row, "address"))
        return [f"peer {who(row, 'id')} {'is linked' if up else 'is gone'}  {where}{_known(row)}".rstrip()]
    return changed(row) if kind == "changed" else []


def _users(row: Document) -> str:
    named = [(text(item, "name") or short_id(text(item, "id"))) + _mark(item) for item in rows(row, "users")]
    found = named or [short_id(item) for item in texts(row, "users")]
    return safe(", ".join(item for item in found if item))


def _mark(row: Document) -> str:
    mark = _MARKS.get(text(row, "trust"), "")
    return f" ({mark})" if mark else ""


def _known(row: Document) -> str:
    known = text(row, "known_id")
    return f" [THE KEY AT THIS ADDRESS HAS CHANGED: it was {short_id(known)}]" if known else ""


def _reason(row: Document) -> str:
    reason = text(row, "reason")
    return f" [{safe(reason, 120)}]" if reason else ""


def _state(row: Document) -> str:
    state = safe_name(text(row, "state", "-"))
    copies = number(row, "copies")
    shown = f"{state} ({copies:.0f} copies)" if state == "relayed" and copies else state
    sealed = row.get("post_quantum")
    return shown + (_SEALED[sealed] if isinstance(sealed, bool) else "") + _reason(row)


def _short_message(row: Document) -> str:
    return safe(text(row, "id", "-")[:SHORT_MESSAGE])


def _items(items: list[Json], depth: int) -> list[str]:
    lines = []
    pad = "  " * depth
    for item in items[:MAX_ROWS]:
        if isinstance(item, dict):
            cells = [f"{safe_name(key)} {_scalar(cell)}" for key, cell in item.items()]
            lines.append(pad + ", ".join(cells))
        else:
            lines.append(pad + _scalar(item))
    return lines


def _scalar(value: Json) -> str:
    if value is None or value in ({}, []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, (dict, list)):
        return f"({len(value)})"
    return safe(str(value))

"""Store, routes, probes and channels as text for people. Whatever a peer may have chosen goes through ``safe``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.console import relative
from qpq.console.document import as_document, flag, number, rows, text
from qpq.console.render import sent, table, who
from qpq.console.safe import safe, safe_name

if TYPE_CHECKING:
    from qpq.console.document import Document, Json

PUBLIC = "everybody who knows the topic can read this channel: it is public"
_KINDS = {
    "open": PUBLIC,
    "private": "who has the key reads and writes",
    "announcement": "who has the key reads; only its signers are heard",
}


def routes(result: Json, _now: float) -> list[str]:
    """Return the table of routes."""
    body = [
        (
            who(row, "id"),
            _node(row, "next_hop"),
            _count(row, "hops"),
            f"{number(row, 'cost') or 0:.2f}",
            relative.duration(number(row, "age_s")),
            f"{number(row, 'score') or 0:.2f}",
            _node(row, "node"),
        )
        for row in rows(result, "routes")
    ]
    if not body:
        return ["no routes beyond the neighbours; they come by themselves, or when somebody is written to"]
    return table(("DESTINATION", "NEXT HOP", "HOPS", "COST", "AGE", "SCORE", "NODE"), body)


def ping(result: Json, _now: float) -> list[str]:
    """Return how far a peer is."""
    row = as_document(result)
    hops = number(row, "hops") or 0
    return [f"{who(row, 'id')}: {relative.milliseconds(number(row, 'rtt_ms'))}, {hops:.0f} hop{'s' * (hops != 1)}"]


def trace(result: Json, now: float) -> list[str]:
    """Return how far a peer is, and the nodes on the way."""
    path = rows(as_document(result), "path")
    return [*ping(result, now), *(f"{at:>3}  {who(row, 'id')}" for at, row in enumerate(path, 1))]


def channels(result: Json, _now: float) -> list[str]:
    """Return the table of the channels that are read."""
    body = [
        (
            f"#{safe_name(text(row, 'topic', '-'))}",
            safe_name(text(row, "kind", "-")) + (", public" if flag(row, "public") else ""),
            ", ".join(who(signer, "id") for signer in rows(row, "signers")) or "everybody in it",
        )
        for row in rows(result, "channels")
    ]
    if not body:
        return ["no channels; read an open one with: mesh subscribe <topic>"]
    return table(("CHANNEL", "KIND", "WHO IS HEARD"), body)


def channel(result: Json) -> list[str]:
    """Return what a channel is, and the text that lets others read it."""
    row = as_document(result)
    lines = [
        f"#{safe_name(text(row, 'topic', '-'))}: {_KINDS.get(text(row, 'kind'), safe_name(text(row, 'kind', '-')))}"
    ]
    if not flag(row, "public"):
        lines.append("whoever gets this text is in the channel, and cannot be put out of it:")
    return [*lines, safe(text(row, "share", "-"))]


def broadcast(result: Json, now: float) -> list[str]:
    """Return what became of a message to a channel."""
    row = as_document(result)
    lines = sent(result, now)
    return [*lines, PUBLIC] if flag(row, "public") else lines


def store(result: Json, now: float) -> list[str]:
    """Return what the store holds and how much more it can."""
    row = as_document(result)
    oldest = relative.ago(number(row, "oldest"), now)
    relayed = f"{_size(row, 'relayed_bytes')}, the oldest {relative.duration(number(row, 'relayed_oldest_s'))}"
    proofs = f"{_count(row, 'proofs')} receipts of others, {_count(row, 'seen')} seen of channels"
    room = f"{_size(row, 'used_bytes')} of {_size(row, 'max_bytes')} used"
    lines = [
        f"inbox: {_count(row, 'inbox')} messages, {_count(row, 'unread')} unread, the oldest {oldest}",
        f"outbox: {_count(row, 'waiting')} on their way, {_count(row, 'finished')} done",
        f"for others: {_count(row, 'relayed')} messages, {relayed}",
        f"known: {_count(row, 'tombstones')} delivered here, {proofs}",
        f"room: {room}; for others {_size(row, 'quota_used_bytes')} of {_size(row, 'quota_max_bytes')}",
    ]
    return [
        *lines,
        *_places(row, now),
        *_shares(row, "by_recipient", "FOR"),
        *_shares(row, "by_link", "FROM NEIGHBOUR"),
    ]


def _shares(row: Document, key: str, head: str) -> list[str]:
    body = [
        (who(share, "id") if text(share, "id") else "this node", _count(share, "count"), _size(share, "bytes"))
        for share in rows(row, key)
    ]
    return ["", *table((head, "MESSAGES", "BYTES"), body)] if body else []


def _places(row: Document, now: float) -> list[str]:
    snapshot = as_document(row.get("snapshot"))
    if not snapshot:
        return ["place: every message is on disk" if flag(row, "durable") else "place: in RAM only"]
    size = f"{_size(snapshot, 'bytes')} (at most {_size(snapshot, 'max_bytes')})"
    lines = [
        f"place: in RAM, with a snapshot of {size} on flash, written {relative.ago(number(snapshot, 'written'), now)}"
    ]
    if text(snapshot, "problem"):
        lines.append(f"problem: {safe(text(snapshot, 'problem'))}")
    return lines


def _node(row: Document, key: str) -> str:
    return who({"id": text(row, key), "name": text(row, f"{key}_name")}, "id")


def _count(row: Document, key: str) -> str:
    return f"{number(row, key) or 0:.0f}"


def _size(row: Document, key: str) -> str:
    return relative.size(number(row, key))

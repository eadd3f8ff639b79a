"""How much there is in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qpq.store.entries import Counts

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE: Final = 4096
"""Bytes of a page of the file."""


def counts(read: Callable[[str, tuple[object, ...]], list[Any]], max_bytes: int, relayed_max_bytes: int) -> Counts:
    """Return what there is, by ``read``, which gives the rows of a statement; raises what it raises."""
    inbox = read("SELECT count(*), coalesce(sum(read = 0), 0), coalesce(min(nullif(received, 0)), 0) FROM inbox", ())[0]
    outbox = read("SELECT coalesce(sum(envelope IS NOT NULL), 0), coalesce(sum(envelope IS NULL), 0) FROM outbox", ())[
        0
    ]
    tombstones = read("SELECT count(*) FROM tombstone", ())[0][0]
    relayed = read("SELECT count(*), coalesce(sum(length(envelope)), 0) FROM relay", ())[0]
    known = read("SELECT coalesce(sum(secret IS NOT NULL), 0), coalesce(sum(secret IS NULL), 0) FROM known", ())
    pages = read("PRAGMA page_count", ())[0][0] - read("PRAGMA freelist_count", ())[0][0]
    return Counts(
        inbox=inbox[0],
        unread=inbox[1],
        waiting=outbox[0],
        finished=outbox[1],
        tombstones=tombstones,
        used_bytes=pages * PAGE,
        max_bytes=max_bytes,
        oldest=inbox[2],
        relayed=relayed[0],
        relayed_bytes=relayed[1],
        relayed_max_bytes=relayed_max_bytes,
        proofs=known[0][0],
        known=known[0][1],
    )

"""Who gets a place on a full node: peers with no other link first, then leaves in turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpq.wire.frames import CloseCode, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpq.mesh.limits import Limits
    from qpq.mesh.links import Link


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which link must go, the newcomer's own or one that gives way, and what it is told.

    ``retry_after`` in seconds.
    """

    link: Link
    code: CloseCode
    retry_after: int


def admit(newcomer: Link, others: Iterable[Link], limits: Limits, now: float) -> Verdict:
    """Decide who goes when ``newcomer`` has greeted a full node; ``others`` are the links that may give way.

    A newcomer that says it has no other link takes the place of the peer that said it has the
    most; peers that said they have none are never displaced so. A leaf takes the place of the
    leaf that has been here longest, once that has had its turn, whether or not it has other
    links: otherwise the first leaves would keep a full node for ever. Anybody else waits.
    """
    others = tuple(others)
    if _other_links(newcomer) == 0:
        rich = [link for link in others if _other_links(link) > 0]
        if rich:
            richest = max(rich, key=lambda link: (_other_links(link), -link.usable_at))
            return Verdict(richest, CloseCode.FULL, limits.full_retry_s)
    if _is_leaf(newcomer):
        served = [link for link in others if _is_leaf(link) and now - link.usable_at >= limits.turn_s]
        if served:
            return Verdict(min(served, key=lambda link: link.usable_at), CloseCode.TURN_OVER, int(limits.turn_s))
    return Verdict(newcomer, CloseCode.FULL, limits.full_retry_s)


def _other_links(link: Link) -> int:
    return link.hello.links if link.hello is not None else 0


def _is_leaf(link: Link) -> bool:
    return link.hello is not None and link.hello.role == Role.LEAF

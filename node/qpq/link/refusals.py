"""What is refused, counted always and told in one line each, unless a flood would fill the log."""

from __future__ import annotations

import logging
from enum import Enum

logger = logging.getLogger("qpq.link")

BURST = 5
EVERY_S = 10.0
MAX_TEXT = 160


class Refusal(Enum):
    """Kinds of refusal; the value is the name of the counter."""

    CERTIFICATE = "refused_certificate"
    NOT_DIALLED = "refused_other_key"
    SELF = "refused_self"
    ALPN = "refused_alpn"
    HANDSHAKE = "refused_handshake"
    TIMEOUT = "refused_timeout"
    CROWDED = "refused_crowded"
    FULL = "refused_full"
    HASTY = "refused_rate"
    TOKEN = "refused_token"  # noqa: S105 (an address validation token's counter)
    MALFORMED = "closed_malformed"
    SLOW = "closed_slow"
    PROTOCOL = "closed_protocol"
    FAULT = "closed_fault"


class Refusals:
    """Counters of everything this room drops, and the log lines: a burst of 5 of a kind, then one in 10 s."""

    __slots__ = ("_buckets", "counters")

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self._buckets: dict[Refusal, tuple[float, float, int]] = {}

    def count(self, name: str, amount: int = 1) -> None:
        """Add to the counter ``name``, which is one of this program's own names."""
        self.counters[name] = self.counters.get(name, 0) + amount

    def refuse(self, kind: Refusal, where: str, reason: str, now: float) -> None:
        """Count a refusal and tell it; ``reason`` may hold a peer's words."""
        self.count(kind.value)
        tokens, at, silent = self._buckets.get(kind, (float(BURST), now, 0))
        tokens = min(float(BURST), tokens + (now - at) / EVERY_S)
        if tokens < 1:
            self._buckets[kind] = (tokens, now, silent + 1)
            return
        self._buckets[kind] = (tokens - 1, now, 0)
        more = f" (and {silent} like it)" if silent else ""
        logger.warning("%s %s: %s%s", kind.value.partition("_")[0], where, printable(reason), more)


def printable(text: str) -> str:
    """Return at most 160 characters of ``text`` in which everything that is not printable ASCII is a question mark."""
    cut = text[:MAX_TEXT]
    return cut if cut.isascii() and cut.isprintable() else "".join([c if " " <= c <= "~" else "?" for c in cut])

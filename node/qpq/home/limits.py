"""What clients may use of a home server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class HomeLimits:
    """Limits of the client port; ``sized`` fits them to the room that all inboxes have."""

    payload: int = 5 << 20
    """Bytes of one message."""
    reply: int = 6 << 20
    """Bytes of messages in one answer; a single longer one is sent all the same."""
    stranger: int = 64 << 10
    """Bytes of one RPC message on a connection that has shown no valid token yet."""
    bad_tokens: int = 5
    """Calls with a wrong token after which a connection is ended."""
    enqueues: int = 100
    """Messages a minute from one token."""
    lookups: int = 100
    """Names, keys and endpoints a minute that one token may ask for or publish."""
    ttl_s: int = 7 * DAY_S
    """How long a message is kept that names no time itself."""
    max_ttl_s: int = 30 * DAY_S
    wait_s: float = 300.0
    """How long ``fetchWait`` waits at most."""
    waiting: int = 32
    """Calls of one token that wait for a message, on all its connections."""
    endpoint: int = 1024
    """Bytes of an endpoint's address."""
    endpoint_s: int = DAY_S
    """How long a published endpoint is told."""
    floor_s: float = 0.005
    """The least time that an answer about names takes, found or not (the reference's interface table)."""

    @classmethod
    def sized(cls, room: int) -> HomeLimits:
        """Return the limits where all inboxes have ``room`` bytes: a message takes a quarter of an inbox at most."""
        usual = cls()
        payload = min(usual.payload, room // 8)
        return cls(payload=payload, reply=min(usual.reply, payload + (payload >> 2)))

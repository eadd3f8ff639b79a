"""Which domains this one knows: the relays of others, what they may do, and what proves who they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpq.crypto.identity import Identity
    from qpq.federation.x509 import Certificate

MAX_HOPS: Final = 8
"""Domains that something may pass, the first included."""
LARGE_STORE: Final = 64 << 20
"""Bytes of a message store from which on a node is a server's."""


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay of another domain, as it was configured.

    ``keys`` are pinned: none means that a certificate of the shared authority must name ``domain``. ``addresses``
    are dialled one after the other (none: it calls us); ``carries`` are further domains that are reached through it and
    that it may speak for; with ``transit`` it may hand us what is for other domains than our own. ``topics`` are those
    of the open channels that both domains share.
    """

    name: str
    domain: str
    keys: tuple[Identity, ...] = ()
    addresses: tuple[str, ...] = ()
    carries: tuple[str, ...] = ()
    transit: bool = False
    topics: tuple[str, ...] = ()

    def speaks_for(self, domain: str) -> bool:
        """Whether what comes from ``domain`` may come through this relay."""
        return domain == self.domain or domain in self.carries


@dataclass(frozen=True, slots=True)
class Rates:
    """What one domain may hand over: messages and bytes, a second and at once."""

    messages: float = 50.0
    message_burst: int = 2000
    bytes: float = 256 * 1024.0
    byte_burst: int = 8 << 20

    @classmethod
    def sized(cls, store_bytes: int) -> Rates:
        """Return what a node takes whose message store has so many bytes."""
        if store_bytes < LARGE_STORE:
            return cls()
        return cls(messages=500.0, message_burst=20_000, bytes=2048 * 1024.0, byte_burst=64 << 20)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is configured; ``chain``: certificates for the node's own key, none: others have pinned it."""

    domain: str
    relays: tuple[Relay, ...] = ()
    authorities: tuple[Certificate, ...] = ()
    chain: tuple[Certificate, ...] = ()
    rates: Rates = field(default_factory=Rates)

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that are shared with any domain."""
        return tuple(dict.fromkeys(topic for relay in self.relays for topic in relay.topics))

    def relay_of(self, domain: str) -> Relay:
        """Return the rules for a domain; one that only the shared authority vouches for may hand over its own."""
        return next((relay for relay in self.relays if relay.domain == domain), Relay("", domain))

    def ways(self, domain: str) -> Iterator[str]:
        """Go through the domains whose relays are asked for ``domain``: its own first."""
        yield domain
        yield from (relay.domain for relay in self.relays if domain in relay.carries)

    def reaches(self, domain: str) -> bool:
        """Whether somebody is configured who may take what is for ``domain``."""
        return any(relay.speaks_for(domain) for relay in self.relays)

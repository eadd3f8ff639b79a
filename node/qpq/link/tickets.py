"""Session tickets: kept in RAM, bound to an identity, good for one use.

A resumed connection shows no certificate, so the ticket's identity is the peer's, at both ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aioquic.tls import SessionTicket

    from qpq.crypto.identity import Identity


@dataclass(frozen=True, slots=True)
class Bound:
    """A ticket, whose it is, until when (seconds) it is good, and under which address it was got."""

    ticket: SessionTicket
    identity: Identity
    until: float
    address: str = ""


class TicketStore:
    """The tickets this node gave out and those it was given: one of each for an identity, the newest.

    At most ``cap`` of each kind; the oldest gives way. They last ``lifetime`` seconds on the
    caller's monotonic clock, and no longer than the library lets them.
    """

    __slots__ = ("_cap", "_given", "_issued", "_lifetime", "_names")

    def __init__(self, cap: int, lifetime: float) -> None:
        self._cap = cap
        self._lifetime = lifetime
        self._issued: dict[bytes, Bound] = {}
        self._names: dict[Identity, bytes] = {}
        self._given: dict[Identity, Bound] = {}

    def __len__(self) -> int:
        """Return how many tickets are held."""
        return len(self._issued) + len(self._given)

    def issue(self, ticket: SessionTicket, identity: Identity, now: float) -> None:
        """Remember a ticket this node gave to ``identity``."""
        self._forget_issued(identity)
        self._issued[ticket.ticket] = Bound(ticket, identity, now + self._lifetime)
        self._names[identity] = ticket.ticket
        if len(self._issued) > self._cap:
            self._forget_issued(next(iter(self._issued.values())).identity)

    def redeem(self, name: bytes, now: float) -> Bound | None:
        """Return the ticket of that name, once."""
        bound = self._issued.pop(name, None)
        if bound is None:
            return None
        del self._names[bound.identity]
        return bound if now < bound.until else None

    def keep(self, ticket: SessionTicket, identity: Identity, address: str, now: float) -> None:
        """Keep a ticket that ``identity`` gave to this node when it was dialled at ``address``."""
        self._given.pop(identity, None)
        self._given[identity] = Bound(ticket, identity, now + self._lifetime, address)
        if len(self._given) > self._cap:
            del self._given[next(iter(self._given))]

    def take(self, identity: Identity | None, address: str, now: float) -> Bound | None:
        """Return a ticket for a dial, once: of ``identity``, or, when that is not known, of who answered there."""
        if identity is None:
            identity = next((bound.identity for bound in self._given.values() if bound.address == address), None)
            if identity is None:
                return None
        bound = self._given.pop(identity, None)
        return bound if bound is not None and now < bound.until else None

    def forget(self, identity: Identity) -> None:
        """Drop what is held for ``identity``."""
        self._forget_issued(identity)
        self._given.pop(identity, None)

    def _forget_issued(self, identity: Identity) -> None:
        name = self._names.pop(identity, None)
        if name is not None:
            del self._issued[name]

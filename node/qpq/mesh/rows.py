"""What the core tells when asked: rows for ``/mesh peers`` and for one message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpq.crypto.identity import Address
from qpq.mesh.effects import State

if TYPE_CHECKING:
    from qpq.crypto.identity import Identity
    from qpq.mesh.events import Via
    from qpq.wire.frames import Role


@dataclass(frozen=True, slots=True)
class PeerRow:
    """One neighbour or one address that may become one; times are seconds of the caller's clock.

    ``state`` is ``linked``, ``greeting`` (HELLO awaited), ``dialling``, ``waiting`` (back-off to
    ``retry_at``) or ``known``. ``identity`` None: not known, ``proven`` False: only claimed.
    ``reason`` says how the last attempt or link ended. ``known``: who answered before at this kept address, where
    another key answers now.
    """

    identity: Identity | None
    proven: bool
    address: str
    via: Via
    state: str
    since: float
    link: int | None = None
    users: tuple[Address, ...] = ()
    role: Role | None = None
    retry_at: float = 0.0
    reason: str = ""
    known: Identity | None = None


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A local user's message on its way; ``post_quantum`` as in StateChanged, ``domain`` as in SendText."""

    user: Address
    message_id: bytes
    envelope_id: bytes
    recipient: Address
    state: State
    copies: int
    urgent: bool
    attempts: int
    post_quantum: bool | None = None
    domain: str = ""


@dataclass(frozen=True, slots=True)
class RouteRow:
    """The route to a user: ``node`` serves it, ``hops`` links and ``cost`` sixteenths of a perfect link away.

    ``since`` is seconds of the caller's clock, ``score`` 0 to 1 how well receipts came back through ``next_hop``.
    """

    address: Address
    node: Identity
    next_hop: Identity
    hops: int
    cost: int
    since: float
    capabilities: int
    score: float


def broadcast_row(user: Address, message_id: bytes, envelope_id: bytes, channel: bytes) -> MessageRow:
    """Return the row of a broadcast that nobody has taken yet."""
    return MessageRow(user, message_id, envelope_id, Address(channel), State.QUEUED, 0, urgent=False, attempts=0)


@dataclass(frozen=True, slots=True)
class StoreRow:
    """What is kept for others: ``count`` envelopes of ``size`` bytes, the ``oldest`` so many seconds old.

    ``by_recipient``: address, number, bytes, the 16 with most; ``by_link``: the neighbour that brought them,
    number, bytes with what each costs. ``used`` of ``cap`` bytes are counted so; ``proofs`` of ``proofs_cap``
    receipts are known, ``known`` ids of flooded things.
    """

    count: int
    size: int
    oldest: int
    by_recipient: tuple[tuple[Address, int, int], ...]
    by_link: tuple[tuple[Identity | None, int, int], ...]
    used: int
    cap: int
    proofs: int
    proofs_cap: int
    known: int = 0
    known_cap: int = 0

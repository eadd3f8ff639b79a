"""What the message store tells people: messages of an inbox, of an outbox, and how much there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qpq.crypto.identity import Address
    from qpq.mesh.effects import State


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """A message a user got; ``number`` grows with arrival, times are Unix seconds (0: unknown).

    ``channel`` is empty, or the id of the channel it came through.
    """

    number: int
    message_id: bytes
    sender: Address
    text: str
    urgent: bool
    sent: int
    received: int
    read: bool
    channel: bytes = b""


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A message a user sent; ``number`` grows with sending, ``sent`` Unix seconds (0: unknown), ``ttl`` seconds.

    ``post_quantum``: it was sealed in a session, with keys that hold against a quantum computer; None: nothing was
    sealed, or it is not known.
    """

    number: int
    message_id: bytes
    recipient: Address
    text: str
    urgent: bool
    sent: int
    ttl: int
    state: State
    copies: int
    post_quantum: bool | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages there are, bytes taken and allowed, and when the oldest kept one came (Unix, 0: none).

    ``relayed`` are others' envelopes, with the bytes of them and the most they may take; ``proofs`` receipts of
    others' messages, ``known`` ids that are not taken again.
    """

    inbox: int
    unread: int
    waiting: int
    finished: int
    tombstones: int
    used_bytes: int
    max_bytes: int
    oldest: int
    relayed: int
    relayed_bytes: int
    relayed_max_bytes: int
    proofs: int
    known: int

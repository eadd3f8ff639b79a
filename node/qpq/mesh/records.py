"""What the core asks of the store (``daemon.shell``): operations of a Persist, and rows for a restart.

Every row belongs to a user (32-byte address). Ages are kept on the node's clock of life
(``mesh.clock``), in whole seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.effects import State


@dataclass(frozen=True, slots=True)
class OutboxInsert:
    """Keep a local user's own message; ``envelope`` empty: it was delivered on this very node.

    ``born`` and ``ttl`` are seconds of life, ``sent`` Unix seconds (0: unknown). ``sealed``: with keys that hold
    against a quantum computer, in a session; None: not at all. ``domain``: empty, or where the recipient is: then the
    envelope goes there through gateways.
    """

    user: Address
    message_id: bytes
    envelope_id: bytes
    recipient: Address
    envelope: bytes
    text: str
    urgent: bool
    ttl: int
    born: int
    sent: int
    state: State
    sealed: bool | None = None
    domain: str = ""


@dataclass(frozen=True, slots=True)
class OutboxReseal:
    """A message on its way was sealed anew: from now on this envelope carries it, in place of the one before."""

    user: Address
    message_id: bytes
    envelope_id: bytes
    envelope: bytes
    sealed: bool


@dataclass(frozen=True, slots=True)
class OutboxState:
    """A message changed its state; delivered, expired and refused ones need their envelope no longer.

    ``reason`` says why it was refused.
    """

    user: Address
    message_id: bytes
    state: State
    copies: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class InboxInsert:
    """Keep a message for a local user, unless it is kept; ``via``: the neighbour that brought it (None: this node).

    ``envelope_id`` is empty for a local message and for one that is only to be there for sure.
    ``sent`` and ``received`` are Unix seconds (0: unknown), ``size`` counts against the caps.
    ``channel`` is empty, or the id (16 bytes) of the channel it came through. ``domain``: empty, or where it came
    from as a gateway says; then ``via`` is None, but for what came through a channel.
    """

    user: Address
    message_id: bytes
    sender: Address
    envelope_id: bytes
    text: str
    urgent: bool
    sent: int
    received: int
    size: int
    via: Identity | None
    channel: bytes = b""
    domain: str = ""


@dataclass(frozen=True, slots=True)
class InboxMark:
    """A message that came through a channel, and is kept, is from another ``domain``, as a gateway says."""

    user: Address
    message_id: bytes
    sender: Address
    channel: bytes
    domain: str


@dataclass(frozen=True, slots=True)
class MessageDelete:
    """The user deleted a message, from inbox and outbox."""

    user: Address
    message_id: bytes


@dataclass(frozen=True, slots=True)
class UserDelete:
    """A user is gone with everything kept for it."""

    user: Address


@dataclass(frozen=True, slots=True)
class TombstoneInsert:
    """An envelope was delivered here: its receipt is ``(secret, envelope_hash)``, valid to ``expires`` of life."""

    user: Address
    envelope_id: bytes
    sender: Address
    message_id: bytes
    secret: bytes
    envelope_hash: bytes
    expires: int


@dataclass(frozen=True, slots=True)
class TombstoneDelete:
    """The tombstone has expired or gave way."""

    user: Address
    envelope_id: bytes


@dataclass(frozen=True, slots=True)
class TombstoneExpected:
    """Changes nothing; the transaction fails (StoreFull) where this tombstone was never stored.

    With it the receipt of a duplicate hangs on the transaction that stored the first: a group
    commit that failed in between must not let it out.
    """

    user: Address
    envelope_id: bytes


@dataclass(frozen=True, slots=True)
class RelayInsert:
    """Keep an envelope for others: a unicast in custody, or a channel envelope (``recipient`` is its tag, 16 bytes).

    ``via``: the neighbour that brought it (None: made here); ``born`` and ``ttl`` seconds of life, ``hops`` links
    crossed so far, ``copies`` still to hand on. Replaces a row of the same id.
    """

    envelope_id: bytes
    envelope: bytes
    sender: Address
    recipient: bytes
    via: Identity | None
    urgent: bool
    ttl: int
    born: int
    hops: int
    max_hops: int
    copies: int


@dataclass(frozen=True, slots=True)
class RelayCopies:
    """Copies of an envelope in custody were handed on; ``copies`` are left."""

    envelope_id: bytes
    copies: int


@dataclass(frozen=True, slots=True)
class RelayDelete:
    """An envelope of others is kept no longer: proven delivered, expired, or it gave way."""

    envelope_id: bytes


@dataclass(frozen=True, slots=True)
class ProofInsert:
    """A receipt this node knows of somebody else's envelope, valid to ``expires`` of life."""

    envelope_id: bytes
    secret: bytes
    envelope_hash: bytes
    expires: int


@dataclass(frozen=True, slots=True)
class KnownInsert:
    """An id this node must not take (again) before ``expires`` of life: purged, refused by quota, or shown already."""

    envelope_id: bytes
    expires: int


@dataclass(frozen=True, slots=True)
class KnownDelete:
    """A proof or a known id has expired or gave way."""

    envelope_id: bytes


@dataclass(frozen=True, slots=True)
class SessionPut:
    """Keep a session of a user, or of the node, with ``peer`` as it is now; ``session_id`` 8 bytes.

    ``used`` says how it may be used (``mesh.pairs``), ``data`` is ``crypto.sessions.Session.encode``: all of it secret.
    Replaces the row of the same ids. A row for a restart too.
    """

    user: Address
    peer: Address
    session_id: bytes
    used: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SessionDelete:
    """A session is kept no longer."""

    user: Address
    peer: Address
    session_id: bytes


@dataclass(frozen=True, slots=True)
class PrekeyPut:
    """Keep a secret by which others begin sessions; ``key_id`` 8 bytes, ``made`` seconds of life.

    ``kind``: 0 signed, 1 one-time (``crypto.prekeys``, whose ``encode`` gave ``data``). A row for a restart too.
    """

    user: Address
    key_id: bytes
    kind: int
    made: int
    data: bytes


@dataclass(frozen=True, slots=True)
class PrekeyDelete:
    """A prekey has been used, or is too old."""

    user: Address
    key_id: bytes


@dataclass(frozen=True, slots=True)
class BundlePut:
    """Keep the keys of ``peer`` with which ``user`` can begin a session; ``life``: when they came.

    Replaces what is kept of that peer. A row for a restart too.
    """

    user: Address
    peer: Address
    life: int
    data: bytes


@dataclass(frozen=True, slots=True)
class BundleDelete:
    """A peer's keys have been used, or are too old."""

    user: Address
    peer: Address


@dataclass(frozen=True, slots=True)
class FederationInsert:
    """Keep for another domain what this node, a gateway, was given; one of this kind and id that was kept stays.

    ``kind`` 0: ``data`` is an envelope of ``sender``'s, who is of this mesh; 1: ``data`` is the receipt (s, h) of one
    that ``sender`` got from ``recipient``, who is of that domain and gets it. ``born`` and ``ttl`` are seconds of life.
    """

    kind: int
    domain: str
    envelope_id: bytes
    sender: Address
    recipient: Address
    data: bytes
    ttl: int
    born: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The clock of life as of now: ``life`` seconds, wall clock ``unix`` seconds (0: not trusted)."""

    life: int
    unix: int


Operation: TypeAlias = (
    OutboxInsert
    | OutboxReseal
    | OutboxState
    | InboxInsert
    | InboxMark
    | MessageDelete
    | UserDelete
    | TombstoneInsert
    | TombstoneDelete
    | TombstoneExpected
    | RelayInsert
    | RelayCopies
    | RelayDelete
    | ProofInsert
    | KnownInsert
    | KnownDelete
    | SessionPut
    | SessionDelete
    | PrekeyPut
    | PrekeyDelete
    | BundlePut
    | BundleDelete
    | FederationInsert
    | Checkpoint
)


@dataclass(frozen=True, slots=True)
class Queued:
    """A message of a local user that is still on its way; ``size`` is that of its envelope (bytes)."""

    user: Address
    message_id: bytes
    envelope_id: bytes
    recipient: Address
    size: int
    urgent: bool
    ttl: int
    born: int
    state: State
    copies: int
    sealed: bool | None = None
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A message in a local user's inbox."""

    user: Address
    message_id: bytes
    sender: Address
    size: int
    via: Identity | None
    read: bool = False
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Relayed:
    """An envelope kept for others, without its bytes; fields as RelayInsert, ``size`` bytes of the envelope."""

    envelope_id: bytes
    sender: Address
    recipient: bytes
    via: Identity | None
    urgent: bool
    ttl: int
    born: int
    hops: int
    max_hops: int
    copies: int
    size: int


Row: TypeAlias = (
    Queued
    | Kept
    | TombstoneInsert
    | Relayed
    | ProofInsert
    | KnownInsert
    | SessionPut
    | PrekeyPut
    | BundlePut
    | Checkpoint
)

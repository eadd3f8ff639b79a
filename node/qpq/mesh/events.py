"""What goes into the core and what comes out of it: events and effects.

Both are plain values. Times are seconds on the caller's monotonic clock, links are
small integers the caller hands out and never uses again, socket addresses are text
(``host:port``) that the core only compares and passes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.records import Operation
    from qpq.wire.frames import Frame


class Via(Enum):
    """How a peer's address became known; the console prints the value."""

    STATIC = "static"
    MDNS = "mdns"
    BEACON = "beacon"
    GROUP = "group"
    INBOUND = "inbound"


class State(Enum):
    """What the sender may believe about a message (DESIGN section 5, Receipts)."""

    QUEUED = "queued"
    RELAYED = "relayed"
    DELIVERED = "delivered"
    EXPIRED = "expired"


# --- events: what happened -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PeerFound:
    """Discovery heard of a peer; ``identity`` is a hint (None: unknown) until the link proves it."""

    address: str
    via: Via
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A mutually authenticated QUIC connection to ``peer`` is open; HELLO has not been exchanged.

    Where this node is the initiator, ``address`` is the very text of the Connect.
    """

    link: int
    peer: Identity
    address: str
    initiator: bool
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class LinkDown:
    """A connection is gone; ``reason`` is one line for people."""

    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class DialFailed:
    """A dial that was asked for did not become a link."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """One decoded frame from a link."""

    link: int
    frame: Frame


@dataclass(frozen=True, slots=True)
class FramesReceived:
    """Several decoded frames from a link, in order: their receipts leave as one frame."""

    link: int
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class LinkFault:
    """What a link brought does not decode; ``code`` is a ``wire.frames.CloseCode`` (``codec.close_code``)."""

    link: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class PersistFailed:
    """The store could not take the operations of a Persist, and the effects behind it were left out.

    ``reason`` is one line for people. The core goes back to where the operations had not been.
    """

    operations: tuple[Operation, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class ClockSet:
    """Wall time = ``now + offset`` (Unix seconds); ``trusted`` False: the machine has no clock."""

    offset: float
    trusted: bool


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    """Interfaces or addresses changed: back-offs end, peers are tried anew."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A timer that was asked for by SetTimer has come."""


@dataclass(frozen=True, slots=True)
class Dial:
    """The user or the configuration wants a link to ``address``; ``keep``: dial it again for ever."""

    address: str
    keep: bool = True
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class SendText:
    """A local user's message; ``message_id`` is 16 random bytes chosen by the caller.

    ``ttl`` in seconds (1 to 30 days). ``recipient`` is the address of a user or a node.
    """

    user: Address
    recipient: Address
    message_id: bytes
    text: str
    ttl: int
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class DeleteMessage:
    """A local user deletes a message of the own inbox or outbox (what is on its way is not called back)."""

    user: Address
    message_id: bytes


@dataclass(frozen=True, slots=True)
class UserAdded:
    """A local user exists (start-up or ``/mesh user add``); the seed is the Ed25519 seed, 32 bytes."""

    seed: bytes
    blocked: frozenset[Address] = frozenset()


@dataclass(frozen=True, slots=True)
class UserRemoved:
    """A local user is gone with inbox and outbox."""

    user: Address


@dataclass(frozen=True, slots=True)
class BlockedSet:
    """The senders from whom ``user`` wants nothing."""

    user: Address
    blocked: frozenset[Address]


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The node stops: links are told, what must last is persisted."""


Event: TypeAlias = (
    PeerFound
    | LinkUp
    | LinkDown
    | DialFailed
    | FrameReceived
    | FramesReceived
    | LinkFault
    | PersistFailed
    | ClockSet
    | NetworkChanged
    | Tick
    | Dial
    | SendText
    | DeleteMessage
    | UserAdded
    | UserRemoved
    | BlockedSet
    | Shutdown
)


# --- effects: what the caller must do, in order --------------------------------------------


@dataclass(frozen=True, slots=True)
class SendFrame:
    """Send ``frame`` on ``link``; unknown or closing links swallow it (LinkDown follows)."""

    link: int
    frame: Frame


@dataclass(frozen=True, slots=True)
class SendEnvelope:
    """Read the envelope ``envelope_id`` from the store and send it as TRANSFER with these fields."""

    link: int
    envelope_id: bytes
    hops: int
    copies: int
    age: int


@dataclass(frozen=True, slots=True)
class CloseLink:
    """Close ``link`` with an application error code (``wire.frames.CloseCode``) and a reason."""

    link: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection to ``address``; with ``identity`` any other key is refused."""

    address: str
    identity: Identity | None


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Call back with Tick at ``at`` (seconds); replaces the timer asked for before."""

    at: float


@dataclass(frozen=True, slots=True)
class Count:
    """Add ``amount`` to the counter ``name`` (named in ``mesh.counters``)."""

    name: str
    amount: int = 1


@dataclass(frozen=True, slots=True)
class Notice:
    """One line for the log: ``level`` is ``debug``, ``info`` or ``warning``."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Persist:
    """Apply ``operations`` (``mesh.records``) to the store as one transaction, before any later effect.

    Later effects of this list and of all lists after it wait for the transaction. If the store
    cannot take it, the rest of this list is left out and the core is told by PersistFailed.
    """

    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Deliver:
    """A message for a local user has been stored; show it to whoever watches."""

    user: Address
    message_id: bytes
    sender: Address
    text: str
    received: int
    urgent: bool


@dataclass(frozen=True, slots=True)
class SendRefused:
    """A local user's message was not taken; ``reason`` is one line for that user."""

    user: Address
    message_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A local user's own message changed its state."""

    user: Address
    message_id: bytes
    state: State
    copies: int = 0


@dataclass(frozen=True, slots=True)
class NeighbourChanged:
    """A peer's first link became usable, its users changed, or its last link ended; for whoever watches."""

    peer: Identity
    up: bool
    address: str = ""
    users: tuple[Address, ...] = field(default=())


Effect: TypeAlias = (
    SendFrame
    | SendEnvelope
    | CloseLink
    | Connect
    | SetTimer
    | Count
    | Notice
    | Persist
    | Deliver
    | SendRefused
    | StateChanged
    | NeighbourChanged
)

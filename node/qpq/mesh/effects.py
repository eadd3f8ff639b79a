"""What comes out of the core: effects, which its caller must carry out in order.

All are plain values. Times are seconds on the caller's monotonic clock, links are the small integers of
``mesh.events``, socket addresses are text (``host:port``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.records import Operation
    from qpq.wire.frames import Frame


class State(Enum):
    """What the sender may believe about a message (DESIGN section 5, Receipts)."""

    QUEUED = "queued"
    RELAYED = "relayed"
    DELIVERED = "delivered"
    EXPIRED = "expired"
    REFUSED = "refused"


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
class Recall:
    """Read these envelopes from the store and hand them back as one Recalled, even if none is there any more."""

    envelope_ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RecallTexts:
    """Read these users' own messages (user, message id) from the store and hand them back as one TextsRecalled.

    It comes even if none is on its way any more.
    """

    messages: tuple[tuple[Address, bytes], ...]


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

    Not ``prompt``: no later effect hangs on it, and a node that has lost it finds it out again. It may be carried
    out a few milliseconds late, behind others, and nobody is told when the store cannot take it.
    """

    operations: tuple[Operation, ...]
    prompt: bool = True


@dataclass(frozen=True, slots=True)
class Deliver:
    """A message for a local user has been stored; show it to whoever watches.

    ``channel`` is empty, or the id of the channel it came through, ``domain`` is empty, or where it came from.
    """

    user: Address
    message_id: bytes
    sender: Address
    text: str
    received: int
    urgent: bool
    channel: bytes = b""
    domain: str = ""


@dataclass(frozen=True, slots=True)
class SendRefused:
    """A local user's message was not taken; ``reason`` is one line for that user."""

    user: Address
    message_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A local user's own message changed its state.

    ``post_quantum``: it is sealed in a session, with keys that hold against a quantum computer; False: to the
    recipient's identity key, which does not; None: it waits for keys, or is not sealed, on this node or for a channel.
    ``reason`` says why it was refused.
    """

    user: Address
    message_id: bytes
    state: State
    copies: int = 0
    post_quantum: bool | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ProbeDone:
    """A Ping is answered (``ok``) or given up; ``rtt`` seconds, ``path`` the nodes in between and the last."""

    token: bytes
    ok: bool
    rtt: float
    hops: int
    path: tuple[Identity, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NeighbourChanged:
    """A peer's first link became usable, its users changed, or its last link ended; for whoever watches."""

    peer: Identity
    up: bool
    address: str = ""
    users: tuple[Address, ...] = field(default=())


# --- what a gateway's caller does (federation) ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outward:
    """An envelope of ``sender``'s is kept for ``domain`` (FederationInsert, kind 0); ``ttl``: seconds it has left."""

    sender: Address
    domain: str
    envelope_id: bytes
    recipient: Address
    envelope: bytes
    ttl: int


@dataclass(frozen=True, slots=True)
class InsideProof:
    """``recipient`` has got what came from ``sender`` at ``domain``: its receipt is kept (FederationInsert, kind 1)."""

    domain: str
    sender: Address
    recipient: Address
    envelope_id: bytes
    secret: bytes
    envelope_hash: bytes


@dataclass(frozen=True, slots=True)
class BroadcastHeard:
    """A broadcast of a channel that the gateway reads is here; ``born``: seconds of life at which it was made.

    Told again after a restart, and when the gateway begins to read the channel. ``domain``: empty, or where it came
    from, as another gateway of this mesh says.
    """

    envelope: bytes
    born: int
    domain: str = ""


@dataclass(frozen=True, slots=True)
class OutsideLookup:
    """``asker`` wants the address of the user ``name`` of ``domain``; answer with OutsideFound."""

    asker: Address
    token: bytes
    name: str
    domain: str


@dataclass(frozen=True, slots=True)
class OutsideAnswered:
    """What became of a FromOutside, OutsideProof or OutsideRefused, by its ``token``.

    ``reason`` empty: it is in this node's store. Else it was not taken: with ``retry`` it may be later.
    """

    token: bytes
    reason: str = ""
    retry: bool = False


@dataclass(frozen=True, slots=True)
class BundleMade:
    """The signed bundle that BundleAsked was about; empty: there is none, or (``retry``) not now."""

    token: bytes
    data: bytes
    retry: bool = False


@dataclass(frozen=True, slots=True)
class LookupDone:
    """A Lookup is answered, by a gateway's word, or given up: then ``address`` is empty, and ``reason`` says why.

    ``domain`` is empty where the user is of this very mesh.
    """

    token: bytes
    address: bytes
    domain: str
    reason: str = ""


Effect: TypeAlias = (
    SendFrame
    | SendEnvelope
    | Recall
    | RecallTexts
    | CloseLink
    | Connect
    | SetTimer
    | Count
    | Notice
    | Persist
    | Deliver
    | SendRefused
    | StateChanged
    | ProbeDone
    | NeighbourChanged
    | Outward
    | InsideProof
    | BroadcastHeard
    | OutsideLookup
    | OutsideAnswered
    | BundleMade
    | LookupDone
)

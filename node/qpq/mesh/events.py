"""What goes into the core: events; ``mesh.effects`` is what comes out of it.

All are plain values. Times are seconds on the caller's monotonic clock, links are
small integers the caller hands out and never uses again, socket addresses are text
(``host:port``) that the core only compares and passes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.records import Operation
    from qpq.wire.envelope import Envelope
    from qpq.wire.frames import Frame


class Via(Enum):
    """How a peer's address became known; the console prints the value."""

    STATIC = "static"
    MDNS = "mdns"
    BEACON = "beacon"
    GROUP = "group"
    INBOUND = "inbound"


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
    """The user or the configuration wants a link to ``address``; ``keep``: dial it again for ever.

    ``identity``: any other key is refused. ``known`` answered there before: another key is told of loudly, and linked.
    """

    address: str
    keep: bool = True
    identity: Identity | None = None
    known: Identity | None = None


@dataclass(frozen=True, slots=True)
class SendText:
    """A local user's message; ``message_id`` is 16 random bytes chosen by the caller.

    ``ttl`` in seconds (1 to 30 days). ``recipient`` is the address of a user or a node. ``padding``: the length
    of the text is hidden within a step of 256 bytes. ``domain``: empty, or where the recipient is.
    """

    user: Address
    recipient: Address
    message_id: bytes
    text: str
    ttl: int
    urgent: bool = False
    padding: bool = True
    domain: str = ""


@dataclass(frozen=True, slots=True)
class SendBroadcast:
    """A local user's message to a channel it has joined (``ChannelJoined``); refused like SendText.

    ``channel`` is the channel's id (16 bytes, ``crypto.channels``), ``ttl`` seconds, ``padding`` as in SendText.
    """

    user: Address
    channel: bytes
    message_id: bytes
    text: str
    ttl: int
    padding: bool = True


@dataclass(frozen=True, slots=True)
class ChannelJoined:
    """A local user reads a channel (start-up or ``/mesh subscribe``); ``key`` is the channel's, 32 bytes.

    ``signers``: empty, or the only senders whose messages count (an announcement channel).
    """

    user: Address
    key: bytes
    signers: frozenset[Address] = frozenset()


@dataclass(frozen=True, slots=True)
class ChannelLeft:
    """A local user reads a channel no longer; ``channel`` is its id, 16 bytes."""

    user: Address
    channel: bytes


@dataclass(frozen=True, slots=True)
class LinkQuality:
    """What the transport has seen of a link: round trip ``rtt`` seconds, ``loss`` 0 to 1 of the packets sent."""

    link: int
    rtt: float
    loss: float


@dataclass(frozen=True, slots=True)
class Ping:
    """A user asks how far ``target`` is; ``token`` is 8 random bytes, answered once by ProbeDone."""

    target: Address
    token: bytes
    trace: bool


@dataclass(frozen=True, slots=True)
class MessagesRead:
    """A user has seen messages (``message_id``, ``sender``): they may give way when the inbox is full."""

    user: Address
    messages: tuple[tuple[bytes, Address], ...]


@dataclass(frozen=True, slots=True)
class Undial:
    """An address that Dial asked for is no longer wanted; a link that is there stays."""

    address: str


@dataclass(frozen=True, slots=True)
class DeleteMessage:
    """A local user deletes a message of the own inbox or outbox (what is on its way is not called back)."""

    user: Address
    message_id: bytes


@dataclass(frozen=True, slots=True)
class UserAdded:
    """A local user exists (start-up or ``/mesh user add``); the seed is the Ed25519 seed, 32 bytes.

    ``gateway``: empty, or the domain of this mesh: then this is the reserved user as which the node is a gateway to
    other domains. There is one at most.
    """

    seed: bytes
    blocked: frozenset[Address] = frozenset()
    gateway: str = ""
    named: frozenset[Address] = frozenset()


@dataclass(frozen=True, slots=True)
class UserRemoved:
    """A local user is gone with inbox and outbox."""

    user: Address


@dataclass(frozen=True, slots=True)
class BlockedSet:
    """The senders from whom ``user`` wants nothing, and those ``named`` by it, whom no stranger holds up."""

    user: Address
    blocked: frozenset[Address]
    named: frozenset[Address] = frozenset()


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a Recall asked for and the store still has."""

    envelopes: tuple[Envelope, ...]


@dataclass(frozen=True, slots=True)
class SentText:
    """A user's own message as the store has it: its text, and the envelope that carries it at present."""

    user: Address
    message_id: bytes
    text: str
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class TextsRecalled:
    """What a RecallTexts asked for and the store still has."""

    texts: tuple[SentText, ...]


@dataclass(frozen=True, slots=True)
class RoomSet:
    """Memory is short, or there is enough again: use ``percent`` of the caps, and take others' messages or not."""

    percent: int
    takes: bool


@dataclass(frozen=True, slots=True)
class Lookup:
    """A local user asks which address the user ``name`` of ``domain`` has; ``token``: 16 random bytes.

    Answered once by LookupDone.
    """

    user: Address
    token: bytes
    name: str
    domain: str


@dataclass(frozen=True, slots=True)
class FromOutside:
    """An envelope for a user of this mesh, or a broadcast, has come from ``domain``, ``age`` seconds after it was made.

    ``token`` is the caller's, by which OutsideAnswered says once what became of it.
    """

    token: bytes
    domain: str
    envelope: bytes
    age: int


@dataclass(frozen=True, slots=True)
class OutsideProof:
    """The receipt of what ``user`` of this mesh sent to ``domain`` has come; answered as FromOutside."""

    token: bytes
    domain: str
    user: Address
    secret: bytes
    envelope_hash: bytes


@dataclass(frozen=True, slots=True)
class OutsideRefused:
    """What ``user`` of this mesh sent to another domain will not be delivered; answered as FromOutside."""

    token: bytes
    user: Address
    envelope_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class OutsideFound:
    """Answer to OutsideLookup: an address, or the ``reason`` for none; ``domain`` empty: it is of this very mesh."""

    asker: Address
    token: bytes
    address: bytes
    domain: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BundleAsked:
    """Another domain wants keys to begin a session with ``user`` (``single``: one only); BundleMade follows."""

    token: bytes
    user: Address
    single: bool = False


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
    | SendBroadcast
    | ChannelJoined
    | ChannelLeft
    | LinkQuality
    | Ping
    | MessagesRead
    | Undial
    | DeleteMessage
    | UserAdded
    | UserRemoved
    | BlockedSet
    | Recalled
    | TextsRecalled
    | RoomSet
    | Lookup
    | FromOutside
    | OutsideProof
    | OutsideRefused
    | OutsideFound
    | BundleAsked
    | Shutdown
)

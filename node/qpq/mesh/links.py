"""One link from LinkUp to its end: what was said in HELLO, what may come when, how fast."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from qpq.mesh.buckets import Bucket
from qpq.wire.frames import REFUSES_ONE, Bye, Custody, Hello, Receipt, Skipped, Transfer
from qpq.wire.frames_mesh import Announce, Graft, IHave, Probe, Prune, Query, Reconcile, Retract, Route

if TYPE_CHECKING:
    from qpq.crypto.identity import Identity
    from qpq.mesh.events import LinkUp
    from qpq.mesh.limits import Limits
    from qpq.wire.frames import Frame

_BURST_S = 2.0
_FORGIVEN = 100.0
_FRAME_COST = 200
"""Bytes that any frame counts at least, its handling included."""


class LinkState(Enum):
    """Where a link stands; one that is gone has no state any more."""

    GREETING = "greeting"
    USABLE = "usable"


class Action(Enum):
    """What a frame means in a state."""

    GREET = "greet"
    TRANSFER = "transfer"
    RECEIPT = "receipt"
    CUSTODY = "custody"
    ANNOUNCE = "announce"
    ROUTE = "route"
    RETRACT = "retract"
    QUERY = "query"
    IHAVE = "ihave"
    GRAFT = "graft"
    PRUNE = "prune"
    RECONCILE = "reconcile"
    PROBE = "probe"
    BYE = "bye"
    SKIP = "skip"


TRANSITIONS: dict[tuple[LinkState, type[Frame]], Action] = {
    (LinkState.GREETING, Hello): Action.GREET,
    (LinkState.GREETING, Bye): Action.BYE,
    (LinkState.USABLE, Transfer): Action.TRANSFER,
    (LinkState.USABLE, Receipt): Action.RECEIPT,
    (LinkState.USABLE, Custody): Action.CUSTODY,
    (LinkState.USABLE, Announce): Action.ANNOUNCE,
    (LinkState.USABLE, Route): Action.ROUTE,
    (LinkState.USABLE, Retract): Action.RETRACT,
    (LinkState.USABLE, Query): Action.QUERY,
    (LinkState.USABLE, IHave): Action.IHAVE,
    (LinkState.USABLE, Graft): Action.GRAFT,
    (LinkState.USABLE, Prune): Action.PRUNE,
    (LinkState.USABLE, Reconcile): Action.RECONCILE,
    (LinkState.USABLE, Probe): Action.PROBE,
    (LinkState.USABLE, Bye): Action.BYE,
    (LinkState.USABLE, Skipped): Action.SKIP,
}
"""What is missing here, a second HELLO or anything before the first, closes the link as MALFORMED."""


class Flow(Enum):
    """Whether a frame is within the link's rates."""

    WITHIN = "within"
    OVER = "over"
    ABUSE = "abuse"


class Link:
    """One link; ``address`` is where it leads, ``since`` when it came up (seconds).

    ``loss`` is the mean part of its packets that was lost, 0 before the transport could tell.
    """

    __slots__ = (
        "_abuse",
        "_announces",
        "_bytes",
        "_frames",
        "address",
        "hello",
        "initiator",
        "loss",
        "number",
        "peer",
        "since",
        "state",
        "usable_at",
    )

    def __init__(self, event: LinkUp, limits: Limits, now: float) -> None:
        self.number = event.link
        self.peer: Identity = event.peer
        self.address = event.address
        self.initiator = event.initiator
        self.loss = 0.0
        self.since = now
        self.state = LinkState.GREETING
        self.hello: Hello | None = None
        self.usable_at = 0.0
        self._frames = Bucket(limits.peer_frames, limits.peer_frames * _BURST_S, now)
        self._bytes = Bucket(limits.peer_bytes, limits.peer_bytes * _BURST_S, now)
        self._abuse = Bucket(limits.peer_frames / _FORGIVEN, limits.abuse_frames, now)
        self._announces = Bucket(limits.announce_rate, 2 * limits.max_users, now)

    def action(self, frame: Frame) -> Action | None:
        """Return what ``frame`` means now; None: it must not come."""
        return TRANSITIONS.get((self.state, type(frame)))

    def greeted(self, hello: Hello, now: float) -> None:
        """Take the peer's HELLO: the link is usable."""
        self.hello = hello
        self.state = LinkState.USABLE
        self.usable_at = now

    def flow(self, frame: Frame, now: float) -> Flow:
        """Count a frame against the link's rates."""
        size = _FRAME_COST + (len(frame.envelope.payload) if type(frame) is Transfer else 0)
        if self._frames.take(1, now) and self._bytes.take(size, now):
            return Flow.WITHIN
        return Flow.OVER if self._abuse.take(1, now) else Flow.ABUSE

    @property
    def refuses_one(self) -> bool:
        """Whether the peer knows the custody code LATER."""
        return self.hello is not None and bool(self.hello.features & REFUSES_ONE)

    def may_announce(self, now: float) -> bool:
        """Count an announce against the rate for those, since each costs a signature to verify."""
        return self._announces.take(1, now)

    def peer_unix(self, now: float) -> int:
        """Return the peer's trusted clock now, from its HELLO; 0: it has none."""
        hello = self.hello
        if hello is None or not hello.time_trusted or not hello.time:
            return 0
        return hello.time + int(now - self.usable_at)


def surplus(local: Identity, older: Link, newer: Link, now: float, settled_s: float) -> Link | None:
    """Return which of two usable links to one peer must go; None: the peer will say.

    A higher boot, or an older link that is settled, means that the peer lost the older one; a
    lower boot is that of a link from before the peer's restart. Of two that came up together the
    one begun by the smaller node id stays, so both ends choose alike. Of two begun by the same
    end that end keeps its first, the other end waits for it.
    """
    older_boot = older.hello.boot if older.hello is not None else 0
    newer_boot = newer.hello.boot if newer.hello is not None else 0
    if newer_boot > older_boot or now - older.usable_at > settled_s:
        return older
    if newer_boot < older_boot:
        return newer
    if older.initiator == newer.initiator:
        return newer if newer.initiator else None
    ours_stays = local < newer.peer
    return older if newer.initiator == ours_stays else newer

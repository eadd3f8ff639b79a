"""The index of envelopes that this node keeps until a receipt or their end, its users' own and others'."""

from __future__ import annotations

from enum import IntEnum
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.records import Queued, Relayed
    from qpq.mesh.sessions import Mark

_SLACK = 64
"""Envelopes that are gone stay on the heap of expiries until there are more of them than this and the live ones."""

MAX_GIVEN = 16
"""Neighbours remembered as having one envelope; of more only the latest count."""
MAX_PUT_OFF = 32
"""Neighbours whose envelopes for one recipient were put off that are remembered; those whose time is over go first."""
MAX_TRIED = 64
"""Neighbours remembered as tried in vain with one envelope; where more of them lead nowhere, all begins again."""


class Place(IntEnum):
    """Where an envelope is; it is in one place at a time."""

    WAITING = 0
    """Nowhere to go, or not now."""
    READY = 1
    """On the queue of a link."""
    FLYING = 2
    """On a link, not answered."""
    RESTING = 3
    """Handed on or refused; a timer brings it back."""
    SEALING = 4
    """Made here, and not sealed for good: the recipient's keys are waited for."""
    OUTSIDE = 5
    """For another domain: what goes there is another envelope, to a gateway, in which this one is."""


class Way(IntEnum):
    """Why an envelope goes over a link."""

    DIRECT = 0
    """The neighbour serves the recipient."""
    ROUTE = 1
    SPRAY = 2
    """No route: the neighbour carries copies about."""
    DETOUR = 3
    """All routes were tried and proved nothing: the neighbour tells of none, but may know a better one."""


class Held:
    """An envelope in custody, without its bytes.

    ``via``: the neighbour that brought it (None: made here). ``copies`` may be handed on, this one included; of
    them ``spent`` are on a link. ``given``: neighbours that have it, ``tried``: those not to be tried again for now,
    ``unsure``: there may be more of the former, from before a restart. ``link`` is that of READY and FLYING (else 0),
    ``peer`` the neighbour it was sent to last, ``failures`` how often no receipt came in time, ``rounds`` how often
    all routes had been tried so, ``astray``: so now others are.
    """

    __slots__ = (
        "astray",
        "attempts",
        "born",
        "copies",
        "envelope_id",
        "failures",
        "given",
        "hops",
        "link",
        "max_hops",
        "order",
        "peer",
        "place",
        "recipient",
        "rounds",
        "sender",
        "size",
        "spent",
        "tried",
        "ttl",
        "turn",
        "unsure",
        "urgent",
        "via",
        "way",
    )

    own = False
    word = False
    """Whether it is made here and a word of programs, of which no user is told anything."""
    mark: Mark | None = None
    """In which session what was made here is sealed; None: in none, or it is from before a restart."""

    def __init__(
        self, row: Relayed | Queued, sender: Address, via: Identity | None, *, hops: int, max_hops: int, copies: int
    ) -> None:
        self.envelope_id = row.envelope_id
        self.sender = sender
        self.recipient: Address = row.recipient  # type: ignore[assignment]  # the index has no channels' tags
        self.via = via
        self.size = row.size
        self.urgent = row.urgent
        self.ttl = row.ttl
        self.born = row.born
        self.hops = hops
        self.max_hops = max_hops
        self.copies = copies
        self.spent = 0
        self.order = 0
        self.turn = 0
        self.place = Place.WAITING
        self.way = Way.DIRECT
        self.link = 0
        self.peer: Identity | None = None
        self.attempts = 0
        self.failures = self.rounds = 0
        self.astray = False
        self.given: tuple[Identity, ...] = ()
        self.tried: tuple[Identity, ...] = ()
        self.unsure = False

    def ended(self, now: float | None) -> None:
        """Learn that it has been proven delivered, or (None) that its time is over."""

    def undone(self) -> None:
        """Learn that it could not be stored, and is kept no longer."""

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Return what goes first: the urgent, then whose turn comes first, then the oldest."""
        return not self.urgent, self.turn, self.order

    def give(self, peer: Identity) -> bool:
        """Note that a neighbour has it; whether that is news."""
        if peer in self.given:
            return False
        self.unsure = self.unsure or len(self.given) == MAX_GIVEN
        self.given = (*self.given[-MAX_GIVEN + 1 :], peer)
        return True

    def tire(self, peer: Identity | None) -> None:
        """Note a neighbour that is not to be tried again for now."""
        if peer is not None and peer not in self.tried:
            self.tried = (*self.tried[-MAX_TRIED + 1 :], peer)


class Lane:
    """How one neighbour takes envelopes for one recipient: ``refusals`` for lack of room, or silences, in a row.

    While there are any, one envelope at a time probes (``probing``: one is on its way); ``paused``: not before a timer.
    """

    __slots__ = ("paused", "probing", "refusals")

    def __init__(self) -> None:
        self.refusals = 0
        self.paused = False
        self.probing = False

    @property
    def blocked(self) -> bool:
        """Whether nothing may go now."""
        return self.paused or self.probing


class Destination:
    """What is kept for one recipient, and the neighbours that lately refused it.

    ``patience``: how often a way was waited for in vain, -1: none is waited for; ``due``: until when it is
    for now. ``spraying``: without a route copies may go to any neighbour. ``put_off``: from when on something of what
    a neighbour brought may be tried again, as the recipient's node would not try it (LATER).
    """

    __slots__ = ("due", "items", "lanes", "patience", "put_off", "spraying")

    def __init__(self) -> None:
        self.items: list[Held] = []
        self.lanes: dict[Identity, Lane] = {}
        self.put_off: dict[Identity | None, float] = {}
        self.patience = -1
        self.due = 0.0
        self.spraying = False

    def waiting(self, *, resting: bool = False) -> list[Held]:
        """Return what waits, with ``resting`` all that is on no link, the urgent first, then the oldest."""
        found = [
            item
            for item in self.items
            if item.place is Place.WAITING or (resting and item.place in (Place.READY, Place.RESTING))
        ]
        found.sort(key=_rank)
        return found

    def wait_behind(self, via: Identity | None, gap: float, most: float, now: float) -> float:
        """Return how long one more of what ``via`` brought has to wait: ``gap`` seconds behind the one before it.

        So each neighbour's are tried at a rate of their own, however many it brings.
        """
        at = min(now + most, max(now, self.put_off.pop(via, now)) + gap)
        if len(self.put_off) >= MAX_PUT_OFF:
            del self.put_off[min(self.put_off, key=self._put_off_until)]
        self.put_off[via] = at
        return at - now

    def _put_off_until(self, via: Identity | None) -> float:
        return self.put_off[via]

    def blocked(self, peer: Identity) -> bool:
        """Whether a neighbour is not to be asked now."""
        lane = self.lanes.get(peer)
        return lane is not None and lane.blocked


class Custody:
    """Envelopes by id, by recipient and by the end of their life; who adds them bounds their number.

    Users' own are bounded by the outbox (mesh.outbox), others' by quotas (mesh.quotas). Senders take turns on
    the way out, so that a flood of one's delays nobody else's: self-clocked fair queueing (Golestani, 1994), in
    which ``clock`` is the turn of what was sent last. ``order`` is the number of the latest.
    """

    __slots__ = ("_by_id", "_destinations", "_expiring", "clock", "order")

    def __init__(self) -> None:
        self._by_id: dict[bytes, Held] = {}
        self._destinations: dict[Address, Destination] = {}
        self._expiring: list[tuple[int, int, Held]] = []
        self.order = 0
        self.clock = 0

    def add(self, item: Held) -> Destination:
        """Keep an envelope that is not kept yet; it waits."""
        self.order += 1
        item.order = self.order
        self._by_id[item.envelope_id] = item
        destination = self._destinations.get(item.recipient)
        if destination is None:
            destination = self._destinations[item.recipient] = Destination()
        else:
            item.recipient = destination.items[0].recipient  # one object serves all
        destination.items.append(item)
        heappush(self._expiring, (item.born + item.ttl, item.order, item))
        return destination

    def remove(self, item: Held) -> Destination | None:
        """Keep an envelope no longer; return its recipient's queue if that is empty now and gone."""
        del self._by_id[item.envelope_id]
        destination = self._destinations[item.recipient]
        destination.items.remove(item)
        if len(self._expiring) > 2 * len(self._by_id) + _SLACK or not self._by_id:
            self._expiring = [(kept.born + kept.ttl, kept.order, kept) for kept in self._by_id.values()]
            heapify(self._expiring)
        if destination.items:
            return None
        del self._destinations[item.recipient]
        return destination

    def get(self, envelope_id: bytes) -> Held | None:
        """Return an envelope that is kept."""
        return self._by_id.get(envelope_id)

    def destination(self, recipient: Address) -> Destination | None:
        """Return the queue of a recipient for whom something is kept."""
        return self._destinations.get(recipient)

    def queue(self, item: Held) -> Destination:
        """Return the queue of an envelope's recipient, which every envelope that is kept has."""
        return self._destinations[item.recipient]

    def destinations(self) -> tuple[tuple[Address, Destination], ...]:
        """Return all recipients with their queues."""
        return tuple(self._destinations.items())

    def items(self) -> tuple[Held, ...]:
        """Return everything that is kept."""
        return tuple(self._by_id.values())

    def next_expiry(self) -> int | None:
        """Return the life (seconds) at which something may expire; None: nothing does."""
        return self._expiring[0][0] if self._expiring else None

    def expired(self, life: float) -> Held | None:
        """Return one envelope whose time is over; None: no more. It is kept until it is removed."""
        while self._expiring and self._expiring[0][0] <= life:
            item = heappop(self._expiring)[2]
            if self._by_id.get(item.envelope_id) is item:
                return item
        return None

    def __len__(self) -> int:
        """Return how much is kept."""
        return len(self._by_id)


def _rank(item: Held) -> tuple[bool, int, int]:
    return item.rank

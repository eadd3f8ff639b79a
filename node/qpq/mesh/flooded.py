"""The index of flooded things: channel envelopes held here, and the ids that must not be taken (again).

Who gives way. What came over one neighbour may fill a part of the whole, and so may what was made
here. Above that it gives way itself: of the sender with the most bytes, the oldest first. Where the
whole is full a neighbour without a link gives way first, the largest, then whoever has the most. A
newcomer that would be next to go is refused. So nothing over one link displaces what another
brought within an equal part. What gave way stays known by its id until it would have expired.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

from qpq.mesh.timers import Timers
from qpq.wire.frames_mesh import SHORT_ID_SIZE
from qpq.wire.reconcile import Items

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.limits import Limits
    from qpq.mesh.records import Relayed, RelayInsert

LATE_S: Final = 600
"""How long an id stays known beyond its time, since the ages that nodes count differ by seconds."""
SETTLED_S: Final = 30
"""Ids with less time left are not reconciled: a neighbour may have let go of them already."""

_PERCENT = 100
_SLACK = 64
_ROW = 176
_PAGE = 4096
_FOREVER = float("inf")


def cost_of(size: int) -> int:
    """Return the bytes of the store that an envelope of ``size`` bytes takes: its row, in pages that are 2/3 full."""
    row = size + _ROW
    shared = _PAGE // row
    return _PAGE * 3 // (shared * 2) if shared > 1 else -(-row // _PAGE) * _PAGE


class Held:
    """One channel envelope in the store, the fields as in Relayed.

    ``hops`` links it has crossed; ``copies``: of one made here, how many neighbours took it;
    ``day`` that its tag is for, None: not looked at since the start.
    """

    __slots__ = (
        "born",
        "copies",
        "cost",
        "day",
        "envelope_id",
        "hops",
        "max_hops",
        "sender",
        "short",
        "size",
        "tag",
        "ttl",
        "via",
    )

    def __init__(self, row: Relayed | RelayInsert, size: int, day: int | None) -> None:
        self.envelope_id = row.envelope_id
        self.short = row.envelope_id[:SHORT_ID_SIZE]
        self.sender = row.sender
        self.tag = row.recipient
        self.via = row.via
        self.size = size
        self.cost = cost_of(size)
        self.ttl = row.ttl
        self.born = row.born
        self.hops = row.hops
        self.max_hops = row.max_hops
        self.copies = row.copies
        self.day = day

    @property
    def expires(self) -> int:
        """Seconds of life at which it is kept no longer."""
        return self.born + self.ttl

    def age(self, life: float) -> int:
        """Return the seconds that all its holders have kept it."""
        return max(0, int(life) - self.born)


class _Share:
    """What came over one neighbour, or was made here; ``links`` to it that are usable."""

    __slots__ = ("_heaviest", "_senders", "count", "links", "size")

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self.links = 0
        self._senders: dict[Address, tuple[int, list[tuple[int, bytes]]]] = {}
        self._heaviest: list[tuple[int, Address]] = []

    def add(self, held: Held) -> None:
        size, ages = self._senders.get(held.sender, (0, []))
        insort(ages, (held.born, held.short))
        self._note(held.sender, size + held.cost, ages)
        self.count += 1
        self.size += held.cost

    def remove(self, held: Held) -> None:
        size, ages = self._senders[held.sender]
        del ages[bisect_left(ages, (held.born, held.short))]
        self.count -= 1
        self.size -= held.cost
        if ages:
            self._note(held.sender, size - held.cost, ages)
        else:
            del self._senders[held.sender]

    def next_to_go(self, newcomer: tuple[Address, int, int] | None) -> bytes | None:
        """Return the oldest of the sender with the most bytes; None: ``newcomer`` (sender, cost, born) is that."""
        while self._heaviest and self._senders.get(self._heaviest[0][1], _NOBODY)[0] != -self._heaviest[0][0]:
            heappop(self._heaviest)
        size, sender = self._heaviest[0] if self._heaviest else (0, None)
        if newcomer is not None:
            own, ages = self._senders.get(newcomer[0], _NOBODY)
            if newcomer[0] == sender or own + newcomer[1] >= -size:
                return ages[0][1] if ages and ages[0][0] <= newcomer[2] else None
        return self._senders[sender][1][0][1] if sender is not None else None

    def _note(self, sender: Address, size: int, ages: list[tuple[int, bytes]]) -> None:
        self._senders[sender] = (size, ages)
        heappush(self._heaviest, (-size, sender))
        if len(self._heaviest) > 2 * len(self._senders) + _SLACK:
            self._heaviest = [(-size, sender) for sender, (size, _) in self._senders.items()]
            heapify(self._heaviest)


_NOBODY: tuple[int, list[tuple[int, bytes]]] = (0, [])


class Flooded:
    """Held envelopes and known ids by short id, and the ``items`` of them that are reconciled.

    An id that was refused for lack of room is known too, but another neighbour may still bring it:
    who fills his own part must not be able to keep others' things from a node.
    """

    __slots__ = (
        "_held",
        "_held_until",
        "_items",
        "_known",
        "_known_until",
        "_limits",
        "_shares",
        "_told_until",
        "size",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held: dict[bytes, Held] = {}
        self._held_until = Timers[bytes]()
        self._known: dict[bytes, tuple[bytes, Identity | None]] = {}
        self._known_until = Timers[bytes]()
        self._items = Items()
        self._told_until = Timers[bytes]()
        self._shares: dict[Identity | None, _Share] = {}
        self.size = 0

    def get(self, short_id: bytes) -> Held | None:
        """Return a held envelope."""
        return self._held.get(short_id)

    def wants(self, short_id: bytes, peer: Identity) -> bool:
        """Whether an envelope may be taken from ``peer``: it is neither held nor known, or another's was refused."""
        known = self._known.get(short_id)
        if known is None:
            return short_id not in self._held
        return known[1] is not None and known[1] != peer

    def stuck(self, short_id: bytes) -> bool:
        """Whether a held envelope has crossed all links it may: one that came a shorter way would be of use."""
        held = self._held.get(short_id)
        return held is not None and held.hops >= held.max_hops

    def shorter(self, held: Held, hops: int) -> bool:
        """Take it that a held envelope has crossed ``hops`` links only; whether it was stuck and is so no longer."""
        freed = held.hops >= held.max_hops > hops
        held.hops = hops
        if freed:
            self.tell(held.short, held.expires)
        return freed

    def held(self) -> Iterable[Held]:
        """Return all held envelopes, as they came."""
        return self._held.values()

    def items(self, life: float) -> Items:
        """Return what is reconciled: all that is known and has some time left."""
        while (short_id := self._told_until.pop_due(life)) is not None:
            self._items.remove(short_id)
        return self._items

    def proof_changed(self, short_id: bytes, expires: int) -> None:
        """Reconcile a receipt until it expires; 0: no longer (``Proofs.listener``)."""
        if short_id not in self._held and short_id not in self._known:
            if expires:
                self.tell(short_id, expires)
            else:
                self.hush(short_id)

    def tell(self, short_id: bytes, expires: float) -> None:
        """Reconcile an id until shortly before it expires."""
        self._items.add(short_id)
        self._told_until.set(short_id, expires - SETTLED_S)

    def hush(self, short_id: bytes) -> None:
        """Reconcile an id no longer."""
        self._items.remove(short_id)
        self._told_until.cancel(short_id)

    # --- envelopes -------------------------------------------------------------------------------

    def add(self, held: Held) -> None:
        """Note an envelope that is in the store; one that is noted is no fault."""
        if held.short in self._held:
            return
        if self._known.pop(held.short, None) is not None:
            self._known_until.cancel(held.short)
        self._held[held.short] = held
        self._shares.setdefault(held.via, _Share()).add(held)
        self.size += held.cost
        self._held_until.set(held.short, held.expires)
        if held.hops < held.max_hops:  # else a neighbour may still give one that goes on
            self.tell(held.short, held.expires)

    def remove(self, held: Held) -> None:
        """Forget an envelope that is held."""
        del self._held[held.short]
        self._held_until.cancel(held.short)
        self.hush(held.short)
        self.size -= held.cost
        self._shares[held.via].remove(held)
        self._drop_share(held.via)

    def room(self, via: Identity | None, sender: Address, size: int, born: int) -> tuple[bool, Held | None]:
        """Return whether an envelope may come in, and who must give way first; (True, None): nobody must."""
        cost = cost_of(size)
        limits = self._limits
        own = share = self._shares.get(via) or _Share()
        percent = limits.flood_link_percent if via is not None else limits.flood_own_percent
        if own.size + cost <= self.cap * percent // _PERCENT:
            if self.size + cost <= self.cap:
                return True, None
            share = self._largest(own, cost)
        loser = share.next_to_go((sender, cost, born) if share is own else None)
        if loser is None:
            return False, None
        held = self._held[loser]
        # What was made here and no neighbour has taken yet does not give way.
        return held.via is not None or held.copies > 0, held

    @property
    def cap(self) -> int:
        """The bytes that there is room for now."""
        return self._limits.room.of(self._limits.flood_bytes)

    def surplus(self) -> Held | None:
        """Return what goes next where more is held than there is room for; what was made here stays."""
        loser = self._largest(_Share(), 0).next_to_go(None) if self.size > self.cap else None
        return self._held[loser] if loser is not None else None

    def linked(self, peer: Identity, change: int) -> None:
        """Count a link to ``peer`` that has become usable (1), or has ended (-1)."""
        self._shares.setdefault(peer, _Share()).links += change
        self._drop_share(peer)

    def shares(self) -> Iterator[tuple[Identity | None, int, int]]:
        """Go through neighbours (None: made here), and the number and bytes of what came over each."""
        for via, share in self._shares.items():
            if share.size:
                yield via, share.count, share.size

    # --- ids that must not be taken ----------------------------------------------------------------

    def remember(self, envelope_id: bytes, expires: float, refused: Identity | None = None) -> bytes | None:
        """Note an id until ``expires`` and a little longer; return the one that gave way, the soonest over.

        ``refused``: there was no room for what this neighbour brought.
        """
        short_id = envelope_id[:SHORT_ID_SIZE]
        self._known[short_id] = (envelope_id, refused)
        self._known_until.set(short_id, expires + LATE_S)
        self.tell(short_id, expires)
        if len(self._known) <= self._limits.known_ids:
            return None
        soonest = self._known_until.pop_due(_FOREVER)
        return self._forget(soonest) if soonest is not None else None

    # --- time ----------------------------------------------------------------------------------------

    def next_expiry(self) -> float | None:
        """Return when to ``expire`` next, in seconds of life; None: nothing waits."""
        times = [at for at in (self._held_until.next_at(), self._known_until.next_at()) if at is not None]
        return min(times, default=None)

    def expire(self, life: float) -> tuple[list[Held], list[bytes]]:
        """Take away what is over: envelopes, whose ids stay known a little, and the full ids that were known."""
        forgotten: list[bytes] = []
        while (short_id := self._known_until.pop_due(life)) is not None:
            forgotten.append(self._forget(short_id))
        over: list[Held] = []
        while (short_id := self._held_until.pop_due(life)) is not None:
            held = self._held[short_id]
            self.remove(held)
            over.append(held)
        return over, forgotten

    def __len__(self) -> int:
        """Return how many envelopes are held."""
        return len(self._held)

    @property
    def known(self) -> int:
        """How many ids are known beside those held."""
        return len(self._known)

    # --- inside --------------------------------------------------------------------------------------

    def _forget(self, short_id: bytes) -> bytes:
        self.hush(short_id)
        return self._known.pop(short_id)[0]

    def _largest(self, own: _Share, cost: int) -> _Share:
        """Return whose things give way where the whole is full."""
        best, best_key = own, (False, own.size + cost)
        for via, share in self._shares.items():
            key = (share.links == 0, share.size)
            if via is not None and share.size and key > best_key:
                best, best_key = share, key
        return best

    def _drop_share(self, via: Identity | None) -> None:
        share = self._shares[via]
        if not share.links and not share.size:
            del self._shares[via]

"""Room for others' envelopes: a share for each link that brings them, fairness among senders inside it.

Keys are free, links are not: so the link counts first. A link may keep twice as much as is free, so one
alone gets two thirds of the room, n get 2/(2n+1) each, and a newcomer always finds some (dynamic thresholds,
Choudhury and Hahne, 1998). Nothing gives way to what came over another link.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from qpq.mesh.custody import Place
from qpq.mesh.flooded import cost_of

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.custody import Held

_SHARE_OF_FREE = 2
_RECIPIENTS_PART = 4
_LATEST = 32


class _Part:
    """What one sender has in a share; ``turn`` is that of the last of it."""

    __slots__ = ("items", "size", "turn")

    def __init__(self) -> None:
        self.items: dict[bytes, Held] = {}
        self.size = 0
        self.turn = 0

    def add(self, item: Held) -> None:
        self.items[item.envelope_id] = item
        self.size += cost_of(item.size)


class _Share:
    """What came over one link; ``heaviest`` is the sender with most of it, None: to be looked for."""

    __slots__ = ("heaviest", "recipients", "senders", "size")

    def __init__(self) -> None:
        self.size = 0
        self.senders: dict[Address, _Part] = {}
        self.recipients: dict[Address, int] = {}
        self.heaviest: _Part | None = None


class Quotas:
    """Counts at most ``cap`` bytes; who gives way is the sender with most bytes on the same link.

    That is what deficit round-robin over senders comes to when the queue is full (Shreedhar and Varghese,
    1995): nobody who has less than the fair part ever gives way. One recipient gets a quarter of the room
    over one link; of it again the sender with most gives way.
    """

    __slots__ = ("_cap", "_shares", "looked_at", "size")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._shares: dict[Identity | None, _Share] = {}
        self.size = 0
        self.looked_at = 0
        """Envelopes that the last ``room`` had to look at."""

    def resize(self, cap: int) -> None:
        """Count at most ``cap`` bytes from now on; ``surplus`` says what may go where there is too much."""
        self._cap = cap

    def surplus(self) -> list[Held]:
        """Return what goes where more is kept than there is room for: only what was handed on, which is safe elsewhere.

        It is taken from the link that brought most, of it from the sender with most, the newest first.
        """
        given: list[Held] = []
        excess = self.size - self._cap
        shares = sorted((share for via, share in self._shares.items() if via is not None), key=_size_of, reverse=True)
        for part in (part for share in shares for part in sorted(share.senders.values(), key=_size_of, reverse=True)):
            for item in reversed(part.items.values()):
                if excess > 0 and item.given:
                    given.append(item)
                    excess -= cost_of(item.size)
        return given

    @property
    def free(self) -> int:
        """Return the bytes that are free."""
        return max(0, self._cap - self.size)

    def room(
        self, via: Identity, sender: Address, recipient: Address, size: int, *, routed: bool = False
    ) -> tuple[Held, ...] | None:
        """Return what must give way to an envelope of ``size`` bytes, mostly nothing; None: there is no room.

        ``routed``: there is a way to its recipient. Keys are free, so a share may be full of many senders' envelopes
        for nobody; what goes on still passes it by.
        """
        need = cost_of(size)
        self.looked_at = 0
        free = self._cap - self.size
        share = self._shares.get(via)
        if share is None:
            return () if need <= free else None
        part = share.senders.get(sender)
        mine = part.size if part is not None else 0
        if share.recipients.get(recipient, 0) + need > self._cap // _RECIPIENTS_PART:
            self.looked_at = sum(len(part.items) for part in share.senders.values())
            return _crowd(share, sender, recipient, need)
        if need <= free and share.size + need <= _SHARE_OF_FREE * free:
            return ()
        if share.heaviest is None:
            share.heaviest = max(share.senders.values(), key=_size_of)
            self.looked_at = len(share.senders)
        self.looked_at += len(share.heaviest.items)
        given = _ways(share.heaviest, mine, need)
        return _stuck(share, need) if given is None and routed else given

    def add(self, item: Held, clock: int) -> None:
        """Count an envelope that came over a link, and give it its turn; it must not be counted yet.

        The more senders share a link, the slower the turns of each come: links are equals.
        """
        share = self._shares.get(item.via)
        if share is None:
            share = self._shares[item.via] = _Share()
        part = share.senders.get(item.sender)
        if part is None:
            part = share.senders[item.sender] = _Part()
        else:
            item.sender = next(iter(part.items.values())).sender  # one object serves all
        cost = cost_of(item.size)
        item.turn = part.turn = max(clock, part.turn) + cost * len(share.senders)
        part.add(item)
        share.size += cost
        self.size += cost
        share.recipients[item.recipient] = share.recipients.get(item.recipient, 0) + cost
        if share.heaviest is not None and part.size > share.heaviest.size:
            share.heaviest = part

    def remove(self, item: Held) -> None:
        """Count an envelope no longer."""
        share = self._shares[item.via]
        part = share.senders[item.sender]
        cost = cost_of(item.size)
        del part.items[item.envelope_id]
        part.size -= cost
        share.size -= cost
        self.size -= cost
        share.recipients[item.recipient] -= cost
        if part is share.heaviest:
            share.heaviest = None
        if not share.recipients[item.recipient]:
            del share.recipients[item.recipient]
        if not part.items:
            del share.senders[item.sender]
        if not share.senders:
            del self._shares[item.via]

    def links(self) -> tuple[tuple[Identity | None, int, int], ...]:
        """Return each neighbour that brought something, how many envelopes, and their bytes with what they cost."""
        return tuple(
            (via, sum(len(part.items) for part in share.senders.values()), share.size)
            for via, share in self._shares.items()
        )


def _size_of(part: _Part | _Share) -> int:
    return part.size


def _ways(heaviest: _Part, mine: int, need: int) -> tuple[Held, ...] | None:
    """Take from the sender with most, as long as that keeps no less than the newcomer gets.

    What was handed on goes first, it is safe elsewhere; then the newest, which is still where it came from.
    """
    given: list[Held] = []
    left = heaviest.size
    for item in sorted(heaviest.items.values(), key=lambda item: (not item.given, -item.order)):
        left -= cost_of(item.size)
        if left < mine + need:
            return None
        given.append(item)
        if heaviest.size - left >= need:
            return tuple(given)
    return None


def _stuck(share: _Share, need: int) -> tuple[Held, ...] | None:
    """Take of the latest senders what was handed on, or has nowhere to go, the newest first."""
    given: list[Held] = []
    for part in islice(reversed(share.senders.values()), _LATEST):
        for item in islice(reversed(part.items.values()), _LATEST):
            if item.given or item.place is Place.WAITING:
                given.append(item)
                need -= cost_of(item.size)
                if need <= 0:
                    return tuple(given)
    return None


def _crowd(share: _Share, sender: Address, recipient: Address, need: int) -> tuple[Held, ...] | None:
    """Do the same among those who write to one recipient."""
    parts: dict[Address, _Part] = {sender: _Part()}
    for address, part in share.senders.items():
        for item in part.items.values():
            if item.recipient == recipient:
                parts.setdefault(address, _Part()).add(item)
    return _ways(max(parts.values(), key=_size_of), parts[sender].size, need)

"""What was delivered here: kept, shown and buried, so that none is delivered twice and each gets its receipt again."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from qpq.mesh import counters
from qpq.mesh.effects import Deliver
from qpq.mesh.inbox import MESSAGE_COST
from qpq.mesh.records import InboxInsert, Kept, MessageDelete, TombstoneDelete, TombstoneInsert
from qpq.wire.body import Body

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.inbox import Inbox
    from qpq.mesh.sessions import Sessions
    from qpq.mesh.users import LocalUser
    from qpq.wire.body import AnyBody
    from qpq.wire.envelope import Envelope

_SLACK = 64
_SWEEP = 4
"""Expired tombstones that go for each one that comes: more than one, so they cannot pile up."""


class Tombstones:
    """At most ``cap`` of them; expired ones go when new ones come, then the one that expires first."""

    __slots__ = ("_by_expiry", "_by_id", "_cap", "_messages")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._by_id: dict[bytes, TombstoneInsert] = {}
        self._messages: dict[tuple[Address, Address, bytes], int] = {}
        self._by_expiry: list[tuple[int, bytes]] = []

    def get(self, envelope_id: bytes) -> TombstoneInsert | None:
        """Return the tombstone of an envelope."""
        return self._by_id.get(envelope_id)

    def knows(self, user: Address, sender: Address, message_id: bytes) -> bool:
        """Whether a message of this id by this sender was delivered to the user, in whatever envelope."""
        return (user, sender, message_id) in self._messages

    def add(self, tombstone: TombstoneInsert) -> None:
        """Set a tombstone; one for the same envelope is no fault."""
        if tombstone.envelope_id in self._by_id:
            return
        self._by_id[tombstone.envelope_id] = tombstone
        key = (tombstone.user, tombstone.sender, tombstone.message_id)
        self._messages[key] = self._messages.get(key, 0) + 1
        heappush(self._by_expiry, (tombstone.expires, tombstone.envelope_id))
        if len(self._by_expiry) > 2 * len(self._by_id) + _SLACK:
            self._by_expiry = [(stone.expires, stone.envelope_id) for stone in self._by_id.values()]
            heapify(self._by_expiry)

    def remove(self, envelope_id: bytes) -> None:
        """Take a tombstone away; one that is not there is no fault."""
        tombstone = self._by_id.pop(envelope_id, None)
        if tombstone is None:
            return
        key = (tombstone.user, tombstone.sender, tombstone.message_id)
        self._messages[key] -= 1
        if not self._messages[key]:
            del self._messages[key]

    def make_room(self, life: float, most: int) -> list[tuple[TombstoneInsert, bool]]:
        """Take away at most ``most`` that have expired, and those that must give way to one more.

        Returns them, each with whether it had expired.
        """
        gone: list[tuple[TombstoneInsert, bool]] = []
        while self._by_expiry:
            expires, envelope_id = self._by_expiry[0]
            expired = expires <= life
            if len(self._by_id) < self._cap and not (expired and len(gone) < most):
                break
            heappop(self._by_expiry)
            tombstone = self._by_id.get(envelope_id)
            if tombstone is not None and tombstone.expires == expires:
                self.remove(envelope_id)
                gone.append((tombstone, expired))
        return gone

    def remove_user(self, user: Address) -> None:
        """Forget everything about a user who is gone."""
        for tombstone in [stone for stone in self._by_id.values() if stone.user == user]:
            self.remove(tombstone.envelope_id)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._by_id)


class Delivering:
    """Keeps, shows and buries what ``Receiving`` has opened; takes back what the store could not keep."""

    __slots__ = ("_clock", "_effects", "_inbox", "_sessions", "_tombstones")

    def __init__(
        self, clock: Clock, effects: Effects, inbox: Inbox, tombstones: Tombstones, sessions: Sessions
    ) -> None:
        self._clock = clock
        self._effects = effects
        self._inbox = inbox
        self._tombstones = tombstones
        self._sessions = sessions

    def undo(self, operation: InboxInsert) -> None:
        """Forget a message that could not be stored; one that only was to be written again is there."""
        if operation.via is not None and not operation.envelope_id:
            return
        self._inbox.remove_one(operation.user, operation.sender, operation.message_id)
        self.unbury(operation.envelope_id)

    def unbury(self, envelope_id: bytes) -> None:
        """Forget that an envelope was opened, which could not be stored: it may come again."""
        self._tombstones.remove(envelope_id)
        self._sessions.unread(envelope_id)

    def stone(
        self, user: LocalUser, envelope: Envelope, body: AnyBody, now: float, *, identifier: bytes, digest: bytes
    ) -> TombstoneInsert:
        """Return the tombstone of an envelope that was opened."""
        return TombstoneInsert(
            user=user.secret.address,
            envelope_id=identifier,
            sender=envelope.sender,
            message_id=body.message_id if isinstance(body, Body) else body.secret,
            secret=body.secret,
            envelope_hash=digest,
            expires=int(self._clock.life(now)) + envelope.ttl,  # whatever its age: a neighbour may add to it
        )

    def deliver(
        self,
        envelope: Envelope,
        body: Body,
        stone: TombstoneInsert,
        via: Identity | None,
        now: float,
        *,
        domain: str = "",
    ) -> bool:
        """Keep, show and confirm a message; False: it came before in another envelope, and is only confirmed."""
        user, sender = stone.user, stone.sender
        kept = self._inbox.knows(user, sender, body.message_id)
        known = kept or self._tombstones.knows(user, sender, body.message_id)
        self.bury(stone, now)
        message = InboxInsert(
            user=user,
            message_id=body.message_id,
            sender=sender,
            envelope_id=b"" if kept else stone.envelope_id,
            text=body.text,
            urgent=envelope.urgent,
            sent=envelope.timestamp,
            received=self._clock.unix(now),
            size=len(body.text.encode()) + MESSAGE_COST,
            via=via,
            domain=domain,
        )
        if kept or not known:
            # One that is kept is written once more, to no effect, so that this receipt does not hang on a
            # transaction before this one; one that the user deleted stays deleted.
            self._effects.persist(message)
        if known:
            self._effects.count(counters.TRANSFER_RESENT)
            return False
        new = Kept(user, body.message_id, sender, message.size, via, domain=domain)
        for gone in self._inbox.make_room(new):
            self._effects.persist(MessageDelete(user, gone))
        self._inbox.add(new)
        self._effects.count(counters.TRANSFER_DELIVERED)
        shown = (body.text, message.received, envelope.urgent, b"", domain)
        self._effects.after(Deliver(user, body.message_id, sender, *shown))
        return True

    def bury(self, stone: TombstoneInsert, now: float) -> None:
        """Set a tombstone, for which others may have to go."""
        for gone, expired in self._tombstones.make_room(self._clock.life(now), _SWEEP):
            if not expired:
                self._effects.count(counters.TOMBSTONE_EVICTED)
            self._effects.persist(TombstoneDelete(gone.user, gone.envelope_id))
        self._tombstones.add(stone)
        self._effects.persist(stone)

"""The index of local users' messages on their way, and what each user may have there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.mesh.custody import Held, Place
from qpq.mesh.rows import MessageRow
from qpq.mesh.signing import MADE_HERE

if TYPE_CHECKING:
    from qpq.crypto.identity import Address
    from qpq.mesh.custody import Custody
    from qpq.mesh.limits import Limits
    from qpq.mesh.records import Queued
    from qpq.mesh.sessions import Mark


class Outgoing(Held):
    """A local user's message on its way; ``relays`` neighbours have taken it.

    ``before`` is what it was before it was sealed anew, ``domain`` where it goes (empty: in this mesh).
    """

    __slots__ = ("before", "domain", "mark", "message_id", "post_quantum", "relays", "state")

    own = True

    def __init__(self, row: Queued, copies: int) -> None:
        super().__init__(row, row.user, None, hops=0, max_hops=MADE_HERE, copies=max(1, copies >> row.copies))
        self.message_id = row.message_id
        self.state = row.state
        self.relays = row.copies
        self.domain = row.domain
        self.unsure = row.copies > 0 and not row.domain
        if row.domain:
            self.place = Place.OUTSIDE
        self.post_quantum = row.sealed
        self.mark: Mark | None = None
        self.before: Queued | None = None

    def row(self) -> MessageRow:
        """Return what a user may know; how a message will be sealed that waits for keys is open."""
        return MessageRow(
            self.sender,
            self.message_id,
            self.envelope_id,
            self.recipient,
            self.state,
            self.relays,
            self.urgent,
            self.attempts,
            None if self.place is Place.SEALING else self.post_quantum,
            self.domain,
        )


class _Sender:
    """What one local user has on its way; ``turn`` is that of the last of it."""

    __slots__ = ("by_message", "by_recipient", "size", "turn")

    def __init__(self) -> None:
        self.by_message: dict[bytes, Outgoing] = {}
        self.by_recipient: dict[Address, int] = {}
        self.size = 0
        self.turn = 0


class Outbox:
    """Messages by user; what does not fit is refused. Custody has them by envelope id and by recipient."""

    __slots__ = ("_custody", "_limits", "_senders")

    def __init__(self, limits: Limits, custody: Custody) -> None:
        self._limits = limits
        self._custody = custody
        self._senders: dict[Address, _Sender] = {}

    def complaint(self, user: Address, message_id: bytes, recipient: Address, size: int) -> str:
        """Return why one more message of ``size`` bytes cannot be taken; empty: it can."""
        sender = self._senders.get(user)
        if sender is None:
            return "" if size <= self._limits.outbox_bytes else "the message is larger than the outbox"
        if message_id in sender.by_message:
            return "a message with this id is on its way already"
        if len(sender.by_message) >= self._limits.outbox_count or sender.size + size > self._limits.outbox_bytes:
            return "the outbox is full: wait for deliveries or delete messages"
        if sender.by_recipient.get(recipient, 0) >= self._limits.recipient_count:
            return "too many messages wait for this recipient: wait for deliveries or delete some"
        return ""

    def add(self, row: Queued) -> Outgoing:
        """Keep a message and let it wait for a link."""
        message = Outgoing(row, self._limits.spray_copies)
        self._custody.add(message)
        sender = self._senders.setdefault(message.sender, _Sender())
        sender.by_message[message.message_id] = message
        sender.by_recipient[message.recipient] = sender.by_recipient.get(message.recipient, 0) + 1
        sender.size += message.size
        message.turn = sender.turn = max(self._custody.clock, sender.turn) + message.size
        return message

    def remove(self, message: Outgoing) -> None:
        """Forget a message here; ``Sending`` takes it out of custody."""
        sender = self._senders[message.sender]
        del sender.by_message[message.message_id]
        sender.size -= message.size
        sender.by_recipient[message.recipient] -= 1
        if not sender.by_recipient[message.recipient]:
            del sender.by_recipient[message.recipient]
        if not sender.by_message:
            del self._senders[message.sender]

    def of_user(self, user: Address, message_id: bytes) -> Outgoing | None:
        """Return a user's message."""
        sender = self._senders.get(user)
        return None if sender is None else sender.by_message.get(message_id)

    def writes_to(self, user: Address, recipient: Address) -> bool:
        """Whether a user has something on its way to a recipient."""
        sender = self._senders.get(user)
        return sender is not None and recipient in sender.by_recipient

    def all_of(self, user: Address) -> tuple[Outgoing, ...]:
        """Return everything a user has on its way."""
        sender = self._senders.get(user)
        return () if sender is None else tuple(sender.by_message.values())

    def __len__(self) -> int:
        """Return how many messages are on their way."""
        return sum(len(sender.by_message) for sender in self._senders.values())

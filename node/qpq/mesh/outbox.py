"""The index of local users' messages on their way, and the queue of each recipient."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from qpq.mesh.rows import MessageRow

if TYPE_CHECKING:
    from qpq.crypto.identity import Address
    from qpq.mesh.limits import Limits
    from qpq.mesh.records import Queued

_SLACK = 64
"""Messages taken out of a queue's middle stay on its heap until there are more of them than this and the live ones."""


class Outgoing:
    """One message on its way; ``link`` 0: not handed to any, ``attempts`` how often it was."""

    __slots__ = (
        "attempts",
        "born",
        "copies",
        "envelope_id",
        "link",
        "message_id",
        "order",
        "queued",
        "recipient",
        "size",
        "state",
        "ttl",
        "urgent",
        "user",
    )

    def __init__(self, row: Queued, order: int) -> None:
        self.user = row.user
        self.message_id = row.message_id
        self.envelope_id = row.envelope_id
        self.recipient = row.recipient
        self.size = row.size
        self.urgent = row.urgent
        self.ttl = row.ttl
        self.born = row.born
        self.state = row.state
        self.copies = row.copies
        self.order = order
        self.queued = False
        self.link = 0
        self.attempts = 0

    def row(self) -> MessageRow:
        """Return what a user may know."""
        return MessageRow(
            self.user,
            self.message_id,
            self.envelope_id,
            self.recipient,
            self.state,
            self.copies,
            self.urgent,
            self.attempts,
        )


class Destination:
    """What waits for one recipient, the urgent first and then the oldest.

    ``refusals`` counts refusals and silences since the last receipt: while there are any, one
    message at a time probes the recipient. ``paused``: not before a timer.
    """

    __slots__ = ("_heap", "flying", "messages", "paused", "refusals")

    def __init__(self) -> None:
        self._heap: list[tuple[bool, int, Outgoing]] = []
        self.messages = 0
        self.flying = 0
        self.refusals = 0
        self.paused = False

    def push(self, message: Outgoing) -> None:
        """Let a message wait for a link; one that does already is no fault."""
        if message.queued:
            return
        message.queued = True
        heappush(self._heap, (not message.urgent, message.order, message))
        if len(self._heap) > 2 * self.messages + _SLACK:
            self._heap = [item for item in self._heap if item[2].queued]
            heapify(self._heap)

    def head(self) -> Outgoing | None:
        """Return the message whose turn it is; None: nothing may be sent now."""
        if self.paused or (self.refusals and self.flying):
            return None
        while self._heap:
            message = self._heap[0][2]
            if message.queued:
                return message
            heappop(self._heap)
        return None

    def pop(self) -> None:
        """Take away the message that ``head`` returned."""
        heappop(self._heap)[2].queued = False


class _Sender:
    """What one local user has on its way."""

    __slots__ = ("by_message", "by_recipient", "size")

    def __init__(self) -> None:
        self.by_message: dict[bytes, Outgoing] = {}
        self.by_recipient: dict[Address, int] = {}
        self.size = 0


class Outbox:
    """Messages by envelope id, by user and by recipient; what does not fit is refused."""

    __slots__ = ("_by_id", "_destinations", "_limits", "_order", "_senders")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_id: dict[bytes, Outgoing] = {}
        self._senders: dict[Address, _Sender] = {}
        self._destinations: dict[Address, Destination] = {}
        self._order = 0

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
        """Note a message and let it wait for a link."""
        self._order += 1
        message = Outgoing(row, self._order)
        self._by_id[message.envelope_id] = message
        sender = self._senders.setdefault(message.user, _Sender())
        sender.by_message[message.message_id] = message
        sender.by_recipient[message.recipient] = sender.by_recipient.get(message.recipient, 0) + 1
        sender.size += message.size
        destination = self._destinations.get(message.recipient)
        if destination is None:
            destination = self._destinations[message.recipient] = Destination()
        destination.messages += 1
        destination.push(message)
        return message

    def remove(self, message: Outgoing) -> None:
        """Forget a message."""
        del self._by_id[message.envelope_id]
        message.queued = False
        sender = self._senders[message.user]
        del sender.by_message[message.message_id]
        sender.size -= message.size
        sender.by_recipient[message.recipient] -= 1
        if not sender.by_recipient[message.recipient]:
            del sender.by_recipient[message.recipient]
        if not sender.by_message:
            del self._senders[message.user]
        destination = self._destinations[message.recipient]
        destination.messages -= 1
        if not destination.messages:
            del self._destinations[message.recipient]

    def get(self, envelope_id: bytes) -> Outgoing | None:
        """Return the message in an envelope."""
        return self._by_id.get(envelope_id)

    def of_user(self, user: Address, message_id: bytes) -> Outgoing | None:
        """Return a user's message."""
        sender = self._senders.get(user)
        return None if sender is None else sender.by_message.get(message_id)

    def all_of(self, user: Address) -> tuple[Outgoing, ...]:
        """Return everything a user has on its way."""
        sender = self._senders.get(user)
        return () if sender is None else tuple(sender.by_message.values())

    def destination(self, recipient: Address) -> Destination | None:
        """Return the queue of a recipient for whom something is on its way."""
        return self._destinations.get(recipient)

    def queue(self, message: Outgoing) -> Destination:
        """Return the queue of a message's recipient, which every message of the outbox has."""
        return self._destinations[message.recipient]

    def messages(self) -> tuple[Outgoing, ...]:
        """Return everything on its way."""
        return tuple(self._by_id.values())

    def __len__(self) -> int:
        """Return how many messages are on their way."""
        return len(self._by_id)

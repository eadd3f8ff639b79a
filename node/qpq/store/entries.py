"""What the message store tells people: messages of an inbox, of an outbox, and how much there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qpq.store.codec import INBOX_TEXT, OUTBOX_TEXT
from qpq.store.schema import STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpq.crypto.identity import Address
    from qpq.mesh.effects import State
    from qpq.store.codec import Codec


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """A message a user got; ``number`` grows with arrival, times are Unix seconds (0: unknown).

    ``channel`` is empty, or the id of the channel it came through, ``domain`` is empty, or where it came from.
    """

    number: int
    message_id: bytes
    sender: Address
    text: str
    urgent: bool
    sent: int
    received: int
    read: bool
    channel: bytes = b""
    domain: str = ""


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A message a user sent; ``number`` grows with sending, ``sent`` Unix seconds (0: unknown), ``ttl`` seconds.

    ``post_quantum``: it was sealed in a session, with keys that hold against a quantum computer; None: nothing was
    sealed, or it is not known. ``domain``: empty, or where it went; ``reason``: why it was refused.
    """

    number: int
    message_id: bytes
    recipient: Address
    text: str
    urgent: bool
    sent: int
    ttl: int
    state: State
    copies: int
    post_quantum: bool | None = None
    domain: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages there are, bytes taken and allowed, and when the oldest kept one came (Unix, 0: none).

    ``relayed`` are others' envelopes, with the bytes of them and the most they may take; ``proofs`` receipts of
    others' messages, ``known`` ids that are not taken again.
    """

    inbox: int
    unread: int
    waiting: int
    finished: int
    tombstones: int
    used_bytes: int
    max_bytes: int
    oldest: int
    relayed: int
    relayed_bytes: int
    relayed_max_bytes: int
    proofs: int
    known: int


INBOX = "SELECT number, message_id, sender, text, urgent, sent, received, read, channel, domain FROM inbox"
OUTBOX = (
    "SELECT number, message_id, recipient, text, urgent, sent, ttl, state, copies, sealed, domain, reason FROM outbox"
)


def inbox_entry(codec: Codec, user: Address, row: Sequence[Any]) -> InboxEntry:
    """Return a row of INBOX as a message of ``user``'s."""
    number, message_id, sender, text, urgent, sent, received, read, channel, domain = row
    text = codec.read_text(INBOX_TEXT, (user, message_id, sender), text)
    return InboxEntry(
        number, message_id, sender, text, bool(urgent), sent, received, bool(read), channel or b"", domain
    )


def outbox_entry(codec: Codec, user: Address, row: Sequence[Any]) -> OutboxEntry:
    """Return a row of OUTBOX as a message of ``user``'s."""
    number, message_id, recipient, text, urgent, sent, ttl, state, copies, sealed, domain, reason = row
    text = codec.read_text(OUTBOX_TEXT, (user, message_id), text)
    sealed = bool(sealed) if sealed is not None else None
    return OutboxEntry(
        number, message_id, recipient, text, bool(urgent), sent, ttl, STATES[state], copies, sealed, domain, reason
    )

"""A local user's message: checked, delivered on this node or sealed, signed and queued; and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.crypto.errors import CryptoError
from qpq.crypto.sessions import MAX_OVERHEAD
from qpq.mesh import counters
from qpq.mesh.custody import Place
from qpq.mesh.effects import Deliver, SendRefused, State, StateChanged
from qpq.mesh.inbox import MESSAGE_COST
from qpq.mesh.records import InboxInsert, Kept, MessageDelete, OutboxInsert, OutboxState, Queued
from qpq.wire.body import PADDING_STEP, Body, encode_body, pad
from qpq.wire.envelope import ADDRESS_SIZE, MAX_INNER, MAX_TTL, encode_envelope, envelope_id
from qpq.wire.errors import FieldError, WireError

if TYPE_CHECKING:
    from qpq.crypto.identity import Address
    from qpq.mesh.asking import Asking
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.crossings import Crossings
    from qpq.mesh.events import SendText
    from qpq.mesh.inbox import Inbox
    from qpq.mesh.limits import Limits
    from qpq.mesh.outbox import Outbox, Outgoing
    from qpq.mesh.sending import Sending
    from qpq.mesh.sessions import Sealed, Sessions
    from qpq.mesh.signing import Signing
    from qpq.mesh.users import LocalUser, Users

_ENVELOPE = 172
_BODY = 64
"""Bytes around a payload and around a text, at most."""


class Posting:
    """Takes SendText; every message is either queued, delivered here, or refused with the reason.

    Of expired messages ``late_receipts`` are remembered, since a receipt may still come; the oldest is forgotten.
    """

    __slots__ = (
        "_clock",
        "_effects",
        "_inbox",
        "_late",
        "_limits",
        "_outbox",
        "_sending",
        "_sessions",
        "_signing",
        "_users",
        "asking",
        "crossings",
    )

    asking: Asking
    crossings: Crossings

    def __init__(
        self,
        *,
        limits: Limits,
        clock: Clock,
        effects: Effects,
        users: Users,
        inbox: Inbox,
        outbox: Outbox,
        sending: Sending,
        sessions: Sessions,
        signing: Signing,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._effects = effects
        self._users = users
        self._sessions = sessions
        self._signing = signing
        self._inbox = inbox
        self._outbox = outbox
        self._sending = sending
        self._late: dict[bytes, tuple[Address, bytes, bool | None]] = {}

    def text(self, event: SendText, now: float) -> None:
        """Take a user's message."""
        author = self._users.get(event.user)
        if author is None:
            self._refuse(event, "no such user on this node")
        elif len(event.recipient) != ADDRESS_SIZE:
            self._refuse(event, f"an address has {ADDRESS_SIZE} bytes, not {len(event.recipient)}")
        elif not 1 <= event.ttl <= MAX_TTL:
            self._refuse(event, f"the time to live is 1 s to {MAX_TTL // 86_400} days, not {event.ttl} s")
        else:
            try:
                self._post(author, event, now)
            except (CryptoError, WireError) as fault:
                self._refuse(event, str(fault))

    # --- what becomes of it ----------------------------------------------------------------------

    def relayed(self, message: Outgoing) -> None:
        """A neighbour has taken a message to carry it on; told at once, for its receipt will be, and may come now."""
        message.relays += 1
        message.state = State.RELAYED
        user, message_id, copies = message.sender, message.message_id, message.relays
        self._effects.count(counters.MESSAGE_RELAYED)
        self._effects.persist(OutboxState(user, message_id, State.RELAYED, copies))
        self._effects.do(StateChanged(user, message_id, State.RELAYED, copies, message.post_quantum))

    def confirmed(self, message: Outgoing) -> None:
        """A message has been delivered."""
        self._outbox.remove(message)
        self._delivered(message.sender, message.message_id, message.post_quantum, message.relays)

    def confirmed_late(self, envelope_id: bytes) -> bool:
        """Take a receipt that comes after the end of a message; whether it is one."""
        message = self._late.pop(envelope_id, None)
        if message is not None:
            self._delivered(*message, copies=0)
        return message is not None

    def expired(self, message: Outgoing) -> None:
        """The time of a message is over."""
        self._outbox.remove(message)
        self._remember(message)
        self._effects.count(counters.MESSAGE_EXPIRED)
        self._change(message, State.EXPIRED)

    def refused(self, message: Outgoing, reason: str, now: float) -> None:
        """Another domain does not take a message, or nobody carries it there."""
        self._outbox.remove(message)
        self._sending.drop(message, now)
        self._remember(message)
        self._change(message, State.REFUSED, reason)

    def post_quantum(self, user: Address, message_id: bytes) -> bool | None:
        """Return how a message was sealed that has lately come to its end without a receipt."""
        return next((how for *name, how in self._late.values() if name == [user, message_id]), None)

    def drop(self, message: Outgoing, now: float) -> None:
        """Forget a message wherever it is."""
        self._outbox.remove(message)
        self._sending.drop(message, now)
        if message.domain:
            self.crossings.stop(message.envelope_id, now)

    def user_removed(self, user: Address, now: float) -> None:
        """Forget everything a user has on its way."""
        for message in self._outbox.all_of(user):
            self.drop(message, now)
        self._late = {key: message for key, message in self._late.items() if message[0] != user}

    def _delivered(self, user: Address, message_id: bytes, post_quantum: bool | None, copies: int) -> None:
        """Tell of a receipt, which proves itself, and note it: a message sent once more is answered by it again."""
        self._effects.count(counters.MESSAGE_CONFIRMED)
        self._effects.do(StateChanged(user, message_id, State.DELIVERED, copies, post_quantum))
        self._effects.note(OutboxState(user, message_id, State.DELIVERED, copies))

    def _remember(self, message: Outgoing) -> None:
        """Keep in mind a message that has come to its end without a receipt: one may come late."""
        self._late[message.envelope_id] = (message.sender, message.message_id, message.post_quantum)
        if len(self._late) > self._limits.late_receipts:
            del self._late[next(iter(self._late))]

    def _change(self, message: Outgoing, state: State, reason: str = "") -> None:
        user, message_id, copies = message.sender, message.message_id, message.relays
        self._effects.persist(OutboxState(user, message_id, state, copies, reason))
        self._effects.after(StateChanged(user, message_id, state, copies, message.post_quantum, reason))

    # --- inside ----------------------------------------------------------------------------------

    def _post(self, author: LocalUser, event: SendText, now: float) -> None:
        """Take a message from ``author``; raises CryptoError, WireError for what cannot be sealed or sent."""
        if event.domain:
            from qpq.wire.domain import check_domain  # noqa: PLC0415 (few messages leave the mesh)

            check_domain(event.domain)
        body = Body(secret=event.message_id, text=event.text, message_id=event.message_id)
        size = len(event.text.encode())
        around = _BODY + _ENVELOPE + self._sessions.overhead(event.user, event.recipient)
        padding = PADDING_STEP if event.padding else 0
        too_many = size + padding + _BODY + _ENVELOPE + MAX_OVERHEAD - MAX_INNER
        if event.domain and too_many > 0:  # sealed anew it may take more than at first
            raise FieldError(f"{too_many} bytes too many for another domain: send the text in parts")
        complaint = self._outbox.complaint(event.user, event.message_id, event.recipient, size + padding + around)
        reader = self._users.reader(event.recipient)
        if complaint:
            self._refuse(event, complaint)
        elif reader is not None:
            self._deliver_here(reader[0], event, size, now)
        else:
            self._queue(author, event, body, now)

    def _queue(self, author: LocalUser, event: SendText, body: Body, now: float) -> None:
        sealed = self._seal(author, event, body, now)
        envelope = self._signing.envelope(
            author.secret,
            event.recipient,
            sealed.payload,
            now,
            secret=body.secret,
            ttl=event.ttl,
            urgent=event.urgent,
        )
        data = encode_envelope(envelope)
        row = Queued(
            user=event.user,
            message_id=event.message_id,
            envelope_id=envelope_id(envelope),
            recipient=event.recipient,
            size=len(data),
            urgent=event.urgent,
            ttl=event.ttl,
            born=int(self._clock.life(now)),
            state=State.QUEUED,
            copies=0,
            sealed=sealed.mark is not None,
            domain=event.domain,
        )
        self._effects.count(counters.MESSAGE_QUEUED)
        self._keep(event, now, State.QUEUED, envelope_id=row.envelope_id, data=data, sealed=row.sealed)
        message = self._outbox.add(row)
        message.mark = sealed.mark
        waits = not row.sealed and self.asking.wait(author, message, event.text, now, padded=event.padding)
        self._effects.after(StateChanged(event.user, event.message_id, State.QUEUED, 0, None if waits else row.sealed))
        if message.domain and not waits:
            self._sending.hold(message, now, Place.OUTSIDE)
            self.crossings.start(message, data, now)
        elif not waits:
            self._sending.start(message, envelope, now)

    def _seal(self, author: LocalUser, event: SendText, body: Body, now: float) -> Sealed:
        """Seal in a session, which begins now where the recipient's keys are there; else to its identity key."""
        plaintext = encode_body(body)
        if event.padding:
            padded = pad(plaintext)
            self._effects.count(counters.PADDING_MESSAGES)
            self._effects.count(counters.PADDING_BYTES, len(padded) - len(plaintext))
            plaintext = padded
        own, peer = author.secret, event.recipient
        sealed = self._sessions.seal(own, peer, plaintext, now)
        if sealed is None and self.asking.begin(own, peer, now):
            sealed = self._sessions.seal(own, peer, plaintext, now)
        return sealed if sealed is not None else self._sessions.seal_classical(own.address, peer, plaintext)

    def _deliver_here(self, reader: LocalUser, event: SendText, size: int, now: float) -> None:
        user = reader.secret.address
        kept = Kept(user, event.message_id, event.user, size + MESSAGE_COST, None)
        if event.user in reader.blocked:
            self._refuse(event, "the recipient does not take messages from this user")
            return
        if self._inbox.knows(user, event.user, event.message_id):
            self._refuse(event, "a message with this id was delivered already")
            return
        if not self._inbox.fits(user, event.user, None, kept.size):
            self._refuse(event, "the recipient's inbox is full")
            return
        for gone in self._inbox.make_room(kept):
            self._effects.persist(MessageDelete(user, gone))
        self._inbox.add(kept)
        received = self._clock.unix(now)
        self._effects.count(counters.TRANSFER_DELIVERED)
        self._keep(event, now, State.DELIVERED)
        self._effects.persist(
            InboxInsert(
                user=user,
                message_id=event.message_id,
                sender=event.user,
                envelope_id=b"",
                text=event.text,
                urgent=event.urgent,
                sent=received,
                received=received,
                size=kept.size,
                via=None,
            )
        )
        self._effects.after(StateChanged(event.user, event.message_id, State.QUEUED))
        self._effects.after(Deliver(user, event.message_id, event.user, event.text, received, event.urgent))
        self._effects.after(StateChanged(event.user, event.message_id, State.DELIVERED))

    def _keep(
        self,
        event: SendText,
        now: float,
        state: State,
        *,
        envelope_id: bytes = b"",
        data: bytes = b"",
        sealed: bool | None = None,
    ) -> None:
        self._effects.persist(
            OutboxInsert(
                user=event.user,
                message_id=event.message_id,
                envelope_id=envelope_id,
                recipient=event.recipient,
                envelope=data,
                text=event.text,
                urgent=event.urgent,
                ttl=event.ttl,
                born=int(self._clock.life(now)),
                sent=self._clock.unix(now),
                state=state,
                sealed=sealed,
                domain=event.domain,
            )
        )

    def _refuse(self, event: SendText, reason: str) -> None:
        self._effects.count(counters.MESSAGE_REFUSED)
        self._effects.do(SendRefused(event.user, event.message_id, reason))

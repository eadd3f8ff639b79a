"""Channels: what local users post to them and read of them, new or still alive in the store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qpq.crypto.channels import ENTROPY_BYTES, channel_id, day_of, day_tag, open_broadcast, seal_broadcast
from qpq.crypto.errors import CryptoError
from qpq.crypto.identity import Address
from qpq.crypto.primitives import tagged_hash
from qpq.mesh import counters
from qpq.mesh.effects import BroadcastHeard, Deliver, Recall, SendRefused, State, StateChanged
from qpq.mesh.flooding import MAX_HOPS
from qpq.mesh.inbox import MESSAGE_COST
from qpq.mesh.keeping import Arrival
from qpq.mesh.records import (
    InboxInsert,
    Kept,
    MessageDelete,
    OutboxInsert,
    OutboxState,
    TombstoneDelete,
    TombstoneInsert,
)
from qpq.mesh.rows import broadcast_row
from qpq.mesh.users import Subscribed
from qpq.wire.body import Body, decode_body, encode_body, pad
from qpq.wire.envelope import COMMITMENT_SIZE, MAX_TTL, Mode, encode_envelope, envelope_id, sign_envelope
from qpq.wire.errors import WireError
from qpq.wire.frames_mesh import SHORT_ID_SIZE

if TYPE_CHECKING:
    from qpq.crypto.identity import SecretIdentity
    from qpq.mesh.chance import Chance
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.events import ChannelJoined, ChannelLeft, Recalled, SendBroadcast
    from qpq.mesh.flooded import Flooded, Held
    from qpq.mesh.flooding import Flooding
    from qpq.mesh.inbox import Inbox
    from qpq.mesh.limits import Limits
    from qpq.mesh.marks import Marks
    from qpq.mesh.routing import Routing
    from qpq.mesh.rows import MessageRow
    from qpq.mesh.tombstones import Tombstones
    from qpq.mesh.users import Channel, Users
    from qpq.wire.body import AnyBody
    from qpq.wire.envelope import Envelope

_SHOWN_TAG = b"qpq/1/shown"
_AT_ONCE = 16
"""Envelopes read back from the store at once."""
_SWEEP = 4


class Channels:
    """Takes SendBroadcast, ChannelJoined, ChannelLeft, and every channel envelope that is new here.

    A tombstone keeps a message that a user has seen, and deleted, from being shown again as long as
    its envelope may live.
    """

    __slots__ = (
        "_chance",
        "_channels",
        "_clock",
        "_effects",
        "_flooded",
        "_flooding",
        "_inbox",
        "_limits",
        "_marks",
        "_own",
        "_recalling",
        "_routing",
        "_tombstones",
        "_users",
        "_waiting",
    )

    def __init__(
        self,
        *,
        limits: Limits,
        clock: Clock,
        chance: Chance,
        effects: Effects,
        users: Users,
        inbox: Inbox,
        tombstones: Tombstones,
        flooded: Flooded,
        flooding: Flooding,
        routing: Routing,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._chance = chance
        self._effects = effects
        self._users = users
        self._inbox = inbox
        self._tombstones = tombstones
        self._flooded = flooded
        self._flooding = flooding
        self._routing = routing
        self._channels = Subscribed()
        self._marks: Marks | None = None
        self._own: dict[bytes, MessageRow] = {}
        self._waiting: dict[bytes, None] = {}
        self._recalling = False

    # --- subscriptions ---------------------------------------------------------------------------

    def joined(self, event: ChannelJoined, _now: float) -> None:
        """Let a user read a channel, beginning with what is in the store; raises CryptoError for no key."""
        identifier = channel_id(event.key)
        channel = self._channels.get(identifier)
        if self._users.get(event.user) is None or (channel is None and len(self._channels) >= self._limits.channels):
            self._effects.count(counters.CHANNEL_OVER_CAP)
            return
        if channel is None:
            channel = self._channels.add(event.key)
        channel.readers[event.user] = event.signers
        for held in self._flooded.held():
            if held.day is None or self._channels.tags(held.day).get(held.tag) == identifier:
                self._waiting[held.short] = None
        self._recall()

    def left(self, event: ChannelLeft, _now: float) -> None:
        """Let a user read a channel no longer."""
        self._channels.leave(event.channel, event.user)

    def user_removed(self, user: Address) -> None:
        """Forget what a user who is gone has read and posted."""
        self._channels.leave_all(user)
        self._own = {identifier: row for identifier, row in self._own.items() if row.user != user}

    # --- posting -----------------------------------------------------------------------------------

    def broadcast(self, event: SendBroadcast, now: float) -> None:
        """Take a user's message to a channel."""
        author = self._users.get(event.user)
        channel = self._channels.get(event.channel)
        signers = channel.readers.get(event.user) if channel is not None else None
        if author is None:
            self._refuse(event, "no such user on this node")
        elif channel is None or signers is None:
            self._refuse(event, "this channel is not read by this user: subscribe to it first")
        elif signers and event.user not in signers:
            self._refuse(event, "only its signers write to this channel")
        elif not 1 <= event.ttl <= MAX_TTL:
            self._refuse(event, f"the time to live is 1 s to {MAX_TTL // 86_400} days, not {event.ttl} s")
        else:
            try:
                self._post(author.secret, channel, event, now)
            except (CryptoError, WireError) as fault:
                self._refuse(event, str(fault))

    def message(self, user: Address, message_id: bytes) -> MessageRow | None:
        """Return a user's broadcast that is alive."""
        rows = (row for row in self._own.values() if row.user == user and row.message_id == message_id)
        return next(rows, None)

    def forget(self, user: Address, message_id: bytes) -> None:
        """Tell no more of a broadcast that its user deleted; it goes on."""
        row = self.message(user, message_id)
        if row is not None:
            del self._own[row.envelope_id]

    # --- what flooding tells (flooding.Listener) -----------------------------------------------------

    def flooded(self, arrival: Arrival, now: float) -> None:
        """Show a new envelope to who reads its channel."""
        found = self._open(arrival.envelope, fresh=True)
        if found is not None:
            self._show(*found, arrival, now)

    def taken(self, held: Held) -> None:
        """Note that one more neighbour has taken a broadcast of a local user."""
        row = self._own.get(held.envelope_id)
        if row is not None:
            self._own[held.envelope_id] = replace(row, state=State.RELAYED, copies=held.copies)
            self._effects.persist(OutboxState(row.user, row.message_id, State.RELAYED, held.copies))
            self._effects.do(StateChanged(row.user, row.message_id, State.RELAYED, held.copies))

    def over(self, held: Held) -> None:
        """Note that a broadcast of a local user is kept no longer: one that nobody took has come to nothing."""
        self._flooding.over(held)
        row = self._own.pop(held.envelope_id, None)
        if row is not None and row.state is State.QUEUED:
            self._effects.persist(OutboxState(row.user, row.message_id, State.EXPIRED, 0))
            self._effects.after(StateChanged(row.user, row.message_id, State.EXPIRED, 0))

    # --- what other domains bring, and what the store gives back ------------------------------------------

    def shared(self, envelope: Envelope) -> tuple[Channel, Body] | None:
        """Return channel and message of an envelope, if the gateway here reads that channel for other domains."""
        found, gateway = self._read(envelope), self._users.gateway
        if found is None or gateway is None or gateway.secret.address not in found[0].readers:
            return None
        channel, body = found
        return (channel, body) if isinstance(body, Body) else None

    @property
    def marks(self) -> Marks:
        """What gateways say of messages, made with the first of that."""
        if self._marks is None:
            from qpq.mesh.marks import Marks  # noqa: PLC0415 (few channels are shared with other domains)

            self._marks = Marks(self._effects, self._inbox, self._routing, self._users)
        return self._marks

    def recalled(self, event: Recalled, now: float) -> None:
        """Show what was read from the store, and ask for more."""
        for envelope in event.envelopes:
            identifier = envelope_id(envelope)
            held = self._flooded.get(identifier[:SHORT_ID_SIZE])
            if held is not None:
                held.day = day_of(envelope.timestamp)
                self._look(held, Arrival(envelope, identifier, held.via, held.born, held.hops, news=False), now)
        self._recalling = False
        self._recall()

    # --- inside ----------------------------------------------------------------------------------------

    def _look(self, held: Held, arrival: Arrival, now: float) -> None:
        found = self._open(arrival.envelope, fresh=False)
        if found is None:
            return
        channel, body = found
        if held.via is None and arrival.identifier not in self._own and self._users.get(held.sender) is not None:
            state = State.RELAYED if held.copies else State.QUEUED
            row = broadcast_row(held.sender, body.message_id, arrival.identifier, channel.identifier)
            self._own[arrival.identifier] = replace(row, state=state, copies=held.copies)
        self._show(channel, body, arrival, now)

    def _post(self, secret: SecretIdentity, channel: Channel, event: SendBroadcast, now: float) -> None:
        """Seal, keep and send a broadcast; raises CryptoError, WireError for what cannot be sealed or sent."""
        body = Body(secret=event.message_id, text=event.text, message_id=event.message_id)
        timestamp = self._clock.stamp(now)
        tag = day_tag(channel.key, day_of(timestamp))
        entropy = self._chance.random(ENTROPY_BYTES)
        plain = encode_body(body)
        padded = pad(plain) if event.padding else plain
        envelope = sign_envelope(
            secret,
            recipient=tag,
            payload=seal_broadcast(channel.key, entropy, padded, tag=tag, sender=event.user),
            commitment=self._chance.random(COMMITMENT_SIZE),
            ttl=event.ttl,
            max_hops=MAX_HOPS,
            timestamp=timestamp,
            mode=Mode.CHANNEL,
        )
        if self.message(event.user, event.message_id) is not None:
            self._refuse(event, "a message with this id is on its way already")
            return
        arrival = self._flooding.post(envelope, now)
        if arrival is None:
            self._refuse(event, "too many broadcasts of this node are alive: wait, or give them less time to live")
            return
        if event.padding:
            self._effects.count(counters.PADDING_MESSAGES)
            self._effects.count(counters.PADDING_BYTES, len(padded) - len(plain))
        self._own[arrival.identifier] = broadcast_row(event.user, event.message_id, arrival.identifier, event.channel)
        self._effects.persist(
            OutboxInsert(
                user=event.user,
                message_id=event.message_id,
                envelope_id=b"",
                recipient=Address(event.channel),
                envelope=b"",
                text=event.text,
                urgent=False,
                ttl=event.ttl,
                born=int(self._clock.life(now)),
                sent=self._clock.unix(now),
                state=State.QUEUED,
            )
        )
        self._effects.after(StateChanged(event.user, event.message_id, State.QUEUED))
        self._show(channel, body, arrival, now)

    def _open(self, envelope: Envelope, *, fresh: bool) -> tuple[Channel, Body] | None:
        """Return channel and message of an envelope that somebody here can read; what is a mark is taken as one.

        ``fresh``: it has come just now, and not from the store.
        """
        found = self._read(envelope)
        if found is None:
            return None
        channel, body = found
        if isinstance(body, Body):
            return channel, body
        from qpq.wire.crossing import MarkBody  # noqa: PLC0415 (see marks)

        if isinstance(body, MarkBody):
            self.marks.take(channel, envelope.sender, body, fresh=fresh)
        else:
            self._effects.count(counters.CHANNEL_UNREADABLE)
        return None

    def _read(self, envelope: Envelope) -> tuple[Channel, AnyBody] | None:
        channel = self._channels.match(envelope)
        if channel is None:
            return None
        try:
            plain = open_broadcast(channel.key, envelope.payload, tag=envelope.recipient, sender=envelope.sender)
            return channel, decode_body(plain)
        except (CryptoError, WireError):
            self._effects.count(counters.CHANNEL_UNREADABLE)
            return None

    def _show(self, channel: Channel, body: Body, arrival: Arrival, now: float) -> None:
        """Deliver a message to each reader who wants it and has not seen it."""
        sender = arrival.envelope.sender
        for address, signers in channel.readers.items():
            user = self._users.get(address)
            if user is None or address == sender:
                continue
            if user.gateway:
                if not arrival.is_foreign:
                    heard = encode_envelope(arrival.envelope), arrival.born, self._domain(channel, sender, body)
                    self._effects.after(BroadcastHeard(*heard))
            elif signers and sender not in signers:
                self._effects.count(counters.CHANNEL_FOREIGN)
            elif sender in user.blocked:
                self._effects.count(counters.CHANNEL_BLOCKED)
            elif not self._knows(address, sender, body.message_id):
                self._deliver(address, channel, body, arrival, now)

    def _knows(self, user: Address, sender: Address, message_id: bytes) -> bool:
        return self._inbox.knows(user, sender, message_id) or self._tombstones.knows(user, sender, message_id)

    def _deliver(self, user: Address, channel: Channel, body: Body, arrival: Arrival, now: float) -> None:
        """Keep a message for a reader and show it, if the inbox has room; else it may be shown after a restart."""
        envelope = arrival.envelope
        sender, received = envelope.sender, self._clock.unix(now)
        size = len(body.text.encode()) + MESSAGE_COST
        if not self._inbox.fits(user, sender, arrival.via, size):
            self._effects.count(counters.CHANNEL_NO_ROOM)
            return
        domain = self._domain(channel, sender, body)
        kept = Kept(user, body.message_id, sender, size, arrival.via, domain=domain)
        for gone in self._inbox.make_room(kept):
            self._effects.persist(MessageDelete(user, gone))
        self._inbox.add(kept)
        shown = tagged_hash(_SHOWN_TAG, user, arrival.identifier)
        self._effects.persist(
            InboxInsert(
                user=user,
                message_id=body.message_id,
                sender=sender,
                envelope_id=shown,
                text=body.text,
                urgent=envelope.urgent,
                sent=envelope.timestamp,
                received=received,
                size=size,
                via=arrival.via,
                channel=channel.identifier,
                domain=domain,
            )
        )
        expires = arrival.born + envelope.ttl
        self._bury(TombstoneInsert(user, shown, sender, body.message_id, b"", b"", expires), now)
        self._effects.count(counters.CHANNEL_DELIVERED)
        self._effects.after(
            Deliver(user, body.message_id, sender, body.text, received, envelope.urgent, channel.identifier, domain)
        )

    def _domain(self, channel: Channel, sender: Address, body: Body) -> str:
        return "" if self._marks is None else self._marks.domain(channel, sender, body.message_id)

    def _bury(self, stone: TombstoneInsert, now: float) -> None:
        for gone, expired in self._tombstones.make_room(self._clock.life(now), _SWEEP):
            if not expired:
                self._effects.count(counters.TOMBSTONE_EVICTED)
            self._effects.persist(TombstoneDelete(gone.user, gone.envelope_id))
        self._tombstones.add(stone)
        self._effects.persist(stone)

    def _recall(self) -> None:
        """Ask for the next envelopes that may be of interest, one lot at a time."""
        if self._recalling or not self._waiting:
            return
        lot: list[bytes] = []
        while self._waiting and len(lot) < _AT_ONCE:
            short_id = next(iter(self._waiting))
            del self._waiting[short_id]
            held = self._flooded.get(short_id)
            if held is not None:
                lot.append(held.envelope_id)
        if lot:
            self._recalling = True
            self._effects.do(Recall(tuple(lot)))

    def _refuse(self, event: SendBroadcast, reason: str) -> None:
        self._effects.count(counters.MESSAGE_REFUSED)
        self._effects.do(SendRefused(event.user, event.message_id, reason))

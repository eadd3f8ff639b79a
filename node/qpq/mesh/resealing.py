"""A message on its way sealed anew, in a session: it keeps its id and its place, and gets another envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.crypto.errors import CryptoError
from qpq.crypto.primitives import secret_hash
from qpq.mesh import counters
from qpq.mesh.custody import Place
from qpq.mesh.effects import State, StateChanged
from qpq.mesh.records import OutboxReseal, Queued
from qpq.wire.body import PADDING_STEP, SECRET_SIZE, Body, encode_body
from qpq.wire.envelope import encode_envelope, envelope_hash, envelope_id
from qpq.wire.errors import WireError
from qpq.wire.receipts import commitment

if TYPE_CHECKING:
    from qpq.crypto.identity import SecretIdentity
    from qpq.mesh.chance import Chance
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.crossings import Crossings
    from qpq.mesh.outbox import Outbox, Outgoing
    from qpq.mesh.relaying import Relaying
    from qpq.mesh.sending import Sending
    from qpq.mesh.sessions import Sessions
    from qpq.mesh.signing import Signing
    from qpq.wire.envelope import Envelope

_TAG = b"qpq/1/reseal"
_TIMES = 16
"""Sealings of one message whose receipt secrets can be told again; copies of later ones go by themselves in time."""


class Resealing:
    """Replaces envelopes of the outbox. Who has copies of the one before gets its receipt, made here, and lets them go.

    The secret of a receipt stands in the seal only, which this node cannot open any more than others: so those of
    later sealings follow from the user's seed, the message's id and the number of the sealing.
    """

    __slots__ = (
        "_chance",
        "_clock",
        "_effects",
        "_outbox",
        "_relaying",
        "_sending",
        "_sessions",
        "_signing",
        "crossings",
    )

    crossings: Crossings

    def __init__(
        self,
        *,
        clock: Clock,
        chance: Chance,
        effects: Effects,
        outbox: Outbox,
        sending: Sending,
        relaying: Relaying,
        sessions: Sessions,
        signing: Signing,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._effects = effects
        self._outbox = outbox
        self._sending = sending
        self._relaying = relaying
        self._sessions = sessions
        self._signing = signing

    def reseal(
        self,
        own: SecretIdentity,
        item: Outgoing,
        text: str,
        now: float,
        *,
        padded: bool,
        envelope: Envelope | None = None,
    ) -> bool:
        """Seal a message in the session that there is now and send it; False: there is none, and nothing has changed.

        ``envelope`` is the one before, where that has left this node.
        """
        secret, old = self._secrets(own, item, envelope)
        life = int(self._clock.life(now))
        try:
            body = encode_body(Body(secret, text, item.message_id), PADDING_STEP if padded else 0)
            sealed = self._sessions.seal(own, item.recipient, body, now)
            if sealed is None:
                return False
            new = self._signing.envelope(
                own,
                item.recipient,
                sealed.payload,
                now,
                secret=secret,
                ttl=item.ttl,
                urgent=item.urgent,
                age=max(0, life - item.born),
            )
        except (CryptoError, WireError):
            return False
        if envelope is not None and old is not None:
            self._relaying.superseded(item, old, envelope_hash(envelope), now)
        self._replace(item, new, now).mark = sealed.mark
        return True

    def undo(self, item: Outgoing, before: Queued, now: float) -> None:
        """Go back to the envelope before, which the store still has."""
        self._remove(item, now)
        self.release(self._outbox.add(before), now)

    def release(self, item: Outgoing, now: float) -> None:
        """Let a message go that is in the store as it is."""
        if item.domain:
            self._sending.hold(item, now, Place.OUTSIDE)
            self.crossings.start(item, None, now)
        else:
            self._sending.release(item, now)

    def _remove(self, item: Outgoing, now: float) -> None:
        self._outbox.remove(item)
        self._sending.drop(item, now)
        if item.domain:
            self.crossings.stop(item.envelope_id, now)

    def _replace(self, item: Outgoing, envelope: Envelope, now: float) -> Outgoing:
        data = encode_envelope(envelope)
        before = Queued(
            user=item.sender,
            message_id=item.message_id,
            envelope_id=item.envelope_id,
            recipient=item.recipient,
            size=item.size,
            urgent=item.urgent,
            ttl=item.ttl,
            born=item.born,
            state=State.QUEUED,
            copies=0,
            sealed=item.post_quantum,
            domain=item.domain,
        )
        self._remove(item, now)
        new = self._outbox.add(
            Queued(
                user=before.user,
                message_id=before.message_id,
                envelope_id=envelope_id(envelope),
                recipient=before.recipient,
                size=len(data),
                urgent=before.urgent,
                ttl=before.ttl,
                born=before.born,
                state=State.QUEUED,
                copies=0,
                sealed=True,
                domain=before.domain,
            )
        )
        new.before = before
        self._effects.count(counters.MESSAGE_RESEALED)
        self._effects.persist(OutboxReseal(new.sender, new.message_id, new.envelope_id, data, sealed=True))
        self._effects.after(StateChanged(new.sender, new.message_id, State.QUEUED, 0, post_quantum=True))
        if new.domain:
            self._sending.hold(new, now, Place.OUTSIDE)
            self.crossings.start(new, data, now)
        else:
            self._sending.start(new, envelope, now)
        return new

    def _secrets(self, own: SecretIdentity, item: Outgoing, envelope: Envelope | None) -> tuple[bytes, bytes | None]:
        """Return the receipt secret of a new sealing, and that of the one before (None: it is not known)."""
        secret = item.message_id
        if envelope is None:
            return secret, None
        for number in range(1, _TIMES):
            following = secret_hash(_TAG, own.seed, item.message_id, bytes((number,)))[:SECRET_SIZE]
            if commitment(secret) == envelope.commitment:
                return following, secret
            secret = following
        return self._chance.random(SECRET_SIZE), None

"""Users' messages for other domains: each handed to the nearest live gateway, and to the next where that is silent.

The message itself stays in the outbox and in custody (``Place.OUTSIDE``) until its receipt comes back from over there;
what travels is a capsule with it inside. So its end, its expiry and its receipt are those of any message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.mesh import counters
from qpq.mesh.due import Due
from qpq.mesh.effects import Recall, State
from qpq.mesh.outbox import Outgoing
from qpq.wire.body import SECRET_SIZE
from qpq.wire.crossing import OutwardBody
from qpq.wire.envelope import encode_envelope, envelope_id
from qpq.wire.query import ANY_GATEWAY
from qpq.wire.receipts import receipt_id

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.mesh.border import Border
    from qpq.mesh.capsules import Capsule, Capsules
    from qpq.mesh.crossings import Parts
    from qpq.mesh.events import Recalled
    from qpq.mesh.gateways import Gateways
    from qpq.mesh.records import FederationInsert
    from qpq.mesh.words import Words
    from qpq.wire.crossing import ProofBody, RefusalBody

_MAX_DOUBLINGS = 32
_SETTLE_S = 1.0
"""The wait after a start before what was on its way is looked at: users and links come first."""


class _Trip:
    """A message that leaves: the gateway it was given to last, the capsule it is in (None: in none at present).

    ``handed``: this very node is the gateway, and a timer finds out whether the store has it. ``taken``: the gateway
    has said that it keeps it, after so many starts (``boot``); ``orphan``: there was no way to it afterwards.
    ``rounds``: how often it was tried in vain. ``refused``: gateways that will not carry it.
    """

    __slots__ = ("boot", "capsule", "gateway", "handed", "message", "orphan", "refused", "rounds", "taken")

    def __init__(self, message: Outgoing) -> None:
        self.message = message
        self.gateway: Address | None = None
        self.capsule: Capsule | None = None
        self.handed = self.taken = self.orphan = False
        self.boot: int | None = None
        self.rounds = 0
        self.refused: tuple[Address, ...] = ()


class Leaving:
    """Keeps a trip for every message to another domain, as many as outboxes hold.

    At most ``outward_window`` are in capsules at once. A timer looks at each: after a gateway's silence, at once where
    the way to it is lost, and, ever more rarely, where the proof from over there has not come back.
    """

    __slots__ = ("_border", "_capsules", "_flying", "_gateways", "_parts", "_trips", "_waiting", "words")

    words: Words

    def __init__(self, parts: Parts, gateways: Gateways, capsules: Capsules, border: Border) -> None:
        self._parts = parts
        self._gateways = gateways
        self._capsules = capsules
        self._border = border
        self._trips: dict[bytes, _Trip] = {}
        self._flying: dict[bytes, Capsule] = {}
        self._waiting: dict[bytes, None] = {}

    # --- what users send -----------------------------------------------------------------------------------

    def start(self, message: Outgoing, data: bytes | None, now: float) -> None:
        """Begin with a message that has just been added; without ``data`` its envelope is read from the store."""
        trip = self._trips[message.envelope_id] = _Trip(message)
        self._go(trip, now, data)

    def restored(self, message: Outgoing) -> None:
        """Take back a message from before a restart; ``resume`` follows."""
        self._trips[message.envelope_id] = _Trip(message)

    def resume(self, now: float) -> None:
        """Look at every message soon."""
        for identifier in self._trips:
            self._parts.timers.set((Due.OUTSIDE, identifier), now + self._parts.chance.stretch(_SETTLE_S))

    def stop(self, identifier: bytes, now: float) -> None:
        """Forget a message that is kept no longer, and the capsule it is in."""
        trip = self._trips.pop(identifier, None)
        if trip is not None:  # else it waited for keys
            self._parts.timers.cancel((Due.OUTSIDE, identifier))
            self._unpack(trip, now)

    def recalled(self, event: Recalled, now: float) -> None:
        """Go on with messages that were read from the store."""
        for envelope in event.envelopes:
            trip = self._trips.get(envelope_id(envelope))
            if trip is not None and trip.capsule is None and not trip.handed and self._kept(trip):
                self._go(trip, now, encode_envelope(envelope))

    # --- what comes back -----------------------------------------------------------------------------------

    def proof(self, body: ProofBody, now: float) -> None:
        """Take the receipt of a message, which proves itself whoever brings it."""
        identifier = receipt_id(body.proof, body.digest)
        item = self._parts.custody.get(identifier)
        if isinstance(item, Outgoing) and item.domain:
            self._parts.effects.count(counters.OUTSIDE_PROVEN)
            self._parts.relaying.proven(item, body.proof, body.digest, None, now)
            self.stop(identifier, now)
        else:
            self._parts.posting.confirmed_late(identifier)

    def refusal(self, sender: Address, body: RefusalBody, now: float) -> None:
        """Take a gateway's word that it will not carry a message: the next is asked, until none is left.

        Without a reason it has no room for the domain at present, and may be asked again.
        """
        trip = self._trips.get(body.about)
        if trip is None and body.reason and sender in self._gateways.all():
            self._parts.asking.refused(body.about, now)
        if trip is None or not self._kept(trip) or sender not in (trip.gateway, *self._gateways.all()):
            return
        if not body.reason:
            self._put_off(trip, sender, now)
            return
        trip.refused = (*trip.refused, sender)
        left = any(gateway not in trip.refused for gateway in self._gateways.all())
        if left:
            self._unpack(trip, now)
            self._go(trip, now)
        else:
            self._refused(trip, body.reason, now)

    def ended(self, capsule: Capsule, now: float | None) -> None:
        """Learn that a gateway has a message, or that its capsule has expired as the message does itself."""
        self._flying.pop(capsule.about, None)
        trip = self._trips.get(capsule.about)
        if trip is None or trip.capsule is not capsule:
            return
        trip.capsule = None
        if now is not None:
            self._gateways.good(capsule.recipient)
            self._taken(trip, now)
            self._next(now)

    def undone(self, capsule: Capsule) -> None:
        """Learn that a capsule could not be stored: its timer brings the message back."""
        self._flying.pop(capsule.about, None)
        trip = self._trips.get(capsule.about)
        if trip is not None:
            trip.capsule = None

    def not_kept(self, operation: FederationInsert, now: float) -> None:
        """Learn that this node, as a gateway, could not store a message of its own user's."""
        trip = self._trips.get(operation.envelope_id)
        if trip is not None and trip.handed:
            trip.handed = False
            self._rest(trip, now)

    def gateway_found(self, now: float) -> None:
        """Go on with what waits for a gateway."""
        for trip in tuple(self._trips.values()):
            if trip.gateway is None and self._kept(trip):
                self._go(trip, now)

    def gateway_lost(self, gateway: Address, now: float) -> None:
        """Have another gateway asked for what is on its way to this one, and soon for what this one has."""
        parts = self._parts
        for identifier, trip in self._trips.items():
            if trip.gateway == gateway and (trip.taken or trip.capsule is not None):
                trip.orphan = trip.taken
                wait = parts.chance.stretch(parts.limits.gateway_s) if trip.taken else 0.0
                parts.timers.set((Due.OUTSIDE, identifier), now + wait)

    def due(self, identifier: bytes, now: float) -> None:
        """Look at a message: it has ended, it is in the store of this gateway, or its capsule was waited for."""
        trip = self._trips[identifier]
        if not self._kept(trip):
            self.stop(identifier, now)
        elif trip.handed:
            trip.handed = False
            self._taken(trip, now)
        elif trip.orphan and trip.gateway is not None and self._parts.routing.boot(trip.gateway) == trip.boot:
            self._taken(trip, now)
        else:
            self._again(trip, now)

    # --- inside --------------------------------------------------------------------------------------------

    def _kept(self, trip: _Trip) -> bool:
        return self._parts.custody.get(trip.message.envelope_id) is trip.message

    def _again(self, trip: _Trip, now: float) -> None:
        """Try once more; a capsule whose receipt has not come goes on only where no other gateway is known."""
        trip.rounds += 1
        capsule, gateway = trip.capsule, trip.gateway
        if trip.taken and gateway is not None:
            self._gateways.tire(gateway, now)
        elif capsule is not None and gateway is not None and self._parts.custody.get(capsule.envelope_id) is capsule:
            self._gateways.tire(gateway, now)
            if self._gateways.choose(trip.refused, now) in (None, gateway):
                self._rest(trip, now)
                return
            self._parts.effects.count(counters.OUTWARD_FAILED_OVER)
            self.words.silent(gateway, now)
            trip.rounds = 0
        self._unpack(trip, now)
        self._go(trip, now)

    def _go(self, trip: _Trip, now: float, data: bytes | None = None) -> None:
        """Hand a message to the nearest gateway; where it must wait a timer is set, and ``data`` is read again."""
        parts, message = self._parts, trip.message
        trip.taken = trip.orphan = False
        self._rest(trip, now)
        gateway = self._gateways.choose(trip.refused, now)
        author = parts.users.get(message.sender)
        if gateway is None:
            trip.gateway = None
            parts.routing.wanted(ANY_GATEWAY, now)
        elif author is None or not self._may_fly(gateway):
            self._waiting[message.envelope_id] = None
        elif data is None:
            parts.effects.after(Recall((message.envelope_id,)))
        else:
            self._waiting.pop(message.envelope_id, None)
            trip.gateway = gateway
            self._hand(trip, author.secret, gateway, data, now)

    def _hand(self, trip: _Trip, own: SecretIdentity, gateway: Address, data: bytes, now: float) -> None:
        parts, message = self._parts, trip.message
        left = max(1, message.born + message.ttl - int(parts.clock.life(now)))
        parts.effects.count(counters.OUTWARD_SENT)
        here = self._gateways.here(gateway)
        if here is None:
            body = OutwardBody(parts.chance.random(SECRET_SIZE), message.domain, data)
            about = message.envelope_id
            capsule = self._capsules.outward(own, gateway, body, now, ttl=left, keeper=self, about=about)
            trip.capsule = self._flying[about] = capsule
            return
        taken = self._border.carry(here, message.sender, message.domain, data, now, left=left)
        if taken == "":
            self._put_off(trip, gateway, now)
        elif isinstance(taken, str):
            self._refused(trip, taken, now)
        elif taken is None:
            trip.handed = True
            parts.timers.set((Due.OUTSIDE, message.envelope_id), now)

    def _may_fly(self, gateway: Address) -> bool:
        return len(self._flying) < self._parts.limits.outward_window or self._gateways.here(gateway) is not None

    def _taken(self, trip: _Trip, now: float) -> None:
        """Note that a gateway keeps a message now; it is sent once more if no proof comes for long."""
        parts, gateway = self._parts, trip.gateway
        trip.taken, trip.orphan = True, False
        trip.boot = None if gateway is None else parts.routing.boot(gateway)
        if trip.message.state is State.QUEUED:
            trip.rounds = 0
            parts.posting.relayed(trip.message)
        others = any(other not in (gateway, *trip.refused) for other in self._gateways.all())
        wait = parts.limits.outside_turn_s if others else parts.limits.outside_again_s
        wait *= 2.0 ** min(trip.rounds, _MAX_DOUBLINGS)
        parts.timers.set((Due.OUTSIDE, trip.message.envelope_id), now + parts.chance.stretch(wait))

    def _rest(self, trip: _Trip, now: float) -> None:
        limits = self._parts.limits
        wait = min(limits.gateway_s * 2.0 ** min(trip.rounds, _MAX_DOUBLINGS), limits.gateway_max_s)
        self._parts.timers.set((Due.OUTSIDE, trip.message.envelope_id), now + self._parts.chance.stretch(wait))

    def _put_off(self, trip: _Trip, gateway: Address, now: float) -> None:
        """Ask another gateway, or this one after a while, in which others' messages can go."""
        limits, chance, flew = self._parts.limits, self._parts.chance, trip.capsule is not None
        self._gateways.tire(gateway, now)
        self._unpack(trip, now)
        trip.taken = False
        if self._gateways.choose(trip.refused, now) not in (None, gateway):
            self._go(trip, now)
            return
        wait = min(limits.gateway_s * 2.0 ** min(trip.rounds, _MAX_DOUBLINGS), limits.gateway_tired_s)
        self._parts.timers.set((Due.OUTSIDE, trip.message.envelope_id), now + chance.stretch(wait))
        if flew:
            self._next(now)

    def _refused(self, trip: _Trip, reason: str, now: float) -> None:
        self._parts.posting.refused(trip.message, reason, now)
        self.stop(trip.message.envelope_id, now)

    def _unpack(self, trip: _Trip, now: float) -> None:
        """Forget the capsule that a message is in."""
        capsule, trip.capsule = trip.capsule, None
        self._flying.pop(trip.message.envelope_id, None)
        self._waiting.pop(trip.message.envelope_id, None)
        if capsule is not None and self._parts.custody.get(capsule.envelope_id) is capsule:
            self._parts.controls.drop(capsule, now)

    def _next(self, now: float) -> None:
        """Let the next message go that waits for its turn."""
        while self._waiting and len(self._flying) < self._parts.limits.outward_window:
            identifier = next(iter(self._waiting))
            del self._waiting[identifier]
            trip = self._trips[identifier]
            if self._kept(trip):
                self._go(trip, now)
                return

"""Broadcasts that other domains bring: of channels that the gateway reads for them, taken as a neighbour's are.

Each goes behind a mark, by which readers know from which domain it is (``mesh.marks``). What is heard in this mesh of
such a channel is told by BroadcastHeard (``mesh.channels``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.crypto.channels import ENTROPY_BYTES, seal_broadcast
from qpq.crypto.identity import Identity
from qpq.crypto.primitives import tagged_hash
from qpq.mesh.effects import OutsideAnswered
from qpq.mesh.flooding import MAX_HOPS
from qpq.mesh.keeping import FOREIGN, Arrival, Rates
from qpq.wire.body import SECRET_SIZE, encode_body
from qpq.wire.crossing import MarkBody
from qpq.wire.envelope import COMMITMENT_SIZE, Mode, envelope_id, sign_envelope
from qpq.wire.frames import CustodyCode

if TYPE_CHECKING:
    from qpq.crypto.identity import SecretIdentity
    from qpq.mesh.crossings import Parts
    from qpq.mesh.events import FromOutside
    from qpq.mesh.users import Channel
    from qpq.wire.body import Body
    from qpq.wire.envelope import Envelope

_TAG = b"qpq/1/domain"
_DOMAINS: Final = 64
"""Domains whose rates are told apart; of more the one heard of longest ago begins anew."""
_MARK_COST: Final = 768
"""What a mark counts against the rates of the domain that it names."""
_LATER: Final = {CustodyCode.QUOTA: "too many broadcasts come from there, or there is no room for this one"}
_NEVER: Final = {
    CustodyCode.EXPIRED: "its time is over",
    CustodyCode.UNREADABLE: "the broadcast is not signed by its sender",
}


class Topics:
    """A domain has the rates of one neighbour, and its part of the room, and is the first to give way there."""

    __slots__ = ("_parts", "_rates")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._rates: dict[str, Rates] = {}

    def enter(self, event: FromOutside, envelope: Envelope, identifier: bytes, now: float) -> None:
        """Take a broadcast into this mesh; one that is known here is as good as taken."""
        clock, via, own = self._parts.clock, _via(event.domain), self._parts.users.gateway
        found = self._parts.channels.shared(envelope)
        if found is None or own is None:
            self._answer(event.token, "it is of no channel that this gateway shares", retry=False)
            return
        channel, body = found
        rates = self._rates_of(event.domain, now)
        age = clock.believed(event.age, envelope.timestamp, envelope.ttl, clock.stamp(now), now)
        arrival = Arrival(envelope, identifier, via, int(clock.life(now)) - age, 1, news=True)

        def mark() -> Arrival:
            rates.take(own.secret.address, _MARK_COST, now)
            return self._mark(own.secret, event.domain, channel, body, arrival)

        code = self._parts.flooding.enter(arrival, via, rates, now, mark=mark)
        if code in _LATER:
            self._answer(event.token, _LATER[code], retry=True)
        else:
            self._answer(event.token, _NEVER.get(code, ""), retry=False)

    def _mark(self, secret: SecretIdentity, domain: str, channel: Channel, body: Body, about: Arrival) -> Arrival:
        """Make the envelope that says where a broadcast came from; it lives as long as that and goes as far."""
        envelope, random = about.envelope, self._parts.chance.random
        said = MarkBody(random(SECRET_SIZE), domain, envelope.sender, body.message_id)
        self._parts.channels.marks.take(channel, secret.address, said, fresh=True)
        payload = seal_broadcast(
            channel.key,
            random(ENTROPY_BYTES),
            encode_body(said),
            tag=envelope.recipient,
            sender=secret.address,
        )
        made = sign_envelope(
            secret,
            recipient=envelope.recipient,
            payload=payload,
            commitment=random(COMMITMENT_SIZE),
            ttl=envelope.ttl,
            max_hops=MAX_HOPS,
            timestamp=envelope.timestamp,
            mode=Mode.CHANNEL,
        )
        return Arrival(made, envelope_id(made), about.via, about.born, about.hops, news=True)

    def _rates_of(self, domain: str, now: float) -> Rates:
        rates = self._rates.pop(domain, None) or Rates(self._parts.limits, now)
        if len(self._rates) >= _DOMAINS:
            del self._rates[next(iter(self._rates))]
        self._rates[domain] = rates
        return rates

    def _answer(self, token: bytes, reason: str, *, retry: bool) -> None:
        self._parts.effects.after(OutsideAnswered(token, reason, retry))


def _via(domain: str) -> Identity:
    """Return what stands in the place of a neighbour's key for what a domain brought."""
    return Identity(FOREIGN + tagged_hash(_TAG, domain.encode())[len(FOREIGN) :])

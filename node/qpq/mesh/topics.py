"""Broadcasts that other domains bring: of channels that the gateway reads for them, taken as a neighbour's are.

What is heard in this mesh of such a channel is told by BroadcastHeard (``mesh.channels``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.crypto.identity import Identity
from qpq.crypto.primitives import tagged_hash
from qpq.mesh.effects import OutsideAnswered
from qpq.mesh.keeping import FOREIGN, Arrival, Rates
from qpq.wire.frames import CustodyCode

if TYPE_CHECKING:
    from qpq.mesh.crossings import Parts
    from qpq.mesh.events import FromOutside
    from qpq.wire.envelope import Envelope

_TAG = b"qpq/1/domain"
_DOMAINS: Final = 64
"""Domains whose rates are told apart; of more the one heard of longest ago begins anew."""
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
        clock, via = self._parts.clock, _via(event.domain)
        if not self._parts.channels.shares(envelope):
            self._answer(event.token, "it is of no channel that this gateway shares", retry=False)
            return
        age = clock.believed(event.age, envelope.timestamp, envelope.ttl, clock.stamp(now), now)
        arrival = Arrival(envelope, identifier, via, int(clock.life(now)) - age, 1, news=True)
        code = self._parts.flooding.enter(arrival, via, self._rates_of(event.domain, now), now)
        if code in _LATER:
            self._answer(event.token, _LATER[code], retry=True)
        else:
            self._answer(event.token, _NEVER.get(code, ""), retry=False)

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

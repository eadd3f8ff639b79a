"""Names of other domains: asked of the nearest gateway, whose word the answer is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.mesh.due import Due
from qpq.mesh.effects import LookupDone
from qpq.wire.crossing import LookupBody
from qpq.wire.errors import FieldError
from qpq.wire.query import ANY_GATEWAY

if TYPE_CHECKING:
    from qpq.crypto.identity import Address
    from qpq.mesh.border import Border
    from qpq.mesh.capsules import Capsules
    from qpq.mesh.crossings import Parts
    from qpq.mesh.events import Lookup
    from qpq.mesh.gateways import Gateways

_TTL = 300
"""Seconds that a question or its answer lives on its way."""


class _Asked:
    """A question, and the gateway it was put to; None: none is known yet."""

    __slots__ = ("event", "gateway")

    def __init__(self, event: Lookup) -> None:
        self.event = event
        self.gateway: Address | None = None


class Lookups:
    """At most ``limits.lookups`` at once; each is answered by LookupDone, at the latest when its time is over."""

    __slots__ = ("_asked", "_border", "_capsules", "_gateways", "_parts")

    def __init__(self, parts: Parts, gateways: Gateways, capsules: Capsules, border: Border) -> None:
        self._parts = parts
        self._gateways = gateways
        self._capsules = capsules
        self._border = border
        self._asked: dict[bytes, _Asked] = {}

    def ask(self, event: Lookup, now: float) -> None:
        """Take a user's question."""
        if len(self._asked) >= self._parts.limits.lookups:
            self._done(event, "too many names are looked up at once: try again in a while")
            return
        self._parts.routing.acted(event.user)
        asked = self._asked[event.token] = _Asked(event)
        self._parts.timers.set((Due.LOOKUP, event.token), now + self._parts.limits.lookup_s)
        self._put(asked, now)

    def gateway_found(self, now: float) -> None:
        """Put the questions that wait for a gateway."""
        for asked in tuple(self._asked.values()):
            if asked.gateway is None:
                self._put(asked, now)

    def found(self, sender: Address, token: bytes, address: bytes, domain: str, reason: str) -> None:
        """Take the answer of the gateway that was asked."""
        asked = self._asked.get(token)
        if asked is not None and asked.gateway == sender:
            self._parts.timers.cancel((Due.LOOKUP, token))
            del self._asked[token]
            self._parts.effects.after(LookupDone(token, address, domain, reason))

    def due(self, token: bytes, _now: float) -> None:
        """Give up a question."""
        asked = self._asked.pop(token)
        if asked.gateway is None:
            reason = "no gateway of this mesh was found: it has none, or none can be reached now"
        else:
            reason = "the gateway has not answered: try again in a while"
        self._done(asked.event, reason)

    def _put(self, asked: _Asked, now: float) -> None:
        event, parts = asked.event, self._parts
        user, gateway = parts.users.get(event.user), self._gateways.choose((), now)
        try:
            body = LookupBody(event.token, event.name, event.domain)
        except FieldError as fault:
            self._end(asked, str(fault))
            return
        if user is None:
            self._end(asked, "no such user on this node")
        elif gateway is None:
            parts.routing.wanted(ANY_GATEWAY, now)
        elif self._gateways.here(gateway) is not None:
            asked.gateway = gateway
            self._border.lookup(event.user, body)
        elif not self._capsules.room():
            self._end(asked, "too much is on its way to gateways: try again in a while")
        else:
            asked.gateway = gateway
            self._capsules.word(user.secret, gateway, body, now, ttl=_TTL, keeper=self._border)

    def _end(self, asked: _Asked, reason: str) -> None:
        self._parts.timers.cancel((Due.LOOKUP, asked.event.token))
        del self._asked[asked.event.token]
        self._done(asked.event, reason)

    def _done(self, event: Lookup, reason: str) -> None:
        self._parts.effects.do(LookupDone(event.token, b"", event.domain, reason))

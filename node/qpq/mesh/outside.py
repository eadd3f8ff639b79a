"""The machines for other domains, wired together, and which of them takes what a seal held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.mesh import counters
from qpq.mesh.border import Border
from qpq.mesh.capsules import Capsules
from qpq.mesh.fetching import Fetching
from qpq.mesh.gateways import Gateways
from qpq.mesh.ingress import Allowances
from qpq.mesh.leaving import Leaving
from qpq.mesh.lookups import Lookups
from qpq.mesh.topics import Topics
from qpq.mesh.words import Words
from qpq.wire.body import SECRET_SIZE
from qpq.wire.crossing import FoundBody, InwardBody, LookupBody, OutwardBody, ProofBody, RefusalBody
from qpq.wire.envelope import DEFAULT_TTL, Mode, decode_envelope, envelope_hash, id_of
from qpq.wire.errors import WireError
from qpq.wire.frames import CustodyCode

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.mesh.crossings import Parts
    from qpq.mesh.users import LocalUser
    from qpq.wire.crossing import Crossing

_REFUSED = {
    CustodyCode.QUOTA: CustodyCode.BLOCKED,
    CustodyCode.LATER: CustodyCode.BLOCKED,
    CustodyCode.BAD_SIGNATURE: CustodyCode.UNREADABLE,
}
"""What the link is told of an envelope that a gateway brought in one of its own."""


class Outside:
    """``take`` is for what came sealed to a user here or to this gateway; the rest is for the machines themselves."""

    __slots__ = ("_capsules", "_gateways", "_parts", "border", "fetching", "leaving", "lookups", "trials", "words")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.trials = Allowances(parts.limits)
        self._gateways = Gateways(parts)
        self._capsules = Capsules(parts)
        self.border = Border(parts, self._capsules)
        self.border.topics = Topics(parts)
        self.leaving = self.border.leaving = Leaving(parts, self._gateways, self._capsules, self.border)
        self.lookups = self.border.lookups = Lookups(parts, self._gateways, self._capsules, self.border)
        self.fetching = Fetching(parts)
        self.words = self.leaving.words = Words(parts, self._gateways, self._capsules, self.border)

    def take(
        self, body: Crossing, sender: Address, reader: tuple[LocalUser, SecretIdentity], left: int, now: float
    ) -> CustodyCode | None:
        """Take what a seal held; None: done, else why it is not taken."""
        if reader[0].gateway:
            return self._for_gateway(reader[0], body, sender, left, now)
        if isinstance(body, InwardBody):
            return self._enter(body, sender, reader, now)
        if isinstance(body, ProofBody):
            self.leaving.proof(body, now)
        elif isinstance(body, RefusalBody):
            self.leaving.refusal(sender, body, now)
        elif isinstance(body, FoundBody):
            self.lookups.found(sender, body.token, body.address, body.domain, body.reason)
        else:
            return CustodyCode.UNREADABLE
        return None

    def route_found(self, address: Address, now: float) -> None:
        """Go on with what waits for a gateway, if this is one."""
        if address in self._parts.routing.gateways():
            self._gateways.good(address)
            self.leaving.gateway_found(now)
            self.lookups.gateway_found(now)
            self.words.gateway_found(now)

    def _for_gateway(
        self, own: LocalUser, body: Crossing, sender: Address, left: int, now: float
    ) -> CustodyCode | None:
        if isinstance(body, OutwardBody):
            return self.border.outward(own, sender, body, left, now)
        if isinstance(body, ProofBody):
            return self.border.proof(sender, body, now)
        if not isinstance(body, LookupBody):
            return CustodyCode.UNREADABLE
        self.border.lookup(sender, body)
        return None

    def _enter(
        self, body: InwardBody, gateway: Address, reader: tuple[LocalUser, SecretIdentity], now: float
    ) -> CustodyCode | None:
        """Deliver what a gateway brought and prove that to it, both in one transaction; or neither. Not so words.

        What has no room now is answered with BLOCKED, after which the last relay tries it again in an hour: QUOTA would
        have it wait with everything else there is for this recipient, and other domains must not hold that up.
        """
        try:
            envelope = decode_envelope(body.envelope)
        except WireError:
            return CustodyCode.UNREADABLE
        digest = envelope_hash(envelope)
        identifier = id_of(envelope.commitment, digest)
        if envelope.mode is not Mode.UNICAST or envelope.recipient != reader[1].address:
            return CustodyCode.UNREADABLE
        if not self._capsules.room():
            return CustodyCode.BLOCKED
        found = self._parts.receiving.enter(
            envelope, reader, now, domain=body.domain, identifier=identifier, digest=digest, verified=False
        )
        if isinstance(found, CustodyCode):
            return _REFUSED.get(found, found)
        self._parts.effects.count(counters.INWARD_DELIVERED)
        if found:
            secret = self._parts.chance.random(SECRET_SIZE)
            proof = ProofBody(secret, body.domain, envelope.sender, found, digest)
            self._capsules.word(reader[1], gateway, proof, now, ttl=DEFAULT_TTL, keeper=self.border)
        return None

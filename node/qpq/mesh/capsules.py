"""Envelopes between users and gateways: made here, in custody like messages, without a place in any outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qpq.mesh import counters
from qpq.mesh.controls import Control
from qpq.wire.body import PADDING_STEP, encode_body

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.mesh.crossings import Parts
    from qpq.mesh.records import Relayed
    from qpq.mesh.sessions import Mark, Sealed
    from qpq.wire.crossing import Crossing, OutwardBody


class Keeper(Protocol):
    """Who wants to know what becomes of a capsule."""

    def ended(self, capsule: Capsule, now: float | None) -> None:
        """It has been proven delivered, or (None) its time is over."""
        ...

    def undone(self, capsule: Capsule) -> None:
        """It could not be stored, and is kept no longer."""
        ...


class Capsule(Control):
    """One on its way; ``about`` is the id of the envelope inside, ``domain`` where that goes or comes from.

    ``token`` is the caller's who brought it (OutsideAnswered).
    """

    __slots__ = ("about", "domain", "keeper", "token")

    def __init__(
        self, row: Relayed, mark: Mark | None, *, keeper: Keeper, about: bytes, domain: str, token: bytes
    ) -> None:
        super().__init__(row, mark)
        self.keeper = keeper
        self.about = about
        self.domain = domain
        self.token = token

    def ended(self, now: float | None) -> None:
        """Pass it on."""
        self.keeper.ended(self, now)

    def undone(self) -> None:
        """Pass it on."""
        self.keeper.undone(self)


class Capsules:
    """Seals and sends them; who asks for one bounds their number, but that of ``words`` is bounded here.

    What goes to a gateway goes in a session if there is one: its sender has what is inside and can send it anew. What
    comes from one, and every word, is sealed to the identity key, which a node that lost its sessions still has: a
    gateway has what is inside only until it is handed on.
    """

    __slots__ = ("_parts", "_words")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._words: dict[bytes, Capsule] = {}

    def outward(
        self,
        own: SecretIdentity,
        gateway: Address,
        body: OutwardBody,
        now: float,
        *,
        ttl: int,
        keeper: Keeper,
        about: bytes,
    ) -> Capsule:
        """Send what goes to another domain to a gateway."""
        parts, plaintext = self._parts, encode_body(body, PADDING_STEP)
        sealed = parts.sessions.seal(own, gateway, plaintext, now)
        if sealed is None and parts.asking.begin(own, gateway, now):
            sealed = parts.sessions.seal(own, gateway, plaintext, now)
        if sealed is None:
            sealed = parts.sessions.seal_classical(own.address, gateway, plaintext)
        capsule = self._post(own, gateway, sealed, body, now, ttl=ttl, keeper=keeper, about=about)
        if sealed.mark is None:
            parts.asking.expect(capsule.envelope_id, (own.address, gateway))
        return capsule

    def inward(
        self,
        own: SecretIdentity,
        recipient: Address,
        body: Crossing,
        now: float,
        *,
        ttl: int,
        keeper: Keeper,
        about: bytes,
        domain: str,
        token: bytes,
    ) -> Capsule:
        """Send what came from another domain to its recipient; raises CryptoError where that is no usable key."""
        sealed = self._parts.sessions.seal_classical(own.address, recipient, encode_body(body, PADDING_STEP))
        return self._post(
            own, recipient, sealed, body, now, ttl=ttl, keeper=keeper, about=about, domain=domain, token=token
        )

    def room(self) -> bool:
        """Whether one more word may be sent."""
        limits, custody = self._parts.limits, self._parts.custody
        if len(self._words) >= limits.outside_words:
            self._words = {key: word for key, word in self._words.items() if custody.get(key) is word}
        if len(self._words) < limits.outside_words:
            return True
        self._parts.effects.count(counters.CONTROL_OVER_CAP)
        return False

    def word(
        self,
        own: SecretIdentity,
        recipient: Address,
        body: Crossing,
        now: float,
        *,
        ttl: int,
        keeper: Keeper,
        token: bytes = b"",
    ) -> Capsule:
        """Send a word, for which there is ``room``; raises CryptoError where the recipient is no usable key."""
        sealed = self._parts.sessions.seal_classical(own.address, recipient, encode_body(body, PADDING_STEP))
        capsule = self._post(own, recipient, sealed, body, now, ttl=ttl, keeper=keeper, token=token)
        self._words[capsule.envelope_id] = capsule
        return capsule

    def _post(
        self,
        own: SecretIdentity,
        recipient: Address,
        sealed: Sealed,
        body: Crossing,
        now: float,
        *,
        ttl: int,
        keeper: Keeper,
        about: bytes = b"",
        domain: str = "",
        token: bytes = b"",
    ) -> Capsule:
        def make(row: Relayed, mark: Mark | None) -> Capsule:
            return Capsule(row, mark, keeper=keeper, about=about, domain=domain, token=token)

        return self._parts.controls.post(own, recipient, sealed, now, secret=body.secret, ttl=ttl, make=make)

"""Words about keys to users of other domains: each handed once to the nearest gateway.

They cross as messages do, each in an envelope from user to user, but nobody proves them: who gets no answer asks anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from qpq.mesh import counters
from qpq.wire.body import SECRET_SIZE, BodyKind
from qpq.wire.crossing import OutwardBody
from qpq.wire.envelope import encode_envelope, envelope_id
from qpq.wire.query import ANY_GATEWAY

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.mesh.border import Border
    from qpq.mesh.capsules import Capsule, Capsules
    from qpq.mesh.crossings import Parts
    from qpq.mesh.gateways import Gateways
    from qpq.mesh.sessions import Sealed

_Name: TypeAlias = "tuple[Address, Address, BodyKind]"


class _Word:
    """``about`` is its envelope's id, ``data`` the envelope, ``until`` seconds of life; without a capsule it waits."""

    __slots__ = ("about", "capsule", "data", "domain", "sender", "until")

    def __init__(self, sender: Address, domain: str, about: bytes, data: bytes, until: int) -> None:
        self.sender = sender
        self.domain = domain
        self.about = about
        self.data = data
        self.until = until
        self.capsule: Capsule | None = None


class Words:
    """Of a kind one from one user to another, which a later one replaces; of ``limits.controls`` the oldest goes."""

    __slots__ = ("_border", "_capsules", "_gateways", "_parts", "_words")

    def __init__(self, parts: Parts, gateways: Gateways, capsules: Capsules, border: Border) -> None:
        self._parts = parts
        self._gateways = gateways
        self._capsules = capsules
        self._border = border
        self._words: dict[_Name, _Word] = {}

    def send(
        self,
        own: SecretIdentity,
        peer: Address,
        kind: BodyKind,
        sealed: Sealed,
        now: float,
        *,
        domain: str,
        secret: bytes,
        ttl: int,
    ) -> bytes | None:
        """Send a sealed word, whose receipt secret this is; return the id of its envelope.

        None: this very node is the gateway and carries nothing there.
        """
        parts, name = self._parts, (own.address, peer, kind)
        if name in self._words:
            self._drop(name, now)
        elif len(self._words) >= parts.limits.controls:
            parts.effects.count(counters.CONTROL_OVER_CAP)
            self._drop(next(iter(self._words)), now)
        envelope = parts.signing.envelope(own, peer, sealed.payload, now, secret=secret, ttl=ttl)
        until = int(parts.clock.life(now)) + ttl
        word = _Word(own.address, domain, envelope_id(envelope), encode_envelope(envelope), until)
        self._words[name] = word
        return word.about if self._go(name, word, now) else None

    def gateway_found(self, now: float) -> None:
        """Hand on what waits for a gateway."""
        for name, word in tuple(self._words.items()):
            if word.capsule is None:
                self._go(name, word, now)

    def silent(self, gateway: Address, now: float) -> None:
        """Hand on to another gateway what this one has not taken."""
        for name, word in tuple(self._words.items()):
            if word.capsule is not None and word.capsule.recipient == gateway:
                self._unpack(word, now)
                self._go(name, word, now)

    # --- what becomes of it (mesh.capsules.Keeper) ----------------------------------------------------------

    def ended(self, capsule: Capsule, _now: float | None) -> None:
        """Forget a word that a gateway has, or whose time is over."""
        self.undone(capsule)

    def undone(self, capsule: Capsule) -> None:
        """Forget a word that could not be stored."""
        self._words = {name: word for name, word in self._words.items() if word.capsule is not capsule}

    # --- inside --------------------------------------------------------------------------------------------

    def _go(self, name: _Name, word: _Word, now: float) -> bool:
        """Hand a word on, or let it wait; False: it is refused here and now."""
        parts, gateway = self._parts, self._gateways.choose((), now)
        reader, left = parts.users.reader(word.sender), word.until - int(parts.clock.life(now))
        if reader is None or left <= 0:
            del self._words[name]
        elif gateway is None:
            parts.routing.wanted(ANY_GATEWAY, now)
        else:
            here = self._gateways.here(gateway)
            if here is not None:
                del self._words[name]
                refused = self._border.carry(here, word.sender, word.domain, word.data, now, left=left)
                return not isinstance(refused, str)
            body = OutwardBody(parts.chance.random(SECRET_SIZE), word.domain, word.data)
            word.capsule = self._capsules.outward(
                reader[1], gateway, body, now, ttl=left, keeper=self, about=word.about
            )
        return True

    def _drop(self, name: _Name, now: float) -> None:
        self._unpack(self._words.pop(name), now)

    def _unpack(self, word: _Word, now: float) -> None:
        capsule, word.capsule = word.capsule, None
        if capsule is not None:
            self._parts.controls.drop(capsule, now)

"""Words about keys from here to other users: envelopes in custody like messages, without a place in any outbox.

They are stored, so that they are tried again as messages are; one that is lost with a store is asked for anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

from qpq.mesh import counters
from qpq.mesh.custody import Held
from qpq.mesh.deposits import inserted
from qpq.mesh.records import Relayed
from qpq.mesh.signing import MADE_HERE
from qpq.wire.envelope import encode_envelope, envelope_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.custody import Custody
    from qpq.mesh.limits import Limits
    from qpq.mesh.relaying import Relaying
    from qpq.mesh.sending import Sending
    from qpq.mesh.sessions import Mark, Sealed
    from qpq.mesh.signing import Signing
    from qpq.wire.body import BodyKind

TTL = 86_400
"""Seconds that a word about keys lives."""

_Name: TypeAlias = "tuple[Address, Address, BodyKind]"
ControlT = TypeVar("ControlT", bound="Control")


class Control(Held):
    """A word about keys on its way."""

    __slots__ = ("mark",)

    own = True
    word = True

    def __init__(self, row: Relayed, mark: Mark | None = None) -> None:
        super().__init__(row, row.sender, None, hops=0, max_hops=MADE_HERE, copies=row.copies)
        self.mark = mark


class Controls:
    """At most ``limits.controls`` on their way; of a kind one from one user to another, which a later one replaces."""

    __slots__ = ("_clock", "_custody", "_effects", "_items", "_limits", "_relaying", "_sending", "_signing")

    def __init__(
        self,
        *,
        limits: Limits,
        clock: Clock,
        effects: Effects,
        custody: Custody,
        sending: Sending,
        relaying: Relaying,
        signing: Signing,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._effects = effects
        self._custody = custody
        self._sending = sending
        self._relaying = relaying
        self._signing = signing
        self._items: list[tuple[_Name | None, Control]] = []

    def restore(self, row: Relayed) -> None:
        """Take back what was on its way before a restart; neighbours may have copies that are not known here."""
        item = Control(row)
        item.unsure = True
        self._relaying.keep_own(item)
        self._items.append((None, item))

    def send(
        self, own: SecretIdentity, recipient: Address, kind: BodyKind, sealed: Sealed, now: float, *, secret: bytes
    ) -> bytes | None:
        """Send a sealed word, whose receipt secret this is; return its envelope id, None: too many are on their way."""
        name = (own.address, recipient, kind)
        self._forget(name, now)
        if len(self._items) >= self._limits.controls:
            self._effects.count(counters.CONTROL_OVER_CAP)
            return None
        item = self.post(own, recipient, sealed, now, secret=secret, ttl=TTL, make=Control)
        self._items.append((name, item))
        return item.envelope_id

    def post(
        self,
        own: SecretIdentity,
        recipient: Address,
        sealed: Sealed,
        now: float,
        *,
        secret: bytes,
        ttl: int,
        make: Callable[[Relayed, Mark | None], ControlT],
        urgent: bool = False,
    ) -> ControlT:
        """Send what is sealed as an envelope of its own; the caller bounds their number. Raises WireError."""
        envelope = self._signing.envelope(own, recipient, sealed.payload, now, secret=secret, ttl=ttl, urgent=urgent)
        data = encode_envelope(envelope)
        row = Relayed(
            envelope_id=envelope_id(envelope),
            sender=own.address,
            recipient=recipient,
            via=None,
            urgent=urgent,
            ttl=ttl,
            born=int(self._clock.life(now)),
            hops=0,
            max_hops=MADE_HERE,
            copies=self._limits.spray_copies,
            size=len(data),
        )
        item = make(row, sealed.mark)
        self._relaying.keep_own(item)
        self._effects.persist(inserted(row, data))
        self._sending.start(item, envelope, now)
        return item

    def drop(self, item: Control, now: float) -> None:
        """Send a word no longer."""
        self._relaying.forget(item, now)

    def user_removed(self, user: Address, now: float) -> None:
        """Send nothing more for a user who is gone."""
        for _, item in self._items:
            if item.sender == user and self._custody.get(item.envelope_id) is item:
                self.drop(item, now)

    def _forget(self, name: _Name, now: float) -> None:
        """Leave out what has arrived or expired, and drop what a new word replaces."""
        alive = [(other, item) for other, item in self._items if self._custody.get(item.envelope_id) is item]
        for other, item in alive:
            if other == name:
                self.drop(item, now)
        self._items = [(other, item) for other, item in alive if other != name]

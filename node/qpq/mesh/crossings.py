"""The door to other domains: loads the machines behind it with the first thing that concerns one.

Few messages cross, and most nodes never see one: those pay for this file alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.mesh import events
    from qpq.mesh.asking import Asking
    from qpq.mesh.chance import Chance
    from qpq.mesh.channels import Channels
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.controls import Controls
    from qpq.mesh.custody import Custody
    from qpq.mesh.due import Timer
    from qpq.mesh.events import Recalled
    from qpq.mesh.flooding import Flooding
    from qpq.mesh.ingress import Allowances
    from qpq.mesh.limits import Limits
    from qpq.mesh.outbox import Outgoing
    from qpq.mesh.outside import Outside
    from qpq.mesh.posting import Posting
    from qpq.mesh.receiving import Receiving
    from qpq.mesh.records import FederationInsert, InboxInsert
    from qpq.mesh.relaying import Relaying
    from qpq.mesh.routing import Routing
    from qpq.mesh.sessions import Sealed, Sessions
    from qpq.mesh.signing import Signing
    from qpq.mesh.timers import Timers
    from qpq.mesh.users import LocalUser, Users
    from qpq.wire.body import BodyKind, Keys
    from qpq.wire.crossing import Crossing
    from qpq.wire.frames import CustodyCode


@dataclass(frozen=True, slots=True)
class Parts:
    """The machines of a core that those for other domains work with."""

    limits: Limits
    clock: Clock
    chance: Chance
    timers: Timers[Timer]
    effects: Effects
    users: Users
    custody: Custody
    routing: Routing
    sessions: Sessions
    signing: Signing
    controls: Controls
    asking: Asking
    posting: Posting
    relaying: Relaying
    receiving: Receiving
    flooding: Flooding
    channels: Channels


class Crossings:
    """Passes on what concerns other domains (``mesh.outside``); nothing does before the first of it."""

    __slots__ = ("_outside", "_parts")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._outside: Outside | None = None

    @property
    def outside(self) -> Outside:
        """Return the machines, made now if this is the first time."""
        if self._outside is None:
            from qpq.mesh.outside import Outside  # noqa: PLC0415 (see above)

            self._outside = Outside(self._parts)
        return self._outside

    # --- what is sent from here --------------------------------------------------------------------------

    def restored(self, message: Outgoing) -> None:
        """Take back a message for another domain from before a restart."""
        self.outside.leaving.restored(message)

    def start(self, message: Outgoing, data: bytes | None, now: float) -> None:
        """Begin with a message for another domain; ``data`` is its envelope (None: the store has it)."""
        self.outside.leaving.start(message, data, now)

    def stop(self, envelope_id: bytes, now: float) -> None:
        """Send a message no longer that is not kept any more."""
        self.outside.leaving.stop(envelope_id, now)

    def word(
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
        """Send a word about keys to a user of another domain; return the id of its envelope (None: refused here)."""
        return self.outside.words.send(own, peer, kind, sealed, now, domain=domain, secret=secret, ttl=ttl)

    def lookup(self, event: events.Lookup, now: float) -> None:
        """Ask a gateway for an address."""
        self.outside.lookups.ask(event, now)

    # --- what comes in the seals of others, and to a gateway from outside ---------------------------------

    @property
    def trials(self) -> Allowances:
        """What other domains may bring users of this node, all together."""
        return self.outside.trials

    def take(
        self,
        body: Crossing,
        sender: Address,
        reader: tuple[LocalUser, SecretIdentity],
        left: int,
        now: float,
    ) -> CustodyCode | None:
        """Take what a seal held; ``left``: seconds of its envelope's ttl. None: done, else why it is not taken."""
        return self.outside.take(body, sender, reader, left, now)

    def from_outside(self, event: events.FromOutside, now: float) -> None:
        """Bring an envelope from another domain into the mesh."""
        self.outside.border.from_outside(event, now)

    def proof(self, event: events.OutsideProof, now: float) -> None:
        """Bring a receipt from another domain to the sender."""
        self.outside.border.outside_proof(event, now)

    def refused(self, event: events.OutsideRefused, now: float) -> None:
        """Tell a sender that another domain does not take a message."""
        self.outside.border.outside_refused(event, now)

    def found(self, event: events.OutsideFound, now: float) -> None:
        """Tell who asked for an address."""
        self.outside.border.outside_found(event, now)

    def bundle(self, event: events.BundleAsked, now: float) -> None:
        """Get the keys by which somebody of another domain begins a session."""
        self.outside.fetching.ask(event, now)

    def keys(self, sender: Address, body: Keys, now: float) -> bool:
        """Take the keys that another domain wanted; False: it wanted none of these."""
        return self._outside is not None and self._outside.fetching.taken(sender, body, now)

    # --- what else happens -----------------------------------------------------------------------------------

    def rearm(self, now: float) -> None:
        """Look at all that waits: the clock of life starts or has jumped."""
        if self._outside is not None:
            self._outside.leaving.resume(now)

    def recalled(self, event: Recalled, now: float) -> None:
        """Take what was read from the store, as far as it goes to another domain."""
        if self._outside is not None:
            self._outside.leaving.recalled(event, now)

    def route_found(self, address: Address, now: float) -> None:
        """Send what waits for a gateway."""
        if self._outside is not None:
            self._outside.route_found(address, now)

    def route_lost(self, address: Address, now: float) -> None:
        """Give what a gateway was to carry to another."""
        if self._outside is not None:
            self._outside.leaving.gateway_lost(address, now)

    def due(self, envelope_id: bytes, now: float) -> None:
        """Look at a message that leaves."""
        self.outside.leaving.due(envelope_id, now)

    def lookup_due(self, token: bytes, now: float) -> None:
        """Give up a question."""
        self.outside.lookups.due(token, now)

    def fetch_due(self, about: bytes, now: float) -> None:
        """Wait for keys no longer."""
        self.outside.fetching.due(about, now)

    def not_kept(self, operation: FederationInsert, now: float) -> None:
        """Take back that something was handed on: the store could not take it."""
        self.outside.leaving.not_kept(operation, now)
        self.outside.border.not_kept(operation, now)

    def not_delivered(self, operation: InboxInsert) -> None:
        """Tell the gateway's caller that a message for a user here could not be stored."""
        self.outside.border.not_delivered(operation.envelope_id)

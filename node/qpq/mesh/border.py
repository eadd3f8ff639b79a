"""A gateway's part: what its mesh sends to other domains, and what comes from there, each kept before it is answered.

Between an envelope that came in and the proof that its recipient has it a gateway remembers nothing: the proof names
domain and sender, so any gateway of the mesh can carry it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.crypto.errors import CryptoError
from qpq.mesh import counters
from qpq.mesh.buckets import Bucket
from qpq.mesh.effects import InsideProof, OutsideAnswered, OutsideLookup, Outward
from qpq.mesh.records import FederationInsert
from qpq.wire.body import SECRET_SIZE
from qpq.wire.crossing import FoundBody, InwardBody, ProofBody, RefusalBody, short_reason
from qpq.wire.envelope import (
    DEFAULT_TTL,
    Mode,
    decode_envelope,
    envelope_hash,
    envelope_id,
    verify_envelope,
)
from qpq.wire.errors import WireError
from qpq.wire.frames import CustodyCode
from qpq.wire.receipts import receipt_id

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.mesh.capsules import Capsule, Capsules
    from qpq.mesh.crossings import Parts
    from qpq.mesh.events import FromOutside, OutsideFound, OutsideProof, OutsideRefused
    from qpq.mesh.leaving import Leaving
    from qpq.mesh.lookups import Lookups
    from qpq.mesh.topics import Topics
    from qpq.mesh.users import LocalUser
    from qpq.wire.crossing import Crossing, LookupBody, OutwardBody
    from qpq.wire.envelope import Envelope

MESSAGE, PROOF = 0, 1
"""Kinds of FederationInsert."""

_ANSWER_TTL = 300
_FULL = 64
_FULL_S = 60.0
"""Domains remembered as having no room in the store, and how long; of more the oldest is forgotten."""
_ENTERING = 64
"""Messages for users of this very node whose transaction is under way; of more the oldest is forgotten."""


class Border:
    """Checks, limits and passes on; foreign traffic has a share of its own on the way into the mesh.

    Of at most ``inward_count`` capsules that go in, one domain has ``inward_domain``; half of both is for recipients to
    whom there is a way. What one user sends out is limited
    by a rate, of ``outward_users`` users the one heard of longest ago is forgotten.
    """

    __slots__ = (
        "_capsules",
        "_entering",
        "_full",
        "_inward",
        "_parts",
        "_rates",
        "_seeking",
        "leaving",
        "lookups",
        "topics",
    )

    leaving: Leaving
    lookups: Lookups
    topics: Topics

    def __init__(self, parts: Parts, capsules: Capsules) -> None:
        self._parts = parts
        self._capsules = capsules
        self._inward: dict[bytes, Capsule] = {}
        self._rates: dict[Address, Bucket] = {}
        self._entering: dict[bytes, bytes] = {}
        self._full: dict[str, float] = {}
        self._seeking: Bucket | None = None

    # --- out of the mesh -------------------------------------------------------------------------------------

    def outward(self, own: LocalUser, sender: Address, body: OutwardBody, left: int, now: float) -> CustodyCode | None:
        """Take what a user of another node sends to another domain; what is refused for good is answered with why."""
        taken = self.carry(own, sender, body.domain, body.envelope, now, left=left)
        if isinstance(taken, CustodyCode):
            return taken
        if taken is not None:
            about = envelope_id(decode_envelope(body.envelope))
            return self._say(own, sender, RefusalBody(self._secret(), about, taken), now, ttl=DEFAULT_TTL)
        return None

    def carry(
        self, own: LocalUser, sender: Address, domain: str, data: bytes, now: float, *, left: int
    ) -> CustodyCode | str | None:
        """Keep an envelope for another domain; a code: not (now), text: never, for this reason; empty: not now.

        ``left``: the seconds it has to live.
        """
        parts = self._parts
        if not self._admits(sender, now):
            return CustodyCode.QUOTA
        try:
            envelope = decode_envelope(data)
        except WireError:
            return CustodyCode.UNREADABLE
        identifier = envelope_id(envelope)
        if envelope.mode is not Mode.UNICAST or envelope.sender != sender or not verify_envelope(envelope, identifier):
            return CustodyCode.UNREADABLE
        if domain == own.gateway:
            return f"{domain} is the domain of this very mesh: send without it"
        if self._full.get(domain, now) > now:
            return ""
        recipient = _recipient(envelope)
        ttl = min(left, envelope.ttl)
        born = int(parts.clock.life(now)) - (envelope.ttl - ttl)
        parts.effects.count(counters.OUTWARD_TAKEN)
        parts.effects.persist(
            FederationInsert(MESSAGE, domain, identifier, sender, recipient, data, envelope.ttl, born)
        )
        parts.effects.after(Outward(sender, domain, identifier, recipient, data, ttl))
        return None

    def proof(self, sender: Address, body: ProofBody, now: float) -> CustodyCode | None:
        """Keep for another domain that a user of this mesh got what came from there."""
        if not self._admits(sender, now):
            return CustodyCode.QUOTA
        self._prove(body.domain, body.user, sender, (body.proof, body.digest), now)
        return None

    def lookup(self, asker: Address, body: LookupBody) -> None:
        """Have a name looked up."""
        self._parts.effects.after(OutsideLookup(asker, body.secret, body.name, body.domain))

    # --- into the mesh -----------------------------------------------------------------------------------------

    def from_outside(self, event: FromOutside, now: float) -> None:
        """Bring an envelope to its recipient."""
        try:
            envelope = decode_envelope(event.envelope)
            identifier, digest = envelope_id(envelope), envelope_hash(envelope)
            body = InwardBody(self._secret(), event.domain, event.envelope)
        except WireError as fault:
            self._never(event.token, str(fault))
            return
        left, own = envelope.ttl - event.age, self._parts.users.gateway
        if envelope.mode is Mode.CHANNEL:
            self.topics.enter(event, envelope, identifier, now)
        elif envelope.mode is not Mode.UNICAST or not verify_envelope(envelope, identifier):
            self._never(event.token, "the envelope is not signed by its sender")
        elif left <= 0:
            self._never(event.token, "its time is over")
        elif own is None:
            self._later(event.token, "this node is no gateway now")
        else:
            reader = self._parts.users.reader(_recipient(envelope))
            if reader is not None:
                self._enter(event, envelope, reader, now, identifier=identifier, digest=digest)
            else:
                self._send_in(own, event, body, now, recipient=_recipient(envelope), identifier=identifier, left=left)

    def outside_proof(self, event: OutsideProof, now: float) -> None:
        """Bring a receipt to the sender of what it proves."""
        try:
            body = ProofBody(self._secret(), event.domain, event.user, event.secret, event.envelope_hash)
        except WireError as fault:
            self._never(event.token, str(fault))
            return
        if self._parts.users.get(event.user) is not None:
            self.leaving.proof(body, now)
            self._answer(event.token)
        else:
            self._tell(event.token, event.user, body, now)

    def outside_refused(self, event: OutsideRefused, now: float) -> None:
        """Tell a sender that a message will not be delivered."""
        try:
            body = RefusalBody(self._secret(), event.envelope_id, short_reason(event.reason) or "without a reason")
        except WireError as fault:
            self._never(event.token, str(fault))
            return
        own = self._parts.users.gateway
        if own is not None and self._parts.users.get(event.user) is not None:
            self.leaving.refusal(own.secret.address, body, now)
            self._answer(event.token)
        else:
            self._tell(event.token, event.user, body, now)

    def outside_found(self, event: OutsideFound, now: float) -> None:
        """Bring an answer to who asked; one that does not fit the wire is none."""
        reason = short_reason(event.reason)
        try:
            body = FoundBody(self._secret(), event.token, event.address, event.domain, reason)
        except WireError:
            body = FoundBody(self._secret(), event.token, b"", "", "the other domain's answer cannot be read")
        own = self._parts.users.gateway
        if own is None:
            return
        if self._parts.users.get(event.asker) is not None:
            self.lookups.found(own.secret.address, body.token, body.address, body.domain, body.reason)
        else:
            self._say(own, event.asker, body, now, ttl=_ANSWER_TTL)

    # --- what becomes of it --------------------------------------------------------------------------------------

    def ended(self, capsule: Capsule, _now: float | None) -> None:
        """Learn that a capsule is on its way no longer."""
        self._inward.pop(capsule.about, None)

    def not_kept(self, operation: FederationInsert, now: float) -> None:
        """Learn that the store has no room for a domain: its messages are put off, so that others' need not wait."""
        if operation.kind != MESSAGE:
            return
        self._full.pop(operation.domain, None)
        if len(self._full) >= _FULL:
            del self._full[next(iter(self._full))]
        self._full[operation.domain] = now + _FULL_S
        own = self._parts.users.gateway
        if own is not None and self._parts.users.get(operation.sender) is None:
            self._say(
                own, operation.sender, RefusalBody(self._secret(), operation.envelope_id, ""), now, ttl=_ANSWER_TTL
            )

    def undone(self, capsule: Capsule) -> None:
        """Learn that a capsule could not be stored: who brought what is inside may do so again."""
        self._inward.pop(capsule.about, None)
        if capsule.token:
            self._later(capsule.token, "the store is full")

    def not_delivered(self, identifier: bytes) -> None:
        """Learn that a message for a user of this very node could not be stored."""
        token = self._entering.pop(identifier, None)
        if token is not None:
            self._later(token, "the store is full")

    # --- inside --------------------------------------------------------------------------------------------------

    def _enter(
        self,
        event: FromOutside,
        envelope: Envelope,
        reader: tuple[LocalUser, SecretIdentity],
        now: float,
        *,
        identifier: bytes,
        digest: bytes,
    ) -> None:
        """Deliver to a user of this very node."""
        if reader[0].gateway:
            self._never(event.token, "no message is for a gateway itself")
            return
        found = self._parts.receiving.enter(
            envelope, reader, now, domain=event.domain, identifier=identifier, digest=digest
        )
        if found is CustodyCode.QUOTA or found is CustodyCode.LATER:
            self._later(event.token, "the recipient's inbox is full, or too much comes for it")
        elif isinstance(found, CustodyCode):
            self._never(event.token, "the recipient does not take it")
        else:
            if len(self._entering) >= _ENTERING:
                del self._entering[next(iter(self._entering))]
            self._entering[identifier] = event.token
            if found:
                self._prove(event.domain, envelope.sender, _recipient(envelope), (found, digest), now)
            self._answer(event.token)

    def _send_in(
        self,
        own: LocalUser,
        event: FromOutside,
        body: InwardBody,
        now: float,
        *,
        recipient: Address,
        identifier: bytes,
        left: int,
    ) -> None:
        """Send it on its way; one that is on its way already is as good as taken."""
        if identifier in self._inward:
            self._answer(event.token)
        elif not self._has_place(event.domain, recipient, now):
            self._parts.effects.count(counters.INWARD_OVER_CAP)
            self._later(event.token, "too much is on its way into this mesh")
        else:
            try:
                self._inward[identifier] = self._capsules.inward(
                    own.secret,
                    recipient,
                    body,
                    now,
                    ttl=left,
                    keeper=self,
                    about=identifier,
                    domain=event.domain,
                    token=event.token,
                )
            except CryptoError as fault:
                self._never(event.token, str(fault))
                return
            self._parts.effects.count(counters.INWARD_SENT)
            self._answer(event.token)

    def _has_place(self, domain: str, recipient: Address, now: float) -> bool:
        """Whether one more may go in; half of the room is for recipients to whom there is a way, who are looked for.

        Else whoever writes to ids that nobody has would fill all of it.
        """
        parts, limits = self._parts, self._parts.limits
        here = sum(one.domain == domain for one in self._inward.values())
        if len(self._inward) >= limits.inward_count or here >= limits.inward_domain:
            return False
        if parts.routing.distance(recipient):
            return True
        if len(self._inward) < limits.inward_count // 2 and here < limits.inward_domain // 2:
            return True
        if self._seeking is None:
            self._seeking = Bucket(limits.keys_seek_rate, limits.keys_seek_burst, now)
        if self._seeking.take(1, now):
            parts.routing.wanted(recipient, now, own=False)
        return False

    def _prove(self, domain: str, sender: Address, recipient: Address, proof: tuple[bytes, bytes], now: float) -> None:
        """Keep the receipt (s, h) of what came from ``sender``."""
        secret, digest = proof
        parts, identifier = self._parts, receipt_id(secret, digest)
        life = int(parts.clock.life(now))
        parts.effects.persist(
            FederationInsert(PROOF, domain, identifier, recipient, sender, secret + digest, DEFAULT_TTL, life)
        )
        parts.effects.after(InsideProof(domain, sender, recipient, identifier, secret, digest))

    def _tell(self, token: bytes, user: Address, body: Crossing, now: float) -> None:
        """Send a word to a user of another node, for the caller whose ``token`` this is."""
        own = self._parts.users.gateway
        if own is None:
            self._later(token, "this node is no gateway now")
        elif not self._capsules.room():
            self._later(token, "too much is on its way into this mesh")
        else:
            try:
                self._capsules.word(own.secret, user, body, now, ttl=DEFAULT_TTL, keeper=self, token=token)
            except CryptoError as fault:
                self._never(token, str(fault))
                return
            self._answer(token)

    def _say(self, own: LocalUser, user: Address, body: Crossing, now: float, *, ttl: int) -> CustodyCode | None:
        """Send a word that nobody waits for; QUOTA: there are too many."""
        if not self._capsules.room():
            return CustodyCode.QUOTA
        self._capsules.word(own.secret, user, body, now, ttl=ttl, keeper=self)
        return None

    def _admits(self, user: Address, now: float) -> bool:
        limits = self._parts.limits
        rate = self._rates.pop(user, None) or Bucket(limits.outward_rate, limits.outward_burst, now)
        self._rates[user] = rate
        if len(self._rates) > limits.outward_users:
            del self._rates[next(iter(self._rates))]
        admitted = rate.take(1, now)
        if not admitted:
            self._parts.effects.count(counters.OUTWARD_OVER_RATE)
        return admitted

    def _secret(self) -> bytes:
        return self._parts.chance.random(SECRET_SIZE)

    def _answer(self, token: bytes) -> None:
        self._parts.effects.after(OutsideAnswered(token))

    def _never(self, token: bytes, reason: str) -> None:
        self._parts.effects.count(counters.INWARD_REFUSED)
        self._parts.effects.do(OutsideAnswered(token, reason))

    def _later(self, token: bytes, reason: str) -> None:
        self._parts.effects.do(OutsideAnswered(token, reason, retry=True))


def _recipient(envelope: Envelope) -> Address:
    return envelope.recipient  # type: ignore[return-value]  # a unicast's is an address

"""Others' envelopes: taken into custody where there is room; and receipts, which end the stay of any envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.crypto.identity import Address
from qpq.mesh import counters
from qpq.mesh.custody import Held, Place, Way
from qpq.mesh.flooded import cost_of
from qpq.mesh.ingress import PASSED_S, Ingress
from qpq.mesh.outbox import Outgoing
from qpq.mesh.proofs import Proofs
from qpq.mesh.quotas import Quotas
from qpq.mesh.records import KnownDelete, ProofInsert, RelayCopies, RelayDelete, Relayed, RelayInsert
from qpq.mesh.rows import StoreRow
from qpq.wire.envelope import Mode, encode_envelope, verify_envelope
from qpq.wire.frames import CustodyCode
from qpq.wire.frames_mesh import SHORT_ID_SIZE
from qpq.wire.receipts import receipt_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qpq.crypto.identity import Identity
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.custody import Custody
    from qpq.mesh.deposits import Deposits
    from qpq.mesh.limits import Limits
    from qpq.mesh.links import Link
    from qpq.mesh.posting import Posting
    from qpq.mesh.sending import Sending
    from qpq.mesh.sessions import Sessions
    from qpq.mesh.tombstones import Tombstones
    from qpq.wire.envelope import Envelope
    from qpq.wire.frames import Receipt, Transfer

_FOREIGN_S = 7 * 86_400
_LOOK = 64
"""Bytes that each envelope counts against a link's rate which had to be looked at to make room for a newcomer."""
_TOP = 16


class Relaying:
    """Takes TRANSFER for others and RECEIPT; keeps the books of what ``Sending`` moves (its listener)."""

    __slots__ = (
        "_clock",
        "_custody",
        "_deposits",
        "_effects",
        "_ingress",
        "_limits",
        "_own",
        "_posting",
        "_quotas",
        "_sending",
        "_sessions",
        "_takes",
        "_tombstones",
        "proofs",
    )

    def __init__(
        self,
        own: Address,
        *,
        leaf: bool,
        limits: Limits,
        clock: Clock,
        effects: Effects,
        custody: Custody,
        deposits: Deposits,
        tombstones: Tombstones,
        sending: Sending,
        sessions: Sessions,
        posting: Posting,
    ) -> None:
        """``own`` is the node's address; a ``leaf`` keeps nothing for others."""
        self._own = own
        self._takes = not leaf
        self._limits = limits
        self._clock = clock
        self._effects = effects
        self._custody = custody
        self._deposits = deposits
        self._tombstones = tombstones
        self._sending = sending
        self._sessions = sessions
        self._posting = posting
        self._quotas = Quotas(limits.relay_bytes)
        self._ingress: dict[int, Ingress] = {}
        self.proofs = Proofs(limits.proofs)

    @property
    def free(self) -> int:
        """Return the bytes that are free for others' envelopes."""
        return self._quotas.free if self._takes and self._limits.room.takes else 0

    def resize(self, now: float) -> None:
        """Heed the room that there is now: of too much that goes which neighbours have too, the rest is no cache."""
        self._quotas.resize(self._limits.room.of(self._limits.relay_bytes))
        self.proofs.resize(self._limits.room.of(self._limits.proofs))
        for gone in self._quotas.surplus():
            self._effects.count(counters.CUSTODY_EVICTED)
            self.forget(gone, now)

    # --- links, and a restart ------------------------------------------------------------------------

    def link_usable(self, link: Link, now: float) -> None:
        """Open the buckets of a link."""
        self._ingress[link.number] = Ingress(self._limits, now)

    def link_gone(self, number: int, now: float) -> None:
        """Let what may not have arrived over a link find another way."""
        ingress = self._ingress.pop(number, None)
        for at, short_id in ingress.passed if ingress is not None else ():
            if now - at < PASSED_S:
                self.proofs.share(short_id)

    def restore(self, row: Relayed) -> None:
        """Take back an envelope from before a restart; neighbours may have copies that are not known here."""
        item = _held(row)
        item.unsure = True
        self._custody.add(item)
        self._quotas.add(item, 0)

    def restore_proof(self, row: ProofInsert) -> None:
        """Take back a proof; those whom it could not be passed on to before get it by reconciliation."""
        self.proofs.add(row.envelope_id, row.secret, row.envelope_hash, row.expires, life=0.0, shared=True)

    # --- what is made here, and for users here -----------------------------------------------------------

    def keep_own(self, item: Held) -> None:
        """Count a word about keys that was made here, and let it wait."""
        self._custody.add(item)
        self._quotas.add(item, self._custody.clock)

    def ingress(self, link: Link) -> Ingress:
        """Return what a link may bring."""
        return self._ingress[link.number]

    def superseded(self, item: Held, secret: bytes, envelope_hash: bytes, now: float) -> None:
        """Let those who may have an envelope forget it, once another is stored that carries its message."""
        if item.given or self._sending.spread(item, None):
            self._tell(item, secret, envelope_hash, item.given, now, pass_on=self._effects.prove)

    # --- envelopes for others ----------------------------------------------------------------------------

    def transfer(
        self, link: Link, transfer: Transfer, identifier: bytes, *, expired: bool, now: float
    ) -> CustodyCode | None:
        """Take an envelope into custody or return why not; None: it is answered. What costs little is asked first."""
        envelope = transfer.envelope
        held = self._custody.get(identifier)
        if held is not None:
            held.give(link.peer)
            held.hops = min(held.hops, transfer.hops + 1)  # who brought it may have counted too many, to stop it here
            return self._known(link, identifier)
        proof = self.proofs.get(identifier)
        if proof is not None:
            self._effects.count(counters.TRANSFER_DUPLICATE)
            self._effects.confirm(link.number, *proof)
            return None
        code = self._refusal(transfer, expired=expired)
        if code is not None:
            return code
        data = encode_envelope(envelope)
        room = self._room(link, envelope, len(data), now)
        if room is None:
            return CustodyCode.QUOTA
        if not verify_envelope(envelope, identifier):
            return CustodyCode.BAD_SIGNATURE
        for gone in room:
            self._effects.count(counters.CUSTODY_EVICTED)
            self.forget(gone, now)
        self._keep(link, transfer, identifier, data, now)
        return None

    def _known(self, link: Link, identifier: bytes) -> CustodyCode | None:
        """Say that an envelope is kept already, which must be true by then: its copies are another's to spend."""
        if not self._deposits.store(identifier):
            return CustodyCode.DUPLICATE
        self._effects.count(counters.TRANSFER_REFUSED + CustodyCode.DUPLICATE.name.lower())
        self._effects.accept(link.number, identifier, CustodyCode.DUPLICATE)
        return None

    def _room(self, link: Link, envelope: Envelope, size: int, now: float) -> tuple[Held, ...] | None:
        """Return what must give way to an envelope from a link; None: it brings too much, or there is no room now.

        What had to be looked at for that counts against the link's rate too.
        """
        ingress, quotas = self._ingress[link.number].size, self._quotas
        if not self._limits.room.takes or not ingress.take(cost_of(size), now):
            return None
        recipient = Address(envelope.recipient)
        room = quotas.room(link.peer, envelope.sender, recipient, size, routed=self._sending.leads_to(recipient))
        ingress.charge(quotas.looked_at * _LOOK)
        return room

    def _refusal(self, transfer: Transfer, *, expired: bool) -> CustodyCode | None:
        envelope = transfer.envelope
        if not self._takes or envelope.mode is not Mode.UNICAST or envelope.recipient == self._own:
            return CustodyCode.NOT_HERE
        if transfer.hops + 1 >= envelope.max_hops:  # one more link must be left
            return CustodyCode.TOO_MANY_HOPS
        return CustodyCode.EXPIRED if expired else None

    def _keep(self, link: Link, transfer: Transfer, identifier: bytes, data: bytes, now: float) -> None:
        envelope = transfer.envelope
        age = self._clock.believed(transfer.age, envelope.timestamp, envelope.ttl, link.peer_unix(now), now)
        row = Relayed(
            envelope_id=identifier,
            sender=envelope.sender,
            recipient=envelope.recipient,
            via=link.peer,
            urgent=envelope.urgent,
            ttl=envelope.ttl,
            born=int(self._clock.life(now)) - age,
            hops=transfer.hops + 1,
            max_hops=envelope.max_hops,
            copies=max(1, min(transfer.copies, self._limits.spray_copies // 2)),  # as many as an origin gives
            size=len(data),
        )
        item = _held(row)
        self._custody.add(item)
        self._quotas.add(item, self._custody.clock)
        self._sending.start(item, envelope, now)  # what follows need not hold it up
        self._deposits.add(link.number, row, data, now)
        self._effects.count(counters.CUSTODY_TAKEN)
        if item.place is not Place.FLYING or item.way is Way.SPRAY:
            self._deposits.store(identifier)

    def undo(self, operation: RelayInsert, now: float) -> bool:
        """Forget an envelope that could not be stored; whether it was there."""
        item = self._custody.get(operation.envelope_id)
        if item is None or isinstance(item, Outgoing):
            return False
        self._quotas.remove(item)
        self._sending.drop(item, now)
        item.undone()
        return True

    # --- receipts --------------------------------------------------------------------------------------------

    def receipt(self, link: Link, receipt: Receipt, now: float) -> None:
        """Take proofs of delivery from a neighbour."""
        alone = len(receipt.proofs) == 1  # so nothing is known to share a frame with it
        for secret, envelope_hash in receipt.proofs:
            identifier = receipt_id(secret, envelope_hash)
            item = self._custody.get(identifier)
            if item is not None:
                self.proven(item, secret, envelope_hash, link.peer, now, alone=alone)
            elif self._posting.confirmed_late(identifier):
                continue
            elif (
                self.proofs.get(identifier) is not None
                or self.proofs.spent(identifier)
                or self._tombstones.get(identifier) is not None
            ):
                self._effects.count(counters.RECEIPT_KNOWN)
            elif self._ingress[link.number].proofs.take(1, now):
                self._effects.count(counters.RECEIPT_UNKNOWN)
                life = self._clock.life(now)
                self.proofs.expire_foreign(life)
                self.proofs.add_foreign(identifier, secret, envelope_hash, int(life) + _FOREIGN_S)
            else:
                self._effects.count(counters.RECEIPT_UNKNOWN)

    def proven(
        self,
        item: Held,
        secret: bytes,
        envelope_hash: bytes,
        peer: Identity | None,
        now: float,
        *,
        alone: bool = False,
    ) -> None:
        """End the stay of an envelope, and tell all who may have it but ``peer``, which told (None: read here)."""
        keepers = {*item.given, *((item.via,) if item.via is not None else ())} - {peer}
        if keepers or not item.own or self._sending.spread(item, peer):
            back = self._deposits.unanswered(item.envelope_id)
            self._tell(item, secret, envelope_hash, keepers, now, pass_on=self._effects.pass_on, back=back, alone=alone)
        if item.mark is not None:
            self._sessions.proven(item.sender, item.recipient, item.mark)
        if isinstance(item, Outgoing):
            self._posting.confirmed(item)
        else:
            self._quotas.remove(item)
            self._effects.count(counters.CUSTODY_PROVEN)
            self._delete(item)
        self._sending.proven(item, peer, now)
        item.ended(now)

    def _tell(
        self,
        item: Held,
        secret: bytes,
        envelope_hash: bytes,
        keepers: Iterable[Identity],
        now: float,
        *,
        pass_on: Callable[[int, bytes, bytes], None],
        back: int = 0,
        alone: bool = False,
    ) -> None:
        """Pass a receipt on to who keeps an envelope (over ``back`` as its answer), and keep it for the others."""
        unreached = item.unsure
        for keeper in keepers:
            number = self._sending.link_to(keeper)
            if number is None:
                unreached = True
            else:
                if number == back:
                    self._effects.pass_back(number, secret, envelope_hash, alone=alone)
                else:
                    pass_on(number, secret, envelope_hash)
                self._ingress[number].passed.append((now, item.envelope_id[:SHORT_ID_SIZE]))
        self._note(item, secret, envelope_hash, shared=unreached, now=now)

    def _note(self, item: Held, secret: bytes, envelope_hash: bytes, *, shared: bool, now: float) -> None:
        life = self._clock.life(now)
        expires = item.born + item.ttl
        for gone in self.proofs.add(item.envelope_id, secret, envelope_hash, expires, life=life, shared=shared):
            self._effects.note(KnownDelete(gone))
        self._effects.note(ProofInsert(item.envelope_id, secret, envelope_hash, expires))

    # --- what Sending tells ------------------------------------------------------------------------------------

    def accepted(self, item: Held, *, news: bool) -> None:
        """Note that a neighbour has taken an envelope."""
        if isinstance(item, Outgoing):
            if news:
                self._posting.relayed(item)
        elif item.spent:
            self._deposits.store(item.envelope_id)
            self._effects.persist(RelayCopies(item.envelope_id, item.copies))

    def expired(self, item: Held) -> None:
        """Forget an envelope whose time is over."""
        if isinstance(item, Outgoing):
            self._posting.expired(item)
        else:
            self._quotas.remove(item)
            self._effects.count(counters.CUSTODY_EXPIRED)
            self._delete(item)
            item.ended(None)

    def answered_late(self, number: int, envelope_id: bytes, now: float) -> None:
        """Cure a neighbour that has taken what has been delivered since."""
        proof = self.proofs.get(envelope_id)
        if proof is not None:
            self._effects.pass_on(number, *proof)
            self._ingress[number].passed.append((now, envelope_id[:SHORT_ID_SIZE]))

    # --- what people ask ---------------------------------------------------------------------------------------

    def row(self, now: float) -> StoreRow:
        """Return what is kept for others."""
        recipients: list[tuple[Address, int, int]] = []
        oldest: int | None = None
        count = size = 0
        for recipient, destination in self._custody.destinations():
            items = [item for item in destination.items if not item.own]
            if items:
                total = sum(item.size for item in items)
                count += len(items)
                size += total
                recipients.append((recipient, len(items), total))
                first = min(item.born for item in items)
                oldest = first if oldest is None else min(oldest, first)
        recipients.sort(key=lambda row: -row[2])
        return StoreRow(
            count=count,
            size=size,
            oldest=0 if oldest is None else max(0, int(self._clock.life(now)) - oldest),
            by_recipient=tuple(recipients[:_TOP]),
            by_link=self._quotas.links(),
            proofs=len(self.proofs),
            used=self._quotas.size,
            cap=self._limits.room.of(self._limits.relay_bytes) if self._takes else 0,
            proofs_cap=self._limits.proofs,
        )

    def forget(self, item: Held, now: float) -> None:
        """Keep an envelope no longer that was not a user's."""
        self._quotas.remove(item)
        self._delete(item)
        self._sending.drop(item, now)

    def _delete(self, item: Held) -> None:
        """Have an envelope forgotten by the store: it may come late, for a crash before it does no harm but work."""
        if not self._deposits.drop(item.envelope_id):
            self._effects.note(RelayDelete(item.envelope_id))


def _held(row: Relayed) -> Held:
    return Held(row, row.sender, row.via, hops=row.hops, max_hops=row.max_hops, copies=row.copies)

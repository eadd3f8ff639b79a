"""Envelopes from links: checked, opened, kept and confirmed, or refused with a code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.mesh import counters
from qpq.mesh.giving import Reason
from qpq.mesh.inbox import MESSAGE_COST
from qpq.mesh.records import TombstoneExpected
from qpq.mesh.sessions import Trouble
from qpq.wire.body import Body, Keys, KeysWanted, Turn, decode_body
from qpq.wire.envelope import ADDRESS_SIZE, Mode, envelope_hash, id_of, verify_envelope
from qpq.wire.errors import WireError
from qpq.wire.frames import CustodyCode
from qpq.wire.receipts import commitment

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, Identity, SecretIdentity
    from qpq.mesh.asking import Asking
    from qpq.mesh.claiming import Claiming
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.crossings import Crossings
    from qpq.mesh.custody import Custody, Held
    from qpq.mesh.giving import Giving
    from qpq.mesh.inbox import Inbox
    from qpq.mesh.ingress import Allowances, Trial, Trials
    from qpq.mesh.links import Link
    from qpq.mesh.relaying import Relaying
    from qpq.mesh.sessions import Plain, Sessions
    from qpq.mesh.tombstones import Delivering, Tombstones
    from qpq.mesh.users import LocalUser, Users
    from qpq.wire.body import AnyBody
    from qpq.wire.envelope import Envelope
    from qpq.wire.frames import Transfer

_WITHIN = (Body, KeysWanted, Keys, Turn)
"""What stays in this mesh; all other bodies are of ``wire.crossing``."""
_NOBODY: Address = bytes(ADDRESS_SIZE)  # type: ignore[assignment]


class Receiving:
    """Takes TRANSFER; answers each with a receipt, once the message is durable, or a custody code.

    What is for nobody here is for ``relaying``.
    """

    __slots__ = (
        "_asking",
        "_clock",
        "_custody",
        "_effects",
        "_giving",
        "_inbox",
        "_relaying",
        "_sessions",
        "_tombstones",
        "_trials",
        "_users",
        "claiming",
        "crossings",
        "delivering",
    )

    claiming: Claiming
    crossings: Crossings

    def __init__(
        self,
        *,
        clock: Clock,
        effects: Effects,
        users: Users,
        inbox: Inbox,
        tombstones: Tombstones,
        custody: Custody,
        relaying: Relaying,
        sessions: Sessions,
        asking: Asking,
        giving: Giving,
        delivering: Delivering,
        trials: Trials,
    ) -> None:
        self._sessions = sessions
        self._asking = asking
        self._giving = giving
        self._custody = custody
        self._relaying = relaying
        self._clock = clock
        self._effects = effects
        self._users = users
        self._inbox = inbox
        self._tombstones = tombstones
        self.delivering = delivering
        self._trials = trials

    def transfer(self, link: Link, transfer: Transfer, now: float) -> bool:
        """Take an envelope; False: its signature is false, which no honest neighbour lets through."""
        envelope = transfer.envelope
        digest = envelope_hash(envelope)
        identifier = id_of(envelope.commitment, digest)
        stone = self._tombstones.get(identifier)
        if stone is not None:
            self._effects.count(counters.TRANSFER_DUPLICATE)
            self._effects.persist(TombstoneExpected(stone.user, identifier))
            self._effects.confirm(link.number, stone.secret, stone.envelope_hash)
            return True
        code = self._take(link, transfer, identifier, digest, now)
        if code is not None:
            self.refuse(link, identifier, code)
        return code is not CustodyCode.BAD_SIGNATURE

    def claim(self, envelope: Envelope, identifier: bytes, digest: bytes, item: Held, now: float) -> bool:
        """Deliver an envelope that was in custody here; whether that is done, or was before."""
        if self._tombstones.get(identifier) is not None:
            return True
        reader = self._users.reader(item.recipient)
        if reader is None or self._unwanted(envelope, reader[0], item.via) is not None:
            return False
        opened = self._open(envelope, identifier, reader[1], None, now)
        left = item.born + item.ttl - int(self._clock.life(now))
        if not isinstance(opened, tuple):
            return False
        if self._crosses(envelope, opened[0], reader, now, identifier=identifier, left=left) is not None:
            return False
        self._settle(envelope, opened, now, identifier=identifier, digest=digest, reader=reader, via=item.via)
        return True

    def refuse(self, link: Link, envelope_id: bytes, code: CustodyCode) -> None:
        """Answer an envelope with a code and count it; who does not know LATER tries again after UNREADABLE, too."""
        self._effects.count(counters.TRANSFER_REFUSED + code.name.lower())
        if code is CustodyCode.LATER and not link.refuses_one:
            code = CustodyCode.UNREADABLE
        self._effects.answer(link.number, envelope_id, code)

    def _take(self, link: Link, transfer: Transfer, identifier: bytes, digest: bytes, now: float) -> CustodyCode | None:
        """Deliver an envelope, or return why not; what costs little is asked first."""
        envelope = transfer.envelope
        reader = self._users.reader(recipient_address(envelope)) if envelope.mode is Mode.UNICAST else None
        if reader is None:
            expired = self._expired(link, transfer, now)
            return self._relaying.transfer(link, transfer, identifier, expired=expired, now=now)
        user, key = reader
        code = self._refusal(link, transfer, user, now)
        if code is not None:
            return code
        trial = self._admit(self._relaying.ingress(link).trials, envelope, identifier, reader, now)
        if isinstance(trial, CustodyCode):
            return trial
        opened = self._try(envelope, identifier, key, trial, now)
        if not isinstance(opened, tuple):
            return CustodyCode.UNREADABLE if opened is None else opened
        left = envelope.ttl - transfer.age
        code = self._crosses(envelope, opened[0], reader, now, identifier=identifier, left=left)
        if code is not None:
            if user.gateway:  # else it is somebody else's what the gateway brought
                trial.in_vain()
            return code
        if not self._settle(envelope, opened, now, identifier=identifier, digest=digest, reader=reader, via=link.peer):
            trial.in_vain()
        self._effects.confirm(link.number, opened[0].secret, digest)
        if self._custody.get(identifier) is not None:
            self.claiming.delivered(identifier, now)
        return None

    def enter(
        self,
        envelope: Envelope,
        reader: tuple[LocalUser, SecretIdentity],
        now: float,
        *,
        domain: str,
        identifier: bytes,
        digest: bytes,
        verified: bool = True,
    ) -> bytes | CustodyCode:
        """Take an envelope that came from another domain, as from a link; ``verified``: its signature has been.

        Returns its receipt secret, or why it is not taken; empty: it held a word about keys, or was sealed with such as
        are gone here, which its sender is told. Nobody waits for the receipt of either.
        """
        user, key = reader
        stone = self._tombstones.get(identifier)
        if stone is not None:
            self._effects.count(counters.TRANSFER_DUPLICATE)
            self._effects.persist(TombstoneExpected(stone.user, identifier))
            return stone.secret
        code = self._unwanted(envelope, user, None, domain)
        if code is not None:
            return code
        trial = self._admit(self.crossings.trials, envelope, identifier, reader, now, verified=verified)
        if isinstance(trial, CustodyCode):
            return trial
        opened = self._try(envelope, identifier, key, trial, now, domain=domain)
        if not isinstance(opened, tuple):
            return b"" if opened is None else opened
        if not isinstance(opened[0], _WITHIN):
            self._sessions.unread(identifier)
            return CustodyCode.UNREADABLE
        self._settle(
            envelope, opened, now, identifier=identifier, digest=digest, reader=reader, via=None, domain=domain
        )
        return opened[0].secret if isinstance(opened[0], Body) else b""

    def _crosses(
        self,
        envelope: Envelope,
        body: AnyBody,
        reader: tuple[LocalUser, SecretIdentity],
        now: float,
        *,
        identifier: bytes,
        left: int,
    ) -> CustodyCode | None:
        """Do what concerns another domain, if a seal held such a thing; a code: why it is not taken."""
        if isinstance(body, _WITHIN):
            return None
        code = self.crossings.take(body, envelope.sender, reader, left, now)
        if code is not None:
            self._sessions.unread(identifier)
        return code

    def _refusal(self, link: Link, transfer: Transfer, user: LocalUser, now: float) -> CustodyCode | None:
        """Return what speaks against an envelope before its signature is verified."""
        if transfer.hops > transfer.envelope.max_hops:
            return CustodyCode.TOO_MANY_HOPS
        if self._expired(link, transfer, now):
            return CustodyCode.EXPIRED
        return self._unwanted(transfer.envelope, user, link.peer)

    def _unwanted(
        self, envelope: Envelope, user: LocalUser, via: Identity | None, domain: str = ""
    ) -> CustodyCode | None:
        if envelope.sender in user.blocked:
            return CustodyCode.BLOCKED
        size = len(envelope.payload) + MESSAGE_COST
        own, outside = user.secret.address, bool(domain)
        if self._inbox.fits(own, envelope.sender, via, size, outside=outside):
            return None
        return CustodyCode.LATER if self._inbox.fits(own, _NOBODY, via, size, outside=outside) else CustodyCode.QUOTA

    def _expired(self, link: Link, transfer: Transfer, now: float) -> bool:
        """Judge by age; by the wall clock only where sender and neighbour trust theirs and this node has one.

        Two trusted clocks that disagree are not both right, so neither judges then.
        """
        envelope = transfer.envelope
        if transfer.age >= envelope.ttl:
            return True
        peer_unix = link.peer_unix(now)
        if not envelope.timestamp or not peer_unix or not self._clock.agrees(peer_unix, now):
            return False
        return self._clock.judge(now) >= envelope.timestamp + envelope.ttl

    def _admit(
        self,
        allowances: Allowances,
        envelope: Envelope,
        identifier: bytes,
        reader: tuple[LocalUser, SecretIdentity],
        now: float,
        *,
        verified: bool = False,
    ) -> Trial | CustodyCode:
        """Verify an envelope that may be tried; LATER: it may not now."""
        user, key = reader
        trial = self._trials.begin(allowances, user, key.address, envelope.sender, now)
        if trial is None:
            return CustodyCode.LATER
        return trial if verified or verify_envelope(envelope, identifier) else CustodyCode.BAD_SIGNATURE

    def _try(
        self,
        envelope: Envelope,
        identifier: bytes,
        key: SecretIdentity,
        trial: Trial,
        now: float,
        *,
        domain: str = "",
    ) -> tuple[AnyBody, Plain] | CustodyCode | None:
        """Open an envelope (``_open``) and note whether that was worth it."""
        opened = self._open(envelope, identifier, key, trial, now, domain=domain)
        if isinstance(opened, tuple):
            trial.opened()
        else:
            trial.in_vain()
        return opened

    def _open(
        self,
        envelope: Envelope,
        identifier: bytes,
        key: SecretIdentity,
        trial: Trial | None,
        now: float,
        *,
        domain: str = "",
    ) -> tuple[AnyBody, Plain] | CustodyCode | None:
        """Return what is inside the seal, or why it is not taken; ``trial`` None: it was in custody here.

        None: it was sealed with such keys as are gone here, and its sender is told of others.
        """

        def may_begin() -> bool:
            return trial is None or trial.may_begin()

        sender = envelope.sender
        plain = self._sessions.open(key, sender, identifier, envelope.payload, now, may_begin=may_begin)
        if plain is Trouble.KEYS_LOST:
            self._effects.count(counters.SESSION_UNREADABLE)
            self._giving.keys(key.address, sender, identifier, Reason.LOST, now, domain=domain)
            return None
        if isinstance(plain, Trouble):
            return CustodyCode.LATER if plain is Trouble.BUSY else CustodyCode.UNREADABLE
        body = self._body(envelope, plain)
        if isinstance(body, CustodyCode):
            return body
        word = isinstance(body, (KeysWanted, Keys, Turn)) or getattr(body, "word", False)
        if word and trial is not None and not trial.may_say():
            self._effects.count(counters.CONTROL_OVER_RATE)
            self._sessions.unread(identifier)
            return CustodyCode.LATER
        return body, plain

    def _body(self, envelope: Envelope, plain: Plain) -> AnyBody | CustodyCode:
        """Read what a seal held; it must hold the receipt secret that the envelope shows the commitment of."""
        try:
            body = decode_body(plain.text)
        except WireError:
            return CustodyCode.UNREADABLE
        return body if commitment(body.secret) == envelope.commitment else CustodyCode.UNREADABLE

    def _settle(
        self,
        envelope: Envelope,
        opened: tuple[AnyBody, Plain],
        now: float,
        *,
        identifier: bytes,
        digest: bytes,
        reader: tuple[LocalUser, SecretIdentity],
        via: Identity | None,
        domain: str = "",
    ) -> bool:
        """Do what an opened envelope is for, and bury it; False: its message had come in another one."""
        (user, key), (body, plain), sender = reader, opened, envelope.sender
        stone = self.delivering.stone(user, envelope, body, now, identifier=identifier, digest=digest)
        is_news = True
        if isinstance(body, Body):
            is_news = self.delivering.deliver(envelope, body, stone, via, now, domain=domain)
        else:
            self.delivering.bury(stone, now)
        if isinstance(body, Body) or (user.gateway and not isinstance(body, _WITHIN)):
            if plain.kept is None:
                if not domain and not self._sessions.has(key.address, sender):  # who is outside asks, if it can
                    self._giving.keys(key.address, sender, identifier, Reason.LACKING, now)
            elif self._sessions.turn_due(plain, now):
                self._giving.turn(key.address, sender, now, domain=domain)
        elif isinstance(body, KeysWanted):
            self._giving.keys(key.address, sender, identifier, Reason.WANTED, now, domain=domain)
        elif isinstance(body, Keys):
            self._asking.taken(key, sender, body, now)
        return is_news


def recipient_address(envelope: Envelope) -> Address:
    """Return the recipient of a unicast envelope as the address it is."""
    return envelope.recipient  # type: ignore[return-value]

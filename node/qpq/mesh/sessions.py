"""Seals for local users and opens what is sealed for them: in a session where there is one, else to the identity key.

Every change of a session is written in the transaction of what brought it about: the message that was sealed, or the
one that was opened with its tombstone. So no state that the store can give back has sent less than what left the node.
Where one message follows the other in the same chain, the state is written for some of them ahead, as if they had been
sent, and behind some that were opened, which it opens no second time (mesh.tombstones), within ``CATCH_UP_S``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from qpq.crypto import sealing
from qpq.crypto.errors import CryptoError
from qpq.crypto.prekeys import open_bundle
from qpq.crypto.primitives import spend, taken
from qpq.crypto.sessions import ENTROPY_BYTES, FORMAT_OPENING, Session, can_open, overhead, read_header
from qpq.mesh import counters
from qpq.mesh.due import Due
from qpq.mesh.pairs import Pairs
from qpq.mesh.prekeys import Prekeys

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.crypto.kem import Kem
    from qpq.crypto.sessions import Header, Opened
    from qpq.mesh.chance import Chance
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.due import Timer
    from qpq.mesh.limits import Limits
    from qpq.mesh.pairs import Kept, Pair
    from qpq.mesh.records import SessionPut
    from qpq.mesh.timers import Timers


CATCH_UP_S = 0.5
"""Seconds until an opened message's session is written at the latest; in twice that its key is gone from memory."""
_CLASSICAL = bytes((sealing.FORMAT_HPKE,))


class Trouble(Enum):
    """Why a payload was not opened."""

    UNREADABLE = "unreadable"
    """It is for nobody here, damaged, or of a later version."""
    KEYS_LOST = "keys lost"
    """Its sender took for granted what this node has not, or no longer: another seal is needed."""
    BUSY = "busy"
    """It begins a session, of which too many come at present."""


@dataclass(frozen=True, slots=True)
class Mark:
    """In which session something was sealed, and the session's own note of what its receipt will prove."""

    session_id: bytes
    marker: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """A payload; without a ``mark`` it is sealed to the recipient's identity key."""

    payload: bytes
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Plain:
    """An opened payload, and the session it came in (None: none)."""

    text: bytes
    kept: Kept | None = None


class Sessions:
    """The seals of all local users and of the node itself; ``prekeys`` are what others begin sessions with."""

    __slots__ = ("_chance", "_clock", "_effects", "_kem", "_limits", "_pairs", "_timers", "_unstored", "prekeys")

    def __init__(
        self,
        *,
        limits: Limits,
        clock: Clock,
        chance: Chance,
        timers: Timers[Timer],
        effects: Effects,
        kem: Kem,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._chance = chance
        self._effects = effects
        self._kem = kem
        self._timers = timers
        self._pairs = Pairs(limits, effects)
        self._unstored: dict[bytes, tuple[Pair, Kept, Opened, float]] = {}
        self.prekeys = Prekeys(limits=limits, clock=clock, chance=chance, timers=timers, effects=effects, kem=kem)

    def __len__(self) -> int:
        """Return how many sessions there are."""
        return len(self._pairs)

    def restore(self, row: SessionPut) -> None:
        """Take back a session from before a restart."""
        self._pairs.restore(row)

    # --- sealing ---------------------------------------------------------------------------------

    def has(self, user: Address, peer: Address) -> bool:
        """Whether something can be sealed in a session."""
        return self._pairs.sending(user, peer) is not None

    def pair(self, user: Address, peer: Address) -> Pair | None:
        """Return the sessions of a user with a peer; None: there are none."""
        return self._pairs.look(user, peer)

    def overhead(self, user: Address, peer: Address) -> int:
        """Return the bytes that the next seal adds at most."""
        if not self._limits.sessions:
            return sealing.OVERHEAD
        found = self._pairs.sending(user, peer)
        return overhead(found[1].session if found is not None else None)

    def seal(self, own: SecretIdentity, peer: Address, plaintext: bytes, now: float) -> Sealed | None:
        """Seal in a session; None: there is none."""
        found = self._pairs.sending(own.address, peer)
        session = found[1].session if found is not None else None
        if found is None or session is None:
            return None
        pair, kept = found
        entropy = self._chance.random(ENTROPY_BYTES)
        on = session.goes_on
        try:
            payload, marker = session.seal(plaintext, self._kem, entropy, life=int(self._clock.life(now)))
        except CryptoError:  # it has come to its end, after a thousand million messages without an answer
            self._pairs.remove(pair, kept)
            return None
        spend(entropy)
        self._pairs.sent(pair, kept, on=on)
        return Sealed(payload, Mark(kept.session_id, marker))

    def seal_classical(self, own: Address, peer: Address, plaintext: bytes) -> Sealed:
        """Seal to the peer's identity key; raises CryptoError where that is none."""
        entropy = self._chance.random(sealing.ENTROPY_BYTES)
        return Sealed(sealing.seal(plaintext, sender=own, recipient=peer, entropy=entropy))

    def begin(self, own: SecretIdentity, peer: Address, bundle: bytes, now: float) -> None:
        """Begin a session with a peer's keys. Raises CryptoError for keys that are false."""
        opened = open_bundle(bundle, peer)
        entropy = taken(self._chance.random(ENTROPY_BYTES))
        session = Session.initiate(own, opened, self._kem, entropy, life=int(self._clock.life(now)))
        _, kept = self._pairs.add(own.address, peer, session)
        kept.ours = True
        self._effects.count(counters.SESSION_BEGUN)

    def proven(self, user: Address, peer: Address, mark: Mark) -> None:
        """Take a receipt for what was sealed: what rode along need not ride again."""
        found = self._pairs.find(user, peer, mark.session_id) if mark.marker else None
        session = found[1].session if found is not None else None
        if found is not None and session is not None and session.proven(mark.marker):
            self._pairs.owe(*found)

    def retire(self, user: Address, peer: Address, session_id: bytes) -> None:
        """Send nothing more in a session; what comes in it is still opened."""
        found = self._pairs.find(user, peer, session_id)
        if found is not None:
            found[1].retired = True
            self._pairs.changed(*found)

    def current(self, user: Address, peer: Address) -> bytes:
        """Return the id of the session that would be sent in; empty: there is none."""
        found = self._pairs.sending(user, peer)
        return found[1].session_id if found is not None else b""

    # --- opening ---------------------------------------------------------------------------------

    def open(
        self,
        own: SecretIdentity,
        sender: Address,
        envelope_id: bytes,
        payload: bytes,
        now: float,
        *,
        may_begin: Callable[[], bool],
    ) -> Plain | Trouble:
        """Open a payload whose envelope the sender has signed; ``may_begin`` is asked before a costly agreement."""
        if payload[:1] == _CLASSICAL:
            try:
                return Plain(sealing.open_sealed(payload, sender=sender, recipient_secret=own))
            except CryptoError:
                return Trouble.UNREADABLE
        if not self._limits.sessions:
            return Trouble.UNREADABLE
        life = int(self._clock.life(now))
        pair = self._pairs.get(own.address, sender)
        found: tuple[Pair, Kept, Opened] | Trouble | None = None
        only = pair is not None and len(pair.sessions) == 1
        if pair is not None and only:
            found = self._in_the_only(pair, payload, life)
        if found is None:
            try:
                header = read_header(payload)
            except CryptoError:
                return Trouble.UNREADABLE
            found = self._in_session(pair, header, payload, life, tried=only) if pair is not None else None
            if found is None:
                found = self._taken_up(own, sender, header, payload, life, may_begin=may_begin)
        if isinstance(found, Trouble):
            return found
        pair, kept, opened = found
        self._heard(pair, kept, opened, now)
        if len(self._unstored) >= self._limits.unstored:
            del self._unstored[next(iter(self._unstored))]
        self._unstored[envelope_id] = (pair, kept, replace(opened, plaintext=b""), now)
        return Plain(opened.plaintext, kept)

    def turn_due(self, plain: Plain, now: float) -> bool:
        """Whether new keys should be sent in the session of an opened payload although nothing is to be said."""
        kept = plain.kept
        if kept is None or kept.session is None or kept.retired:
            return False
        life = int(self._clock.life(now))
        due = life - max(kept.session.last_step, kept.turned) >= self._limits.session_turn_s
        if due:
            kept.turned = life
        return due

    # --- what the store could not take -----------------------------------------------------------

    def unread(self, envelope_id: bytes) -> None:
        """Wait again for a message that was opened and could not be stored."""
        found = self._unstored.pop(envelope_id, None)
        if found is not None:
            pair, kept, opened, _ = found
            if kept.session is not None and self._pairs.find(pair.user, pair.peer, kept.session_id) is not None:
                kept.session.unread(opened)
                self._pairs.changed(pair, kept)

    def unwritten(self, row: SessionPut, *, retry: bool) -> None:
        """Write a session again as it is now, at once or with what comes; what was sent in it stays sent."""
        found = self._pairs.find(row.user, row.peer, row.session_id)
        if found is not None:
            found[1].covered = 0
            (self._pairs.changed if retry else self._pairs.owe)(*found)

    def remove_user(self, user: Address) -> None:
        """Forget everything about a user who is gone."""
        self._pairs.remove_user(user)
        self.prekeys.remove_user(user)

    def due(self, _key: int, now: float) -> None:
        """Write what has been opened meanwhile, and forget the keys of what the store has taken long ago."""
        self._pairs.catch_up()
        old = [name for name, (*_, opened_at) in self._unstored.items() if now - opened_at >= CATCH_UP_S]
        for name in old:
            del self._unstored[name]
        if self._unstored:
            self._timers.set((Due.SESSIONS, 0), now + CATCH_UP_S)

    def settle(self) -> None:
        """Write everything as it is: the node stops."""
        self._pairs.settle()

    def flush(self) -> None:
        """Let what has changed be written in the event's one transaction; to be called at its end."""
        self._pairs.flush()

    # --- inside ----------------------------------------------------------------------------------

    def _heard(self, pair: Pair, kept: Kept, opened: Opened, now: float) -> None:
        """Have the session written in which something was opened."""
        if not self._unstored and not self._pairs.are_behind:
            self._timers.set((Due.SESSIONS, 0), now + CATCH_UP_S)
        self._pairs.heard(pair, kept, is_next=opened.is_next)

    def _in_the_only(self, pair: Pair, payload: bytes, life: int) -> tuple[Pair, Kept, Opened] | None:
        """Open a payload in a pair's one session, as mostly works; None: it does not."""
        kept = pair.sessions[0]
        session = self._pairs.read(pair, kept)
        try:
            return None if session is None else (pair, kept, session.open(payload, self._kem, life=life))
        except CryptoError:
            return None

    def _in_session(
        self, pair: Pair, header: Header, payload: bytes, life: int, *, tried: bool
    ) -> tuple[Pair, Kept, Opened] | Trouble | None:
        """Open a payload in one of a pair's sessions, unless they were ``tried``; None: it begins another one."""
        sessions = [(kept, self._pairs.read(pair, kept)) for kept in pair.newest()]
        there = [(kept, session) for kept, session in sessions if session is not None]
        sure = [(kept, session) for kept, session in there if can_open(session, header)]
        if header.format == FORMAT_OPENING and not sure:
            return None
        for kept, session in (sure or there) if not tried else ():
            try:
                return pair, kept, session.open(payload, self._kem, life=life)
            except CryptoError:
                continue
        return Trouble.KEYS_LOST

    def _taken_up(
        self,
        own: SecretIdentity,
        sender: Address,
        header: Header,
        payload: bytes,
        life: int,
        *,
        may_begin: Callable[[], bool],
    ) -> tuple[Pair, Kept, Opened] | Trouble:
        """Take up the session that a payload begins."""
        signed = self.prekeys.signed(own.address, header.prekey_id)
        one_time = self.prekeys.one_time(own.address, header.one_time_id)
        if signed is None or (header.one_time_id and one_time is None):
            return Trouble.KEYS_LOST
        if not may_begin():
            self._effects.count(counters.SESSION_OVER_RATE)
            return Trouble.BUSY
        try:
            session, opened = Session.respond(own, sender, payload, signed, one_time, self._kem, life=life)
        except CryptoError:
            return Trouble.KEYS_LOST
        if one_time is not None:
            self.prekeys.spend(own.address, header.one_time_id)
        self._effects.count(counters.SESSION_TAKEN)
        return *self._pairs.add(own.address, sender, session), opened

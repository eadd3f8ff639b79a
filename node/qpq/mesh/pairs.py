"""The index of sessions between local users and others: which serves for sending, which may open, which gives way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.crypto.errors import CryptoError
from qpq.crypto.sessions import Session
from qpq.mesh import counters
from qpq.mesh.records import SessionDelete, SessionPut

if TYPE_CHECKING:
    from qpq.crypto.identity import Address
    from qpq.mesh.collecting import Effects
    from qpq.mesh.limits import Limits

PAIR_SESSIONS = 4
"""Sessions of one user with one peer: both may begin at once, and old ones may still bring messages."""
AHEAD = 8
"""Messages that a session may send after it was written, before it must be again; a crash leaves out their numbers."""
BEHIND = 32
"""Messages that it may open so; whoever comes back without them finds the keys of what follows all the same."""

_THEIRS, _OURS, _RETIRED = 1, 2, 4
_FLAGS = 3
_PERCENT = 100


class Kept:
    """One session, read from its bytes when it is first needed.

    ``theirs``: the peer has written in it, ``ours``: the user has; ``retired``: nothing is sent in it any more.
    ``order`` grows with every message of the peer's. ``turned``: life at which new keys were last sent for their own
    sake (-1: never). ``covered``: messages that may be sent, and ``behind``: that were opened, as the store has it.
    """

    __slots__ = (
        "behind", "covered", "data", "order", "ours", "reserves", "retired", "session", "session_id", "theirs",
        "turned",
    )  # fmt: skip

    def __init__(self, session_id: bytes, session: Session | None, data: bytes, order: int) -> None:
        self.session_id = session_id
        self.session = session
        self.data = data
        self.order = order
        self.theirs = self.ours = self.retired = False
        self.turned = -1
        self.covered = self.behind = 0
        self.reserves = False

    @property
    def used(self) -> int:
        """What the store keeps beside the state: the order and, in the last three bits, the flags."""
        flags = (_THEIRS if self.theirs else 0) | (_OURS if self.ours else 0) | (_RETIRED if self.retired else 0)
        return self.order << _FLAGS | flags


class Pair:
    """The sessions of a local user, or of the node, with one peer."""

    __slots__ = ("peer", "sessions", "user")

    def __init__(self, user: Address, peer: Address) -> None:
        self.user = user
        self.peer = peer
        self.sessions: list[Kept] = []

    @property
    def strange(self) -> bool:
        """Whether the user has never written to the peer."""
        return not any(kept.ours for kept in self.sessions)

    def newest(self) -> list[Kept]:
        """Return the sessions, those first in which the peer wrote last."""
        return sorted(self.sessions, key=_rank, reverse=True)


class Pairs:
    """At most ``limits.sessions``; of too many the pair gives way that was used longest ago.

    Strangers give way first once they have ``strangers_percent`` of the room, else the others among themselves: keys
    are free, so somebody with many must not push out those whom users write to.
    """

    __slots__ = ("_behind", "_count", "_dirty", "_effects", "_limits", "_order", "_owed", "_pairs")

    def __init__(self, limits: Limits, effects: Effects) -> None:
        self._limits = limits
        self._effects = effects
        self._pairs: dict[tuple[Address, Address], Pair] = {}
        self._dirty: dict[bytes, tuple[Pair, Kept]] = {}
        self._owed: dict[bytes, tuple[Pair, Kept]] = {}
        self._behind: dict[bytes, tuple[Pair, Kept]] = {}
        self._order = 0
        self._count = 0

    def __len__(self) -> int:
        """Return how many sessions there are."""
        return self._count

    def restore(self, row: SessionPut) -> None:
        """Take back a session from before a restart."""
        kept = Kept(row.session_id, None, row.data, row.used >> _FLAGS)
        kept.theirs, kept.ours = bool(row.used & _THEIRS), bool(row.used & _OURS)
        kept.retired = bool(row.used & _RETIRED)
        self._order = max(self._order, kept.order)
        self._pairs.setdefault((row.user, row.peer), Pair(row.user, row.peer)).sessions.append(kept)
        self._count += 1

    def get(self, user: Address, peer: Address) -> Pair | None:
        """Return the pair, which has now been used; None: there are no sessions."""
        pair = self._pairs.pop((user, peer), None)
        if pair is not None:
            self._pairs[user, peer] = pair
        return pair

    def look(self, user: Address, peer: Address) -> Pair | None:
        """Return the pair, which has not been used by that."""
        return self._pairs.get((user, peer))

    def sending(self, user: Address, peer: Address) -> tuple[Pair, Kept] | None:
        """Return the session to send in: the one in which the peer wrote last, else the newest of one's own."""
        pair = self._pairs.get((user, peer))
        best = None
        for kept in pair.sessions if pair is not None else ():
            if not kept.retired and (best is None or _rank(kept) > _rank(best)):
                best = kept
        if pair is None or best is None:
            return None
        return (pair, best) if self.read(pair, best) is not None else self.sending(user, peer)

    def read(self, pair: Pair, kept: Kept) -> Session | None:
        """Return the session itself; None: its state is damaged, and it is forgotten."""
        if kept.session is None:
            try:
                kept.session = Session.decode(kept.data, pair.user, pair.peer)
            except CryptoError:
                self._effects.count(counters.SESSION_DAMAGED)
                self.remove(pair, kept)
                return None
            kept.data = b""
            if self._limits.session_jump:
                kept.session.jump(self._limits.session_jump)
        return kept.session

    def add(self, user: Address, peer: Address, session: Session) -> tuple[Pair, Kept]:
        """Keep a new session; what gives way to it is forgotten."""
        self._order += 1
        pair = self.get(user, peer)
        if pair is None:
            pair = self._pairs[user, peer] = Pair(user, peer)
        kept = Kept(session.session_id, session, b"", self._order)
        while len(pair.sessions) >= PAIR_SESSIONS:
            self.remove(pair, min(pair.sessions, key=_worth))
        pair.sessions.append(kept)
        self._count += 1
        if self._count > self._limits.sessions:
            self._make_room(pair)
        self.changed(pair, kept)
        return pair, kept

    @property
    def are_behind(self) -> bool:
        """Whether some session is to be written that need not be at once."""
        return bool(self._behind)

    def sent(self, pair: Pair, kept: Kept, *, on: bool) -> None:
        """Note that something was sealed, with the chain before it going ``on``; what is sent is written before it."""
        if on and kept.ours and kept.covered:
            kept.covered -= 1
            return
        kept.ours = True
        kept.reserves = on
        self.changed(pair, kept)

    def heard(self, pair: Pair, kept: Kept, *, is_next: bool) -> None:
        """Note that the peer has written in a session; one message like those before it may be written later."""
        self._order += 1
        kept.order = self._order
        if is_next and kept.theirs and len(pair.sessions) == 1 and kept.behind < BEHIND:
            kept.behind += 1
            self._behind[_name(pair, kept)] = (pair, kept)
            return
        kept.theirs = True
        self.changed(pair, kept)

    def catch_up(self) -> None:
        """Write what is behind with this event."""
        self._dirty = {**self._behind, **self._dirty}

    def settle(self) -> None:
        """Write every session as it is with this event: no number need be left out after a stop."""
        self.catch_up()
        for pair in self._pairs.values():
            for kept in pair.sessions:
                if kept.covered:
                    self.changed(pair, kept)

    def changed(self, pair: Pair, kept: Kept) -> None:
        """Write a session with what this event writes."""
        self._dirty[_name(pair, kept)] = (pair, kept)

    def owe(self, pair: Pair, kept: Kept) -> None:
        """Write a session as soon as something else is written: a node that loses this finds it out again."""
        self._owed[_name(pair, kept)] = (pair, kept)

    def find(self, user: Address, peer: Address, session_id: bytes) -> tuple[Pair, Kept] | None:
        """Return a session by its ids."""
        pair = self._pairs.get((user, peer))
        for kept in pair.sessions if pair is not None else ():
            if kept.session_id == session_id and pair is not None:
                return pair, kept
        return None

    def remove(self, pair: Pair, kept: Kept) -> None:
        """Forget a session."""
        pair.sessions.remove(kept)
        self._count -= 1
        self._forget(_name(pair, kept))
        if not pair.sessions:
            del self._pairs[pair.user, pair.peer]
        self._effects.persist(SessionDelete(pair.user, pair.peer, kept.session_id))

    def remove_user(self, user: Address) -> None:
        """Forget everything about a user who is gone; the store does so by itself."""
        for key in [key for key in self._pairs if key[0] == user]:
            pair = self._pairs.pop(key)
            self._count -= len(pair.sessions)
            for kept in pair.sessions:
                self._forget(_name(pair, kept))

    def flush(self) -> None:
        """Let what has changed be written in the event's one transaction."""
        if not self._dirty and not (self._owed and self._effects.persists):
            return
        for pair, kept in {**self._owed, **self._dirty}.values():
            session = kept.session
            kept.covered, kept.behind = AHEAD if kept.reserves else 0, 0
            kept.reserves = False
            data = session.encode(kept.covered) if session is not None else kept.data
            self._behind.pop(_name(pair, kept), None)
            self._effects.persist(SessionPut(pair.user, pair.peer, kept.session_id, kept.used, data))
        self._dirty.clear()
        self._owed.clear()

    def _forget(self, name: bytes) -> None:
        for kind in (self._dirty, self._owed, self._behind):
            kind.pop(name, None)

    def _make_room(self, newcomer: Pair) -> None:
        """Forget one session of another pair than the newcomer's."""
        strangers = [pair for pair in self._pairs.values() if pair.strange]
        most = self._limits.sessions * self._limits.strangers_percent // _PERCENT
        crowded = sum(len(pair.sessions) for pair in strangers) > most
        first = strangers if crowded else [pair for pair in self._pairs.values() if not pair.strange]
        for pair in (*first, *self._pairs.values()):
            if pair is not newcomer:
                self._effects.count(counters.SESSION_EVICTED)
                self.remove(pair, min(pair.sessions, key=_worth))
                return


def _rank(kept: Kept) -> tuple[bool, int]:
    return kept.theirs, kept.order


def _worth(kept: Kept) -> tuple[bool, bool, int]:
    return not kept.retired, kept.theirs, kept.order


def _name(pair: Pair, kept: Kept) -> bytes:
    return pair.user + pair.peer + kept.session_id

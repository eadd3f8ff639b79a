"""What one link may bring at once, and for long; and which envelopes for local users are tried, by sender and by link.

Only a signature verified and a seal opened tell whether an envelope was worth them, and anybody can make any number of
senders. So what was verified and brought nothing is charged to its sender, and to all senders of that standing on the
link that brought it; where that is used up the next is not tried but left where it is (LATER), at the cost of its
frame. What is opened costs nothing. No link is punished: it may be an honest relay's.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from qpq.mesh.buckets import Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpq.crypto.identity import Address
    from qpq.mesh.inbox import Inbox
    from qpq.mesh.limits import Limits
    from qpq.mesh.outbox import Outbox
    from qpq.mesh.pairs import Pair
    from qpq.mesh.sessions import Sessions
    from qpq.mesh.users import LocalUser

_PASSED = 64
PASSED_S: Final = 120.0
"""Receipts remembered as passed on over a link, and for how long it may not have arrived; the oldest is forgotten."""
_PERCENT = 100


class Standing(IntEnum):
    """What a sender is to a local user; those above are not held up by what those below do."""

    STRANGER = 0
    KNOWN = 1
    """It has a session with the user, a message in the inbox, or had an envelope opened lately."""
    FRIEND = 2
    """The user has written to it, or named it: nobody comes to that alone."""


class _Allowance:
    """What all senders of one standing may bring over one link, and each of those that did so ``in vain`` lately."""

    __slots__ = ("agreements", "in_vain", "senders", "words")

    def __init__(self, limits: Limits, now: float) -> None:
        self.words = Bucket(limits.control_rate, limits.control_burst, now)
        self.agreements = Bucket(limits.agreement_rate, limits.agreement_burst, now)
        self.in_vain = Bucket(limits.vain_rate, limits.vain_burst, now)
        self.senders: dict[Address, Bucket] = {}


class Allowances:
    """Those of one link, each made when it is first needed; what has none of its own left takes from those below.

    Of the senders of a standing ``vain_senders`` are told apart, the one that failed longest ago is forgotten.
    """

    __slots__ = ("_by_standing", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_standing: dict[Standing, _Allowance] = {}

    def admits(self, sender: Address, standing: Standing, now: float) -> bool:
        """Whether an envelope may be tried."""
        mine = self._own(standing, now)
        own = mine.senders.get(sender)
        if own is not None and not own.has(1, now):
            return False
        return mine.in_vain.has(1, now) or any(each.in_vain.has(1, now) for each in self._down(standing, now))

    def charge(self, sender: Address, standing: Standing, cost: int, now: float) -> None:
        """Count an envelope that was admitted and brought nothing."""
        limits, mine = self._limits, self._own(standing, now)
        senders = mine.senders
        part = limits.vain_sender_percent / _PERCENT
        own = senders.pop(sender, None) or Bucket(limits.vain_rate * part, limits.vain_burst * part, now)
        if len(senders) >= limits.vain_senders:
            del senders[next(iter(senders))]
        senders[sender] = own
        own.owe(cost, now)
        payer = next((each for each in self._down(standing, now) if each.in_vain.has(1, now)), mine)
        payer.in_vain.owe(cost, now)

    def may_begin(self, standing: Standing, now: float) -> bool:
        """Take one of the sessions that others may begin."""
        return any(allowance.agreements.take(1, now) for allowance in self._down(standing, now))

    def may_say(self, standing: Standing, now: float) -> bool:
        """Take one of the words about keys that others may send."""
        return any(allowance.words.take(1, now) for allowance in self._down(standing, now))

    def _own(self, standing: Standing, now: float) -> _Allowance:
        found = self._by_standing.get(standing)
        if found is None:
            found = self._by_standing[standing] = _Allowance(self._limits, now)
        return found

    def _down(self, standing: Standing, now: float) -> Iterator[_Allowance]:
        return (self._own(Standing(level), now) for level in range(standing, -1, -1))


class Ingress:
    """What one link may bring: bytes to keep, proofs nobody here can check, and envelopes for users.

    ``passed``: when which receipts (short ids) were passed on over it.
    """

    __slots__ = ("passed", "proofs", "size", "trials")

    def __init__(self, limits: Limits, now: float) -> None:
        self.size = Bucket(limits.relay_rate, limits.relay_burst, now)
        self.proofs = Bucket(limits.proof_rate, limits.proof_burst, now)
        self.trials = Allowances(limits)
        self.passed = deque[tuple[float, bytes]](maxlen=_PASSED)


class Trial:
    """One envelope that is tried."""

    __slots__ = ("_allowances", "_cost", "_now", "_standing", "_trials", "_who")

    def __init__(
        self,
        trials: Trials,
        allowances: Allowances,
        who: tuple[Address, Address],
        found: tuple[Standing, int],
        now: float,
    ) -> None:
        """``who``: the address that it is for, and its sender; ``found``: what that is, and what it costs to fail."""
        self._trials = trials
        self._allowances = allowances
        self._who = who
        self._standing, self._cost = found
        self._now = now

    def may_begin(self) -> bool:
        """Whether it may begin a session."""
        return self._allowances.may_begin(self._standing, self._now)

    def may_say(self) -> bool:
        """Whether it may be a word about keys."""
        return self._allowances.may_say(self._standing, self._now)

    def opened(self) -> None:
        """Learn that it was worth it."""
        self._trials.note(self._who)

    def in_vain(self) -> None:
        """Learn that it was not."""
        self._allowances.charge(self._who[1], self._standing, self._cost, self._now)


class Trials:
    """Tells who is who; of senders whose envelopes were opened it remembers ``senders_opened``, the latest."""

    __slots__ = ("_inbox", "_limits", "_opened", "_outbox", "_sessions")

    def __init__(self, limits: Limits, inbox: Inbox, outbox: Outbox, sessions: Sessions) -> None:
        self._limits = limits
        self._inbox = inbox
        self._outbox = outbox
        self._sessions = sessions
        self._opened: dict[tuple[Address, Address], None] = {}

    def begin(self, allowances: Allowances, user: LocalUser, key: Address, sender: Address, now: float) -> Trial | None:
        """Admit an envelope of ``sender`` to the user who reads ``key``; None: not now."""
        pair = self._sessions.pair(key, sender)
        standing = self._standing(user, key, sender, pair)
        if not allowances.admits(sender, standing, now):
            return None
        cost = 1 if pair is None else 1 + len(pair.sessions)
        return Trial(self, allowances, (key, sender), (standing, cost), now)

    def note(self, who: tuple[Address, Address]) -> None:
        """Remember a sender, behind whom it wrote to, of whom something was opened."""
        self._opened.pop(who, None)
        if len(self._opened) >= self._limits.senders_opened:
            del self._opened[next(iter(self._opened))]
        self._opened[who] = None

    def _standing(self, user: LocalUser, key: Address, sender: Address, pair: Pair | None) -> Standing:
        wrote = (pair is not None and not pair.strange) or self._outbox.writes_to(key, sender)
        if wrote or sender in user.named:
            return Standing.FRIEND
        known = pair is not None or (key, sender) in self._opened or self._inbox.has_from(user.secret.address, sender)
        return Standing.KNOWN if known else Standing.STRANGER

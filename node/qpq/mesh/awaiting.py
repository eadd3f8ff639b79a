"""Broadcasts that were heard of and have not come: who told of them, who is asked when, who is not believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.mesh import counters
from qpq.mesh.due import Due
from qpq.mesh.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qpq.mesh.collecting import Effects
    from qpq.mesh.due import Timer
    from qpq.mesh.limits import Limits

_ANNOUNCERS = 4
"""Links noted to have told of one id; further ones are not needed."""


class _Missing:
    """An id heard of: the links that told of it, and of them those that were asked for it; ``once``: one is enough."""

    __slots__ = ("announcers", "asked", "once")

    def __init__(self, number: int, *, once: bool) -> None:
        self.announcers = [number]
        self.asked: list[int] = []
        self.once = once


class _Teller:
    """A link that tells of ids: so many it told of first are waited for, so many in a row it did not give."""

    __slots__ = ("deaf_until", "missing", "owing")

    def __init__(self, now: float) -> None:
        self.missing = 0
        self.owing = 0
        self.deaf_until = now


class Awaiting:
    """At most ``missing_ids``, of which ``missing_link`` that one link told of first; more are left out.

    A link that owes ``missing_link`` in a row is not listened to for ``deaf_s``.
    """

    __slots__ = ("_asking", "_cost", "_effects", "_limits", "_missing", "_tellers", "_timers")

    def __init__(self, *, limits: Limits, timers: Timers[Timer], effects: Effects, cost: Callable[[int], int]) -> None:
        """``cost`` returns that of a link in sixteenths of a perfect one."""
        self._limits = limits
        self._timers = timers
        self._effects = effects
        self._cost = cost
        self._tellers: dict[int, _Teller] = {}
        self._missing: dict[bytes, _Missing] = {}
        self._asking = Timers[bytes]()

    def link_usable(self, number: int, now: float) -> None:
        """Listen to a link."""
        self._tellers[number] = _Teller(now)

    def link_gone(self, number: int) -> None:
        """Forget a link; ids that only it told of are given up when their time comes."""
        del self._tellers[number]

    def told(self, number: int, short_id: bytes, now: float, *, once: bool = False) -> None:
        """Note that a link has told of an id that is of use; ``once``: it is asked to be eager, and owes nothing."""
        missing = self._missing.get(short_id)
        teller, limits = self._tellers[number], self._limits
        if missing is not None:
            if len(missing.announcers) < _ANNOUNCERS and number not in missing.announcers:
                missing.announcers.append(number)
        elif (
            now < teller.deaf_until or teller.missing >= limits.missing_link or len(self._missing) >= limits.missing_ids
        ):
            self._effects.count(counters.FLOOD_OVER_CAP)
        else:
            teller.missing += 1
            self._missing[short_id] = _Missing(number, once=once)
            self._asking.set(short_id, now + limits.graft_s)
            self._watch()

    def came(self, short_id: bytes) -> Sequence[int]:
        """Wait for an id no longer; return the links that told of it."""
        missing = self._missing.pop(short_id, None)
        if missing is None:
            return ()
        self._asking.cancel(short_id)
        self._settle(missing)
        return missing.announcers

    def gave(self, number: int) -> None:
        """Note that a link has given something new: it owes nothing."""
        self._tellers[number].owing = 0

    def due(self, now: float) -> dict[int, list[bytes]]:
        """Return whom to ask for what: each time the best link that was not asked yet."""
        asks: dict[int, list[bytes]] = {}
        while (short_id := self._asking.pop_due(now)) is not None:
            missing = self._missing[short_id]
            there = [link for link in missing.announcers if link in self._tellers and link not in missing.asked]
            if not there:
                self._give_up(short_id, now)
                continue
            number = min(there, key=self._cost)
            missing.asked.append(number)
            asks.setdefault(number, []).append(short_id)
            if missing.once:
                del self._missing[short_id]
                self._settle(missing)
            else:
                self._asking.set(short_id, now + self._limits.graft_s)
        self._watch()
        return asks

    def _settle(self, missing: _Missing) -> None:
        teller = self._tellers.get(missing.announcers[0])
        if teller is not None:
            teller.missing -= 1

    def _give_up(self, short_id: bytes, now: float) -> None:
        missing = self._missing.pop(short_id)
        self._settle(missing)
        for number in missing.asked:
            teller = self._tellers.get(number)
            if teller is not None:
                teller.owing += 1
                if teller.owing >= self._limits.missing_link:
                    teller.owing = 0
                    teller.deaf_until = now + self._limits.deaf_s
                    self._effects.count(counters.FLOOD_DEAF)

    def _watch(self) -> None:
        at = self._asking.next_at()
        if at is not None:
            self._timers.set((Due.GRAFT, 0), at)

"""Reconciliation with neighbours: when, how often, and what to do about what one of two lacks.

Only who began a link begins to compare, soon after link-up and then at waits that double while
nothing comes of it. Whichever end finds out what one lacks acts: what the neighbour lacks is sent,
at a pace, what is lacking here is asked for. What a neighbour cannot give, or would not take, is
asked for and sent once a link; it stays a difference, but makes no more work.

A node that lacks much would be given the same by all its neighbours at once, so it takes turns: while
something comes over one link it answers no other, for a while.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from qpq.mesh import counters
from qpq.mesh.buckets import Bucket
from qpq.mesh.due import Due
from qpq.mesh.effects import SendFrame
from qpq.wire.errors import WireError
from qpq.wire.frames_mesh import MAX_SHORT_IDS, Graft, Reconcile
from qpq.wire.reconcile import SALT_SIZE, initiate, respond

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qpq.mesh.chance import Chance
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.due import Timer
    from qpq.mesh.flooded import Flooded
    from qpq.mesh.limits import Limits
    from qpq.mesh.links import Link
    from qpq.mesh.supplying import Supplying
    from qpq.mesh.timers import Timers

_MESSAGES = 2.0
_MANY = 64
"""As much progress in one run, in ids, means that there is more: the next comes soon."""
_TURN_S = 30.0
_RETRY_S = 1.0
_CALM_S = 2.0
_AWAITED_S = 60.0


class Sync(IntEnum):
    """How far a link is: its first comparison is awaited, goes on, or was made."""

    AWAITED = 0
    RUNNING = 1
    DONE = 2


class _Run:
    """One link's comparisons."""

    __slots__ = ("active_at", "asked", "bucket", "initiator", "pending", "progress", "since", "started", "told", "wait")

    def __init__(self, link: Link, limits: Limits, now: float) -> None:
        self.initiator = link.initiator
        self.since = now
        self.started = False
        self.active_at = now
        self.wait = limits.reconcile_min_s
        self.progress = 0
        self.pending = b""
        self.bucket = Bucket(_MESSAGES, limits.reconcile_burst, now)
        self.asked: dict[bytes, None] = {}
        self.told: dict[bytes, None] = {}


class Reconciling:
    """Takes RECONCILE and GRAFT for what was missed; one comparison a link at a time."""

    __slots__ = (
        "_chance",
        "_clock",
        "_effects",
        "_flooded",
        "_giver",
        "_giver_at",
        "_giver_since",
        "_limits",
        "_runs",
        "_supplying",
        "_timers",
    )

    def __init__(
        self,
        *,
        limits: Limits,
        clock: Clock,
        chance: Chance,
        timers: Timers[Timer],
        effects: Effects,
        flooded: Flooded,
        supplying: Supplying,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._chance = chance
        self._timers = timers
        self._effects = effects
        self._flooded = flooded
        self._supplying = supplying
        self._runs: dict[int, _Run] = {}
        self._giver = 0
        self._giver_at = self._giver_since = 0.0

    def link_usable(self, link: Link, now: float) -> None:
        """Compare soon, where this end began the link."""
        self._runs[link.number] = _Run(link, self._limits, now)
        if link.initiator:
            self._timers.set((Due.RECONCILE, link.number), now + 1.0 + 2 * self._chance.fraction())

    def link_gone(self, number: int, _now: float) -> None:
        """Forget a link."""
        self._runs.pop(number, None)
        self._timers.cancel((Due.RECONCILE, number))

    def sync(self, number: int, now: float) -> Sync:
        """Return whether what was made up for over one link is news to another."""
        run = self._runs[number]
        if not run.started and now - run.since < _AWAITED_S:
            return Sync.AWAITED
        return Sync.RUNNING if now - run.active_at < _CALM_S else Sync.DONE

    def reconcile(self, link: Link, frame: Reconcile, now: float) -> str:
        """Take a step of a comparison; the text, if any, is why the link must end."""
        run = self._runs[link.number]
        if not run.bucket.take(1, now):
            self._effects.count(counters.RECONCILE_OVER_RATE)
        elif self._busy(link.number, now):
            run.pending = frame.ranges
            self._timers.set((Due.RECONCILE, link.number), now + self._chance.stretch(_RETRY_S))
        else:
            return self._step(link.number, run, frame.ranges, now)
        return ""

    def asked(self, number: int, short_ids: Iterable[bytes], now: float) -> None:
        """Send what a neighbour found missing."""
        self._progressed(number, self._runs[number], len(self._supplying.send(number, short_ids, now)), now)

    def refused(self, number: int, now: float) -> None:
        """Send a neighbour nothing for a while: it has no room; what it lacks then is sent again."""
        self._supplying.pause(number, now)
        self._runs[number].told.clear()

    def taken(self, number: int, now: float) -> None:
        """Note that a link has brought something that was missed."""
        self._progressed(number, self._runs[number], 1, now)
        self._takes(number, now)

    def due(self, number: int, now: float) -> None:
        """Begin a comparison, or take the step that had to wait."""
        run = self._runs[number]
        ranges, run.pending = run.pending, b""
        if self._busy(number, now):
            run.pending = ranges
            self._timers.set((Due.RECONCILE, number), now + self._chance.stretch(_RETRY_S))
        elif ranges:
            self._step(number, run, ranges, now)
            if run.initiator:
                self._timers.set((Due.RECONCILE, number), now + self._chance.stretch(run.wait))
        else:
            self._begin(number, run, now)

    # --- inside ----------------------------------------------------------------------------------

    def _begin(self, number: int, run: _Run, now: float) -> None:
        limits = self._limits
        if run.progress or not run.started:
            run.wait = limits.reconcile_min_s
        else:
            run.wait = min(2 * run.wait, limits.reconcile_max_s)
        run.started = True
        run.progress = 0
        run.active_at = now
        self._effects.count(counters.RECONCILE_BEGUN)
        salt = self._chance.random(SALT_SIZE)
        self._effects.do(SendFrame(number, Reconcile(initiate(self._flooded.items(self._clock.life(now)), salt))))
        self._timers.set((Due.RECONCILE, number), now + self._chance.stretch(run.wait))

    def _step(self, number: int, run: _Run, ranges: bytes, now: float) -> str:
        try:
            step = respond(self._flooded.items(self._clock.life(now)), ranges)
        except WireError as fault:
            return f"a false comparison: {fault}"
        run.started = True
        given = self._supplying.send(number, (short_id for short_id in step.have if short_id not in run.told), now)
        need = [
            short_id for short_id in step.need if short_id not in run.asked and not self._supplying.proven(short_id)
        ]
        self._note(run.told, given)
        self._note(run.asked, need)
        if need:
            self._effects.count(counters.RECONCILE_ASKED, len(need))
            self._takes(number, now)
        for start in range(0, len(need), MAX_SHORT_IDS):
            self._effects.do(
                SendFrame(number, Graft(eager=False, short_ids=tuple(need[start : start + MAX_SHORT_IDS])))
            )
        if step.reply and not self._supplying.full(number):
            run.active_at = now
            self._effects.do(SendFrame(number, Reconcile(step.reply)))
        self._progressed(number, run, len(given) + len(need), now)
        return ""

    def _progressed(self, number: int, run: _Run, amount: int, now: float) -> None:
        """Note that something came of a comparison; where it was much, the next follows soon."""
        if amount:
            run.progress += amount
            run.active_at = now
            if run.initiator and run.progress >= _MANY and not run.pending:
                self._timers.set((Due.RECONCILE, number), now + self._chance.stretch(self._limits.reconcile_soon_s))

    def _takes(self, number: int, now: float) -> None:
        """Note that this node makes up for something over a link; the link has its turn if no other has."""
        if self._busy(number, now):
            return
        if number != self._giver or now - self._giver_at >= _CALM_S:
            self._giver, self._giver_since = number, now
        self._giver_at = now

    def _busy(self, number: int, now: float) -> bool:
        """Whether another link has its turn: something still comes over it, and not for too long already."""
        if self._giver == number or self._giver not in self._runs:
            return False
        return now - self._giver_at < _CALM_S and now - self._giver_since < _TURN_S

    def _note(self, noted: dict[bytes, None], short_ids: Sequence[bytes]) -> None:
        noted.update(dict.fromkeys(short_ids))
        while len(noted) > self._limits.reconcile_ids:
            del noted[next(iter(noted))]

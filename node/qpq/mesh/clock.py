"""Wall time as far as it is trusted, and the clock of life by which messages age across restarts.

The rule for ages. A store lives through *life* seconds: the sum of all times its node ran,
measured by the monotonic clock, and of the times it was off, where these are known. A message
born at life ``b`` with ttl ``t`` expires at life ``b + t``; no wall clock is asked. On a restart

* life goes on from the last checkpoint, which is stored with every write that is a minute or
  more after the one before, at a clean stop, and by timer while messages wait;
* once the wall clock is trusted, and it was when the checkpoint was stored, the difference of
  the two readings is added if it exceeds the time run since the start, so both the time off
  and what ran after the checkpoint count. A clock that went back adds nothing;
* without a trusted clock the time off counts nothing. A message then lives longer by the time
  its node was off, which harms nobody, and never shorter; it is not immortal, since at least
  half of the time run before a crash counts (the timer's waits double from one minute to one
  hour).

A node without a trusted clock judges envelopes by the median of its neighbours' trusted clocks,
where there are three or more: fewer than half of them, if they lie, cannot move it beyond what
the others say. It stamps nothing with it and tells nobody of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.mesh.records import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpq.mesh.limits import Limits

_LENDERS = 3
_MAX_UNIX = 253_402_300_799  # the last second of the year 9999, the most the wire carries


class Clock:
    """Reads ``now`` (monotonic seconds) as Unix time and as life; starts at its first ``start``."""

    __slots__ = ("_base", "_credited", "_lent", "_limits", "_offset", "_saved_at", "_started", "trusted")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._base = Checkpoint(0, 0)
        self._credited = 0.0
        self._started: float | None = None
        self._saved_at = 0.0
        self._offset: float | None = None
        self._lent: float | None = None
        self.trusted = False

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from what was stored."""
        self._base = checkpoint

    def start(self, now: float) -> bool:
        """Note the first ``now`` of this run; whether this was it."""
        if self._started is not None:
            return False
        self._started = self._saved_at = now
        return True

    def set(self, offset: float, trusted: bool, now: float) -> float:
        """Take a reading (Unix time = now + offset); return by how many seconds life jumped (0: not)."""
        self._offset, self.trusted = offset, trusted
        if not trusted or not self._base.unix:
            return 0.0
        credit = now + offset - self._base.unix - (now - self._start) - self._credited
        self._base = Checkpoint(self._base.life, 0)
        if credit < 1:
            return 0.0
        self._credited += credit
        return credit

    def life(self, now: float) -> float:
        """Return the seconds that the store has lived through."""
        return self._base.life + self._credited + now - self._start

    def unix(self, now: float) -> int:
        """Return the best guess of Unix time, for people to read; 0: none."""
        if self._offset is None:
            return 0
        return min(max(0, int(now + self._offset)), _MAX_UNIX)

    def stamp(self, now: float) -> int:
        """Return Unix time where the clock is trusted, else 0."""
        return self.unix(now) if self.trusted else 0

    def lend(self, readings: Sequence[int], now: float) -> None:
        """Take the neighbours' trusted clocks (Unix seconds at ``now``), in place of those taken before."""
        self._lent = sorted(readings)[len(readings) // 2] - now if len(readings) >= _LENDERS else None

    def judge(self, now: float) -> int:
        """Return Unix time as far as envelopes may be judged by it: one's own or the neighbours'; 0: none."""
        if self.trusted or self._lent is None:
            return self.stamp(now)
        return min(max(0, int(now + self._lent)), _MAX_UNIX)

    def agrees(self, unix: int, now: float) -> bool:
        """Whether a peer's trusted reading is close to the time that envelopes are judged by here, if any."""
        judge = self.judge(now)
        return judge > 0 and abs(judge - unix) <= self._limits.skew_s

    def believed(self, age: int, timestamp: int, ttl: int, peer_unix: int, now: float) -> int:
        """Return the age of an envelope that a neighbour brings, ``age`` being what that says.

        Where sender, neighbour and this node have clocks that may judge, an age that these disprove is not believed:
        who adds to it would make others let go of an envelope too early, who takes from it too late.
        """
        if not timestamp or not peer_unix or not self.agrees(peer_unix, now):
            return age
        true, skew = max(0, self.judge(now) - timestamp), int(self._limits.skew_s)
        return min(max(age, true - skew), true + skew) if true < ttl else true

    def checkpoint(self, now: float) -> Checkpoint:
        """Return what to store now."""
        self._saved_at = now
        return Checkpoint(int(self.life(now)), self.stamp(now))

    def worth_saving(self, now: float) -> bool:
        """Whether a write that happens anyway should carry a checkpoint."""
        return now - self._saved_at >= self._limits.checkpoint_min_s

    def next_save(self, now: float) -> float:
        """Return when to store a checkpoint for its own sake, while messages wait."""
        least, most = self._limits.checkpoint_min_s, self._limits.checkpoint_max_s
        return now + min(max(least, now - self._start), most)

    @property
    def _start(self) -> float:
        return self._started if self._started is not None else 0.0

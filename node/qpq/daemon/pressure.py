"""Watches how much memory is left, and has the core use less of its caps while that is little, and more again later.

What a store in RAM does not need then is given back.

What is left is the least of MemAvailable (proc(5)) and of the room below this process's own limit (RLIMIT_AS, which
procd sets); where the kernel tells how long processes waited for memory (PSI, Linux 4.20), that counts too.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from qpq.daemon import memory
from qpq.daemon.lean import let_go
from qpq.mesh.events import RoomSet
from qpq.store.faults import StoreError

if TYPE_CHECKING:
    from qpq.daemon.node import Node

LOOK_SECONDS = 60.0
"""How often it looks: four small files of /proc, some 0.2 ms on a PC."""
IMPORTS_SECONDS = 10.0
"""So long after a look it has what imports left in memory freed: a node that starts has imported what it needs then."""
EASY = 1.5
"""So many times what counts as little must be left before it counts as enough: a level is not to flap."""

_MAX_READ = 8192
_MIB = memory.MIB


class Level(Enum):
    """How short memory is: a number, the percent of the caps, whether others' messages are taken into custody."""

    ENOUGH = (0, 100, True)
    SHORT = (1, 50, True)
    LOW = (2, 25, False)

    @property
    def number(self) -> int:
        """0 for enough, 2 for very little."""
        return self.value[0]


_BELOW = {Level.SHORT: 12 * _MIB, Level.LOW: 6 * _MIB}
"""Bytes left; a node with three neighbours and its store in RAM takes 11 MB in all."""
_STALLED = {Level.SHORT: ("some", 20.0), Level.LOW: ("full", 10.0)}
"""Percent of the last minute in which some process, or every one, waited for memory."""


@dataclass(frozen=True, slots=True)
class Left:
    """Bytes left (0: nobody says), and percent of a minute in which processes waited, by ``some`` and ``full``."""

    available: int
    stalled: dict[str, float]


def read(root: str = "") -> Left:
    """Read what is left; ``root`` is put before the system's paths, for tests."""
    found = [memory.read(root + memory.MEMINFO).available, _headroom(root)]
    return Left(min((each for each in found if each), default=0), _stalled(_text(f"{root}/proc/pressure/memory")))


def judge(left: Left, before: Level) -> Level:
    """Return the level now; up at once as far as need be, down one step when there is clearly enough."""
    worst = max((level for level in _BELOW if _little(left, level, 1.0)), key=_number, default=Level.ENOUGH)
    if worst.number >= before.number:
        return worst
    lower = next(level for level in Level if level.number == before.number - 1)
    return before if _little(left, before, EASY) else lower


class Pressure:
    """The level of one node; ``root`` as for ``read``."""

    def __init__(self, node: Node, root: str = "") -> None:
        self._node = node
        self._root = root
        self.level = Level.ENOUGH

    def look(self) -> None:
        """Look now and every minute from now on; tell the core and the log what has changed."""
        left = read(self._root)
        before, self.level = self.level, judge(left, self.level)
        if self.level is not before:
            _, percent, takes = self.level.value
            self._node.shell.put(RoomSet(percent, takes))
            self._say(left, before)
            gc.collect()
        if self.level is not Level.ENOUGH:
            self._give_back()
        self._node.later("memory", LOOK_SECONDS, self.look)
        self._node.later("imports", IMPORTS_SECONDS, let_go)

    def document(self) -> dict[str, object]:
        """Return level and bytes left as plain JSON."""
        return {"level": self.level.name.lower(), "left": read(self._root).available}

    def _give_back(self) -> None:
        try:
            self._node.settled().compact()
        except StoreError as error:
            self._node.log.warning("%s", error)

    def _say(self, left: Left, before: Level) -> None:
        log, megabytes = self._node.log, left.available // _MIB
        if self.level is Level.ENOUGH:
            log.info("memory: %d MB are left, all limits are as before", megabytes)
        elif self.level.number < before.number:
            log.info("memory: %d MB are left, the limits are half of the usual; others' messages are taken", megabytes)
        else:
            part = "half" if self.level is Level.SHORT else "a quarter"
            custody = "" if self.level is Level.SHORT else ", nothing more is taken for others"
            log.warning("memory is short: %d MB are left, the limits are %s of the usual%s", megabytes, part, custody)


def _little(left: Left, level: Level, times: float) -> bool:
    kind, most = _STALLED[level]
    return 0 < left.available < _BELOW[level] * times or left.stalled.get(kind, 0.0) * times > most


def _number(level: Level) -> int:
    return level.number


def _headroom(root: str) -> int:
    """Return how much more this process may have, at least 1; 0 where no limit is set."""
    limit = next((line.split()[3] for line in _text(f"{root}/proc/self/limits") if line.startswith("Max address")), "")
    size = next((line.split()[1] for line in _text(f"{root}/proc/self/status") if line.startswith("VmSize:")), "")
    return max(1, int(limit) - int(size) * 1024) if limit.isdigit() and size.isdigit() else 0


def _stalled(lines: list[str]) -> dict[str, float]:
    """Return the share of the last minute, in percent, of each line ``some avg10=0.00 avg60=0.00 ...``."""
    found: dict[str, float] = {}
    for line in lines:
        kind, *fields = line.split()
        words = dict(field.partition("=")[::2] for field in fields)
        try:
            found[kind] = float(words["avg60"])
        except (KeyError, ValueError):
            continue
    return found


def _text(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            return [line for line in file.read(_MAX_READ).decode("ascii", "replace").splitlines() if line.strip()]
    except OSError:
        return []

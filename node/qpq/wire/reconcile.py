"""Set reconciliation: two nodes find out which short ids only one of them knows.

Range-based (A. Meyer, "Range-Based Set Reconciliation", 2023; the idea is also negentropy's). A message
tells of ranges of the sorted ids, in order and from the least id on, either a fingerprint or all ids that
its sender has there. Where fingerprints differ the receiver answers with a finer division by its own ids;
a list tells its receiver all about a range. So both ends call ``respond`` until a reply is empty, neither
keeps any state, and what is said grows with the difference and the logarithm of the sets.

A fingerprint is 8 bytes of SHA-256 over the salt of the run and the range's ids. The initiator draws the
salt, so nobody can prepare ids whose fingerprints collide, and what collides by accident is found next time.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from qpq.wire.errors import FieldError, NotShortestError, TooLongError, TruncatedError
from qpq.wire.frames_mesh import MAX_RANGES, SHORT_ID_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

SALT_SIZE: Final = 8
FINGERPRINT_SIZE: Final = 8

_SKIP, _FINGERPRINT, _LIST = range(3)
_NO_END = 17  # length of a bound that is above all ids
_END = b"\xff" * _NO_END
_FEW = 4  # ranges that differ, up to which a step costs more than the bytes it saves
_LISTED_OF_FEW = 12  # up to so many ids are listed, not divided, where few ranges differ
_LISTED = 4
_PARTS = 8  # of a division
_RECORD = 1 + SHORT_ID_SIZE
_TAIL = 2 * _RECORD + FINGERPRINT_SIZE  # bytes kept for the skip and the fingerprint that stand for what has no room


class Items:
    """A sorted set of short ids, 16 bytes each and 16 bytes of memory each.

    ``add``, ``remove`` and ``in`` search in O(log n); the bytes behind the place move, which is
    microseconds for the 20,000 ids of a large node. Its owner caps its size.
    """

    __slots__ = ("_data",)

    def __init__(self, short_ids: Iterable[bytes] = ()) -> None:
        self._data = bytearray(b"".join(sorted(set(map(_checked, short_ids)))))

    def __len__(self) -> int:
        """Return the number of ids."""
        return len(self._data) // SHORT_ID_SIZE

    def __contains__(self, short_id: bytes) -> bool:
        """Whether the id is in the set."""
        return self.at(self.rank(short_id)) == short_id

    def add(self, short_id: bytes) -> None:
        """Put an id in, once; raises FieldError for another length than 16."""
        place = self.rank(_checked(short_id))
        if self.at(place) != short_id:
            self._data[place * SHORT_ID_SIZE : place * SHORT_ID_SIZE] = short_id

    def remove(self, short_id: bytes) -> None:
        """Take an id out if it is there."""
        place = self.rank(short_id)
        if self.at(place) == short_id:
            del self._data[place * SHORT_ID_SIZE : (place + 1) * SHORT_ID_SIZE]

    def at(self, place: int) -> bytes:
        """Return the id at a place of the order, nothing behind the last."""
        return bytes(self._data[place * SHORT_ID_SIZE : (place + 1) * SHORT_ID_SIZE])

    def rank(self, bound: bytes) -> int:
        """Return how many ids are below ``bound``, which may be shorter or longer than an id."""
        return bisect_left(range(len(self)), bound, key=self.at)

    def between(self, start: int, stop: int) -> tuple[bytes, ...]:
        """Return the ids of the places ``start`` to ``stop``, without the last."""
        return tuple(map(self.at, range(start, stop)))

    def fingerprint(self, salt: bytes, start: int, stop: int) -> bytes:
        """Return the fingerprint of the ids of the places ``start`` to ``stop``, 8 bytes."""
        digest = sha256(salt)
        digest.update(memoryview(self._data)[start * SHORT_ID_SIZE : stop * SHORT_ID_SIZE])
        return digest.digest()[:FINGERPRINT_SIZE]


@dataclass(frozen=True, slots=True)
class Step:
    """What a message led to: the answer (empty: all is told), and short ids only one end has.

    ``have``: the peer lacks them; ``need``: this end lacks them. The peer does not learn of either.
    """

    reply: bytes
    have: tuple[bytes, ...]
    need: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Range:
    """Places ``start`` to ``stop`` of the own ids: what lies from the bound ``low`` to the bound ``high``."""

    start: int
    stop: int
    low: bytes
    high: bytes


def initiate(items: Items, salt: bytes) -> bytes:
    """Return the first message of a run, 10 or 17 bytes; ``salt`` is 8 random bytes."""
    if len(salt) != SALT_SIZE:
        raise FieldError(f"the salt has {len(salt)} bytes, it must have {SALT_SIZE}")
    everything = _Range(0, len(items), b"", _END)
    return salt + (_summed(items, salt, everything) if items else _listed(items, everything))


def respond(items: Items, message: bytes) -> Step:
    """Compare a message of the peer with the own ids; raises a WireError for one that nobody may send.

    Costs at most two passes of SHA-256 over the ids and 300 searches, whatever the message says. A list in
    front of which no room was left for the reply is not looked at: it will come again.
    """
    salt, records = _read(message)
    listed: list[tuple[_Range, bytes]] = []
    differing: list[_Range] = []
    start, low = 0, b""
    for mode, high, content in records:
        area = _Range(start, items.rank(high), low, high)
        if mode == _LIST:
            listed.append((area, content))
        elif mode == _FINGERPRINT and items.fingerprint(salt, area.start, area.stop) != content:
            differing.append(area)
        start, low = area.stop, high
    reply, rest = _reply(items, salt, differing)
    have: list[bytes] = []
    need: list[bytes] = []
    for area, content in listed:
        if rest is None or not rest.low <= area.low < rest.high:
            ours = items.between(area.start, area.stop)
            theirs = {content[at : at + SHORT_ID_SIZE] for at in range(0, len(content), SHORT_ID_SIZE)}
            have += [short_id for short_id in ours if short_id not in theirs]
            need += theirs.difference(ours)
    return Step(reply, tuple(have), tuple(sorted(need)))


def _reply(items: Items, salt: bytes, differing: list[_Range]) -> tuple[bytes, _Range | None]:
    """Divide what differs; what has no room becomes one range, returned too, which the peer will divide again."""
    if not differing:
        return b"", None
    most = _LISTED_OF_FEW if len(differing) <= _FEW else _LISTED
    told = [salt]
    room = MAX_RANGES - SALT_SIZE - _TAIL
    position = b""
    for area in differing:
        if area.stop - area.start <= most:
            pieces = [_listed(items, area)]
        else:
            pieces = [_summed(items, salt, piece) for piece in _divided(items, area)]
        told.append(_record(_SKIP, area.low) if area.low != position else b"")
        room -= len(told[-1]) + sum(map(len, pieces))
        if room < 0:
            rest = _Range(area.start, differing[-1].stop, area.low, differing[-1].high)
            return b"".join((*told, _summed(items, salt, rest))), rest
        told += pieces
        position = area.high
    return b"".join(told), None


def _divided(items: Items, area: _Range) -> list[_Range]:
    """Divide a range into 8 with about as many ids each, or into fewer of about 4 ids."""
    count = area.stop - area.start
    parts = min(_PARTS, -(-count // _LISTED))
    pieces = []
    start, low = area.start, area.low
    for part in range(1, parts):
        stop = area.start + count * part // parts
        high = _bound(items.at(stop - 1), items.at(stop))
        pieces.append(_Range(start, stop, low, high))
        start, low = stop, high
    return [*pieces, _Range(start, area.stop, low, area.high)]


def _summed(items: Items, salt: bytes, area: _Range) -> bytes:
    return _record(_FINGERPRINT, area.high) + items.fingerprint(salt, area.start, area.stop)


def _listed(items: Items, area: _Range) -> bytes:
    count = area.stop - area.start
    return b"".join((_record(_LIST, area.high), bytes((count,)), *items.between(area.start, area.stop)))


def _bound(below: bytes, above: bytes) -> bytes:
    """Return the shortest beginning of ``above`` that is greater than ``below``."""
    size = next(at for at in range(SHORT_ID_SIZE) if below[at] != above[at])
    return above[: size + 1]


def _record(mode: int, high: bytes) -> bytes:
    return bytes((len(high) << 2 | mode,)) + (high if high != _END else b"")


def _read(message: bytes) -> tuple[bytes, list[tuple[int, bytes, bytes]]]:
    """Return the salt and (mode, bound, content) of each range."""
    if len(message) > MAX_RANGES:
        raise TooLongError(f"ranges of {len(message)} bytes, at most {MAX_RANGES} are allowed")
    salt = _cut(message, 0, SALT_SIZE)
    records: list[tuple[int, bytes, bytes]] = []
    position, low, mode = SALT_SIZE, b"", _SKIP
    while position < len(message):
        last, size, mode = mode, message[position] >> 2, message[position] & 3
        high = _END if size == _NO_END else _cut(message, position + 1, size)
        position += 1 if size == _NO_END else 1 + size
        _check_bound(low, high)
        content = b""
        if mode == _FINGERPRINT:
            content = _cut(message, position, FINGERPRINT_SIZE)
        elif mode == _LIST:
            content = _cut(message, position + 1, _cut(message, position, 1)[0] * SHORT_ID_SIZE)
            _check_list(content, low, high)
            position += 1
        elif mode != _SKIP:
            raise FieldError("a range of a kind that does not exist")
        elif records and last == _SKIP:
            raise NotShortestError("two ranges that are skipped follow each other")
        position += len(content)
        records.append((mode, high, content))
        low = high
    if mode == _SKIP:
        raise NotShortestError("nothing is told of the last range")
    return salt, records


def _cut(message: bytes, position: int, size: int) -> bytes:
    part = message[position : position + size]
    if len(part) < size:
        raise TruncatedError("the last range is cut off")
    return part


def _check_bound(low: bytes, high: bytes) -> None:
    if high <= low or (len(high) > SHORT_ID_SIZE and high != _END):
        raise FieldError("a range ends in front of its beginning, or in no bound")
    if high[-1] == 0:
        raise NotShortestError("a range's bound ends in a zero")


def _check_list(content: bytes, low: bytes, high: bytes) -> None:
    ids = [content[at : at + SHORT_ID_SIZE] for at in range(0, len(content), SHORT_ID_SIZE)]
    if ids and (ids[0] < low or ids[-1] >= high or any(after <= before for before, after in pairwise(ids))):
        raise FieldError("the ids of a list do not ascend within their range")


def _checked(short_id: bytes) -> bytes:
    if len(short_id) != SHORT_ID_SIZE:
        raise FieldError(f"a short id has {SHORT_ID_SIZE} bytes, not {len(short_id)}")
    return short_id

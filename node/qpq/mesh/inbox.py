"""The index of what local users keep, and the shares of an inbox that senders and neighbours may fill."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.limits import Limits
    from qpq.mesh.records import Kept

MESSAGE_COST = 128
"""Bytes that a message counts beyond its text: keys, times and the index."""

_PERCENT = 100
_ALL = (0, b"")
_SENDER = 1
_VIA = 2
_OUTSIDE = (3, b"")


class _Share:
    """What counts against one cap."""

    __slots__ = ("count", "read_count", "read_size", "size")

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self.read_count = 0
        self.read_size = 0


class _Box:
    """One user's inbox; two senders may have drawn the same message id."""

    __slots__ = ("messages", "shares")

    def __init__(self) -> None:
        self.messages: dict[bytes, tuple[Kept, ...]] = {}
        self.shares: dict[tuple[int, bytes], _Share] = {}


class Inbox:
    """Sizes by user and message; read messages give way, the oldest first, nothing else that was kept does.

    Two messages of one id (which no honest sender makes) never count as read: the store deletes by id.
    """

    __slots__ = ("_boxes", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._boxes: dict[Address, _Box] = {}

    def fits(self, user: Address, sender: Address, via: Identity | None, size: int, *, outside: bool = False) -> bool:
        """Whether ``user`` may keep ``size`` more bytes from ``sender`` that came over ``via`` (None: this node).

        ``outside``: a gateway has brought it from another domain, whose messages have a share of their own; what comes
        through a channel counts for the neighbour. It may be that ``make_room`` is to be called first.
        """
        box = self._boxes.get(user) or _Box()
        return all(self._spare(box, key, size, read=True) for key in _keys(sender, via, outside))

    def make_room(self, message: Kept) -> list[bytes]:
        """Forget read messages, the oldest first, until one that ``fits`` has room; return the ids to delete."""
        gone: list[bytes] = []
        box = self._boxes.get(message.user) or _Box()
        for key in _of(message):
            if self._spare(box, key, message.size):
                continue
            mine = [kept for kept, *_ in box.messages.values() if kept.read and key in _of(kept)]
            while not self._spare(box, key, message.size):
                gone.append(mine.pop(0).message_id)
                self.remove(message.user, gone[-1])
        return gone

    def add(self, message: Kept) -> None:
        """Note a kept message; one that is noted is no fault."""
        box = self._boxes.setdefault(message.user, _Box())
        same_id = box.messages.get(message.message_id, ())
        if any(other.sender == message.sender for other in same_id):
            return
        if same_id:
            same_id, message = tuple(self._read(kept, False) for kept in same_id), replace(message, read=False)
        box.messages[message.message_id] = (*same_id, message)
        for key in _of(message):
            share = box.shares.get(key)
            if share is None:
                share = box.shares[key] = _Share()
            share.count += 1
            share.size += message.size
            if message.read:
                share.read_count += 1
                share.read_size += message.size

    def mark_read(self, user: Address, sender: Address, message_id: bytes) -> None:
        """Note that the user has seen a message; one that is not kept is no fault."""
        box = self._boxes.get(user)
        same_id = box.messages.get(message_id, ()) if box is not None else ()
        if box is not None and len(same_id) == 1 and same_id[0].sender == sender:
            box.messages[message_id] = (self._read(same_id[0], True),)

    def knows(self, user: Address, sender: Address, message_id: bytes) -> bool:
        """Whether the user keeps this message of this sender."""
        box = self._boxes.get(user)
        same_id = box.messages.get(message_id) if box is not None else None
        return same_id is not None and any(kept.sender == sender for kept in same_id)

    def mark(self, user: Address, sender: Address, message_id: bytes, domain: str) -> bool:
        """Note which domain a channel's message came from; False: it is not kept, or that is known already."""
        box = self._boxes.get(user)
        same_id = box.messages.get(message_id, ()) if box is not None else ()
        if box is None or not any(kept.sender == sender and kept.via and not kept.domain for kept in same_id):
            return False
        box.messages[message_id] = tuple(
            replace(kept, domain=domain) if kept.sender == sender else kept for kept in same_id
        )
        return True

    def has_from(self, user: Address, sender: Address) -> bool:
        """Whether the user keeps a message of this sender."""
        box = self._boxes.get(user)
        return box is not None and (_SENDER, sender) in box.shares

    def remove(self, user: Address, message_id: bytes) -> bool:
        """Forget the messages of this id; whether there was one."""
        box = self._boxes.get(user)
        gone = box.messages.pop(message_id, ()) if box is not None else ()
        for message in gone:
            self._release(message)
        return bool(gone)

    def remove_one(self, user: Address, sender: Address, message_id: bytes) -> None:
        """Forget the message of this id and sender, if there is one."""
        box = self._boxes.get(user) or _Box()
        same_id = box.messages.pop(message_id, ())
        rest = tuple(kept for kept in same_id if kept.sender != sender)
        if rest:
            box.messages[message_id] = rest
        for message in same_id:
            if message.sender == sender:
                self._release(message)

    def remove_user(self, user: Address) -> None:
        """Forget everything about a user who is gone."""
        self._boxes.pop(user, None)

    def size(self) -> int:
        """Return the bytes that all users keep."""
        return sum(box.shares[_ALL].size for box in self._boxes.values() if _ALL in box.shares)

    def _read(self, message: Kept, read: bool) -> Kept:
        """Return the message as read or not, counted as such."""
        if message.read is not read:
            sign = 1 if read else -1
            for key in _of(message):
                share = self._boxes[message.user].shares[key]
                share.read_count += sign
                share.read_size += sign * message.size
        return replace(message, read=read)

    def _release(self, message: Kept) -> None:
        message = self._read(message, False)
        shares = self._boxes[message.user].shares
        for key in _of(message):
            share = shares[key]
            share.count -= 1
            share.size -= message.size
            if not share.count:
                del shares[key]

    def _spare(self, box: _Box, key: tuple[int, bytes], size: int, *, read: bool = False) -> bool:
        """Whether a share has room for one more message; ``read``: if the read ones gave way."""
        share = box.shares.get(key) or _NOTHING
        limits = self._limits
        percent = _PERCENT
        if key is not _ALL:
            kind = key[0]
            percent = limits.sender_percent if kind == _SENDER else limits.link_percent
            if kind == _OUTSIDE[0]:
                percent = limits.outside_percent
        count, held = share.count, share.size
        if read:
            count, held = count - share.read_count, held - share.read_size
        return (
            count < limits.inbox_count * percent // _PERCENT and held + size <= limits.inbox_bytes * percent // _PERCENT
        )


_NOTHING = _Share()


def _of(message: Kept) -> tuple[tuple[int, bytes], ...]:
    return _keys(message.sender, message.via, bool(message.domain) and message.via is None)


def _keys(sender: Address, via: Identity | None, outside: bool) -> tuple[tuple[int, bytes], ...]:
    if outside:
        return (_ALL, (_SENDER, sender), _OUTSIDE)
    return (_ALL, (_SENDER, sender)) if via is None else (_ALL, (_SENDER, sender), (_VIA, via))

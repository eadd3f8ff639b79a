"""The index of what local users keep, and the shares of an inbox that senders and neighbours may fill."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.limits import Limits
    from qpq.mesh.records import Kept

MESSAGE_COST = 128
"""Bytes that a message counts beyond its text: keys, times and the index."""

_PERCENT = 100
_ALL = (0, b"")
_SENDER = 1
_VIA = 2


class _Share:
    """What counts against one cap."""

    __slots__ = ("count", "size")

    def __init__(self) -> None:
        self.count = 0
        self.size = 0


class _Box:
    """One user's inbox; two senders may have drawn the same message id."""

    __slots__ = ("messages", "shares")

    def __init__(self) -> None:
        self.messages: dict[bytes, tuple[Kept, ...]] = {}
        self.shares: dict[tuple[int, bytes], _Share] = {}


class Inbox:
    """Sizes by user and message; what does not fit is refused, nothing that was kept gives way."""

    __slots__ = ("_boxes", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._boxes: dict[Address, _Box] = {}

    def fits(self, user: Address, sender: Address, via: Identity | None, size: int) -> bool:
        """Whether ``user`` may keep ``size`` more bytes from ``sender`` that came over ``via`` (None: this node)."""
        box = self._boxes.get(user) or _Box()
        return (
            self._share_fits(box, _ALL, _PERCENT, size)
            and self._share_fits(box, (_SENDER, sender), self._limits.sender_percent, size)
            and (via is None or self._share_fits(box, (_VIA, via), self._limits.link_percent, size))
        )

    def add(self, message: Kept) -> None:
        """Note a kept message; one that is noted is no fault."""
        box = self._boxes.setdefault(message.user, _Box())
        same_id = box.messages.get(message.message_id, ())
        if any(other.sender == message.sender for other in same_id):
            return
        box.messages[message.message_id] = (*same_id, message)
        for key in _keys(message):
            share = box.shares.get(key)
            if share is None:
                share = box.shares[key] = _Share()
            share.count += 1
            share.size += message.size

    def knows(self, user: Address, sender: Address, message_id: bytes) -> bool:
        """Whether the user keeps this message of this sender."""
        box = self._boxes.get(user)
        return box is not None and any(kept.sender == sender for kept in box.messages.get(message_id, ()))

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

    def _release(self, message: Kept) -> None:
        shares = self._boxes[message.user].shares
        for key in _keys(message):
            share = shares[key]
            share.count -= 1
            share.size -= message.size
            if not share.count:
                del shares[key]

    def _share_fits(self, box: _Box, key: tuple[int, bytes], percent: int, size: int) -> bool:
        share = box.shares.get(key) or _NOTHING
        limits = self._limits
        return (
            share.count < limits.inbox_count * percent // _PERCENT
            and share.size + size <= limits.inbox_bytes * percent // _PERCENT
        )


_NOTHING = _Share()


def _keys(message: Kept) -> Iterator[tuple[int, bytes]]:
    yield _ALL
    yield (_SENDER, message.sender)
    if message.via is not None:
        yield (_VIA, message.via)

"""Structs of a message read by byte and pointer number, for what has no schema at run time: RPC's own messages."""

from __future__ import annotations

from typing import Final

from qpq.wire.capnp_build import EMPTY, subtree
from qpq.wire.capnp_errors import PointerError
from qpq.wire.capnp_layout import CAPABILITY, COMPOSITE, LIST, MAX_POINTERS, NULL, STRUCT, Message, Target, check
from qpq.wire.capnp_segments import WORD, split

_BYTES: Final = 2
_NOTHING: Final = Target(STRUCT, 0, 0)


def root(data: bytes, max_bytes: int, max_nesting: int, max_pointers: int = MAX_POINTERS) -> View:
    """Return the root struct of a message that is whole and sound; raises CapnpError."""
    message = Message(split(data, max_bytes))
    check(message, max_nesting, max_pointers)
    return View(message, message.follow(0, 0))


class View:
    """A struct of a message that has passed ``check``; what lies beyond its end or is null has its default."""

    __slots__ = ("_message", "_target")

    def __init__(self, message: Message, target: Target) -> None:
        if target.kind not in (STRUCT, NULL):
            raise PointerError("a struct was expected")
        self._message = message
        self._target = target if target.kind == STRUCT else _NOTHING

    def uint(self, offset: int, size: int) -> int:
        """Return the unsigned integer of ``size`` bytes at a byte of the data section."""
        if offset + size > self._target.data * WORD:
            return 0
        start = self._target.start * WORD + offset
        return int.from_bytes(self._message.segments[self._target.segment][start : start + size], "little")

    def struct(self, number: int) -> View:
        """Return the struct that a pointer leads to; raises PointerError when it is something else."""
        return View(self._message, self._follow(number))

    def structs(self, number: int, most: int) -> list[View]:
        """Return the structs of a list; raises PointerError when it is something else or has more than ``most``."""
        target = self._follow(number)
        if target.kind == NULL:
            return []
        if target.kind != LIST or target.size != COMPOSITE:
            raise PointerError("a list of structs was expected")
        if target.length > most:
            raise PointerError(f"a list of {target.length} structs, at most {most} are allowed")
        step = target.data + target.pointers
        return [
            View(self._message, Target(STRUCT, target.segment, target.start + at * step, target.data, target.pointers))
            for at in range(target.length)
        ]

    def text(self, number: int) -> str:
        """Return a text, with a replacement for what is not UTF-8; raises PointerError when it is something else."""
        target = self._follow(number)
        if target.kind == NULL:
            return ""
        start = target.start * WORD
        data = self._message.segments[target.segment][start : start + target.length]
        if target.kind != LIST or target.size != _BYTES or data[-1:] != b"\0":
            raise PointerError("a text was expected")
        return data[:-1].decode("utf-8", "replace")

    def tree(self, number: int) -> bytes:
        """Return what a pointer leads to as a message of its own."""
        if number >= self._target.pointers:
            return EMPTY
        return subtree(self._message, self._target.segment, self._target.start + self._target.data + number)

    def _follow(self, number: int) -> Target:
        if number >= self._target.pointers:
            return Target(NULL, 0, 0)
        return self._message.follow(self._target.segment, self._target.start + self._target.data + number)


def capability_at(content: bytes, path: tuple[int, ...]) -> int | None:
    """Return the index of the capability at the end of a path of pointer numbers; None when there is none."""
    message = Message(split(content, len(content)))
    segment, at = 0, 0
    for number in path:
        target = message.follow(segment, at)
        if target.kind != STRUCT or number >= target.pointers:
            return None
        segment, at = target.segment, target.start + target.data + number
    target = message.follow(segment, at)
    return target.length if target.kind == CAPABILITY else None

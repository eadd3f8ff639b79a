"""Bytes of a terminal become keys: UTF-8, control keys, ECMA-48 sequences, bracketed paste.

No I/O and no clock: the caller says with ``flush`` that nothing followed for ``patience`` seconds.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

MAX_SEQUENCE = 32
MAX_PASTE = 32768
ESCAPE_PATIENCE = 0.1
PASTE_PATIENCE = 3.0
_PASTE_START = "200~"
_PASTE_END = b"\x1b[201~"
_JOINERS = "\u200c\u200d"
_PASTED = "\n\t" + _JOINERS
_ESC = 0x1B
_FIRST_PRINTABLE = 0x20
_FINAL = range(0x40, 0x7F)


class Key(Enum):
    """What a key asks of the editor."""

    LEFT = auto()
    RIGHT = auto()
    UP = auto()
    DOWN = auto()
    HOME = auto()
    END = auto()
    WORD_LEFT = auto()
    WORD_RIGHT = auto()
    BACKSPACE = auto()
    DELETE = auto()
    KILL_END = auto()
    KILL_START = auto()
    KILL_WORD = auto()
    KILL_WORD_RIGHT = auto()
    YANK = auto()
    CLEAR = auto()
    COMPLETE = auto()
    ENTER = auto()
    INTERRUPT = auto()
    END_OF_INPUT = auto()


@dataclass(frozen=True, slots=True)
class Typed:
    """Printable characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Pasted:
    """What was pasted, as one text; its line ends are line feeds, other control characters are gone."""

    text: str


@dataclass(frozen=True, slots=True)
class Pressed:
    """A key that is no character."""

    key: Key


Stroke: TypeAlias = Typed | Pasted | Pressed

_CONTROL = {
    0x01: Key.HOME, 0x02: Key.LEFT, 0x03: Key.INTERRUPT, 0x04: Key.END_OF_INPUT, 0x05: Key.END, 0x06: Key.RIGHT,
    0x08: Key.BACKSPACE, 0x09: Key.COMPLETE, 0x0A: Key.ENTER, 0x0B: Key.KILL_END, 0x0C: Key.CLEAR, 0x0D: Key.ENTER,
    0x0E: Key.DOWN, 0x10: Key.UP, 0x15: Key.KILL_START, 0x17: Key.KILL_WORD, 0x19: Key.YANK, 0x7F: Key.BACKSPACE,
}  # fmt: skip
_SEQUENCES = {
    "A": Key.UP, "B": Key.DOWN, "C": Key.RIGHT, "D": Key.LEFT, "H": Key.HOME, "F": Key.END,
    "1~": Key.HOME, "7~": Key.HOME, "4~": Key.END, "8~": Key.END, "3~": Key.DELETE,
    "1;5C": Key.WORD_RIGHT, "1;5D": Key.WORD_LEFT, "1;3C": Key.WORD_RIGHT, "1;3D": Key.WORD_LEFT,
    "5C": Key.WORD_RIGHT, "5D": Key.WORD_LEFT,
}  # fmt: skip
_META = {"b": Key.WORD_LEFT, "f": Key.WORD_RIGHT, "d": Key.KILL_WORD_RIGHT, "\x7f": Key.KILL_WORD}


class _State(Enum):
    GROUND = auto()
    ESCAPE = auto()
    SEQUENCE = auto()
    PASTE = auto()


class KeyDecoder:
    """Feed it what was read; it returns strokes and keeps what is not complete (at most 32 KiB)."""

    def __init__(self) -> None:
        self._state = _State.GROUND
        self._sequence = ""
        self._paste = bytearray()
        self._utf8 = codecs.getincrementaldecoder("utf-8")("ignore")
        self._strokes: list[Stroke] = []

    @property
    def patience(self) -> float | None:
        """Seconds after which ``flush`` is due when nothing follows; None: nothing is kept back."""
        if self._state is _State.GROUND:
            return None
        return PASTE_PATIENCE if self._state is _State.PASTE else ESCAPE_PATIENCE

    def feed(self, data: bytes) -> list[Stroke]:
        """Return the strokes that ``data`` completes."""
        rest = data
        while rest:
            if self._state is _State.PASTE:
                rest = self._in_paste(rest)
            elif self._state is _State.GROUND:
                rest = self._on_ground(rest)
            else:
                self._in_escape(rest[0])
                rest = rest[1:]
        return self._taken()

    def flush(self) -> list[Stroke]:
        """Give up what is not complete: a lone ESC is dropped, a paste without an end counts as pasted."""
        if self._state is _State.PASTE:
            self._end_paste()
        self._state = _State.GROUND
        self._sequence = ""
        return self._taken()

    def _taken(self) -> list[Stroke]:
        strokes = self._strokes
        self._strokes = []
        return strokes

    def _on_ground(self, data: bytes) -> bytes:
        at = 0
        while at < len(data) and data[at] >= _FIRST_PRINTABLE and data[at] != 0x7F:  # noqa: PLR2004 (DEL)
            at += 1
        if at:
            self._type(data[:at])
            return data[at:]
        self._utf8.reset()
        if data[0] == _ESC:
            self._state = _State.ESCAPE
        elif data[0] in _CONTROL:
            self._strokes.append(Pressed(_CONTROL[data[0]]))
        return data[1:]

    def _type(self, data: bytes) -> None:
        text = "".join(char for char in self._utf8.decode(data) if char.isprintable() or char in _JOINERS)
        if text:
            self._strokes.append(Typed(text))

    def _in_escape(self, byte: int) -> None:
        char = chr(byte)
        if self._state is _State.ESCAPE:
            if char in "[O":
                self._state = _State.SEQUENCE
                self._sequence = ""
                return
            self._state = _State.ESCAPE if byte == _ESC else _State.GROUND
            if char in _META:
                self._strokes.append(Pressed(_META[char]))
            return
        self._sequence += char
        if byte < _FIRST_PRINTABLE or byte > _FINAL[-1] or len(self._sequence) > MAX_SEQUENCE:
            self._state = _State.ESCAPE if byte == _ESC else _State.GROUND
        elif byte in _FINAL and self._sequence != "[":  # the Linux console's function keys: ESC [ [ A
            self._end_sequence()

    def _end_sequence(self) -> None:
        self._state = _State.GROUND
        if self._sequence == _PASTE_START:
            self._state = _State.PASTE
            self._paste = bytearray()
        elif self._sequence in _SEQUENCES:
            self._strokes.append(Pressed(_SEQUENCES[self._sequence]))

    def _in_paste(self, data: bytes) -> bytes:
        kept = len(self._paste)
        self._paste += data
        end = self._paste.find(_PASTE_END, max(kept - len(_PASTE_END), 0))
        if end < 0:
            self._shorten_paste()
            return b""
        rest = bytes(self._paste[end + len(_PASTE_END) :])
        del self._paste[end:]
        self._end_paste()
        return rest

    def _shorten_paste(self) -> None:
        """Keep the beginning, and of the end what may be the first part of the end mark."""
        if len(self._paste) > MAX_PASTE + len(_PASTE_END):
            del self._paste[MAX_PASTE : -len(_PASTE_END)]

    def _end_paste(self) -> None:
        self._state = _State.GROUND
        text = bytes(self._paste[:MAX_PASTE]).decode("utf-8", "ignore").replace("\r\n", "\n").replace("\r", "\n")
        self._paste = bytearray()
        kept = "".join(" " if char == "\t" else char for char in text if char.isprintable() or char in _PASTED)
        if kept:
            self._strokes.append(Pasted(kept))

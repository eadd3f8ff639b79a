"""Nothing a peer sent reaches the terminal as a control character.

Escaped are the C0 and C1 controls and DEL (ECMA-48), every format character of Unicode (category Cf:
bidirectional overrides and isolates, zero-width characters, tags), line and paragraph separators, lone
surrogates, noncharacters, and the letters that show as nothing (Hangul fillers, Braille blank). Stacks of
combining marks are cut, so that a name cannot paint over its neighbours' lines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qpq.console.width import is_mark

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_NAME = 64
MAX_LINE = 1024
MAX_TEXT = 32768
MAX_LINES = 512
MAX_MARKS = 4
ELLIPSIS = "..."

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb"
    "\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U0001fffe\U0001ffff\U0002fffe\U0002ffff\U0003fffe\U0003ffff\U000e0000-\U000effff\U000ffffe\U000fffff"
    "\U0010fffe\U0010ffff]"
)
_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
_LINE_ENDS = re.compile("\r\n|\n|\r")


def safe(text: str, limit: int = MAX_LINE) -> str:
    """Return ``text`` as one harmless line of at most ``limit`` characters; the rest is shown as ``...``."""
    cut = text[: limit + 1]
    shown = _UNSAFE.sub(_escape, cut)
    if not shown.isascii():
        shown = _thin_marks(shown)
    if len(shown) <= limit:
        return shown
    return shown[: max(limit - len(ELLIPSIS), 0)] + ELLIPSIS


def safe_name(text: str) -> str:
    """Return a name (petname, user name, host) as one harmless line of at most 64 characters."""
    return safe(text, MAX_NAME)


def safe_lines(text: str) -> list[str]:
    """Return a message as harmless lines: only its line ends survive, at most 512 lines."""
    lines = _LINE_ENDS.split(text[: MAX_TEXT + 1], MAX_LINES)
    shown = [safe(line, MAX_TEXT) for line in lines[:MAX_LINES]]
    if len(lines) > MAX_LINES or len(text) > MAX_TEXT:
        shown.append(ELLIPSIS)
    return shown


def encoder(charset: str) -> Callable[[str], bytes]:
    """Return how output becomes bytes: UTF-8, or ASCII the rest as backslash escapes; it never fails."""
    utf8 = charset.lower().replace("-", "") == "utf8"
    return _to_utf8 if utf8 else _to_ascii


def _to_utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _to_ascii(text: str) -> bytes:
    return text.encode("ascii", "backslashreplace")


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    code = ord(char)
    if char in _NAMED:
        return _NAMED[char]
    if code < 0x100:  # noqa: PLR2004 (what \xNN can write)
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 (what \uNNNN can write)


def _thin_marks(text: str) -> str:
    kept: list[str] = []
    run = 0
    for char in text:
        run = run + 1 if is_mark(char) else 0
        if run <= MAX_MARKS:
            kept.append(char)
    return "".join(kept)

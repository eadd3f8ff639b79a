"""The types of what people write after a command: checked before anything goes to the daemon."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from qpq.console.errors import UsageError
from qpq.netaddress import NetAddress, NetAddressError

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_TTL = 1
MAX_TTL = 30 * 86400
MAX_WAIT = 86400
MAX_COUNT = 1000
MAX_TEXT_BYTES = 32768
MAX_PEER = 320
MAX_TOPIC_BYTES = 64
MAX_SHARE = 1024
MAX_PETNAME_BYTES = 32
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw]?)", re.ASCII)
_MESSAGE = re.compile(r"[a-z2-7]{4,26}", re.ASCII)
_TOKEN = re.compile(r"[a-z2-7]{8}", re.ASCII)
_USER = re.compile(r"[a-z0-9_-]{1,32}", re.ASCII)


class Kind(Enum):
    """What a word means; help and completion go by it, ``convert`` checks it."""

    PEER = "peer"
    USER = "user"
    MESSAGE = "message"
    ADDRESS = "host:port"
    PETNAME = "petname"
    TOPIC = "topic"
    CHANNEL = "channel"
    KEY = "key"
    TOKEN = "id"  # noqa: S105 (a word of help)
    TEXT = "text"
    TTL = "ttl"
    SECONDS = "seconds"
    COUNT = "count"
    FILE = "file"
    COMMAND = "command"
    SETTING = "setting"
    SWITCH = "switch"


CHOICES: dict[Kind, tuple[str, ...]] = {Kind.SETTING: ("padding",), Kind.SWITCH: ("on", "off")}
"""The words of the kinds that have no others."""


def convert(kind: Kind, word: str) -> str | int:
    """Return ``word`` as the control protocol wants it; raises UsageError with what is allowed."""
    if kind in _FREE:
        return word
    if not word.isprintable():
        raise UsageError(f"{kind.value}: control characters are not allowed")
    if kind in CHOICES:
        return _choice(kind, word)
    return _CONVERTERS[kind](word)


def check_text(text: str) -> str:
    """Return a message's text when it can be sent; raises UsageError."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise UsageError("the text is not valid UTF-8") from None
    if not text:
        raise UsageError("the text is empty")
    if size > MAX_TEXT_BYTES:
        raise UsageError(f"the text has {size} bytes; at most {MAX_TEXT_BYTES} (32 KiB) can be sent in one message")
    return text


def _choice(kind: Kind, word: str) -> str:
    if word not in CHOICES[kind]:
        raise UsageError(f"{kind.value} {word!r}: write {' or '.join(CHOICES[kind])}")
    return word


def _duration(word: str, least: int, most: int, what: str) -> int:
    match = _DURATION.fullmatch(word.lower())
    seconds = int(match[1]) * _UNITS[match[2]] if match else -1
    if not least <= seconds <= most:
        raise UsageError(
            f"{what} {word!r}: write {least} to {most} seconds, or a number with s, m, h, d or w (7d, 12h)"
        )
    return seconds


def _ttl(word: str) -> int:
    return _duration(word, MIN_TTL, MAX_TTL, "ttl")


def _seconds(word: str) -> int:
    return _duration(word, 0, MAX_WAIT, "time")


def _count(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= len(str(MAX_COUNT)) and 1 <= int(word) <= MAX_COUNT):
        raise UsageError(f"count {word!r}: write a number from 1 to {MAX_COUNT}")
    return int(word)


def _address(word: str) -> str:
    try:
        NetAddress.parse(word)
    except NetAddressError as error:
        raise UsageError(str(error)) from None
    return word


def _message(word: str) -> str:
    if not _MESSAGE.fullmatch(word.lower()):
        raise UsageError(f"message {word!r}: write the id shown by inbox or outbox, or its first 4 or more characters")
    return word.lower()


def _user(word: str) -> str:
    if not _USER.fullmatch(word):
        raise UsageError(f"user {word!r}: write 1 to 32 of a-z, 0-9, _ and -")
    return word


def _peer(word: str) -> str:
    if not 1 <= len(word) <= MAX_PEER:
        raise UsageError("peer: write an id, its first 8 or more characters, a petname, or name@domain")
    return word


def _topic(word: str) -> str:
    if not 1 <= len(word.encode("utf-8", "replace")) <= MAX_TOPIC_BYTES:
        raise UsageError(f"topic: write 1 to {MAX_TOPIC_BYTES} bytes in UTF-8")
    return word


def _share(word: str) -> str:
    if not 1 <= len(word) <= MAX_SHARE:
        raise UsageError("write a topic, or the whole text that somebody shared: qpq-channel:...")
    return word


def _token(word: str) -> str:
    if not _TOKEN.fullmatch(word):
        raise UsageError(f"id {word!r}: write the 8 characters that client token list shows")
    return word


def _petname(word: str) -> str:
    if len(word.encode("utf-8")) > MAX_PETNAME_BYTES:
        raise UsageError(f"petname: at most {MAX_PETNAME_BYTES} bytes in UTF-8")
    return word


_FREE = frozenset({Kind.TEXT, Kind.FILE, Kind.COMMAND})
_CONVERTERS: dict[Kind, Callable[[str], str | int]] = {
    Kind.TTL: _ttl,
    Kind.SECONDS: _seconds,
    Kind.COUNT: _count,
    Kind.ADDRESS: _address,
    Kind.MESSAGE: _message,
    Kind.USER: _user,
    Kind.PEER: _peer,
    Kind.PETNAME: _petname,
    Kind.TOPIC: _topic,
    Kind.CHANNEL: _share,
    Kind.KEY: _share,
    Kind.TOKEN: _token,
}

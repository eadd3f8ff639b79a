"""What kinds of values options have: from text to value, and what is allowed, in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from qpq.errors import QpqError
from qpq.netaddress import NetAddress, NetAddressError

Value: TypeAlias = "bool | int | str | tuple[str, ...]"

MAX_ITEMS = 64
MAX_PATH = 1024
MAX_NAME = 63
MAX_INTERFACE = 15

_TRUE = frozenset({"1", "on", "true", "yes", "enabled"})
_FALSE = frozenset({"0", "off", "false", "no", "disabled"})
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DIGITS = r"(0|[1-9][0-9]{0,14})"  # to OpenWrt's tools 010 is 8
_NUMBER = re.compile(_DIGITS)
_DURATION = re.compile(_DIGITS + r"([smhdw]?)")
_SIZE = re.compile(_DIGITS + r"(?:([kmgt])(?:i?b)?|b)?", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ZONE = re.compile(r"%([A-Za-z0-9_.@-]{1,15})\]")


class BadValueError(QpqError):
    """A value that its option does not allow; the message says what is allowed."""


class Kind(Enum):
    """The type of an option's value; the words of uci/schema.json."""

    BOOL = "bool"
    PORT = "port"
    ADDRESS = "address"
    ADDRESSES = "address list"
    STRING = "string"
    STRINGS = "string list"
    INTERFACES = "interface list"
    ENUM = "enum"
    INT = "int"
    DURATION = "duration"
    SIZE = "size"
    PATH = "path"


class Setter(Enum):
    """Who normally sets an option: its user, the init script, or a community's site configuration."""

    USER = "user"
    INIT = "init"
    SITE = "site"


LISTS = frozenset({Kind.ADDRESSES, Kind.STRINGS, Kind.INTERFACES})


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the option table (uci/schema.json): names, kind, default, bounds, and what it is for.

    ``flag`` and ``negative`` are command line flags (None: none), ``env`` and ``env_negative`` environment
    variables; ``uci`` says whether /etc/config/qpq may hold it. ``lowest`` and ``highest`` bound numbers, in
    ``unit``; ``zero`` says what 0 means where it is allowed beside them; ``meta`` names the value in the help text;
    ``choices`` are the words of an enum. ``reload``: SIGHUP takes a change over without a restart.
    """

    name: str
    kind: Kind
    default: Value
    help: str
    flag: str | None = None
    negative: str | None = None
    env: str | None = None
    env_negative: str | None = None
    uci: bool = True
    lowest: int | None = None
    highest: int | None = None
    unit: str = ""
    zero: str = ""
    meta: str = ""
    choices: tuple[str, ...] = ()
    reload: bool = False
    setter: Setter = Setter.USER

    @property
    def is_list(self) -> bool:
        """Whether the option takes any number of values."""
        return self.kind in LISTS


def parse_value(option: Option, text: str) -> Value:
    """Read one value of ``option`` (of a list: one item, given back as text).

    Raises BadValueError with what was given and what is allowed.
    """
    value = _read(option, text)
    if value is None or not _in_range(option, value):
        raise BadValueError(f"{_shown(text)} is not allowed for {option.name}; allowed: {allowed(option)}")
    return value


def split_items(option: Option, text: str) -> tuple[str, ...]:
    """Read a list from one string (an environment variable): items between blanks or commas."""
    return parse_items(option, text.replace(",", " ").split())


def parse_items(option: Option, texts: list[str]) -> tuple[str, ...]:
    """Read the items of a list option; doubles are dropped. Raises BadValueError, also above 64 items."""
    items = dict.fromkeys(str(parse_value(option, text)) for text in texts)
    if len(items) > MAX_ITEMS:
        raise BadValueError(f"{option.name} has {len(items)} items; allowed: at most {MAX_ITEMS}")
    return tuple(items)


def allowed(option: Option) -> str:
    """Return what ``option`` allows, in words."""
    bounds = f"from {option.lowest} to {option.highest} {option.unit}".rstrip()
    if option.zero:
        bounds += f", or 0 ({option.zero})"
    return {
        Kind.BOOL: "1, on, true, yes, enabled or 0, off, false, no, disabled",
        Kind.PORT: "a port from 1 to 65535",
        Kind.ADDRESS: "an IP address and a port: 192.0.2.1:7000 or [2001:db8::1]:7000",
        Kind.ADDRESSES: "host:port, 192.0.2.1:7000, [2001:db8::1]:7000 or [fe80::1%br-lan]:7000, up to 64",
        Kind.STRING: f"letters, digits, '.', '-' and '_', up to {MAX_NAME}; or nothing",
        Kind.STRINGS: f"words of up to {MAX_NAME} letters, digits, '.', '-' and '_', up to {MAX_ITEMS} of them",
        Kind.INTERFACES: f"names of network interfaces, up to {MAX_ITEMS}",
        Kind.ENUM: "one of " + ", ".join(option.choices),
        Kind.INT: f"a whole number {bounds}",
        Kind.DURATION: f"a time {bounds}, written 90, 90s, 15m, 12h, 7d or 2w",
        Kind.SIZE: f"a size {bounds}, written 65536, 512K, 2M or 1G",
        Kind.PATH: "a path of printable characters, in files absolute and without blanks",
    }[option.kind]


def _read(option: Option, text: str) -> Value | None:
    """Return the value, or None where the text is not of the option's kind."""
    kind = option.kind
    if kind is Kind.BOOL:
        return _boolean(text)
    if kind in (Kind.PORT, Kind.INT):
        return int(text) if _NUMBER.fullmatch(text) else None
    if kind is Kind.DURATION:
        return _scaled(_DURATION.fullmatch(text), _SECONDS)
    if kind is Kind.SIZE:
        return _scaled(_SIZE.fullmatch(text), _BYTES)
    if kind in (Kind.ADDRESS, Kind.ADDRESSES):
        return _address(text, literal=kind is Kind.ADDRESS)
    return text if _is_text(option, text) else None


def _is_text(option: Option, text: str) -> bool:
    if option.kind is Kind.ENUM:
        return text in option.choices
    if option.kind is Kind.PATH:
        return len(text) <= MAX_PATH and text.isprintable()
    if option.kind is Kind.INTERFACES:
        return len(text) <= MAX_INTERFACE and _ZONE.fullmatch(f"%{text}]") is not None
    if not text:
        return option.kind is Kind.STRING
    return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None


def _boolean(text: str) -> bool | None:
    if text in _TRUE:
        return True
    return False if text in _FALSE else None


def _scaled(match: re.Match[str] | None, units: dict[str, int]) -> int | None:
    return int(match[1]) * units[(match[2] or "").lower()] if match else None


def _address(text: str, *, literal: bool) -> str | None:
    """Check an address without asking whether its interface exists: that may come up after the start."""
    try:
        parsed = NetAddress.parse(_ZONE.sub("]", text))
    except NetAddressError:
        return None
    if literal and not parsed.is_literal:
        return None
    return None if parsed.is_link_local and "%" not in text else text


def _in_range(option: Option, value: Value) -> bool:
    if option.kind is Kind.PORT:
        return isinstance(value, int) and 1 <= value <= 65535  # noqa: PLR2004 (RFC 768: 16 bits)
    if isinstance(value, bool) or not isinstance(value, int) or (option.zero and value == 0):
        return True
    return (option.lowest is None or value >= option.lowest) and (option.highest is None or value <= option.highest)


def _shown(text: str) -> str:
    """Quote what was given, cut short, with everything escaped that a terminal could act upon."""
    return ascii(text) if len(text) <= MAX_NAME else ascii(text[:MAX_NAME]) + "..."

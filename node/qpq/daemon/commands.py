"""The commands of the control socket: who may give them and which arguments they take; pure checks.

A command's least role and its arguments stand in one table, ``COMMANDS``. ``check_role`` and ``check_args`` decide
before any handler runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from qpq.daemon.nearest import hint
from qpq.errors import QpqError

if TYPE_CHECKING:
    from collections.abc import Mapping

ArgValue: TypeAlias = "str | int | bool | None"

MAX_TEXT = 32 * 1024
"""Bytes of a message's text in UTF-8; the envelope's own limit is a little lower and told by the node."""
MAX_PEER = 320
MAX_TOPIC = 64
MAX_SHARE = 1024
MAX_PASSPHRASE = 1024
MAX_PATH = 1024
MAX_ARMOUR = 192 * 1024
MAX_TTL = 30 * 86400
MAX_LIMIT = 1000

_USER_NAME = re.compile(r"[a-z0-9_-]{1,32}")
_MESSAGE = re.compile(r"[A-Za-z2-7]{4,26}")
_TOKEN = re.compile(r"[a-z2-7]{8}")
_PETNAME_LENGTH = 32


class CommandError(QpqError):
    """A command that was not carried out; ``code`` is for programs, the message for people."""

    code: ClassVar[str] = "failed"


class FailedError(CommandError):
    """It was tried and did not work; the message says what can be done."""


class UsageError(CommandError):
    """The command or its arguments are not as they must be."""

    code: ClassVar[str] = "usage"


class DeniedError(CommandError):
    """Whoever asked may not do this."""

    code: ClassVar[str] = "denied"


class BusyError(CommandError):
    """A limit of the control socket is reached; try again later."""

    code: ClassVar[str] = "busy"


class Role(IntEnum):
    """What a caller may do; a higher role may do all that a lower one may."""

    READ_ONLY = 0
    USER = 1
    ADMIN = 2


@dataclass(frozen=True, slots=True)
class Caller:
    """Who gives a command: the process at the other end (SO_PEERCRED), its role, and for which user it speaks.

    ``user`` is the name of a user of this node, None for the first one. ``restricted``: bound to ``user`` by
    ``become``, for good; handlers show such a caller nothing of other users.
    """

    role: Role
    uid: int
    gid: int
    pid: int
    user: str | None = None
    restricted: bool = False


class Args(dict[str, ArgValue]):
    """Checked arguments: every argument of the command is there, those not given have their default."""

    __slots__ = ()

    def text(self, name: str) -> str:
        """Return a text argument; one that was not given is the empty text."""
        value = self[name]
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> int | None:
        """Return a number, None where it was not given."""
        value = self[name]
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def flag(self, name: str) -> bool:
        """Return a yes-or-no argument."""
        return self[name] is True


@dataclass(frozen=True, slots=True)
class Text:
    """A text argument of ``least`` to ``most`` bytes in UTF-8; ``lines``: with line breaks, else printable only."""

    most: int
    least: int = 1
    pattern: re.Pattern[str] | None = None
    lines: bool = False
    optional: bool = False
    allowed: str = "text"


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number from ``least`` to ``most``, None where it was not given."""

    least: int
    most: int
    optional: bool = True


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no; no where it was not given."""

    optional: bool = True


Arg: TypeAlias = "Text | Number | Flag"


@dataclass(frozen=True, slots=True)
class Command:
    """One row: least role, whether a restricted caller may give it, its arguments."""

    role: Role
    restricted: bool
    args: Mapping[str, Arg]


_PEER = Text(MAX_PEER, allowed="an id, a prefix of one, a petname, or name@domain")
_ADDRESS = Text(280, allowed="host:port")
_TOPIC = Text(MAX_TOPIC, allowed="the topic of a channel")
_USER = Text(32, pattern=_USER_NAME, allowed="1 to 32 of a-z, 0-9, '_' and '-'")
_SECRET = Text(MAX_PASSPHRASE, lines=True, allowed="a passphrase")

COMMANDS: Mapping[str, Command] = {
    "status": Command(Role.READ_ONLY, True, {}),
    "version": Command(Role.READ_ONLY, True, {}),
    "metrics": Command(Role.READ_ONLY, False, {}),
    "doctor": Command(Role.READ_ONLY, False, {}),
    "become": Command(Role.USER, False, {"user": _USER}),
    "watch": Command(Role.READ_ONLY, True, {}),
    "mesh.peers": Command(Role.READ_ONLY, True, {}),
    "mesh.server": Command(Role.ADMIN, False, {"address": _ADDRESS}),
    "mesh.send": Command(
        Role.USER,
        True,
        {
            "peer": _PEER,
            "text": Text(MAX_TEXT, lines=True, allowed="the message"),
            "ttl": Number(1, MAX_TTL),
            "urgent": Flag(),
        },
    ),
    "mesh.inbox": Command(Role.USER, True, {"all": Flag(), "limit": Number(1, MAX_LIMIT)}),
    "mesh.outbox": Command(Role.USER, True, {}),
    "mesh.delete": Command(
        Role.USER, True, {"message": Text(26, pattern=_MESSAGE, allowed="4 to 26 characters of a message's id")}
    ),
    "mesh.block": Command(Role.USER, True, {"peer": _PEER}),
    "mesh.unblock": Command(Role.USER, True, {"peer": _PEER}),
    "mesh.mute": Command(Role.USER, True, {"peer": _PEER}),
    "mesh.unmute": Command(Role.USER, True, {"peer": _PEER}),
    "mesh.identity": Command(Role.READ_ONLY, True, {}),
    "mesh.name": Command(
        Role.USER,
        True,
        {"peer": _PEER, "petname": Text(_PETNAME_LENGTH, least=0, optional=True, allowed="a name, or nothing")},
    ),
    "verify": Command(
        Role.USER,
        True,
        {
            "peer": _PEER,
            "number": Text(MAX_SHARE, lines=True, optional=True, allowed="60 digits, or what a camera read"),
            "accept": Flag(),
            "undo": Flag(),
        },
    ),
    "privacy": Command(
        Role.USER,
        True,
        {
            "setting": Text(16, pattern=re.compile("padding"), optional=True, allowed="padding"),
            "value": Text(3, pattern=re.compile("on|off"), optional=True, allowed="on or off"),
        },
    ),
    "lock.set": Command(Role.ADMIN, False, {"passphrase": _SECRET}),
    "lock.key_file": Command(Role.ADMIN, False, {"path": Text(MAX_PATH, allowed="the path of a key file")}),
    "lock.off": Command(Role.ADMIN, False, {}),
    "unlock": Command(Role.ADMIN, False, {"passphrase": _SECRET}),
    "wipe": Command(Role.ADMIN, False, {}),
    "federation.status": Command(Role.READ_ONLY, False, {}),
    "mesh.store": Command(Role.READ_ONLY, True, {}),
    "mesh.route": Command(Role.READ_ONLY, True, {}),
    "mesh.ping": Command(Role.USER, True, {"peer": _PEER}),
    "mesh.trace": Command(Role.USER, True, {"peer": _PEER}),
    "mesh.subscribe": Command(
        Role.USER,
        True,
        {
            "topic": Text(MAX_SHARE, allowed="a topic, or the shared text of a channel"),
            "key": Text(MAX_SHARE, optional=True, allowed="a channel's key or shared text"),
            "private": Flag(),
            "announce": Flag(),
        },
    ),
    "mesh.unsubscribe": Command(Role.USER, True, {"topic": _TOPIC}),
    "mesh.channels": Command(
        Role.USER, True, {"share": Text(MAX_TOPIC, optional=True, allowed="the topic of a channel")}
    ),
    "mesh.broadcast": Command(
        Role.USER,
        True,
        {"topic": _TOPIC, "text": Text(MAX_TEXT, lines=True, allowed="the message"), "ttl": Number(1, MAX_TTL)},
    ),
    "mesh.forget": Command(Role.ADMIN, False, {"address": _ADDRESS}),
    "mesh.user.add": Command(Role.ADMIN, False, {"name": _USER}),
    "mesh.user.remove": Command(Role.ADMIN, False, {"name": _USER}),
    "client.token.add": Command(
        Role.ADMIN, False, {"name": _USER, "key": Text(MAX_PEER, optional=True, allowed="the id of a key")}
    ),
    "client.token.list": Command(Role.ADMIN, False, {}),
    "client.token.revoke": Command(
        Role.ADMIN, False, {"id": Text(8, pattern=_TOKEN, allowed="the 8 characters that name a token")}
    ),
    "federation.name.add": Command(
        Role.ADMIN, False, {"name": _USER, "key": Text(MAX_PEER, allowed="the id of a user")}
    ),
    "federation.name.list": Command(Role.ADMIN, False, {}),
    "federation.name.remove": Command(Role.ADMIN, False, {"name": _USER}),
    "mesh.user.list": Command(Role.READ_ONLY, False, {}),
    "mesh.user.export": Command(Role.ADMIN, False, {"name": _USER, "passphrase": _SECRET}),
    "mesh.user.import": Command(
        Role.ADMIN,
        False,
        {
            "armour": Text(MAX_ARMOUR, lines=True, allowed="an exported identity"),
            "passphrase": _SECRET,
            "name": Text(32, pattern=_USER_NAME, optional=True, allowed=_USER.allowed),
        },
    ),
}


def find(name: str) -> Command:
    """Return the row of a command. Raises UsageError, naming the nearest."""
    command = COMMANDS.get(name)
    if command is None:
        raise UsageError(f"no command {name[:40]!a}{hint(name, COMMANDS)}")
    return command


def check_role(name: str, command: Command, caller: Caller) -> None:
    """Raise DeniedError unless ``caller`` may give ``command``."""
    if caller.restricted and not command.restricted:
        raise DeniedError(f"{name} is not for the restricted console")
    if caller.role < command.role:
        raise DeniedError(f"{name} is for {_WHO[command.role]}")


def check_args(name: str, command: Command, given: Mapping[str, object]) -> Args:
    """Return the arguments with defaults put in. Raises UsageError: missing, unknown, wrong type, out of bounds."""
    for key in given:
        if key not in command.args:
            raise UsageError(f"{name} takes no argument {key[:40]!a}{hint(key, command.args)}")
    checked = Args()
    for key, arg in command.args.items():
        value = given.get(key)
        if value is None and not arg.optional:
            raise UsageError(f"{name} needs {key}: {_allowed(arg)}")
        checked[key] = False if value is None and isinstance(arg, Flag) else _checked(name, key, arg, value)
    return checked


_WHO = {
    Role.READ_ONLY: "everybody",
    Role.USER: "members of the socket's group",
    Role.ADMIN: "root and the node's own user",
}


def _checked(name: str, key: str, arg: Arg, value: object) -> ArgValue:
    if value is None:
        return None
    if isinstance(arg, Text) and isinstance(value, str) and _is_text(name, key, arg, value):
        return value
    if isinstance(arg, Flag) and isinstance(value, bool):
        return value
    if isinstance(arg, Number) and type(value) is int and arg.least <= value <= arg.most:  # no bool, no float
        return value
    raise UsageError(f"{name}: {key} must be {_allowed(arg)}")


def _is_text(name: str, key: str, arg: Text, value: str) -> bool:
    """Return whether ``value`` fits; raises UsageError where it is only too long, to say so plainly."""
    try:
        size = len(value.encode())
    except UnicodeEncodeError:  # a lone surrogate, from "\ud800" in JSON
        return False
    if size > arg.most:
        raise UsageError(f"{name}: {key} is {size} bytes long; at most {arg.most} are allowed")
    if size < arg.least or (arg.pattern is not None and not arg.pattern.fullmatch(value)):
        return False
    return arg.lines or value.isprintable()


def _allowed(arg: Arg) -> str:
    if isinstance(arg, Number):
        return f"a whole number from {arg.least} to {arg.most}"
    return "true or false" if isinstance(arg, Flag) else arg.allowed

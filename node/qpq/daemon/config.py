"""The configuration: flags over QPQ_* over the UCI file over defaults, each value checked, all faults told at once."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qpq.daemon import flags as command_line
from qpq.daemon.flags import Given
from qpq.daemon.kinds import BadValueError, Kind, Option, Value, parse_items, parse_value, split_items
from qpq.daemon.nearest import hint, nearest
from qpq.daemon.options import OPTIONS, SECTION_NAME, SECTION_TYPE, Config
from qpq.errors import QpqError
from qpq.paths import default_data_dir, default_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qpq.daemon import uci

PREFIX = "QPQ_"
MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path (unix(7): sun_path holds 108 with the final zero)."""
DEFAULT = "default"
RELAY_TYPE = "relay"


class ConfigError(QpqError):
    """A configuration that is not allowed; one line for each fault, with file, line, option and what is allowed."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, where each option came from, and what to warn of."""

    config: Config
    origins: dict[str, str]
    warnings: tuple[str, ...] = ()


def load(argv: list[str], environ: Mapping[str, str], read: Callable[[str], bytes | None] | None = None) -> Loaded:
    """Make the configuration from the flags behind ``qpq daemon``, the environment and the UCI file.

    ``read`` gives a file's bytes (None: there is none). Raises FlagError for a command line that cannot be
    read, ConfigError for everything else.
    """
    flags = command_line.parse(argv).given
    variables = _environment(environ)
    path, compulsory = _config_path(flags, variables)
    content = (read or read_file)(path)
    if content is None and compulsory:
        raise ConfigError(f"{path}: no such file")
    faults: list[str] = []
    relays: list[uci.UciSection] = []
    layers = [flags, variables, _file(path, content, relays, faults) if content is not None else {}]
    values, origins = _resolve(layers, faults)
    if relays:
        from qpq.daemon.relays import read_relays  # noqa: PLC0415 (most nodes have none)

        values["relays"] = read_relays(path, relays, faults)
    if faults:
        raise ConfigError("\n".join(faults))
    config = _completed(Config(**values), environ)
    return Loaded(config, origins, tuple(_odd_variables(environ)))


def reloaded(running: Config, wanted: Config) -> tuple[Config, tuple[str, ...]]:
    """Return what a running node takes over from ``wanted``, and the names of changes that need a restart."""
    taken: dict[str, Any] = {}
    left: list[str] = []
    for option in OPTIONS:
        value = getattr(wanted, option.name)
        if value != getattr(running, option.name):
            if option.reload:
                taken[option.name] = value
            else:
                left.append(option.name)
    return replace(running, relays=wanted.relays, **taken), tuple(left)


def read_file(path: str) -> bytes | None:
    """Return a regular file's bytes (up to one more than a UCI file may have), None where there is none.

    Raises ConfigError where it cannot be read.
    """
    try:
        # without O_NONBLOCK a named pipe would hold up the start for ever
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            return None
        raise ConfigError(f"{path}: {error.strerror}") from None
    from qpq.daemon import uci  # noqa: PLC0415 (a PC has no such file)

    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ConfigError(f"{path}: not a regular file")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(uci.MAX_FILE + 1)
    finally:
        os.close(handle)


# --- the three sources ---------------------------------------------------------------------


def _environment(environ: Mapping[str, str]) -> dict[str, Given]:
    """Return what the QPQ_* variables say; an empty variable says nothing."""
    given: dict[str, Given] = {}
    for option in OPTIONS:
        positive = environ.get(option.env, "") if option.env else ""
        negative = environ.get(option.env_negative, "") if option.env_negative else ""
        if positive and negative:
            raise ConfigError(f"{option.env} and {option.env_negative} are both set; set one of them")
        if positive and option.env:
            given[option.name] = Given((positive,), option.env)
        elif negative and option.env_negative:
            given[option.name] = Given((negative,), option.env_negative)
    return given


def _odd_variables(environ: Mapping[str, str]) -> list[str]:
    """Return warnings for QPQ_* variables that look like a mistyped option; others may serve other programs."""
    known = [name[len(PREFIX) :] for option in OPTIONS for name in (option.env, option.env_negative) if name]
    given = [name[len(PREFIX) :] for name in sorted(environ) if name.startswith(PREFIX)]
    close = [(name, nearest(name, known)) for name in given if name not in known]
    return [
        f"the variable {PREFIX + name!a} is not known; did you mean {PREFIX}{near}?" for name, near in close if near
    ]


def _config_path(flags: Mapping[str, Given], variables: Mapping[str, Given]) -> tuple[str, bool]:
    """Return the path of the UCI file, and whether it must exist: it must where somebody named it."""
    for given in (layer["config"] for layer in (flags, variables) if "config" in layer):
        try:
            return str(read_value(_CONFIG, given)), True
        except BadValueError as error:
            raise ConfigError(f"{given.where}: {error}") from None
    return Config().config, False


def _file(path: str, content: bytes, relays: list[uci.UciSection], faults: list[str]) -> dict[str, Given]:
    """Return what the UCI file says of the node, and put the relays it names into ``relays``.

    Adds a line to ``faults`` for each thing in it that does not exist.
    """
    from qpq.daemon import uci  # noqa: PLC0415 (a PC has no such file)

    try:
        file = uci.parse(content)
    except uci.UciError as error:
        faults.append(f"{path}:{error.line}: {error}")
        return {}
    given: dict[str, Given] = {}
    if file.package not in {None, SECTION_TYPE}:
        faults.append(f"{path}: package {file.package} is not {SECTION_TYPE}")
    for section in file.sections:
        if (section.type, section.name) == (SECTION_TYPE, SECTION_NAME):
            given.update(read_section(path, section, _IN_FILE, faults))
        elif section.type == RELAY_TYPE:
            relays.append(section)
        else:
            shown = f"config {section.type} '{section.name or ''}'"
            allowed = f"config {SECTION_TYPE} '{SECTION_NAME}' and config {RELAY_TYPE}"
            faults.append(f"{path}:{section.line}: {shown} is not known; allowed: {allowed}")
    return given


def read_section(
    path: str, section: uci.UciSection, options: Mapping[str, Option], faults: list[str]
) -> dict[str, Given]:
    """Return what one section says of these options; adds a line to ``faults`` for what is none of them."""
    given: dict[str, Given] = {}
    for name, entry in section.options.items():
        where = f"{path}:{entry.items[-1].line}"
        option = options.get(name)
        texts = tuple(item.text for item in entry.items)
        if option is None:
            faults.append(f"{where}: option {name!a} is not known{hint(name, options)}")
        elif entry.is_list != option.is_list:
            right = "list" if option.is_list else "option"
            faults.append(f"{where}: {name} is written: {right} {name} '...'")
        elif texts != ("",):  # to UCI an empty value is none
            given[name] = Given(texts, f"{where}: option {name}")
    return given


# --- from words to values ------------------------------------------------------------------

_IN_FILE = {option.name: option for option in OPTIONS if option.uci}
_CONFIG = next(option for option in OPTIONS if option.name == "config")


def _resolve(layers: list[dict[str, Given]], faults: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Check every value of every layer and keep, for each option, that of the first layer that has one."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for option in OPTIONS:
        for layer in layers:
            if option.name not in layer:
                continue
            given = layer[option.name]
            try:
                value = read_value(option, given)
            except BadValueError as error:
                faults.append(f"{given.where}: {error}")
                continue
            values.setdefault(option.name, value)
            origins.setdefault(option.name, given.where)
        origins.setdefault(option.name, DEFAULT)
    return values, origins


def read_value(option: Option, given: Given) -> Value:
    """Read what one source says of ``option``. Raises BadValueError."""
    if option.is_list:
        return split_items(option, given.texts[0]) if given.where == option.env else parse_items(option, [*given.texts])
    value = parse_value(option, given.texts[0])
    if given.where == option.env_negative:
        return not value
    return _path(option, str(value), given) if option.kind is Kind.PATH and value else value


def _path(option: Option, path: str, given: Given) -> str:
    """Return a path as an absolute one; in a file it is, and has no blanks: the init script's tools take words."""
    if given.where in {option.flag, option.env}:
        return os.path.abspath(path)
    if not path.startswith("/") or " " in path:
        raise BadValueError(f"{path!a} is not allowed for {option.name}; allowed: an absolute path without blanks")
    return path


def _completed(config: Config, environ: Mapping[str, str]) -> Config:
    """Put the places that depend on machine and user in for the empty ones. Raises ConfigError."""
    data_dir = config.data_dir or default_data_dir(environ)
    socket = config.socket or default_socket(data_dir, {})
    if len(os.fsencode(socket)) > MAX_SOCKET_PATH:
        raise ConfigError(f"socket: {socket} is longer than {MAX_SOCKET_PATH} bytes; name a shorter one with --socket")
    return replace(config, data_dir=data_dir, socket=socket)

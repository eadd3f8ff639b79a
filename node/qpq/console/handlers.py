"""Carrying out a parsed command: ask the daemon, print the answer, return the exit status."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import qpq
from qpq.console import render, render_mesh
from qpq.console.about import version_document, version_line
from qpq.console.commands import GLOBAL_OPTIONS, available
from qpq.console.document import as_document, text
from qpq.console.errors import DONE, ConsoleError, UsageError
from qpq.console.safe import safe
from qpq.console.words import split

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from qpq.console.context import Context
    from qpq.console.document import Document, Json
    from qpq.console.parser import Invocation

    Handler: TypeAlias = Callable[[Context, Invocation], int]
    Renderer: TypeAlias = Callable[[Json, float], list[str]]

# So many of the longest messages, each character escaped, still fit into one answer (client.MAX_LINE).
DEFAULT_LIMIT = 40
_FOREVER = 3600.0


def execute(context: Context, invocation: Invocation) -> int:
    """Carry out one command; raises ConsoleError."""
    user = invocation.text("--user")
    if user and user != context.user:
        return _as_user(context, invocation, user)
    return _HANDLERS.get(invocation.command.name, _plain)(context, invocation)


def watch_events(context: Context, *, as_json: bool) -> int:
    """Print events until interrupted; ``watch`` has been asked for before. The interactive console does it anyway."""
    if context.interactive:
        return DONE
    client = context.client()
    while True:
        event = client.wait_event(client.now() + _FOREVER)
        if event is None or not context.is_mine(event):
            continue
        if as_json:
            context.show_document(event)
        else:
            context.show(render.event(event, context.wall()))


def help_lines(topic: str, *, restricted: bool, interactive: bool) -> list[str]:
    """Return the help: every command, or those beginning with the words of ``topic`` with their options."""
    wanted = [word.value.removeprefix("/") for word in split(topic)]
    slash = "/" if interactive else ""
    commands = available(restricted=restricted, interactive=interactive)
    if wanted:
        found = [command for command in commands if list(command.words[: len(wanted)]) == wanted]
        if not found:
            raise UsageError(f"no command {safe(topic)!r}; help lists them")
        lines = []
        for command in found:
            lines += [slash + command.usage(), f"    {command.help} ({command.role.value})"]
            lines += [f"    {option.usage():<22} {option.help}" for option in command.options]
        return lines
    lines = [f"  {slash + command.usage(options=False):<40} {command.help}" for command in commands]
    if interactive:
        return ["commands:", *lines, "Tab completes, arrows walk the history, ^D leaves."]
    more = [] if restricted else _program_lines()
    return ["usage: qpq [options] <command>", "", "commands:", *lines, *more]


def _program_lines() -> list[str]:
    return [
        "",
        "programs:",
        f"  {'daemon [--help]':<40} run a node in the foreground",
        f"  {'run [daemon options]':<40} run a node and its console; it stops with the console",
        f"  {'(nothing)':<40} the interactive console",
        "",
        "options:",
        *(f"  {option.usage():<40} {option.help}" for option in GLOBAL_OPTIONS),
        "",
        "exit status: 0 done, 1 failed, 2 wrong usage, 3 no daemon",
    ]


def _as_user(context: Context, invocation: Invocation, user: str) -> int:
    """Carry out one command for another user, on a connection of its own: a watch belongs to one user."""
    other = replace(context, user=user, _client=None, _acting="")
    try:
        return _HANDLERS.get(invocation.command.name, _plain)(other, invocation)
    finally:
        other.close()


def _plain(context: Context, invocation: Invocation) -> int:
    args: Document = dict(invocation.values)
    return _print(context, invocation, context.request(invocation.command.control, args))


def _print(context: Context, invocation: Invocation, result: Json) -> int:
    if context.json or invocation.flag("--json"):
        context.show_document(result)
    else:
        context.show(_RENDERERS.get(invocation.command.name, render.done)(result, context.wall()))
    return DONE


def _inbox(context: Context, invocation: Invocation) -> int:
    watching = invocation.flag("--watch")
    if watching:
        context.request("watch")
    everything = invocation.flag("--all")
    limit = invocation.number("--limit") or (None if everything else DEFAULT_LIMIT)
    result = context.request("mesh.inbox", {"all": everything, "limit": limit})
    _print(context, invocation, result)
    return watch_events(context, as_json=context.json or invocation.flag("--json")) if watching else DONE


def _watch(context: Context, invocation: Invocation) -> int:
    context.request("watch")
    return watch_events(context, as_json=context.json or invocation.flag("--json"))


def _version(context: Context, invocation: Invocation) -> int:
    """Show this program's version, and the daemon's when one runs."""
    try:
        running = text(as_document(context.request("version")), "version")
    except ConsoleError:
        running = ""
    if context.json or invocation.flag("--json"):
        context.show_document({**version_document(), "daemon": running or None})
        return DONE
    context.show([version_line()])
    if running and running != qpq.__version__:
        context.show([f"daemon {safe(running)} (restart it to run this version)"])
    return DONE


def _metrics(context: Context, invocation: Invocation) -> int:
    result = context.request("metrics")
    if context.json or invocation.flag("--json"):
        context.show_document(result)
        return DONE
    body = result if isinstance(result, str) else text(as_document(result), "text")
    context.show([safe(line) for line in body.rstrip("\n").split("\n")])
    return DONE


def _help(context: Context, invocation: Invocation) -> int:
    context.show(help_lines(invocation.text("command"), restricted=context.restricted, interactive=context.interactive))
    return DONE


def _quit(_context: Context, _invocation: Invocation) -> int:
    return DONE


def _send(context: Context, invocation: Invocation) -> int:
    from qpq.console.send import send  # noqa: PLC0415 (a router loads what a command needs)

    return send(context, invocation)


def _broadcast(context: Context, invocation: Invocation) -> int:
    from qpq.console.send import broadcast  # noqa: PLC0415 (a router loads what a command needs)

    return broadcast(context, invocation)


def _verify(context: Context, invocation: Invocation) -> int:
    from qpq.console.people import verify  # noqa: PLC0415 (a router loads what a command needs)

    return verify(context, invocation)


def _privacy(context: Context, invocation: Invocation) -> int:
    from qpq.console.people import privacy  # noqa: PLC0415 (a router loads what a command needs)

    return privacy(context, invocation)


def _name(context: Context, invocation: Invocation) -> int:
    from qpq.console.people import name  # noqa: PLC0415 (a router loads what a command needs)

    return name(context, invocation)


def _user_add(context: Context, invocation: Invocation) -> int:
    from qpq.console.people import user_add  # noqa: PLC0415 (a router loads what a command needs)

    return user_add(context, invocation)


def _subscribe(context: Context, invocation: Invocation) -> int:
    from qpq.console.channels import subscribe  # noqa: PLC0415 (a router loads what a command needs)

    return subscribe(context, invocation)


def _channels(context: Context, invocation: Invocation) -> int:
    from qpq.console.channels import channels  # noqa: PLC0415 (a router loads what a command needs)

    return channels(context, invocation)


def _identity(context: Context, invocation: Invocation) -> int:
    from qpq.console.identities import identity  # noqa: PLC0415 (a router loads what a command needs)

    return identity(context, invocation)


def _export(context: Context, invocation: Invocation) -> int:
    from qpq.console.identities import export_user  # noqa: PLC0415 (a router loads what a command needs)

    return export_user(context, invocation)


def _import(context: Context, invocation: Invocation) -> int:
    from qpq.console.identities import import_user  # noqa: PLC0415 (a router loads what a command needs)

    return import_user(context, invocation)


def _locking(context: Context, invocation: Invocation) -> int:
    from qpq.console import locking  # noqa: PLC0415 (a router loads what a command needs)

    return locking.COMMANDS[invocation.command.name](context, invocation)


def _authority(context: Context, invocation: Invocation) -> int:
    from qpq.console.federation import authority  # noqa: PLC0415 (seldom)

    return authority(context, invocation)


def _doctor(context: Context, invocation: Invocation) -> int:
    from qpq.console.doctor import doctor  # noqa: PLC0415 (a router loads what a command needs)

    return doctor(context, as_json=context.json or invocation.flag("--json"))


def _clients() -> ModuleType:
    from qpq.console import render_clients  # noqa: PLC0415 (most nodes have no clients)

    return render_clients


def _names() -> ModuleType:
    from qpq.console import render_names  # noqa: PLC0415 (most nodes belong to no domain)

    return render_names


_HANDLERS: dict[str, Handler] = {
    "mesh send": _send,
    "mesh inbox": _inbox,
    "mesh broadcast": _broadcast,
    "mesh subscribe": _subscribe,
    "mesh channels": _channels,
    "mesh identity": _identity,
    "mesh name": _name,
    "mesh user add": _user_add,
    "mesh user export": _export,
    "mesh user import": _import,
    "verify": _verify,
    "privacy": _privacy,
    "lock set": _locking,
    "lock key-file": _locking,
    "lock off": _locking,
    "unlock": _locking,
    "wipe": _locking,
    **dict.fromkeys(
        ("federation ca init", "federation ca issue", "federation ca renew", "federation ca show"), _authority
    ),
    "version": _version,
    "metrics": _metrics,
    "doctor": _doctor,
    "watch": _watch,
    "help": _help,
    "quit": _quit,
}
_RENDERERS: dict[str, Renderer] = {
    "mesh peers": render.peers,
    "mesh inbox": render.inbox,
    "mesh outbox": render.outbox,
    "mesh user list": render.users,
    "client token add": lambda result, now: _clients().added(result, now),
    "client token list": lambda result, now: _clients().tokens(result, now),
    "client token revoke": lambda result, now: _clients().revoked(result, now),
    "federation name add": lambda result, now: _names().added(result, now),
    "federation name list": lambda result, now: _names().names(result, now),
    "federation name remove": lambda result, now: _names().removed(result, now),
    "mesh route": render_mesh.routes,
    "mesh ping": render_mesh.ping,
    "mesh trace": render_mesh.trace,
    "mesh store": render_mesh.store,
    "status": render.status,
}

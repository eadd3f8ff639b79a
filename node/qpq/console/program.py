"""The qpq command: which console, for whom, and what its end means to the caller."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from qpq.console import restricted
from qpq.console.about import version_line
from qpq.console.arguments import Arguments, read
from qpq.console.context import Context
from qpq.console.errors import DONE, ConsoleError, UsageError
from qpq.console.handlers import execute, help_lines
from qpq.console.parser import parse
from qpq.console.terminal import Terminal, TerminalGoneError
from qpq.console.values import Kind, convert
from qpq.console.whereabouts import locate
from qpq.console.words import Word, from_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERRUPTED = 130


def run(
    argv: list[str], environ: Mapping[str, str] | None = None, descriptors: tuple[int, int, int] = (0, 1, 2)
) -> int:
    """Carry out ``qpq ARGV`` and return the exit status: 0 done, 1 failed, 2 wrong usage, 3 no daemon."""
    given = os.environ if environ is None else environ
    source, sink, complaints = descriptors
    errors = Terminal(source, complaints, given)
    terminal = Terminal(source, sink, given)
    context = Context(terminal, errors, given, "", "")
    try:
        arguments = read(argv)
        if arguments.flag("--restricted"):
            given = restricted.environment(given)
        context = _context(context, arguments, given)
        return _program(context, arguments)
    except TerminalGoneError as error:
        return error.status  # whoever read has gone: there is nobody to tell
    except ConsoleError as error:
        return _told(context, error)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        context.close()


def wipe_here(context: Context) -> int:
    """Wipe a node that does not run, in this process."""
    from qpq.daemon.main import wipe as wipe_daemon  # noqa: PLC0415 (the daemon is no part of a console)

    return wipe_daemon(["--data-dir", context.data_dir, "--socket", context.socket], context.environ)


def authority_here(action: str, words: dict[str, str], days: int) -> dict[str, object]:
    """Make or show certificates in this process; raises QpqError."""
    from qpq.daemon.main import authority  # noqa: PLC0415 (the daemon is no part of a console)

    return authority(action, words, days)


def _context(context: Context, arguments: Arguments, environ: Mapping[str, str]) -> Context:
    bound = arguments.options.get("--as", "")
    user = arguments.options.get("--user") or environ.get("QPQ_USER", "")
    if user and not bound:
        convert(Kind.USER, user)
    data_dir, socket = locate(arguments.options, environ)
    if "--config" in arguments.options:  # for what may be done here in the daemon's place
        environ = {**environ, "QPQ_CONFIG": arguments.options["--config"]}
    return replace(
        context,
        environ=environ,
        data_dir=data_dir,
        socket=socket,
        user=bound or user,
        json=arguments.flag("--json"),
        restricted=bool(bound),
    )


def _program(context: Context, arguments: Arguments) -> int:
    if arguments.program == "daemon":
        from qpq.daemon.main import run as run_daemon  # noqa: PLC0415 (the daemon is no part of a console)

        return run_daemon(arguments.for_daemon())
    if arguments.program == "run" and not arguments.flag("--help"):
        from qpq.console.child import run_with_daemon  # noqa: PLC0415 (only here)

        return run_with_daemon(context, arguments, lambda: interactive(context, arguments))
    line, words = from_arguments(arguments.words)
    if context.restricted and not words:
        line, words = restricted.original(context.environ)
    if arguments.flag("--version") and not words:
        context.show([version_line()])
        return DONE
    if arguments.flag("--help"):
        topic = "" if arguments.program else " ".join(word.value for word in words)
        context.show(help_lines(topic, restricted=context.restricted, interactive=False))
        return DONE
    if not words:
        return interactive(context, arguments)
    return _one_shot(context, line, words)


def _one_shot(context: Context, line: str, words: list[Word]) -> int:
    return execute(context, parse(line, words, restricted=context.restricted))


def interactive(context: Context, arguments: Arguments) -> int:
    """Open the interactive console."""
    from qpq.console.interactive import Interactive  # noqa: PLC0415 (a one-shot command needs no editor)

    path = arguments.options.get("--history") or context.environ.get("QPQ_HISTORY", "")
    return Interactive(context, path).run()


def _told(context: Context, error: ConsoleError) -> int:
    try:
        context.complain(str(error))
        if isinstance(error, UsageError):
            context.complain("qpq help lists the commands")
    except TerminalGoneError:
        return error.status
    return error.status

"""``mesh identity`` with its QR code, ``mesh user export`` and ``import`` with their passphrase."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.console import qr, qr_show, render
from qpq.console.document import as_document, rows, text
from qpq.console.errors import DONE, ConsoleError, UsageError
from qpq.console.files import read_file, write_new
from qpq.console.safe import safe, safe_lines

if TYPE_CHECKING:
    from qpq.console.context import Context
    from qpq.console.document import Document, Json
    from qpq.console.parser import Invocation

QR_PREFIX = "QPQ:"
MAX_ARMOUR = 65536
MAX_PASSPHRASE = 1024
# Argon2id on a 580 MHz router takes its time.
SLOW_SECONDS = 90.0


def identity(context: Context, invocation: Invocation) -> int:
    """Show id, QR code and users; the code holds ``QPQ:`` and the id in capitals (alphanumeric mode)."""
    result = context.request("mesh.identity")
    if context.json or invocation.flag("--json"):
        context.show_document(result)
        return DONE
    lines = render.identity(result, context.wall())
    if not invocation.flag("--no-qr"):
        node = text(as_document(result), "id")
        code = qr_code(context, QR_PREFIX + node.upper()) if node.isascii() and node.isalnum() else []
        lines = [*code, "", *lines]
    context.show(lines)
    return DONE


def export_user(context: Context, invocation: Invocation) -> int:
    """Write a user's sealed identity to a new file or to standard output."""
    name = invocation.text("name")
    passphrase = _passphrase(context, invocation, twice=True)
    result = context.request("mesh.user.export", {"name": name, "passphrase": passphrase}, timeout=SLOW_SECONDS)
    armour = text(as_document(result), "armour")
    if not armour:
        raise ConsoleError("the daemon sent no export")
    path = invocation.text("--file")
    if path:
        write_new(path, armour.rstrip("\n").encode("utf-8", "replace") + b"\n")
        context.show([f"user {safe(name)} is in {safe(path)}; whoever has the file and the passphrase is this user"])
    elif context.json or invocation.flag("--json"):
        context.show_document(result)
    else:
        context.show(safe_lines(armour.rstrip("\n")))
    return DONE


def import_user(context: Context, invocation: Invocation) -> int:
    """Bring in a user from a file or from standard input (there behind the passphrase's line)."""
    path = invocation.text("--file")
    if not path and (context.interactive or (context.terminal.is_input_tty and not _from_input(invocation))):
        raise UsageError(f"--file is missing; write: {invocation.command.usage()}")
    if path:
        armour = _ascii(read_file(path, MAX_ARMOUR))
        passphrase = _passphrase(context, invocation, twice=False)
    elif _from_input(invocation):
        first, _, rest = context.read_input(MAX_ARMOUR + MAX_PASSPHRASE).partition(b"\n")
        passphrase, armour = decode_passphrase(first.removesuffix(b"\r")), _ascii(rest)
    else:
        raise UsageError("standard input holds the export: give the passphrase there too, with --passphrase-stdin")
    args: Document = {"armour": armour, "passphrase": passphrase}
    if invocation.text("name"):
        args["name"] = invocation.text("name")
    result = context.request("mesh.user.import", args, timeout=SLOW_SECONDS)
    show_with_claims(context, invocation, result)
    return DONE


def show_with_claims(context: Context, invocation: Invocation, result: Json) -> bool:
    """Print a result, and loudly on stderr which keys have changed with it; whether any has."""
    claims = rows(as_document(result), "changed")
    if context.json or invocation.flag("--json"):
        context.show_document(result)
    elif not claims:
        context.show(render.done(result, context.wall()))
    else:
        shown = {key: value for key, value in as_document(result).items() if key != "changed"}
        context.show(render.done(shown, context.wall()))
    for claim in claims:
        context.complain("\n".join(render.changed(claim)))
    return bool(claims)


def qr_code(context: Context, content: str) -> list[str]:
    """Return the lines of a QR code as this terminal shows it best; raises qr.TooLongError."""
    look = qr_show.best_look(
        utf8=context.terminal.is_utf8, colours=context.terminal.is_output_tty and not context.terminal.dumb
    )
    return qr_show.show(qr.encode(content), look)


def _from_input(invocation: Invocation) -> bool:
    return invocation.flag("--passphrase-stdin")


def _passphrase(context: Context, invocation: Invocation, *, twice: bool) -> str:
    """Ask on the terminal without echo, or take the first line of standard input; raises UsageError."""
    if _from_input(invocation):
        return decode_passphrase(context.read_input(MAX_PASSPHRASE).partition(b"\n")[0].removesuffix(b"\r"))
    if not context.terminal.is_input_tty:
        raise UsageError("there is no terminal to ask for a passphrase; use --passphrase-stdin")
    given = context.errors.ask_secret("passphrase: ")
    if twice and given != context.errors.ask_secret("once more: "):
        raise ConsoleError("the two passphrases differ; nothing was written")
    if not given:
        raise UsageError("the passphrase is empty")
    return given


def decode_passphrase(data: bytes) -> str:
    """Return a passphrase that came as bytes; raises UsageError."""
    try:
        found = data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError("the passphrase is not valid UTF-8") from None
    if not found:
        raise UsageError("the passphrase is empty")
    return found


def _ascii(data: bytes) -> str:
    try:
        return data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise UsageError("this is no exported identity") from None

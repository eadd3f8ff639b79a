"""``lock``, ``unlock`` and ``wipe``: what protects the keys on disk, and the end of all of it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from qpq.console.document import as_document, text
from qpq.console.errors import (
    DONE,
    ConnectionLostError,
    ConsoleError,
    NoDaemonError,
    RefusedError,
    UsageError,
)
from qpq.console.identities import MAX_PASSPHRASE, SLOW_SECONDS, decode_passphrase
from qpq.console.safe import safe

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.console.context import Context
    from qpq.console.document import Document, Json
    from qpq.console.parser import Invocation

UP_SECONDS = 20.0
"""How long an unlocked node may take to answer again."""
GONE_SECONDS = 10.0
_LOOK_SECONDS = 0.1
_FLASH = (
    "on flash, and on disks that move blocks by themselves, older copies may survive out of reach of any program;"
    " what was sealed (lock set) stays unreadable there, since its key is gone"
)


def lock_set(context: Context, invocation: Invocation) -> int:
    """Ask for a new passphrase and have everything put under it."""
    passphrase = _passphrase(context, invocation, twice=True)
    result = context.request("lock.set", {"passphrase": passphrase}, timeout=SLOW_SECONDS)
    told = "keys and messages on disk are under the passphrase from now on; the next start waits for: qpq unlock"
    return _tell(context, invocation, result, [told])


def lock_key_file(context: Context, invocation: Invocation) -> int:
    """Have everything put under a key file."""
    path = os.path.abspath(invocation.text("path"))
    result = context.request("lock.key_file", {"path": path}, timeout=SLOW_SECONDS)
    row = as_document(result)
    lines = [f"keys and messages on disk are under the key file {safe(path)} from now on; keep a copy of it"]
    lines += [f"note: {safe(text(row, 'note'))}"] if text(row, "note") else []
    return _tell(context, invocation, result, lines)


def lock_off(context: Context, invocation: Invocation) -> int:
    """Have everything written as it is, after a question."""
    _confirm(context, invocation, "from then on whoever takes the disk can read keys and messages")
    result = context.request("lock.off", timeout=SLOW_SECONDS)
    return _tell(context, invocation, result, ["keys and messages on disk are protected by the files' modes alone"])


def unlock(context: Context, invocation: Invocation) -> int:
    """Open a locked node and wait until it answers as usual."""
    lock = as_document(as_document(context.request("status")).get("lock"))
    if text(lock, "state") != "locked":
        raise ConsoleError("the node is not locked")
    if text(lock, "protection") != "passphrase":
        raise ConsoleError(f"the node waits for {safe(text(lock, 'waits_for'))}")
    result = context.request(
        "unlock", {"passphrase": _passphrase(context, invocation, twice=False)}, timeout=SLOW_SECONDS
    )
    if not _until(context, lambda state: state == "open", UP_SECONDS):
        raise ConsoleError("the passphrase was right, but the node does not come up; see its log")
    return _tell(context, invocation, result, ["unlocked"])


def wipe(context: Context, invocation: Invocation) -> int:
    """Destroy everything, by the daemon or, where none runs, in this process."""
    _confirm(context, invocation, "this destroys the identities, messages and all else this node keeps, for good")
    try:
        result = context.request("wipe")
    except NoDaemonError:
        return _without_daemon(context)
    gone = _until(context, lambda state: not state, GONE_SECONDS)
    lines = ["keys destroyed; everything else is gone too" if gone else "keys destroyed; the node is still stopping"]
    return _tell(context, invocation, result, [*lines, _FLASH])


def _without_daemon(context: Context) -> int:
    from qpq.console.program import wipe_here  # noqa: PLC0415 (the one door to the daemon's rooms)

    status = wipe_here(context)
    if status == DONE:
        context.show([_FLASH])
    return status


def _until(context: Context, wanted: Callable[[str], bool], seconds: float) -> bool:
    """Wait until the node's state is as wanted; False: it has not come to that.

    '' stands for a node that does not answer, "busy" for one that refuses to say, as one that is stopping does.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        context.close()
        try:
            state = text(as_document(as_document(context.request("status")).get("lock")), "state")
        except (NoDaemonError, ConnectionLostError):
            state = ""
        except RefusedError as error:
            state = error.code
        if wanted(state):
            return True
        time.sleep(_LOOK_SECONDS)
    return False


def _confirm(context: Context, invocation: Invocation, what: str) -> None:
    """Have ``yes`` typed; raises UsageError where there is nobody to ask, ConsoleError for another answer."""
    if invocation.flag("--yes"):
        return
    if not context.terminal.is_input_tty:
        raise UsageError(f"{invocation.command.name}: {what}; to do it without being asked: --yes")
    context.errors.write(f"{what}\n")
    if context.errors.ask_line("type yes to go on: ") != "yes":
        raise ConsoleError("nothing was done")


def _passphrase(context: Context, invocation: Invocation, *, twice: bool) -> str:
    """Ask on the terminal without echo; without one take the first line of standard input. Raises UsageError."""
    if context.interactive and not context.terminal.is_input_tty:
        raise UsageError("there is no terminal to ask for a passphrase")
    if invocation.flag("--passphrase-stdin") or not context.terminal.is_input_tty:
        return decode_passphrase(context.read_input(MAX_PASSPHRASE + 2).partition(b"\n")[0].removesuffix(b"\r"))
    given = context.errors.ask_secret("passphrase: ")
    if twice and given != context.errors.ask_secret("once more: "):
        raise ConsoleError("the two passphrases differ; nothing was changed")
    if not given:
        raise UsageError("the passphrase is empty")
    return given


def _tell(context: Context, invocation: Invocation, result: Json, lines: list[str]) -> int:
    if context.json or invocation.flag("--json"):
        document: Document = as_document(result)
        context.show_document(document)
    else:
        context.show(lines)
    return DONE


COMMANDS: dict[str, Callable[[Context, Invocation], int]] = {
    "lock set": lock_set,
    "lock key-file": lock_key_file,
    "lock off": lock_off,
    "unlock": unlock,
    "wipe": wipe,
}

"""``mesh subscribe`` and ``mesh channels``: what a channel is, and how others come in, as text and QR code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.console import render_mesh
from qpq.console.document import as_document, text
from qpq.console.errors import DONE
from qpq.console.identities import qr_code
from qpq.console.qr import TooLongError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.console.context import Context
    from qpq.console.document import Document, Json
    from qpq.console.parser import Invocation

TOO_LONG = "this text is too long for a QR code"


def subscribe(context: Context, invocation: Invocation) -> int:
    """Read a channel from now on; say what it is, and plainly if it is public."""
    args: Document = {"topic": invocation.text("topic")}
    if invocation.text("--key"):
        args["key"] = invocation.text("--key")
    for name in ("private", "announce"):
        if invocation.flag(f"--{name}"):
            args[name] = True
    result = context.request("mesh.subscribe", args)
    return _show(context, invocation, result, lambda: render_mesh.channel(result))


def channels(context: Context, invocation: Invocation) -> int:
    """List the channels, or show how others come into one."""
    topic = invocation.text("--share")
    if not topic:
        result = context.request("mesh.channels")
        return _show(context, invocation, result, lambda: render_mesh.channels(result, context.wall()))
    result = context.request("mesh.channels", {"share": topic})
    return _show(context, invocation, result, lambda: [*_code(context, result), "", *render_mesh.channel(result)])


def _code(context: Context, result: Json) -> list[str]:
    share = text(as_document(result), "share")
    try:
        return qr_code(context, share.upper()) if share.isascii() and share.isprintable() else []
    except TooLongError:
        return [TOO_LONG]


def _show(context: Context, invocation: Invocation, result: Json, lines: Callable[[], list[str]]) -> int:
    if context.json or invocation.flag("--json"):
        context.show_document(result)
    else:
        context.show(lines())
    return DONE

"""``mesh send`` and ``mesh broadcast``: where the text comes from, and waiting for the receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.console import render, render_mesh
from qpq.console.document import as_document, text
from qpq.console.errors import DONE, FAILED, UsageError
from qpq.console.files import read_file
from qpq.console.values import MAX_TEXT_BYTES, check_text

if TYPE_CHECKING:
    from qpq.console.context import Context
    from qpq.console.document import Document
    from qpq.console.parser import Invocation

FROM_INPUT = "-"
DELIVERED = "delivered"
FINAL = frozenset({DELIVERED, "expired", "refused"})
_FOLLOWED = frozenset({"state", "copies", "post_quantum", "reason"})


def send(context: Context, invocation: Invocation) -> int:
    """Send a message; with ``--wait`` stay until it is delivered, expired or refused, or the time is over."""
    args: Document = {"peer": invocation.text("peer"), "text": check_text(_text(context, invocation))}
    ttl = invocation.number("--ttl")
    if ttl is not None:
        args["ttl"] = ttl
    if invocation.flag("--urgent"):
        args["urgent"] = True
    wait = invocation.number("--wait")
    if wait is not None:
        context.request("watch")
    answer = as_document(context.request("mesh.send", args))
    if wait is not None and text(answer, "state") != DELIVERED:
        answer = _wait(context, answer, wait)
    if context.json or invocation.flag("--json"):
        context.show_document(answer)
    else:
        context.show(render.sent(answer, context.wall()))
    return DONE if wait is None or text(answer, "state") == DELIVERED else FAILED


def broadcast(context: Context, invocation: Invocation) -> int:
    """Send to all who read a channel; nobody's receipt comes back."""
    args: Document = {"topic": invocation.text("topic"), "text": check_text(_text(context, invocation))}
    ttl = invocation.number("--ttl")
    if ttl is not None:
        args["ttl"] = ttl
    answer = as_document(context.request("mesh.broadcast", args))
    if context.json or invocation.flag("--json"):
        context.show_document(answer)
    else:
        context.show(render_mesh.broadcast(answer, context.wall()))
    return DONE


def _text(context: Context, invocation: Invocation) -> str:
    given = invocation.text("text")
    path = invocation.text("--file")
    if path:
        if given:
            raise UsageError("either a text or --file, not both")
        return _decoded(read_file(path, MAX_TEXT_BYTES))
    if given and given != FROM_INPUT:
        return given
    if context.interactive or (not given and context.terminal.is_input_tty):
        raise UsageError(f"the text is missing; write: {invocation.command.usage()}")
    return _decoded(context.read_input(MAX_TEXT_BYTES))


def _decoded(data: bytes) -> str:
    """Return the text; the one line end that editors and echo put last is not part of it."""
    try:
        return data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError("the text is not valid UTF-8") from None


def _wait(context: Context, answer: Document, seconds: int) -> Document:
    """Follow the message's state; events that came before the answer count too."""
    client = context.client()
    deadline = client.now() + seconds
    number = answer.get("id")
    found = dict(answer)
    while text(found, "state") not in FINAL:
        event = client.wait_event(deadline, lambda event: event.get("event") == "state" and event.get("id") == number)
        if event is None:
            break
        found.update({key: value for key, value in event.items() if key in _FOLLOWED})
    return found

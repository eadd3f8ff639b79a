"""``verify``, ``privacy`` and ``mesh name``: who is who, loudly where a key has changed, and what hides a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.console import render
from qpq.console.document import as_document, flag, number, text
from qpq.console.errors import DONE, FAILED
from qpq.console.identities import qr_code, show_with_claims
from qpq.console.safe import safe, safe_name

if TYPE_CHECKING:
    from qpq.console.context import Context
    from qpq.console.document import Document
    from qpq.console.parser import Invocation

GROUPS_A_LINE = 4
# 5200 rounds of SHA-512 for each of two keys, up to four times, on a 580 MHz router that has other things to do.
SLOW_SECONDS = 60.0


def verify(context: Context, invocation: Invocation) -> int:
    """Show the safety number with a peer, compare it with what the peer shows, accept a changed key, or undo."""
    args: Document = {"peer": invocation.text("peer")}
    if invocation.text("number"):
        args["number"] = invocation.text("number")
    for name in ("accept", "undo"):
        if invocation.flag(f"--{name}"):
            args[name] = True
    result = as_document(context.request("verify", args, timeout=SLOW_SECONDS))
    if context.json or invocation.flag("--json"):
        context.show_document(result)
    elif text(result, "number"):
        context.show(_number(context, result))
    else:
        matched = "the numbers match; " if flag(result, "matches") else ""
        context.show([f"{render.who(result, 'id')}: {matched}{safe_name(text(result, 'trust', '-'))}"])
    return DONE


def name(context: Context, invocation: Invocation) -> int:
    """Give or take a petname; fails, loudly, where it is that of another key."""
    result = as_document(context.request("mesh.name", dict(invocation.values)))
    return FAILED if show_with_claims(context, invocation, result) else DONE


def user_add(context: Context, invocation: Invocation) -> int:
    """Make a user; say so loudly where others here call somebody else by that name."""
    show_with_claims(context, invocation, context.request("mesh.user.add", dict(invocation.values)))
    return DONE


def privacy(context: Context, invocation: Invocation) -> int:
    """Show what hides the lengths of messages and what that costs; or switch it."""
    result = context.request("privacy", dict(invocation.values))
    if context.json or invocation.flag("--json"):
        context.show_document(result)
    else:
        context.show(_privacy(as_document(result)))
    return DONE


def _number(context: Context, result: Document) -> list[str]:
    called = render.who(result, "id")
    groups = text(result, "number").split()
    lines = [" ".join(groups[at : at + GROUPS_A_LINE]) for at in range(0, len(groups), GROUPS_A_LINE)]
    slash = "/" if context.interactive else ""
    asked = safe_name(text(result, "name") or text(result, "id")[: render.SHORT_ID])
    return [
        *qr_code(context, text(result, "scan")),
        "",
        *map(safe, lines),
        "",
        *_about(result, called, f"{slash}verify {asked}"),
    ]


def _about(result: Document, called: str, command: str) -> list[str]:
    old = text(result, "old")
    if old:
        return [
            f"THE KEY OF {called} HAS CHANGED: it was {safe(old)},",
            f"and {safe(text(result, 'id'))} claims the name now. The number above is that of the new key.",
            f"the same number on the other side: {command} <number>",
            f"you cannot compare, and believe it: {command} --accept; you do not: {command} --undo",
        ]
    return [
        f"{called}: {safe_name(text(result, 'trust', '-'))}",
        "The other side must see the same number for you. Compare face to face, or where you know the voice, or scan.",
        f"the same: {command} <number or scanned text>",
    ]


def _privacy(row: Document) -> list[str]:
    step = f"{number(row, 'step_bytes') or 0:.0f}"
    meaning = {
        True: f"on: the length of your messages is told in steps of {step} bytes only",
        False: "off: whoever carries a message sees its length to the byte",
    }
    lines = [f"padding: {meaning[flag(row, 'padding')]}"]
    messages, size = number(row, "padded_messages") or 0, number(row, "padding_bytes") or 0
    if not messages:
        return [*lines, "cost: no padded message was sent since the node started"]
    average = number(row, "bytes_a_message") or 0
    return [
        *lines,
        f"cost since the node started: {size:.0f} bytes in {messages:.0f} messages of all users, {average:.0f} each",
    ]

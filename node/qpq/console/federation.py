"""``qpq federation ca``: a community's own authority, in this process, since no node need run where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from qpq.console.document import as_document
from qpq.console.errors import DONE, ConsoleError
from qpq.console.render import tree
from qpq.errors import QpqError

if TYPE_CHECKING:
    from qpq.console.context import Context
    from qpq.console.document import Json
    from qpq.console.parser import Invocation


def authority(context: Context, invocation: Invocation) -> int:
    """Make or show certificates; raises ConsoleError."""
    from qpq.console.program import authority_here  # noqa: PLC0415 (the one door to the daemon's rooms)

    words = {argument.name: invocation.text(argument.name) for argument in invocation.command.arguments}
    try:
        made = authority_here(invocation.command.words[-1], words, invocation.number("--days") or 0)
    except QpqError as fault:
        raise ConsoleError(str(fault)) from fault
    result = cast("Json", made)
    if context.json or invocation.flag("--json"):
        context.show_document(result)
    else:
        context.show(tree(as_document(result)))
    return DONE

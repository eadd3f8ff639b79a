"""The restricted console: what a person without a shell asked for over SSH, as words.

``command="qpq --restricted --as anna"`` in authorized_keys (sshd(8)): sshd puts what the client wants to run
into SSH_ORIGINAL_COMMAND. It is cut into words here, nothing is expanded, no shell sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.console.errors import DeniedError
from qpq.console.words import Word, split

if TYPE_CHECKING:
    from collections.abc import Mapping

ORIGINAL = "SSH_ORIGINAL_COMMAND"
MAX_LENGTH = 65536
_PREFIX = "QPQ_"
_PROGRAM = "qpq"


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without QPQ_*, which a client may be able to set."""
    return {name: value for name, value in environ.items() if not name.startswith(_PREFIX)}


def original(environ: Mapping[str, str]) -> tuple[str, list[Word]]:
    """Return the wanted command's line and words, no words when a console is wanted; raises DeniedError."""
    line = environ.get(ORIGINAL, "")
    if len(line) > MAX_LENGTH:
        raise DeniedError(f"the command is longer than {MAX_LENGTH} characters")
    words = split(line)
    if words and words[0].value.rpartition("/")[2] == _PROGRAM:
        words = words[1:]
    return line, words

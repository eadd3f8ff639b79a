"""The kinds of deadlines, each with what its key names."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias


class Due(IntEnum):
    """What has come when a timer is due."""

    HELLO = 0
    """A link (number) had to greet by now."""
    SETTLE = 1
    """A peer (identity) had to choose among its links by now."""
    DIALLING = 2
    """An address may be dialled again, or a dial has failed (no key)."""
    EXPIRE = 3
    """A message (envelope id) reaches the end of its ttl."""
    ANSWER = 4
    """A message (envelope id) had to be answered by now."""
    HOLD = 5
    """A message (envelope id) that was refused may be sent again."""
    RESUME = 6
    """A recipient (address) that had no room may be tried again."""
    CHECKPOINT = 7
    """The clock of life is to be stored (no key)."""


Timer: TypeAlias = tuple[Due, int | bytes]

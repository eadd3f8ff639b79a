"""The file of client tokens, and what clients show as one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qpq.home.accounts import AccountError, Accounts

if TYPE_CHECKING:
    from collections.abc import Callable


def accounts(data: bytes) -> None:
    """What is read is written again as it was read; no bytes are a token by chance."""
    assert Accounts().holder(data) is None
    with contextlib.suppress(AccountError):
        found = Accounts.decode(data)
        assert Accounts.decode(found.encode()).tokens == found.tokens
        assert found.holder(data) is None


TARGETS: dict[str, Callable[[bytes], None]] = {"accounts": accounts}

"""What people write as an address."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qpq.netaddress import NetAddress, NetAddressError

if TYPE_CHECKING:
    from collections.abc import Callable


def address(data: bytes) -> None:
    text = data.decode(errors="replace")
    for default in (7000, None):
        with contextlib.suppress(NetAddressError):
            read = NetAddress.parse(text, default)
            assert 1 <= read.port <= 65_535
            assert str(read).isascii()
            assert str(read).isprintable()
            assert NetAddress.parse(str(read), None) == read


TARGETS: dict[str, Callable[[bytes], None]] = {"netaddress": address}

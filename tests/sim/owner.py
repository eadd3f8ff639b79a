"""The node that an end of a modelled link belongs to, as the end sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sim.transport import End


class Owner(Protocol):
    """The node an end belongs to."""

    awake: bool
    rx_bytes: int

    def sent(self, kind: str, size: int) -> None:
        """Count a packet that is put on the wire."""
        ...

    def bytes_came(self, end: End, data: bytes) -> None:
        """Take the next bytes of a link's stream."""
        ...

    def link_ended(self, end: End, reason: str) -> None:
        """Take the end of a link."""
        ...

    def quality(self, link: int, rtt: float, loss: float) -> None:
        """Take what the transport has seen of a link."""
        ...

    def end_turn(self) -> None:
        """Put on the wire what this turn of the loop has queued."""
        ...

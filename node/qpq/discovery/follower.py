"""Which rtnetlink dumps to ask for, and when the interface table is whole: no socket, no clock."""

from __future__ import annotations

from enum import Enum
from typing import Final

from qpq.discovery.errors import NetlinkError
from qpq.discovery.interfaces import InterfaceTable
from qpq.discovery.netlink import (
    NATIVE,
    AddressMessage,
    DumpEnd,
    Interrupted,
    LinkMessage,
    parse,
    request_addresses,
    request_links,
)

_SEQUENCES: Final = 0x7FFF_FFFF


class Phase(Enum):
    """What is being waited for."""

    IDLE = "nothing"
    LINKS = "the dump of links"
    ADDRESSES = "the dump of addresses"
    AGAIN = "a new dump, as the last one failed"


class Follower:
    """Keeps ``table`` equal to the kernel's: two dumps (links, then addresses), then notifications.

    While a dump runs, everything goes into a second table that replaces the first when it is
    complete, so that nobody sees half of one. Lost messages (ENOBUFS), damaged ones and
    interrupted dumps lead to Phase.AGAIN: the owner calls ``dump`` again, after a pause.
    """

    __slots__ = ("_interrupted", "_order", "_sequence", "_staging", "damaged", "dumps", "phase", "table")

    def __init__(self, order: str = NATIVE) -> None:
        self._order = order
        self._sequence = 0
        self._interrupted = False
        self._staging: InterfaceTable | None = None
        self.table = InterfaceTable()
        self.phase = Phase.IDLE
        self.dumps = 0
        self.damaged = 0

    def dump(self) -> bytes:
        """Begin anew; return the request to send."""
        self._sequence = self._sequence % _SEQUENCES + 1
        self._staging = InterfaceTable()
        self._interrupted = False
        self.phase = Phase.LINKS
        self.dumps += 1
        return request_links(self._sequence, self._order)

    def lost(self) -> None:
        """Messages were lost: the table can only be mended by a new dump."""
        self.phase = Phase.AGAIN

    def feed(self, datagram: bytes) -> tuple[bytes | None, bool]:
        """Take one datagram; return a request to send, if any, and whether ``table`` has changed."""
        try:
            messages = parse(datagram, self._order)
        except NetlinkError:
            self.damaged += 1
            self.lost()
            return None, False
        request, changed = None, False
        for message in messages:
            if isinstance(message, (LinkMessage, AddressMessage)):
                target = self.table if self._staging is None else self._staging
                changed |= target.apply(message) and target is self.table
            elif message.sequence == self._sequence:
                request, replaced = self._ended(message)
                changed |= replaced
        return request, changed

    def _ended(self, message: DumpEnd | Interrupted) -> tuple[bytes | None, bool]:
        if isinstance(message, Interrupted):
            self._interrupted = True
            return None, False
        if message.error:
            self.lost()
        elif self.phase is Phase.LINKS:
            self._sequence = self._sequence % _SEQUENCES + 1
            self.phase = Phase.ADDRESSES
            return request_addresses(self._sequence, self._order), False
        elif self.phase is Phase.ADDRESSES and self._interrupted:
            self.lost()
        elif self.phase is Phase.ADDRESSES and self._staging is not None:
            changed = list(self._staging) != list(self.table)
            self.table, self._staging = self._staging, None
            self.phase = Phase.IDLE
            return None, changed
        return None, False

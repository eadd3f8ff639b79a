"""What each usable link carries without an answer, and what is to go over it next."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from qpq.mesh.custody import Place, Way
from qpq.wire.frames import Role

if TYPE_CHECKING:
    from qpq.crypto.identity import Identity
    from qpq.mesh.custody import Held
    from qpq.mesh.limits import Limits
    from qpq.mesh.links import Link

_FRAMING = 32
"""Bytes by which a TRANSFER may exceed the stored form of its envelope."""


class Window:
    """One link's; ``relays``: the neighbour keeps things for others, ``met``: it has told whom it serves.

    ``since``: the order (mesh.custody) of the last envelope kept before the link came up.
    """

    __slots__ = ("_max_frame", "_ready", "flying", "met", "number", "peer", "relays", "since", "size")

    def __init__(self, link: Link, since: int) -> None:
        self.since = since
        self.number = link.number
        self.peer: Identity = link.peer
        self._max_frame = link.hello.max_frame if link.hello is not None else 0
        self.relays = link.hello is not None and link.hello.role is not Role.LEAF
        self.met = False
        self.flying: dict[bytes, Held] = {}
        self._ready: list[tuple[tuple[bool, int, int], Held]] = []
        self.size = 0

    def fits(self, item: Held) -> bool:
        """Whether the neighbour takes frames so large."""
        return item.size + _FRAMING <= self._max_frame

    def put(self, item: Held, way: Way) -> None:
        """Let an envelope that waits be ready for this link."""
        item.way = way
        item.place = Place.READY
        item.link = self.number
        heappush(self._ready, (item.rank, item))

    def next(self, limits: Limits) -> Held | None:
        """Take away what is to be sent next; it waits. None: there is nothing, or too much without an answer."""
        if not self._ready or len(self.flying) >= limits.window_count or self.size >= limits.window_bytes:
            return None
        item = heappop(self._ready)[1]
        item.place = Place.WAITING
        item.link = 0
        return item

    def fly(self, item: Held) -> None:
        """Note an envelope that is sent."""
        item.place = Place.FLYING
        item.link = self.number
        item.peer = self.peer
        item.attempts += 1
        self.flying[item.envelope_id] = item
        self.size += item.size

    def land(self, item: Held) -> None:
        """Take an envelope off the link that it is on or ready for; it waits."""
        if item.place is Place.FLYING:
            del self.flying[item.envelope_id]
            self.size -= item.size
        else:
            self._ready.remove((item.rank, item))
            heapify(self._ready)
        item.place = Place.WAITING
        item.link = 0

    def items(self) -> tuple[Held, ...]:
        """Return everything on the link or ready for it."""
        return (*self.flying.values(), *(entry[1] for entry in self._ready))


class Windows:
    """The windows of all usable links."""

    __slots__ = ("_by_number", "_by_peer")

    def __init__(self) -> None:
        self._by_number: dict[int, Window] = {}
        self._by_peer: dict[Identity, int] = {}

    def open(self, link: Link, since: int = 0) -> None:
        """Open the window of a link that has become usable after envelope number ``since`` was kept."""
        self._by_number[link.number] = Window(link, since)
        self._by_peer[link.peer] = link.number

    def close(self, number: int) -> Window | None:
        """Forget a link and return its window, if it had one."""
        window = self._by_number.pop(number, None)
        if window is not None and self._by_peer[window.peer] == number:
            del self._by_peer[window.peer]
            for other in self._by_number.values():
                if other.peer == window.peer:
                    self._by_peer[window.peer] = other.number
        return window

    def get(self, number: int) -> Window | None:
        """Return the window of a link."""
        return self._by_number.get(number)

    def __getitem__(self, number: int) -> Window:
        """Return the window of a usable link."""
        return self._by_number[number]

    def link_to(self, peer: Identity) -> int | None:
        """Return the newest usable link to a neighbour."""
        return self._by_peer.get(peer)

    def all(self) -> tuple[Window, ...]:
        """Return all windows, the oldest link's first."""
        return tuple(self._by_number.values())

"""Which address is served by which link: the neighbour's own node address and what it announced."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from qpq.crypto.identity import Address, address_of
from qpq.wire.announce import verify_announce

if TYPE_CHECKING:
    from qpq.crypto.identity import Identity
    from qpq.wire.frames_mesh import Announce


class Heard(Enum):
    """What became of an announce."""

    NEW = "new"
    RENEWED = "renewed"
    STALE = "stale"
    FOREIGN = "foreign"
    OVER_CAP = "over cap"
    FORGED = "forged"


class _Serving:
    __slots__ = ("announces", "peer")

    def __init__(self, peer: Identity) -> None:
        self.peer = peer
        self.announces: dict[Address, Announce] = {}


class Served:
    """Addresses by usable link; ``cap`` announced addresses a link, of which further ones are ignored.

    Of two announces of one address on one link the one with the higher (boot, counter) counts.
    An address announced on several links is looked for on the link that told of it last, since
    a user may move from node to node.
    """

    __slots__ = ("_by_address", "_by_link", "_cap")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._by_link: dict[int, _Serving] = {}
        self._by_address: dict[Address, list[int]] = {}

    def open(self, link: int, peer: Identity) -> None:
        """Note a usable link to ``peer``."""
        self._by_link[link] = _Serving(peer)
        self._by_address.setdefault(address_of(peer), []).append(link)

    def close(self, link: int) -> None:
        """Forget a link; one that never was usable is no fault."""
        serving = self._by_link.pop(link, None)
        if serving is None:
            return
        for address in (address_of(serving.peer), *serving.announces):
            self._unlist(address, link)

    def heard(self, link: int, announce: Announce) -> Heard:
        """Take an announce that came over a usable link; its signature is verified where it would count."""
        serving = self._by_link[link]
        if announce.node != serving.peer:
            return Heard.FOREIGN
        address = announce.address
        if address == address_of(serving.peer):
            return Heard.STALE
        old = serving.announces.get(address)
        if old is not None and (announce.boot, announce.counter) <= (old.boot, old.counter):
            return Heard.STALE
        if old is None and len(serving.announces) >= self._cap:
            return Heard.OVER_CAP
        if not verify_announce(announce):
            return Heard.FORGED
        serving.announces[address] = announce
        if old is not None:
            self._unlist(address, link)
        self._by_address.setdefault(address, []).append(link)
        return Heard.RENEWED if old is not None else Heard.NEW

    def adopt(self, link: int, announce: Announce) -> None:
        """Believe once more a verified announce that had to be forgotten."""
        serving = self._by_link.get(link)
        if serving is not None and announce.address not in serving.announces and len(serving.announces) < self._cap:
            serving.announces[announce.address] = announce
            self._by_address.setdefault(announce.address, []).append(link)

    def forget(self, link: int, address: Address) -> bool:
        """Believe an announce no longer: the link's node said that the address is not there."""
        serving = self._by_link.get(link)
        if serving is None or serving.announces.pop(address, None) is None:
            return False
        self._unlist(address, link)
        return True

    def link_for(self, address: Address) -> int | None:
        """Return the link over which ``address`` is reached."""
        links = self._by_address.get(address)
        return links[-1] if links else None

    def node_of(self, address: Address) -> Identity | None:
        """Return the neighbour that serves ``address``."""
        link = self.link_for(address)
        return None if link is None else self._by_link[link].peer

    def addresses(self, link: int) -> tuple[Address, ...]:
        """Return what a usable link serves, the node's own address first."""
        serving = self._by_link[link]
        return (address_of(serving.peer), *serving.announces)

    def users(self, link: int) -> tuple[Address, ...]:
        """Return what the node of a link has announced."""
        serving = self._by_link.get(link)
        return tuple(serving.announces) if serving is not None else ()

    def known(self) -> tuple[Address, ...]:
        """Return every address that is served by some link."""
        return tuple(self._by_address)

    def _unlist(self, address: Address, link: int) -> None:
        links = self._by_address[address]
        links.remove(link)
        if not links:
            del self._by_address[address]

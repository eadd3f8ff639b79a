"""Which interfaces discovery uses, and on which of them a peer's address can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.discovery.interfaces import is_link_local

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from qpq.discovery.interfaces import Interface, InterfaceTable

MAX_MDNS_INTERFACES: Final = 16
MAX_PUBLISHED: Final = 8
"""Addresses in our own records: IPv6 link-local, then IPv6, then IPv4, shared out evenly enough."""


def mdns_interfaces(table: Iterable[Interface], only: Collection[str]) -> list[Interface]:
    """Return the interfaces to speak mDNS on: with a carrier, multicast and an address; no loopback, no bridge port."""
    return [
        interface
        for interface in table
        if interface.running
        and interface.multicast
        and not interface.loopback
        and (interface.link_local or interface.ipv4)
        and (interface.name in only if only else not interface.is_port)
    ][:MAX_MDNS_INTERFACES]


def published(interfaces: Iterable[Interface]) -> list[str]:
    """Return the addresses to publish, at most MAX_PUBLISHED, the kinds in turn so that none is crowded out."""
    local, wide, four = [], [], []
    for interface in interfaces:
        local += [a.host for a in interface.ipv6 if a.is_link_local]
        wide += [a.host for a in interface.ipv6 if not a.is_link_local]
        four += [a.host for a in interface.ipv4]
    turns = [kind[n] for n in range(MAX_PUBLISHED) for kind in (local, wide, four) if n < len(kind)]
    return list(dict.fromkeys(turns))[:MAX_PUBLISHED]


def server_host(addresses: Iterable[str], otherwise: str) -> str:
    """Return the host for TXT ``server``: an IPv4 address, else a wide IPv6 one in brackets, else a name."""
    wide = [host for host in addresses if not is_link_local(host)]
    best = min(wide, key=lambda host: ":" in host, default=otherwise)
    return f"[{best}]" if ":" in best else best


def placer(table: Callable[[], InterfaceTable], only: Collection[str]) -> Callable[[str, int], int | None]:
    """Return the ``place`` function of ServiceTable for an interface table that changes."""

    def place(host: str, scope: int) -> int | None:
        if ":" not in host or not is_link_local(host):
            return 0 if table().is_on_link(host) else None
        usable = [interface.index for interface in mdns_interfaces(table(), only)]
        if scope:
            return scope if scope in usable else None
        return usable[0] if len(usable) == 1 else None

    return place

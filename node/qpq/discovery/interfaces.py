"""The table of network interfaces and their addresses, kept from rtnetlink messages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, Final

from qpq.discovery.netlink import (
    IFA_F_DADFAILED,
    IFA_F_DEPRECATED,
    IFA_F_OPTIMISTIC,
    IFA_F_TENTATIVE,
    IFF_LOOPBACK,
    IFF_MULTICAST,
    IFF_RUNNING,
    IFF_UP,
    AddressMessage,
    LinkMessage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_INTERFACES: Final = 512
MAX_ADDRESSES: Final = 32
"""A link: router advertisements of strangers can add addresses (Linux itself stops at 16)."""

_PORT_KINDS = frozenset({"bridge", "bond", "team"})
_LINK_LOCAL_4, _LINK_LOCAL_6 = b"\xa9\xfe", 0xFE80


@dataclass(frozen=True, slots=True, order=True)
class InterfaceAddress:
    """One address of this machine: IP literal without zone, prefix length, kernel scope (rtnetlink(7)) and flags."""

    host: str
    prefix: int
    scope: int = 0
    flags: int = 0

    @property
    def is_ipv6(self) -> bool:
        """Whether the address is an IPv6 address."""
        return ":" in self.host

    @property
    def is_link_local(self) -> bool:
        """Whether the address means something on its own link only (RFC 4291 2.5.6, RFC 3927)."""
        return is_link_local(self.host)

    @property
    def tentative(self) -> bool:
        """Whether the kernel still checks that nobody else has it, or found that somebody has (RFC 4862 5.4)."""
        return bool(self.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) and not self.flags & IFA_F_OPTIMISTIC

    @property
    def deprecated(self) -> bool:
        """Whether the address is on its way out: not for anything new."""
        return bool(self.flags & IFA_F_DEPRECATED)

    @property
    def usable(self) -> bool:
        """Whether peers may be told of it."""
        return not (self.tentative or self.deprecated)

    def covers(self, host: str) -> bool:
        """Whether ``host`` (a literal) lies in the prefix of this address."""
        mine, other = packed(self.host), packed(host)
        if len(mine) != len(other):
            return False
        shift = len(mine) * 8 - self.prefix
        return int.from_bytes(mine, "big") >> shift == int.from_bytes(other, "big") >> shift


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface; ``master`` is the index of the bridge, bond or mesh it is a part of (0: none)."""

    index: int
    name: str
    flags: int
    master: int = 0
    kind: str = ""
    slave_kind: str = ""
    addresses: tuple[InterfaceAddress, ...] = ()

    @property
    def up(self) -> bool:
        """Whether it is switched on."""
        return bool(self.flags & IFF_UP)

    @property
    def running(self) -> bool:
        """Whether it is switched on and has a carrier."""
        return self.flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING

    @property
    def multicast(self) -> bool:
        """Whether it carries multicast."""
        return bool(self.flags & IFF_MULTICAST)

    @property
    def loopback(self) -> bool:
        """Whether it is the loopback interface."""
        return bool(self.flags & IFF_LOOPBACK)

    @property
    def is_port(self) -> bool:
        """Whether what it receives goes to its bridge or bond instead (a port of batman-adv keeps its own IPv6)."""
        return self.slave_kind in _PORT_KINDS

    @property
    def ipv4(self) -> tuple[InterfaceAddress, ...]:
        """The usable IPv4 addresses."""
        return tuple(a for a in self.addresses if a.usable and not a.is_ipv6)

    @property
    def ipv6(self) -> tuple[InterfaceAddress, ...]:
        """The usable IPv6 addresses, link-local ones first."""
        usable = (a for a in self.addresses if a.usable and a.is_ipv6)
        return tuple(sorted(usable, key=lambda a: not a.is_link_local))

    @property
    def link_local(self) -> InterfaceAddress | None:
        """A usable IPv6 link-local address."""
        return next((a for a in self.ipv6 if a.is_link_local), None)


class InterfaceTable:
    """Interfaces by index; at most MAX_INTERFACES of MAX_ADDRESSES, what is more is counted in ``ignored``."""

    __slots__ = ("_addresses", "_links", "ignored")

    def __init__(self) -> None:
        self._links: dict[int, Interface] = {}
        self._addresses: dict[int, dict[tuple[str, int], InterfaceAddress]] = {}
        self.ignored = 0

    def __iter__(self) -> Iterator[Interface]:
        """Yield the interfaces by rising index."""
        for index in sorted(self._links):
            yield self._whole(index)

    def __len__(self) -> int:
        """How many interfaces there are."""
        return len(self._links)

    def get(self, index: int) -> Interface | None:
        """Return the interface with this index."""
        return self._whole(index) if index in self._links else None

    def named(self, name: str) -> Interface | None:
        """Return the interface with this name."""
        return next((interface for interface in self if interface.name == name), None)

    def apply(self, message: LinkMessage | AddressMessage) -> bool:
        """Enter one message; True when the table differs afterwards."""
        return self._apply_link(message) if isinstance(message, LinkMessage) else self._apply_address(message)

    def is_on_link(self, host: str) -> bool:
        """Whether ``host`` lies in the prefix of one of this machine's addresses."""
        return any(address.covers(host) for interface in self for address in interface.addresses)

    def _whole(self, index: int) -> Interface:
        return replace(self._links[index], addresses=tuple(self._addresses[index].values()))

    def _apply_link(self, message: LinkMessage) -> bool:
        if message.deleted:
            self._addresses.pop(message.index, None)
            return self._links.pop(message.index, None) is not None
        if message.index not in self._links and len(self._links) >= MAX_INTERFACES:
            self.ignored += 1
            return False
        flags = message.flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_MULTICAST)
        link = Interface(message.index, message.name, flags, message.master, message.kind, message.slave_kind)
        changed = self._links.get(message.index) != link
        self._links[message.index] = link
        self._addresses.setdefault(message.index, {})
        return changed

    def _apply_address(self, message: AddressMessage) -> bool:
        addresses = self._addresses.get(message.index)
        if addresses is None:
            return False
        key = (message.host, message.prefix)
        if message.deleted:
            return addresses.pop(key, None) is not None
        if key not in addresses and len(addresses) >= MAX_ADDRESSES:
            self.ignored += 1
            return False
        flags = message.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_OPTIMISTIC)
        address = InterfaceAddress(message.host, message.prefix, message.scope, flags)
        changed = addresses.get(key) != address
        addresses[key] = address
        return changed


def is_link_local(host: str) -> bool:
    """Whether ``host`` (a literal) is link-local: fe80::/10 or 169.254/16."""
    raw = packed(host)
    return raw[:2] == _LINK_LOCAL_4 if len(raw) == 4 else int.from_bytes(raw[:2], "big") & 0xFFC0 == _LINK_LOCAL_6  # noqa: PLR2004 (an IPv4 address)


def packed(host: str) -> bytes:
    """Return the 4 or 16 bytes of a literal; raises OSError for anything else."""
    return inet_pton(AF_INET6 if ":" in host else AF_INET, host)

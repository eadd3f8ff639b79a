"""Stands in for the package ``ifaddr`` that zeroconf imports: the same list, from our own interface table.

The real one needs ctypes and a shared libc, which a static program has not, and brings in
tempfile, shutil, bz2 and lzma: 1.2 MB that zeroconf asks one question (index to IPv6 address).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpq.discovery.interfaces import Interface


@dataclass(frozen=True, slots=True)
class IP:
    """One address: IPv4 as text, IPv6 as (text, flow info, scope id)."""

    ip: str | tuple[str, int, int]
    network_prefix: int
    nice_name: str

    @property
    def is_IPv4(self) -> bool:  # noqa: N802 (ifaddr's name)
        """Whether this is an IPv4 address."""
        return isinstance(self.ip, str)

    @property
    def is_IPv6(self) -> bool:  # noqa: N802 (ifaddr's name)
        """Whether this is an IPv6 address."""
        return not self.is_IPv4


@dataclass(frozen=True, slots=True)
class Adapter:
    """One interface with its usable addresses, IPv6 link-local first."""

    name: str
    nice_name: str
    ips: tuple[IP, ...]
    index: int | None


_adapters: list[Adapter] = []


def install() -> None:
    """Let ``import ifaddr`` find this stand-in, unless the real one is already imported."""
    if "ifaddr" not in sys.modules:
        module = ModuleType("ifaddr", __doc__)
        vars(module).update(Adapter=Adapter, IP=IP, get_adapters=get_adapters)
        sys.modules["ifaddr"] = module


def update(interfaces: Iterable[Interface]) -> None:
    """Set what ``get_adapters`` returns."""
    _adapters[:] = [_adapter(interface) for interface in interfaces]


def get_adapters(include_unconfigured: bool = False) -> list[Adapter]:
    """Return the interfaces last set, those without an address only if asked for."""
    return [adapter for adapter in _adapters if adapter.ips or include_unconfigured]


def _adapter(interface: Interface) -> Adapter:
    six = [IP((a.host, 0, interface.index if a.is_link_local else 0), a.prefix, interface.name) for a in interface.ipv6]
    four = [IP(a.host, a.prefix, interface.name) for a in interface.ipv4]
    return Adapter(interface.name, interface.name, tuple(six + four), interface.index)

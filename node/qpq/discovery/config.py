"""What discovery is to do: which ways are on, and where. It is checked before the rest is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from qpq.discovery.errors import DiscoveryError

if TYPE_CHECKING:
    from qpq.crypto.identity import Identity

AVAHI_DIR: Final = "/etc/avahi/services"
_MAX_PORT: Final = 0xFFFF
_MAX_DOMAIN: Final = 200


class MdnsMode(Enum):
    """How to take part in mDNS; ASK never imports zeroconf (4 MB less), and somebody else publishes the node."""

    OFF = "off"
    AUTO = "auto"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class DiscoveryConfig:
    """What runs and where.

    ``port`` is the UDP port of our links, ``interfaces`` names those of the mesh beacon (empty: all),
    ``group_interfaces`` those where the client group is used instead, ``mdns_interfaces`` those of mDNS (empty: all),
    ``domain`` the local domain told by mDNS, ``avahi_dir`` where avahi's service files lie.
    """

    identity: Identity
    port: int
    boot: int = 0
    mdns: MdnsMode = MdnsMode.AUTO
    beacon: bool = True
    group: bool = True
    interfaces: tuple[str, ...] = ()
    group_interfaces: tuple[str, ...] = ("br-client",)
    mdns_interfaces: tuple[str, ...] = ()
    domain: str = "local"
    avahi_dir: str = AVAHI_DIR

    def __post_init__(self) -> None:
        """Refuse what no record can carry; raises DiscoveryError."""
        if not 1 <= self.port <= _MAX_PORT:
            raise DiscoveryError(f"port {self.port} of the links is none; 1 to {_MAX_PORT} are")
        if not self.domain.isprintable() or len(self.domain.encode()) > _MAX_DOMAIN:
            raise DiscoveryError(f"the local domain must be printable and have at most {_MAX_DOMAIN} bytes")

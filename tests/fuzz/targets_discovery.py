"""What multicast DNS and the kernel's netlink bring."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qpq.crypto.identity import Identity
from qpq.discovery import dns, netlink
from qpq.discovery.dnssd import MAX_INSTANCES, ServiceTable
from qpq.discovery.errors import DnsError, NetlinkError

if TYPE_CHECKING:
    from collections.abc import Callable

OWN = Identity(b"o" * 32)
LITTLE, BIG = "<", ">"


def multicast_dns(data: bytes) -> None:
    """Read a response twice over, as it may come, and ask what it leaves open."""
    table = ServiceTable(OWN, lambda _host, scope: scope or 1)
    with contextlib.suppress(DnsError):
        response = dns.decode(data)
        for now in (0.0, 1.0, 2000.0):
            for found in table.feed(response.records, now):
                assert found.address.isprintable()
            dns.encode_query(table.questions(now))
            assert len(table) <= MAX_INSTANCES


def kernel(data: bytes) -> None:
    for order in (LITTLE, BIG):
        with contextlib.suppress(NetlinkError):
            netlink.parse(data, order)


TARGETS: dict[str, Callable[[bytes], None]] = {"mdns": multicast_dns, "netlink": kernel}

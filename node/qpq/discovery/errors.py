"""The faults of discovery, rooted in DiscoveryError."""

from __future__ import annotations

from qpq.errors import QpqError


class DiscoveryError(QpqError):
    """Discovery cannot do what was asked; the message says what to change."""


class NetlinkError(DiscoveryError):
    """Bytes from rtnetlink that are no sequence of whole messages; drop them and ask for a new dump."""


class DnsError(DiscoveryError):
    """Bytes that are no acceptable multicast DNS response; drop and count them."""


class MdnsUnavailableError(DiscoveryError):
    """UDP port 5353 or the zeroconf package cannot be had; the fallback takes over."""


class PublishError(DiscoveryError):
    """The service file of avahi cannot be written; the message names the file and the reason."""


class NameTakenError(DiscoveryError):
    """Another machine claims the name under which this node wanted to be published; the message is the name."""

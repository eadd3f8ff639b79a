"""The faults of this room, each a class."""

from qpq.errors import QpqError


class LinkError(QpqError):
    """Links cannot be had; the message says why and what to change."""


class CertificateError(LinkError):
    """A peer's certificate chain that proves no identity this node wants; the peer is refused."""


class CrowdedError(LinkError):
    """There are as many connections of a kind as there may be; the newcomer is turned away."""


class ListenError(LinkError):
    """The UDP port cannot be bound: choose another port, or stop what holds it."""


class AddressError(LinkError):
    """An address that cannot be dialled: write the address of one machine."""


class NotUsedError(LinkError, ValueError):
    """Something of a library was asked for that links never use and that was therefore not loaded."""

"""The faults of this room, each a class."""

from qpq.errors import QpqError


class FederationError(QpqError):
    """Something between domains cannot be had; the message says why and what to change."""


class UntrustedError(FederationError):
    """A certificate, or a chain of them, that proves no domain this node believes; the peer is refused."""


class PolicyError(FederationError):
    """What a domain may not ask of this one."""

"""What can go wrong beside the answers of the server, which are ``qpq.wire.rpc_errors``."""

from __future__ import annotations

from qpq.errors import QpqError


class ConnectError(QpqError):
    """There is no connection to the node; the message says why."""


class ProofError(QpqError):
    """The delivery proof is not one: the node, or who stands for it, has not signed that it took this message."""

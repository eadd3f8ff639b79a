"""What one connection of Cap'n Proto RPC may cost, whatever its peer sends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RpcLimits:
    """Limits of a connection; unless it says otherwise, a peer that goes beyond one is aborted."""

    message: int = 8 << 20
    """Bytes of one message, its table included."""
    nesting: int = 64
    """Pointers from the root to the deepest content."""
    pointers: int = 1 << 16
    """Pointers of one message."""
    traversal: int = 8 << 20
    """Words that reading the values of one message may pass."""
    calls: int = 64
    """Calls of the peer that are running or wait for another's result; more are answered ``overloaded``."""
    answers: int = 1024
    """Answers that the peer has not finished, those of running calls included."""
    questions: int = 1024
    """Calls of our own that were not answered, or whose answers are kept; more raise CallOverloaded."""
    exports: int = 1024
    """Capabilities of our own that the peer holds; what would be more is sent as null."""
    imports: int = 1024
    """Capabilities of the peer's that it has sent."""
    capabilities: int = 64
    """Entries in the table of capabilities of one message."""
    path: int = 16
    """Pointers on the way from an answer to a capability in it."""
    held: int = 16 << 20
    """Bytes of calls and answers that are kept for the peer; more calls are answered ``overloaded``."""

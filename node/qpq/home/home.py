"""What all connections of the client port share: tokens, inboxes, rates, and who waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qpq.home.limits import HomeLimits
from qpq.home.visit import Visit
from qpq.home.waiters import Waiters
from qpq.home.windows import Windows
from qpq.wire.rpc_limits import RpcLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import SecretIdentity
    from qpq.home.accounts import Accounts, Token
    from qpq.home.ports import Queues
    from qpq.rpc.binding import PausableStream

_FRAME_BYTES = 64 << 10
"""What a message takes beside its payload."""
_CAPABILITIES = 16
"""Clients hold one, and pass none."""


class Home:
    """One home server; ``visit`` takes each new connection. ``own`` signs delivery proofs.

    ``stamp`` returns Unix seconds, 0 without a trusted clock. ``observe`` is told how long calls of a kind took.
    """

    def __init__(
        self,
        own: SecretIdentity,
        accounts: Accounts,
        queues: Queues,
        stamp: Callable[[], int],
        limits: HomeLimits | None = None,
        *,
        observe: Callable[[str, float], None] = lambda _name, _seconds: None,
    ) -> None:
        self.own = own
        self.observe = observe
        self.accounts = accounts
        self.queues = queues
        self.stamp = stamp
        self.limits = limits or HomeLimits()
        self.waiters = Waiters()
        queues.arrived = self.waiters.wake
        self.enqueues = Windows(self.limits.enqueues)
        self.lookups = Windows(self.limits.lookups)
        self.waiting: dict[str, int] = {}
        """Calls that wait, by the number of their token."""
        self.counters = {
            f"home.{name}": 0
            for name in (
                "connections", "enqueued", "fetched", "acknowledged", "refused_token", "refused_rate", "refused_room",
            )
        }  # fmt: skip
        longest = max(self.limits.payload, self.limits.stranger) + _FRAME_BYTES
        self.rpc_limits = RpcLimits(message=longest, held=2 * longest, exports=_CAPABILITIES, imports=_CAPABILITIES)
        self._visits: set[Visit] = set()

    def visit(self, stream: PausableStream) -> Visit:
        """Return who handles a new connection."""
        visit = Visit(self, stream)
        self._visits.add(visit)
        self.count("connections")
        if self.waiters.is_over:
            asyncio.get_running_loop().call_soon(visit.session.close, "the node stops")
        return visit

    def gone(self, visit: Visit) -> None:
        """Forget a connection that has ended."""
        self._visits.discard(visit)

    def count(self, name: str, more: int = 1) -> None:
        """Count something that happened."""
        self.counters[f"home.{name}"] += more

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._visits)

    def revoked(self, token: Token) -> None:
        """Take note that a token is gone: calls that wait with it end."""
        self.enqueues.forget(token.number)
        self.lookups.forget(token.number)
        self.waiters.wake(token.identity)

    # the end

    async def stop(self, seconds: float) -> None:
        """Let calls that wait go, take no more, give those that run ``seconds``, and end all connections."""
        self.waiters.end()
        visits = list(self._visits)
        await asyncio.gather(*(visit.session.drain(seconds) for visit in visits))
        for visit in visits:
            visit.session.close("the node stops")

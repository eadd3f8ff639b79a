"""Two sessions joined in one event loop, without a network: for services in the same process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qpq.rpc.session import RpcSession

if TYPE_CHECKING:
    from qpq.rpc.service import Service
    from qpq.wire.rpc_limits import RpcLimits


class PipeStream:
    """A stream whose bytes come out of another session's, one turn of the loop later."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.other: RpcSession | None = None

    def write(self, data: bytes) -> None:
        """Hand bytes to the other session."""
        if self.other is not None:
            self._loop.call_soon(self.other.receive, data)

    def close(self, reason: str) -> None:
        """End the other session."""
        if self.other is not None:
            self._loop.call_soon(self.other.ended, reason)


def pipe(
    left: Service | None = None, right: Service | None = None, limits: RpcLimits | None = None
) -> tuple[RpcSession, RpcSession]:
    """Return two sessions that are each other's peer."""
    streams = PipeStream(), PipeStream()
    sessions = RpcSession(streams[0], left, limits), RpcSession(streams[1], right, limits)
    streams[0].other, streams[1].other = sessions[1], sessions[0]
    return sessions

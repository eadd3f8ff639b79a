"""Joins a stream of the link room to an RPC session, with back-pressure both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from qpq.rpc.session import RpcSession


class PausableStream(Protocol):
    """What is needed of ``link.streams.Stream``."""

    @property
    def is_full(self) -> bool:
        """Whether so much waits that more should wait too."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def pause(self) -> None:
        """Let the peer send no more, until ``resume``."""
        ...

    def resume(self) -> None:
        """Let the peer send again."""
        ...

    def close(self, reason: str) -> None:
        """End the connection."""
        ...


class RpcBinding:
    """What a session writes to, and what a stream's bytes go to; ``session`` is to be set before the first of them."""

    session: RpcSession

    def __init__(self, stream: PausableStream) -> None:
        self._stream = stream

    # for the session

    def write(self, data: bytes) -> None:
        """Send bytes; while the peer takes them slowly, nothing more is read from it."""
        self._stream.write(data)
        if self._stream.is_full:
            self._stream.pause()

    def close(self, reason: str) -> None:
        """End the connection."""
        self._stream.close(reason)

    # for the stream

    def received(self, data: bytes) -> None:
        """Take bytes."""
        self.session.receive(data)

    def room(self) -> None:
        """Read on."""
        self._stream.resume()

    def ended(self, reason: str) -> None:
        """Take note of the end."""
        self.session.ended(reason)

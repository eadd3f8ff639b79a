"""Bytes for the one stream of a connection, which the other end may have yet to open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qpq.link.aioquic_private import LinkConnection

_STREAM: Final = 0


class Outlet:
    """Hands bytes to the connection, and keeps them until there is a stream."""

    __slots__ = ("_bytes", "_parts", "_quic")

    def __init__(self, quic: LinkConnection) -> None:
        self._quic = quic
        self._parts: list[bytes] = []
        self._bytes = 0

    @property
    def backlog(self) -> int:
        """Bytes that wait for the peer's acknowledgement, sent or not."""
        return self._quic.backlog + self._bytes

    def put(self, data: bytes) -> None:
        """Queue bytes behind all others."""
        if self._quic.has_stream and not self._parts:
            self._quic.send_stream_data(_STREAM, data)
        else:
            self._parts.append(data)
            self._bytes += len(data)

    def flush(self) -> None:
        """Hand over what waited for the stream, if that is there."""
        if self._parts and self._quic.has_stream:
            self._quic.send_stream_data(_STREAM, b"".join(self._parts))
            self._parts.clear()
            self._bytes = 0

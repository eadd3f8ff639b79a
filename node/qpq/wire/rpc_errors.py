"""How a call can fail, and how a connection can."""

from __future__ import annotations

from typing import Final

from qpq.errors import QpqError


class RpcError(QpqError):
    """A call that failed; ``kind`` is the number of the exception's type in rpc.capnp, ``reason`` its text."""

    kind = 0

    @property
    def reason(self) -> str:
        """The text without the kind."""
        return str(self)


class CallFailed(RpcError):  # noqa: N818 (the names of the standard's types)
    """The other side could not do it; calling again would fail again."""


class CallOverloaded(RpcError):  # noqa: N818
    """The other side is short of something, for now: call again later, and less often."""

    kind = 1


class CallDisconnected(RpcError):  # noqa: N818
    """The connection, or one that the call needed, is gone: connect again."""

    kind = 2


class CallUnimplemented(RpcError):  # noqa: N818
    """The other side has no such method."""

    kind = 3


class CallTimeout(RpcError):  # noqa: N818
    """No answer came in time; the call was given up, and may have been done."""


class RpcProtocolError(QpqError):
    """The peer broke the protocol or a limit; the connection has to end."""


KINDS: Final = (CallFailed, CallOverloaded, CallDisconnected, CallUnimplemented)


def failure(kind: int, reason: str) -> RpcError:
    """Return the error for an exception's type; an unknown one counts as failed."""
    return (KINDS[kind] if kind < len(KINDS) else CallFailed)(reason)

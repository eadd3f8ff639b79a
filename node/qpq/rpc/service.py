"""An object that answers calls: an interface and a handler for each of its methods."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, TypeAlias

from qpq.errors import QpqError
from qpq.wire.capnp_messages import Fields, decode_params, encode_results
from qpq.wire.rpc_errors import CallFailed, CallOverloaded, CallUnimplemented, RpcError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from qpq.wire.capnp_messages import Values
    from qpq.wire.rpc_limits import RpcLimits
    from qpq.wire.rpc_services import Interface

    Handler: TypeAlias = Callable[[Fields], Awaitable[Values]]
    """Takes the parameters, returns the results; raises a QpqError whose text the caller may read.

    An RpcError keeps its kind, any other QpqError is ``failed``. It is cancelled when the caller gives up.
    """

HANDLE_S: Final = 30.0
"""Seconds that a handler may take: as long as a caller waits for its answer by default."""

_log = logging.getLogger(__name__)


class Service:
    """An interface with handlers by method name; what has none is answered ``unimplemented``.

    A handler that takes more than ``HANDLE_S`` seconds, or what ``deadlines`` has for its method, is cancelled, and the
    caller told to come later.
    """

    def __init__(
        self, interface: Interface, handlers: Mapping[str, Handler], deadlines: Mapping[str, float] | None = None
    ) -> None:
        self.interface = interface
        self._handlers = {interface.method(name).ordinal: (interface.method(name), handlers[name]) for name in handlers}
        self._deadlines = {interface.method(name).ordinal: seconds for name, seconds in (deadlines or {}).items()}

    async def perform(self, interface: int, ordinal: int, content: bytes, limits: RpcLimits) -> bytes:
        """Return the message of results for one of parameters; raises RpcError."""
        if interface != self.interface.number:
            raise CallUnimplemented(f"this is a {self.interface.name}, not {interface:#018x}")
        if ordinal not in self._handlers:
            names = self.interface.methods
            name = names[ordinal] if ordinal < len(names) else f"method {ordinal}"
            raise CallUnimplemented(f"{self.interface.name}.{name} is not offered here")
        method, handler = self._handlers[ordinal]
        deadline = asyncio.timeout(self._deadlines.get(ordinal, HANDLE_S))
        try:
            async with deadline:
                return encode_results(method, await handler(decode_params(method, content, limits)))
        except RpcError:
            raise
        except QpqError as error:
            raise CallFailed(str(error)) from error
        except Exception as error:
            if deadline.expired():
                raise CallOverloaded(f"{method.name} took too long here: try again later") from error
            _log.exception("%s failed", method)
            raise CallFailed("internal error") from error

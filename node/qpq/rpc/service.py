"""An object that answers calls: an interface and a handler for each of its methods."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeAlias

from qpq.errors import QpqError
from qpq.wire.capnp_messages import Fields, decode_params, encode_results
from qpq.wire.rpc_errors import CallFailed, CallUnimplemented, RpcError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from qpq.wire.capnp_messages import Values
    from qpq.wire.rpc_limits import RpcLimits
    from qpq.wire.rpc_services import Interface

    Handler: TypeAlias = Callable[[Fields], Awaitable[Values]]
    """Takes the parameters, returns the results; raises a QpqError whose text the caller may read.

    An RpcError keeps its kind, any other QpqError is ``failed``. It is cancelled when the caller gives up.
    """

_log = logging.getLogger(__name__)


class Service:
    """An interface with handlers by method name; what has none is answered ``unimplemented``."""

    def __init__(self, interface: Interface, handlers: Mapping[str, Handler]) -> None:
        self.interface = interface
        self._handlers = {interface.method(name).ordinal: (interface.method(name), handlers[name]) for name in handlers}

    async def perform(self, interface: int, ordinal: int, content: bytes, limits: RpcLimits) -> bytes:
        """Return the message of results for one of parameters; raises RpcError."""
        if interface != self.interface.number:
            raise CallUnimplemented(f"this is a {self.interface.name}, not {interface:#018x}")
        if ordinal not in self._handlers:
            names = self.interface.methods
            name = names[ordinal] if ordinal < len(names) else f"method {ordinal}"
            raise CallUnimplemented(f"{self.interface.name}.{name} is not offered here")
        method, handler = self._handlers[ordinal]
        try:
            return encode_results(method, await handler(decode_params(method, content, limits)))
        except RpcError:
            raise
        except QpqError as error:
            raise CallFailed(str(error)) from error
        except Exception as error:
            _log.exception("%s failed", method)
            raise CallFailed("internal error") from error

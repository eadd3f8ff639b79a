"""Cap'n Proto for ``qpq selftest``: parameters as known bytes, then a call from one session to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.daemon.lean import asyncio
from qpq.rpc.pipe import pipe
from qpq.rpc.service import Service
from qpq.wire.capnp_messages import decode_params, encode_params
from qpq.wire.rpc_services import FEDERATION_SERVICE

if TYPE_CHECKING:
    from qpq.wire.capnp_messages import Fields, Values

DEADLINE = 30.0
_METHOD = FEDERATION_SERVICE.method("relayEnqueue")
_ORIGIN = "münchen.example"
_VALUES: Values = {
    "recipientKey": b"key",
    "payload": b"12345678",
    "version": 1,
    "auth": {"origin": _ORIGIN},
    "ttlSecs": 600,
    "hops": 2,
}
_BYTES = (
    "000000000e00000000000000010006000100020058020000150000001a000000150000004200000000000000000000001000000000000100"
    "000000000000000000000000000000006b657900000000003132333435363738010000008a0000006dc3bc6e6368656e2e6578616d706c65"
    "0000000000000000"
)
"""The same as pycapnp writes it; on a PC it is what is asked here."""


def agrees() -> bool:
    """Whether the bytes are right both ways, and a call comes back."""
    data = bytes.fromhex(_BYTES)
    read = decode_params(_METHOD, data)
    return (
        encode_params(_METHOD, _VALUES) == data
        and (read.uint("ttlSecs"), read.struct("auth").text("origin")) == (600, _ORIGIN)
        and asyncio.run(_call()) == len(_ORIGIN)
    )


async def _call() -> int:
    async def enqueue(params: Fields) -> Values:
        return {"seq": len(params.struct("auth").text("origin"))}

    caller, callee = pipe(None, Service(FEDERATION_SERVICE, {_METHOD.name: enqueue}))
    results = await caller.call(_METHOD, _VALUES, timeout=DEADLINE)
    caller.close()
    await callee.wait_closed()
    return results.uint("seq")

"""The SDK: an asyncio client of a node's client port, for bots and apps (docs/sdk.md).

::

    async with Client("[2001:db8::1]:7000", node=NODE_ID, token=TOKEN, key=KEY_ID) as client:
        receipt = await client.enqueue(recipient, b"hello")
        async for message in client.messages():
            print(message.data)
"""

from qpq.sdk.client import Client, Message, Receipt
from qpq.sdk.errors import ConnectError, ProofError
from qpq.wire.rpc_errors import (
    CallDisconnected,
    CallFailed,
    CallOverloaded,
    CallTimeout,
    CallUnimplemented,
    RpcError,
)

__all__ = [
    "CallDisconnected",
    "CallFailed",
    "CallOverloaded",
    "CallTimeout",
    "CallUnimplemented",
    "Client",
    "ConnectError",
    "Message",
    "ProofError",
    "Receipt",
    "RpcError",
]

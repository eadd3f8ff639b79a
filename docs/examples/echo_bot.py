#!/usr/bin/env python3
"""A bot that answers every message: the example of docs/sdk.md.

A message here is the sender's key (32 bytes) and a text. That is the bots' own agreement: the node looks into no
message, and adds nothing to it. People's messages should be sealed by their programs.

usage: QPQ_NODE_ADDRESS=host:port QPQ_NODE=id QPQ_KEY=id QPQ_TOKEN=qpq-... echo_bot.py
"""

from __future__ import annotations

import asyncio
import logging
import os

from qpq.sdk import Client, RpcError

KEY_BYTES = 32
LOG = logging.getLogger("echo_bot")


async def main() -> None:
    """Answer for ever."""
    async with Client(
        os.environ["QPQ_NODE_ADDRESS"],
        node=os.environ["QPQ_NODE"],
        key=os.environ["QPQ_KEY"],
        token=os.environ["QPQ_TOKEN"],
    ) as client:
        async for message in client.messages():
            sender, text = message.data[:KEY_BYTES], message.data[KEY_BYTES:]
            if len(sender) < KEY_BYTES:
                continue
            try:
                await client.enqueue(sender, client.key + b"you said: " + text)
            except RpcError as error:  # nobody has that key here, or the inbox is full
                LOG.warning("not answered: %s", error)


if __name__ == "__main__":
    asyncio.run(main())

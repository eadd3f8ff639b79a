"""Cap'n Proto RPC for asyncio: services and calls on a stream of bytes."""

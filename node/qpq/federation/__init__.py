"""Relays between domains: who is trusted, what waits for whom, and the six methods over Cap'n Proto RPC."""

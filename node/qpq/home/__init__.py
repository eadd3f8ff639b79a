"""The client port: inboxes, names and endpoints for people's own devices, over Cap'n Proto RPC (NodeService)."""

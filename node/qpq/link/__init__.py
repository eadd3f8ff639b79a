"""Links between nodes: QUIC with mutually pinned Ed25519 keys, frames in and core events out."""

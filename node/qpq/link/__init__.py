"""Links between nodes: QUIC with mutually pinned Ed25519 keys, frames in and core events out."""

from qpq.link import imports as _imports  # noqa: F401 (before any module of the room imports aioquic)

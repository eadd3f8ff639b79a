"""The core: what a node does with links, frames and messages, without I/O, clock or randomness of its own."""

"""Links between nodes: QUIC with mutually pinned Ed25519 keys, frames in and core events out.

The modules that import aioquic import ``qpq.link.imports`` first, which loads it without what links never use. Nobody
else imports them before there is something to do for a link: see ``Endpoint``.
"""

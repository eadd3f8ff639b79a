"""Loads aioquic the way a node does (qpq.link.imports), before a test imports it on its own."""

import qpq.link as _  # noqa: F401

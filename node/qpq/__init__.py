"""qpq: a mesh-messaging node for routers."""

__version__ = "0.1.0"

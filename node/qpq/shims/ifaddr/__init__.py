"""The interfaces that zeroconf asks for, as the discovery knows them."""

from __future__ import annotations

from qpq.discovery.adapters import IP, Adapter, get_adapters

__all__ = ["IP", "Adapter", "get_adapters"]

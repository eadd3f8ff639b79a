"""What can go wrong while packing that its user can mend."""

from __future__ import annotations


class PackError(Exception):
    """No package can be made; the message says why and what to do."""

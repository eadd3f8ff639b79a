"""Only the names aioquic mentions: it checks no chains here, links pin their peer's key."""

from . import crypto

__all__ = ["crypto"]

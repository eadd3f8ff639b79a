"""Imports asyncio without OpenSSL's ``ssl``, which takes 1.5 MB and belongs to TLS over TCP: nothing here speaks that.

asyncio is made for Pythons that lack the module. It is only absent while asyncio is imported, and not at
all where somebody had it before.
"""

from __future__ import annotations

import sys

_ABSENT = "ssl" not in sys.modules
if _ABSENT:
    sys.modules["ssl"] = None  # type: ignore[assignment]  # so that importing it raises ImportError
try:
    import asyncio
finally:
    if _ABSENT:
        del sys.modules["ssl"]

__all__ = ["asyncio"]

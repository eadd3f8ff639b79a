"""ChaCha20-Poly1305, and AES-GCM with keys of 128 bits; both keep their key in C and wipe it."""

from __future__ import annotations

from _qpq_native import AESGCM, ChaCha20Poly1305

__all__ = ["AESGCM", "ChaCha20Poly1305"]

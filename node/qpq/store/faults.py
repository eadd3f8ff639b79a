"""What can be wrong with the message store, each fault a class."""

from __future__ import annotations

from qpq.errors import QpqError


class StoreError(QpqError):
    """The message store cannot do what was asked; the message says what to do about it."""


class StoreFullError(StoreError):
    """There is no room: the store's own limit or the disk is full; nothing was changed. Delete messages."""


class StoreDamagedError(StoreError):
    """The file is no message store or is damaged; it was left as it is. ``set_aside`` makes room for a new one."""


class StoreSealedError(StoreError):
    """The store is sealed under another key than this node has; it was left as it is."""


class StoreTooNewError(StoreError):
    """A newer version of this program wrote the file; run that one, or use another data directory."""


class StoreBusyError(StoreError):
    """Another process has the store open; stop it first."""

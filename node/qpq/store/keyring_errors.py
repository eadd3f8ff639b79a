"""What the keyring refuses, each fault a class; the message says what to do."""

from __future__ import annotations

from qpq.errors import QpqError


class KeyringError(QpqError):
    """A request that the keyring refuses; the message says what to do."""


class KeyringMissingError(KeyringError):
    """There is no identity.json yet: ``create`` makes one."""


class KeyringDamagedError(KeyringError):
    """The file is there and cannot be used; it was left as it is."""


class KeyringWriteError(KeyringError):
    """The file could not be written, or is not the one that was read; nothing was changed."""


class LimitReachedError(KeyringError):
    """A list is full: remove something from it first."""


class NoSuchUserError(KeyringError):
    """No user of this node has that name."""


class UnknownPeerError(KeyringError):
    """A text that names nobody."""


class AmbiguousPeerError(KeyringError):
    """The beginning of more than one id: type more of it."""


class NoSuchChannelError(KeyringError):
    """A user reads no channel of that topic."""

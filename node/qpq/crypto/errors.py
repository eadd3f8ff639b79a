"""The faults of this room, each a class."""

from qpq.errors import QpqError


class CryptoError(QpqError):
    """A key, length or parameter that cannot be used; the message names it."""


class AuthenticationError(CryptoError):
    """A ciphertext was altered, or was made for somebody else: drop it."""


class KeyGoneError(CryptoError):
    """A message whose key was used before, or is no longer kept: only its sender can send it anew."""


class IdentityError(CryptoError):
    """A text or key that is no identity; copy the id again, whole."""


class UnknownFormatError(CryptoError):
    """A sealed message or export of a format this version does not know; a newer qpq reads it."""


class PassphraseError(CryptoError):
    """A passphrase that is too short, too long or not text; choose another."""


class ChannelError(CryptoError):
    """A channel that cannot be, or a share text that is cut or altered; copy it again, whole."""


class ExportError(CryptoError):
    """An export text that is cut, altered or asks for too much; copy it again, whole."""


class SafetyError(CryptoError):
    """A text that is neither a safety number nor a scanned one; type or scan it again, whole."""

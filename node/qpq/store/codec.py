"""How the store's secrets stand in their columns: as they are, or sealed under a key of the vault.

Sealed are the texts of messages, what waits for clients, and the states of sessions and prekeys; every value with a
fresh random nonce, bound to its column and row, so that one cannot be put in another's place.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol

from qpq.crypto.errors import AuthenticationError
from qpq.crypto.primitives import HASH_BYTES, NONCE_BYTES, TAG_BYTES, aead_open, aead_seal, hkdf, kept, taken
from qpq.store.faults import StoreDamagedError

if TYPE_CHECKING:
    from collections.abc import Callable

OVERHEAD: Final = NONCE_BYTES + TAG_BYTES
"""Bytes that a sealed value has more."""

SEALED_HEAD: Final = b'{"format": 100, "sealed": "'
"""What identity.json begins with when it is sealed (``store.sealed_file``)."""
CODEC_NUMBER: Final = "vault"
"""The node's own number, in the store, that says which codec its columns stand under."""

OUTBOX_TEXT: Final = "outbox.text"
INBOX_TEXT: Final = "inbox.text"
SESSION_DATA: Final = "session.data"
PREKEY_DATA: Final = "prekey.data"
BUNDLE_DATA: Final = "bundle.data"
HOME_DATA: Final = "home_message.data"
LOG: Final = "log"

_NUMBER_BYTES = 8


class Codec(Protocol):
    """What the tables' writers and readers put secret columns through.

    ``place`` is the column, ``row`` the fields that name the row, the user first.
    """

    number: int
    """Which key it is, to be kept in the file: 0 for none."""

    def text(self, place: str, row: tuple[bytes, ...], text: str) -> str | bytes:
        """Return what is stored for a text."""
        ...

    def read_text(self, place: str, row: tuple[bytes, ...], stored: str | bytes) -> str:
        """Return the text again; raises StoreDamagedError."""
        ...

    def data(self, place: str, row: tuple[bytes, ...], data: bytes) -> bytes:
        """Return what is stored for secret bytes."""
        ...

    def read_data(self, place: str, row: tuple[bytes, ...], stored: bytes) -> bytes:
        """Return the bytes again; raises StoreDamagedError."""
        ...


class Plain:
    """Everything as it is: the file's mode is all that protects it."""

    number = 0

    def text(self, place: str, row: tuple[bytes, ...], text: str) -> str:  # noqa: ARG002 (the Codec's signature)
        """Return the text."""
        return text

    def read_text(self, place: str, row: tuple[bytes, ...], stored: str | bytes) -> str:  # noqa: ARG002 (likewise)
        """Return the text; raises StoreDamagedError for a sealed one."""
        if not isinstance(stored, str):
            raise StoreDamagedError(f"{place} holds what is no text")
        return stored

    def data(self, place: str, row: tuple[bytes, ...], data: bytes) -> bytes:  # noqa: ARG002 (likewise)
        """Return the bytes."""
        return data

    def read_data(self, place: str, row: tuple[bytes, ...], stored: bytes) -> bytes:  # noqa: ARG002 (likewise)
        """Return the bytes."""
        return stored


class Sealed:
    """Everything under ``key`` (32 bytes): ``nonce 12 || ciphertext || tag 16``, ChaCha20-Poly1305."""

    def __init__(self, key: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        self.key = kept(key)
        self._random = random
        check = hkdf(key, salt=bytes(HASH_BYTES), info=b"qpq/1/at-rest/check", length=_NUMBER_BYTES)
        self.number = (int.from_bytes(check, "big") >> 1) or 1

    def text(self, place: str, row: tuple[bytes, ...], text: str) -> bytes:
        """Return the sealed text."""
        return self.data(place, row, text.encode())

    def read_text(self, place: str, row: tuple[bytes, ...], stored: str | bytes) -> str:
        """Open a text; raises StoreDamagedError."""
        if isinstance(stored, str):
            raise StoreDamagedError(f"{place} holds a text that is not sealed, in a sealed store")
        try:
            return self.read_data(place, row, stored).decode()
        except UnicodeDecodeError:
            raise StoreDamagedError(f"{place} holds what is no text") from None

    def data(self, place: str, row: tuple[bytes, ...], data: bytes) -> bytes:
        """Return the sealed bytes."""
        nonce = self._random(NONCE_BYTES)
        return nonce + aead_seal(self.key, nonce, data, _bound(place, row))

    def read_data(self, place: str, row: tuple[bytes, ...], stored: bytes) -> bytes:
        """Open bytes; raises StoreDamagedError."""
        try:
            nonce = stored[:NONCE_BYTES].ljust(NONCE_BYTES, b"\0")
            return taken(aead_open(self.key, nonce, stored[NONCE_BYTES:], _bound(place, row)))
        except AuthenticationError as fault:
            raise StoreDamagedError(f"{place} cannot be opened: {fault}") from None


PLAIN: Final = Plain()


def _bound(place: str, row: tuple[bytes, ...]) -> bytes:
    """Return what a value is authenticated with: its column and its row, each field with its length."""
    return b"".join([place.encode(), b"\0", *[b"%c%b" % (len(field), field) for field in row]])

"""The access tokens of clients on disk: clients.json in the data directory, mode 0600, replaced whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qpq.errors import QpqError
from qpq.home.accounts import MAX_BYTES, AccountError, Accounts
from qpq.store.keyring_file import read_private, replace_private
from qpq.store.wiping import CLIENTS

if TYPE_CHECKING:
    from qpq.crypto.identity import Identity
    from qpq.home.accounts import Token


class AccountFileError(QpqError):
    """The file cannot be read or written; the message names it."""


class AccountFile:
    """The file of one node and what it holds."""

    def __init__(self, data_dir: str) -> None:
        """Read the file, if there is one; raises AccountFileError."""
        self._path = os.path.join(data_dir, CLIENTS)
        self.accounts = Accounts()
        try:
            self.accounts = Accounts.decode(read_private(self._path, MAX_BYTES).content)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, AccountError) as error:
            raise AccountFileError(
                f"{self._path}: {error}; put a good one back, or move it away and make new tokens"
            ) from None

    def add(self, name: str, key: Identity, made: int) -> tuple[Token, str]:
        """Make a token and return it with its text; raises AccountError, AccountFileError, and then there is none."""
        changed = Accounts(self.accounts.tokens)
        token, text = changed.add(name, key, made, os.urandom)
        self._write(changed)
        return token, text

    def revoke(self, number: str) -> Token:
        """Take a token away; raises AccountError, AccountFileError, and then it is still there."""
        changed = Accounts(self.accounts.tokens)
        token = changed.revoke(number)
        self._write(changed)
        return token

    def _write(self, changed: Accounts) -> None:
        try:
            replace_private(self._path, changed.encode())
        except OSError as error:
            raise AccountFileError(f"{self._path}: {error.strerror}: nothing was changed") from None
        self.accounts.replace(changed.tokens)

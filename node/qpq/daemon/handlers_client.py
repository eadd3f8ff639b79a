"""The commands about clients: their access tokens, made, listed and taken away by an admin."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qpq.crypto.errors import IdentityError
from qpq.crypto.identity import Identity, parse_id, text_id
from qpq.daemon.client_accounts import AccountFile
from qpq.daemon.commands import FailedError, UsageError

if TYPE_CHECKING:
    from qpq.daemon.commands import Args
    from qpq.daemon.node import Node
    from qpq.home.accounts import Token


class ClientHandlers:
    """Part of ``daemon.handlers.Handlers``, loaded with the first of its commands."""

    def __init__(self, node: Node) -> None:
        """Read the tokens, where the client port has not; raises AccountFileError."""
        self._node = node
        self._file = node.client_port.file if node.client_port is not None else AccountFile(node.config.data_dir)

    def add(self, args: Args) -> object:
        """Make a token; its text is in this answer and nowhere else."""
        name = args.text("name")
        token, text = self._file.add(name, self._key(name, args.text("key")), int(time.time()))
        return {**_document(token), "token": text, "serving": self._node.client_port is not None}

    def list(self) -> object:
        """Show all tokens, without what is secret."""
        return {"tokens": [_document(token) for token in self._file.accounts.tokens]}

    def revoke(self, args: Args) -> object:
        """Take a token away, from the next call on and from those that wait."""
        token = self._file.revoke(args.text("id"))
        if self._node.client_port is not None:
            self._node.client_port.home.revoked(token)
        return _document(token)

    def _key(self, name: str, given: str) -> Identity:
        """Return the key that an account is for: as given, as it was, or that of the user of this node."""
        if given:
            try:
                return Identity(parse_id(given))
            except IdentityError as error:
                raise UsageError(f"client.token.add: key: {error}") from None
        known = self._file.accounts.key(name)
        if known is not None:
            return known
        user = next((user for user in self._node.keyring.users if user.name == name), None)
        if user is None:
            raise FailedError(f"{name} is no user of this node: give the id of the key that this account is for")
        return user.secret.identity


def _document(token: Token) -> dict[str, object]:
    return {"id": token.number, "name": token.name, "key": text_id(token.identity), "made": token.made}

"""The commands about the directory: names by which other domains find users of this mesh, kept by an admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.crypto.errors import IdentityError
from qpq.crypto.identity import Identity, parse_id, text_id
from qpq.daemon.commands import FailedError, UsageError
from qpq.daemon.directory import Directory

if TYPE_CHECKING:
    from qpq.daemon.commands import Args
    from qpq.daemon.node import Node


class NameHandlers:
    """Part of ``daemon.handlers.Handlers``, loaded with the first of its commands."""

    def __init__(self, node: Node) -> None:
        """Read the names, where the federation has not; raises DirectoryError."""
        self._node = node
        self._directory = node.federation.directory if node.federation is not None else Directory(node.config.data_dir)

    def add(self, args: Args) -> object:
        """Let a name mean a key."""
        name = args.text("name")
        try:
            key = Identity(parse_id(args.text("key")))
        except IdentityError as error:
            raise UsageError(f"federation.name.add: key: {error}") from None
        user = next((user for user in self._node.keyring.users if user.name == name), None)
        if user is not None and user.secret.identity != key:
            raise FailedError(f"{name} is a user of this node, and is found by that name already")
        self._directory.add(name, key)
        return self._document(name, key)

    def list(self) -> object:
        """Show all names."""
        names = [{"name": name, "key": text_id(key)} for name, key in self._directory.names.items()]
        return {"domain": self._domain(), "names": names}

    def remove(self, args: Args) -> object:
        """Forget a name."""
        name = args.text("name")
        return self._document(name, self._directory.remove(name))

    def _document(self, name: str, key: Identity) -> dict[str, object]:
        return {"name": name, "key": text_id(key), "domain": self._domain()}

    def _domain(self) -> str | None:
        return self._node.federation.settings.domain if self._node.federation is not None else None

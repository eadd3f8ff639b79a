"""For whom a command acts, and how that user calls others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.crypto.identity import Address, text_id
from qpq.daemon.commands import FailedError
from qpq.store import trust

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qpq.crypto.identity import Identity
    from qpq.daemon.commands import Caller
    from qpq.daemon.node import Node
    from qpq.store.keyring_data import User


class Acting:
    """What all commands of a node need."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def _user(self, caller: Caller) -> User:
        keyring = self._node.keyring
        return keyring.users[0] if caller.user is None else keyring.user(caller.user)

    def _resolve(self, user: User, text: str) -> Address:
        """Return whom ``text`` means to ``user``."""
        return self._node.keyring.resolve(user.name, text, self._known(user))

    def _known(self, user: User) -> Iterator[bytes]:
        """Go through the ids whose beginnings are enough: peers that proved their key, their users, correspondents.

        A generator, because it costs more than a message and a petname or a whole id needs none of it.
        """
        node = self._node
        yield from node.core.addresses_known()
        yield from [row.identity for row in node.core.peers(node.now()) if row.identity is not None and row.proven]
        yield from node.store.correspondents(user.address)

    def _petname(self, user: User | None, key: Address | Identity) -> str:
        """Return what ``user`` calls somebody; empty: nothing.

        A user of this node goes by the own name, unless ``user`` calls somebody else so.
        """
        if user is None:
            return ""
        address = Address(key)
        own = next((local.name for local in self._node.keyring.users if local.address == address), "")
        if own and trust.holder(user, own) not in {None, address}:
            own = ""
        return user.petnames.get(address, own)

    def _called(self, user: User, key: Address, domain: str) -> str:
        """Return the petname, or for somebody of another domain the name under which the user found that key there."""
        return self._petname(user, key) or (user.outside.get(key, "").rpartition("@")[0] if domain else "")

    def _trust(self, user: User | None, key: Address | Identity) -> str | None:
        """Return what ``user`` knows of somebody, as a word; None: nobody asks, or one of the own ids is meant."""
        if user is None or key == user.address:
            return None
        return trust.trust_of(user, Address(key)).value

    def _recipient(self, user: User, text: str) -> Address:
        """Return to whom ``text`` sends; raises FailedError for a petname that another id claims.

        Who types an id says which one is meant.
        """
        address = self._resolve(user, text)
        new = user.changed.get(address)
        if new is not None and trust.holder(user, text) == address:
            name = user.petnames[address]
            raise FailedError(
                f"THE KEY OF {name} HAS CHANGED: it was {text_id(address)}, {text_id(new)} claims the name now. Nothing"
                f" was sent. Compare numbers with: verify {name}; accept the new key with: verify {name} --accept"
            )
        return address

    def _users(self, users: Iterable[User]) -> list[dict[str, str]]:
        return [{"name": user.name, "id": text_id(user.address)} for user in users]

    def _topic(self, user: User, channel: bytes) -> str:
        """Return the topic of a user's channel; empty: of none that the user reads."""
        return next((known.topic for known in user.channels if known.id == channel), "") if channel else ""

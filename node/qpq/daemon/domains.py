"""Other domains as the rest of the node sees them: where a message goes, names looked up, the gateway's own user."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from qpq.crypto.identity import ID_CHARACTERS, Address, SecretIdentity, looks_like_prefix, parse_id
from qpq.crypto.primitives import secret_hash
from qpq.daemon.commands import FailedError
from qpq.mesh import effects, events

if TYPE_CHECKING:
    from qpq.daemon.node import Node
    from qpq.store.keyring_data import User

TOKEN_BYTES: Final = 16
_TAG = b"qpq/1/gateway"


def gateway_secret(node: SecretIdentity) -> SecretIdentity:
    """Return the key of the reserved user as which a node is a gateway: made from the node's own, kept nowhere."""
    return SecretIdentity(secret_hash(_TAG, node.seed))


class Domains:
    """Names that are looked up wait here for their answers."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._asked: dict[bytes, asyncio.Future[effects.LookupDone]] = {}

    def open(self, domain: str) -> None:
        """Be a gateway of the mesh of ``domain`` from now on."""
        self._node.shell.put(events.UserAdded(gateway_secret(self._node.keyring.node).seed, gateway=domain))

    def found(self, effect: effects.Effect) -> bool:
        """Hand an answer to the command that waits for it; False: it is something else."""
        if not isinstance(effect, effects.LookupDone):
            return False
        waiting = self._asked.get(effect.token)
        if waiting is not None and not waiting.done():
            waiting.set_result(effect)
        return True

    async def resolve_destination(self, user: User, text: str) -> tuple[Address, str]:
        """Return whom ``<user>@<domain>`` or ``<id>@<domain>`` means, and the domain (empty: this mesh).

        A name is looked up once; from then on it means the key that was answered. Raises FieldError, IdentityError,
        FailedError for a name that nobody knows.
        """
        from qpq.store import contacts  # noqa: PLC0415 (most messages stay in the mesh)
        from qpq.wire.domain import check_domain, check_user  # noqa: PLC0415

        name, _, domain = text.rpartition("@")
        domain = domain.lower()
        check_domain(domain)
        if len(name) == ID_CHARACTERS and looks_like_prefix(name):
            address = Address(parse_id(name))
            self._note(user, address, domain)
            return address, domain
        check_user(name)
        known = contacts.called(user, f"{name}@{domain}")
        if known is not None:
            return known, domain
        found = await self._look_up(user, name, domain)
        if not found.address:
            raise FailedError(f"{name}@{domain}: {found.reason}")
        address = Address(found.address)
        if found.domain:
            self._note(user, address, f"{name}@{domain}")
        return address, found.domain

    def domain_of(self, user: User, address: Address) -> str:
        """Return the domain through which somebody is reached who is not known to be in this mesh; empty: this one."""
        if self._node.core.where(address) is not None:
            return ""
        known = user.outside.get(address, "").rpartition("@")[2]
        return known or self._node.store.domain_of(user.address, address)

    def _note(self, user: User, address: Address, contact: str) -> None:
        from qpq.store import contacts  # noqa: PLC0415

        if user.outside.get(address) != contact:
            self._node.keyring.update_user(user.name, lambda user: contacts.noted(user, address, contact))

    async def _look_up(self, user: User, name: str, domain: str) -> effects.LookupDone:
        token = os.urandom(TOKEN_BYTES)
        self._asked[token] = asyncio.get_running_loop().create_future()
        try:
            self._node.shell.put(events.Lookup(user.address, token, name, domain))
            return await self._asked[token]
        finally:
            del self._asked[token]

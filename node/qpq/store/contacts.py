"""People of other domains to whom a user has written: ``anna@berlin.example``, or the domain alone for a bare id."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qpq.store.keyring_data import MAX_OUTSIDE
from qpq.wire.domain import check_domain, check_user

if TYPE_CHECKING:
    from qpq.crypto.identity import Address
    from qpq.store.keyring_data import User


def check_contact(contact: str) -> None:
    """Raise FieldError unless it is a domain, or a name, ``@`` and a domain."""
    name, at, domain = contact.rpartition("@")
    check_domain(domain)
    if at:
        check_user(name)


def noted(user: User, address: Address, contact: str) -> User:
    """Return the user with ``contact`` for ``address``; of too many the one noted first is forgotten.

    A name that is known is not lost for the same domain alone.
    """
    before = user.outside.get(address, "")
    if "@" not in contact and before.rpartition("@")[2] == contact:
        return user
    others = [(other, kept) for other, kept in user.outside.items() if other != address]
    return replace(user, outside=dict([*others, (address, contact)][-MAX_OUTSIDE:]))


def called(user: User, contact: str) -> Address | None:
    """Return who was found under ``name@domain`` before."""
    return next((address for address, kept in user.outside.items() if kept == contact), None)

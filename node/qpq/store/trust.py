"""How far a user trusts an id, and what changes it: pure functions from a user to a user.

A petname belongs to one id. Where another id is given the same petname (by hand, by a user who is added or brought in
under it), the petname does not move: the claim is noted in ``User.changed``, and nothing is sent to that petname until
the user has accepted the new id or dismissed it.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from qpq.crypto.identity import text_id
from qpq.store.keyring_data import MAX_CHANGED, MAX_PETNAMES, MAX_VERIFIED, NameRefusedError, check_petname
from qpq.store.keyring_errors import KeyringError, LimitReachedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpq.crypto.identity import Address
    from qpq.store.keyring_data import User


class Trust(Enum):
    """What a user knows of an id; the console prints the value."""

    NEW = "new"
    KNOWN = "known"
    VERIFIED = "verified"
    CHANGED = "changed"


def trust_of(user: User, address: Address) -> Trust:
    """Return the state of an id: both sides of a claim that is open are ``changed``."""
    if address in user.changed or address in user.changed.values():
        return Trust.CHANGED
    if address in user.verified:
        return Trust.VERIFIED
    return Trust.KNOWN if address in user.petnames else Trust.NEW


def holder(user: User, petname: str) -> Address | None:
    """Return the id that has a petname, in whatever case it is written."""
    folded = petname.casefold()
    return next((address for address, name in user.petnames.items() if name.casefold() == folded), None)


def named(user: User, address: Address, petname: str, locals_: Iterable[User]) -> User:
    """Call ``address`` by ``petname``, or note the claim where the petname is another id's; empty: no name any more.

    ``locals_`` are the node's users, whose names are no petnames. Raises NameRefusedError, LimitReachedError.
    """
    before = holder(user, petname) if petname else None
    if before is not None and before != address:
        return claimed(user, before, address)
    petnames = {known: name for known, name in user.petnames.items() if known != address}
    if petname:
        check_petname(petname)
        if any(local.name == petname.casefold() for local in locals_):
            raise NameRefusedError(f"{petname.casefold()} is a user of this node: choose another name")
        if len(petnames) >= MAX_PETNAMES:
            raise LimitReachedError(f"{MAX_PETNAMES} petnames is all that are kept: remove one first")
        petnames[address] = petname
    same = before == address
    changed = {old: new for old, new in user.changed.items() if same or old != address}
    return replace(user, petnames=petnames, changed=changed)


def claimed(user: User, old: Address, new: Address) -> User:
    """Note that ``new`` goes by the petname of ``old``; raises LimitReachedError."""
    changed = {**user.changed, old: new}
    if len(changed) > MAX_CHANGED:
        raise LimitReachedError(f"{MAX_CHANGED} changed keys wait for {user.name}: accept or undo one first (verify)")
    return replace(user, changed=changed)


def met(user: User, locals_: Iterable[User]) -> User:
    """Note the claims of the node's users whose names are this user's petnames for somebody else."""
    for local in locals_:
        before = holder(user, local.name)
        if before is not None and local.address not in (before, user.address):
            user = claimed(user, before, local.address)
    return user


def accepted(user: User, old: Address) -> User:
    """Give the petname of ``old`` to the id that claims it; ``old`` has no name and no mark any more."""
    new = user.changed.get(old)
    if new is None:
        raise KeyringError(f"nothing else claims to be {_called(user, old)}: there is nothing to accept")
    petnames = {known: name for known, name in user.petnames.items() if known not in (old, new)}
    petnames[new] = user.petnames[old]
    changed = {known: claim for known, claim in user.changed.items() if known not in (old, new)}
    return replace(user, petnames=petnames, changed=changed, verified=user.verified - {old})


def dismissed(user: User, old: Address) -> User:
    """Forget that another id claims the petname of ``old``."""
    return replace(user, changed={known: claim for known, claim in user.changed.items() if known != old})


def verified(user: User, address: Address) -> User:
    """Note that the user has checked the key of ``address``; raises LimitReachedError."""
    marked = user.verified | {address}
    if len(marked) > MAX_VERIFIED:
        raise LimitReachedError(f"{MAX_VERIFIED} verified keys is all that are kept: take one back with --undo first")
    return replace(user, verified=marked)


def undone(user: User, address: Address) -> User:
    """Dismiss what claims the petname of ``address``, else take the mark of a verified key back."""
    if address in user.changed:
        return dismissed(user, address)
    if address not in user.verified:
        raise KeyringError(f"{_called(user, address)} is not verified: there is nothing to undo")
    return replace(user, verified=user.verified - {address})


def _called(user: User, address: Address) -> str:
    return user.petnames.get(address, text_id(address))

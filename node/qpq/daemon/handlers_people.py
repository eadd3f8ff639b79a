"""The commands about people: how a user calls and trusts others, safety numbers, privacy, the node's users."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qpq.crypto.identity import Address, text_id
from qpq.crypto.safety import groups, matches, safety_number, scan_text
from qpq.daemon import memory
from qpq.daemon.acting import Acting
from qpq.daemon.commands import FailedError, UsageError
from qpq.mesh import counters, events
from qpq.store import trust
from qpq.store.keyring import open_user
from qpq.store.trust import trust_of
from qpq.threads import beside
from qpq.wire.body import PADDING_STEP

if TYPE_CHECKING:
    from qpq.daemon.commands import Args, Caller
    from qpq.daemon.control import Handlers as Table
    from qpq.store.keyring_data import User

_DIFFERENT = (
    "THE NUMBERS DIFFER: this is not the key of the person who showed them to you. Check that both of you looked at"
    " each other's number and that it was copied right; if it was, somebody may stand between you: send nothing secret"
)


class PeopleHandlers(Acting):
    """Part of ``daemon.handlers.Handlers``."""

    def table(self) -> Table:
        """Return command names and what carries them out."""
        return {
            "verify": self._verify,
            "privacy": self._privacy,
            "mesh.block": lambda caller, args: self._mark("block", caller, args),
            "mesh.unblock": lambda caller, args: self._mark("unblock", caller, args),
            "mesh.mute": lambda caller, args: self._mark("mute", caller, args),
            "mesh.unmute": lambda caller, args: self._mark("unmute", caller, args),
            "mesh.identity": self._identity,
            "mesh.name": self._name,
            "mesh.user.add": self._user_add,
            "mesh.user.remove": self._user_remove,
            "mesh.user.list": lambda _caller, _args: {"users": self._users(self._node.keyring.users)},
            "mesh.user.export": self._user_export,
            "mesh.user.import": self._user_import,
        }

    # --- trust -----------------------------------------------------------------------------------

    async def _verify(self, caller: Caller, args: Args) -> object:
        """Show the safety number with somebody, compare it, accept a changed key, or take a mark back."""
        user = self._user(caller)
        given, accept, undo = args.text("number"), args.flag("accept"), args.flag("undo")
        if bool(given) + accept + undo > 1:
            raise UsageError("verify: give a number to compare, or accept, or undo; one of them")
        address = self._resolve(user, args.text("peer"))
        if address == user.address:
            raise FailedError("that is you: verify the other person")
        old = self._claimed_by(user, address)
        if accept:
            changed = self._node.keyring.update_user(user.name, lambda user: trust.accepted(user, old))
            self._tell(changed)
            return self._trusted(changed, user.changed[old])
        if undo:
            return self._trusted(self._node.keyring.update_user(user.name, lambda user: trust.undone(user, old)), old)
        self._check_person(user, address)
        new = user.changed.get(old, address)
        number = await beside(lambda: safety_number(user.address, new))
        if not given:
            return {**self._trusted(user, new), **_shown(user.address, new, number), "old": _id(old, new)}
        if matches(given, user.address, new, number):
            return self._matched(user, old, new)
        if old != new and matches(given, user.address, old, await beside(lambda: safety_number(user.address, old))):
            return self._matched(user, old, old)
        raise FailedError(_DIFFERENT)

    def _matched(self, user: User, old: Address, proven: Address) -> object:
        """Note that ``proven`` has shown its number; a claim that is open between it and ``old`` is settled by that."""

        def settle(user: User) -> User:
            if user.changed.get(old) == proven:
                user = trust.accepted(user, old)
            elif proven in user.changed:
                user = trust.dismissed(user, proven)
            return trust.verified(user, proven)

        changed = self._node.keyring.update_user(user.name, settle)
        self._tell(changed)
        return {**self._trusted(changed, proven), "matches": True}

    def _claimed_by(self, user: User, address: Address) -> Address:
        """Return whose petname ``address`` claims; ``address`` itself where it claims none or its own is claimed."""
        if address in user.changed:
            return address
        olds = [old for old, new in user.changed.items() if new == address]
        if len(olds) > 1:
            names = ", ".join(sorted(user.petnames[old] for old in olds))
            raise FailedError(f"this id claims more than one petname: say which is meant, {names}")
        return olds[0] if olds else address

    def _check_person(self, user: User, address: Address) -> None:
        """Raise FailedError for the id of a node: its owner's number is of another id, so that they never match."""
        node = self._node
        rows = node.core.peers(node.now())
        if address in user.petnames or any(address in row.users for row in rows):
            return
        nodes = {Address(row.identity): row.users for row in rows if row.identity is not None and row.proven}
        at_node = nodes.get(address)
        if at_node is None and address == node.keyring.node.address:
            at_node = tuple([local.address for local in node.keyring.users])
        if at_node is not None:
            people = ", ".join(map(text_id, at_node)) or "nobody known"
            raise FailedError(f"this is the id of a node; people verify people. Its users are: {people}")

    def _trusted(self, user: User, address: Address) -> dict[str, object]:
        return {
            "id": text_id(address),
            "name": self._petname(user, address),
            "trust": trust_of(user, address).value,
        }

    def _name(self, caller: Caller, args: Args) -> object:
        user = self._user(caller)
        address = self._resolve(user, args.text("peer"))
        before = self._claims()
        if self._node.keyring.name_peer(user.name, address, args.text("petname")):
            self._tell(self._user(caller))
            return {"id": text_id(address), "name": args.text("petname")}
        self._announced(before)
        user = self._user(caller)
        claimed = trust.holder(user, args.text("petname")) or address
        return {**self._trusted(user, address), "changed": [self._claim(user, claimed)]}

    def _claims(self) -> dict[str, dict[Address, Address]]:
        return {user.name: user.changed for user in self._node.keyring.users}

    def _announced(self, before: dict[str, dict[Address, Address]]) -> list[dict[str, str]]:
        """Return the claims on petnames that are new since ``before``, after telling those who watch."""
        found = []
        for user in self._node.keyring.users:
            known = before.get(user.name, {})
            for old in [old for old, new in user.changed.items() if known.get(old) != new]:
                claim = self._claim(user, old)
                found.append(claim)
                self._node.control.publish("changed", claim, user.name)
        return found

    def _claim(self, user: User, old: Address) -> dict[str, str]:
        new = user.changed[old]
        return {"user": user.name, "name": user.petnames[old], "old": text_id(old), "new": text_id(new)}

    # --- how a user sees others ------------------------------------------------------------------

    def _mark(self, what: str, caller: Caller, args: Args) -> object:
        keyring = self._node.keyring
        user = self._user(caller)
        address = self._resolve(user, args.text("peer"))
        {"block": keyring.block, "unblock": keyring.unblock, "mute": keyring.mute, "unmute": keyring.unmute}[what](
            user.name, address
        )
        self._tell(keyring.user(user.name))
        return {"id": text_id(address), "name": self._petname(user, address)}

    def _tell(self, user: User) -> None:
        """Let the core know whom a user blocks, and whom it knows."""
        self._node.shell.put(events.BlockedSet(user.address, user.blocked, user.verified.union(user.petnames)))

    def _identity(self, caller: Caller, _args: Args) -> object:
        keyring = self._node.keyring
        acting = self._user(caller)
        users = (acting,) if caller.restricted else keyring.users
        return {
            "id": text_id(keyring.node.identity),
            "user": acting.name,
            "user_id": text_id(acting.address),
            "users": self._users(users),
        }

    # --- privacy ---------------------------------------------------------------------------------

    def _privacy(self, caller: Caller, args: Args) -> object:
        """Show or change what hides the lengths of a user's messages; the cost is that of the whole node."""
        user = self._user(caller)
        wanted = args.text("value")
        if wanted and not args.text("setting"):
            raise UsageError("privacy: say which setting is meant: padding")
        if wanted:
            user = self._node.keyring.update_user(user.name, lambda user: replace(user, padding=wanted == "on"))
        counted = self._node.shell.counters
        messages, size = counted.get(counters.PADDING_MESSAGES, 0), counted.get(counters.PADDING_BYTES, 0)
        return {
            "user": user.name,
            "padding": user.padding,
            "step_bytes": PADDING_STEP,
            "padded_messages": messages,
            "padding_bytes": size,
            "bytes_a_message": round(size / messages, 1) if messages else None,
        }

    # --- users -----------------------------------------------------------------------------------

    def _user_add(self, _caller: Caller, args: Args) -> object:
        before = self._claims()
        return self._added(self._node.keyring.add_user(args.text("name")), before)

    def _user_remove(self, _caller: Caller, args: Args) -> object:
        user = self._node.keyring.remove_user(args.text("name"))
        self._node.shell.put(events.UserRemoved(user.address))
        return {"name": user.name, "id": text_id(user.address)}

    async def _user_export(self, _caller: Caller, args: Args) -> object:
        keyring = self._node.keyring
        armour = await beside(lambda: keyring.export_user(args.text("name"), args.text("passphrase")))
        return {"name": args.text("name"), "armour": armour}

    async def _user_import(self, _caller: Caller, args: Args) -> object:
        keyring = self._node.keyring
        spare = memory.read().available // 2048
        opened = await beside(lambda: open_user(args.text("armour"), args.text("passphrase"), memory_kib=max(spare, 1)))
        before = {**self._claims(), args.text("name") or opened.name: opened.changed}
        return self._added(keyring.take_user(opened, args.text("name")), before)

    def _added(self, user: User, before: dict[str, dict[Address, Address]]) -> object:
        self._node.add_user(user)
        claims = self._announced(before)
        return {"name": user.name, "id": text_id(user.address), **({"changed": claims} if claims else {})}


def _shown(own: Address, peer: Address, number: str) -> dict[str, object]:
    return {"number": " ".join(groups(number)), "scan": scan_text(own, peer)}


def _id(old: Address, new: Address) -> str | None:
    return text_id(old) if old != new else None

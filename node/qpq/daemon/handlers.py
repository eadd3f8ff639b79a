"""What each command of the control socket does, and what watchers are told."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from qpq import __version__
from qpq.crypto.identity import text_id
from qpq.daemon import doctor_data, memory, metrics
from qpq.daemon.acting import Acting
from qpq.daemon.commands import MAX_LIMIT, FailedError, Role
from qpq.daemon.handlers_mesh import MeshHandlers
from qpq.mesh import events
from qpq.netaddress import NetAddress
from qpq.store.keyring import open_user
from qpq.wire.envelope import DEFAULT_TTL

if TYPE_CHECKING:
    from qpq.daemon.commands import Args, Caller
    from qpq.daemon.control import Handlers as Table
    from qpq.daemon.node import Node
    from qpq.link.ports import LinkRow
    from qpq.mesh.rows import PeerRow
    from qpq.store.entries import InboxEntry
    from qpq.store.keyring_data import User

MESSAGE_ID_BYTES = 16
INBOX_LIMIT = 100
"""Messages that ``inbox`` shows where nobody asked for more."""
INBOX_BYTES = 1 << 20
"""Bytes of text in one answer; older messages wait until these are deleted."""


class Handlers(Acting):
    """The commands of one node; ``table`` is what the control server serves."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.mesh = MeshHandlers(node)

    def table(self) -> Table:
        """Return command names and what carries them out (arguments are checked by ``daemon.commands``)."""
        return {
            "status": self._status,
            "version": lambda _caller, _args: {"version": __version__},
            "metrics": lambda _caller, _args: {"text": self.metrics_text()},
            "doctor": self._doctor,
            "mesh.peers": self._peers,
            "mesh.server": self._server,
            "mesh.send": self._send,
            "mesh.inbox": self._inbox,
            "mesh.outbox": self._outbox,
            "mesh.delete": self._delete,
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
            **self.mesh.table(),
        }

    # --- for watchers ----------------------------------------------------------------------------

    def delivered(self, effect: events.Deliver) -> None:
        """Tell who watches the user's inbox; a muted sender's message only waits there."""
        user = self._node.user_of(effect.user)
        if user is None or not self._node.control.is_watched(user.name):
            return
        fields = {
            "id": text_id(effect.message_id),
            "user": user.name,
            "from": text_id(effect.sender),
            "from_name": self._petname(user, effect.sender),
            "text": effect.text,
            "received": effect.received or None,
            "urgent": effect.urgent,
            "muted": effect.sender in user.muted,
            "channel": self._topic(user, effect.channel),
        }
        self._node.control.publish("message", fields, user.name)

    def state_changed(self, effect: events.StateChanged) -> None:
        """Tell who watches the sender's messages; that one is queued stands in the answer to ``send``."""
        if effect.state is events.State.QUEUED:
            return
        user = self._node.user_of(effect.user)
        if user is not None and self._node.control.is_watched(user.name):
            fields = {
                "id": text_id(effect.message_id),
                "user": user.name,
                "state": effect.state.value,
                "copies": effect.copies,
            }
            self._node.control.publish("state", fields, user.name)

    def neighbour_changed(self, effect: events.NeighbourChanged) -> None:
        """Tell every watcher who is linked and who is not any more."""
        fields = {
            "id": text_id(effect.peer),
            "up": effect.up,
            "address": effect.address,
            "users": [text_id(user) for user in effect.users],
        }
        self._node.control.publish("peer", fields)

    # --- the node --------------------------------------------------------------------------------

    def _status(self, _caller: Caller, _args: Args) -> object:
        node = self._node
        rows = node.core.peers(node.now())
        return {
            "version": __version__,
            "id": text_id(node.keyring.node.identity),
            "uptime_s": int(time.monotonic() - node.started),
            "boot": node.boot,
            "role": node.role.name.lower(),
            "listen": f"{node.config.listen} (UDP port {node.links.port})",
            "peers": sum(row.state == "linked" for row in rows),
            "peers_known": len(rows),
            "users": len(node.keyring.users),
            "discovery": node.discovery_document(),
            "clock": node.clock_document(),
            "store": {**asdict(node.settled().counts()), "durable": node.durable},
            "limits": {"links": node.limits.max_links, "inbox_bytes": node.limits.inbox_bytes},
            "counters": dict(sorted(self._counters().items())),
        }

    def _doctor(self, _caller: Caller, _args: Args) -> object:
        node = self._node
        facts = doctor_data.gather(node.config.data_dir, node.bound, node.config.clock_trusted, time.time())
        return {**facts, "discovery": node.discovery_document(), "peers": len(node.links.links())}

    def metrics_text(self) -> str:
        """Return all counters and gauges as Prometheus text; nothing of users or peers is in it."""
        node = self._node
        store = node.settled().counts()
        gauges = [
            metrics.Series("uptime_seconds", "Time since the node started.", time.monotonic() - node.started),
            metrics.Series("links", "Links that are open.", len(node.links.links())),
            metrics.Series("store_inbox", "Messages in the inboxes.", store.inbox),
            metrics.Series("store_outbox", "Messages on their way.", store.waiting),
            metrics.Series("store_bytes", "Bytes the store has in use.", store.used_bytes),
            metrics.Series("store_relayed", "Messages kept for others.", store.relayed),
            metrics.Series("store_relayed_bytes", "Bytes of messages kept for others.", store.relayed_bytes),
            metrics.Series("store_snapshot_bytes", "Bytes of the snapshot on flash.", node.snapshot_bytes()),
            metrics.Series("routes", "Routes to users of other nodes.", len(node.core.routes(node.now()))),
            metrics.Series("memory_available_bytes", "MemAvailable of the machine.", memory.read().available),
        ]
        return metrics.render([*gauges, *metrics.from_counters(self._counters())])

    def _counters(self) -> dict[str, int]:
        node = self._node
        links = {f"link.{name}": value for name, value in node.links.counters.items()}
        discovery = {f"discovery.{name}": value for name, value in node.discovery_counters().items()}
        return {**node.shell.counters, **links, **discovery, **node.control.counters}

    def _peers(self, caller: Caller, _args: Args) -> object:
        node = self._node
        now = node.now()
        links = {row.link: row for row in node.links.links()}
        user = self._user(caller) if caller.role > Role.READ_ONLY else None
        return [self._peer(row, links.get(row.link or -1), user, now) for row in node.core.peers(now)]

    def _peer(self, row: PeerRow, link: LinkRow | None, user: User | None, now: float) -> dict[str, object]:
        document: dict[str, object] = {
            "id": text_id(row.identity) if row.identity is not None else None,
            "name": self._petname(user, row.identity) if row.identity is not None else "",
            "proven": row.proven,
            "state": row.state,
            "rtt_ms": round(link.rtt * 1000, 2) if link is not None and link.rtt is not None else None,
            "via": row.via.value,
            "address": row.address,
            "age_s": max(0, int(now - row.since)),
            "users": [{"id": text_id(each), "name": self._petname(user, each)} for each in row.users],
            "role": row.role.name.lower() if row.role is not None else None,
            "resumed": link is not None and link.resumed,
            "reason": row.reason,
        }
        if row.retry_at > now:
            document["retry_s"] = int(row.retry_at - now)
        return document

    def _server(self, _caller: Caller, args: Args) -> object:
        address = str(NetAddress.parse(args.text("address")))
        self._node.keyring.add_peer(address)
        self._node.shell.put(events.Dial(address))
        return {"address": address, "state": "dialling"}

    # --- messages --------------------------------------------------------------------------------

    def _send(self, caller: Caller, args: Args) -> object:
        node = self._node
        user = self._user(caller)
        message_id = os.urandom(MESSAGE_ID_BYTES)
        recipient = self._resolve(user, args.text("peer"))
        ttl = args.number("ttl") or DEFAULT_TTL
        event = events.SendText(user.address, recipient, message_id, args.text("text"), ttl, args.flag("urgent"))
        node.shell.put(event)
        flushed = node.shell.flushed()
        return self._sent(event) if flushed is None else self._sent_behind(flushed, event)

    async def _sent_behind(self, flushed: asyncio.Future[None], event: events.SendText) -> object:
        await flushed
        return self._sent(event)

    def _sent(self, event: events.SendText) -> object:
        """Return what became of a message that is in the store now. Raises FailedError: it is not."""
        self._node.shell.check(event.message_id)
        state = self._node.state_of(event.user, event.message_id)
        return {"id": text_id(event.message_id), "to": text_id(event.recipient), "state": state}

    def _inbox(self, caller: Caller, args: Args) -> object:
        user = self._user(caller)
        limit = args.number("limit") or (MAX_LIMIT if args.flag("all") else INBOX_LIMIT)
        store = self._node.store
        entries = _newest(store.inbox(user.address, limit=limit), INBOX_BYTES)
        unread = [row for row in entries if not row.read]
        if unread:
            self._node.mark_read(user.address, unread)
        return [
            {
                "id": text_id(row.message_id),
                "from": text_id(row.sender),
                "from_name": self._petname(user, row.sender),
                "text": row.text,
                "received": row.received or None,
                "sent": row.sent or None,
                "urgent": row.urgent,
                "muted": row.sender in user.muted,
                "unread": not row.read,
                "channel": self._topic(user, row.channel),
            }
            for row in entries
        ]

    def _outbox(self, caller: Caller, _args: Args) -> object:
        user = self._user(caller)
        return [
            {
                "id": text_id(row.message_id),
                "to": text_id(row.recipient),
                "to_name": self._petname(user, row.recipient),
                "channel": self._topic(user, row.recipient),
                "text": row.text,
                "created": row.sent or None,
                "urgent": row.urgent,
                "state": row.state.value,
                "copies": row.copies,
            }
            for row in self._node.settled().outbox(user.address)
        ]

    def _delete(self, caller: Caller, args: Args) -> object:
        user = self._user(caller)
        prefix = args.text("message").lower()
        found = self._node.store.message_ids(user.address, prefix)
        if not found:
            raise FailedError(f"no message of {user.name} begins with {prefix}; see inbox and outbox")
        if len(found) > 1:
            raise FailedError(f"{len(found)} messages begin with {prefix}; type more of the id")
        self._node.shell.put(events.DeleteMessage(user.address, found[0]))
        return {"id": text_id(found[0])}

    # --- how a user sees others ------------------------------------------------------------------

    def _mark(self, what: str, caller: Caller, args: Args) -> object:
        keyring = self._node.keyring
        user = self._user(caller)
        address = self._resolve(user, args.text("peer"))
        {"block": keyring.block, "unblock": keyring.unblock, "mute": keyring.mute, "unmute": keyring.unmute}[what](
            user.name, address
        )
        self._node.shell.put(events.BlockedSet(user.address, keyring.user(user.name).blocked))
        return {"id": text_id(address), "name": self._petname(user, address)}

    def _name(self, caller: Caller, args: Args) -> object:
        user = self._user(caller)
        address = self._resolve(user, args.text("peer"))
        self._node.keyring.name_peer(user.name, address, args.text("petname"))
        return {"id": text_id(address), "name": args.text("petname")}

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

    # --- users -----------------------------------------------------------------------------------

    def _user_add(self, _caller: Caller, args: Args) -> object:
        return self._added(self._node.keyring.add_user(args.text("name")))

    def _user_remove(self, _caller: Caller, args: Args) -> object:
        user = self._node.keyring.remove_user(args.text("name"))
        self._node.shell.put(events.UserRemoved(user.address))
        return {"name": user.name, "id": text_id(user.address)}

    async def _user_export(self, _caller: Caller, args: Args) -> object:
        keyring = self._node.keyring
        armour = await asyncio.to_thread(keyring.export_user, args.text("name"), args.text("passphrase"))
        return {"name": args.text("name"), "armour": armour}

    async def _user_import(self, _caller: Caller, args: Args) -> object:
        keyring = self._node.keyring
        spare = memory.read().available // 2048
        opened = await asyncio.to_thread(
            open_user, args.text("armour"), args.text("passphrase"), memory_kib=max(spare, 1)
        )
        return self._added(keyring.take_user(opened, args.text("name")))

    def _added(self, user: User) -> object:
        self._node.add_user(user)
        return {"name": user.name, "id": text_id(user.address)}


def _newest(entries: list[InboxEntry], room: int) -> list[InboxEntry]:
    """Return as many of the last entries as have room (bytes of UTF-8), at least one."""
    for at in range(len(entries) - 1, -1, -1):
        room -= len(entries[at].text.encode())
        if room < 0:
            return entries[min(at + 1, len(entries) - 1) :]
    return entries

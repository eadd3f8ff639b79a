"""What each command of the control socket does, and what watchers are told."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable
from dataclasses import asdict
from typing import TYPE_CHECKING

from qpq import __version__
from qpq.crypto.identity import ID_BYTES, text_id
from qpq.daemon import doctor_data, memory, metrics
from qpq.daemon.acting import Acting
from qpq.daemon.commands import MAX_LIMIT, FailedError, Role
from qpq.daemon.handlers_mesh import MeshHandlers
from qpq.daemon.handlers_people import PeopleHandlers
from qpq.mesh import effects, events
from qpq.netaddress import NetAddress
from qpq.store import trust
from qpq.store.trust import Trust
from qpq.wire.envelope import DEFAULT_TTL

if TYPE_CHECKING:
    import asyncio

    from qpq.crypto.identity import Address
    from qpq.daemon.commands import Args, Caller
    from qpq.daemon.control import Handlers as Table
    from qpq.daemon.handlers_client import ClientHandlers
    from qpq.daemon.handlers_names import NameHandlers
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
        self.people = PeopleHandlers(node)

    def table(self) -> Table:
        """Return command names and what carries them out (arguments are checked by ``daemon.commands``)."""
        return {
            "status": self._status,
            "version": lambda _caller, _args: {"version": __version__},
            "metrics": lambda _caller, _args: {"text": self.metrics_text()},
            "doctor": self._doctor,
            "federation.status": self._federation,
            "mesh.peers": self._peers,
            "mesh.server": self._server,
            "mesh.send": self._send,
            "mesh.inbox": self._inbox,
            "mesh.outbox": self._outbox,
            "mesh.delete": self._delete,
            **self.mesh.table(),
            **self.people.table(),
            **self._node.protection.table(),
            "client.token.add": lambda _caller, args: self._clients().add(args),
            "client.token.list": lambda _caller, _args: self._clients().list(),
            "client.token.revoke": lambda _caller, args: self._clients().revoke(args),
            "federation.name.add": lambda _caller, args: self._names().add(args),
            "federation.name.list": lambda _caller, _args: self._names().list(),
            "federation.name.remove": lambda _caller, args: self._names().remove(args),
        }

    def _names(self) -> NameHandlers:
        from qpq.daemon.handlers_names import NameHandlers  # noqa: PLC0415 (most nodes belong to no domain)

        return NameHandlers(self._node)

    def _clients(self) -> ClientHandlers:
        from qpq.daemon.handlers_client import ClientHandlers  # noqa: PLC0415 (most nodes have no clients)

        return ClientHandlers(self._node)

    # --- for watchers ----------------------------------------------------------------------------

    def delivered(self, effect: effects.Deliver) -> None:
        """Tell who watches the user's inbox; a muted sender's message only waits there."""
        user = self._node.user_of(effect.user)
        if user is None or not self._node.control.is_watched(user.name):
            return
        fields = {
            "id": text_id(effect.message_id),
            "user": user.name,
            "from": text_id(effect.sender),
            "from_name": self._called(user, effect.sender, effect.domain),
            "from_trust": self._trust(user, effect.sender),
            "text": effect.text,
            "received": effect.received or None,
            "urgent": effect.urgent,
            "muted": effect.sender in user.muted,
            "channel": self._topic(user, effect.channel),
            "domain": effect.domain,
        }
        self._node.control.publish("message", fields, user.name)

    def state_changed(self, effect: effects.StateChanged) -> None:
        """Tell who watches the sender's messages; that one is queued stands in the answer to ``send``."""
        if effect.state is effects.State.QUEUED:
            return
        user = self._node.user_of(effect.user)
        if user is not None and self._node.control.is_watched(user.name):
            fields = {
                "id": text_id(effect.message_id),
                "user": user.name,
                "state": effect.state.value,
                "copies": effect.copies,
                "post_quantum": effect.post_quantum,
                "reason": effect.reason,
            }
            self._node.control.publish("state", fields, user.name)

    def neighbour_changed(self, effect: effects.NeighbourChanged) -> None:
        """Tell every watcher who is linked and who is not any more."""
        fields = {
            "id": text_id(effect.peer),
            "up": effect.up,
            "address": effect.address,
            "users": [text_id(user) for user in effect.users],
        }
        known = self._node.known_at(effect.address) if effect.up else None
        if known is not None:
            fields["known_id"] = text_id(known)
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
            "lock": node.protection.document(),
            "memory": node.pressure.document(),
            "counters": dict(sorted(self._counters().items())),
        }

    def _doctor(self, _caller: Caller, _args: Args) -> object:
        node = self._node
        facts = doctor_data.gather(node.config.data_dir, node.bound, node.config.clock_trusted, time.time())
        more = {"discovery": node.discovery_document(), "peers": len(node.links.links())}
        return {**facts, **more, "lock": node.protection.document()}

    def _federation(self, _caller: Caller, _args: Args) -> object:
        federation = self._node.federation
        return federation.document() if federation is not None else {"domain": None, "relays": []}

    def metrics_text(self) -> str:
        """Return all counters and gauges as Prometheus text; nothing of users or peers is in it."""
        node = self._node
        store = node.settled().counts()
        snapshot = node.saver.keeper.snapshot.size if node.saver is not None else 0
        gauges = [
            metrics.Series("uptime_seconds", "Time since the node started.", time.monotonic() - node.started),
            metrics.Series("links", "Links that are open.", len(node.links.links())),
            metrics.Series("store_inbox", "Messages in the inboxes.", store.inbox),
            metrics.Series("store_outbox", "Messages on their way.", store.waiting),
            metrics.Series("store_bytes", "Bytes the store has in use.", store.used_bytes),
            metrics.Series("store_relayed", "Messages kept for others.", store.relayed),
            metrics.Series("store_relayed_bytes", "Bytes of messages kept for others.", store.relayed_bytes),
            metrics.Series("store_snapshot_bytes", "Bytes of the snapshot on flash.", snapshot),
            metrics.Series("routes", "Routes to users of other nodes.", len(node.core.routes(node.now()))),
            metrics.Series(
                "memory_level", "0: enough memory, 1: short, 2: too short for custody.", node.pressure.level.number
            ),
            metrics.Series("memory_available_bytes", "MemAvailable of the machine.", memory.read().available),
        ]
        gauges += node.federation.gauges() if node.federation is not None else []
        gauges += node.client_port.gauges() if node.client_port is not None else []
        text = metrics.render([*gauges, *metrics.from_counters(self._counters())])
        return text + "".join(part.latencies() for part in (node.federation, node.client_port) if part is not None)

    def _counters(self) -> dict[str, int]:
        node = self._node
        links = {f"link.{name}": value for name, value in node.links.counters.items()}
        discovery = {f"discovery.{name}": value for name, value in node.discovery_counters().items()}
        outside = node.federation.counters if node.federation is not None else {}
        clients = node.client_port.counters if node.client_port is not None else {}
        return {**node.shell.counters, **links, **discovery, **node.control.counters, **outside, **clients}

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
            "trust": self._trust_of_node(user, row),
            "proven": row.proven,
            "state": row.state,
            "rtt_ms": round(link.rtt * 1000, 2) if link is not None and link.rtt is not None else None,
            "via": row.via.value,
            "address": row.address,
            "age_s": max(0, int(now - row.since)),
            "users": [
                {"id": text_id(each), "name": self._petname(user, each), "trust": self._trust(user, each)}
                for each in row.users
            ],
            "role": row.role.name.lower() if row.role is not None else None,
            "resumed": link is not None and link.resumed,
            "reason": row.reason,
        }
        if row.retry_at > now:
            document["retry_s"] = int(row.retry_at - now)
        if row.known is not None:
            document["known_id"] = text_id(row.known)
        return document

    def _trust_of_node(self, user: User | None, row: PeerRow) -> str | None:
        """Return the state of a node: that its key has changed at an address given by hand is everybody's business."""
        if row.known is not None:
            return Trust.CHANGED.value
        return self._trust(user, row.identity) if row.identity is not None else None

    def _server(self, _caller: Caller, args: Args) -> object:
        address = str(NetAddress.parse(args.text("address")))
        self._node.keyring.add_peer(address)
        self._node.keyring.note_seen(address, None)  # whoever answers there now is the one who is meant
        self._node.shell.put(events.Dial(address))
        self._node.note_seen()
        return {"address": address, "state": "dialling"}

    # --- messages --------------------------------------------------------------------------------

    def _send(self, caller: Caller, args: Args) -> object:
        user, peer = self._user(caller), args.text("peer")
        if "@" in peer and trust.holder(user, peer) is None:
            return self._send_outside(user, peer, args)
        address = self._recipient(user, peer)
        return self._send_to(user, address, self._node.domains.domain_of(user, address), args)

    async def _send_outside(self, user: User, peer: str, args: Args) -> object:
        """Send to somebody of another domain, who may have to be looked up first."""
        address, domain = await self._node.domains.resolve_destination(user, peer)
        sent = self._send_to(user, address, domain, args)
        return await sent if isinstance(sent, Awaitable) else sent

    def _send_to(self, user: User, recipient: Address, domain: str, args: Args) -> object:
        node, message_id = self._node, os.urandom(MESSAGE_ID_BYTES)
        ttl = args.number("ttl") or DEFAULT_TTL
        text, urgent = args.text("text"), args.flag("urgent")
        node.shell.put(
            event := events.SendText(
                user.address, recipient, message_id, text, ttl, urgent, user.padding, domain=domain
            )
        )
        flushed = node.shell.flushed()
        return self._sent(event) if flushed is None else self._sent_behind(flushed, event)

    async def _sent_behind(self, flushed: asyncio.Future[None], event: events.SendText) -> object:
        await flushed
        return self._sent(event)

    def _sent(self, event: events.SendText) -> object:
        """Return what became of a message that is in the store now. Raises FailedError: it is not."""
        self._node.shell.check(event.message_id)
        state = self._node.state_of(event.user, event.message_id)
        sealed = self._node.sealed_of(event.user, event.message_id)
        return {
            "id": text_id(event.message_id), "to": text_id(event.recipient), "state": state, "post_quantum": sealed,
            "domain": event.domain,
        }  # fmt: skip

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
                "from_name": self._called(user, row.sender, row.domain),
                "from_trust": self._trust(user, row.sender),
                "text": row.text,
                "received": row.received or None,
                "sent": row.sent or None,
                "urgent": row.urgent,
                "muted": row.sender in user.muted,
                "unread": not row.read,
                "channel": self._topic(user, row.channel),
                "domain": row.domain,
            }
            for row in entries
        ]

    def _outbox(self, caller: Caller, _args: Args) -> object:
        user = self._user(caller)
        return [
            {
                "id": text_id(row.message_id),
                "to": text_id(row.recipient),
                "to_name": self._called(user, row.recipient, row.domain),
                "to_trust": self._trust(user, row.recipient) if len(row.recipient) == ID_BYTES else None,
                "channel": self._topic(user, row.recipient),
                "text": row.text,
                "created": row.sent or None,
                "urgent": row.urgent,
                "state": row.state.value,
                "copies": row.copies,
                "post_quantum": row.post_quantum,
                "domain": row.domain,
                "reason": row.reason,
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


def _newest(entries: list[InboxEntry], room: int) -> list[InboxEntry]:
    """Return as many of the last entries as have room (bytes of UTF-8), at least one."""
    for at in range(len(entries) - 1, -1, -1):
        room -= len(entries[at].text.encode())
        if room < 0:
            return entries[min(at + 1, len(entries) - 1) :]
    return entries

"""The commands about the mesh beyond the own messages: store, routes, probes, channels, peers given by hand."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from qpq.crypto.channels import SHARE_PREFIX, Channel, ChannelKind, decode_share, encode_share, open_channel
from qpq.crypto.identity import Identity, parse_base32, text_id
from qpq.crypto.primitives import KEY_BYTES, taken
from qpq.daemon.acting import Acting
from qpq.daemon.commands import FailedError, Role, UsageError
from qpq.mesh import effects, events
from qpq.mesh.keeping import FOREIGN
from qpq.netaddress import NetAddress
from qpq.wire.envelope import DEFAULT_TTL

if TYPE_CHECKING:
    from qpq.daemon.commands import Args, Caller
    from qpq.daemon.control import Handlers as Table
    from qpq.daemon.node import Node
    from qpq.store.keyring_data import User

MESSAGE_ID_BYTES = 16
TOKEN_BYTES = 8


class MeshHandlers(Acting):
    """Part of ``daemon.handlers.Handlers``."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._probes: dict[bytes, asyncio.Future[effects.ProbeDone]] = {}

    def table(self) -> Table:
        """Return command names and what carries them out."""
        return {
            "mesh.store": self._store,
            "mesh.route": self._route,
            "mesh.ping": lambda caller, args: self._probe(caller, args, trace=False),
            "mesh.trace": lambda caller, args: self._probe(caller, args, trace=True),
            "mesh.subscribe": self._subscribe,
            "mesh.unsubscribe": self._unsubscribe,
            "mesh.channels": self._channels,
            "mesh.broadcast": self._broadcast,
            "mesh.forget": self._forget,
        }

    # --- store and routes ------------------------------------------------------------------------

    def _store(self, caller: Caller, _args: Args) -> object:
        node = self._node
        row = node.core.store_rows(node.now())
        snapshot = node.saver.document() if node.saver is not None else None
        document = {**asdict(node.settled().counts()), "durable": node.durable, "snapshot": snapshot}
        document.update(
            {
                "relayed_oldest_s": row.oldest,
                "quota_used_bytes": row.used,
                "quota_max_bytes": row.cap,
                "proofs_max": row.proofs_cap,
                "seen": row.known,
                "seen_max": row.known_cap,
            }
        )
        if caller.role > Role.READ_ONLY and not caller.restricted:  # who writes to whom is nobody else's business
            user = self._user(caller)
            document["by_recipient"] = [
                {**self._named(user, "id", address), "count": count, "bytes": size}
                for address, count, size in row.by_recipient
            ]
            document["by_link"] = [
                {**self._source(user, via), "count": count, "bytes": size} for via, count, size in row.by_link
            ]
        return document

    def _route(self, caller: Caller, _args: Args) -> object:
        node = self._node
        now = node.now()
        user = self._user(caller) if caller.role > Role.READ_ONLY else None
        return [
            {
                **self._named(user, "id", row.address),
                **self._named(user, "node", row.node),
                **self._named(user, "next_hop", row.next_hop),
                "hops": row.hops,
                "cost": round(row.cost / 16, 2),
                "age_s": max(0, int(now - row.since)),
                "capabilities": row.capabilities,
                "score": round(row.score, 2),
            }
            for row in node.core.routes(now)
        ]

    # --- probes ----------------------------------------------------------------------------------

    def probed(self, effect: effects.ProbeDone) -> None:
        """Hand an answer to the command that waits for it."""
        waiting = self._probes.get(effect.token)
        if waiting is not None and not waiting.done():
            waiting.set_result(effect)

    async def _probe(self, caller: Caller, args: Args, *, trace: bool) -> object:
        user = self._user(caller)
        target = self._resolve(user, args.text("peer"))
        token = os.urandom(TOKEN_BYTES)
        self._probes[token] = asyncio.get_running_loop().create_future()
        try:
            self._node.shell.put(events.Ping(target, token, trace))
            answer = await self._probes[token]
        finally:
            del self._probes[token]
        if not answer.ok:
            raise FailedError(f"no answer from {text_id(target)}: {answer.reason}")
        document: dict[str, object] = {
            **self._named(user, "id", target),
            "rtt_ms": round(answer.rtt * 1000, 2),
            "hops": answer.hops,
        }
        if trace:
            document["path"] = [self._named(user, "id", node) for node in answer.path]
        return document

    # --- channels --------------------------------------------------------------------------------

    def _subscribe(self, caller: Caller, args: Args) -> object:
        user = self._user(caller)
        channel = self._wanted(user, args)
        self._node.keyring.join_channel(user.name, channel)
        self._node.shell.put(events.ChannelJoined(user.address, channel.key, frozenset(channel.signers)))
        return self._shared(user, channel)

    def _wanted(self, user: User, args: Args) -> Channel:
        """Return the channel that somebody wants to read; a private one without a key is a new one."""
        topic, key = args.text("topic"), args.text("key")
        private, announce = args.flag("private"), args.flag("announce")
        share = next((text for text in (key, topic) if text.lower().startswith(SHARE_PREFIX)), "")
        if private and announce:
            raise UsageError("mesh.subscribe: a channel is private or an announcement channel, not both")
        if share:
            if private or announce or (topic is share and key):
                raise UsageError(
                    "mesh.subscribe: the shared text says all about the channel; give nothing else with it"
                )
            channel = decode_share(share)
            if topic is not share and topic != channel.topic:
                raise UsageError(f"mesh.subscribe: the shared text is of #{channel.topic}, not of #{topic}")
            return channel
        if announce:
            if key:
                raise UsageError("mesh.subscribe: to read an announcement channel give its shared text as key")
            return Channel(topic, taken(os.urandom(KEY_BYTES)), ChannelKind.ANNOUNCEMENT, (user.address,))
        if key or private:
            return Channel(topic, _key(key) if key else taken(os.urandom(KEY_BYTES)), ChannelKind.PRIVATE)
        return open_channel(topic)

    def _unsubscribe(self, caller: Caller, args: Args) -> object:
        user = self._user(caller)
        channel = self._node.keyring.leave_channel(user.name, args.text("topic"))
        self._node.shell.put(events.ChannelLeft(user.address, channel.id))
        return {"topic": channel.topic, "id": text_id(channel.id)}

    def _channels(self, caller: Caller, args: Args) -> object:
        user = self._user(caller)
        if args.text("share"):
            return self._shared(user, self._node.keyring.channel(user.name, args.text("share")))
        return [self._channel(user, channel) for channel in user.channels]

    def _shared(self, user: User, channel: Channel) -> dict[str, object]:
        return {**self._channel(user, channel), "share": encode_share(channel)}

    def _channel(self, user: User, channel: Channel) -> dict[str, object]:
        return {
            "topic": channel.topic,
            "id": text_id(channel.id),
            "kind": channel.kind.name.lower(),
            "public": channel.kind is ChannelKind.OPEN,
            "may_send": not channel.signers or user.address in channel.signers,
            "signers": [self._named(user, "id", signer) for signer in channel.signers],
        }

    def _broadcast(self, caller: Caller, args: Args) -> object:
        node = self._node
        user = self._user(caller)
        channel = node.keyring.channel(user.name, args.text("topic"))
        if channel.signers and user.address not in channel.signers:
            raise FailedError(f"#{channel.topic} is an announcement channel: its readers show nothing of {user.name}")
        message_id = os.urandom(MESSAGE_ID_BYTES)
        ttl = args.number("ttl") or DEFAULT_TTL
        event = events.SendBroadcast(user.address, channel.id, message_id, args.text("text"), ttl, user.padding)
        node.shell.put(event)
        flushed = node.shell.flushed()
        return self._sent(event, channel) if flushed is None else self._sent_behind(flushed, event, channel)

    async def _sent_behind(
        self, flushed: asyncio.Future[None], event: events.SendBroadcast, channel: Channel
    ) -> object:
        await flushed
        return self._sent(event, channel)

    def _sent(self, event: events.SendBroadcast, channel: Channel) -> object:
        self._node.shell.check(event.message_id)
        return {
            "id": text_id(event.message_id),
            "channel": channel.topic,
            "public": channel.kind is ChannelKind.OPEN,
            "state": effects.State.QUEUED.value,
        }

    # --- peers given by hand ---------------------------------------------------------------------

    def _forget(self, _caller: Caller, args: Args) -> object:
        node = self._node
        address = str(NetAddress.parse(args.text("address")))
        if address in node.configured():
            raise FailedError(f"{address} is in the configuration: take it out there and reload")
        if not node.keyring.remove_peer(address):
            raise FailedError(f"{address} was not given with mesh server: nothing to forget")
        node.keyring.note_seen(address, None)
        node.shell.put(events.Undial(address))
        return {"address": address}

    def _source(self, user: User, via: Identity | None) -> dict[str, str | None]:
        """Return who brought something: a neighbour, this node itself (no id), or another domain, which has no key."""
        if via is None:
            return {"id": None}
        found = self._named(user, "id", via)
        return {**found, "name": "another domain"} if via.startswith(FOREIGN) else {**found}

    def _named(self, user: User | None, key: str, who: bytes) -> dict[str, str]:
        return {key: text_id(who), "name" if key == "id" else f"{key}_name": self._petname(user, Identity(who))}


def _key(text: str) -> bytes:
    key = parse_base32(text.lower())
    if key is None or len(key) != KEY_BYTES:
        raise UsageError("mesh.subscribe: key must be the shared text of a channel or a key of 52 characters")
    return key

"""Cores joined in memory, in virtual time: each link carries real wire bytes, each node has a store.

Pure and seeded: one ``World`` is one run, ``world.run(seconds)`` goes on. Stores are dictionaries
(``MemoryStore``) unless others are given; a crash loses what was not persisted and nothing else.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from qpq.crypto.channels import channel_id
from qpq.crypto.identity import Address, Identity, SecretIdentity
from qpq.errors import QpqError
from qpq.mesh import events
from qpq.mesh.core import Core
from qpq.mesh.effects import (
    BroadcastHeard,
    BundleMade,
    CloseLink,
    Connect,
    Count,
    Deliver,
    InsideProof,
    LookupDone,
    NeighbourChanged,
    Notice,
    OutsideAnswered,
    OutsideLookup,
    Outward,
    Persist,
    ProbeDone,
    Recall,
    RecallTexts,
    SendEnvelope,
    SendFrame,
    SendRefused,
    SetTimer,
    State,
    StateChanged,
)
from qpq.mesh.events import Via
from qpq.mesh.limits import Limits
from qpq.mesh.records import (
    BundleDelete,
    BundlePut,
    Checkpoint,
    FederationInsert,
    InboxInsert,
    InboxMark,
    Kept,
    KnownDelete,
    KnownInsert,
    MessageDelete,
    OutboxInsert,
    OutboxReseal,
    OutboxState,
    PrekeyDelete,
    PrekeyPut,
    ProofInsert,
    Queued,
    RelayCopies,
    RelayDelete,
    Relayed,
    RelayInsert,
    SessionDelete,
    SessionPut,
    TombstoneDelete,
    TombstoneExpected,
    TombstoneInsert,
    UserDelete,
)
from qpq.wire.codec import FrameDecoder, FrameEncoder, close_code, codecs
from qpq.wire.envelope import decode_envelope
from qpq.wire.errors import WireError
from qpq.wire.frames import Role, Transfer
from sim.kem import CheapKem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from qpq.daemon.shell import Store
    from qpq.mesh.effects import Effect
    from qpq.mesh.events import Event
    from qpq.mesh.records import Operation, Row

UNIX_AT_ZERO = 1_800_000_000


class FullError(QpqError):
    """The store of the test has no room."""


class MemoryStore:
    """The core's port over dictionaries; ``room`` messages fit, and every transaction is all or nothing."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.room = room
        self.outbox: dict[tuple[bytes, bytes], OutboxInsert] = {}
        self.states: dict[tuple[bytes, bytes], tuple[State, int]] = {}
        self.inbox: dict[tuple[bytes, bytes, bytes], InboxInsert] = {}
        self.tombstones: dict[bytes, TombstoneInsert] = {}
        self.relay: dict[bytes, RelayInsert] = {}
        self.known: dict[bytes, ProofInsert | KnownInsert] = {}
        self.sessions: dict[tuple[bytes, bytes, bytes], SessionPut] = {}
        self.prekeys: dict[tuple[bytes, bytes], PrekeyPut] = {}
        self.bundles: dict[tuple[bytes, bytes], BundlePut] = {}
        self.federation: dict[tuple[int, bytes], FederationInsert] = {}
        self.checkpoint = Checkpoint(0, 0)
        self.boot = 0
        self._by_id: dict[bytes, tuple[bytes, bytes]] = {}

    def apply(self, operations: Sequence[Operation]) -> None:
        new = sum(isinstance(operation, _GROWING) for operation in operations)
        if new and len(self.outbox) + len(self.inbox) + len(self.relay) + new > self.room:
            raise FullError("the store is full")
        stored: set[bytes] = set()
        for operation in operations:
            if isinstance(operation, TombstoneInsert):
                stored.add(operation.envelope_id)
            elif isinstance(operation, TombstoneExpected) and operation.envelope_id not in {*stored, *self.tombstones}:
                raise FullError("the first was not stored")
        for operation in operations:
            self._one(operation)

    def _one(self, operation: Operation) -> None:
        writer = _WRITERS.get(type(operation))
        if writer is not None:
            writer(self, operation)

    def _outbox_insert(self, row: OutboxInsert) -> None:
        key = (row.user, row.message_id)
        if key not in self.outbox:
            self.outbox[key] = row
            self.states[key] = (row.state, 0)
            self._by_id[row.envelope_id] = key

    def _outbox_reseal(self, row: OutboxReseal) -> None:
        key = (row.user, row.message_id)
        if key in self.outbox:
            made = self.outbox[key]
            self._by_id.pop(made.envelope_id, None)
            self.outbox[key] = replace(
                made, envelope_id=row.envelope_id, envelope=row.envelope, sealed=row.sealed, state=State.QUEUED
            )
            self.states[key] = (State.QUEUED, 0)
            self._by_id[row.envelope_id] = key

    def _outbox_state(self, row: OutboxState) -> None:
        if (row.user, row.message_id) in self.outbox:
            self.states[row.user, row.message_id] = (row.state, row.copies)

    def _inbox_insert(self, row: InboxInsert) -> None:
        self.inbox.setdefault((row.user, row.message_id, row.sender), row)

    def _inbox_mark(self, row: InboxMark) -> None:
        kept = self.inbox.get((row.user, row.message_id, row.sender))
        if kept is not None and kept.channel == row.channel and not kept.domain:
            self.inbox[row.user, row.message_id, row.sender] = replace(kept, domain=row.domain)

    def _message_delete(self, row: MessageDelete) -> None:
        self._forget(lambda key: key[:2] == (row.user, row.message_id))

    def _user_delete(self, row: UserDelete) -> None:
        self._forget(lambda key: key[0] == row.user)
        self.tombstones = {key: stone for key, stone in self.tombstones.items() if stone.user != row.user}
        self.sessions = {key: kept for key, kept in self.sessions.items() if key[0] != row.user}
        self.prekeys = {key: kept for key, kept in self.prekeys.items() if key[0] != row.user}
        self.bundles = {key: kept for key, kept in self.bundles.items() if key[0] != row.user}

    def _tombstone_insert(self, row: TombstoneInsert) -> None:
        self.tombstones.setdefault(row.envelope_id, row)

    def _tombstone_delete(self, row: TombstoneDelete) -> None:
        self.tombstones.pop(row.envelope_id, None)

    def _relay_insert(self, row: RelayInsert) -> None:
        self.relay[row.envelope_id] = row

    def _relay_copies(self, row: RelayCopies) -> None:
        if row.envelope_id in self.relay:
            self.relay[row.envelope_id] = replace(self.relay[row.envelope_id], copies=row.copies)

    def _relay_delete(self, row: RelayDelete) -> None:
        self.relay.pop(row.envelope_id, None)

    def _known_insert(self, row: ProofInsert | KnownInsert) -> None:
        self.known[row.envelope_id] = row

    def _known_delete(self, row: KnownDelete) -> None:
        self.known.pop(row.envelope_id, None)

    def _session_put(self, row: SessionPut) -> None:
        self.sessions[row.user, row.peer, row.session_id] = row

    def _session_delete(self, row: SessionDelete) -> None:
        self.sessions.pop((row.user, row.peer, row.session_id), None)

    def _prekey_put(self, row: PrekeyPut) -> None:
        self.prekeys[row.user, row.key_id] = row

    def _prekey_delete(self, row: PrekeyDelete) -> None:
        self.prekeys.pop((row.user, row.key_id), None)

    def _bundle_put(self, row: BundlePut) -> None:
        self.bundles[row.user, row.peer] = row

    def _bundle_delete(self, row: BundleDelete) -> None:
        self.bundles.pop((row.user, row.peer), None)

    def _federation_insert(self, row: FederationInsert) -> None:
        self.federation.setdefault((row.kind, row.envelope_id), row)

    def _checkpoint(self, row: Checkpoint) -> None:
        self.checkpoint = row

    def _forget(self, gone: Callable[[tuple[bytes, ...]], bool]) -> None:
        self.inbox = {key: row for key, row in self.inbox.items() if not gone(key)}
        self.outbox = {key: row for key, row in self.outbox.items() if not gone(key)}
        self.states = {key: row for key, row in self.states.items() if not gone(key)}

    def state(self, user: bytes, message_id: bytes) -> State:
        return self.states[user, message_id][0]

    def envelope(self, envelope_id: bytes) -> bytes | None:
        key = self._by_id.get(envelope_id)
        if key not in self.outbox or self.states[key][0] in (State.DELIVERED, State.EXPIRED, State.REFUSED):
            return self.relay[envelope_id].envelope if envelope_id in self.relay else None
        return self.outbox[key].envelope

    def sent(self, user: bytes, message_id: bytes) -> tuple[bytes, str] | None:
        row = self.outbox.get((user, message_id))
        if row is None or self.states[user, message_id][0] in (State.DELIVERED, State.EXPIRED, State.REFUSED):
            return None
        return row.envelope, row.text

    def restore(self) -> Iterator[Row]:
        yield self.checkpoint
        yield from self.sessions.values()
        yield from self.prekeys.values()
        yield from self.bundles.values()
        for key, row in self.outbox.items():
            state, copies = self.states[key]
            if state in (State.QUEUED, State.RELAYED) and row.envelope:
                yield Queued(
                    row.user,
                    row.message_id,
                    row.envelope_id,
                    row.recipient,
                    len(row.envelope),
                    row.urgent,
                    row.ttl,
                    row.born,
                    state,
                    copies,
                    row.sealed,
                    row.domain,
                )
        for message in self.inbox.values():
            yield Kept(
                message.user, message.message_id, message.sender, message.size, message.via, domain=message.domain
            )
        yield from self.tombstones.values()
        for kept in self.relay.values():
            yield Relayed(
                kept.envelope_id,
                kept.sender,
                kept.recipient,
                kept.via,
                kept.urgent,
                kept.ttl,
                kept.born,
                kept.hops,
                kept.max_hops,
                kept.copies,
                len(kept.envelope),
            )
        yield from self.known.values()


_GROWING = (OutboxInsert, InboxInsert, RelayInsert, FederationInsert)
_WRITERS: dict[type, Callable[[MemoryStore, object], None]] = {
    OutboxInsert: MemoryStore._outbox_insert,
    OutboxReseal: MemoryStore._outbox_reseal,
    OutboxState: MemoryStore._outbox_state,
    InboxInsert: MemoryStore._inbox_insert,
    InboxMark: MemoryStore._inbox_mark,
    MessageDelete: MemoryStore._message_delete,
    UserDelete: MemoryStore._user_delete,
    TombstoneInsert: MemoryStore._tombstone_insert,
    TombstoneDelete: MemoryStore._tombstone_delete,
    RelayInsert: MemoryStore._relay_insert,
    RelayCopies: MemoryStore._relay_copies,
    RelayDelete: MemoryStore._relay_delete,
    ProofInsert: MemoryStore._known_insert,
    KnownInsert: MemoryStore._known_insert,
    KnownDelete: MemoryStore._known_delete,
    SessionPut: MemoryStore._session_put,
    SessionDelete: MemoryStore._session_delete,
    PrekeyPut: MemoryStore._prekey_put,
    PrekeyDelete: MemoryStore._prekey_delete,
    BundlePut: MemoryStore._bundle_put,
    BundleDelete: MemoryStore._bundle_delete,
    FederationInsert: MemoryStore._federation_insert,
    Checkpoint: MemoryStore._checkpoint,
}  # type: ignore[assignment, dict-item]


@dataclass
class Wire:
    """One end of a link: what this end encodes, and what it decodes of the other's bytes."""

    node: Node
    number: int
    encoder: FrameEncoder
    decoder: FrameDecoder
    other: Wire | None = None
    open: bool = True
    told: bool = False
    early: bytes = b""


@dataclass
class Node:
    """A node of the world: its keys, its store, and its core while it runs."""

    name: str
    secret: SecretIdentity
    users: list[SecretIdentity]
    store: Store
    limits: Limits
    role: Role
    address: str
    static: tuple[str, ...] = ()
    clock: tuple[float, bool] | None = (float(UNIX_AT_ZERO), True)
    blocked: dict[Address, frozenset[Address]] = field(default_factory=dict)
    channels: list[events.ChannelJoined] = field(default_factory=list)
    boot: int = 0
    core: Core | None = None
    wires: dict[int, Wire] = field(default_factory=dict)
    timer: float | None = None
    delivered: list[Deliver] = field(default_factory=list)
    states: dict[tuple[Address, bytes], list[State]] = field(default_factory=dict)
    refused: list[SendRefused] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    neighbours: list[NeighbourChanged] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    closed: list[CloseLink] = field(default_factory=list)
    probed: list[ProbeDone] = field(default_factory=list)
    gateway: tuple[SecretIdentity, str] | None = None
    outside: list[Effect] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def user(self) -> SecretIdentity:
        return self.users[0]

    @property
    def identity(self) -> Identity:
        return self.secret.identity

    def linked(self, now: float) -> set[Identity]:
        """The peers with a usable link."""
        assert self.core is not None
        return {row.identity for row in self.core.peers(now) if row.state == "linked" and row.identity is not None}


class World:
    """Nodes, links and virtual time; ``latency`` is the one-way delay, ``jitter`` spreads what is unordered.

    In a ``plain`` one nobody asks for keys: a message is one envelope that leaves at once, which is all that tests
    of how envelopes travel want to see. Where nobody ``asks``, messages do not wait for keys, which come by the way.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        latency: float = 0.005,
        jitter: float = 0.0,
        lost_dials: float = 0.0,
        plain: bool = False,
        asks: bool = True,
    ) -> None:
        self.random = random.Random(seed)  # noqa: S311 (a seeded run)
        self.now = 0.0
        self.latency = latency
        self.jitter = jitter
        self.lost_dials = lost_dials
        self.plain = plain
        self.asks = asks
        self.nodes: dict[str, Node] = {}
        self.federation: Callable[[Node, Effect], None] | None = None
        self.cut: set[frozenset[str]] = set()
        self.bytes_sent = 0
        self.frames: deque[tuple[str, str, object]] = deque(maxlen=10_000)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._links = 0

    # --- nodes -----------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        *,
        users: int = 1,
        store: Store | None = None,
        limits: Limits | None = None,
        role: Role = Role.RELAY,
        start: bool = True,
        gateway: str = "",
    ) -> Node:
        """Add a node with so many users; ``gateway``: it is one, of the mesh of this domain."""
        node = Node(
            name=name,
            secret=SecretIdentity(self.random.randbytes(32)),
            users=[SecretIdentity(self.random.randbytes(32)) for _ in range(users)],
            store=store if store is not None else MemoryStore(),
            limits=self._limits(limits if limits is not None else Limits()),
            role=role,
            address=f"{name}:7000",
            gateway=(SecretIdentity(self.random.randbytes(32)), gateway) if gateway else None,
        )
        self.nodes[name] = node
        if start:
            self.start(node)
        return node

    def _limits(self, limits: Limits) -> Limits:
        if self.plain:
            return replace(limits, sessions=0)
        return limits if self.asks else replace(limits, keys_wait_s=0.0)

    def start(self, node: Node) -> None:
        """Start a node that does not run, from what its store kept."""
        node.boot += 1
        draw = self.random.randbytes
        node.core = Core(
            node.secret, boot=node.boot, random=draw, limits=node.limits, role=node.role, kem=CheapKem(draw)
        )
        node.core.restore(node.store.restore())
        if node.gateway is not None:
            self.tell(node, events.UserAdded(node.gateway[0].seed, gateway=node.gateway[1]))
        for user in node.users:
            self.tell(node, events.UserAdded(user.seed, node.blocked.get(user.address, frozenset())))
        if node.clock is not None:
            self.tell(node, events.ClockSet(*node.clock))
        for joined in node.channels:
            self.tell(node, joined)
        for address in node.static:
            self.tell(node, events.Dial(address))

    def crash(self, node: Node) -> None:
        """Stop a node at once; its peers notice later."""
        node.core = None
        node.timer = None
        for wire in list(node.wires.values()):
            self._close(wire)

    def stop(self, node: Node) -> None:
        """Stop a node in order."""
        self.tell(node, events.Shutdown())  # closes the links, once what was sent has arrived
        node.core = None
        node.timer = None

    # --- what happens ------------------------------------------------------------------------------

    def find(self, node: Node, other: Node, *, via: Via = Via.MDNS, hint: bool = True) -> None:
        """Let discovery tell ``node`` of ``other``."""
        self.tell(node, events.PeerFound(other.address, via, other.identity if hint else None))

    def meet(self, *nodes: Node) -> None:
        """Let discovery tell all of all."""
        for node in nodes:
            for other in nodes:
                if other is not node:
                    self.find(node, other)

    def send(
        self,
        node: Node,
        recipient: bytes,
        text: str = "hello",
        *,
        ttl: int = 7 * 86_400,
        urgent: bool = False,
        user: SecretIdentity | None = None,
        message_id: bytes | None = None,
        domain: str = "",
    ) -> bytes:
        """Let a user of ``node`` send a text; returns the message id."""
        identifier = self.random.randbytes(16) if message_id is None else message_id
        author = (user or node.user).address
        self.tell(node, events.SendText(author, Address(recipient), identifier, text, ttl, urgent, domain=domain))
        return identifier

    def subscribe(
        self, node: Node, key: bytes, *, user: SecretIdentity | None = None, signers: Iterable[Address] = ()
    ) -> None:
        """Let a user of ``node`` read a channel, also after a restart."""
        joined = events.ChannelJoined((user or node.user).address, key, frozenset(signers))
        node.channels.append(joined)
        self.tell(node, joined)

    def broadcast(
        self, node: Node, key: bytes, text: str = "hello", *, ttl: int = 86_400, user: SecretIdentity | None = None
    ) -> bytes:
        """Let a user of ``node`` send a text to a channel; returns the message id."""
        identifier = self.random.randbytes(16)
        author = (user or node.user).address
        self.tell(node, events.SendBroadcast(author, channel_id(key), identifier, text, ttl, padding=not self.plain))
        return identifier

    def tell(self, node: Node, event: Event) -> list[Effect]:
        """Hand an event to a node's core and carry out the effects; a node that does not run gets nothing."""
        if node.core is None:
            return []
        effects = node.core.handle(event, self.now)
        self._carry_out(node, effects)
        return effects

    def drop_link(self, node: Node, number: int) -> None:
        """Lose one link: both ends notice, each in its time."""
        wire = node.wires.get(number)
        if wire is not None:
            self._close(wire)

    def deafen(self, node: Node) -> None:
        """Let what a node's links bring wait until ``undeafen``, while they stay up."""
        for wire in node.wires.values():
            wire.told = False

    def undeafen(self, node: Node) -> None:
        """Let a node hear again, what has waited too."""
        for wire in list(node.wires.values()):
            wire.told = True
            self._bytes_come(wire, b"")

    def part(self, node: Node, other: Node) -> None:
        """Let no bytes pass between two nodes until ``join``; their links die."""
        self.cut.add(frozenset((node.name, other.name)))
        for wire in list(node.wires.values()):
            if wire.other is not None and wire.other.node is other:
                self._close(wire)

    def join(self, node: Node, other: Node) -> None:
        """Let bytes pass again."""
        self.cut.discard(frozenset((node.name, other.name)))

    def link(self, node: Node, other: Node) -> None:
        """Let ``node`` open a link to ``other`` and keep it: it is dialled again when it is lost."""
        self.tell(node, events.Dial(other.address, identity=other.identity))

    def graph(self, edges: Iterable[tuple[str, str]], **options: Any) -> dict[str, Node]:
        """Add the nodes that ``edges`` name, with ``options`` of ``add``, and link them so."""
        edges = list(edges)
        for name in dict.fromkeys(name for edge in edges for name in edge):
            if name not in self.nodes:
                self.add(name, **options)
        for one, other in edges:
            self.link(self.nodes[one], self.nodes[other])
        return self.nodes

    def line(self, length: int, **options: Any) -> list[Node]:
        """Add nodes n0, n1, ... in a line."""
        nodes = self.graph([(f"n{i}", f"n{i + 1}") for i in range(length - 1)], **options)
        return [nodes[f"n{i}"] for i in range(length)]

    def run(self, seconds: float, *, steps: int = 1_000_000) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while self._agenda and self._agenda[0][0] <= end:
            at, _, action = heappop(self._agenda)
            self.now = max(self.now, at)
            action()
            steps -= 1
            assert steps > 0, "the world does not come to rest"
        self.now = end

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Do something in ``delay`` seconds."""
        self._order += 1
        heappush(self._agenda, (self.now + delay, self._order, action))

    # --- effects -------------------------------------------------------------------------------------

    def _carry_out(self, node: Node, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Persist):
                try:
                    node.store.apply(effect.operations)
                except QpqError as fault:
                    if effect.prompt:
                        self.tell(node, events.PersistFailed(effect.operations, str(fault)))
                    return
            else:
                _EFFECTS[type(effect)](self, node, effect)

    def _set_timer(self, node: Node, effect: SetTimer) -> None:
        core = node.core
        node.timer = effect.at

        def due() -> None:
            if node.core is core and node.timer == effect.at:
                node.timer = None
                self.tell(node, events.Tick())

        self.after(max(0.0, effect.at - self.now), due)

    def _connect(self, node: Node, effect: Connect) -> None:
        self.after(self._delay(), lambda: self._connected(node, node.core, effect))

    def _connected(self, node: Node, core: Core | None, effect: Connect) -> None:
        if node.core is not core:
            return
        other = next((other for other in self.nodes.values() if other.address == effect.address), None)
        reason = ""
        if other is None or other.core is None or frozenset((node.name, other.name)) in self.cut:
            reason = "no answer"
        elif self.random.random() < self.lost_dials:
            reason = "lost"
        elif effect.identity not in (None, other.identity):
            reason = "another identity"
        if other is None or reason:
            self.tell(node, events.DialFailed(effect.address, reason))
            return
        near, far = self._wire(node, other)
        up = events.LinkUp(near.number, other.identity, effect.address, initiator=True)
        down = events.LinkUp(far.number, node.identity, node.address, initiator=False)
        self.after(self._delay(), lambda: self._link_up(near, up))
        self.after(self._delay(), lambda: self._link_up(far, down))

    def _wire(self, node: Node, other: Node) -> tuple[Wire, Wire]:
        ends = []
        for here, there in ((node, other), (other, node)):
            self._links += 1
            wire = Wire(here, self._links, *codecs(here.identity, there.identity))
            here.wires[wire.number] = wire
            ends.append(wire)
        near, far = ends
        near.other, far.other = far, near
        return near, far

    def _link_up(self, wire: Wire, event: events.LinkUp) -> None:
        if wire.open:
            wire.told = True
            self.tell(wire.node, event)
            self._bytes_come(wire, b"")
        elif event.initiator:
            self.tell(wire.node, events.DialFailed(event.address, "it ended before it began"))

    def _send_frame(self, node: Node, effect: SendFrame) -> None:
        wire = node.wires.get(effect.link)
        if wire is None or not wire.open:
            return
        self.frames.append((node.name, wire.other.node.name if wire.other else "", effect.frame))
        self._send_bytes(wire, wire.encoder.encode(effect.frame))

    def _send_envelope(self, node: Node, effect: SendEnvelope) -> None:
        data = node.store.envelope(effect.envelope_id)
        if data is not None:
            frame = Transfer(effect.hops, effect.copies, effect.age, decode_envelope(data))
            self._send_frame(node, SendFrame(effect.link, frame))

    def _recall(self, node: Node, effect: Recall) -> None:
        found = [node.store.envelope(envelope_id) for envelope_id in effect.envelope_ids]
        envelopes = tuple(decode_envelope(data) for data in found if data is not None)
        self.after(0.0, lambda: self.tell(node, events.Recalled(envelopes)) and None)

    def _recall_texts(self, node: Node, effect: RecallTexts) -> None:
        found = [(message, node.store.sent(*message)) for message in effect.messages]
        texts = tuple(
            events.SentText(*message, sent[1], decode_envelope(sent[0])) for message, sent in found if sent is not None
        )
        self.after(0.0, lambda: self.tell(node, events.TextsRecalled(texts)) and None)

    def _send_bytes(self, wire: Wire, data: bytes) -> None:
        other = wire.other
        self.bytes_sent += len(data)
        if other is not None:
            self.after(self.latency * 2, lambda: self._bytes_come(other, data))

    def _bytes_come(self, wire: Wire, data: bytes) -> None:
        if not wire.open or wire.node.core is None:
            return
        if not wire.told:
            wire.early += data
            return
        data, wire.early = wire.early + data, b""
        try:
            frames = wire.decoder.feed(data)
        except WireError as fault:
            self.tell(wire.node, events.LinkFault(wire.number, close_code(fault), str(fault)))
            return
        self.tell(wire.node, events.FramesReceived(wire.number, tuple(frames)))

    def inject(self, wire: Wire, data: bytes) -> None:
        """Let raw bytes come out of the far end of a link, as a peer that lies would send them."""
        self._send_bytes(wire, data)

    def _close_link(self, node: Node, effect: CloseLink) -> None:
        node.closed.append(effect)
        wire = node.wires.get(effect.link)
        if wire is not None:
            # What was sent before the close still arrives.
            self.after(self.latency * 2, lambda: self._close(wire))

    def _close(self, wire: Wire) -> None:
        for end in (wire, wire.other):
            if end is not None and end.open:
                end.open = False
                self.after(self._delay(), lambda end=end: self._link_down(end))  # type: ignore[misc]

    def _link_down(self, wire: Wire) -> None:
        if wire.node.wires.pop(wire.number, None) is not None:
            self.tell(wire.node, events.LinkDown(wire.number, "the connection ended"))

    def _delay(self) -> float:
        return self.latency + self.random.random() * self.jitter

    def _count(self, node: Node, effect: Count) -> None:
        node.counts[effect.name] += effect.amount

    def _deliver(self, node: Node, effect: Deliver) -> None:
        node.delivered.append(effect)

    def _outside(self, node: Node, effect: Effect) -> None:
        node.outside.append(effect)
        if self.federation is not None:
            self.federation(node, effect)

    def _state(self, node: Node, effect: StateChanged) -> None:
        if effect.reason:
            node.reasons.append(effect.reason)
        node.states.setdefault((effect.user, effect.message_id), []).append(effect.state)

    def _refused(self, node: Node, effect: SendRefused) -> None:
        node.refused.append(effect)

    def _neighbour(self, node: Node, effect: NeighbourChanged) -> None:
        node.neighbours.append(effect)

    def _notice(self, node: Node, effect: Notice) -> None:
        node.notices.append(effect)

    def _probed(self, node: Node, effect: ProbeDone) -> None:
        node.probed.append(effect)


_EFFECTS: dict[type, Callable[[World, Node, object], None]] = {
    SendFrame: World._send_frame,
    SendEnvelope: World._send_envelope,
    Recall: World._recall,
    RecallTexts: World._recall_texts,
    CloseLink: World._close_link,
    Connect: World._connect,
    SetTimer: World._set_timer,
    Count: World._count,
    Notice: World._notice,
    ProbeDone: World._probed,
    Deliver: World._deliver,
    StateChanged: World._state,
    SendRefused: World._refused,
    NeighbourChanged: World._neighbour,
    Outward: World._outside,
    InsideProof: World._outside,
    BroadcastHeard: World._outside,
    OutsideLookup: World._outside,
    OutsideAnswered: World._outside,
    LookupDone: World._outside,
    BundleMade: World._outside,
}  # type: ignore[assignment, dict-item]


def plain_world(seed: int = 0, **options: Any) -> World:
    """Return a world in which messages are single envelopes, without sessions."""
    return World(seed, plain=True, **options)


def plain_pair(seed: int = 0, **limits: object) -> tuple[World, Node, Node]:
    """Return a pair that writes so."""
    return pair(seed, plain=True, **limits)


def pair(seed: int = 0, *, plain: bool = False, **limits: object) -> tuple[World, Node, Node]:
    """Return a world with two nodes, anna and bert, that are linked."""
    world = World(seed, plain=plain)
    chosen = Limits(**limits)  # type: ignore[arg-type]
    anna, bert = world.add("anna", limits=chosen), world.add("bert", limits=chosen)
    world.find(anna, bert)
    world.run(1.0)
    return world, anna, bert

"""Meshes of several domains in one world, joined by a shuttle in the place of the federation's relays."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from cores import MemoryStore, Node, World
from qpq.crypto.identity import Address
from qpq.crypto.sealing import seal
from qpq.mesh import events
from qpq.mesh.effects import BroadcastHeard, InsideProof, OutsideAnswered, OutsideLookup, Outward
from qpq.wire.body import Body, encode_body
from qpq.wire.envelope import Mode, decode_envelope, envelope_id, sign_envelope
from qpq.wire.receipts import commitment

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import SecretIdentity
    from qpq.mesh.capsules import Capsule
    from qpq.mesh.effects import Effect
    from qpq.mesh.records import FederationInsert
    from qpq.wire.body import AnyBody
    from qpq.wire.crossing import Crossing
    from qpq.wire.envelope import Envelope

_MESSAGE = 0
AGAIN_S = 5.0
MAX_TRIES = 40


class Shuttle:
    """Carries rows of the gateways' federation tables to a live gateway of the other domain, until that has them.

    ``loss`` is the part that is lost on the way, ``twice`` that which comes twice. ``refuse`` says of a row why it
    is not carried on (empty: it is). A row that was taken or refused stays, so that it is not carried again.
    ``sharing``: domains that share all channels their gateways read; ``shared`` what of that has crossed, and where.
    """

    def __init__(self, world: World, *, loss: float = 0.0, twice: float = 0.0) -> None:
        self.world = world
        self.loss = loss
        self.twice = twice
        self.names: dict[tuple[str, str], Address] = {}
        self.refuse: Callable[[FederationInsert], str] = lambda _row: ""
        self.carried: list[FederationInsert] = []
        self.done: set[tuple[str, int, bytes]] = set()
        self.sharing: tuple[str, ...] = ()
        self.shared: list[tuple[bytes, str, str]] = []
        self._sharing: dict[bytes, tuple[str, bytes]] = {}
        self._busy: set[tuple[str, int, bytes]] = set()
        self._tokens: dict[bytes, tuple[Node, FederationInsert]] = {}
        world.federation = self.effect

    def gateways(self, domain: str) -> list[Node]:
        """The gateways of a domain that run."""
        nodes = self.world.nodes.values()
        return [
            node for node in nodes if node.core is not None and node.gateway is not None and node.gateway[1] == domain
        ]

    def effect(self, node: Node, effect: Effect) -> None:
        """Take what a gateway's core wants done."""
        if isinstance(effect, Outward | InsideProof):
            self.look(node)
        elif isinstance(effect, OutsideLookup):
            found = self.names.get((effect.name, effect.domain), b"")
            own = node.gateway is not None and node.gateway[1] == effect.domain
            reason = "" if found else "no such user"
            answer = events.OutsideFound(effect.asker, effect.token, found, "" if own else effect.domain, reason)
            self.world.after(0.2, lambda: self.world.tell(node, answer) and None)
        elif isinstance(effect, BroadcastHeard):
            assert node.gateway is not None
            self.share(node.gateway[1], effect.envelope)
        elif isinstance(effect, OutsideAnswered):
            self._answered(effect)

    def share(self, domain: str, data: bytes) -> None:
        """Bring a broadcast to the domains that share it and have not had it from there, or given it."""
        name = envelope_id(decode_envelope(data))
        for other in self.sharing if domain in self.sharing else ():
            known = {(name, domain, other), (name, other, domain)}
            if other != domain and not known & set(self.shared):
                self.shared.append((name, domain, other))
                token = self.world.random.randbytes(16)
                self._sharing[token] = (other, data)
                self._bring(self.gateways(other)[0], events.FromOutside(token, domain, data, 1))

    def _bring(self, to: Node, event: events.FromOutside) -> None:
        self.world.after(0.1, lambda: self.world.tell(to, event) and None)

    def look(self, node: Node) -> None:
        """Carry what a gateway keeps, also after a restart."""
        assert isinstance(node.store, MemoryStore)
        for row in node.store.federation.values():
            key = (node.name, row.kind, row.envelope_id)
            if key not in self.done and key not in self._busy:
                self._busy.add(key)
                self._try(node, row, 0)

    def _try(self, node: Node, row: FederationInsert, tries: int) -> None:
        key = (node.name, row.kind, row.envelope_id)
        if key in self.done:
            return
        if tries >= MAX_TRIES or node.core is None:
            self._busy.discard(key)
            return
        reason = self.refuse(row)
        gateways = self.gateways(row.domain)
        if reason:
            self.done.add(key)
            token = self.world.random.randbytes(16)
            refused = events.OutsideRefused(token, row.sender, row.envelope_id, reason)
            self.world.after(0.2, lambda: self.world.tell(node, refused) and None)
            return
        for _ in range(2 if self.world.random.random() < self.twice else 1):
            if gateways and self.world.random.random() >= self.loss:
                self._carry(node, row, self.world.random.choice(gateways))
        self.world.after(AGAIN_S, lambda: self._try(node, row, tries + 1))

    def _carry(self, node: Node, row: FederationInsert, to: Node) -> None:
        assert node.gateway is not None
        origin, token = node.gateway[1], self.world.random.randbytes(16)
        self._tokens[token] = (node, row)
        self.carried.append(row)
        event: events.Event = (
            events.FromOutside(token, origin, row.data, 1)
            if row.kind == _MESSAGE
            else events.OutsideProof(token, origin, row.recipient, row.data[:16], row.data[16:])
        )
        self.world.after(0.1, lambda: self.world.tell(to, event) and None)

    def _answered(self, effect: OutsideAnswered) -> None:
        if effect.token in self._sharing and not effect.reason:
            self.share(*self._sharing.pop(effect.token))
        if effect.token not in self._tokens or effect.retry or self.world.random.random() < self.loss:
            return
        node, row = self._tokens.pop(effect.token)
        self.done.add((node.name, row.kind, row.envelope_id))
        if effect.reason and row.kind == _MESSAGE:
            token = self.world.random.randbytes(16)
            refused = events.OutsideRefused(token, row.sender, row.envelope_id, effect.reason)
            self.world.after(0.1, lambda: self.world.tell(node, refused) and None)


def mesh(world: World, domain: str, *, gateways: int = 1, **options: object) -> list[Node]:
    """Add three nodes in a line, of which the last ``gateways`` are gateways of ``domain``; return them."""
    letter = domain[0]
    nodes = [
        world.add(f"{letter}{number}", gateway=domain if number >= 3 - gateways else "", **options)  # type: ignore[arg-type]
        for number in range(3)
    ]
    for node, other in pairwise(nodes):
        node.static = (other.address,)
        world.link(node, other)
    return nodes


def address(node: Node) -> Address:
    """Return the address of a node's first user."""
    return Address(node.user.address)


def slip(world: World, node: Node, recipient: bytes, body: Crossing, *, ttl: int = 3_600) -> Capsule:
    """Let a node's first user send any body to anybody, as a node that lies may."""
    assert node.core is not None
    outside = node.core._crossings.outside
    capsule = outside._capsules.word(node.user, Address(recipient), body, world.now, ttl=ttl, keeper=outside.border)
    world.tell(node, events.Tick())
    return capsule


def inner(
    sender: SecretIdentity,
    recipient: bytes,
    *,
    secret: bytes = b"s" * 16,
    body: AnyBody | None = None,
    mode: Mode = Mode.UNICAST,
    payload: bytes | None = None,
    ttl: int = 86_400,
) -> Envelope:
    """Return an envelope as it goes to another domain."""
    if payload is None:
        made = encode_body(body if body is not None else Body(secret, "hallo", secret))
        payload = seal(made, sender=sender.address, recipient=Address(recipient), entropy=b"e" * 32)
    return sign_envelope(
        sender,
        recipient=recipient,
        payload=payload,
        commitment=commitment(secret),
        ttl=ttl,
        max_hops=8,
        timestamp=0,
        mode=mode,
    )

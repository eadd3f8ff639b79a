"""Known ways to carry messages, to compare with: epidemic, PRoPHET, spray-and-wait, direct delivery.

They run over the same links, contacts and buffers as the core. All of them exchange what has been
delivered, so that copies of it go (Haas and Small 2006, "vaccine"): a baseline is to be strong.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qpq.mesh import events
from qpq.wire.varint import decode_varint, encode_varint
from sim.hosts import Host

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.mesh.events import Event
    from sim.record import Message
    from sim.world import World

COPIES = 8
"""Of spray-and-wait at the origin: as many as the core's."""
OVERHEAD = 200
"""Bytes an envelope has besides its text."""
WINDOW = 32 * 1024
"""Bytes handed to a neighbour without its word that it has them."""
REDIAL_S = 5.0
P_INIT, P_BETA, P_GAMMA, P_AGING_S = 0.75, 0.25, 0.98, 30.0
"""RFC 6693 section 3.3 in the form of the first paper (Lindgren, Doria, Schelen 2003)."""


@dataclass(slots=True)
class Carried:
    """A message in a node's buffer."""

    message_id: str
    target: int
    size: int
    expires: float
    copies: int


class Policy:
    """Direct delivery: nobody but the recipient gets a message. The others differ in a method or two."""

    def __init__(self, node: int) -> None:
        self.node = node

    def table(self, _now: float) -> dict[str, float]:
        """Return what a neighbour is told when a contact begins."""
        return {}

    def met(self, _peer: int, _table: dict[str, float], _now: float) -> None:
        """Take note of a contact."""

    def copies_for(self, _carried: Carried, _peer: int, _table: dict[str, float]) -> int:
        """Return how many copies a neighbour that is not the recipient gets; 0: none."""
        return 0

    def start(self) -> int:
        """Return with how many copies a message begins."""
        return 1


class Epidemic(Policy):
    """Everybody gets everything (Vahdat and Becker 2000)."""

    def copies_for(self, _carried: Carried, _peer: int, _table: dict[str, float]) -> int:
        """Return one: a copy of one's own is kept."""
        return 1


class Spray(Policy):
    """Binary spray and wait (Spyropoulos, Psounis, Raghavendra 2005)."""

    def start(self) -> int:
        """Return the budget."""
        return COPIES

    def copies_for(self, carried: Carried, _peer: int, _table: dict[str, float]) -> int:
        """Return half of what is left; the last copy waits for the recipient."""
        return carried.copies // 2


class Prophet(Policy):
    """Whoever is likelier to meet the recipient gets a copy (PRoPHET, GRTR)."""

    def __init__(self, node: int) -> None:
        super().__init__(node)
        self._chances: dict[int, float] = {}
        self._aged_at = 0.0

    def table(self, now: float) -> dict[str, float]:
        """Return the chances to meet each node."""
        self._age(now)
        return {str(node): round(chance, 4) for node, chance in self._chances.items() if chance > 0.001}

    def met(self, peer: int, table: dict[str, float], now: float) -> None:
        """Raise the chance of whom one met, and of whom that one meets."""
        self._age(now)
        chance = self._chances.get(peer, 0.0)
        self._chances[peer] = chance = chance + (1 - chance) * P_INIT
        for name, far in table.items():
            node = int(name)
            if node != self.node:
                known = self._chances.get(node, 0.0)
                self._chances[node] = known + (1 - known) * chance * far * P_BETA

    def copies_for(self, carried: Carried, _peer: int, table: dict[str, float]) -> int:
        """Return one for whoever is likelier to meet the recipient."""
        return int(table.get(str(carried.target), 0.0) > self._chances.get(carried.target, 0.0))

    def _age(self, now: float) -> None:
        factor = P_GAMMA ** ((now - self._aged_at) / P_AGING_S)
        self._aged_at = now
        self._chances = {node: chance * factor for node, chance in self._chances.items()}


POLICIES: dict[str, Callable[[int], Policy]] = {
    "direct": Policy,
    "epidemic": Epidemic,
    "spray": Spray,
    "prophet": Prophet,
}
UNLIMITED = "unlimited-"
"""In front of a policy's name: its buffers have no bound."""


def host(name: str, world: World, node: int, store_bytes: int) -> PolicyHost:
    """Return a node that runs a policy."""
    if name.startswith(UNLIMITED):
        name, store_bytes = name.removeprefix(UNLIMITED), 1 << 60
    return PolicyHost(world, node, POLICIES[name](node), store_bytes)


class Codec:
    """A document of JSON with its length in front; texts travel as so many zeros."""

    def __init__(self) -> None:
        self.max_frame = 0
        self._buffer = b""

    def encode(self, document: dict[str, Any]) -> bytes:
        """Return the bytes of a document."""
        body = json.dumps(document).encode() + bytes(document.get("pad", 0))
        return encode_varint(len(body)) + body

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Return the documents that ``data`` completes."""
        self._buffer += data
        found = []
        while (prefix := decode_varint(self._buffer, 0)) is not None:
            length, start = prefix
            if len(self._buffer) < start + length:
                break
            found.append(json.loads(self._buffer[start : start + length].rstrip(b"\0")))
            self._buffer = self._buffer[start + length :]
        return found


class _Contact:
    """A link that is up."""

    def __init__(self, peer: int) -> None:
        self.peer = peer
        self.table: dict[str, float] = {}
        self.greeted = False
        self.knows: set[str] = set()
        self.flying: dict[str, int] = {}


class PolicyHost(Host):
    """A node that runs a policy instead of the core; its buffer keeps through restarts, as a store would."""

    def __init__(self, world: World, number: int, policy: Policy, store_bytes: int) -> None:
        super().__init__(world, number)
        self.policy = policy
        self.room = store_bytes
        self.buffer: dict[str, Carried] = {}
        self.gone: set[str] = set()
        self.dropped = 0
        self._contacts: dict[int, _Contact] = {}
        self._near: dict[str, int] = {}

    def codecs(self, _peer: object) -> tuple[Codec, Codec]:
        """Return what encodes and what decodes a link."""
        return Codec(), Codec()

    def stop(self, *, orderly: bool) -> None:
        """Go down."""
        super().stop(orderly=orderly)
        self._contacts.clear()

    def keep(self, other: Host) -> None:
        """Dial a neighbour for ever."""
        self.world.agenda.after(1.0 + self.random.random(), self._found, other.address)

    def send(self, other: Host, message_id: bytes, size: int, ttl: int) -> None:
        """Take a message of this node's user."""
        self._keep(Carried(message_id.hex(), other.number, size + OVERHEAD, self.world.now + ttl, self.policy.start()))
        self._offer_all()
        self.end_turn()

    # --- links -------------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """Take an event of the links."""
        if not self.awake:
            return
        if isinstance(event, events.PeerFound):
            self._found(event.address)
        elif isinstance(event, events.LinkUp):
            peer = self.world.by_identity(event.peer)
            self._near.pop(peer.address, None)
            self._contacts[event.link] = _Contact(peer.number)
            self._expire()
            hello = {"have": list(self.buffer), "gone": list(self.gone), "table": self.policy.table(self.world.now)}
            self.lines.queue(event.link, hello)  # type: ignore[arg-type]
        elif isinstance(event, events.LinkDown):
            contact = self._contacts.pop(event.link, None)
            if contact is not None:
                self._again(self.world.hosts[contact.peer].address)
        elif isinstance(event, events.DialFailed):
            self._near.pop(event.address, None)
            self._again(event.address)
        elif isinstance(event, events.FramesReceived):
            for document in event.frames:
                self._took(event.link, document)  # type: ignore[arg-type]

    def _found(self, address: str) -> None:
        other = self.world.at_address(address)
        if other is None or not self.awake or address in self._near or self.number > other.number:
            return
        if any(contact.peer == other.number for contact in self._contacts.values()):
            return
        self._near[address] = other.number
        self.lines.connect(address, other.identity)

    def _again(self, address: str) -> None:
        other = self.world.at_address(address)
        edge = self.world.edge(self, other) if other is not None else None
        if edge is not None and edge.up:
            self.world.agenda.after(REDIAL_S, self._found, address)

    # --- messages ----------------------------------------------------------------------------------

    def _took(self, link: int, document: dict[str, Any]) -> None:
        contact = self._contacts.get(link)
        if contact is None:
            return
        if "have" in document:
            contact.greeted = True
            contact.knows.update(document["have"])
            contact.table = document["table"]
            self.policy.met(contact.peer, contact.table, self.world.now)
            self._cure(document["gone"])
        elif "id" in document:
            self._receive(link, contact, document)
        elif "took" in document:
            self._handed(contact, document["took"], document["copies"])
        if "cured" in document:
            self._cure(document["cured"])
        self._offer(link)

    def _receive(self, link: int, contact: _Contact, document: dict[str, Any]) -> None:
        message_id = document["id"]
        contact.knows.add(message_id)
        answer: dict[str, Any] = {"took": message_id, "copies": document["copies"]}
        if document["to"] == self.number:
            if message_id not in self.gone:
                self._delivered(message_id)
            self.gone.add(message_id)
            answer["cured"] = [message_id]
        elif message_id not in self.gone and message_id not in self.buffer:
            self._keep(Carried(message_id, document["to"], document["size"], document["until"], document["copies"]))
            self._offer_all()
        self.lines.queue(link, answer)  # type: ignore[arg-type]

    def _delivered(self, message_id: str) -> None:
        message: Message | None = self.world.record.messages.get(bytes.fromhex(message_id))
        if message is not None:
            message.arrived.setdefault(self.number, self.world.now)

    def _handed(self, contact: _Contact, message_id: str, copies: int) -> None:
        contact.flying.pop(message_id, None)
        contact.knows.add(message_id)
        carried = self.buffer.get(message_id)
        if carried is not None and carried.copies > 1:
            carried.copies = max(1, carried.copies - copies)

    def _cure(self, message_ids: list[str]) -> None:
        for message_id in message_ids:
            self.gone.add(message_id)
            self.buffer.pop(message_id, None)

    def _keep(self, carried: Carried) -> None:
        self._expire()
        used = sum(other.size for other in self.buffer.values())
        while self.buffer and used + carried.size > self.room:
            oldest = next(iter(self.buffer))
            used -= self.buffer.pop(oldest).size
            self.dropped += 1
        self.buffer[carried.message_id] = carried

    def _expire(self) -> None:
        now = self.world.now
        self.buffer = {key: carried for key, carried in self.buffer.items() if carried.expires > now}

    def _offer_all(self) -> None:
        for link in self._contacts:
            self._offer(link)

    def _offer(self, link: int) -> None:
        contact = self._contacts[link]
        if not contact.greeted:
            return
        held = sorted(self.buffer.values(), key=lambda carried: carried.target != contact.peer)
        for carried in held:
            if sum(contact.flying.values()) >= WINDOW:
                return
            if carried.message_id in contact.knows or carried.message_id in contact.flying:
                continue
            copies = (
                1 if carried.target == contact.peer else self.policy.copies_for(carried, contact.peer, contact.table)
            )
            if copies:
                self._hand(link, contact, carried, copies)

    def _hand(self, link: int, contact: _Contact, carried: Carried, copies: int) -> None:
        contact.flying[carried.message_id] = carried.size
        message = self.world.record.messages.get(bytes.fromhex(carried.message_id))
        if message is not None:
            message.transfers += 1
        self.lines.queue(
            link,
            {
                "id": carried.message_id,
                "to": carried.target,
                "size": carried.size,
                "until": carried.expires,
                "copies": copies,
                "pad": carried.size,
            },  # type: ignore[arg-type]
        )

"""Nodes that lie: the core that ships, with what it hears and says bent, and pulses of its own.

Each kind is one lie. All of them link, greet and route as honest nodes do, for a liar that nobody links with
harms nobody.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from qpq.crypto.identity import Address, SecretIdentity
from qpq.errors import QpqError
from qpq.mesh import events
from qpq.wire.announce import sign_announce
from qpq.wire.envelope import Mode, envelope_id, sign_envelope
from qpq.wire.frames import Custody, CustodyCode, Receipt, Transfer
from qpq.wire.frames_mesh import Announce, Graft, IHave, Prune, Query, Reconcile, Route
from qpq.wire.query import sign_query
from qpq.wire.reconcile import SALT_SIZE, Items, initiate
from sim.hosts import CoreHost
from sim.topology import REACHABLE_LOSS

if TYPE_CHECKING:
    import random

    from qpq.mesh.events import Event
    from qpq.mesh.limits import Limits
    from qpq.wire.envelope import Envelope
    from qpq.wire.frames import Frame
    from sim.run import Run
    from sim.scenario import Scenario
    from sim.topology import Graph
    from sim.world import World

PULSE_S = 10.0
REMEMBERED = 64
"""Frames a replayer keeps."""
FLOOD = 8
"""Things of each kind that a flooder makes at each pulse and sends over each of its links."""
FLOOD_PAYLOAD = 1900
"""Bytes of a payload whose envelope takes a whole page of the store, for the least work here."""
SIBLINGS = 4
"""Further identities of a Sybil, each linked to all its neighbours."""


class LiarError(QpqError):
    """A scenario asks for a lie that is not known."""


class Liar(CoreHost):
    """A node that bends what goes through it; this one, the black hole, takes whatever comes and passes nothing on."""

    def tell(self, event: Event) -> None:
        """Let only what ``hear`` lets through reach the core."""
        if isinstance(event, events.FramesReceived):
            event = events.FramesReceived(
                event.link, tuple(frame for frame in event.frames if self.hear(event.link, frame))
            )
        elif isinstance(event, events.FrameReceived) and not self.hear(event.link, event.frame):
            return
        super().tell(event)

    def start(self) -> None:
        """Come up, and begin to pulse."""
        super().start()
        self.world.agenda.after(PULSE_S * (1 + self.random.random()), self._beat, self.boot)

    def _beat(self, boot: int) -> None:
        if self.awake and self.boot == boot:
            self.pulse()
            self.end_turn()
            self.world.agenda.after(PULSE_S, self._beat, boot)

    def hear(self, link: int, frame: Frame) -> bool:
        """Return whether the core may hear a frame."""
        if type(frame) is Query:
            return frame.target == self.user
        if type(frame) is not Transfer or frame.envelope.recipient == self.user:
            return True
        if frame.envelope.mode is Mode.UNICAST:
            self.lie(link, Custody(((envelope_id(frame.envelope), CustodyCode.ACCEPTED),)))
        return False

    def pulse(self) -> None:
        """Do what this liar does now and then."""

    def lie(self, link: int, frame: Frame) -> None:
        """Say something the core did not."""
        self.lines.queue(link, frame)


class Replay(Liar):
    """Sends again what it has heard, to everybody, for ever."""

    def __init__(self, world: World, number: int, limits: Limits) -> None:
        super().__init__(world, number, limits)
        self.heard: list[Frame] = []

    def hear(self, link: int, frame: Frame) -> bool:
        """Remember it; be honest besides."""
        del link
        if isinstance(frame, Transfer | Receipt | Route | Announce):
            self.heard.append(frame)
            del self.heard[:-REMEMBERED]
        return True

    def pulse(self) -> None:
        """Send some of it to all."""
        for link in self.lines.numbers:
            for frame in self.random.sample(self.heard, min(8, len(self.heard))):
                self.lie(link, frame)


class Flood(Liar):
    """Makes envelopes from and to nobody, as fast as it may and faster."""

    def hear(self, link: int, frame: Frame) -> bool:
        """Be honest besides."""
        del link, frame
        return True

    def pulse(self) -> None:
        """Send much over each link: envelopes for nobody, users of no node, questions for nobody, ids of nothing."""
        frames: list[Frame] = []
        for number in range(FLOOD):
            author = SecretIdentity(self.random.randbytes(32))
            mode = Mode.CHANNEL if number % 2 else Mode.UNICAST
            recipient = self.random.randbytes(16 if mode is Mode.CHANNEL else 32)
            frames += [
                Transfer(1, 8, 0, self._envelope(author, mode, recipient)),
                sign_announce(author, node=self.identity, boot=1, counter=number + 1),
                Route(2, 32, sign_announce(author, node=author.identity, boot=1, counter=1)),
                sign_query(author, Address(self.random.randbytes(32)), 1, number + 1),
                IHave(tuple(self.random.randbytes(16) for _ in range(16))),
            ]
        for link in self.lines.numbers:
            for frame in frames:
                self.lie(link, frame)

    def _envelope(self, author: SecretIdentity, mode: Mode, recipient: bytes) -> Envelope:
        return sign_envelope(
            author,
            mode=mode,
            urgent=False,
            recipient=recipient,
            ttl=86_400,
            max_hops=64,
            timestamp=0,
            commitment=self.random.randbytes(16),
            payload=self.random.randbytes(FLOOD_PAYLOAD),
        )


class Forge(Liar):
    """Says it is next to everybody, and drops what comes: forged routes and hop counts, and a black hole."""

    def __init__(self, world: World, number: int, limits: Limits) -> None:
        super().__init__(world, number, limits)
        self.announces: dict[bytes, Announce] = {}

    def hear(self, link: int, frame: Frame) -> bool:
        """Keep every announce, and answer every query."""
        if isinstance(frame, Route):
            self.announces[frame.announce.address] = frame.announce
        elif isinstance(frame, Query) and frame.target in self.announces:
            self.lie(link, Route(1, 0, self.announces[frame.target]))
        return super().hear(link, frame)

    def send_frame(self, number: int, frame: Frame) -> None:
        """Bend the hops and costs of every route."""
        super().send_frame(number, replace(frame, hops=1, cost=0) if isinstance(frame, Route) else frame)

    def pulse(self) -> None:
        """Tell every neighbour of the shortest way to everybody."""
        for link in self.lines.numbers:
            known = list(self.announces.values())
            for announce in self.random.sample(known, min(16, len(known))):
                self.lie(link, Route(1, 0, announce))


class FalseReceipts(Liar):
    """Answers every envelope with a proof that proves nothing, and drops it."""

    def hear(self, link: int, frame: Frame) -> bool:
        """Claim delivery."""
        if type(frame) is Transfer and frame.envelope.recipient != self.user:
            self.lie(link, Receipt(((self.random.randbytes(16), self.random.randbytes(32)),)))
            self.lie(link, Custody(((envelope_id(frame.envelope), CustodyCode.DUPLICATE),)))
            return False
        return True

    def pulse(self) -> None:
        """Claim the delivery of what nobody ever sent."""
        for link in self.lines.numbers:
            self.lie(link, Receipt(tuple((self.random.randbytes(16), self.random.randbytes(32)) for _ in range(8))))


class FalseReconciliation(Liar):
    """Names flooded things that do not exist, asks for what nobody has, and compares for ever."""

    def hear(self, link: int, frame: Frame) -> bool:
        """Answer with ids of nothing, or with none at all; let channel envelopes go no further."""
        if type(frame) is Reconcile:
            items = Items()
            for _ in range(self.random.choice((0, 8))):
                items.add(self.random.randbytes(16))
            self.lie(link, Reconcile(initiate(items, self.random.randbytes(SALT_SIZE))))
            return False
        return not (type(frame) is Transfer and frame.envelope.mode is Mode.CHANNEL)

    def pulse(self) -> None:
        """Promise and ask, and tell all to keep broadcasts to themselves."""
        for link in self.lines.numbers:
            ids = tuple(self.random.randbytes(16) for _ in range(16))
            self.lie(link, IHave(ids))
            self.lie(link, Graft(False, ids))
            self.lie(link, Prune())


KINDS: dict[str, type[Liar]] = {
    "blackhole": Liar,
    "replay": Replay,
    "flood": Flood,
    "forge": Forge,
    "sybil": Forge,
    "receipts": FalseReceipts,
    "reconciliation": FalseReconciliation,
}


def host(kind: str, world: World, number: int, limits: Limits) -> Liar:
    """Return a node that lies."""
    if kind not in KINDS:
        raise LiarError(f"the lie {kind!r} is not known; there are {', '.join(KINDS)}")
    return KINDS[kind](world, number, limits)


def choose(scenario: Scenario, graph: Graph, rng: random.Random) -> dict[int, str]:
    """Return which nodes lie and how; ``kind`` mixed takes all kinds in turn.

    A Sybil's further identities are added to the graph, each with edges to all its neighbours.
    """
    chosen: dict[int, str] = {}
    honest = list(range(graph.nodes))
    for entry in scenario.liars:
        kinds = list(KINDS) if entry["kind"] == "mixed" else [entry["kind"]]
        count = int(graph.nodes * entry["part"])
        for index, node in enumerate(rng.sample([node for node in honest if node not in chosen], count)):
            chosen[node] = kinds[index % len(kinds)]
    for node in [node for node, kind in chosen.items() if kind == "sybil"]:
        for _ in range(SIBLINGS):
            sibling = graph.nodes
            graph.nodes += 1
            graph.edges += [
                (sibling, b if a == node else a, there, back) for a, b, there, back in graph.edges if node in {a, b}
            ]
            chosen[sibling] = "sybil"
    return chosen


def honest_graph(result: Run) -> Graph:
    """Return the graph without the edges of liars."""
    honest = result.honest
    return replace(result.graph, edges=[edge for edge in result.graph.edges if honest[edge[0]] and honest[edge[1]]])


def bound(result: Run) -> float:
    """Return the part of all pairs of honest nodes that a path of honest nodes joins: more nobody can promise."""
    if all(result.honest):
        return 1.0
    roots = honest_graph(result).components(REACHABLE_LOSS)
    honest = [node for node, is_honest in enumerate(result.honest) if is_honest]
    sizes = Counter(roots[node] for node in honest)
    pairs = len(honest) * (len(honest) - 1)
    return sum(size * (size - 1) for size in sizes.values()) / pairs if pairs else 1.0

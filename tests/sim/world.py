"""The world of a run: nodes, the pipes between them, who can dial whom."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from qpq.link.limits import LinkLimits
from qpq.mesh import events
from sim.agenda import Agenda
from sim.handshake import Handshake
from sim.lines import ModelLines
from sim.medium import Pipe, Quality
from sim.record import Record
from sim.transport import End

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qpq.crypto.identity import Identity
    from sim.hosts import CoreHost, Host
    from sim.outside import Relay

REFUSED_S = 1.0
"""How long a dial to where nobody can be takes to fail."""
SOLICITATIONS, SOLICITATION_BYTES, SOLICITED_S = 3, 86, 3.0
"""What it takes to find that nobody is there: the kernel asks for the neighbour's address (RFC 4861 section 7.2.2)."""


class Edge:
    """Two nodes that can hear each other; ``there`` leads from the first to the second, ``back`` the other way."""

    __slots__ = ("a", "b", "back", "there")

    def __init__(self, a: Host, b: Host, there: Pipe, back: Pipe) -> None:
        self.a = a
        self.b = b
        self.there = there
        self.back = back

    @property
    def up(self) -> bool:
        """Whether anything passes."""
        return self.there.open

    @up.setter
    def up(self, value: bool) -> None:
        self.there.open = self.back.open = value


class World:
    """Nodes and edges in virtual time; everything random comes from ``seed``."""

    def __init__(self, seed: int, *, link_limits: LinkLimits | None = None) -> None:
        self.seed = seed
        self.random = random.Random(f"{seed} world")  # noqa: S311 (a seeded run)
        self.agenda = Agenda()
        self.record = Record(self.agenda)
        self.link_limits = link_limits or LinkLimits()
        self.hosts: list[Host] = []
        self.gateways: list[CoreHost] = []
        self.carried: dict[bytes, Relay] = {}
        """What was carried from one gateway to another (a token), and whose it is (``outside``)."""
        self.edges: dict[tuple[int, int], Edge] = {}
        self._near: dict[int, dict[int, Edge]] = {}
        self._by_address: dict[str, Host] = {}
        self._by_identity: dict[Identity, Host] = {}
        self._links = 0
        self.free_until = 0.0
        """Until then a dial succeeds at once and costs nothing: the start of large runs."""

    # --- building --------------------------------------------------------------------------------------

    def add(self, host: Host, lines: Callable[[Host, World], ModelLines] = ModelLines) -> Host:
        """Take in a node; it does not run yet."""
        host.lines = lines(host, self)
        self.hosts.append(host)
        self._by_address[host.address] = host
        self._by_identity[host.identity] = host
        return host

    def join(self, a: Host, b: Host, there: Quality, back: Quality) -> Edge:
        """Let two nodes hear each other."""
        edge = Edge(a, b, Pipe(there, self.random), Pipe(back, self.random))
        self.edges[a.number, b.number] = edge
        self._near.setdefault(a.number, {})[b.number] = edge
        self._near.setdefault(b.number, {})[a.number] = edge
        return edge

    # --- questions -------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return self.agenda.now

    def neighbours(self, host: Host) -> Iterator[Host]:
        """Whoever shares an edge with a node."""
        for number in self._near.get(host.number, {}):
            yield self.hosts[number]

    def edge(self, a: Host, b: Host) -> Edge | None:
        """Return the edge of two nodes."""
        return self._near.get(a.number, {}).get(b.number)

    def at_address(self, address: str) -> Host | None:
        """Return who listens at an address."""
        return self._by_address.get(address)

    def by_identity(self, identity: Identity) -> Host:
        """Return the node with an identity."""
        return self._by_identity[identity]

    def pipe(self, a: Host, b: Host) -> Pipe | None:
        """Return what leads from one node to the other."""
        edge = self.edge(a, b)
        return None if edge is None else edge.there if edge.a is a else edge.back

    # --- links -----------------------------------------------------------------------------------------

    def dial(self, host: Host, address: str, identity: Identity | None) -> None:
        """Begin a handshake; LinkUp on both sides, or DialFailed, follows."""
        other = self._by_address.get(address)
        forth = self.pipe(host, other) if other is not None else None
        if other is None or forth is None:
            self.agenda.after(REFUSED_S, self._tell, (host, events.DialFailed(address, "no route to host")))
            return
        if identity not in (None, other.identity):
            self.agenda.after(REFUSED_S, self._tell, (host, events.DialFailed(address, "another key")))
            return
        if not (forth.open and other.awake):
            for _ in range(SOLICITATIONS):
                host.sent("solicitation", SOLICITATION_BYTES)
            self.agenda.after(SOLICITED_S, self._tell, (host, events.DialFailed(address, "no route to host")))
            return
        if self.now < self.free_until:
            self.agenda.after(forth.quality.delay, self._link, (host, other))
            return
        back = self.pipe(other, host)
        assert back is not None
        Handshake(
            self.agenda,
            host,
            other,
            forth,
            back,
            limits=self.link_limits,
            up=lambda rtt: self._up(host, other, forth, back, rtt),
            accepted=lambda end: self._accepted(other, end, host),
            failed=lambda reason: self._tell((host, events.DialFailed(address, reason))),
        )

    def _link(self, ends: tuple[Host, Host]) -> None:
        a, b = ends
        forth, back = self.pipe(a, b), self.pipe(b, a)
        assert forth is not None
        assert back is not None
        if not (a.awake and b.awake):
            self._tell((a, events.DialFailed(b.address, "no answer")))
            return
        rtt = forth.quality.delay + back.quality.delay + 0.001
        near, far = self._up(a, b, forth, back, rtt)
        near.held = far.held = False
        far.recovery.prime(rtt, self.now)
        self._accepted(b, far, a)
        a.end_turn()
        b.end_turn()
        near.flush()

    def _up(self, host: Host, other: Host, forth: Pipe, back: Pipe, rtt: float) -> tuple[End, End]:
        near = self._end(host, forth, initiator=True)
        far = self._end(other, back, initiator=False)
        near.recovery.prime(rtt, self.now)
        near.other, far.other = far, near
        host.lines.add(near, other.identity)
        host.tell(events.LinkUp(near.number, other.identity, other.address, initiator=True))
        host.end_turn()
        return near, far

    def _accepted(self, other: Host, end: End, host: Host) -> None:
        other.lines.add(end, host.identity)
        other.tell(events.LinkUp(end.number, host.identity, host.address, initiator=False))

    def _end(self, owner: Host, pipe: Pipe, *, initiator: bool) -> End:
        self._links += 1
        return End(
            owner,
            self._links,
            pipe,
            self.agenda,
            initiator=initiator,
            jitter=self.random.random(),
            limits=self.link_limits,
        )

    def _tell(self, what: tuple[Host, events.Event]) -> None:
        host, event = what
        host.tell(event)
        host.end_turn()

"""One run of a scenario with one seed: build the world, let it live, and hand back what happened."""

from __future__ import annotations

import gc
import random
import resource
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cores import UNIX_AT_ZERO
from qpq.crypto.channels import open_key
from qpq.daemon.memory import core_limits
from qpq.mesh import events
from qpq.mesh.events import Via
from qpq.mesh.limits import MIB, Limits
from sim import liars, life, mobility, policies, topology, traffic
from sim.figures import SERVER_DEGREE
from sim.hosts import CoreHost
from sim.lines import ModelLines
from sim.medium import Quality
from sim.memo import remembered_signatures
from sim.outside import Relay
from sim.quic import QuicLines, seeded_urandom
from sim.traffic import TOPIC
from sim.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sim.hosts import Host
    from sim.scenario import Scenario
    from sim.topology import Graph

ROUTER_LINKS = 24
STEPS = 200
GIVEN_S = 20.0
"""How long after the last node's start links still come up without a handshake, where the scenario gives them."""


@dataclass(slots=True)
class Snapshot:
    """Bytes and packets that each node had sent by a moment, and nanoseconds its core had taken."""

    at: float
    tx_bytes: list[int]
    tx_packets: list[int]
    cpu_ns: list[int]
    frame_bytes: Counter[str]
    tx_kinds: Counter[str]


@dataclass(slots=True)
class Run:
    """A run that is over; ``seconds`` of processor time, everything else is the seed's."""

    scenario: Scenario
    seed: int
    world: World
    graph: Graph
    marks: dict[str, Snapshot] = field(default_factory=dict)
    honest: list[bool] = field(default_factory=list)
    bound: float = 1.0
    """The part of the pairs asked for that an honest path joins."""
    seconds: float = 0.0
    memory_bytes: int = 0

    def mark(self, name: str) -> None:
        """Remember what nodes have sent and done by now."""
        hosts = self.world.hosts
        self.marks[name] = Snapshot(
            self.world.now,
            [host.tx_bytes for host in hosts],
            [host.tx_packets for host in hosts],
            [host.cpu_ns for host in hosts],
            Counter(self.world.record.frame_bytes),
            sum((host.tx_kinds for host in hosts), Counter()),
        )

    def quality(self, loss: float) -> Quality:
        """Return a link's quality: its own loss, the rest as the scenario says."""
        options = {name: value for name, value in self.scenario.link.items() if name != "loss"}
        return Quality(loss=loss, **options)


def run(scenario: Scenario, seed: int, progress: Callable[[float], None] = lambda _: None) -> Run:
    """Run a scenario; ``progress`` is told the part that is over, 0 to 1."""
    began = time.process_time()
    with ExitStack() as stack:
        stack.enter_context(remembered_signatures())
        stack.enter_context(seeded_urandom(seed))
        stack.enter_context(_rare_collections())
        before = _memory()
        world = World(seed)
        rng = random.Random(f"{seed} plan")  # noqa: S311 (a seeded run)
        moving = mobility.nodes(scenario.mobility)
        options = {"kind": "none", "nodes": moving} if moving else scenario.topology
        graph = topology.make(options, scenario.link.get("loss", 0.0), rng)
        result = Run(scenario, seed, world, graph)
        _build(result, rng)
        _start(result, rng)
        _advance(result, scenario.start_spread + scenario.settle, progress)
        result.mark("settled")
        _advance(result, scenario.traffic_at, progress)
        result.mark("rested")
        life.plan(result, rng)
        traffic.plan(result, rng)
        _advance(result, scenario.end, progress)
        result.mark("end")
        result.memory_bytes = _memory() - before
    result.seconds = time.process_time() - began
    return result


# --- building -----------------------------------------------------------------------------------------


def _build(result: Run, rng: random.Random) -> None:
    scenario, world, graph = result.scenario, result.world, result.graph
    chosen = liars.choose(scenario, graph, rng)
    degrees = graph.degrees()
    result.honest = [node not in chosen for node in range(graph.nodes)]
    lines = QuicLines if scenario.transport == "quic" else ModelLines
    for node in range(graph.nodes):
        host = _host(result, node, degrees[node], chosen.get(node))
        world.add(host, lines)
    clocks(scenario, world, rng)
    cores = [host for host in world.hosts if isinstance(host, CoreHost)]
    honest = [host for host in cores if result.honest[host.number]]
    world.gateways = rng.sample(honest, scenario.nodes.get("gateways", 0))
    for gateway in world.gateways:
        gateway.relay = Relay(gateway)
    for a, b, there, back in graph.edges:
        world.join(world.hosts[a], world.hosts[b], result.quality(there), result.quality(back))
    for a, b in world.edges:
        _wire(result, world.hosts[a], world.hosts[b], degrees)
    result.bound = liars.bound(result)


def _host(result: Run, node: int, degree: int, lie: str | None) -> Host:
    scenario, world = result.scenario, result.world
    if scenario.policy:
        return policies.host(scenario.policy, world, node, scenario.nodes.get("buffer", 2 * MIB))
    server = degree > scenario.nodes.get("server_degree", SERVER_DEGREE)
    if server or scenario.nodes.get("limits", "router") == "pc":
        limits = Limits()
    else:
        limits = core_limits(max_links=ROUTER_LINKS, store_bytes=scenario.nodes.get("store_bytes", 2 * MIB))
    if "buffer" in scenario.nodes:
        # Policies keep their own messages in it too; what they have delivered leaves it, so inboxes are no part of it.
        buffer = scenario.nodes["buffer"]
        limits = replace(
            limits, relay_bytes=buffer * 3 // 4, outbox_bytes=buffer // 4, inbox_bytes=Limits().inbox_bytes
        )
    if not scenario.sessions:
        limits = replace(limits, sessions=0)
    if "caps" in scenario.nodes:
        limits = replace(limits, **scenario.nodes["caps"])
    if lie is not None:
        return liars.host(lie, world, node, limits)
    return CoreHost(world, node, limits)


def clocks(scenario: Scenario, world: World, rng: random.Random) -> None:
    """Take the clock from some nodes, and set that of others wrong."""
    hosts = [host for host in world.hosts if isinstance(host, CoreHost)]
    for host in rng.sample(hosts, int(len(hosts) * scenario.nodes.get("no_clock", 0.0))):
        host.clock = None
    wrong_by = scenario.nodes.get("wrong_by", 365 * 86_400)
    for host in rng.sample(hosts, int(len(hosts) * scenario.nodes.get("wrong_clock", 0.0))):
        host.clock = (UNIX_AT_ZERO + wrong_by, True)


def _wire(result: Run, a: Host, b: Host, degrees: Any) -> None:
    """Have the end with fewer neighbours dial the other: kept addresses are few."""
    if result.scenario.links == "discovered":
        return
    dialler, other = (a, b) if degrees[a.number] <= degrees[b.number] else (b, a)
    dialler.keep(other)


def _start(result: Run, rng: random.Random) -> None:
    scenario, world = result.scenario, result.world
    readers = scenario.nodes.get("readers", 1.0)
    key = open_key(TOPIC)
    for host in world.hosts:
        reads = rng.random() < readers  # drawn for every node: with a policy all else is to stay the same
        if isinstance(host, CoreHost) and reads:
            host.channels[key] = events.ChannelJoined(host.user, key)
    for host in world.hosts:
        world.agenda.at(scenario.start_spread * rng.random(), lambda host: host.start(), host)
    if scenario.links == "given":
        world.free_until = scenario.start_spread + GIVEN_S
    elif scenario.links == "discovered":
        world.agenda.at(scenario.start_spread, _meet_all, world)
    if scenario.mobility:
        world.agenda.at(scenario.start_spread, lambda _: mobility.plan(result, lambda edge: meet(edge.a, edge.b)))


def _meet_all(world: World) -> None:
    for edge in world.edges.values():
        meet(edge.a, edge.b)


def meet(a: Host, b: Host) -> None:
    """Let discovery tell two nodes of each other."""
    for host, other in ((a, b), (b, a)):
        host.tell(events.PeerFound(other.address, Via.BEACON, other.identity))
        host.end_turn()


# --- running ---------------------------------------------------------------------------------------------


def _advance(result: Run, until: float, progress: Callable[[float], None]) -> None:
    agenda, end = result.world.agenda, result.scenario.end
    step = end / STEPS
    while agenda.now < until:
        agenda.run(min(until, agenda.now + step))
        progress(agenda.now / end)
    gc.collect()


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Leave out the search for cycles of garbage: in a heap of thousands of nodes it took a third of the time."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

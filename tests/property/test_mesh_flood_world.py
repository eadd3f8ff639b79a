"""Broadcasts over random graphs, through loss, cuts, crashes, partitions and latecomers: all to all, nothing twice."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from cores import World
from flood_kit import UNIX, Station, broadcast, peer
from qpq.crypto.channels import open_key
from qpq.mesh import counters, effects, events
from qpq.mesh.limits import Limits
from qpq.wire.envelope import Mode, envelope_id
from qpq.wire.frames import Custody, CustodyCode, Transfer
from qpq.wire.frames_mesh import Graft, IHave, Prune, Reconcile
from qpq.wire.reconcile import Items, initiate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cores import Node, Wire
    from qpq.wire.frames import Frame

KEY = open_key("all")
LIMITS = Limits(target_links=0)
FLOODED = (Transfer, IHave, Graft, Prune, Reconcile)

Edge = tuple[str, str]


class Rough(World):
    """A world whose links each have a delay and a loss: what is lost comes late and holds up what follows.

    ``traffic`` counts the bytes of flooded things' frames by their kind.
    """

    def __init__(self, seed: int, *, loss: float = 0.0) -> None:
        super().__init__(seed, plain=True)
        self.loss = loss
        self.traffic: Counter[type] = Counter()
        self._ways: dict[frozenset[str], tuple[float, float]] = {}
        self._last: dict[int, float] = {}

    def _send_bytes(self, wire: Wire, data: bytes) -> None:
        self.bytes_sent += len(data)
        self.traffic[type(self.frames[-1][2])] += len(data)
        other = wire.other
        assert other is not None
        delay, loss = self._ways.setdefault(
            frozenset((wire.node.name, other.node.name)),
            (self.random.uniform(0.002, 0.05), min(0.8, self.random.expovariate(1 / self.loss)) if self.loss else 0.0),
        )
        at, timeout = self.now + delay, max(0.1, 3 * delay)
        while self.random.random() < loss:
            at, timeout = at + timeout, min(2 * timeout, 10.0)
        self._last[wire.number] = at = max(at, self._last.get(wire.number, 0.0))
        self.after(at - self.now, lambda: self._bytes_come(other, data))

    def total(self, name: str) -> int:
        return sum(node.counts[name] for node in self.nodes.values())

    def flooded_bytes(self) -> int:
        return sum(self.traffic[kind] for kind in FLOODED)


def grid(side: int) -> list[Edge]:
    return [
        (f"{x}.{y}", f"{x + dx}.{y + dy}")
        for x in range(side)
        for y in range(side)
        for dx, dy in ((0, 1), (1, 0))
        if x + dx < side and y + dy < side
    ]


def random_graph(nodes: int, degree: float, seed: int) -> list[Edge]:
    """Return a connected graph: a random tree, and edges up to a mean degree."""
    chance = random.Random(seed)  # noqa: S311 (a seed)
    edges = {(f"n{chance.randrange(number)}", f"n{number}") for number in range(1, nodes)}
    while len(edges) < nodes * degree / 2:
        one, other = sorted(chance.sample(range(nodes), 2))
        edges.add((f"n{one}", f"n{other}"))
    return sorted(edges)


def all_read(world: Rough, edges: Iterable[Edge], *, limits: Limits = LIMITS, settle: float = 20.0) -> list[Node]:
    """Build the graph, let everybody read the channel and the links come up."""
    nodes = list(world.graph(edges, limits=limits).values())
    for node in nodes:
        world.subscribe(node, KEY)
    world.run(settle)
    return nodes


def copies(world: Rough, nodes: list[Node], count: int, *, wait: float = 10.0) -> list[float]:
    """Let random nodes broadcast; return the copies per delivery of each, repair and reconciliation included."""
    figures = []
    for number in range(count):
        before = world.total(counters.FLOOD_TAKEN), world.total(counters.FLOOD_DUPLICATE)
        world.broadcast(world.random.choice(nodes), KEY, str(number))
        world.run(wait)
        taken = world.total(counters.FLOOD_TAKEN) - before[0]
        figures.append((taken + world.total(counters.FLOOD_DUPLICATE) - before[1]) / max(taken, 1))
    return figures


def check_all_have_all(nodes: Iterable[Node], expected: int) -> None:
    for node in nodes:
        shown = [effect.message_id for effect in node.delivered]
        assert len(shown) == len(set(shown)), f"{node.name} was shown something twice"
        own = len(node.store.outbox)  # type: ignore[attr-defined]
        assert len(shown) + own == expected, f"{node.name} has {len(shown)} and made {own} of {expected}"


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    nodes=st.integers(2, 24),
    degree=st.floats(2.0, 8.0),
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.1, 0.3]),
)
def test_every_node_of_any_graph_gets_every_broadcast_once(nodes: int, degree: float, seed: int, loss: float) -> None:
    world = Rough(seed, loss=loss)
    everybody = all_read(world, random_graph(nodes, min(degree, nodes - 1), seed))
    for number in range(6):
        world.broadcast(world.random.choice(everybody), KEY, str(number))
        world.run(world.random.random())
    world.run(300.0)
    check_all_have_all(everybody, 6)


@pytest.mark.parametrize("loss", [0.0, 0.1, 0.3])
def test_copies_per_delivery_fall_below_two_and_stay_there(loss: float) -> None:
    world = Rough(7, loss=loss)
    nodes = all_read(world, grid(7))
    figures = copies(world, nodes, 16)
    assert max(figures[9:]) < 2
    assert sum(figures[9:]) / len(figures[9:]) < 1.4
    cut = world.random.sample(grid(7), 12)
    for one, other in cut:
        world.part(world.nodes[one], world.nodes[other])
    figures = copies(world, nodes, 14)
    assert max(figures[9:]) < 2
    for one, other in cut:
        world.join(world.nodes[one], world.nodes[other])
    world.run(700.0)
    figures = copies(world, nodes, 14)
    assert max(figures[9:]) < 2
    check_all_have_all(nodes, 44)


def test_a_partition_heals_at_a_cost_in_proportion_to_the_difference() -> None:
    costs = []
    for difference in (4, 16, 64):
        world = Rough(3)
        nodes = all_read(world, grid(6))
        for number in range(40):
            world.broadcast(nodes[number % 36], KEY, f"before {number}")
            world.run(1.0)
        border = [edge for edge in grid(6) if {edge[0][0], edge[1][0]} == {"2", "3"}]
        for one, other in border:
            world.part(world.nodes[one], world.nodes[other])
        for number in range(difference):
            world.broadcast(nodes[number * 7 % 36], KEY, f"apart {number}")
            world.run(2.0)
        world.run(400.0)
        before, taken = world.flooded_bytes(), world.total(counters.FLOOD_TAKEN)
        for one, other in border:
            world.join(world.nodes[one], world.nodes[other])
        world.run(700.0)
        check_all_have_all(nodes, 40 + difference)
        assert world.total(counters.FLOOD_TAKEN) - taken == difference * 18
        costs.append((world.flooded_bytes() - before) / (difference * 18))
    assert max(costs) < 400, costs
    assert costs[2] <= costs[0], costs


def test_reconciliation_costs_little_more_than_the_ids_that_differ() -> None:
    world = Rough(5)
    anna, bert = all_read(world, [("anna", "bert")])
    for number in range(300):
        world.broadcast((anna, bert)[number % 2], KEY, f"both {number}")
        world.run(1.0)
    world.part(anna, bert)
    for number in range(100):
        world.broadcast((anna, bert)[number % 2], KEY, f"apart {number}")
        world.run(1.0)
    world.run(10.0)
    before = Counter(world.traffic)
    world.join(anna, bert)
    world.run(400.0)
    check_all_have_all((anna, bert), 400)
    spent = world.traffic - before
    assert (spent[Reconcile] + spent[Graft]) / 100 < 80


def test_a_restarted_node_takes_each_thing_that_it_missed_once() -> None:
    world = Rough(9)
    nodes = all_read(world, random_graph(20, 6, 9))
    for number in range(20):
        world.broadcast(nodes[0], KEY, f"before {number}")
        world.run(1.0)
    away = nodes[7]
    world.crash(away)
    for number in range(40):
        world.broadcast(nodes[0], KEY, f"missed {number}")
        world.run(1.0)
    before = away.counts[counters.FLOOD_TAKEN], away.counts[counters.FLOOD_DUPLICATE], world.total(counters.FLOOD_TAKEN)
    world.start(away)
    world.run(400.0)
    assert away.counts[counters.FLOOD_TAKEN] - before[0] == 40
    assert away.counts[counters.FLOOD_DUPLICATE] - before[1] <= 8
    assert world.total(counters.FLOOD_TAKEN) - before[2] == 40
    check_all_have_all(nodes, 60)


def test_at_rest_almost_nothing_is_sent() -> None:
    world = Rough(2)
    nodes = all_read(world, grid(5))
    copies(world, nodes, 10)
    world.run(7_200.0)
    before = world.flooded_bytes()
    world.run(7_200.0)
    assert (world.flooded_bytes() - before) / 7_200 / len(nodes) < 0.05


def test_a_hub_of_many_links_sends_each_broadcast_once() -> None:
    world = Rough(4)
    edges = [("hub", f"n{number}") for number in range(120)]
    edges += [(f"n{number}", f"n{number + 1}") for number in range(119)]
    nodes = all_read(world, edges)
    figures = copies(world, nodes, 14)
    assert max(figures[9:]) < 1.2
    check_all_have_all(nodes, 14)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_liars_keep_no_broadcast_from_who_is_joined_by_an_honest_path(share: float) -> None:
    world = Rough(11)
    edges = random_graph(40, 6, 11)
    nodes = all_read(world, edges)
    liars = set(world.random.sample([node.name for node in nodes], int(40 * share)))
    lies = Lies(world, liars)
    honest = [node for node in nodes if node.name not in liars]
    for number in range(12):
        world.broadcast(world.random.choice(honest), KEY, str(number))
        world.run(15.0)
    world.run(400.0)
    for part in parts([edge for edge in edges if not liars & set(edge)]):
        shown = [{effect.message_id for effect in world.nodes[name].delivered} for name in part]
        shown = [
            ids | {row.message_id for row in world.nodes[name].store.outbox.values()}  # type: ignore[attr-defined]
            for ids, name in zip(shown, part, strict=True)
        ]
        assert all(ids == shown[0] for ids in shown)
        assert len(part) < 10 or len(shown[0]) == 12
    assert lies.told
    assert all(not node.closed for node in honest), "an honest node was punished"


class Lies:
    """Nodes that take everything and pass on nothing, tell of ids that they do not give, and ask for all they hear of.

    What they do pass on has crossed 63 links and is nearly over.
    """

    def __init__(self, world: Rough, names: set[str]) -> None:
        self.told: set[tuple[str, bytes]] = set()
        honest = world._bytes_come

        def lie(wire: Wire, data: bytes) -> None:
            if wire.node.name not in names or wire.node.core is None or not wire.told:
                honest(wire, data)
                return
            for frame in wire.decoder.feed(data):
                if isinstance(frame, Transfer) and frame.envelope.mode is Mode.CHANNEL:
                    short_id = envelope_id(frame.envelope)[:16]
                    if (wire.node.name, short_id) in self.told:
                        continue
                    self.told.add((wire.node.name, short_id))
                    for other in wire.node.wires.values():
                        if other.open and other.told and other is not wire:
                            aged = Transfer(63, 1, frame.envelope.ttl - 1, frame.envelope)
                            told = (IHave((short_id, world.random.randbytes(16))), aged, Graft(True, (short_id,)))
                            for lie in told:
                                world._send_bytes(other, other.encoder.encode(lie))
                elif not isinstance(frame, FLOODED):
                    world.tell(wire.node, events.FramesReceived(wire.number, (frame,)))

        world._bytes_come = lie  # type: ignore[method-assign]


def parts(edges: list[Edge]) -> list[list[str]]:
    """Return the connected parts of a graph."""
    found: dict[str, set[str]] = {}
    for one, other in edges:
        joined = found.get(one, {one}) | found.get(other, {other})
        for name in joined:
            found[name] = joined
    return [sorted(part) for part in {id(part): part for part in found.values()}.values()]


hostile_ids = st.sampled_from([bytes([number]) * 16 for number in range(6)])
hostile_id_lists = st.lists(hostile_ids, min_size=1, max_size=8).map(tuple)
hostile_envelopes = st.builds(
    broadcast,
    st.sampled_from(["a", "b", "c", "x" * 3_000]),
    sender=st.sampled_from([peer(1), peer(2), peer(9)]),
    ttl=st.sampled_from([1, 50, 86_400]),
    max_hops=st.sampled_from([1, 5, 64]),
    timestamp=st.sampled_from([0, 1, UNIX, UNIX + 10**9]),
)
hostile_frames = st.one_of(
    st.builds(
        Transfer,
        st.sampled_from([0, 1, 63, 255]),
        st.integers(0, 2),
        st.sampled_from([0, 49, 90_000]),
        hostile_envelopes,
    ),
    st.builds(IHave, hostile_id_lists),
    st.builds(Graft, st.booleans(), hostile_id_lists),
    st.builds(lambda envelope: IHave((envelope_id(envelope)[:16],)), hostile_envelopes),
    st.builds(lambda envelope, eager: Graft(eager, (envelope_id(envelope)[:16],)), hostile_envelopes, st.booleans()),
    st.just(Prune()),
    st.builds(Reconcile, st.binary(min_size=1, max_size=60)),
    st.builds(
        lambda ids, salt: Reconcile(initiate(Items(ids), salt)), hostile_id_lists, st.binary(min_size=8, max_size=8)
    ),
    st.builds(
        lambda envelope, code: Custody(((envelope_id(envelope), code),)),
        hostile_envelopes,
        st.sampled_from(CustodyCode),
    ),
)
HOSTILE = Limits(
    flood_bytes=9_000,
    known_ids=4,
    flood_rate=3_000.0,
    flood_senders=2,
    ihave_ids=3,
    missing_ids=4,
    missing_link=3,
    supply_ids=3,
    reconcile_ids=4,
    reconcile_burst=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(
            st.integers(1, 3), st.lists(hostile_frames, min_size=1, max_size=4), st.sampled_from([0.0, 0.4, 3.0, 90.0])
        ),
        max_size=30,
    ),
    st.booleans(),
)
def test_whatever_neighbours_send_the_caps_hold(steps: list[tuple[int, list[Frame], float]], clock: bool) -> None:
    names = {name: getattr(HOSTILE, name) for name in Limits.__slots__ if name != "target_links"}
    station = Station([1, 2, 3], clock=float(UNIX) if clock else None, **names)
    station.join()
    station.post()
    fresh = 10
    for link, frames, seconds in steps:
        while link in station.closed:
            station.closed.discard(link)
            fresh += 1
            station.link(fresh)
            link = fresh  # noqa: PLW2901 (who misbehaved comes back under another name)
        station.bring(link, *frames)
        station.wait(seconds)
        core = station.core
        assert core._flooded.size <= HOSTILE.flood_bytes
        assert core._flooded.known <= HOSTILE.known_ids
        assert len(core._flooding._awaiting._missing) <= HOSTILE.missing_ids
        assert len(core._flooded.items(0)) <= len(core._flooded) + core._flooded.known
        assert all(len(peer_.haves) <= HOSTILE.ihave_ids for peer_ in core._flooding._peers.values())
        assert all(0 <= teller.missing <= 3 for teller in core._flooding._awaiting._tellers.values())
        assert all(len(queue.ids) <= HOSTILE.supply_ids for queue in core._supplying._queues.values())
        assert all(max(len(run.asked), len(run.told)) <= 4 for run in core._reconciling._runs.values())
        assert {held.envelope_id for held in core._flooded.held()} == station.store.relay.keys()
    shown = [(e.user, e.sender, e.message_id) for e in station.effects if isinstance(e, effects.Deliver)]
    assert len(shown) == len(set(shown))


NAMES = tuple(f"n{number}" for number in range(7))
names = st.sampled_from(NAMES)


class Churn(RuleBasedStateMachine):
    """Users broadcast while links and nodes come and go; in the end all is healed and everything must be everywhere."""

    @initialize(seed=st.integers(0, 2**32), loss=st.sampled_from([0.0, 0.2]))
    def start(self, seed: int, loss: float) -> None:
        """Start seven nodes on a random graph."""
        self.world = Rough(seed, loss=loss)
        self.nodes = all_read(self.world, random_graph(7, 3.0, seed))
        self.edges = random_graph(7, 3.0, seed)
        self.made = 0

    @rule(name=names, count=st.integers(1, 5))
    def broadcasts(self, name: str, count: int) -> None:
        """A user writes."""
        node = self.world.nodes[name]
        if node.core is not None:
            for _ in range(count):
                self.made += 1
                self.world.broadcast(node, KEY, str(self.made), ttl=30 * 86_400)

    @rule(number=st.integers(0, 30))
    def cut(self, number: int) -> None:
        """A link is cut."""
        one, other = self.edges[number % len(self.edges)]
        self.world.part(self.world.nodes[one], self.world.nodes[other])

    @rule(number=st.integers(0, 30))
    def join(self, number: int) -> None:
        """It may come back."""
        one, other = self.edges[number % len(self.edges)]
        self.world.join(self.world.nodes[one], self.world.nodes[other])

    @rule(name=names)
    def crash_or_start(self, name: str) -> None:
        """A node crashes, or starts again."""
        node = self.world.nodes[name]
        if node.core is not None:
            self.world.crash(node)
        else:
            self._start(node)

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0, 5.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        """Time passes."""
        self.world.run(seconds)

    def teardown(self) -> None:
        """Heal all; everybody must have been shown everything once."""
        if not hasattr(self, "world"):
            return
        for node in self.nodes:
            if node.core is None:
                self._start(node)
        for one, other in self.edges:
            self.world.join(self.world.nodes[one], self.world.nodes[other])
        self.world.run(20_000.0)
        check_all_have_all(self.nodes, self.made)

    def _start(self, node: Node) -> None:
        self.world.start(node)
        for one, other in self.edges:
            if one == node.name:
                self.world.link(node, self.world.nodes[other])


TestChurn = Churn.TestCase
TestChurn.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)

"""Small topologies of cores through crashes, cuts, full stores, replays, days off: nothing is lost or doubled."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cores import MemoryStore, Node, World
from qpq.mesh import events
from qpq.mesh.custody import Place
from qpq.mesh.effects import State
from qpq.mesh.limits import Limits
from qpq.wire.envelope import envelope_id
from qpq.wire.frames import Custody, CustodyCode, Role, Transfer

if TYPE_CHECKING:
    from qpq.crypto.identity import Address

NAMES = ("a", "b", "c", "d", "e")
TOPOLOGIES = {
    "line": ("ab", "bc", "cd", "de"),
    "ring": ("ab", "bc", "cd", "de", "ea"),
    "star": ("ab", "ac", "ad", "ae"),
    "diamond": ("ab", "ac", "bd", "cd", "de"),
    "full": ("ab", "ac", "ad", "ae", "bc", "bd", "be", "cd", "ce", "de"),
}
names = st.sampled_from(NAMES)
TTL = 30 * 86_400
DAY = 86_400.0
MOST_DAYS = 12
HEALING_S = 40_000.0
"""Longer than any back-off, wait for a receipt and reconciliation, with their jitter."""


class Relays(RuleBasedStateMachine):
    """Users write to each other over relays that fail; in the end all is healed and everything must be there."""

    @initialize(
        seed=st.integers(0, 2**32),
        topology=st.sampled_from(sorted(TOPOLOGIES)),
        jitter=st.sampled_from([0.0, 0.2]),
        window=st.sampled_from([2, 64]),
        leaf=st.sampled_from([None, "e"]),
    )
    def start(self, seed: int, topology: str, jitter: float, window: int, leaf: str | None) -> None:
        """Start five nodes that find only those next to them."""
        self.world = World(seed, jitter=jitter)
        self.edges = TOPOLOGIES[topology]
        limits = Limits(window_count=window)
        for name in NAMES:
            self.world.add(name, limits=limits, role=Role.LEAF if name == leaf else Role.RELAY)
        self.nodes = list(self.world.nodes.values())
        self.sent: dict[tuple[str, Address, bytes], tuple[Node, Address]] = {}
        self.days = 0
        self.replayed: set[bytes] = set()
        self.neighbours_meet()

    def node(self, name: str) -> Node:
        return self.world.nodes[name]

    @rule()
    def neighbours_meet(self) -> None:
        """Discovery tells all who are next to each other."""
        for name, other in self.edges:
            self.world.find(self.node(name), self.node(other))

    @rule(name=names, other=names, n=st.integers(1, 3), urgent=st.booleans(), to_node=st.booleans())
    def users_write(self, name: str, other: str, n: int, urgent: bool, to_node: bool) -> None:
        """A user writes a few messages to another or to the other's node."""
        node, target = self.node(name), self.node(other)
        recipient = target.secret.address if to_node else target.user.address
        for _ in range(n if node.core is not None else 0):
            before = len(node.refused)
            message = self.world.send(node, recipient, f"{name} to {other}", ttl=TTL, urgent=urgent)
            if len(node.refused) == before:
                self.sent[name, node.user.address, message] = (target, target.user.address)

    @rule(seconds=st.sampled_from([0.004, 0.011, 0.03, 0.5, 4.0, 20.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(seconds)

    @precondition(lambda self: self.days < MOST_DAYS)
    @rule(name=names, days=st.integers(1, 4))
    def a_node_is_off_for_days(self, name: str, days: int) -> None:
        """Somebody goes away and comes back."""
        self.days += days
        self.world.crash(self.node(name))
        self.world.run(days * DAY)
        self.world.start(self.node(name))
        self.neighbours_meet()

    @rule(name=names, at=st.integers(0, 9))
    def a_link_breaks(self, name: str, at: int) -> None:
        """One of a node's links is lost."""
        links = sorted(self.node(name).wires)
        if links:
            self.world.drop_link(self.node(name), links[at % len(links)])

    @rule(name=names)
    def a_node_crashes(self, name: str) -> None:
        """The power goes."""
        self.world.crash(self.node(name))

    @rule(name=names)
    def a_node_starts(self, name: str) -> None:
        """The node starts from its store."""
        if self.node(name).core is None:
            self.world.start(self.node(name))

    @rule(edge=st.integers(0, 9))
    def a_cable_is_cut(self, edge: int) -> None:
        """Two nodes cannot reach each other."""
        name, other = self.edges[edge % len(self.edges)]
        self.world.part(self.node(name), self.node(other))

    @rule()
    def cables_are_mended(self) -> None:
        """All can reach their neighbours again."""
        self.world.cut.clear()
        self.neighbours_meet()

    @rule(name=names)
    def a_node_becomes_deaf(self, name: str) -> None:
        """Nothing that links bring is heard, while they stay up."""
        self.world.deafen(self.node(name))

    @rule(name=names)
    def a_node_hears_again(self, name: str) -> None:
        """What waited comes at once."""
        self.world.undeafen(self.node(name))

    @rule(name=names, full=st.booleans())
    def a_disk_is_full(self, name: str, full: bool) -> None:
        """A store takes nothing more, or has room again."""
        self.store(self.node(name)).room = 0 if full else 1 << 30

    @precondition(lambda self: any(isinstance(frame, Transfer) for _, _, frame in self.world.frames))
    @rule(pick=st.integers(0, 10_000), name=names)
    def an_envelope_is_sent_again(self, pick: int, name: str) -> None:
        """Somebody replays an envelope, to anybody."""
        transfers = [frame for _, _, frame in self.world.frames if isinstance(frame, Transfer)]
        node = self.node(name)
        frame = transfers[pick % len(transfers)]
        for number in list(node.wires)[:1]:
            self.replayed.add(envelope_id(frame.envelope))
            self.world.tell(node, events.FrameReceived(number, frame))

    @precondition(lambda self: any(not isinstance(frame, Transfer) for _, _, frame in self.world.frames))
    @rule(pick=st.integers(0, 10_000), name=names, code=st.sampled_from(CustodyCode))
    def an_answer_comes_twice_or_is_false(self, pick: int, name: str, code: CustodyCode) -> None:
        """A neighbour answers for what it was not asked."""
        ids = [one for _, _, frame in self.world.frames if isinstance(frame, Custody) for one, _ in frame.answers]
        node = self.node(name)
        for number in list(node.wires)[:1] if ids else ():
            if code not in (CustodyCode.ACCEPTED, CustodyCode.DUPLICATE):
                self.world.tell(node, events.FrameReceived(number, Custody(((ids[pick % len(ids)], code),))))

    @staticmethod
    def store(node: Node) -> MemoryStore:
        assert isinstance(node.store, MemoryStore)
        return node.store

    @invariant()
    def nothing_is_shown_twice(self) -> None:
        """Each user sees each message once at most."""
        for node in self.world.nodes.values():
            shown = Counter((deliver.user, deliver.sender, deliver.message_id) for deliver in node.delivered)
            assert all(count == 1 for count in shown.values())

    @invariant()
    def states_are_true(self) -> None:
        """Delivered: the recipient's store has it. Relayed: somebody else took it. Nothing expires here."""
        for (name, user, message), (target, reader) in self.sent.items():
            state, copies = self.store(self.node(name)).states[user, message]
            assert state is not State.EXPIRED
            assert (state is State.QUEUED) <= (copies == 0)
            if state is State.DELIVERED:
                assert (reader, message, user) in self.store(target).inbox
            if State.DELIVERED in self.node(name).states.get((user, message), []):
                assert (reader, message, user) in self.store(target).inbox

    @invariant()
    def indexes_agree(self) -> None:
        """What is in custody is in the store, or to be put there soon; it is in one place, and counted once."""
        for node in self.world.nodes.values():
            if node.core is None:
                continue
            items = node.core._custody.items()
            others = {item.envelope_id for item in items if not item.own}
            put_off = set(node.core._deposits._pending)
            assert put_off <= others <= put_off | set(self.store(node).relay)
            assert not put_off & set(self.store(node).relay), "what is stored is not put off"
            for window in node.core._sending._windows.all():
                held = Counter(item.envelope_id for item in window.items())
                assert all(count == 1 for count in held.values())
                assert window.size == sum(item.size for item in window.flying.values())
            on_links = {one.envelope_id for window in node.core._sending._windows.all() for one in window.items()}
            assert on_links == {one.envelope_id for one in items if one.place in (Place.READY, Place.FLYING)}
            waiting = {key for (_, key) in node.core._timers._at}
            for item in items:
                assert item.hops < item.max_hops
                assert item.place is not Place.RESTING or item.envelope_id in waiting, "what rests is woken"

    @invariant()
    def loops_are_impossible(self) -> None:
        """No envelope goes over more links than its sender allowed."""
        for _, _, frame in self.world.frames:
            assert not isinstance(frame, Transfer) or frame.hops < frame.envelope.max_hops

    def teardown(self) -> None:
        """Heal everything: then each message is delivered, shown once, known to be, and kept nowhere else."""
        world = self.world
        world.cut.clear()
        for node in self.nodes:
            self.store(node).room = 1 << 30
            if node.core is None:
                world.start(node)
            world.undeafen(node)
            world.tell(node, events.NetworkChanged())
        for _ in range(4):
            self.neighbours_meet()
            world.run(HEALING_S / 4)
        self.nothing_is_shown_twice()
        self.states_are_true()
        self.indexes_agree()
        for name, user, message in self.sent:
            assert self.store(self.node(name)).state(user, message) is State.DELIVERED, (name, message.hex())
        assert sum(len(node.delivered) for node in self.nodes) == len(self.sent)
        for node in self.nodes:
            assert node.core is not None
            # A copy that no neighbour knows of, since a stranger brought it, may stay until it expires.
            assert {item.envelope_id for item in node.core._custody.items()} <= self.replayed, node.name


Relays.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestRelays = Relays.TestCase

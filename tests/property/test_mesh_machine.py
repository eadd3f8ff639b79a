"""Three cores over real wire bytes, through crashes, lost links, partitions and replays: nothing is lost or doubled."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cores import UNIX_AT_ZERO, MemoryStore, Node, World
from qpq.mesh import events
from qpq.mesh.effects import State
from qpq.mesh.limits import Limits
from qpq.wire.frames import Transfer

if TYPE_CHECKING:
    from qpq.crypto.identity import Address

NAMES = ("anna", "bert", "carl")
names = st.sampled_from(NAMES)
TTL = 30 * 86_400
YEAR = 365 * 86_400.0
HEALING_S = 20_000.0
"""Longer than any back-off and hold, with their jitter."""


class Mesh(RuleBasedStateMachine):
    """Users write while links and nodes come and go; in the end all is healed and everything must be there."""

    @initialize(
        seed=st.integers(0, 2**32),
        jitter=st.sampled_from([0.0, 0.01, 0.2]),
        window=st.sampled_from([2, 64]),
        gather=st.sampled_from([0.0, 0.3]),
        years_off=st.integers(-1, 1),
    )
    def start(self, seed: int, jitter: float, window: int, gather: float, years_off: int) -> None:
        """Start three nodes that know nothing of each other; carl's clock may be years off, and carl trusts it."""
        self.world = World(seed, jitter=jitter, lost_dials=0.2)
        limits = Limits(window_count=window, gather_s=gather)
        self.nodes = [self.world.add(name, users=2, limits=limits) for name in NAMES]
        self.carls_clock = (UNIX_AT_ZERO + years_off * YEAR, True)
        self.a_clock_is_set("carl", self.carls_clock)
        self.sent: dict[tuple[str, Address, bytes], tuple[Node, Address]] = {}
        self.seen: list[tuple[str, Transfer]] = []

    def node(self, name: str) -> Node:
        return self.world.nodes[name]

    @rule(name=names, other=names, hint=st.booleans())
    def discovery_tells(self, name: str, other: str, hint: bool) -> None:
        """One node hears of another, or of itself."""
        self.world.find(self.node(name), self.node(other), hint=hint)

    @rule()
    def all_find_each_other_at_once(self) -> None:
        """Everybody dials everybody."""
        self.world.meet(*self.nodes)

    @rule(
        name=names,
        other=names,
        to_node=st.booleans(),
        user=st.integers(0, 1),
        urgent=st.booleans(),
        n=st.integers(1, 5),
    )
    def users_write(self, name: str, other: str, to_node: bool, user: int, urgent: bool, n: int) -> None:
        """A user writes a few messages to a user or to a node."""
        node, target = self.node(name), self.node(other)
        if node.core is None:
            return
        recipient = target.secret.address if to_node else target.users[user].address
        reader = target.users[0].address if to_node else target.users[user].address
        for _ in range(n):
            message = self.world.send(node, recipient, f"{name} to {other}", ttl=TTL, urgent=urgent)
            self.sent[name, node.user.address, message] = (target, reader)

    @rule(seconds=st.sampled_from([0.001, 0.006, 0.011, 0.03, 0.5, 12.0, 70.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(seconds)

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
    def a_node_stops(self, name: str) -> None:
        """The node is stopped in order."""
        self.world.stop(self.node(name))

    @rule(name=names)
    def a_node_starts(self, name: str) -> None:
        """The node starts from its store."""
        if self.node(name).core is None:
            self.world.start(self.node(name))

    @rule(name=names, other=names)
    def a_cable_is_cut(self, name: str, other: str) -> None:
        """Two nodes cannot reach each other."""
        if name != other:
            self.world.part(self.node(name), self.node(other))

    @rule(name=names, other=names)
    def a_cable_is_mended(self, name: str, other: str) -> None:
        """Two nodes can reach each other again."""
        self.world.join(self.node(name), self.node(other))

    @rule(name=names)
    def a_node_becomes_deaf(self, name: str) -> None:
        """Nothing that links bring is heard, while they stay up."""
        self.world.deafen(self.node(name))

    @rule(name=names)
    def a_node_hears_again(self, name: str) -> None:
        """What waited comes at once."""
        self.world.undeafen(self.node(name))

    @rule(
        name=st.sampled_from(NAMES[:2]),
        clock=st.sampled_from(
            [(float(UNIX_AT_ZERO), True), (float(UNIX_AT_ZERO), False), (UNIX_AT_ZERO + YEAR, False)]
        ),
    )
    def a_clock_is_set(self, name: str, clock: tuple[float, bool]) -> None:
        """A clock may be wrong while it is not trusted."""
        node = self.node(name)
        node.clock = clock
        self.world.tell(node, events.ClockSet(*clock))

    @rule(name=names)
    def the_network_changes(self, name: str) -> None:
        """Back-offs end."""
        self.world.tell(self.node(name), events.NetworkChanged())

    @precondition(lambda self: any(isinstance(frame, Transfer) for _, _, frame in self.world.frames))
    @rule(pick=st.integers(0, 10_000))
    def an_envelope_is_sent_again(self, pick: int) -> None:
        """Somebody replays an envelope, to whoever got it before."""
        transfers = [(to, frame) for _, to, frame in self.world.frames if isinstance(frame, Transfer)]
        to, frame = transfers[pick % len(transfers)]
        node = self.node(to)
        for number in list(node.wires):
            self.world.tell(node, events.FrameReceived(number, frame))
            break

    @invariant()
    def nothing_is_shown_twice(self) -> None:
        """Each user sees each message once at most."""
        for node in self.world.nodes.values():
            shown = Counter((deliver.user, deliver.sender, deliver.message_id) for deliver in node.delivered)
            assert all(count == 1 for count in shown.values())

    @invariant()
    def states_are_true(self) -> None:
        """Delivered: the recipient's store has it. Nothing expires here, and delivered is final."""
        for (name, user, message), (target, reader) in self.sent.items():
            sender, receiver = self.node(name).store, target.store
            assert isinstance(sender, MemoryStore)
            assert isinstance(receiver, MemoryStore)
            state = sender.state(user, message)
            assert state in (State.QUEUED, State.RELAYED, State.DELIVERED)
            if state is State.DELIVERED:
                assert (reader, message, user) in receiver.inbox
            told = self.node(name).states.get((user, message), [])
            assert State.DELIVERED not in told[:-1]

    @invariant()
    def links_are_few(self) -> None:
        """Whatever dials cross, no more than two usable links lead to one peer."""
        for node in self.world.nodes.values():
            if node.core is not None:
                peers = Counter(row.identity for row in node.core.peers(self.world.now) if row.state == "linked")
                assert all(count <= 2 for count in peers.values())

    def teardown(self) -> None:
        """Heal everything: then each message is delivered, shown once, and known to be."""
        world = self.world
        world.cut.clear()
        world.lost_dials = 0.0
        for node in self.nodes:
            if node.core is None:
                world.start(node)
            right = (float(UNIX_AT_ZERO), True)
            self.a_clock_is_set(node.name, self.carls_clock if node.name == "carl" else right)
        world.run(1.0)
        for node in self.nodes:
            world.undeafen(node)
            world.tell(node, events.NetworkChanged())
        world.meet(*self.nodes)
        world.run(HEALING_S)
        self.nothing_is_shown_twice()
        self.states_are_true()
        for name, user, message in self.sent:
            store = self.node(name).store
            assert isinstance(store, MemoryStore)
            assert store.state(user, message) is State.DELIVERED, (name, message.hex())
        assert sum(len(node.delivered) for node in self.nodes) == len(self.sent)
        for node in self.nodes:
            assert node.core is not None
            assert len(node.core._custody) == len(node.core._outbox) == node.core._relaying._quotas.size == 0
            assert all(not window.flying and not window.size for window in node.core._sending._windows.all())
            assert len(node.core._timers) <= 3  # one more than links: the day on which prekeys go
            assert not node.refused


Mesh.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestMesh = Mesh.TestCase

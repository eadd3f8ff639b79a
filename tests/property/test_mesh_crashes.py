"""A node is killed at every transaction of a conversation: no key is used twice, nothing is lost or shown twice."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cores import MemoryStore, Node, World
from qpq.crypto import primitives
from qpq.crypto.sessions import read_header
from qpq.mesh.effects import Persist, SendFrame, State
from qpq.mesh.limits import Limits
from qpq.wire.frames import Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qpq.mesh.effects import Effect

DAY = 86_400.0
TTL = 30 * 86_400
HEALING_S = 20_000.0

Step = tuple[str, str] | float
"""Who writes to whom (``anna bert``), or how long nothing is written."""

SCRIPTS: dict[str, tuple[Step, ...]] = {
    "first words": (("anna", "bert"), 0.2, ("bert", "anna"), 0.2, ("anna", "bert"), 0.2, ("bert", "anna"), 0.2),
    "both at once": (("anna", "bert"), ("bert", "anna"), 0.5, ("anna", "bert"), ("bert", "anna"), 0.5),
    "one way, then an answer": (*((("anna", "bert"), 0.03) * 4), ("bert", "anna"), 0.2, ("anna", "bert"), 0.2),
    "days": (("anna", "bert"), 0.5, DAY + 9, ("anna", "bert"), 9.0, ("bert", "anna"), 9.0, DAY, ("anna", "bert"), 0.5),
}


@dataclass
class Ledger:
    """Every key and nonce that anybody used, and every session message that left a node."""

    used: Counter[tuple[bytes, bytes]] = field(default_factory=Counter)
    left: dict[tuple[bytes, int], set[bytes]] = field(default_factory=dict)

    def seal(self, real: Callable[..., bytes]) -> Callable[..., bytes]:
        def sealing(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
            self.used[key, nonce] += 1
            return real(key, nonce, plaintext, aad)

        return sealing

    def note(self, transfer: Transfer) -> None:
        payload = transfer.envelope.payload
        if payload[0] in {2, 3}:
            header = read_header(payload)
            self.left.setdefault((header.ratchet_key, header.n), set()).add(payload)

    def check(self) -> None:
        assert all(times == 1 for times in self.used.values()), "a key and nonce were used twice"
        assert all(len(payloads) == 1 for payloads in self.left.values()), "a number of a chain was used twice"


class Killing(World):
    """A world in which ``victim`` loses its power at its transaction number ``at``: before it is written, or after."""

    def __init__(self, ledger: Ledger, victim: str, at: int, *, after: bool) -> None:
        super().__init__(7)
        self.ledger = ledger
        self.victim = victim
        self.at = at
        self.written = after
        self.transactions = 0

    def _carry_out(self, node: Node, effects: Iterable[Effect]) -> None:
        effects = tuple(effects)
        if node.name == self.victim:
            for position, effect in enumerate(effects):
                if isinstance(effect, Persist):
                    self.transactions += 1
                    if self.transactions == self.at:
                        self._do(node, effects[: position + self.written])
                        self.crash(node)
                        self.after(1.0, lambda: self._back(node))
                        return
        self._do(node, effects)

    def _do(self, node: Node, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, SendFrame) and isinstance(effect.frame, Transfer):
                self.ledger.note(effect.frame)
        super()._carry_out(node, effects)

    def _back(self, node: Node) -> None:
        self.start(node)
        self.meet(*self.nodes.values())


def play(script: tuple[Step, ...], ledger: Ledger, victim: str, at: int, *, after: bool) -> int:
    """Play a conversation with one crash; return how many transactions the victim made."""
    world = Killing(ledger, victim, at, after=after)
    limits = Limits(gather_s=0.0, backoff_max_s=5.0)
    nodes = {name: world.add(name, limits=limits) for name in ("anna", "bert")}
    world.meet(*nodes.values())
    world.run(1.0)
    for step in (*script, 8.0, *script):
        if isinstance(step, float):
            world.run(step)
        else:
            node, other = (nodes[name] for name in step)
            if node.core is not None:
                world.send(node, other.user.address, f"{step}", ttl=TTL)
    world.run(5.0)
    world.meet(*nodes.values())
    world.run(HEALING_S)
    check(nodes["anna"], nodes["bert"])
    check(nodes["bert"], nodes["anna"])
    return world.transactions


def check(sender: Node, recipient: Node) -> None:
    """See that what the sender's store took has come, once, and is known to have."""
    mine, theirs = sender.store, recipient.store
    assert isinstance(mine, MemoryStore)
    assert isinstance(theirs, MemoryStore)
    for user, message in mine.outbox:
        assert mine.state(user, message) is State.DELIVERED
        assert (recipient.user.address, message, user) in theirs.inbox
    assert len(theirs.inbox) == len(mine.outbox)
    shown = Counter(deliver.message_id for deliver in recipient.delivered)
    assert all(times == 1 for times in shown.values())
    assert sender.core is not None
    assert not sender.core._custody.items()


@pytest.mark.parametrize("victim", ["anna", "bert"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_power_cut_at_any_transaction_loses_nothing_and_uses_no_key_twice(
    script: str, victim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, at, most = primitives.aead_seal, 1, 2
    while at <= most:
        for after in (False, True):
            ledger = Ledger()
            monkeypatch.setattr(primitives, "aead_seal", ledger.seal(real))
            transactions = play(SCRIPTS[script], ledger, victim, at, after=after)
            ledger.check()
            assert ledger.left
        most, at = transactions, at + 1
    assert most > 5


names = st.sampled_from(["anna", "bert"])


class Backups(RuleBasedStateMachine):
    """Two users write while their nodes crash, stop and are restored from old copies of their stores."""

    @initialize(seed=st.integers(0, 2**32), jump=st.sampled_from([0, 64]))
    def start(self, seed: int, jump: int) -> None:
        """Start two nodes that know each other."""
        self.real, self.ledger = primitives.aead_seal, Ledger()
        primitives.aead_seal = self.ledger.seal(self.real)
        self.world = World(seed)
        self.limits = Limits(gather_s=0.0, backoff_max_s=5.0, session_jump=jump)
        self.nodes = [self.world.add(name, limits=self.limits) for name in ("anna", "bert")]
        self.copies: dict[str, list[MemoryStore]] = {"anna": [], "bert": []}
        self.last: dict[str, bytes] = {}
        self.world.meet(*self.nodes)

    def node(self, name: str) -> Node:
        return self.world.nodes[name]

    @rule(name=names, count=st.integers(1, 3))
    def somebody_writes(self, name: str, count: int) -> None:
        """A user writes to the other."""
        (other,) = [node for node in self.nodes if node.name != name]
        for _ in range(count):
            self.world.send(self.node(name), other.user.address, f"from {name}", ttl=TTL)

    @rule(seconds=st.sampled_from([0.004, 0.02, 0.5, 20.0, 700.0, DAY + 60]))
    def time_passes(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(seconds)
        self.world.meet(*self.nodes)

    @rule(name=names)
    def a_copy_is_made(self, name: str) -> None:
        """Somebody copies a node's store."""
        self.copies[name].append(deepcopy(self.store(name)))

    @rule(name=names)
    def a_node_crashes_and_comes_back(self, name: str) -> None:
        """The power goes for a second."""
        self.back(name)

    @rule(name=names, pick=st.integers(0, 9))
    def a_copy_is_put_back(self, name: str, pick: int) -> None:
        """A node is restored from one of its copies."""
        copies = self.copies[name]
        if copies:
            self.back(name, deepcopy(copies[pick % len(copies)]))

    def back(self, name: str, store: MemoryStore | None = None) -> None:
        node = self.node(name)
        self.world.crash(node)
        self.world.run(1.0)
        node.store = store if store is not None else node.store
        self.world.start(node)
        self.world.meet(*self.nodes)

    def store(self, name: str) -> MemoryStore:
        found = self.node(name).store
        assert isinstance(found, MemoryStore)
        return found

    @invariant()
    def no_key_is_used_twice(self) -> None:
        """Whatever was restored: every seal has a key and nonce of its own."""
        assert all(times == 1 for times in self.ledger.used.values())

    def teardown(self) -> None:
        """All that is on its way arrives, and both can write to each other, in a session."""
        try:
            self.world.meet(*self.nodes)
            self.world.run(HEALING_S)
            for name in ("anna", "bert"):
                self.somebody_writes(name, 1)
                self.world.run(30.0)
                self.world.meet(*self.nodes)
            self.world.run(HEALING_S)
            for node, other in (self.nodes, self.nodes[::-1]):
                mine, theirs = self.store(node.name), self.store(other.name)
                for user, message in mine.outbox:
                    assert mine.state(user, message) is State.DELIVERED
                newest = list(mine.outbox.values())[-1]
                assert newest.sealed
                assert (other.user.address, newest.message_id, newest.user) in theirs.inbox
                assert node.core is not None
                assert not node.core._custody.items()
            self.no_key_is_used_twice()
        finally:
            primitives.aead_seal = self.real


Backups.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestBackups = Backups.TestCase


def test_a_word_that_a_day_old_copy_brings_back_is_not_sent_for_ever() -> None:
    """Its time is over for whom it is for; the clock of the node that was set back does not know."""
    run = Backups()
    run.start(seed=0, jump=0)
    run.time_passes(seconds=0.02)
    run.somebody_writes(name="bert", count=1)
    run.a_copy_is_made(name="bert")
    run.time_passes(seconds=DAY + 60)
    run.a_copy_is_put_back(name="bert", pick=0)
    run.teardown()

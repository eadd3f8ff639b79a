"""One core against a peer that sends whatever the codec lets through: it never fails, and its caps hold."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from qpq.crypto.identity import SecretIdentity
from qpq.crypto.sealing import seal
from qpq.mesh import events
from qpq.mesh.candidates import Candidates
from qpq.mesh.controls import Control
from qpq.mesh.core import Core
from qpq.mesh.custody import MAX_GIVEN, MAX_TRIED, Place
from qpq.mesh.effects import Count, Persist, SendEnvelope, SendFrame, SetTimer
from qpq.mesh.events import Via
from qpq.mesh.flooded import cost_of
from qpq.mesh.limits import Limits
from qpq.mesh.timers import Timers
from qpq.wire.announce import sign_announce
from qpq.wire.body import Body, Keys, KeysWanted, Turn, encode_body
from qpq.wire.envelope import Envelope, Mode, envelope_hash, sign_envelope
from qpq.wire.frames import Bye, CloseCode, Custody, CustodyCode, Hello, Receipt, Role, Skipped, Transfer
from qpq.wire.frames_mesh import Announce
from qpq.wire.receipts import commitment
from sim.kem import CheapKem

NODE = SecretIdentity(b"n" * 32)
USER = SecretIdentity(b"u" * 32)
PEERS = [SecretIdentity(bytes([n]) * 32) for n in range(4)]
LIMITS = Limits(
    max_links=2,
    max_pending=2,
    max_candidates=4,
    max_static=2,
    max_penalties=2,
    max_users=2,
    inbox_count=6,
    outbox_count=6,
    window_count=2,
    tombstones=4,
    late_receipts=2,
    relay_bytes=6_000,
    proofs=8,
    peer_frames=20.0,
    abuse_frames=10.0,
    sessions=2,
    keys_asked=2,
    keys_expected=3,
    keys_owed=2,
    keys_told=2,
    controls=3,
)
GARBAGE = {
    "garbage": b"garbage",
    "session": bytes((2, 0)) + bytes(120),
    "opening": bytes((3, 0)) + bytes(1300),
}

small = st.integers(0, 3)
secrets = st.sampled_from([bytes([n]) * 16 for n in range(4)])
peers = st.sampled_from(PEERS)


def envelope(sender: SecretIdentity, recipient: bytes, secret: bytes, ttl: int, how: str) -> Envelope:
    """Make an envelope that is right, or wrong in one way."""
    words = {"wanted": KeysWanted(secret), "keys": Keys(secret, b"keys", b"e" * 32), "turn": Turn(secret)}
    body = words.get(how, Body(secret, "text", secret if how != "again" else b"again" * 3 + b"!"))
    sealed = seal(encode_body(body), sender=sender.address, recipient=USER.address, entropy=b"e" * 32)
    made = sign_envelope(
        sender,
        recipient=recipient[:16] if how == "channel" else recipient,
        payload=GARBAGE.get(how, sealed),
        commitment=commitment(secret) if how != "commitment" else bytes(16),
        ttl=ttl,
        mode=Mode.CHANNEL if how == "channel" else Mode.UNICAST,
    )
    if how == "forged":
        return Envelope(**{name: getattr(made, name) for name in Envelope.__slots__} | {"signature": bytes(64)})
    return made


envelopes = st.builds(
    envelope,
    peers,
    st.sampled_from([USER.address, NODE.address, PEERS[3].address]),
    secrets,
    st.sampled_from([1, 100, 86_400]),
    st.sampled_from(
        [
            *(
                "right",
                "right",
                "right",
                "again",
                "commitment",
                "channel",
                "forged",
                "wanted",
                "wanted",
                "keys",
                "turn",
            ),
            *GARBAGE,
        ]
    ),
)
hellos = st.builds(
    Hello,
    version_min=st.just(1),
    version_max=st.integers(1, 2),
    features=small,
    boot=small,
    time=st.sampled_from([0, 1000]),
    time_trusted=st.booleans(),
    load=small,
    links=small,
    role=st.sampled_from(Role),
    max_frame=st.sampled_from([1024, 33_024]),
    store_free=small,
)
announces = st.builds(
    lambda user, node, boot, counter, forged: (
        Announce(0, user.address, node.identity, boot, counter, 0, b"", bytes(64))
        if forged
        else sign_announce(user, node=node.identity, boot=boot, counter=counter)
    ),
    peers,
    peers,
    small,
    small,
    st.booleans(),
)
frames = st.one_of(
    hellos,
    st.builds(Transfer, small, small, st.sampled_from([0, 1, 99, 2**32 - 1]), envelopes),
    announces,
    st.builds(Bye, st.sampled_from([int(code) for code in CloseCode] + [999]), st.sampled_from([0, 60]), st.just("so")),
    st.just(Skipped(130)),
)
answers = st.sampled_from(["receipt", "late", *CustodyCode])
steps = st.one_of(
    st.tuples(st.just("up"), peers, st.booleans()),
    st.tuples(st.just("frame"), small, frames),
    st.tuples(st.just("hello"), small, hellos),
    st.tuples(st.just("answer"), small, answers),
    st.tuples(st.just("down"), small, st.none()),
    st.tuples(st.just("send"), st.sampled_from([*PEERS, USER]), secrets),
    st.tuples(st.just("found"), peers, st.sampled_from(Via)),
    st.tuples(st.just("dial"), peers, st.booleans()),
    st.tuples(st.just("failed"), peers, st.none()),
    st.tuples(st.just("delete"), secrets, st.none()),
    st.tuples(st.just("clock"), st.booleans(), st.sampled_from([0.0, 1e6, -1e6])),
    st.tuples(st.just("network"), st.none(), st.none()),
    st.tuples(st.just("fail"), st.none(), st.none()),
)


class Rig:
    """A core, and as much of a caller as it needs."""

    def __init__(self) -> None:
        self.core = Core(NODE, boot=1, random=lambda n: b"\x77" * n, limits=LIMITS, kem=CheapKem(bytes))
        self.now = 0.0
        self.timer: float | None = None
        self.links: list[int] = []
        self.next_link = 1
        self.carried: list[bytes] = []
        self.proofs: list[tuple[bytes, bytes]] = []
        self.written: Persist | None = None
        self.tell(events.UserAdded(USER.seed))

    def tell(self, event: events.Event) -> None:
        for effect in self.core.handle(event, self.now):
            if isinstance(effect, SetTimer):
                self.timer = effect.at
            elif isinstance(effect, SendEnvelope):
                self.carried.append(effect.envelope_id)
            elif isinstance(effect, SendFrame) and isinstance(effect.frame, Transfer):
                made = effect.frame.envelope
                self.proofs.append((made.commitment, envelope_hash(made)))
            elif isinstance(effect, Persist):
                self.written = effect
            else:
                assert not isinstance(effect, Count) or effect.amount > 0

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(10_000):
            if self.timer is None or self.timer > end:
                break
            self.now = max(self.now, self.timer)
            self.timer = None
            self.tell(events.Tick())
        else:
            raise AssertionError("the core does not come to rest")
        self.now = end

    def link(self, number: int) -> int:
        return self.links[number % len(self.links)] if self.links else 0

    def do(self, kind: str, what: Any, how: Any) -> None:
        getattr(self, f"_{kind}")(what, how)

    def _up(self, peer: SecretIdentity, initiator: bool) -> None:
        self.links.append(self.next_link)
        self.next_link += 1
        self.links = self.links[-4:]
        self.tell(events.LinkUp(self.links[-1], peer.identity, f"{peer.seed[0]}:1", initiator))

    def _frame(self, number: int, frame: Any) -> None:
        self.tell(events.FrameReceived(self.link(number), frame))

    _hello = _frame

    def _answer(self, number: int, answer: str | CustodyCode) -> None:
        if isinstance(answer, CustodyCode) and self.carried:
            frame: Any = Custody(((self.carried[-1], answer),))
        elif self.proofs and answer == "receipt":
            frame = Receipt((self.proofs[-1], (b"?" * 16, b"?" * 32)))
        else:
            frame = Custody(((b"?" * 32, CustodyCode.QUOTA),))
        self.tell(events.FrameReceived(self.link(number), frame))

    def _down(self, number: int, _how: None) -> None:
        self.tell(events.LinkDown(self.link(number), "lost"))

    def _send(self, to: SecretIdentity, secret: bytes) -> None:
        self.tell(events.SendText(USER.address, to.address, secret, "text", 50))

    def _found(self, peer: SecretIdentity, via: Via) -> None:
        self.tell(events.PeerFound(f"{peer.seed[0]}-{via.value}:1", via, peer.identity))

    def _dial(self, peer: SecretIdentity, keep: bool) -> None:
        self.tell(events.Dial(f"{peer.seed[0]}:1", keep))

    def _failed(self, peer: SecretIdentity, _how: None) -> None:
        self.tell(events.DialFailed(f"{peer.seed[0]}:1", "no answer"))

    def _delete(self, secret: bytes, _how: None) -> None:
        self.tell(events.DeleteMessage(USER.address, secret))

    def _clock(self, trusted: bool, offset: float) -> None:
        self.tell(events.ClockSet(offset, trusted))

    def _network(self, _what: None, _how: None) -> None:
        self.tell(events.NetworkChanged())

    def _fail(self, _what: None, _how: None) -> None:
        if self.written is not None:
            self.tell(events.PersistFailed(self.written.operations, "no room"))


def check_caps(core: Core) -> None:
    rows = core.peers(0.0)
    linked = {row.identity for row in rows if row.state == "linked"}
    kept = core._dialling.kept_peers()
    assert len(linked - kept) <= LIMITS.max_links
    assert sum(row.state == "greeting" for row in rows) <= LIMITS.max_pending
    assert core._neighbours._greeting == sum(row.state == "greeting" for row in rows)
    assert len(core._dialling._candidates) <= LIMITS.max_candidates + LIMITS.max_static
    assert len(core._dialling._dials) <= LIMITS.max_dials
    assert len(core._tombstones) <= LIMITS.tombstones
    assert len(core._outbox) <= LIMITS.outbox_count
    assert sum(len(box.messages) for box in core._inbox._boxes.values()) <= LIMITS.inbox_count
    assert len(core._posting._late) <= LIMITS.late_receipts
    quotas = core._relaying._quotas
    others = [item for item in core._custody.items() if not item.own]
    words = [item for item in core._custody.items() if isinstance(item, Control)]
    assert sum(cost_of(item.size) for item in others) <= LIMITS.relay_bytes
    assert quotas.size == sum(cost_of(item.size) for item in (*others, *words))
    assert len(words) <= LIMITS.controls
    assert len(core._sessions) <= LIMITS.sessions
    assert len(core._asking._asks) <= LIMITS.keys_asked
    assert len(core._asking._expected) <= LIMITS.keys_expected
    assert len(core._giving._owed) <= LIMITS.keys_owed
    assert len(core._relaying.proofs) <= LIMITS.proofs + LIMITS.proofs // 4
    assert set(core._relaying._ingress) == set(core._served._by_link)
    assert all(len(item.given) <= MAX_GIVEN and len(item.tried) <= MAX_TRIED for item in core._custody.items())
    windows = core._sending._windows.all()
    assert {window.number for window in windows} == set(core._served._by_link)
    flying = {key for window in windows for key in window.flying}
    assert flying == {item.envelope_id for item in core._custody.items() if item.place is Place.FLYING}
    ready = {entry[1].envelope_id for window in windows for entry in window._ready}
    assert ready == {item.envelope_id for item in core._custody.items() if item.place is Place.READY}
    for box in core._inbox._boxes.values():
        held = [kept for same in box.messages.values() for kept in same]
        if held:
            assert box.shares[0, b""].count == len(held)
            assert box.shares[0, b""].size == sum(kept.size for kept in held)
        else:
            assert not box.shares


@settings(max_examples=150)
@given(st.lists(st.tuples(steps, st.sampled_from([0.0, 0.0, 0.1, 5.0, 40.0, 700.0])), max_size=60))
def test_whatever_comes_the_core_goes_on_and_its_caps_hold(script: list[tuple[tuple[str, Any, Any], float]]) -> None:
    rig = Rig()
    for (kind, what, how), wait in script:
        rig.do(kind, what, how)
        rig.wait(wait)
        check_caps(rig.core)
    rig.wait(10_000.0)
    rig.tell(events.Shutdown())


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from(Via), st.integers(0, 5), st.booleans()), min_size=20, max_size=200
    )
)
def test_the_table_of_addresses_keeps_its_cap_and_whom_it_must(heard: list[tuple[int, Via, int, bool]]) -> None:
    table = Candidates(Limits(max_candidates=8, max_static=2, addresses_a_peer=3))
    precious = table.heard("precious:1", Via.BEACON, PEERS[0].identity, 0.5, 0.0)
    kept = table.keep("kept:1", None, 0.5, 0.0)
    assert precious is not None
    precious.proven = True
    for now, (number, via, who, keep) in enumerate(heard):
        identity = PEERS[who].identity if who < len(PEERS) else None
        if keep:
            table.keep(f"{number}:1", identity, 0.5, float(now))
        else:
            table.heard(f"{number}:1", via, identity, 0.5, float(now))
        assert sum(not entry.keep for entry in table) <= 8
        assert sum(entry.keep for entry in table) <= 2
        assert table.get("precious:1") is precious
        assert table.get("kept:1") is kept


@given(st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), st.floats(0, 100))), max_size=100))
def test_timers_are_a_map_of_times(script: list[tuple[int, float | None]]) -> None:
    timers, model = Timers[int](), dict[int, float]()
    for key, at in script:
        if at is None:
            timers.cancel(key)
            model.pop(key, None)
        else:
            timers.set(key, at)
            model[key] = at
        assert timers.next_at() == min(model.values(), default=None)
    popped = []
    while (key := timers.pop_due(50.0)) is not None:
        popped.append(model.pop(key))
    assert popped == sorted(popped)
    assert all(at > 50.0 for at in model.values())
    assert len(timers) == len(model)

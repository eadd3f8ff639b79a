"""Links: HELLO, versions, what may come when, duplicates, misbehaviour, floods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cores import World, pair
from qpq.crypto.identity import Identity, SecretIdentity
from qpq.mesh import events
from qpq.mesh.core import Core
from qpq.mesh.effects import CloseLink, Connect, Count, NeighbourChanged, Persist, SendFrame, SetTimer
from qpq.mesh.events import FrameReceived, LinkDown, LinkUp, PeerFound, Tick, Via
from qpq.mesh.limits import Limits
from qpq.mesh.links import TRANSITIONS, Link, LinkState, surplus
from qpq.wire.announce import sign_announce
from qpq.wire.envelope import sign_envelope
from qpq.wire.frames import Bye, CloseCode, Custody, CustodyCode, Hello, Receipt, Role, Skipped, Transfer
from qpq.wire.frames_mesh import Announce

if TYPE_CHECKING:
    from qpq.mesh.effects import Effect
    from qpq.wire.frames import Frame

NODE = SecretIdentity(b"n" * 32)
PEER = SecretIdentity(b"p" * 32)
USER = SecretIdentity(b"u" * 32)


def hello(**fields: object) -> Hello:
    values: dict[str, object] = {
        "version_min": 1,
        "version_max": 1,
        "features": 0,
        "boot": 1,
        "time": 0,
        "time_trusted": False,
        "load": 0,
        "links": 0,
        "role": Role.RELAY,
        "max_frame": 33_024,
        "store_free": 0,
    }
    return Hello(**(values | fields))  # type: ignore[arg-type]


def core(**limits: object) -> Core:
    chosen = Limits(**({"gather_s": 0.0} | limits))  # type: ignore[arg-type]
    made = Core(NODE, boot=1, random=lambda n: b"\x80" * n, limits=chosen)
    made.handle(events.UserAdded(USER.seed), 0.0)
    return made


def up(link: int = 1, peer: Identity = PEER.identity, *, initiator: bool = False) -> LinkUp:
    return LinkUp(link, peer, f"[fe80::{link}]:7000", initiator)


def sent(effects: list[Effect], kind: type) -> list[Frame]:
    return [effect.frame for effect in effects if isinstance(effect, SendFrame) and isinstance(effect.frame, kind)]


def closed(effects: list[Effect]) -> list[tuple[int, int]]:
    return [(effect.link, effect.code) for effect in effects if isinstance(effect, CloseLink)]


def counted(effects: list[Effect]) -> set[str]:
    return {effect.name for effect in effects if isinstance(effect, Count)}


def frames() -> dict[type, Frame]:
    envelope = sign_envelope(PEER, recipient=USER.address, payload=b"x", commitment=b"c" * 16)
    return {
        Hello: hello(),
        Transfer: Transfer(0, 1, 0, envelope),
        Receipt: Receipt(((b"s" * 16, b"h" * 32),)),
        Custody: Custody(((b"i" * 32, CustodyCode.QUOTA),)),
        Announce: sign_announce(USER, node=PEER.identity, boot=1, counter=1),
        Bye: Bye(CloseCode.SHUTDOWN, 0, ""),
        Skipped: Skipped(200),
    }


def test_hello_goes_out_as_soon_as_a_link_is_up() -> None:
    effects = core().handle(up(), 1.0)
    assert len(sent(effects, Hello)) == 1
    assert not any(isinstance(effect, NeighbourChanged) for effect in effects)


def test_a_link_is_usable_when_both_have_greeted() -> None:
    node = core()
    node.handle(up(), 1.0)
    effects = node.handle(FrameReceived(1, hello()), 1.1)
    assert NeighbourChanged(PEER.identity, up=True, address="[fe80::1]:7000") in effects
    assert [frame.address for frame in sent(effects, Announce)] == [USER.address]
    (row,) = node.peers(2.0)
    assert (row.state, row.identity, row.role, row.since, row.link) == ("linked", PEER.identity, Role.RELAY, 1.1, 1)


@pytest.mark.parametrize("state", list(LinkState))
@pytest.mark.parametrize("kind", list(frames()))
def test_a_frame_that_must_not_come_now_closes_the_link(state: LinkState, kind: type) -> None:
    node = core()
    node.handle(up(), 1.0)
    if state is LinkState.USABLE:
        node.handle(FrameReceived(1, hello()), 1.0)
    effects = node.handle(FrameReceived(1, frames()[kind]), 2.0)
    if (state, kind) in TRANSITIONS:
        assert (1, CloseCode.MALFORMED) not in closed(effects)
    else:
        assert closed(effects) == [(1, CloseCode.MALFORMED)]
        assert "link.misbehaved" in counted(effects)


def test_frames_behind_the_one_that_ended_the_link_are_ignored() -> None:
    node = core()
    node.handle(up(), 1.0)
    effects = node.handle(events.FramesReceived(1, (hello(), hello(), Skipped(200), Skipped(200))), 1.0)
    assert closed(effects) == [(1, CloseCode.MALFORMED)]
    assert "frame.stray" in counted(effects)
    assert "frame.skipped" not in counted(effects)
    assert "frame.skipped" not in counted(node.handle(FrameReceived(1, Skipped(200)), 1.0))
    assert closed(node.handle(LinkDown(1, "gone"), 1.0)) == []


def test_an_unknown_frame_that_is_not_critical_is_counted_and_skipped() -> None:
    node = core()
    node.handle(up(), 1.0)
    node.handle(FrameReceived(1, hello()), 1.0)
    effects = node.handle(FrameReceived(1, Skipped(200)), 1.0)
    assert counted(effects) == {"frame.skipped"}


def test_a_link_that_does_not_greet_in_time_is_closed() -> None:
    node = core()
    wait = Limits().hello_s
    effects = node.handle(up(), 1.0)
    assert SetTimer(1.0 + wait) in effects
    for turn in range(1, 4):
        assert closed(node.handle(Tick(), 1.0 + turn * wait)) == [], "its packets may be lost, and there is room"
    assert closed(node.handle(Tick(), 1.0 + 4 * wait - 0.1)) == []
    effects = node.handle(Tick(), 1.0 + 4 * wait)
    assert closed(effects) == [(1, CloseCode.TOO_SLOW)]
    assert "link.hello_too_slow" in counted(effects)


def test_a_link_that_does_not_greet_is_not_waited_for_longer_where_places_are_few() -> None:
    node = core(max_pending=5)
    for number in range(1, 4):
        node.handle(up(number, SecretIdentity(bytes([number]) * 32).identity), 1.0)
    effects = node.handle(Tick(), 1.0 + Limits().hello_s)
    assert closed(effects) == [(1, CloseCode.TOO_SLOW)], "then there is room for the other two"


@pytest.mark.parametrize(("least", "most", "common"), [(1, 1, True), (1, 9, True), (2, 9, False), (200, 255, False)])
def test_the_highest_common_version_is_spoken_or_the_link_closed(least: int, most: int, common: bool) -> None:
    node = core()
    node.handle(up(), 1.0)
    effects = node.handle(FrameReceived(1, hello(version_min=least, version_max=most)), 1.0)
    assert closed(effects) == ([] if common else [(1, CloseCode.VERSION)])


def test_a_link_to_oneself_is_closed_and_its_address_not_dialled_again() -> None:
    node = core()
    effects = node.handle(PeerFound("[fe80::1]:7000", Via.BEACON), 1.0)
    assert Connect("[fe80::1]:7000", None) in effects
    effects = node.handle(up(peer=NODE.identity, initiator=True), 1.0)
    effects += node.handle(up(2, peer=NODE.identity), 1.0)
    assert closed(effects) == [(1, CloseCode.SELF), (2, CloseCode.SELF)]
    assert not sent(effects, Hello)
    effects = node.handle(PeerFound("[fe80::1]:7000", Via.BEACON), 1000.0)
    assert not [effect for effect in effects if isinstance(effect, Connect)]
    node.handle(events.NetworkChanged(), 1001.0)
    effects = node.handle(PeerFound("[fe80::1]:7000", Via.BEACON), 1002.0)
    assert Connect("[fe80::1]:7000", None) in effects


def test_a_kept_address_that_leads_to_oneself_is_tried_ever_more_rarely() -> None:
    node = core()
    assert Connect("[fe80::1]:7000", None) in node.handle(events.Dial("[fe80::1]:7000"), 1.0)
    node.handle(up(peer=NODE.identity, initiator=True), 1.0)
    (row,) = node.peers(1.0)
    assert (row.state, row.reason) == ("waiting", "this is the node itself")


def test_a_bye_ends_the_link_and_its_retry_after_is_kept_to() -> None:
    node = core()
    node.handle(PeerFound("[fe80::1]:7000", Via.BEACON, PEER.identity), 1.0)
    node.handle(up(initiator=True), 1.0)
    effects = node.handle(FrameReceived(1, Bye(CloseCode.FULL, 100, "full")), 2.0)
    assert closed(effects) == [(1, CloseCode.NONE)]
    (row,) = node.peers(3.0)
    assert row.state == "waiting"
    assert 102.0 <= row.retry_at <= 127.0
    assert row.reason == "peer said FULL: full"
    assert not [effect for effect in node.handle(Tick(), 60.0) if isinstance(effect, Connect)]
    assert [effect for effect in node.handle(Tick(), 128.0) if isinstance(effect, Connect)]


def test_no_peer_keeps_a_node_from_dialling_for_longer_than_an_hour() -> None:
    node = core()
    node.handle(PeerFound("[fe80::1]:7000", Via.BEACON, PEER.identity), 1.0)
    node.handle(up(initiator=True), 1.0)
    node.handle(FrameReceived(1, Bye(60_000, 2**32 - 1, "never")), 2.0)
    (row,) = node.peers(3.0)
    assert row.retry_at <= 2.0 + 3600 * 1.25
    assert row.reason == "peer said 60000: never"


def test_a_peer_that_lies_about_a_duplicate_is_not_dialled_in_a_loop() -> None:
    node = core()
    node.handle(PeerFound("[fe80::1]:7000", Via.BEACON, PEER.identity), 1.0)
    node.handle(up(initiator=True), 1.0)
    effects = node.handle(FrameReceived(1, Bye(CloseCode.DUPLICATE, 0, "")), 1.0)
    assert not [effect for effect in effects if isinstance(effect, Connect)]


def test_a_peer_that_misbehaved_is_refused_until_its_penalty_ends() -> None:
    node = core()
    node.handle(up(), 1.0)
    node.handle(events.LinkFault(1, CloseCode.UNKNOWN_CRITICAL, "frames of type 77 are not known"), 2.0)
    effects = node.handle(up(2), 5.0)
    assert closed(effects) == [(2, CloseCode.NOT_PERMITTED)]
    assert sent(effects, Bye) == [Bye(CloseCode.NOT_PERMITTED, 8, "come back later")]
    assert not sent(effects, Hello)
    assert sent(node.handle(up(3), 12.5), Hello)


def test_a_fault_on_a_link_that_has_ended_is_no_news() -> None:
    assert closed(core().handle(events.LinkFault(9, CloseCode.MALFORMED, "late"), 2.0)) == []


def test_too_many_links_that_have_not_greeted_are_refused_at_once() -> None:
    node = core(max_pending=3)
    peers = [SecretIdentity(bytes([n]) * 32).identity for n in range(5)]
    codes = [closed(node.handle(up(n + 1, peers[n]), 1.0)) for n in range(4)]
    assert codes == [[], [], [], [(4, CloseCode.FULL)]]
    node.handle(LinkDown(1, "gone"), 2.0)
    assert closed(node.handle(up(5, peers[4]), 2.0)) == []


def test_frames_over_the_rate_are_answered_with_quota_and_a_flood_ends_the_link() -> None:
    node = core(peer_frames=5.0, abuse_frames=3.0)
    node.handle(up(), 1.0)
    node.handle(FrameReceived(1, hello()), 1.0)
    answers = []
    for _ in range(10):
        node.handle(FrameReceived(1, Skipped(200)), 1.0)
    for _ in range(2):
        answers += sent(node.handle(FrameReceived(1, frames()[Transfer]), 1.0), Custody)
    assert [code for frame in answers for _, code in frame.answers] == [CustodyCode.QUOTA, CustodyCode.QUOTA]
    assert counted(node.handle(FrameReceived(1, Skipped(200)), 1.0)) == {"frame.over_rate"}
    assert closed(node.handle(FrameReceived(1, Skipped(200)), 1.0)) == [(1, CloseCode.NOT_PERMITTED)]


def test_bytes_over_the_rate_are_refused_like_frames_are() -> None:
    node = core(peer_bytes=20_000.0)
    node.handle(up(), 1.0)
    node.handle(FrameReceived(1, hello()), 1.0)
    large = sign_envelope(PEER, recipient=USER.address, payload=bytes(30_000), commitment=b"c" * 16)
    codes = []
    for _ in range(2):
        (custody,) = sent(node.handle(FrameReceived(1, Transfer(0, 1, 0, large)), 1.0), Custody)
        codes.append(custody.answers[0][1])
    assert codes == [CustodyCode.UNREADABLE, CustodyCode.QUOTA]


# --- duplicates ------------------------------------------------------------------------------

LOW, HIGH = sorted([NODE.identity, PEER.identity])


def usable(number: int, peer: Identity, *, initiator: bool, at: float, boot: int = 1) -> Link:
    link = Link(LinkUp(number, peer, "x:1", initiator), Limits(), at)
    link.greeted(hello(boot=boot), at)
    return link


@pytest.mark.parametrize("low_first", [True, False])
@pytest.mark.parametrize("high_first", [True, False])
def test_both_ends_of_a_simultaneous_dial_keep_the_same_link(low_first: bool, high_first: bool) -> None:
    kept = set()
    for local, remote, first in ((LOW, HIGH, low_first), (HIGH, LOW, high_first)):
        ours_by_low = usable(1, remote, initiator=local == LOW, at=0.0)
        ours_by_high = usable(2, remote, initiator=local == HIGH, at=0.0)
        older, newer = (ours_by_low, ours_by_high) if first else (ours_by_high, ours_by_low)
        loser = surplus(local, older, newer, 0.5, 10.0)
        assert loser is not None
        kept.add(3 - loser.number)
    assert kept == {1}


def test_a_settled_link_gives_way_to_a_newer_one() -> None:
    older = usable(1, HIGH, initiator=True, at=0.0)
    newer = usable(2, HIGH, initiator=False, at=11.0)
    assert surplus(LOW, older, newer, 11.0, 10.0) is older


def test_a_peer_that_started_anew_lost_its_older_link() -> None:
    older = usable(1, HIGH, initiator=True, at=0.0, boot=4)
    newer = usable(2, HIGH, initiator=False, at=1.0, boot=5)
    assert surplus(LOW, older, newer, 1.0, 10.0) is older
    assert surplus(LOW, newer, older, 1.0, 10.0) is older


def test_a_peer_that_lost_its_count_of_boots_gets_its_new_link_all_the_same() -> None:
    older = usable(1, HIGH, initiator=True, at=0.0, boot=400)
    newer = usable(2, HIGH, initiator=False, at=11.0, boot=1)
    assert surplus(LOW, older, newer, 11.0, 10.0) is older


def test_of_two_links_begun_by_one_end_that_end_keeps_its_first_and_the_other_waits() -> None:
    ours = [usable(number, HIGH, initiator=True, at=0.0) for number in (1, 2)]
    theirs = [usable(number, HIGH, initiator=False, at=0.0) for number in (1, 2)]
    assert surplus(LOW, *ours, 1.0, 10.0) is ours[1]
    assert surplus(LOW, *theirs, 1.0, 10.0) is None


def test_a_second_link_from_the_same_end_is_left_to_the_peer_to_close_for_a_while() -> None:
    node = core()
    for number in (1, 2):
        node.handle(up(number), 1.0)
        node.handle(FrameReceived(number, hello()), 1.0)
    assert [row.link for row in node.peers(2.0)] == [1, 2]
    node.handle(up(3), 2.0)
    effects = node.handle(FrameReceived(3, hello()), 2.0)
    assert closed(effects) == [(1, CloseCode.DUPLICATE)], "two links to one peer are the most"
    effects = node.handle(Tick(), 12.0)
    assert closed(effects) == [(2, CloseCode.DUPLICATE)]
    assert not [effect for effect in effects if isinstance(effect, NeighbourChanged)]
    assert [row.link for row in node.peers(13.0)] == [3]


@pytest.mark.parametrize("seed", range(12))
def test_two_nodes_that_dial_each_other_at_once_end_with_one_link(seed: int) -> None:
    world = World(seed, jitter=0.02)
    anna, bert = (world.add(name, limits=Limits(gather_s=0.0)) for name in ("anna", "bert"))
    world.meet(anna, bert)
    world.run(5.0)
    assert len(anna.wires) == len(bert.wires) == 1
    assert anna.counts["dial.started"] + bert.counts["dial.started"] == 2
    assert [change.up for change in anna.neighbours if not change.users] == [True]
    world.send(anna, bert.user.address)
    world.run(1.0)
    assert len(bert.delivered) == 1


def test_the_loser_of_a_simultaneous_dial_is_not_dialled_again() -> None:
    world = World(3)
    anna, bert = (world.add(name, limits=Limits(gather_s=0.0)) for name in ("anna", "bert"))
    world.meet(anna, bert)
    world.run(600.0)
    assert anna.counts["dial.started"] + bert.counts["dial.started"] == 2
    for node, other in ((anna, bert), (bert, anna)):
        assert node.core is not None
        entry = node.core._dialling._candidates.get(other.address)
        assert entry is not None
        assert entry.failures == 0


def test_a_restarted_peer_replaces_its_dead_link() -> None:
    world, anna, bert = pair()
    old = next(iter(anna.wires))
    bert.core = None
    bert.wires.clear()
    world.start(bert)
    world.find(bert, anna)
    world.run(1.0)
    assert anna.counts["link.duplicate"] == 1
    assert old not in anna.wires
    world.send(anna, bert.user.address)
    world.run(1.0)
    assert len(bert.delivered) == 1


def test_when_a_node_stops_its_peers_are_told() -> None:
    world, anna, bert = pair()
    world.stop(bert)
    world.run(0.012)
    assert anna.linked(world.now) == set()
    (row,) = [row for row in anna.core.peers(world.now) if row.identity == bert.identity]  # type: ignore[union-attr]
    assert row.reason.startswith("peer said SHUTDOWN")


def test_a_core_that_has_stopped_does_nothing_more() -> None:
    node = core()
    node.handle(up(), 1.0)
    effects = node.handle(events.Shutdown(), 2.0)
    assert closed(effects) == [(1, CloseCode.SHUTDOWN)]
    assert [type(effect) for effect in effects if isinstance(effect, Persist)] == [Persist]
    assert node.handle(up(2), 3.0) == []


def test_a_newcomer_from_a_kept_address_gets_a_place_on_a_full_node() -> None:
    node = core(max_links=1)
    node.handle(up(1, SecretIdentity(b"1" * 32).identity), 1.0)
    node.handle(FrameReceived(1, hello(links=1)), 1.0)
    node.handle(events.Dial("kept:1", identity=PEER.identity), 1.0)
    node.handle(up(2), 1.0)
    assert closed(node.handle(FrameReceived(2, hello(links=9)), 1.0)) == []
    assert len([row for row in node.peers(1.0) if row.state == "linked"]) == 2


def test_a_deadline_of_a_link_that_is_gone_is_no_fault() -> None:
    node = core()
    node._neighbours.hello_due(99, 1.0)
    node._neighbours.settle_due(PEER.identity, 1.0)
    assert node.handle(Tick(), 1.0) == []


def test_a_second_dead_link_of_a_peer_does_not_end_its_neighbourhood() -> None:
    node = core()
    for number in (1, 2):
        node.handle(up(number), 1.0)
        node.handle(FrameReceived(number, hello()), 1.0)
    effects = node.handle(LinkDown(2, "lost"), 2.0)
    assert not [effect for effect in effects if isinstance(effect, NeighbourChanged)]
    assert [row.link for row in node.peers(2.0)] == [1]
    assert NeighbourChanged(PEER.identity, up=False, address="[fe80::1]:7000") in node.handle(LinkDown(1, "lost"), 3.0)

"""Whom a node dials, when, and what it does about false records."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from cores import World
from qpq.crypto.identity import Identity, SecretIdentity, text_id
from qpq.mesh.candidates import Candidates
from qpq.mesh.chance import Chance
from qpq.mesh.collecting import Effects
from qpq.mesh.core import Core
from qpq.mesh.dialling import Dialling, End
from qpq.mesh.effects import Connect, Count, Notice, SetTimer
from qpq.mesh.events import Dial, DialFailed, LinkDown, LinkUp, NetworkChanged, PeerFound, Tick, Undial, Via
from qpq.mesh.limits import Limits

if TYPE_CHECKING:
    from qpq.mesh.effects import Effect

NODE = SecretIdentity(b"n" * 32)


def identity(number: int) -> Identity:
    return Identity(number.to_bytes(32, "big"))


class Draws:
    """Randomness that is the same fraction for ever, or counts up."""

    def __init__(self, byte: int = 0xFF) -> None:
        self.byte = byte

    def __call__(self, count: int) -> bytes:
        return bytes([self.byte]) * count


def core(byte: int = 0xFF, **limits: object) -> Core:
    chosen = Limits(**({"gather_s": 0.0} | limits))  # type: ignore[arg-type]
    return Core(NODE, boot=1, random=Draws(byte), limits=chosen)


def table(byte: int = 0xFF) -> Dialling:
    return Dialling(
        NODE.identity, limits=Limits(), chance=Chance(Draws(byte)), effects=Effects(), waiting=lambda _: False
    )


def dialled(effects: list[Effect]) -> list[str]:
    return [effect.address for effect in effects if isinstance(effect, Connect)]


def timer(effects: list[Effect]) -> float | None:
    return next((effect.at for effect in effects if isinstance(effect, SetTimer)), None)


def test_a_discovered_peer_is_dialled_at_once_and_only_it_is_accepted() -> None:
    effects = core().handle(PeerFound("a:1", Via.MDNS, identity(1)), 0.0)
    assert Connect("a:1", identity(1)) in effects


def test_what_is_found_together_is_gathered_for_a_moment_and_then_chosen_from() -> None:
    node = core(0xFF, gather_s=0.3, target_links=1)
    for number in range(1, 4):
        effects = node.handle(PeerFound(f"{number}:1", Via.MDNS, identity(number)), 0.0)
        assert dialled(effects) == []
    assert len(dialled(node.handle(Tick(), 0.3))) == 1


def test_of_two_nodes_that_find_each_other_at_once_mostly_only_one_dials() -> None:
    both = 0
    for seed in range(40):
        world = World(seed)
        anna, bert = world.add("anna"), world.add("bert")
        world.meet(anna, bert)
        world.run(1.0)
        assert anna.linked(world.now) == {bert.identity}
        both += anna.counts["dial.started"] + bert.counts["dial.started"] == 2
    assert both < 15


def test_a_node_does_not_dial_itself() -> None:
    node = core()
    effects = node.handle(PeerFound("a:1", Via.MDNS, NODE.identity), 0.0)
    assert dialled(effects) == []
    assert Count("peer.hint_self") in effects
    effects = node.handle(Dial("b:1", identity=NODE.identity), 0.0)
    assert dialled(effects) == []
    assert [effect.level for effect in effects if isinstance(effect, Notice)] == ["warning"]


def test_no_more_discovered_peers_are_dialled_than_wanted() -> None:
    node = core(target_links=3)
    found = [dialled(node.handle(PeerFound(f"{n}:1", Via.MDNS, identity(n)), 0.0)) for n in range(1, 6)]
    assert found == [["1:1"], ["2:1"], ["3:1"], [], []]


def test_a_failed_dial_makes_room_for_another() -> None:
    node = core(target_links=1)
    node.handle(PeerFound("1:1", Via.MDNS, identity(1)), 0.0)
    node.handle(PeerFound("2:1", Via.MDNS, identity(2)), 0.0)
    assert dialled(node.handle(DialFailed("1:1", "refused"), 1.0)) == ["2:1"]


def test_a_failed_dial_of_which_nobody_knows_is_no_fault() -> None:
    assert dialled(core().handle(DialFailed("1:1", "refused"), 1.0)) == []


def test_dials_in_flight_are_limited_static_ones_too() -> None:
    node = core(max_dials=2)
    assert [dialled(node.handle(Dial(f"{n}:1"), 0.0)) for n in range(3)] == [["0:1"], ["1:1"], []]
    assert dialled(node.handle(DialFailed("0:1", "x"), 0.1)) == ["2:1"]


def test_a_dial_that_becomes_nothing_has_failed_after_its_time() -> None:
    node = core(dial_s=30.0)
    assert timer(node.handle(PeerFound("1:1", Via.MDNS, identity(1)), 0.0)) == 30.0
    effects = node.handle(Tick(), 30.0)
    assert Count("dial.failed") in effects
    (row,) = node.peers(30.0)
    assert (row.state, row.reason) == ("waiting", "no answer")


def test_a_timer_that_comes_in_time_finds_the_dial_failed_however_sums_are_rounded() -> None:
    for step in range(1000):
        node = core(dial_s=30.0)
        at = timer(node.handle(PeerFound("1:1", Via.MDNS, identity(1)), 0.001 * step))
        assert at is not None
        assert Count("dial.failed") in node.handle(Tick(), at)


def test_back_off_grows_from_a_second_to_five_minutes() -> None:
    node = core(0xFF)
    now = 0.0
    waits = []
    node.handle(PeerFound("1:1", Via.MDNS, identity(1)), now)
    for _ in range(12):
        at = timer(node.handle(DialFailed("1:1", "refused"), now))
        assert at is not None
        waits.append(round(at - now))
        assert dialled(node.handle(Tick(), at - 0.01)) == []
        assert dialled(node.handle(Tick(), at)) == ["1:1"]
        now = at
        node.handle(PeerFound("1:1", Via.MDNS, identity(1)), now)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_each_five_minutes_of_use_take_back_one_doubling_of_the_back_off() -> None:
    dialling = table()
    dialling.ask(Dial("1:1"), 0.0)
    now = 0.0
    for lasted, wait in ((10.0, 1), (299.0, 2), (299.0, 4), (300.0, 4), (650.0, 2), (10.0, 4), (90_000.0, 1)):
        dialling.linked("1:1", identity(1), True, now)
        now += lasted
        dialling.ended("1:1", identity(1), now, lasted=lasted, loss=0.0, end=End.LOST, reason="lost")
        at = dialling.run(now)
        assert at is not None
        assert round(at - now) == wait
        now = at
        assert dialling.run(now) == now + Limits().dial_s


def test_dials_in_vain_grow_fourfold_to_an_hour() -> None:
    dialling = table()
    dialling.ask(Dial("1:1"), 0.0)
    now, waits = 0.0, []
    for took in (3.0, 10.0, 5.0, 10.0, 10.0, 10.0, 3.0, 10.0, 10.0):
        dialling.run(now)
        now += took
        dialling.failed("1:1", "no answer", now)
        at = dialling.run(now)
        assert at is not None
        waits.append(round(at - now))
        now = at
    assert waits == [1, 4, 16, 64, 256, 1024, 300, 3600, 3600], "what failed at once was cheap"


def test_a_peer_that_can_be_done_without_is_dialled_in_vain_ever_more_rarely() -> None:
    dialling = table()
    dialling.ask(Dial("1:1"), 0.0)
    dialling.linked("2:2", identity(2), False, 0.0)
    now, waits = 0.0, []
    for _ in range(7):
        dialling.run(now)
        now += 10.0
        dialling.failed("1:1", "no answer", now)
        at = dialling.run(now)
        assert at is not None
        waits.append(round(at - now))
        now = at
    assert waits == [2, 8, 32, 128, 2048, 14_400, 14_400]


@pytest.mark.parametrize(
    ("lasted", "loss", "others", "failures"),
    [
        (50.0, 0.0, True, 2),
        (70.0, 0.0, True, 1),
        (290.0, 0.9, True, 2),
        (310.0, 0.9, True, 1),
        (50.0, 0.9, False, 1),
        (0.0, 0.0, False, 2),
    ],
)
def test_a_link_that_did_not_last_was_in_vain_where_there_are_others(
    lasted: float, loss: float, others: bool, failures: int
) -> None:
    dialling = table()
    dialling.ask(Dial("1:1"), 0.0)
    if others:
        dialling.linked("2:2", identity(2), False, 0.0)
    dialling.linked("1:1", identity(1), True, 0.0)
    dialling.ended("1:1", identity(1), lasted, lasted=lasted, loss=loss, end=End.LOST, reason="lost")
    (candidate,) = (entry for entry in dialling.unlinked() if entry.address == "1:1")
    assert candidate.failures == failures


def test_of_peers_alike_those_that_failed_least_are_dialled_first() -> None:
    dialling = table()
    for number in range(1, 9):
        dialling.found(PeerFound(f"{number}:1", Via.MDNS, identity(number)), 0.0)
    for candidate in dialling.unlinked():
        candidate.failures = int(candidate.address[0]) % 4
    dialling.run(1.0)
    assert {"4:1", "8:1", "1:1", "5:1"} < set(dialling._dials), "the fifth is drawn among all"


def test_a_link_over_which_nobody_greeted_was_in_vain() -> None:
    node = core()
    node.handle(Dial("1:1"), 0.0)
    now, waits = 0.0, []
    for number in range(1, 5):
        node.handle(LinkUp(number, identity(1), "1:1", initiator=True), now)
        at = timer(node.handle(LinkDown(number, "lost"), now + 30.0))
        assert at is not None
        waits.append(round(at - now - 30.0))
        now = at
        assert dialled(node.handle(Tick(), now)) == ["1:1"]
    assert waits == [2, 8, 32, 128]


def test_a_changed_network_ends_all_back_offs() -> None:
    node = core(0xFF)
    node.handle(PeerFound("1:1", Via.MDNS, identity(1)), 0.0)
    for _ in range(9):
        node.handle(DialFailed("1:1", "refused"), 0.0)
        assert dialled(node.handle(NetworkChanged(), 0.0)) == ["1:1"]
    assert timer(node.handle(DialFailed("1:1", "refused"), 0.0)) == 0.9999999999999999


def test_a_peer_that_comes_back_is_dialled_at_once_however_often_that_failed() -> None:
    node = core(0xFF, away_s=120.0)
    node.handle(PeerFound("1:1", Via.BEACON, identity(1)), 0.0)
    node.handle(LinkUp(1, identity(1), "1:1", initiator=True), 0.0)
    node.handle(LinkDown(1, "lost"), 10.0)
    now = 10.0
    for wait in (2, 4, 8, 16, 32, 64):
        now += wait
        assert dialled(node.handle(Tick(), now)) == ["1:1"]
        node.handle(DialFailed("1:1", "no route to host"), now)
    assert dialled(node.handle(PeerFound("1:1", Via.BEACON, identity(1)), now)) == ["1:1"], "silent since 10 s"
    node.handle(DialFailed("1:1", "no answer"), now)
    assert dialled(node.handle(PeerFound("1:1", Via.BEACON, identity(1)), now + 119.0)) == [], "it was here all along"


def test_an_address_that_no_link_has_proven_keeps_its_back_off_when_it_is_heard_again() -> None:
    node = core(0xFF, away_s=120.0)
    node.handle(PeerFound("1:1", Via.BEACON, identity(1)), 0.0)
    now = 0.0
    for wait in (1, 2, 4, 8, 16, 32, 64, 128):
        node.handle(DialFailed("1:1", "no answer"), now)
        now += wait
        node.handle(Tick(), now)
    node.handle(DialFailed("1:1", "no answer"), now)
    assert dialled(node.handle(PeerFound("1:1", Via.BEACON, identity(1)), now + 130.0)) == []


def test_a_kept_peer_is_dialled_for_ever_and_beyond_the_wanted_number() -> None:
    node = core(0, target_links=0)
    assert dialled(node.handle(Dial("s:1"), 0.0)) == ["s:1"]
    for second in range(1, 50):
        assert dialled(node.handle(DialFailed("s:1", "down"), float(second))) == ["s:1"]
    node.handle(LinkUp(1, identity(1), "s:1", initiator=True), 60.0)
    assert dialled(node.handle(LinkDown(1, "lost"), 200.0)) == ["s:1"]


def test_a_kept_peer_may_change_its_key_unless_the_user_named_it() -> None:
    node = core(0)
    assert Connect("s:1", None) in node.handle(Dial("s:1"), 0.0)
    node.handle(LinkUp(1, identity(1), "s:1", initiator=True), 1.0)
    assert Connect("s:1", None) in node.handle(LinkDown(1, "lost"), 2.0)
    assert Connect("t:1", identity(7)) in node.handle(Dial("t:1", identity=identity(7)), 3.0)


def test_a_peer_that_is_dialled_once_only_is_not_kept() -> None:
    node = core(0, target_links=0)
    assert dialled(node.handle(Dial("s:1", keep=False), 0.0)) == ["s:1"]
    assert dialled(node.handle(DialFailed("s:1", "down"), 1.0)) == []
    assert dialled(node.handle(Tick(), 1000.0)) == []


def test_a_peer_that_is_linked_is_not_dialled_at_another_address() -> None:
    node = core()
    node.handle(LinkUp(1, identity(1), "1:1", initiator=False), 0.0)
    assert dialled(node.handle(PeerFound("other:1", Via.BEACON, identity(1)), 1.0)) == []
    assert dialled(node.handle(Dial("other:1", keep=False, identity=identity(1)), 1.0)) == []


def test_there_is_one_dial_for_an_identity_at_a_time() -> None:
    node = core()
    assert dialled(node.handle(PeerFound("1:1", Via.MDNS, identity(1)), 0.0)) == ["1:1"]
    assert dialled(node.handle(PeerFound("2:1", Via.BEACON, identity(1)), 0.0)) == []
    assert dialled(node.handle(DialFailed("1:1", "no answer"), 1.0)) == ["2:1"]


def test_the_last_wanted_link_is_drawn_from_all_candidates() -> None:
    node = core(0xFF, target_links=2, max_dials=1)
    node.handle(PeerFound("first:1", Via.MDNS, identity(1)), 0.0)
    for number in range(2, 9):
        node.handle(PeerFound(f"{number}:1", Via.MDNS, identity(number)), 0.0)
    effects = node.handle(LinkUp(1, identity(1), "first:1", initiator=True), 1.0)
    assert dialled(effects) == ["8:1"], "the greatest fraction draws the last"
    node.handle(LinkUp(2, identity(8), "8:1", initiator=True), 2.0)
    assert len(dialled(node.handle(LinkDown(1, "lost"), 3.0))) == 1


def test_sources_are_dialled_in_turns_so_that_false_records_of_one_do_not_hide_another() -> None:
    node = core(0, target_links=9, max_dials=1)
    for number in range(1, 20):
        node.handle(PeerFound(f"fake{number}:1", Via.MDNS, identity(number)), 0.0)
    node.handle(PeerFound("true:1", Via.BEACON, identity(99)), 0.0)
    assert dialled(node.handle(DialFailed("fake1:1", "no answer"), 1.0)) == ["true:1"]


def test_a_peer_proven_before_is_preferred() -> None:
    node = core(0, target_links=3, max_dials=1)
    node.handle(LinkUp(1, identity(50), "good:1", initiator=False), 0.0)
    for number in range(1, 20):
        node.handle(PeerFound(f"{number}:1", Via.MDNS, identity(number)), 0.0)
    node.handle(LinkDown(1, "lost"), 1.0)
    assert dialled(node.handle(DialFailed("1:1", "no answer"), 2.0)) == ["good:1"]


def test_a_discovered_address_that_fails_and_is_not_heard_of_any_more_is_forgotten() -> None:
    node = core(stale_s=3600.0)
    node.handle(PeerFound("1:1", Via.MDNS, identity(1)), 0.0)
    node.handle(DialFailed("1:1", "x"), 10.0)
    assert len(node.peers(10.0)) == 1
    node.handle(Tick(), 3600.0)
    node.handle(DialFailed("1:1", "x"), 3610.0)
    assert node.peers(3610.0) == ()


def test_a_thousand_false_records_push_out_neither_kept_nor_proven_nor_other_sources() -> None:
    node = core(max_candidates=64)
    node.handle(Dial("kept:1"), 0.0)
    node.handle(LinkUp(1, identity(1), "proven:1", initiator=False), 0.0)
    for number in range(10):
        node.handle(PeerFound(f"beacon{number}:1", Via.BEACON, identity(100 + number)), 0.0)
    for number in range(1000):
        effects = node.handle(PeerFound(f"fake{number}:1", Via.MDNS, identity(1000 + number)), 1.0 + number)
    assert Count("peer.hint_evicted") in effects
    rows = node.peers(2000.0)
    addresses = {row.address for row in rows}
    assert len(rows) == 65
    assert {"kept:1", "proven:1", *(f"beacon{number}:1" for number in range(10))} <= addresses


def test_when_all_are_proven_and_linked_a_newcomer_is_refused_and_counted() -> None:
    node = core(max_candidates=2, target_links=0)
    for number in (1, 2):
        node.handle(LinkUp(number, identity(number), f"{number}:1", initiator=False), 0.0)
    effects = node.handle(PeerFound("new:1", Via.MDNS, identity(3)), 1.0)
    assert Count("peer.hint_refused") in effects
    effects = node.handle(Dial("new:1", keep=False), 1.0)
    assert [effect.level for effect in effects if isinstance(effect, Notice)] == ["warning"]


def test_a_silent_peer_that_came_by_itself_gives_way_when_all_are_proven() -> None:
    table = Candidates(Limits(max_candidates=2))
    for number, via in ((1, Via.INBOUND), (2, Via.MDNS)):
        entry = table.heard(f"{number}:1", via, identity(number), 0.5, float(number))
        assert entry is not None
        entry.proven = True
    assert table.heard("new:1", Via.MDNS, identity(3), 0.5, 10.0) is not None
    assert table.get("1:1") is None
    assert table.get("2:1") is not None


def test_a_proven_peer_unheard_of_for_long_gives_way_too() -> None:
    table = Candidates(Limits(max_candidates=1, stale_s=100.0))
    entry = table.heard("1:1", Via.MDNS, identity(1), 0.5, 0.0)
    assert entry is not None
    entry.proven = True
    assert table.heard("new:1", Via.MDNS, identity(3), 0.5, 99.0) is None
    assert table.heard("new:1", Via.MDNS, identity(3), 0.5, 101.0) is not None


def test_claims_of_one_identity_do_not_fill_the_table() -> None:
    table = Candidates(Limits(addresses_a_peer=3))
    for number in range(10):
        table.heard(f"{number}:1", Via.MDNS, identity(1), 0.5, float(number))
    assert [entry.address for entry in table] == ["7:1", "8:1", "9:1"]
    assert (table.evicted, len(table)) == (7, 3)


def test_a_false_claim_does_not_replace_a_proven_identity_that_answers() -> None:
    table = Candidates(Limits())
    entry = table.heard("1:1", Via.MDNS, identity(1), 0.5, 0.0)
    assert entry is not None
    entry.proven = True
    table.heard("1:1", Via.MDNS, identity(2), 0.5, 1.0)
    assert (entry.identity, entry.proven) == (identity(1), True)
    entry.failures = 1
    table.heard("1:1", Via.MDNS, identity(2), 0.5, 2.0)
    assert (entry.identity, entry.proven) == (identity(2), False)


def test_addresses_the_user_asked_for_are_limited_and_can_be_asked_for_again() -> None:
    node = core(max_static=2)
    for number in range(2):
        node.handle(Dial(f"{number}:1"), 0.0)
    effects = node.handle(Dial("2:1"), 0.0)
    assert [effect.level for effect in effects if isinstance(effect, Notice)] == ["warning"]
    effects = node.handle(Dial("1:1", identity=identity(5)), 0.0)
    assert not [effect for effect in effects if isinstance(effect, Notice)]


def test_a_discovered_address_becomes_kept_when_the_user_asks_for_it() -> None:
    node = core(0, target_links=0)
    node.handle(PeerFound("1:1", Via.MDNS, identity(1)), 0.0)
    assert Connect("1:1", None) in node.handle(Dial("1:1"), 1.0)
    (row,) = node.peers(1.0)
    assert (row.via, row.state) == (Via.STATIC, "dialling")


def test_only_the_last_own_addresses_are_remembered() -> None:
    table = Candidates(Limits())
    for number in range(40):
        table.own(f"{number}:1")
    assert table.heard("39:1", Via.MDNS, None, 0.5, 0.0) is None
    assert table.heard("0:1", Via.MDNS, None, 0.5, 0.0) is not None


def test_a_link_whose_address_was_forgotten_ends_without_fault() -> None:
    node = core(max_candidates=1, target_links=0)
    node.handle(LinkUp(1, identity(1), "1:1", initiator=False), 0.0)
    node.handle(LinkUp(2, identity(2), "2:1", initiator=False), 0.0)
    (row, other) = node.peers(1.0)
    assert (row.via, other.via) == (Via.INBOUND, Via.INBOUND)
    node.handle(LinkDown(2, "lost"), 2.0)
    assert len(node.peers(3.0)) == 1


def test_a_node_among_many_ends_with_the_wanted_links_and_all_are_joined() -> None:
    world = World(5, jitter=0.01)
    nodes = [world.add(f"n{number}") for number in range(16)]
    world.meet(*nodes)
    world.run(120.0)
    joined, frontier = {nodes[0].identity}, [nodes[0]]
    by_identity = {node.identity: node for node in nodes}
    while frontier:
        for peer in frontier.pop().linked(world.now) - joined:
            joined.add(peer)
            frontier.append(by_identity[peer])
    assert len(joined) == 16
    assert all(len(node.linked(world.now)) >= 5 for node in nodes)
    starts = [node.counts["dial.started"] for node in nodes]
    world.run(3600.0)
    assert starts == [node.counts["dial.started"] for node in nodes], "a settled network dials nobody"


def test_a_peer_to_whom_a_user_writes_is_dialled_beyond_the_wanted_number() -> None:
    world = World()
    limits = Limits(target_links=1)
    anna, bert, carl = (world.add(name, limits=limits) for name in ("anna", "bert", "carl"))
    world.find(anna, bert)
    world.run(1.0)
    world.find(anna, carl)
    world.run(1.0)
    assert carl.identity not in anna.linked(world.now)
    world.send(anna, carl.identity, "hello carl")
    world.run(1.0)
    assert [message.text for message in carl.delivered] == ["hello carl"]


def test_writing_to_a_peer_shortens_its_back_off_but_not_to_nothing() -> None:
    world = World()
    anna, bert = world.add("anna"), world.add("bert", start=False)
    world.find(anna, bert)
    world.run(1000.0)
    world.start(bert)
    failed = anna.counts["dial.failed"]
    world.send(anna, bert.identity)
    world.run(11.0)
    assert len(bert.delivered) == 1
    assert anna.counts["dial.failed"] <= failed + 1


def test_waits_between_dials_of_a_dead_peer_are_spread() -> None:
    world = World(8)
    anna, bert = world.add("anna"), world.add("bert", start=False)
    world.find(anna, bert)
    times: list[float] = []
    for _ in range(3600):
        before = anna.counts["dial.started"]
        world.run(1.0)
        times += [world.now] * (anna.counts["dial.started"] - before)
    gaps = [round(later - earlier) for earlier, later in pairwise(times)]
    assert max(gaps) <= 301
    assert len(set(gaps[8:])) > 5


def test_a_kept_peer_that_is_not_wanted_any_more_is_not_dialled_again() -> None:
    node = core()
    assert dialled(node.handle(Dial("a:1"), 0.0)) == ["a:1"]
    node.handle(DialFailed("a:1", "no answer"), 1.0)
    node.handle(Undial("a:1"), 2.0)
    assert node.peers(2.0) == ()
    assert dialled(node.handle(Tick(), 1000.0)) == []
    node.handle(Undial("a:1"), 1001.0)


def test_a_dial_under_way_to_a_peer_that_is_not_wanted_any_more_comes_to_nothing() -> None:
    node = core(max_dials=1)
    node.handle(Dial("a:1"), 0.0)
    assert dialled(node.handle(Dial("b:1"), 0.0)) == []
    assert dialled(node.handle(Undial("a:1"), 1.0)) == ["b:1"], "its place among the dials is free"
    node.handle(DialFailed("a:1", "no answer"), 2.0)
    assert [row.address for row in node.peers(2.0)] == ["b:1"]


def test_a_link_to_a_peer_that_is_not_wanted_any_more_stays() -> None:
    world = World()
    anna, bert = world.add("anna"), world.add("bert", limits=Limits(target_links=0))
    world.tell(anna, Dial(bert.address))
    world.run(1.0)
    world.tell(anna, Undial(bert.address))
    assert anna.linked(world.now) == {bert.identity}
    world.drop_link(anna, next(iter(anna.wires)))
    world.run(1000.0)
    assert anna.linked(world.now) == set()


def test_what_discovery_found_is_no_wish_to_be_taken_back() -> None:
    node = core()
    node.handle(PeerFound("a:1", Via.MDNS, identity(1)), 0.0)
    node.handle(Undial("a:1"), 1.0)
    assert [row.address for row in node.peers(1.0)] == ["a:1"]


# --- who answers at an address that is kept ---------------------------------------------------------


def link(node: Core, number: int, who: int, now: float, address: str = "a:1") -> list[Effect]:
    effects = node.handle(LinkUp(number, identity(who), address, initiator=True), now)
    return [effect for effect in effects if isinstance(effect, Notice)]


def known(node: Core, now: float, address: str = "a:1") -> Identity | None:
    return next(row.known for row in node.peers(now) if row.address == address)


def test_another_key_at_a_kept_address_is_told_of_loudly_and_once() -> None:
    node = core()
    node.handle(Dial("a:1"), 0.0)
    assert link(node, 1, 1, 1.0) == []
    node.handle(LinkDown(1, "gone"), 2.0)
    (notice,) = link(node, 2, 2, 3.0)
    assert isinstance(notice, Notice)
    assert notice.level == "warning"
    assert "THE KEY AT a:1 HAS CHANGED" in notice.text
    assert text_id(identity(1)) in notice.text
    assert text_id(identity(2)) in notice.text
    assert known(node, 3.0) == identity(1)
    node.handle(LinkDown(2, "gone"), 4.0)
    assert known(node, 4.0) == identity(1), "without a link it is still so"
    assert link(node, 3, 2, 5.0) == []


def test_the_key_that_was_known_ends_it_and_so_does_a_new_wish_to_dial() -> None:
    node = core()
    node.handle(Dial("a:1", known=identity(1)), 0.0)
    assert len(link(node, 1, 2, 1.0)) == 1
    node.handle(LinkDown(1, "gone"), 2.0)
    assert link(node, 2, 1, 3.0) == []
    assert known(node, 3.0) is None
    node.handle(LinkDown(2, "gone"), 4.0)
    assert len(link(node, 3, 2, 5.0)) == 1
    node.handle(Dial("a:1"), 6.0)
    assert known(node, 6.0) is None
    node.handle(LinkDown(3, "gone"), 7.0)
    assert len(link(node, 4, 1, 8.0)) == 1, "now the other one is known"


def test_a_wish_that_names_another_than_who_is_linked_already_is_told_at_once() -> None:
    node = core()
    link(node, 1, 2, 1.0)
    effects = node.handle(Dial("a:1", known=identity(1)), 2.0)
    assert [effect for effect in effects if isinstance(effect, Notice)]
    assert known(node, 2.0) == identity(1)


def test_a_new_wish_to_dial_forgets_a_stranger_who_is_gone() -> None:
    node = core()
    node.handle(Dial("a:1", known=identity(1)), 0.0)
    link(node, 1, 2, 1.0)
    node.handle(LinkDown(1, "gone"), 2.0)
    node.handle(PeerFound("a:1", Via.MDNS, identity(3)), 3.0)
    node.handle(Dial("a:1"), 4.0)
    assert link(node, 2, 3, 5.0) == []
    assert known(node, 5.0) is None


def test_who_answers_at_addresses_that_were_only_found_may_change() -> None:
    node = core()
    node.handle(PeerFound("a:1", Via.MDNS, identity(1)), 0.0)
    link(node, 1, 1, 1.0)
    node.handle(LinkDown(1, "gone"), 2.0)
    assert link(node, 2, 2, 3.0) == []
    assert known(node, 3.0) is None

"""Ping and trace along the routes, and what a probe cannot be made to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cores import World
from qpq.crypto.identity import Address, SecretIdentity, address_of
from qpq.mesh import events
from qpq.mesh.effects import ProbeDone
from qpq.wire.frames_mesh import Probe, ProbeKind
from routing_net import Router, RoutingNet

NOBODY = SecretIdentity(b"0" * 32).address
TOKEN = b"12345678"


def line(length: int, **limits: float) -> tuple[RoutingNet, list[Router]]:
    made = RoutingNet()
    return made, made.line(length, **limits)


def probes(made: RoutingNet) -> list[tuple[str, str, ProbeKind]]:
    return [(one, other, frame.kind) for one, other, frame in made.sent(Probe) if isinstance(frame, Probe)]


def request(target: bytes, token: bytes = TOKEN, hops: int = 0) -> Probe:
    return Probe(ProbeKind.REQUEST, hops, False, token, Address(target), ())


def test_a_ping_tells_the_hops_and_the_time() -> None:
    made, far = line(4)
    far[0].ping(far[3].user, trace=False)
    made.run(1.0)
    (done,) = far[0].probed
    assert done == ProbeDone(TOKEN, ok=True, rtt=done.rtt, hops=3, path=())
    assert done.rtt == pytest.approx(6 * made.latency)
    made.run(100.0)
    assert len(far[0].probed) == 1


def test_a_trace_names_the_nodes_on_the_way_and_the_last() -> None:
    made, far = line(4)
    far[0].ping(address_of(far[3].identity))
    made.run(1.0)
    (done,) = far[0].probed
    assert done.path == tuple(router.identity for router in far[1:])


def test_a_far_address_is_asked_for_first() -> None:
    made, far = line(9)
    far[0].ping(far[8].user)
    made.run(3.0)
    (done,) = far[0].probed
    assert (done.ok, done.hops, len(done.path)) == (True, 8, 8)


def test_a_user_of_this_node_is_here() -> None:
    _, far = line(2)
    far[0].ping(far[0].user)
    far[0].ping(far[0].secret.address)
    assert far[0].probed == [ProbeDone(TOKEN, ok=True, rtt=0.0, hops=0, path=())] * 2


def test_what_is_not_found_has_failed_after_ten_seconds() -> None:
    made, far = line(2)
    far[0].ping(NOBODY)
    made.run(9.9)
    assert far[0].probed == []
    made.run(0.2)
    assert far[0].probed == [ProbeDone(TOKEN, ok=False, rtt=pytest.approx(10.0), hops=0, path=(), reason="no route")]


def test_a_probe_that_is_lost_has_failed_after_ten_seconds() -> None:
    made, far = line(3)
    far[0].ping(far[2].user)
    made.unlink(far[0], far[1])
    made.run(11.0)
    assert [(done.ok, done.reason) for done in far[0].probed] == [(False, "no answer")]


def test_a_node_that_has_lost_the_way_says_so() -> None:
    made, far = line(4)
    far[0].ping(far[3].user)
    made.run(0.03)
    made.unlink(far[2], far[3])
    made.run(1.0)
    (done,) = far[0].probed
    assert (done.ok, done.hops, done.reason) == (False, 2, "a node on the way knows no route")
    assert done.path == (far[1].identity, far[2].identity)


def test_pings_are_few_and_one_token_is_used_once() -> None:
    made, far = line(2, pings=2)
    far[0].ping(NOBODY, b"11111111")
    far[0].ping(NOBODY, b"11111111")
    far[0].ping(NOBODY, b"22222222")
    far[0].ping(NOBODY, b"33333333")
    assert [(done.token[:1], done.reason) for done in far[0].probed] == [
        (b"1", "too many at once"),
        (b"3", "too many at once"),
    ]
    made.run(11.0)
    assert len(far[0].probed) == 4


def test_a_probe_that_comes_again_is_dropped() -> None:
    made, far = line(3)
    for _ in range(3):
        made.inject(far[0], far[1], request(far[2].user))
    assert probes(made) == [("b", "c", ProbeKind.REQUEST)]
    assert far[1].counts["probe.dropped"] == 2


def test_a_probe_does_not_go_back_where_it_came_from() -> None:
    made, far = line(3)
    made.inject(far[0], far[1], request(far[0].user))
    assert probes(made) == [("b", "a", ProbeKind.UNREACHABLE)]


def test_an_answer_counts_only_from_where_the_probe_went() -> None:
    made, far = line(4)
    answer = replace(request(far[3].user), kind=ProbeKind.ANSWER)
    made.inject(far[0], far[1], request(far[3].user))
    made.inject(far[0], far[1], answer)
    far[1].ping(far[3].user, b"own.ping", trace=False)
    made.inject(far[0], far[1], replace(answer, token=b"own.ping"))
    made.inject(far[0], far[1], replace(answer, token=b"unknown."))
    assert far[1].probed == []
    assert far[1].counts["probe.dropped"] == 3
    made.run(1.0)
    assert [done.ok for done in far[1].probed] == [True]
    assert far[0].counts["probe.dropped"] == 1, "it never asked"


def test_an_answer_that_is_late_or_has_come_too_far_is_dropped() -> None:
    made, far = line(3)
    answer = replace(request(far[2].user), kind=ProbeKind.ANSWER)
    made.unlink(far[1], far[2])
    made.link(far[1], far[2])
    made.run(30.0)
    far[2].takes = lambda *_: None  # type: ignore[method-assign]
    made.inject(far[0], far[1], request(far[2].user))
    made.inject(far[2], far[1], replace(answer, hops=64))
    made.run(11.0)
    made.inject(far[2], far[1], answer)
    assert far[1].counts["probe.dropped"] == 2
    assert ("b", "a", ProbeKind.ANSWER) not in probes(made)


def test_probes_end_after_so_many_hops() -> None:
    made, far = line(3)
    made.inject(far[0], far[1], request(far[2].user, hops=64))
    assert probes(made) == []
    assert far[1].counts["probe.dropped"] == 1


def test_a_path_is_no_longer_than_a_frame_carries() -> None:
    made, far = line(2)
    path = (far[0].identity,) * 64
    made.inject(far[0], far[1], replace(request(far[1].user), trace=True, path=path))
    (frame,) = [frame for _, _, frame in made.sent(Probe)]
    assert isinstance(frame, Probe)
    assert frame.path == path


def test_a_flood_of_probes_is_cut_and_memory_is_bounded() -> None:
    made, far = line(3, probe_rate=1.0, probe_burst=20, probes=8)
    for n in range(50):
        made.inject(far[0], far[1], request(far[2].user, n.to_bytes(8, "big")))
    assert far[1].counts["probe.passed_on"] == 20
    assert len(far[1].probing._passed) == 8


def test_cores_ping_each_other() -> None:
    world = World()
    anna, _, carl = world.line(3)
    world.run(10.0)
    world.tell(anna, events.Ping(carl.user.address, TOKEN, trace=True))
    world.run(1.0)
    assert [(done.ok, done.hops, len(done.path)) for done in anna.probed] == [(True, 2, 2)]

"""The simulator itself: it repeats byte for byte, loses what it is told to lose, and counts every byte."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.agenda import Agenda, StandstillError
from sim.echo import EchoHost
from sim.figures import _broadcast, figures
from sim.lines import ModelLines
from sim.medium import Pipe, Quality
from sim.quic import QuicLines
from sim.record import Message
from sim.report import as_json
from sim.run import run
from sim.scenario import SCENARIOS, ScenarioError, load, parse
from sim.stream import Incoming, Outgoing
from sim.world import World

TESTS = Path(__file__).resolve().parents[1]

SMALL = {
    "name": "small",
    "settle": 30.0,
    "rest": 30.0,
    "duration": 120.0,
    "topology": {"kind": "grid", "width": 3, "height": 2},
    "link": {"loss": 0.2, "delay": 0.01, "jitter": 0.005, "rate": 125_000.0},
    "traffic": [{"kind": "unicast", "count": 6, "over": 30}, {"kind": "broadcast", "count": 3, "over": 30}],
    "churn": [{"kind": "crash", "part": 0.5, "stop": 60, "on": 40, "off": 20}],
}


@pytest.mark.parametrize("transport", ["model", "quic"])
def test_a_seed_gives_the_same_figures_byte_for_byte_and_another_seed_gives_others(transport: str) -> None:
    documents = [as_json(figures(run(parse({**SMALL, "transport": transport}), seed))) for seed in (5, 5, 6)]
    assert documents[0] == documents[1]
    assert documents[0] != documents[2].replace('"seed": 6', '"seed": 5')


def test_the_figures_do_not_hang_on_the_process(tmp_path: Path) -> None:
    program = (
        "import sys; from sim.run import run; from sim.figures import figures; from sim.report import as_json;"
        f"from sim.scenario import parse; sys.stdout.write(as_json(figures(run(parse({SMALL!r}), 5))))"
    )
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'node'}", "PYTHONHASHSEED": "0"}
    outputs = [
        subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, check=True)
        for _ in range(2)
    ]
    assert outputs[0].stdout == outputs[1].stdout
    assert outputs[0].stdout


@pytest.mark.parametrize("lines", [ModelLines, QuicLines])
def test_every_byte_sent_is_counted_once_at_the_node_and_once_on_the_wire(lines: type[ModelLines | QuicLines]) -> None:
    world, a, b = _pair(lines, Quality(0.3, 0.01))
    for _ in range(20):
        a.send(500)
        world.agenda.run(world.now + 2)
    edge = world.edge(a, b)
    assert edge is not None
    world.agenda.run(world.now + 30)
    for host, pipe, other in ((a, edge.there, b), (b, edge.back, a)):
        assert host.tx_bytes == pipe.bytes
        assert host.tx_packets == pipe.packets
        assert sum(host.tx_kinds.values()) == host.tx_bytes
        assert 0 < other.rx_bytes < host.tx_bytes, "some was lost, and what was lost is not received"


def test_a_pipe_loses_the_part_of_the_packets_that_it_is_told_to() -> None:
    pipe = Pipe(Quality(loss=0.3), World(1).random)
    arrived = sum(pipe.carry(100, 0.0) >= 0 for _ in range(10_000))
    assert 6_800 < arrived < 7_200
    assert pipe.lost == 10_000 - arrived


def test_a_pipe_with_a_rate_delays_what_queues_and_drops_what_does_not_fit() -> None:
    pipe = Pipe(Quality(delay=0.1, rate=1_000.0, queue=2_000), World(1).random)
    arrivals = [pipe.carry(1_000, 0.0) for _ in range(5)]
    assert arrivals[:3] == pytest.approx([1.1, 2.1, 3.1])
    assert arrivals[3:] == [-1.0, -1.0]
    assert pipe.dropped == 2


def test_a_link_that_hears_nothing_dies_and_one_that_does_comes_back() -> None:
    world, a, b = _pair(ModelLines, Quality(0.0, 0.01))
    edge = world.edge(a, b)
    assert edge is not None
    edge.up = False
    a.send(100)
    world.agenda.run(world.now + 60)
    assert not a.link
    edge.up = True
    world.agenda.run(world.now + 30)
    assert a.link
    assert list(b.arrived) == [1], "what waited has arrived"


def test_a_message_of_many_packets_arrives_whole_over_a_lossy_link() -> None:
    world, a, b = _pair(ModelLines, Quality(0.3, 0.01, jitter=0.02))
    for _ in range(5):
        a.send(30_000)
    world.agenda.run(world.now + 120)
    assert list(b.arrived) == [1, 2, 3, 4, 5]
    assert not a.waiting


def test_time_that_stands_still_is_told() -> None:
    agenda = Agenda()

    def again(_: None) -> None:
        agenda.at(agenda.now, again)

    agenda.at(1.0, again)
    with pytest.raises(StandstillError):
        agenda.run(2.0)


@settings(max_examples=50)
@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=20), st.integers(0, 1 << 32))
def test_the_stream_puts_together_whatever_order_losses_leave(writes: list[bytes], seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 (a seeded run)
    outgoing, incoming = Outgoing(), Incoming()
    for data in writes:
        outgoing.write(data)
    received = b""
    while outgoing.backlog:
        flying = []
        while outgoing.pending:
            start, data = outgoing.next(rng.randint(1, 30), 1 << 30)
            flying.append((start, data))
        rng.shuffle(flying)
        for start, data in flying:
            if rng.random() < 0.4:
                outgoing.lost(start, start + len(data))
                continue
            received += incoming.take(start, data)
            if rng.random() < 0.2:
                outgoing.lost(start, start + len(data))  # it arrived, its acknowledgement did not
            else:
                outgoing.acknowledged(start, start + len(data))
    assert received == b"".join(writes)


def test_every_scenario_file_can_be_read_and_a_wrong_word_is_refused() -> None:
    files = sorted(SCENARIOS.glob("*.toml"))
    assert files
    for path in files:
        assert load(path).expect, f"{path.name} expects nothing"
    with pytest.raises(ScenarioError, match="los"):
        parse({"link": {"los": 0.5}})


def _pair(lines: type[ModelLines | QuicLines], quality: Quality) -> tuple[World, EchoHost, EchoHost]:
    world = World(3)
    a, b = EchoHost(world, 0), EchoHost(world, 1)
    for host in (a, b):
        world.add(host, lines)  # type: ignore[arg-type]
    world.join(a, b, quality, quality)
    a.dials = b.address
    b.start()
    a.start()
    world.agenda.run(30)
    assert a.link
    assert b.link
    return world, a, b


def test_what_is_sent_at_rest_is_told_by_kind() -> None:
    found = figures(run(parse({**SMALL, "churn": []}), 5))["traffic"]
    kinds = found["rest_by_kind"]
    assert kinds["probe"] > 0
    assert kinds["handshake"] == 0
    assert sum(kinds.values()) == pytest.approx(found["rest_bytes_per_second_per_node"]["mean"], rel=1e-4)
    assert sum(found["rest_by_frame"].values()) < sum(kinds.values())


def test_copies_count_from_the_tenth_broadcast_of_each_network_on() -> None:
    def message(number: int, sender: int, transfers: int) -> Message:
        network = {0, 1, 2} if sender < 3 else {3, 4}
        readers = frozenset(network - {sender})
        return Message(float(number), sender, readers, "broadcast", 60, transfers=transfers, holders=set(readers))

    first = [message(number, 1, 20 if number < 9 else 2) for number in range(12)]
    second = [message(number, 3, 50) for number in range(9)]
    assert _broadcast([*first, *second])["copies_settled"] == 1
    assert _broadcast([*first, *second, message(9, 4, 3)])["copies_settled"] == 3


def test_a_node_that_is_off_is_found_to_be_away_by_its_neighbours_kernel() -> None:
    world, a, b = _pair(ModelLines, Quality(0.0, 0.01))
    a.stop(orderly=True)
    b.stop(orderly=True)
    before = a.tx_bytes
    a.start()
    world.agenda.run(world.now + 4.0)
    solicited = a.tx_kinds["solicitation"]
    assert 0 < a.tx_bytes - before <= solicited, "no handshake is begun"
    assert solicited % (3 * 86) == 0

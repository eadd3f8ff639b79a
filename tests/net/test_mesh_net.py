"""The mesh as real daemons form it over many hops: loss, partitions, power cuts, a full disk, a wrong clock."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mesh import Mesh, grid, line
from netns import Lab
from node import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.net

SOON = 30.0  # seconds, on a loaded machine
LOSSY = 120.0
KILLS = 100


@pytest.fixture
def build() -> Iterator[Callable[..., Mesh]]:
    """Give what makes a started mesh; it ends with the test."""
    with Lab() as lab, ExitStack() as stack:

        def make(count: int, edges: list[tuple[int, int]], **options: object) -> Mesh:
            mesh = Mesh(lab, stack, count, edges, **options)  # type: ignore[arg-type]
            mesh.start()
            return mesh

        yield make


def test_a_message_crosses_a_node_in_between_and_its_receipt_comes_back(build: Callable[..., Mesh]) -> None:
    mesh = build(3, line(3))
    mesh.settle(SOON)
    message = mesh.nodes[0].send(mesh.ids[2], "over one relay")
    mesh.expect_states(0, [message], "delivered", SOON)
    assert mesh.nodes[2].texts() == ["over one relay"]
    assert mesh.nodes[1].texts() == []


def test_a_line_of_5_at_half_of_all_packets_lost_delivers_10_of_10(build: Callable[..., Mesh]) -> None:
    mesh = build(5, line(5), loss=0.5, delay_ms=2)
    mesh.settle(LOSSY)
    messages = [mesh.nodes[0].send(mesh.ids[4], f"number {n}") for n in range(10)]
    mesh.expect_states(0, messages, "delivered", LOSSY)
    assert mesh.nodes[4].texts() == sorted(f"number {n}" for n in range(10))
    lost = sum(sum(cable["lost"]) for cable in mesh.cables.counts())
    sent = sum(sum(cable["frames"]) for cable in mesh.cables.counts())
    assert 0.4 < lost / sent < 0.6  # the cables did lose


def test_a_line_of_10_converges_and_delivers_both_ways(build: Callable[..., Mesh]) -> None:
    mesh = build(10, line(10), delay_ms=2)
    mesh.settle(SOON)
    there = mesh.nodes[0].send(mesh.ids[9], "to the far end")
    back = mesh.nodes[9].send(mesh.ids[0], "to the near end")
    mesh.expect_states(0, [there], "delivered", SOON)
    mesh.expect_states(9, [back], "delivered", SOON)
    assert mesh.nodes[9].texts() == ["to the far end"]
    assert mesh.nodes[0].texts() == ["to the near end"]


def test_all_16_nodes_of_a_grid_get_every_broadcast_once(build: Callable[..., Mesh]) -> None:
    mesh = build(16, grid(4), delay_ms=2)
    mesh.subscribe("news")
    mesh.settle(SOON)
    texts = [f"number {n}" for n in range(5)]
    for n, text in enumerate(texts):
        mesh.broadcast(n * 3, "news", text)
    for n, node in enumerate(mesh.nodes):
        own = [text for at, text in enumerate(texts) if at * 3 == n]
        expected = sorted(text for text in texts if text not in own)
        wait_for(f"{node.name} has all broadcasts", lambda: set(expected) <= set(node.texts()), SOON)  # noqa: B023
        assert [text for text in node.texts() if text not in own] == expected


def test_a_partition_heals_and_both_sides_get_what_they_missed(build: Callable[..., Mesh]) -> None:
    mesh = build(4, line(4))
    mesh.subscribe("news")
    mesh.settle(SOON)
    mesh.cut((1, 2))
    wait_for("the cut is seen", lambda: mesh.ids[2] not in mesh.nodes[1].linked(), 2 * SOON)
    message = mesh.nodes[0].send(mesh.ids[3], "across the gap")
    mesh.broadcast(0, "news", "from the left")
    mesh.broadcast(3, "news", "from the right")
    assert mesh.nodes[0].state(message) != "delivered"
    mesh.heal((1, 2))
    mesh.expect_states(0, [message], "delivered", LOSSY)
    wait_for("the left is heard", lambda: "from the left" in mesh.nodes[3].texts(), LOSSY)
    wait_for("the right is heard", lambda: "from the right" in mesh.nodes[0].texts(), LOSSY)


def test_a_relay_keeps_a_message_for_a_recipient_that_is_off_while_the_sender_goes(build: Callable[..., Mesh]) -> None:
    mesh = build(3, line(3))
    mesh.settle(SOON)
    mesh.nodes[2].stop()
    wait_for("the recipient is gone", lambda: mesh.ids[2] not in mesh.nodes[1].linked(), SOON)
    message = mesh.nodes[0].send(mesh.ids[2], "while you were off")
    mesh.expect_states(0, [message], "relayed", SOON)
    mesh.nodes[0].stop()
    mesh.nodes[2].start()
    wait_for("the message was there", lambda: mesh.nodes[2].texts() == ["while you were off"], LOSSY)
    mesh.nodes[0].start()
    mesh.expect_states(0, [message], "delivered", LOSSY)


def test_100_kills_at_random_points_lose_nothing_and_show_nothing_twice(build: Callable[..., Mesh]) -> None:
    mesh = build(4, [(0, 1), (1, 3), (0, 2), (2, 3)])
    mesh.settle(SOON)
    chance = random.Random(4)  # noqa: S311 (repeatable)
    sent: dict[int, list[tuple[str, str]]] = {0: [], 3: []}
    for n in range(KILLS):
        for sender, recipient in ((0, 3), (3, 0)):
            if mesh.nodes[sender].running:
                text = f"{n:03} from {sender}"
                sent[sender].append((mesh.nodes[sender].send(mesh.ids[recipient], text), text))
        time.sleep(chance.uniform(0.0, 0.15))
        victim = mesh.nodes[chance.randrange(4)]
        victim.kill()
        victim.start()
    for sender, recipient in ((0, 3), (3, 0)):
        mesh.expect_states(sender, [message for message, _ in sent[sender]], "delivered", LOSSY)
        assert mesh.nodes[recipient].texts() == sorted(text for _, text in sent[sender])


def test_a_relay_with_a_full_disk_refuses_custody_and_the_message_goes_round_it(
    build: Callable[..., Mesh], tmp_path: Path
) -> None:
    small = tmp_path / "d"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(small)], check=True, timeout=10)
    try:
        mesh = build(4, [(0, 1), (1, 3), (0, 2), (2, 3)])
        mesh.settle(SOON)
        mesh.nodes[1].stop()
        mesh.nodes[1].folder = small
        mesh.nodes[1].start()
        mesh.ids[1] = mesh.nodes[1].identity()
        mesh.settle(SOON)
        with contextlib.suppress(OSError), (small / "filler").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        messages = [mesh.nodes[0].send(mesh.ids[3], f"number {n} {'x' * 8000}") for n in range(20)]
        mesh.expect_states(0, messages, "delivered", LOSSY)
        assert mesh.nodes[1].running
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False, timeout=10)


@pytest.mark.parametrize("offset", ["+365d", "-365d"])
def test_a_relay_whose_clock_is_a_year_off_stops_nothing(build: Callable[..., Mesh], offset: str) -> None:
    libraries = list(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not libraries:
        pytest.skip("libfaketime is not installed (Debian: faketime)")
    wrong = {"LD_PRELOAD": str(libraries[0]), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    mesh = build(3, line(3), environments={1: wrong})
    mesh.subscribe("news")
    mesh.settle(SOON)
    message = mesh.nodes[0].send(mesh.ids[2], "what year is it?")
    mesh.broadcast(2, "news", "guess")
    mesh.expect_states(0, [message], "delivered", SOON)
    wait_for("the broadcast is there", lambda: "guess" in mesh.nodes[0].texts(), SOON)

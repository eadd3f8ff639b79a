"""Sessions between real daemons: the first message already, over relays, to who was off, and after an old backup."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from mesh import Mesh, line
from netns import Lab
from node import Node, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.net

SOON = 30.0  # seconds, on a loaded machine
LONG = 60.0


@pytest.fixture
def build() -> Iterator[Callable[..., Mesh]]:
    """Give what makes a started mesh whose cables are links; it ends with the test."""
    with Lab() as lab, ExitStack() as stack:

        def make(count: int, edges: list[tuple[int, int]]) -> Mesh:
            mesh = Mesh(lab, stack, count, edges, dialled=True)
            mesh.start()
            mesh.settle(SOON)
            return mesh

        yield make


def user(node: Node) -> str:
    """Return the id of the node's first user."""
    identity = node.ask("mesh.identity")
    assert isinstance(identity, dict)
    return str(identity["user_id"])


def post_quantum(node: Node, message: str) -> object:
    rows = node.ask("mesh.outbox")
    assert isinstance(rows, list)
    return next(row["post_quantum"] for row in rows if isinstance(row, dict) and row["id"] == message)


def exchange(mesh: Mesh, sender: int, recipient: int, text: str) -> str:
    """Send a message and wait until it is known to be there."""
    message = mesh.nodes[sender].send(user(mesh.nodes[recipient]), text)
    mesh.expect_states(sender, [message], "delivered", LONG)
    assert mesh.nodes[recipient].texts().count(text) == 1
    return message


def test_between_nodes_that_reach_each_other_the_first_message_is_post_quantum(build: Callable[..., Mesh]) -> None:
    mesh = build(2, line(2))
    for number in range(3):
        for sender, recipient in ((0, 1), (1, 0)):
            message = exchange(mesh, sender, recipient, f"{number} from {sender}")
            assert post_quantum(mesh.nodes[sender], message) is True
    assert mesh.nodes[0].counter("keys.asked") == 1
    assert mesh.nodes[1].counter("keys.asked") == 0
    for node in mesh.nodes:
        node.kill()
        node.start()
    mesh.settle(SOON)
    for sender, recipient in ((0, 1), (1, 0)):
        message = exchange(mesh, sender, recipient, f"after power cuts from {sender}")
        assert post_quantum(mesh.nodes[sender], message) is True
    assert sum(node.counter("session.renewed") + node.counter("keys.asked") for node in mesh.nodes) == 0


def test_over_a_relay_too_and_to_one_who_was_off_from_the_second_message_on(build: Callable[..., Mesh]) -> None:
    mesh = build(3, line(3))
    message = exchange(mesh, 0, 2, "over one relay")
    assert post_quantum(mesh.nodes[0], message) is True
    recipient = user(mesh.nodes[1])
    mesh.nodes[1].stop()
    wait_for("the relay is gone", lambda: mesh.ids[1] not in mesh.nodes[2].linked(), SOON)
    away = mesh.nodes[2].send(recipient, "while you were off")
    assert post_quantum(mesh.nodes[2], away) is False
    mesh.nodes[1].start()
    mesh.settle(LONG)
    mesh.expect_states(2, [away], "delivered", LONG)
    assert post_quantum(mesh.nodes[2], away) is False
    wait_for("keys came back", lambda: mesh.nodes[2].counter("keys.taken") == 1, SOON)
    following = exchange(mesh, 2, 1, "now that you are there")
    assert post_quantum(mesh.nodes[2], following) is True


@pytest.mark.parametrize("restored", [0, 1], ids=["the sender", "the recipient"])
def test_a_node_restored_from_an_old_copy_is_written_to_and_writes(
    build: Callable[..., Mesh], tmp_path: Path, restored: int
) -> None:
    mesh = build(2, line(2))
    node = mesh.nodes[restored]
    exchange(mesh, 0, 1, "before the copy")
    exchange(mesh, 1, 0, "answered before the copy")
    node.stop()
    shutil.copytree(node.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock"))
    node.start()
    mesh.settle(SOON)
    for number in range(3):
        exchange(mesh, 0, 1, f"there {number}")
        exchange(mesh, 1, 0, f"back {number}")
    node.stop()
    shutil.rmtree(node.folder)
    shutil.copytree(tmp_path / "copy", node.folder)
    node.start()
    mesh.settle(LONG)
    for number in range(3):
        for sender, recipient in ((0, 1), (1, 0)):
            message = exchange(mesh, sender, recipient, f"restored {number} from {sender}")
            assert post_quantum(mesh.nodes[sender], message) is True
    assert sum(node.counter("session.renewed") for node in mesh.nodes) >= 1

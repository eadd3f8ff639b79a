"""Real daemons on loopback: a line of three, a channel, a store in RAM whose power is cut."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from node import Node, free_port, free_ports, wait_for

from qpq.errors import QpqError

if TYPE_CHECKING:
    from collections.abc import Iterator

RAM = Path("/dev/shm")  # noqa: S108 (tmpfs on every Linux)


def arguments(port: int, *peers: int) -> list[str]:
    dialled = [word for peer in peers for word in ("--peer", f"127.0.0.1:{peer}")]
    return ["--listen", f"127.0.0.1:{port}", "--no-mdns", "--no-beacon", "--no-group", *dialled]


@pytest.fixture
def line() -> Iterator[list[Node]]:
    """Make three nodes of which only the middle one knows both others."""
    anna, bert, cleo = free_ports(3)
    nodes = [
        Node("anna", arguments=arguments(anna)),
        Node("bert", arguments=arguments(bert, anna, cleo)),
        Node("cleo", arguments=arguments(cleo)),
    ]
    for node in nodes:
        node.start(wait=False)
    for node in nodes:
        node.wait_ready()
    wait_for("bert is linked with both", lambda: len(nodes[1].linked()) == 2)
    yield nodes
    for node in nodes:
        node.close()


def user_id(node: Node) -> str:
    answer: Any = node.ask("mesh.identity")
    return str(answer["users"][0]["id"])


def reached(node: Node, target: str) -> Any:
    try:
        return node.ask("mesh.ping", peer=target)
    except QpqError:
        return None


def test_the_ends_of_a_line_find_each_other_and_see_who_is_between(line: list[Node]) -> None:
    anna, bert, cleo = line
    target = user_id(cleo)
    answer = wait_for("cleo answers", lambda: reached(anna, target))
    assert (answer["id"], answer["hops"]) == (target, 2)
    trace: Any = anna.ask("mesh.trace", peer=target)
    assert [hop["id"] for hop in trace["path"]] == [bert.identity(), cleo.identity()]
    routes: Any = anna.ask("mesh.route")
    row = next(row for row in routes if row["id"] == target)
    assert (row["node"], row["next_hop"], row["hops"]) == (cleo.identity(), bert.identity(), 2)
    assert "qpq_routes" in anna.ask("metrics")["text"]  # type: ignore[index]
    with pytest.raises(QpqError, match="no answer from"):
        anna.ask("mesh.ping", peer="a" * 51 + "q")


def test_a_broadcast_reaches_all_who_read_the_channel_and_nobody_else(line: list[Node]) -> None:
    anna, bert, cleo = line
    private: Any = anna.ask("mesh.subscribe", topic="board", private=True)
    cleo.ask("mesh.subscribe", topic=private["share"])
    for node in line:
        node.ask("mesh.subscribe", topic="news")
    anna.ask("mesh.broadcast", topic="news", text="to all")
    anna.ask("mesh.broadcast", topic="board", text="to the board")
    wait_for("cleo has both", lambda: cleo.texts() == ["to all", "to the board"])
    wait_for("bert has one", lambda: bert.texts() == ["to all"])
    assert sorted((str(row["channel"]), row["text"]) for row in cleo.inbox()) == [
        ("board", "to the board"), ("news", "to all"),
    ]  # fmt: skip
    sent: Any = anna.ask("mesh.outbox")
    assert {row["channel"] for row in sent} == {"news", "board"}
    wait_for("the sender knows", lambda: {row["state"] for row in anna.ask("mesh.outbox")} == {"relayed"})  # type: ignore[attr-defined]
    cleo.ask("mesh.unsubscribe", topic="news")
    anna.ask("mesh.broadcast", topic="news", text="later")
    wait_for("bert has it", lambda: "later" in bert.texts())
    assert "later" not in cleo.texts()


def test_channels_are_read_again_after_a_restart_and_a_late_reader_gets_what_is_alive(line: list[Node]) -> None:
    anna, _, cleo = line
    cleo.ask("mesh.subscribe", topic="news")
    assert cleo.stop() == 0
    anna.ask("mesh.subscribe", topic="news")
    anna.ask("mesh.broadcast", topic="news", text="while you were away")
    cleo.start()
    wait_for("cleo has it", lambda: cleo.texts() == ["while you were away"], within=40)
    store: Any = cleo.ask("mesh.store")
    assert store["inbox"] == 1
    assert "by_link" in store


def test_a_peer_given_by_hand_is_forgotten_by_a_running_node(line: list[Node]) -> None:
    anna, _, cleo = line
    address = str(next(word for word in cleo.arguments if word.startswith("127.")))
    anna.ask("mesh.server", address=address)
    wait_for("anna is linked with cleo", lambda: cleo.identity() in anna.linked())
    anna.ask("mesh.forget", address=address)
    assert cleo.identity() in anna.linked(), "a link that is there stays"
    with pytest.raises(QpqError, match="not given"):
        anna.ask("mesh.forget", address=address)


def test_another_key_at_an_address_given_by_hand_is_told_of_loudly_and_until_that_is_accepted() -> None:
    here, there = free_ports(2)
    address = f"127.0.0.1:{there}"
    anna, bert = Node("anna", arguments=arguments(here)), Node("bert", arguments=arguments(there))
    other = Node("other", arguments=arguments(there))

    def row() -> dict[str, object]:
        return next(row for row in anna.peers() if row["address"] == address)

    try:
        anna.start()
        bert.start()
        anna.ask("mesh.server", address=address)
        wait_for("anna is linked with bert", lambda: bert.identity() in anna.linked())
        known = bert.identity()
        assert row()["trust"] == "new"
        bert.stop()
        anna.stop()
        anna.start()  # what was known is known after a restart too
        other.start()
        wait_for("anna is linked with the other", lambda: other.identity() in anna.linked(), within=40)
        assert (row()["trust"], row()["known_id"]) == ("changed", known)
        assert f"THE KEY AT {address} HAS CHANGED" in anna.log()
        anna.ask("mesh.server", address=address)
        assert (row()["trust"], "known_id" in row()) == ("new", False)
        assert other.identity() in (anna.folder / "identity.json").read_text()
        assert known not in (anna.folder / "identity.json").read_text()
    finally:
        for node in (anna, bert, other):
            node.close()


def test_a_peer_taken_out_of_the_configuration_is_not_dialled_any_more(tmp_path: Path) -> None:
    anna, bert = free_ports(2)
    config = tmp_path / "qpq"
    config.write_text(f"config qpq 'main'\n\tlist peer '127.0.0.1:{bert}'\n")
    node = Node("anna", arguments=[*arguments(anna), "--config", str(config)])
    try:
        node.start()
        assert [row["address"] for row in node.peers()] == [f"127.0.0.1:{bert}"]
        with pytest.raises(QpqError, match="configuration"):
            node.ask("mesh.forget", address=f"127.0.0.1:{bert}")
        config.write_text("config qpq 'main'\n")
        assert node.process is not None
        node.process.send_signal(signal.SIGHUP)
        wait_for("it is forgotten", lambda: not node.peers())
    finally:
        node.close()


@pytest.mark.skipif(not RAM.is_dir() or "tmpfs" not in Path("/proc/mounts").read_text(), reason="no tmpfs here")
def test_a_store_in_ram_survives_a_power_cut_a_crash_and_a_stop() -> None:
    ram = Path(tempfile.mkdtemp(prefix="qpq", dir=RAM))
    port = free_port()
    node = Node("anna", arguments=[*arguments(port), "--store-dir", str(ram), "--commit-interval", "1h"])
    try:
        if "tmpfs" in _kind(node.folder):
            pytest.skip("the data directory is in RAM as well")
        node.start()
        me = user_id(node)
        node.send(me, "one")
        node.inbox()
        wait_for("it is on flash", lambda: node.ask("mesh.store")["snapshot"]["bytes"] > 300)  # type: ignore[index]
        node.kill()
        shutil.rmtree(ram)
        node.start()
        assert node.texts() == ["one"]
        node.send(me, "two")
        node.kill()
        node.start()
        assert node.texts() == ["one", "two"], "a crash is no power cut"
        node.send(me, "three")
        assert node.stop() == 0
        shutil.rmtree(ram)
        node.start()
        assert node.texts() == ["one", "three", "two"]
        assert not any(row["unread"] for row in node.inbox())
        status: Any = node.ask("status")
        assert (status["boot"], status["store"]["durable"]) == (4, False)
        assert not (node.folder / "qpq.db").exists()
        assert "qpq_store_snapshot_bytes" in node.ask("metrics")["text"]  # type: ignore[index]
    finally:
        node.close()
        shutil.rmtree(ram, ignore_errors=True)


def _kind(folder: Path) -> str:
    return subprocess.run(["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=True).stdout

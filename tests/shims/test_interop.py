"""Real packages and stand-ins speak to each other: links over loopback, then whole nodes."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import shim_paths
from node import Node, free_port, wait_for

from qpq.crypto.identity import SecretIdentity

pytestmark = pytest.mark.skipif(shim_paths.ON_SHIMS, reason="this compares the two")

FRAMES = 120
DEADLINE = 60.0
STATION = str(Path(__file__).parent / "station.py")


def environment(side: str) -> dict[str, str]:
    """Return the environment of one side: "real", "shim", or "bare" with the standard library's stand-ins too."""
    return shim_paths.environment(shims=side != "real", stdlib=side == "bare")


def links(server_side: str, client_side: str) -> tuple[Any, Any]:
    """Let a client of one side make two links to a server of the other; return what both saw."""
    with subprocess.Popen(
        [sys.executable, STATION, "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(server_side),
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        client = subprocess.run(
            [sys.executable, STATION, "call", port, str(FRAMES)],
            env=environment(client_side),
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
        told, _ = server.communicate(timeout=DEADLINE)
    assert client.returncode == 0, client.stderr
    return json.loads(told), json.loads(client.stdout)


@pytest.mark.parametrize(
    ("server_side", "client_side"),
    [("real", "shim"), ("shim", "real"), ("shim", "shim"), ("real", "bare"), ("bare", "real")],
)
def test_links_are_made_proven_resumed_and_carry_frames(server_side: str, client_side: str) -> None:
    shim_paths.need_extension()
    server, client = links(server_side, client_side)
    for told, side in ((server, server_side), (client, client_side)):
        assert told["package"].startswith(str(shim_paths.SHIMS)) == (side != "real")
        assert told["frames"] == 2 * FRAMES
        assert [resumed for _, resumed in told["links"]] == [False, True]
    assert {peer for peer, _ in server["links"]} == {SecretIdentity(b"c" * 32).identity.hex()}
    assert {peer for peer, _ in client["links"]} == {SecretIdentity(b"s" * 32).identity.hex()}


def node(stack: ExitStack, name: str, side: str, port: int, *arguments: str) -> Node:
    """Start a daemon that stays on loopback."""
    quiet = ("--mesh-interface", "lo", "--no-mdns", "--no-beacon", "--listen", f"127.0.0.1:{port}", *arguments)
    path = environment(side)["PYTHONPATH"]
    made = Node(name, arguments=quiet, environment={"PYTHONPATH": path})
    stack.callback(made.close)
    return made.start()


@pytest.mark.parametrize("small", ["shim", "bare"])
def test_a_node_on_stand_ins_and_one_on_real_packages_exchange_messages(small: str) -> None:
    shim_paths.need_extension()
    port = free_port()
    with ExitStack() as stack:
        anna = node(stack, "anna", small, port)
        ben = node(stack, "ben", "real", free_port(), "--peer", f"127.0.0.1:{port}")
        wait_for("the link is up", lambda: ben.identity() in anna.linked() and anna.identity() in ben.linked())
        there, back = anna.send(ben.identity(), "hello from small"), ben.send(anna.identity(), "hello from large ü")
        wait_for("both are delivered", lambda: (anna.state(there), ben.state(back)) == ("delivered", "delivered"))
        assert (anna.texts(), ben.texts()) == (["hello from large ü"], ["hello from small"])
        loaded = {line.split()[-1] for line in Path(f"/proc/{anna.pid}/maps").read_text().splitlines() if ".so" in line}
        foreign = [
            path for path in loaded if any(name in path for name in ("cryptography", "_cffi", "_sodium", "nacl"))
        ]
        assert not foreign, "the node on stand-ins has loaded a real package"
        assert (anna.stop(), ben.stop()) == (0, 0)
